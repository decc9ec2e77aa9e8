"""Whether a content moves fast enough: one rule for both interpreters and both ends.

Decides: when a source has been silent too long, or dripped for a whole window; the same of a reader
that takes what it asked for.
Keeps: a source that sends one byte a second holds a transfer for one window at most, from its first
byte on; who has sent none is silent, and did not drip; integers only.
Must not know: what the bytes are, who is asked next.
"""

from typing import Final

from fabgossip.core.effects import ReceiveContent
from fabgossip.core.events import FetchFailure
from fabgossip.model.moment import Duration, Instant, elapsed, later

WINDOW: Final = Duration(5_000)
BYTES_PER_S_MIN: Final = 64 << 10
"""What a source must bring over each window (*start*)."""


class Pace:
    """The pace of one transfer."""

    __slots__ = ("_arrived", "_heard_at", "_idle", "_idle_later", "_under_way", "_window_at")

    def __init__(self, idle: Duration, now: Instant, first: Duration | None = None) -> None:
        """`first`: how long it may be silent before its first byte, if not as long as later."""
        self._idle = idle if first is None else first
        self._idle_later = idle
        self._under_way = 0
        self._heard_at = now
        self._window_at: Instant | None = None
        """None until the first byte."""
        self._arrived = 0

    def on_bytes(self, count: int, now: Instant) -> None:
        """So many bytes arrived."""
        self._heard_at = now
        self._idle = self._idle_later
        self._window_at = now if self._window_at is None else self._window_at
        self._arrived += count

    def on_started(self, count: int) -> None:
        """So many bytes that count all at once are under way: a window may lack them."""
        self._under_way = count

    def on_held_up(self, since: Instant, now: Instant) -> None:
        """This end was busy with what had arrived: that is not the source's time."""
        self._heard_at = now
        if self._window_at is not None:
            self._window_at = min(now, later(self._window_at, elapsed(since, now)))

    def verdict(self, now: Instant) -> FetchFailure | None:
        """What ends the transfer now; a window that is over begins anew."""
        if elapsed(self._heard_at, now) > self._idle:
            return FetchFailure.STALLED
        lasted = Duration(0) if self._window_at is None else elapsed(self._window_at, now)
        if lasted < WINDOW:
            return None
        arrived, self._arrived, self._window_at = self._arrived + self._under_way, 0, now
        return FetchFailure.TOO_SLOW if arrived * 1_000 < BYTES_PER_S_MIN * lasted else None

    def next_look(self) -> Instant:
        """The first moment at which the verdict may be another."""
        silent_at = later(self._heard_at, Duration(self._idle + 1))
        return (
            silent_at if self._window_at is None else min(silent_at, later(self._window_at, WINDOW))
        )


def pace_of(effect: ReceiveContent, now: Instant) -> Pace:
    """The pace of a transfer that begins now."""
    first = Duration(effect.turn_ms) if effect.turn_ms else None
    return Pace(Duration(effect.idle_ms), now, first)
