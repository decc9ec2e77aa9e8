"""What is wrong with a disk while a fault lasts.

Decides: whether one operation fails, how much longer it takes.
Keeps: each ailment draws from the chance of its own fault, so one more shifts no other.
Must not know: what is read or written, who caused it.
"""

from dataclasses import dataclass
from typing import Final

from fabgossip.sim.quantities import PPM
from fabgossip.sim.streams import Stream

OPERATIONS: Final = ("read", "write", "sync")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ailment:
    """Of one disk, from one fault."""

    chance: Stream
    operation: str = ""
    """Which one fails; empty: none."""
    fails_ppm: int = 0
    slower: int = 1
    """Times as long as usual."""
    is_stalled: bool = False
    """Nothing that is begun comes to an end."""


class Ailments:
    """All that is wrong with one disk, by fault."""

    def __init__(self) -> None:
        self._ailments: dict[int, Ailment] = {}

    def begin(self, number: int, ailment: Ailment) -> None:
        """A fault is on."""
        self._ailments[number] = ailment

    def end(self, number: int) -> None:
        """It is undone."""
        self._ailments.pop(number, None)

    def fails(self, operation: str) -> bool:
        """Whether an operation fails this time."""
        drawn = [
            one.chance.below(PPM) < one.fails_ppm
            for one in self._ailments.values()
            if one.operation == operation
        ]
        return any(drawn)

    def lasts_ns(self, usual_ns: int) -> int:
        """How long it takes."""
        for one in self._ailments.values():
            usual_ns *= one.slower
        return usual_ns

    @property
    def is_stalled(self) -> bool:
        """Whether nothing comes to an end."""
        return any(one.is_stalled for one in self._ailments.values())
