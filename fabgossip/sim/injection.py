"""Carries out the fault plan: each row begins, and is undone at its end.

Decides: nothing the plan did not decide.
Keeps: a fault *fired* when it began and *mattered* when it changed at least one event, or what a
node was told; what began is undone exactly once.
Must not know: what a node makes of it, who judges.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fabgossip.sim.disk import FULL_BYTES, ROOMY_BYTES
from fabgossip.sim.faults import Fault
from fabgossip.sim.machine import Host
from fabgossip.sim.network import Barrier, Network, Strain
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
        self._hosts = hosts
        self._watch = watch
        self._streams = streams
        self._planned: tuple[Fault, ...] = ()
        self._fired: set[int] = set()
        self._mattered: set[int] = set()
        self._skipped: set[int] = set()
        self._counted: dict[int, tuple[Callable[[], int], int]] = {}
        """Of faults that matter once it grows: what to count, and what it was before."""
        self._cuts: set[int] = set()
        self._dark: set[int] = set()
        self._kinds: dict[str, Callable[[Fault], None]] = {
            "cut": self._cut,
            "clog": self._cut,
            "latency": self._strain,
            "loss": self._strain,
            "reset": self._reset,
            "half_open": self._half_open,
            "slow_reader": self._slow_reader,
            "crash": self._crash,
            "kill": self._crash,
            "rot": self._rot,
            "disk_full": self._fill,
            "disk_error": self._fail_writes,
            "pause": self._pause,
            "mass_restart": self._mass_restart,
            "wall_step": self._wall_step,
            "control_plane_dark": self._darken,
        }

    @property
    def is_dark(self) -> bool:
        """Whether the control plane can do nothing now."""
        self._mattered |= self._dark
        return bool(self._dark)

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
            mattered=len(numbers & (self._mattered | self._network.mattered)),
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

    def _cut(self, fault: Fault) -> None:
        out, back = _both_ways(fault)
        ways = {"both": (out, back), "out": (out,), "in": (back,)}
        self._network.cut(fault.number, ways[fault.parameters.direction])
        self._cuts.add(fault.number)
        self._later(fault, partial(self._mend, fault))

    def _mend(self, fault: Fault) -> None:
        self._network.mend(fault.number)
        self._cuts.discard(fault.number)
        if not self._cuts:
            self._watch.mended()

    def _strain(self, fault: Fault) -> None:
        given = fault.parameters
        strain = Strain(frozenset(fault.targets), given.add_ns, given.loss_ppm)
        self._network.strain(fault.number, strain)
        self._later(fault, partial(self._network.relieve, fault.number))

    def _reset(self, fault: Fault) -> None:
        if self._network.reset(frozenset(fault.targets)):
            self._mattered.add(fault.number)

    def _half_open(self, fault: Fault) -> None:
        if self._network.forget(frozenset(fault.targets)):
            self._mattered.add(fault.number)

    def _slow_reader(self, fault: Fault) -> None:
        for index in fault.targets:
            self._network.slow_reading(index, fault.parameters.rate_bps)
        self._matters_by(fault, lambda index: self._network.slowed[index])
        self._later(fault, partial(self._read_freely, fault))

    def _read_freely(self, fault: Fault) -> None:
        for index in fault.targets:
            self._network.slow_reading(index, 0)

    def _crash(self, fault: Fault) -> None:
        if fault.kind == "kill":
            # A machine without power says no word: its neighbors find out by themselves.
            self._network.cut(fault.number, _both_ways(fault))
        for index in fault.targets:
            self._end(fault, index)
            if fault.parameters.disk == "wipe":
                self._hosts[index].wipe()
        if fault.kind == "crash":
            self._later(fault, partial(self._start, fault))

    def _end(self, fault: Fault, index: int) -> None:
        if self._hosts[index].process is not None:
            self._mattered.add(fault.number)
        self._hosts[index].crash()

    def _start(self, fault: Fault) -> None:
        for index in fault.targets:
            self._at(self._world.now_ns, index)

    def _at(self, time_ns: int, index: int) -> None:
        self._world.schedule(time_ns, index, WORLD, self._hosts[index].start)

    def _rot(self, fault: Fault) -> None:
        for index in fault.targets:
            if self._hosts[index].disk.rot():
                self._mattered.add(fault.number)

    def _fill(self, fault: Fault) -> None:
        for index in fault.targets:
            self._hosts[index].disk.free_bytes = FULL_BYTES
        self._matters_by(fault, self._hindrances)
        self._later(fault, partial(self._empty, fault))

    def _hindrances(self, index: int) -> int:
        return self._hosts[index].disk.hindrances

    def _empty(self, fault: Fault) -> None:
        for index in fault.targets:
            self._hosts[index].disk.free_bytes = ROOMY_BYTES

    def _fail_writes(self, fault: Fault) -> None:
        for index in fault.targets:
            self._hosts[index].disk.is_failing = True
        self._matters_by(fault, self._hindrances)
        self._later(fault, partial(self._write_again, fault))

    def _write_again(self, fault: Fault) -> None:
        for index in fault.targets:
            self._hosts[index].disk.is_failing = False

    def _pause(self, fault: Fault) -> None:
        for index in fault.targets:
            self._world.pause(index, fault.off_ns)
        self._matters_by(fault, lambda index: self._world.halts[index])
        self._later(fault, lambda: None)

    def _mass_restart(self, fault: Fault) -> None:
        chance = self._streams.of(f"fault/{fault.nemesis}/{fault.number}")
        for index in fault.targets:
            self._end(fault, index)
            self._at(self._world.now_ns + chance.below(fault.parameters.within_ns + 1), index)

    def _wall_step(self, fault: Fault) -> None:
        self._step(fault, fault.parameters.by_s)
        self._matters_by(fault, lambda index: self._hosts[index].clock.readings)
        self._later(fault, partial(self._step, fault, -fault.parameters.by_s))

    def _step(self, fault: Fault, by_s: int) -> None:
        for index in fault.targets:
            self._hosts[index].clock.step(by_s)

    def _darken(self, fault: Fault) -> None:
        self._dark.add(fault.number)
        self._later(fault, partial(self._dark.discard, fault.number))


def _both_ways(fault: Fault) -> tuple[Barrier, Barrier]:
    targets, is_patient = frozenset(fault.targets), fault.kind == "clog"
    return Barrier(targets, fault.others, is_patient), Barrier(fault.others, targets, is_patient)
