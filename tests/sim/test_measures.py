"""Measures are exact: a fabric of five, worked out by hand.

Everybody is linked to everybody; disks cost nothing. The publication is durable at `store-0` at
T. Its announcement carries the content: 5 ms to the three near nodes and 20 ms to the far one, as
near as they are. Nothing was pruned yet: `store-0` tells four, and each of these tells three, so 16
envelopes go to four nodes, the first of them straight.
"""

from fabgossip.model.messages import Heads, Manifests
from fabgossip.sim.measures import Spread
from fabgossip.sim.scenario import PREFIX
from tests.sim.factory import FIVE, ROUTES, TOPOLOGY, run_of, scenario


def test_five_nodes_by_hand() -> None:
    made = scenario(
        'phases = { start = "20s", quiet = "10s" }', f"publication = [{ROUTES % 'store'}]",
        TOPOLOGY, FIVE,
    )  # fmt: skip
    outcome = run_of(made, 1).run()
    expected = Spread(
        t50_ms=5,
        t99_ms=20,
        t_last_ms=20,
        t99_bound_ms=20,
        t99_ratio=1.0,
        rmr=3.0,
        ldh=1,
        missed=0,
        interrupted=0,
        pairs=4,
    )
    assert outcome.by_publication == {"routes": expected}
    assert outcome.over_all == expected
    assert (outcome.behind, outcome.refused, outcome.violations) == ((), (), ())


def test_an_envelope_sent_to_who_asked_for_it_is_one_sent() -> None:
    made = scenario(
        'phases = { start = "20s", quiet = "2s" }', f"publication = [{ROUTES % 'store'}]",
        TOPOLOGY, FIVE,
    )  # fmt: skip
    run = run_of(made, 1)
    run.run()
    issued = run.watch.ledger.newest(f"{PREFIX}/routes/core")
    assert issued is not None
    for envelopes in ((issued.envelope, b"of another"), (issued.envelope,)):
        run.measures.on_sent(Manifests(set_id=bytes(16), answered=1, envelopes=envelopes))
    run.measures.on_sent(Heads(envelopes=(issued.envelope,)))
    assert run.measures.over_all().rmr == 3.5, "16 and two more envelopes for four nodes"


def test_what_has_not_arrived_by_the_end_is_missed() -> None:
    made = scenario(
        'phases = { quiet = "60s" }', f"publication = [{ROUTES % 'store'}]", TOPOLOGY, FIVE
    )
    outcome = run_of(made, 1).run(20_010_000_000)
    over_all = outcome.over_all
    assert (over_all.t99_ms, over_all.missed, over_all.pairs) == (5, 1, 4)
    assert outcome.behind == ("far-0 platform/p1/cluster/c1/routes/core",)
