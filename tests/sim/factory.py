"""Small scenarios for tests of the simulator."""

from fabgossip.cli.sim_authority import SeededAuthority
from fabgossip.sim.faults import Fault
from fabgossip.sim.host import NodeMaker, default_node
from fabgossip.sim.run import Engine, Run
from fabgossip.sim.scenario import Scenario, parse_scenario
from fabgossip.trust.signatures import Ed25519Verifier

VERIFIER = Ed25519Verifier()
HEAD = """
schema = 1
name = "small"
title = "a few nodes"
config = { "neighbors.redial_min_ms" = 200, "neighbors.redial_max_ms" = 2000 }
"""
TOPOLOGY = """
[topology]
regions = [{ name = "eu" }, { name = "us" }]
orgs = [{ name = "acme", services = ["dns"] }, { name = "zed", services = ["dns"] }]
link = [
  { within = "region", rtt = "10ms" },
  { between = ["eu", "us"], rtt = "40ms" },
]
"""
FIVE = """
group = [
  { name = "store", role = "storage", count = 1, regions = ["eu"], peer_class = "core", assigned = ["cluster:c1"], disk = { profile = "instant" } },
  { name = "near", role = "edge", count = 3, regions = ["eu"], disk = { profile = "instant" } },
  { name = "far", role = "edge", count = 1, regions = ["us"], disk = { profile = "instant" } },
]
"""  # noqa: E501  # a row of a scenario
SEVEN = """
group = [
  { name = "control", role = "control-endpoint", count = 1, regions = ["eu"], peer_class = "core", assigned = ["cluster:c1", "org:acme", "org:zed"] },
  { name = "store", role = "storage", count = 2, regions = ["eu", "us"], peer_class = "core", assigned = ["cluster:c1", "org:acme", "org:zed"] },
  { name = "edge", role = "edge", count = 4, regions = ["eu", "us"], orgs = "one", services = "one" },
]
"""  # noqa: E501  # a row of a scenario
ROUTES = (
    '{ name = "routes", type = "route_policy_bundle", namespace = "routes/core", '
    'size = "2KiB", at = "20s", through = "%s" }'
)
OFTEN = """
publication = [
  { name = "routes", type = "route_policy_bundle", namespace = "routes/core", size = ["1KiB", "40KiB"], at = "10s", every = "900ms", until = "22s", through = "control" },
  { name = "acme", type = "service_assignment_bundle", namespace = "org/acme/services/dns", size = "2MiB", at = "11s", every = "4s", until = "22s", through = "control" },
]
"""  # noqa: E501  # a row of a scenario


def scenario(*parts: str) -> Scenario:
    """The scenario of these parts; top-level keys before tables."""
    return parse_scenario("\n".join((HEAD, *parts)), "test.toml")


def run_of(
    made: Scenario,
    seed: int,
    make_node: NodeMaker = default_node,
    faults: tuple[Fault, ...] | None = None,
) -> Run:
    """A run, not yet begun."""
    engine = Engine(make_authority=SeededAuthority, verifier=VERIFIER, make_node=make_node)
    return Run(made, seed, engine, faults)
