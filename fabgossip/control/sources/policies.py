"""What `fabric.toml` says of replication and of outages, and what holds where it says nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Final

from fabgossip.control.sources.problems import noted, type_named
from fabgossip.errors import ControlError
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.bounds import Bounds
from fabgossip.model.ids import parse_id
from fabgossip.model.policy import (
    DEGRADED_ACTIONS_MAX,
    DegradedAction,
    DegradedMode,
    DegradedPolicy,
    DegradedRule,
    ReplicationPolicy,
    ReplicationRule,
)
from fabgossip.wire.tables import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationTable:
    """`[[replication]]`: how many storage nodes hold a type by duty."""

    type: str
    replicas: Annotated[int, Bounds(1, 9)] = 3
    on_demand: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DegradedTable:
    """`[[degraded]]`: how long past its refresh time a type may still be used."""

    type: str
    max_age_s: Annotated[int, Bounds(0, 10 * 365 * 86_400)]
    withhold: bool = False
    """Whether the link to the current version goes once it is over age."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DegradedActionTable:
    """`[[degraded_action]]`: under which conditions consumers may still do something."""

    action: str
    modes: tuple[str, ...]


_DAY_S: Final = 86_400


DEFAULT_DEGRADED: Final = DegradedPolicy(
    rules=tuple(
        DegradedRule(artifact_type=artifact_type, max_age_s=max_age_s)
        for artifact_type, max_age_s in (
            (ArtifactType.CLUSTER_SNAPSHOT, _DAY_S),
            (ArtifactType.PEER_DIRECTORY, _DAY_S),
            (ArtifactType.STORAGE_DIRECTORY, 3 * _DAY_S),
            (ArtifactType.SERVICE_ASSIGNMENT_BUNDLE, _DAY_S),
            (ArtifactType.ROUTE_POLICY_BUNDLE, _DAY_S),
            (ArtifactType.QOS_POLICY_BUNDLE, _DAY_S),
            (ArtifactType.UPDATE_MANIFEST, 0),
        )
    ),
    actions=tuple(
        DegradedAction(action=action, modes=(DegradedMode.PARTITIONED, DegradedMode.STALE))
        for action in ("route", "start-service")
    ),
)
"""What an outage allows where a source says nothing about a type or an action (*start*)."""


def replication_policy(
    rows: tuple[ReplicationTable, ...], problems: list[Problem]
) -> ReplicationPolicy:
    """How many nodes hold what; what is wrong with a row is added to `problems`."""
    rules = [
        noted(partial(_replication, row), f"replication[{number}]", problems)
        for number, row in enumerate(rows)
    ]
    good = tuple(one for one in rules if one is not None)
    made = noted(lambda: ReplicationPolicy(rules=good), "replication", problems)
    return made or ReplicationPolicy()


def degraded_policy(
    rows: tuple[DegradedTable, ...],
    actions: tuple[DegradedActionTable, ...],
    problems: list[Problem],
) -> DegradedPolicy:
    """What an outage allows; what is wrong with a row is added to `problems`."""
    said = [
        noted(partial(_degraded, row), f"degraded[{number}]", problems)
        for number, row in enumerate(rows)
    ]
    allowed = [
        noted(partial(_degraded_action, row), f"degraded_action[{number}]", problems)
        for number, row in enumerate(actions)
    ]
    made = noted(
        lambda: _with_defaults(
            [one for one in said if one is not None], [one for one in allowed if one is not None]
        ),
        "degraded_action",
        problems,
    )
    return made or DEFAULT_DEGRADED


def _replication(table: ReplicationTable) -> ReplicationRule:
    return ReplicationRule(
        artifact_type=type_named(table.type), replicas=table.replicas, on_demand=table.on_demand
    )


def _with_defaults(
    said: Iterable[DegradedRule], allowed: Iterable[DegradedAction]
) -> DegradedPolicy:
    """The defaults, with what the source says instead."""
    rules = {one.artifact_type: one for one in (*DEFAULT_DEGRADED.rules, *said)}
    actions = {one.action: one for one in (*DEFAULT_DEGRADED.actions, *allowed)}
    if len(actions) > DEGRADED_ACTIONS_MAX:
        raise ControlError(
            f"{len(actions)} actions with the defaults; at most {DEGRADED_ACTIONS_MAX}"
        )
    return DegradedPolicy(
        rules=tuple(rules[one] for one in ArtifactType if one in rules),
        actions=tuple(actions[one] for one in sorted(actions)),
    )


def _degraded(table: DegradedTable) -> DegradedRule:
    return DegradedRule(
        artifact_type=type_named(table.type), max_age_s=table.max_age_s, withhold=table.withhold
    )


def _degraded_action(table: DegradedActionTable) -> DegradedAction:
    known = {one.name.lower().replace("_", "-"): one for one in DegradedMode}
    unknown = sorted(set(table.modes) - set(known))
    if unknown:
        raise ControlError(f"mode {unknown[0]!r} is unknown; expected {', '.join(known)}")
    modes = tuple(mode for name, mode in known.items() if name in table.modes)
    return DegradedAction(action=parse_id(table.action, "action"), modes=modes)
