"""Each checker of liveness, and of the simulator itself, fails where it must."""

from dataclasses import replace

import pytest

from fabgossip.core.effects import Effect
from fabgossip.core.events import Event, LostReason, MessageReceived, TimerFired
from fabgossip.core.node import Node
from fabgossip.core.setup import NodeSetup
from fabgossip.model.messages import Announce, Heads, Manifests, TrafficClass
from fabgossip.model.moment import Now
from fabgossip.sim.agreement import Agreement
from fabgossip.sim.checkers import Alive, Bounded, Counted, Docket
from fabgossip.sim.excuses import TRACES_NS, Excuses
from fabgossip.sim.faults import Fault, Parameters
from fabgossip.sim.host import SimulatedNode
from fabgossip.sim.ledger import Ledger
from fabgossip.sim.liveness import DEAD_NS, Calm, Dropped, Whole
from fabgossip.sim.measures import Ways
from fabgossip.sim.network import Books
from fabgossip.sim.world import World
from fabgossip.trust.signatures import Verifier
from fabgossip.wire.outbox import QUEUE_BYTES_MAX
from tests.sim.factory import OFTEN, SEVEN, TOPOLOGY, run_of, scenario

S = 10**9


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    run = run_of(scenario('phases = { quiet = "13s" }', OFTEN, TOPOLOGY, SEVEN), 1)
    run.run()
    return run.watch.ledger


def signatures(docket: Docket) -> list[str]:
    return [one.signature for one in docket.violations]


def test_l1_finds_a_node_that_lacks_the_newest(ledger: Ledger) -> None:
    docket = Docket()
    checker = Whole(ledger, docket)
    checker.on_newest([])
    assert signatures(docket) == []
    checker.on_newest(["edge-1 routes/core"])
    assert signatures(docket) == ["L1/behind"]


def ring(nodes: list[int]) -> Ways:
    ways: Ways = {}
    for one, other in zip(nodes, nodes[1:] + nodes[:1], strict=True):
        ways.setdefault(one, []).append((other, 1))
        ways.setdefault(other, []).append((one, 1))
    return ways


def agreed(ledger: Ledger, ways: Ways) -> Agreement:
    """Everybody holds the routes of everybody."""
    agreement = Agreement(ledger, lambda _: True, lambda: ways)
    issued = ledger.newest("platform/p1/cluster/c1/routes/core")
    assert issued is not None
    for index in ledger.indices():
        agreement.on_durable(index, issued, 1)
    return agreement


def test_l9_finds_an_audience_in_two_pieces(ledger: Ledger) -> None:
    docket = Docket()
    checker = Whole(ledger, docket)
    nodes = list(ledger.indices())
    checker.on_pieces(agreed(ledger, ring(nodes)))
    assert signatures(docket) == []
    checker.on_pieces(agreed(ledger, ring(nodes[:3]) | ring(nodes[3:])))
    assert signatures(docket) == ["L9/pieces"]
    assert docket.violations[0].detail == "cluster:c1 is in 2 pieces"


def test_a_fabric_is_healed_once_sets_are_equal_and_the_pieces_are_one(ledger: Ledger) -> None:
    nodes = list(ledger.indices())
    ways = ring(nodes[:3]) | ring(nodes[3:])
    agreement = agreed(ledger, ways)
    agreement.on_wiped(nodes[0])
    agreement.on_mended(10 * S)
    ways.update(ring(nodes))
    agreement.on_change(11 * S)
    assert agreement.heal_ms is None, "one node lacks something"
    issued = ledger.newest("platform/p1/cluster/c1/routes/core")
    assert issued is not None
    agreement.on_durable(nodes[0], issued, 12 * S)
    assert agreement.heal_ms == 2_000


def fault(kind: str, *targets: int) -> Fault:
    return Fault(
        number=1, nemesis=kind, kind=kind, on_ns=0, off_ns=S, targets=targets,
        others=frozenset(), parameters=Parameters(),
    )  # fmt: skip


def test_l5_finds_a_living_neighbor_given_up_and_a_dead_one_kept(ledger: Ledger) -> None:
    docket, excuses = Docket(), Excuses(World())
    checker = Dropped(ledger, docket, lambda index: index != 3, excuses.is_excused)
    checker.on_lost(2, 3, LostReason.TIMEOUT)
    checker.on_lost(2, 4, LostReason.BYE)
    checker.on_end([(2, 4)])
    assert signatures(docket) == []
    checker.on_lost(2, 4, LostReason.TIMEOUT)
    assert (signatures(docket), checker.false_evictions) == (["L5/dropped"], 1)
    checker.on_crashed(3)
    checker.on_end([(2, 3)])
    assert len(docket.violations) == 1, "it has a while to notice"
    docket.now_ns = DEAD_NS + 1
    checker.on_end([(2, 3)])
    assert signatures(docket) == ["L5/dropped", "L5/kept"]


def test_a_fault_excuses_its_targets_for_a_while_and_nobody_else() -> None:
    world = World()
    excuses = Excuses(world)
    excuses.on_fault(fault("pause", 3))
    assert [excuses.is_excused(2, 3), excuses.is_excused(2, 4)] == [True, False]
    world.run(S + TRACES_NS + 1, lambda *_: None)
    assert not excuses.is_excused(2, 3)
    excuses.on_fault(fault("reset", 4))
    assert not excuses.is_excused(2, 4), "both ends hear of a reset"


@pytest.mark.parametrize("kind", ["cut", "clog"])
def test_what_lies_between_two_sides_excuses_no_pair_on_one_of_them(kind: str) -> None:
    excuses = Excuses(World())
    excuses.on_fault(replace(fault(kind, 1, 2), others=frozenset({3, 4})))
    pairs = [(1, 3), (4, 2), (1, 2), (3, 4), (1, 5)]
    assert [excuses.is_excused(*pair) for pair in pairs] == [True, True, False, False, False]


def test_l6_finds_a_storm_that_does_not_end() -> None:
    docket = Docket()
    checker = Calm(docket)
    checker.on_end(1_000, 20 * S)
    assert docket.counts["L6"].state == "unproved", "there was no quiet phase to compare with"
    checker.on_quiet(1_000, 20 * S)
    checker.on_end(550, 10 * S)
    assert signatures(docket) == []
    checker.on_end(551, 10 * S)
    assert signatures(docket) == ["L6/rate"]


def test_s15_finds_a_queue_and_a_node_beyond_their_limits(ledger: Ledger) -> None:
    docket = Docket()
    checker = Bounded(ledger, docket, links_max=40)
    limit = QUEUE_BYTES_MAX[TrafficClass.TRUST]
    checker.on_queued(2, TrafficClass.TRUST, limit)
    checker.on_connected(2, 40)
    assert signatures(docket) == []
    checker.on_queued(2, TrafficClass.TRUST, limit + 1)
    checker.on_connected(2, 41)
    assert signatures(docket) == ["S15/queue", "S15/links"]


def test_s17_finds_a_parcel_that_is_nowhere() -> None:
    docket = Docket()
    checker = Counted(docket)
    checker.on_audit(Books(sent=10, arrived=5, dropped=1, in_the_air=2), 2)
    assert signatures(docket) == []
    checker.on_audit(Books(sent=10, arrived=5, dropped=1, in_the_air=2), 1)
    assert signatures(docket) == ["S17/books"]


def test_s20_finds_a_dead_incarnation_that_acts(ledger: Ledger) -> None:
    docket = Docket()
    checker = Alive(ledger, docket)
    first = checker.on_begun(2)
    checker.on_acted(2, first)
    checker.on_crashed(2)
    second = checker.on_begun(2)
    checker.on_acted(2, second)
    assert signatures(docket) == []
    checker.on_acted(2, first)
    checker.on_crashed(2)
    checker.on_acted(2, second)
    assert signatures(docket) == ["S20/acted", "S20/acted"]


class DeafNode(Node):
    """Hears no announcement, and nothing of what comparing sets or asking for heads brings."""

    def handle(self, event: Event, now: Now) -> list[Effect]:
        """As the node does, but for news."""
        if isinstance(event, MessageReceived) and isinstance(
            event.message, Announce | Heads | Manifests
        ):
            return []
        return super().handle(event, now)


class BlindNode(Node):
    """Never looks whether its links are alive."""

    def handle(self, event: Event, now: Now) -> list[Effect]:
        """As the node does, but for what timers bring."""
        if isinstance(event, TimerFired) and type(event.timer).__name__ == "PingDue":
            return []
        return super().handle(event, now)


PHASES = 'phases = { start = "10s", quiet = "5s", faults = "10s", heal = "5s", liveness = "20s" }'
POWERLESS = 'nemesis = [{ kind = "kill", at = "15s", for = "0s", select = { group = "store" } }]'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "published", "checker"), [(DeafNode, OFTEN, "L1"), (BlindNode, "", "L5")]
)
def test_a_fabric_of_nodes_that_lack_a_rule_is_found_out(
    kind: type[Node], published: str, checker: str
) -> None:
    def make(setup: NodeSetup, verifier: Verifier) -> SimulatedNode:
        return kind(setup, verifier)

    made = scenario(PHASES, published, POWERLESS, TOPOLOGY, SEVEN)
    failures = run_of(made, 1, make).run().failures
    assert checker in {one.checker for one in failures}
