"""A checkpoint counts if the audit key of the claims signed exactly these bytes, and only then."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from fabgossip.errors import TrustError
from fabgossip.model.envelope import PayloadKind
from fabgossip.trust.checkpoints import CheckpointSigner, verify_checkpoint
from fabgossip.trust.rejections import Blame, Rejection, RejectionCode
from fabgossip.trust.signatures import Ed25519Verifier
from fabgossip.wire.envelopes import envelope_bytes
from fabgossip.wire.statements import checkpoint_bytes
from tests.trust import factory as f

PLAIN = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
PAYLOAD = checkpoint_bytes(f.checkpoint())
CODE = RejectionCode


def judged(raw: bytes, key: bytes = f.AUDITOR.public_key) -> object:
    """The checkpoint, or code and blame of the refusal."""
    found = verify_checkpoint(raw, key, Ed25519Verifier())
    return (found.code, found.blame) if isinstance(found, Rejection) else found


def test_what_the_audit_key_signed_is_believed() -> None:
    assert judged(f.signed_checkpoint(f.checkpoint())) == f.checkpoint()


def test_a_signer_signs_what_the_verifier_believes_and_always_the_same_bytes() -> None:
    signer = CheckpointSigner(f.AUDITOR.private.private_bytes(*PLAIN))
    assert signer.public_key == f.AUDITOR.public_key
    assert signer.sign(f.checkpoint()) == f.signed_checkpoint(f.checkpoint())


def foreign_signature() -> bytes:
    """The id of the audit key over somebody else's signature."""
    kind = PayloadKind.AUDIT_CHECKPOINT
    other = f.STRANGER.sign(kind, PAYLOAD)
    return envelope_bytes(kind, PAYLOAD, (replace(other, key_id=f.AUDITOR.key_id),))


REFUSED = {
    "another key": (f.signed_checkpoint(f.checkpoint(), f.STRANGER), CODE.KEY_UNKNOWN),
    "nobody": (envelope_bytes(PayloadKind.AUDIT_CHECKPOINT, PAYLOAD, ()), CODE.KEY_UNKNOWN),
    "a signature of another key": (foreign_signature(), CODE.SIG_INVALID),
    "claims signed by the audit key": (
        f.signed_claims(f.claims(), f.AUDITOR),
        CODE.TYPE_MISMATCH,
    ),
    "a cut envelope": (f.signed_checkpoint(f.checkpoint())[:-1], CODE.TRUNCATED),
    "a signed payload that is no checkpoint": (
        f.sealed(PayloadKind.AUDIT_CHECKPOINT, b"\x90", f.AUDITOR),
        CODE.SCHEMA,
    ),
}


@pytest.mark.parametrize(("raw", "code"), REFUSED.values(), ids=REFUSED)
def test_anything_else_is_refused(raw: bytes, code: RejectionCode) -> None:
    blame = {CODE.SCHEMA: Blame.SIGNER, CODE.KEY_UNKNOWN: Blame.NONE}.get(code, Blame.PEER)
    assert judged(raw) == (code, blame)


def test_every_flipped_bit_of_a_signed_checkpoint_is_refused() -> None:
    raw = f.signed_checkpoint(f.checkpoint())
    for place in range(len(raw)):
        flipped = bytearray(raw)
        flipped[place] ^= 1 << (place % 8)
        assert judged(bytes(flipped)) != f.checkpoint()


def test_the_key_of_nobody_verifies_nothing() -> None:
    """Claims of a node without an audit key hold zeros: a point of small order."""
    nobody = replace(f.AUDITOR, public_key=bytes(32))
    signature = f.AUDITOR.sign(PayloadKind.AUDIT_CHECKPOINT, PAYLOAD)
    zeros = replace(signature, key_id=nobody.key_id, value=b"\x01" + bytes(63))
    raw = envelope_bytes(PayloadKind.AUDIT_CHECKPOINT, PAYLOAD, (zeros,))
    assert judged(raw, nobody.public_key) == (CODE.SIG_INVALID, Blame.PEER)


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        f.p256_key("node").private_bytes(*PLAIN),
        f.AUDITOR.private.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        ),
    ],
    ids=["nothing", "no key", "a key on P-256", "an encrypted key"],
)
def test_only_a_plain_ed25519_key_signs(pem: bytes) -> None:
    with pytest.raises(TrustError):
        CheckpointSigner(pem)
