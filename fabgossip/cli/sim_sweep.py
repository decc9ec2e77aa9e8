"""`fabgossip sim sweep` and `report`: many seeds, and what they measure against what they did."""

import argparse
import json
import multiprocessing
import signal
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
from fabgossip.cli.sim import WALL_LIMIT_S
from fabgossip.cli.sim_seed import (
    find_scenario,
    order_of,
    read_text,
    result_of,
    run_seed,
    typed_name,
)
from fabgossip.cli.sim_twin import compare, end_with_twins
from fabgossip.cli.sim_verdict import (
    EXIT_COVERAGE,
    EXIT_LIVENESS,
    EXIT_NONDETERMINISTIC,
    EXIT_OUT_OF_TIME,
    EXIT_SAFETY,
    EXIT_SIMULATOR,
    code_hash,
    told_signature,
    unfinished,
)
from fabgossip.errors import ScenarioError, UsageError
from fabgossip.sim.baselines import baseline_of, compared, read_baseline
from fabgossip.sim.campaign import CampaignRun, is_campaign, parse_campaign
from fabgossip.sim.scenario import parse_scenario
from fabgossip.sim.sweep import (
    Job,
    Key,
    Log,
    Result,
    idle_nemeses,
    kept,
    left_of,
    parse_seeds,
    run_all,
    summary,
    twins_of,
)
from fabgossip.sim.world import OutOfTimeError

GRAVEST: Final = (
    EXIT_SIMULATOR, EXIT_NONDETERMINISTIC, EXIT_SAFETY, EXIT_LIVENESS, EXIT_OUT_OF_TIME,
    EXIT_COVERAGE,
)  # fmt: skip
"""Of several codes the first is given."""
AHEAD: Final = 2
"""Jobs handed out for each process: one it works on, one it takes next."""
AGAIN: Final = "sim run {scenario} --seed {seed}"
NO_BASELINE: Final = "no baseline"
TELL_EVERY_S: Final = 30.0
TELL_EVERY_TERMINAL_S: Final = 0.5
RESULTS: Final = "sweep.jsonl"
Work = Callable[[Job, int, Path], Result]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run."""

    jobs: list[Job]
    is_campaign: bool = False
    limit_s: int = WALL_LIMIT_S
    """How long each may take."""
    alone: frozenset[str] = frozenset()
    """Scenarios that run after all others, one seed at a time."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is done with each seed."""

    plan: Callable[[argparse.Namespace], Plan]
    work: Work
    """Runs a job within so many seconds; writes a replay file into a folder if it fails."""
    again: str
    """What runs one seed alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How a sweep went, beside its results."""

    planned: int
    """Seeds there are; not all have a result where enough had failed."""
    resumed: int = 0
    """Seeds that had a result before."""
    results: Path | None = None
    """Where they are kept."""


def run_sweep(arguments: argparse.Namespace) -> int:
    """`fabgossip sim sweep`."""
    return sweep(arguments, Kind(plan_of, work_seed, AGAIN))


def work_seed(job: Job, wall_limit_s: int, out: Path) -> Result:
    """One job of a sweep, in a process of its own."""
    order = order_of(job, wall_limit_s)
    return result_of(order, run_seed(order), out)


def scenario_hash(path: Path, changes: tuple[str, ...] = ()) -> str:
    """What a result or a baseline belongs to."""
    said = path.read_bytes() + "".join(f"\0{one}" for one in changes).encode()
    return sha256(said).hexdigest()[:16]


def sweep(arguments: argparse.Namespace, kind: Kind) -> int:
    """Run many seeds; gives the exit code."""
    if arguments.gate and arguments.baseline is None:
        raise UsageError("--gate needs --baseline")
    out: Path | None = arguments.out
    if arguments.resume and out is None:
        raise UsageError("--resume needs --out")
    plan = kind.plan(arguments)
    jobs = plan.jobs
    done: list[Result] = []
    log = None if out is None else Log(out / RESULTS)
    if out is not None and log is not None:
        _prepare(out, is_resumed=arguments.resume)
        done = log.read()
    left = left_of(jobs, done)
    wanted = {job.key for job in jobs}
    done = [one for one in done if tuple(cast("list[object]", one["key"])) in wanted]
    resumed = len(done)
    progress = _Progress()
    processes: int = arguments.jobs
    tasks = Tasks(
        kind.work, arguments.wall_limit or plan.limit_s, out or Path(),
        twins_of(jobs, arguments.twin_share),
    )  # fmt: skip
    failures = 0
    beside = [job for job in left if job.scenario not in plan.alone]
    last = [job for job in left if job.scenario in plan.alone]
    try:
        for job, result in chain(
            run_all(beside, partial(_pool, processes), tasks, _given_up, AHEAD * processes),
            run_all(last, partial(_pool, 1), tasks, _given_up, AHEAD),
        ):
            if log is not None:
                log.append(job, result)
            if plan.is_campaign and arguments.json:
                print(json.dumps(result), flush=True)
            done.append(kept(job, result))
            failures += result["exit_code"] != EXIT_OK
            progress.show(len(left), failures)
            if arguments.stop_after is not None and failures >= arguments.stop_after:
                break
    finally:
        progress.end()
        _leave()
    course = Course(
        planned=len(jobs),
        resumed=resumed,
        results=None if out is None else out / RESULTS,
    )
    return _conclude(done, arguments, kind.again, course)


def _prepare(out: Path, *, is_resumed: bool) -> None:
    """A place for results, empty unless they are to be gone on with; raises `UsageError`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not is_resumed:
            (out / RESULTS).unlink(missing_ok=True)
        (out / RESULTS).touch()
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror}") from error


def seeds_of(arguments: argparse.Namespace) -> tuple[int, ...]:
    """Those given, if any are; raises `UsageError`."""
    try:
        return parse_seeds(arguments.seeds) if arguments.seeds else ()
    except ValueError as error:
        raise UsageError(f"--seeds: {error}") from error


def plan_of(arguments: argparse.Namespace) -> Plan:
    """Of scenarios and campaigns; raises `ScenarioError`, `UsageError`."""
    given = seeds_of(arguments)
    planned: list[CampaignRun] = []
    of_campaign, limit_s = False, WALL_LIMIT_S
    alone: set[str] = set()
    for name in arguments.scenario:
        path = find_scenario(name)
        text = read_text(path)
        if is_campaign(text):
            campaign = parse_campaign(text, str(path))
            of_campaign, limit_s = True, max(limit_s, campaign.wall_limit_s)
            planned += campaign.run
            alone |= {str(find_scenario(one.scenario)) for one in campaign.run if one.alone}
        else:
            planned.append(CampaignRun(scenario=name))
    jobs = []
    for one in planned:
        path = find_scenario(one.scenario)
        scenario = parse_scenario(read_text(path), str(path), one.set)
        jobs += [
            Job(str(path), scenario_hash(path, one.set), seed, code_hash(), one.set)
            for seed in given or one.seeds or scenario.seeds
        ]
    return Plan(
        jobs=list({job.key: job for job in jobs}.values()),
        is_campaign=of_campaign,
        limit_s=limit_s,
        alone=frozenset(alone),
    )


@dataclass(frozen=True, slots=True)
class Tasks:
    """What a worker does with a job: whatever happens, it has a result."""

    work: Work
    wall_limit_s: int
    out: Path
    twins: frozenset[Key]

    def __call__(self, job: Job) -> Result:
        try:
            result = self.work(job, self.wall_limit_s, self.out)
            if job.key in self.twins:
                compare(order_of(job, self.wall_limit_s), result)
        except ScenarioError:
            raise
        except Exception as error:  # noqa: BLE001  # not every exception can be sent from here
            return unfinished(Path(job.scenario).stem, job.seed, error)
        result.pop("checkpoints", None)  # of no use any more, and long
        return result


def _pool(jobs: int) -> Executor:
    """A process for each seed: what one took stays with its process, and would be counted as not
    taken by the next."""
    context = multiprocessing.get_context("forkserver")
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, max_tasks_per_child=1)


def _begin() -> None:
    """A worker that is told to end takes the twin it waits for with it."""
    signal.signal(signal.SIGTERM, end_with_twins)


def _leave() -> None:
    """Nobody waits for what is under way."""
    for worker in multiprocessing.active_children():
        worker.terminate()


def _given_up(job: Job) -> Result:
    error = OutOfTimeError("its process ended twice")
    return unfinished(Path(job.scenario).stem, job.seed, error)


def _conclude(done: list[Result], arguments: argparse.Namespace, again: str, course: Course) -> int:
    body = summary(done)
    cast("Result", body["run"]).update(planned=course.planned, resumed=course.resumed)
    body["results"] = None if course.results is None else str(course.results)
    codes = {int(str(one["exit_code"])) for one in done} - {EXIT_OK}
    idle = idle_nemeses(done)
    body["idle_nemeses"] = idle
    if idle:
        codes.add(EXIT_COVERAGE)
    rows: list[Result] = []
    if arguments.baseline is not None:
        rows = _compare(done, arguments.baseline)
        body["baseline"] = rows
        if arguments.gate and any(one["verdict"] in ("worse", NO_BASELINE) for one in rows):
            codes.add(EXIT_LIVENESS)
    code = next((one for one in GRAVEST if one in codes), EXIT_OK)
    body["exit_code"] = code
    if arguments.json:
        print(json.dumps(body))
    else:
        _print_summary(body, rows, again)
    return code


def _compare(done: list[Result], folder: Path) -> list[Result]:
    rows: list[Result] = []
    for name, (text, own) in _newest(done).items():
        path = folder / f"{name}.json"
        if not path.exists():
            rows.append({"scenario": name, "measure": "", "verdict": NO_BASELINE})
            continue
        rows += [{"scenario": name, **row} for row in compared(read_baseline(path, text), own)]
    return rows


def _newest(done: list[Result]) -> dict[str, tuple[str, list[Result]]]:
    """By scenario the hash of its text as it was run last, and the results of that: a file that is
    gone on with may have those of older texts."""
    hashes = {str(one["scenario"]): _text_of(one) for one in done}
    return {
        name: (
            hashes[name],
            [one for one in done if (one["scenario"], _text_of(one)) == (name, hashes[name])],
        )
        for name in sorted(hashes)
    }


def _text_of(one: Result) -> str:
    return str(cast("list[object]", one["key"])[0])


def _print_summary(body: Result, rows: list[Result], again: str) -> None:
    run = cast("Result", body["run"])
    print(f"{run['seeds']} seeds, {run['failed']} failed, {run['events']} events")
    if run["planned"] != run["seeds"]:
        print(f"  stopped early: {run['seeds']} of {run['planned']} seeds")
    if run["resumed"]:
        print(f"  {run['resumed']} of them were done before")
    if body["results"] is not None:
        print(f"  results in {body['results']}")
    for one in cast("list[Result]", body["failures"]):
        seeds = f"first with seed {one['first_seed']}"
        if one["fastest_seed"] != one["first_seed"]:
            seeds += f", fastest with seed {one['fastest_seed']}"
        print(f"  {told_signature(str(one['signature']))}: {one['count']} times, {seeds}")
        print(f"    {one['detail']}")
        command = again.format(scenario=typed_name(str(one["file"])), seed=one["fastest_seed"])
        changes = "".join(f" --set '{change}'" for change in cast("list[str]", one["set"]))
        print(f"    fabgossip {command}{changes}")
        if one["replay"]:
            print(f"    fabgossip sim replay {one['replay']}")
    for one in cast("list[Result]", body["idle_nemeses"]):
        print(
            f"  {one['scenario']}: nemesis {one['nemesis']} mattered in no seed: "
            f"{one['planned']} faults planned, {one['fired']} fired"
        )
    for row in rows:
        print(f"  {row['scenario']} {_change(row)}")


def _change(row: Result) -> str:
    if row["verdict"] == NO_BASELINE:
        return "has no baseline: fabgossip sim report RESULTS --write-baseline DIR"
    if "lacking" in row:
        return f"{row['measure']} {row['old']} -> none in {row['lacking']} seeds {row['verdict']}"
    return f"{row['measure']} {row['old']} -> {row['new']} {row['verdict']}"


def run_report(arguments: argparse.Namespace) -> int:
    """`fabgossip sim report`."""
    if arguments.gate and arguments.baseline is None:
        raise UsageError("--gate needs --baseline")
    paths = [path / RESULTS if path.is_dir() else path for path in arguments.results]
    done = [one for path in paths for one in Log(path).read()]
    if not done:
        raise ScenarioError(f"no results in {', '.join(map(str, paths))}")
    if arguments.write_baseline is not None and any(one.get("set") for one in done):
        raise ScenarioError("results of a scenario with values set are no baseline of it")
    if arguments.write_baseline is not None:
        try:
            _write_baselines(arguments.write_baseline, done)
        except OSError as error:
            raise UsageError(f"--write-baseline {error.filename}: {error.strerror}") from error
    return _conclude(done, arguments, AGAIN, Course(planned=len(done)))


def _write_baselines(folder: Path, done: list[Result]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, (scenario_text, own) in _newest(done).items():
        body = baseline_of(own, scenario_text, code_hash())
        text = json.dumps(body, indent=1, sort_keys=True) + "\n"
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
        say(f"wrote {folder / f'{name}.json'}")


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
