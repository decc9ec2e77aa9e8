"""What can go wrong, by whose room it belongs to.

Faults of the world, of a peer or of an operator are one of these families; an expected "no" is a
value, never an exception. Each family carries the exit code a command ends with when nothing
nearer handled it.
"""

from typing import ClassVar


class FabgossipError(Exception):
    """Anything this package raises on purpose; `exit_code` is what a command ends with, `family`
    its word under `--json`."""

    exit_code: ClassVar[int] = 1
    family: ClassVar[str] = "failure"


class ModelError(FabgossipError):
    """A word (id, scope id, namespace ...) that is not of its grammar."""

    family = "model"


class WireError(FabgossipError):
    """Bytes that are not one well-formed value; `code` is a name of the closed list in
    `wire/packing.py`."""

    exit_code = 5
    family = "wire"

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class TrustError(FabgossipError):
    """Our own misuse of the trust rules, or a pinned root that does not verify."""

    exit_code = 5
    family = "trust"


class ConfigError(FabgossipError):
    """A configuration file, or a file it names, that cannot be used."""

    exit_code = 78
    family = "config"


class StorageError(FabgossipError):
    """The disk, or what lies on it, failed."""

    family = "storage"


class NoSpaceError(StorageError):
    """There was no space for it, which is no failure of the disk."""

    family = "space"


class ServiceError(FabgossipError):
    """The daemon cannot start or cannot be reached."""

    family = "service"


class ScenarioError(FabgossipError):
    """A scenario file that cannot be run."""

    exit_code = 78
    family = "scenario"


class ControlError(FabgossipError):
    """The control plane's source, keys or folder cannot be used."""

    family = "control"


class UsageError(FabgossipError):
    """Arguments that do not make sense together."""

    exit_code = 2
    family = "usage"
