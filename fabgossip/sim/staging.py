"""What all faults of a run act upon.

Decides: nothing.
Keeps: a fault that is carried out is undone by who began it, at its end.
Must not know: any kind of fault.
"""

from collections.abc import Callable
from dataclasses import dataclass

from fabgossip.sim.faults import Fault
from fabgossip.sim.machine import Host
from fabgossip.sim.network import Network
from fabgossip.sim.streams import Stream, Streams
from fabgossip.sim.trace import Happened, Kind, world_event
from fabgossip.sim.watch import Watch
from fabgossip.sim.world import WORLD, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The world, and what is to be done about a fault."""

    world: World
    network: Network
    hosts: dict[int, Host]
    watch: Watch
    streams: Streams
    undo_later: Callable[[Fault, Callable[[], None]], None]
    """At the end of the fault."""
    matters: Callable[[Fault], None]
    """It changed something."""
    matters_by: Callable[[Fault, Callable[[int], int]], None]
    """It changes something once what is counted at its targets grows."""

    def chance(self, fault: Fault) -> Stream:
        """The stream of one fault."""
        return self.streams.of(f"fault/{fault.nemesis}/{fault.number}")

    def end(self, fault: Fault, index: int) -> None:
        """A process ends at once, if one runs."""
        if self.hosts[index].process is not None:
            self.matters(fault)
        self.hosts[index].crash()

    def start_at(self, time_ns: int, index: int) -> None:
        """One begins, unless one runs by then."""
        self.world.schedule(time_ns, index, WORLD, self.hosts[index].start)

    def at(self, time_ns: int, fault: Fault, action: Callable[[], None]) -> None:
        """Something happens while a fault lasts."""

        def act() -> Happened:
            action()
            return world_event(Kind.FAULT_ON, fault.nemesis)

        self.world.schedule(max(time_ns, self.world.now_ns), WORLD, WORLD, act)


Carrier = Callable[[Fault], None]
"""Carries out one kind of fault."""
