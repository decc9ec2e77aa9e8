"""Signatures against libsodium (PyNaCl), in both directions and malformed in every way we know.

Verdicts are compared, not assumed: on every case of this module the two agree. The library under
our verifier (OpenSSL, through `cryptography`) does not agree by itself; where it is laxer, the test
shows it, so that our own rule is seen to be needed. `tests/vectors` has the weak keys by name.
"""

from hashlib import sha512

import nacl.exceptions
import nacl.signing
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from nacl.bindings import crypto_core_ed25519_add, crypto_scalarmult_ed25519_base_noclamp

from fabgossip.model.envelope import PayloadKind
from fabgossip.trust.signatures import Ed25519Verifier, is_fit_public_key, signed_bytes
from tests.trust import factory as f
from tests.vectors.test_vectors import NOT_CANONICAL, SIGN_OF_ZERO, SMALL_ORDER

VERIFIER = Ed25519Verifier()
ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the base point (RFC 8032, section 5.1)."""
FIELD_PRIME = 2**255 - 19
SEED = b"\x07" * 32
PRIVATE = nacl.signing.SigningKey(SEED)
KEY = bytes(PRIVATE.verify_key)
MESSAGE = signed_bytes(PayloadKind.PEER_DIRECTORY, b"payload")
GOOD = PRIVATE.sign(MESSAGE).signature
ORDER_EIGHT = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
IDENTITY = (1).to_bytes(32, "little")


def sodium_accepts(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        nacl.signing.VerifyKey(public_key).verify(message, signature)
    except (nacl.exceptions.BadSignatureError, ValueError):
        return False
    return True


def openssl_accepts(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def both(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """The verdict of both; that they agree is part of every test here."""
    ours = VERIFIER.is_good(public_key, message, signature)
    assert ours is sodium_accepts(public_key, message, signature)
    return ours


def scalar(value: int) -> bytes:
    return value.to_bytes(32, "little")


def times_base(value: int) -> bytes:
    return crypto_scalarmult_ed25519_base_noclamp(scalar(value % ORDER))


def secret_scalar() -> int:
    """The secret factor behind `SEED` (RFC 8032, section 5.1.5)."""
    low = int.from_bytes(sha512(SEED).digest()[:32], "little")
    return low & ((1 << 254) - 8) | 1 << 254


def challenge(point: bytes, public_key: bytes, message: bytes) -> int:
    return int.from_bytes(sha512(point + public_key + message).digest(), "little") % ORDER


def crafted(point: bytes, nonce: int, public_key: bytes, message: bytes = MESSAGE) -> bytes:
    """What the holder of the key can make of a point of its choice."""
    answer = nonce + challenge(point, public_key, message) * secret_scalar()
    return point + scalar(answer % ORDER)


# Both directions.


@pytest.mark.parametrize("signer", f.SIGNING, ids=lambda signer: signer.name)
def test_either_side_s_signatures_are_good_on_the_other_and_are_equal(signer: f.Signer) -> None:
    theirs = nacl.signing.SigningKey(signer.private.private_bytes_raw())
    assert bytes(theirs.verify_key) == signer.public_key
    for message in (b"", b"\x00", MESSAGE, bytes(10_000)):
        signature = theirs.sign(message).signature
        assert signature == signer.private.sign(message)
        assert both(signer.public_key, message, signature)


def test_what_we_craft_here_is_a_signature() -> None:
    """The arithmetic of this module is right: an honest nonce gives a good signature."""
    assert times_base(secret_scalar()) == KEY
    assert both(KEY, MESSAGE, crafted(times_base(12_345), 12_345, KEY))


# Malformed.


def test_no_flipped_bit_of_a_signature_is_good() -> None:
    for place in range(len(GOOD) * 8):
        flipped = bytearray(GOOD)
        flipped[place // 8] ^= 1 << (place % 8)
        assert not both(KEY, MESSAGE, bytes(flipped)), place


def test_no_flipped_bit_of_a_key_or_a_message_leaves_a_signature_good() -> None:
    for place in range(len(KEY) * 8):
        flipped = bytearray(KEY)
        flipped[place // 8] ^= 1 << (place % 8)
        assert not both(bytes(flipped), MESSAGE, GOOD), place
    for place in range(len(MESSAGE) * 8):
        flipped = bytearray(MESSAGE)
        flipped[place // 8] ^= 1 << (place % 8)
        assert not both(KEY, bytes(flipped), GOOD), place


@pytest.mark.parametrize("times", [1, 2, 7, 8, 14])
def test_the_answer_must_be_below_the_order(times: int) -> None:
    """S + L is the same number to a careless library, and a second signature (CVE-2020-6173)."""
    answer = int.from_bytes(GOOD[32:], "little")
    assert not both(KEY, MESSAGE, GOOD[:32] + scalar(answer + times * ORDER))


@pytest.mark.parametrize("length", [0, 32, 63, 65, 128])
def test_a_signature_has_64_bytes(length: int) -> None:
    assert not both(KEY, MESSAGE, (GOOD * 2)[:length])


@pytest.mark.parametrize(
    ("signature", "name"),
    [
        (bytes(64), "zeros"),
        (b"\xff" * 64, "ones"),
        (GOOD[32:] + GOOD[:32], "halves exchanged"),
        (GOOD[:32] + bytes(32), "no answer"),
        (bytes(32) + GOOD[32:], "no point"),
        (KEY + GOOD[32:], "the key as its point"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_only_looks_like_a_signature_is_refused(signature: bytes, name: str) -> None:
    assert not both(KEY, MESSAGE, signature), name


def test_the_wrong_key_is_refused() -> None:
    for signer in f.SIGNING:
        assert not both(signer.public_key, MESSAGE, GOOD)


# Weak points, as keys and as the first half of a signature.


@pytest.mark.parametrize("key", [*SMALL_ORDER, *SIGN_OF_ZERO, *NOT_CANONICAL])
def test_nothing_is_good_under_a_weak_key(key: str) -> None:
    """Under these, R = S*B - k*A takes few values, so some message fits: 32 messages are tried."""
    public_key = bytes.fromhex(key)
    for number in range(32):
        for point in (IDENTITY, ORDER_EIGHT):
            assert not both(public_key, b"%d" % number, point + bytes(32))


def test_the_library_alone_would_accept_a_weak_key() -> None:
    accepted = [openssl_accepts(IDENTITY, b"%d" % n, IDENTITY + bytes(32)) for n in range(8)]
    assert all(accepted)


@pytest.mark.parametrize("point", [*SMALL_ORDER, *SIGN_OF_ZERO, *NOT_CANONICAL])
def test_a_signature_does_not_begin_with_a_weak_point(point: str) -> None:
    """Its maker needs the key, so it forges nothing; but two nodes must not disagree about it."""
    assert not both(KEY, MESSAGE, crafted(bytes.fromhex(point), 0, KEY))


def test_the_library_alone_would_accept_a_signature_that_begins_with_the_identity() -> None:
    assert openssl_accepts(KEY, MESSAGE, crafted(IDENTITY, 0, KEY))


def test_the_identity_written_above_the_field_prime_is_refused() -> None:
    assert not both(KEY, MESSAGE, crafted(scalar(FIELD_PRIME + 1), 0, KEY))


def test_a_point_with_a_part_of_small_order_is_refused_without_the_cofactor() -> None:
    """A verifier that multiplies by eight would accept it: then verdicts differ between nodes."""
    point = crypto_core_ed25519_add(times_base(12_345), ORDER_EIGHT)
    assert not both(KEY, MESSAGE, crafted(point, 12_345, KEY))


def test_a_key_with_a_part_of_small_order_is_judged_alike() -> None:
    """No library refuses such a key; a signature is good for the eighth of messages whose challenge
    is a multiple of eight, for both. Only the holder of the key can make one."""
    mixed = crypto_core_ed25519_add(KEY, ORDER_EIGHT)
    assert is_fit_public_key(mixed)
    verdicts = []
    for number in range(64):
        message = b"%d" % number
        point = times_base(12_345)
        is_multiple = challenge(point, mixed, message) % 8 == 0
        verdicts.append(both(mixed, message, crafted(point, 12_345, mixed, message)))
        assert verdicts[-1] is is_multiple
    assert any(verdicts)
    assert not all(verdicts)
