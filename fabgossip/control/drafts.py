"""What a compile depends on and what it makes: the values its modules share, and the one place
where a manifest is written."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Final

from fabgossip.control.enrollment import NodeRow, org_scopes
from fabgossip.control.keystore import ArtifactKey
from fabgossip.control.signing import Signers
from fabgossip.control.sources.folder import Source
from fabgossip.errors import ControlError
from fabgossip.model.artifact import (
    TYPE_RULES,
    WHOLE_BYTES_MAX,
    ArtifactType,
    Base,
    Manifest,
    Tombstone,
    chunk_size_of,
    restricts,
)
from fabgossip.model.authority import RevocationList, RevokedKind, TrustBundle
from fabgossip.model.ids import (
    ArtifactId,
    ClusterId,
    ContentHash,
    KeyId,
    ManifestHash,
    NodeId,
    key_id_of,
)
from fabgossip.model.moment import UnixTime, seconds_after, seconds_between
from fabgossip.model.scope import (
    Audience,
    Namespace,
    ScopeId,
    audience_from_scope_ids,
    implies_audience,
    parse_namespace,
)
from fabgossip.model.topology import ENDPOINTS_MAX, Endpoint, PeerClass
from fabgossip.trust.revocation import node_token
from fabgossip.wire.statements import manifest_bytes

RENEW_SHARE: Final = 2
"""What is signed is signed anew once half of its span is gone: artifacts, bundles, claims alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedHead:
    """The newest version of a namespace as the control plane knows it."""

    manifest: Manifest
    content: bytes | None
    """Kept for snapshots: the next version may come as an increment, and claims in it go on."""
    window: tuple[ManifestHash, ...] = ()
    """Earlier manifests of the same epoch, newest first."""


@dataclass(frozen=True, slots=True)
class Minimums:
    """The trust bundle and the revocation list a node must know before it acts on anything newer:
    those that took something away last."""

    trust: int = 0
    revocation: int = 0


@dataclass(frozen=True, kw_only=True)
class CompileInput:
    """Everything a compile depends on. Without slots: what follows from the list is worked out
    once, not for each of many manifests."""

    bundle: TrustBundle
    nodes: tuple[NodeRow, ...]
    source: Source
    revocations: RevocationList
    published: dict[str, PublishedHead]
    now: UnixTime
    claims_keys: tuple[ArtifactKey, ...]
    """What signs the claims in node snapshots, as many as must."""
    minimums: Minimums = Minimums()
    restored: frozenset[str] = frozenset()
    """Full namespaces that may come back after their tombstone."""
    renews_bundle: bool = True
    """Whether the roots are at hand that a fresh issue of the trust bundle needs."""

    @cached_property
    def revoked(self) -> frozenset[tuple[RevokedKind, bytes]]:
        """What the list takes away."""
        return frozenset((one.kind, one.value) for one in self.revocations.entries)

    @cached_property
    def members(self) -> dict[str, NodeRow]:
        """Every enrolled node that is not revoked, ascending by id."""
        rows = {row.node_id: row for row in self.nodes}
        return {one: rows[one] for one in sorted(rows) if not self.is_revoked(NodeId(one))}

    def is_revoked(self, node_id: NodeId | None) -> bool:
        """Whether a node lost its membership."""
        if node_id is None or not self.revoked:
            return False
        return (RevokedKind.NODE, node_token(self.bundle.cluster_id, node_id)) in self.revoked

    @cached_property
    def public(self) -> tuple[NodeRow, ...]:
        """Nodes every member of the cluster may know: the core, and whoever belongs to no
        organisation."""
        return tuple(
            row
            for row in self.members.values()
            if row.kind is PeerClass.CORE or not org_scopes(row)
        )

    @cached_property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where every snapshot says to start from again: core nodes that store for the whole
        cluster, which every member may know."""
        found = [
            Endpoint(address=address, node_id=NodeId(row.node_id))
            for row in self.public
            if row.kind is PeerClass.CORE and "cluster" in row.stores
            for address in row.addresses
        ]
        return tuple(found[:ENDPOINTS_MAX])

    @cached_property
    def signers(self) -> Signers:
        """Whose signatures count."""
        return Signers(bundle=self.bundle, revoked=revoked_keys(self.revocations))


def is_worn(issued_at: UnixTime, until: UnixTime, now: UnixTime) -> bool:
    """Whether so much of a span is gone that what has it is due again."""
    return seconds_between(issued_at, now) * RENEW_SHARE >= seconds_between(issued_at, until)


def revoked_keys(revocations: RevocationList) -> frozenset[KeyId]:
    """The signing keys a list names."""
    return frozenset(
        KeyId(one.value) for one in revocations.entries if one.kind is RevokedKind.SIGNING_KEY
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsignedArtifact:
    """A manifest ready to be signed, and its content."""

    manifest: Manifest
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a namespace is to say now."""

    artifact_type: ArtifactType
    namespace: Namespace
    audience: Audience
    content: bytes = field(repr=False)
    increments: bool = False


def namespace_of(bundle: TrustBundle, path: str) -> Namespace:
    """The namespace of a path below the cluster; raises `ModelError`."""
    return parse_namespace(f"{bundle.prefix}/{path}")


def audience_of(namespace: Namespace, extra: Iterable[ScopeId] = ()) -> Audience:
    """The audience a namespace implies, narrowed by further scope ids; raises `ModelError`,
    `ControlError`."""
    audience = audience_from_scope_ids(tuple(sorted({*namespace.implied, *extra})))
    if not implies_audience(namespace, audience):
        raise ControlError(f"{namespace.text}: its audience contradicts its namespace")
    return audience


def draft_of(bundle: TrustBundle, artifact_type: ArtifactType, path: str, content: bytes) -> Draft:
    """A draft for exactly whom its path implies."""
    namespace = namespace_of(bundle, path)
    return Draft(
        artifact_type=artifact_type,
        namespace=namespace,
        audience=audience_of(namespace),
        content=content,
    )


def content_hash_of(content: bytes) -> ContentHash:
    """SHA-256 of a content."""
    return ContentHash(sha256(content).digest())


def manifest_hash_of(manifest: Manifest) -> ManifestHash:
    """The hash of a manifest as it is signed."""
    return ManifestHash(sha256(manifest_bytes(manifest)).digest())


def manifest_of(
    given: CompileInput,
    draft: Draft,
    kind: ArtifactType,
    version: int,
    content: bytes,
    *,
    base: Base | None = None,
    tombstone: Tombstone | None = None,
) -> Manifest:
    """The manifest of a draft as the next version of its namespace; raises `ControlError` where too
    few keys may sign it.

    A restriction names no minimum: it lands whatever a node knows.
    """
    minimums = Minimums() if restricts(kind, tombstone) else given.minimums
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
        signer_key_ids=_signer_key_ids(given, kind, namespace),
        content_hash=content_hash_of(content),
        content_size=len(content),
        chunk_hashes=chunk_hashes_of(content),
        base=base,
        min_trust_version=minimums.trust,
        min_revocation_version=minimums.revocation,
        tombstone=tombstone,
    )


def _signer_key_ids(given: CompileInput, kind: ArtifactType, namespace: str) -> tuple[KeyId, ...]:
    if kind is ArtifactType.TRUST_BUNDLE:
        return tuple(sorted(key_id_of(root) for root in given.bundle.root_keys))
    return tuple(sorted(given.signers.named(kind.value, namespace, given.now)))


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
