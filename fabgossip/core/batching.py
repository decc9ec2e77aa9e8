"""What leaves a link together: windows in which entries wait for their like.

Decides: when an entry leaves.
Keeps: of one name only the newest leaves; windows of one link owe nothing to another's.
Must not know: what the entries are, who may know of them.

An entry sent with `first_at_once` leaves at once after a quiet window and opens the next; with
`all_wait` it opens a window and waits. What came inside a window leaves at its end.
"""

from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from fabgossip.core.events import LinkId
from fabgossip.model.moment import Duration, Instant, is_due, later

T = TypeVar("T")
WAITING_MAX: Final = 1_024
"""Entries that wait on one link; a fuller window ends early (*start*)."""


@dataclass(frozen=True, slots=True)
class Departure(Generic[T]):
    """What leaves now, and when to look again if a window was opened."""

    entries: tuple[T, ...]
    timer_at: Instant | None = None


@dataclass(slots=True)
class _Window(Generic[T]):
    ends: Instant
    waiting: dict[bytes, T] = field(default_factory=dict)


class Batching(Generic[T]):
    """One window per link."""

    __slots__ = ("_length", "_windows")

    def __init__(self, length: Duration) -> None:
        self._length = length
        self._windows: dict[LinkId, _Window[T]] = {}

    def first_at_once(self, link: LinkId, name: bytes, entry: T, now: Instant) -> Departure[T]:
        """An entry that waits only behind others."""
        if link in self._windows:
            return self._wait(self._windows[link], name, entry)
        return Departure((entry,), self._open(link, now).ends)

    def all_wait(self, link: LinkId, name: bytes, entry: T, now: Instant) -> Departure[T]:
        """An entry that can wait."""
        if link in self._windows:
            return self._wait(self._windows[link], name, entry)
        window = self._open(link, now)
        return Departure(self._wait(window, name, entry).entries, window.ends)

    def _open(self, link: LinkId, now: Instant) -> _Window[T]:
        window = self._windows[link] = _Window[T](later(now, self._length))
        return window

    @staticmethod
    def _wait(window: _Window[T], name: bytes, entry: T) -> Departure[T]:
        window.waiting.pop(name, None)
        window.waiting[name] = entry
        if len(window.waiting) < WAITING_MAX:
            return Departure(())
        return Departure(_taken(window))

    def on_due(self, link: LinkId, now: Instant) -> Departure[T]:
        """A window ends: what waited leaves, and opens the next one."""
        window = self._windows.get(link)
        if window is None or not is_due(window.ends, now):
            return Departure(())
        if not window.waiting:
            del self._windows[link]
            return Departure(())
        window.ends = later(now, self._length)
        return Departure(_taken(window), window.ends)

    def drop(self, link: LinkId, name: bytes) -> None:
        """An entry that waits is not needed any more."""
        window = self._windows.get(link)
        if window is not None:
            window.waiting.pop(name, None)

    def on_lost(self, link: LinkId) -> None:
        """A link ended."""
        self._windows.pop(link, None)

    def check(self) -> None:
        """Assert the limit."""
        assert all(len(one.waiting) < WAITING_MAX for one in self._windows.values())


def _taken(window: _Window[T]) -> tuple[T, ...]:
    taken = tuple(window.waiting.values())
    window.waiting.clear()
    return taken
