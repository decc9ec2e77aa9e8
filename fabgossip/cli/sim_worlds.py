"""`fabgossip sim worlds`: what some nodes must not notice, held against a world without it."""

import argparse
import gc
import time
from dataclasses import asdict
from pathlib import Path
from typing import Final

from fabgossip.cli.output import EXIT_OK
from fabgossip.cli.sim_authority import SeededAuthority
from fabgossip.cli.sim_seed import order_of, shared_verifier
from fabgossip.cli.sim_sweep import Kind, Plan, plan_of, seeds_of, sweep
from fabgossip.cli.sim_verdict import EXIT_COVERAGE, EXIT_SAFETY, code_hash, judge
from fabgossip.errors import UsageError, WireError
from fabgossip.sim.host import default_node
from fabgossip.sim.observing import Seen
from fabgossip.sim.random_worlds import RANDOM, random_scenario_text
from fabgossip.sim.run import Engine
from fabgossip.sim.scenario import Scenario, parse_scenario
from fabgossip.sim.sweep import Job, Result
from fabgossip.sim.world import OutOfTimeError
from fabgossip.sim.worlds import Difference, Worlds, require_worlds, run_in_each
from fabgossip.wire.codec import parse_message
from fabgossip.wire.framing import FrameKind

WORLDS_AGAIN: Final = "sim worlds {scenario} --seeds {seed}"
RANDOM_AGAIN: Final = "sim worlds --random --seeds {seed}"
SEEDS: Final = (1, 2, 3, 4)
"""Of drawn worlds, where none are given."""
SHOWN_MAX: Final = 2_000
"""Characters of a decoded frame that are told."""


def run_worlds(arguments: argparse.Namespace) -> int:
    """`fabgossip sim worlds`."""
    if bool(arguments.scenario) == arguments.random:
        raise UsageError("sim worlds: needs scenarios, or --random, and not both")
    if arguments.random:
        return sweep(arguments, Kind(_drawn, _work_drawn, RANDOM_AGAIN))
    return sweep(arguments, Kind(_planned, work_worlds, WORLDS_AGAIN))


def _planned(arguments: argparse.Namespace) -> Plan:
    """Scenarios that have worlds; raises `ScenarioError`."""
    plan = plan_of(arguments)
    for job in {job.scenario: job for job in plan.jobs}.values():
        require_worlds(order_of(job, plan.limit_s).scenario)
    return plan


def _drawn(arguments: argparse.Namespace) -> Plan:
    """Worlds that the seeds draw."""
    seeds = seeds_of(arguments) or SEEDS
    return Plan([Job(RANDOM, RANDOM, seed, code_hash()) for seed in seeds])


def work_worlds(job: Job, wall_limit_s: int, _: Path) -> Result:
    """One seed in its worlds, as one result, in a process of its own."""
    return _run(job, order_of(job, wall_limit_s).scenario, wall_limit_s)


def _work_drawn(job: Job, wall_limit_s: int, folder: Path) -> Result:
    """The same of a world drawn from the seed."""
    scenario = parse_scenario(random_scenario_text(job.seed), f"{RANDOM} {job.seed}")
    result = _run(job, scenario, wall_limit_s)
    del result["faults"]  # a drawn fault need not matter
    keep_world(job.seed, result, folder)
    return result


def keep_world(seed: int, result: Result, folder: Path) -> None:
    """Write the scenario of a drawn world that failed, to be looked at and run as any other."""
    if result["failure"] is None:
        return
    path = folder / "worlds" / f"{RANDOM}-{seed}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(random_scenario_text(seed), encoding="utf-8")
    result["files"] = {"replay": None, "scenario": str(path)}


def _run(job: Job, scenario: Scenario, wall_limit_s: int) -> Result:
    began = time.monotonic()

    def on_progress(_: int, time_ns: int) -> None:
        if time.monotonic() - began > wall_limit_s:
            raise OutOfTimeError(f"more than {wall_limit_s} s at {time_ns / 1e9:g} s of a world")

    engine = Engine(
        make_authority=SeededAuthority,
        verifier=shared_verifier(),
        make_node=default_node,
        on_progress=on_progress,
    )
    gc.disable()  # little is garbage before a run ends, and looking for it takes time
    try:
        both = run_in_each(scenario, job.seed, engine)
    finally:
        gc.enable()
    word, exit_code, failure = _verdict(both)
    return {
        "schema_version": 1,
        "kind": "sim-worlds",
        "scenario": scenario.name,
        "seed": job.seed,
        "verdict": word,
        "exit_code": exit_code,
        "failure": failure,
        "faults": asdict(both.outcomes[0].faults),
        "secrets": both.secrets,
        "seen": both.seen,
        "run": {
            "events": sum(one.events for one in both.outcomes),
            "virtual_ms": sum(one.virtual_ms for one in both.outcomes),
            "wall_ms": int((time.monotonic() - began) * 1_000),
        },
    }


def _verdict(both: Worlds) -> tuple[str, int, Result | None]:
    for outcome in both.outcomes:
        if outcome.violations:
            return "safety", EXIT_SAFETY, judge(outcome, ()).failure
    if both.difference is not None:
        return "safety", EXIT_SAFETY, _told(both.difference)
    if not both.secrets or not both.seen:
        failure: Result = {
            "checker": "coverage",
            "signature": "coverage/S4",
            "detail": f"{both.secrets} artifacts differ, observers noticed {both.seen} things",
        }
        return "coverage", EXIT_COVERAGE, failure
    return "held", EXIT_OK, None


def _told(one: Difference) -> Result:
    """Who noticed, when and by what; both frames decoded."""
    return {
        "checker": "S4",
        "signature": one.signature,
        "node": one.observer,
        "sender": one.sender,
        "number": one.number,
        "at_ns": one.at_ns,
        "detail": f"{one.observer} can tell by the {one.what} that come from {one.sender}",
        "first": _shown(one.first),
        "other": _shown(one.other),
    }


def _shown(seen: Seen | None) -> Result | None:
    if seen is None:
        return None
    said = ""
    if seen.kind.upper() in FrameKind.__members__:
        try:
            said = str(parse_message(FrameKind[seen.kind.upper()], seen.body))
        except (WireError, KeyError):
            said = seen.body.hex()
    return {"at_ns": seen.at_ns, "kind": seen.kind, "said": said[:SHOWN_MAX]}
