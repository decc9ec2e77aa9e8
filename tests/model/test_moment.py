"""Two clocks: a deadline has come at its very moment, and time never counts backwards."""

from fabgossip.model.moment import (
    Duration,
    Instant,
    UnixTime,
    elapsed,
    is_due,
    is_past,
    later,
    seconds_after,
    seconds_between,
)


def test_a_deadline_is_due_at_its_very_instant() -> None:
    deadline = later(Instant(1_000), Duration(500))
    assert not is_due(deadline, Instant(1_499))
    assert is_due(deadline, Instant(1_500))
    assert is_due(deadline, Instant(1_501))


def test_elapsed_time_is_never_negative() -> None:
    assert elapsed(Instant(10), Instant(25)) == 15
    assert elapsed(Instant(25), Instant(10)) == 0


def test_an_expiry_counts_as_past_at_its_very_second() -> None:
    assert not is_past(UnixTime(100), UnixTime(99))
    assert is_past(UnixTime(100), UnixTime(100))


def test_seconds_may_be_counted_both_ways() -> None:
    assert seconds_after(UnixTime(100), -30) == 70
    assert seconds_between(UnixTime(100), UnixTime(70)) == -30
    assert seconds_between(UnixTime(70), UnixTime(100)) == 30
