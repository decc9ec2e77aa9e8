"""Two clocks that are never mixed.

`Instant` and `Duration` count milliseconds of a clock that never runs back (timers, deadlines);
`UnixTime` counts whole seconds of the wall clock (signed times). `NewType` catches a wrong argument
but not `a < b` between the two, hence the functions: arithmetic and comparison of moments happen
here.
"""

from dataclasses import dataclass
from typing import Final, NewType

Instant = NewType("Instant", int)
"""Milliseconds since some fixed point of this process; comparable only within it."""
Duration = NewType("Duration", int)
"""Milliseconds; never negative."""
UnixTime = NewType("UnixTime", int)
"""Seconds since 1970-01-01T00:00:00Z."""


NEVER: Final = UnixTime(0)
"""Before every signed time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """Both clocks, read once per step by the interpreter."""

    instant: Instant
    unix: UnixTime


def later(start: Instant, wait: Duration) -> Instant:
    """`wait` after `start`."""
    return Instant(start + wait)


def elapsed(start: Instant, end: Instant) -> Duration:
    """From `start` to `end`; zero if `end` is not after it."""
    return Duration(max(0, end - start))


def is_due(deadline: Instant, now: Instant) -> bool:
    """Whether `deadline` has come."""
    return deadline <= now


def seconds_after(start: UnixTime, seconds: int) -> UnixTime:
    """`seconds` after `start`; `seconds` may be negative."""
    return UnixTime(start + seconds)


def is_past(moment: UnixTime, now: UnixTime) -> bool:
    """Whether `moment` has come: a time of expiry counts as past at its very second."""
    return moment <= now


def instant_of(moment: UnixTime, now: Now) -> Instant:
    """When `moment` will have come, as long as nobody sets the clock; `now` if it has."""
    return later(now.instant, Duration(max(0, seconds_between(now.unix, moment)) * 1_000))


def seconds_between(start: UnixTime, end: UnixTime) -> int:
    """Seconds from `start` to `end`, negative if `end` is earlier."""
    return end - start
