"""S24 and L7 fail where a node says what is not so, or a want waits for nothing.

The node is a real one, its books are bent: what it says is then not so.
"""

import pytest

from fabgossip.core.catalog import Head
from fabgossip.core.view import View
from fabgossip.core.wants import EndedWant, Want, WantState, goal_of, wanted_from
from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.messages import TrafficClass
from fabgossip.model.moment import Duration, Instant, later
from fabgossip.sim.checkers import Docket
from fabgossip.sim.disk import COSTS, SimDisk
from fabgossip.sim.host import Process
from fabgossip.sim.reporting import CLIMB_MS_MAX, Reported, Wanting, all_heads
from fabgossip.sim.run import Run
from fabgossip.sim.streams import Stream
from fabgossip.sim.world import World
from tests.sim.factory import OFTEN, SEVEN, TOPOLOGY, run_of, scenario
from tests.sim.test_disk import Nobody

EDGE = 2
ROUTES = "platform/p1/cluster/c1/routes/core"


@pytest.fixture(scope="module")
def ran() -> Run:
    run = run_of(scenario('phases = { quiet = "14s" }', OFTEN, TOPOLOGY, SEVEN), 1)
    assert run.run().violations == ()
    return run


def process_of(run: Run) -> Process:
    process = run.hosts[EDGE].process
    assert process is not None
    return process


def disk_like(run: Run) -> SimDisk:
    disk = SimDisk(World(), EDGE, COSTS["instant"], Nobody(), Stream(1), {})
    disk.restore(run.hosts[EDGE].disk)
    return disk


def told(run: Run, disk: SimDisk, *, links: bool = True) -> set[str]:
    docket, process = Docket(), process_of(run)
    now = run.hosts[EDGE].clock.at(run.world.now_ns)
    given = process.links if links else frozenset()
    Reported(run.watch.ledger, docket).on_audit(EDGE, process.node.view, disk, given, now)
    assert docket.counts["S24"].checks > 3
    return {one.signature for one in docket.violations}


def test_s24_holds_where_books_and_words_agree(ran: Run) -> None:
    assert told(ran, disk_like(ran)) == set()


def test_s24_finds_a_holding_that_is_not_there(ran: Run) -> None:
    disk = disk_like(ran)
    del disk.sizes[disk.heads[ROUTES].manifest.content_hash]
    assert told(ran, disk) == {"S24/holding"}


def test_s24_finds_local_state_that_is_another(ran: Run) -> None:
    disk = disk_like(ran)
    disk.local[ROUTES].current = min(disk.local[ROUTES].versions)
    assert disk.heads[ROUTES].manifest.order != disk.local[ROUTES].current
    assert told(ran, disk) == {"S24/current"}


def test_s24_finds_links_that_are_over_and_a_memory_that_is_not_whole(ran: Run) -> None:
    disk = disk_like(ran)
    assert told(ran, disk, links=False) == {"S24/links"}
    disk.is_whole = False
    assert told(ran, disk) == {"S24/mode"}


class Wishful(View):
    """A node with one want."""

    __slots__ = ("_inner", "_want")

    def __init__(self, inner: View, want: Want) -> None:
        self._inner, self._want = inner, want

    def heads_after(self, namespace: str, count: int) -> tuple[Head, ...]:
        return self._inner.heads_after(namespace, count)

    def want_of(self, verified: VerifiedManifest) -> Want | EndedWant | None:
        return self._want if verified is self._want.verified else None


NOW = Instant(10_000_000)


def wanting(ran: Run) -> Want:
    view = process_of(ran).node.view
    head = next(one for one in all_heads(view) if one.manifest.namespace.text == ROUTES)
    verified = head.verified
    return Want(
        goal_of(verified), wanted_from(verified, is_read=False), verified, TrafficClass.POLICY,
        NOW, NOW,
    )  # fmt: skip


def judged(ran: Run, want: Want) -> list[str]:
    docket = Docket()
    view = Wishful(process_of(ran).node.view, want)
    Wanting(ran.watch.ledger, docket).on_audit(EDGE, view, NOW)
    assert docket.counts["L7"].checks == 1
    return [one.signature for one in docket.violations]


def test_l7_lets_a_want_wait_for_a_time_and_a_reason(ran: Run) -> None:
    want = wanting(ran)
    want.climb_since = NOW
    assert judged(ran, want) == []
    want.note(node_id=None, outcome="missing", reason="", at=NOW)
    want.state, want.retry_at = WantState.PARKED, later(NOW, Duration(1))
    assert judged(ran, want) == []


def test_l7_finds_a_want_parked_without_a_reason_or_past_its_time(ran: Run) -> None:
    want = wanting(ran)
    want.state, want.retry_at = WantState.PARKED, later(NOW, Duration(1))
    assert judged(ran, want) == ["L7/parked without a reason"]
    want.note(node_id=None, outcome="missing", reason="", at=NOW)
    want.retry_at = later(NOW, Duration(-1))
    assert judged(ran, want) == ["L7/parked past its time"]


def test_l7_finds_a_climb_that_does_not_end(ran: Run) -> None:
    want = wanting(ran)
    want.state, want.climb_since = WantState.FETCHING, later(NOW, Duration(-CLIMB_MS_MAX - 1))
    assert judged(ran, want) == ["L7/climbs on"]
