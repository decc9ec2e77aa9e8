"""`fabgossip sim run`: one object, one exit code."""

import json
from pathlib import Path

import pytest

from fabgossip.cli.main import run
from tests.sim.factory import FIVE, HEAD, ROUTES, TOPOLOGY


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
