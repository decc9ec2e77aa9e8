"""Any split of the byte stream gives the same frames; a bad header ends the link before a body."""

import tracemalloc
from collections.abc import Iterable

import pytest

from fabgossip.errors import WireError
from fabgossip.model.messages import TrafficClass
from fabgossip.wire.framing import (
    BODY_BYTES_MAX,
    CONTENT_FRAME_BYTES_MAX,
    HEADER_BYTES,
    STREAM_MAX,
    FrameKind,
    FrameReader,
    frame_bytes,
)

Read = tuple[FrameKind, TrafficClass, int, bytes]
WRITTEN: tuple[Read, ...] = (
    (FrameKind.PING, TrafficClass.LINK, 0, b"\x91\x01"),
    (FrameKind.CANCEL, TrafficClass.BULK, STREAM_MAX, b"\x90"),
    (FrameKind.CONTENT, TrafficClass.SNAPSHOT, 77, bytes(range(256)) * 3),
    (FrameKind.BYE, TrafficClass.TRUST, 0, b""),
)
STREAM = b"".join(frame_bytes(*one) for one in WRITTEN)


def header(length: int, kind: int, traffic: int = 0, stream: int = 0) -> bytes:
    return length.to_bytes(3, "big") + bytes((kind, traffic)) + stream.to_bytes(3, "big")


def read_all(pieces: Iterable[bytes], reader: FrameReader | None = None) -> list[Read]:
    """What is read from these pieces; bodies are copied while their frame is current."""
    reader = FrameReader() if reader is None else reader
    found = []
    for piece in pieces:
        reader.feed(piece)
        found += [(one.kind, one.traffic, one.stream, bytes(one.body)) for one in reader.frames()]
    return found


def refusal(data: bytes) -> str:
    with pytest.raises(WireError) as caught:
        read_all([data])
    return caught.value.code


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 64, 1_000, len(STREAM)])
def test_pieces_of_any_size_give_the_same_frames(size: int) -> None:
    pieces = (STREAM[n : n + size] for n in range(0, len(STREAM), size))
    assert tuple(read_all(pieces)) == WRITTEN


def test_a_cut_at_any_place_gives_the_same_frames() -> None:
    for cut in range(len(STREAM) + 1):
        assert tuple(read_all([STREAM[:cut], b"", STREAM[cut:]])) == WRITTEN


def test_a_header_is_eight_bytes_in_network_order() -> None:
    frame = frame_bytes(FrameKind.GET_CONTENT, TrafficClass.BULK, 0x010203, b"x" * 0x105)
    assert frame[:HEADER_BYTES].hex() == "0001054005010203"


@pytest.mark.parametrize("kind", FrameKind)
def test_a_body_at_the_limit_of_its_kind_is_read_and_one_byte_more_refused(
    kind: FrameKind,
) -> None:
    limit = BODY_BYTES_MAX[kind]
    (read,) = read_all([header(limit, kind), bytes(limit)])
    assert read == (kind, TrafficClass.LINK, 0, bytes(limit))
    assert refusal(header(limit + 1, kind)) == "FRAME_TOO_LARGE"


@pytest.mark.parametrize("kind", sorted(set(range(224)) - {int(kind) for kind in FrameKind}))
def test_an_unknown_kind_below_224_ends_the_link(kind: int) -> None:
    assert refusal(header(0, kind)) == "UNSUPPORTED"


@pytest.mark.parametrize("traffic", [6, 7, 128, 255])
@pytest.mark.parametrize("kind", [int(FrameKind.PING), 224])
def test_an_unknown_class_ends_the_link(kind: int, traffic: int) -> None:
    assert refusal(header(0, kind, traffic)) == "MALFORMED"


def test_a_bad_header_stops_the_link_without_any_byte_of_its_body() -> None:
    for bad in (header(2**24 - 1, FrameKind.PING), header(1, 99), header(1, FrameKind.PING, 9)):
        reader = FrameReader()
        assert read_all([STREAM], reader) == list(WRITTEN)
        reader.feed(bad)
        for _ in range(2):  # it stays refused
            with pytest.raises(WireError):
                next(reader.frames())


def test_frames_before_a_bad_header_are_still_read() -> None:
    reader = FrameReader()
    reader.feed(STREAM + header(1, 99))
    frames = reader.frames()
    found = [bytes(next(frames).body) for _ in WRITTEN]
    assert found == [body for _, _, _, body in WRITTEN]
    with pytest.raises(WireError, match="UNSUPPORTED"):
        next(frames)


@pytest.mark.parametrize("kind", [224, 255])
@pytest.mark.parametrize("size", [1, 5, 8, 100, 10_000])
def test_unknown_kinds_from_224_on_are_skipped_and_counted_across_any_split(
    kind: int, size: int
) -> None:
    first = frame_bytes(*WRITTEN[0])
    stream = first + header(500, kind) + b"\xee" * 500 + header(0, kind) + first
    reader = FrameReader()
    pieces = (stream[n : n + size] for n in range(0, len(stream), size))
    assert read_all(pieces, reader) == [WRITTEN[0], WRITTEN[0]]
    assert reader.skipped_frames == 2


def test_a_skipped_body_has_a_limit_too() -> None:
    assert read_all([header(CONTENT_FRAME_BYTES_MAX, 224)]) == []
    assert refusal(header(CONTENT_FRAME_BYTES_MAX + 1, 224)) == "FRAME_TOO_LARGE"


def test_a_skipped_body_is_not_kept() -> None:
    reader = FrameReader()
    read_all([header(CONTENT_FRAME_BYTES_MAX, 224)], reader)
    tracemalloc.start()
    try:
        for _ in range(256):
            reader.feed(bytes(1 << 10))
            assert list(reader.frames()) == []
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 16 << 10
    assert read_all([STREAM], reader) == list(WRITTEN)


def test_a_claimed_length_costs_no_memory() -> None:
    reader = FrameReader()
    tracemalloc.start()
    try:
        reader.feed(header(BODY_BYTES_MAX[FrameKind.CONTENT], FrameKind.CONTENT) + b"x")
        assert list(reader.frames()) == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 << 10


def test_a_long_stream_leaves_nothing_behind() -> None:
    reader = FrameReader()
    tracemalloc.start()
    try:
        for _ in range(200):
            assert len(read_all([STREAM[:5], STREAM[5:]], reader)) == len(WRITTEN)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 64 << 10


def test_a_body_may_not_be_read_once_its_frame_is_past() -> None:
    reader = FrameReader()
    reader.feed(STREAM)
    (first, *_) = list(reader.frames())
    with pytest.raises(ValueError, match="released"):
        bytes(first.body)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 64, 1_000])
def test_a_reader_knows_whether_a_frame_is_under_way_and_how_many_have_ended(size: int) -> None:
    """A skipped frame counts like a read one: its bytes are waited for just the same."""
    skipped = header(300, 250) + b"s" * 300
    data = STREAM + skipped + STREAM
    frames = [frame_bytes(*one) for one in WRITTEN]
    ends = {0}
    for frame in (*frames, skipped, *frames):
        ends.add(max(ends) + len(frame))
    reader, read = FrameReader(), 0
    for start in range(0, len(data), size):
        read_all([data[start : start + size]], reader)
        read = min(start + size, len(data))
        assert reader.is_amid_frame is (read not in ends)
        assert reader.ended_frames == sum(0 < end <= read for end in ends)
    assert reader.ended_frames == 2 * len(WRITTEN) + 1
    assert reader.skipped_frames == 1
