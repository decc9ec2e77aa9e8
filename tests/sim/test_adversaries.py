"""Hostile nodes: honest ones hold under each script, and a script succeeds where a safeguard is
missing."""

import pytest

from fabgossip.core.disclosure import Disclosure
from fabgossip.errors import ScenarioError
from fabgossip.model.messages import TrafficClass
from fabgossip.sim.checkers import Docket
from fabgossip.sim.hostility import SCRIPTS
from fabgossip.sim.naming import Named
from fabgossip.sim.network import SentFrame
from fabgossip.sim.run import Run, RunOutcome
from fabgossip.sim.scripts import SCRIPTS as PLAYED
from fabgossip.trust.authorization import Decision
from fabgossip.wire.framing import FrameKind
from tests.sim.factory import SEVEN, TOPOLOGY, run_of, scenario

OFTEN = """
phases = { quiet = "16s", liveness = "8s" }
publication = [
  { name = "routes", type = "route_policy_bundle", namespace = "routes/core", size = "1KiB", at = "5s", every = "2s", until = "14s", through = "control" },
  { name = "acme", type = "service_assignment_bundle", namespace = "org/acme/services/dns", size = "600KiB", at = "6s", every = "4s", until = "14s", through = "control" },
  { name = "zed", type = "route_policy_bundle", namespace = "org/zed/routes/r1", size = "20KiB", at = "5s", every = "2s", until = "14s", through = "control" },
]
"""  # noqa: E501  # a row of a scenario
BAD = """  { name = "bad", role = "edge", count = 1, regions = ["eu"], orgs = ["acme"], services = "one", adversary = "%s", papers = "%s", with = { every = "300ms", count = %d } },
]
"""  # noqa: E501  # as above
MANY = {"flooder": 400, "malformed_frames": 3}


def among(script: str, papers: str = "good") -> Run:
    """A run with one hostile node."""
    groups = SEVEN.rstrip().removesuffix("]") + BAD % (script, papers, MANY.get(script, 2))
    return run_of(scenario(OFTEN, TOPOLOGY, groups), 1)


def assert_unharmed(outcome: RunOutcome) -> None:
    assert [one.detail for one in outcome.violations] == []
    assert [one.detail for one in outcome.failures] == []
    assert (outcome.behind, outcome.refused, outcome.over_all.missed) == ((), (), 0)
    assert outcome.unentitled_deliveries == 0


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_honest_nodes_hold_and_hear_everything(script: str) -> None:
    assert_unharmed(among(script).run())


@pytest.mark.slow
@pytest.mark.parametrize("papers", ["expired", "revoked"])
def test_who_has_no_good_papers_is_linked_to_nobody(papers: str) -> None:
    run = among("scope_prober", papers)
    assert_unharmed(run.run())
    bad = next(node.index for node in run.scenario.nodes if node.group == "bad")
    assert bad not in {other for others in run.network.sides().values() for other in others}


@pytest.mark.slow
def test_a_prober_succeeds_where_nobody_asks_who_may_know(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = Decision(allow=True, denied_by=None, checks=())
    monkeypatch.setattr(Disclosure, "decide", lambda *_: allowed)
    outcome = among("scope_prober").run()
    assert "S1/sent/content" in {one.signature for one in outcome.violations}
    assert outcome.unentitled_deliveries > 0


def test_every_script_is_told_of_and_played() -> None:
    assert set(SCRIPTS) == set(PLAYED)


def test_what_is_wrong_with_a_hostile_group_is_told_at_once() -> None:
    bad = BAD % ("spy", "stolen", 1) + 'worlds = { differ = ["none"], observers = ["nobody"] }'
    bad = bad.replace('"300ms"', '"0s"')
    head, _, worlds = bad.rpartition("\n")
    groups = SEVEN.rstrip().removesuffix("]") + head
    with pytest.raises(ScenarioError) as caught:
        scenario(worlds, OFTEN, TOPOLOGY, groups)
    found = [line.split(": ")[1] for line in str(caught.value).splitlines()]
    assert sorted(found) == [
        "topology.group[3].adversary",
        "topology.group[3].papers",
        "topology.group[3].with.every",
        "worlds.differ",
        "worlds.observers",
    ]


def test_an_honest_group_has_no_script() -> None:
    groups = SEVEN.replace('services = "one" }', 'services = "one", papers = "revoked" }')
    with pytest.raises(ScenarioError, match=r"topology.group\[2\].adversary"):
        scenario(OFTEN, TOPOLOGY, groups)


@pytest.mark.parametrize(
    ("body", "index", "count"),
    [(b"..org:zed..", 2, 1), (b"../org/zed/..", 2, 1), (b"..org:zed..", 3, 0), (b"zed", 2, 0)],
)
def test_the_name_of_a_foreign_organisation_in_a_frame_is_found(
    body: bytes, index: int, count: int
) -> None:
    """`edge-0` (2) is of `acme`, `edge-1` (3) of `zed`."""
    docket = Docket()
    named = Named(run_of(scenario(OFTEN, TOPOLOGY, SEVEN), 1).watch.ledger, docket)
    named.on_frame(index, 1, SentFrame(FrameKind.HEADS, TrafficClass.SNAPSHOT, 0, body))
    assert [one.signature for one in docket.violations] == ["S4/named/heads"] * count
