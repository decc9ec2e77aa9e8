"""What this node's own clock says of how far it may be trusted.

Decides: whether the clock is suspect; the time everything is judged by.
Keeps: the time judged by never runs back, so a stepped clock revives nothing; what a clock lost it
wins back only by something newly signed that agrees with it.
Must not know: bundles, lists, peers.
"""

from typing import Final

from fabgossip.model.ids import KeyId
from fabgossip.model.moment import Now, UnixTime, elapsed, seconds_after, seconds_between
from fabgossip.trust.identity import CLOCK_TOLERANCE_S

STEP_MAX_MS: Final = 30_000
"""Wall and monotonic clock may drift apart so much between two events (*start*)."""
FLOOR_EVERY_S: Final = 300
"""The time floor is made durable so often (*start*)."""


class ClockWatch:
    """The two clocks against each other, against the floor, and against what is signed."""

    __slots__ = (
        "_floor",
        "_from_future",
        "_kept_floor",
        "_last",
        "is_doubted",
        "is_synchronized",
    )

    def __init__(self, floor: UnixTime) -> None:
        self._floor = floor
        """Latest time known to have been reached."""
        self._kept_floor = UnixTime(0)
        self._last: Now | None = None
        self.is_doubted = False
        """Whether it stepped, or contradicts what is signed, in this process or one before; only
        something newly signed ends that."""
        self.is_synchronized = True
        """The kernel's word, where it is asked for; it ends by that as well."""
        self._from_future: dict[KeyId, None] = {}
        """Keys that signed what our clock calls the future."""

    def on_started(self, floor: UnixTime, *, is_doubted: bool) -> None:
        """What the disk remembers."""
        self.is_doubted = is_doubted
        self._floor = max(self._floor, floor)
        self._kept_floor = floor

    def on_time(self, now: Now) -> None:
        """An event comes: look at both clocks."""
        last, self._last = self._last, now
        if last is None:
            return
        wall_ms = seconds_between(last.unix, now.unix) * 1_000
        if abs(wall_ms - elapsed(last.instant, now.instant)) > STEP_MAX_MS:
            self.is_doubted = True
        if now.unix > self._floor and not self.is_suspect(now):
            self._floor = now.unix

    def is_suspect(self, now: Now) -> bool:
        """Whether the wall clock cannot be believed."""
        is_behind = now.unix < seconds_after(self._floor, -CLOCK_TOLERANCE_S)
        return self.is_doubted or not self.is_synchronized or is_behind

    def judged_by(self, now: Now) -> Now:
        """The time everything is judged by: never earlier than one that was reached before."""
        if now.unix >= self._floor:
            return now
        return Now(instant=now.instant, unix=self._floor)

    def on_signed(self, issued_at: UnixTime) -> None:
        """Something verified was issued then. A thief of a key cannot push the floor further than
        the tolerance: it is counted from the wall clock, not from where he pushed it before."""
        if self._last is not None:
            capped = min(issued_at, seconds_after(self._last.unix, CLOCK_TOLERANCE_S))
            self._floor = max(self._floor, UnixTime(capped))

    def on_from_future(self, signers: tuple[KeyId, ...]) -> None:
        """Something well signed claims a time ahead of our clock: if two keys do, it is our clock
        that is wrong."""
        for key_id in signers[:2]:
            self._from_future[key_id] = None
        if len(self._from_future) >= 2:
            self._from_future.clear()
            self.is_doubted = True

    def on_confirmed(self, issued_at: UnixTime, refresh_by: UnixTime, now: Now) -> None:
        """A newly signed list agrees with the wall clock: the clock is believed again."""
        self._from_future.clear()
        agrees = issued_at <= seconds_after(now.unix, CLOCK_TOLERANCE_S) and now.unix < refresh_by
        if agrees:
            self.is_doubted = False

    def next_floor(self) -> UnixTime | None:
        """The floor to make durable now, None if the durable one is young enough."""
        if seconds_between(self._kept_floor, self._floor) < FLOOR_EVERY_S:
            return None
        self._kept_floor = self._floor
        return self._floor

    @property
    def floor(self) -> UnixTime:
        """Latest time known to have been reached."""
        return self._floor

    def check(self) -> None:
        """Assert that what is durable was reached."""
        assert self._kept_floor <= self._floor
        assert len(self._from_future) < 2
