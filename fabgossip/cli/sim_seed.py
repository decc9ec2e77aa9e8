"""One seed of a scenario: found, run, judged. Whatever becomes of it, it has a result."""

import difflib
import gc
import importlib.metadata
import platform
import resource
import shlex
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias, cast

from fabgossip.cli.output import say
from fabgossip.cli.sim_authority import SeededAuthority
from fabgossip.cli.sim_hash_seed import current_hash_seed
from fabgossip.cli.sim_verdict import Cost, Verdict, code_hash, judge, report, unfinished
from fabgossip.errors import ScenarioError
from fabgossip.sim.faults import Fault
from fabgossip.sim.host import default_node
from fabgossip.sim.narration import Narration
from fabgossip.sim.replay import Replay, write_replay
from fabgossip.sim.run import Engine, Run, RunOutcome
from fabgossip.sim.scenario import Scenario, parse_scenario
from fabgossip.sim.sweep import Job, Result
from fabgossip.sim.world import NS_PER_MS, NS_PER_S, OutOfTimeError
from fabgossip.trust.signatures import Ed25519Verifier

LIBRARY: Final = Path("simulations")
FOLDERS: Final = ("scenarios", "regressions", "campaigns")
"""Of the library, in which a name is looked for."""
PROGRESS_S: Final = 0.2
COLLECT_EVERY: Final = 1_000_000
VERDICTS_MAX: Final = 65_536
READ_BYTES_MAX: Final = 16 << 20
"""Events after which garbage is looked for."""
_DEPENDENCIES: Final = ("backports.zstd", "cattrs", "cryptography", "msgpack", "sortedcontainers")
"""What a run computes with, beside Python and this package."""


def find_scenario(name: str) -> Path:
    """The file of a path, or of a name in the library; raises `ScenarioError`."""
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        return path
    for folder in FOLDERS:
        inside = LIBRARY / folder / f"{name}.toml"
        if inside.is_file():
            return inside
    known = [one.stem for folder in FOLDERS for one in (LIBRARY / folder).glob("*.toml")]
    near = difflib.get_close_matches(name, sorted(known), n=1)
    meant = f"did you mean {near[0]}?" if near else "see fabgossip sim list"
    raise ScenarioError(f"{name}: no file, and no scenario of ./{LIBRARY}; {meant}")


def typed_name(file: str) -> str:
    """What to type for a scenario of this file: its name in the library, else the file."""
    with suppress(ScenarioError):
        if find_scenario(Path(file).stem) == Path(file):
            return Path(file).stem
    return shlex.quote(file)


def read_text(path: Path) -> str:
    """What a file says; raises `ScenarioError`."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: {error}") from error


def read_scenario(path: Path) -> Scenario:
    """The scenario of a file; raises `ScenarioError`."""
    return parse_scenario(read_text(path), str(path))


def library() -> list[tuple[Path, Scenario]]:
    """All scenarios of the library, by file."""
    return [
        (path, read_scenario(path))
        for folder in ("scenarios", "regressions")
        for path in sorted((LIBRARY / folder).glob("*.toml"))
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One run that is wanted."""

    origin: str
    """The file the scenario is from."""
    text: str
    changes: tuple[str, ...] = ()
    """`PATH=VALUE`: as if the text said so."""
    scenario: Scenario
    seed: int
    until_ns: int | None = None
    wall_limit_s: int
    plan: tuple[Fault, ...] | None = None
    narration: Narration | None = None
    """What is to tell the last of it."""
    last_event: int | None = None
    """The run ends with it."""
    is_alone: bool
    """Whether every nemesis has to matter in this very run; of many seeds one is enough."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that came to its end, and how it is judged."""

    outcome: RunOutcome
    cost: Cost
    plan: tuple[Fault, ...]
    verdict: Verdict


Ending: TypeAlias = Ran | Exception
"""What a run comes to."""


def run_seed(order: Order) -> Ending:
    """Run and judge; whatever keeps a run from its end is its ending. Raises `ScenarioError`."""
    try:
        outcome, cost, plan = _run(order)
    except ScenarioError:
        raise
    except Exception as error:  # noqa: BLE001  # time, or the simulator's own fault
        return error
    return Ran(outcome, cost, plan, judge(outcome, order.scenario.proves, _due(order)))


def _due(order: Order) -> tuple[str, ...]:
    """Nemeses that must have mattered in this run."""
    return tuple(one.name for one in order.scenario.nemeses) if order.is_alone else ()


def _run(order: Order) -> tuple[RunOutcome, Cost, tuple[Fault, ...]]:
    scenario = order.scenario
    began = time.monotonic()
    progress = _Progress(scenario.end_ns if order.until_ns is None else order.until_ns)

    def on_progress(events: int, time_ns: int) -> None:
        progress.show(events, time_ns)
        if time.monotonic() - began > order.wall_limit_s:
            at = time_ns / NS_PER_S
            raise OutOfTimeError(f"more than {order.wall_limit_s} s at {at:g} s of the run")
        if events % COLLECT_EVERY == 0:
            gc.collect()

    told = order.narration
    engine = Engine(
        make_authority=SeededAuthority,
        verifier=shared_verifier(),
        make_node=default_node if told is None else told.told(default_node),
        on_progress=on_progress,
        on_record=None if told is None else told.on_record,
        last_event=order.last_event,
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


def result_of(order: Order, ending: Ending, out: Path | None) -> Result:
    """The one object a run comes to; of a failure a replay file is written below a folder, if
    there is one for it."""
    if isinstance(ending, Exception):
        return unfinished(order.scenario.name, order.seed, ending)
    replay = _keep_replay(order, ending, out)
    body = report(ending.outcome, ending.verdict, ending.cost, order.scenario.proves)
    return body | {"set": list(order.changes), "files": {"replay": replay}}


def _keep_replay(order: Order, ran: Ran, folder: Path | None) -> str | None:
    """Write the replay file of a failure; gives its path, None where nothing failed or can be
    written."""
    outcome, failure = ran.outcome, ran.verdict.failure
    if failure is None or folder is None:
        return None
    path = folder / "replays" / f"{outcome.scenario}-{order.seed}-{failure['checker']}.json"
    at_ns = cast("int", failure.get("at_ns", outcome.virtual_ms * NS_PER_MS))
    replay = Replay(
        scenario=order.text,
        changes=order.changes,
        seed=order.seed,
        until_ns=order.scenario.end_ns if order.until_ns is None else order.until_ns,
        plan=ran.plan,
        code_hash=code_hash(),
        hash_seed=current_hash_seed(),
        versions=_versions(),
        trace_hash=outcome.trace_hash,
        checkpoints=tuple(one for one in outcome.checkpoints if one.time_ns <= at_ns),
        checker=str(failure["checker"]),
        signature=str(failure["signature"]),
        at_ns=at_ns,
    )
    try:
        write_replay(path, replay)
    except OSError as error:
        say(f"fabgossip: no replay file: {error}")
        return None
    return str(path)


def _versions() -> dict[str, str]:
    names = ("fabgossip", *_DEPENDENCIES)
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # a later Python has its own
    return found


def shared_verifier() -> Ed25519Verifier:
    """One for all nodes of a simulation: it remembers more than one of them would."""
    return Ed25519Verifier(verdicts_max=VERDICTS_MAX, read_bytes_max=READ_BYTES_MAX)


def order_of(job: Job, wall_limit_s: int) -> Order:
    """What a job of a sweep wants."""
    text = read_text(Path(job.scenario))
    return Order(
        origin=job.scenario,
        text=text,
        changes=job.changes,
        scenario=parse_scenario(text, job.scenario, job.changes),
        seed=job.seed,
        wall_limit_s=wall_limit_s,
        is_alone=False,
    )


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
