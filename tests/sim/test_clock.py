"""Two clocks, neither of them true."""

import pytest

from fabgossip.model.moment import Instant
from fabgossip.sim.clock import FIRST_INSTANT, FIRST_UNIX, TRUE, Clock

S = 10**9


def test_a_wall_clock_is_ahead_and_steps_while_the_boot_clock_goes_on() -> None:
    clock = Clock(skew_ns=-3 * S)
    assert (clock.at(0).instant, clock.at(0).unix) == (FIRST_INSTANT, FIRST_UNIX - 3)
    clock.step(3_600)
    assert (clock.at(S).instant, clock.at(S).unix) == (FIRST_INSTANT + 1_000, FIRST_UNIX + 3_598)
    assert TRUE.at(S).unix == FIRST_UNIX + 1


@pytest.mark.parametrize("drift_ppm", [-200, -1, 0, 1, 200])
def test_a_timer_fires_at_the_first_moment_its_clock_shows_it(drift_ppm: int) -> None:
    clock = Clock(drift_ppm=drift_ppm)
    for passed in (1, 7_500, 86_400_000):
        due = Instant(FIRST_INSTANT + passed)
        at_ns = clock.true_ns_of(due)
        assert clock.at(at_ns).instant == due
        assert clock.at(at_ns - 1).instant < due
