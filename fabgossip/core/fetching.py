"""Outstanding wants: which content to get from whom, and what every try came to.

Decides: the next source of each want, when to try again, when to give up a source for a content.
Keeps: no want without an admitted manifest; one want per content and signer however many reasons
it has; whichever want brings a content, it ends all that are for it;
steps in strict order; trust waits for no other class; however many wants are outstanding, the
control plane and the endpoints everybody starts from are asked at a pace.
Must not know: how bytes travel, where they rest.

A source without a link is dialled; its want waits for the link one turn long, and the link may come
later all the same. After a climb without success the want is parked, and starts at normal again on
evidence (a link opens, somebody advertises it), at once if that came during the climb, or after a
wait that doubles.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from fabgossip.core.attempts import (
    ATTEMPTS_MAX,
    CONNECT_FAILED,
    NOT_ASKED,
    SKIPPED,
    TIMED_OUT,
    LastGood,
)
from fabgossip.core.circuits import FAILED, TURN_LOST, Circuits
from fabgossip.core.config import FetchingConfig, RecoveryConfig
from fabgossip.core.events import ContentWanted, FetchFailure, LinkId, RequestId
from fabgossip.core.in_flight import InFlight
from fabgossip.core.ladder import STEPS, TURN_MS_MIN, Step
from fabgossip.core.ordered import OrderedMap
from fabgossip.core.patience import Patience
from fabgossip.core.sources import Choice, Room, Supply, Turn, is_of, next_source
from fabgossip.core.tolls import Tolls
from fabgossip.core.wants import (
    REQUESTS_PER_WANT_MAX,
    SOURCES_PER_WANT_MAX,
    BackOff,
    EndedWant,
    Goal,
    Source,
    Want,
    WantState,
    goal_of,
    wanted_from,
)
from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.ids import ContentHash, NodeId
from fabgossip.model.messages import TrafficClass
from fabgossip.model.moment import Duration, Instant, is_due, later
from fabgossip.model.scope import Audience


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchingSnapshot:
    """Counts for status."""

    wanted: int
    in_flight: int
    dialing: int
    parked: int
    last_good: int
    """Wanted contents for which the last valid version stays in use."""
    highest_step: str
    shut_out: int
    """Sources that fail whatever they are asked for."""
    fetched: int
    failed: int


class Fetching:
    """All wants of a node."""

    __slots__ = (
        "_by_content", "_circuits", "_config", "_dialing", "_ended", "_failed", "_fetched",
        "_generation", "_in_flight", "_may_dial", "_patience", "_queue", "_sequence", "_tolls",
        "_wants", )  # fmt: skip

    def __init__(self, config: FetchingConfig, recovery: RecoveryConfig, rng: Random) -> None:
        self._config = config
        self._tolls = Tolls(recovery)
        self._circuits = Circuits(recovery, rng)
        self._patience = Patience(config, self._circuits, rng)
        self._dialing: dict[NodeId, dict[Goal, None]] = {}
        self._wants: dict[Goal, Want] = {}
        self._by_content: dict[ContentHash, dict[Goal, Want]] = {}
        self._queue: OrderedMap[tuple[int, int], Goal] = OrderedMap()
        self._in_flight = InFlight(config)
        self._ended: deque[EndedWant] = deque(maxlen=config.ended_max)
        self._sequence = 0
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
        """There is a reason to get this content; None if the limit of wants is reached (trust is
        never refused)."""
        goal = goal_of(verified)
        want = self._wants.get(goal)
        if want is None:
            if len(self._wants) >= self._config.wants_max and traffic is not TrafficClass.TRUST:
                return None
            self._sequence += 1
            wanted = wanted_from(verified, is_read=is_read)
            want = Want(goal, wanted, verified, traffic, now, self._sequence, now)
            self._wants[goal] = want
            self._by_content.setdefault(goal.content_hash, {})[goal] = want
            self._queue[want.key] = goal
        if announcer is not None:
            self.on_announced(want, announcer)
        return want

    def on_announced(self, want: Want, announcer: NodeId) -> None:
        """A node announced what a want is for: whether it had it before or not, it may have it
        now."""
        want.on_announced(announcer)
        want.on_word(announcer)
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
        return tuple(self._by_content.get(content_hash, {}).values())

    def on_advertised(self, node_id: NodeId, verified: VerifiedManifest) -> None:
        """A neighbour says it holds a wanted content now."""
        want = self.find(verified)
        if want is not None:
            want.on_word(node_id)
            self._wake(want)

    def on_opened(self, node_id: NodeId, now: Instant) -> None:
        """A link opened, or its peer may know more: whatever is parked may have a source again."""
        self._circuits.on_linked(node_id, now)
        for want in self._wants.values():
            want.on_link(node_id)
            want.is_urgent |= want.step is not Step.NORMAL
            self._wake(want)

    def on_lost(self, node_id: NodeId) -> None:
        """A link to a node ended; its transfers come back as failures of their own. That it
        announced something stands: over another link it is asked as before."""
        for want in self._wants.values():
            want.on_link(node_id)

    def on_unreached(self, node_id: NodeId, now: Instant) -> None:
        """No link to a node could be made."""
        self._circuits.on_failed(node_id, FAILED, now)
        for want in self._dialed(node_id):
            self._miss(want, CONNECT_FAILED, now)

    @property
    def has_waiting(self) -> bool:
        """Whether any want waits for a source, or for a link to one. Asked after every event."""
        return bool(self._dialing) or len(self._queue) > 0

    def dialed(self) -> tuple[NodeId, ...]:
        """The nodes that wants wait to be linked to."""
        return tuple(self._dialing)

    def on_reached(self, node_id: NodeId) -> None:
        """A node that was dialled may be asked now."""
        for want in self._dialed(node_id):
            self._hang_up(want)
            want.visited = node_id
            self._enqueue(want)

    def on_turns_over(self, now: Instant) -> None:
        """Sources that were dialled and have no link yet lose their turn when it is over."""
        for node_id in self.dialed():
            for want in self._dialed(node_id):
                if is_due(want.visit_ends, now):
                    self._circuits.on_failed(node_id, TURN_LOST, now)
                    self._miss(want, TIMED_OUT, now)

    def _dialed(self, node_id: NodeId) -> tuple[Want, ...]:
        return tuple(self._wants[goal] for goal in self._dialing.get(node_id, ()))

    def _miss(self, want: Want, outcome: str, now: Instant) -> None:
        """The source of a want could not be asked."""
        assert want.source is not None
        want.tried_source(outcome, now, 0)
        want.on_unreached(want.source, self._wait_of(want, want.source), now)
        self._hang_up(want)
        self._enqueue(want)

    def _hang_up(self, want: Want) -> None:
        """A want waits for no link any more."""
        assert want.source is not None
        self._circuits.on_settled(want.source.node_id)
        waiting = self._dialing[want.source.node_id]
        del waiting[want.goal]
        if not waiting:
            del self._dialing[want.source.node_id]
        want.source = None

    def _enqueue(self, want: Want) -> None:
        want.state = WantState.QUEUED
        self._queue[want.key] = want.goal

    def _wake(self, want: Want) -> None:
        if want.state is WantState.PARKED:
            want.generation = self._next_generation()
            want.enter(Step.NORMAL)
            want.climb_since = None
            want.is_urgent = False
            self._enqueue(want)

    def _next_generation(self) -> int:
        self._generation += 1
        return self._generation

    def on_due(self, content_hash: ContentHash, generation: int) -> None:
        """The wait of a parked want is over, unless it was woken before."""
        for want in self.wants_of(content_hash):
            if want.generation == generation:
                self._wake(want)

    def on_stored(
        self, stored: ContentWanted, link: LinkId | None, now: Instant
    ) -> tuple[Want, ...]:
        """The content is here: all wants of it end, satisfied, or refused where its size is not
        what they say."""
        ended = self.wants_of(stored.content_hash)
        for want in ended:
            if want.state is WantState.DIALING:
                self._hang_up(want)
            elif want.source is not None:
                is_its = want.source.link == link and want.goal.size == stored.size
                outcome = "verified" if is_its else FetchFailure.CANCELLED.value
                want.tried_source(outcome, now, stored.size if is_its else 0)
                node_id = want.source.node_id
                self._release(want)
                if is_its:
                    self._circuits.on_answered(node_id)
            is_true = want.goal.size == stored.size
            self._end(want, WantState.SATISFIED if is_true else WantState.REFUSED)
        self._fetched += any(want.state is WantState.SATISFIED for want in ended)
        return ended

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
        tried = (link, failed.manifest_hash)
        want = next(
            (
                one
                for one in self.wants_of(failed.content_hash)
                if one.source is not None
                and one.source.verified is not None
                and (one.source.link, one.source.verified.manifest_hash) == tried
            ),
            None,
        )
        if want is None or want.source is None:
            # The try belonged to a want that was void meanwhile; another may ask somebody else.
            return None
        self._failed += 1
        source = want.source
        want.tried_source(reason.value, now, received)
        self._release(want)
        if reason is FetchFailure.CONTRADICTED:
            self._end(want, WantState.REFUSED)
            return want
        if reason in (FetchFailure.BAD_HASH, FetchFailure.BAD_LENGTH):
            want.bar(source, now)
        want.on_fault(source, reason, self._wait_of(want, source), now)
        self._patience.on_failed(source.node_id, reason, now)
        if received:
            want.step_since = now
        self._enqueue(want)
        return want

    def on_named(
        self, content_hash: ContentHash, named: tuple[VerifiedManifest, ...]
    ) -> tuple[Want, ...]:
        """These manifests name a content by now, and no other: gives the wants that nothing
        stands behind any more. A transfer of theirs under way finishes; its bytes are dropped."""
        void = []
        for want in self.wants_of(content_hash):
            behind = [one for one in named if goal_of(one) == want.goal]
            if not behind:
                if want.state is WantState.DIALING:
                    self._hang_up(want)
                elif want.state is WantState.FETCHING:
                    self._release(want)
                self._end(want, WantState.VOID)
                void.append(want)
            elif want.verified not in behind:
                want.verified = behind[0]
                want.wanted = wanted_from(want.verified, is_read=want.wanted.is_read)
        return tuple(void)

    def _end(self, want: Want, state: WantState) -> None:
        want.state = state
        goal = want.goal
        del self._wants[goal]
        rest = self._by_content[goal.content_hash]
        del rest[goal]
        if not rest:
            del self._by_content[goal.content_hash]
        self._queue.discard(want.key)
        namespace = want.verified.manifest.namespace.text
        ended = EndedWant(
            goal=goal,
            namespace=namespace,
            state=state,
            attempts=want.attempts,
        )
        self._ended.append(ended)

    def _release(self, want: Want) -> None:
        assert want.source is not None
        self._in_flight.on_over(want.source.node_id, is_trust=want.is_trust)
        self._circuits.on_settled(want.source.node_id)
        want.source = None

    def next_transfers(
        self, supply_of: Callable[[Want], Supply], room: Callable[[], int], now: Instant
    ) -> Turn:
        """What to do now for wants that wait for a source; `room`: dials that may begin."""
        self._may_dial = room() if len(self._queue) else 0
        started: list[Want] = []
        dialing: list[Want] = []
        parked: list[Want] = []
        busy: list[Audience] = []
        looks = [self._wants[next(iter(one))].visit_ends for one in self._dialing.values()]
        for _, goal in self._queue.items_after((-1, 0), self._config.transfers_max * 4):
            want = self._wants[goal]
            if not self._in_flight.has_room(is_trust=want.is_trust):
                if want.is_trust:
                    continue
                break
            if want.verified.manifest.audience in busy and self._in_flight.are_full(
                want.announcers
            ):
                continue
            choice = self._choice(want, supply_of(want), now)
            if choice.source is not None and choice.source.link is None:
                self._dial(want, choice, now)
                dialing.append(want)
                looks.append(want.visit_ends)
            elif choice.source is not None:
                self._start(want, choice, now)
                started.append(want)
            elif choice.waits:
                looks += [] if choice.look_at is None else [choice.look_at]
                busy += [] if choice.look_at else [want.verified.manifest.audience]
            else:
                self._park(want, now)
                parked.append(want)
        return Turn(tuple(started), tuple(dialing), tuple(parked), min(looks, default=None))

    def _choice(self, want: Want, supply: Supply, now: Instant) -> Choice:
        """Whom to ask: who was dialled for this want and is here now, else the next in order."""
        if want.climb_since is None:
            want.climb_since = now
        visited, want.visited = want.visited, None
        if visited is not None:
            found = next((one for one in supply.linked if one.node_id == visited), None)
            if found is not None and is_of(want, want.step, found):
                if self._is_source_full(found):
                    want.visited = visited
                    return Choice(waits=True)
                turn_ms = max(want.left_ms(now), TURN_MS_MIN)
                return Choice(source=found, turn_ms=turn_ms, reason=want.reason, is_paid=True)
            want.note(node_id=visited, outcome=NOT_ASKED, reason=want.reason, at=want.asked_at)
        room = Room(
            is_full=self._is_source_full,
            token_at=lambda step, one: self._tolls.next_at(step, one, now),
            circuit_of=lambda node_id: self._circuits.state_of(node_id, now),
            probe_at=self._circuits.probe_at,
        )
        return next_source(want, supply, room, now)

    def is_asked(self, node_id: NodeId) -> bool:
        """Whether a content is on its way from a node."""
        return self._in_flight.is_asked(node_id)

    def _is_source_full(self, source: Source) -> bool:
        if source.link is None:
            return self._may_dial <= 0 and source.node_id not in self._dialing
        return self._in_flight.is_full(source.node_id)

    def _dial(self, want: Want, choice: Choice, now: Instant) -> None:
        """Wait for a link to a source."""
        source = self._begin(want, choice, now)
        self._may_dial -= source.node_id not in self._dialing
        want.state = WantState.DIALING
        want.visit_ends = later(now, Duration(choice.turn_ms))
        self._dialing.setdefault(source.node_id, {})[want.goal] = None

    def _begin(self, want: Want, choice: Choice, now: Instant) -> Source:
        self._queue.discard(want.key)
        assert choice.source is not None
        self._circuits.on_asked(choice.source.node_id)
        if not choice.is_paid:
            self._tolls.pay(want, now)
            want.asked += 1
            want.asked_at = now
        want.step_since = now if want.step_since is None else want.step_since
        want.source, want.reason, want.turn_ms = choice.source, choice.reason, choice.turn_ms
        want.has_climbed = want.has_climbed or want.step is not Step.NORMAL
        return choice.source

    def _start(self, want: Want, choice: Choice, now: Instant) -> None:
        source = self._begin(want, choice, now)
        want.state = WantState.FETCHING
        self._in_flight.on_started(source.node_id, is_trust=want.is_trust)

    def _wait_of(self, want: Want, source: Source) -> BackOff:
        return partial(self._patience.back_off, want, source.node_id)

    def _park(self, want: Want, now: Instant) -> None:
        """A climb ended without success: what is left to decide is rung 5."""
        self._queue.discard(want.key)
        want.state = WantState.PARKED
        want.enter(Step.RUNG_5)
        want.generation = self._next_generation()
        want.retry_at = self._patience.next_try_at(want, now)

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
        return self._wants.get(goal_of(verified))

    def ended(self, verified: VerifiedManifest) -> EndedWant | None:
        """The newest ended want behind which a manifest stood, while it is remembered."""
        goal = goal_of(verified)
        return next((one for one in reversed(self._ended) if one.goal == goal), None)

    def wants(self) -> tuple[Want, ...]:
        """All open wants, oldest first."""
        return tuple(self._wants.values())

    def snapshot(self, now: Instant) -> FetchingSnapshot:
        """Counts for status."""
        steps = [STEPS.index(want.step) for want in self._wants.values()]
        return FetchingSnapshot(
            wanted=len(self._wants),
            in_flight=self._in_flight.count,
            dialing=sum(map(len, self._dialing.values())),
            parked=sum(want.state is WantState.PARKED for want in self._wants.values()),
            last_good=sum(
                want.last_good is not None and want.last_good.is_allowed
                for want in self._wants.values()
            ),
            highest_step=STEPS[max(steps)].value if steps else Step.NORMAL.value,
            shut_out=self._circuits.count_open(now),
            fetched=self._fetched,
            failed=self._failed,
        )

    def check(self) -> None:
        """Assert limits and that counts equal a recount."""
        fetching = [want for want in self._wants.values() if want.state is WantState.FETCHING]
        dialing = {one.goal for one in self._wants.values() if one.state is WantState.DIALING}
        assert {goal for one in self._dialing.values() for goal in one} == dialing
        self._in_flight.check(len(fetching))
        self._circuits.check()
        queued = sum(want.state is WantState.QUEUED for want in self._wants.values())
        assert queued == len(self._queue)
        assert len(self._wants) == sum(len(one) for one in self._by_content.values())
        for want in self._wants.values():
            assert len(want.attempts) <= ATTEMPTS_MAX
            sources = (len(want.announcers), len(want.tried), len(want.barred))
            assert max(sources) <= SOURCES_PER_WANT_MAX
