"""Which holding to hash again next, and when.

Decides: order and pace of scrubs.
Keeps: one at a time; the one that was not looked at for longest is next; none is looked at again
before its time, and reading goes no faster than its pace.
Must not know: where bytes lie, how they are hashed, what becomes of damage.

What was never hashed at rest counts as looked at before all others: it is due at once.
"""

from dataclasses import dataclass
from typing import Final

from fabgossip.core.config import ScrubbingConfig
from fabgossip.core.events import Token
from fabgossip.core.ordered import OrderedMap
from fabgossip.model.ids import ContentHash
from fabgossip.model.moment import (
    NEVER,
    Duration,
    Instant,
    Now,
    UnixTime,
    is_due,
    later,
    seconds_between,
)

LOOK_MAX: Final = Duration(3_600_000)
"""The longest until it is looked whether one is due (*start*)."""
PAUSE: Final = Duration(1_000)
"""The shortest between two, and while something more urgent is on its way (*start*)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubbingSnapshot:
    """Counts for status, since the start."""

    verified: int
    damaged: int
    oldest_at: UnixTime | None
    """When the holding that waits longest was hashed last; None of one never hashed at rest."""


class Scrubbing:
    """All holdings by when they were hashed last."""

    __slots__ = (
        "_by_time", "_config", "_copies", "_ready_at", "_times", "_under_way", "damaged",
        "verified",
    )  # fmt: skip

    def __init__(self, config: ScrubbingConfig) -> None:
        self._config = config
        self._by_time: OrderedMap[tuple[UnixTime, ContentHash], int] = OrderedMap()
        self._times: dict[ContentHash, UnixTime] = {}
        self._under_way: tuple[Token, ContentHash] | None = None
        self._copies = 1
        self._ready_at = Instant(0)
        self.verified = 0
        self.damaged = 0

    def on_held(self, content_hash: ContentHash, size: int, verified_at: UnixTime) -> None:
        """A content is on the disk, hashed at rest or on its way there at this time."""
        self.on_gone(content_hash)
        self._times[content_hash] = verified_at
        self._by_time[(verified_at, content_hash)] = size

    def on_gone(self, content_hash: ContentHash) -> None:
        """A content is not on the disk any more."""
        verified_at = self._times.pop(content_hash, None)
        if verified_at is not None:
            self._by_time.discard((verified_at, content_hash))

    def next_scrub(self, now: Now) -> ContentHash | None:
        """The holding to hash now, if one is due."""
        if self._under_way is not None or not is_due(self._ready_at, now.instant):
            return None
        oldest = self._oldest()
        return None if oldest is None or self._wait_s(oldest[0], now.unix) else oldest[1]

    def _oldest(self) -> tuple[UnixTime, ContentHash] | None:
        return next((key for key, _ in self._by_time.items()), None)

    def _wait_s(self, verified_at: UnixTime, now: UnixTime) -> int:
        age = seconds_between(verified_at, now)
        return max(0, self._config.interval_ms // 1_000 - max(0, age))

    def on_begun(self, token: Token, content_hash: ContentHash, copies: int = 1) -> None:
        """The disk hashes a holding, of which it reads so many copies."""
        self._under_way, self._copies = (token, content_hash), copies

    def waits_for(self, token: Token) -> bool:
        """Whether a scrub under this token is under way."""
        return self._under_way is not None and self._under_way[0] == token

    def on_over(self, now: Now, *, ok: bool) -> None:
        """A holding was found sound, or (False) could not be read for a reason of the moment:
        others come first."""
        assert self._under_way is not None
        content_hash = self._under_way[1]
        self.verified += ok
        self._end(content_hash, now)
        if content_hash in self._times:
            self.on_held(content_hash, self._size_of(content_hash), now.unix)

    def on_lost(self, content_hash: ContentHash, now: Now) -> None:
        """A holding was found damaged, by a scrub or by whoever asked for it."""
        if self._under_way is not None and self._under_way[1] == content_hash:
            self._end(content_hash, now)

    def _end(self, content_hash: ContentHash, now: Now) -> None:
        self._under_way = None
        read = self._copies * self._size_of(content_hash)
        took_ms = read * 1_000 // self._config.bytes_per_second
        self._ready_at = later(now.instant, Duration(max(PAUSE, took_ms)))

    def _size_of(self, content_hash: ContentHash) -> int:
        verified_at = self._times.get(content_hash, NEVER)
        return self._by_time.find((verified_at, content_hash)) or 0

    def look_at(self, now: Now) -> Instant:
        """When to look again."""
        oldest = self._oldest()
        wait_ms = LOOK_MAX if oldest is None else 1_000 * self._wait_s(oldest[0], now.unix)
        soonest = later(now.instant, Duration(max(PAUSE, min(wait_ms, LOOK_MAX))))
        return max(soonest, self._ready_at)

    def snapshot(self) -> ScrubbingSnapshot:
        """Counts for status."""
        oldest = self._oldest()
        oldest_at = None if oldest is None or oldest[0] == NEVER else oldest[0]
        return ScrubbingSnapshot(verified=self.verified, damaged=self.damaged, oldest_at=oldest_at)

    def check(self) -> None:
        """Assert that the indexes agree."""
        assert len(self._by_time) == len(self._times)
