"""`fabgossip sim sweep` and `report`: many seeds, and what they measure against what they did."""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Final, cast

from fabgossip.cli.output import EXIT_OK, say
from fabgossip.cli.sim_verdict import (
    EXIT_COVERAGE,
    EXIT_LIVENESS,
    EXIT_NONDETERMINISTIC,
    EXIT_OUT_OF_TIME,
    EXIT_SAFETY,
    EXIT_SIMULATOR,
    code_hash,
)
from fabgossip.errors import ScenarioError, UsageError
from fabgossip.sim.baselines import baseline_of, compared, read_baseline
from fabgossip.sim.campaign import parse_campaign
from fabgossip.sim.scenario import Scenario
from fabgossip.sim.streams import Streams
from fabgossip.sim.sweep import Job, Log, Result, left_of, parse_seeds, run_all, summary

GRAVEST: Final = (
    EXIT_SIMULATOR, EXIT_NONDETERMINISTIC, EXIT_SAFETY, EXIT_LIVENESS, EXIT_OUT_OF_TIME,
    EXIT_COVERAGE,
)  # fmt: skip
"""Of several codes the first is given."""
TELL_EVERY_S: Final = 30.0
TELL_EVERY_TERMINAL_S: Final = 0.5
WALL_LIMIT_S: Final = 120
TWIN_PPM: Final = 50_000
"""A twentieth of the seeds is run once more under another hash seed."""
Find = Callable[[str], Path]
Read = Callable[[Path], Scenario]
Work = Callable[[Job, int, Path | None], Result]


def scenario_hash(path: Path) -> str:
    """What a result or a baseline belongs to."""
    return sha256(path.read_bytes()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Doors:
    """What this needs of its caller, which has the control plane plugged in."""

    find: Find
    read: Read
    work: Work
    """Runs a job within so many seconds; writes a replay file into a folder if it fails."""
    again: str = "sim run {scenario} --seed {seed}"
    """What runs one seed alone."""
    digest: Callable[[Path], str] = scenario_hash
    """What a result belongs to."""


class OutOfTimeError(Exception):
    """A run took longer than it may."""


def add_sweep(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    """The arguments of `sweep`."""
    sweep = verbs.add_parser(
        "sweep",
        help="run many seeds of scenarios, or a campaign",
        description="Run many seeds of scenarios, or a campaign.",
        epilog="A campaign prints the object of each run, a line each, and that of the sweep last.",
    )
    add_many(sweep)
    sweep.add_argument("--twin-share", type=float, default=TWIN_PPM / 1_000_000, metavar="P",
                       help="share of seeds run again under another hash seed (0.05)")  # fmt: skip
    sweep.add_argument("--baseline", type=Path, metavar="DIR", help="compare with what is there")
    sweep.add_argument("--gate", action="store_true", help="worse than the baseline fails")
    return sweep


def add_many(sweep: argparse.ArgumentParser, nargs: str = "+") -> None:
    """The arguments of whatever runs many seeds."""
    sweep.add_argument("scenario", nargs=nargs, help="files or names below ./simulations")
    sweep.add_argument("--seeds", metavar="SEEDS", help="7, 1,3,9 or 1..1000 (the scenario's own)")
    sweep.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (cores)")
    sweep.add_argument("--resume", action="store_true", help="skip what DIR/sweep.jsonl has")
    sweep.add_argument("--stop-after", type=int, metavar="N", help="stop after N failures")
    limit = f"seconds a seed may take ({WALL_LIMIT_S}, or a campaign's own)"
    sweep.add_argument("--wall-limit", type=int, metavar="S", help=limit)
    sweep.add_argument("--out", type=Path, metavar="DIR", help="results and replay files go here")
    sweep.add_argument("--json", action="store_true", help="JSON on standard output")


def add_report(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    """The arguments of `report`."""
    found = verbs.add_parser("report", help="compare results with baselines, or write those")
    found.add_argument("results", type=Path, nargs="+", help="sweep.jsonl files")
    found.add_argument("--baseline", type=Path, metavar="DIR", help="compare with what is there")
    found.add_argument("--write-baseline", type=Path, metavar="DIR", help="write what was found")
    found.add_argument("--gate", action="store_true", help="worse than the baseline fails")
    found.add_argument("--json", action="store_true", help="one JSON object on standard output")
    return found


def run_sweep(arguments: argparse.Namespace, doors: Doors) -> int:
    """`fabgossip sim sweep`."""
    jobs, is_campaign, limit_s, alone = _jobs(arguments, doors)
    out: Path | None = arguments.out
    log = None if out is None else Log(out / "sweep.jsonl")
    done: list[Result] = []
    if out is not None and log is not None:
        out.mkdir(parents=True, exist_ok=True)
        done = log.read() if arguments.resume else []
        if not arguments.resume:
            (out / "sweep.jsonl").unlink(missing_ok=True)
    elif arguments.resume:
        raise UsageError("--resume needs --out")
    left = left_of(jobs, done)
    wanted = {job.key for job in jobs}
    done = [one for one in done if tuple(cast("list[object]", one["key"])) in wanted]
    progress = _Progress()
    work = partial(_work, doors.work, arguments.wall_limit or limit_s, out)
    beside = [job for job in left if job.scenario not in alone]
    last = [job for job in left if job.scenario in alone]
    failures = 0
    for job, result in chain(
        run_all(beside, partial(_pool, max(1, arguments.jobs)), work, _given_up),
        run_all(last, partial(_pool, 1), work, _given_up),
    ):
        _twin(job, result, arguments.twin_share)
        if log is not None:
            log.append(job, result)
        if is_campaign and arguments.json:
            print(json.dumps(result), flush=True)
        done.append(result)
        failures += result["exit_code"] != EXIT_OK
        progress.show(len(left), failures)
        if arguments.stop_after is not None and failures >= arguments.stop_after:
            break
    progress.end()
    hashes = {job.scenario: job.scenario_hash for job in jobs}
    return _conclude(done, arguments, hashes, doors.again)


def _jobs(
    arguments: argparse.Namespace, doors: Doors
) -> tuple[list[Job], bool, int, frozenset[str]]:
    """What is to be run, whether a campaign says so, for how many seconds each, and what of it
    beside nothing else."""
    try:
        given = parse_seeds(arguments.seeds) if arguments.seeds else ()
    except ValueError as error:
        raise UsageError(f"--seeds: {error}") from error
    planned: list[tuple[str, tuple[int, ...]]] = []
    is_campaign, limit_s = False, WALL_LIMIT_S
    alone: set[str] = set()
    for name in arguments.scenario:
        path = doors.find(name)
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if "[[run]]" in text:
            campaign = parse_campaign(text, str(path))
            is_campaign, limit_s = True, max(limit_s, campaign.wall_limit_s)
            planned += [(one.scenario, one.seeds) for one in campaign.run]
            alone |= {str(doors.find(one.scenario)) for one in campaign.run if one.alone}
        else:
            planned.append((name, ()))
    jobs = []
    for name, seeds in planned:
        path = doors.find(name)
        scenario = doors.read(path)
        jobs += [
            Job(str(path), doors.digest(path), seed, code_hash())
            for seed in given or seeds or scenario.seeds
        ]
    return jobs, is_campaign, limit_s, frozenset(alone)


def _work(work: Work, wall_limit_s: int, out: Path | None, job: Job) -> Result:
    return work(job, wall_limit_s, out)


def _pool(jobs: int) -> Executor:
    """A process for each seed: what one took stays with its process, and would be counted as not
    taken by the next."""
    context = multiprocessing.get_context("forkserver")
    return ProcessPoolExecutor(jobs, mp_context=context, max_tasks_per_child=1)


def _given_up(job: Job) -> Result:
    return out_of_time(job, "its process ended twice")


def out_of_time(job: Job, detail: str) -> Result:
    """The result of a run that has none."""
    return {
        "schema_version": 1,
        "kind": "sim-run",
        "scenario": Path(job.scenario).stem,
        "seed": job.seed,
        "verdict": "out_of_time",
        "exit_code": EXIT_OUT_OF_TIME,
        "failure": {"checker": "time", "signature": "time/wall", "detail": detail},
    }


def _twin(job: Job, result: Result, share: float) -> None:
    """Run some seeds again in a fresh process under another hash seed: another trace is a leak."""
    draw = Streams(job.seed).of("sweep/twin").below(1_000_000)
    if draw >= share * 1_000_000 or "trace_hash" not in result:
        return
    other = str(1 + job.seed % 4_294_967_295)
    ran = subprocess.run(  # noqa: S603  # our own program, no shell
        [sys.executable, "-m", "fabgossip.cli.main", "sim", "run", job.scenario, "--seed",
         str(job.seed), "--json"],
        env={**os.environ, "PYTHONHASHSEED": other}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        twin = json.loads(ran.stdout)["trace_hash"]
    except (ValueError, KeyError) as error:
        raise ScenarioError(f"{job.scenario}: its twin failed: {ran.stderr[-400:]}") from error
    run = cast("Result", result["run"])
    run["twin"] = "equal" if twin == result["trace_hash"] else "unequal"
    if twin != result["trace_hash"]:
        result["verdict"], result["exit_code"] = "nondeterministic", EXIT_NONDETERMINISTIC
        detail = f"trace {result['trace_hash']}, under hash seed {other} {twin}"
        result["failure"] = {
            "checker": "twin", "signature": "twin/trace", "detail": detail,
        }  # fmt: skip


def _conclude(
    done: list[Result], arguments: argparse.Namespace, hashes: dict[str, str], again: str
) -> int:
    body = summary(done)
    codes = {int(str(one["exit_code"])) for one in done} - {EXIT_OK}
    rows: list[Result] = []
    if arguments.baseline is not None:
        rows = _compare(
            done, arguments.baseline, {Path(name).stem: hashes[name] for name in hashes}
        )
        body["baseline"] = rows
        if arguments.gate and any(one["verdict"] == "worse" for one in rows):
            codes.add(EXIT_LIVENESS)
    code = next((one for one in GRAVEST if one in codes), EXIT_OK)
    body["exit_code"] = code
    if arguments.json:
        print(json.dumps(body))
    else:
        _print_summary(body, rows, again)
    return code


def _compare(done: list[Result], folder: Path, hashes: dict[str, str]) -> list[Result]:
    rows: list[Result] = []
    for name in sorted({str(one["scenario"]) for one in done}):
        path = folder / f"{name}.json"
        if not path.exists():
            rows.append({"scenario": name, "measure": "", "verdict": "no baseline"})
            continue
        old = read_baseline(path, hashes[name])
        own = [one for one in done if one["scenario"] == name]
        rows += [{"scenario": name, **row} for row in compared(old, own)]
    return rows


def _print_summary(body: Result, rows: list[Result], again: str) -> None:
    run = cast("Result", body["run"])
    print(f"{run['seeds']} seeds, {run['failed']} failed, {run['events']} events")
    for one in cast("list[Result]", body["failures"]):
        print(f"  {one['signature']}: {one['count']} times, first with seed {one['first_seed']}")
        command = again.format(scenario=one["scenario"], seed=one["fastest_seed"])
        print(f"    fabgossip {command}")
        if one["replay"]:
            print(f"    fabgossip sim replay {one['replay']}")
    for row in rows:
        change = f"{row['old']} -> {row['new']}" if "old" in row else ""
        print(f"  {row['scenario']} {row['measure']} {change} {row['verdict']}")


def run_report(arguments: argparse.Namespace, doors: Doors) -> int:
    """`fabgossip sim report`."""
    done = [one for path in arguments.results for one in Log(path).read()]
    if not done:
        raise ScenarioError("no results in these files")
    names = sorted({str(one["scenario"]) for one in done})
    hashes = {name: scenario_hash(doors.find(name)) for name in names}
    if arguments.write_baseline is not None:
        folder: Path = arguments.write_baseline
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            own = [one for one in done if one["scenario"] == name]
            body = baseline_of(own, hashes[name], code_hash())
            text = json.dumps(body, indent=1, sort_keys=True) + "\n"
            (folder / f"{name}.json").write_text(text, encoding="utf-8")
            say(f"wrote {folder / f'{name}.json'}")
    return _conclude(done, arguments, hashes, doors.again)


class _Progress:
    """Lines on standard error: one that changes on a terminal, one now and then elsewhere."""

    def __init__(self) -> None:
        self._done = 0
        self._began = self._told = time.monotonic()
        self._is_terminal = sys.stderr.isatty()

    def show(self, jobs: int, failures: int) -> None:
        """One more is done."""
        self._done += 1
        now = time.monotonic()
        every = TELL_EVERY_TERMINAL_S if self._is_terminal else TELL_EVERY_S
        if now - self._told < every:
            return
        self._told = now
        pace = self._done / max(0.001, now - self._began)
        left_s = int((jobs - self._done) / pace)
        line = f"{self._done} of {jobs} seeds, {pace:.1f}/s, {failures} failed, {left_s} s left"
        start, end = ("\r", "") if self._is_terminal else ("", "\n")
        print(f"{start}{line}", end=end, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Clear the line."""
        if self._is_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
