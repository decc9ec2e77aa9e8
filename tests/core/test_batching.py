"""A lone entry waits for nobody; a burst shares frames; of one name the newest leaves."""

from typing import Final

from fabgossip.core.batching import WAITING_MAX, Batching, Departure
from fabgossip.core.events import LinkId
from fabgossip.model.moment import Duration, Instant, later
from fabgossip.model.scope import Audience, ScopeId

NOW: Final = Instant(1_000)
LENGTH: Final = Duration(10)
ENDS: Final = later(NOW, LENGTH)
LINK, OTHER = LinkId(1), LinkId(2)
ACME, ZED = (Audience((ScopeId("cluster:c1"), ScopeId(f"org:{one}"))) for one in ("acme", "zed"))
A, B, BESIDE = (LINK, ACME), (OTHER, ACME), (LINK, ZED)


def due(batches: Batching[str], at: Instant) -> Departure[str]:
    """What leaves the one window there is."""
    return next((leaves for _, leaves in batches.on_due(at)), Departure(()))


def batching() -> Batching[str]:
    return Batching(LENGTH)


def test_the_first_leaves_at_once_and_the_next_with_the_window() -> None:
    batches = batching()
    assert batches.first_at_once(A, b"r1", "one", NOW) == Departure(("one",), ENDS)
    assert batches.first_at_once(A, b"r2", "two", NOW) == Departure(())
    assert batches.first_at_once(A, b"r3", "three", NOW) == Departure(())
    assert due(batches, later(NOW, Duration(LENGTH - 1))) == Departure(())
    assert due(batches, ENDS) == Departure(("two", "three"), later(ENDS, LENGTH))


def test_after_a_quiet_window_nobody_waits() -> None:
    batches = batching()
    batches.first_at_once(A, b"r1", "one", NOW)
    assert due(batches, ENDS) == Departure(())
    assert batches.first_at_once(A, b"r2", "two", ENDS).entries == ("two",)


def test_what_can_wait_always_does() -> None:
    batches = batching()
    assert batches.all_wait(A, b"r1", "one", NOW) == Departure((), ENDS)
    assert batches.all_wait(A, b"r2", "two", NOW) == Departure(())
    assert due(batches, ENDS).entries == ("one", "two")


def test_of_one_name_only_the_newest_leaves_and_what_is_not_needed_does_not() -> None:
    batches = batching()
    for name, entry in ((b"r1", "older"), (b"r2", "other"), (b"r1", "newer"), (b"r3", "known")):
        batches.all_wait(A, name, entry, NOW)
    batches.drop(LINK, b"r3")
    assert due(batches, ENDS).entries == ("other", "newer")


def test_links_have_windows_of_their_own() -> None:
    batches = batching()
    batches.first_at_once(A, b"r1", "one", NOW)
    assert batches.first_at_once(B, b"r1", "one", NOW).entries == ("one",)
    batches.on_lost(LINK)
    assert batches.first_at_once(A, b"r2", "two", NOW).entries == ("two",)


def test_audiences_of_one_link_have_windows_of_their_own() -> None:
    """Or who is in both would pass on to who is in one when something of the other came."""
    batches = batching()
    batches.first_at_once(BESIDE, b"r1", "hidden", NOW)
    assert batches.first_at_once(A, b"r2", "one", NOW).entries == ("one",)
    batches.first_at_once(BESIDE, b"r3", "more", NOW)
    batches.first_at_once(A, b"r4", "two", NOW)
    assert list(batches.on_due(ENDS)) == [
        (LINK, Departure(("more",), later(ENDS, LENGTH))),
        (LINK, Departure(("two",))),
    ]


def test_windows_that_end_at_one_moment_share_a_timer_and_no_other_ends_with_them() -> None:
    batches = batching()
    assert batches.all_wait(A, b"r1", "one", NOW).timer_at == ENDS
    assert batches.all_wait(B, b"r1", "other", NOW).timer_at is None
    after = later(NOW, Duration(1))
    assert batches.all_wait(BESIDE, b"r1", "later", after).timer_at == later(ENDS, Duration(1))
    assert [(link, leaves.entries) for link, leaves in batches.on_due(ENDS)] == [
        (LINK, ("one",)),
        (OTHER, ("other",)),
    ]
    assert [(link, leaves.entries) for link, leaves in batches.on_due(later(after, LENGTH))] == [
        (LINK, ("later",))
    ]


def test_a_link_that_is_lost_takes_no_timer_from_another() -> None:
    batches = batching()
    batches.all_wait(A, b"r1", "one", NOW)
    batches.all_wait(B, b"r1", "other", NOW)
    batches.on_lost(LINK)
    assert due(batches, ENDS).entries == ("other",)


def test_a_full_window_ends_early() -> None:
    batches = batching()
    batches.first_at_once(A, b"first", "first", NOW)
    for number in range(WAITING_MAX - 1):
        assert batches.first_at_once(A, b"%d" % number, str(number), NOW).entries == ()
        batches.check()
    assert len(batches.first_at_once(A, b"last", "last", NOW).entries) == WAITING_MAX
