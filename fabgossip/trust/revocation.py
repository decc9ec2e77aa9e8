"""What revocation lists take away.

Decides: whether a key, node, certificate, manifest or content lost its trust.
Keeps: within an epoch the effective set is the union of all lists seen: it never shrinks.
Must not know: how a list arrived or what the node does about it.
"""

from dataclasses import dataclass
from hashlib import sha256

from fabgossip.model.authority import RevocationList, RevokedKind
from fabgossip.model.ids import ClusterId, ContentHash, KeyId, ManifestHash, NodeId


def node_token(cluster_id: ClusterId, node_id: NodeId) -> bytes:
    """How a node is named in a list every member reads."""
    return sha256(b"fabgossip node\x00" + cluster_id.encode() + b"\x00" + node_id.encode()).digest()


@dataclass(frozen=True, slots=True)
class Revoked:
    """The effective set, and the version of the newest list in it; version 0 means no list was ever
    seen.
    """

    version: int
    values: frozenset[tuple[RevokedKind, bytes]]

    def has_key(self, key_id: KeyId) -> bool:
        """Whether a signing key lost its trust."""
        return (RevokedKind.SIGNING_KEY, key_id) in self.values

    def has_node(self, cluster_id: ClusterId, node_id: NodeId) -> bool:
        """Whether a node lost its membership."""
        return (RevokedKind.NODE, node_token(cluster_id, node_id)) in self.values

    def has_certificate(self, certificate_hash: bytes) -> bool:
        """Whether a leaf certificate lost its trust."""
        return (RevokedKind.CERTIFICATE, certificate_hash) in self.values

    def has_artifact(self, manifest_hash: ManifestHash, content_hash: ContentHash) -> bool:
        """Whether a manifest or its content was revoked."""
        return (RevokedKind.MANIFEST, manifest_hash) in self.values or (
            RevokedKind.CONTENT,
            content_hash,
        ) in self.values


NOTHING_REVOKED = Revoked(0, frozenset())


def revoked_after(before: Revoked, version: int, listed: RevocationList) -> Revoked:
    """The effective set once `listed` of this version is accepted in the same epoch."""
    added = frozenset((one.kind, one.value) for one in listed.entries)
    return Revoked(max(before.version, version), before.values | added)
