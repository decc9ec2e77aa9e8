"""An envelope has one form: four parts, a known payload type, key ids ascending and none twice."""

import tracemalloc

import msgpack
import pytest

from fabgossip.model.envelope import (
    ENVELOPE_BYTES_MAX,
    KIND_BY_PAYLOAD_TYPE,
    PAYLOAD_BYTES_MAX,
    PayloadKind,
    Signature,
)
from fabgossip.model.ids import KeyId
from fabgossip.wire.envelopes import envelope_bytes, parse_envelope
from tests.wire.samples import ENVELOPE, code_when_read

KIND = PayloadKind.CLUSTER_SNAPSHOT
TYPE = "application/vnd.fabgossip.cluster_snapshot.v1+msgpack"


def row(number: int, key_bytes: int = 32, signature_bytes: int = 64) -> list[bytes]:
    return [number.to_bytes(key_bytes, "big"), bytes(signature_bytes)]


def rows(count: int) -> list[list[bytes]]:
    return [row(number) for number in range(count)]


def packed(*parts: object) -> bytes:
    data: bytes = msgpack.packb(list(parts), use_bin_type=True)
    return data


def code(*parts: object) -> str | None:
    return code_when_read(parse_envelope, packed(*parts))


@pytest.mark.parametrize("kind", PayloadKind)
def test_every_kind_has_a_payload_type_of_its_own_within_its_bounds(kind: PayloadKind) -> None:
    assert 32 <= len(kind.payload_type) <= 96
    assert KIND_BY_PAYLOAD_TYPE[kind.payload_type] is kind
    assert parse_envelope(envelope_bytes(kind, b"x", ())).kind is kind


def test_signatures_are_written_in_ascending_order_of_key_id() -> None:
    signatures = [Signature(KeyId(bytes([n]) * 32), bytes(64)) for n in (3, 1, 2)]
    read = parse_envelope(envelope_bytes(KIND, b"x", tuple(signatures)))
    assert [one.key_id[0] for one in read.signatures] == [1, 2, 3]


def test_the_received_bytes_are_kept_as_they_came() -> None:
    assert parse_envelope(ENVELOPE).raw == ENVELOPE


def test_the_identity_of_a_statement_does_not_depend_on_who_signed_it() -> None:
    one = parse_envelope(packed(1, TYPE, b"x", rows(1)))
    two = parse_envelope(packed(1, TYPE, b"x", rows(2)))
    assert one.manifest_hash == two.manifest_hash
    assert one.manifest_hash != parse_envelope(packed(1, TYPE, b"y", rows(1))).manifest_hash


REFUSED = {
    "version 0": ("UNSUPPORTED", (0, TYPE, b"x", [])),
    "version 2": ("UNSUPPORTED", (2, TYPE, b"x", [])),
    "version true": ("UNSUPPORTED", (True, TYPE, b"x", [])),
    "version as text": ("UNSUPPORTED", ("1", TYPE, b"x", [])),
    "unknown payload type": ("UNSUPPORTED", (1, TYPE.replace("cluster", "custom"), b"x", [])),
    "payload type of version 2": ("UNSUPPORTED", (1, TYPE.replace("v1", "v2"), b"x", [])),
    "payload type in upper case": ("UNSUPPORTED", (1, TYPE.upper(), b"x", [])),
    "payload type as bytes": ("UNSUPPORTED", (1, TYPE.encode(), b"x", [])),
    "payload type as array": ("UNSUPPORTED", (1, [TYPE], b"x", [])),
    "empty payload": ("MALFORMED", (1, TYPE, b"", [])),
    "payload as text": ("SCHEMA", (1, TYPE, "x", [])),
    "payload too long": ("SCHEMA", (1, TYPE, bytes(PAYLOAD_BYTES_MAX + 1), [])),
    "no signatures": ("SCHEMA", (1, TYPE, b"x", None)),
    "a key id twice": ("SCHEMA", (1, TYPE, b"x", [row(1), row(1)])),
    "key ids descending": ("SCHEMA", (1, TYPE, b"x", [row(2), row(1)])),
    "short key id": ("SCHEMA", (1, TYPE, b"x", [row(1, key_bytes=31)])),
    "long key id": ("SCHEMA", (1, TYPE, b"x", [row(1, key_bytes=33)])),
    "short signature": ("SCHEMA", (1, TYPE, b"x", [row(1, signature_bytes=63)])),
    "long signature": ("SCHEMA", (1, TYPE, b"x", [row(1, signature_bytes=65)])),
    "key id as text": ("SCHEMA", (1, TYPE, b"x", [["a" * 32, bytes(64)]])),
    "signature of three": ("SCHEMA", (1, TYPE, b"x", [[*row(1), 0]])),
    "nine signatures": ("SIG_TOO_MANY", (1, TYPE, b"x", rows(9))),
    "too many to count": ("MALFORMED", (1, TYPE, b"x", rows(60))),
    "three parts": ("SCHEMA", (1, TYPE, b"x")),
    "five parts": ("SCHEMA", (1, TYPE, b"x", [], None)),
}


@pytest.mark.parametrize(("expected", "parts"), REFUSED.values(), ids=REFUSED.keys())
def test_a_part_out_of_form_is_refused(expected: str, parts: tuple[object, ...]) -> None:
    assert code(*parts) == expected


def test_eight_signatures_are_the_most_and_sixteen_for_a_trust_bundle() -> None:
    assert code(1, TYPE, b"x", rows(8)) is None
    bundle = PayloadKind.TRUST_BUNDLE.payload_type
    assert code(1, bundle, b"x", rows(16)) is None
    assert code(1, bundle, b"x", rows(17)) == "SIG_TOO_MANY"


def test_the_largest_legal_envelope_is_within_the_limit() -> None:
    largest = packed(1, PayloadKind.TRUST_BUNDLE.payload_type, bytes(PAYLOAD_BYTES_MAX), rows(16))
    assert len(largest) <= ENVELOPE_BYTES_MAX
    assert parse_envelope(largest).payload == bytes(PAYLOAD_BYTES_MAX)


def test_one_byte_over_the_limit_is_refused_unread() -> None:
    filler = bytes(ENVELOPE_BYTES_MAX)
    assert code_when_read(parse_envelope, filler) != "FRAME_TOO_LARGE"
    assert code_when_read(parse_envelope, filler + b"\x00") == "FRAME_TOO_LARGE"


@pytest.mark.parametrize(
    "hostile",
    [
        bytes.fromhex("9401ddffffffff") + b"\xc0" * 10_000,
        bytes.fromhex("94ddffffffff") * 1_700,
        b"\x94" + b"\x91" * 10_000,
        b"\x9f" * 10_240,
        bytes.fromhex("9401d9ff") + b"a" * 10_000,
        packed(1, TYPE, b"x", [[]] * 10_000),
    ],
)
def test_a_hostile_envelope_costs_little_memory(hostile: bytes) -> None:
    tracemalloc.start()
    try:
        refused = code_when_read(parse_envelope, hostile)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused is not None
    assert peak < 64 << 10
