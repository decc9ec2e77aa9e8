"""The source folder: `fabric.toml` names configuration files and what they become."""

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

from fabgossip.errors import ControlError, ModelError
from fabgossip.model.artifact import CONTENT_BYTES_MAX, TYPE_RULES, ArtifactType
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
    RetentionPolicy,
)
from fabgossip.model.scope import ScopeId, parse_scope_id
from fabgossip.model.topology import COVERS_MAX
from fabgossip.wire.tables import TableError, parse_toml, structure_table

SOURCE_NAME: Final = "fabric.toml"
SOURCE_BYTES_MAX: Final = 4 << 20
READ_TRIES: Final = 3
COMPILED_TYPES: Final = frozenset(
    {
        ArtifactType.TRUST_BUNDLE, ArtifactType.REVOCATION_LIST, ArtifactType.PEER_DIRECTORY,
        ArtifactType.STORAGE_DIRECTORY, ArtifactType.SNAPSHOT_INCREMENT,
    }
)  # fmt: skip
"""Made by the compiler itself, never named in a source."""
COVERED_HEADS: Final = ("peers", "storage", "services", "routes", "qos", "updates")
"""Heads of the namespace tree a snapshot can cover."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactTable:
    """`[[artifact]]`: one configuration file."""

    type: str
    namespace: str
    """Below `platform/…/cluster/…/`."""
    file: str
    audience: tuple[str, ...] = ()
    """Scope ids beside those the namespace implies."""
    increments: bool = False
    """For a snapshot: publish what changed since the version before, beside the whole."""
    covers: tuple[str, ...] = ()
    """For a snapshot: the prefixes it lists completely, below `platform/…/cluster/…/`."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTable:
    """The whole of `fabric.toml`."""

    schema: Annotated[int, Bounds(1, 1)]
    artifact: tuple[ArtifactTable, ...] = ()
    replication: tuple[ReplicationTable, ...] = ()
    degraded: tuple[DegradedTable, ...] = ()
    degraded_action: tuple[DegradedActionTable, ...] = ()
    keep_versions: Annotated[int, Bounds(0, 16)] = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One configuration artifact to be: where it lives, for whom, its bytes."""

    artifact_type: ArtifactType
    namespace: str
    audience: tuple[ScopeId, ...]
    content: bytes
    increments: bool = False
    covers: tuple[str, ...] = ()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a compile starts from, beside the enrolled nodes."""

    documents: tuple[Document, ...] = ()
    replication: ReplicationPolicy = field(default_factory=ReplicationPolicy)
    retention: RetentionPolicy = field(default_factory=RetentionPolicy)
    degraded: DegradedPolicy = DEFAULT_DEGRADED


def read_source(folder: Path) -> Source:
    """Read a source folder as one moment of it: hashed before and after, three tries.

    Raises:
        ControlError: all problems at once, by file and key.
    """
    for _ in range(READ_TRIES):
        source, before = _read_once(folder)
        if before == _fingerprint(folder, source[1]):
            return source[0]
    raise ControlError(f"{folder}: keeps changing while it is read; try again")


def _read_once(folder: Path) -> tuple[tuple[Source, tuple[str, ...]], bytes]:
    table = _table(folder)
    files = tuple(one.file for one in table.artifact)
    fingerprint = _fingerprint(folder, files)
    problems: list[str] = []
    documents = []
    for number, one in enumerate(table.artifact):
        try:
            documents.append(_document(folder, one))
        except (ControlError, ModelError) as error:
            problems.append(f"{SOURCE_NAME}: artifact[{number}]: {error}")
    replication, degraded = _policies(table, problems)
    if problems:
        raise ControlError("\n".join(problems))
    source = Source(
        documents=tuple(documents),
        replication=replication,
        retention=RetentionPolicy(keep_versions=table.keep_versions),
        degraded=degraded,
    )
    return (source, files), fingerprint


def _policies(table: SourceTable, problems: list[str]) -> tuple[ReplicationPolicy, DegradedPolicy]:
    """The policies of a source; what is wrong with them is added to `problems`."""
    try:
        replication = ReplicationPolicy(rules=tuple(_replication(one) for one in table.replication))
        degraded = _degraded_policy(table)
    except (ControlError, ModelError) as error:
        problems.append(f"{SOURCE_NAME}: {error}")
        return ReplicationPolicy(), DEFAULT_DEGRADED
    return replication, degraded


def _table(folder: Path) -> SourceTable:
    path = folder / SOURCE_NAME
    try:
        return structure_table(
            parse_toml(_read(path, SOURCE_BYTES_MAX).decode("utf-8")), SourceTable
        )
    except UnicodeDecodeError as error:
        raise ControlError(f"{path}: not UTF-8 text") from error
    except TableError as error:
        lines = [
            f"{path}: {one.key or 'file'}: {one.detail} {one.suggestion}".rstrip()
            for one in error.problems
        ]
        raise ControlError("\n".join(lines)) from error


def _read(path: Path, size_max: int) -> bytes:
    try:
        if path.stat().st_size > size_max:
            raise ControlError(f"{path}: more than {size_max} bytes")
        return path.read_bytes()
    except OSError as error:
        raise ControlError(f"{path}: {error.strerror}") from error


def _content(folder: Path, name: str) -> bytes:
    """The bytes of a file the source names, never of one beyond its folder: what is signed is sent
    to others, so a slip of a path or a planted link would publish this machine's own files."""
    try:
        root = folder.resolve()
        path = (root / name).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise ControlError(f"file {name!r}: {error}") from error
    if not path.is_relative_to(root):
        raise ControlError(f"file {name!r} lies outside the source folder")
    if Path(name).is_absolute():
        raise ControlError(f"file {name!r}: expected a path relative to the source folder")
    return _read(path, CONTENT_BYTES_MAX)


def _fingerprint(folder: Path, files: tuple[str, ...]) -> bytes:
    digest = sha256(_read(folder / SOURCE_NAME, SOURCE_BYTES_MAX))
    for name in files:
        try:
            digest.update(sha256(_content(folder, name)).digest())
        except ControlError:
            # Said by the document that names it, with all other problems.
            digest.update(b"")
    return digest.digest()


def _type(name: str) -> ArtifactType:
    try:
        return ArtifactType(name)
    except ValueError as error:
        known = ", ".join(one.value for one in ArtifactType if one not in COMPILED_TYPES)
        raise ControlError(f"type {name!r}: expected one of {known}") from error


def _document(folder: Path, table: ArtifactTable) -> Document:
    artifact_type = _type(table.type)
    if artifact_type in COMPILED_TYPES:
        raise ControlError(f"type {table.type}: is made by the compiler, not named in a source")
    if table.increments and artifact_type is not ArtifactType.CLUSTER_SNAPSHOT:
        raise ControlError("increments: only a cluster_snapshot has them")
    rules = TYPE_RULES[artifact_type]
    heads = [family.value.split("/")[0] for family in rules.families]
    parts = table.namespace.split("/")
    head = parts[2] if parts[0] == "org" and len(parts) > 2 else parts[0]
    if head not in heads:
        raise ControlError(
            f"namespace {table.namespace!r}: {table.type} lives under {' or '.join(heads)}/"
        )
    return Document(
        artifact_type=artifact_type,
        namespace=table.namespace,
        audience=tuple(parse_scope_id(one) for one in table.audience),
        content=_content(folder, table.file),
        increments=table.increments,
        covers=_covers(table, artifact_type),
    )


def _covers(table: ArtifactTable, artifact_type: ArtifactType) -> tuple[str, ...]:
    """The covered prefixes, ascending: never trust, which has its own rules, nor snapshots, which
    would list each other."""
    if table.covers and artifact_type is not ArtifactType.CLUSTER_SNAPSHOT:
        raise ControlError("covers: only a cluster_snapshot covers prefixes")
    for prefix in table.covers:
        parts = prefix.split("/")
        below = parts[2:] if parts[0] == "org" else parts
        if not below or below[0] not in COVERED_HEADS or "" in parts:
            raise ControlError(
                f"covers {prefix!r}: expected [org/ID/] and {' or '.join(COVERED_HEADS)}"
            )
    if len(table.covers) > COVERS_MAX:
        raise ControlError(f"covers: at most {COVERS_MAX} prefixes")
    return tuple(sorted(set(table.covers)))


def _replication(table: ReplicationTable) -> ReplicationRule:
    return ReplicationRule(
        artifact_type=_type(table.type), replicas=table.replicas, on_demand=table.on_demand
    )


def _degraded_policy(table: SourceTable) -> DegradedPolicy:
    """The defaults, with what the source says instead."""
    rules = {one.artifact_type: one for one in DEFAULT_DEGRADED.rules}
    rules |= {one.artifact_type: one for one in map(_degraded, table.degraded)}
    actions = {one.action: one for one in DEFAULT_DEGRADED.actions}
    actions |= {one.action: one for one in map(_degraded_action, table.degraded_action)}
    if len(actions) > DEGRADED_ACTIONS_MAX:
        raise ControlError(f"degraded_action: at most {DEGRADED_ACTIONS_MAX} actions")
    return DegradedPolicy(
        rules=tuple(rules[one] for one in ArtifactType if one in rules),
        actions=tuple(actions[one] for one in sorted(actions)),
    )


def _degraded(table: DegradedTable) -> DegradedRule:
    return DegradedRule(
        artifact_type=_type(table.type), max_age_s=table.max_age_s, withhold=table.withhold
    )


def _degraded_action(table: DegradedActionTable) -> DegradedAction:
    known = {one.name.lower().replace("_", "-"): one for one in DegradedMode}
    unknown = sorted(set(table.modes) - set(known))
    if unknown:
        raise ControlError(
            f"degraded_action {table.action}: mode {unknown[0]!r}: expected {', '.join(known)}"
        )
    modes = tuple(mode for name, mode in known.items() if name in table.modes)
    return DegradedAction(action=parse_id(table.action, "action"), modes=modes)
