"""Sources to artifacts: same nodes, documents, published state and time in, same bytes out.

Rows are ordered by key; no clock, no randomness. What has not changed and is not due for renewal
is left alone, so a second compile of the same input makes nothing new.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from fabgossip.control.enrollment import NodeRow, assignments_of, entitlements_of, org_scopes
from fabgossip.control.signing import signers_of
from fabgossip.control.sources.folder import Document, Source
from fabgossip.errors import ControlError, ModelError
from fabgossip.model.artifact import (
    TYPE_RULES,
    WHOLE_BYTES_MAX,
    ArtifactType,
    Base,
    Manifest,
    chunk_size_of,
)
from fabgossip.model.authority import RevocationList, TrustBundle
from fabgossip.model.ids import ArtifactId, ClusterId, ContentHash, NodeId
from fabgossip.model.moment import UnixTime, seconds_after, seconds_between
from fabgossip.model.scope import (
    Audience,
    Entitlements,
    Namespace,
    ScopeId,
    ScopeKind,
    audience_from_scope_ids,
    implies_audience,
    may_share,
    parse_namespace,
    scope_id,
)
from fabgossip.model.topology import (
    Endpoint,
    PeerClass,
    PeerDirectory,
    PeerRecord,
    Snapshot,
    StorageDirectory,
    StorageNode,
)
from fabgossip.trust.gate import size_max_of
from fabgossip.wire.contents import (
    bundle_bytes,
    peer_directory_bytes,
    revocations_bytes,
    snapshot_bytes,
    storage_directory_bytes,
)
from fabgossip.wire.increments import increment_bytes

RENEW_SHARE: Final = 2
"""An artifact is made anew once half of its refresh span is gone."""
REVOCATIONS_EVERY_S: Final = 300
"""The revocation list sooner: it is the sign of life by which nodes tell a quiet control plane from
one they cannot hear (*start*)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedHead:
    """The newest version of a namespace as the control plane knows it."""

    manifest: Manifest
    content: bytes | None
    """Kept where the next version may come as an increment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileInput:
    """Everything a compile depends on."""

    bundle: TrustBundle
    nodes: tuple[NodeRow, ...]
    source: Source
    revocations: RevocationList
    published: dict[str, PublishedHead]
    now: UnixTime


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsignedArtifact:
    """A manifest ready to be signed, and its content."""

    manifest: Manifest
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """What a namespace is to say now."""

    artifact_type: ArtifactType
    namespace: Namespace
    audience: Audience
    content: bytes
    increments: bool = False


def compile_artifacts(given: CompileInput) -> tuple[UnsignedArtifact, ...]:
    """The artifacts that are new, changed or due for renewal, trust first.

    Raises:
        ControlError: every problem of the input, a line each; nothing is made then.
    """
    _check_nodes(given)
    drafts = [*_trust_drafts(given), *_directory_drafts(given), *_storage_drafts(given)]
    problems: list[str] = []
    for document in sorted(given.source.documents, key=lambda one: one.namespace):
        try:
            drafts.append(_document_draft(given, document))
        except (ModelError, ControlError) as error:
            problems.append(str(error))
    names = [draft.namespace.text for draft in drafts]
    problems += [
        f"{name}: named twice" for name in sorted({one for one in names if names.count(one) > 1})
    ]
    if problems:
        raise ControlError("\n".join(problems))
    return tuple(artifact for draft in drafts for artifact in _versions(given, draft))


def _check_nodes(given: CompileInput) -> None:
    if not given.nodes:
        raise ControlError("no node is enrolled: fabgossip control enroll NODE")
    if not any(row.stores for row in given.nodes):
        raise ControlError("no enrolled node stores for others: enroll one with --stores cluster")


def _namespace(given: CompileInput, path: str) -> Namespace:
    return parse_namespace(f"{given.bundle.prefix}/{path}")


def _audience(namespace: Namespace, extra: Iterable[ScopeId] = ()) -> Audience:
    audience = audience_from_scope_ids(tuple(sorted({*namespace.implied, *extra})))
    if not implies_audience(namespace, audience):
        raise ControlError(f"{namespace.text}: its audience contradicts its namespace")
    return audience


def _draft(given: CompileInput, artifact_type: ArtifactType, path: str, content: bytes) -> _Draft:
    namespace = _namespace(given, path)
    return _Draft(
        artifact_type=artifact_type,
        namespace=namespace,
        audience=_audience(namespace),
        content=content,
    )


def _trust_drafts(given: CompileInput) -> list[_Draft]:
    return [
        _draft(given, ArtifactType.TRUST_BUNDLE, "trust/bundle", bundle_bytes(given.bundle)),
        _draft(
            given,
            ArtifactType.REVOCATION_LIST,
            "trust/revocations",
            revocations_bytes(given.revocations),
        ),
    ]


def _document_draft(given: CompileInput, document: Document) -> _Draft:
    namespace = _namespace(given, document.namespace)
    if namespace.family not in TYPE_RULES[document.artifact_type].families:
        raise ControlError(
            f"{document.namespace}: {document.artifact_type.value} does not live there"
        )
    content = document.content
    if document.artifact_type is ArtifactType.CLUSTER_SNAPSHOT:
        content = snapshot_bytes(_snapshot(given, document.content))
    size_max = size_max_of(given.bundle, document.artifact_type)
    if len(content) > size_max:
        raise ControlError(
            f"{document.namespace}: {len(content)} bytes, "
            f"{document.artifact_type.value} may have {size_max}"
        )
    return _Draft(
        artifact_type=document.artifact_type,
        namespace=namespace,
        audience=_audience(namespace, document.audience),
        content=content,
        increments=document.increments,
    )


def _snapshot(given: CompileInput, settings: bytes) -> Snapshot:
    """Endpoints to start from again: core nodes that store for the whole cluster, which every
    member may know."""
    rows = [row for row in _public(given) if row.kind is PeerClass.CORE and "cluster" in row.stores]
    endpoints = [
        Endpoint(address=address, node_id=NodeId(row.node_id))
        for row in rows
        for address in row.addresses
    ]
    return Snapshot(endpoints=tuple(endpoints), degraded=given.source.degraded, settings=settings)


def _rows(given: CompileInput) -> tuple[NodeRow, ...]:
    return tuple(sorted(given.nodes, key=lambda row: row.node_id))


def _public(given: CompileInput) -> tuple[NodeRow, ...]:
    """Nodes every member of the cluster may know: the core, and whoever belongs to no
    organisation."""
    return tuple(row for row in _rows(given) if row.kind is PeerClass.CORE or not org_scopes(row))


def _audiences_in_use(given: CompileInput) -> tuple[Audience, ...]:
    """Audiences of documents that are of the grammar; the others are reported where they are
    drafted."""
    audiences = set()
    for document in given.source.documents:
        try:
            audiences.add(_audience(_namespace(given, document.namespace), document.audience))
        except (ModelError, ControlError):
            continue
    return tuple(sorted(audiences, key=lambda one: one.scope_ids))


def _directory_drafts(given: CompileInput) -> list[_Draft]:
    """A directory per scope, each listing only nodes that all its readers may know."""
    cluster = scope_id(ScopeKind.CLUSTER, given.bundle.cluster_id)
    public = _public(given)
    drafts = [_directory(given, cluster, "", public)]
    for service in _names(row.services for row in given.nodes):
        members = [row for row in public if service in row.services or "cluster" in row.stores]
        drafts.append(_directory(given, scope_id(ScopeKind.SERVICE, service), "", members))
    for org in _names(
        [*row.orgs, *(one for one in row.stores if one != "cluster")] for row in given.nodes
    ):
        inside = [row for row in _rows(given) if org in row.orgs or org in row.stores]
        drafts.append(_directory(given, scope_id(ScopeKind.ORG, org), f"org/{org}/", inside))
        for service in _names(row.services for row in inside if org in row.orgs):
            members = [row for row in inside if service in row.services or org in row.stores]
            drafts.append(
                _directory(given, scope_id(ScopeKind.SERVICE, service), f"org/{org}/", members)
            )
    return drafts


def _names(groups: Iterable[Iterable[str]]) -> list[str]:
    return sorted({name for group in groups for name in group})


def _directory(given: CompileInput, scope: ScopeId, below: str, rows: Iterable[NodeRow]) -> _Draft:
    namespace = _namespace(given, f"{below}peers/scope/{scope.text}")
    audience = _audience(namespace)
    declared = (
        audience,
        *(one for one in _audiences_in_use(given) if one != audience and _is_inside(one, audience)),
    )
    peers = []
    for row in rows:
        held = entitlements_of(row, given.bundle.cluster_id)
        peers.append(_record(row, declared, held, is_storage=not audience_holds(scope, held)))
    directory = PeerDirectory(scope=scope, audiences=declared, peers=tuple(peers))
    return _Draft(
        artifact_type=ArtifactType.PEER_DIRECTORY,
        namespace=namespace,
        audience=audience,
        content=peer_directory_bytes(directory),
    )


def _is_inside(audience: Audience, reader: Audience) -> bool:
    """Whether every reader of a directory may know that the audience is in use."""
    org = audience.org
    if org is not None and org not in reader.scope_ids:
        return False
    services = audience.ids_of(ScopeKind.SERVICE)
    return not services or any(one in reader.scope_ids for one in services)


def audience_holds(scope: ScopeId, held: Entitlements) -> bool:
    """Whether a node is a member of a scope, not only a store for it."""
    return scope in held.scope_ids


def _record(
    row: NodeRow, declared: tuple[Audience, ...], held: Entitlements, *, is_storage: bool
) -> PeerRecord:
    return PeerRecord(
        node_id=NodeId(row.node_id),
        addresses=row.addresses,
        domain=row.domain,
        peer_class=row.kind,
        is_storage=is_storage,
        audiences=tuple(
            index for index, audience in enumerate(declared) if may_share(audience, held)
        ),
    )


def _storage_drafts(given: CompileInput) -> list[_Draft]:
    """Storage nodes per scope; an organisation's directory tells nothing of another one's
    assignments."""
    cluster = scope_id(ScopeKind.CLUSTER, given.bundle.cluster_id)
    drafts = [_storage(given, cluster, "", "cluster")]
    for name in _names((one for one in row.stores if one != "cluster") for row in given.nodes):
        drafts.append(_storage(given, scope_id(ScopeKind.ORG, name), f"org/{name}/", name))
    return drafts


def _storage(given: CompileInput, scope: ScopeId, below: str, store: str) -> _Draft:
    nodes = []
    for row in _rows(given):
        for name, assignment in zip(
            row.stores, assignments_of(row, given.bundle.cluster_id), strict=True
        ):
            if name == store:
                node = StorageNode(
                    node_id=NodeId(row.node_id), domain=row.domain, assignments=(assignment,)
                )
                nodes.append(node)
    directory = StorageDirectory(
        scope=scope,
        nodes=tuple(nodes),
        replication=given.source.replication,
        retention=given.source.retention,
    )
    path = f"{below}storage/scope/{scope.text}"
    return _draft(given, ArtifactType.STORAGE_DIRECTORY, path, storage_directory_bytes(directory))


def _versions(given: CompileInput, draft: _Draft) -> list[UnsignedArtifact]:
    before = given.published.get(draft.namespace.text)
    if before is not None and not _is_due(given, draft, before.manifest):
        return []
    whole = _whole(given, draft, before)
    increment = _increment(given, draft, before, whole.manifest) if draft.increments else None
    return [whole] if increment is None else [whole, increment]


def _is_due(given: CompileInput, draft: _Draft, before: Manifest) -> bool:
    same = (
        before.content_hash == sha256(draft.content).digest()
        and before.audience == draft.audience
        and before.authority_epoch == given.bundle.authority_epoch
    )
    if not same:
        return True
    age = seconds_between(before.issued_at, given.now)
    if draft.artifact_type is ArtifactType.REVOCATION_LIST and age >= REVOCATIONS_EVERY_S:
        return True
    return age * RENEW_SHARE >= seconds_between(before.issued_at, before.refresh_by)


def _whole(given: CompileInput, draft: _Draft, before: PublishedHead | None) -> UnsignedArtifact:
    if draft.artifact_type is ArtifactType.TRUST_BUNDLE:
        # A bundle's version is its own; the same bundle is only ever issued again with fresh times.
        version = given.bundle.bundle_version
    else:
        version = 1 if before is None else _next_version(given, before.manifest)
    manifest = _manifest(given, draft, draft.artifact_type, version, draft.content)
    return UnsignedArtifact(manifest=manifest, content=draft.content)


def _next_version(given: CompileInput, before: Manifest) -> int:
    return 1 if before.authority_epoch < given.bundle.authority_epoch else before.config_version + 1


def _increment(
    given: CompileInput, draft: _Draft, before: PublishedHead | None, whole: Manifest
) -> UnsignedArtifact | None:
    """What changed since the version before, where that pays and both are of one epoch."""
    if (
        before is None
        or before.content is None
        or before.manifest.authority_epoch != whole.authority_epoch
    ):
        return None
    frame = increment_bytes(before.content, draft.content)
    if frame is None:
        return None
    base = Base(
        version=before.manifest.config_version,
        content_hash=before.manifest.content_hash,
        result_hash=whole.content_hash,
        result_size=whole.content_size,
    )
    kind = ArtifactType.SNAPSHOT_INCREMENT
    manifest = _manifest(given, draft, kind, whole.config_version, frame, base=base)
    return UnsignedArtifact(manifest=manifest, content=frame)


def _manifest(
    given: CompileInput,
    draft: _Draft,
    kind: ArtifactType,
    version: int,
    content: bytes,
    *,
    base: Base | None = None,
) -> Manifest:
    rule, bundle = TYPE_RULES[kind], given.bundle
    namespace = draft.namespace.text
    return Manifest(
        artifact_id=_artifact_id(kind, namespace, bundle.authority_epoch, version),
        artifact_type=kind,
        cluster_id=ClusterId(bundle.cluster_id),
        audience=draft.audience,
        namespace=draft.namespace,
        config_version=version,
        authority_epoch=bundle.authority_epoch,
        issued_at=given.now,
        refresh_by=seconds_after(given.now, rule.refresh_s),
        expires_at=seconds_after(given.now, rule.expiry_s),
        signer_key_ids=signers_of(bundle, kind.value, namespace),
        content_hash=ContentHash(sha256(content).digest()),
        content_size=len(content),
        chunk_hashes=chunk_hashes_of(content),
        base=base,
    )


def _artifact_id(kind: ArtifactType, namespace: str, epoch: int, version: int) -> ArtifactId:
    """For people and audit: type, a token of the namespace, and the order."""
    token = sha256(namespace.encode("ascii")).hexdigest()[:8]
    return ArtifactId(f"{kind.value.replace('_', '-')}-{token}-{epoch}.{version}")


def chunk_hashes_of(content: bytes) -> tuple[ContentHash, ...]:
    """The chunk hashes a manifest of this content carries: none up to 1 MiB."""
    if len(content) <= WHOLE_BYTES_MAX:
        return ()
    size = chunk_size_of(len(content))
    view = memoryview(content)
    return tuple(
        ContentHash(sha256(view[start : start + size]).digest())
        for start in range(0, len(content), size)
    )
