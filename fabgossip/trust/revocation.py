"""What revocation lists take away.

Decides: whether a key, node, certificate, grant, manifest or content lost its trust.
Keeps: within an epoch the effective set is the union of all lists seen: it never shrinks; only the
first list of a higher epoch starts anew.
Must not know: how a list arrived or what the node does about it.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from fabgossip.model.authority import NodeIdentity, RevocationList, RevokedKind
from fabgossip.model.ids import ClusterId, ContentHash, KeyId, ManifestHash, NodeId

REVOKED_MAX: Final = 200_000
"""Entries of the union (*start*). A thief of the revocation key can only deny: beyond, further
entries are left out and nothing counts as fresh any more."""
_GRANT_DOMAIN: Final = b"fabgossip grant\x00"


def grant_token(grant_id: bytes) -> bytes:
    """How a grant is named in a list every member reads."""
    return sha256(_GRANT_DOMAIN + grant_id).digest()


def node_token(cluster_id: ClusterId, node_id: NodeId) -> bytes:
    """How a node is named in a list every member reads."""
    return sha256(b"fabgossip node\x00" + cluster_id.encode() + b"\x00" + node_id.encode()).digest()


@dataclass(frozen=True, slots=True)
class Revoked:
    """The effective set, and epoch and version of the newest list in it; version 0 means no list
    of the epoch was ever seen.
    """

    version: int
    values: frozenset[tuple[RevokedKind, bytes]]
    epoch: int = 0
    is_full: bool = False
    """Whether entries had to be left out."""

    def has_key(self, key_id: KeyId) -> bool:
        """Whether a signing key lost its trust."""
        return (RevokedKind.SIGNING_KEY, key_id) in self.values

    def has_node(self, cluster_id: ClusterId, node_id: NodeId) -> bool:
        """Whether a node lost its membership."""
        return (RevokedKind.NODE, node_token(cluster_id, node_id)) in self.values

    def has_certificate(self, certificate_hash: bytes) -> bool:
        """Whether a certificate, of a node or of a CA, lost its trust."""
        return (RevokedKind.CERTIFICATE, certificate_hash) in self.values

    def has_identity(self, cluster_id: ClusterId, identity: NodeIdentity) -> bool:
        """Whether a node lost its membership, or its certificate or the CA of that its trust."""
        # Asked for every artifact that is told of, and mostly there is nothing to look up.
        return bool(self.values) and (
            self.has_node(cluster_id, identity.node_id)
            or self.has_certificate(identity.certificate_hash)
            or self.has_certificate(identity.issuer_hash)
        )

    def has_grant(self, grant_id: bytes) -> bool:
        """Whether a fetch grant lost its trust."""
        return (RevokedKind.GRANT, grant_token(grant_id)) in self.values

    def has_artifact(self, manifest_hash: ManifestHash, content_hash: ContentHash) -> bool:
        """Whether a manifest or its content was revoked."""
        return (RevokedKind.MANIFEST, manifest_hash) in self.values or (
            RevokedKind.CONTENT,
            content_hash,
        ) in self.values


NOTHING_REVOKED = Revoked(0, frozenset())


def revoked_after(before: Revoked, epoch: int, version: int, listed: RevocationList) -> Revoked:
    """The effective set once `listed` is accepted: the union within an epoch, the list alone where
    it opens a higher one."""
    if epoch < before.epoch:
        return before
    is_same = epoch == before.epoch
    values = before.values if is_same else frozenset()
    fresh = [one for one in listed.entries if (one.kind, one.value) not in values]
    kept = fresh[: REVOKED_MAX - len(values)]
    return Revoked(
        version=max(before.version, version) if is_same else version,
        values=values | {(one.kind, one.value) for one in kept},
        epoch=epoch,
        is_full=len(kept) < len(fresh) or (is_same and before.is_full),
    )
