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
        self._by_order: dict[tuple[str, Order], list[Issued]] = {}
        self._newest: dict[str, Issued] = {}
        self._may_know: dict[tuple[int, bytes], bool] = {}
        self._may_share: dict[tuple[int, Audience], bool] = {}
        self._formerly: dict[int, list[Entitlements]] = {}
        """What nodes were entitled to before their claims changed."""
        self._own_snapshots: dict[int, Order] = {}
        """Of the snapshot that told a node of its newest claims."""
        self._seen: dict[int, set[int]] = {}
        """Who durably has the newest claims of a node."""

    def on_issued(self, issued: Issued) -> None:
        """The control plane signed this."""
        manifest = issued.manifest
        self._by_envelope[issued.envelope] = issued
        self._by_prefix[issued.prefix] = issued
        self._by_content.setdefault(manifest.content_hash, []).append(issued)
        if manifest.base is None:
            self._by_order.setdefault((manifest.namespace.text, manifest.order), []).append(issued)
            newest = self._newest.get(manifest.namespace.text)
            if newest is None or manifest.order > newest.manifest.order:
                self._newest[manifest.namespace.text] = issued

    def on_claims(self, index: int, held: Entitlements, snapshot: Order) -> None:
        """The control plane changed what a node is entitled to, and said so in its snapshot."""
        self._formerly.setdefault(index, []).append(self._held[index])
        self._held[index] = held
        self._own_snapshots[index] = snapshot
        self._seen[index] = set()
        self._may_know = {key: one for key, one in self._may_know.items() if key[0] != index}
        self._may_share = {key: one for key, one in self._may_share.items() if key[0] != index}

    def on_own_snapshot(self, index: int, order: Order) -> bool:
        """A node has a snapshot of its own on its disk; whether it learned of its claims by it."""
        due = self._own_snapshots.get(index)
        is_news = due is not None and order >= due
        if is_news:
            self._seen[index].add(index)
        return is_news

    def on_claims_seen(self, index: int, node_id: NodeId, version: int) -> None:
        """A node durably has claims of another."""
        other = next(one for one, name in self._node_ids.items() if name == node_id)
        if other in self._formerly and version > len(self._formerly[other]):
            self._seen[other].add(index)

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
        """The artifact at an order of a namespace; of several the first."""
        return next(iter(self.of_order(namespace, order)), None)

    def of_order(self, namespace: str, order: Order) -> tuple[Issued, ...]:
        """All that was ever signed at an order of a namespace: more than one is an equivocation."""
        return tuple(self._by_order.get((namespace, order), ()))

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
            is_own = issued.manifest.namespace.node_id == self._node_ids[index]
            found = is_own or _may_know(self._held[index], issued)
            self._may_know[key] = found
        return found

    def may_know_by(self, sender: int, index: int, issued: Issued) -> bool:
        """The same as far as another node can tell: whoever has not got its newest claims goes by
        those before."""
        if self.may_know(index, issued):
            return True
        return sender not in self._seen.get(index, ()) and self.might_know(index, issued)

    def might_know(self, index: int, issued: Issued) -> bool:
        """Whether a node may know that an artifact exists, or ever might."""
        return self.may_know(index, issued) or any(
            _may_know(held, issued) for held in self._formerly.get(index, ())
        )

    def may_share_by(self, sender: int, index: int, audience: Audience) -> bool:
        """Whether a node may know that an audience exists, as far as another can tell."""
        if self.may_share(index, audience):
            return True
        is_behind = sender not in self._seen.get(index, ())
        return is_behind and any(
            may_share(audience, held) for held in self._formerly.get(index, ())
        )

    def ever(self, index: int) -> tuple[Entitlements, ...]:
        """All a node is or was entitled to."""
        return (self._held[index], *self._formerly.get(index, ()))

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

    def is_behind(self, index: int) -> bool:
        """Whether the disk of a node has not got its newest claims."""
        return index not in self._seen.get(index, ())

    def might_apply(self, index: int, issued: Issued, *, was_behind: bool = False) -> bool:
        """The same as far as the node could tell by what is on its disk, or was (`was_behind`)."""
        if self.applies(index, issued):
            return True
        return (was_behind or self.is_behind(index)) and any(
            matches(issued.manifest.audience, held) for held in self._formerly.get(index, ())
        )


def _may_know(held: Entitlements, issued: Issued) -> bool:
    manifest = issued.manifest
    namespace = manifest.namespace
    return namespace.family in _TRUST or may_hold(
        manifest.audience, manifest.artifact_type.value, namespace.text, held
    )
