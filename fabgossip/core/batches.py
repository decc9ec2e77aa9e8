"""Contents that come in one piece, asked of a link together.

Decides: which of them the next request names, and when it may leave.
Keeps: of one link only so many requests for an audience and class are under way; meanwhile what is
wanted gathers, so that the busier a link is, the more its requests name. Trust waits for nothing.
Whatever one request names moves at one pace, for its peer sends one after the other: so none names
contents of two audiences, nor waits for those of another, and when a content comes tells nothing of
what else there is, of which others may not know (`sim worlds`).
Must not know: how a request is sent, what comes of it.

What waits is in flight for the core, whose budgets (`in_flight`) bound it.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, TypeAlias, TypeVar

from fabgossip.core.effects import ReceiveContent
from fabgossip.core.events import LinkId
from fabgossip.core.pace import Pace
from fabgossip.model.messages import TrafficClass
from fabgossip.model.moment import Duration, Instant
from fabgossip.model.scope import Audience

T = TypeVar("T")

REQUESTS_MAX: Final = 4
"""Requests of one audience and class, but for trust, that one link has under way for contents in
one piece: a quarter of what a peer serves it at once (*start*)."""
ITEMS_MAX: Final = 256
"""Contents of one request, a quarter of what a message may name: a peer looks each of them up
before it does anything else (*start*)."""
BYTES_MAX: Final = 4 << 20
"""Their bytes, but for the last (*start*)."""


_Lane: TypeAlias = tuple[TrafficClass, Audience | None]
_Key: TypeAlias = tuple[_Lane, int]
"""What may be asked for together: contents of one class, audience and step of the ladder, for which
a link may be silent as long."""


@dataclass(frozen=True, slots=True)
class Batch(Generic[T]):
    """What one request asks for."""

    lane: _Lane
    idle_ms: int
    turn_ms: int
    items: tuple[T, ...]

    @property
    def traffic(self) -> TrafficClass:
        """The class of all of them."""
        return self.lane[0]

    def pace(self, now: Instant) -> Pace:
        """The pace of all of it, from now on."""
        return Pace(Duration(self.idle_ms), now, Duration(self.turn_ms))


@dataclass(slots=True)
class _Line(Generic[T]):
    """What is asked, and to be asked, of one link."""

    waiting: dict[_Key, deque[tuple[ReceiveContent, T]]] = field(default_factory=dict)
    under_way: dict[int, _Lane] = field(default_factory=dict)
    """By stream, trust apart."""

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
        key = ((effect.traffic, effect.audience), effect.idle_ms)
        waiting.setdefault(key, deque()).append((effect, one))

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
        free = [key for key in line.waiting if under_way[key[0]] < REQUESTS_MAX]
        # Of one class in the order in which they came to be wanted.
        key = min(free, key=lambda one: one[0][0], default=None)
        return None if key is None else self._taken(link, line, key)

    def _taken(self, link: LinkId, line: _Line[T], key: _Key) -> Batch[T]:
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
        lane, idle_ms = key
        return Batch(lane, idle_ms, turn_ms, tuple(taken))

    def on_asked(self, link: LinkId, stream: int, batch: Batch[T]) -> None:
        """A request left."""
        if batch.traffic is not TrafficClass.TRUST:
            self._lines.setdefault(link, _Line()).under_way[stream] = batch.lane

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
            assert all(traffic is not TrafficClass.TRUST for traffic, _ in counts)
