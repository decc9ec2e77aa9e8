"""Chance by name: what is drawn for one thing shifts nothing that is drawn for another.

Decides: a number for a name.
Keeps: the same seed and name give the same number; nobody learns from a moment that concerns it how
often anything was drawn for others.
Must not know: what is drawn, and for whom.
"""

from hashlib import blake2b
from random import Random
from typing import Final

from fabgossip.model.moment import Duration

_SEED_BITS: Final = 64


class Lots:
    """The lots of one machine."""

    __slots__ = ("_seed",)

    def __init__(self, rng: Random) -> None:
        self._seed = rng.getrandbits(_SEED_BITS)

    def below(self, bound: int, *name: object) -> int:
        """A number from 0 to `bound` - 1. Cost: about 1 us."""
        text = "/".join(str(part) for part in (self._seed, *name))
        drawn = blake2b(text.encode("utf-8"), digest_size=_SEED_BITS // 8).digest()
        return int.from_bytes(drawn, "big") % bound

    def around(self, wait_ms: int, divisor: int, *name: object) -> Duration:
        """A wait give or take one part in `divisor`."""
        spread = max(1, wait_ms // divisor)
        return Duration(wait_ms - spread + self.below(2 * spread + 1, *name))
