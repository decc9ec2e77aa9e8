"""The ten artifact types and the manifest: which content is version v of which namespace, for whom,
until when.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from fabgossip.errors import ModelError
from fabgossip.model.envelope import PayloadKind
from fabgossip.model.ids import (
    ArtifactId,
    ClusterId,
    ContentHash,
    KeyId,
    ManifestHash,
    NodeId,
    shown,
)
from fabgossip.model.moment import UnixTime
from fabgossip.model.scope import Audience, Family, Namespace
from fabgossip.model.words import Word

KIB: Final = 1 << 10
MIB: Final = 1 << 20
MANIFEST_FORMAT: Final = 1
INTEGER_MAX: Final = 2**53 - 1
"""Greatest integer a signed field can carry: what every JSON reader can still hold exactly."""
SIGNER_KEYS_MAX: Final = 16
CHUNKS_MAX: Final = 64
CHUNK_BYTES_MIN: Final = 256 * KIB
WHOLE_BYTES_MAX: Final = MIB
"""Content up to here is one piece; above it the manifest carries chunk hashes."""
CONTENT_BYTES_MAX: Final = 256 * MIB
"""64 chunks of 4 MiB: the most a manifest can name."""
INLINE_BYTES_MAX: Final = 16 * KIB
"""Content up to here rests in the index, above it in a file of its own."""
EXTENSIONS_MAX: Final = 8
EXTENSION_NAME_BYTES_MAX: Final = 32
EXTENSION_BYTES_MAX: Final = KIB


class ArtifactType(Word):
    """The ten families of the requirement."""

    TRUST_BUNDLE = "trust_bundle"
    REVOCATION_LIST = "revocation_list"
    CLUSTER_SNAPSHOT = "cluster_snapshot"
    SNAPSHOT_INCREMENT = "snapshot_increment"
    PEER_DIRECTORY = "peer_directory"
    STORAGE_DIRECTORY = "storage_directory"
    SERVICE_ASSIGNMENT_BUNDLE = "service_assignment_bundle"
    ROUTE_POLICY_BUNDLE = "route_policy_bundle"
    QOS_POLICY_BUNDLE = "qos_policy_bundle"
    UPDATE_MANIFEST = "update_manifest"

    @property
    def payload_kind(self) -> PayloadKind:
        """The kind of envelope that carries a manifest of this type."""
        return PayloadKind(self.value)


class Criticality(Enum):
    """How early a type is repaired and sent."""

    CRITICAL = 1
    HIGH = 2
    NORMAL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeRule:
    """What holds for every artifact of a type. Caps and lifetimes are defaults of a policy
    (*start*).
    """

    families: tuple[Family, ...]
    """Heads of the namespace tree the type may live under."""
    criticality: Criticality
    size_max: int
    """Bytes of content; a trust bundle may raise it for its cluster."""
    refresh_s: int
    expiry_s: int
    is_read: bool
    """Whether fabgossip itself decodes the content once its hash matched."""


_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_SNAPSHOTS: Final = (Family.SNAPSHOT_NODE, Family.SNAPSHOT_ROLE)
TYPE_RULES: Final[dict[ArtifactType, TypeRule]] = {
    ArtifactType.TRUST_BUNDLE: TypeRule(
        families=(Family.TRUST_BUNDLE,),
        criticality=Criticality.CRITICAL,
        size_max=512 * KIB,
        refresh_s=30 * _DAY,
        expiry_s=365 * _DAY,
        is_read=True,
    ),
    ArtifactType.REVOCATION_LIST: TypeRule(
        families=(Family.TRUST_REVOCATIONS,),
        criticality=Criticality.CRITICAL,
        size_max=4 * MIB,
        refresh_s=_HOUR,
        expiry_s=7 * _DAY,
        is_read=True,
    ),
    ArtifactType.CLUSTER_SNAPSHOT: TypeRule(
        families=_SNAPSHOTS,
        criticality=Criticality.CRITICAL,
        size_max=8 * MIB,
        refresh_s=_HOUR,
        expiry_s=7 * _DAY,
        is_read=True,
    ),
    ArtifactType.SNAPSHOT_INCREMENT: TypeRule(
        families=_SNAPSHOTS,
        criticality=Criticality.HIGH,
        size_max=8 * MIB,
        refresh_s=_HOUR,
        expiry_s=7 * _DAY,
        is_read=False,
    ),
    ArtifactType.PEER_DIRECTORY: TypeRule(
        families=(Family.PEERS,),
        criticality=Criticality.HIGH,
        size_max=8 * MIB,
        refresh_s=6 * _HOUR,
        expiry_s=14 * _DAY,
        is_read=True,
    ),
    ArtifactType.STORAGE_DIRECTORY: TypeRule(
        families=(Family.STORAGE,),
        criticality=Criticality.HIGH,
        size_max=4 * MIB,
        refresh_s=6 * _HOUR,
        expiry_s=14 * _DAY,
        is_read=True,
    ),
    ArtifactType.SERVICE_ASSIGNMENT_BUNDLE: TypeRule(
        families=(Family.SERVICES,),
        criticality=Criticality.HIGH,
        size_max=16 * MIB,
        refresh_s=_DAY,
        expiry_s=30 * _DAY,
        is_read=False,
    ),
    ArtifactType.ROUTE_POLICY_BUNDLE: TypeRule(
        families=(Family.ROUTES,),
        criticality=Criticality.HIGH,
        size_max=16 * MIB,
        refresh_s=_DAY,
        expiry_s=30 * _DAY,
        is_read=False,
    ),
    ArtifactType.QOS_POLICY_BUNDLE: TypeRule(
        families=(Family.QOS,),
        criticality=Criticality.NORMAL,
        size_max=16 * MIB,
        refresh_s=_DAY,
        expiry_s=30 * _DAY,
        is_read=False,
    ),
    ArtifactType.UPDATE_MANIFEST: TypeRule(
        families=(Family.UPDATES,),
        criticality=Criticality.HIGH,
        size_max=MIB,
        refresh_s=_HOUR,
        expiry_s=7 * _DAY,
        is_read=False,
    ),
}
"""The table of types; lifetimes run from `issued_at`."""

TRUST_TYPES: Final = frozenset({ArtifactType.TRUST_BUNDLE, ArtifactType.REVOCATION_LIST})


ORDER_DIGITS_MAX: Final = 16
"""Of an epoch or a version, as text."""


@dataclass(frozen=True, slots=True, order=True)
class Order:
    """(authority epoch, config version), compared left to right."""

    epoch: int
    version: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.version}"


def parse_order(text: str) -> Order:
    """An order as `str` writes it, such as `1.42`; raises `ModelError`."""
    epoch, dot, version = text.partition(".")
    parts = (epoch, version)
    if not dot or not all(_is_number(one) for one in parts):
        raise ModelError(f"{shown(text)}: expected EPOCH.VERSION, such as 1.42")
    return Order(int(epoch), int(version))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= ORDER_DIGITS_MAX


NO_ORDER: Final = Order(0, 0)
"""Below every order a manifest can have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What an increment starts from and what it must produce."""

    version: int
    content_hash: ContentHash
    result_hash: ContentHash
    result_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """A signed withdrawal of every order up to its own; `purge` also removes the bytes."""

    reason: str
    purge: bool


def restricts(artifact_type: ArtifactType, tombstone: Tombstone | None) -> bool:
    """Whether a manifest of this type only takes away, or says who may."""
    return artifact_type in TRUST_TYPES or tombstone is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The signed statement with the eleven fields of the requirement (its signature is the
    envelope) and ours.

    A `Manifest` says what was signed, not that anybody may believe it: see `VerifiedManifest`.
    """

    artifact_id: ArtifactId
    artifact_type: ArtifactType
    cluster_id: ClusterId
    audience: Audience
    namespace: Namespace
    config_version: int
    authority_epoch: int
    issued_at: UnixTime
    refresh_by: UnixTime
    expires_at: UnixTime
    signer_key_ids: tuple[KeyId, ...]
    content_hash: ContentHash
    content_size: int
    chunk_hashes: tuple[ContentHash, ...] = ()
    base: Base | None = None
    min_trust_version: int = 0
    min_revocation_version: int = 0
    tombstone: Tombstone | None = None
    critical_extensions: tuple[str, ...] = ()
    extensions: tuple[tuple[str, bytes], ...] = ()

    @property
    def order(self) -> Order:
        """(authority epoch, config version)."""
        return Order(self.authority_epoch, self.config_version)

    @property
    def is_restriction(self) -> bool:
        """Whether it only takes away, or says who may: a bundle, a list, a tombstone."""
        return restricts(self.artifact_type, self.tombstone)

    def is_lane_of(self, node_id: NodeId) -> bool:
        """Whether a node needs it to know whom to believe: trust, and its own snapshot. What a
        tombstone restricts is another question."""
        return self.artifact_type in TRUST_TYPES or self.namespace.node_id == node_id


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedManifest:
    """A manifest whose signatures, rights, scope and order were found good; made only in
    `trust/gate.py`.
    """

    manifest: Manifest
    manifest_hash: ManifestHash
    envelope: bytes = field(repr=False)
    signed_by: tuple[KeyId, ...]
    """Keys whose signatures counted."""
    threshold: int


def chunk_size_of(content_size: int) -> int:
    """Bytes per chunk: the smallest power of two from 256 KiB on that gives at most 64 chunks."""
    chunk = CHUNK_BYTES_MIN
    while chunk * CHUNKS_MAX < content_size:
        chunk *= 2
    return chunk


def chunk_count_of(content_size: int) -> int:
    """How many chunk hashes a manifest of this size carries: none up to 1 MiB."""
    if content_size <= WHOLE_BYTES_MAX:
        return 0
    return -(-content_size // chunk_size_of(content_size))
