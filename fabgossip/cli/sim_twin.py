"""A run once more, in a fresh process under another hash seed: all checkpoints must be equal."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Final, NoReturn, cast

from fabgossip.cli.output import EXIT_OK
from fabgossip.cli.sim_hash_seed import current_hash_seed, hash_seed_of, under
from fabgossip.cli.sim_seed import Order
from fabgossip.cli.sim_verdict import EXIT_NONDETERMINISTIC, EXIT_OUT_OF_TIME, EXIT_SIMULATOR
from fabgossip.sim.quantities import write_duration
from fabgossip.sim.sweep import Result

STDERR_SHOWN_MAX: Final = 400
"""Characters of what a twin that gave nothing said."""


@dataclass(frozen=True, slots=True)
class Point:
    """A checkpoint as one line of JSON has it."""

    events: int
    time_ns: int
    hash: str


def compare(order: Order, result: Result) -> None:
    """Run the twin of a finished run and note in its result what came of it."""
    if "checkpoints" not in result:
        return
    hash_seed = hash_seed_of((current_hash_seed() or order.seed) + 1)
    command = [
        sys.executable, "-m", "fabgossip.cli.main", "sim", "run", order.origin, "--json",
        "--seed", str(order.seed), "--wall-limit", str(order.wall_limit_s),
    ]  # fmt: skip
    for change in order.changes:
        command += ["--set", change]
    if order.until_ns is not None:
        command += ["--until", write_duration(order.until_ns)]
    said, complaint = _run(command, hash_seed)
    try:
        twin: Result = json.loads(said)
    except ValueError:
        _fail(result, EXIT_SIMULATOR, "twin/died", complaint[-STDERR_SHOWN_MAX:])
        return
    if "checkpoints" not in twin:
        is_late = twin.get("exit_code") == EXIT_OUT_OF_TIME
        detail = str(cast("Result", twin.get("failure") or twin).get("detail"))
        code = EXIT_OUT_OF_TIME if is_late else EXIT_NONDETERMINISTIC
        _fail(result, code, "twin/unfinished", detail)
        return
    unlike = first_unequal(_points(result), _points(twin))
    cast("Result", result["run"])["twin"] = "equal" if unlike is None else "unequal"
    if unlike is not None:
        _fail(result, EXIT_NONDETERMINISTIC, "twin/trace", f"{unlike}, hash seed {hash_seed}")


def _run(command: list[str], hash_seed: int) -> tuple[str, str]:
    """What a program says on standard output and error."""
    with (
        TemporaryDirectory() as folder,
        subprocess.Popen(  # noqa: S603  # our own program, no shell
            [*command, "--out", folder], env=under(hash_seed), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as twin,
    ):  # fmt: skip
        _TWINS.append(twin)
        try:
            return twin.communicate()
        finally:
            _TWINS.remove(twin)


_TWINS: Final[list["subprocess.Popen[str]"]] = []
"""Under way."""


def end_with_twins(_number: int, _frame: object) -> NoReturn:
    """Ends this process at once, and what it waits for."""
    for twin in _TWINS:
        twin.kill()
    os._exit(EXIT_OK)


def _points(result: Result) -> list[Point]:
    return [Point(*row) for row in cast("list[tuple[int, int, str]]", result["checkpoints"])]


def first_unequal(one: Sequence[Point], other: Sequence[Point]) -> str | None:
    """Where two runs part, in words; None where they are the same."""
    for number, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        if mine != theirs:
            return (
                f"checkpoint {number} differs: {mine.hash} after {mine.events} events at "
                f"{mine.time_ns} ns, the twin {theirs.hash} after {theirs.events} at "
                f"{theirs.time_ns} ns"
            )
    if len(one) != len(other):
        return f"{len(one)} checkpoints, the twin {len(other)}"
    return None


def _fail(result: Result, exit_code: int, signature: str, detail: str) -> None:
    words = {EXIT_NONDETERMINISTIC: "nondeterministic", EXIT_OUT_OF_TIME: "out_of_time"}
    result["verdict"] = words.get(exit_code, "simulator")
    result["exit_code"] = exit_code
    result["failure"] = {"checker": "twin", "signature": signature, "detail": detail}
