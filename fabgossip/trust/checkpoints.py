"""Audit checkpoints, signed by the node whose log it is and judged by everybody else.

Decides: whether a checkpoint was signed with the audit key of a node's claims.
Keeps: the signature is checked over the received payload before it is decoded; an audit key signs
checkpoints and holds no right to anything else.
Must not know: what is in a log, who keeps checkpoints, where a key file lies.
"""

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fabgossip.errors import TrustError, WireError
from fabgossip.model.authority import AuditCheckpoint
from fabgossip.model.envelope import PayloadKind, Signature
from fabgossip.model.ids import key_id_of
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


def _refused(code: RejectionCode, detail: str) -> Rejection:
    return Rejection(code=code, detail=detail)
