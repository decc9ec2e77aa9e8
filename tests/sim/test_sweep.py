"""A seed's result depends on the seed alone; what is done is not done again; a lost worker is
survived."""

import json
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from fabgossip.errors import ScenarioError
from fabgossip.sim.baselines import baseline_of, compared, read_baseline
from fabgossip.sim.campaign import parse_campaign
from fabgossip.sim.sweep import (
    Job,
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

P = ParamSpec("P")
T = TypeVar("T")
JOBS = [Job("a.toml", "h", seed, "c") for seed in range(6)]


class Inline(Executor):
    """Runs in the caller; a job that ends its process breaks the pool for all after it."""

    def __init__(self) -> None:
        self._is_broken = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run it now."""
        future: Future[T] = Future()
        if self._is_broken:
            future.set_exception(BrokenProcessPool())
            return future
        try:
            future.set_result(fn(*args, **kwargs))
        except SystemExit:
            self._is_broken = True
            future.set_exception(BrokenProcessPool())
        return future


def result_of(job: Job) -> Result:
    is_bad = job.seed % 3 == 2
    failure = {"checker": "S1", "signature": "S1/sent/have"} if is_bad else None
    return {
        "scenario": "a", "seed": job.seed, "failure": failure, "exit_code": 10 if is_bad else 0,
        "run": {"events": 100 - job.seed, "virtual_ms": 1_000}, "missed": 0,
        "t99_ms": 50 + job.seed, "measures": {},
    }  # fmt: skip


def given_up(job: Job) -> Result:
    return result_of(job) | {"failure": {"checker": "time", "signature": "time/wall"}}


def sweep(jobs: list[Job], work: Callable[[Job], Result] = result_of) -> dict[int, Result]:
    return {job.seed: found for job, found in run_all(jobs, Inline, work, given_up, 2)}


def test_a_worker_that_dies_once_costs_nothing() -> None:
    lives = [1]

    def dying(job: Job) -> Result:
        if job.seed == 3 and lives.pop() if lives else False:
            raise SystemExit
        return result_of(job)

    assert sweep(JOBS, dying) == sweep(JOBS)


def test_a_seed_that_always_ends_its_worker_is_given_up_alone() -> None:
    def deadly(job: Job) -> Result:
        if job.seed == 3:
            raise SystemExit
        return result_of(job)

    found, expected = sweep(JOBS, deadly), sweep(JOBS)
    assert found.pop(3)["failure"] == {"checker": "time", "signature": "time/wall"}
    assert found == {seed: one for seed, one in expected.items() if seed != 3}


def test_a_resumed_sweep_has_the_results_of_an_undisturbed_one(tmp_path: Path) -> None:
    path = tmp_path / "sweep.jsonl"
    log = Log(path)
    for job, found in run_all(JOBS[:3], Inline, result_of, given_up, 2):
        log.append(job, found)
    path.write_bytes(path.read_bytes()[:-7])  # power went in the middle of a line
    left = left_of(JOBS, log.read())
    assert len(left) == 4, "the torn line counts for nothing"
    for job, found in run_all(left, Inline, result_of, given_up, 2):
        log.append(job, found)
    whole = sorted((one["seed"], json.dumps(one["failure"])) for one in log.read())
    assert whole == sorted((job.seed, json.dumps(result_of(job)["failure"])) for job in JOBS)
    assert left_of([Job("a.toml", "h", 1, "other code")], log.read()) != []


def test_failures_are_told_by_signature_with_the_fastest_seed() -> None:
    body = summary([kept(job, result_of(job)) for job in JOBS])
    assert body["failures"] == [
        {
            "signature": "S1/sent/have",
            "detail": None,
            "count": 2,
            "scenario": "a",
            "file": "a.toml",
            "set": [],
            "first_seed": 2,
            "fastest_seed": 5,
            "replay": None,
        }
    ]
    assert body["clean_runs_needed"] == 8, "ln 0.05 / ln (2/3), rounded up"
    assert summary([result_of(JOBS[0])])["clean_runs_needed"] is None


@pytest.mark.parametrize(
    ("text", "seeds"), [("7", (7,)), ("1,3", (1, 3)), ("1..3,9", (1, 2, 3, 9))]
)
def test_seeds_are_written_as_ranges(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "x", "1..", "3..1", "1..2000000", "1..99999999999999"])
def test_other_seeds_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="seeds"):
        parse_seeds(text)


def test_a_baseline_tells_worse_from_same_and_is_refused_for_another_scenario(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.json"
    results = [result_of(job) for job in JOBS]
    path.write_text(json.dumps(baseline_of(results, "h", "c")))
    old = read_baseline(path, "h")
    verdicts = [
        {str(row["measure"]): row["verdict"] for row in compared(old, found)}
        for found in (
            results,
            [one | {"t99_ms": 60} for one in results],
            [one | {"t99_ms": 61} for one in results],
            [one | {"t99_ms": 40} for one in results],
            [one | {"missed": 1} for one in results],
        )
    ]
    assert [one["t99_ms"] for one in verdicts] == ["same", "same", "worse", "better", "same"]
    assert [one["missed"] for one in verdicts] == ["same", "same", "same", "same", "worse"]
    path.write_text(json.dumps(baseline_of([one | {"missed": 20} for one in results], "h", "c")))
    one_more = compared(read_baseline(path, "h"), [one | {"missed": 21} for one in results])
    assert {str(row["measure"]): row["verdict"] for row in one_more}["missed"] == "worse"
    with pytest.raises(ScenarioError, match="scenario_hash"):
        read_baseline(path, "another")


def test_a_measure_that_a_seed_lacks_is_worse_and_no_part_of_a_baseline(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    whole = [result_of(job) | {"heal_ms": 900} for job in JOBS]
    one_lacks = [{**one, "heal_ms": None} if one["seed"] == 4 else one for one in whole]
    path.write_text(json.dumps(baseline_of(whole, "h", "c")))
    old = read_baseline(path, "h")
    rows = {str(row["measure"]): row for row in compared(old, one_lacks)}
    assert (rows["heal_ms"]["verdict"], rows["heal_ms"]["lacking"]) == ("worse", 1)
    assert rows["t99_ms"]["verdict"] == "same"
    unfinished: list[Result] = [{"scenario": "a", "seed": 1}]
    assert {row["verdict"] for row in compared(old, unfinished)} == {"worse"}
    path.write_text(json.dumps(baseline_of(one_lacks, "h", "c")))
    assert "heal_ms" not in read_baseline(path, "h")


def test_every_scenario_of_a_sweep_has_a_twin_and_not_always_the_same_seed() -> None:
    hashes = [f"h{number}" for number in range(20)]
    jobs = [Job("a.toml", one, seed, "c") for one in hashes for seed in (1, 2, 3, 4)]
    twins = twins_of(jobs, 0.000001)
    assert sorted(scenario for scenario, _, _ in twins) == sorted(hashes)
    assert {seed for _, seed, _ in twins} == {1, 2, 3, 4}
    assert twins_of(reversed(jobs), 0.000001) == twins
    assert twins_of(jobs, 0) == frozenset()
    assert len(twins_of(jobs, 1)) == len(jobs)
    assert twins_of(jobs, 0.000001) <= twins_of(jobs, 0.5) < twins_of(jobs, 1)


def test_who_has_seen_enough_leaves_most_jobs_undone() -> None:
    begun: list[int] = []

    def counting(job: Job) -> Result:
        begun.append(job.seed)
        return result_of(job)

    jobs = [Job("a.toml", "h", seed, "c") for seed in range(100)]
    for job, found in run_all(jobs, Inline, counting, given_up, 4):
        if found["exit_code"]:
            assert job.seed == 2
            break
    assert len(begun) <= 2 + 2 * 4


def test_a_nemesis_that_matters_in_no_seed_is_told() -> None:
    def of(scenario: str, seed: int, **mattered: int) -> Result:
        rows = {
            name: {"planned": 2, "fired": 2, "mattered": count, "skipped": 0}
            for name, count in mattered.items()
        }
        return {"scenario": scenario, "seed": seed, "faults": {"nemeses": rows}}

    results = [of("a", 1, cut=0, pause=0), of("a", 2, cut=1, pause=0), of("b", 1, cut=0)]
    idle = [(one["scenario"], one["nemesis"], one["planned"]) for one in idle_nemeses(results)]
    assert idle == [("a", "pause", 4), ("b", "cut", 2)]
    assert idle_nemeses([{"scenario": "a", "seed": 1}]) == []


def test_a_campaign_names_its_problems() -> None:
    text = 'schema = 1\nname = "a"\ntitle = "b"\n[[run]]\nscenario = "nothing"\nseeds = [1, 2]\n'
    assert parse_campaign(text, "c.toml").run[0].seeds == (1, 2)
    with pytest.raises(ScenarioError, match=r"run\[0\]\.seed:"):
        parse_campaign(text.replace("seeds", "seed"), "c.toml")


def test_a_campaign_says_how_long_a_run_may_take() -> None:
    text = 'schema = 1\nname = "c"\ntitle = "two"\n%s\n[[run]]\nscenario = "first-light"\n'
    assert parse_campaign(text % 'wall_limit = "30m"', "c.toml").wall_limit_s == 1_800
    assert parse_campaign(text % "", "c.toml").wall_limit_s == 120
    with pytest.raises(ScenarioError, match=r"c\.toml: wall_limit: .*a duration"):
        parse_campaign(text % 'wall_limit = "soon"', "c.toml")


def test_a_campaign_says_what_runs_beside_nothing_else() -> None:
    head, row = 'schema = 1\nname = "c"\ntitle = "two"\n', '[[run]]\nscenario = "nothing"\n'
    campaign = parse_campaign(f"{head}{row}alone = true\n{row}", "c.toml")
    assert [one.alone for one in campaign.run] == [True, False]
