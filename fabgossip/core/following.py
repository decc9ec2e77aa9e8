"""What follows from a durable manifest, from a content that is here, and from other trust.

Decides: whether a content is applied, wanted, read or none of these; what a head is under today's
trust.
Keeps: a restriction needs no wait; nothing follows from a side of a dispute but what it restricts;
a bundle that proved to be none leaves nothing behind.
Must not know: how an envelope came to be admitted.

A node tells others of an artifact once it can serve it, or at once where it does not want the
content itself: so the first neighbor to be asked has it. Revocation lists, tombstones and stuck
contents are told at once; a trust bundle once it was read and met the thresholds of both sides.
"""

from dataclasses import replace

from fabgossip.core.accepting import Accepting
from fabgossip.core.activation import Activation
from fabgossip.core.affected import IsAffected
from fabgossip.core.announcing import Announcing
from fabgossip.core.assembling import Assembling
from fabgossip.core.catalog import (
    BINDING_TYPES,
    DIRECTORY_TYPES,
    GONE_STATES,
    HOLDING_STATES,
    Head,
    HeadState,
    Refusal,
)
from fabgossip.core.covering import Covering
from fabgossip.core.disputes import Disputes
from fabgossip.core.durability import Durability, Provenance, changes_for
from fabgossip.core.effects import Fact, Record, Remove
from fabgossip.core.events import LinkId
from fabgossip.core.lasting import has_lost_trust, is_good, is_last_good
from fabgossip.core.learning import Learning
from fabgossip.core.machines import Machines
from fabgossip.core.own_contents import OwnContents
from fabgossip.core.recording import fields_of, rejected
from fabgossip.core.withdrawing import Withdrawing
from fabgossip.model.artifact import TRUST_TYPES, TYPE_RULES, ArtifactType, VerifiedManifest
from fabgossip.model.authority import RevocationList, TrustBundle
from fabgossip.model.ids import ContentHash
from fabgossip.model.moment import Now
from fabgossip.model.persistence import Change, DropHead
from fabgossip.model.topology import PeerDirectory, Snapshot, StorageDirectory
from fabgossip.trust.gate import ReadContent
from fabgossip.trust.rejections import Rejection


class Following:
    """Goes from manifests to contents, and from contents to what they mean."""

    __slots__ = (
        "_accepting",
        "_activation",
        "_announcing",
        "_assembling",
        "_contents",
        "_covering",
        "_disputes",
        "_durability",
        "_learning",
        "_m",
        "_withdrawing",
    )

    def __init__(
        self,
        machines: Machines,
        durability: Durability,
        contents: OwnContents,
        announcing: Announcing,
        assembling: Assembling,
        activation: Activation,
        covering: Covering,
        disputes: Disputes,
        accepting: Accepting,
        learning: Learning,
        withdrawing: Withdrawing,
    ) -> None:
        self._m = machines
        self._durability = durability
        self._contents = contents
        self._announcing = announcing
        self._assembling = assembling
        self._activation = activation
        self._covering = covering
        self._disputes = disputes
        self._accepting = accepting
        self._learning = learning
        self._withdrawing = withdrawing

    def follow(
        self,
        head: Head,
        verified: VerifiedManifest,
        provenance: Provenance,
        now: Now,
        *,
        content: bytes | None = None,
    ) -> None:
        """What a durable manifest leads to: withdrawal, its content applied, or its content
        wanted."""
        manifest = verified.manifest
        if verified in head.sides:
            self._follow_side(verified, provenance.origin, now)
            return
        if head.state in GONE_STATES:
            return
        if manifest.tombstone is not None:
            self._withdrawing.withdraw(head, HeadState.WITHDRAWN)
            self._announcing.tell(verified, now)
            return
        if self._contents.is_held(manifest):
            self._on_held(head, verified, content, now)
            return
        is_head = verified is head.verified
        if is_head:
            self._withdrawing.supersede_unheld(head)
        if provenance.request is not None:
            head.state = HeadState.BEHIND if is_head else head.state
            self._contents.take(verified, provenance.request)
            return
        if not self._contents.is_wanted(verified):
            head.state = HeadState.KNOWN if is_head else head.state
            self._withdrawing.supersede_unread(head)
            self._announcing.tell(verified, now)
            return
        head.state = HeadState.BEHIND if is_head else head.state
        if provenance.content is not None:
            head.came_along |= is_head
            self._store(verified, provenance.content, now)
        elif not is_head or not self._assembling.begin(head, provenance.origin, now):
            self._want(head, verified, provenance.origin, now)
        if not is_head:
            self._assembling.on_kept(head, verified, now)

    def _want(
        self, head: Head, verified: VerifiedManifest, origin: LinkId | None, now: Now
    ) -> None:
        """An increment that leads to an earlier version is of use only while it is here."""
        manifest = verified.manifest
        if manifest.order < head.manifest.order:
            return
        self._contents.want(verified, origin, now)
        if manifest.artifact_type is ArtifactType.REVOCATION_LIST:
            self._announcing.tell(verified, now)

    def _follow_side(self, verified: VerifiedManifest, origin: LinkId | None, now: Now) -> None:
        """The evidence is passed on; a list or a snapshot restricts even so, and its content is
        wanted, first from whoever showed it."""
        self._announcing.tell(verified, now)
        if verified.manifest.artifact_type in BINDING_TYPES and verified.manifest.tombstone is None:
            self._contents.want(verified, origin, now)

    def _store(self, verified: VerifiedManifest, content: bytes, now: Now) -> None:
        """The content came along: others are told at once, and carry it on."""
        self._contents.store(verified, content)
        if verified.manifest.artifact_type is not ArtifactType.TRUST_BUNDLE:
            self._announcing.tell(verified, now)

    def on_superseded(self, verified: VerifiedManifest, now: Now) -> None:
        """The content of a version came after a newer one was known, which is still on its way."""
        manifest = verified.manifest
        head = self._m.catalog.find(manifest.namespace.text)
        before = self._withdrawing.superseded(verified)
        if head is None or before is None or self._m.catalog.is_named(manifest.content_hash):
            return
        self._contents.on_held(manifest.content_hash, manifest.content_size, now.unix)
        self._withdrawing.supersede_late(head, before)
        self._activation.apply_superseded(head, before, now)

    def on_content(
        self, content_hash: ContentHash, size: int, content: bytes | None, now: Now
    ) -> None:
        """A content is durable here: apply it to every head that names it, and say that we hold
        it."""
        if not self._m.catalog.is_named(content_hash):
            if not self._contents.size_of(content_hash):
                self._m.out.append(Remove(content_hash=content_hash))
            return
        self._contents.on_held(content_hash, size, now.unix)
        for head, verified in self._m.catalog.by_content(content_hash):
            if (
                head.is_durable
                and self._contents.is_held(verified.manifest)
                and not _is_settled_already(head, verified)
            ):
                self._on_held(head, verified, content, now)

    def _on_held(
        self, head: Head, verified: VerifiedManifest, content: bytes | None, now: Now
    ) -> None:
        if verified in head.sides:
            self.on_side_held(verified, content, now)
            return
        if verified is not head.verified:
            kept = head.kept_of(verified)
            assert kept is not None, "of a head that is not itself, nor disputes it"
            kept.is_held = True
            self._announcing.tell_held(verified, now, content)
            return
        if head.state is HeadState.OUTDATED:
            head.is_held = True  # nothing follows from it until it is believed again
            return
        is_read = TYPE_RULES[verified.manifest.artifact_type].is_read
        if is_read and content is None:
            self._contents.read_again(verified)
            return
        head.is_held = True
        self._m.catalog.touch(verified.manifest.namespace.text)
        if is_read and content is not None and not _is_in_abeyance(head):
            value = self._m.beliefs.read(verified, content)
            if isinstance(value, Rejection) and self._has_better(verified, content):
                return
            if isinstance(value, Rejection):
                head.state = HeadState.INVALID
                self._m.unsettled.refused_contents.append((verified, value))
                self._m.out.append(rejected(value, source=head.source))
                if verified.manifest.artifact_type is ArtifactType.TRUST_BUNDLE:
                    self._discard(head, now)
                return
            self._learn(verified, value, content, now)
        self._withdrawing.supersede(head)
        self._activation.apply(head, verified, now)
        self._announcing.tell_held(verified, now, content)

    def on_side_held(self, verified: VerifiedManifest, content: bytes | None, now: Now) -> None:
        """Both of two lists restrict; both of two snapshots cover, and raise floors."""
        if verified.manifest.artifact_type not in BINDING_TYPES or content is None:
            return
        value = self._m.beliefs.read(verified, content)
        if isinstance(value, RevocationList):
            self.judge_affected(self._learning.on_list(verified, value, now, is_side=True), now)
        if isinstance(value, Snapshot):
            self._covering.on_snapshot(verified, value)

    def _has_better(self, verified: VerifiedManifest, content: bytes) -> bool:
        """Whether another copy of a bundle is signed by all who must sign it: it takes the place of
        this one."""
        if verified.manifest.artifact_type is not ArtifactType.TRUST_BUNDLE:
            return False
        self._m.variants.on_content(verified.manifest.content_hash, content)
        for one in self._m.variants.take(verified.manifest_hash):
            if not isinstance(self._m.beliefs.read(one.verified, content), Rejection):
                self._accepting.accept(one.verified, Provenance(one.origin), one.source)
                return True
        return False

    def _discard(self, head: Head, now: Now) -> None:
        """A bundle that proved to be none leaves nothing behind: the one in force stands as before,
        here and on the disk."""
        before = self._m.catalog.on_discarded(head)
        namespace = head.manifest.namespace.text
        drop = DropHead(namespace=namespace, manifest_hash=head.verified.manifest_hash)
        changes: tuple[Change, ...] = (drop,)
        if before is not None:
            changes = (drop, *changes_for(before, before.verified))
        self._announcing.on_gone(head.verified)
        self._durability.keep(*changes)
        self._contents.release(head.manifest.content_hash)
        if before is not None and not before.is_held:
            self.follow(before, before.verified, Provenance(), now)

    def _learn(
        self, verified: VerifiedManifest, value: ReadContent, content: bytes, now: Now
    ) -> None:
        match value:
            case TrustBundle():
                self.judge_affected(self._learning.on_bundle(verified, value, content, now), now)
            case RevocationList():
                is_affected = self._learning.on_list(verified, value, now, is_side=False)
                self.judge_affected(is_affected, now)
                record = Record(fact=Fact.REVOCATION_ACCEPTED, fields=fields_of(verified, ""))
                self._m.out.append(record)
            case PeerDirectory() | StorageDirectory():
                self._learning.on_directory(verified.manifest, value)
            case Snapshot():
                self.judge_affected(self._learning.on_snapshot(verified, value, now), now)
                self._covering.on_snapshot(verified, value)

    def judge_affected(self, is_affected: IsAffected | None, now: Now) -> None:
        """Whom we believe changed: what that affects of what was accepted before is judged again,
        either way."""
        if is_affected is None:
            return
        for head in self._m.catalog.heads():
            if not head.is_durable or head.manifest.artifact_type in TRUST_TYPES:
                continue
            self._judge_kept(head, is_affected, now)
            if any(map(is_affected, head.rivals)):
                self.judge_again(head, now)
        self._activation.judge_again(is_affected, now)

    def _judge_kept(self, head: Head, is_affected: IsAffected, now: Now) -> None:
        """An increment leads to another version, and nobody misses it: what is not good any more is
        handed to nobody."""
        for one in [kept.verified for kept in head.kept if is_affected(kept.verified)]:
            if not is_good(self._m.beliefs, one, now):
                self._announcing.on_gone(one)
                self._assembling.on_bad(one, now)

    def judge_again(self, head: Head, now: Now) -> None:
        """Whom we believe changed, or may have: what that means for one head."""
        if not head.is_disputed and is_good(self._m.beliefs, head.verified, now):
            self._believe_again(head, now)  # nearly always, and judged once
            return
        left = tuple(one for one in head.rivals if not has_lost_trust(self._m.beliefs, one, now))
        if head.is_disputed and len(left) < len(head.rivals):
            # What was refused for contradicting the lost ones is worth another look.
            self._m.dissemination.forget()
        if left and len(left) < len(head.rivals):
            self._disputes.settle(head, left)
        elif left and head.state in (HeadState.WITHDRAWN, HeadState.EXPIRED):
            return
        elif is_good(self._m.beliefs, head.verified, now):
            self._believe_again(head, now)
        elif head.state is not HeadState.REFUSED:
            self._doubt(head, now)

    def _believe_again(self, head: Head, now: Now) -> None:
        if head.state not in (HeadState.OUTDATED, HeadState.REFUSED):
            return
        head.state, head.refusal = HeadState.BEHIND, None
        self._m.catalog.touch(head.manifest.namespace.text)
        self.follow(head, head.verified, Provenance(), now)

    def _doubt(self, head: Head, now: Now) -> None:
        verdict = self._m.beliefs.recall(head.verified.envelope, now)
        assert isinstance(verdict, Rejection)
        if is_last_good(self._m.beliefs, verdict):
            head.state = HeadState.OUTDATED
            self._m.catalog.touch(head.manifest.namespace.text)
            return
        # The first checks refuse before a namespace is read; here it is known.
        named = replace(verdict, namespace=head.manifest.namespace.text)
        self._m.out.append(rejected(named, source=head.source))
        head.refusal = Refusal(code=verdict.code, detail=verdict.detail, at=now.unix)
        self._withdrawing.withdraw(head, HeadState.REFUSED)


def _is_in_abeyance(head: Head) -> bool:
    """Whether nobody goes by what it says until the dispute is over. What was in force when the
    dispute came up stays in force, as what consumers read stays where it is."""
    return head.is_disputed and head.manifest.artifact_type in DIRECTORY_TYPES


def _is_settled_already(head: Head, verified: VerifiedManifest) -> bool:
    """Whether a content that came once more changes nothing for a head."""
    if head.state in GONE_STATES:
        return True
    return verified is head.verified and head.is_held and head.state in HOLDING_STATES
