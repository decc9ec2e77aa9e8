"""Content on its way here: who is asked, what came, whose fault it is if it did not fit.

Decides: nothing its machines do not decide.
Keeps: a peer is asked with a manifest it may know; what an honest source never does is recorded
in the name of who did.
Must not know: how bytes arrive and are hashed.
"""

from typing import Final

from fabgossip.core.activation import Activation
from fabgossip.core.announcing import Announcing
from fabgossip.core.assembling import Assembling
from fabgossip.core.attempts import SKIPPED, LastGood
from fabgossip.core.catalog import HeadState, prefix_of
from fabgossip.core.effects import CancelContent, Dial, Fact, ReceiveContent, Record, SetTimer
from fabgossip.core.events import (
    ContentFailed,
    ContentStored,
    FetchFailure,
    GrantedReceived,
    LadderDue,
    LinkId,
    WantDue,
)
from fabgossip.core.following import Following
from fabgossip.core.granted import GrantedFetch
from fabgossip.core.ladder import IDLE_MS
from fabgossip.core.machines import Machines
from fabgossip.core.own_contents import OwnContents
from fabgossip.core.pace import BYTES_PER_S_MIN, WINDOW
from fabgossip.core.wants import (
    FAILURE_CODES,
    Want,
    WantState,
    goal_of,
    wanted_from,
)
from fabgossip.model.moment import Instant, Now, is_due
from fabgossip.trust.rejections import Blame, RejectionCode

_SENDERS_FAULT: Final = frozenset(
    (FetchFailure.BAD_HASH, FetchFailure.BAD_LENGTH, FetchFailure.TOO_SLOW)
)
"""What an honest source never does; the audit log names who did."""
_WHAT_CAME: Final = {
    FetchFailure.TOO_SLOW: f"it came more slowly than {BYTES_PER_S_MIN >> 10} KiB a second over "
    f"{WINDOW // 1_000} s"
}
_NOT_THE_SOURCES: Final = frozenset(
    (FetchFailure.DISK, FetchFailure.STORAGE, FetchFailure.CANCELLED, FetchFailure.CONTRADICTED)
)
"""The fault of this node, or of who signed."""


class Acquisition:
    """Starts transfers and takes what they bring."""

    __slots__ = (
        "_activation",
        "_announcing",
        "_assembling",
        "_contents",
        "_following",
        "_look_at",
        "_m",
    )

    def __init__(
        self,
        machines: Machines,
        contents: OwnContents,
        announcing: Announcing,
        assembling: Assembling,
        following: Following,
        activation: Activation,
    ) -> None:
        self._m = machines
        self._activation = activation
        self._look_at: Instant | None = None
        """When the timer that is out comes due."""
        self._contents = contents
        self._announcing = announcing
        self._assembling = assembling
        self._following = following

    def start_transfers(self, now: Now) -> None:
        """Start the transfers there is room for, dial sources that have no link, and settle what
        becomes of wants no source could serve."""
        fetching, recovery, neighbors = self._m.fetching, self._m.recovery, self._m.neighbors
        if not fetching.has_wants:
            return
        for node_id in fetching.dialed():
            if recovery.is_reached(node_id, now):
                fetching.on_reached(node_id)
        turn = fetching.next_transfers(recovery.supply_of, neighbors.room_to_dial, now.instant)
        for want in turn.dialing:
            self._visit(want, now)
        for want in turn.started:
            self._ask(want, now)
        broken = [self._on_parked(want, now) for want in turn.parked]
        self._look_again(turn.look_at, now)
        if any(broken):
            self.start_transfers(now)

    def _visit(self, want: Want, now: Now) -> None:
        """Dial a source, unless that is under way or its link is about to open."""
        assert want.source is not None
        self._record_climb(want)
        if self._m.neighbors.begin_visit(want.source.node_id):
            self._m.out.append(Dial(node_id=want.source.node_id, addresses=want.source.addresses))

    def _ask(self, want: Want, now: Now) -> None:
        assert want.source is not None
        assert want.source.verified is not None
        self._record_climb(want)
        self._m.out.append(
            ReceiveContent(
                wanted=wanted_from(want.source.verified, is_read=want.wanted.is_read),
                link=want.source.link,
                traffic=want.traffic,
                idle_ms=IDLE_MS[want.step],
                turn_ms=want.turn_ms,
                audience=want.verified.manifest.audience,
            )
        )

    def _record_climb(self, want: Want) -> None:
        """A want has left the normal step, or climbs on."""
        if want.has_climbed and want.recorded is not want.step:
            want.recorded = want.step
            fields = (
                ("content_hash", want.wanted.content_hash.hex()),
                ("step", want.step.value),
            )
            self._m.out.append(Record(fact=Fact.RECOVERY_STARTED, fields=fields))

    def _on_parked(self, want: Want, now: Now) -> bool:
        """Nobody brought it: rung 5 is what the signed policy makes of the version before, and the
        climb begins anew later. Whether a chain of increments broke, and something else is wanted
        instead."""
        shown = self._activation.shown(want.verified.manifest.namespace.text)
        last_good = self._m.recovery.last_good(want, shown, now)
        self._record_stuck(want, last_good)
        self._m.fetching.on_last_good(want, last_good, now.instant)
        self._wait(want)
        self._announcing.on_stuck(want.verified, now)
        return self._assembling.on_stuck(want.verified, now)

    def _wait(self, want: Want) -> None:
        """Look at a parked want when its wait is over."""
        if not want.is_timed:
            want.is_timed = True
            timer = WantDue(content_hash=want.wanted.content_hash, generation=want.generation)
            self._m.out.append(SetTimer(timer=timer, at=want.retry_at))

    def _record_stuck(self, want: Want, last_good: LastGood | None) -> None:
        """Nobody has it: told once, and again when rung 5 is decided otherwise."""
        told = (last_good is not None, last_good is not None and last_good.is_allowed)
        if want.told_stuck == told:
            return
        want.told_stuck = told
        manifest = want.verified.manifest
        fields = (
            ("content_hash", manifest.content_hash.hex()),
            ("namespace", manifest.namespace.text),
            ("outcome", SKIPPED if last_good is None else last_good.outcome),
            ("detail", "" if last_good is None else last_good.words),
        )
        self._m.out.append(Record(fact=Fact.WANT_STUCK, fields=fields))

    def on_ladder_due(self, now: Now) -> None:
        """A turn may be over, or a token may have come. A timer that an earlier one made needless
        is no reason for another one."""
        if self._look_at is not None and is_due(self._look_at, now.instant):
            self._look_at = None
        self._m.fetching.on_turns_over(now.instant)

    def _look_again(self, look_at: Instant | None, now: Now) -> None:
        """One timer is out at most, unless an earlier one is needed; the later one does no harm."""
        if look_at is None:
            return
        out = self._look_at
        if out is not None and out <= look_at and not is_due(out, now.instant):
            return
        self._look_at = max(look_at, now.instant)
        self._m.out.append(SetTimer(timer=LadderDue(), at=self._look_at))

    def on_stored(self, event: ContentStored, now: Now) -> tuple[Want, ...]:
        """A content is here; the wants it ends, if anybody waited for it."""
        stored = event.wanted
        ended = self._m.fetching.on_stored(stored, event.link, now.instant, dict(event.brought))
        self._cancel_needless()
        for want in ended:
            if want.state is WantState.SATISFIED:
                self._following.on_superseded(want.verified, now)
        self._following.on_content(stored.content_hash, stored.size, event.content, now)
        self._assembling.on_stored(stored.content_hash, now)
        for want in ended:
            if want.state is WantState.REFUSED:
                self._assembling.on_stuck(want.verified, now)
            if want.has_climbed and want.state is WantState.SATISFIED:
                fields = (("content_hash", stored.content_hash.hex()), ("step", want.step.value))
                self._m.out.append(Record(fact=Fact.RECOVERY_ENDED, fields=fields))
        return ended

    def _cancel_needless(self) -> None:
        for link, content_hash in self._m.fetching.next_needless():
            self._m.out.append(CancelContent(link=link, content_hash=content_hash))

    def on_failed(self, event: ContentFailed, now: Now) -> None:
        """A content did not come, or vanished from the disk."""
        content_hash = event.wanted.content_hash
        if event.link is None:
            self._contents.on_vanished(content_hash, now)
            return
        if event.reason is FetchFailure.MISSING:
            self._m.holdings.on_missing(event.link, prefix_of(event.wanted.manifest_hash))
        want = self._m.fetching.on_failed(
            event.wanted, event.link, event.reason, event.received, now.instant
        )
        self._cancel_needless()
        if want is None:
            return
        self._record_failure(want, event.link, event.reason)
        if want.state is WantState.PARKED:
            self._wait(want)
        if event.reason in _SENDERS_FAULT:
            self._record_rejection(want, event.reason, Blame.PEER, want.attempts[-1].node_id or "")
        elif event.reason is FetchFailure.CONTRADICTED:
            self._on_contradicted(want)
            self._assembling.on_stuck(want.verified, now)
        if not self._m.catalog.is_named(content_hash):
            self._contents.void(content_hash)  # superseded meanwhile: this was the try it had left
            return
        self._announcing.on_stuck(want.verified, now)

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
        """What came is not what was signed, or did not come in any time: a refusal like any other,
        in the name of whose fault it is."""
        refused = RejectionCode(FAILURE_CODES[reason])
        fields = (
            ("code", refused.value),
            ("detail", _WHAT_CAME.get(reason, f"what came is not what was signed: {reason.value}")),
            ("namespace", want.verified.manifest.namespace.text),
            ("source", source),
            ("blame", blame.name.lower()),
        )
        self._m.out.append(Record(fact=Fact.ARTIFACT_REJECTED, fields=fields))
