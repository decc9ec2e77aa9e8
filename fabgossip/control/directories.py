"""Who may know whom: peer and storage directories, one per scope.

Each lists only nodes that all its readers may know, and none that is revoked. A scope that lost its
last node gets an empty directory once, so that no older one stays the newest.
"""

from collections.abc import Iterable

from fabgossip.control.drafts import (
    CompileInput,
    Draft,
    audience_of,
    content_hash_of,
    draft_of,
    namespace_of,
)
from fabgossip.control.enrollment import NodeRow, assignments_of, entitlements_of
from fabgossip.errors import ControlError, ModelError
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.ids import NodeId
from fabgossip.model.scope import (
    Audience,
    Entitlements,
    ScopeId,
    ScopeKind,
    may_share,
    scope_id,
)
from fabgossip.model.topology import (
    PeerDirectory,
    PeerRecord,
    StorageDirectory,
    StorageNode,
)
from fabgossip.wire.contents import peer_directory_bytes, storage_directory_bytes


def _audiences_in_use(given: CompileInput) -> tuple[Audience, ...]:
    """Audiences of documents that are of the grammar; the others are reported where they are
    drafted."""
    audiences = set()
    for document in given.source.documents:
        try:
            namespace = namespace_of(given.bundle, document.namespace)
            audiences.add(audience_of(namespace, document.audience))
        except (ModelError, ControlError):
            continue
    return tuple(sorted(audiences, key=lambda one: one.scope_ids))


def peer_directories(given: CompileInput) -> list[Draft]:
    """A directory per scope, each listing only nodes that all its readers may know."""
    cluster = scope_id(ScopeKind.CLUSTER, given.bundle.cluster_id)
    known = given.public
    drafts = [_directory(given, cluster, "", known)]
    for service in _names(row.services for row in given.members.values()):
        inside = [row for row in known if service in row.services or "cluster" in row.stores]
        drafts.append(_directory(given, scope_id(ScopeKind.SERVICE, service), "", inside))
    for org in _names(
        [*row.orgs, *(one for one in row.stores if one != "cluster")]
        for row in given.members.values()
    ):
        inside = [row for row in given.members.values() if org in row.orgs or org in row.stores]
        drafts.append(_directory(given, scope_id(ScopeKind.ORG, org), f"org/{org}/", inside))
        for service in _names(row.services for row in inside if org in row.orgs):
            some = [row for row in inside if service in row.services or org in row.stores]
            drafts.append(
                _directory(given, scope_id(ScopeKind.SERVICE, service), f"org/{org}/", some)
            )
    return drafts + _emptied(given, ArtifactType.PEER_DIRECTORY, drafts)


def _emptied(given: CompileInput, kind: ArtifactType, drafts: list[Draft]) -> list[Draft]:
    """Directories of scopes that lost their last node, unless they say so already."""
    made = {draft.namespace.text for draft in drafts}
    emptied = []
    for name, head in given.published.items():
        namespace = head.manifest.namespace
        if head.manifest.artifact_type is not kind or name in made or namespace.scope is None:
            continue
        below = "" if namespace.org_id is None else f"org/{namespace.org_id}/"
        make = _directory if kind is ArtifactType.PEER_DIRECTORY else _storage
        draft = make(given, namespace.scope, below, ())
        is_told = head.manifest.content_hash == content_hash_of(draft.content)
        if not is_told and head.manifest.authority_epoch == given.bundle.authority_epoch:
            emptied.append(draft)
    return emptied


def _names(groups: Iterable[Iterable[str]]) -> list[str]:
    return sorted({name for group in groups for name in group})


def _directory(given: CompileInput, scope: ScopeId, below: str, rows: Iterable[NodeRow]) -> Draft:
    namespace = namespace_of(given.bundle, f"{below}peers/scope/{scope.text}")
    audience = audience_of(namespace)
    declared = (
        audience,
        *(one for one in _audiences_in_use(given) if one != audience and _is_inside(one, audience)),
    )
    peers = []
    for row in rows:
        held = entitlements_of(row, given.bundle.cluster_id)
        peers.append(_record(row, declared, held, is_storage=not audience_holds(scope, held)))
    directory = PeerDirectory(scope=scope, audiences=declared, peers=tuple(peers))
    return Draft(
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


def storage_directories(given: CompileInput) -> list[Draft]:
    """Storage nodes per scope; an organisation's directory tells nothing of another one's
    assignments."""
    cluster = scope_id(ScopeKind.CLUSTER, given.bundle.cluster_id)
    drafts = [_storage(given, cluster, "", given.members.values())]
    for name in _names(
        (one for one in row.stores if one != "cluster") for row in given.members.values()
    ):
        org = scope_id(ScopeKind.ORG, name)
        drafts.append(_storage(given, org, f"org/{name}/", given.members.values()))
    return drafts + _emptied(given, ArtifactType.STORAGE_DIRECTORY, drafts)


def _storage(given: CompileInput, scope: ScopeId, below: str, rows: Iterable[NodeRow]) -> Draft:
    store = "cluster" if scope.kind is ScopeKind.CLUSTER else scope.name
    nodes = []
    for row in rows:
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
    return draft_of(
        given.bundle, ArtifactType.STORAGE_DIRECTORY, path, storage_directory_bytes(directory)
    )
