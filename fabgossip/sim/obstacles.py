"""What stands between nodes now: barriers, strains, doors that are shut.

Decides: whether a packet passes, whole and in time, by the faults that are on.
Keeps: a fault that changed what became of a packet has mattered.
Must not know: connections, what waits.
"""

from dataclasses import dataclass

from fabgossip.sim.quantities import PPM
from fabgossip.sim.streams import Stream


@dataclass(frozen=True, slots=True)
class Barrier:
    """Packets from one side to the other do not pass."""

    sources: frozenset[int]
    destinations: frozenset[int]
    is_patient: bool = False
    """Whether no kernel gives up what waits behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strain:
    """What befalls the packets from or to some nodes."""

    nodes: frozenset[int]
    add_ns: int = 0
    loss_ppm: int = 0
    spoils_ppm: int = 0
    """How many frames come damaged, by the chance of the fault."""
    chance: Stream | None = None
    passes_bytes: int | None = None
    """What is larger never passes."""

    def is_on(self, source: int, destination: int) -> bool:
        """Whether it is on the way between two nodes."""
        return source in self.nodes or destination in self.nodes


class Obstacles:
    """All of a run, by fault."""

    def __init__(self) -> None:
        self._barriers: dict[int, tuple[Barrier, ...]] = {}
        self._strains: dict[int, Strain] = {}
        self._barred: dict[int, tuple[frozenset[int], bool]] = {}
        """Who lets nobody in, and whether without a word."""
        self.mattered: set[int] = set()
        """Faults that changed what became of a packet."""

    def cut(self, number: int, barriers: tuple[Barrier, ...]) -> None:
        """A fault keeps packets from passing from now on."""
        self._barriers[number] = barriers

    def mend(self, number: int) -> bool:
        """They pass again; whether that is news."""
        return self._barriers.pop(number, None) is not None

    def strain(self, number: int, strain: Strain) -> None:
        """Something befalls packets from now on."""
        self._strains[number] = strain

    def relieve(self, number: int) -> bool:
        """Not any more; whether that is news."""
        return self._strains.pop(number, None) is not None

    def bar(self, number: int, nodes: frozenset[int], *, is_silent: bool) -> None:
        """From now on some nodes let nobody in: they refuse at once, or accept and say nothing."""
        self._barred[number] = (nodes, is_silent)

    def unbar(self, number: int) -> None:
        """They let in whoever may come."""
        self._barred.pop(number, None)

    def bars(self, node: int) -> tuple[bool, bool]:
        """Whether a node refuses, and whether it says nothing."""
        if not self._barred:
            return False, False
        found = [
            (number, is_silent)
            for number, (nodes, is_silent) in self._barred.items()
            if node in nodes
        ]
        self.mattered.update(number for number, _ in found)
        return any(not one for _, one in found), any(one for _, one in found)

    def is_cut(self, source: int, destination: int) -> bool:
        """Whether no packet passes from one node to another now."""
        if not self._barriers:
            return False
        for number, barriers in self._barriers.items():
            for barrier in barriers:
                if source in barrier.sources and destination in barrier.destinations:
                    self.mattered.add(number)
                    return True
        return False

    def is_severed(self, one: int, other: int) -> bool:
        """Whether either way between two nodes is cut."""
        return self.is_cut(one, other) or self.is_cut(other, one)

    def is_patient(self, here: int, there: int) -> bool:
        """Whether no kernel gives up what waits between two nodes."""
        return any(
            barrier.is_patient
            and (
                (here in barrier.sources and there in barrier.destinations)
                or (there in barrier.sources and here in barrier.destinations)
            )
            for barriers in self._barriers.values()
            for barrier in barriers
        )

    def lateness(self, source: int, destination: int) -> tuple[int, int]:
        """How much later a packet is, and how many more are lost."""
        add_ns = loss_ppm = 0
        for number, strain in self._strains.items():
            if strain.is_on(source, destination) and (strain.add_ns or strain.loss_ppm):
                add_ns += strain.add_ns
                loss_ppm += strain.loss_ppm
                self.mattered.add(number)
        return add_ns, loss_ppm

    def is_swallowed(self, source: int, destination: int, size: int) -> bool:
        """Whether what is so large never passes."""
        if not self._strains:
            return False
        found = [
            number
            for number, strain in self._strains.items()
            if strain.passes_bytes is not None
            and size > strain.passes_bytes
            and strain.is_on(source, destination)
        ]
        self.mattered.update(found)
        return bool(found)

    def is_spoiled(self, source: int, destination: int) -> bool:
        """Whether a frame comes damaged."""
        if not self._strains:
            return False
        found = [
            number
            for number, strain in self._strains.items()
            if strain.spoils_ppm
            and strain.chance is not None
            and strain.is_on(source, destination)
            and strain.chance.below(PPM) < strain.spoils_ppm
        ]
        self.mattered.update(found)
        return bool(found)
