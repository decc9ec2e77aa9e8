"""Messages through the real codec: packed, framed, unframed and decoded, sizes exact.

Decides: nothing.
Keeps: equal bytes decode to one shared frozen value, at most 16,384 of them.
Must not know: who speaks to whom.
"""

from collections import OrderedDict
from typing import Final

from fabgossip.model.messages import Message, TrafficClass
from fabgossip.wire.codec import message_body, parse_message
from fabgossip.wire.framing import FrameKind, FrameReader, frame_bytes

DECODED_MAX: Final = 16_384
"""Decoded values shared (*start*)."""


class Codec:
    """One for all nodes of a run."""

    __slots__ = ("_decoded",)

    def __init__(self) -> None:
        self._decoded: OrderedDict[tuple[FrameKind, bytes], Message] = OrderedDict()

    @staticmethod
    def encode(message: Message) -> tuple[FrameKind, bytes]:
        """Kind and body of a message."""
        return message_body(message)

    def decode(self, kind: FrameKind, traffic: TrafficClass, stream: int, body: bytes) -> Message:
        """The message of a frame; raises `WireError`."""
        key = (kind, body)
        message = self._decoded.get(key)
        if message is None:
            reader = FrameReader()
            reader.feed(frame_bytes(kind, traffic, stream, body))
            frames = [(one.kind, one.stream, bytes(one.body)) for one in reader.frames()]
            assert frames == [(kind, stream, body)], "framing altered a frame"
            message = parse_message(kind, body)
            self._decoded[key] = message
            if len(self._decoded) > DECODED_MAX:
                self._decoded.popitem(last=False)
        return message
