"""In any span at most the burst, and one for each time that passes in it."""

from hypothesis import given
from hypothesis import strategies as st

from fabgossip.core.allowance import Allowance
from fabgossip.model.moment import Instant


@given(st.integers(1, 50), st.integers(1, 10), st.lists(st.integers(0, 120), max_size=60))
def test_no_span_has_more_than_the_burst_and_one_for_each_time(
    every_ms: int, burst: int, gaps: list[int]
) -> None:
    allowance, now, taken = Allowance(every_ms, burst), 0, list[int]()
    for gap in gaps:
        now += gap
        if allowance.next_at(Instant(now)) == now:
            allowance.take(Instant(now))
            taken.append(now)
    for first, began in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + (taken[last] - began) // every_ms


def test_the_next_token_comes_when_it_says() -> None:
    allowance = Allowance(500, 2)
    now = Instant(1_000)
    allowance.take(now)
    allowance.take(now)
    assert allowance.next_at(now) == 1_500
    assert allowance.next_at(Instant(1_500)) == 1_500
