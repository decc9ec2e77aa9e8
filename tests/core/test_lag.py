"""A node that is late itself learns patience, and unlearns it."""

from fabgossip.core.lag import LATE, LATE_MIN, SAMPLES, SCORE_MAX, Lag
from fabgossip.model.moment import Instant


def late(lag: Lag, by: int, at: int, times: int = 1) -> int:
    for _ in range(times):
        lag.on_timer(Instant(at - by), Instant(at))
    return lag.score(Instant(at))


def test_timers_in_time_raise_nothing_and_late_ones_raise_by_one_up_to_a_limit() -> None:
    lag = Lag()
    assert late(lag, LATE, at=1_000, times=20) == 0
    assert late(lag, LATE + 1, at=1_000, times=17) > 0
    assert late(lag, 5_000, at=2_000, times=100) == SCORE_MAX


def test_each_rise_takes_two_late_timers_of_the_last_sixteen_however_few_there_were() -> None:
    """One alone says nothing: not the first of a process, and not the first after a rise."""
    lag = Lag()
    for score in range(SCORE_MAX):
        assert late(lag, 5_000, at=1_000) == score
        assert late(lag, LATE, at=1_000, times=SAMPLES - 1) == score
        assert late(lag, 5_000, at=1_000) == score
        assert late(lag, LATE, at=1_000, times=SAMPLES - 2) == score
        assert late(lag, 5_000, at=1_000) == score + 1


def test_ten_calm_seconds_lower_the_score_by_one() -> None:
    lag = Lag()
    assert late(lag, 5_000, at=1_000, times=3 * LATE_MIN) == 3
    scores = [lag.score(Instant(at)) for at in (10_999, 11_000, 20_999, 21_000, 31_000, 99_000)]
    assert scores == [3, 2, 2, 1, 0, 0]
