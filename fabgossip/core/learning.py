"""What is learned from a content that was read, and unlearned when its head ends.

Decides: which statements must be judged again by what was learned.
Keeps: bundles and revocations are made durable as soon as they are believed.
Must not know: how a content came, what judging again does.
"""

from fabgossip.core.affected import IsAffected, affected_by
from fabgossip.core.covering import Covering
from fabgossip.core.disputes import Disputes
from fabgossip.core.durability import Durability
from fabgossip.core.effects import Fact, Record
from fabgossip.core.machines import Machines
from fabgossip.core.recording import fields_of
from fabgossip.model.artifact import ArtifactType, Manifest, VerifiedManifest
from fabgossip.model.authority import RevocationList, TrustBundle
from fabgossip.model.moment import Now
from fabgossip.model.persistence import PutRevoked, PutTrust
from fabgossip.model.topology import PeerDirectory, Snapshot, StorageDirectory


class Learning:
    """Hands what was read to the machines it is for."""

    __slots__ = (
        "_covering",
        "_disputes",
        "_durability",
        "_m",
    )

    def __init__(
        self, machines: Machines, durability: Durability, covering: Covering, disputes: Disputes
    ) -> None:
        self._m = machines
        self._durability = durability
        self._covering = covering
        self._disputes = disputes

    def on_list(
        self, verified: VerifiedManifest, listed: RevocationList, now: Now, *, is_side: bool
    ) -> IsAffected | None:
        """A revocation list was read, or (`is_side`) the other side of a disputed one; what must be
        judged again, None where that is nothing."""
        before = self._m.beliefs.facts
        took = self._m.beliefs.on_revocations(verified, listed, now, is_side=is_side)
        self._m.unsettled.facts_changed = True
        if took or before.revoked.epoch != self._m.beliefs.facts.revoked.epoch:
            self._keep_revoked()
        # Claims of our own that waited for a fresh list may be taken up by it, and be narrower.
        self._m.unsettled.own_claims_changed |= before.own != self._m.beliefs.facts.own
        return affected_by(before, self._m.beliefs.facts)

    def on_snapshot(
        self, verified: VerifiedManifest, snapshot: Snapshot, now: Now
    ) -> IsAffected | None:
        """A snapshot is in force: what it says to this node, if it is its own; what must be judged
        again. What it lists is not taken up by this."""
        manifest, beliefs = verified.manifest, self._m.beliefs
        before = beliefs.facts
        if manifest.namespace.node_id != before.own_node_id:
            return None
        self._m.unsettled.facts_changed = True
        head = self._m.catalog.find(manifest.namespace.text)
        is_disputed = head is not None and head.is_disputed
        if not is_disputed:
            self._m.recovery.on_snapshot(snapshot.endpoints)
        if not beliefs.on_own_snapshot(verified, snapshot, now, is_disputed=is_disputed):
            return None
        self._m.unsettled.own_claims_changed = True
        return affected_by(before, beliefs.facts)

    def on_directory(self, manifest: Manifest, value: PeerDirectory | StorageDirectory) -> None:
        """A directory is in force."""
        namespace = manifest.namespace.text
        match value:
            case PeerDirectory():
                cluster_id = self._m.beliefs.facts.bundle.cluster_id
                roster = self._m.rosters.roster_of(cluster_id, manifest.content_hash, value)
                self._m.neighbors.on_directory(namespace, roster)
                self._m.unsettled.facts_changed = True
            case StorageDirectory():
                self._m.placement.on_directory(namespace, value)

    def on_expired(self, manifest: Manifest) -> None:
        """What a head said counts no more, but where to find others: a node that forgot it could
        not be helped out of it."""
        match manifest.artifact_type:
            case ArtifactType.PEER_DIRECTORY:
                self._m.neighbors.on_directory_expired(manifest.namespace.text)
                self._m.unsettled.facts_changed = True
            case ArtifactType.STORAGE_DIRECTORY:
                """Whom to ask for contents first, and nothing else, rests on it."""
            case _:
                self.on_gone(manifest)

    def on_gone(self, manifest: Manifest) -> None:
        """What a head said counts no more."""
        namespace = manifest.namespace
        match manifest.artifact_type:
            case ArtifactType.CLUSTER_SNAPSHOT:
                if namespace.node_id == self._m.beliefs.facts.own_node_id:
                    self._m.beliefs.on_own_snapshot_gone()
                    self._m.unsettled.facts_changed = True
                self._covering.on_gone(namespace.text)
            case ArtifactType.PEER_DIRECTORY:
                self._m.neighbors.on_directory(namespace.text, None)
                self._m.unsettled.facts_changed = True
            case ArtifactType.STORAGE_DIRECTORY:
                self._m.placement.on_directory(namespace.text, None)
            case _:
                """Nothing of it was taken up."""

    def _keep_revoked(self) -> None:
        """All that was revoked in an epoch outlives the list it stood in, and this process."""
        revoked = self._m.beliefs.facts.revoked
        entries = tuple(sorted((kind.value, value) for kind, value in revoked.values))
        self._durability.keep(PutRevoked(epoch=revoked.epoch, entries=entries))

    def on_bundle(
        self, verified: VerifiedManifest, bundle: TrustBundle, content: bytes, now: Now
    ) -> IsAffected | None:
        """A bundle was read; what must be judged again, None where that is nothing."""
        before = self._m.beliefs.facts
        if not self._m.beliefs.on_bundle(verified, bundle, now):
            return None
        self._m.unsettled.facts_changed = True
        self._m.unsettled.own_claims_changed = True
        for head in self._m.catalog.heads():
            # Of what is not judged again, lists and tombstones, the epoch decides what counts.
            self._m.catalog.touch(head.manifest.namespace.text)
        self._m.dissemination.forget()
        self._disputes.on_bundle()
        put = PutTrust(version=bundle.bundle_version, envelope=verified.envelope, content=content)
        self._durability.keep(put)
        self._m.out.append(Record(fact=Fact.BUNDLE_ACCEPTED, fields=fields_of(verified, "")))
        return affected_by(before, self._m.beliefs.facts)
