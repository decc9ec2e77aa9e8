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
        self._felt: set[int] = set()
        """Which changed anything."""

    def begin(self, number: int, ailment: Ailment) -> None:
        """A fault is on."""
        self._ailments[number] = ailment

    def end(self, number: int) -> bool:
        """It is undone; gives whether it changed anything."""
        self._ailments.pop(number, None)
        is_felt = number in self._felt
        self._felt.discard(number)
        return is_felt

    def fails(self, operation: str) -> bool:
        """Whether an operation fails this time."""
        failed = [
            number
            for number, one in self._ailments.items()
            if one.operation == operation and one.chance.below(PPM) < one.fails_ppm
        ]
        self._felt.update(failed)
        return bool(failed)

    def lasts_ns(self, usual_ns: int) -> int:
        """How long it takes."""
        for number, one in self._ailments.items():
            usual_ns *= one.slower
            if one.slower > 1:
                self._felt.add(number)
        return usual_ns

    @property
    def is_stalled(self) -> bool:
        """Whether nothing comes to an end."""
        stalled = [number for number, one in self._ailments.items() if one.is_stalled]
        self._felt.update(stalled)
        return bool(stalled)
