"""When a source that says nothing is silent, and not only far away.

Decides: after how long.
Keeps: it follows from the link to that source alone, so it shows nobody what else is fetched.
Must not know: what is done about it.
"""

from typing import Final

from fabgossip.core.wants import Source, Want
from fabgossip.model.moment import Duration

SMALL_BYTES_MAX: Final = 64 << 10
"""A content of this size takes 50 ms at 10 Mbit/s: who has sent none of it after that is silent."""
SILENT_MS_MIN: Final = 50
SILENT_MS_MAX: Final = 500
READING_MS: Final = 40
"""Beside two round trips, for the source to read and send (*start*)."""
UNKNOWN_MS: Final = 250
"""Of a source whose round trip is not known (*start*)."""
PATIENCE: Final = 4
"""So many times as long a source has its turn where another storage endpoint could be asked at once
(*start*)."""
SHORT_TURN_MS_MIN: Final = 300
"""And at least so long: a disk that is busy for a moment fits into it (*start*)."""


def is_small(want: Want) -> bool:
    """Whether a content comes so fast that who is silent can be told from who is slow."""
    return want.goal.size <= SMALL_BYTES_MAX


def short_turn(source: Source) -> Duration:
    """How long a source of a small content has its turn where it is not the only one."""
    return Duration(max(PATIENCE * silent_after(source), SHORT_TURN_MS_MIN))


def silent_after(source: Source) -> Duration:
    """How long a source may say nothing: two round trips, and time to read."""
    if source.rtt_ms is None:
        return Duration(UNKNOWN_MS)
    return Duration(min(max(2 * source.rtt_ms + READING_MS, SILENT_MS_MIN), SILENT_MS_MAX))
