"""What the disk holds at the start, judged once more.

Decides: in which order it is judged: trust, then revocations, then snapshots, then the rest.
Keeps: what is disputed is not applied anew by a start; the last good one of an older epoch stays
where consumers read it.
Must not know: how the disk holds it.
"""

from dataclasses import replace
from hashlib import sha256

from fabgossip.core.accepting import Accepting
from fabgossip.core.activation import Activation
from fabgossip.core.catalog import Floor, Head, HeadState, prefix_of
from fabgossip.core.covering import Covering
from fabgossip.core.departing import Departing
from fabgossip.core.disputes import Disputes
from fabgossip.core.durability import Durability, Provenance
from fabgossip.core.events import Started
from fabgossip.core.following import Following
from fabgossip.core.lasting import has_lost_trust, is_last_good, standing
from fabgossip.core.machines import Machines
from fabgossip.core.own_contents import OwnContents
from fabgossip.core.recording import rejected
from fabgossip.core.using import Using
from fabgossip.model.artifact import ArtifactType, VerifiedManifest
from fabgossip.model.ids import ManifestHash
from fabgossip.model.moment import NEVER, Now
from fabgossip.model.persistence import DropIncrement, StoredHead
from fabgossip.trust.rejections import Rejection, RejectionCode


class Recalling:
    """Takes up what a process before this one left."""

    __slots__ = (
        "_accepting",
        "_activation",
        "_contents",
        "_covering",
        "_departing",
        "_disputes",
        "_durability",
        "_following",
        "_m",
        "_using",
    )

    def __init__(
        self,
        machines: Machines,
        durability: Durability,
        contents: OwnContents,
        activation: Activation,
        covering: Covering,
        departing: Departing,
        disputes: Disputes,
        accepting: Accepting,
        following: Following,
        using: Using,
    ) -> None:
        self._m = machines
        self._durability = durability
        self._contents = contents
        self._activation = activation
        self._covering = covering
        self._departing = departing
        self._disputes = disputes
        self._accepting = accepting
        self._following = following
        self._using = using

    def on_started(self, started: Started, now: Now) -> None:
        """Recall what the disk holds: trust first, then revocations, then the rest."""
        m = self._m
        broken = m.beliefs.on_started(started.trust, started.revoked, started.memory, now)
        if broken is not None:
            self._m.out.append(rejected(broken, source="disk"))
        heads = tuple(
            one for one in started.heads if not m.shunned.is_shunned(one.envelope, now.instant)
        )
        # What is left alone stood all the same: another statement of its order contradicts it.
        accepted = {(one.namespace, one.order) for one in started.heads if not one.is_increment}
        for row in started.floors:
            # What was only listed contradicts nobody; what lists it says so itself.
            stood = row.manifest_hash if (row.namespace, row.order) in accepted else None
            m.catalog.on_floor(row.namespace, Floor(row.order, stood))
        for pinned in started.pins:
            m.retention.on_pin(pinned.pin)
            content_hash, size = pinned.pin.content_hash, pinned.held_bytes
            if size is not None:
                self._contents.on_held(content_hash, size, pinned.verified_at)
        for content_hash, held_bytes in started.loose:
            self._contents.on_held(content_hash, held_bytes, NEVER)
        for held_back in started.held_back:
            m.holdbacks.on_hold(held_back)  # before any head: the newest is not applied by a start
        evidence, sides = self._evidence(started, now), list[VerifiedManifest]()
        contents = {sha256(one).digest(): one for one in started.evidence_contents}
        visible = self._looked_at(started.visible, now)
        for namespace, envelope in started.visible:
            if (namespace, envelope) not in visible:
                self._activation.leave_alone(namespace, envelope)
        for group in _what_judges_first(heads):
            visible = self._recall_shown(visible, group, now)
            found, evidence = self._recall_evidence(evidence, now)
            # A list of the group before may have taken the trust of a side already found.
            sides = [
                one for one in (*sides, *found) if not has_lost_trust(self._m.beliefs, one, now)
            ]
            for stored in group:
                verified = m.beliefs.recall(stored.envelope, now)
                if isinstance(verified, Rejection):
                    self._recall_refused(stored, verified, sides, now)
                else:
                    self._recall(stored, verified, now, sides)
                self._read_sides(stored.namespace, contents, now)
        for side in sides:
            self._recall_side(side)
        for namespace, envelope in visible:
            self._activation.on_recalled(namespace, envelope, now)
        for namespace, envelope in self._looked_at(started.put_away, now):
            self._activation.on_recalled_away(namespace, envelope, now)
        self._using.on_started(now)
        # Only now: after a new epoch the claims a node was enrolled with are of the past, and those
        # of its own snapshot count.
        refused = m.beliefs.on_own_claims(now)
        if refused is not None:
            self._m.out.append(rejected(refused, source="disk"))
        m.beliefs.on_recalled()

    def _evidence(self, started: Started, now: Now) -> tuple[bytes, ...]:
        shunned = self._m.shunned
        return tuple(
            one for one in started.memory.evidence if not shunned.is_shunned(one, now.instant)
        )

    def _looked_at(self, rows: tuple[tuple[str, bytes], ...], now: Now) -> list[tuple[str, bytes]]:
        """Without what brought a process down: in `local/` it stays as it is."""
        return [row for row in rows if not self._m.shunned.is_shunned(row[1], now.instant)]

    def _recall_shown(
        self, visible: list[tuple[str, bytes]], group: list[StoredHead], now: Now
    ) -> list[tuple[str, bytes]]:
        """What consumers read in the namespaces of a group comes before its heads: a head that
        widens what they read is not applied by a start either. Gives the rest."""
        due = {stored.namespace for stored in group}
        for namespace, envelope in visible:
            if namespace in due:
                self._activation.on_recalled(namespace, envelope, now)
        return [row for row in visible if row[0] not in due]

    def _recall_evidence(
        self, evidence: tuple[bytes, ...], now: Now
    ) -> tuple[list[VerifiedManifest], tuple[bytes, ...]]:
        """The evidence that is good by what is believed so far, and the rest. It comes before the
        heads it is about: what is disputed is not applied anew by a start."""
        judged = [(one, standing(self._m.beliefs, one, now)) for one in evidence]
        rest = tuple(one for one, side in judged if side is None)
        sides = [side for _, side in judged if side is not None]
        for one in sides:
            manifest, bundle = one.manifest, self._m.beliefs.facts.bundle
            if manifest.artifact_type is ArtifactType.REVOCATION_LIST:
                self._m.beliefs.on_list_dispute(manifest.order)
            if manifest.artifact_type is ArtifactType.TRUST_BUNDLE and (
                manifest.config_version == bundle.bundle_version
            ):
                self._m.beliefs.on_fork()
        return sides, rest

    def _recall(
        self,
        stored: StoredHead,
        verified: VerifiedManifest,
        now: Now,
        sides: list[VerifiedManifest],
    ) -> None:
        m = self._m
        audience, prefix = verified.manifest.audience, prefix_of(verified.manifest_hash)
        m.dissemination.on_accepted(stored.envelope, audience, prefix, None)
        self._recall_held(stored, verified)
        if stored.is_increment:
            self._recall_increment(verified, now)
            return
        m.catalog.on_head(verified, "disk")
        head = self._recall_sides(stored.namespace, sides)
        verified = head.verified
        self._covering.judge(head)
        m.beliefs.on_accepted(verified)
        self._following.follow(head, verified, Provenance(), now, content=stored.content)

    def _recall_increment(self, verified: VerifiedManifest, now: Now) -> None:
        """It is kept where its head is still here, and has not become another's."""
        namespace = verified.manifest.namespace.text
        gone = self._m.catalog.on_increment(verified)
        head = self._m.catalog.find(namespace)
        if gone is None or head is None:
            self._drop(namespace, verified.manifest_hash)
            return
        for one in gone:
            self._drop(namespace, one.manifest_hash)
        self._following.follow(head, verified, Provenance(), now)

    def _drop(self, namespace: str, manifest_hash: ManifestHash) -> None:
        self._durability.keep(DropIncrement(namespace=namespace, manifest_hash=manifest_hash))

    def _recall_refused(
        self, stored: StoredHead, verdict: Rejection, sides: list[VerifiedManifest], now: Now
    ) -> None:
        """The last good one of an older epoch stays where consumers read it; all else goes."""
        if stored.is_increment:
            # It only was to lead to another version: nobody misses it.
            if verdict.manifest_hash is not None:
                self._drop(stored.namespace, verdict.manifest_hash)
            return
        named = replace(verdict, namespace=stored.namespace)
        self._m.out.append(rejected(named, source="disk"))
        if not is_last_good(self._m.beliefs, verdict):
            self._activation.take_away(stored.namespace)
            if verdict.code is RejectionCode.AUDIENCE_NOT_OURS:
                self._recall_foreign(stored, verdict, now)
            if verdict.code is not RejectionCode.EXPIRED:
                self._m.catalog.on_refused(stored.namespace, stored.order)
            return
        assert verdict.verified is not None
        self._m.catalog.on_head(verdict.verified, "disk")
        head = self._recall_sides(stored.namespace, sides)
        head.state = HeadState.OUTDATED
        self._recall_held(stored, verdict.verified)
        head.is_held = self._contents.is_held(head.manifest)

    def _recall_foreign(self, stored: StoredHead, verdict: Rejection, now: Now) -> None:
        """This node may not hold it any more; its bytes leave once that is sure."""
        if verdict.verified is None:
            return
        if stored.held_bytes is not None:
            content_hash = verdict.verified.manifest.content_hash
            self._contents.on_held(content_hash, stored.held_bytes, stored.verified_at)
        self._departing.on_recalled(verdict.verified, now)

    def _recall_sides(self, namespace: str, sides: list[VerifiedManifest]) -> Head:
        for side in sides:
            if side.manifest.namespace.text == namespace:
                self._m.catalog.on_side(side)
        head = self._m.catalog.find(namespace)
        assert head is not None
        head.is_durable = True
        return head

    def _recall_held(self, stored: StoredHead, verified: VerifiedManifest) -> None:
        if stored.held_bytes is not None:
            content_hash, size = verified.manifest.content_hash, stored.held_bytes
            self._contents.on_held(content_hash, size, stored.verified_at)

    def _read_sides(self, namespace: str, contents: dict[bytes, bytes], now: Now) -> None:
        """What was read of the other sides before binds from the start, and ahead of what it
        lists."""
        head = self._m.catalog.find(namespace)
        for side in () if head is None else tuple(head.sides):
            content_hash = side.manifest.content_hash
            content = contents.get(content_hash)
            if content is not None and len(content) == side.manifest.content_size:
                self._contents.on_held(content_hash, len(content), NEVER)
                self._following.on_side_held(side, content, now)
            elif side.manifest.artifact_type is ArtifactType.CLUSTER_SNAPSHOT:
                self._contents.want(side, None, now)

    def _recall_side(self, side: VerifiedManifest) -> None:
        """The head it stood beside lost its trust, and the end of that was not written yet: it
        stands there, with all others that did."""
        namespace, order = side.manifest.namespace.text, side.manifest.order
        if side.manifest.artifact_type is ArtifactType.TRUST_BUNDLE:
            return
        if self._m.catalog.floor(namespace) == Floor(order, None):
            self._accepting.accept(side, Provenance(), "disk")
        else:
            self._disputes.contradict(side, None)


def _what_judges_first(heads: tuple[StoredHead, ...]) -> list[list[StoredHead]]:
    """Revocation lists before what they may take away, snapshots before what they list, storage
    directories before what they have held elsewhere, increments after their snapshots."""
    groups: list[list[StoredHead]] = [[], [], [], [], []]
    for one in heads:
        if one.is_increment:
            groups[4].append(one)
        elif one.is_trust:
            groups[0].append(one)
        elif "/snapshots/" in one.namespace:
            groups[1].append(one)
        else:
            groups[2 if "/storage/" in one.namespace else 3].append(one)
    return groups
