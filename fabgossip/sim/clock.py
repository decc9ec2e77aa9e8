"""A machine's two clocks, apart from true time and from each other.

Decides: what each clock shows at a true time, and when a clock will show a time.
Keeps: the boot clock never runs back and takes no steps; integers only.
Must not know: what is timed.
"""

from typing import Final

from fabgossip.model.moment import Instant, Now, UnixTime
from fabgossip.sim.quantities import PPM
from fabgossip.sim.world import NS_PER_MS, NS_PER_S

FIRST_INSTANT: Final = 3_600_000
"""Milliseconds every machine is up when a run begins."""
FIRST_UNIX: Final = 1_800_000_000
"""True wall-clock time when a run begins."""


class Clock:
    """Of one machine."""

    __slots__ = ("_ahead_ns", "_drift_ppm", "readings")

    def __init__(self, skew_ns: int = 0, drift_ppm: int = 0) -> None:
        self._ahead_ns = skew_ns
        self._drift_ppm = drift_ppm
        self.readings = 0
        """How often a process read it."""

    def step(self, by_s: int) -> None:
        """The wall clock jumps."""
        self._ahead_ns += by_s * NS_PER_S

    def _passed_ns(self, true_ns: int) -> int:
        return true_ns + true_ns * self._drift_ppm // PPM

    def at(self, true_ns: int) -> Now:
        """What both clocks show."""
        passed = self._passed_ns(true_ns)
        return Now(
            instant=Instant(FIRST_INSTANT + passed // NS_PER_MS),
            unix=UnixTime(FIRST_UNIX + (passed + self._ahead_ns) // NS_PER_S),
        )

    def read(self, true_ns: int) -> Now:
        """What a process reads on both."""
        self.readings += 1
        return self.at(true_ns)

    def true_ns_of(self, instant: Instant) -> int:
        """The first true time at which the boot clock shows an instant."""
        passed = (instant - FIRST_INSTANT) * NS_PER_MS
        if not self._drift_ppm:
            return passed
        true_ns = passed * PPM // (PPM + self._drift_ppm)
        while self._passed_ns(true_ns) < passed:
            true_ns += 1
        return true_ns


TRUE: Final = Clock()
"""The world's own."""
