"""Who is given a publication first: the first of a group, or one drawn by the seed from all that
run."""

from tests.sim.factory import FIVE, TOPOLOGY, run_of, scenario

OFTEN = (
    'publication = [{ name = "routes", type = "route_policy_bundle", namespace = "routes/core", '
    'size = "1KiB", at = "5s", every = "500ms", until = "9s", through = %s }]'
)
NEAR_1_IS_DOWN = 'act = [{ kind = "crash", at = "4s", node = "near-1" }]'


def firsts(through: str, seed: int) -> list[str]:
    """The nodes that were given each version first."""
    made = scenario('phases = { quiet = "10s" }', NEAR_1_IS_DOWN, OFTEN % through, TOPOLOGY, FIVE)
    run = run_of(made, seed)
    outcome = run.run()
    assert outcome.refused == ()
    return [outcome.node_ids[one] for one in run.measures.firsts("routes")]


def test_a_group_is_entered_by_its_first_node_that_runs() -> None:
    assert set(firsts('"near"', 1)) == {"near-0"}


def test_drawn_nodes_differ_by_version_and_seed_and_run() -> None:
    drawn = '{ group = "near", pick = "one" }'
    first = firsts(drawn, 1)
    assert len(first) == 8
    assert set(first) == {"near-0", "near-2"}, "near-1 is down"
    assert firsts(drawn, 1) == first
    assert firsts(drawn, 2) != first
    assert set(firsts('{ group = "*", pick = "one" }', 2)) == {
        "far-0", "near-0", "near-2", "store-0",
    }  # fmt: skip
