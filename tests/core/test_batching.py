"""A lone entry waits for nobody; a burst shares frames; of one name the newest leaves."""

from typing import Final

from fabgossip.core.batching import WAITING_MAX, Batching, Departure
from fabgossip.core.events import LinkId
from fabgossip.model.moment import Duration, Instant, later

NOW: Final = Instant(1_000)
LENGTH: Final = Duration(10)
ENDS: Final = later(NOW, LENGTH)
A, B = LinkId(1), LinkId(2)


def batching() -> Batching[str]:
    return Batching(LENGTH)


def test_the_first_leaves_at_once_and_the_next_with_the_window() -> None:
    batches = batching()
    assert batches.first_at_once(A, b"r1", "one", NOW) == Departure(("one",), ENDS)
    assert batches.first_at_once(A, b"r2", "two", NOW) == Departure(())
    assert batches.first_at_once(A, b"r3", "three", NOW) == Departure(())
    assert batches.on_due(A, later(NOW, Duration(LENGTH - 1))) == Departure(())
    assert batches.on_due(A, ENDS) == Departure(("two", "three"), later(ENDS, LENGTH))


def test_after_a_quiet_window_nobody_waits() -> None:
    batches = batching()
    batches.first_at_once(A, b"r1", "one", NOW)
    assert batches.on_due(A, ENDS) == Departure(())
    assert batches.first_at_once(A, b"r2", "two", ENDS).entries == ("two",)


def test_what_can_wait_always_does() -> None:
    batches = batching()
    assert batches.all_wait(A, b"r1", "one", NOW) == Departure((), ENDS)
    assert batches.all_wait(A, b"r2", "two", NOW) == Departure(())
    assert batches.on_due(A, ENDS).entries == ("one", "two")


def test_of_one_name_only_the_newest_leaves_and_what_is_not_needed_does_not() -> None:
    batches = batching()
    for name, entry in ((b"r1", "older"), (b"r2", "other"), (b"r1", "newer"), (b"r3", "known")):
        batches.all_wait(A, name, entry, NOW)
    batches.drop(A, b"r3")
    assert batches.on_due(A, ENDS).entries == ("other", "newer")


def test_links_have_windows_of_their_own() -> None:
    batches = batching()
    batches.first_at_once(A, b"r1", "one", NOW)
    assert batches.first_at_once(B, b"r1", "one", NOW).entries == ("one",)
    batches.on_lost(A)
    assert batches.first_at_once(A, b"r2", "two", NOW).entries == ("two",)


def test_a_full_window_ends_early() -> None:
    batches = batching()
    batches.first_at_once(A, b"first", "first", NOW)
    for number in range(WAITING_MAX - 1):
        assert batches.first_at_once(A, b"%d" % number, str(number), NOW).entries == ()
        batches.check()
    assert len(batches.first_at_once(A, b"last", "last", NOW).entries) == WAITING_MAX
