"""Each checker fails where it must: fed the fact that breaks its invariant, and one that does not.

The truth is that of the small fabric of `factory.py`; `edge-0` is of `acme`, `edge-1` of `zed`.
"""

from dataclasses import dataclass, replace

import pytest

from fabgossip.core.effects import Effect
from fabgossip.core.events import Event, MessageReceived, Started
from fabgossip.core.ladder import ASKING, Step
from fabgossip.core.node import Node
from fabgossip.core.setup import NodeSetup
from fabgossip.core.wants import Want, goal_of, wanted_from
from fabgossip.model.artifact import ArtifactType, Order, VerifiedManifest
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import (
    Announce,
    Announced,
    GetContent,
    Have,
    Heads,
    Holdings,
    HoldingsEntry,
    HoldingsMode,
    Message,
    Ping,
    TrafficClass,
)
from fabgossip.model.moment import Instant, Now
from fabgossip.model.persistence import DropHeldBack, PutHeldBack, StoredFloor
from fabgossip.sim.authority import Issued
from fabgossip.sim.checkers import Applied, Climbed, Disclosed, Docket, Durable, Floors
from fabgossip.sim.host import SimulatedNode
from fabgossip.sim.kept import Local
from fabgossip.sim.ledger import Ledger
from fabgossip.trust.signatures import Verifier
from tests.core.test_holdbacks import held_back
from tests.sim.factory import FIVE, OFTEN, SEVEN, TOPOLOGY, run_of, scenario
from tests.wire.samples import ping

CONTROL, STORE, ACME, ZED = 1, 6, 2, 3
BUNDLE = ArtifactType.SERVICE_ASSIGNMENT_BUNDLE


@dataclass
class Truth:
    """A fabric that has published."""

    ledger: Ledger
    acme: Issued
    verified: VerifiedManifest
    docket: Docket


@pytest.fixture(scope="module")
def fabric() -> tuple[Ledger, Issued, VerifiedManifest]:
    acts = (
        '{ kind = "revoke_node", at = "12s", node = "edge-3" }',
        '{ kind = "crash", at = "11s", node = "edge-2" }',
        '{ kind = "restart", at = "12s", node = "edge-2" }',
    )
    act = f"act = [{', '.join(acts)}]"
    run = run_of(scenario('phases = { quiet = "13s" }', OFTEN, act, TOPOLOGY, SEVEN), 1)
    outcome = run.run()
    assert outcome.violations == ()
    unproved = {name for name, one in outcome.checkers.items() if one.state != "held"}
    assert unproved == {"S3", "S7", "S18", "S23"}, "nothing of what these judge happens here"
    namespace = "platform/p1/cluster/c1/org/acme/services/dns"
    issued = run.watch.ledger.newest(namespace)
    assert issued is not None
    assert issued.manifest.artifact_type is BUNDLE
    return run.watch.ledger, issued, run.hosts[STORE].disk.heads[namespace]


@pytest.fixture
def truth(fabric: tuple[Ledger, Issued, VerifiedManifest]) -> Truth:
    return Truth(*fabric, Docket())


def holdings(issued: Issued) -> Holdings:
    entry = HoldingsEntry(issued.manifest.audience, HoldingsMode.ONLY, (issued.prefix,))
    return Holdings(sequence=1, is_whole=False, entries=(entry,))


def messages_about(issued: Issued) -> list[Message]:
    return [
        Announce(entries=(Announced(issued.envelope, 0),)),
        Heads(envelopes=(issued.envelope,)),
        Have(audience=issued.manifest.audience, prefixes=(issued.prefix,)),
        holdings(issued),
    ]


@pytest.mark.parametrize("number", range(4))
def test_s1_finds_a_message_naming_what_its_receiver_may_not_know(
    truth: Truth, number: int
) -> None:
    message = messages_about(truth.acme)[number]
    checker = Disclosed(truth.ledger, truth.docket)
    checker.on_sent(STORE, ACME, message)
    assert truth.docket.violations == []
    checker.on_sent(STORE, ZED, message)
    assert {one.checker for one in truth.docket.violations} == {"S1"}


def test_s1_finds_an_audience_that_is_named_without_anything_in_it(truth: Truth) -> None:
    checker = Disclosed(truth.ledger, truth.docket)
    checker.on_sent(STORE, ZED, Have(audience=truth.acme.manifest.audience, prefixes=()))
    assert [one.signature for one in truth.docket.violations] == ["S1/sent/have"]


def test_s1_finds_content(truth: Truth) -> None:
    checker = Disclosed(truth.ledger, truth.docket)
    checker.on_content_sent(STORE, ACME, truth.acme.manifest.content_hash)
    assert truth.docket.violations == []
    checker.on_content_sent(STORE, ZED, truth.acme.manifest.content_hash)
    assert [one.signature for one in truth.docket.violations] == ["S1/sent/content"]


def climbing(truth: Truth, step: Step, *tried: tuple[Step, str]) -> Want:
    """A want at a step, after these tries."""
    goal, wanted = goal_of(truth.verified), wanted_from(truth.verified, is_read=False)
    now = Instant(0)
    want = Want(goal, wanted, truth.verified, TrafficClass.POLICY, now, now)
    for one, outcome in tried:
        want.enter(one)
        node_id = None if outcome == "skipped" else NodeId(f"n{len(want.attempts)}")
        want.note(node_id=node_id, outcome=outcome, reason="", at=now)
    want.enter(step)
    return want


BELOW = tuple((one, "skipped") for one in ASKING[:4])


def test_s13_lets_a_climb_in_order_pass(truth: Truth) -> None:
    checker = Climbed(truth.ledger, truth.docket)
    for number, step in enumerate(ASKING):
        source = CONTROL if step is Step.RUNG_4 else STORE
        checker.on_asked(ACME, source, climbing(truth, step, *BELOW[:number]))
    assert truth.docket.violations == []


@pytest.mark.parametrize(
    ("what", "source", "step", "tried"),
    [
        ("order", STORE, Step.NORMAL, BELOW[:2]),
        ("step left out", STORE, Step.RUNG_3, (BELOW[0], BELOW[2])),
        ("too many", STORE, Step.NORMAL, ((Step.NORMAL, "missing"),) * 2),
        ("wrong source", ZED, Step.RUNG_1, BELOW[:1]),
        ("wrong source", STORE, Step.RUNG_4, BELOW),
    ],
)
def test_s13_finds_a_climb_out_of_order(
    truth: Truth, what: str, source: int, step: Step, tried: tuple[tuple[Step, str], ...]
) -> None:
    Climbed(truth.ledger, truth.docket).on_asked(ACME, source, climbing(truth, step, *tried))
    assert [one.signature for one in truth.docket.violations] == [f"S13/{what}"]


def test_s13_finds_a_source_that_is_asked_twice(truth: Truth) -> None:
    want = climbing(truth, Step.NORMAL)
    node_id = truth.ledger.node_id(STORE)
    want.note(node_id=node_id, outcome="missing", reason="", at=Instant(0))
    Climbed(truth.ledger, truth.docket).on_asked(ACME, STORE, want)
    assert [one.signature for one in truth.docket.violations] == ["S13/asked twice"]


def test_s2_finds_an_artifact_applied_outside_its_audience(truth: Truth) -> None:
    manifest = truth.acme.manifest
    local = Local(versions={manifest.order: truth.acme.content}, current=manifest.order)
    checker = Applied(truth.ledger, truth.docket)
    checker.on_materialized(ACME, manifest.namespace.text, local)
    assert truth.docket.violations == []
    checker.on_materialized(ZED, manifest.namespace.text, local)
    assert [one.checker for one in truth.docket.violations] == ["S2"]


def test_s5_finds_other_bytes(truth: Truth) -> None:
    manifest = truth.acme.manifest
    other = truth.acme.content[:-1] + bytes([truth.acme.content[-1] ^ 1])
    local = Local(versions={manifest.order: other}, current=manifest.order)
    Applied(truth.ledger, truth.docket).on_materialized(ACME, manifest.namespace.text, local)
    assert [one.checker for one in truth.docket.violations] == ["S5"]


def test_s6_finds_a_floor_that_sinks(truth: Truth) -> None:
    namespace = truth.verified.manifest.namespace.text
    order = truth.verified.manifest.order
    checker = Floors(truth.ledger, truth.docket)
    checker.on_durable_manifest(ACME, truth.verified, order)
    floor = StoredFloor(
        namespace=namespace, order=order, manifest_hash=truth.verified.manifest_hash
    )
    kept = Started(trust=(), heads=(), floors=(floor,))
    checker.on_started(ACME, kept)
    assert truth.docket.violations == []
    checker.on_started(ACME, Started(trust=(), heads=(), floors=()))
    below = Order(order.epoch, order.version - 1)
    checker.on_materialized(ACME, namespace, Local(versions={order: b""}, current=order))
    assert len(truth.docket.violations) == 1
    checker.on_materialized(ACME, namespace, Local(versions={below: b""}, current=below))
    checker.on_durable_manifest(ACME, truth.verified, below)
    assert [one.signature for one in truth.docket.violations] == [
        "S6/restarted",
        "S6/applied",
        "S6/persisted",
    ]


def test_s6_lets_pass_what_an_operator_put_back_and_nothing_else_below(truth: Truth) -> None:
    namespace, order = truth.verified.manifest.namespace.text, truth.verified.manifest.order
    older, oldest = (Order(order.epoch, order.version - back) for back in (1, 2))
    hold = replace(held_back(namespace), order=older)
    local = Local(versions={older: b""}, current=older)
    for is_written in (True, False):
        checker = Floors(truth.ledger, truth.docket)
        checker.on_durable_manifest(ACME, truth.verified, order)
        checker.on_materialized(ACME, namespace, Local(versions={order: b""}, current=order))
        if is_written:
            checker.on_committed(ACME, (PutHeldBack(held_back=hold),))
        else:
            checker.on_fell_back(ACME, (hold,))
        checker.on_materialized(ACME, namespace, local)
        assert truth.docket.violations == []
        checker.on_materialized(ACME, namespace, Local(versions={oldest: b""}, current=oldest))
        checker.on_committed(ACME, (DropHeldBack(namespace=namespace),))
        checker.on_materialized(ACME, namespace, local)
        found = [one.signature for one in truth.docket.violations]
        assert found == ["S6/applied"] * 2
        truth.docket.violations.clear()


def test_s6_lets_pass_what_came_late_and_is_newer_than_what_was_read(truth: Truth) -> None:
    namespace, order = truth.verified.manifest.namespace.text, truth.verified.manifest.order
    checker = Floors(truth.ledger, truth.docket)
    older, late = (Order(order.epoch, order.version - back) for back in (2, 1))
    checker.on_materialized(ACME, namespace, Local(versions={older: b""}, current=older))
    checker.on_durable_manifest(ACME, truth.verified, order)
    checker.on_materialized(ACME, namespace, Local(versions={late: b""}, current=late))
    assert truth.docket.violations == []
    checker.on_materialized(ACME, namespace, Local(versions={older: b""}, current=older))
    assert [one.signature for one in truth.docket.violations] == ["S6/applied"]


@pytest.mark.parametrize("number", range(4))
def test_s21_finds_what_is_told_before_it_is_durable(truth: Truth, number: int) -> None:
    message = messages_about(truth.acme)[number]
    checker = Durable(truth.ledger, truth.docket)
    checker.on_sent(STORE, message)
    assert [one.checker for one in truth.docket.violations] == ["S21"]
    checker.on_durable_manifest(STORE, truth.verified)
    checker.on_durable_content(STORE, truth.acme.manifest.content_hash)
    checker.on_sent(STORE, message)
    checker.on_content_sent(STORE, truth.acme.manifest.content_hash)
    assert len(truth.docket.violations) == 1


def test_s21_finds_a_holding_whose_content_is_not_durable(truth: Truth) -> None:
    checker = Durable(truth.ledger, truth.docket)
    checker.on_durable_manifest(STORE, truth.verified)
    checker.on_sent(STORE, holdings(truth.acme))
    assert [one.signature for one in truth.docket.violations] == ["S21/holdings"]


def test_a_message_about_nothing_is_no_check(truth: Truth) -> None:
    Disclosed(truth.ledger, truth.docket).on_sent(STORE, ZED, ping(1))
    Disclosed(truth.ledger, truth.docket).on_sent(STORE, ZED, GetContent(items=()))
    assert truth.docket.counts["S1"].state == "unproved"


class RaisingNode(Node):
    """Fails at the first ping."""

    def handle(self, event: Event, now: Now) -> list[Effect]:
        """As the node does, but for pings."""
        if isinstance(event, MessageReceived) and isinstance(event.message, Ping):
            raise KeyError("ping")
        return super().handle(event, now)


class UnsoundNode(Node):
    """Does not agree with itself once it has a link."""

    def check(self) -> None:
        """As the node does, but for links."""
        super().check()
        assert not self.view.sessions(), "a link"


@pytest.mark.parametrize(
    ("kind", "signature"),
    [(RaisingNode, "S19/handle/KeyError"), (UnsoundNode, "S19/check/AssertionError")],
)
def test_s19_finds_a_node_that_fails_and_ends_the_run(kind: type[Node], signature: str) -> None:
    def make(setup: NodeSetup, verifier: Verifier) -> SimulatedNode:
        return kind(setup, verifier)

    made = scenario('phases = { quiet = "20s" }', TOPOLOGY, FIVE)
    outcome = run_of(made, 1, make).run()
    assert [one.signature for one in outcome.violations] == [signature]
    assert outcome.virtual_ms < 20_000
