"""Faults of disks, carried out.

Decides: nothing that is not in the plan, but by the chance of each fault.
Keeps: a disk is exchanged, or put back, only while nothing runs on it.
Must not know: what lies on a disk.
"""

from functools import partial

from fabgossip.core.space import USUAL_LIMITS
from fabgossip.sim.ailments import Ailment
from fabgossip.sim.disk import FULL_BYTES, ROOMY_BYTES, SimDisk
from fabgossip.sim.faults import Fault
from fabgossip.sim.kept import Kept
from fabgossip.sim.staging import Carrier, Stage


class DiskFaults:
    """The disk faults of one run."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._images: dict[tuple[int, int], Kept] = {}
        """What disks had when a rollback will say they have it, by fault and place."""

    def carriers(self) -> dict[str, Carrier]:
        """Each kind."""
        return {
            "rot": self._rot,
            "bit_rot": self._flip,
            "disk_full": self._fill,
            "disk_error": self._fail_writes,
            "io_error": self._ail,
            "disk_slow": self._ail,
            "disk_stall": self._ail,
            "torn_write": self._lie,
            "sync_lies": self._lie,
            "disk_rollback": self._roll_back,
            "quota_cut": self._cut_quota,
        }

    def plan(self, fault: Fault) -> None:
        """What has to be done before a fault is on."""
        if fault.kind == "disk_rollback":
            at_ns = max(0, fault.on_ns - fault.parameters.age_ns)
            self._stage.at(at_ns, fault, partial(self._remember, fault))

    def _disk(self, index: int) -> SimDisk:
        return self._stage.hosts[index].disk

    def _rot(self, fault: Fault) -> None:
        for index in fault.targets:
            if self._disk(index).rot():
                self._stage.matters(fault)

    def _flip(self, fault: Fault) -> None:
        chance = self._stage.chance(fault)
        for index in fault.targets:
            if self._disk(index).flip_bits(fault.parameters.p_ppm, chance):
                self._stage.matters(fault)

    def _fill(self, fault: Fault) -> None:
        for index in fault.targets:
            self._disk(index).free_bytes = FULL_BYTES
        self._stage.matters_by(fault, lambda index: self._disk(index).hindrances)
        self._stage.undo_later(fault, partial(self._empty, fault))

    def _empty(self, fault: Fault) -> None:
        for index in fault.targets:
            self._disk(index).free_bytes = ROOMY_BYTES

    def _fail_writes(self, fault: Fault) -> None:
        for index in fault.targets:
            self._disk(index).is_failing = True
        self._stage.matters_by(fault, lambda index: self._disk(index).hindrances)
        self._stage.undo_later(fault, partial(self._write_again, fault))

    def _write_again(self, fault: Fault) -> None:
        for index in fault.targets:
            self._disk(index).is_failing = False

    def _ail(self, fault: Fault) -> None:
        given = fault.parameters
        for index in fault.targets:
            ailment = Ailment(
                chance=self._stage.streams.of(f"fault/{fault.nemesis}/{fault.number}/{index}"),
                operation=given.op,
                fails_ppm=given.p_ppm,
                slower=given.factor,
                is_stalled=fault.kind == "disk_stall",
            )
            self._disk(index).ailments.begin(fault.number, ailment)
        self._stage.undo_later(fault, partial(self._recover, fault))

    def _recover(self, fault: Fault) -> None:
        for index in fault.targets:
            if self._disk(index).ailments.end(fault.number):
                self._stage.matters(fault)

    def _lie(self, fault: Fault) -> None:
        for index in fault.targets:
            self._disk(index).lie(is_of_files=fault.kind == "torn_write")
        self._stage.undo_later(fault, partial(self._lose_power, fault))

    def _lose_power(self, fault: Fault) -> None:
        for index in fault.targets:
            self._stage.end(fault, index)
            self._disk(index).lie_no_more()
            self._stage.start_at(self._stage.world.now_ns, index)

    def _remember(self, fault: Fault) -> None:
        for index in fault.targets:
            self._images[(fault.number, index)] = self._disk(index).image()

    def _roll_back(self, fault: Fault) -> None:
        for index in fault.targets:
            self._stage.end(fault, index)
            self._disk(index).roll_back(self._images.pop((fault.number, index)))
            self._stage.start_at(self._stage.world.now_ns, index)
        self._stage.undo_later(fault, lambda: None)

    def _cut_quota(self, fault: Fault) -> None:
        self._give(fault, fault.parameters.quota_bytes)
        self._stage.undo_later(fault, partial(self._give, fault, USUAL_LIMITS.quota_bytes))

    def _give(self, fault: Fault, quota_bytes: int) -> None:
        """A quota is of the configuration: another one means another process."""
        for index in fault.targets:
            self._stage.end(fault, index)
            self._disk(index).limit(quota_bytes)
            self._stage.start_at(self._stage.world.now_ns, index)
