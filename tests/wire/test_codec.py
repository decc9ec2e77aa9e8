"""Every message has one row, exactly its fields, and bounds; round trips: test_strictness."""

import tracemalloc
from typing import get_args

import msgpack
import pytest

from fabgossip.errors import WireError
from fabgossip.model import messages as m
from fabgossip.model.ids import BootId
from fabgossip.wire.codec import (
    ContentHeader,
    content_header_bytes,
    message_body,
    parse_content_header,
    parse_message,
)
from fabgossip.wire.framing import BODY_BYTES_MAX, CONTENT_FRAME_BYTES_MAX, FrameKind
from tests.trust import factory as f
from tests.wire.samples import ENVELOPE, HASHES, MESSAGES, PREFIXES, code_when_read, kind_of

BOOT = bytes(16)
HELLO = [1, 1, 0, BOOT, b"claims", [], 1, 1, 1]
AUDIENCE = ["cluster:prod"]
ASK = [HASHES[0], HASHES[1], 0, 1]
SEQUENCE = 2**32 - 1


def code(kind: FrameKind, value: object) -> str | None:
    data = msgpack.packb(value, use_bin_type=True)
    return code_when_read(lambda raw: parse_message(kind, raw), data)


def test_there_is_a_sample_of_every_message() -> None:
    assert {type(message) for message in MESSAGES} == set(get_args(m.Message))


def test_every_kind_but_content_is_a_message() -> None:
    assert {kind_of(message) for message in MESSAGES} == set(FrameKind) - {FrameKind.CONTENT}


@pytest.mark.parametrize("message", MESSAGES, ids=[type(one).__name__ for one in MESSAGES])
def test_a_message_is_frozen_and_hashable(message: m.Message) -> None:
    assert {message: 1}[message] == 1


def hello(place: int, value: object) -> list[object]:
    return [*HELLO[:place], value, *HELLO[place + 1 :]]


REFUSED: list[tuple[FrameKind, object, str]] = [
    (FrameKind.HELLO, hello(0, 0), "SCHEMA"),
    (FrameKind.HELLO, hello(1, 256), "SCHEMA"),
    (FrameKind.HELLO, hello(2, 2**32), "SCHEMA"),
    (FrameKind.HELLO, hello(3, BOOT[:15]), "SCHEMA"),
    (FrameKind.HELLO, hello(4, bytes(10_241)), "SCHEMA"),
    (FrameKind.HELLO, hello(5, [[bytes(15), ["scope", "org:a"]]]), "SCHEMA"),
    (FrameKind.HELLO, hello(6, -1), "SCHEMA"),
    (FrameKind.WELCOME, [0, 0], "SCHEMA"),
    (FrameKind.PING, [SEQUENCE + 1], "SCHEMA"),
    (FrameKind.PONG, [True], "SCHEMA"),
    (FrameKind.BYE, [0, 0], "SCHEMA"),
    (FrameKind.BYE, [13, 0], "SCHEMA"),
    (FrameKind.NEIGHBOR_ASK, [0, True], "SCHEMA"),
    (FrameKind.NEIGHBOR_ASK, [6, True], "SCHEMA"),
    (FrameKind.NEIGHBOR_ASK, [1, 1], "SCHEMA"),
    (FrameKind.NEIGHBOR_ANSWER, [True, SEQUENCE + 1], "SCHEMA"),
    (FrameKind.ANNOUNCE, [[b"", 0, None]] * 17, "SCHEMA"),
    (FrameKind.ANNOUNCE, [[bytes(10_241), 0, None]], "SCHEMA"),
    (FrameKind.ANNOUNCE, [[b"", 256, None]], "SCHEMA"),
    (FrameKind.ANNOUNCE, [["", 0, None]], "SCHEMA"),
    (FrameKind.ANNOUNCE, [[b"", 0, bytes(16_385)]], "SCHEMA"),
    (FrameKind.ANNOUNCE, [[b"", 0]], "SCHEMA"),
    (FrameKind.HAVE, [["org:a"], False, []], "SCHEMA"),
    (FrameKind.HAVE, [AUDIENCE, 0, []], "SCHEMA"),
    (FrameKind.HAVE, [AUDIENCE, False, [PREFIXES[0], PREFIXES[0]]], "SCHEMA"),
    (FrameKind.HAVE, [AUDIENCE, False, [PREFIXES[1], PREFIXES[0]]], "SCHEMA"),
    (FrameKind.HAVE, [AUDIENCE, False, [HASHES[0]]], "SCHEMA"),
    (FrameKind.HAVE, [AUDIENCE, False, [n.to_bytes(16, "big") for n in range(513)]], "SCHEMA"),
    (FrameKind.PRUNE, [["org:a"]], "SCHEMA"),
    (FrameKind.GRAFT, [AUDIENCE, [n.to_bytes(16, "big") for n in range(65)]], "SCHEMA"),
    (FrameKind.HOLDINGS, [0, 1, []], "SCHEMA"),
    (FrameKind.HOLDINGS, [0, True, [[AUDIENCE, 3, []]]], "SCHEMA"),
    (FrameKind.HOLDINGS, [0, True, [[AUDIENCE, 0, []]] * 65], "SCHEMA"),
    (FrameKind.GET_HEADS, [0, [["x" * 513, 0, 0]]], "SCHEMA"),
    (FrameKind.GET_HEADS, [0, [["ä", 0, 0]]], "SCHEMA"),
    (FrameKind.GET_HEADS, [0, [["x", 0, 2**53]]], "SCHEMA"),
    (FrameKind.GET_HEADS, [2**53, [["x", 0, 0]]], "SCHEMA"),
    (FrameKind.GET_HEADS, [["x", 0, 0]], "SCHEMA"),
    (FrameKind.GET_HEADS, [0, [[f"{n:03}", 0, 0] for n in range(257)]], "SCHEMA"),
    (FrameKind.GET_HEADS, [0, [["x", 0, 0], ["y", 0, 0], ["x", 0, 1]]], "SCHEMA"),
    (FrameKind.HEADS, [0, [bytes(10_241)]], "SCHEMA"),
    (FrameKind.HEADS, [0, [b""] * 257], "SCHEMA"),
    (FrameKind.HEADS, [-1, []], "SCHEMA"),
    (FrameKind.GET_CHAIN, ["x" * 513, HASHES[0], HASHES[1]], "SCHEMA"),
    (FrameKind.GET_CHAIN, ["x", HASHES[0][:31], HASHES[1]], "SCHEMA"),
    (FrameKind.GET_CHAIN, ["x", HASHES[0], None], "SCHEMA"),
    (FrameKind.CHAIN, [HASHES[0], [b""] * 65], "SCHEMA"),
    (FrameKind.CHAIN, [HASHES[0], [bytes(10_241)]], "SCHEMA"),
    (FrameKind.CHAIN, [HASHES[0][:31], []], "SCHEMA"),
    (FrameKind.GET_CONTENT, [[], b"", None], "MALFORMED"),
    (FrameKind.GET_CONTENT, [[[*ASK[:2], 64, 1]], b"", None], "SCHEMA"),
    (FrameKind.GET_CONTENT, [[[*ASK[:2], 0, 0]], b"", None], "SCHEMA"),
    (FrameKind.GET_CONTENT, [[[*ASK[:2], 0, 65]], b"", None], "SCHEMA"),
    (FrameKind.GET_CONTENT, [[[HASHES[0][:31], *ASK[1:]]], b"", None], "SCHEMA"),
    (FrameKind.GET_CONTENT, [[ASK] * 1_025, b"", None], "SCHEMA"),
    (FrameKind.GET_CONTENT, [[ASK], bytes(10_241), None], "SCHEMA"),
    (FrameKind.GET_CONTENT, [[ASK], b"", [["role:b", "role:a"], None, None]], "SCHEMA"),
    (FrameKind.GET_CONTENT, [[ASK], b"", [None, ["peers"], None]], "SCHEMA"),
    (FrameKind.GET_CONTENT, [[ASK], b"", [None, None, [HASHES[0], HASHES[0]]]], "SCHEMA"),
    (FrameKind.AUDIT_HEAD, [bytes(10_241)], "SCHEMA"),
    (FrameKind.NOT_AVAILABLE, [1_024], "SCHEMA"),
    (FrameKind.BUSY, [0, 2**32], "SCHEMA"),
    (FrameKind.BAD_REQUEST, [7], "SCHEMA"),
]


@pytest.mark.parametrize(("kind", "value", "expected"), REFUSED)
def test_a_field_out_of_bounds_is_refused(kind: FrameKind, value: object, expected: str) -> None:
    assert code(kind, value) == expected


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (FrameKind.HELLO, HELLO),
        (FrameKind.ANNOUNCE, [[bytes(10_240), 255, None]] * 16),
        (FrameKind.ANNOUNCE, [[bytes(10_240), 255, bytes(16_384)]] * 6),
        (FrameKind.HAVE, [AUDIENCE, True, [n.to_bytes(16, "big") for n in range(512)]]),
        (FrameKind.GRAFT, [AUDIENCE, [n.to_bytes(16, "big") for n in range(64)]]),
        (FrameKind.HOLDINGS, [0, True, [[AUDIENCE, 0, []]] * 64]),
        (
            FrameKind.GET_HEADS,
            [SEQUENCE, [[f"{n:03}" + "x" * 509, 2**53 - 1, 2**53 - 1] for n in range(256)]],
        ),
        (FrameKind.GET_CHAIN, ["x" * 512, HASHES[0], HASHES[1]]),
        (FrameKind.CHAIN, [HASHES[0], [bytes(960)] * 64]),
        (FrameKind.GET_CONTENT, [[ASK] * 1_024, bytes(10_240), None]),
        (FrameKind.AUDIT_HEAD, [bytes(10_240)]),
        (FrameKind.BYE, [12, SEQUENCE]),
        (FrameKind.NEIGHBOR_ASK, [5, True]),
        (FrameKind.NEIGHBOR_ANSWER, [False, SEQUENCE]),
    ],
)
def test_a_message_with_every_field_at_its_bound_fits_its_frame(
    kind: FrameKind, value: object
) -> None:
    assert code(kind, value) is None


def test_a_hello_with_every_opening_fits_its_frame() -> None:
    openings = tuple(f.opening(f.ASSIGNMENT_OPENING.item, n) for n in range(128))
    full = m.Hello(
        protocol_min=255,
        protocol_max=255,
        features=SEQUENCE,
        boot_id=BootId(BOOT),
        claims=bytes(10_240),
        openings=openings,
        bundle_version=2**53 - 1,
        revocation_version=2**53 - 1,
        epoch=2**53 - 1,
    )
    kind, body = message_body(full)
    assert len(body) <= BODY_BYTES_MAX[kind]
    assert parse_message(kind, body) == full


@pytest.mark.parametrize("message", MESSAGES, ids=[type(one).__name__ for one in MESSAGES])
def test_a_body_over_the_limit_of_its_kind_is_refused_unread(message: m.Message) -> None:
    kind = kind_of(message)
    over = bytes(BODY_BYTES_MAX[kind] + 1)
    assert code_when_read(lambda raw: parse_message(kind, raw), over) == "FRAME_TOO_LARGE"


def test_content_is_no_message() -> None:
    assert code(FrameKind.CONTENT, []) == "TYPE_MISMATCH"


def test_a_body_of_one_kind_is_not_read_as_another() -> None:
    bodies = [(kind_of(message), message_body(message)[1]) for message in MESSAGES]
    for kind, body in bodies:
        for other in set(FrameKind) - {kind, FrameKind.CONTENT}:
            try:
                read = parse_message(other, body)
            except WireError:
                continue
            assert kind_of(read) is other  # alike bodies, told apart by the kind alone


@pytest.mark.parametrize("kind", sorted(set(FrameKind) - {FrameKind.CONTENT}))
def test_a_hostile_body_costs_little_memory(kind: FrameKind) -> None:
    bodies = [
        bytes.fromhex("ddffffffff") * 2_000,
        b"\x9f" * 10_000,
        bytes.fromhex("dcffff") + b"\x90" * 10_000,
        bytes.fromhex("dc2000") + b"\x90" * 8_192,
        b"\x91" * 10_000,
    ]
    for body in bodies:
        tracemalloc.start()
        try:
            refused = code_when_read(lambda raw: parse_message(kind, raw), body)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert refused is not None
        assert peak < 1 << 20


@pytest.mark.parametrize(
    "header",
    [
        ContentHeader(item=0, is_last=False, offset=0),
        ContentHeader(item=1_023, is_last=True, offset=2**32 - 1),
        ContentHeader(item=2**16 - 1, is_last=True, offset=256 << 20),
    ],
)
def test_a_content_header_is_read_back_with_its_bytes(header: ContentHeader) -> None:
    body = memoryview(content_header_bytes(header) + b"content")
    read, rest = parse_content_header(body)
    assert (read, bytes(rest)) == (header, b"content")


def test_a_content_header_is_item_flags_and_offset_in_network_order() -> None:
    header = ContentHeader(item=0x0102, is_last=True, offset=0x03040506)
    assert content_header_bytes(header).hex() == "0102010003040506"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "MALFORMED"),
        (bytes(7), "MALFORMED"),
        (bytes(8), "MALFORMED"),  # nothing inside, and not the last
        (bytes((0, 0, 2, 0, 0, 0, 0, 0, 1)), "MALFORMED"),
        (bytes((0, 0, 0, 1, 0, 0, 0, 0, 1)), "MALFORMED"),
        (bytes(8 + CONTENT_FRAME_BYTES_MAX + 1), "FRAME_TOO_LARGE"),
    ],
)
def test_a_content_frame_out_of_form_is_refused(body: bytes, expected: str) -> None:
    assert code_when_read(lambda raw: parse_content_header(memoryview(raw)), body) == expected


def test_an_empty_content_ends_with_an_empty_last_frame() -> None:
    body = content_header_bytes(ContentHeader(item=3, is_last=True, offset=0))
    header, rest = parse_content_header(memoryview(body))
    assert (header.is_last, len(rest)) == (True, 0)


def test_envelopes_pass_through_a_message_bit_for_bit() -> None:
    kind, body = message_body(m.Heads(envelopes=(ENVELOPE,)))
    assert parse_message(kind, body) == m.Heads(envelopes=(ENVELOPE,))
