"""Length-prefixed frames without I/O: bytes in, frames out.

A frame is 8 bytes, big-endian, and a body:

| bytes | field | refused, before any body byte is kept, when |
|---|---|---|
| 3 | body length | above the maximum of its kind |
| 1 | kind | unknown and below 224 |
| 1 | class | not 0..5 |
| 3 | stream | 0 names the link itself |

Kinds from 224 on may be unknown: they are skipped unread and counted. The reader never holds more
than one frame.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from fabgossip.errors import WireError
from fabgossip.model.envelope import ENVELOPE_BYTES_MAX
from fabgossip.model.messages import BadRequestCode, TrafficClass
from fabgossip.model.words import Number
from fabgossip.wire.packing import FRAME_TOO_LARGE, MALFORMED, UNSUPPORTED

HEADER_BYTES: Final = 8
KIB: Final = 1 << 10
CONTENT_FRAME_BYTES_MAX: Final = 256 * KIB
CONTENT_HEADER_BYTES: Final = 8
STREAM_MAX: Final = 2**24 - 1
SKIPPABLE_FROM: Final = 224


class FrameKind(Number):
    """Numbers for ever."""

    HELLO = 1
    WELCOME = 2
    CLAIMS = 3
    PING = 4
    PONG = 5
    BYE = 6
    NEIGHBOR_ASK = 7
    NEIGHBOR_ANSWER = 8
    ANNOUNCE = 16
    HAVE = 17
    GRAFT = 18
    PRUNE = 19
    HOLDINGS = 20
    ROOTS = 32
    RANGES = 33
    IDS = 34
    GET_MANIFESTS = 35
    MANIFESTS = 36
    GET_HEADS = 48
    HEADS = 49
    GET_CHAIN = 50
    CHAIN = 51
    GET_CONTENT = 64
    CONTENT = 65
    NOT_AVAILABLE = 66
    BUSY = 67
    BAD_REQUEST = 68
    CANCEL = 69
    AUDIT_HEAD = 80


EARLY_KINDS: Final = frozenset((FrameKind.HELLO, FrameKind.WELCOME, FrameKind.BYE))
"""What may pass before a link is open."""

BODY_BYTES_MAX: Final[dict[FrameKind, int]] = {
    FrameKind.HELLO: 64 * KIB,
    FrameKind.WELCOME: 64,
    FrameKind.CLAIMS: 64 * KIB,
    FrameKind.PING: 64,
    FrameKind.PONG: 32,
    FrameKind.BYE: 16,
    FrameKind.NEIGHBOR_ASK: 16,
    FrameKind.NEIGHBOR_ANSWER: 16,
    FrameKind.ANNOUNCE: 176 * KIB,
    FrameKind.HAVE: 16 * KIB,
    FrameKind.GRAFT: 8 * KIB,
    FrameKind.PRUNE: 3 * KIB,
    FrameKind.HOLDINGS: 32 * KIB,
    FrameKind.ROOTS: 176 * KIB,
    FrameKind.RANGES: 33 * KIB,
    FrameKind.IDS: 41 * KIB,
    FrameKind.GET_MANIFESTS: KIB,
    FrameKind.MANIFESTS: 64 * KIB,
    FrameKind.GET_HEADS: 160 * KIB,
    FrameKind.HEADS: 64 * KIB,
    FrameKind.GET_CHAIN: KIB,
    FrameKind.CHAIN: 64 * KIB,
    FrameKind.GET_CONTENT: 112 * KIB,
    FrameKind.CONTENT: CONTENT_FRAME_BYTES_MAX + CONTENT_HEADER_BYTES,
    FrameKind.NOT_AVAILABLE: 16,
    FrameKind.BUSY: 16,
    FrameKind.BAD_REQUEST: 16,
    FrameKind.CANCEL: 1,
    FrameKind.AUDIT_HEAD: ENVELOPE_BYTES_MAX + 8,
}
"""Greatest body per kind. An announcement of 16 envelopes of 10,240 bytes and a hello with all
openings fit.
"""

_KINDS: Final = {int(kind): kind for kind in FrameKind}
_CLASSES: Final = {int(traffic): traffic for traffic in TrafficClass}


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as read; `body` is a view that is valid until the reader is fed again."""

    kind: FrameKind
    traffic: TrafficClass
    stream: int
    body: memoryview


class FrameError(WireError):
    """A frame that is against a rule of the connection, told to the peer before the link ends."""

    def __init__(self, rule: BadRequestCode, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.rule = rule


def broken_rule(error: WireError) -> BadRequestCode:
    """Which rule the peer is told it broke."""
    return error.rule if isinstance(error, FrameError) else BadRequestCode.BODY


def frame_header(kind: FrameKind, traffic: TrafficClass, stream: int, body_bytes: int) -> bytes:
    """The 8 bytes before a body. Our own mistake is an assertion: lengths and streams are the
    caller's to keep.
    """
    assert body_bytes <= BODY_BYTES_MAX[kind], (kind, body_bytes)
    assert 0 <= stream <= STREAM_MAX
    return body_bytes.to_bytes(3, "big") + bytes((kind, traffic)) + stream.to_bytes(3, "big")


def frame_bytes(kind: FrameKind, traffic: TrafficClass, stream: int, body: bytes) -> bytes:
    """A whole frame."""
    return frame_header(kind, traffic, stream, len(body)) + body


class FrameReader:
    """Turns any split of the byte stream into the same frames.

    Feed bytes with `feed`, then drain `frames()` to its end before feeding again: bodies are views
    into the buffer. Memory: at most one incomplete frame plus what was fed last.
    """

    __slots__ = ("_buffer", "_skip", "ended_frames", "skipped_frames")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skip = 0
        self.ended_frames = 0
        self.skipped_frames = 0

    @property
    def is_amid_frame(self) -> bool:
        """Whether a frame has begun and not ended, to ask once `frames()` is drained."""
        return bool(self._buffer or self._skip)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Add received bytes."""
        if self._skip:
            dropped = min(self._skip, len(data))
            self._skip -= dropped
            self.ended_frames += not self._skip
            data = data[dropped:]
        self._buffer += data

    def frames(self) -> Iterator[Frame]:
        """Every frame that is complete.

        Raises:
            FrameError: FRAME_TOO_LARGE, UNSUPPORTED (kind) or MALFORMED (class). The connection
                cannot go on after it.
        """
        consumed = 0
        # The view is released before the buffer shrinks: a bytearray with a live export cannot be
        # resized.
        view = memoryview(self._buffer)
        bodies: list[memoryview] = []
        try:
            while len(view) - consumed >= HEADER_BYTES:
                # A copy: a view would live on in the traceback of a refused header.
                header = bytes(view[consumed : consumed + HEADER_BYTES])
                kind, traffic, stream, length = self._header(header)
                start = consumed + HEADER_BYTES
                if kind is None:
                    self.skipped_frames += 1
                    available = min(length, len(view) - start)
                    self._skip = length - available
                    self.ended_frames += not self._skip
                    consumed = start + available
                    continue
                if len(view) - start < length:
                    break
                body = view[start : start + length]
                bodies.append(body)
                consumed = start + length
                self.ended_frames += 1
                yield Frame(kind, traffic, stream, body)
        finally:
            for body in bodies:
                body.release()
            view.release()
            del self._buffer[:consumed]

    @staticmethod
    def _header(header: bytes) -> tuple[FrameKind | None, TrafficClass, int, int]:
        length = int.from_bytes(header[:3], "big")
        kind = _KINDS.get(header[3])
        if kind is None and header[3] < SKIPPABLE_FROM:
            raise FrameError(BadRequestCode.KIND, UNSUPPORTED, f"frame kind {header[3]}")
        if length > (CONTENT_FRAME_BYTES_MAX if kind is None else BODY_BYTES_MAX[kind]):
            detail = f"a body of {length} bytes for kind {header[3]}"
            raise FrameError(BadRequestCode.LENGTH, FRAME_TOO_LARGE, detail)
        traffic = _CLASSES.get(header[4])
        if traffic is None:
            raise FrameError(BadRequestCode.CLASS, MALFORMED, f"frame class {header[4]}")
        return kind, traffic, int.from_bytes(header[5:8], "big"), length
