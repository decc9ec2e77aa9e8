"""What a scenario measured when it was last looked at, and whether it is worse now.

Decides: better, same or worse, per measure.
Keeps: a baseline of another scenario is refused; it changes only when it is written on purpose.
Must not know: how a measure is computed.
"""

import json
import statistics
from pathlib import Path
from typing import Final, cast

from fabgossip.errors import ScenarioError
from fabgossip.sim.sweep import Result

TOLERANCE: Final = 0.1
"""Outside the old range by more than this is better or worse (*start*)."""
EXACT: Final = frozenset({"missed", "unentitled_deliveries", "false_evictions"})
"""One more of these is worse."""
WHOLE: Final = (
    "t99_ms", "rmr", "ldh", "missed", "heal_ms", "idle_bytes_per_node_per_s", "false_evictions",
    "unentitled_deliveries",
)  # fmt: skip


def measured(results: list[Result]) -> dict[str, list[float]]:
    """Each measure over the seeds of one scenario."""
    found: dict[str, list[float]] = {}
    for one in results:
        rows = {name: one.get(name) for name in WHOLE}
        for publication, spread in cast("dict[str, Result]", one.get("measures") or {}).items():
            rows[f"{publication}.t99_ms"] = spread["t99_ms"]
        for name, value in rows.items():
            if isinstance(value, int | float):
                found.setdefault(name, []).append(float(value))
    return found


def baseline_of(results: list[Result], scenario_hash: str, code_hash: str) -> Result:
    """A baseline of these results, of one scenario: what each of its seeds measured."""
    return {
        "schema_version": 1,
        "scenario": results[0]["scenario"],
        "scenario_hash": scenario_hash,
        "code_hash": code_hash,
        "seeds": sorted(int(str(one["seed"])) for one in results),
        "measures": {
            name: {"median": statistics.median(row), "min": min(row), "max": max(row)}
            for name, row in sorted(measured(results).items())
            if len(row) == len(results)
        },
    }


def read_baseline(path: Path, scenario_hash: str) -> dict[str, Result]:
    """The measures of a baseline file; raises `ScenarioError`."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        measures: dict[str, Result] = body["measures"]
        known = body["scenario_hash"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ScenarioError(f"{path}: no baseline: {error!r}") from error
    if known != scenario_hash:
        raise ScenarioError(f"{path}: scenario_hash: of another version of the scenario")
    return measures


def compared(old: dict[str, Result], results: list[Result]) -> list[Result]:
    """Old and new of each measure, with a verdict; less is better of all of them, and what a seed
    does not measure any more is worse."""
    rows: list[Result] = []
    found = measured(results)
    for name in sorted(old):
        values = found.get(name, [])
        least, most = float(str(old[name]["min"])), float(str(old[name]["max"]))
        lacking = len(results) - len(values)
        if lacking:
            rows.append(
                {"measure": name, "old": old[name]["median"], "new": None, "verdict": "worse",
                 "lacking": lacking}
            )  # fmt: skip
            continue
        new = statistics.median(values)
        room = 0.0 if name in EXACT else TOLERANCE
        verdict = "same"
        if max(values) > most + abs(most) * room:
            verdict = "worse"
        elif max(values) < least - abs(least) * room:
            verdict = "better"
        rows.append({"measure": name, "old": old[name]["median"], "new": new, "verdict": verdict})
    return rows
