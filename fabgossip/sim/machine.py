"""A machine of the simulation: its disk, its clock, and the process on it if one runs.

Decides: nothing.
Keeps: at most one process runs; what was durable outlives it, unless the disk is exchanged.
Must not know: what a process does, whether it is honest.
"""

from collections.abc import Callable

from fabgossip.sim.authority import Papers
from fabgossip.sim.clock import Clock
from fabgossip.sim.disk import SimDisk
from fabgossip.sim.host import Process, Surroundings
from fabgossip.sim.trace import Happened, Kind, world_event

ProcessMaker = Callable[[Surroundings, int, Papers, SimDisk, Clock], Process]


class Host:
    """A machine: its disk, and the process on it if one runs."""

    def __init__(
        self,
        around: Surroundings,
        index: int,
        papers: Papers,
        disk: SimDisk,
        clock: Clock,
        make_process: ProcessMaker = Process,
    ) -> None:
        self._around = around
        self._make_process = make_process
        self.clock = clock
        self.index = index
        self.papers = papers
        self.disk = disk
        self.process: Process | None = None
        self.is_synchronized = True
        """The kernel's word about its clock."""

    def start(self) -> Happened:
        """Start a process, unless one runs."""
        if self.process is not None:
            return world_event(Kind.DROP, "runs already")
        self.process = self._make_process(
            self._around, self.index, self.papers, self.disk, self.clock
        )
        return self.process.start(is_synchronized=self.is_synchronized)

    def crash(self) -> Happened:
        """End the process at once, if one runs."""
        if self.process is not None:
            process, self.process = self.process, None
            process.die()
            self.disk.crash()
            self._around.watch.crashed(self.index)
        return world_event(Kind.CRASH, self.papers.own.node_id)

    def enroll(self, papers: Papers) -> Happened:
        """Somebody carries new papers to the machine, and starts it again."""
        self.crash()
        self.papers = papers
        return self.start()

    def pin(self, namespace: str) -> Happened:
        """Somebody at the machine pins what a namespace has now, if a process runs."""
        if self.process is None:
            return world_event(Kind.DROP, "nobody to ask")
        return self.process.pin(namespace)

    def use(self, namespace: str) -> Happened:
        """Somebody at the machine puts a namespace back, if a process runs."""
        if self.process is None:
            return world_event(Kind.DROP, "nobody to ask")
        return self.process.use(namespace)

    def release(self, namespace: str) -> Happened:
        """Somebody at the machine ends that, if a process runs."""
        if self.process is None:
            return world_event(Kind.DROP, "nobody to ask")
        return self.process.release(namespace)

    def wipe(self) -> None:
        """The disk of a machine that is down is exchanged for an empty one."""
        assert self.process is None, "a running process keeps its disk"
        self.disk.wipe()
        self._around.watch.wiped(self.index)

    def snapshot(self) -> str:
        """The node as a checkpoint sees it."""
        if self.process is None:
            return "down"
        return repr(self.process.node.view.snapshot(self.clock.at(self._around.world.now_ns)))
