"""Where this node stands in each audience it is a member of.

Decides: whether another node counts in an audience, and whether it stands before this one.
Keeps: O(1) for a question about one node; what grows with the directory is the shared roster's.
Must not know: who is linked, who is alive.
"""

from bisect import bisect_left
from dataclasses import dataclass

from fabgossip.core.rosters import Circle, Roster
from fabgossip.model.ids import NodeId


@dataclass(frozen=True, slots=True)
class Seat:
    """One declared audience of which this node is a member."""

    roster: Roster
    circle: Circle
    rank: int | None
    """Place in the order of the directory; None for a thin node, which has none."""

    def has(self, node_id: NodeId) -> bool:
        """Whether another node is a member on which others count."""
        return node_id in self.roster.ranks and self.roster.is_member(node_id, self.circle)

    def is_earlier(self, node_id: NodeId) -> bool:
        """Whether a member stands before this node, as all do before a thin one."""
        return self.has(node_id) and (self.rank is None or self.roster.ranks[node_id] < self.rank)

    @property
    def others(self) -> int:
        """How many other members there are."""
        return len(self.circle.members) - (self.rank is not None)

    @property
    def earlier(self) -> int:
        """How many members stand before this node: so many of the first. Cost: O(log members)."""
        if self.rank is None:
            return len(self.circle.members)
        return bisect_left(self.circle.members, self.rank, key=self.roster.ranks.__getitem__)


def seats_of(node_id: NodeId, rosters: tuple[Roster, ...]) -> tuple[Seat, ...]:
    """Where a node is a member."""
    return tuple(
        Seat(one, circle, one.ranks.get(node_id))
        for one in rosters
        for circle in one.circles_of(node_id)
    )
