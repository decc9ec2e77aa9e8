"""What a run of the simulator comes to: its verdict, its JSON object, its summary for people."""

import importlib.metadata
import platform
import traceback
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final, cast

from fabgossip.cli.output import EXIT_OK
from fabgossip.cli.replies import below_cluster
from fabgossip.cli.sim_checkers import checker_titles, in_order
from fabgossip.cli.sim_hash_seed import current_hash_seed
from fabgossip.sim.checkers import Count, Violation
from fabgossip.sim.guard import LeakedWorldError
from fabgossip.sim.measures import Spread
from fabgossip.sim.run import Met, RunOutcome
from fabgossip.sim.scenario import MEASURES
from fabgossip.sim.world import OutOfTimeError

EXIT_SAFETY: Final = 10
EXIT_LIVENESS: Final = 11
EXIT_NONDETERMINISTIC: Final = 12
EXIT_OUT_OF_TIME: Final = 13
EXIT_COVERAGE: Final = 14
EXIT_SIMULATOR: Final = 70
CUT_SHORT: Final = "cut_short"
BEHIND_MAX: Final = 8
"""Nodes of a namespace, and namespaces, that are told to people."""
PACKAGE: Final = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run comes to: safety before liveness, and what was not shown last."""

    word: str
    exit_code: int
    failure: dict[str, object] | None


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run took in truth; it differs from run to run."""

    build_ms: int
    wall_ms: int
    rss_bytes: int
    """Most memory in use, less what was in use before."""


@cache
def code_hash() -> str:
    """Of the package's own sources: a trace belongs to them."""
    named = sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        named.update(str(path.relative_to(PACKAGE)).encode() + b"\0" + path.read_bytes())
    return named.hexdigest()[:16]


def unfinished(scenario: str, seed: int, error: Exception) -> dict[str, object]:
    """The result of a run that did not come to its end: out of time or memory, a node that looked
    at the world itself, or the simulator's own fault."""
    name, detail = type(error).__name__, str(error)
    match error:
        case OutOfTimeError() | MemoryError():
            word, exit_code, checker, signature = "out_of_time", EXIT_OUT_OF_TIME, "time", "limit"
        case LeakedWorldError():
            word, exit_code = "nondeterministic", EXIT_NONDETERMINISTIC
            checker, signature = "guard", error.what
        case _:
            word, exit_code, checker, signature = "simulator", EXIT_SIMULATOR, "simulator", name
            detail = f"{name}: {error}{_place(error)}"
    return {
        "schema_version": 1,
        "kind": "sim-run",
        "scenario": scenario,
        "seed": seed,
        "verdict": word,
        "exit_code": exit_code,
        "failure": {"checker": checker, "signature": f"{checker}/{signature}", "detail": detail},
    }


def _place(error: Exception) -> str:
    """Where an error was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def judge(outcome: RunOutcome, proves: tuple[str, ...], nemeses: tuple[str, ...] = ()) -> Verdict:
    """The verdict of an outcome; each of the nemeses must have mattered, if the plan has any row
    of it. Whoever ends a run before its end wants to see that far: only safety can be broken by
    then."""
    if outcome.violations:
        return Verdict("safety", EXIT_SAFETY, _violation(outcome, outcome.violations[0]))
    if not outcome.is_whole:
        return Verdict(CUT_SHORT, EXIT_OK, None)
    if outcome.refused:
        return _liveness("expectation", f"not accepted: {outcome.refused[0]}")
    if outcome.over_all.missed:
        return _liveness("missed", f"{outcome.over_all.missed} of {outcome.over_all.pairs} pairs")
    if outcome.failures:
        return Verdict("liveness", EXIT_LIVENESS, _violation(outcome, outcome.failures[0]))
    for one in outcome.expectations:
        if not one.held:
            return _liveness("expectation", _missed(one))
    unproved = _unproved(outcome, proves)
    if unproved:
        return _uncovered(unproved[0], f"nothing to check came up for {', '.join(unproved)}")
    for name in nemeses:
        tally = outcome.faults.nemeses[name]
        if tally.planned and not tally.mattered:
            detail = f"{tally.planned} faults of {name}, {tally.fired} fired, none mattered"
            return _uncovered(f"nemesis/{name}", detail)
    return Verdict("held", EXIT_OK, None)


def _uncovered(what: str, detail: str) -> Verdict:
    failure: dict[str, object] = {
        "checker": "coverage", "signature": f"coverage/{what}", "detail": detail,
    }  # fmt: skip
    return Verdict("coverage", EXIT_COVERAGE, failure)


def _missed(one: Met) -> str:
    about = f" of {one.of}" if one.of else ""
    least = "" if one.least is None else f" at least {one.least:g}"
    most = "" if one.most is None else f" at most {one.most:g}"
    return f"{one.measure}{about} is {one.value}, wanted{least}{most}"


def _liveness(checker: str, detail: str) -> Verdict:
    failure: dict[str, object] = {"checker": checker, "signature": checker, "detail": detail}
    return Verdict("liveness", EXIT_LIVENESS, failure)


def _unproved(outcome: RunOutcome, proves: tuple[str, ...]) -> list[str]:
    counts = outcome.checkers | outcome.liveness
    return [name for name in proves if name not in counts or not counts[name].checks]


def _violation(outcome: RunOutcome, one: Violation) -> dict[str, object]:
    return {
        "checker": one.checker,
        "signature": one.signature,
        "node": outcome.node_ids.get(one.index),
        "at_ns": one.at_ns,
        "detail": one.detail,
    }


def report(
    outcome: RunOutcome, verdict: Verdict, cost: Cost, proves: tuple[str, ...]
) -> dict[str, object]:
    """What `--json` prints. Only times, memory and the hash seed differ between two runs of one
    seed."""
    whole, idle = outcome.over_all, outcome.idle
    return {
        "schema_version": 1,
        "kind": "sim-run",
        "scenario": outcome.scenario,
        "seed": outcome.seed,
        "verdict": verdict.word,
        "exit_code": verdict.exit_code,
        "failure": verdict.failure,
        "trace_hash": outcome.trace_hash,
        "nodes": outcome.nodes,
        "t50_ms": whole.t50_ms,
        "t99_ms": whole.t99_ms,
        "t_last_ms": whole.t_last_ms,
        "t99_bound_ms": whole.t99_bound_ms,
        "t99_ratio": whole.t99_ratio,
        "rmr": whole.rmr,
        "ldh": whole.ldh,
        "missed": whole.missed,
        "heal_ms": outcome.heal_ms,
        "idle_bytes_per_node_per_s": None if idle is None else idle.mean,
        "false_evictions": outcome.false_evictions,
        "unentitled_deliveries": outcome.unentitled_deliveries,
        "speed": round(outcome.virtual_ms / max(1, cost.wall_ms), 2),
        "memory_bytes_per_node": cost.rss_bytes // outcome.nodes,
        "run": {
            "nodes": outcome.nodes,
            "events": outcome.events,
            "virtual_ms": outcome.virtual_ms,
            "wall_ms": cost.wall_ms,
            "build_ms": cost.build_ms,
            "checkpoints": len(outcome.checkpoints),
            "hash_seed": current_hash_seed(),
            "frames": outcome.frames_sent,
            "bytes": outcome.bytes_sent,
        },
        "faults": asdict(outcome.faults),
        "checkers": _states(outcome.checkers | outcome.liveness),
        "coverage": {
            "met": len(proves) - len(_unproved(outcome, proves)),
            "missed": _unproved(outcome, proves),
        },
        "deliveries": outcome.deliveries,
        "entitled_deliveries": outcome.deliveries - outcome.unentitled_deliveries,
        "behind": list(outcome.behind),
        "refused": list(outcome.refused),
        "idle": None if idle is None else asdict(idle),
        "measures": {name: asdict(one) for name, one in outcome.by_publication.items()},
        "expectations": [asdict(one) for one in outcome.expectations],
        "checkpoints": [[one.events, one.time_ns, one.trace_hash] for one in outcome.checkpoints],
        "code": {
            "version": importlib.metadata.version("fabgossip"),
            "hash": code_hash(),
            "python": platform.python_version(),
        },
    }


def _states(counts: dict[str, Count]) -> dict[str, object]:
    return {
        name: {"state": one.state, "checks": one.checks, "violations": one.violations}
        for name, one in counts.items()
    }


def print_summary(
    outcome: RunOutcome, result: dict[str, object], cost: Cost, proves: tuple[str, ...]
) -> None:
    """A run for people."""
    failure = cast("dict[str, object] | None", result["failure"])
    verdict = result["verdict"]
    if verdict == CUT_SHORT:
        verdict = f"cut short at {outcome.virtual_ms / 1_000:g} s: nothing broke so far"
    print(f"{outcome.scenario}, seed {outcome.seed}: {verdict}")
    wall_s = cost.wall_ms / 1_000
    print(
        f"  {outcome.nodes} nodes, {outcome.events} events, "
        f"{outcome.virtual_ms / 1_000:g} s virtual in {wall_s:g} s, built in {cost.build_ms} ms"
    )
    print(f"  trace {outcome.trace_hash}")
    if failure is not None:
        print(f"  {told_signature(str(failure['signature']))}: {failure['detail']}")
        _print_behind(outcome.behind)
    print(f"  deliveries {outcome.deliveries}, unentitled {outcome.unentitled_deliveries}")
    faults = outcome.faults
    if faults.planned:
        print(
            f"  faults {faults.planned}: {faults.fired} fired, {faults.mattered} mattered, "
            f"{faults.skipped} skipped"
        )
    for name, tally in faults.nemeses.items():
        if tally.planned and not tally.mattered:
            print(f"  {name}: no fault mattered")
    if outcome.heal_ms is not None:
        print(f"  whole again {outcome.heal_ms} ms after the last cut was mended")
    if outcome.idle is not None:
        print(f"  idle {outcome.idle.mean} B/s per node, p99 {outcome.idle.p99}")
    width = max((len(name) for name in outcome.by_publication), default=0)
    for name, one in outcome.by_publication.items():
        print(f"  {name.ljust(width)}  {_spread(one)}")
    _print_checkers(outcome, proves)


def told_signature(signature: str) -> str:
    """A failure for people: what is no checker but a measure says so."""
    return f"measure {signature}" if signature in MEASURES else signature


def _print_behind(behind: tuple[str, ...]) -> None:
    """Which nodes lack the newest of what."""
    nodes: dict[str, list[str]] = {}
    for node, namespace in (one.split(" ", 1) for one in behind):
        nodes.setdefault(below_cluster(namespace), []).append(node)
    for namespace, names in list(nodes.items())[:BEHIND_MAX]:
        more = f" and {len(names) - BEHIND_MAX} more" if len(names) > BEHIND_MAX else ""
        print(f"  behind: {', '.join(names[:BEHIND_MAX])}{more} in {namespace}")
    if len(nodes) > BEHIND_MAX:
        print(f"  behind in {len(nodes) - BEHIND_MAX} more namespaces")


def _print_checkers(outcome: RunOutcome, proves: tuple[str, ...]) -> None:
    """What was violated, and what was to be proved and was not, with what it means; of the rest
    how many held."""
    counts, titles = outcome.checkers | outcome.liveness, checker_titles()
    states = {name: counts[name].state for name in in_order(counts)}
    unproved = [name for name, state in states.items() if state == "unproved"]
    missed = _unproved(outcome, proves) if outcome.is_whole else []
    for name in in_order({*missed, *(one for one in states if states[one] == "violated")}):
        print(f"  {name} {states.get(name, 'unproved')}: {titles[name]}")
    rest = f"; nothing to check came up for {', '.join(unproved)}" if unproved else ""
    print(f"  checkers: {list(states.values()).count('held')} held{rest}")


def _spread(one: Spread) -> str:
    return (
        f"t50 {one.t50_ms} ms, t99 {one.t99_ms} ms (bound {one.t99_bound_ms} ms), "
        f"rmr {one.rmr}, missed {one.missed} of {one.pairs}"
    )
