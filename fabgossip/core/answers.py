"""When an answer that there is nothing leaves: on a grid of the clock, so that its delay tells
nothing.

Decides: the moment an answer leaves, from the moment its question came alone.
Keeps: answers of one link leave in the order of their questions; contents and `Busy` never wait
here.
Must not know: why something is not available.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from fabgossip.core.events import LinkId
from fabgossip.model.messages import Chain, Heads, NotAvailable
from fabgossip.model.moment import Duration, Instant, later

GRID_MS: Final = 10
"""Answers leave when the clock is a multiple of this (*start*)."""
ANSWERS_MAX: Final = 2_048
"""Answers of one link that may wait; a request that could exceed it is told `Busy`. Two requests of
the greatest size (*start*)."""


Unavailing: TypeAlias = NotAvailable | Chain | Heads
"""An answer that there is nothing for who asks."""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """An answer and the stream of its question."""

    stream: int
    answer: Unavailing


class Answers:
    """What waits, by link."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[LinkId, list[HeldBack]] = {}

    def has_room(self, link: LinkId, items: int) -> bool:
        """Whether all items of a request could be answered so."""
        return len(self._waiting.get(link, ())) + items <= ANSWERS_MAX

    def add(self, link: LinkId, stream: int, answer: Unavailing, now: Instant) -> Instant | None:
        """Put an answer on the grid; gives when to take what waits, if nothing waited before."""
        waiting = self._waiting.setdefault(link, [])
        waiting.append(HeldBack(stream, answer))
        if len(waiting) > 1:
            return None
        return later(now, Duration(GRID_MS - now % GRID_MS))

    def take(self, link: LinkId) -> tuple[HeldBack, ...]:
        """All that waits for a link, in order; nothing waits any more."""
        return tuple(self._waiting.pop(link, ()))

    def on_lost(self, link: LinkId) -> None:
        """A link ended."""
        self._waiting.pop(link, None)

    def check(self) -> None:
        """Assert the limit, and that nothing is kept for a link without answers."""
        assert all(0 < len(waiting) <= ANSWERS_MAX for waiting in self._waiting.values())
