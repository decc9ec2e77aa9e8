"""A large content comes from several sources of a step at once; a liar among them costs its own
chunks."""

from fabgossip.core.wants import EndedWant
from fabgossip.sim.run import Run
from tests.sim.factory import TOPOLOGY, run_of, scenario

SIZE = 4 << 20
LARGE = f"""
publication = [
  {{ name = "routes", type = "route_policy_bundle", namespace = "routes/core", size = "{SIZE >> 20}MiB", at = "10s", through = "control" }},
]
"""  # noqa: E501  # a row of a scenario
ASLEEP = """
act = [
  { kind = "crash", at = "9s", node = "edge-0" },
  { kind = "restart", at = "18s", node = "edge-0" },
]
"""
GROUPS = """
group = [
  { name = "control", role = "control-endpoint", count = 1, regions = ["eu"], peer_class = "core", assigned = ["cluster:c1"] },
  { name = "store", role = "storage", count = 2, regions = ["eu", "us"], peer_class = "core", assigned = ["cluster:c1"] },
  { name = "edge", role = "edge", count = 4, regions = ["eu", "us"] },
]
"""  # noqa: E501  # a row of a scenario


def attempts(run: Run, index: int) -> list[tuple[str | None, str, int]]:
    """Who brought the content to a node: source, outcome, verified bytes."""
    host = run.hosts[index]
    assert host.process is not None
    head = host.disk.heads["platform/p1/cluster/c1/routes/core"]
    want = host.process.node.view.want_of(head)
    assert isinstance(want, EndedWant)
    return [(one.node_id, one.outcome, one.received) for one in want.attempts]


def sleeper(groups: str) -> list[tuple[str | None, str, int]]:
    """What the one that slept through the publication says of who brought it what it missed."""
    run = run_of(scenario('phases = { quiet = "30s" }', LARGE, ASLEEP, TOPOLOGY, groups), 1)
    outcome = run.run()
    assert outcome.violations == ()
    assert outcome.behind == ()
    return attempts(run, next(one.index for one in run.scenario.nodes if one.node_id == "edge-0"))


def test_what_several_brought_adds_up() -> None:
    rows = sleeper(GROUPS)
    assert {outcome for _, outcome, _ in rows} == {"verified"}
    assert len(rows) == 2
    assert sum(received for _, _, received in rows) == SIZE
    assert min(received for _, _, received in rows) > SIZE // 4


def test_a_wrong_chunk_costs_its_sender_and_is_fetched_elsewhere() -> None:
    """One of the two stores sends other bytes than it was asked for."""
    rows = sleeper(
        GROUPS.replace(
            'name = "store", role = "storage", count = 2, regions = ["eu", "us"]',
            'name = "liar", role = "storage", count = 1, regions = ["eu"], '
            'adversary = "wrong_bytes", peer_class = "core", assigned = ["cluster:c1"] },\n'
            '  { name = "store", role = "storage", count = 1, regions = ["us"]',
        )
    )
    assert ("liar-0", "bad_hash", 0) in rows
    assert sum(received for _, _, received in rows) == SIZE
