"""A failure as a file that can be run again: scenario, plan and what came of it.

Decides: nothing.
Keeps: the plan in the file is what runs, so it outlives the code whose seed drew it; a damaged
file is refused with the field named.
Must not know: how a run is made.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from fabgossip.errors import ScenarioError
from fabgossip.sim.faults import FAULTS_MAX, Fault, Parameters
from fabgossip.sim.sweep import Result
from fabgossip.sim.trace import Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a replay file says."""

    scenario: str
    """The text of its file."""
    changes: tuple[str, ...]
    """`PATH=VALUE`, made to it."""
    seed: int
    until_ns: int
    plan: tuple[Fault, ...]
    code_hash: str
    hash_seed: int | None
    """Of Python; None: nobody knows."""
    versions: dict[str, str]
    trace_hash: str
    checkpoints: tuple[Checkpoint, ...]
    """Up to the failure."""
    checker: str
    signature: str
    at_ns: int
    """Of the failure."""


def write_replay(path: Path, replay: Replay) -> None:
    """Write a replay file."""
    body = asdict(replay) | {"schema_version": 1, "kind": "sim-replay"}
    body["plan"] = [asdict(one) | {"others": sorted(one.others)} for one in replay.plan]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_replay(path: Path) -> Replay:
    """The replay of a file; raises `ScenarioError`."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from error
    except ValueError:
        body = None
    if not isinstance(body, dict) or body.get("kind") != "sim-replay":
        raise ScenarioError(f"{path}: kind: not a replay file; a scenario is run by sim run")
    kinds = {"scenario": str, "changes": list, "seed": int, "until_ns": int, "plan": list,
             "code_hash": str, "hash_seed": int | None, "versions": dict, "trace_hash": str,
             "checkpoints": list, "checker": str, "signature": str, "at_ns": int}  # fmt: skip
    for name, kind in kinds.items():
        if name not in body or not isinstance(body[name], kind):
            raise ScenarioError(f"{path}: {name}: missing or damaged")
    if len(body["plan"]) > FAULTS_MAX:
        raise ScenarioError(f"{path}: plan: more than {FAULTS_MAX} faults")
    return Replay(
        scenario=body["scenario"],
        changes=tuple(str(one) for one in body["changes"]),
        seed=body["seed"],
        until_ns=body["until_ns"],
        plan=tuple(_fault(f"{path}: plan[{i}]", row) for i, row in enumerate(body["plan"])),
        code_hash=body["code_hash"],
        hash_seed=body["hash_seed"],
        versions=body["versions"],
        trace_hash=body["trace_hash"],
        checkpoints=tuple(_checkpoint(path, row) for row in body["checkpoints"]),
        checker=body["checker"],
        signature=body["signature"],
        at_ns=body["at_ns"],
    )


def _checkpoint(path: Path, row: object) -> Checkpoint:
    try:
        return Checkpoint(**cast("Result", row))  # type: ignore[arg-type]  # as they were written
    except TypeError as error:
        raise ScenarioError(f"{path}: checkpoints: {error}") from error


def _fault(where: str, row: object) -> Fault:
    try:
        fields = dict(cast("Result", row))
        parameters = Parameters(**cast("Result", fields.pop("parameters")))  # type: ignore[arg-type]  # as they were written
        others = frozenset(cast("list[int]", fields.pop("others")))
        targets = tuple(cast("list[int]", fields.pop("targets")))
        return Fault(parameters=parameters, others=others, targets=targets, **fields)  # type: ignore[arg-type]  # as above
    except (TypeError, ValueError, KeyError) as error:
        raise ScenarioError(f"{where}: {error}") from error
