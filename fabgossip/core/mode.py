"""How fresh what this node believes is.

Decides: the mode, from signed times and our own clock only, never from what peers say.
Keeps: several conditions may hold; the mode shown is the last of them in the order of `Mode`.
Must not know: neighbours, sources, contents.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fabgossip.model.moment import UnixTime, is_past, seconds_between

PARTITIONED_AFTER_S: Final = 900
"""Nothing newly signed for this long (*start*)."""


class Mode(StrEnum):
    """In order of gravity."""

    FRESH = "fresh"
    PARTITIONED = "partitioned"
    STALE = "stale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """The signed times the mode rests on; None where nothing of the kind was ever accepted."""

    newest_issued_at: UnixTime
    bundle_refresh_by: UnixTime
    revocations_refresh_by: UnixTime | None


def mode_of(freshness: Freshness, now: UnixTime) -> Mode:
    """The mode at `now`. Never having seen a revocation list is stale: absence is not freshness."""
    refresh_by = freshness.revocations_refresh_by
    if refresh_by is None or is_past(refresh_by, now) or is_past(freshness.bundle_refresh_by, now):
        return Mode.STALE
    if seconds_between(freshness.newest_issued_at, now) > PARTITIONED_AFTER_S:
        return Mode.PARTITIONED
    return Mode.FRESH
