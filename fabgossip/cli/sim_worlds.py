"""`fabgossip sim worlds`: what some nodes must not notice, held against a world without it."""

import argparse
import gc
import time
from pathlib import Path
from typing import Final

from fabgossip.cli.output import EXIT_OK
from fabgossip.cli.sim_authority import SeededAuthority
from fabgossip.cli.sim_sweep import OutOfTimeError, Read, add_many, out_of_time
from fabgossip.cli.sim_verdict import EXIT_COVERAGE, EXIT_SAFETY, judge
from fabgossip.errors import WireError
from fabgossip.sim.host import default_node
from fabgossip.sim.observing import Seen
from fabgossip.sim.random_worlds import RANDOM, random_scenario_text
from fabgossip.sim.run import Engine
from fabgossip.sim.scenario import Scenario, parse_scenario
from fabgossip.sim.sweep import Job, Result
from fabgossip.sim.worlds import Difference, Worlds, run_in_each
from fabgossip.trust.signatures import Ed25519Verifier
from fabgossip.wire.codec import parse_message
from fabgossip.wire.framing import FrameKind

WORLDS_AGAIN: Final = "sim worlds {scenario} --seeds {seed}"
RANDOM_AGAIN: Final = "sim worlds --random --seeds {seed}"
DRAWN: Final = Path(RANDOM)
"""In place of a file: the worlds are drawn."""
SHOWN_MAX: Final = 2_000
"""Characters of a decoded frame that are told."""


def add_worlds(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    """The arguments of `worlds`."""
    worlds = verbs.add_parser(
        "worlds",
        help="run seeds in two worlds that must look alike to the observers of a scenario",
        description="Run each seed in two worlds that differ in what the observers of a scenario "
        "may not know: they must get the same bytes at the same moments.",
        epilog="Exit codes: 0 alike, 10 an observer can tell them apart or safety is violated, "
        "13 out of time, 14 nothing differed, 78 bad scenario.",
    )
    add_many(worlds, nargs="*")
    worlds.add_argument("--random", action="store_true", help="worlds drawn whole from each seed")
    worlds.set_defaults(twin_share=0.0, baseline=None, gate=False)
    return worlds


def read_world(path: Path, seed: int, read: Read) -> Scenario:
    """The scenario of a file, or the one drawn from a seed; raises `ScenarioError`."""
    if path != DRAWN:
        return read(path)
    return parse_scenario(random_scenario_text(seed), f"{RANDOM} {seed}")


def keep_world(job: Job, result: Result, folder: Path | None) -> None:
    """Write the scenario of a seed that failed in a world drawn from it, to be looked at and run as
    any other."""
    if folder is None or result["failure"] is None or Path(job.scenario) != DRAWN:
        return
    path = folder / "worlds" / f"{RANDOM}-{job.seed}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(random_scenario_text(job.seed), encoding="utf-8")
    result["files"] = {"replay": None, "scenario": str(path)}


def run_worlds(job: Job, scenario: Scenario, wall_limit_s: int) -> Result:
    """One seed in both worlds, as one result."""
    began = time.monotonic()

    def on_progress(_: int, time_ns: int) -> None:
        if time.monotonic() - began > wall_limit_s:
            raise OutOfTimeError(f"more than {wall_limit_s} s at {time_ns / 1e9:g} s of a world")

    engine = Engine(
        make_authority=SeededAuthority,
        verifier=Ed25519Verifier(),
        make_node=default_node,
        on_progress=on_progress,
    )
    gc.disable()  # little is garbage before a run ends, and looking for it takes time
    try:
        both = run_in_each(scenario, job.seed, engine)
    except OutOfTimeError as error:
        return out_of_time(job, str(error))
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
