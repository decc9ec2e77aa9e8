"""A large content on its way: which of its chunks are here, and who is to bring the others.

Decides: which chunk a source is asked for next.
Keeps: a chunk that is here is asked for no more, whoever brought it; of the others each is asked of
one source, but for the last ones, which a source that has nothing else to do is asked for as well,
so that who is slow holds up nobody.
Must not know: who the sources are, where bytes are kept.
"""

from collections import Counter
from collections.abc import Container
from typing import Final

from fabgossip.core.chunks import Chunks
from fabgossip.core.events import ContentWanted
from fabgossip.model.ids import ContentHash

LAST_CHUNKS: Final = 2
"""So many are asked of two sources at the end (*start*)."""
SHARED_CHUNKS_MIN: Final = 8
"""A content of fewer comes from one source as fast (*start*)."""
PARTS_MAX: Final = 64
"""Parts kept that nobody brings anything to; the one left longest ago goes (*start*)."""

PartKey = tuple[ContentHash, int, tuple[ContentHash, ...]]
"""Of one hash at most one size and one row of chunks is true: what different keys say of it are
parts of their own."""


def part_key(wanted: ContentWanted) -> PartKey:
    """What makes two transfers bring the same."""
    return wanted.content_hash, wanted.size, wanted.chunk_hashes


def is_shared(chunk_hashes: tuple[ContentHash, ...]) -> bool:
    """Whether several sources bring a content of these chunks together."""
    return len(chunk_hashes) >= SHARED_CHUNKS_MIN


class Part:
    """The chunks of one content."""

    __slots__ = ("_asked", "_kept", "kept_bytes", "plan")

    def __init__(self, plan: Chunks) -> None:
        self.plan = plan
        self._kept: set[int] = set()
        self._asked: Counter[int] = Counter()
        """Of how many sources each is asked for."""
        self.kept_bytes = 0

    def next_for(self, own: Container[int]) -> int | None:
        """The chunk to ask a source for that brings these; None: nothing it could help with."""
        lacking = [one for one in range(self.plan.count) if one not in self._kept]
        free = next((one for one in lacking if not self._asked[one]), None)
        if free is not None or len(lacking) > LAST_CHUNKS:
            return free
        return next((one for one in lacking if self._asked[one] < 2 and one not in own), None)

    def on_asked(self, number: int) -> None:
        """A source is asked for a chunk."""
        self._asked[number] += 1

    def on_over(self, number: int) -> None:
        """A source that was asked for a chunk brings it no more, or has brought it."""
        self._asked[number] -= 1

    def on_kept(self, number: int) -> None:
        """A chunk is here, and is what it must be."""
        assert number not in self._kept
        self._kept.add(number)
        self.kept_bytes += self.plan.size_of(number)

    def has(self, number: int) -> bool:
        """Whether a chunk is here."""
        return number in self._kept

    @property
    def is_whole(self) -> bool:
        """Whether all are."""
        return len(self._kept) == self.plan.count
