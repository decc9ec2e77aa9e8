"""Chance in the world: streams named by a path, so that a new draw in one shifts no other.

Decides: draw i of a stream, from the run's seed, the stream's path and i alone.
Keeps: integers only; equal seeds give equal draws on every machine and under every hash seed.
Must not know: what is drawn for.
"""

from hashlib import blake2b, shake_128
from typing import Final

_MASK: Final = (1 << 64) - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15
"""SplitMix64 (Steele, Lea and Flood 2014): its increment and the two factors of its mixer."""
_FIRST: Final = 0xBF58476D1CE4E5B9
_SECOND: Final = 0x94D049BB133111EB


class Stream:
    """One named sequence of 64-bit draws."""

    __slots__ = ("_index", "_key")

    def __init__(self, key: int) -> None:
        self._key = key
        self._index = 0

    def at(self, index: int) -> int:
        """Draw `index` of the stream, whatever was drawn before."""
        mixed = (self._key + (index + 1) * _GOLDEN) & _MASK
        mixed = ((mixed ^ (mixed >> 30)) * _FIRST) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * _SECOND) & _MASK
        return mixed ^ (mixed >> 31)

    def draw(self) -> int:
        """The next draw, 0 to 2^64 - 1."""
        self._index += 1
        return self.at(self._index - 1)

    def below(self, bound: int) -> int:
        """The next draw scaled to 0 to `bound` - 1."""
        return (self.draw() * bound) >> 64

    def bytes(self, count: int) -> bytes:
        """`count` bytes; one draw, however many."""
        return shake_128(self.draw().to_bytes(8, "big")).digest(count)


class Streams:
    """All streams of a run."""

    __slots__ = ("_seed", "_streams")

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._streams: dict[str, Stream] = {}

    def of(self, path: str) -> Stream:
        """The stream of a path; the same object each time."""
        stream = self._streams.get(path)
        if stream is None:
            stream = Stream(self.number(path))
            self._streams[path] = stream
        return stream

    def number(self, path: str) -> int:
        """A 64-bit number named by a path, for a generator that is no stream of the world."""
        named = blake2b(f"{self._seed}\x00{path}".encode(), digest_size=8)
        return int.from_bytes(named.digest(), "big")
