"""A fabric of the neighbour machines alone: who dials, asks, answers and dies, without a node.

Dials of the living succeed at once, those of the dead fail; every message arrives. Chance is each
machine's own.
"""

from collections.abc import Callable, Iterable
from random import Random

from fabgossip.core.config import ConnectionsConfig, NeighborsConfig
from fabgossip.core.events import LinkId, LostReason
from fabgossip.core.neighbors import Neighbors
from fabgossip.core.rosters import roster_from
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import NeighborAsk
from fabgossip.model.moment import Duration, Instant, later
from fabgossip.model.scope import parse_scope_id
from fabgossip.model.topology import PeerClass, PeerDirectory
from tests.core.artifacts import CLUSTER_SCOPE, EVERYBODY, IN_ACME, record
from tests.trust import factory

REGIONS = ("r1", "r2")
ZONES = ("z1", "z2")
TURN = Duration(8_000)


def directory_of(
    classes: list[PeerClass], members: Callable[[int], tuple[int, ...]] = lambda _: (0,)
) -> PeerDirectory:
    """Nodes `n00`, `n01` .., spread over two regions of two zones."""
    rows = tuple(
        record(
            f"n{number:02}",
            place=f"{REGIONS[number % 2]}/{ZONES[number // 2 % 2]}/k1",
            peer_class=kind,
            audiences=members(number),
        )
        for number, kind in enumerate(classes)
    )
    return PeerDirectory(
        scope=parse_scope_id(CLUSTER_SCOPE), audiences=(EVERYBODY, IN_ACME), peers=rows
    )


def machine(
    own: str, directory: PeerDirectory | None = None, config: NeighborsConfig | None = None
) -> Neighbors:
    """The neighbours of one node."""
    neighbors = Neighbors(
        NodeId(own), (config or NeighborsConfig(), ConnectionsConfig()), (), Random(own)
    )
    if directory is not None:
        neighbors.on_directory("a directory", roster_from(factory.CLUSTER, directory))
    neighbors.check()
    return neighbors


class Ring:
    """All nodes of a directory, and the links between them."""

    def __init__(self, directory: PeerDirectory, config: NeighborsConfig | None = None) -> None:
        self.directory = directory
        self.machines = {
            one.node_id: machine(one.node_id, directory, config) for one in directory.peers
        }
        self.up = set(self.machines)
        self.now = Instant(0)
        self._ends: dict[tuple[NodeId, LinkId], tuple[NodeId, LinkId]] = {}
        self._links = 0
        self.cut: Callable[[NodeId, NodeId], bool] = lambda _one, _other: False

    def turn(self, names: Iterable[NodeId] | None = None) -> "Ring":
        """Each node looks once for whom it misses, in this order."""
        for name in names or tuple(self.machines):
            if name in self.up:
                self._look(name)
        return self

    def settle(self, turns: int = 12, names: Iterable[NodeId] | None = None) -> "Ring":
        """Some turns, eight seconds apart."""
        order = None if names is None else tuple(names)
        for _ in range(turns):
            self.turn(order)
            self.now = later(self.now, TURN)
        return self

    def _look(self, name: NodeId) -> None:
        one = self.machines[name]
        self._ask(name)
        for candidate in one.next_dials(self.now):
            one.on_dialing(candidate.node_id)
            self._dial(name, candidate.node_id)
        for parting in one.next_partings(lambda _: False, self.now):
            self._end(name, parting.link, parting.retry_after_s)
        one.check()

    def _dial(self, name: NodeId, other: NodeId) -> None:
        if other not in self.up or self.cut(name, other):
            reason = LostReason.CONNECT_FAILED
            self.machines[name].on_lost(None, other, reason, self.now)
            return
        here, there = LinkId(self._links + 1), LinkId(self._links + 2)
        self._links += 2
        self._ends[(name, here)], self._ends[(other, there)] = (other, there), (name, here)
        self.machines[name].on_connected(here, other, self.now, is_dialer=True)
        self.machines[other].on_connected(there, name, self.now, is_dialer=False)
        self.machines[name].on_open(here, self.now)
        self.machines[other].on_open(there, self.now)
        self._ask(name)

    def _ask(self, name: NodeId) -> None:
        for link, ask in self.machines[name].next_asks(self.now):
            self.ask(name, link, ask)

    def ask(self, name: NodeId, link: LinkId, ask: NeighborAsk) -> None:
        """One node asks another over a link and gets its answer."""
        other, there = self._ends[(name, link)]
        reply = self.machines[other].on_ask(there, ask, self.now)
        if reply.evicted is not None:
            self._end(other, reply.evicted, 600)
        if reply.bye is not None:
            self._end(other, there, reply.retry_after_s)
            return
        self.machines[name].on_answer(link, reply.retry_after_s, self.now, is_yes=reply.is_yes)
        self.machines[other].check()

    def _end(self, name: NodeId, link: LinkId, retry_after_s: int) -> None:
        other, there = self._ends.pop((name, link))
        del self._ends[(other, there)]
        self.machines[other].on_told(name, retry_after_s, self.now)
        self.machines[name].on_lost(link, other, LostReason.EVICTED, self.now)
        self.machines[other].on_lost(there, name, LostReason.BYE, self.now)

    def kill(self, names: Iterable[NodeId]) -> "Ring":
        """Some die; the others notice."""
        for name in names:
            self.up.discard(name)
        return self.break_links(lambda one, other: not {one, other} <= self.up)

    def break_links(self, is_broken: Callable[[NodeId, NodeId], bool]) -> "Ring":
        """Some links end without a word."""
        for (name, link), (other, _) in list(self._ends.items()):
            if is_broken(name, other):
                if name in self.up:
                    self.machines[name].on_lost(link, other, LostReason.TIMEOUT, self.now)
                del self._ends[(name, link)]
        return self

    def links(self) -> dict[NodeId, set[NodeId]]:
        """Who holds whom for a neighbour."""
        found: dict[NodeId, set[NodeId]] = {name: set() for name in self.machines}
        for (name, link), (other, _) in self._ends.items():
            if self.machines[name].is_neighbor(link):
                found[name].add(other)
        return found

    def members(self, index: int, *, is_thin: bool = False) -> set[NodeId]:
        """Who is up in an audience."""
        return {
            one.node_id
            for one in self.directory.peers
            if index in one.audiences
            and (one.peer_class is PeerClass.THIN) is is_thin
            and one.node_id in self.up
        }

    def pieces(self, index: int) -> int:
        """In how many pieces an audience is, over links between its members alone."""
        left, links, count = self.members(index), self.links(), 0
        while left:
            count += 1
            frontier = [left.pop()]
            while frontier:
                near = links[frontier.pop()] & left
                left -= near
                frontier += sorted(near)
        return count
