"""Artifacts for the stories: content, a manifest that signs it, and the envelope."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from fabgossip.control.drafts import chunk_hashes_of
from fabgossip.core.events import ContentWanted
from fabgossip.model.artifact import (
    TRUST_TYPES,
    TYPE_RULES,
    ArtifactType,
    Base,
    Manifest,
    Tombstone,
    VerifiedManifest,
)
from fabgossip.model.authority import Revocation, RevocationList, RevokedKind, TrustBundle
from fabgossip.model.ids import NOTHING_HASH, ContentHash, NodeId
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import StoredHead
from fabgossip.model.policy import DegradedPolicy, ReplicationPolicy, RetentionPolicy
from fabgossip.model.scope import (
    Audience,
    StorageAssignment,
    parse_scope_id,
)
from fabgossip.model.topology import (
    Endpoint,
    FailureDomain,
    PeerClass,
    PeerDirectory,
    PeerRecord,
    Snapshot,
    StorageDirectory,
    StorageNode,
)
from fabgossip.wire.contents import (
    bundle_bytes,
    peer_directory_bytes,
    revocations_bytes,
    snapshot_bytes,
    storage_directory_bytes,
)
from tests.trust import factory

ACME: Final = "org:acme"
CLUSTER_SCOPE: Final = f"cluster:{factory.CLUSTER}"
EVERYBODY: Final = factory.audience(CLUSTER_SCOPE)
NO_POLICY: Final = DegradedPolicy()
EVERY_STORAGE_NODE: Final = ReplicationPolicy()
IN_ACME: Final = factory.audience(CLUSTER_SCOPE, ACME)


@dataclass(frozen=True)
class Artifact:
    """Something signed, and the content it speaks of."""

    manifest: Manifest
    envelope: bytes
    content: bytes

    @property
    def content_hash(self) -> ContentHash:
        return self.manifest.content_hash

    @property
    def is_read(self) -> bool:
        return TYPE_RULES[self.manifest.artifact_type].is_read

    @property
    def wanted(self) -> ContentWanted:
        """What is asked for, whatever the gate makes of the manifest."""
        return ContentWanted(
            manifest_hash=factory.parts(self.envelope).manifest_hash,
            content_hash=self.content_hash,
            size=self.manifest.content_size,
            chunk_hashes=self.manifest.chunk_hashes,
            is_read=self.is_read,
        )

    @property
    def tail(self) -> str:
        return self.manifest.namespace.text.removeprefix(f"{factory.PREFIX}/")

    @property
    def verified(self) -> VerifiedManifest:
        """What the gate makes of it: equal to what the node holds."""
        return factory.admitted(self.envelope)

    @property
    def prefix(self) -> bytes:
        return self.verified.manifest_hash[:16]


def sealed(statement: Manifest, content: bytes) -> Artifact:
    statement = replace(
        statement,
        content_hash=factory.hash_of(content),
        content_size=len(content),
        chunk_hashes=chunk_hashes_of(content),
    )
    return Artifact(statement, factory.signed(statement), content)


@cache
def artifact(
    kind: ArtifactType,
    tail: str | None = None,
    *,
    version: int = 7,
    content: bytes = b"some content",
    audience: Audience | None = None,
    expires_at: int | None = None,
    refresh_by: int | None = None,
) -> Artifact:
    """An artifact of any type fabgossip does not read."""
    statement = replace(factory.manifest(kind, tail), config_version=version)
    if audience is not None:
        statement = replace(statement, audience=audience)
    if refresh_by is not None:
        statement = replace(statement, refresh_by=UnixTime(refresh_by))
    if expires_at is not None:
        statement = replace(statement, expires_at=UnixTime(expires_at))
    return sealed(statement, content)


def routes(version: int = 7, name: str = "r1", content: bytes | None = None) -> Artifact:
    """Routes for every member of the cluster."""
    data = b"routes %d" % version if content is None else content
    return artifact(
        ArtifactType.ROUTE_POLICY_BUNDLE, f"routes/{name}", version=version, content=data
    )


def acme_routes(version: int = 7, name: str = "r1") -> Artifact:
    """Routes for members of one organisation."""
    return artifact(
        ArtifactType.ROUTE_POLICY_BUNDLE,
        f"org/acme/routes/{name}",
        version=version,
        content=b"acme routes %d" % version,
    )


@cache
def tombstone(version: int, name: str = "r1") -> Artifact:
    """The withdrawal of some routes."""
    statement = replace(
        factory.manifest(ArtifactType.ROUTE_POLICY_BUNDLE, f"routes/{name}"),
        config_version=version,
        content_hash=NOTHING_HASH,
        content_size=0,
        tombstone=Tombstone(reason="withdrawn", purge=False),
    )
    return Artifact(statement, factory.signed(statement), b"")


@cache
def update(version: int = 7) -> Artifact:
    """What its consumer has to start."""
    return artifact(
        ArtifactType.UPDATE_MANIFEST, "updates/u1", version=version, content=b"update %d" % version
    )


@cache
def revocations(version: int, *entries: Revocation) -> Artifact:
    """A revocation list."""
    statement = replace(factory.manifest(ArtifactType.REVOCATION_LIST), config_version=version)
    return sealed(statement, revocations_bytes(RevocationList(entries=entries)))


def revoked(kind: RevokedKind, value: bytes) -> Revocation:
    return Revocation(
        kind=kind, value=value, reason="stolen", since_epoch=1, since=factory.NOW, until=UnixTime(0)
    )


@cache
def trust(bundle: TrustBundle) -> Artifact:
    """A trust bundle as an artifact."""
    statement = factory.bundle_manifest(bundle)
    return Artifact(statement, factory.signed(statement), bundle_bytes(bundle))


def record(
    name: str,
    *,
    place: str = "r1/z1/k1",
    peer_class: PeerClass = PeerClass.FULL,
    audiences: tuple[int, ...] = (0,),
    is_storage: bool = False,
) -> PeerRecord:
    """A line of a peer directory."""
    return PeerRecord(
        node_id=NodeId(name),
        addresses=(f"{name}.example:7420",),
        domain=FailureDomain(*place.split("/")),
        peer_class=peer_class,
        is_storage=is_storage,
        audiences=audiences,
    )


def peers(
    *records: PeerRecord, version: int = 7, scope: str = CLUSTER_SCOPE, below: str = ""
) -> Artifact:
    """The peer directory of a scope."""
    tail = f"{below}peers/scope/{scope}"
    statement = replace(factory.manifest(ArtifactType.PEER_DIRECTORY, tail), config_version=version)
    directory = PeerDirectory(
        scope=parse_scope_id(scope),
        audiences=(statement.audience,),
        peers=tuple(sorted(records, key=lambda one: one.node_id)),
    )
    return sealed(statement, peer_directory_bytes(directory))


def acme_peers(*names: str, version: int = 7) -> Artifact:
    """Who is in the organisation."""
    return peers(*(record(name) for name in names), version=version, scope=ACME, below="org/acme/")


def stores(
    *names: str,
    version: int = 7,
    replication: ReplicationPolicy = EVERY_STORAGE_NODE,
    keep_versions: int = 2,
    kind: ArtifactType = ArtifactType.ROUTE_POLICY_BUNDLE,
    scopes: tuple[str, ...] = (CLUSTER_SCOPE,),
) -> Artifact:
    """Who stores routes, or something else, for the cluster or part of it."""
    assignment = StorageAssignment(tuple(map(parse_scope_id, scopes)), (kind.value,))
    directory = StorageDirectory(
        scope=parse_scope_id(CLUSTER_SCOPE),
        nodes=tuple(
            StorageNode(
                node_id=NodeId(name),
                domain=FailureDomain("r1", "z1", "k1"),
                assignments=(assignment,),
            )
            for name in sorted(names)
        ),
        replication=replication,
        retention=RetentionPolicy(keep_versions=keep_versions),
    )
    statement = replace(factory.manifest(ArtifactType.STORAGE_DIRECTORY), config_version=version)
    return sealed(statement, storage_directory_bytes(directory))


@cache
def increment(version: int = 7, content: bytes = b"what changed") -> Artifact:
    """What changed in the node's own snapshot."""
    statement = replace(
        factory.manifest(ArtifactType.SNAPSHOT_INCREMENT),
        config_version=version,
        base=Base(
            version=version - 1,
            content_hash=factory.hash_of(b"before"),
            result_hash=factory.hash_of(b"after"),
            result_size=5,
        ),
    )
    return sealed(statement, content)


def stored_head(one: Artifact, *, is_held: bool = True) -> StoredHead:
    """The row of an artifact in the node's own index."""
    kind = one.manifest.artifact_type
    return StoredHead(
        namespace=one.manifest.namespace.text,
        envelope=one.envelope,
        order=one.manifest.order,
        held_bytes=one.manifest.content_size if is_held else None,
        is_increment=kind is ArtifactType.SNAPSHOT_INCREMENT,
        is_trust=kind in TRUST_TYPES,
        content=one.content if is_held and one.is_read else None,
    )


def node_snapshot(
    version: int = 7,
    settings: bytes = b"settings",
    endpoints: tuple[Endpoint, ...] = (),
    degraded: DegradedPolicy = NO_POLICY,
    claims: bytes = b"",
) -> Artifact:
    """The snapshot of node n1."""
    snapshot = Snapshot(endpoints=endpoints, degraded=degraded, settings=settings, claims=claims)
    content = snapshot_bytes(snapshot)
    return artifact(ArtifactType.CLUSTER_SNAPSHOT, version=version, content=content)


def endpoint(name: str) -> Endpoint:
    """Where a node can be dialled."""
    return Endpoint(address=f"{name}.example:7420", node_id=NodeId(name))
