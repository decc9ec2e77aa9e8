"""What happened of late, numbered, for who asks later or waits for it.

What somebody else can cause at will folds, as in the audit log, and what counts each time has
places of its own: no flood pushes it out.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from heapq import merge
from itertools import islice
from typing import Final

import trio

from fabgossip.core.effects import Record
from fabgossip.daemon.facts import RULES, Keep, kind_of
from fabgossip.daemon.folding import Folds
from fabgossip.model.moment import Now, UnixTime
from fabgossip.storage.records import TEXT_BYTES_MAX

EVENTS_KEPT: Final = 4_096
"""Facts kept for who asks later (*start*)."""
EACH_KEPT: Final = 1_024
"""Of these, the places of facts of which the audit log has each (*start*)."""


@dataclass(frozen=True, slots=True)
class Told:
    """A fact, its number since the start, and when it was told."""

    number: int
    at: UnixTime
    fact: Record


class Recent:
    """The last facts. All methods are called from the loop."""

    def __init__(self, on_told: Callable[[Record], None]) -> None:
        """`on_told` is given what is told, once: repeats as one."""
        self._on_told = on_told
        self._folds: Folds[Record] = Folds(self._tell_repeats)
        self._each: deque[Told] = deque(maxlen=EACH_KEPT)
        self._others: deque[Told] = deque(maxlen=EVENTS_KEPT - EACH_KEPT)
        self.told = 0
        """Since the start, those that are not kept any more among them."""
        self._news = trio.Event()

    def record(self, fact: Record, now: Now) -> None:
        """Something happened: it is told, or counted."""
        kind = kind_of(fact)
        if RULES[fact.fact].keep is Keep.FOLDED and self._folds.is_repeat(kind, kind, now):
            return
        self._tell(fact, now)

    def tell_due(self, now: Now) -> None:
        """Tell the repeats whose time is over; to be called each second or so."""
        self._folds.tell_due(now)

    def tell_all(self, now: Now) -> None:
        """The process ends: tell the repeats there are."""
        self._folds.tell_all(now)

    def _tell_repeats(self, kind: Record, repeats: int, now: Now) -> None:
        self._tell(replace(kind, fields=(*kind.fields, ("repeats", repeats))), now)

    def _tell(self, fact: Record, now: Now) -> None:
        """Keep it, its texts no longer than the audit log has them, and wake who waits."""
        self.told += 1
        places = self._each if RULES[fact.fact].keep is Keep.EACH else self._others
        places.append(Told(self.told, now.unix, _cut(fact)))
        self._news.set()
        self._news = trio.Event()
        self._on_told(fact)

    async def next(self) -> None:
        """Wait until something is told."""
        await self._news.wait()

    def after(self, number: int, count: int) -> Iterator[Told]:
        """At most `count` that are kept of those after a number, oldest first."""
        found = [_after(places, number, count) for places in (self._each, self._others)]
        return islice(merge(*found, key=_number), count)

    def newest(self, count: int) -> Iterator[Told]:
        """At most `count` that are kept, newest first."""
        found = (reversed(self._each), reversed(self._others))
        return islice(merge(*found, key=_number, reverse=True), count)


def _after(places: deque[Told], number: int, count: int) -> Iterator[Told]:
    start = bisect_right(places, number, key=_number)
    return islice(places, start, start + count)


def _number(one: Told) -> int:
    return one.number


def _cut(fact: Record) -> Record:
    fields = tuple(
        (name, value[:TEXT_BYTES_MAX] if isinstance(value, str) else value)
        for name, value in fact.fields
    )
    return replace(fact, fields=fields)
