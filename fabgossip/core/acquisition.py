"""Content on its way here: who is asked, what came, whose fault it is if it did not fit.

Decides: nothing its machines do not decide.
Keeps: a peer is asked with a manifest it may know; what an honest source never does is recorded
in the name of who did.
Must not know: how bytes arrive and are hashed.
"""

from typing import Final

from fabgossip.core.announcing import Announcing
from fabgossip.core.catalog import GONE_STATES, HeadState, prefix_of
from fabgossip.core.effects import Fact, ReceiveContent, Record, SetTimer
from fabgossip.core.events import (
    ContentFailed,
    ContentStored,
    FetchFailure,
    GrantedReceived,
    LinkId,
    WantDue,
)
from fabgossip.core.following import Following
from fabgossip.core.granted import GrantedFetch
from fabgossip.core.machines import Machines
from fabgossip.core.own_contents import OwnContents
from fabgossip.core.sessions import Session
from fabgossip.core.sources import NOWHERE
from fabgossip.core.wants import (
    FAILURE_CODES,
    IDLE_MS,
    Source,
    Want,
    WantState,
    goal_of,
    wanted_from,
)
from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.ids import ContentHash
from fabgossip.model.moment import Now
from fabgossip.trust.authorization import may_disclose
from fabgossip.trust.rejections import Blame, RejectionCode

_SENDERS_FAULT: Final = frozenset(
    (FetchFailure.BAD_HASH, FetchFailure.BAD_LENGTH, FetchFailure.TOO_SLOW)
)
"""What an honest source never does; the audit log names who did."""
_NOT_THE_SOURCES: Final = frozenset(
    (FetchFailure.DISK, FetchFailure.CANCELLED, FetchFailure.CONTRADICTED)
)
"""The fault of this node, or of who signed."""


class Acquisition:
    """Starts transfers and takes what they bring."""

    __slots__ = ("_announcing", "_contents", "_following", "_m")

    def __init__(
        self,
        machines: Machines,
        contents: OwnContents,
        announcing: Announcing,
        following: Following,
    ) -> None:
        self._m = machines
        self._contents = contents
        self._announcing = announcing
        self._following = following

    def start_transfers(self, now: Now) -> None:
        """Start the transfers there is room for, and set the next try of wants no source could
        serve."""
        started, parked = self._m.fetching.next_transfers(self._sources_of, now.instant)
        for want in started:
            assert want.source is not None
            if want.has_climbed and len(want.attempts) and want.step is not want.attempts[-1].step:
                fields = (
                    ("content_hash", want.wanted.content_hash.hex()),
                    ("step", want.step.value),
                )
                self._m.out.append(Record(fact=Fact.RECOVERY_STARTED, fields=fields))
            self._m.out.append(
                ReceiveContent(
                    wanted=wanted_from(want.source.verified, is_read=want.wanted.is_read),
                    link=want.source.link,
                    traffic=want.traffic,
                    idle_ms=IDLE_MS[want.step],
                )
            )
        for want in parked:
            timer = WantDue(content_hash=want.wanted.content_hash, generation=want.generation)
            at = self._m.fetching.next_try_at(want, now.instant)
            self._m.out.append(SetTimer(timer=timer, at=at))
            self._announcing.on_stuck(want.verified, now)

    def _sources_of(self, want: Want) -> tuple[Source, ...]:
        """Open links whose peer may know a manifest that stands behind the want."""
        named = [
            one
            for head, one in self._m.catalog.by_content(want.goal.content_hash)
            if head.state not in GONE_STATES and goal_of(one) == want.goal
        ]
        sources = []
        for session in self._m.sessions.open_sessions():
            known = self._known_to(session, named)
            if known is None:
                continue
            record = self._m.neighbors.record_of(session.node_id)
            prefix = prefix_of(known.manifest_hash)
            sources.append(
                Source(
                    link=session.link,
                    node_id=session.node_id,
                    is_storage=self._m.placement.is_storage(session.node_id),
                    distance=NOWHERE if record is None else self._m.neighbors.distance_to(record),
                    says=self._m.holdings.says(session.link, known.manifest.audience, prefix),
                    verified=known,
                )
            )
        return tuple(sources)

    def _known_to(self, session: Session, named: list[VerifiedManifest]) -> VerifiedManifest | None:
        """The manifest to ask a peer with: one it may know, or the hash of another would tell it
        that the same bytes are in use elsewhere."""
        # Of its own trust lane a node asks anybody: else it could not learn whom to believe before
        # it believes somebody.
        trusted = (one for one in named if self._m.beliefs.is_own_lane(one.manifest))
        shared = (one for one in named if may_disclose(session.claims, one.manifest.audience))
        return next(shared, None) or next(trusted, None)

    def on_stored(self, event: ContentStored, now: Now) -> tuple[Want, ...]:
        """A content is here; the wants it ends, if anybody waited for it."""
        stored = event.wanted
        ended = self._m.fetching.on_stored(stored, event.link, now.instant)
        self._following.on_content(stored.content_hash, stored.size, event.content, now)
        for want in ended:
            if want.has_climbed and want.state is WantState.SATISFIED:
                fields = (("content_hash", stored.content_hash.hex()), ("step", want.step.value))
                self._m.out.append(Record(fact=Fact.RECOVERY_ENDED, fields=fields))
        return ended

    def on_failed(self, event: ContentFailed, now: Now) -> None:
        """A content did not come, or vanished from the disk."""
        content_hash = event.wanted.content_hash
        if event.link is None:
            self._contents.on_vanished(content_hash, now)
            return
        want = self._m.fetching.on_failed(
            event.wanted, event.link, event.reason, event.received, now.instant
        )
        if want is None:
            return
        self._record_failure(want, event.link, event.reason)
        if event.reason in _SENDERS_FAULT:
            self._record_rejection(want, event.reason, Blame.PEER, want.attempts[-1].node_id or "")
        elif event.reason is FetchFailure.CONTRADICTED:
            self._on_contradicted(want)
        self._announcing.on_stuck(want.verified, now)

    def on_lost(self, content_hash: ContentHash, now: Now) -> None:
        """A content was found missing or damaged on the own disk."""
        if self._m.catalog.is_named(content_hash):
            fields = (("operation", "read"), ("content_hash", content_hash.hex()))
            self._m.out.append(Record(fact=Fact.STORAGE_FAILED, fields=fields))
            self._contents.on_vanished(content_hash, now)

    def on_granted(self, event: GrantedReceived, now: Now) -> None:
        """A content under a grant came, or did not: it is for who asked, and nothing here."""
        fetch = self._m.granted.on_received(event, now)
        if fetch is not None and event.failure in _SENDERS_FAULT:
            self._record_rejection(
                fetch, event.failure, Blame.PEER, fetch.attempts[-1].node_id or ""
            )
        elif fetch is not None and event.failure is FetchFailure.CONTRADICTED:
            self._record_rejection(fetch, event.failure, Blame.SIGNER, "")

    def _record_failure(self, want: Want, link: LinkId, reason: FetchFailure) -> None:
        """Whom was asked in vain, and whether it had said itself that it holds the content."""
        verified = want.verified
        audience, prefix = verified.manifest.audience, prefix_of(verified.manifest_hash)
        is_advertised = self._m.holdings.says(link, audience, prefix) is True
        fields = (
            ("content_hash", verified.manifest.content_hash.hex()),
            ("namespace", verified.manifest.namespace.text),
            ("source", "" if reason in _NOT_THE_SOURCES else want.attempts[-1].node_id or ""),
            ("step", want.step.value),
            ("outcome", reason.value),
            *((("advertised", 1),) if is_advertised else ()),
        )
        self._m.out.append(Record(fact=Fact.FETCH_FAILED, fields=fields))

    def _on_contradicted(self, want: Want) -> None:
        """Whoever brought it brought what was signed, and so would anybody else: it is the signer
        who is at fault, and nobody is asked again."""
        for head, verified in self._m.catalog.by_content(want.goal.content_hash):
            if verified is head.verified and goal_of(verified) == want.goal:
                head.state = HeadState.INVALID
                self._m.catalog.touch(head.manifest.namespace.text)
        self._record_rejection(want, FetchFailure.CONTRADICTED, Blame.SIGNER, "")
        self._contents.fail_requests(want, "its manifest contradicts itself")

    def _record_rejection(
        self, want: Want | GrantedFetch, reason: FetchFailure, blame: Blame, source: str
    ) -> None:
        """What came is not what was signed: a refusal like any other, in the name of whose fault it
        is."""
        refused = RejectionCode(FAILURE_CODES[reason])
        fields = (
            ("code", refused.value),
            ("detail", f"the content does not fit its manifest: {reason.value}"),
            ("namespace", want.verified.manifest.namespace.text),
            ("source", source),
            ("blame", blame.name.lower()),
        )
        self._m.out.append(Record(fact=Fact.ARTIFACT_REJECTED, fields=fields))
