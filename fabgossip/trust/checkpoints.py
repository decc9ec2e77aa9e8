"""Audit checkpoints, signed by the node whose log it is and judged by everybody else.

Decides: whether a checkpoint was signed with the audit key of a node's claims; whether one of the
control plane's ledger was signed with a key that a trust bundle gives the right to, and no other.
Keeps: the signature is checked over the received payload before it is decoded; an audit key signs
checkpoints and holds no right to anything else; what a revoked key signed counts for nothing.
Must not know: what is in a log, who keeps checkpoints, where a key file lies.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fabgossip.errors import TrustError, WireError
from fabgossip.model.authority import LEDGER_OWNER, AuditCheckpoint, KeyStatus, TrustBundle
from fabgossip.model.envelope import PayloadKind, Signature
from fabgossip.model.ids import ClusterId, KeyId, key_id_of
from fabgossip.trust.rejections import Rejection, RejectionCode
from fabgossip.trust.signatures import Verifier, signed_bytes
from fabgossip.wire.envelopes import envelope_bytes, parse_envelope
from fabgossip.wire.statements import checkpoint_bytes, parse_checkpoint

_KIND: Final = PayloadKind.AUDIT_CHECKPOINT


class CheckpointSigner:
    """A node's private audit key, which never leaves this object."""

    __slots__ = ("_key_id", "_private", "public_key")

    def __init__(self, pem: bytes) -> None:
        """Raises `TrustError` if these bytes are no unencrypted Ed25519 key in PEM."""
        try:
            private = load_pem_private_key(pem, None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise TrustError("not an unencrypted private key in PEM") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise TrustError("not an Ed25519 key")
        self._private = private
        self.public_key = private.public_key().public_bytes_raw()
        self._key_id = key_id_of(self.public_key)

    def sign(self, checkpoint: AuditCheckpoint) -> bytes:
        """The envelope of a checkpoint."""
        payload = checkpoint_bytes(checkpoint)
        signature = self._private.sign(signed_bytes(_KIND, payload))
        return envelope_bytes(_KIND, payload, (Signature(self._key_id, signature),))


def verify_checkpoint(
    raw: bytes, audit_key: bytes, verifier: Verifier
) -> AuditCheckpoint | Rejection:
    """What the holder of an audit key (32 raw bytes) signed about its log."""
    was_signed = False
    try:
        envelope = parse_envelope(raw)
        if envelope.kind is not _KIND:
            return _refused(RejectionCode.TYPE_MISMATCH, "another kind of envelope")
        key_id = key_id_of(audit_key)
        signatures = [one.value for one in envelope.signatures if one.key_id == key_id]
        if not signatures:
            return _refused(RejectionCode.KEY_UNKNOWN, "not signed by the node's audit key")
        if not verifier.is_good(audit_key, signed_bytes(_KIND, envelope.payload), signatures[0]):
            return _refused(RejectionCode.SIG_INVALID, "the signature does not fit")
        was_signed = True
        return parse_checkpoint(envelope.payload)
    except WireError as error:
        return Rejection(code=RejectionCode(error.code), detail=error.detail, was_signed=was_signed)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerKeys:
    """Public keys that sign, or signed, checkpoints of the ledger."""

    good: tuple[bytes, ...]
    revoked: frozenset[KeyId]

    def with_key(self, public_key: bytes) -> "LedgerKeys":
        """These, and one that no bundle names yet."""
        return replace(self, good=tuple(dict.fromkeys((*self.good, public_key))))


def ledger_keys(chain: Sequence[TrustBundle]) -> LedgerKeys:
    """The keys of the ledger by a trust chain, the newest bundle last: also those that a later
    bundle names no more, since what they signed in their time is what there is to compare with."""
    keys = {key.key_id: key.public_key for bundle in chain for key in bundle.keys}
    entitled = {
        key_id: None
        for bundle in chain
        for right in bundle.rights
        if right.kind == _KIND.value and right.prefix == bundle.prefix
        for key_id in right.key_ids
    }
    revoked = frozenset(
        key.key_id
        for bundle in chain
        for key in bundle.keys
        if key.status is KeyStatus.REVOKED and key.key_id in entitled
    )
    return LedgerKeys(
        good=tuple(keys[one] for one in entitled if one not in revoked), revoked=revoked
    )


def verify_ledger_checkpoint(
    raw: bytes, keys: LedgerKeys, cluster_id: ClusterId, verifier: Verifier
) -> AuditCheckpoint | Rejection:
    """What the control plane of a cluster signed about its ledger; KEY_REVOKED where a key did that
    is trusted no more."""
    try:
        signers = {one.key_id for one in parse_envelope(raw).signatures}
    except WireError as error:
        return _refused(RejectionCode(error.code), error.detail)
    key = next((one for one in keys.good if key_id_of(one) in signers), None)
    if key is None:
        code = RejectionCode.KEY_REVOKED if signers & keys.revoked else RejectionCode.KEY_UNKNOWN
        return _refused(code, "no key with a right to it signed the checkpoint")
    found = verify_checkpoint(raw, key, verifier)
    if isinstance(found, Rejection):
        return found
    if (found.cluster_id, found.node_id) != (cluster_id, LEDGER_OWNER):
        return _refused(RejectionCode.IDENTITY_INVALID, "a checkpoint of another log")
    return found


def _refused(code: RejectionCode, detail: str) -> Rejection:
    return Rejection(code=code, detail=detail)
