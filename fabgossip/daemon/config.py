"""The configuration file: local facts only, every problem at once, each with file, line and column.

Used alike by `run` and `check-config`, so they never disagree.
"""

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

from fabgossip.core.config import (
    ConnectionsConfig,
    DisseminationConfig,
    FetchingConfig,
    HoldingsConfig,
    NeighborsConfig,
    NodeConfig,
    RecoveryConfig,
    RefreshConfig,
    ScrubbingConfig,
)
from fabgossip.core.space import SpaceLimits
from fabgossip.errors import ConfigError, ModelError
from fabgossip.model.bounds import Bounds
from fabgossip.model.ids import NodeId, parse_node_id
from fabgossip.model.topology import Endpoint, is_loopback, split_address
from fabgossip.storage.records import SEGMENTS_MAX
from fabgossip.wire.places import PlacedProblem, key_places, placed
from fabgossip.wire.tables import PROBLEMS_MAX, Problem, TableError, parse_toml, structure_table

CONFIG_BYTES_MAX: Final = 256 * 1024
SOCKET_PATH_BYTES_MAX: Final = 107
"""What `sockaddr_un` holds, less its closing zero."""
BOOTSTRAP_MAX: Final = 64
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
LOG_FORMATS: Final = ("auto", "json", "console")


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapTable:
    """A node to start from before a signed directory is held."""

    address: str
    node_id: str

    def __post_init__(self) -> None:
        """Both are of their grammar."""
        split_address(self.address)
        try:
            parse_node_id(self.node_id)
        except ModelError as error:
            raise ValueError(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityTable:
    """Who the node is: read from files, never typed here."""

    certificate: str
    private_key: str
    claims: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustTable:
    """The pinned trust bundle and its fingerprint, typed from another channel."""

    bootstrap: str
    bootstrap_sha256: str
    rebootstrap: str = ""
    """SHA-256 of the file this one replaces because its roots are stolen or lost."""
    allow_demo: bool = False

    def __post_init__(self) -> None:
        """The fingerprints are some."""
        if _SHA256.fullmatch(self.bootstrap_sha256) is None:
            raise ValueError("bootstrap_sha256 is 64 lower-case hexadecimal digits")
        if self.rebootstrap and _SHA256.fullmatch(self.rebootstrap) is None:
            raise ValueError("rebootstrap is 64 lower-case hexadecimal digits, or left out")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockTable:
    """What the node's clock must show before it is believed."""

    require_synchronized: bool = True
    """Whether the kernel must vouch for it; a container may have a good clock and not be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenTable:
    """Where peers connect."""

    addresses: tuple[str, ...] = ("[::]:7420",)
    connections_max: Annotated[int, Bounds(1, 65_536)] = 256
    """The next one is closed before TLS and counted."""
    handshakes_per_second_max: Annotated[int, Bounds(1, 10_000)] = 20
    """TLS handshakes others begin; one address has a quarter of them. Excess waits in its place
    among those in flight."""
    handshakes_in_flight_max: Annotated[int, Bounds(1, 65_536)] = 64
    """TLS handshakes others began and did not end yet; one address has a quarter of them. The next
    one is closed before TLS and counted (*start*)."""

    def __post_init__(self) -> None:
        """Every address has a host and a port."""
        for address in self.addresses:
            split_address(address)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFreeMinTable:
    """What must stay free on the file system of the state folder, whoever uses it."""

    bytes: Annotated[int, Bounds(0, 1 << 50)] = 256 << 20
    inodes: Annotated[int, Bounds(0, 1 << 40)] = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageTable:
    """Where the node's own files lie."""

    path: str
    quota_bytes: Annotated[int, Bounds(64 << 20, 1 << 50)] = 2 << 30
    """What the node's own files may take; of it 80 % before contents leave (*start*)."""
    disk_free_min: DiskFreeMinTable = field(default_factory=DiskFreeMinTable)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditTable:
    """The log of what provably happened."""

    key: str = "identity/audit.key"
    """Signs its checkpoints; the public half is in the node's claims."""
    segments_max: Annotated[int, Bounds(2, 4_096)] = SEGMENTS_MAX
    """Of 8 MiB each; the oldest leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusTable:
    """The socket local software asks."""

    socket: str = "/run/fabgossip/status.sock"
    operator_group: str = "fabgossip-admin"
    """Its members may fetch and submit; empty: root and the daemon's own user only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTable:
    """What is written to standard error."""

    level: str = "info"
    format: str = "auto"

    def __post_init__(self) -> None:
        """Known words only."""
        if self.level not in LOG_LEVELS:
            raise ValueError(f"level is one of {', '.join(LOG_LEVELS)}")
        if self.format not in LOG_FORMATS:
            raise ValueError(f"format is one of {', '.join(LOG_FORMATS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownTable:
    """How the daemon stops."""

    drain_timeout_ms: Annotated[int, Bounds(0, 600_000)] = 5_000
    """How long running transfers may finish."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigTable:
    """The whole file."""

    schema: Annotated[int, Bounds(1, 1)]
    identity: IdentityTable
    trust: TrustTable
    storage: StorageTable
    bootstrap: tuple[BootstrapTable, ...] = ()
    clock: ClockTable = field(default_factory=ClockTable)
    listen: ListenTable = field(default_factory=ListenTable)
    audit: AuditTable = field(default_factory=AuditTable)
    status: StatusTable = field(default_factory=StatusTable)
    log: LogTable = field(default_factory=LogTable)
    shutdown: ShutdownTable = field(default_factory=ShutdownTable)
    connections: ConnectionsConfig = field(default_factory=ConnectionsConfig)
    neighbors: NeighborsConfig = field(default_factory=NeighborsConfig)
    dissemination: DisseminationConfig = field(default_factory=DisseminationConfig)
    holdings: HoldingsConfig = field(default_factory=HoldingsConfig)
    fetching: FetchingConfig = field(default_factory=FetchingConfig)
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    refresh: RefreshConfig = field(default_factory=RefreshConfig)
    scrubbing: ScrubbingConfig = field(default_factory=ScrubbingConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A checked configuration: the table, and the paths it names made absolute."""

    path: Path
    table: ConfigTable
    certificate: Path
    private_key: Path
    claims: Path
    audit_key: Path
    trust_bootstrap: Path
    storage: Path
    socket: Path

    @property
    def node(self) -> NodeConfig:
        """The sections the core reads."""
        table = self.table
        return NodeConfig(
            connections=table.connections,
            neighbors=table.neighbors,
            dissemination=table.dissemination,
            holdings=table.holdings,
            fetching=table.fetching,
            recovery=table.recovery,
            refresh=table.refresh,
            scrubbing=table.scrubbing,
        )

    @property
    def space(self) -> SpaceLimits:
        """What the disk may be used for."""
        table = self.table.storage
        return SpaceLimits(
            quota_bytes=table.quota_bytes,
            free_bytes_min=table.disk_free_min.bytes,
            free_inodes_min=table.disk_free_min.inodes,
        )

    @property
    def bootstrap(self) -> tuple[Endpoint, ...]:
        """The nodes to start from."""
        return tuple(
            Endpoint(address=one.address, node_id=NodeId(one.node_id))
            for one in self.table.bootstrap
        )


class ConfigProblemsError(ConfigError):
    """Every problem of a configuration file, at most 100."""

    def __init__(self, problems: tuple[PlacedProblem, ...]) -> None:
        shown = [str(one) for one in problems[:PROBLEMS_MAX]]
        count = "1 error" if len(problems) == 1 else f"{len(problems)} errors"
        super().__init__("\n".join([*shown, count]))
        self.problems = problems


def problems_error(config: Config, problems: Iterable[Problem]) -> ConfigProblemsError:
    """What is wrong beside the file itself, each at the key it comes from."""
    places = key_places(config.path.read_text(encoding="utf-8"))
    return ConfigProblemsError(tuple(placed(one, config.path.name, places) for one in problems))


def read_config(path: Path, credentials: Path | None) -> Config:
    """Read and check a configuration and the files it names.

    `credentials` is the folder `credential:` names lie in.

    Raises:
        ConfigProblemsError: everything that is wrong with it.
    """
    name = path.name
    text, problem = _text(path)
    if problem is not None:
        raise ConfigProblemsError((problem,))
    places = key_places(text)
    try:
        table = structure_table(parse_toml(text), ConfigTable)
    except TableError as error:
        raise ConfigProblemsError(
            tuple(placed(one, name, places) for one in error.problems)
        ) from error
    config = _with_paths(path, table, credentials)
    problems = tuple(placed(one, name, places) for one in _file_problems(config))
    if problems:
        raise ConfigProblemsError(problems)
    return config


def _text(path: Path) -> tuple[str, PlacedProblem | None]:
    try:
        if path.stat().st_size > CONFIG_BYTES_MAX:
            return "", _whole(path, "out_of_range", f"more than {CONFIG_BYTES_MAX} bytes")
        return path.read_text(encoding="utf-8"), None
    except OSError as error:
        problem = _whole(path, "missing_file", f"cannot be read: {error.strerror}")
        return "", replace(problem, suggestion="name the node's own with --config FILE")
    except UnicodeDecodeError:
        return "", _whole(path, "syntax", "is not UTF-8 text")


def _whole(path: Path, code: str, detail: str) -> PlacedProblem:
    return PlacedProblem(
        code=code, file=str(path), line=0, column=0, key="", detail=detail, suggestion=""
    )


_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def _with_paths(path: Path, table: ConfigTable, credentials: Path | None) -> Config:
    folder = path.absolute().parent

    def resolved(text: str) -> Path:
        if text.startswith("credential:"):
            return (credentials or Path("/nonexistent")) / text.removeprefix("credential:")
        return folder / text

    return Config(
        path=path.absolute(),
        table=table,
        certificate=resolved(table.identity.certificate),
        private_key=resolved(table.identity.private_key),
        claims=resolved(table.identity.claims),
        audit_key=resolved(table.audit.key),
        trust_bootstrap=resolved(table.trust.bootstrap),
        storage=resolved(table.storage.path),
        socket=resolved(table.status.socket),
    )


def _file_problems(config: Config) -> list[Problem]:
    table = config.table
    problems = [
        *_readable("identity.certificate", config.certificate),
        *_private("identity.private_key", config.private_key, table.identity.private_key),
        *_private("identity.claims", config.claims, table.identity.claims),
        *_private("audit.key", config.audit_key, table.audit.key),
        *_readable("trust.bootstrap", config.trust_bootstrap),
    ]
    for path in (config.path, config.path.parent, config.trust_bootstrap):
        problems += _not_writable(path)
    if len(os.fsencode(config.socket)) > SOCKET_PATH_BYTES_MAX:
        detail = f"{config.socket} is longer than {SOCKET_PATH_BYTES_MAX} bytes"
        problems.append(Problem(code="out_of_range", key="status.socket", detail=detail))
    if len(table.bootstrap) > BOOTSTRAP_MAX:
        detail = f"{len(table.bootstrap)} entries, at most {BOOTSTRAP_MAX}"
        problems.append(Problem(code="out_of_range", key="bootstrap", detail=detail))
    if not problems:
        problems += _pinned(config)
    if table.trust.allow_demo and not all(is_loopback(one) for one in table.listen.addresses):
        detail = "throw-away trust is refused where peers can connect from elsewhere"
        suggestion = "listen on 127.0.0.1 or [::1], or make a platform that is not named demo-"
        problems.append(
            Problem(
                code="throwaway_keys", key="trust.allow_demo", detail=detail, suggestion=suggestion
            )
        )
    return problems


def _readable(key: str, path: Path) -> list[Problem]:
    try:
        with path.open("rb"):
            return []
    except OSError as error:
        return [Problem(code="missing_file", key=key, detail=f"{path}: {error.strerror}")]


def _private(key: str, path: Path, written: str) -> list[Problem]:
    """A private file has no group or other bits; a credential's folder is the service manager's,
    so other bits only."""
    missing = _readable(key, path)
    if missing:
        return missing
    mode = stat.S_IMODE(path.stat().st_mode)
    forbidden = 0o007 if written.startswith("credential:") else 0o077
    if mode & forbidden:
        detail = f"{path} has mode {mode:04o}: others can reach it"
        return [
            Problem(
                code="insecure_permission", key=key, detail=detail, suggestion=f"chmod 600 {path}"
            )
        ]
    return []


def _not_writable(path: Path) -> list[Problem]:
    """Group or others must not be able to change what the daemon believes; a sticky folder
    protects its files."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return []
    if mode & 0o022 and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
        detail = f"{path} has mode {stat.S_IMODE(mode):04o}: others can change it"
        return [
            Problem(
                code="insecure_permission", key="", detail=detail, suggestion=f"chmod go-w {path}"
            )
        ]
    return []


def _pinned(config: Config) -> list[Problem]:
    found = sha256(config.trust_bootstrap.read_bytes()).hexdigest()
    if found == config.table.trust.bootstrap_sha256:
        return []
    detail = f"{config.trust_bootstrap} is another file: its SHA-256 is {found}"
    suggestion = "restore the file this node was enrolled with, or enroll it again"
    return [
        Problem(
            code="key_mismatch", key="trust.bootstrap_sha256", detail=detail, suggestion=suggestion
        )
    ]
