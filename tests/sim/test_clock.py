"""Two clocks, neither of them true."""

import pytest

from fabgossip.model.moment import Instant
from fabgossip.sim.clock import FIRST_INSTANT, FIRST_UNIX, TRUE, Clock
from fabgossip.sim.quantities import PPM

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


def test_a_clock_that_bends_never_runs_back_and_is_found_again() -> None:
    clock = Clock(drift_ppm=40)
    clock.drift(5 * S, 100_000)
    clock.drift(9 * S, -150_000)
    shown = [clock.at(true_ns).instant for true_ns in range(9 * S, 20 * S, 10**7)]
    assert shown == sorted(shown)
    for instant in shown[1:]:
        true_ns = clock.true_ns_of(instant)
        assert clock.at(true_ns).instant == instant
        assert clock.at(true_ns - 1).instant < instant
    seconds = (clock.at(19 * S).instant - clock.at(9 * S).instant) / 1_000
    assert 9.49 < seconds < 9.51, "five in a hundred slower, less forty in a million"


def test_a_wall_clock_that_stands_or_slides_is_right_again_once_it_is_set() -> None:
    clock, true = Clock(), Clock()
    clock.run_wall(10 * S, 1, -PPM)
    clock.run_wall(10 * S, 2, PPM // 2)
    assert clock.at(30 * S).unix - true.at(10 * S).unix == 10
    assert clock.at(30 * S).instant == true.at(30 * S).instant
    clock.set_wall(2)
    assert clock.at(30 * S).unix == true.at(10 * S).unix
    clock.set_wall(1)
    assert clock.at(30 * S) == true.at(30 * S)
