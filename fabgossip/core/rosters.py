"""Who is in a signed directory and in which order: worked out once, shared by all that hold it.

Decides: the order of members, the same on every node.
Keeps: equal directories give one frozen value, however many nodes of this process hold them; a node
itself keeps nothing that grows with the directory.
Must not know: who is linked to whom, who is alive.

- The order is (core before full, then SHA-256 of cluster and node id), one for all audiences.
- Thin nodes have a record and no place in the order: nobody counts on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import TypeAlias
from weakref import WeakValueDictionary

from fabgossip.model.ids import ClusterId, ContentHash, NodeId
from fabgossip.model.scope import Audience, ScopeId
from fabgossip.model.topology import FailureDomain, PeerClass, PeerDirectory, PeerRecord

Zone: TypeAlias = tuple[str, str]
"""Region and zone in it: what may fail as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Circle:
    """The members of one declared audience in order, thin ones left out."""

    index: int
    """Its place among the audiences of the directory."""
    audience: Audience
    members: tuple[NodeId, ...]
    zones: frozenset[Zone]
    """Of all members."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Roster:
    """One directory as choices need it."""

    scope: ScopeId
    records: Mapping[NodeId, PeerRecord]
    ranks: Mapping[NodeId, int]
    """The place of each member in the order; thin ones have none."""
    circles: tuple[Circle, ...]
    core: tuple[NodeId, ...]
    """The core nodes, in the order."""

    def is_member(self, node_id: NodeId, circle: Circle) -> bool:
        """Whether a node, thin or not, is in an audience."""
        record = self.records.get(node_id)
        return record is not None and circle.index in record.audiences

    def circles_of(self, node_id: NodeId) -> tuple[Circle, ...]:
        """The audiences a node is a member of, as the directory declares them."""
        record = self.records.get(node_id)
        return () if record is None else tuple(self.circles[index] for index in record.audiences)


class Rosters:
    """The rosters in use in this process, by what they were made from; one that nobody holds any
    more is forgotten."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: WeakValueDictionary[tuple[ClusterId, ContentHash], Roster] = (
            WeakValueDictionary()
        )

    def roster_of(
        self, cluster_id: ClusterId, content_hash: ContentHash, directory: PeerDirectory
    ) -> Roster:
        """The roster of the directory with this content hash. Cost: O(members log members) for who
        asks first, O(1) for the others."""
        key = (cluster_id, content_hash)
        roster = self._made.get(key)
        if roster is None:
            roster = self._made[key] = roster_from(cluster_id, directory)
        return roster


def roster_from(cluster_id: ClusterId, directory: PeerDirectory) -> Roster:
    """The members of a directory in their order."""
    counted = [peer for peer in directory.peers if peer.peer_class is not PeerClass.THIN]
    counted.sort(key=lambda peer: (*_place(cluster_id, peer), peer.node_id))
    members: list[list[PeerRecord]] = [[] for _ in directory.audiences]
    for peer in counted:
        for index in peer.audiences:
            members[index].append(peer)
    return Roster(
        scope=directory.scope,
        records=MappingProxyType({peer.node_id: peer for peer in directory.peers}),
        ranks=MappingProxyType({peer.node_id: rank for rank, peer in enumerate(counted)}),
        circles=tuple(
            Circle(
                index=index,
                audience=audience,
                members=tuple(peer.node_id for peer in members[index]),
                zones=frozenset(zone_of(peer.domain) for peer in members[index]),
            )
            for index, audience in enumerate(directory.audiences)
        ),
        core=tuple(peer.node_id for peer in counted if peer.peer_class is PeerClass.CORE),
    )


def _place(cluster_id: ClusterId, peer: PeerRecord) -> tuple[bool, bytes]:
    text = f"fabgossip order\x00{cluster_id}\x00{peer.node_id}"
    return peer.peer_class is not PeerClass.CORE, sha256(text.encode("ascii")).digest()


def zone_of(domain: FailureDomain) -> Zone:
    """The zone of a failure domain."""
    return domain.region, domain.zone
