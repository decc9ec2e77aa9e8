"""Work takes time, and rates of nodes are kept."""

import pytest

from fabgossip.sim.labor import VERIFY_NS, Labor
from fabgossip.trust.signatures import Ed25519Verifier
from tests.sim.factory import TOPOLOGY, run_of, scenario


def test_each_node_pays_for_a_signature_once_whoever_paid_before() -> None:
    verifier = Ed25519Verifier()
    nodes = [Labor(verifier, 100), Labor(verifier, 300)]
    for node in nodes:
        for signature in (bytes(64), bytes(64), bytes([1]) * 64):
            assert not node.is_good(bytes(32), b"", signature)
    assert [node.take() for node in nodes] == [2 * VERIFY_NS, 6 * VERIFY_NS]
    assert nodes[0].take() == 0


THREE = """
group = [
  { name = "store", role = "storage", count = 1, regions = ["eu"], peer_class = "core", assigned = ["cluster:c1"], disk = { profile = "instant" }, %s },
  { name = "near", role = "edge", count = 2, regions = ["eu"], disk = { profile = "instant" }, %s },
]
"""  # noqa: E501  # a row of a scenario
LARGE = (
    'publication = [{ name = "routes", type = "route_policy_bundle", namespace = "routes/core", '
    'size = "250000B", at = "20s", through = "store" }]'
)


def slowest_ms(store: str, near: str, model: str = "") -> int:
    made = scenario('phases = { quiet = "40s" }', model, LARGE, TOPOLOGY, THREE % (store, near))
    outcome = run_of(made, 1).run()
    assert (outcome.violations, outcome.over_all.missed) == ((), 0)
    assert outcome.over_all.t_last_ms is not None
    return outcome.over_all.t_last_ms


@pytest.mark.slow
def test_what_a_node_sends_and_receives_passes_at_its_rate() -> None:
    free = "cpu_percent = 100"
    assert slowest_ms(free, free) < 100
    down_ms = slowest_ms(free, "rate_mbit = { down = 2 }")
    assert 1_000 < down_ms < 1_200, "250 kB at 2 Mbit/s take a second"
    up_ms = slowest_ms("rate_mbit = { up = 2 }", free)
    assert 1_000 < up_ms < 2_300, "what the first has not got whole, the second waits for as well"


@pytest.mark.slow
def test_a_slow_node_works_for_longer() -> None:
    charged = 'model = { cpu = "charged" }'
    usual, slow = "cpu_percent = 100", "cpu_percent = 20000"
    fast_ms = slowest_ms(usual, usual, charged)
    assert fast_ms < 100
    assert slowest_ms(usual, slow, charged) > fast_ms + 100
