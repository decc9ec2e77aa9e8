"""L2 fails where a holder lacks what it is to hold, and holds where nobody is to blame."""

from dataclasses import dataclass, field

import pytest

from fabgossip.model.artifact import VerifiedManifest
from fabgossip.sim.landing import Deadlines, Landed
from fabgossip.sim.replicated import Replicated
from tests.sim import truth as ground
from tests.sim.truth import ACME, ROUTES

S = 10**9
DEADLINES = Deadlines(judged_ns=100 * S, end_ns=200 * S, within_ns=10 * S)


@dataclass
class Truth(ground.Truth):
    """Seven nodes, the control node and two stores among them."""

    verified: dict[str, VerifiedManifest] = field(default_factory=lambda: ground.heads_of(1))
    down: set[int] = field(default_factory=set)
    lacks: set[int] = field(default_factory=set)

    def ends(self, *names: str, at: int = 120) -> list[str]:
        """What is said at the end of a run in which the newest of these came at so many seconds."""
        docket = self.docket
        landed = Landed(self.ledger, docket, lambda index: index not in self.down, DEADLINES)
        for index in self.ledger.indices():
            landed.on_begun(index)
        docket.now_ns = at * S
        for name in names:
            landed.on_durable(1, self.verified[name], self.newest(name))
        docket.now_ns = DEADLINES.end_ns
        Replicated(self.ledger, docket, landed).on_end(lambda index, _: index not in self.lacks)
        return [one.detail for one in docket.violations]


@pytest.fixture
def truth() -> Truth:
    return Truth()


def test_every_holder_is_looked_at_and_nobody_else(truth: Truth) -> None:
    assert truth.ends(ROUTES, ACME) == []
    assert truth.docket.counts["L2"].checks == 2 * 3
    truth.lacks = {truth.index_of("edge-0")}
    assert truth.ends(ROUTES, ACME) == []


def test_a_holder_that_lacks_something_is_named(truth: Truth) -> None:
    truth.lacks = {truth.index_of("store-1")}
    (told,) = truth.ends(ROUTES)
    assert told.startswith(f"store-1: {ROUTES} ")


@pytest.mark.parametrize("excuse", ["down", "late"])
def test_who_is_down_and_what_came_late_are_excused(truth: Truth, excuse: str) -> None:
    truth.lacks = {truth.index_of("store-1")}
    if excuse == "down":
        truth.down = {truth.index_of("store-1")}
    assert truth.ends(ROUTES, at=195 if excuse == "late" else 120) == []
