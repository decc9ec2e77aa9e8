"""Patience with those who fail, more with those who lie, and with those who ask for it."""

from random import Random

from fabgossip.core.config import NeighborsConfig
from fabgossip.core.failures import FAILURES_MAX, LOST, Failures
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Instant

A, B = NodeId("a"), NodeId("b")
HOUR_MS = 3_600_000


def memory(redial_max_ms: int = 60_000, members: int = 7, seed: int = 1) -> Failures:
    return Failures(NeighborsConfig(redial_max_ms=redial_max_ms), lambda: members, Random(seed))


def wait_of(failures: Failures, now: Instant) -> int:
    """Until the only node remembered may be dialled."""
    end = failures.next_end(now)
    assert end is not None
    assert not failures.may_dial(A, Instant(end - 1))
    assert failures.may_dial(A, end)
    return end - now


def waits(failures: Failures, count: int, *, is_identity: bool = False) -> list[int]:
    now, found = Instant(0), []
    for _ in range(count):
        failures.on_failed(A, now, is_identity=is_identity, was_linked=False)
        found.append(wait_of(failures, now))
        now = Instant(now + found[-1])
        failures.check()
    return found


def assert_about(found: list[int], expected: list[int]) -> None:
    for one, about in zip(found, expected, strict=True):
        assert 0.8 * about <= one <= 1.2 * about


def test_only_the_first_loss_of_a_link_is_one_that_a_visit_shortens() -> None:
    for is_identity, was_linked, times, rests in (
        (False, True, 1, True), (True, True, 1, False), (False, False, 1, False),
        (False, True, 2, False),
    ):  # fmt: skip
        failures = memory()
        for _ in range(times):
            failures.on_failed(A, Instant(0), is_identity=is_identity, was_linked=was_linked)
        assert (failures.on_open(A, Instant(1)) > 1) is rests


def test_each_failure_doubles_the_wait_up_to_a_minute_and_after_ten_to_five() -> None:
    found = waits(memory(), 22)
    assert found[0] <= 1_000
    assert_about(found[1:8], [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000])
    assert_about(found[-3:], [300_000] * 3)


def test_a_certificate_that_does_not_pass_is_waited_for_a_minute_doubling_to_an_hour() -> None:
    minute = 60_000
    doubled = [minute << number for number in range(6)]
    assert_about(waits(memory(), 8, is_identity=True), [*doubled, HOUR_MS, HOUR_MS])


def test_an_open_link_forgets_what_failed_but_not_what_was_said() -> None:
    failures = memory()
    failures.on_failed(A, Instant(0), is_identity=False, was_linked=False)
    failures.on_open(A, Instant(0))
    assert failures.may_dial(A, Instant(0))
    failures.on_told(A, 600, Instant(0))
    failures.on_open(A, Instant(1))
    assert not failures.may_dial(A, Instant(599_999))
    assert failures.may_dial(A, Instant(600_000))


def test_who_seeks_ignores_what_failed_and_not_what_was_said() -> None:
    failures = memory()
    failures.on_failed(A, Instant(0), is_identity=False, was_linked=False)
    assert (failures.may_dial(A, Instant(0)), failures.may_seek(A, Instant(0))) == (False, True)
    failures.on_told(A, 30, Instant(0))
    assert not failures.may_seek(A, Instant(29_999))
    assert failures.may_seek(A, Instant(30_000))


def test_no_peer_is_waited_for_longer_than_an_hour_and_none_for_nothing() -> None:
    failures = memory()
    failures.on_told(A, 2**32 - 1, Instant(0))
    assert not failures.may_dial(A, Instant(HOUR_MS - 1))
    assert failures.may_dial(A, Instant(HOUR_MS))
    failures.on_told(B, 0, Instant(0))
    assert not failures.has_failed(B, Instant(0))


def test_what_is_forgotten_for_a_part_of_the_fabric_is_its_failures() -> None:
    failures = memory()
    for node_id in (A, B):
        failures.on_failed(node_id, Instant(0), is_identity=False, was_linked=False)
    failures.on_told(NodeId("c"), 60, Instant(0))
    failures.forget(lambda node_id: node_id != B, Instant(0))
    assert failures.may_dial(A, Instant(0))
    assert not failures.may_dial(B, Instant(0))
    assert not failures.may_dial(NodeId("c"), Instant(0)), "it said so itself"


def test_a_wait_that_is_over_keeps_no_failure_from_being_forgotten() -> None:
    """Who was told to wait an hour before the fabric was cut is dialled at once when it heals."""
    failures = memory()
    failures.on_told(A, 3_600, Instant(0))
    for _ in range(10):
        failures.on_failed(A, Instant(HOUR_MS), is_identity=False, was_linked=False)
    failures.forget(lambda _: True, Instant(HOUR_MS - 1))
    assert not failures.may_dial(A, Instant(HOUR_MS))
    failures.forget(lambda _: True, Instant(HOUR_MS))
    assert failures.may_dial(A, Instant(HOUR_MS))


def test_so_many_are_remembered_and_the_oldest_goes() -> None:
    failures = memory()
    for number in range(FAILURES_MAX + 1):
        failures.on_failed(NodeId(f"n{number}"), Instant(0), is_identity=False, was_linked=False)
        failures.on_told(NodeId(f"n{number}"), 5, Instant(0))
        failures.check()
    assert not failures.has_failed(NodeId("n0"), Instant(0))
    assert failures.has_failed(NodeId("n1"), Instant(0))


def test_a_word_that_runs_outlasts_all_that_merely_failed() -> None:
    """Or a peer that asked for ten minutes would be dialled at once because others are dead. Only
    words push out words, and who just failed is remembered in any case."""
    failures = memory()
    failures.on_told(A, 600, Instant(0))
    for number in range(2 * FAILURES_MAX):
        failures.on_failed(NodeId(f"n{number}"), Instant(0), is_identity=False, was_linked=False)
    assert not failures.may_dial(A, Instant(599_999))
    for number in range(FAILURES_MAX):
        failures.on_told(NodeId(f"n{number}"), 600, Instant(0))
    assert failures.may_dial(A, Instant(1))
    failures.on_failed(B, Instant(0), is_identity=False, was_linked=False)
    failures.check()
    assert not failures.may_dial(B, Instant(0))


def test_what_is_over_for_ten_minutes_is_forgotten() -> None:
    failures, day = memory(), Instant(24 * HOUR_MS)
    for _ in range(5):
        failures.on_failed(A, Instant(0), is_identity=True, was_linked=False)
    failures.on_told(B, 60, Instant(0))
    failed_until = Instant(wait_of(failures, Instant(60_000)) + 60_000)
    for node_id, end in ((B, Instant(60_000)), (A, failed_until)):
        assert failures.has_failed(node_id, Instant(end + LOST - 1))
        assert not failures.has_failed(node_id, Instant(end + LOST))
    failures.on_failed(A, day, is_identity=True, was_linked=False)
    assert_about([wait_of(failures, day)], [60_000])


def test_what_fails_in_one_way_says_nothing_of_the_other_and_cuts_no_wait_of_it_short() -> None:
    failures = memory()
    for _ in range(7):
        failures.on_failed(A, Instant(0), is_identity=False, was_linked=False)
    failures.on_failed(A, Instant(0), is_identity=True, was_linked=False)
    first = wait_of(failures, Instant(0))
    assert_about([first], [60_000])
    other = memory()
    for is_identity in (True, False):
        other.on_failed(A, Instant(0), is_identity=is_identity, was_linked=False)
    assert_about([wait_of(other, Instant(0))], [60_000])
    other.on_failed(A, Instant(HOUR_MS // 12), is_identity=False, was_linked=False)
    assert_about([wait_of(other, Instant(HOUR_MS // 12))], [2_000])


def test_those_that_lost_one_node_together_do_not_come_back_together() -> None:
    """Of ten thousand, over ten seconds: twenty handshakes a second is all a node takes."""
    firsts = []
    for seed in range(200):
        failures = memory(members=10_000, seed=seed)
        failures.on_failed(A, Instant(0), is_identity=False, was_linked=False)
        firsts.append(wait_of(failures, Instant(0)))
    assert max(firsts) <= 10_000
    by_second = [sum(one // 1_000 == second for one in firsts) for second in range(10)]
    assert max(by_second) <= 2 * len(firsts) // 10
    assert min(by_second) > 0
