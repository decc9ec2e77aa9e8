"""`fabgossip sim`: many nodes in virtual time, judged by the truth."""

import argparse
import gc
import json
import os
import resource
import sys
import time
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Final

from fabgossip.cli.output import EXIT_OK, say
from fabgossip.cli.sim_authority import SeededAuthority
from fabgossip.cli.sim_sweep import (
    Doors,
    OutOfTimeError,
    add_report,
    add_sweep,
    out_of_time,
    run_report,
    run_sweep,
)
from fabgossip.cli.sim_verdict import (
    EXIT_NONDETERMINISTIC,
    EXIT_OUT_OF_TIME,
    EXIT_SIMULATOR,
    Cost,
    Verdict,
    code_hash,
    judge,
    print_summary,
    report,
)
from fabgossip.cli.sim_worlds import (
    DRAWN,
    RANDOM_AGAIN,
    WORLDS_AGAIN,
    add_worlds,
    keep_world,
    read_world,
    run_worlds,
)
from fabgossip.errors import ScenarioError, UsageError
from fabgossip.sim import checkers, liveness, restrictions
from fabgossip.sim.faults import KINDS, PICKS, Fault
from fabgossip.sim.host import default_node
from fabgossip.sim.hostility import SCRIPTS
from fabgossip.sim.quantities import parse_duration
from fabgossip.sim.replay import Replay, read_replay, write_replay
from fabgossip.sim.run import Engine, Run, RunOutcome
from fabgossip.sim.scenario import MEASURES, Scenario, parse_scenario
from fabgossip.sim.sweep import Job, Result
from fabgossip.sim.tables import SelectTable
from fabgossip.trust.signatures import Ed25519Verifier

LIBRARY: Final = Path("simulations")
PROGRESS_S: Final = 0.2
COLLECT_EVERY: Final = 1_000_000
"""Events after which garbage is looked for."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser("sim")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    run = verbs.add_parser(
        "run",
        help="run one scenario with one seed",
        description="Run one scenario with one seed.",
        epilog="Exit codes: 0 held, 10 safety violated, 11 liveness or expectation violated, "
        "70 simulator fault, 78 bad scenario.",
    )
    run.add_argument("scenario", help="a file, or a name below ./simulations")
    run.add_argument("--seed", type=int, default=1, help="of all chance (1)")
    run.add_argument("--until", metavar="DUR", help="end there, such as 30s")
    run.add_argument("--hash-seed", type=int, metavar="N", help="restart under PYTHONHASHSEED=N")
    run.add_argument("--json", action="store_true", help="one JSON object on standard output")
    run.set_defaults(run=run_sim)
    run.add_argument("--wall-limit", type=int, metavar="S", help="seconds it may take")
    run.add_argument("--out", type=Path, metavar="DIR", help="a replay file of a failure goes here")
    doors = Doors(find_scenario, read_scenario, work)
    add_sweep(verbs).set_defaults(run=partial(run_sweep, doors=doors))
    add_worlds(verbs).set_defaults(run=run_many_worlds)
    replay = verbs.add_parser("replay", help="run a failure again from its file")
    replay.add_argument("file", type=Path, help="a replay file")
    replay.add_argument("--force", action="store_true", help="although other code wrote it")
    replay.add_argument("--json", action="store_true", help="one JSON object on standard output")
    replay.set_defaults(run=run_replay)
    add_report(verbs).set_defaults(run=partial(run_report, doors=doors))
    listed = verbs.add_parser("list", help="what there is: scenarios, nemeses, checkers ..")
    listed.add_argument("what", nargs="?", default="scenarios", choices=tuple(_LISTS))
    listed.add_argument("--json", action="store_true", help="one JSON object on standard output")
    listed.set_defaults(run=run_list)


def find_scenario(name: str) -> Path:
    """The file of a path, or of a name in the library; raises `ScenarioError`."""
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        return path
    for folder in ("scenarios", "regressions", "campaigns"):
        inside = LIBRARY / folder / f"{name}.toml"
        if inside.is_file():
            return inside
    raise ScenarioError(f"{name}: no file, and no scenario of ./{LIBRARY}; see fabgossip sim list")


def read_scenario(path: Path) -> Scenario:
    """The scenario of a file; raises `ScenarioError`."""
    try:
        return parse_scenario(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: {error}") from error


@dataclass(frozen=True, slots=True)
class Order:
    """One run that is wanted."""

    scenario: Scenario
    seed: int
    until_ns: int | None = None
    wall_limit_s: int | None = None
    plan: tuple[Fault, ...] | None = None


def run_seed(order: Order) -> tuple[RunOutcome, Cost, tuple[Fault, ...]]:
    """One run, what it cost, and the fault plan it had; raises `OutOfTimeError`."""
    scenario = order.scenario
    began = time.monotonic()
    progress = _Progress(scenario.end_ns if order.until_ns is None else order.until_ns)

    def on_progress(events: int, time_ns: int) -> None:
        progress.show(events, time_ns)
        limit = order.wall_limit_s
        if limit is not None and time.monotonic() - began > limit:
            raise OutOfTimeError(f"more than {limit} s at {time_ns / 1e9:g} s of the run")
        if events % COLLECT_EVERY == 0:
            gc.collect()

    engine = Engine(
        make_authority=SeededAuthority,
        verifier=Ed25519Verifier(),
        make_node=default_node,
        on_progress=on_progress,
    )
    before = _rss_bytes()
    gc.disable()  # little is garbage before a run ends, and looking for it takes time
    try:
        run = Run(scenario, order.seed, engine, order.plan)
        built = time.monotonic()
        outcome = run.run(order.until_ns)
    finally:
        gc.enable()
        progress.end()
    cost = Cost(
        build_ms=int((built - began) * 1_000),
        wall_ms=int((time.monotonic() - built) * 1_000),
        rss_bytes=max(0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024 - before),
    )
    assert run.faults is not None
    return outcome, cost, run.faults


def _rss_bytes() -> int:
    """Memory in use now, 0 where the kernel does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * resource.getpagesize()


def run_sim(arguments: argparse.Namespace) -> int:
    """`fabgossip sim run`."""
    if arguments.hash_seed is not None:
        _restart_under(arguments.hash_seed)
    path = find_scenario(arguments.scenario)
    scenario = read_scenario(path)
    until_ns = None
    if arguments.until is not None:
        try:
            until_ns = parse_duration(arguments.until)
        except ValueError as error:
            raise UsageError(f"--until: {error}") from error
    order = Order(scenario, arguments.seed, until_ns, arguments.wall_limit)
    return _tell(order, path.read_text(encoding="utf-8"), arguments)


def _tell(order: Order, text: str, arguments: argparse.Namespace) -> int:
    """Run, and print what came of it."""
    try:
        outcome, cost, plan = run_seed(order)
    except ScenarioError:
        raise
    except OutOfTimeError as error:
        say(f"fabgossip: {error}")
        return EXIT_OUT_OF_TIME
    except Exception as error:  # noqa: BLE001  # whatever is left is the simulator's own fault
        say(f"fabgossip: simulator fault: {type(error).__name__}: {error}")
        return EXIT_SIMULATOR
    proves = order.scenario.proves
    verdict = judge(outcome, proves)
    replay = _keep_replay(order, (text, plan), outcome, verdict, arguments.out)
    if arguments.json:
        body = report(outcome, verdict, cost, proves) | {"files": {"replay": replay}}
        print(json.dumps(body))
    else:
        print_summary(outcome, verdict, cost)
        if replay is not None:
            print(f"  fabgossip sim replay {replay}")
    return verdict.exit_code


def _keep_replay(
    order: Order,
    what: tuple[str, tuple[Fault, ...]],
    outcome: RunOutcome,
    verdict: Verdict,
    folder: Path | None,
) -> str | None:
    """Write the replay file of a failure, where there is a folder for it; gives its path."""
    if folder is None or verdict.failure is None:
        return None
    checker = verdict.failure["checker"]
    path = folder / "replays" / f"{outcome.scenario}-{order.seed}-{checker}.json"
    until_ns = order.scenario.end_ns if order.until_ns is None else order.until_ns
    replay = Replay(
        scenario=what[0],
        seed=order.seed,
        until_ns=until_ns,
        plan=what[1],
        code_hash=code_hash(),
        trace_hash=outcome.trace_hash,
        signature=str(verdict.failure["signature"]),
    )
    write_replay(path, replay)
    return str(path)


def work(job: Job, wall_limit_s: int, out: Path | None) -> Result:
    """One job of a sweep, in a process of its own."""
    path = Path(job.scenario)
    scenario = read_scenario(path)
    order = Order(scenario, job.seed, None, wall_limit_s)
    try:
        outcome, cost, plan = run_seed(order)
    except OutOfTimeError as error:
        return out_of_time(job, str(error))
    verdict = judge(outcome, scenario.proves)
    what = path.read_text(encoding="utf-8"), plan
    replay = _keep_replay(order, what, outcome, verdict, out)
    return report(outcome, verdict, cost, scenario.proves) | {"files": {"replay": replay}}


def run_many_worlds(arguments: argparse.Namespace) -> int:
    """`fabgossip sim worlds`."""
    if bool(arguments.scenario) == arguments.random:
        raise UsageError("sim worlds: needs scenarios, or --random")
    if not arguments.random:
        doors = Doors(find_scenario, read_scenario, work_worlds, WORLDS_AGAIN)
        return run_sweep(arguments, doors)
    arguments.scenario = [str(DRAWN)]
    read = partial(read_world, seed=1, read=read_scenario)
    doors = Doors(Path, read, work_worlds, RANDOM_AGAIN, lambda path: path.name)
    return run_sweep(arguments, doors)


def work_worlds(job: Job, wall_limit_s: int, out: Path | None) -> Result:
    """One seed in two worlds, in a process of its own."""
    scenario = read_world(Path(job.scenario), job.seed, read_scenario)
    result = run_worlds(job, scenario, wall_limit_s)
    keep_world(job, result, out)
    return result


def run_replay(arguments: argparse.Namespace) -> int:
    """`fabgossip sim replay`."""
    replay = read_replay(arguments.file)
    if replay.code_hash != code_hash() and not arguments.force:
        raise ScenarioError(
            f"{arguments.file}: code_hash: other code wrote it; --force runs its plan all the same"
        )
    scenario = parse_scenario(replay.scenario, str(arguments.file))
    order = Order(scenario, replay.seed, replay.until_ns, None, replay.plan)
    outcome, cost, _ = run_seed(order)
    verdict = judge(outcome, scenario.proves)
    is_same = outcome.trace_hash == replay.trace_hash
    if not is_same and replay.code_hash == code_hash():
        verdict = Verdict("nondeterministic", EXIT_NONDETERMINISTIC, verdict.failure)
    if arguments.json:
        body = report(outcome, verdict, cost, scenario.proves)
        print(json.dumps(body | {"is_same_trace": is_same, "was": replay.signature}))
    else:
        print_summary(outcome, verdict, cost)
        print(f"  was {replay.signature}; {'the same' if is_same else 'another'} trace")
    return verdict.exit_code


def _restart_under(hash_seed: int) -> None:
    """Python reads the hash seed once, at its start."""
    if not 0 <= hash_seed < 2**32:
        raise UsageError("--hash-seed: 0 to 4294967295")
    if os.environ.get("PYTHONHASHSEED") != str(hash_seed):
        environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
        command = [sys.executable, "-m", "fabgossip.cli.main", *sys.argv[1:]]
        sys.stdout.flush()
        os.execve(sys.executable, command, environment)  # noqa: S606  # our own program, no shell


class _Progress:
    """A line on standard error, on a terminal only."""

    def __init__(self, end_ns: int) -> None:
        self._end_ns = max(1, end_ns)
        self._shown_at = 0.0
        self._is_shown = sys.stderr.isatty()

    def show(self, events: int, time_ns: int) -> None:
        """So far."""
        now = time.monotonic()
        if self._is_shown and now - self._shown_at > PROGRESS_S:
            self._shown_at = now
            share = 100 * time_ns // self._end_ns
            print(f"\r{share:3d} %  {events} events", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Clear the line."""
        if self._is_shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def run_list(arguments: argparse.Namespace) -> int:
    """`fabgossip sim list`."""
    rows = _LISTS[arguments.what]()
    if arguments.json:
        body = {"schema_version": 1, "kind": "sim-list", arguments.what: rows}
        print(json.dumps(body))
        return EXIT_OK
    for row in rows:
        print(f"{row['name']}  {row['title']}")
    return EXIT_OK


def _scenarios() -> list[dict[str, object]]:
    found = [
        (path, read_scenario(path))
        for folder in ("scenarios", "regressions")
        for path in sorted((LIBRARY / folder).glob("*.toml"))
    ]
    return [
        {"name": one.name, "title": one.title, "file": str(path), "tags": list(one.tags),
         "proves": list(one.proves), "nodes": len(one.nodes)}
        for path, one in found
    ]  # fmt: skip


def _nemeses() -> list[dict[str, object]]:
    return [
        {"name": name, "title": title, "with": sorted(parameters)}
        for name, (title, parameters) in KINDS.items()
    ]


def _selectors() -> list[dict[str, object]]:
    filters = [one.name for one in fields(SelectTable) if one.name != "pick"]
    rows: list[dict[str, object]] = [{"name": one, "title": "a filter"} for one in filters]
    rows += [{"name": f"pick = {one}", "title": "how many of those left"} for one in PICKS]
    return rows


def _checkers() -> list[dict[str, object]]:
    """From the tables that open the modules of the checkers."""
    rows: list[dict[str, object]] = []
    for text in (checkers.__doc__, restrictions.__doc__, liveness.__doc__):
        for line in (text or "").splitlines():
            cells = [cell.strip() for cell in line.split("|")]
            if len(cells) == 4 and cells[1][1:].isdigit():
                rows.append({"name": cells[1], "title": cells[2]})
    return rows


def _measures() -> list[dict[str, object]]:
    return [{"name": one, "title": "an expectation can be about it"} for one in MEASURES]


def _adversaries() -> list[dict[str, object]]:
    return [{"name": name, "title": title} for name, title in SCRIPTS.items()]


_LISTS: Final = {
    "scenarios": _scenarios,
    "nemeses": _nemeses,
    "selectors": _selectors,
    "checkers": _checkers,
    "measures": _measures,
    "adversaries": _adversaries,
}
