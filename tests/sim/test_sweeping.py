"""`fabgossip sim sweep` and `report`, as typed; what a seed comes to is made up."""

import json
from pathlib import Path

import pytest

from fabgossip.cli import sim_sweep
from fabgossip.cli.main import run
from fabgossip.sim.sweep import Job, Result
from tests.sim.factory import FIVE, HEAD, ROUTES, TOPOLOGY
from tests.sim.test_sweep import Inline

Output = pytest.CaptureFixture[str]
CHECKOUT = Path(__file__).parents[2]
SMALL = "\n".join((HEAD, f"publication = [{ROUTES % 'store'}]", TOPOLOGY, FIVE))
EVENTS = {1: 900, 2: 100, 3: 500}
"""Of each seed: the second is the fastest."""


def made_up(job: Job, _: int, __: Path) -> Result:
    failure = {"checker": "missed", "signature": "missed", "detail": "1 of 4 pairs"}
    return {
        "scenario": "small", "seed": job.seed, "set": list(job.changes),
        "failure": failure if "failing" in job.scenario else None,
        "exit_code": 11 if "failing" in job.scenario else 0,
        "run": {"events": EVENTS[job.seed]}, "missed": job.seed, "measures": {},
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With scenarios of one's own, far from any library."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sim_sweep, "_pool", lambda _: Inline())
    monkeypatch.setattr(sim_sweep, "work_seed", made_up)
    (tmp_path / "own").mkdir()
    for name in ("holding", "failing", "two words failing"):
        (tmp_path / "own" / f"{name}.toml").write_text(SMALL)
    return tmp_path


SWEEP = ("sim", "sweep", "--twin-share", "0", "--jobs", "1", "--seeds", "1..3")


def swept(output: Output, *arguments: str) -> tuple[int, list[str], str]:
    """Exit code, lines of standard output, and standard error."""
    code = run([*SWEEP, *arguments])
    told = output.readouterr()
    return code, told.out.splitlines(), told.err


@pytest.mark.parametrize(
    ("name", "typed"),
    [("failing", "own/failing.toml"), ("two words failing", "'own/two words failing.toml'")],
)
def test_a_failure_is_told_with_what_runs_it_again_from_here(
    folder: Path, capsys: Output, name: str, typed: str
) -> None:
    code, lines, _ = swept(capsys, f"own/{name}.toml")
    assert (code, lines) == (11, [
        "3 seeds, 3 failed, 1500 events",
        "  measure missed: 3 times, first with seed 1, fastest with seed 2",
        "    1 of 4 pairs",
        f"    fabgossip sim run {typed} --seed 2",
    ])  # fmt: skip


def test_a_scenario_of_the_library_is_told_by_its_name(folder: Path, capsys: Output) -> None:
    (folder / "simulations").mkdir()
    (folder / "own").rename(folder / "simulations" / "scenarios")
    code, lines, _ = swept(capsys, "failing")
    assert (code, lines[-1]) == (11, "    fabgossip sim run failing --seed 2")


def test_a_report_of_a_folder_needs_no_scenario_and_names_what_runs_again(
    folder: Path, capsys: Output
) -> None:
    lines = swept(capsys, "own/failing.toml", "--out", "found")[1]
    (folder / "own" / "failing.toml").unlink()
    for results in ("found", "found/sweep.jsonl"):
        assert run(["sim", "report", results]) == 11
        out = capsys.readouterr().out.splitlines()
        assert [*out[:1], "  results in found/sweep.jsonl", *out[1:]] == lines


def test_a_baseline_is_of_the_text_that_was_run(folder: Path, capsys: Output) -> None:
    """Not of what the file says by now; and of results of several texts of the last."""
    swept(capsys, "own/holding.toml", "--out", "found")
    assert run(["sim", "report", "found", "--write-baseline", "before"]) == 0
    assert run(["sim", "report", "found", "--baseline", "before", "--gate"]) == 0
    path = folder / "own" / "holding.toml"
    path.write_text(f"# another\n{SMALL}")
    assert run(["sim", "report", "found", "--baseline", "before", "--gate"]) == 0
    capsys.readouterr()
    run([*SWEEP[:-1], "1", "own/holding.toml", "--out", "found", "--resume"])
    assert run(["sim", "report", "found", "--baseline", "before"]) == 78
    assert run(["sim", "report", "found", "--write-baseline", "after"]) == 0
    assert json.loads((folder / "after" / "small.json").read_text())["seeds"] == [1]


def test_a_sweep_says_how_far_it_came_and_where_results_are(folder: Path, capsys: Output) -> None:
    out = ("--out", "found")
    code, lines, _ = swept(capsys, "own/failing.toml", "--stop-after", "1", *out)
    assert (code, lines[1]) == (11, "  stopped early: 1 of 3 seeds")
    code, lines, _ = swept(capsys, "own/failing.toml", "--resume", *out)
    assert lines[:3] == [
        "3 seeds, 3 failed, 1500 events",
        "  1 of them were done before",
        "  results in found/sweep.jsonl",
    ]
    code, lines, _ = swept(capsys, "own/holding.toml", "--json", *out)
    body = json.loads(lines[-1])
    assert (code, body["results"]) == (0, "found/sweep.jsonl")
    assert {name: body["run"][name] for name in ("seeds", "planned", "resumed")} == {
        "seeds": 3, "planned": 3, "resumed": 0,
    }  # fmt: skip
    code, lines, _ = swept(capsys, "own/holding.toml", *out)
    assert lines == ["3 seeds, 0 failed, 1500 events", "  results in found/sweep.jsonl"]


@pytest.mark.parametrize("words", [("--jobs", "0"), ("--jobs", "-1"), ("--stop-after", "0")])
def test_none_at_all_is_no_number_of_processes_or_failures(
    folder: Path, capsys: Output, words: tuple[str, ...]
) -> None:
    code, _, err = swept(capsys, "own/holding.toml", *words)
    assert (code, f"{words[0]}: '{words[1]}': expected a number from 1 on" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((*SWEEP, "own/holding.toml", "--out", "taken/x"), 2, "--out taken/x: Not a directory"),
        (("sim", "report", "found", "--write-baseline", "taken"), 2,
         "--write-baseline taken: File exists"),
        (("sim", "report", "own/holding.toml"), 78, "own/holding.toml: a line that is no result"),
        (("sim", "report", "other.json"), 78, "other.json: a line that is no result"),
        (("sim", "report", "own"), 78, "no results in own/sweep.jsonl"),
        (("sim", "replay", "own/holding.toml"), 78,
         "own/holding.toml: kind: not a replay file; a scenario is run by sim run"),
        (("sim", "replay", "own"), 78, "own: Is a directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_a_file_that_is_not_what_it_should_be_is_told_in_one_line(
    folder: Path, capsys: Output, words: tuple[str, ...], code: int, said: str
) -> None:
    (folder / "taken").touch()
    (folder / "other.json").write_text("[1]\n")
    swept(capsys, "own/holding.toml", "--out", "found")
    assert run(words) == code
    err = capsys.readouterr().err
    assert (err.count("\n"), said in err) == (1, True), err
