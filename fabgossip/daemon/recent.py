"""What happened of late, numbered, for who asks later or waits for it."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

import trio

from fabgossip.core.effects import Record
from fabgossip.model.moment import UnixTime
from fabgossip.storage.records import TEXT_BYTES_MAX

EVENTS_KEPT: Final = 4_096
"""Facts kept for who asks later (*start*)."""


@dataclass(frozen=True, slots=True)
class Told:
    """A fact, its number since the start, and when it was told."""

    number: int
    at: UnixTime
    fact: Record


class Recent:
    """The last facts. All methods are called from the loop."""

    def __init__(self) -> None:
        self._kept: deque[Told] = deque(maxlen=EVENTS_KEPT)
        self.told = 0
        """Since the start, those that are not kept any more among them."""
        self._news = trio.Event()

    def tell(self, fact: Record, at: UnixTime) -> None:
        """Something happened: keep it, its texts no longer than the audit log has them, and wake
        who waits."""
        self.told += 1
        self._kept.append(Told(self.told, at, _cut(fact)))
        self._news.set()
        self._news = trio.Event()

    async def next(self) -> None:
        """Wait until something is told."""
        await self._news.wait()

    def after(self, number: int, count: int) -> Iterator[Told]:
        """At most `count` that are kept of those after a number, oldest first."""
        start = bisect_right(self._kept, number, key=_number)
        return islice(self._kept, start, start + count)

    def newest(self, count: int) -> Iterator[Told]:
        """At most `count` that are kept, newest first."""
        return islice(reversed(self._kept), count)


def _number(one: Told) -> int:
    return one.number


def _cut(fact: Record) -> Record:
    fields = tuple(
        (name, value[:TEXT_BYTES_MAX] if isinstance(value, str) else value)
        for name, value in fact.fields
    )
    return replace(fact, fields=fields)
