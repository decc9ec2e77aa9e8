"""What the directories held say: who there is, where, and where this node stands itself.

Decides: nothing; answers from the rosters.
Keeps: nothing is copied out of a roster; a question about one node costs O(directories); one past
its time still says who there is and where, and no more.
Must not know: who is linked, who is alive.
"""

from typing import Final

from fabgossip.core.rosters import Roster, Zone, zone_of
from fabgossip.core.seats import Seat, seats_of
from fabgossip.model.ids import NodeId
from fabgossip.model.scope import ScopeId, ScopeKind
from fabgossip.model.topology import FailureDomain, PeerClass, PeerRecord

FAR: Final = 3
"""Distance of another region."""
NOWHERE: Final = 4
"""Distance of who stands in a place that no held directory tells, or if ours is not known."""


class Directories:
    """The rosters held, by namespace, and what follows for this node."""

    __slots__ = ("_expired", "_own_record", "_rosters", "is_settled", "own_id", "revision", "seats")

    def __init__(self, own_id: NodeId) -> None:
        self.own_id = own_id
        self._rosters: dict[str, Roster] = {}
        self._expired: set[str] = set()
        self._own_record: PeerRecord | None = None
        self.seats: tuple[Seat, ...] = ()
        """The declared audiences this node is a member of."""
        self.revision = 0
        """Counts the changes of what is held."""
        self.is_settled = False
        """Whether the cluster's own directory lists this node, so that who is a neighbour follows
        from directories. Narrower ones do not say: whoever may not know of them would see by how
        it is treated that there is one."""

    def on_directory(self, namespace: str, roster: Roster | None) -> None:
        """The directory of a namespace now says this (None: it is gone)."""
        self._expired.discard(namespace)
        if roster is None:
            self._rosters.pop(namespace, None)
        else:
            self._rosters[namespace] = roster
        self.revision += 1
        self._own_record = self.record_of(self.own_id)
        self.seats = seats_of(self.own_id, tuple(self._rosters.values()))
        self.is_settled = self.is_public(self.own_id)

    def on_expired(self, namespace: str) -> None:
        """The directory of a namespace is past its time."""
        if namespace in self._rosters:
            self._expired.add(namespace)

    def record_of(self, node_id: NodeId) -> PeerRecord | None:
        """What a held directory says of a node."""
        for roster in self._rosters.values():
            record = roster.records.get(node_id)
            if record is not None:
                return record
        return None

    def is_listed(self, node_id: NodeId, scope: ScopeId) -> bool:
        """Whether a directory in time lists a node for a scope, as a member or because it stores
        for it."""
        return any(
            one.scope == scope and node_id in one.records
            for namespace, one in self._rosters.items()
            if namespace not in self._expired
        )

    def is_public(self, node_id: NodeId) -> bool:
        """Whether the cluster's own directory lists a node."""
        return any(node_id in one.records for one in self._public())

    @property
    def public_count(self) -> int:
        """How many nodes the cluster's own directory lists."""
        return max((len(one.records) for one in self._public()), default=0)

    def public_core(self) -> tuple[NodeId, ...]:
        """The core nodes of the cluster's own directory, in its order."""
        return tuple(node_id for one in self._public() for node_id in one.core)

    def _public(self) -> tuple[Roster, ...]:
        return tuple(one for one in self._rosters.values() if one.scope.kind is ScopeKind.CLUSTER)

    def shared(self, node_id: NodeId) -> int:
        """In how many of our audiences another node is, thin or not."""
        return sum(seat.roster.is_member(node_id, seat.circle) for seat in self.seats)

    def is_thin(self, node_id: NodeId) -> bool:
        """Whether a directory says that a node passes nothing on."""
        record = self.record_of(node_id)
        return record is not None and record.peer_class is PeerClass.THIN

    def zone_of(self, node_id: NodeId) -> Zone | None:
        """Region and zone of a node, if a directory lists it."""
        record = self.record_of(node_id)
        return None if record is None else zone_of(record.domain)

    @property
    def own_zone(self) -> Zone | None:
        """Region and zone of this node, once a directory lists it."""
        return None if self._own_record is None else zone_of(self._own_record.domain)

    def reach_of(self, node_id: NodeId) -> Zone | None:
        """What is likely to be cut off from us as a whole and has this node in it: another region,
        or a zone of our own."""
        zone, own = self.zone_of(node_id), self.own_zone
        return zone if zone is None or own is None or zone[0] == own[0] else (zone[0], "")

    @property
    def widest(self) -> Seat | None:
        """Our seat in the audience with the most members."""
        return max(self.seats, key=lambda seat: seat.others, default=None)

    def distance_to(self, domain: FailureDomain | None) -> int:
        """How far a failure domain is from ours: 0 same rack, 1 same zone, 2 same region, `FAR`,
        `NOWHERE`."""
        own = self._own_record
        return NOWHERE if own is None or domain is None else own.domain.distance(domain)
