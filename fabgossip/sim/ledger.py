"""The truth about artifacts and nodes: what was issued, and who may know it.

Decides: whether a node may know, or apply, an artifact by all it is entitled to in truth.
Keeps: everything ever issued, found by the names messages use for it.
Must not know: what any node believes.
"""

from collections.abc import Iterable

from fabgossip.model.artifact import Order
from fabgossip.model.ids import ContentHash, NodeId
from fabgossip.model.scope import Audience, Entitlements, Family, matches, may_hold, may_share
from fabgossip.sim.authority import Issued, Papers

_TRUST: tuple[Family, ...] = (Family.TRUST_BUNDLE, Family.TRUST_REVOCATIONS)


class Ledger:
    """All issued artifacts and all entitlements of a run."""

    def __init__(self, papers: Iterable[tuple[int, Papers]]) -> None:
        rows = list(papers)
        self._held: dict[int, Entitlements] = {index: one.entitlements for index, one in rows}
        self._node_ids: dict[int, NodeId] = {index: one.own.node_id for index, one in rows}
        self._by_envelope: dict[bytes, Issued] = {}
        self._by_prefix: dict[bytes, Issued] = {}
        self._by_content: dict[ContentHash, list[Issued]] = {}
        self._by_order: dict[tuple[str, Order], Issued] = {}
        self._newest: dict[str, Issued] = {}
        self._may_know: dict[tuple[int, bytes], bool] = {}
        self._may_share: dict[tuple[int, Audience], bool] = {}

    def on_issued(self, issued: Issued) -> None:
        """The control plane signed this."""
        manifest = issued.manifest
        self._by_envelope[issued.envelope] = issued
        self._by_prefix[issued.prefix] = issued
        self._by_content.setdefault(manifest.content_hash, []).append(issued)
        if manifest.base is None:
            self._by_order[(manifest.namespace.text, manifest.order)] = issued
            self._newest[manifest.namespace.text] = issued

    def by_envelope(self, envelope: bytes) -> Issued | None:
        """The artifact of exactly these bytes."""
        return self._by_envelope.get(envelope)

    def all_issued(self) -> tuple[Issued, ...]:
        """Everything, in the order it was signed."""
        return tuple(self._by_envelope.values())

    def by_prefix(self, prefix: bytes) -> Issued | None:
        """The artifact behind 16 bytes of a manifest hash."""
        return self._by_prefix.get(prefix)

    def by_content(self, content_hash: ContentHash) -> tuple[Issued, ...]:
        """The artifacts that name a content."""
        return tuple(self._by_content.get(content_hash, ()))

    def by_order(self, namespace: str, order: Order) -> Issued | None:
        """The artifact at an order of a namespace."""
        return self._by_order.get((namespace, order))

    def newest(self, namespace: str) -> Issued | None:
        """The newest artifact of a namespace."""
        return self._newest.get(namespace)

    def namespaces(self) -> tuple[str, ...]:
        """All namespaces, in order."""
        return tuple(sorted(self._newest))

    def indices(self) -> tuple[int, ...]:
        """All nodes."""
        return tuple(self._held)

    def node_id(self, index: int) -> NodeId:
        """The id of a node."""
        return self._node_ids[index]

    def entitlements(self, index: int) -> Entitlements:
        """All a node is entitled to."""
        return self._held[index]

    def may_know(self, index: int, issued: Issued) -> bool:
        """Whether a node may know that an artifact exists."""
        key = (index, issued.envelope)
        found = self._may_know.get(key)
        if found is None:
            manifest = issued.manifest
            namespace = manifest.namespace
            found = (
                namespace.family in _TRUST
                or namespace.node_id == self._node_ids[index]
                or may_hold(
                    manifest.audience,
                    manifest.artifact_type.value,
                    namespace.text,
                    self._held[index],
                )
            )
            self._may_know[key] = found
        return found

    def may_share(self, index: int, audience: Audience) -> bool:
        """Whether a node may know that an audience exists."""
        key = (index, audience)
        found = self._may_share.get(key)
        if found is None:
            found = may_share(audience, self._held[index])
            self._may_share[key] = found
        return found

    def applies(self, index: int, issued: Issued) -> bool:
        """Whether a node is in the audience of an artifact."""
        return matches(issued.manifest.audience, self._held[index])
