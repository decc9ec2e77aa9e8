"""The request numbers of a link: odd ones are the dialling end's, even ones the other's, each used
once; 0 is the link itself.

Decides: whether a frame that came may have the number it has.
Keeps: a number the peer used is used; what is remembered of them is bounded.
Must not know: what a request asks for.
"""

from typing import Final

from fabgossip.model.messages import BadRequestCode
from fabgossip.wire.framing import FrameError, FrameKind
from fabgossip.wire.packing import SCHEMA

AHEAD_MAX: Final = 1_024
"""Numbers remembered above one that did not come (*start*): trust overtakes what waits, and what a
full queue dropped never comes. Beyond, the lowest gap counts as used."""
_ANSWERS: Final = frozenset({FrameKind.CONTENT, FrameKind.NOT_AVAILABLE, FrameKind.BUSY})


class PeerStreams:
    """What one end has seen of the other's numbers."""

    __slots__ = ("_ahead", "_lowest")

    def __init__(self, *, is_dialer: bool) -> None:
        """`is_dialer`: whether the peer dialled."""
        self._lowest = 1 if is_dialer else 2
        """All of its numbers below are used."""
        self._ahead: set[int] = set()

    def check(self, kind: FrameKind, stream: int) -> None:
        """Judge the number of a frame; a request uses it up.

        Raises:
            FrameError: SCHEMA (stream). The link cannot go on after it.
        """
        is_theirs = stream > 0 and stream % 2 == self._lowest % 2
        if kind is FrameKind.GET_CONTENT:
            is_good = is_theirs and self._takes(stream)
        elif kind is FrameKind.CANCEL:
            is_good = is_theirs
        elif kind in _ANSWERS:
            is_good = stream > 0 and not is_theirs
        else:
            is_good = stream == 0
        if not is_good:
            raise FrameError(BadRequestCode.STREAM, SCHEMA, f"stream {stream} for kind {kind}")

    def _takes(self, stream: int) -> bool:
        if stream < self._lowest or stream in self._ahead:
            return False
        self._ahead.add(stream)
        if len(self._ahead) > AHEAD_MAX:
            self._lowest = min(self._ahead)
        while self._lowest in self._ahead:
            self._ahead.remove(self._lowest)
            self._lowest += 2
        return True
