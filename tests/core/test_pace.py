"""Whether a source is fast enough: silence and drip at their limits and one beyond."""

import pytest

from fabgossip.core.events import FetchFailure
from fabgossip.core.pace import BYTES_PER_S_MIN, WINDOW, Pace
from fabgossip.model.moment import Duration, Instant

IDLE = Duration(1_000)
ENOUGH = BYTES_PER_S_MIN * WINDOW // 1_000


def drip(pace: Pace, total: int, until: int, *, every: int = 500) -> None:
    """So many bytes in equal parts, none of them late, and the first one at once."""
    parts = until // every
    for number in range(parts):
        share = total * (number + 1) // parts - total * number // parts
        pace.on_bytes(share, Instant(number * every))


def test_silence_ends_a_transfer_after_its_time_and_not_at_it() -> None:
    pace = Pace(IDLE, Instant(0))
    assert pace.verdict(Instant(1_000)) is None
    assert pace.verdict(Instant(1_001)) is FetchFailure.STALLED
    pace.on_bytes(1, Instant(1_000))
    assert pace.verdict(Instant(2_000)) is None


def test_the_first_byte_may_have_a_time_of_its_own() -> None:
    """A turn among other sources is shorter than the silence between two bytes."""
    pace = Pace(IDLE, Instant(0), Duration(500))
    assert pace.verdict(Instant(500)) is None
    assert pace.verdict(Instant(501)) is FetchFailure.STALLED
    pace.on_bytes(1, Instant(500))
    assert pace.verdict(Instant(1_500)) is None
    assert pace.verdict(Instant(1_501)) is FetchFailure.STALLED


@pytest.mark.parametrize(
    ("total", "verdict"), [(ENOUGH, None), (ENOUGH - 1, FetchFailure.TOO_SLOW)]
)
def test_less_than_the_least_rate_over_a_window_ends_it(
    total: int, verdict: FetchFailure | None
) -> None:
    pace = Pace(IDLE, Instant(0))
    drip(pace, total, WINDOW)
    assert pace.verdict(Instant(WINDOW - 1)) is None
    assert pace.verdict(Instant(WINDOW)) is verdict


@pytest.mark.parametrize(("missing", "verdict"), [(0, None), (1, FetchFailure.TOO_SLOW)])
def test_a_window_may_lack_the_grain_under_way_and_no_more(
    missing: int, verdict: FetchFailure | None
) -> None:
    """Else a path just above the least rate, which takes a grain in four seconds of five, would
    lack one in every fifth window."""
    grain = 256 << 10
    pace = Pace(Duration(WINDOW), Instant(0))
    pace.on_bytes(1, Instant(0))
    pace.on_started(grain)
    pace.on_bytes(ENOUGH - 1 - grain - missing, Instant(WINDOW - 1))
    assert pace.verdict(Instant(WINDOW)) is verdict


def test_who_has_sent_no_byte_is_silent_and_did_not_drip() -> None:
    """A turn may be longer than a window."""
    pace = Pace(Duration(2 * WINDOW), Instant(0))
    assert pace.next_look() == Instant(2 * WINDOW + 1)
    assert pace.verdict(Instant(2 * WINDOW)) is None
    assert pace.verdict(Instant(2 * WINDOW + 1)) is FetchFailure.STALLED
    pace.on_held_up(Instant(0), Instant(100))
    pace.on_bytes(1, Instant(2 * WINDOW))
    assert pace.verdict(Instant(3 * WINDOW - 1)) is None
    assert pace.verdict(Instant(3 * WINDOW)) is FetchFailure.TOO_SLOW


def test_a_fast_window_does_not_pay_for_a_slow_one() -> None:
    pace = Pace(IDLE, Instant(0))
    drip(pace, 100 * ENOUGH, WINDOW)
    assert pace.verdict(Instant(WINDOW)) is None
    for second in range(5):
        pace.on_bytes(1, Instant(WINDOW + 1_000 * (second + 1)))
    assert pace.verdict(Instant(2 * WINDOW)) is FetchFailure.TOO_SLOW


def test_the_time_this_end_took_is_not_the_sources() -> None:
    pace = Pace(IDLE, Instant(0))
    pace.on_bytes(ENOUGH, Instant(500))
    pace.on_held_up(Instant(500), Instant(60_000))
    assert pace.verdict(Instant(60_500)) is None
    pace.on_bytes(1, Instant(64_400))
    assert pace.verdict(Instant(64_500)) is None


def test_a_look_is_never_later_than_the_verdict_could_change() -> None:
    pace = Pace(IDLE, Instant(0))
    assert pace.next_look() == Instant(1_001)
    for number in range(10):
        pace.on_bytes(1, Instant(number * 500))
    assert pace.next_look() == Instant(WINDOW)
    assert pace.verdict(pace.next_look()) is FetchFailure.TOO_SLOW
