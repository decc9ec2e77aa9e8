"""Words about chains of increments: the mark of a snapshot that has one, and what can be
wrong with one that is applied.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fabgossip.model.artifact import ArtifactType, Manifest

INCREMENT_MARK: Final = "increment"
"""Name of the extension of a manifest that says: an increment to this snapshot is signed too. Its
value says nothing."""


def has_mark(manifest: Manifest) -> bool:
    """Whether an increment to this snapshot exists."""
    is_snapshot = manifest.artifact_type is ArtifactType.CLUSTER_SNAPSHOT
    return is_snapshot and any(name == INCREMENT_MARK for name, _ in manifest.extensions)


class AssemblyFault(StrEnum):
    """Why a chain did not give its result."""

    BASE = "base"
    """What is to be the base is gone from the own disk, or damaged."""
    INCREMENT = "increment"
    """The same of an increment."""
    RESULT = "result"
    """An increment, which is what was signed, does not make what was signed."""
    DISK = "disk"
    """The result could not be stored."""


@dataclass(frozen=True, slots=True)
class Broken:
    """What went wrong, and at which increment of the chain."""

    fault: AssemblyFault
    place: int
