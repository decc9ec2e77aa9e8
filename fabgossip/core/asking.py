"""Whom each want asks: the next in order, as far as there is room, and another beside a silent one.

Decides: which source is asked or dialled for which want now, when to look again.
Keeps: trust waits for no other class; however many wants are outstanding, the control plane and the
endpoints everybody starts from are asked at a pace.
Must not know: why something is wanted, what a try comes to.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Final

from fabgossip.core.attempts import NOT_ASKED
from fabgossip.core.backlog import DUE_MAX, Awaited, Backlog, Slot, Token
from fabgossip.core.circuits import Circuits
from fabgossip.core.config import FetchingConfig, RecoveryConfig
from fabgossip.core.credence import Credence
from fabgossip.core.hedging import Hedging
from fabgossip.core.in_flight import InFlight
from fabgossip.core.ladder import TURN_MS_MIN, Step
from fabgossip.core.sources import Choice, Room, Supply, Turn, beside, is_of, next_source
from fabgossip.core.tolls import Tolls
from fabgossip.core.visits import Visits
from fabgossip.core.wants import Source, Try, Want, WantState
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Instant

LOOKS_MAX: Final = 2 * DUE_MAX
"""Wants looked at in one step, some 0.2 ms each with a dozen links (2026-11); the others are looked
at in the next one, which is at once (*start*)."""


class Asking:
    """The wants that have a source, and those that look for one."""

    __slots__ = (
        "_circuits", "_credence", "_hedging", "_in_flight", "_may_dial", "_tolls", "backlog",
        "visits",
    )  # fmt: skip

    def __init__(
        self,
        config: FetchingConfig,
        recovery: RecoveryConfig,
        circuits: Circuits,
        credence: Credence,
    ) -> None:
        self._tolls = Tolls(recovery)
        self._in_flight = InFlight(config)
        self._hedging = Hedging()
        self._circuits = circuits
        self._credence = credence
        self._may_dial = 0
        self.backlog = Backlog()
        self.visits = Visits()

    def on_back(self, want: Want) -> None:
        """A want lost its source, and looks for another one."""
        self.on_over(want)
        want.state = WantState.QUEUED
        self.backlog.on_back(want)

    def on_over(self, want: Want) -> None:
        """A want has no source any more, and looks for none."""
        self.backlog.discard(want)
        if want.source is None:
            return
        if want.state is WantState.DIALING:
            self.visits.on_over(want)
            self._circuits.on_settled(want.source.node_id, want.audience)
        else:
            for one in want.tries:
                self._end(want, one)
        self._hedging.on_over(want)
        want.source = None
        want.beside.clear()

    def _end(self, want: Want, one: Try) -> None:
        self._in_flight.on_over(one.source.node_id, want.traffic, want.goal.size)
        self._circuits.on_settled(one.source.node_id, want.audience)

    def on_one_over(self, want: Want, one: Try, now: Instant) -> None:
        """One of several that a want asks is over; another one goes on."""
        self._end(want, one)
        if one in want.beside:
            want.beside.remove(one)
        else:
            next_one = want.beside.pop()
            want.source, want.reason = next_one.source, next_one.reason
            want.asked_at = next_one.asked_at
        self._hedging.on_sharing(want, now)

    def is_asked(self, node_id: NodeId) -> bool:
        """Whether a content is on its way from a node."""
        return self._in_flight.is_asked(node_id)

    @property
    def in_flight(self) -> int:
        """How many contents are on their way."""
        return self._in_flight.count

    def next_turn(
        self, supply_of: Callable[[Want], Supply], room: Callable[[], int], now: Instant
    ) -> Turn:
        """What to do now for wants that wait for a source; `room`: dials that may begin. Of the
        wants given as parked the climb is over: they look for no source until they come back."""
        started: list[Want] = []
        dialing: list[Want] = []
        parked: list[Want] = []
        if len(self.backlog):
            self._may_dial = room()
            self.backlog.on_time(now)
            self._on_free(now)
        alone, looks = tuple(self._hedging.next_due(now)), 0
        for want in self._looks(now):
            looks += 1
            choice = self._choice(want, supply_of(want), now)
            if choice.awaits:
                self.backlog.on_waiting(want, choice.awaits, choice.look_at)
            elif choice.source is None:
                self.backlog.discard(want)
                parked.append(want)
            elif choice.source.link is None:
                self._dial(want, choice, now)
                dialing.append(want)
            else:
                self._start(want, choice, now)
                started.append(want)
        started += self._hedge(alone, supply_of, now)
        is_done = looks < LOOKS_MAX or self._next_look(now) is None
        look_at = self._look_at(now) if is_done else now
        return Turn(tuple(started), tuple(dialing), tuple(parked), look_at)

    def _hedge(
        self, alone: tuple[Want, ...], supply_of: Callable[[Want], Supply], now: Instant
    ) -> Iterator[Want]:
        """Ask somebody beside each source that has been silent for too long, or brings a content
        that several may bring."""
        for want in alone:
            if not self._in_flight.has_room(want.traffic) or not self._hedging.may_ask(want):
                continue
            choice = beside(want, self.heard(supply_of(want), now), self._room(want, now), now)
            if choice.source is not None:
                self._hedging.on_beside(want)
                yield self._start_beside(want, choice.source, choice, now)

    def _start_beside(self, want: Want, source: Source, choice: Choice, now: Instant) -> Want:
        """The newest is the source; those before it go on beside it."""
        want.beside = list(want.tries)
        self._circuits.on_asked(source.node_id, want.audience)
        want.asked += 1
        want.source, want.reason, want.turn_ms = source, choice.reason, choice.turn_ms
        want.asked_at = now
        self._in_flight.on_started(source.node_id, want.traffic, want.goal.size)
        self._hedging.on_sharing(want, now)
        return want

    def _looks(self, now: Instant) -> Iterator[Want]:
        for _ in range(LOOKS_MAX):
            want = self._next_look(now)
            if want is None:
                return
            yield want

    def _next_look(self, now: Instant) -> Want | None:
        """The next want to find a source for, of those that may have one under way."""
        if not len(self.backlog):
            return None
        found = self._first_look()
        if found is None:
            self._on_free(now)
            found = self._first_look()
        return found

    def _first_look(self) -> Want | None:
        return self.backlog.next_look(self._in_flight.has_room)

    def _on_free(self, now: Instant) -> None:
        self.backlog.on_free(lambda awaited, want: self._is_free(awaited, want, now))

    def _is_free(self, awaited: Awaited, want: Want, now: Instant) -> bool:
        if isinstance(awaited, Token):
            return self._tolls.next_at(awaited.step, want, now) <= now
        if awaited.node_id is None:
            return self._may_dial > 0
        return not self._in_flight.is_full(awaited.node_id)

    def _look_at(self, now: Instant) -> Instant | None:
        """When a turn is over, a wait, or a token comes, whichever is first."""
        ends = [self.visits.next_end(), self.backlog.next_end(), self._hedging.next_end()]
        for want in self.backlog.first_for_tokens():
            ends.append(self._tolls.next_at(want.step, want, now))
        return min((one for one in ends if one is not None), default=None)

    def _choice(self, want: Want, supply: Supply, now: Instant) -> Choice:
        """Whom to ask: who was dialled for this want and is here now, else the next in order."""
        if want.climb_since is None:
            want.climb_since = now
        visited, want.visited = want.visited, None
        if visited is not None:
            found = next((one for one in supply.linked if one.node_id == visited), None)
            if found is not None and is_of(want, want.step, found):
                if self._is_full(want, found):
                    want.visited = visited
                    return Choice(awaits=(Slot(visited),))
                turn_ms = max(want.left_ms(now), TURN_MS_MIN)
                return Choice(source=found, turn_ms=turn_ms, reason=want.reason, is_paid=True)
            want.note(node_id=visited, outcome=NOT_ASKED, reason=want.reason, at=want.asked_at)
        return next_source(want, self.heard(supply, now), self._room(want, now), now)

    def _room(self, want: Want, now: Instant) -> Room:
        return Room(
            is_full=partial(self._is_full, want),
            token_at=lambda step, one: self._tolls.next_at(step, one, now),
            circuit_of=lambda node_id: self._circuits.state_of(node_id, want.audience, now),
            probe_at=lambda node_id: self._circuits.probe_at(node_id, want.audience),
        )

    def heard(self, supply: Supply, now: Instant) -> Supply:
        """The sources there are, without the words that count for nothing."""
        linked = tuple(
            replace(one, says=None)
            if one.says and self._credence.is_ignored(one.node_id, now)
            else one
            for one in supply.linked
        )
        return replace(supply, linked=linked)

    def _is_full(self, want: Want, source: Source) -> bool:
        if source.link is None:
            return self._may_dial <= 0 and not self.visits.is_dialed(source.node_id)
        return not want.is_trust and self._in_flight.is_full(source.node_id)

    def _dial(self, want: Want, choice: Choice, now: Instant) -> None:
        """Wait for a link to a source."""
        source = self._begin(want, choice, now)
        self._may_dial -= not self.visits.is_dialed(source.node_id)
        self.visits.on_begun(want, now)

    def choose(
        self, want: Want, supply: Supply, room: Callable[[Source], bool], now: Instant
    ) -> Choice:
        """Whom to ask for what takes no slot of a transfer; `room`: whether a source may be asked,
        or dialled, now."""
        if want.climb_since is None:
            want.climb_since = now
        own = replace(self._room(want, now), is_full=lambda one: not room(one))
        return next_source(want, self.heard(supply, now), own, now)

    def token_at(self, want: Want, now: Instant) -> Instant:
        """When a want may ask somebody of the step it is in."""
        return self._tolls.next_at(want.step, want, now)

    def _begin(self, want: Want, choice: Choice, now: Instant) -> Source:
        self.backlog.discard(want)
        return self.begin(want, choice, now)

    def begin(self, want: Want, choice: Choice, now: Instant) -> Source:
        """A want asks its next source: it pays what that costs."""
        assert choice.source is not None
        self._circuits.on_asked(choice.source.node_id, want.audience)
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
        self._in_flight.on_started(source.node_id, want.traffic, want.goal.size)
        self._hedging.on_asked(want, now)

    def check(self, *, asked: int, dialing: int, queued: int) -> None:
        """Assert that so many sources are asked, and so many wants are to get a link to theirs, or
        look for one."""
        self._in_flight.check(asked)
        self._hedging.check()
        self.visits.check(dialing)
        assert queued == len(self.backlog)
        self.backlog.check()
