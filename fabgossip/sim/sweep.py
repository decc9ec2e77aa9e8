"""Many seeds: which to run, which are done, what they come to together.

Decides: what is left to run; how a pool that lost a worker goes on; failures by signature.
Keeps: a seed's result depends on the seed alone, never on engine, worker or order; one result is
one line, appended by one writer; a torn last line is dropped.
Must not know: how a run is made, how a result is shown.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias, cast

from fabgossip.errors import ScenarioError
from fabgossip.sim.quantities import PPM
from fabgossip.sim.streams import Streams

SEEDS_MAX: Final = 1_000_000
LIVES: Final = 2
"""A seed that ends its worker so often is given up."""
RATE_Z: Final = 1.96
"""Of a 95 % interval."""
Result: TypeAlias = dict[str, object]
Key: TypeAlias = tuple[str, int, str]
"""Hash of the scenario, seed, hash of the code."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a sweep."""

    scenario: str
    """Its file."""
    scenario_hash: str
    """Of its text and of what is set in it."""
    seed: int
    code_hash: str
    changes: tuple[str, ...] = ()
    """`PATH=VALUE`, made to the text."""

    @property
    def key(self) -> Key:
        """What makes a result that of this job."""
        return self.scenario_hash, self.seed, self.code_hash


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds of `7`, `1,3,9` or `1..1000`; raises `ValueError`."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dots, last = part.partition("..")
        if not first.isdigit() or (dots and not last.isdigit()):
            raise ValueError(f"{text!r} is not seeds such as 7, 1,3,9 or 1..1000")
        found = range(int(first), int(last or first) + 1)
        if not found:
            raise ValueError(f"{text!r}: {part} has no seeds: it ends before it begins")
        if len(seeds) + found.stop - found.start > SEEDS_MAX:
            raise ValueError(f"{text!r}: more than {SEEDS_MAX} seeds")
        seeds += found
    return tuple(seeds)


class Log:
    """The results so far, a line each."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Result]:
        """All whole lines; a torn last one is taken off the file."""
        if not self._path.exists():
            return []
        try:
            data = self._path.read_bytes()
        except OSError as error:
            raise ScenarioError(f"{self._path}: {error.strerror}") from error
        whole = data[: data.rfind(b"\n") + 1]
        rows = [self._result(line) for line in whole.splitlines()]
        if whole != data:
            self._path.write_bytes(whole)
        return rows

    def _result(self, line: bytes) -> Result:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ScenarioError(f"{self._path}: a line that is no result: {error}") from error
        if not isinstance(row, dict) or not row.keys() >= {"key", "file", "scenario", "seed"}:
            raise ScenarioError(f"{self._path}: a line that is no result of a sweep")
        return row

    def append(self, job: Job, result: Result) -> None:
        """One more."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(kept(job, result)) + "\n")


def kept(job: Job, result: Result) -> Result:
    """A result with what it belongs to: wherever the scenario lies, it can be run again."""
    return {"key": list(job.key), "file": job.scenario, **result}


def left_of(jobs: Iterable[Job], done: list[Result]) -> list[Job]:
    """What has no result yet."""
    keys = {tuple(cast("list[object]", one["key"])) for one in done}
    return [job for job in jobs if job.key not in keys]


def twins_of(jobs: Iterable[Job], share: float) -> frozenset[Key]:
    """Which jobs run once more under another hash seed: by chance of their own a share of them, and
    of each scenario at least the likeliest."""
    if share <= 0:
        return frozenset()
    draws: dict[str, list[tuple[int, Key]]] = {}
    for job in jobs:
        draw = Streams(job.seed).of(f"sweep/twin/{job.scenario_hash}").below(PPM)
        draws.setdefault(job.scenario_hash, []).append((draw, job.key))
    return frozenset(
        key
        for rows in draws.values()
        for draw, key in rows
        if draw < share * PPM or (draw, key) == min(rows)
    )


def run_all(
    jobs: list[Job],
    make_executor: Callable[[], Executor],
    work: Callable[[Job], Result],
    given_up: Callable[[Job], Result],
    ahead: int,
) -> Iterator[tuple[Job, Result]]:
    """The result of each job, as they come; at most `ahead` are handed out before their time, so
    that who has seen enough can leave. A pool that lost a worker is made anew; a job that was under
    way when `LIVES` pools broke is tried once alone and then given up."""
    losses: dict[Key, int] = {}
    left = list(jobs)
    while left:
        suspects = [job for job in left if losses.get(job.key, 0) >= LIVES - 1]
        batch = suspects[:1] or left
        finished: set[Key] = set()
        executor = make_executor()
        try:
            for job, future in _completed(batch, executor, work, ahead):
                try:
                    result = future.result()
                except BrokenProcessPool:
                    losses[job.key] = losses.get(job.key, 0) + 1
                    if losses[job.key] < LIVES or not suspects:
                        continue
                    result = given_up(job)
                finished.add(job.key)
                yield job, result
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
        left = [job for job in left if job.key not in finished]


def _completed(
    batch: list[Job], executor: Executor, work: Callable[[Job], Result], ahead: int
) -> Iterator[tuple[Job, Future[Result]]]:
    """Each job with its future once that is done; a pool that broke is given nothing more."""
    queue = iter(batch)
    under_way = {executor.submit(work, job): job for job in islice(queue, ahead)}
    is_broken = False
    while under_way:
        done, _ = wait(under_way, return_when=FIRST_COMPLETED)
        for future in sorted(done, key=lambda one: under_way[one].key):
            is_broken = is_broken or isinstance(future.exception(), BrokenProcessPool)
            yield under_way.pop(future), future
        if is_broken:
            continue
        try:
            for job in islice(queue, ahead - len(under_way)):
                under_way[executor.submit(work, job)] = job
        except BrokenProcessPool:
            is_broken = True


def summary(results: list[Result]) -> Result:
    """The sweep as one object."""
    failures: dict[str, list[Result]] = {}
    for one in results:
        failure = cast("Result | None", one["failure"])
        if failure is not None:
            failures.setdefault(str(failure["signature"]), []).append(one)
    failed = sum(len(rows) for rows in failures.values())
    return {
        "schema_version": 1,
        "kind": "sim-sweep",
        "run": {
            "seeds": len(results),
            "failed": failed,
            "events": sum(int(str(_run(one).get("events", 0))) for one in results),
            "virtual_ms": sum(int(str(_run(one).get("virtual_ms", 0))) for one in results),
        },
        "failures": [_failure(name, failures[name]) for name in sorted(failures)],
        "rate": _interval(failed, len(results)),
        "clean_runs_needed": _clean_runs(failed, len(results)),
    }


def idle_nemeses(results: list[Result]) -> list[Result]:
    """Nemeses that mattered in no seed of their scenario: what was to be shown was not."""
    tallies: dict[tuple[str, str], Counter[str]] = {}
    for one in results:
        faults = cast("Result", one.get("faults") or {})
        for name, row in cast("dict[str, dict[str, int]]", faults.get("nemeses") or {}).items():
            tallies.setdefault((str(one["scenario"]), name), Counter()).update(row)
    return [
        {"scenario": scenario, "nemesis": name, **tally}
        for (scenario, name), tally in sorted(tallies.items())
        if not tally["mattered"]
    ]


def _run(one: Result) -> Result:
    return cast("Result", one.get("run") or {})


def _failure(signature: str, rows: list[Result]) -> Result:
    def events(one: Result) -> tuple[int, int]:
        return int(str(_run(one).get("events", 0))), int(str(one["seed"]))

    fastest = min(rows, key=events)
    files = cast("Result", fastest.get("files") or {})
    return {
        "signature": signature,
        "detail": cast("Result", fastest["failure"]).get("detail"),
        "count": len(rows),
        "scenario": fastest["scenario"],
        "file": fastest["file"],
        "set": fastest.get("set", []),
        "first_seed": min(int(str(one["seed"])) for one in rows),
        "fastest_seed": fastest["seed"],
        "replay": files.get("replay"),
    }


def _interval(failed: int, of: int) -> Result:
    """Share of seeds that fail, with its 95 % interval (Wilson)."""
    if not of:
        return {"per_seed": None, "least": None, "most": None}
    share, z2 = failed / of, RATE_Z * RATE_Z
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    spread = RATE_Z * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of)) / (1 + z2 / of)
    return {
        "per_seed": round(share, 6),
        "least": round(max(0.0, middle - spread), 6),
        "most": round(min(1.0, middle + spread), 6),
    }


def _clean_runs(failed: int, of: int) -> int | None:
    """Clean seeds in a row that make a fix believable; None where nothing failed."""
    if not failed:
        return None
    return 1 if failed == of else math.ceil(math.log(0.05) / math.log(1 - failed / of))
