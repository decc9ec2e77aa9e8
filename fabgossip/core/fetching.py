"""Outstanding wants: which content to get from whom, and what every try came to.

Decides: when to try again, when to give up a source for a content, when a want ends.
Keeps: no want without an admitted manifest; one want per content and signer however many reasons
it has; whichever want brings a content, it ends all that are for it; steps in strict order.
Must not know: how bytes travel, where they rest.

A source without a link is dialled; its want waits for the link one turn long, and the link may come
later all the same. After a climb without success the want is parked, and starts at normal again on
evidence (a link opens, somebody advertises it), at once if that came during the climb, or after a
wait that doubles.
"""

from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from types import MappingProxyType
from typing import Final

from fabgossip.core.asking import Asking
from fabgossip.core.attempts import (
    ATTEMPTS_MAX,
    CONNECT_FAILED,
    SKIPPED,
    TIMED_OUT,
    VERIFIED,
    LastGood,
)
from fabgossip.core.circuits import FAILED, HALF_FAILED, Circuits
from fabgossip.core.config import FetchingConfig, RecoveryConfig
from fabgossip.core.credence import Credence
from fabgossip.core.events import ContentWanted, FetchFailure, LinkId, RequestId
from fabgossip.core.head_climbs import HeadClimbs
from fabgossip.core.ladder import STEPS, Step
from fabgossip.core.open_wants import OpenWants
from fabgossip.core.patience import Patience
from fabgossip.core.sources import Supply, Turn
from fabgossip.core.wants import (
    AT_ONCE,
    DISK_WAITS,
    REQUESTS_PER_WANT_MAX,
    SOURCES_PER_WANT_MAX,
    BackOff,
    EndedWant,
    Source,
    Try,
    Want,
    WantState,
    goal_of,
    wanted_from,
)
from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.ids import ContentHash, NodeId
from fabgossip.model.messages import TrafficClass
from fabgossip.model.moment import Instant, is_due, later

NOTHING: Final[Mapping[LinkId, int]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchingSnapshot:
    """Counts for status."""

    wanted: int
    in_flight: int
    dialing: int
    parked: int
    out_of_space: int
    """Parked until the own disk takes them."""
    last_good: int
    """Wanted contents for which the last valid version stays in use."""
    highest_step: str
    shut_out: int
    """Sources that are left alone for an audience at least."""
    fetched: int
    failed: int


class Fetching:
    """All wants of a node."""

    __slots__ = (
        "_asking", "_circuits", "_config", "_credence", "_failed", "_fetched", "_generation",
        "_needless", "_patience", "_wants", "for_heads",
    )  # fmt: skip

    def __init__(self, config: FetchingConfig, recovery: RecoveryConfig, rng: Random) -> None:
        self._config = config
        self._circuits = Circuits(recovery, rng)
        self._credence = Credence()
        self._patience = Patience(config, self._circuits, rng)
        self._wants = OpenWants(config.ended_max)
        self._asking = Asking(config, recovery, self._circuits, self._credence)
        self.for_heads = HeadClimbs(self._asking, self._circuits, self._patience)
        """The same ladder for what is newer than what is here."""
        self._needless: list[tuple[LinkId, ContentHash]] = []
        self._generation = 0
        self._fetched = 0
        self._failed = 0

    def on_wanted(
        self,
        verified: VerifiedManifest,
        traffic: TrafficClass,
        announcer: NodeId | None,
        now: Instant,
        *,
        is_read: bool,
    ) -> Want | None:
        """There is a reason to get this content; None if the limit of wants is reached. Trust is
        never refused, and what is more urgent takes the place of something that waits."""
        want = self.find(verified)
        if want is None:
            if self.is_full and traffic is not TrafficClass.TRUST and not self._make_room(traffic):
                return None
            wanted = wanted_from(verified, is_read=is_read)
            want = Want(goal_of(verified), wanted, verified, traffic, now, now)
            self._wants.on_open(want)
            self._asking.backlog.on_new(want)
        if announcer is not None:
            self.on_announced(want, announcer, now)
        return want

    @property
    def is_full(self) -> bool:
        """Whether the limit of wants is reached."""
        return len(self._wants) >= self._config.wants_max

    def _make_room(self, traffic: TrafficClass) -> bool:
        """Give up the youngest want of the least urgent class that waits, if it is less urgent than
        this: it is wanted again once there is room."""
        idle = (WantState.QUEUED, WantState.PARKED)
        last = max(
            (one for one in self._wants.all() if one.state in idle and not one.requests),
            key=lambda one: one.key,
            default=None,
        )
        if last is None or last.traffic <= traffic:
            return False
        self._end(last, WantState.VOID)
        return True

    def on_announced(self, want: Want, announcer: NodeId, now: Instant) -> None:
        """A node announced what a want is for: whether it had it before or not, it may have it
        now."""
        is_news = want.on_announced(announcer)
        if self._credence.is_ignored(announcer, now):
            return
        if want.on_word(announcer) or is_news:
            self._on_news(want)

    def _on_news(self, want: Want) -> None:
        """A node that may have a content came to be known as such."""
        want.is_urgent |= want.step is not Step.NORMAL
        self._wake(want)

    def on_request(self, want: Want, request: RequestId) -> bool:
        """A local request waits for a want; False if too many do."""
        if request in want.requests:
            return True
        if len(want.requests) >= REQUESTS_PER_WANT_MAX:
            return False
        want.requests.append(request)
        self._wake(want)
        return True

    def on_request_over(self, content_hash: ContentHash, request: RequestId) -> None:
        """A local request for a content waits no longer."""
        for want in self.wants_of(content_hash):
            if request in want.requests:
                want.requests.remove(request)

    def is_awaited(self, content_hash: ContentHash, request: RequestId) -> bool:
        """Whether a local request still waits for a want of a content."""
        return any(request in want.requests for want in self.wants_of(content_hash))

    def wants_of(self, content_hash: ContentHash) -> tuple[Want, ...]:
        """The open wants of a content."""
        return self._wants.of(content_hash)

    def on_advertised(self, node_id: NodeId, verified: VerifiedManifest, now: Instant) -> None:
        """A neighbour says it holds a wanted content now."""
        want = self.find(verified)
        if want is None or self._credence.is_ignored(node_id, now):
            return
        if want.on_word(node_id):
            self._on_news(want)

    def on_opened(self, node_id: NodeId, now: Instant) -> None:
        """A link opened, or its peer may know more: whatever is parked may have a source again."""
        self._circuits.on_linked(node_id, now)
        for want in self._wants.all():
            want.on_link(node_id)
            want.is_urgent |= want.step is not Step.NORMAL
            self._wake(want)

    def on_lost(self, node_id: NodeId) -> None:
        """A link to a node ended; its transfers come back as failures of their own. That it
        announced something stands: over another link it is asked as before."""
        for want in self._wants.all():
            want.on_link(node_id)

    def on_unreached(self, node_id: NodeId, now: Instant, *, for_company: bool) -> None:
        """No link to a node could be made; `for_company`: it was not dialled for a want alone."""
        wants = self._asking.visits.of(node_id)
        if for_company:
            self._circuits.on_failed(node_id, None, FAILED, now, now)
        for audience in dict.fromkeys(one.audience for one in wants):
            self._circuits.on_failed(node_id, audience, FAILED, now, now)
        for want in wants:
            self._miss(want, CONNECT_FAILED, now)

    @property
    def has_wants(self) -> bool:
        """Whether anything is wanted: asked after every event, and mostly nothing is."""
        return len(self._wants) > 0

    def dialed(self) -> tuple[NodeId, ...]:
        """The nodes that wants wait to be linked to."""
        return self._asking.visits.nodes()

    def on_reached(self, node_id: NodeId) -> None:
        """A node that was dialled may be asked now."""
        for want in self._asking.visits.of(node_id):
            self._asking.on_back(want)
            want.visited = node_id

    def on_turns_over(self, now: Instant) -> None:
        """Sources that were dialled and have no link when their turn is over: it may come later, so
        they half fail."""
        for want in self._asking.visits.due(now):
            assert want.source is not None
            self._half_fail(want, want.source, want.asked_at, now)
            self._miss(want, TIMED_OUT, now)

    def _half_fail(self, want: Want, source: Source, asked_at: Instant, now: Instant) -> None:
        self._circuits.on_failed(source.node_id, want.audience, HALF_FAILED, asked_at, now)

    def _miss(self, want: Want, outcome: str, now: Instant) -> None:
        """The source of a want could not be asked."""
        (one,) = want.tries
        want.on_tried(one, outcome, now, 0)
        want.on_unreached(one.source, self._wait_of(want, one.source), now)
        self._asking.on_back(want)

    def _wake(self, want: Want) -> None:
        """A want that is parked or waits may have a source now."""
        if want.waits_for_disk is not None:
            return  # whoever has it now, nothing could be done with it
        if want.state is WantState.PARKED:
            want.enter(Step.NORMAL)
            want.climb_since = None
            want.is_urgent = False
            want.state = WantState.QUEUED
            self._asking.backlog.on_new(want)
        elif want.state is WantState.QUEUED:
            self._asking.backlog.on_news(want)

    def _next_generation(self) -> int:
        self._generation += 1
        return self._generation

    def on_due(self, content_hash: ContentHash, generation: int) -> None:
        """The wait of a parked want is over, unless it was woken before."""
        for want in self.wants_of(content_hash):
            if want.generation == generation:
                want.waits_for_disk = None
                want.heard.clear()
                self._wake(want)

    def on_space(self) -> None:
        """The own disk takes again what it refused."""
        for want in self._wants.all():
            if want.waits_for_disk is FetchFailure.STORAGE:
                want.waits_for_disk = None
                want.retry_at = AT_ONCE
                self._wake(want)

    def on_stored(
        self,
        stored: ContentWanted,
        link: LinkId | None,
        now: Instant,
        brought: Mapping[LinkId, int] = NOTHING,
    ) -> tuple[Want, ...]:
        """The content is here: all wants of it end, satisfied, or refused where its size is not
        what they say. `brought`: bytes by link, where several brought it."""
        ended = self.wants_of(stored.content_hash)
        for want in ended:
            if want.state is WantState.FETCHING:
                self._on_won(want, stored, brought or _whole(stored, link), now)
            is_true = want.goal.size == stored.size
            self._end(want, WantState.SATISFIED if is_true else WantState.REFUSED)
        self._fetched += any(want.state is WantState.SATISFIED for want in ended)
        return ended

    def _on_won(
        self, want: Want, stored: ContentWanted, brought: Mapping[LinkId, int], now: Instant
    ) -> None:
        """Who else was asked for it is not needed any more; who was silent while somebody asked
        after it brought it has half failed."""
        is_true, tries = want.goal.size == stored.size, want.tries
        won = [one for one in tries if is_true and one.source.link in brought]
        for one in won:
            assert one.source.link is not None
            want.on_tried(one, VERIFIED, now, brought[one.source.link])
            self._circuits.on_answered(one.source.node_id, want.audience)
        others = [one for one in tries if one not in won]
        self._take_back(want, others, now)
        for one in others:
            if any(one.asked_at < other.asked_at for other in won):
                self._half_fail(want, one.source, one.asked_at, now)

    def _take_back(self, want: Want, tries: list[Try], now: Instant) -> None:
        """What these are asked for is not needed any more."""
        for one in tries:
            want.on_tried(one, FetchFailure.CANCELLED.value, now, 0)
            if one.source.link is not None:
                self._needless.append((one.source.link, want.goal.content_hash))

    def next_needless(self) -> tuple[tuple[LinkId, ContentHash], ...]:
        """Contents that are not needed any more, by the link they are still asked of; told once."""
        needless, self._needless = tuple(self._needless), []
        return needless

    def on_failed(
        self,
        failed: ContentWanted,
        link: LinkId,
        reason: FetchFailure,
        received: int,
        now: Instant,
    ) -> Want | None:
        """A try came to nothing: the want queues for its next source; where what is signed
        contradicts itself, it ends."""
        found = self._asked_of(failed, link)
        if found is None:
            # The try belonged to a want that was void meanwhile; another may ask somebody else.
            return None
        self._failed += 1
        want, one = found
        source = one.source
        want.on_tried(one, reason.value, now, received)
        if reason is FetchFailure.CONTRADICTED or reason in DISK_WAITS:
            self._take_back(want, [other for other in want.tries if other != one], now)
            if reason is FetchFailure.CONTRADICTED:
                self._end(want, WantState.REFUSED)
            else:
                self._wait_for_disk(want, reason, now)
            return want
        if reason in (FetchFailure.BAD_HASH, FetchFailure.BAD_LENGTH):
            want.bar(source, now)
        if want.is_contradicted(source, reason):
            self._credence.on_contradicted(source.node_id, now)
        want.on_fault(source, reason, self._wait_of(want, source), now)
        self._patience.on_failed(want, source.node_id, reason, one.asked_at, now)
        if received:
            want.step_since = now
        if want.beside:
            self._asking.on_one_over(want, one, now)
        else:
            self._asking.on_back(want)
        return want

    def _asked_of(self, failed: ContentWanted, link: LinkId) -> tuple[Want, Try] | None:
        """Which try of which want a failure is about."""
        for want in self.wants_of(failed.content_hash):
            for one in want.tries:
                verified = one.source.verified
                if verified is not None and (one.source.link, verified.manifest_hash) == (
                    link,
                    failed.manifest_hash,
                ):
                    return want, one
        return None

    def _wait_for_disk(self, want: Want, reason: FetchFailure, now: Instant) -> None:
        """Whoever is asked next brings bytes nobody can keep: the climb is over, and it says
        nothing of the sources."""
        self._asking.on_over(want)
        want.trace.on_climb_over(want.climbs)
        want.climbs += 1
        want.state, want.waits_for_disk = WantState.PARKED, reason
        want.wait_until(later(now, DISK_WAITS[reason]), self._next_generation())

    def on_named(
        self, content_hash: ContentHash, named: tuple[VerifiedManifest, ...]
    ) -> tuple[Want, ...]:
        """These manifests name a content by now, and no other: gives the wants that nothing
        stands behind any more. A transfer of theirs under way finishes; its bytes are dropped."""
        void = []
        for want in self.wants_of(content_hash):
            behind = [one for one in named if goal_of(one) == want.goal]
            joined = None if behind else self._joined(want, named)
            if joined is not None:
                self._wants.on_joined(want, joined)
            elif not behind:
                self._end(want, WantState.VOID)
                void.append(want)
            elif want.verified not in behind:
                self._on_other_manifest(want, behind[0])
        return tuple(void)

    def _on_other_manifest(self, want: Want, verified: VerifiedManifest) -> None:
        """Another manifest stands behind a want, maybe of another audience: for the one before, its
        tries under way tell no more, and probes may follow."""
        for one in want.tries:
            self._circuits.on_settled(one.source.node_id, want.audience)
        want.verified = verified
        want.wanted = wanted_from(verified, is_read=want.wanted.is_read)

    def _joined(self, want: Want, named: tuple[VerifiedManifest, ...]) -> VerifiedManifest | None:
        """What a want is for, in an envelope with further signatures; whoever is asked for it goes
        on, and whoever announced it is asked as before."""
        same = (one for one in named if one.manifest_hash == want.verified.manifest_hash)
        found = next(same, None)
        return None if found is None or self.find(found) is not None else found

    def _end(self, want: Want, state: WantState) -> None:
        self._asking.on_over(want)
        self._wants.on_ended(want, state)

    def next_transfers(
        self, supply_of: Callable[[Want], Supply], room: Callable[[], int], now: Instant
    ) -> Turn:
        """What to do now for wants that wait for a source; `room`: dials that may begin."""
        turn = self._asking.next_turn(supply_of, room, now)
        for want in turn.parked:
            self._park(want, now)
        return turn

    def is_ignored(self, node_id: NodeId, now: Instant) -> bool:
        """Whether what a node says of its holdings counts for nothing now: it was asked, and was
        wrong, too often of late."""
        return self._credence.is_ignored(node_id, now)

    def heard(self, supply: Supply, now: Instant) -> Supply:
        """The sources there are, without the words that count for nothing."""
        return self._asking.heard(supply, now)

    def is_any_under_way(self, classes: Container[TrafficClass]) -> bool:
        """Whether a content of these classes is on its way. Cost: O(wants)."""
        return any(
            want.state is WantState.FETCHING and want.traffic in classes
            for want in self._wants.all()
        )

    def is_under_way(self, verified: VerifiedManifest) -> bool:
        """Whether the content a manifest names is on its way."""
        want = self.find(verified)
        return want is not None and want.state is WantState.FETCHING

    def is_asked(self, node_id: NodeId) -> bool:
        """Whether a content is on its way from a node."""
        return self._asking.is_asked(node_id)

    def _wait_of(self, want: Want, source: Source) -> BackOff:
        return partial(self._patience.back_off, want, source.node_id)

    def _park(self, want: Want, now: Instant) -> None:
        """A climb ended without success: what is left to decide is rung 5. One that began on news
        moves no wait that is still running: or whoever has news would put off the next try."""
        want.state = WantState.PARKED
        want.enter(Step.RUNG_5)
        if want.is_urgent or is_due(want.retry_at, now):
            retry_at = self._patience.next_try_at(want, now)
            want.wait_until(retry_at, self._next_generation())

    def on_last_good(self, want: Want, last_good: LastGood | None, now: Instant) -> None:
        """Rung 5 of the climb that just ended: what becomes of the version before."""
        want.last_good = last_good
        outcome = SKIPPED if last_good is None else last_good.outcome
        reason = "no version before it is in use" if last_good is None else last_good.words
        want.note(node_id=None, outcome=outcome, reason=reason, at=now)
        want.trace.on_climb_over(want.climbs)
        want.climbs += 1

    def find(self, verified: VerifiedManifest) -> Want | None:
        """The open want behind which a manifest stands."""
        return self._wants.find(verified)

    def ended(self, verified: VerifiedManifest) -> EndedWant | None:
        """The newest ended want behind which a manifest stood, while it is remembered."""
        return self._wants.ended(verified)

    def wants(self) -> tuple[Want, ...]:
        """All open wants, oldest first."""
        return self._wants.all()

    def snapshot(self, now: Instant) -> FetchingSnapshot:
        """Counts for status."""
        wants = self._wants.all()
        steps = [STEPS.index(want.step) for want in wants]
        return FetchingSnapshot(
            wanted=len(wants),
            in_flight=self._asking.in_flight,
            dialing=len(self._asking.visits),
            parked=sum(want.state is WantState.PARKED for want in wants),
            out_of_space=sum(want.waits_for_disk is not None for want in wants),
            last_good=sum(
                want.last_good is not None and want.last_good.is_allowed for want in wants
            ),
            highest_step=STEPS[max(steps)].value if steps else Step.NORMAL.value,
            shut_out=self._circuits.count_open(now),
            fetched=self._fetched,
            failed=self._failed,
        )

    def check(self) -> None:
        """Assert limits and that counts equal a recount."""
        states = Counter(want.state for want in self._wants.all())
        fetching = [want for want in self._wants.all() if want.state is WantState.FETCHING]
        self._asking.check(
            asked=sum(len(want.tries) for want in fetching),
            dialing=states[WantState.DIALING],
            queued=states[WantState.QUEUED],
        )
        for machine in (self._wants, self._circuits, self._credence):
            machine.check()
        for want in self._wants.all():
            assert len(want.attempts) <= ATTEMPTS_MAX
            sources = (len(want.announcers), len(want.tried), len(want.barred), len(want.heard))
            assert max(sources) <= SOURCES_PER_WANT_MAX


def _whole(stored: ContentWanted, link: LinkId | None) -> Mapping[LinkId, int]:
    return NOTHING if link is None else {link: stored.size}
