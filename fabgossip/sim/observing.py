"""All that comes to some nodes, frame by frame and moment by moment.

Decides: nothing.
Keeps: what each observer got from each sender, in the order it came; that a link opened or ended
counts as well.
Must not know: what differs between two worlds, what a frame may say.
"""

from dataclasses import dataclass, field

from fabgossip.sim.network import SentFrame

CONNECTED = "connected"
LOST = "lost"


@dataclass(frozen=True, slots=True)
class Seen:
    """One thing an observer noticed of a peer."""

    at_ns: int
    kind: str
    """Of the frame, in small letters; or that a link opened or ended."""
    traffic: int = 0
    stream: int = 0
    body: bytes = field(default=b"", repr=False)

    @property
    def said(self) -> tuple[str, int, int, bytes]:
        """All of it but the moment."""
        return self.kind, self.traffic, self.stream, self.body


class Observers:
    """Notes what comes to the nodes it is told to watch."""

    def __init__(self, indices: frozenset[int]) -> None:
        self._indices = indices
        self.seen: dict[tuple[int, int], list[Seen]] = {}
        """By observer and sender."""

    def on_frame(self, index: int, sender: int, frame: SentFrame, now_ns: int) -> None:
        """A frame came."""
        if index in self._indices:
            kind = frame.kind.name.lower()
            seen = Seen(now_ns, kind, int(frame.traffic), frame.stream, frame.body)
            self._of(index, sender).append(seen)

    def on_link(self, index: int, other: int, kind: str, now_ns: int) -> None:
        """A link opened, or ended for a reason."""
        if index in self._indices:
            self._of(index, other).append(Seen(now_ns, kind))

    def _of(self, index: int, other: int) -> list[Seen]:
        return self.seen.setdefault((index, other), [])
