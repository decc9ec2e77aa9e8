"""Contents on the own disk, and those that are to come there.

Decides: whether a content is wanted here, and when one leaves the disk.
Keeps: a content leaves only once nothing names it and no bundle of the chain needs it; a manifest
that says another size than a content has does not name it.
Must not know: who has a content, what it says.
"""

from fabgossip.core.catalog import BINDING_TYPES, GONE_STATES, HOLDING_STATES, Head, HeadState
from fabgossip.core.disclosure import traffic_of
from fabgossip.core.effects import ReceiveContent, Remove
from fabgossip.core.events import LinkId, RequestId
from fabgossip.core.machines import Machines
from fabgossip.core.wants import Want, wanted_from
from fabgossip.model.artifact import TYPE_RULES, Manifest, VerifiedManifest
from fabgossip.model.ids import ContentHash
from fabgossip.model.moment import Now, UnixTime
from fabgossip.model.scope import matches


class OwnContents:
    """Which contents are here, and which are to come."""

    __slots__ = (
        "_held",
        "_m",
        "_wanted_for",
    )

    def __init__(self, machines: Machines) -> None:
        self._m = machines
        self._held: dict[ContentHash, int] = {}
        """The contents on this disk and their sizes."""
        self._wanted_for = (0, machines.beliefs.facts.own)
        """By which duties and claims it was last looked what else is wanted."""

    def on_held(self, content_hash: ContentHash, size: int, verified_at: UnixTime) -> None:
        """A content is on the disk, hashed last at this time."""
        self._held[content_hash] = size
        self._m.scrubbing.on_held(content_hash, size, verified_at)
        self._m.retention.on_held(content_hash)

    def size_of(self, content_hash: ContentHash) -> int:
        """Bytes of a content on the disk, 0 where it is not there."""
        return self._held.get(content_hash, 0)

    def is_held(self, manifest: Manifest) -> bool:
        """Whether the content a manifest names is durable here."""
        return self._held.get(manifest.content_hash) == manifest.content_size

    def is_wanted(self, verified: VerifiedManifest) -> bool:
        """Whether this node applies it, reads it itself, or holds it by duty."""
        manifest = verified.manifest
        # A snapshot is read, and an increment is a part of one.
        is_read = TYPE_RULES[manifest.artifact_type].is_read or manifest.base is not None
        if is_read or matches(manifest.audience, self._m.beliefs.facts.own):
            return True
        if self._m.retention.is_pinned(manifest.content_hash):
            return True
        return self._m.placement.has_duty(manifest)

    def want(self, verified: VerifiedManifest, origin: LinkId | None, now: Now) -> Want | None:
        """Make a want of a content; None if too many are open."""
        is_read = TYPE_RULES[verified.manifest.artifact_type].is_read
        announcer = None if origin is None else self._m.sessions.peer_of(origin)
        return self._m.fetching.on_wanted(
            verified, traffic_of(verified), announcer, now.instant, is_read=is_read
        )

    def want_again(self, now: Now) -> None:
        """Want what is behind and not wanted: it was refused when too much was, or was not for
        this node when it came. Cost: O(heads), once there is room."""
        wanted_for = (self._m.placement.revision, self._m.beliefs.facts.own)
        is_other = wanted_for != self._wanted_for
        for head in self._m.catalog.heads():
            if self._m.fetching.is_full:
                return
            if is_other and head.state is HeadState.KNOWN and self.is_wanted(head.verified):
                head.state = HeadState.BEHIND
            is_lost = head.state is HeadState.BEHIND and head.is_durable
            if is_lost and self._m.chains.find(head.manifest.namespace.text) is None:
                self.want(head.verified, None, now)
        self._wanted_for = wanted_for

    def take(self, verified: VerifiedManifest, request: RequestId) -> None:
        """Take a submitted content from the request that brought it."""
        wanted = wanted_from(verified, is_read=TYPE_RULES[verified.manifest.artifact_type].is_read)
        self._m.out.append(
            ReceiveContent(wanted=wanted, request=request, traffic=traffic_of(verified))
        )

    def store(self, verified: VerifiedManifest, content: bytes) -> None:
        """Take a content that came along with its manifest."""
        wanted = wanted_from(verified, is_read=TYPE_RULES[verified.manifest.artifact_type].is_read)
        self._m.out.append(
            ReceiveContent(wanted=wanted, content=content, traffic=traffic_of(verified))
        )

    def read_again(self, verified: VerifiedManifest) -> None:
        """Its bytes come from our own disk: they are held under another manifest, or may be held no
        more."""
        wanted = wanted_from(verified, is_read=TYPE_RULES[verified.manifest.artifact_type].is_read)
        self._m.out.append(ReceiveContent(wanted=wanted, traffic=traffic_of(verified)))

    def on_vanished(self, content_hash: ContentHash, now: Now) -> None:
        """A content that was held cannot be read any more: it is wanted again where it was wanted
        before."""
        self._forget(content_hash)
        for head, verified in self._m.catalog.by_content(content_hash):
            kept = head.kept_of(verified)
            is_wanted = self.is_wanted(verified) and not is_mere_evidence(head, verified)
            if kept is not None:
                # One that leads to an earlier version is of use only while it is here.
                kept.is_held, is_wanted = False, is_wanted and kept is head.increment
            if verified is head.verified:
                head.is_held = False
                if head.state in HOLDING_STATES:
                    head.state = HeadState.BEHIND if is_wanted else HeadState.KNOWN
                self._m.catalog.touch(head.manifest.namespace.text)
            if is_wanted and head.state not in GONE_STATES:
                self.want(verified, None, now)

    def _forget(self, content_hash: ContentHash) -> None:
        self._held.pop(content_hash, None)
        self._m.retention.on_gone(content_hash)
        self._m.scrubbing.on_gone(content_hash)

    def evict(self, content_hash: ContentHash) -> None:
        """A content leaves the disk although manifests name it: none of them needs it here."""
        self._forget(content_hash)
        self._m.out.append(Remove(content_hash=content_hash))
        for head, verified in self._m.catalog.by_content(content_hash):
            kept = head.kept_of(verified)
            if kept is not None:
                kept.is_held = False
            if verified is head.verified:
                head.is_held = False
                if head.state in HOLDING_STATES:
                    head.state = HeadState.KNOWN
                self._m.catalog.touch(head.manifest.namespace.text)

    def release(self, content_hash: ContentHash) -> None:
        """A manifest that named a content is gone; of a pinned one the bytes stay."""
        if self._m.retention.is_pinned(content_hash):
            self.void(content_hash)
        else:
            self.drop(content_hash)

    def drop(self, content_hash: ContentHash) -> None:
        """A manifest that named a content is gone, or withdrawn, which outranks every pin."""
        self.void(content_hash)
        if any(not is_mere_evidence(*row) for row in self._m.catalog.by_content(content_hash)):
            return
        if any(step.content_hash == content_hash for step in self._m.beliefs.chain):
            return  # whoever is still at an older bundle needs every step
        if content_hash in self._held:
            self._forget(content_hash)
            self._m.out.append(Remove(content_hash=content_hash))

    def void(self, content_hash: ContentHash) -> None:
        """Nothing is wanted any more behind which no manifest stands."""
        named = tuple(
            one
            for head, one in self._m.catalog.by_content(content_hash)
            if head.state not in GONE_STATES and not is_mere_evidence(head, one)
        )
        for want in self._m.fetching.on_named(content_hash, named):
            self.fail_requests(want, "its version was superseded or withdrawn; ask again")

    def fail_requests(self, want: Want, why: str) -> None:
        """A want ended without its content: who waited for that alone waits for nothing."""
        content_hash = want.goal.content_hash
        self._m.unsettled.failed_requests += [
            (request, why)
            for request in want.requests
            if not self._m.fetching.is_awaited(content_hash, request)
        ]

    def check(self) -> None:
        """Assert that what heads call held is held."""
        for head in self._m.catalog.heads():
            assert not head.is_held or self.is_held(head.manifest)


def is_mere_evidence(head: Head, verified: VerifiedManifest) -> bool:
    """Whether nothing follows from the content of a statement: it only contradicts another one."""
    return verified in head.sides and verified.manifest.artifact_type not in BINDING_TYPES
