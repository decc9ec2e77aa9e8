"""How much more a node's disk takes: its quota, what must stay free, and whether it fails.

Decides: whether a content may come, and what of all that is held is too much.
Keeps: contents never go past the quota, nor below what must stay free, trust excepted, which has
a reserve beyond the one and uses all of the other; a disk that failed again and again is given
nothing but trust until it has not failed for a while.
Must not know: how anything is measured or written, which contents leave.

- Above 80 % of the quota it names how much has to leave for 75 %; at the quota nothing comes.
- What was refused is remembered by its least size: there is room again once that would fit, and
  nothing needs a restart.
- `tests/core/test_space.py` holds each limit.
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fabgossip.model.moment import Duration, Instant, elapsed

SOFT_PERCENT: Final = 80
"""Of the quota; above, contents leave (*start*)."""
TARGET_PERCENT: Final = 75
"""Down to here, so that not every new content starts it again (*start*)."""
TRUST_RESERVE_BYTES: Final = 64 << 20
"""What trust may use beyond the quota: more than all it can have (*start*)."""
FAILURES_MAX: Final = 3
FAILURES_WITHIN: Final = Duration(600_000)
"""So many failed writes within this are the disk's fault, not the moment's (*start*)."""


class SpaceTrouble(StrEnum):
    """Why nothing but trust comes."""

    QUOTA = "quota"
    """The quota of the configuration is used up."""
    DISK = "disk"
    """The file system is, whoever filled it."""
    READ_ONLY = "read_only"
    """Writes fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceLimits:
    """What the operator lets this node use."""

    quota_bytes: int = 2 << 30
    free_bytes_min: int = 256 << 20
    free_inodes_min: int = 10_000


USUAL_LIMITS: Final = SpaceLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUsage:
    """The disk as it is now."""

    used_bytes: int
    """This node's own: contents, index, local state, and what is reserved."""
    free_bytes: int
    free_inodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceState:
    """What readers, and the core, may know of it."""

    trouble: SpaceTrouble | None = None
    used_bytes: int = 0
    quota_bytes: int = 0
    free_bytes: int = 0
    excess_bytes: int = 0
    """What has to leave; 0 below the soft limit."""


AMPLE: Final = SpaceState()
"""Nothing is known, or nothing is wrong."""


class Space:
    """The limits of one disk, and how it fares."""

    __slots__ = ("_failures", "_has_refused", "_limits", "_refused", "_told", "_trouble")

    def __init__(self, limits: SpaceLimits) -> None:
        self._limits = limits
        self._failures: deque[Instant] = deque(maxlen=FAILURES_MAX)
        self._refused: int | None = None
        """The least size that did not fit."""
        self._has_refused = False
        """Whether anything did not fit since the core heard of it last: somebody waits for room."""
        self._trouble: SpaceTrouble | None = None
        self._told = AMPLE

    def takes(self, size: int, usage: DiskUsage, *, is_trust: bool) -> bool:
        """Whether so many bytes more may come."""
        if is_trust:
            # Whoever fills the disk says nothing here: it takes what it takes.
            return usage.used_bytes + size <= self._limits.quota_bytes + TRUST_RESERVE_BYTES
        if self._trouble is SpaceTrouble.READ_ONLY:
            return False
        shortage = self.shortage(size, usage)
        if shortage is None:
            return True
        self._refused = size if self._refused is None else min(size, self._refused)
        self._has_refused = True
        self._trouble = shortage
        return False

    def shortage(self, size: int, usage: DiskUsage) -> SpaceTrouble | None:
        """What so many bytes more would run out of."""
        limits = self._limits
        if usage.used_bytes + size > limits.quota_bytes:
            return SpaceTrouble.QUOTA
        if usage.free_bytes - size < limits.free_bytes_min:
            return SpaceTrouble.DISK
        return None if usage.free_inodes >= limits.free_inodes_min else SpaceTrouble.DISK

    def on_failures(self, count: int, now: Instant) -> None:
        """So many writes failed since it was last looked."""
        self._failures.extend([now] * min(count, FAILURES_MAX))

    def look(self, usage: DiskUsage, now: Instant) -> SpaceState:
        """How it fares now; what did not fit may fit by now."""
        while self._failures and elapsed(self._failures[0], now) >= FAILURES_WITHIN:
            self._failures.popleft()
        shortage = None if self._refused is None else self.shortage(self._refused, usage)
        if shortage is None:
            self._refused = None
        is_failing = len(self._failures) == FAILURES_MAX
        self._trouble = SpaceTrouble.READ_ONLY if is_failing else shortage
        soft = self._limits.quota_bytes * SOFT_PERCENT // 100
        target = self._limits.quota_bytes * TARGET_PERCENT // 100
        return SpaceState(
            trouble=self._trouble,
            used_bytes=usage.used_bytes,
            quota_bytes=self._limits.quota_bytes,
            free_bytes=usage.free_bytes,
            excess_bytes=usage.used_bytes - target if usage.used_bytes > soft else 0,
        )

    def is_news(self, state: SpaceState) -> bool:
        """Whether the core has to hear of it: something else comes than before, there is too much,
        or was when it heard of it last, or there is room for what was refused meanwhile."""
        has_excess = state.excess_bytes > 0 or self._told.excess_bytes > 0
        has_room_again = self._has_refused and state.trouble is None
        is_news = has_excess or has_room_again or state.trouble is not self._told.trouble
        if is_news:
            self._told = state
            self._has_refused = False
        return is_news
