"""A node as far as trust goes: what is handed to it passes the gate, in order, or the test fails.

It holds one storage assignment for the cluster and one for `acme`, so it may hold everything the
tests publish. Written from the rules of the trust chain and the revocation list, not from the
control plane's code.
"""

from dataclasses import replace

from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.enrollment import NodeRow, entitlements_of
from fabgossip.control.publishing import Delivery, publish
from fabgossip.control.signing import SignedArtifact
from fabgossip.model.artifact import NO_ORDER, ArtifactType, Manifest, Order
from fabgossip.model.authority import RevocationList, TrustBundle
from fabgossip.model.ids import ManifestHash, NodeId
from fabgossip.model.moment import UnixTime
from fabgossip.model.scope import Namespace, has_prefix
from fabgossip.trust.bundle import bundle_from_pinned
from fabgossip.trust.facts import ANYTHING, Line, Listed, TrustFacts
from fabgossip.trust.gate import TrustGate
from fabgossip.trust.rejections import Rejection
from fabgossip.trust.revocation import NOTHING_REVOKED, revoked_after
from fabgossip.trust.signatures import Ed25519Verifier
from fabgossip.wire.contents import parse_pinned, parse_snapshot
from tests.trust import factory

ROW = NodeRow(node_id="believer", addresses=(), stores=("acme", "cluster"))
Head = tuple[Order, ManifestHash, SignedArtifact]


class Believer:
    """Facts and heads of one node."""

    def __init__(self, pinned: bytes) -> None:
        verifier = Ed25519Verifier()
        self._gate = TrustGate(verifier)
        trust = bundle_from_pinned(*parse_pinned(pinned), verifier)
        self.heads: dict[str, Head] = {}
        self.refused: list[str] = []
        self.facts = TrustFacts(
            bundle=trust.bundle,
            revoked=NOTHING_REVOKED,
            own=entitlements_of(ROW, trust.bundle.cluster_id),
            own_node_id=NodeId(ROW.node_id),
            bundle_expires_at=trust.manifest.expires_at,
            freshness=factory.FACTS.freshness,
        )

    def take_all(
        self, authority: AuthorityFolder, now: UnixTime, *, everything: bool = False
    ) -> None:
        """What the authority has to hand out."""
        deliveries = publish(
            authority, lambda one: self._submit(one, now), now, everything=everything
        )
        self.refused += [one.detail for one in deliveries if not one.is_accepted]

    def _submit(self, artifact: SignedArtifact, now: UnixTime) -> Delivery:
        fault = self.take(artifact, now)
        if fault is None or fault.is_known_already:
            return Delivery(artifact=artifact, outcome="admitted", code="", detail="")
        return Delivery(
            artifact=artifact, outcome="refused", code=fault.code.value, detail=f"{fault}"
        )

    def take(self, artifact: SignedArtifact, now: UnixTime) -> Rejection | None:
        """Admit one artifact and what it says of trust; the refusal, if it is refused."""
        verified = self._gate.admit(artifact.envelope, ANYTHING, self.facts, self, now)
        if isinstance(verified, Rejection):
            return verified
        manifest = verified.manifest
        if manifest.artifact_type is not ArtifactType.SNAPSHOT_INCREMENT:
            name = manifest.namespace.text
            self.heads[name] = (manifest.order, verified.manifest_hash, artifact)
        is_trust = manifest.artifact_type in (
            ArtifactType.TRUST_BUNDLE,
            ArtifactType.REVOCATION_LIST,
        )
        if not is_trust:
            return None
        value = self._gate.read(verified, artifact.content, self.facts)
        match value:
            case Rejection():
                return value
            case TrustBundle():
                opens = value.authority_epoch > self.facts.bundle.authority_epoch
                revoked = NOTHING_REVOKED if opens else self.facts.revoked
                self.facts = replace(
                    self.facts,
                    bundle=value,
                    revoked=revoked,
                    bundle_expires_at=manifest.expires_at,
                )
            case RevocationList():
                epoch, version = manifest.authority_epoch, manifest.config_version
                after = revoked_after(self.facts.revoked, epoch, version, value)
                self.facts = replace(self.facts, revoked=after)
            case _:
                raise AssertionError(value)
        return None

    def listed(self, manifest: Manifest, /) -> Listed | None:
        """What the one covering snapshot of the tests says of a namespace."""
        name = manifest.namespace.text
        for _, _, artifact in self.heads.values():
            if artifact.manifest.artifact_type is not ArtifactType.CLUSTER_SNAPSHOT:
                continue
            if artifact.manifest.authority_epoch != self.facts.bundle.authority_epoch:
                continue
            snapshot = parse_snapshot(artifact.content) if artifact.content else None
            if snapshot is None or not any(has_prefix(name, one) for one in snapshot.covers):
                continue
            rows = {row.namespace: row for row in snapshot.listings}
            row = rows.get(name)
            return Listed(
                order=NO_ORDER if row is None else row.order,
                manifest_hash=None if row is None else row.manifest_hash,
            )
        return None

    def line_of(self, namespace: Namespace) -> Line:
        order, manifest_hash, artifact = self.heads.get(namespace.text, (NO_ORDER, None, None))
        is_withdrawn = artifact is not None and artifact.manifest.tombstone is not None
        return Line(
            floor=order,
            manifest_hash=manifest_hash,
            withdrawn=order if is_withdrawn else NO_ORDER,
        )

    def current(self, now: UnixTime) -> set[str]:
        """Namespaces whose head today's trust still believes."""
        found = set()
        for name, (_, _, artifact) in self.heads.items():
            verdict = self._gate.recall(artifact.envelope, self.facts, now)
            if not isinstance(verdict, Rejection) and artifact.manifest.tombstone is None:
                found.add(name)
        return found
