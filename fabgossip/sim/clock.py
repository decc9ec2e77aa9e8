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
    """Of one machine; both clocks are straight lines from one moment to the next."""

    __slots__ = ("_ahead_ns", "_boot_ns", "_drift_ppm", "_since_ns", "_slides", "readings")

    def __init__(self, skew_ns: int = 0, drift_ppm: int = 0) -> None:
        self._ahead_ns = skew_ns
        """The wall clock's, of the boot clock, faults that last left out."""
        self._drift_ppm = drift_ppm
        self._since_ns = 0
        """True time of the newest bend, and what the boot clock had counted."""
        self._boot_ns = 0
        self._slides: dict[int, tuple[int, int]] = {}
        """How fast the wall clock runs away, and since when, by fault."""
        self.readings = 0
        """How often a process read it."""

    def step(self, by_s: int) -> None:
        """The wall clock jumps."""
        self._ahead_ns += by_s * NS_PER_S

    def drift(self, true_ns: int, by_ppm: int) -> None:
        """From now on both clocks run faster by so much, or slower."""
        self._boot_ns, self._since_ns = self._passed_ns(true_ns), true_ns
        self._drift_ppm += by_ppm

    def run_wall(self, true_ns: int, fault: int, ppm: int) -> None:
        """From now on the wall clock runs away from the boot clock; at a million behind it stands
        still."""
        self._slides[fault] = (ppm, true_ns)

    def set_wall(self, fault: int) -> None:
        """The wall clock is set to where it would be without a fault."""
        self._slides.pop(fault, None)

    def _passed_ns(self, true_ns: int) -> int:
        since = true_ns - self._since_ns
        return self._boot_ns + since + since * self._drift_ppm // PPM

    def at(self, true_ns: int) -> Now:
        """What both clocks show."""
        passed = self._passed_ns(true_ns)
        ahead = self._ahead_ns
        for ppm, since_ns in self._slides.values():
            ahead += (true_ns - since_ns) * ppm // PPM
        return Now(
            instant=Instant(FIRST_INSTANT + passed // NS_PER_MS),
            unix=UnixTime(FIRST_UNIX + (passed + ahead) // NS_PER_S),
        )

    def read(self, true_ns: int) -> Now:
        """What a process reads on both."""
        self.readings += 1
        return self.at(true_ns)

    def true_ns_of(self, instant: Instant) -> int:
        """The first true time from the newest bend on at which the boot clock shows an instant, if
        it does not bend again."""
        passed = (instant - FIRST_INSTANT) * NS_PER_MS
        if not self._drift_ppm and not self._since_ns:
            return passed
        left = max(0, passed - self._boot_ns)
        true_ns = self._since_ns + left * PPM // (PPM + self._drift_ppm)
        while self._passed_ns(true_ns) < passed:
            true_ns += 1
        return true_ns


TRUE: Final = Clock()
"""The world's own."""
