"""`fabgossip sim run`: one object, one exit code."""

import json
import pickle
import platform
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from fabgossip.cli.main import run
from fabgossip.cli.sim_hash_seed import hash_seed_of
from fabgossip.cli.sim_sweep import Tasks, work_seed
from fabgossip.cli.sim_verdict import judge
from fabgossip.cli.sim_worlds import work_worlds
from fabgossip.errors import FabgossipError, WireError
from fabgossip.sim.checkers import Violation
from fabgossip.sim.nemeses import FILTERS
from fabgossip.sim.sweep import Job
from fabgossip.sim.tables import SelectTable
from fabgossip.sim.world import NS_PER_S, OutOfTimeError
from tests.sim.factory import FIVE, HEAD, ROUTES, TOPOLOGY, run_of, scenario

CHECKOUT = Path(__file__).parents[2]
JUDGED = {
    "t50_ms", "t99_ms", "t_last_ms", "t99_bound_ms", "t99_ratio", "rmr", "missed",
    "idle_bytes_per_node_per_s", "heal_ms", "speed", "memory_bytes_per_node", "nodes",
    "trace_hash",
}  # fmt: skip


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
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
    assert run(["sim", "run", str(small), "--set", "phases.quiet=20s", "--json"]) == 11
    body = json.loads(capsys.readouterr().out)
    assert (body["verdict"], body["exit_code"]) == ("liveness", 11)


def test_a_summary_for_people(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "run", str(small)]) == 0
    assert (
        "routes  t50 5 ms, t99 20 ms (bound 20 ms), rmr 3.0, missed 0 of 4"
        in capsys.readouterr().out
    )


def test_a_failure_names_who_is_behind_and_what_was_violated(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sim", "run", str(small), "--set", "phases.quiet=20s"]) == 11
    out = capsys.readouterr().out
    assert "  measure missed: 4 of 4 pairs\n" in out
    assert "  behind: far-0, near-0, near-1, near-2 in routes/core\n" in out
    title = "every node that is up applies the newest of what it is entitled to"
    assert f"  L1 violated: {title}\n" in out
    assert "held, " not in out


def test_of_many_who_are_behind_some_are_named(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = ("phases.quiet=20s", "topology.group[1].count=10")
    run(["sim", "run", str(small), *(word for one in sets for word in ("--set", one))])
    (line,) = (one for one in capsys.readouterr().out.splitlines() if "behind:" in one)
    assert line.endswith(", near-6 and 3 more in routes/core")


def test_what_was_to_be_proved_and_was_not_is_told_in_order_with_what_it_means(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proves = 'proves=["S18", "L9", "S7", "S1"]'
    assert run(["sim", "run", str(small), "--set", proves]) == 14
    lines = capsys.readouterr().out.splitlines()
    told = [one.split(": ") for one in lines if " unproved: " in one]
    assert [one[0] for one in told] == ["  S7 unproved", "  S18 unproved", "  L9 unproved"]
    assert told[1][1].startswith("an honest node never reads another meaning from bytes")
    assert told[2][1] == "each audience is in one piece"
    (rest,) = (one for one in lines if "  checkers: " in one)
    names = rest.partition(" for ")[2].split(", ")
    assert names == sorted(names, key=lambda one: (one[0] == "L", int(one[1:])))


def test_a_bad_scenario_and_a_bad_argument_have_codes_of_their_own(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small.write_text("schema = 1")
    assert run(["sim", "run", str(small)]) == 78
    assert run(["sim", "run", "no-such-scenario"]) == 78
    assert "no-such-scenario" in capsys.readouterr().err


def test_a_misspelt_scenario_or_kind_is_told_with_the_nearest(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = small.read_text()
    row = '{ name = "a", kind = "%s", at = "11s", for = "1s" }'
    for line, said in (
        (f"nemesis = [{row % 'rest'}]", "nemesis[0].kind: 'rest' is none of cut, "),
        (f"nemesis = [{row % 'pauze'}]", '; did you mean "pause"?'),
        ('act = [{ kind = "restrat", at = "11s", node = "far-0" }]', '; did you mean "restart"?'),
    ):
        small.write_text(f"{line}\n{text}")
        assert run(["sim", "run", str(small)]) == 78
        assert said in capsys.readouterr().err
    monkeypatch.chdir(CHECKOUT)
    assert run(["sim", "run", "reset"]) == 78
    assert "no scenario of ./simulations; did you mean resets?" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["sweep", "report"])
def test_a_gate_needs_a_baseline(small: Path, verb: str) -> None:
    assert run(["sim", verb, str(small), "--gate"]) == 2


def test_a_bad_duration_is_a_mistake_of_usage(small: Path) -> None:
    assert run(["sim", "run", str(small), "--until", "soon"]) == 2


def test_the_library_is_listed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CHECKOUT)
    assert run(["sim", "list", "--json"]) == 0
    names = [one["name"] for one in json.loads(capsys.readouterr().out)["scenarios"]]
    assert "first-light" in names
    assert run(["sim", "list"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "NODES", "VIRTUAL", "TAGS", "TITLE"]
    (line,) = (one for one in lines if one.startswith("first-light "))
    assert line.split(maxsplit=5)[1:5] == ["50", "60", "s", "smoke"]
    assert line.endswith("Ten publications reach every entitled node, and no other")


def test_a_failure_runs_again_from_its_file(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "sim",
        "run",
        str(small),
        "--set",
        "phases.quiet=20s",
        "--json",
        "--out",
        str(tmp_path),
    ]
    assert run(arguments) == 11
    first = json.loads(capsys.readouterr().out)
    path = Path(first["files"]["replay"])
    assert run(["sim", "replay", str(path), "--json"]) == 11
    again = json.loads(capsys.readouterr().out)
    assert (again["trace_hash"], again["is_same_trace"]) == (first["trace_hash"], True)
    assert again["was"] == first["failure"]["signature"]


def test_a_replay_file_says_where_it_failed_and_under_what(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "77")
    run(["sim", "run", str(small), "--set", "phases.quiet=20s"])
    assert "fabgossip sim replay replays/small-1-missed.json" in capsys.readouterr().out
    body = json.loads(Path("replays/small-1-missed.json").read_text())
    assert (body["hash_seed"], body["checker"], body["at_ns"]) == (77, "missed", 20 * 10**9)
    assert body["versions"]["python"] == platform.python_version()
    assert {"fabgossip", "cryptography", "msgpack"} < body["versions"].keys()
    assert [one["trace_hash"] for one in body["checkpoints"]][-1] == body["trace_hash"]


def test_a_replay_of_another_trace_is_told(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["sim", "run", str(small), "--set", "phases.quiet=20s", "--json", "--out", str(tmp_path)])
    path = Path(json.loads(capsys.readouterr().out)["files"]["replay"])
    body = json.loads(path.read_text())
    path.write_text(json.dumps(body | {"seed": body["seed"] + 1}))
    assert run(["sim", "replay", str(path)]) == 12


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("code_hash", "other"),
        ("plan", [{"number": 1}]),
        ("seed", "1"),
        ("kind", "sim-run"),
        ("hash_seed", "2"),
        ("versions", []),
        ("checkpoints", [1]),
    ],
)
def test_a_damaged_replay_is_refused_with_the_field_named(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], field: str, value: object
) -> None:
    run(["sim", "run", str(small), "--set", "phases.quiet=20s", "--json", "--out", str(tmp_path)])
    path = Path(json.loads(capsys.readouterr().out)["files"]["replay"])
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    assert run(["sim", "replay", str(path)]) == 78
    assert field in capsys.readouterr().err


def test_a_replay_of_more_faults_than_a_plan_may_have_is_refused(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["sim", "run", str(small), "--set", "phases.quiet=20s"])
    path = Path("replays/small-1-missed.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"plan": [{}] * 10_001}))
    assert run(["sim", "replay", str(path)]) == 78
    assert "plan: more than 10000 faults" in capsys.readouterr().err


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
    assert len({row["title"] for row in rows}) == len(rows), "each has a meaning of its own"


def test_every_key_of_a_selector_is_listed() -> None:
    assert {one.name for one in fields(SelectTable)} == {*FILTERS, "pick"}


def test_campaigns_are_listed_and_are_no_scenario(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(CHECKOUT)
    assert run(["sim", "list", "campaigns"]) == 0
    assert "gate  One seed, one trace" in capsys.readouterr().out
    assert run(["sim", "run", "gate"]) == 2
    assert "gate.toml: is a campaign: fabgossip sim sweep gate" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    for what in ("scenarios", "campaigns"):
        assert run(["sim", "list", what]) == 78
        told = capsys.readouterr().err
        assert f"no folder ./simulations with {what} here: go where there is one" in told


def test_what_is_wrong_with_a_changed_scenario_names_the_change(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sim", "run", str(small), "--set", "nodes=7"]) == 78
    assert f"{small} with nodes=7: nodes: unknown key" in capsys.readouterr().err


def test_worlds_of_a_scenario_without_any_are_refused_before_a_process_starts(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fabgossip.cli.sim_sweep.run_all", None)
    assert run(["sim", "worlds", str(small), "--seeds", "1"]) == 78
    assert "a table [worlds]" in capsys.readouterr().err


def test_a_misspelt_key_is_told_with_what_would_be_right(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sim", "run", str(small), "--set", "phases.quite=5s"]) == 78
    assert 'phases.quite: unknown key; did you mean "quiet"?' in capsys.readouterr().err


class UnsendableError(FabgossipError):
    """One that no pickle brings back."""

    def __init__(self, one: object, _other: object) -> None:
        super().__init__(str(one))
        self.one = lambda: one


@pytest.mark.parametrize(
    ("error", "code", "signature"),
    [
        (AssertionError("no such place"), 70, "simulator/AssertionError"),
        (UnsendableError("odd", 1), 70, "simulator/UnsendableError"),
        (WireError("BAD", "odd"), 70, "simulator/WireError"),
        (OutOfTimeError("more than 7 events"), 13, "time/limit"),
        (MemoryError("full"), 13, "time/limit"),
    ],
)
@pytest.mark.parametrize("verb", ["run", "replay", "sweep"])
def test_what_keeps_a_run_from_its_end_is_its_result(
    small: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    error: Exception,
    code: int,
    signature: str,
) -> None:
    replay = "replays/small-1-missed.json"
    if verb == "replay":
        run(["sim", "run", str(small), "--set", "phases.quiet=20s"])
        capsys.readouterr()

    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr("fabgossip.sim.world.World.run", failing)
    if verb == "sweep":
        job = Job(str(small), "h", 9, "c")
        found = Tasks(work_seed, 60, Path(), frozenset())(job)
        found = pickle.loads(pickle.dumps(found))  # noqa: S301  # our own
    else:
        arguments = [str(small), "--seed", "9"] if verb == "run" else [replay]
        assert run(["sim", verb, *arguments, "--json"]) == code
        found = json.loads(capsys.readouterr().out)
    assert (found["exit_code"], found["failure"]["signature"]) == (code, signature)
    assert found["verdict"] == ("out_of_time" if code == 13 else "simulator")
    assert str(error) in found["failure"]["detail"]


def test_what_is_set_is_as_if_the_file_said_so(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {
        "phases.quiet=24s": ('quiet = "25s"', 'quiet = "24s"'),
        "publication[0].size=3KiB": ('size = "2KiB"', 'size = "3KiB"'),
        "topology.group[1].count=2": ("count = 3", "count = 2"),
        "config.neighbors.redial_min_ms=300": ('redial_min_ms" = 200', 'redial_min_ms" = 300'),
    }
    flags = [flag for change in changes for flag in ("--set", change)]
    assert run(["sim", "run", str(small), "--json", *flags]) == 0
    body = json.loads(capsys.readouterr().out)
    text = small.read_text()
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    small.write_text(text)
    assert run(["sim", "run", str(small), "--json"]) == 0
    edited = json.loads(capsys.readouterr().out)
    assert (body["trace_hash"], body["nodes"]) == (edited["trace_hash"], 4)
    assert (body["set"], edited["set"]) == (list(changes), [])


@pytest.mark.parametrize(
    "change", ["phases", "=3", "publication[7].size=3KiB", "phases.quiet.more=1", "no.such=1",
               "title[0]=a", "publication[0]=1"],
)  # fmt: skip
def test_what_cannot_be_set_is_refused(
    small: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    assert run(["sim", "run", str(small), "--set", change]) == 78
    assert f"small.toml with {change}: " in capsys.readouterr().err


def test_what_was_set_is_in_the_replay_file(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expect = "expect=[{ measure = 't99_ms', max = 1 }]"
    assert run(["sim", "run", str(small), "--set", expect]) == 11
    assert run(["sim", "replay", "replays/small-1-expectation.json", "--json"]) == 11
    lines = capsys.readouterr().out.splitlines()
    assert json.loads(lines[-1])["is_same_trace"] is True


def test_a_hash_seed_goes_with_a_seed_and_is_never_none_at_all() -> None:
    assert [hash_seed_of(seed) for seed in (0, 1, 2**32 - 2, 2**32 - 1)] == [1, 2, 2**32 - 1, 1]


FAULTY = """
phases = { quiet = "10s", faults = "5s", liveness = "15s" }
nemesis = [
  { name = "late", kind = "reset", at = "11s", for = "0s" },
  { name = "idle", kind = "wall_step", at = "12s", for = "0s", with = { by = 9 } },
]
"""


def test_a_nemesis_that_matters_in_no_run_is_a_miss(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = (HEAD, FAULTY, f"publication = [{ROUTES % 'store'}]", TOPOLOGY, FIVE)
    small.write_text("\n".join(parts))
    assert run(["sim", "run", str(small), "--json"]) == 14
    body = json.loads(capsys.readouterr().out)
    assert body["failure"]["signature"] == "coverage/nemesis/idle"
    assert body["faults"]["nemeses"]["late"]["mattered"] == 1
    small.write_text(
        "\n".join(parts).replace("wall_step", "reset").replace(", with = { by = 9 }", "")
    )
    assert run(["sim", "run", str(small)]) == 0


def test_a_replay_tells_the_last_of_what_happened(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["sim", "run", str(small), "--set", "phases.quiet=21s", "--set", "topology.link[1].rtt=9s"])
    capsys.readouterr()
    path = "replays/small-1-missed.json"
    assert run(["sim", "replay", path, "--json"]) == 11
    body = json.loads(capsys.readouterr().out)
    assert body["is_same_trace"], "a run is the same whether it is told or not"
    numbers = [one["event"] for one in body["last"]]
    assert numbers == list(range(numbers[-1] - 19, numbers[-1] + 1))
    assert {one["place"] for one in body["last"]} <= {
        "the world", "store-0", "near-0", "near-1", "near-2", "far-0",
    }  # fmt: skip
    assert any("-> " in one["said"] for one in body["last"])
    assert run(["sim", "replay", path, "--to-event", "300"]) == 0
    out = capsys.readouterr().out
    assert "  300  " in out
    assert "  301  " not in out
    assert "not the whole trace" in out
    assert ": nothing broke so far" in out


def test_a_run_that_somebody_ends_before_its_end_is_no_failure(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing arrived yet and nothing was proved: there is nothing to replay."""
    small.write_text('proves = ["L9"]\n' + small.read_text())
    assert run(["sim", "run", str(small), "--until", "20s"]) == 0
    out = capsys.readouterr().out
    assert "small, seed 1: cut short at 20 s: nothing broke so far\n" in out
    assert not Path("replays").exists()
    assert run(["sim", "run", str(small), "--until", "20s", "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert (body["verdict"], body["exit_code"], body["failure"]) == ("cut_short", 0, None)
    assert run(["sim", "run", str(small), "--until", "25s"]) == 14


def test_what_is_broken_before_a_run_is_cut_short_stays_broken() -> None:
    parts = ('phases = { quiet = "25s" }', f"publication = [{ROUTES % 'store'}]", TOPOLOGY, FIVE)
    cut = run_of(scenario(*parts), 1).run(until_ns=NS_PER_S)
    assert judge(cut, ()).word == "cut_short"
    broken = Violation(checker="S5", signature="S5/bytes", index=1, at_ns=7, detail="other bytes")
    verdict = judge(replace(cut, violations=(broken,)), ())
    assert (verdict.word, verdict.exit_code) == ("safety", 10)


def test_the_other_verbs_have_results_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise UnsendableError("odd", 1)

    monkeypatch.setattr("fabgossip.sim.world.World.run", failing)
    path = CHECKOUT / "simulations" / "scenarios" / "scope-twins.toml"
    found = Tasks(work_worlds, 60, Path(), frozenset())(Job(str(path), "h", 1, "c"))
    assert (found["verdict"], found["exit_code"]) == ("simulator", 70)


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
