"""Faults of clocks, carried out.

Decides: nothing that is not in the plan.
Keeps: the boot clock takes no steps and never runs back; wall clocks are right again at the end.
Must not know: what a node makes of its clocks.
"""

from functools import partial

from fabgossip.model.moment import seconds_between
from fabgossip.sim.clock import Clock
from fabgossip.sim.faults import Fault
from fabgossip.sim.machine import Host
from fabgossip.sim.quantities import PPM
from fabgossip.sim.staging import Carrier, Stage
from fabgossip.sim.world import NS_PER_S


class ClockFaults:
    """The clock faults of one run."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def carriers(self) -> dict[str, Carrier]:
        """Each kind."""
        return {
            "wall_step": self._step,
            "skew": self._slide,
            "freeze": self._freeze,
            "drift": self._drift,
            "unsynchronized": self._let_go,
            "expiry_edge": self._go_to_edge,
        }

    def _clock(self, index: int) -> Clock:
        return self._stage.hosts[index].clock

    def _step(self, fault: Fault) -> None:
        self._step_by(fault, fault.parameters.by_s)
        self._stage.matters_by(fault, lambda index: self._clock(index).readings)
        self._stage.undo_later(fault, partial(self._step_by, fault, -fault.parameters.by_s))

    def _step_by(self, fault: Fault, by_s: int) -> None:
        for index in fault.targets:
            self._clock(index).step(by_s)

    def _slide(self, fault: Fault) -> None:
        lasts_ns = max(1, fault.off_ns - fault.on_ns)
        self._run_wall(fault, fault.parameters.by_s * NS_PER_S * PPM // lasts_ns)

    def _freeze(self, fault: Fault) -> None:
        self._run_wall(fault, -PPM)

    def _run_wall(self, fault: Fault, ppm: int) -> None:
        for index in fault.targets:
            self._clock(index).run_wall(self._stage.world.now_ns, fault.number, ppm)
        self._stage.matters_by(fault, lambda index: self._clock(index).readings)
        self._stage.undo_later(fault, partial(self._set_wall, fault))

    def _set_wall(self, fault: Fault) -> None:
        for index in fault.targets:
            self._clock(index).set_wall(fault.number)

    def _drift(self, fault: Fault) -> None:
        self._drift_by(fault, fault.parameters.ppm)
        self._stage.matters_by(fault, lambda index: self._clock(index).readings)
        self._stage.undo_later(fault, partial(self._drift_by, fault, -fault.parameters.ppm))

    def _drift_by(self, fault: Fault, ppm: int) -> None:
        for index in fault.targets:
            self._clock(index).drift(self._stage.world.now_ns, ppm)

    def _let_go(self, fault: Fault) -> None:
        self._say(fault, is_synchronized=False)
        self._stage.undo_later(fault, partial(self._say, fault, is_synchronized=True))

    def _say(self, fault: Fault, *, is_synchronized: bool) -> None:
        for index in fault.targets:
            host = self._stage.hosts[index]
            host.is_synchronized = is_synchronized
            self._stage.watch.clock_word(index, is_synchronized=is_synchronized)
            if host.process is not None:
                self._stage.matters(fault)
                host.process.hear_of_clock(is_synchronized=is_synchronized)

    def _go_to_edge(self, fault: Fault) -> None:
        """Each target's wall clock, so that what it holds that expires first has just done so, or
        is about to."""
        for index in fault.targets:
            by_s = _until_edge_s(self._stage.hosts[index], self._stage.world.now_ns)
            if by_s is not None:
                step = by_s + fault.parameters.offset_s
                self._clock(index).step(step)
                self._stage.matters(fault)
                self._stage.undo_later(fault, partial(self._clock(index).step, -step))


def _until_edge_s(host: Host, now_ns: int) -> int | None:
    """Until the first of a node's holdings expires by its own clock; None if it has none."""
    now = host.clock.at(now_ns).unix
    left = [
        seconds_between(now, one.manifest.expires_at)
        for one in host.disk.heads.values()
        if one.manifest.expires_at > now
    ]
    return min(left, default=None)
