"""`fabgossip sim`: many nodes in virtual time, judged by the truth. Only the arguments are here:
what carries them out is loaded once the hash seed is right."""

import argparse
import importlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from fabgossip.cli.arguments import at_least_one
from fabgossip.cli.sim_hash_seed import restart

WALL_LIMIT_S: Final = 120
TWIN_PPM: Final = 50_000
"""A twentieth of the seeds is run once more under another hash seed."""
LISTS: Final = (
    "scenarios",
    "campaigns",
    "nemeses",
    "selectors",
    "checkers",
    "measures",
    "adversaries",
)
_Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  # it has no other name


def register(commands: _Verbs) -> None:
    """Add the command."""
    parser = commands.add_parser("sim")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _add_run(verbs)
    _add_sweep(verbs)
    _add_worlds(verbs)
    _add_replay(verbs)
    _add_report(verbs)
    listed = verbs.add_parser("list", help="what there is: scenarios, nemeses, checkers ..")
    listed.add_argument("what", nargs="?", default="scenarios", choices=LISTS)
    listed.add_argument("--json", action="store_true", help="one JSON object on standard output")
    listed.set_defaults(run=partial(_carry_out, "sim_list", "run_list"))


def _carry_out(module: str, name: str, arguments: argparse.Namespace) -> int:
    found: Callable[[argparse.Namespace], int] = getattr(
        importlib.import_module(f"fabgossip.cli.{module}"), name
    )
    return found(arguments)


def _simulate(module: str, name: str, arguments: argparse.Namespace) -> int:
    if arguments.is_program:
        restart(arguments)
    return _carry_out(module, name, arguments)


def _add_run(verbs: _Verbs) -> None:
    run = verbs.add_parser(
        "run",
        help="run one scenario with one seed",
        description="Run one scenario with one seed.",
        epilog="Exit codes: 0 held, 10 safety violated, 11 liveness or expectation violated, "
        "12 not deterministic, 13 out of time, 14 something was not put to the test, 70 simulator "
        "fault, 78 bad scenario.",
    )
    run.add_argument("scenario", help="a file, or a name below ./simulations")
    run.add_argument("--seed", type=int, default=1, help="of all chance (1)")
    run.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", dest="changes",
                     help="as if the file said so: swarm=0.5, nemesis[0].for=9s")  # fmt: skip
    run.add_argument("--until", metavar="DUR", help="end there, such as 30s")
    run.add_argument("--check-determinism", action="store_true",
                     help="run again under another hash seed; both must be the same")  # fmt: skip
    run.add_argument("--hash-seed", type=int, metavar="N", help="restart under PYTHONHASHSEED=N")
    run.add_argument("--json", action="store_true", help="one JSON object on standard output")
    run.add_argument("--wall-limit", type=int, default=WALL_LIMIT_S, metavar="S",
                     help=f"seconds it may take ({WALL_LIMIT_S})")  # fmt: skip
    run.add_argument("--out", type=Path, default=Path(), metavar="DIR",
                     help="a replay file of a failure goes to DIR/replays (.)")  # fmt: skip
    run.set_defaults(run=partial(_simulate, "sim_run", "run_sim"))


def _add_sweep(verbs: _Verbs) -> None:
    sweep = verbs.add_parser(
        "sweep",
        help="run many seeds of scenarios, or a campaign",
        description="Run many seeds of scenarios, or a campaign.",
        epilog="A campaign prints the object of each run, a line each, and that of the sweep last.",
    )
    _add_many(sweep)
    sweep.add_argument("--twin-share", type=float, default=TWIN_PPM / 1_000_000, metavar="P",
                       help="share of seeds run again under another hash seed, and of each "
                       "scenario at least one; 0: none (0.05)")  # fmt: skip
    sweep.add_argument("--baseline", type=Path, metavar="DIR", help="compare with what is there")
    sweep.add_argument("--gate", action="store_true", help="worse than the baseline fails")
    sweep.set_defaults(run=partial(_simulate, "sim_sweep", "run_sweep"))


def _add_worlds(verbs: _Verbs) -> None:
    worlds = verbs.add_parser(
        "worlds",
        help="run seeds in worlds that must look alike to the observers of a scenario",
        description="Run each seed in worlds that differ in what the observers of a scenario "
        "may not know: they must get the same bytes at the same moments.",
        epilog="Exit codes: 0 alike, 10 an observer can tell them apart or safety is violated, "
        "13 out of time, 14 nothing differed, or a nemesis mattered in no seed, 70 simulator "
        "fault, 78 bad scenario.",
    )
    _add_many(worlds, nargs="*")
    worlds.add_argument("--random", action="store_true", help="worlds drawn whole from each seed")
    worlds.set_defaults(twin_share=0.0, baseline=None, gate=False)
    worlds.set_defaults(run=partial(_simulate, "sim_worlds", "run_worlds"))


def _add_many(sweep: argparse.ArgumentParser, nargs: str = "+") -> None:
    """The arguments of whatever runs many seeds."""
    sweep.add_argument("scenario", nargs=nargs, help="files or names below ./simulations")
    sweep.add_argument("--seeds", metavar="SEEDS", help="7, 1,3,9 or 1..1000 (the scenario's own)")
    sweep.add_argument(
        "--jobs", type=at_least_one, default=os.cpu_count() or 1, help="processes (cores)"
    )
    sweep.add_argument("--resume", action="store_true", help="skip what DIR/sweep.jsonl has")
    sweep.add_argument("--stop-after", type=at_least_one, metavar="N", help="stop after N failures")
    limit = f"seconds a seed may take ({WALL_LIMIT_S}, or a campaign's own)"
    sweep.add_argument("--wall-limit", type=int, metavar="S", help=limit)
    sweep.add_argument("--out", type=Path, metavar="DIR",
                       help="results go to DIR/sweep.jsonl, replay files to DIR/replays "
                       "(none, ./replays)")  # fmt: skip
    sweep.add_argument("--json", action="store_true", help="JSON on standard output")


def _add_replay(verbs: _Verbs) -> None:
    replay = verbs.add_parser("replay", help="run a failure again from its file")
    replay.add_argument("file", type=Path, help="a replay file")
    replay.add_argument("--force", action="store_true", help="although other code wrote it")
    replay.add_argument("--to-event", type=int, metavar="N", help="end with event N")
    replay.add_argument("--wall-limit", type=int, default=WALL_LIMIT_S, metavar="S",
                        help=f"seconds it may take ({WALL_LIMIT_S})")  # fmt: skip
    replay.add_argument("--json", action="store_true", help="one JSON object on standard output")
    replay.set_defaults(run=partial(_simulate, "sim_run", "run_replay"))


def _add_report(verbs: _Verbs) -> None:
    found = verbs.add_parser("report", help="compare results with baselines, or write those")
    found.add_argument(
        "results", type=Path, nargs="+", help="sweep.jsonl files, or folders with one"
    )
    found.add_argument("--baseline", type=Path, metavar="DIR", help="compare with what is there")
    found.add_argument("--write-baseline", type=Path, metavar="DIR", help="write what was found")
    found.add_argument("--gate", action="store_true", help="worse than the baseline fails")
    found.add_argument("--json", action="store_true", help="one JSON object on standard output")
    found.set_defaults(run=partial(_carry_out, "sim_sweep", "run_report"))
