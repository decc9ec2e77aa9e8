"""Policies that travel signed: how much is replicated, what is kept, what an old configuration may
still be used for.
"""

from dataclasses import dataclass
from typing import Final

from fabgossip.model.artifact import ArtifactType

REPLICAS_MAX: Final = 9
REPLICATION_RULES_MAX: Final = 64


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
    """How long after `refresh_by` artifacts of a type may still be used."""

    artifact_type: ArtifactType
    max_age_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DegradedPolicy:
    """Rules by type; a type without one may not be used once stale."""

    rules: tuple[DegradedRule, ...] = ()
