"""Crashes and cuts: nothing acknowledged is lost, and the fabric comes together again."""

import pytest

from fabgossip.sim.run import RunOutcome
from fabgossip.sim.streams import Streams
from fabgossip.sim.world import NS_PER_MS
from tests.sim.factory import OFTEN, SEVEN, TOPOLOGY, run_of, scenario

NODES = ("control-0", "store-0", "store-1", "edge-0", "edge-1", "edge-2", "edge-3")


def crashes(seed: int) -> str:
    """Twelve crashes at random moments, each followed by a restart up to 1.5 s later."""
    chance = Streams(seed).of("test/crashes")
    acts = []
    for number in range(12):
        at_ms = 9_000 + number * 1_000 + chance.below(1_000)
        node = NODES[chance.below(len(NODES))]
        back_ms = at_ms + 1 + chance.below(1_500)
        acts.append(f'{{ kind = "crash", at = "{at_ms}ms", node = "{node}" }}')
        acts.append(f'{{ kind = "restart", at = "{back_ms}ms", node = "{node}" }}')
    return f"act = [{', '.join(acts)}]"


def assert_came_together(outcome: RunOutcome) -> None:
    assert [one.detail for one in outcome.violations] == []
    assert (outcome.behind, outcome.refused, outcome.over_all.missed) == ((), (), 0)
    assert outcome.unentitled_deliveries == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_crashes_at_any_moment_lose_nothing_acknowledged(seed: int) -> None:
    made = scenario('phases = { quiet = "40s" }', OFTEN, crashes(seed), TOPOLOGY, SEVEN)
    run = run_of(made, seed)
    outcome = run.run()
    assert_came_together(outcome)
    assert outcome.checkers["S6"].state == "held"
    assert outcome.over_all.interrupted > 0, "no crash met a publication on its way"


@pytest.mark.slow
@pytest.mark.parametrize("lasts", ["3s", "25s"])
def test_a_cut_heals_by_itself(lasts: str) -> None:
    cut = f'nemesis = [{{ kind = "cut", at = "12s", for = "{lasts}", between = ["eu", "us"] }}]'
    made = scenario('phases = { quiet = "10s", faults = "50s" }', OFTEN, cut, TOPOLOGY, SEVEN)
    run = run_of(made, 1)
    outcome = run.run()
    assert_came_together(outcome)
    assert outcome.over_all.t_last_ms is not None
    assert outcome.over_all.t_last_ms > 2_000, "the cut delayed nothing"


@pytest.mark.slow
def test_during_a_cut_nothing_crosses() -> None:
    cut = 'nemesis = [{ kind = "cut", at = "9s", for = "60s", between = ["eu", "us"] }]'
    made = scenario('phases = { quiet = "5s", faults = "55s" }', OFTEN, cut, TOPOLOGY, SEVEN)
    run = run_of(made, 1)
    run.run(25_000 * NS_PER_MS)
    routes = "platform/p1/cluster/c1/routes/core"
    far = [node.index for node in made.nodes if node.place.region == "us"]
    assert [run.local_of(index, routes) for index in far] == [None] * len(far)
