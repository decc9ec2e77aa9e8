"""L3, L4 and L8 fail where they must, and hold where nobody is to blame."""

from dataclasses import dataclass, field, replace

import pytest

from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.moment import UnixTime
from fabgossip.sim.authority import Issued
from fabgossip.sim.kept import Local
from fabgossip.sim.landing import Deadlines, Landed, Lasting
from tests.sim import truth as ground
from tests.sim.truth import LIST, ROUTES

S = 10**9
DEADLINES = Deadlines(judged_ns=100 * S, end_ns=200 * S, within_ns=10 * S)


@dataclass
class Truth(ground.Truth):
    """Seven nodes, all up since the start, and what was signed."""

    verified: dict[str, VerifiedManifest] = field(default_factory=lambda: ground.heads_of(1))
    down: set[int] = field(default_factory=set)

    def landed(self) -> Landed:
        checker = Landed(self.ledger, self.docket, lambda index: index not in self.down, DEADLINES)
        for index in self.ledger.indices():
            checker.on_begun(index)
        return checker

    def at(self, seconds: int) -> None:
        self.docket.now_ns = seconds * S

    def lands(self, checker: Landed, name: str, *nodes: int, version: int | None = None) -> None:
        """A version, the newest there is or one made up, becomes durable at some nodes."""
        issued = self.newest(name)
        if version is not None:
            manifest = replace(issued.manifest, config_version=version)
            issued = replace(issued, manifest=manifest)
        for index in nodes:
            checker.on_durable(index, self.verified[name], issued)


@pytest.fixture
def truth() -> Truth:
    return Truth()


EVERYBODY = range(1, 8)


def test_l3_lets_what_lands_in_time_pass(truth: Truth) -> None:
    checker = truth.landed()
    truth.at(120)
    truth.lands(checker, LIST, *range(1, 7))
    truth.at(129)
    truth.lands(checker, LIST, 7)
    truth.at(200)
    checker.on_end()
    assert truth.signatures() == []
    assert truth.docket.counts["L3"].state == "held"


def test_l3_finds_what_lands_late_or_never(truth: Truth) -> None:
    checker = truth.landed()
    truth.at(120)
    truth.lands(checker, LIST, *range(1, 6))
    truth.at(131)
    truth.lands(checker, LIST, 6)
    assert truth.signatures() == ["L3/late"]
    truth.at(200)
    checker.on_end()
    assert truth.signatures() == ["L3/late", "L3/missing"]


def test_l3_counts_from_the_heal_phase_and_from_when_a_node_came_up(truth: Truth) -> None:
    checker = truth.landed()
    truth.at(20)
    truth.lands(checker, LIST, 1)
    truth.at(108)
    truth.lands(checker, LIST, *range(2, 7))
    truth.at(150)
    checker.on_begun(7)
    truth.at(158)
    truth.lands(checker, LIST, 7)
    assert truth.signatures() == []


def test_l3_owes_the_dead_nothing(truth: Truth) -> None:
    checker = truth.landed()
    truth.down.add(7)
    truth.at(120)
    truth.lands(checker, LIST, *range(1, 7))
    truth.at(200)
    checker.on_end()
    assert truth.signatures() == []


def test_l8_finds_who_is_left_behind_while_others_go_on(truth: Truth) -> None:
    checker = truth.landed()
    for number in range(1, 9):
        truth.at(105 + 5 * number)
        truth.lands(checker, ROUTES, *range(1, 7), version=100 + number)
        if number <= 5:
            truth.lands(checker, ROUTES, 7, version=100 + number)
    assert truth.signatures() == [], "three behind, and no more"
    truth.at(150)
    truth.lands(checker, ROUTES, *range(1, 7), version=109)
    assert truth.signatures() == ["L8/behind"]
    assert truth.docket.violations[0].index == 7


def clock(_: int) -> UnixTime:
    return UnixTime(1_800_000_000)


def showing(truth: Truth, name: str) -> tuple[Lasting, Local, Issued]:
    checker = Lasting(truth.ledger, truth.docket, clock)
    issued = truth.ledger.newest(name)
    assert issued is not None
    local = Local(current=issued.manifest.order)
    checker.on_materialized(2, name, local)
    return checker, local, issued


def test_l4_finds_what_is_taken_away_in_the_dark(truth: Truth) -> None:
    checker, local, _ = showing(truth, ROUTES)
    local.current = None
    checker.on_materialized(2, ROUTES, local)
    assert truth.signatures() == [], "there is light"
    checker, local, _ = showing(truth, ROUTES)
    checker.on_dark(1, is_dark=True)
    local.current = None
    checker.on_materialized(2, ROUTES, local)
    assert truth.signatures() == ["L4/taken away"]


def test_l4_lets_what_expired_go(truth: Truth) -> None:
    late = Lasting(truth.ledger, truth.docket, lambda _: UnixTime(2**40))
    issued = truth.ledger.newest(ROUTES)
    assert issued is not None
    late.on_materialized(2, ROUTES, Local(current=issued.manifest.order))
    late.on_dark(1, is_dark=True)
    late.on_materialized(2, ROUTES, Local())
    assert truth.signatures() == []
