"""Operators put versions back in a fabric that goes on publishing, and no checker minds."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from fabgossip.core.effects import Effect, Persist
from fabgossip.core.events import Event
from fabgossip.core.node import Node
from fabgossip.core.setup import NodeSetup
from fabgossip.model.artifact import Order
from fabgossip.model.moment import Now
from fabgossip.model.persistence import HeldBack, PutHeldBack
from fabgossip.sim.host import NodeMaker, SimulatedNode, default_node
from fabgossip.sim.kept import Local
from fabgossip.sim.run import Run
from fabgossip.trust.signatures import Verifier
from tests.sim.factory import OFTEN, SEVEN, TOPOLOGY, run_of, scenario

NAMESPACE: Final = "platform/p1/cluster/c1/routes/core"
EDGE: Final = "edge-0"
PUT_BACK: Final = ('{ kind = "use", at = "15s", node = "edge-0", publication = "routes" }',)
RESTARTED: Final = (
    *PUT_BACK,
    '{ kind = "crash", at = "17s", node = "edge-0" }',
    '{ kind = "restart", at = "18s", node = "edge-0" }',
)
RELEASED: Final = (
    *RESTARTED,
    '{ kind = "release", at = "20s", node = "edge-0", publication = "routes" }',
)


def run_with(acts: Sequence[str], make_node: NodeMaker = default_node) -> Run:
    act = f"act = [{', '.join(acts)}]"
    phases = 'phases = { quiet = "22s" }'
    return run_of(scenario(phases, OFTEN, act, TOPOLOGY, SEVEN), 1, make_node)


def state_of(run: Run) -> tuple[Local, Order, tuple[HeldBack, ...]]:
    """What local software on the edge reads, the newest that was signed, and what is held back."""
    (host,) = (one for one in run.hosts.values() if one.papers.own.node_id == EDGE)
    newest = run.watch.ledger.newest(NAMESPACE)
    assert newest is not None
    return host.disk.local[NAMESPACE], newest.manifest.order, tuple(host.disk.held_back.values())


def test_a_version_that_was_put_back_stays_over_a_restart_while_newer_ones_come() -> None:
    run = run_with(RESTARTED)
    assert run.run().violations == ()
    local, newest, (hold,) = state_of(run)
    assert local.current == hold.order
    assert hold.order < newest


def test_after_the_release_the_newest_is_read() -> None:
    run = run_with(RELEASED)
    assert run.run().violations == ()
    local, newest, holds = state_of(run)
    assert holds == ()
    assert local.current == newest


class ForgetfulNode(Node):
    """Goes back, and makes no hold durable."""

    def handle(self, event: Event, now: Now) -> list[Effect]:
        """As the node does, but for what is put back."""
        return [
            replace(
                one, changes=tuple(row for row in one.changes if not isinstance(row, PutHeldBack))
            )
            if isinstance(one, Persist)
            else one
            for one in super().handle(event, now)
        ]


def test_s6_finds_a_node_that_goes_back_without_a_durable_hold() -> None:
    def make(setup: NodeSetup, verifier: Verifier) -> SimulatedNode:
        return ForgetfulNode(setup, verifier)

    violations = run_with(PUT_BACK, make).run().violations
    assert [one.signature for one in violations] == ["S6/applied"]
