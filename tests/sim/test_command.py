"""`fabgossip sim run`: one object, one exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fabgossip.cli.main import run
from tests.sim.factory import FIVE, HEAD, ROUTES, TOPOLOGY

JUDGED = {
    "t50_ms", "t99_ms", "t_last_ms", "t99_bound_ms", "t99_ratio", "rmr", "missed",
    "idle_bytes_per_node_per_s", "heal_ms", "speed", "memory_bytes_per_node", "nodes",
    "trace_hash",
}  # fmt: skip


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    parts = (
        HEAD, 'phases = { quiet = "25s" }', f"publication = [{ROUTES % 'store'}]", TOPOLOGY, FIVE,
    )  # fmt: skip
    path.write_text("\n".join(parts))
    return path


def test_json_is_one_object_and_names_the_trace_once(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sim", "run", str(small), "--seed", "3", "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("trace_hash") == 1
    body = json.loads(out)
    assert (body["kind"], body["scenario"], body["seed"]) == ("sim-run", "small", 3)
    assert (body["verdict"], body["exit_code"], body["failure"]) == ("held", 0, None)
    assert (body["t99_ms"], body["missed"], body["unentitled_deliveries"]) == (20, 0, 0)
    assert body["measures"]["routes"]["t50_ms"] == 5
    assert body["entitled_deliveries"] == body["deliveries"]


def test_what_gossip_is_judged_by_stands_on_top(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["sim", "run", str(small), "--json"])
    body = json.loads(capsys.readouterr().out)
    assert {name: body.get(name) for name in JUDGED if name in body["measures"]["routes"]} == {
        name: value for name, value in body["measures"]["routes"].items() if name in JUDGED
    }
    assert body.keys() >= JUDGED


def test_what_has_not_arrived_is_a_failure_of_liveness(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sim", "run", str(small), "--until", "20s", "--json"]) == 11
    body = json.loads(capsys.readouterr().out)
    assert (body["verdict"], body["exit_code"]) == ("liveness", 11)


def test_a_summary_for_people(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "run", str(small)]) == 0
    assert (
        "routes  t50 5 ms, t99 20 ms (bound 20 ms), rmr 3.0, missed 0 of 4"
        in capsys.readouterr().out
    )


def test_a_bad_scenario_and_a_bad_argument_have_codes_of_their_own(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small.write_text("schema = 1")
    assert run(["sim", "run", str(small)]) == 78
    assert run(["sim", "run", "no-such-scenario"]) == 78
    assert "no-such-scenario" in capsys.readouterr().err


def test_a_bad_duration_is_a_mistake_of_usage(small: Path) -> None:
    assert run(["sim", "run", str(small), "--until", "soon"]) == 2


def test_the_library_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "list", "--json"]) == 0
    names = [one["name"] for one in json.loads(capsys.readouterr().out)["scenarios"]]
    assert "first-light" in names


def test_a_failure_runs_again_from_its_file(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["sim", "run", str(small), "--until", "20s", "--json", "--out", str(tmp_path)]
    assert run(arguments) == 11
    first = json.loads(capsys.readouterr().out)
    path = Path(first["files"]["replay"])
    assert run(["sim", "replay", str(path), "--json"]) == 11
    again = json.loads(capsys.readouterr().out)
    assert (again["trace_hash"], again["is_same_trace"]) == (first["trace_hash"], True)
    assert again["was"] == first["failure"]["signature"]


def test_a_replay_of_another_trace_is_told(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["sim", "run", str(small), "--until", "20s", "--json", "--out", str(tmp_path)])
    path = Path(json.loads(capsys.readouterr().out)["files"]["replay"])
    body = json.loads(path.read_text())
    path.write_text(json.dumps(body | {"seed": body["seed"] + 1}))
    assert run(["sim", "replay", str(path)]) == 12


@pytest.mark.parametrize(
    ("field", "value"),
    [("code_hash", "other"), ("plan", [{"number": 1}]), ("seed", "1"), ("kind", "sim-run")],
)
def test_a_damaged_replay_is_refused_with_the_field_named(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], field: str, value: object
) -> None:
    run(["sim", "run", str(small), "--until", "20s", "--json", "--out", str(tmp_path)])
    path = Path(json.loads(capsys.readouterr().out)["files"]["replay"])
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    assert run(["sim", "replay", str(path)]) == 78
    assert field in capsys.readouterr().err


def test_what_was_to_be_proved_and_did_not_come_up_is_a_miss(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small.write_text('proves = ["S1", "L9"]\n' + small.read_text())
    assert run(["sim", "run", str(small), "--json"]) == 14
    body = json.loads(capsys.readouterr().out)
    assert body["coverage"] == {"met": 1, "missed": ["L9"]}


def test_an_expectation_that_is_not_met_is_a_failure_of_liveness(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expect = 'expect = [{ measure = "t99_ms", of = "routes", max = %d }]\n'
    text = small.read_text()
    small.write_text(expect % 20 + text)
    assert run(["sim", "run", str(small), "--json"]) == 0
    small.write_text(expect % 19 + text)
    capsys.readouterr()
    assert run(["sim", "run", str(small), "--json"]) == 11
    body = json.loads(capsys.readouterr().out)
    assert body["failure"]["detail"] == "t99_ms of routes is 20, wanted at most 19"


@pytest.mark.parametrize("what", ["nemeses", "selectors", "checkers", "measures"])
def test_all_that_there_is_is_listed(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "list", what, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)[what]
    assert len({row["name"] for row in rows}) == len(rows) > 8


@pytest.mark.slow
def test_each_line_of_a_campaign_has_all_of_it_and_memory_of_its_own(
    small: Path, tmp_path: Path
) -> None:
    path = tmp_path / "both.toml"
    run_of_it = f'[[run]]\nscenario = "{small}"\n'
    path.write_text(
        'schema = 1\nname = "both"\ntitle = "beside others and alone"\n'
        f"{run_of_it}seeds = [1, 2, 3]\n{run_of_it}seeds = [4]\nalone = true\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "fabgossip.cli.main", "sim", "sweep", str(path), "--json",
         "--jobs", "1", "--twin-share", "0"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    *lines, total = map(json.loads, ran.stdout.splitlines())
    assert total["kind"] == "sim-sweep"
    assert [line["seed"] for line in lines] == [1, 2, 3, 4]
    assert all(line.keys() >= JUDGED for line in lines)
    taken = [line["memory_bytes_per_node"] for line in lines]
    assert max(taken) < 2 * min(taken), "who runs in a used process seems to take next to nothing"
