"""The fault plan is flat, drawn before the run, and one nemesis shifts no other."""

import pytest

from fabgossip.sim.faults import KINDS, Fault, expand
from fabgossip.sim.run import RunOutcome
from fabgossip.sim.scenario import Scenario, parse_scenario
from fabgossip.sim.streams import Streams
from tests.sim.factory import HEAD, OFTEN, SEVEN, TOPOLOGY, run_of, scenario
from tests.sim.test_scenario import problems

PHASES = 'phases = { start = "10s", quiet = "5s", faults = "10s", heal = "5s", liveness = "20s" }'
EDGES = 'select = { role = "edge", pick = "one" }'
CRASHES = (
    f'{{ kind = "crash", at = "15s", every = "2s", until = "24s", for = ["1s", "3s"], {EDGES} }}'
)


def made(*nemeses: str, more: str = "") -> Scenario:
    return scenario(PHASES, more, OFTEN, f"nemesis = [{', '.join(nemeses)}]", TOPOLOGY, SEVEN)


def plan(given: Scenario, seed: int = 1, swarm_ppm: int = 1_000_000) -> tuple[Fault, ...]:
    return expand(given.nemeses, Streams(seed), given.phases.faults_ns, swarm_ppm)


def test_one_more_nemesis_leaves_every_other_row_equal() -> None:
    pause = (
        '{ kind = "pause", at = "16s", for = "1s", select = { role = "storage", pick = "one" } }'
    )
    alone = [(one.on_ns, one.off_ns, one.targets) for one in plan(made(CRASHES))]
    both = [
        (one.on_ns, one.off_ns, one.targets)
        for one in plan(made(pause, CRASHES))
        if one.kind == "crash"
    ]
    assert alone == both
    assert len(alone) == 5


def test_another_seed_draws_another_plan() -> None:
    assert plan(made(CRASHES), 1) != plan(made(CRASHES), 2)


def test_every_fault_ends_when_the_heal_phase_begins() -> None:
    rows = plan(made('{ kind = "isolate", at = "20s", for = "1h", select = { role = "edge" } }'))
    assert {one.off_ns for one in rows} == {25 * 10**9}
    assert [one.targets for one in rows] == [(2,), (3,), (4,), (5,)], "each of them is alone"


def test_a_region_is_cut_off_whole_whoever_was_selected() -> None:
    cut = '{ kind = "region_cut", at = "15s", for = "5s", select = { nodes = ["edge-1"] } }'
    row = plan(made(cut))[0]
    us = {"edge-1", "edge-3", "store-1"}
    names = {node.index: str(node.node_id) for node in made(cut).nodes}
    assert {names[one] for one in row.targets} == us
    assert row.others == frozenset(names) - set(row.targets)


def test_a_flapping_link_is_a_row_for_each_time_it_is_down() -> None:
    flap = (
        '{ kind = "flap", at = "15s", for = "7s", select = { region = "us" }, '
        'with = { down = "2s", up = "1s" } }'
    )
    times = [(one.on_ns // 10**9, one.off_ns // 10**9) for one in plan(made(flap))]
    assert times == [(15, 17), (18, 20), (21, 22)]


@pytest.mark.parametrize(
    ("pick", "count"),
    [("one", 1), ("n:3", 3), ("minority_third", 1), ("minority", 1), ("majority", 3), ("all", 4),
     ("each_domain", 2)],
)  # fmt: skip
def test_a_pick_leaves_so_many_of_four(pick: str, count: int) -> None:
    select = f'{{ role = "edge", pick = "{pick}" }}'
    crash = f'{{ kind = "crash", at = "15s", for = "1s", select = {select} }}'
    targets = plan(made(crash))[0].targets
    assert (len(targets), tuple(sorted(targets))) == (count, targets)


def test_a_swarm_keeps_each_nemesis_with_its_probability() -> None:
    kept = sum(len(plan(made(CRASHES), seed, 500_000)) > 0 for seed in range(200))
    assert 70 < kept < 130


def test_what_a_kind_does_not_take_and_who_is_nobody_are_refused() -> None:
    lines = problems(
        'schema = 1\nname = "small"\ntitle = "a"\nphases = { quiet = "0s", faults = "9s" }',
        'nemesis = [{ kind = "crash", at = "1s", for = "1s", with = { up = "1s" } },',
        '{ kind = "flap", at = "1s", for = "1s", select = { role = "king", pick = "few" } },',
        '{ kind = "storm", at = "1s", for = "1s" }]',
        TOPOLOGY,
        SEVEN,
    )
    assert sorted(line.partition(": ")[0] for line in lines) == [
        "nemesis[0].with.up",
        "nemesis[1].select",
        "nemesis[1].select.pick",
        "nemesis[1].with.down",
        "nemesis[1].with.up",
        "nemesis[2].kind",
    ]


def refused(nemesis: str, phases: str = PHASES) -> list[str]:
    """The paths that are wrong."""
    lines = problems(HEAD, phases, f"nemesis = [{nemesis}]", TOPOLOGY, SEVEN)
    return sorted({line.partition(": ")[0] for line in lines})


@pytest.mark.parametrize(
    ("when", "wrong"),
    [('at = "14999ms"', "at"), ('at = "25s"', "at"),
     ('at = "20s", every = "2s", until = "27s"', "until"),
     ('at = "20s", every = "2s", until = "20s"', "every")],
)  # fmt: skip
def test_a_fault_that_would_begin_outside_the_faults_phase_is_refused(
    when: str, wrong: str
) -> None:
    nemesis = f'{{ kind = "pause", {when}, for = "1s" }}'
    assert refused(nemesis) == [f"nemesis[0].{wrong}"]


def test_without_a_faults_phase_there_is_no_fault() -> None:
    nemesis = '{ kind = "pause", at = "15s", for = "1s" }'
    assert refused(nemesis, 'phases = { quiet = "60s" }') == ["nemesis[0].at"]


def test_what_is_repeated_without_an_end_ends_with_the_faults_phase() -> None:
    pause = '{ kind = "pause", at = "15s", every = "3s", for = "1s" }'
    assert [one.on_ns // 10**9 for one in plan(made(pause))] == [15, 18, 21, 24]


@pytest.mark.parametrize(
    "nemesis",
    [
        '{ kind = "pause", at = "15s", every = "1500us", for = "1s" },'
        '{ name = "two", kind = "pause", at = "15s", every = "1500us", for = "1s" }',
        '{ kind = "flap", at = "15s", for = "1h", with = { up = "500us", down = "100us" } }',
        '{ kind = "flap", at = "15s", for = "1s", with = { up = "0ms", down = "0ms" } }',
        '{ kind = "isolate", at = "15s", every = "1ms", for = "1s" }',
    ],
    ids=["often", "flap", "flap without end", "isolate"],
)
def test_more_faults_than_a_plan_may_have_are_refused_and_never_cut(nemesis: str) -> None:
    assert refused(nemesis) == ["nemesis"]


DOWN = """
act = [{ kind = "crash", at = "14s", node = "edge-1" }]
"""


@pytest.mark.slow
def test_a_fault_that_no_node_notices_does_not_matter() -> None:
    kinds = ("wall_step", "slow_reader", "disk_full", "disk_error")
    rows = [
        f'{{ name = "{kind}", kind = "{kind}", at = "15s", for = "6s", '
        f'select = {{ nodes = ["edge-1"] }}{WITH.get(kind, "")} }}'
        for kind in kinds
    ]
    faults = run_of(made(*rows, more=DOWN), 1).run().faults
    found = {name: (one.fired, one.mattered) for name, one in faults.nemeses.items()}
    assert found == dict.fromkeys(kinds, (1, 0))
    assert (faults.fired, faults.mattered) == (4, 0)


@pytest.mark.slow
def test_a_pause_matters_once_something_came_to_who_stands_still() -> None:
    rows = [
        f'{{ name = "{name}", kind = "pause", at = "15s", for = "{lasts}", '
        f'select = {{ nodes = ["{node}"] }} }}'
        for name, lasts, node in (("long", "5s", "edge-0"), ("blink", "1ns", "edge-1"))
    ]
    nemeses = run_of(made(*rows), 1).run().faults.nemeses
    assert (nemeses["long"].mattered, nemeses["blink"].mattered) == (1, 0)


WITH = {
    "flap": ', with = { up = "1s", down = "1s" }',
    "latency": ', with = { add = "80ms" }',
    "loss": ", with = { p = 0.3 }",
    "slow_reader": ", with = { rate_kbit = 256 }",
    "mass_restart": ', with = { within = "1s" }',
    "wall_step": ", with = { by = 20 }",
    "islands": ", with = { count = 3 }",
    "heal_one_way": ', with = { lag = "2s" }',
    "corrupt": ", with = { p = 0.1 }",
    "mtu_hole": ', with = { passes = "1400B" }',
    "rolling_restart": ', with = { batch = 1, gap = "2s" }',
    "churn": ', with = { up = "2s", down = "1s" }',
    "crash_at": ', with = { point = "commit_written", p = 0.2, down = "500ms" }',
    "bit_rot": ", with = { p = 1.0 }",
    "io_error": ', with = { op = "write", p = 0.2 }',
    "disk_slow": ", with = { factor = 20 }",
    "disk_rollback": ', with = { age = "3s" }',
    "quota_cut": ', with = { quota = "3MiB" }',
    "skew": ", with = { by = 20 }",
    "drift": ", with = { ppm = 50000 }",
    "freeze": "",
}
LASTING = ("kill", "disk_error", "io_error", "expiry_edge")
"""Whose disk failed takes nothing but trust for ten minutes; whose clock jumped applies nothing
until something newly signed agrees."""
RARE = ("refuse", "accept_stall")
"""What matters only to who dials: together with what makes them dial."""


def outcome_of(kind: str, seed: int = 1) -> RunOutcome:
    select = {
        "cut": 'between = ["eu", "us"]',
        "ring_majorities": 'select = { pick = "all" }',
    }.get(kind, 'select = { region = "us" }')
    nemesis = f'{{ kind = "{kind}", at = "15s", for = "6s", {select}{WITH.get(kind, "")} }}'
    reset = f'{{ kind = "reset", at = "16s", for = "0s", {select} }}'
    return run_of(made(nemesis, *((reset,) if kind in RARE else ())), seed).run()


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_nemesis_fires_matters_and_leaves_a_whole_fabric(kind: str) -> None:
    outcome = outcome_of(kind)
    faults = outcome.faults
    assert faults.fired == faults.planned > 0
    assert faults.mattered > 0
    assert [one.detail for one in outcome.violations] == []
    if kind not in LASTING:
        assert [one.detail for one in outcome.failures] == []
        assert (outcome.over_all.missed, outcome.behind) == (0, ())


@pytest.mark.slow
def test_a_wiped_disk_is_filled_again() -> None:
    crash = '{ kind = "crash", at = "15s", for = "2s", select = { nodes = ["edge-0"] }, with = { disk = "wipe" } }'  # noqa: E501  # a row of a scenario
    run = run_of(made(crash), 1)
    outcome = run.run()
    assert (outcome.violations, outcome.failures, outcome.behind) == ((), (), ())
    assert outcome.over_all.interrupted > 0
    run_before = run_of(made(crash), 1)
    run_before.run(16 * 10**9)
    edge = next(node.index for node in run_before.scenario.nodes if node.node_id == "edge-0")
    assert run_before.hosts[edge].disk.heads == {}


@pytest.mark.slow
def test_the_dead_stay_dead_and_are_dropped() -> None:
    kill = '{ kind = "kill", at = "15s", for = "0s", select = { nodes = ["edge-1"] } }'
    run = run_of(made(kill), 1)
    outcome = run.run()
    edge = next(node.index for node in run.scenario.nodes if node.node_id == "edge-1")
    assert run.hosts[edge].process is None
    assert edge not in {other for row in run.network.sides().values() for other in row}
    assert (outcome.violations, outcome.failures) == ((), ())


@pytest.mark.slow
def test_a_dark_control_plane_publishes_once_it_is_back() -> None:
    dark = '{ kind = "control_plane_dark", at = "15s", for = "6s" }'
    routes = "platform/p1/cluster/c1/routes/core"
    run = run_of(made(dark), 1)
    run.run(20 * 10**9)
    issued = run.watch.ledger.newest(routes)
    run = run_of(made(dark), 1)
    run.run()
    later = run.watch.ledger.newest(routes)
    assert issued is not None
    assert later is not None
    assert later.manifest.config_version > issued.manifest.config_version == 6


@pytest.mark.slow
def test_a_plan_alone_gives_the_same_trace() -> None:
    first = run_of(made(CRASHES), 3)
    outcome = first.run()
    assert first.faults is not None
    again = run_of(made(CRASHES), 3, faults=first.faults)
    assert again.run().trace_hash == outcome.trace_hash
    fewer = run_of(made(CRASHES), 3, faults=first.faults[1:])
    assert fewer.run().trace_hash != outcome.trace_hash


def believed_in(kind: str, until_s: int) -> int:
    """How many nodes believe in a link to `edge-1` that it does not have."""
    nemesis = f'{{ kind = "{kind}", at = "15s", for = "0s", select = {{ nodes = ["edge-1"] }} }}'
    run = run_of(made(nemesis), 1)
    edge = next(node.index for node in run.scenario.nodes if node.node_id == "edge-1")
    run.run(until_s * 10**9 + 1)
    sides = run.network.sides()
    return sum(
        edge in others and other not in sides.get(edge, []) for other, others in sides.items()
    )


@pytest.mark.slow
def test_of_a_half_open_link_one_end_does_not_learn_until_it_misses_a_sign_of_life() -> None:
    assert believed_in("reset", 15) == 0
    assert believed_in("half_open", 15) > 2
    assert believed_in("half_open", 30) == 0


def disk_trouble(kind: str) -> RunOutcome:
    nemesis = f'{{ kind = "{kind}", at = "15s", for = "8s", select = {{ nodes = ["edge-1"] }} }}'
    return run_of(made(nemesis), 1).run()


@pytest.mark.slow
def test_a_disk_that_was_full_for_a_while_has_everything_after() -> None:
    """No process started again."""
    outcome = disk_trouble("disk_full")
    assert (outcome.violations, outcome.failures, outcome.behind) == ((), (), ())
    assert outcome.over_all.missed == 0


@pytest.mark.slow
def test_a_disk_that_fails_holds_nobody_else_up_and_nothing_wrong_is_applied() -> None:
    """Its own node takes nothing but trust for ten minutes after."""
    outcome = disk_trouble("disk_error")
    assert outcome.violations == ()
    assert {one.detail.split()[3] for one in outcome.failures} == {"edge-1"}


@pytest.mark.slow
def test_what_rots_is_found_and_repaired_though_nobody_asks_for_it() -> None:
    """The edges serve nobody and their consumers read copies: only a scrub can find it."""
    often = 'config = { "scrubbing.interval_ms" = 20000 }'
    phases = PHASES.replace('liveness = "20s"', 'liveness = "100s"')
    rot = '{ kind = "rot", at = "24s", for = "0s", select = { nodes = ["edge-0"] } }'
    text = "\n".join(
        (
            *HEAD.strip().splitlines()[:3],
            often,
            phases,
            OFTEN,
            f"nemesis = [{rot}]",
            TOPOLOGY,
            SEVEN,
        )
    )
    run = run_of(parse_scenario(text, "test.toml"), 1)
    edge = next(node.index for node in run.scenario.nodes if node.node_id == "edge-0")
    run.run(25 * 10**9)
    disk = run.hosts[edge].disk
    lost = set(disk.rotten)
    assert lost
    run = run_of(parse_scenario(text, "test.toml"), 1)
    outcome = run.run()
    disk = run.hosts[edge].disk
    assert outcome.violations == ()
    assert disk.rotten == set()
    assert lost <= set(disk.contents)
