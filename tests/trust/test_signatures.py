"""A signature is good over exactly these bytes under exactly this key; weak keys make none good.

Vectors and other libraries stand in `tests/vectors`.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from fabgossip.model.artifact import ArtifactType
from fabgossip.model.envelope import PayloadKind
from fabgossip.trust.facts import ANYTHING
from fabgossip.trust.gate import TrustGate
from fabgossip.trust.rejections import RejectionCode as Code
from fabgossip.trust.signatures import (
    READ_BYTES_MAX,
    Ed25519Verifier,
    is_fit_public_key,
    signed_bytes,
)
from fabgossip.wire.envelopes import envelope_bytes
from fabgossip.wire.statements import manifest_bytes
from tests.trust import factory as f

T = TypeVar("T", bound=Hashable)

ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the group (RFC 8032, section 5.1)."""
MESSAGE = b"message"
KEY = f.COMPILER.public_key
GOOD = f.COMPILER.private.sign(MESSAGE)


@pytest.fixture
def verifier() -> Ed25519Verifier:
    return Ed25519Verifier()


def test_a_signature_is_good_for_its_key_and_message_only(verifier: Ed25519Verifier) -> None:
    assert verifier.is_good(KEY, MESSAGE, GOOD)
    assert not verifier.is_good(f.POLICY.public_key, MESSAGE, GOOD)
    assert not verifier.is_good(KEY, MESSAGE + b"\x00", GOOD)
    assert not verifier.is_good(KEY, b"", GOOD)


def test_every_flipped_bit_of_a_signature_makes_it_bad(verifier: Ed25519Verifier) -> None:
    for bit in range(512):
        flipped = bytearray(GOOD)
        flipped[bit // 8] ^= 1 << (bit % 8)
        assert not verifier.is_good(KEY, MESSAGE, bytes(flipped))


def test_a_signature_with_the_group_order_added_is_bad(verifier: Ed25519Verifier) -> None:
    scalar = int.from_bytes(GOOD[32:], "little") + ORDER
    assert not verifier.is_good(KEY, MESSAGE, GOOD[:32] + scalar.to_bytes(32, "little"))


@pytest.mark.parametrize("length", [0, 1, 32, 63, 65, 128])
def test_a_signature_of_another_length_is_bad(verifier: Ed25519Verifier, length: int) -> None:
    assert not verifier.is_good(KEY, MESSAGE, (GOOD * 2)[:length])


def test_a_key_that_is_no_point_of_the_curve_makes_no_signature_good(
    verifier: Ed25519Verifier,
) -> None:
    for y in range(2, 40):
        assert not verifier.is_good(y.to_bytes(32, "little"), MESSAGE, GOOD)


def test_the_keys_we_make_are_fit() -> None:
    assert all(is_fit_public_key(one.public_key) for one in (*f.SIGNING, *f.ROOTS))


def test_a_verdict_does_not_depend_on_what_was_asked_before(verifier: Ed25519Verifier) -> None:
    bad = bytes(64)
    first = [verifier.is_good(KEY, MESSAGE, value) for value in (bad, GOOD, bad, GOOD)]
    assert first == [False, True, False, True]


def test_type_and_payload_cannot_slide_into_each_other() -> None:
    seen = {
        signed_bytes(kind, payload)
        for kind in PayloadKind
        for payload in (b"", b"a", b" a", b"1 a", b"a ", bytes(10))
    }
    assert len(seen) == len(PayloadKind) * 6


def test_lengths_in_the_signed_bytes_count_bytes_in_plain_decimals() -> None:
    assert signed_bytes(PayloadKind.NODE_CLAIMS, b"\xff" * 10) == (
        b"DSSEv1 48 application/vnd.fabgossip.node_claims.v1+msgpack 10 " + b"\xff" * 10
    )


# What a signature covers, seen through the gate.


@dataclass
class CountingVerifier:
    """The real verifier, with a count of the questions it was asked."""

    real: Ed25519Verifier = field(default_factory=Ed25519Verifier)
    asked: int = 0

    def is_good(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        self.asked += 1
        return self.real.is_good(public_key, message, signature)

    def read(self, parse: Callable[[bytes], T], data: bytes) -> T:
        return self.real.read(parse, data)


RAW = f.signed(f.manifest(ArtifactType.ROUTE_POLICY_BUNDLE))


def test_every_flipped_bit_of_an_envelope_is_refused_by_form_or_by_signature() -> None:
    expected = {
        Code.TRUNCATED,
        Code.MALFORMED,
        Code.NONCANONICAL,
        Code.UNSUPPORTED,
        Code.SCHEMA,
        Code.SIG_INVALID,
        Code.KEY_UNKNOWN,
        Code.KEY_NOT_FOR_TYPE,
    }
    payload = f.parts(RAW).payload
    begin = RAW.index(payload)
    for place in range(len(RAW)):
        flipped = bytearray(RAW)
        flipped[place] ^= 1 << (place % 8)
        code = f.code_of(f.admit(bytes(flipped)))
        assert code in expected, (place, code)
        if begin <= place < begin + len(payload):
            assert code is Code.SIG_INVALID


@pytest.mark.parametrize("signed_kind", ArtifactType)
def test_a_signature_over_one_kind_is_not_good_for_another(signed_kind: ArtifactType) -> None:
    everybody = (*f.SIGNING, *f.ROOTS)[:8]
    statement = f.manifest(signed_kind)
    raw = f.sealed(signed_kind.payload_kind, manifest_bytes(statement), *everybody)
    read = f.parts(raw)
    for kind in ArtifactType:
        if kind is not signed_kind:
            swapped = envelope_bytes(kind.payload_kind, read.payload, read.signatures)
            assert f.code_of(f.admit(swapped)) in {
                Code.SIG_INVALID,
                Code.SIG_THRESHOLD,
                Code.KEY_NOT_FOR_TYPE,
            }


def test_a_flood_of_signatures_costs_no_verification() -> None:
    statement = f.manifest(ArtifactType.ROUTE_POLICY_BUNDLE)
    nine = (*f.SIGNING, *f.ROOTS)[:9]
    raw = f.signed(statement, *nine)
    counting = CountingVerifier()
    verdict = TrustGate(counting).admit(raw, ANYTHING, f.FACTS, f.Accepted(f.NO_LINE), f.NOW)
    assert f.code_of(verdict) is Code.SIG_TOO_MANY
    assert counting.asked == 0


def test_keys_without_a_right_on_the_type_cost_no_verification() -> None:
    statement = f.manifest(ArtifactType.ROUTE_POLICY_BUNDLE)
    strangers = tuple(f.signer(f"stranger {n}") for n in range(7))
    for signers in (strangers, (f.COMPILER, f.DIRECTORY), (*strangers, f.COMPILER)):
        counting = CountingVerifier()
        raw = f.signed(statement, *signers)
        verdict = TrustGate(counting).admit(raw, ANYTHING, f.FACTS, f.Accepted(f.NO_LINE), f.NOW)
        assert f.code_of(verdict) in {Code.KEY_UNKNOWN, Code.KEY_NOT_FOR_TYPE}
        assert counting.asked == 0


def test_equal_bytes_are_read_once_and_what_cannot_be_read_fails_each_time() -> None:
    verifier, reads = Ed25519Verifier(), list[bytes]()

    def parse(data: bytes) -> tuple[bytes]:
        reads.append(data)
        if data == b"bad":
            raise ValueError(data)
        return (data,)

    first = verifier.read(parse, b"one")
    assert verifier.read(parse, bytes(bytearray(b"one"))) is first
    for _ in range(2):
        with pytest.raises(ValueError, match="bad"):
            verifier.read(parse, b"bad")
    assert reads == [b"one", b"bad", b"bad"]


def test_what_was_read_is_remembered_up_to_a_limit() -> None:
    verifier, reads = Ed25519Verifier(), list[int]()
    half = READ_BYTES_MAX // 2

    def parse(data: bytes) -> int:
        reads.append(data[0])
        return data[0] + 1

    for number in (1, 2, 1, 2, 3, 2, 1):
        verifier.read(parse, bytes([number]) * half)
    assert reads == [1, 2, 3, 1], "the oldest leaves for the third"
