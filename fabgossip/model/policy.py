"""Policies that travel signed: how much is replicated, what is kept, what an old configuration may
still be used for.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from fabgossip.model.artifact import ArtifactType

REPLICAS_MAX: Final = 9
REPLICATION_RULES_MAX: Final = 64
DEGRADED_ACTIONS_MAX: Final = 16
ACTION_BYTES_MAX: Final = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationRule:
    """How many storage nodes hold each artifact of a type, beside the nodes that apply it.

    `replicas` 1..9; `on_demand` means none holds it by duty: a storage node takes it when somebody
    asks.
    """

    artifact_type: ArtifactType
    replicas: int
    on_demand: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationPolicy:
    """Rules by type; a type without one is held by every storage node that covers it."""

    rules: tuple[ReplicationRule, ...] = ()

    def rule_for(self, artifact_type: ArtifactType) -> ReplicationRule | None:
        """The rule of this type, or None."""
        return next((rule for rule in self.rules if rule.artifact_type is artifact_type), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """How many versions before the current one stay materialised."""

    keep_versions: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DegradedRule:
    """How long after `refresh_by` artifacts of a type may still be used, and what becomes of the
    local state after that.
    """

    artifact_type: ArtifactType
    max_age_s: int
    withhold: bool = False
    """Whether the link to the current version goes once it is over age."""


class DegradedMode(Enum):
    """Conditions a policy may allow something under. Numbers of the wire; never reused."""

    PARTITIONED = 1
    STALE = 2
    CLOCK_SUSPECT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DegradedAction:
    """What consumers may still do under which conditions."""

    action: str
    modes: tuple[DegradedMode, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DegradedPolicy:
    """Rules by type and by action; a type or an action without one is refused."""

    rules: tuple[DegradedRule, ...] = ()
    actions: tuple[DegradedAction, ...] = ()

    def rule_for(self, artifact_type: ArtifactType) -> DegradedRule | None:
        """The rule of this type, or None."""
        return next((rule for rule in self.rules if rule.artifact_type is artifact_type), None)

    def allows(self, action: str, mode: DegradedMode) -> bool:
        """Whether an action is allowed under a condition."""
        return any(one.action == action and mode in one.modes for one in self.actions)
