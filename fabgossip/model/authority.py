"""The contents of trust artifacts: whose signatures count, what lost its trust, what a node is
entitled to.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from fabgossip.model.artifact import ArtifactType
from fabgossip.model.ids import BootId, ClusterId, KeyId, ManifestHash, NodeId, PlatformId
from fabgossip.model.moment import UnixTime
from fabgossip.model.scope import Entitlements, Family, ScopeId, StorageAssignment
from fabgossip.model.words import Word

DEMO_PREFIX: Final = "demo-"
"""Platforms so named are throw-away: one root key is enough, and a daemon refuses them unless told
otherwise.
"""
CONTROL_ENDPOINT_ROLE: Final = "control-endpoint"
"""Role of the daemon beside the control plane: every node may show it everything it is entitled to.
"""
LEDGER_OWNER: Final = NodeId("ledger")
"""Stands for the node in checkpoints of the control plane's ledger. A node of that name changes
nothing: its checkpoints are signed by another key."""
MEMBER_ROLE: Final = "member"
"""The role every enrolled node has."""
ROOT_KEYS_MAX: Final = 8
KEYS_MAX: Final = 256
RIGHTS_MAX: Final = 512
NODE_CAS_MAX: Final = 8
ROLE_RULES_MAX: Final = 64
CERT_LIFE_MAX_S: Final = 7 * 86_400
ROLES_MAX: Final = 32
COMMITMENTS_MAX: Final = 128
COMMITMENTS_STEP: Final = 16
"""Commitments are padded to a multiple of this, so their number says little."""
SALT_BYTES: Final = 16
REVOCATIONS_MAX: Final = 50_000
GRANT_ID_BYTES: Final = 16
GRANT_LIFE_MAX_S: Final = 600
GRANT_MANIFESTS_MAX: Final = 64
GRANT_USES_MAX: Final = 65_536


class KeyStatus(Enum):
    """Numbers of the wire; never reused."""

    ACTIVE = 1
    RETIRED = 2
    REVOKED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A public key of the bundle with the window in which what it signs may be issued."""

    key_id: KeyId
    public_key: bytes
    status: KeyStatus
    not_before: UnixTime
    not_after: UnixTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """Who may speak about `kind` below `prefix`, and how many of them together."""

    kind: str
    """An artifact type, `node_claims`, `fetch_grant`, or `audit_checkpoint` for the ledger."""
    prefix: str
    threshold: int
    key_ids: tuple[KeyId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentCap:
    """A size limit this cluster sets for a type instead of the default."""

    artifact_type: ArtifactType
    size_max: int


@dataclass(frozen=True, slots=True)
class NodeCa:
    """A certificate that issues node identities; only an active one does."""

    der: bytes
    status: KeyStatus = KeyStatus.ACTIVE


class Verb(Word):
    """What a peer may ask to do with an artifact."""

    KNOW = "know"
    FETCH = "fetch"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRule:
    """What nodes of a role may do, with which types; without a rule a role may do nothing."""

    role: str
    verbs: tuple[Verb, ...]
    types: tuple[ArtifactType, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustBundle:
    """Version N of whom a cluster believes; N+1 is signed by the roots of both."""

    platform_id: PlatformId
    cluster_id: ClusterId
    bundle_version: int
    authority_epoch: int
    root_threshold: int
    root_keys: tuple[bytes, ...]
    """Raw 32-byte public keys, ascending."""
    keys: tuple[SigningKey, ...]
    rights: tuple[Right, ...]
    node_cas: tuple[NodeCa, ...]
    cert_life_max_s: int
    protocol_min: int
    content_caps: tuple[ContentCap, ...] = ()
    role_rules: tuple[RoleRule, ...] = ()

    @property
    def prefix(self) -> str:
        """The namespace every artifact of this cluster lives under."""
        return f"platform/{self.platform_id}/cluster/{self.cluster_id}"

    @property
    def bundle_namespace(self) -> str:
        """Where the bundles of this cluster stand."""
        return f"{self.prefix}/{Family.TRUST_BUNDLE}"

    @property
    def revocations_namespace(self) -> str:
        """Where the revocation lists of this cluster stand."""
        return f"{self.prefix}/{Family.TRUST_REVOCATIONS}"

    def lane_of(self, node_id: NodeId) -> tuple[str, str, str]:
        """Where what a node must hear before it can believe anything else stands."""
        own = f"{self.prefix}/{Family.SNAPSHOT_NODE}/{node_id}"
        return self.bundle_namespace, self.revocations_namespace, own

    @property
    def is_demo(self) -> bool:
        """Whether the platform is named as throw-away."""
        return self.platform_id.startswith(DEMO_PREFIX)


class RevokedKind(Enum):
    """What an entry of a revocation list takes away. Numbers of the wire; never reused."""

    SIGNING_KEY = 1
    NODE = 2
    CERTIFICATE = 3
    GRANT = 4
    MANIFEST = 5
    CONTENT = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """32 opaque bytes that lost their trust: a key id, or a SHA-256 of what is revoked."""

    kind: RevokedKind
    value: bytes
    reason: str
    since_epoch: int
    since: UnixTime
    until: UnixTime
    """0: for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationList:
    """All that no longer counts, as of one version."""

    entries: tuple[Revocation, ...] = ()


@dataclass(frozen=True, slots=True)
class ClaimItem:
    """One entitlement: an `org:` or `service:` scope id, or a storage assignment."""

    scope: str | None = None
    assignment: StorageAssignment | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """What reveals one commitment: its salt and the item."""

    salt: bytes
    item: ClaimItem


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeClaims:
    """What the control plane signed about one node: roles in the open, the rest as commitments."""

    platform_id: PlatformId
    cluster_id: ClusterId
    node_id: NodeId
    claims_version: int
    authority_epoch: int
    issued_at: UnixTime
    expires_at: UnixTime
    min_trust_version: int
    min_revocation_version: int
    state_generation: int
    """Starts of this node the control plane has heard of: a disk that counts fewer is an old one.
    """
    audit_key: bytes
    """Raw Ed25519 key that signs the node's audit checkpoints and nothing else."""
    roles: tuple[str, ...]
    commitments: tuple[bytes, ...]
    """Ascending SHA-256 values, padded with random ones to a multiple of 16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchGrant:
    """Short-lived permission to fetch, for one node with one certificate: adds items to the one
    request that carries it, never a cluster or an organisation, never anything to apply.
    """

    platform_id: PlatformId
    cluster_id: ClusterId
    authority_epoch: int
    grant_id: bytes
    node_id: NodeId
    certificate_hash: bytes
    verbs: tuple[Verb, ...]
    types: tuple[ArtifactType, ...]
    scope_ids: tuple[ScopeId, ...]
    """Of the kinds service, role and node only."""
    manifest_hashes: tuple[ManifestHash, ...] | None
    """None: any manifest within types and scope ids."""
    not_before: UnixTime
    expires_at: UnixTime
    max_uses: int
    min_trust_version: int
    min_revocation_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCheckpoint:
    """What a node signs about its audit log: it had `size` records, and this was the last. Reveals
    nothing that is in them.
    """

    cluster_id: ClusterId
    node_id: NodeId
    boot_id: BootId
    size: int
    head: bytes
    """SHA-256 of the line of record `size`."""
    wall: UnixTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """How much less than its right a request wants to use; None leaves a field as it is."""

    scope_ids: tuple[ScopeId, ...] | None = None
    types: tuple[ArtifactType, ...] | None = None
    manifest_hashes: tuple[ManifestHash, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedClaims:
    """Claims whose signature was found good, with what the openings shown reveal; made only in
    `trust/identity.py`.
    """

    claims: NodeClaims
    claims_hash: bytes
    entitlements: Entitlements
    signed_by: tuple[KeyId, ...] = ()
    """Keys whose signatures counted."""

    @property
    def is_control_endpoint(self) -> bool:
        """Whether this node stands beside the control plane."""
        return CONTROL_ENDPOINT_ROLE in self.claims.roles


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedGrant:
    """A grant whose signature, binding and time were found good for one connection; made only in
    `trust/grants.py`.
    """

    grant: FetchGrant
    signed_by: tuple[KeyId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeIdentity:
    """Who stands at the other end of a connection, by its certificate; made only in
    `trust/identity.py`.
    """

    node_id: NodeId
    certificate_hash: bytes
    """SHA-256 of what the CA signed of it."""
    expires_at: UnixTime
    issuer_hash: bytes = b""
    """The same of the node CA that signed it."""
