"""Which wants are looked at now, of all that have no source.

Decides: whose look is next: by class, then by age.
Keeps: what waits is looked at again when its time is over, when it is the first in line for what is
free, or on news, and not before; whoever comes back on news comes after who is there: so a new want
is looked at at once, however many there are that nobody serves, and whatever is said of them.
Must not know: who the sources are, when something is free.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from fabgossip.core.ladder import Step
from fabgossip.core.ordered import OrderedMap
from fabgossip.core.wants import Want
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import TrafficClass
from fabgossip.model.moment import Duration, Instant, later

DUE_MAX: Final = 32
"""Wants whose time is over that come back at once; half of those looked at, or they could keep a
new one from its look (*start*)."""
_BEFORE_ALL: Final = (-1, 0)


@dataclass(frozen=True, slots=True)
class Slot:
    """To be asked for one more content."""

    node_id: NodeId | None
    """None: to be dialled."""


@dataclass(frozen=True, slots=True)
class Token:
    """To ask somebody of a step that has a toll."""

    step: Step


Awaited: TypeAlias = Slot | Token
"""What a want waits in line for."""


@dataclass(frozen=True, slots=True)
class _Wait:
    awaits: tuple[Awaited, ...]
    until: Instant | None


class Backlog:
    """The wants that are `queued`: to be looked at, or waiting for a reason to be."""

    __slots__ = ("_by_end", "_lines", "_queue", "_sequence", "_waits")

    def __init__(self) -> None:
        self._queue: OrderedMap[tuple[int, int], Want] = OrderedMap()
        self._waits: dict[tuple[int, int], _Wait] = {}
        self._by_end: OrderedMap[tuple[Instant, tuple[int, int]], Want] = OrderedMap()
        self._lines: dict[Awaited, OrderedMap[tuple[int, int], Want]] = {}
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._queue) + len(self._waits)

    def on_new(self, want: Want) -> None:
        """A want is to be looked at, after all of its class."""
        self._sequence += 1
        want.sequence = self._sequence
        self._queue[want.key] = want

    def on_back(self, want: Want) -> None:
        """A want has no source any more, and is to be looked at in its old place."""
        self._queue[want.key] = want

    def on_news(self, want: Want) -> None:
        """There is a reason to look at a want again, if it waits."""
        if want.key in self._waits:
            self.discard(want)
            self.on_new(want)

    def on_waiting(self, want: Want, awaits: tuple[Awaited, ...], until: Instant | None) -> None:
        """A want was looked at in vain."""
        self._queue.discard(want.key)
        self._waits[want.key] = _Wait(awaits, until)
        for one in awaits:
            self._lines.setdefault(one, OrderedMap())[want.key] = want
        if until is not None:
            self._by_end[(until, want.key)] = want

    def discard(self, want: Want) -> None:
        """A want has a source, is parked, or is none any more."""
        self._queue.discard(want.key)
        wait = self._waits.pop(want.key, None)
        if wait is None:
            return
        if wait.until is not None:
            self._by_end.discard((wait.until, want.key))
        for one in wait.awaits:
            line = self._lines[one]
            line.discard(want.key)
            if not len(line):
                del self._lines[one]

    def on_time(self, now: Instant) -> None:
        """Some of those come back whose time is over."""
        last = (later(now, Duration(1)), _BEFORE_ALL)
        for _, want in self._by_end.items_up_to(last, DUE_MAX):
            self._come_back(want)

    def on_free(self, is_free: Callable[[Awaited, Want], bool]) -> None:
        """Whoever is first in line for something that is free comes back. Cost: O(lines)."""
        for awaited in tuple(self._lines):
            first = self._first_in(awaited)
            if first is not None and is_free(awaited, first):
                self._come_back(first)

    def _first_in(self, awaited: Awaited) -> Want | None:
        line = self._lines.get(awaited)
        return None if line is None else next(line.values())

    def _come_back(self, want: Want) -> None:
        self.discard(want)
        self.on_back(want)

    def next_look(self, has_room: Callable[[TrafficClass], bool]) -> Want | None:
        """The first to be looked at of those whose class has room."""
        want = next(self._queue.values(), None)
        while want is not None and not has_room(want.traffic):
            found = self._queue.items_after((want.traffic + 1, -1), 1)
            want = found[0][1] if found else None
        return want

    def next_end(self) -> Instant | None:
        """When the first wait is over."""
        return next((end for (end, _), _ in self._by_end.items()), None)

    def first_for_tokens(self) -> tuple[Want, ...]:
        """Who is first in line for a token, by step."""
        firsts = (self._first_in(one) for one in self._lines if isinstance(one, Token))
        return tuple(one for one in firsts if one is not None)

    def check(self) -> None:
        """Assert that whoever waits has a reason to come back, and stands in no line twice."""
        for key, wait in self._waits.items():
            assert key not in self._queue
            assert wait.awaits
            assert all(key in self._lines[one] for one in wait.awaits)
            assert wait.until is None or (wait.until, key) in self._by_end
        waiting = sum(len(set(one.awaits)) for one in self._waits.values())
        assert waiting == sum(len(line) for line in self._lines.values())
        assert len(self._by_end) == sum(one.until is not None for one in self._waits.values())
