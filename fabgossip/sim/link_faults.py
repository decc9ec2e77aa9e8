"""Faults of links, carried out.

Decides: nothing that is not in the plan.
Keeps: whoever asks when the last cut is gone is told.
Must not know: what passes.
"""

from functools import partial

from fabgossip.sim.faults import Fault
from fabgossip.sim.obstacles import Barrier, Strain
from fabgossip.sim.staging import Carrier, Stage


class LinkFaults:
    """The link faults of one run."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._cuts: set[int] = set()

    def carriers(self) -> dict[str, Carrier]:
        """Each kind."""
        return {
            "cut": self._cut,
            "clog": self._cut,
            "latency": self._strain,
            "loss": self._strain,
            "corrupt": self._strain,
            "mtu_hole": self._strain,
            "refuse": self._bar_dials,
            "accept_stall": self._bar_dials,
            "reset": self._reset,
            "half_open": self._half_open,
            "slow_reader": self._slow_reader,
        }

    def _cut(self, fault: Fault) -> None:
        targets, is_patient = frozenset(fault.targets), fault.kind == "clog"
        out = Barrier(targets, fault.others, is_patient)
        back = Barrier(fault.others, targets, is_patient)
        ways = {"both": (out, back), "out": (out,), "in": (back,)}
        self._stage.network.cut(fault.number, ways[fault.parameters.direction])
        self._cuts.add(fault.number)
        self._stage.undo_later(fault, partial(self._mend, fault))

    def _mend(self, fault: Fault) -> None:
        self._stage.network.mend(fault.number)
        self._cuts.discard(fault.number)
        if not self._cuts:
            self._stage.watch.mended()

    def _strain(self, fault: Fault) -> None:
        given = fault.parameters
        strain = Strain(
            nodes=frozenset(fault.targets),
            add_ns=given.add_ns,
            loss_ppm=given.p_ppm if fault.kind == "loss" else 0,
            spoils_ppm=given.p_ppm if fault.kind == "corrupt" else 0,
            passes_bytes=given.passes_bytes if fault.kind == "mtu_hole" else None,
            chance=self._stage.chance(fault),
        )
        self._stage.network.strain(fault.number, strain)
        self._stage.undo_later(fault, partial(self._stage.network.relieve, fault.number))

    def _bar_dials(self, fault: Fault) -> None:
        nodes, is_silent = frozenset(fault.targets), fault.kind == "accept_stall"
        self._stage.network.obstacles.bar(fault.number, nodes, is_silent=is_silent)
        self._stage.undo_later(fault, partial(self._stage.network.obstacles.unbar, fault.number))

    def _reset(self, fault: Fault) -> None:
        if self._stage.network.reset(frozenset(fault.targets)):
            self._stage.matters(fault)

    def _half_open(self, fault: Fault) -> None:
        if self._stage.network.forget(frozenset(fault.targets)):
            self._stage.matters(fault)

    def _slow_reader(self, fault: Fault) -> None:
        for index in fault.targets:
            self._stage.network.slow_reading(index, fault.parameters.rate_bps)
        self._stage.matters_by(fault, lambda index: self._stage.network.slowed[index])
        self._stage.undo_later(fault, partial(self._read_freely, fault))

    def _read_freely(self, fault: Fault) -> None:
        for index in fault.targets:
            self._stage.network.slow_reading(index, 0)
