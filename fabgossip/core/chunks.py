"""How a content travels: in which chunks, how many at once, and whether what arrives fits.

Decides: the size and hash of each chunk; how many may be asked for and not be kept yet; whether a
frame continues a chunk.
Keeps: one rule for both interpreters, with and without a grant; a peer makes nobody keep more bytes
than were signed.
Must not know: streams, links, where bytes are kept.
"""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from fabgossip.core.effects import ServeItem
from fabgossip.core.events import ContentWanted
from fabgossip.model.artifact import chunk_size_of
from fabgossip.model.ids import ContentHash
from fabgossip.model.messages import ContentAsk

OUTSTANDING_BYTES: Final = 8 << 20
"""Asked for and not yet kept, per content (*start*)."""
OUTSTANDING_CHUNKS: Final = 4


class Chunks:
    """The chunks of a content; what has no chunk hashes is one chunk."""

    __slots__ = ("_hashes", "_size", "_step")

    def __init__(self, wanted: ContentWanted) -> None:
        self._size = wanted.size
        self._hashes = wanted.chunk_hashes or (wanted.content_hash,)
        self._step = chunk_size_of(wanted.size) if wanted.chunk_hashes else max(wanted.size, 1)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._hashes)

    @property
    def at_once(self) -> int:
        """How many may be asked for and not be kept yet."""
        return max(1, min(OUTSTANDING_CHUNKS, OUTSTANDING_BYTES // self._step))

    def start_of(self, number: int) -> int:
        """Where a chunk begins; of the number after the last, the size of the content."""
        return min(number * self._step, self._size)

    def size_of(self, number: int) -> int:
        """Bytes of a chunk."""
        return self.start_of(number + 1) - self.start_of(number)

    def hash_of(self, number: int) -> ContentHash:
        """What a chunk must hash to."""
        return self._hashes[number]

    def are_of(self, content: bytes) -> bool:
        """Whether a content that came in one piece is what every chunk must be."""
        pieces = (content[self.start_of(one) : self.start_of(one + 1)] for one in range(self.count))
        return len(content) == self._size and all(
            sha256(piece).digest() == self._hashes[number] for number, piece in enumerate(pieces)
        )


@dataclass(slots=True)
class Arriving:
    """A chunk whose bytes come in frames."""

    number: int
    size: int
    item: int = 0
    """Its place in the request that asks for it."""
    data: bytearray = field(default_factory=bytearray)

    def takes(self, item: int, offset: int, data: bytes | memoryview) -> bool:
        """Add what a frame brought; False if it does not go on where the last one ended, or is too
        much: the frame is for another item, or the sender lies."""
        if item != self.item or offset != len(self.data) or len(self.data) + len(data) > self.size:
            return False
        self.data += data
        return True

    @property
    def is_whole(self) -> bool:
        """Whether all its bytes are here."""
        return len(self.data) == self.size


def ask_for(wanted: ContentWanted, number: int) -> ContentAsk:
    """What a request says to be sent a chunk, or (0) a content that comes in one piece."""
    return ContentAsk(wanted.manifest_hash, wanted.content_hash, number, 1)


def chunks_asked(item: ServeItem) -> range:
    """The chunks of an item that a peer asked for, as far as there are so many."""
    last = min(item.first_chunk + item.chunk_count, max(len(item.chunk_hashes), 1))
    return range(item.first_chunk, last)
