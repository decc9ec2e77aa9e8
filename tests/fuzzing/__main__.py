"""Coverage-guided fuzzing of everything that takes bytes from somebody not believed.

    python -m tests.fuzzing [--all | --target NAME] [--inputs N] [--seconds S] [--seed N]
                            [--corpus DIR] [--json]

Each target runs in a process of its own. Ends with 1 where an input raised, took more than 2 s or
more memory than the cap; that input is printed and kept. Ends with 2 where the fuzzer is not
installed.
"""

import argparse
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from tests.fuzzing.target import INPUT_BYTES_MAX, RSS_MIB_MAX, Target
from tests.fuzzing.targets import TARGETS

CHECKOUT: Final = Path(__file__).parents[2]
FOUND: Final = CHECKOUT / ".venv" / "cache" / "fuzzing"
INPUTS: Final = 100_000
HANG_S: Final = 20
"""By the clock on the wall, for an input that never ends; slow ones are judged by the engine."""
HEX_SHOWN_MAX: Final = 1_024
LOG_LINES_SHOWN: Final = 25
MISSING: Final = """\
The fuzzer is not installed; it is no part of the tests. To install it:

    .venv/bin/python -m pip install --no-build-isolation -e '.[fuzz]'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An input that did what none may, and the last words about it."""

    kind: str
    path: str
    input_hex: str
    log: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one target."""

    target: str
    inputs: int
    edges: int
    seconds: float
    inputs_per_s: int
    peak_mib: int
    slowest_ms: float
    slowest_hex: str
    finding: Finding | None


def main() -> int:
    """Run what was asked for; gives the exit code."""
    arguments = _parser().parse_args()
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write(MISSING)
        return 2
    chosen = [TARGETS[name] for name in arguments.target or TARGETS]
    begin = time.perf_counter()
    results = []
    if not arguments.json:
        print(HEADINGS)
    for result in _run_all(chosen, arguments):
        results.append(result)
        if not arguments.json:
            print(_row(result), flush=True)
    findings = [one.finding for one in results if one.finding is not None]
    if arguments.json:
        print(json.dumps([asdict(one) for one in results], indent=2))
    else:
        _print_end(results, findings, time.perf_counter() - begin)
    return 1 if findings else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzzing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="every target (default)")
    which.add_argument(
        "--target", action="append", choices=TARGETS, metavar="NAME", help=", ".join(TARGETS)
    )
    parser.add_argument(
        "--inputs", type=_positive, default=INPUTS, help=f"in all, shared out (default {INPUTS})"
    )
    parser.add_argument("--seconds", type=_positive, help="at most, in all")
    parser.add_argument("--seed", type=_positive, default=1, help="same seed, same inputs")
    parser.add_argument("--corpus", type=Path, help="keep what reached new code here")
    parser.add_argument("--json", action="store_true")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("expected 1 or more")
    return number


def _run_all(chosen: list[Target], arguments: argparse.Namespace) -> Iterator[Result]:
    shares = sum(one.share for one in chosen)
    with tempfile.TemporaryDirectory(prefix="fabgossip-fuzzing-") as folder:
        for one in chosen:
            flags = [f"-runs={max(1, arguments.inputs * one.share // shares)}"]
            flags.append(f"-seed={arguments.seed}")
            if arguments.seconds is not None:
                flags.append(f"-max_total_time={max(1, arguments.seconds // len(chosen))}")
            corpus = (arguments.corpus or Path(folder, "corpus")) / one.name
            yield _run(one, flags, corpus.resolve(), Path(folder))


def _run(target: Target, flags: list[str], corpus: Path, folder: Path) -> Result:
    seeds, found = folder / "seeds" / target.name, folder / "found" / target.name
    for one in (seeds, found, corpus):
        one.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (seeds / sha256(seed).hexdigest()).write_bytes(seed)
    notes, log = folder / "notes", folder / "log"
    notes.write_text('{"slowest_ms": 0.0, "slowest_hex": ""}')
    fixed = [
        f"-max_len={INPUT_BYTES_MAX}",
        f"-rss_limit_mb={RSS_MIB_MAX}",
        f"-timeout={HANG_S}",
        f"-report_slow_units={HANG_S}",
        "-print_final_stats=1",
        f"-artifact_prefix={found}/",
    ]
    command = [sys.executable, "-m", "tests.fuzzing.engine", target.name, str(notes)]
    begin = time.perf_counter()
    with log.open("w") as output:
        ended = subprocess.run(
            [*command, *flags, *fixed, str(corpus), str(seeds)],
            cwd=CHECKOUT,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    seconds = time.perf_counter() - begin
    said = log.read_text("utf-8", "replace")
    kept = _kept(found, FOUND / target.name)
    finding = finding_of(said, kept) if kept or ended.returncode else None
    return result_of(target, said, json.loads(notes.read_text()), seconds, finding)


def _kept(found: Path, folder: Path) -> list[Path]:
    """The inputs of this run, copied where they outlast it."""
    paths = sorted(found.iterdir())
    if paths:
        folder.mkdir(parents=True, exist_ok=True)
    return [Path(shutil.copy(one, folder)) for one in paths]


def finding_of(log: str, saved: list[Path]) -> Finding:
    tail = "\n".join(
        line for line in log.splitlines() if not re.match(r"#\d+|INFO|WARNING|stat::", line)
    )
    words = "\n".join(tail.splitlines()[-LOG_LINES_SHOWN:])
    if not saved:
        return Finding(kind="died", path="", input_hex="", log=words)
    kind = saved[0].name.partition("-")[0]
    data = saved[0].read_bytes().hex()
    return Finding(kind=kind, path=str(saved[0]), input_hex=data, log=words)


def result_of(
    target: Target,
    log: str,
    notes: dict[str, float | str],
    seconds: float,
    finding: Finding | None,
) -> Result:
    """The figures of the fuzzer's last lines; where it died without them, of its progress."""
    inputs = _last(r"stat::number_of_executed_units:\s*(\d+)", log) or _last(r"^#(\d+)\t", log)
    return Result(
        target=target.name,
        inputs=inputs,
        edges=_last(r"\bcov: (\d+)", log),
        seconds=round(seconds, 1),
        inputs_per_s=int(inputs / seconds),
        peak_mib=_last(r"stat::peak_rss_mb:\s*(\d+)", log) or _last(r"\brss: (\d+)Mb", log),
        slowest_ms=float(notes["slowest_ms"]),
        slowest_hex=str(notes["slowest_hex"]),
        finding=finding,
    )


def _last(pattern: str, log: str) -> int:
    found = re.findall(pattern, log, re.MULTILINE)
    return int(found[-1]) if found else 0


HEADINGS: Final = (
    f"{'target':<22}{'inputs':>9}{'edges':>7}{'inputs/s':>10}{'peak MiB':>10}{'slowest ms':>12}"
)


def _row(one: Result) -> str:
    row = f"{one.target:<22}{one.inputs:>9}{one.edges:>7}{one.inputs_per_s:>10}"
    row += f"{one.peak_mib:>10}{one.slowest_ms:>12}"
    return row if one.finding is None else f"{row}  {one.finding.kind.upper()}"


def _print_end(results: list[Result], findings: list[Finding], seconds: float) -> None:
    for one in findings:
        shown = one.input_hex[:HEX_SHOWN_MAX]
        print(f"\n{one.log}\n{one.kind}: {one.path}\n{shown}{'...' * (shown != one.input_hex)}")
    total = sum(one.inputs for one in results)
    print(f"\n{total} inputs in {seconds:.0f} s, {len(findings)} findings")


if __name__ == "__main__":
    sys.exit(main())
