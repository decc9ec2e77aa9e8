"""The commands of the simulator as programs: processes, each under a hash seed that is known."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fabgossip.cli.sim_twin import Point, first_unequal
from tests.sim.factory import FIVE, HEAD, ROUTES, TOPOLOGY

CHECKOUT = Path(__file__).parents[2]
HANGS_S = 80


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a short scenario that holds, one that fails, and one that never ends."""
    small = "\n".join(
        (HEAD, 'phases = { quiet = "25s" }', f"publication = [{ROUTES % 'store'}]", TOPOLOGY, FIVE)
    )
    (tmp_path / "small.toml").write_text(small)
    failing = 'expect = [{ measure = "t99_ms", max = 1 }]\n'
    (tmp_path / "failing.toml").write_text(failing + small.replace('"small"', '"failing"'))
    endless = small.replace('"small"', '"endless"').replace('"25s"', '"360d"')
    (tmp_path / "endless.toml").write_text(endless)
    return tmp_path


def program(folder: Path, *arguments: str, hash_seed: str = "") -> tuple[int, str]:
    """Exit code and standard output of `fabgossip sim`."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    environment.pop("PYTHONHASHSEED", None)
    if hash_seed:
        environment["PYTHONHASHSEED"] = hash_seed
    ran = subprocess.run(
        [sys.executable, "-m", "fabgossip.cli.main", "sim", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=HANGS_S,
    )  # fmt: skip
    return ran.returncode, ran.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "given", "used"), [((), "", 4), ((), "9", 9), (("--hash-seed", "5"), "9", 5)]
)
def test_a_run_is_under_a_hash_seed_that_is_known(
    folder: Path, flags: tuple[str, ...], given: str, used: int
) -> None:
    arguments = ("run", "small.toml", "--seed", "3", "--until", "2s", "--json", *flags)
    code, out = program(folder, *arguments, hash_seed=given)
    assert (code, json.loads(out)["run"]["hash_seed"]) == (0, used)


@pytest.mark.slow
def test_a_failure_runs_again_under_the_hash_seed_it_had(folder: Path) -> None:
    code, out = program(folder, "run", "failing.toml", "--seed", "3", hash_seed="77")
    replay = out.splitlines()[-1].removeprefix("  fabgossip sim replay ")
    assert (code, replay) == (11, "replays/failing-3-expectation.json")
    code, out = program(folder, "replay", replay, "--json")
    again = json.loads(out)
    assert (code, again["run"]["hash_seed"], again["is_same_trace"]) == (11, 77, True)


@pytest.mark.slow
def test_every_scenario_of_a_sweep_has_a_twin(folder: Path) -> None:
    arguments = ("small.toml", "failing.toml", "--seeds", "1,2", "--out", "found")
    code, _ = program(folder, "sweep", *arguments)
    assert code == 11
    lines = (folder / "found" / "sweep.jsonl").read_text().splitlines()
    results = [json.loads(line) for line in lines]
    assert {(one["scenario"], one["seed"]) for one in results} == {
        (name, seed) for name in ("small", "failing") for seed in (1, 2)
    }
    twins = [(one["scenario"], one["run"]["twin"]) for one in results if "twin" in one["run"]]
    assert set(twins) == {("small", "equal"), ("failing", "equal")}
    assert {one["run"]["hash_seed"] for one in results} == {2}


@pytest.mark.slow
def test_a_run_checks_itself_under_another_hash_seed(folder: Path) -> None:
    arguments = ("run", "small.toml", "--until", "9s", "--set", "swarm=1.0", "--json")
    code, out = program(folder, *arguments, "--check-determinism")
    assert (code, json.loads(out)["run"]["twin"]) == (0, "equal")


@pytest.mark.slow
def test_who_stops_after_a_failure_waits_for_nothing_under_way(folder: Path) -> None:
    """A hang is the verdict: the second seed runs for 360 days."""
    arguments = ("endless.toml", "failing.toml", "--seeds", "1", "--jobs", "2", "--json")
    code, out = program(
        folder, "sweep", *arguments, "--stop-after", "1", "--twin-share", "0",
        "--wall-limit", "9999",
    )  # fmt: skip
    body = json.loads(out)
    assert (code, body["run"]["seeds"], body["failures"][0]["scenario"]) == (11, 1, "failing")


@pytest.mark.slow
def test_under_the_gate_a_scenario_needs_a_baseline(folder: Path) -> None:
    (folder / "simulations" / "scenarios").mkdir(parents=True)
    (folder / "small.toml").rename(folder / "simulations" / "scenarios" / "small.toml")
    arguments = (
        "sweep", "small", "--seeds", "1", "--twin-share", "0", "--baseline", "before", "--gate",
    )  # fmt: skip
    code, out = program(folder, *arguments, "--out", "found")
    assert code == 11
    assert "small has no baseline: fabgossip sim report" in out
    assert program(folder, "report", "found/sweep.jsonl", "--write-baseline", "before")[0] == 0
    assert program(folder, *arguments)[0] == 0


def test_the_first_checkpoint_that_differs_is_told() -> None:
    one = [Point(10, 1, "a"), Point(20, 2, "b"), Point(30, 3, "c")]
    assert first_unequal(one, list(one)) is None
    other = [one[0], Point(20, 2, "x"), Point(30, 3, "y")]
    told = first_unequal(one, other)
    assert told is not None
    assert told.startswith("checkpoint 1 differs: b after 20 events at 2 ns, the twin x after 20")
    assert first_unequal(one, one[:2]) == "3 checkpoints, the twin 2"
