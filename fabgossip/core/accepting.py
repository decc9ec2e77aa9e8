"""An admitted statement takes its place in the catalog, and goes to the disk.

Decides: whether it becomes the head, stands beside it, or lends it further signatures.
Keeps: of two revocation lists of one order both stay, for both restrict.
Must not know: who brought it, what follows once it is durable.
"""

from fabgossip.core.catalog import GONE_STATES, Head, prefix_of
from fabgossip.core.covering import Covering
from fabgossip.core.disputes import Disputes
from fabgossip.core.durability import Durability, Provenance, changes_for
from fabgossip.core.effects import Fact, Record
from fabgossip.core.events import LinkId
from fabgossip.core.machines import Machines
from fabgossip.core.own_contents import OwnContents
from fabgossip.core.recording import fields_of
from fabgossip.model.artifact import ArtifactType, VerifiedManifest
from fabgossip.model.persistence import Change, DropIncrement, PutHead, PutIncrement
from fabgossip.trust.rejections import Rejection


class Accepting:
    """Takes statements in."""

    __slots__ = (
        "_contents",
        "_covering",
        "_disputes",
        "_durability",
        "_m",
    )

    def __init__(
        self,
        machines: Machines,
        durability: Durability,
        contents: OwnContents,
        covering: Covering,
        disputes: Disputes,
    ) -> None:
        self._m = machines
        self._contents = contents
        self._durability = durability
        self._covering = covering
        self._disputes = disputes

    def accept(self, verified: VerifiedManifest, provenance: Provenance, source: str) -> None:
        """A statement was admitted."""
        if self._is_other_list(verified):
            self._disputes.on_equivocation(verified, source, provenance.origin)
            return
        if verified.manifest.artifact_type is ArtifactType.SNAPSHOT_INCREMENT:
            changes = self.keep(verified)
        else:
            head, before = self._m.catalog.on_head(verified, source)
            head.replaces = before
            self._covering.judge(head)
            changes = (PutHead(verified=verified), *_no_more_kept(before, head))
        self._durability.persist(verified, changes, provenance)
        record = Record(fact=Fact.ARTIFACT_ACCEPTED, fields=fields_of(verified, source))
        self._m.out.append(record)

    def keep(self, increment: VerifiedManifest) -> tuple[Change, ...]:
        """Keep an admitted increment; gives what makes that durable."""
        gone = self._m.catalog.on_increment(increment) or ()
        for one in gone:
            self._contents.release(one.manifest.content_hash)
        return (PutIncrement(verified=increment), *map(_drop, gone))

    def _is_other_list(self, verified: VerifiedManifest) -> bool:
        """Whether another revocation list stands at the order of this one: both restrict."""
        manifest = verified.manifest
        head = self._m.catalog.find(manifest.namespace.text)
        return (
            manifest.artifact_type is ArtifactType.REVOCATION_LIST
            and head is not None
            and head.manifest.order == manifest.order
            and head.verified.manifest_hash != verified.manifest_hash
        )

    def join(self, verdict: Rejection, origin: LinkId | None) -> bool:
        """Take what is held, in an envelope with further signatures that count: how many keys it
        can lose must not depend on who passed it on. True also while that has to wait."""
        other = verdict.verified
        if not verdict.is_known_already or other is None:
            return False
        found = self._m.catalog.by_prefix(prefix_of(other.manifest_hash))
        if found is None or found[1] is not found[0].verified:
            return False
        if other.manifest.artifact_type is ArtifactType.TRUST_BUNDLE:
            return False  # whoever takes its place is signed by all who must, or is none
        head, held = found
        if head.state in GONE_STATES or set(other.signed_by) <= set(held.signed_by):
            return False
        if head.is_durable:
            self._accept_joined(head, self._m.beliefs.joined(held, other), origin)
        return True

    def _accept_joined(self, head: Head, joined: VerifiedManifest, origin: LinkId | None) -> None:
        head.verified = joined
        self._durability.persist(joined, changes_for(head, joined), Provenance(origin))


def _no_more_kept(before: Head | None, head: Head) -> tuple[Change, ...]:
    """What a new head does not take over from the one before it; the contents leave with that."""
    kept = () if before is None else before.kept
    return tuple(_drop(one.verified) for one in kept if one not in head.kept)


def _drop(increment: VerifiedManifest) -> DropIncrement:
    return DropIncrement(
        namespace=increment.manifest.namespace.text, manifest_hash=increment.manifest_hash
    )
