"""What leaves a link together: windows in which entries wait for their like.

Decides: when an entry leaves.
Keeps: of one name only the newest leaves; windows of one link owe nothing to another's, and on a
link those of one audience nothing to another's: who is in both would pass the delay on to who is
not.
Must not know: what the entries are, who may know of them.

Windows that end at one moment, as those that one artifact opens on all links, share a timer: it
looks at all of them and ends those whose time has come.

An entry sent with `first_at_once` leaves at once after a quiet window and opens the next; with
`all_wait` it opens a window and waits. What came inside a window leaves at its end.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, TypeAlias, TypeVar

from fabgossip.core.events import LinkId
from fabgossip.model.moment import Duration, Instant, is_due, later
from fabgossip.model.scope import Audience

T = TypeVar("T")
Lane: TypeAlias = tuple[LinkId, Audience | None]
"""A link, and an audience its peer is in; None: what a certificate alone entitles to."""
WAITING_MAX: Final = 1_024
"""Entries that wait in one window; a fuller one ends early (*start*)."""


@dataclass(frozen=True, slots=True)
class Departure(Generic[T]):
    """What leaves now, and when to look again if a window was opened and no look is due then."""

    entries: tuple[T, ...]
    timer_at: Instant | None = None


@dataclass(slots=True)
class _Window(Generic[T]):
    ends: Instant
    waiting: dict[bytes, T] = field(default_factory=dict)


class Batching(Generic[T]):
    """One window per link and audience."""

    __slots__ = ("_length", "_looks", "_windows")

    def __init__(self, length: Duration) -> None:
        self._length = length
        self._looks: dict[Instant, None] = {}
        """When a timer comes due."""
        self._windows: dict[LinkId, dict[Audience | None, _Window[T]]] = {}

    def first_at_once(self, lane: Lane, name: bytes, entry: T, now: Instant) -> Departure[T]:
        """An entry that waits only behind others."""
        window = self._find(lane)
        if window is not None:
            return self._wait(window, name, entry)
        return Departure((entry,), self._look_at(self._open(lane, now)))

    def all_wait(self, lane: Lane, name: bytes, entry: T, now: Instant) -> Departure[T]:
        """An entry that can wait."""
        window = self._find(lane)
        if window is not None:
            return self._wait(window, name, entry)
        window = self._open(lane, now)
        return Departure(self._wait(window, name, entry).entries, self._look_at(window))

    def _find(self, lane: Lane) -> _Window[T] | None:
        return self._windows.get(lane[0], {}).get(lane[1])

    def _open(self, lane: Lane, now: Instant) -> _Window[T]:
        window = _Window[T](later(now, self._length))
        self._windows.setdefault(lane[0], {})[lane[1]] = window
        return window

    def _look_at(self, window: _Window[T]) -> Instant | None:
        if window.ends in self._looks:
            return None
        self._looks[window.ends] = None
        return window.ends

    @staticmethod
    def _wait(window: _Window[T], name: bytes, entry: T) -> Departure[T]:
        window.waiting.pop(name, None)
        window.waiting[name] = entry
        if len(window.waiting) < WAITING_MAX:
            return Departure(())
        return Departure(_taken(window))

    def on_due(self, now: Instant) -> Iterator[tuple[LinkId, Departure[T]]]:
        """Windows end: what waited leaves its link, and opens the next ones."""
        self._looks = {at: None for at in self._looks if not is_due(at, now)}
        for link, windows in self._windows.items():
            for audience, window in tuple(windows.items()):
                if not is_due(window.ends, now):
                    continue
                if not window.waiting:
                    del windows[audience]
                    continue
                window.ends = later(now, self._length)
                yield link, Departure(_taken(window), self._look_at(window))

    def drop(self, link: LinkId, name: bytes) -> None:
        """An entry that waits is not needed any more."""
        for window in self._windows.get(link, {}).values():
            window.waiting.pop(name, None)

    def on_lost(self, link: LinkId) -> None:
        """A link ended."""
        self._windows.pop(link, None)

    def check(self) -> None:
        """Assert the limit."""
        assert all(
            len(one.waiting) < WAITING_MAX
            for windows in self._windows.values()
            for one in windows.values()
        )


def _taken(window: _Window[T]) -> tuple[T, ...]:
    taken = tuple(window.waiting.values())
    window.waiting.clear()
    return taken
