"""S22 fails where a node does what the condition it is in forbids, and nowhere else."""

from dataclasses import dataclass, field

import pytest

from fabgossip.model.artifact import Order
from fabgossip.model.authority import RevokedKind
from fabgossip.model.ids import ClusterId, ContentHash
from fabgossip.model.persistence import Change, PutClockDoubt, PutMemory, PutRevoked
from fabgossip.sim.checkers import Docket
from fabgossip.sim.kept import Kept, Local
from fabgossip.sim.ledger import Ledger
from fabgossip.sim.permitted import BINDS_NS, Permitted
from fabgossip.sim.scenario import CLUSTER
from fabgossip.trust.revocation import node_token
from tests.sim.factory import SEVEN, TOPOLOGY, run_of, scenario

EDGE = 2
CONTENT = ContentHash(b"c" * 32)


@dataclass
class Truth:
    """One node that knows all a fresh one must know."""

    checker: Permitted
    docket: Docket
    number: int = field(default=0)

    def commit(self, *changes: Change) -> None:
        self.checker.on_committed(EDGE, changes)

    def found(self) -> list[str]:
        """What serving, applying, showing again and taking away lead to, once it binds."""
        before = len(self.docket.violations)
        self.docket.now_ns += BINDS_NS + 1
        self.number += 1
        self.checker.on_content_sent(EDGE, CONTENT)
        local = Local(current=Order(1, self.number))
        self.checker.on_materialized(EDGE, "n", local)
        self.checker.on_materialized(EDGE, "n", local)
        self.checker.on_materialized(EDGE, "n", Local())
        return [one.signature for one in self.docket.violations[before:]]


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return run_of(scenario('phases = { quiet = "12s" }', TOPOLOGY, SEVEN), 1).watch.ledger


@pytest.fixture
def truth(ledger: Ledger) -> Truth:
    docket = Docket()
    made = Truth(Permitted(ledger, docket), docket)
    made.commit(PutMemory(is_whole=True))
    return made


AMNESIA = ["S22/serve/amnesia", "S22/apply/amnesia"]


def test_who_is_fresh_may_all(truth: Truth) -> None:
    assert truth.found() == []
    assert truth.docket.counts["S22"].state == "held"


def test_a_new_disk_remembers_nothing(truth: Truth) -> None:
    truth.checker.on_wiped(EDGE)
    assert truth.found() == AMNESIA
    truth.commit(PutMemory(is_whole=True))
    assert truth.found() == []
    truth.commit(PutMemory(is_whole=False))
    assert truth.found() == AMNESIA


def test_a_condition_ends_with_the_wish_and_is_back_for_who_crashes_before(truth: Truth) -> None:
    truth.checker.on_wiped(EDGE)
    truth.checker.on_asked(EDGE, (PutMemory(is_whole=True),))
    assert truth.found() == []
    truth.checker.on_started(EDGE, Kept(is_whole=False).started())
    assert truth.found() == AMNESIA


def test_a_disk_of_an_earlier_moment_is_what_it_says(truth: Truth) -> None:
    truth.checker.on_fell_back(EDGE, Kept(is_whole=True, is_clock_doubted=True))
    assert truth.found() == ["S22/apply/clock_doubted"]
    truth.checker.on_fell_back(EDGE, Kept(is_whole=False))
    assert truth.found() == AMNESIA


def test_who_is_revoked_serves_and_applies_nothing(truth: Truth, ledger: Ledger) -> None:
    tokens = [node_token(ClusterId(CLUSTER), ledger.node_id(one)) for one in (EDGE + 1, EDGE)]
    kind = RevokedKind.NODE.value
    truth.commit(PutRevoked(epoch=1, entries=((kind, tokens[0]),)))
    assert truth.found() == [], "another one is"
    truth.commit(PutRevoked(epoch=1, entries=((kind, tokens[1]),)))
    assert truth.found() == ["S22/serve/revoked", "S22/apply/revoked"]


def test_by_a_doubtful_clock_nothing_new_is_applied(truth: Truth) -> None:
    truth.commit(PutClockDoubt(is_doubted=True))
    assert truth.found() == ["S22/apply/clock_doubted"]
    truth.commit(PutClockDoubt(is_doubted=False))
    truth.checker.on_clock_word(EDGE, is_synchronized=False)
    assert truth.found() == ["S22/apply/clock_loose"]
    truth.checker.on_clock_word(EDGE, is_synchronized=True)
    assert truth.found() == []


def test_what_was_begun_before_may_land(truth: Truth) -> None:
    truth.checker.on_wiped(EDGE)
    truth.docket.now_ns += BINDS_NS
    truth.checker.on_content_sent(EDGE, CONTENT)
    assert truth.docket.violations == []
