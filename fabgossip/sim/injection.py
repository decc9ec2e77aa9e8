"""Carries out the fault plan: each row begins, and is undone at its end.

Decides: nothing the plan did not decide.
Keeps: a fault *fired* when it began and *mattered* when it changed at least one event, or what a
node was told; what began is undone exactly once.
Must not know: what a node makes of it, who judges.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fabgossip.sim.clock_faults import ClockFaults
from fabgossip.sim.disk_faults import DiskFaults
from fabgossip.sim.faults import Fault
from fabgossip.sim.link_faults import LinkFaults
from fabgossip.sim.machine import Host
from fabgossip.sim.network import Network
from fabgossip.sim.process_faults import ProcessFaults
from fabgossip.sim.staging import Carrier, Stage
from fabgossip.sim.streams import Streams
from fabgossip.sim.trace import Happened, Kind, world_event
from fabgossip.sim.watch import Watch
from fabgossip.sim.world import WORLD, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What became of some faults."""

    planned: int
    fired: int
    mattered: int
    skipped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultCounts(Tally):
    """What became of a plan."""

    nemeses: dict[str, Tally]
    """By nemesis, those of which the plan has no row included."""


class Injection:
    """The faults of one run."""

    def __init__(
        self, world: World, network: Network, hosts: dict[int, Host], watch: Watch, streams: Streams
    ) -> None:
        self._world = world
        self._network = network
        self._watch = watch
        self._planned: tuple[Fault, ...] = ()
        self._fired: set[int] = set()
        self._mattered: set[int] = set()
        self._skipped: set[int] = set()
        self._counted: dict[int, tuple[Callable[[], int], int]] = {}
        """Of faults that matter once it grows: what to count, and what it was before."""
        self._dark: set[int] = set()
        stage = Stage(
            world=world,
            network=network,
            hosts=hosts,
            watch=watch,
            streams=streams,
            undo_later=self._later,
            matters=lambda fault: self._mattered.add(fault.number),
            matters_by=self._matters_by,
        )
        self._disks = DiskFaults(stage)
        self._kinds: dict[str, Carrier] = {
            **LinkFaults(stage).carriers(),
            **ProcessFaults(stage).carriers(),
            **self._disks.carriers(),
            **ClockFaults(stage).carriers(),
            "control_plane_dark": self._darken,
        }

    @property
    def is_dark(self) -> bool:
        """Whether the control plane can do nothing now."""
        self._mattered |= self._dark
        return bool(self._dark)

    @property
    def light_ns(self) -> int:
        """When it can do something again."""
        return max((one.off_ns for one in self._planned if one.number in self._dark), default=0)

    def counts(self, nemeses: tuple[str, ...]) -> FaultCounts:
        """So far, of these nemeses."""
        for number in tuple(self._counted):
            self._look(number)
        whole = self._tally(self._planned)
        return FaultCounts(
            planned=whole.planned,
            fired=whole.fired,
            mattered=whole.mattered,
            skipped=whole.skipped,
            nemeses={
                name: self._tally(tuple(one for one in self._planned if one.nemesis == name))
                for name in nemeses
            },
        )

    def _tally(self, faults: tuple[Fault, ...]) -> Tally:
        numbers = frozenset(one.number for one in faults)
        return Tally(
            planned=len(numbers),
            fired=len(numbers & self._fired),
            mattered=len(numbers & (self._mattered | self._network.obstacles.mattered)),
            skipped=len(numbers & self._skipped),
        )

    def _matters_by(self, fault: Fault, count: Callable[[int], int]) -> None:
        """A fault matters once what is counted at its targets grows while it is on."""

        def total() -> int:
            return sum(count(index) for index in fault.targets)

        self._counted[fault.number] = (total, total())

    def _look(self, number: int) -> None:
        total, before = self._counted[number]
        if total() > before:
            self._mattered.add(number)

    def plan(self, faults: tuple[Fault, ...]) -> None:
        """Let all of these come."""
        self._planned = faults
        for fault in faults:
            self._disks.plan(fault)
            self._world.schedule(fault.on_ns, WORLD, WORLD, partial(self._on, fault))

    def _on(self, fault: Fault) -> Happened:
        if not fault.targets and fault.kind != "control_plane_dark":
            self._skipped.add(fault.number)
            return world_event(Kind.FAULT_ON, f"{fault.nemesis} skipped")
        self._fired.add(fault.number)
        self._kinds[fault.kind](fault)
        self._watch.fault_on(fault)
        return world_event(Kind.FAULT_ON, fault.nemesis)

    def _later(self, fault: Fault, undo: Callable[[], None]) -> None:
        def off() -> Happened:
            undo()
            if fault.number in self._counted:
                self._look(fault.number)
                del self._counted[fault.number]
            self._watch.fault_off(fault)
            return world_event(Kind.FAULT_OFF, fault.nemesis)

        self._world.schedule(max(fault.off_ns, self._world.now_ns), WORLD, WORLD, off)

    def _darken(self, fault: Fault) -> None:
        self._dark.add(fault.number)
        self._later(fault, partial(self._dark.discard, fault.number))
