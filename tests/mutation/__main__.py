"""Take every check of trust out in turn, and show which test notices.

    python -m tests.mutation [--list | --only NAME] [--write] [--json]

Each check is missing in a process of its own; the tests stop at the first that is red. Ends with 1
where no test noticed, with 2 where the command itself is wrong: what must be caught was not, or the
tests are red with nothing taken out.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from tests.mutation.child import RED
from tests.mutation.killers import KILLERS, known_killers, wording
from tests.mutation.mutants import CANARY, HARMLESS, Mutant, every_mutant

CHECKOUT: Final = Path(__file__).parents[2]
TESTS: Final = ("tests/trust", "tests/core", "tests/attacks")
"""In this order: the nearest to the check first."""
PROCESSES: Final = 2
HANG_S: Final = 300
"""A mutant may loop for ever: that is noticed too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one mutant; `killer` is the first red test, empty where it survived."""

    check: str
    killer: str
    seconds: float
    said: str = ""
    """The last words of a process that ended in another way than with a verdict."""


def main() -> int:
    """Run what was asked for; gives the exit code."""
    arguments = _parser().parse_args()
    mutants = every_mutant()
    if arguments.only:
        mutants = tuple(one for one in mutants if _is_chosen(one, arguments.only))
    if arguments.list:
        print("\n".join(one.name for one in mutants))
        return 0
    if not mutants:
        sys.stderr.write("no check of that name; --list shows them\n")
        return 2
    fault = _fault_of_the_command()
    if fault is not None:
        sys.stderr.write(f"{fault}\n")
        return 2
    verdicts = tuple(_told(_in_parallel(mutants), is_quiet=arguments.json))
    if arguments.json:
        print(json.dumps([asdict(one) for one in verdicts], indent=2))
    survivors = [one for one in verdicts if not one.killer]
    sys.stderr.write(f"{len(verdicts)} checks, {len(survivors)} that no test misses\n")
    if arguments.write:
        _write(verdicts, is_whole=not arguments.only)
    return 1 if survivors else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--list", action="store_true", help="name the checks and do nothing")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="this check, or a pattern with *"
    )
    parser.add_argument(
        "--write", action="store_true", help=f"keep the table in {KILLERS.relative_to(CHECKOUT)}"
    )
    parser.add_argument("--json", action="store_true")
    return parser


def _is_chosen(mutant: Mutant, names: list[str]) -> bool:
    return any(mutant.name == name or fnmatchcase(mutant.name, name) for name in names)


def _fault_of_the_command() -> str | None:
    """Why its verdicts would mean nothing, if they would."""
    caught, spared = _in_parallel((CANARY, HARMLESS))
    if spared.killer or spared.said:
        return f"red with nothing taken out: {spared.killer}{spared.said}"
    if not caught.killer:
        return f"not caught, though nothing was verified: {caught.said}"
    return None


def _in_parallel(mutants: Iterable[Mutant]) -> Iterator[Verdict]:
    with ThreadPoolExecutor(PROCESSES) as pool:
        yield from pool.map(_judge, mutants)


def _judge(mutant: Mutant) -> Verdict:
    """The test known to notice first, then the folders one by one."""
    known = known_killers().get(mutant.name)
    verdict = Verdict(check=mutant.name, killer="", seconds=0.0)
    for path in TESTS if known is None else (known, *TESTS):
        verdict = _run(mutant, path)
        if verdict.killer or verdict.said:
            break
    return verdict


def _run(mutant: Mutant, path: str) -> Verdict:
    begin = time.perf_counter()
    command = [sys.executable, "-m", "tests.mutation.child", mutant.name, path]
    # What Hypothesis found with one check missing says nothing about the next.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ended = subprocess.run(
            command,
            cwd=CHECKOUT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=HANG_S,
        )
    except subprocess.TimeoutExpired:
        return Verdict(check=mutant.name, killer="", seconds=HANG_S, said="did not end")
    lines = ended.stdout.splitlines() or [""]
    killer = lines[-1].removeprefix(RED) if lines[-1].startswith(RED) else ""
    is_verdict = lines[-1].startswith(RED) and bool(killer) == bool(ended.returncode)
    return Verdict(
        check=mutant.name,
        killer=killer if is_verdict else "",
        seconds=round(time.perf_counter() - begin, 1),
        said="" if is_verdict else "\n".join(lines[-25:]),
    )


def _told(verdicts: Iterator[Verdict], *, is_quiet: bool) -> Iterator[Verdict]:
    for one in verdicts:
        if not is_quiet:
            print(f"{one.check}\n    {one.killer or 'SURVIVED'}", flush=True)
            if one.said:
                print(one.said)
        yield one


def _write(verdicts: tuple[Verdict, ...], *, is_whole: bool) -> None:
    """All anew, or only the rows of the checks that were tried."""
    rows = {} if is_whole else known_killers()
    for one in verdicts:
        rows.pop(one.check, None)
        if one.killer:
            rows[one.check] = one.killer
    names = [one.name for one in every_mutant()]
    KILLERS.write_text(wording({name: rows[name] for name in names if name in rows}))


if __name__ == "__main__":
    sys.exit(main())
