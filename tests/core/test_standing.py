"""What is held against a node: at each limit and one beyond, by node and not by link, bounded."""

import pytest

from fabgossip.core.standing import (
    BARRED,
    BARRED_MAX,
    BOOT_CHANGES_MAX,
    BOOT_CHANGES_SPAN,
    FAILURES_MAX,
    FAILURES_SPAN,
    PROBES_MAX,
    PROBES_SPAN,
    STANDINGS_MAX,
    Standings,
)
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Duration, Instant, later
from tests.core.story import boot_id

N, M = NodeId("n2"), NodeId("n3")
START = Instant(1_000_000)


def after(milliseconds: int) -> Instant:
    return later(START, Duration(milliseconds))


@pytest.mark.parametrize(
    ("kind", "most", "span"),
    [("failed", FAILURES_MAX, FAILURES_SPAN), ("probe", PROBES_MAX, PROBES_SPAN)],
)
def test_the_last_one_within_the_span_cuts_a_node_off_and_no_other(
    kind: str, most: int, span: Duration
) -> None:
    def count(standings: Standings, now: Instant, node_id: NodeId = N) -> bool:
        return (standings.on_failed if kind == "failed" else standings.on_probe)(node_id, now)

    standings = Standings()
    assert not any(count(standings, START) for _ in range(most - 1))
    assert not any(count(standings, START, M) for _ in range(most - 1))
    assert not standings.is_barred(N, START)
    assert count(standings, after(span - 1))
    assert standings.is_barred(N, after(span - 1))
    assert not standings.is_barred(M, after(span - 1))
    assert standings.cut == 1
    # What was over by the time the last one came does not count.
    slow = Standings()
    assert not any(count(slow, START) for _ in range(most - 1))
    assert not count(slow, after(span))
    assert not slow.is_barred(N, after(span))


def test_who_is_cut_off_again_and_again_waits_twice_as_long_each_time_up_to_an_hour() -> None:
    standings, now, waits = Standings(), START, []
    for _ in range(8):
        standings.on_flood(N, now)
        standings.on_flood(N, now)
        waited = next(
            one
            for one in range(0, 2 * BARRED_MAX, BARRED)
            if not standings.is_barred(N, later(now, Duration(one)))
        )
        waits.append(waited // BARRED)
        now = later(now, Duration(waited + BARRED_MAX - 1))
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    standings.on_flood(N, later(now, Duration(1)))
    assert not standings.is_barred(N, later(now, Duration(1 + BARRED)))
    assert standings.cut == 17


def test_a_node_that_was_cut_off_waits_once_and_starts_anew() -> None:
    standings = Standings()
    cuts = [standings.on_failed(N, START) for _ in range(3 * FAILURES_MAX)]
    assert cuts.count(True) == 1
    assert standings.is_barred(N, after(BARRED - 1))
    assert not standings.is_barred(N, after(BARRED))
    assert standings.cut == 1


def test_the_third_change_of_process_within_the_span_is_a_clone() -> None:
    one, other = boot_id("one"), boot_id("other")
    standings = Standings()
    says = [one, other, one, other]
    assert [standings.on_boot(N, boot, START) for boot in says] == [False, False, False, True]
    (clone,) = standings.clones(START)
    assert (clone.node_id, clone.within, clone.ends_in) == (N, 0, BOOT_CHANGES_SPAN)
    (clone,) = standings.clones(after(BOOT_CHANGES_SPAN - 1))
    assert clone.ends_in == 1
    assert standings.clones(after(BOOT_CHANGES_SPAN)) == ()


def test_a_node_that_reconnects_or_restarts_now_and_then_is_no_clone() -> None:
    standings = Standings()
    assert not any(standings.on_boot(N, boot_id("one"), START) for _ in range(100))
    pause = BOOT_CHANGES_SPAN // (BOOT_CHANGES_MAX - 1)
    assert not any(
        standings.on_boot(N, boot_id(f"boot {number}"), after(number * pause))
        for number in range(100)
    )


def test_the_node_unheard_of_for_longest_is_forgotten_at_the_limit() -> None:
    standings = Standings()
    for number in range(STANDINGS_MAX):
        for _ in range(FAILURES_MAX - 1):
            standings.on_failed(NodeId(f"n{number}"), START)
    standings.check()
    standings.on_failed(NodeId("one-more"), START)
    standings.check()
    assert standings.on_failed(NodeId("n1"), START)
    assert not standings.on_failed(NodeId("n0"), START)
