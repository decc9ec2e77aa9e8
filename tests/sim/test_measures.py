"""Measures are exact: a fabric of five, worked out by hand.

Everybody is linked to everybody; disks cost nothing. The publication is durable at `store-0` at
T. Its announcement takes 5 ms to the three near nodes and 20 ms to the far one; each asks
`store-0` for the content and has it one round trip later: 5 + 10 and 20 + 40 ms.
"""

from fabgossip.sim.measures import Spread
from tests.sim.factory import FIVE, ROUTES, TOPOLOGY, run_of, scenario


def test_five_nodes_by_hand() -> None:
    made = scenario(
        'phases = { start = "20s", quiet = "10s" }', f"publication = [{ROUTES % 'store'}]",
        TOPOLOGY, FIVE,
    )  # fmt: skip
    outcome = run_of(made, 1).run()
    expected = Spread(t50_ms=15, t99_ms=60, t_last_ms=60, missed=0, interrupted=0, pairs=4)
    assert outcome.by_publication == {"routes": expected}
    assert outcome.over_all == expected
    assert (outcome.behind, outcome.refused, outcome.violations) == ((), (), ())


def test_what_has_not_arrived_by_the_end_is_missed() -> None:
    made = scenario(
        'phases = { quiet = "60s" }', f"publication = [{ROUTES % 'store'}]", TOPOLOGY, FIVE
    )
    outcome = run_of(made, 1).run(20_030_000_000)
    assert outcome.over_all == Spread(
        t50_ms=15, t99_ms=15, t_last_ms=15, missed=1, interrupted=0, pairs=4
    )
    assert outcome.behind == ("far-0 platform/p1/cluster/c1/routes/core",)
