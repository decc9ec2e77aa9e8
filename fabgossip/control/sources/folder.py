"""The source folder: `fabric.toml` names configuration files and what they become."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final, TypeAlias, TypeVar

from fabgossip.control.sources.problems import SOURCE_NAME, WHOLE, problems_in
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
from fabgossip.wire.tables import Problem, TableError, parse_toml, structure_table

T = TypeVar("T")
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
    key: str = field(default="", compare=False)
    """Where the source names it, for whoever is told what is wrong with it."""


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
    """Read a source folder in which nothing is wrong.

    Raises:
        SourceProblemsError: all problems at once.
        ControlError: it keeps changing.
    """
    source, problems = read_all(folder)
    if problems:
        raise problems_in(folder, problems)
    return source


def read_all(folder: Path) -> tuple[Source, tuple[Problem, ...]]:
    """What can be read of a source folder as one moment of it, hashed before and after, three
    tries; and all that is wrong with the rest. Raises `ControlError` if it keeps changing."""
    for _ in range(READ_TRIES):
        problems: list[Problem] = []
        rows, table = _table(folder, problems)
        files = tuple(one.file for one in rows.values())
        before = _fingerprint(folder, files)
        source = _source(folder, rows, table, problems)
        if before == _fingerprint(folder, files):
            return source, tuple(problems)
    raise ControlError(f"{folder}: keeps changing while it is read; try again")


_Rows: TypeAlias = dict[int, ArtifactTable]
"""The rows of `[[artifact]]` that are such, by their number."""


def _source(folder: Path, rows: _Rows, table: SourceTable, problems: list[Problem]) -> Source:
    documents = []
    for number, row in rows.items():
        key = f"artifact[{number}]"
        faults = list(_document_faults(row, key))
        content = _noted(partial(_content, folder, row.file), f"{key}.file", faults)
        if faults or content is None:
            problems += faults
        else:
            documents.append(_document(row, content, key))
    replication, degraded = _policies(table, problems)
    return Source(
        documents=tuple(documents),
        replication=replication,
        retention=RetentionPolicy(keep_versions=table.keep_versions),
        degraded=degraded,
    )


def _noted(read: Callable[[], T], key: str, problems: list[Problem]) -> T | None:
    """What is read, or None and a problem at that key."""
    try:
        return read()
    except (ControlError, ModelError, ValueError) as error:
        detail, _, suggestion = str(error).partition("; ")
        problems.append(Problem(code="conflict", key=key, detail=detail, suggestion=suggestion))
        return None


def _policies(
    table: SourceTable, problems: list[Problem]
) -> tuple[ReplicationPolicy, DegradedPolicy]:
    """The policies of a source; what is wrong with them is added to `problems`."""
    before = len(problems)
    rules = [
        _noted(partial(_replication, row), f"replication[{number}]", problems)
        for number, row in enumerate(table.replication)
    ]
    replication = _noted(
        lambda: ReplicationPolicy(rules=tuple(one for one in rules if one is not None)),
        "replication",
        problems,
    )
    outages = [
        _noted(partial(_degraded, row), f"degraded[{number}]", problems)
        for number, row in enumerate(table.degraded)
    ]
    actions = [
        _noted(partial(_degraded_action, row), f"degraded_action[{number}]", problems)
        for number, row in enumerate(table.degraded_action)
    ]
    degraded = _noted(
        lambda: _degraded_policy(
            [one for one in outages if one is not None],
            [one for one in actions if one is not None],
        ),
        "degraded_action",
        problems,
    )
    if len(problems) > before or replication is None or degraded is None:
        return ReplicationPolicy(), DEFAULT_DEGRADED
    return replication, degraded


def _table(folder: Path, problems: list[Problem]) -> tuple[_Rows, SourceTable]:
    """The file as tables; where some are none, those that are, so that what they name is looked at
    as well."""
    document: dict[str, object] = {}
    try:
        document = parse_toml(_read(folder / SOURCE_NAME, SOURCE_BYTES_MAX).decode("utf-8"))
        table = structure_table(document, SourceTable)
    except ControlError as error:
        detail = str(error).removeprefix(f"{folder / SOURCE_NAME}: ")
        problems.append(Problem(code="missing_file", key=WHOLE, detail=detail))
        return {}, _NO_TABLE
    except UnicodeDecodeError:
        problems.append(Problem(code="syntax", key=WHOLE, detail="not UTF-8 text"))
        return {}, _NO_TABLE
    except TableError as error:
        problems += error.problems
        return _whole_rows(document.get("artifact")), _NO_TABLE
    return dict(enumerate(table.artifact)), table


_NO_TABLE: Final = SourceTable(schema=1)


def _whole_rows(rows: object) -> _Rows:
    found: _Rows = {}
    for number, row in enumerate(rows if isinstance(rows, list) else ()):
        with suppress(TableError):
            found[number] = structure_table(row, ArtifactTable)
    return found


def _read(path: Path, size_max: int) -> bytes:
    try:
        if path.stat().st_size > size_max:
            raise ControlError(f"{path}: more than {size_max} bytes; split it")
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
        raise ControlError(f"{name!r}: {error}; name a file below the source folder") from error
    if not path.is_relative_to(root):
        raise ControlError(f"{name!r} lies outside the source folder; copy it there")
    if Path(name).is_absolute():
        raise ControlError(f"{name!r} is absolute; expected a path relative to the source folder")
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
        raise ControlError(f"type {name!r} is unknown; expected one of {known}") from error


def _document_faults(table: ArtifactTable, key: str) -> Iterator[Problem]:
    """All that is wrong with a row by itself."""

    def fault(name: str, detail: str, suggestion: str) -> Problem:
        return Problem(code="conflict", key=f"{key}.{name}", detail=detail, suggestion=suggestion)

    for one in table.audience:
        try:
            parse_scope_id(one)
        except ModelError as error:
            yield fault("audience", str(error), "expected KIND:ID, such as role:edge")
    try:
        artifact_type = _type(table.type)
    except ControlError as error:
        detail, _, suggestion = str(error).partition("; ")
        yield fault("type", detail, suggestion)
        return
    if artifact_type in COMPILED_TYPES:
        yield fault("type", f"{table.type} is made by the compiler", "take it out of the source")
        return
    is_snapshot = artifact_type is ArtifactType.CLUSTER_SNAPSHOT
    if table.increments and not is_snapshot:
        yield fault("increments", "only a cluster_snapshot has them", "take the line out")
    heads = [family.value.split("/")[0] for family in TYPE_RULES[artifact_type].families]
    parts = table.namespace.split("/")
    head = parts[2] if parts[0] == "org" and len(parts) > 2 else parts[0]
    if head not in heads:
        where = f"expected [org/ID/]{' or '.join(heads)}/"
        yield fault("namespace", f"{table.type} does not live in {table.namespace!r}", where)
    if table.covers and not is_snapshot:
        yield fault("covers", "only a cluster_snapshot covers prefixes", "take the line out")
    for prefix in table.covers if is_snapshot else ():
        if not _may_cover(prefix):
            expected = f"expected [org/ID/] and {' or '.join(COVERED_HEADS)}"
            yield fault("covers", f"{prefix!r} is covered by no snapshot", expected)
    if len(table.covers) > COVERS_MAX:
        most = f"at most {COVERS_MAX} prefixes"
        yield fault("covers", f"{len(table.covers)} prefixes", most)


def _may_cover(prefix: str) -> bool:
    """Never trust, which has its own rules, nor snapshots, which would list each other."""
    parts = prefix.split("/")
    below = parts[2:] if parts[0] == "org" else parts
    return bool(below) and below[0] in COVERED_HEADS and "" not in parts


def _document(table: ArtifactTable, content: bytes, key: str) -> Document:
    """Of a row without faults; the covered prefixes ascend."""
    return Document(
        artifact_type=ArtifactType(table.type),
        namespace=table.namespace,
        audience=tuple(parse_scope_id(one) for one in table.audience),
        content=content,
        increments=table.increments,
        covers=tuple(sorted(set(table.covers))),
        key=key,
    )


def _replication(table: ReplicationTable) -> ReplicationRule:
    return ReplicationRule(
        artifact_type=_type(table.type), replicas=table.replicas, on_demand=table.on_demand
    )


def _degraded_policy(
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
        artifact_type=_type(table.type), max_age_s=table.max_age_s, withhold=table.withhold
    )


def _degraded_action(table: DegradedActionTable) -> DegradedAction:
    known = {one.name.lower().replace("_", "-"): one for one in DegradedMode}
    unknown = sorted(set(table.modes) - set(known))
    if unknown:
        raise ControlError(f"mode {unknown[0]!r} is unknown; expected {', '.join(known)}")
    modes = tuple(mode for name, mode in known.items() if name in table.modes)
    return DegradedAction(action=parse_id(table.action, "action"), modes=modes)
