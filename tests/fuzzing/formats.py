"""Bytes to words: whatever is read is written again as the same bytes, all else is refused by name.

The formats are those of the table of samples, so that a new one is fuzzed as soon as it has a
sample.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Final

from backports import zstd

from fabgossip.errors import ModelError, WireError
from fabgossip.model.ids import parse_content_hash, parse_id
from fabgossip.model.messages import TrafficClass
from fabgossip.model.scope import parse_namespace, parse_scope_id
from fabgossip.wire.codec import content_header_bytes, message_body, parse_content_header
from fabgossip.wire.framing import FrameKind, FrameReader, frame_bytes
from fabgossip.wire.increments import WINDOW_LOG_MAX, apply_increment, increment_bytes
from fabgossip.wire.packing import pack
from tests.fuzzing.target import Target, read_script
from tests.trust import factory
from tests.wire.samples import MESSAGES, SAMPLES, Readable, Sample, code_when_read

CONTENT_BODY: Final = bytes((0, 1, 1, 0, 0, 0, 0, 0)) + b"content"


def format_targets() -> Iterator[Target]:
    """One target for each reader in the table of samples."""
    readers: dict[Callable[[bytes], Readable], list[Sample]] = {}
    for sample in SAMPLES:
        readers.setdefault(sample.parse, []).append(sample)
    for samples in readers.values():
        first = samples[0]
        name = first.name.lower().replace(" ", "-")
        yield Target(
            name=f"message-{name}" if first.value in MESSAGES else name,
            run=_reads_back(first),
            seeds=lambda samples=samples: tuple(one.data for one in samples),  # type: ignore[misc]
        )


def _reads_back(sample: Sample) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        if code_when_read(sample.parse, data) is None:
            assert sample.again(data) == data

    return run


def frames(data: bytes) -> None:
    """`[places to cut, stream]`: any split of a stream gives the same frames and the same end."""
    script = read_script(data, 2)
    if script is None or not isinstance(script[0], list) or not isinstance(script[1], bytes):
        return
    stream = script[1]
    cuts = sorted(one % (len(stream) + 1) for one in script[0] if isinstance(one, int))
    pieces = [stream[start:end] for start, end in pairwise([0, *cuts, len(stream)])]
    whole = _frames_of([stream])
    assert _frames_of(pieces) == whole
    found, refused, skipped = whole
    if not skipped:
        again = b"".join(frame_bytes(*frame) for frame in found)
        assert stream.startswith(again)
        assert refused is None or len(again) < len(stream)


_Found = tuple[FrameKind, TrafficClass, int, bytes]


def _frames_of(pieces: Sequence[bytes]) -> tuple[list[_Found], str | None, int]:
    reader = FrameReader()
    found: list[_Found] = []

    def read(piece: bytes) -> None:
        reader.feed(piece)
        for frame in reader.frames():
            found.append((frame.kind, frame.traffic, frame.stream, bytes(frame.body)))

    refusals = (code_when_read(read, piece) for piece in pieces)
    refused = next((code for code in refusals if code is not None), None)
    return found, refused, reader.skipped_frames


def _frame_seeds() -> tuple[bytes, ...]:
    bodies = [message_body(one) for one in MESSAGES] + [(FrameKind.CONTENT, CONTENT_BODY)]
    each = [frame_bytes(kind, TrafficClass.POLICY, 1, body) for kind, body in bodies]
    skipped = (3).to_bytes(3, "big") + bytes((250, 5, 0, 0, 0)) + b"abc"
    return (
        *(pack([[1, 7], one]) for one in each),
        pack([[1, 30, 31, 200], b"".join(each[3:6]) + skipped + each[-1]]),
    )


def content_frame(data: bytes) -> None:
    """The body of a content frame."""

    def read(body: bytes) -> None:
        header, content = parse_content_header(memoryview(body))
        assert content_header_bytes(header) + content == body

    code_when_read(read, data)


def increment(data: bytes) -> None:
    """`[base, result]`: what is made pays, and the library makes the result of it again."""
    script = read_script(data, 2)
    if script is None or not isinstance(script[0], bytes) or not isinstance(script[1], bytes):
        return
    base, result = script[0], script[1]
    frame = increment_bytes(base, result)
    if frame is not None:
        assert len(frame) <= len(result) // 2
        prefix = zstd.ZstdDict(base, is_raw=True).as_prefix
        limit: dict[int, int] = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG_MAX}
        assert zstd.decompress(frame, zstd_dict=prefix, options=limit) == result


def increment_read(data: bytes) -> None:
    """`[base, frame, size of the result]`: whatever is read is exactly as long as was signed."""
    script = read_script(data, 3)
    if script is None:
        return
    base, frame, size = script
    if isinstance(base, bytes) and isinstance(frame, bytes) and isinstance(size, int):
        with suppress(WireError):
            assert len(apply_increment(base, frame, size % (1 << 20))) == size % (1 << 20)


def _increment_seeds() -> tuple[bytes, ...]:
    base, result = b"settings " * 40, b"settings " * 39 + b"changed"
    frame = increment_bytes(base, result)
    assert frame is not None
    return (pack([base, frame, len(result)]), pack([base[::-1], frame + frame, len(result)]))


def words(data: bytes) -> None:
    """Text that may be an id, a hash, a scope id or a namespace."""
    text = data.decode("utf-8", "replace")
    with suppress(ModelError):
        assert parse_id(text, "id") == text
    with suppress(ModelError):
        assert parse_content_hash(text).hex() == text
    with suppress(ModelError):
        assert parse_scope_id(text).text == text
    with suppress(ModelError):
        assert parse_namespace(text).text == text


def _word_seeds() -> tuple[bytes, ...]:
    scopes = [scope.text for scope in factory.OWN.scope_ids]
    paths = [f"{factory.PREFIX}/{tail}" for tail in ("trust/bundle", "org/acme/routes/r1", "qos/q")]
    return tuple(one.encode() for one in sorted([*scopes, *paths, factory.CONTENT.hex(), "n1"]))


FORMATS: Final = (
    *format_targets(),
    Target(name="frames", run=frames, seeds=_frame_seeds, share=60),
    Target(name="content-frame", run=content_frame, seeds=lambda: (CONTENT_BODY,)),
    Target(name="words", run=words, seeds=_word_seeds),
    Target(
        name="increment",
        run=increment,
        seeds=lambda: (pack([b"settings " * 40, b"settings " * 39 + b"changed"]),),
        share=10,
    ),
    Target(name="increment-read", run=increment_read, seeds=_increment_seeds),
)
