"""Payload bytes, their type and who may have signed them: unverified by name until the trust gate
has spoken.
"""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final

from fabgossip.model.ids import KeyId, ManifestHash

PAYLOAD_BYTES_MAX: Final = 8_192
ENVELOPE_BYTES_MAX: Final = 10_240
SIGNATURES_MAX: Final = 8
TRUST_SIGNATURES_MAX: Final = 16
SIGNATURE_BYTES: Final = 64
_PREFIX: Final = "application/vnd.fabgossip."
_SUFFIX: Final = ".v1+msgpack"


class PayloadKind(StrEnum):
    """What an envelope can carry: the ten artifact types, claims, grants and audit checkpoints."""

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
    NODE_CLAIMS = "node_claims"
    FETCH_GRANT = "fetch_grant"
    AUDIT_CHECKPOINT = "audit_checkpoint"

    @property
    def payload_type(self) -> str:
        """The media type that stands inside the signed bytes."""
        return f"{_PREFIX}{self.value}{_SUFFIX}"

    @property
    def signatures_max(self) -> int:
        """A trust bundle is signed by the roots of two bundles, so it may carry more."""
        return TRUST_SIGNATURES_MAX if self is PayloadKind.TRUST_BUNDLE else SIGNATURES_MAX


KIND_BY_PAYLOAD_TYPE: Final = {kind.payload_type: kind for kind in PayloadKind}


@dataclass(frozen=True, slots=True)
class Signature:
    """A key id, which is only a hint, and 64 bytes."""

    key_id: KeyId
    value: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """Not yet believed. `raw` is what was received and what is stored and served again."""

    raw: bytes
    kind: PayloadKind
    payload: bytes
    signatures: tuple[Signature, ...]

    @property
    def manifest_hash(self) -> ManifestHash:
        """SHA-256 of the payload: the identity of the statement, whoever signed it."""
        return ManifestHash(sha256(self.payload).digest())
