"""Hostile nodes: honest in all their script does not bend, with the same codec and the same paths.

Decides: when a script has its turn; nothing a script says.
Keeps: a hostile node forges no signature, reads no other disk and beats no path; what it draws
comes from a stream of its own.
Must not know: who judges, what an honest node makes of it.
"""

from functools import partial

from fabgossip.core.effects import Effect
from fabgossip.model.messages import Message, TrafficClass
from fabgossip.sim.authority import Issued, Papers
from fabgossip.sim.clock import Clock
from fabgossip.sim.disk import SimDisk
from fabgossip.sim.host import Process, Surroundings
from fabgossip.sim.hostility import Hostility
from fabgossip.sim.leaks import Leaks
from fabgossip.sim.machine import ProcessMaker
from fabgossip.sim.network import End, SentFrame
from fabgossip.sim.scripts import SCRIPTS, Script
from fabgossip.sim.topology import SimNode
from fabgossip.sim.trace import Happened, Kind, world_event


def maker_of(node: SimNode, leaks: Leaks) -> ProcessMaker:
    """How the processes of a node begin."""
    if node.hostility is None:
        return Process
    return partial(_begin, node.hostility, leaks)


def _begin(
    hostility: Hostility,
    leaks: Leaks,
    around: Surroundings,
    index: int,
    papers: Papers,
    disk: SimDisk,
    clock: Clock,
) -> Process:
    return Adversary(around, index, papers, disk, clock, hostility, leaks)


class Adversary(Process):
    """A process whose script sees all that comes and bends all that goes."""

    def __init__(  # those of a process, and what makes it hostile
        self,
        around: Surroundings,
        index: int,
        papers: Papers,
        disk: SimDisk,
        clock: Clock,
        hostility: Hostility,
        leaks: Leaks,
    ) -> None:
        super().__init__(around, index, papers, disk, clock)
        self._leaks = leaks
        self._every_ns = hostility.every_ns
        self.chance = around.streams.of(f"adversary/{papers.own.node_id}")
        self._script: Script = SCRIPTS[hostility.script](self, hostility.count)

    def start(self, *, is_synchronized: bool = True) -> Happened:
        """See `Process`; the first turn comes after one interval."""
        self._await_turn()
        return super().start(is_synchronized=is_synchronized)

    def _await_turn(self) -> None:
        self._wait(self._around.world.now_ns + self._every_ns, self._turn)

    def _turn(self) -> Happened:
        self._await_turn()
        self._script.act()
        for end in self._ends.values():
            self._around.network.flush(end)
        return world_event(Kind.LOCAL, "hostile")

    def received(self, end: End, frame: SentFrame) -> Happened:
        """See `Process`; the script hears it first."""
        self._script.hear(frame)
        return super().received(end, frame)

    def _carry_out(self, effect: Effect) -> None:
        for one in self._script.bend(effect):
            super()._carry_out(one)

    def open_ends(self) -> tuple[End, ...]:
        """Its links past the hello, oldest first."""
        return tuple(
            end
            for end in self._ends.values()
            if end.lost is None and self.node.view.is_open(end.link)
        )

    def end_of(self, link: int) -> End | None:
        """A link that is not lost, by its number."""
        return next(
            (one for one in self._ends.values() if one.link == link and one.lost is None), None
        )

    def say(self, end: End, message: Message, traffic: TrafficClass, stream: int = 0) -> None:
        """Send a message as itself."""
        kind, body = self._around.codec.encode(message)
        self.throw(end, SentFrame(kind, traffic, stream, body))
        self._around.watch.sent(self._index, end, message, len(body))

    def throw(self, end: End, frame: SentFrame) -> None:
        """Send any frame."""
        if end.lost is None:
            self._around.network.send(end, frame)

    def dial_everybody(self) -> None:
        """Dial every node there is and no link goes to."""
        linked = {end.peer.index for end in self._ends.values()}
        for node_id, index in self._around.index_of.items():
            if index != self._index and index not in linked:
                self._around.network.dial((self._index, self), (index, node_id))

    def foreign(self) -> tuple[Issued, ...]:
        """What was signed until now and this node may not know."""
        ledger = self._around.watch.ledger
        known = self._leaks.known(self._around.world.now_ns)
        return tuple(one for one in known if not ledger.may_know(self._index, one))

    def flush(self, end: End) -> None:
        """Let what it said go at once."""
        self._around.network.flush(end)
