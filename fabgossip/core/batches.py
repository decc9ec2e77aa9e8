"""Contents that come in one piece, asked of a link together.

Decides: which of them the next request names, and when it may leave.
Keeps: of one link no more is asked at once than its peer serves at once; while that is under way
what is wanted gathers, so that the busier a link is, the more its requests name; no class waits for
another, and trust for nothing; whatever one request names moves at one pace, for its peer sends one
after the other.
Must not know: how a request is sent, what comes of it.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from fabgossip.core.effects import ReceiveContent
from fabgossip.core.events import LinkId
from fabgossip.core.pace import Pace
from fabgossip.model.messages import TrafficClass
from fabgossip.model.moment import Duration, Instant

T = TypeVar("T")

REQUESTS_MAX: Final = 4
"""Requests of one class, but for trust, that one link has under way for contents in one piece: of
three classes twelve of the sixteen that a peer serves it at once; the rest is for chunks (*start*).
"""
ITEMS_MAX: Final = 256
"""Contents of one request, a quarter of what a message may name: a peer looks each of them up
before it does anything else (*start*)."""
BYTES_MAX: Final = 4 << 20
"""Their bytes, but for the last (*start*)."""


@dataclass(frozen=True, slots=True)
class Batch(Generic[T]):
    """What one request asks for."""

    traffic: TrafficClass
    idle_ms: int
    turn_ms: int
    items: tuple[T, ...]

    def pace(self, now: Instant) -> Pace:
        """The pace of all of it, from now on."""
        return Pace(Duration(self.idle_ms), now, Duration(self.turn_ms))


@dataclass(slots=True)
class _Line(Generic[T]):
    """What is asked, and to be asked, of one link."""

    waiting: dict[tuple[TrafficClass, int], deque[tuple[ReceiveContent, T]]] = field(
        default_factory=dict
    )
    """By class, and by how long the link may be silent: contents of one step of the ladder."""
    under_way: dict[int, TrafficClass] = field(default_factory=dict)
    """Streams, trust apart."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to remember."""
        return not (self.waiting or self.under_way)


class Batches(Generic[T]):
    """The requests of all links."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: dict[LinkId, _Line[T]] = {}

    def on_wanted(self, link: LinkId, effect: ReceiveContent, one: T) -> None:
        """A content is to be asked of a link."""
        waiting = self._lines.setdefault(link, _Line()).waiting
        waiting.setdefault((effect.traffic, effect.idle_ms), deque()).append((effect, one))

    def has_waiting(self, link: LinkId) -> bool:
        """Whether something is still to be asked of a link."""
        line = self._lines.get(link)
        return line is not None and bool(line.waiting)

    def links(self) -> tuple[LinkId, ...]:
        """Of whom something is still to be asked."""
        return tuple(link for link, line in self._lines.items() if line.waiting)

    def waiting(self) -> Iterator[T]:
        """All that is still to be asked for."""
        for line in self._lines.values():
            for queue in line.waiting.values():
                yield from (one for _, one in queue)

    def take(self, link: LinkId) -> Batch[T] | None:
        """What the next request of a link asks for; None while none may leave."""
        line = self._lines.get(link)
        if line is None:
            return None
        under_way = Counter(line.under_way.values())
        free = (key for key in sorted(line.waiting) if under_way[key[0]] < REQUESTS_MAX)
        key = next(free, None)
        return None if key is None else self._taken(link, line, key)

    def _taken(self, link: LinkId, line: _Line[T], key: tuple[TrafficClass, int]) -> Batch[T]:
        queue, size, turn_ms = line.waiting[key], 0, 0
        taken: list[T] = []
        while queue and size < BYTES_MAX and len(taken) < ITEMS_MAX:
            effect, one = queue.popleft()
            taken.append(one)
            size += effect.wanted.size
            turn_ms = max(turn_ms, effect.turn_ms or effect.idle_ms)
        if not queue:
            del line.waiting[key]
        self._forget_empty(link)
        return Batch(key[0], key[1], turn_ms, tuple(taken))

    def on_asked(self, link: LinkId, stream: int, traffic: TrafficClass) -> None:
        """A request left."""
        if traffic is not TrafficClass.TRUST:
            self._lines.setdefault(link, _Line()).under_way[stream] = traffic

    def on_over(self, link: LinkId, stream: int) -> None:
        """All that a request named came, or does not come any more."""
        line = self._lines.get(link)
        if line is not None:
            line.under_way.pop(stream, None)
            self._forget_empty(link)

    def on_lost(self, link: LinkId) -> None:
        """A link ended."""
        self._lines.pop(link, None)

    def _forget_empty(self, link: LinkId) -> None:
        if self._lines[link].is_empty:
            del self._lines[link]

    def check(self) -> None:
        """Assert the limit, and that no link is remembered for nothing."""
        for line in self._lines.values():
            assert not line.is_empty
            assert all(line.waiting.values())
            counts = Counter(line.under_way.values())
            assert all(count <= REQUESTS_MAX for count in counts.values())
            assert TrafficClass.TRUST not in counts
