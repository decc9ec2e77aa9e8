"""True time and the one queue of everything that is still to happen.

Decides: what happens next.
Keeps: order is (time, destination, source, sequence), where the sequence counts per source and
destination: total, and the same however things were put in; true time never runs back.
Must not know: nodes, messages, what an action does.
"""

import heapq
from collections import Counter
from collections.abc import Callable
from typing import Final, TypeAlias

from fabgossip.errors import FabgossipError
from fabgossip.sim.trace import Happened, Key

Action: TypeAlias = Callable[[], Happened]
WORLD: Final = 0
"""Place of the world itself; nodes have 1 and above, in order of node id."""
TURN: Final = -1
"""Source of the turn of a place whose line waits: before all that comes at that moment."""
PLACE_BITS: Final = 32
"""A way is two places in one number: there are a dozen of each node."""
SAME_INSTANT_EVENTS_MAX: Final = 100_000
EVENTS_MAX: Final = 200_000_000
NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000


class SpinError(FabgossipError):
    """A place acts for ever at one instant."""

    def __init__(self, place: int, time_ns: int) -> None:
        super().__init__(f"place {place} spins at {time_ns} ns")
        self.place = place


class OutOfTimeError(FabgossipError):
    """A run takes more than it may: of events, or of what its caller counts."""


class World:
    """The heap loop."""

    __slots__ = (
        "_at_instant",
        "_busy",
        "_heap",
        "_is_stopped",
        "_lines",
        "_paused",
        "_sequences",
        "halts",
        "now_ns",
    )

    def __init__(self) -> None:
        self.now_ns = 0
        self._heap: list[tuple[int, int, int, int, Action]] = []
        self._sequences: dict[int, int] = {}
        self._at_instant: dict[int, int] = {}
        self._is_stopped = False
        self._paused: dict[int, int] = {}
        """Places that stand still until then."""
        self._busy: dict[int, int] = {}
        """Places that work until then."""
        self._lines: dict[int, list[tuple[int, int, int, Action]]] = {}
        """What waits at places that stand still or work, each line a heap by its old key."""
        self.halts: Counter[int] = Counter()
        """How often something came to a place that stood still."""

    def pause(self, place: int, until_ns: int) -> None:
        """Let nothing happen at a place for a while: it comes in its order at the end."""
        self._paused[place] = max(until_ns, self._paused.get(place, 0))

    def is_paused(self, place: int) -> bool:
        """Whether a place stands still; who asks came to it."""
        is_paused = self._paused.get(place, 0) > self.now_ns
        self.halts[place] += is_paused
        return is_paused

    def waiting_at(self, place: int) -> int:
        """How much waits in line at a place that stands still or works."""
        return len(self._lines.get(place, ()))

    def occupy(self, place: int, work_ns: int) -> None:
        """Let a place be busy with what just happened there."""
        self._busy[place] = max(self.now_ns, self._busy.get(place, 0)) + work_ns

    def schedule(self, time_ns: int, destination: int, source: int, action: Action) -> None:
        """Let something happen at `destination` at a time that is not past."""
        assert time_ns >= self.now_ns, "the past is closed"
        way = source << PLACE_BITS | destination
        sequence = self._sequences.get(way, 0) + 1
        self._sequences[way] = sequence
        heapq.heappush(self._heap, (time_ns, destination, source, sequence, action))

    def stop(self) -> None:
        """Let nothing more happen."""
        self._is_stopped = True

    def run(self, until_ns: int, on_event: Callable[[Key, Happened], None]) -> None:
        """Let everything happen up to and including a time.

        Raises:
            SpinError: one place acted 100,000 times at one instant.
            OutOfTimeError: more events than a run may have.
        """
        events = 0
        while self._heap and self._heap[0][0] <= until_ns and not self._is_stopped:
            time_ns, destination, source, sequence, action = heapq.heappop(self._heap)
            is_turn = source == TURN
            if is_turn or self._free_ns(destination) > time_ns:
                next_one = self._from_line(time_ns, destination, source, sequence, action)
                if next_one is None:
                    continue
                source, sequence, action = next_one
            self._count(time_ns, destination)
            self.now_ns = time_ns
            on_event((time_ns, destination, source, sequence), action())
            events += 1
            if events > EVENTS_MAX:
                raise OutOfTimeError(f"more than {EVENTS_MAX} events at {time_ns / NS_PER_S:g} s")
            if is_turn and destination in self._lines:
                self._let_turn(destination)
        if not self._is_stopped:
            self.now_ns = max(self.now_ns, until_ns)

    def _free_ns(self, place: int) -> int:
        """When a place can take what comes, if that is not at once."""
        return max(self._paused.get(place, 0), self._busy.get(place, 0))

    def _from_line(
        self, time_ns: int, place: int, source: int, sequence: int, action: Action
    ) -> tuple[int, int, Action] | None:
        """Put what comes in line; at a turn of the place give what is first there."""
        self.halts[place] += self._paused.get(place, 0) > time_ns
        if source != TURN:
            is_first = place not in self._lines
            heapq.heappush(self._lines.setdefault(place, []), (time_ns, source, sequence, action))
            if is_first:
                self.now_ns = time_ns
                self._let_turn(place)
            return None
        if self._free_ns(place) > time_ns:
            self.now_ns = time_ns
            self._let_turn(place)
            return None
        _, source, sequence, action = heapq.heappop(self._lines[place])
        if not self._lines[place]:
            del self._lines[place]
        return source, sequence, action

    def _let_turn(self, place: int) -> None:
        """One turn of a place is under way while anything is in line there."""
        at_ns = max(self.now_ns, self._free_ns(place))
        heapq.heappush(self._heap, (at_ns, place, TURN, 0, _no_action))

    def _count(self, time_ns: int, place: int) -> None:
        if time_ns != self.now_ns:
            self._at_instant.clear()
        count = self._at_instant.get(place, 0) + 1
        self._at_instant[place] = count
        if count > SAME_INSTANT_EVENTS_MAX:
            raise SpinError(place, time_ns)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to happen."""
        return not self._heap


def _no_action() -> Happened:
    raise AssertionError("a turn takes its action from the line")
