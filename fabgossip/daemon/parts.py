"""The file of a large content on its way, into which whoever has some of it brings chunks.

Everything that blocks is for a worker thread, one at a time for each file. A chunk is hashed before
it is written, and the whole in order as far as chunks are here; what an earlier process left is
hashed anew, so nothing has to say which chunks there were.
"""

from hashlib import sha256

from fabgossip.core.chunks import Chunks
from fabgossip.core.events import ContentWanted, FetchFailure
from fabgossip.core.parts import Part, PartKey, part_key
from fabgossip.model.ids import ContentHash
from fabgossip.storage.contents import IncomingContent


class PartFile:
    """A file and the chunks in it."""

    __slots__ = ("_hashed", "_whole", "incoming", "key", "part")

    def __init__(self, wanted: ContentWanted, incoming: IncomingContent) -> None:
        self.key: PartKey = part_key(wanted)
        self.part = Part(Chunks(wanted))
        self.incoming = incoming
        self._whole = sha256()
        self._hashed = 0
        """So many chunks, from the first on, are in the hash of the whole."""

    def left(self) -> tuple[int, ...]:
        """The chunks an earlier process left. Blocks."""
        found = []
        for number in range(self.part.plan.count):
            try:
                data = self._read(number)
            except OSError:
                break
            if sha256(data).digest() == self.part.plan.hash_of(number):
                found.append(number)
        return tuple(found)

    def add(self, number: int, data: bytes | bytearray) -> FetchFailure | None:
        """Hash a chunk and, only if it is the right one, write it; what is wrong with it, or with
        the disk. Blocks."""
        if sha256(data).digest() != self.part.plan.hash_of(number):
            return FetchFailure.BAD_HASH
        if self.part.has(number):
            return None
        try:
            self.incoming.write_at(self.part.plan.start_of(number), data)
            self._hash_on(number, data)
        except OSError:
            return FetchFailure.DISK
        return None

    def _hash_on(self, number: int, data: bytes | bytearray) -> None:
        """Add to the hash of the whole what follows in order; raises `OSError`."""
        while self._hashed == number or self.part.has(self._hashed):
            self._whole.update(data if self._hashed == number else self._sound(self._hashed))
            self._hashed += 1
            if self._hashed == self.part.plan.count:
                return

    def _sound(self, number: int) -> bytes:
        """A chunk that was written before; raises `OSError` if the disk gives back another one."""
        data = self._read(number)
        if sha256(data).digest() != self.part.plan.hash_of(number):
            raise OSError("the disk gives back other bytes than it was given")
        return data

    def _read(self, number: int) -> bytes:
        start = self.part.plan.start_of(number)
        return self.incoming.read_at(start, self.part.plan.size_of(number))

    def whole_hash(self) -> ContentHash:
        """The hash of the whole, once all chunks are here. Blocks where some were left by an
        earlier process; raises `OSError`."""
        while self._hashed < self.part.plan.count:
            self._whole.update(self._sound(self._hashed))
            self._hashed += 1
        return ContentHash(self._whole.digest())
