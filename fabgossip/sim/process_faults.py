"""Faults of processes and machines, carried out.

Decides: nothing that is not in the plan, but by the chance of each fault.
Keeps: whoever was ended starts again by the end of the fault, but for a machine without power.
Must not know: what a process does.
"""

from functools import partial
from typing import Final

from fabgossip.sim.faults import Fault
from fabgossip.sim.obstacles import Barrier
from fabgossip.sim.quantities import PPM
from fabgossip.sim.staging import Carrier, Stage
from fabgossip.sim.streams import Stream

CHURNS_MAX: Final = 1_000
"""Restarts of one node by one fault."""


class ProcessFaults:
    """The process faults of one run."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def carriers(self) -> dict[str, Carrier]:
        """Each kind."""
        return {
            "crash": self._crash,
            "kill": self._crash,
            "pause": self._pause,
            "suspend": self._suspend,
            "mass_restart": self._mass_restart,
            "rolling_restart": self._roll,
            "churn": self._churn,
            "crash_at": self._trap,
        }

    def _crash(self, fault: Fault) -> None:
        if fault.kind == "kill":
            # A machine without power says no word: its neighbors find out by themselves.
            self._stage.network.cut(fault.number, alone(fault))
        for index in fault.targets:
            self._stage.end(fault, index)
            if fault.parameters.disk == "wipe":
                self._stage.hosts[index].wipe()
        if fault.kind == "crash":
            self._stage.undo_later(fault, partial(self._start, fault))

    def _start(self, fault: Fault) -> None:
        for index in fault.targets:
            self._stage.start_at(self._stage.world.now_ns, index)

    def _pause(self, fault: Fault) -> None:
        for index in fault.targets:
            self._stage.world.pause(index, fault.off_ns)
        self._stage.matters_by(fault, lambda index: self._stage.world.halts[index])

    def _suspend(self, fault: Fault) -> None:
        """Of a machine asleep not even the kernel answers."""
        self._pause(fault)
        self._stage.network.cut(fault.number, alone(fault))
        self._stage.undo_later(fault, partial(self._stage.network.mend, fault.number))

    def _mass_restart(self, fault: Fault) -> None:
        chance, now_ns = self._stage.chance(fault), self._stage.world.now_ns
        for index in fault.targets:
            self._stage.end(fault, index)
            self._stage.start_at(now_ns + chance.below(fault.parameters.within_ns + 1), index)

    def _roll(self, fault: Fault) -> None:
        """Each batch is down for half of the gap to the next one; the last one starts at the end at
        the latest."""
        gap_ns, size = fault.parameters.gap_ns, fault.parameters.batch
        for number in range(0, len(fault.targets), size):
            batch = fault.targets[number : number + size]
            at_ns = min(fault.off_ns, fault.on_ns + number // size * gap_ns)
            until_ns = min(fault.off_ns, at_ns + gap_ns // 2)
            self._stage.at(at_ns, fault, partial(self._restart, fault, batch, until_ns))

    def _restart(self, fault: Fault, batch: tuple[int, ...], until_ns: int) -> None:
        for index in batch:
            self._stage.end(fault, index)
            self._stage.start_at(until_ns, index)

    def _churn(self, fault: Fault) -> None:
        chance = self._stage.chance(fault)
        for index in fault.targets:
            for at_ns, until_ns in _downs(fault, chance):
                self._stage.at(at_ns, fault, partial(self._restart, fault, (index,), until_ns))

    def _trap(self, fault: Fault) -> None:
        chance = self._stage.chance(fault)
        for index in fault.targets:
            on_point = partial(self._on_point, fault, index, chance)
            self._stage.hosts[index].disk.traps[fault.number] = (fault.parameters.point, on_point)
        self._stage.undo_later(fault, partial(self._untrap, fault))

    def _on_point(self, fault: Fault, index: int, chance: Stream) -> None:
        if chance.below(PPM) >= fault.parameters.p_ppm:
            return
        now_ns = self._stage.world.now_ns
        until_ns = min(fault.off_ns, now_ns + fault.parameters.down_ns)
        self._stage.at(now_ns, fault, partial(self._restart, fault, (index,), until_ns))

    def _untrap(self, fault: Fault) -> None:
        for index in fault.targets:
            self._stage.hosts[index].disk.traps.pop(fault.number)


def _downs(fault: Fault, chance: Stream) -> list[tuple[int, int]]:
    """When a node is down: up and down for up to twice as long as said, by chance."""
    given, at_ns = fault.parameters, fault.on_ns
    found: list[tuple[int, int]] = []
    while len(found) < CHURNS_MAX:
        at_ns += 1 + chance.below(2 * given.up_ns)
        until_ns = min(fault.off_ns, at_ns + chance.below(2 * given.down_ns))
        if at_ns >= fault.off_ns:
            break
        found.append((at_ns, until_ns))
        at_ns = until_ns
    return found


def alone(fault: Fault) -> tuple[Barrier, Barrier]:
    """Nothing passes between the targets and the others."""
    targets = frozenset(fault.targets)
    return Barrier(targets, fault.others), Barrier(fault.others, targets)
