"""What a fault excuses, fixed by the kind of fault and never by the run that fails.

Decides: whether one node may take another for dead.
Keeps: an excuse outlives its fault by as long as its traces last; safety is excused by nothing.
Must not know: what a node decides.
"""

from typing import Final

from fabgossip.sim.faults import Fault
from fabgossip.sim.world import NS_PER_S, World

TRACES_NS: Final = 20 * NS_PER_S
"""What waited behind a fault is late, and who gave up is late to say so (*start*)."""
EXCUSING: Final = frozenset(
    {"cut", "clog", "latency", "loss", "half_open", "pause", "crash", "kill", "mass_restart",
     "slow_reader", "wall_step", "suspend", "rolling_restart", "churn", "crash_at", "mtu_hole",
     "torn_write", "sync_lies", "disk_rollback", "quota_cut", "drift"}
)  # fmt: skip
"""A reset excuses nothing: both ends hear of it."""
BETWEEN: Final = frozenset({"cut", "clog"})
"""These lie between their two sides and trouble no pair on one of them."""


class Excuses:
    """The faults that are on, or were of late."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._on: dict[int, Fault] = {}
        self._until_ns: dict[int, int] = {}

    def on_fault(self, fault: Fault) -> None:
        """A fault began."""
        if fault.kind in EXCUSING:
            self._on[fault.number] = fault
            self._until_ns[fault.number] = fault.off_ns + TRACES_NS

    def on_undone(self, fault: Fault) -> None:
        """It is undone; its traces last."""
        if fault.number in self._on:
            self._until_ns[fault.number] = self._world.now_ns + TRACES_NS

    def is_excused(self, one: int, other: int) -> bool:
        """Whether a fault lets either node take the other for dead now."""
        now_ns = self._world.now_ns
        return any(
            self._until_ns[fault.number] >= now_ns and _is_troubled(fault, one, other)
            for fault in self._on.values()
        )


def _is_troubled(fault: Fault, one: int, other: int) -> bool:
    if fault.kind not in BETWEEN:
        return one in fault.targets or other in fault.targets
    return (one in fault.targets and other in fault.others) or (
        other in fault.targets and one in fault.others
    )
