"""Envelopes to and from bytes: one strict array `[1, payload type, payload, signatures]`."""

from typing import Final

from fabgossip.errors import WireError
from fabgossip.model.envelope import (
    ENVELOPE_BYTES_MAX,
    KIND_BY_PAYLOAD_TYPE,
    PAYLOAD_BYTES_MAX,
    SIGNATURE_BYTES,
    Envelope,
    PayloadKind,
    Signature,
)
from fabgossip.model.ids import HASH_BYTES, KeyId
from fabgossip.wire.packing import (
    FRAME_TOO_LARGE,
    MALFORMED,
    SCHEMA,
    SIG_TOO_MANY,
    UNSUPPORTED,
    Value,
    as_array,
    as_bytes,
    expect_ascending,
    pack,
    unpack,
)

ENVELOPE_VERSION: Final = 1
_ELEMENTS_MAX: Final = 64
"""Array of 4, 16 signatures of 3 elements each, and room to say SIG_TOO_MANY instead of MALFORMED.
"""


def envelope_bytes(kind: PayloadKind, payload: bytes, signatures: tuple[Signature, ...]) -> bytes:
    """The envelope of these parts; signatures are put in ascending order of key id."""
    ordered = sorted(signatures, key=lambda signature: signature.key_id)
    return pack(
        [ENVELOPE_VERSION, kind.payload_type, payload, [[one.key_id, one.value] for one in ordered]]
    )


def envelope_start(kind: PayloadKind) -> bytes:
    """The bytes every envelope of a kind starts with: all before its payload."""
    whole = pack([ENVELOPE_VERSION, kind.payload_type, b"", []])
    return whole[: -len(pack(b"") + pack([]))]


def parse_envelope(raw: bytes) -> Envelope:
    """The parts of an envelope, none of them believed. Memory: a small multiple of
    `ENVELOPE_BYTES_MAX`.

    Raises:
        WireError: FRAME_TOO_LARGE TRUNCATED MALFORMED NONCANONICAL UNSUPPORTED SIG_TOO_MANY SCHEMA.
    """
    if len(raw) > ENVELOPE_BYTES_MAX:
        raise WireError(
            FRAME_TOO_LARGE, f"an envelope of {len(raw)} bytes, at most {ENVELOPE_BYTES_MAX}"
        )
    parts = as_array(unpack(raw, elements_max=_ELEMENTS_MAX), "envelope", length=4)
    if parts[0] != ENVELOPE_VERSION or type(parts[0]) is not int:
        raise WireError(UNSUPPORTED, "envelope version")
    kind = KIND_BY_PAYLOAD_TYPE.get(parts[1]) if isinstance(parts[1], str) else None
    if kind is None:
        raise WireError(UNSUPPORTED, "payload type")
    payload = as_bytes(parts[2], "payload", length_max=PAYLOAD_BYTES_MAX)
    if not payload:
        raise WireError(MALFORMED, "empty payload")
    return Envelope(raw, kind, payload, _signatures(parts[3], kind))


def _signatures(value: Value, kind: PayloadKind) -> tuple[Signature, ...]:
    rows = as_array(value, "signatures")
    if len(rows) > kind.signatures_max:
        raise WireError(SIG_TOO_MANY, f"{len(rows)} signatures, at most {kind.signatures_max}")
    signatures = []
    for row in rows:
        key_id, signature = as_array(row, "signature", length=2)
        signatures.append(
            Signature(
                KeyId(as_bytes(key_id, "key id", length=HASH_BYTES)),
                as_bytes(signature, "signature", length=SIGNATURE_BYTES),
            )
        )
    try:
        expect_ascending([signature.key_id for signature in signatures], "key ids")
    except WireError as error:
        raise WireError(SCHEMA, "key ids must be ascending, none twice") from error
    return tuple(signatures)
