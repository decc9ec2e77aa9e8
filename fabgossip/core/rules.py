"""What a node wants of its neighbours: the rules, and which of them are open.

Decides: whether a rule is met, and whether a candidate would heal an open one.
Keeps: with equal directories, live members and no rule open, each declared audience is one piece:
each member but the first has an earlier one as neighbour.
Must not know: who can be reached, how a candidate is found.

| rule | open while |
|---|---|
| mesh | an audience of at most `mesh_members_max` others has a member that is no neighbour |
| upward | no neighbour in an audience stands before this node, and somebody does |
| quota | fewer than `quota_per_audience` neighbours in an audience |
| zones | the neighbours in an audience are of one zone, and its members are not |
| links | fewer than `links_min` neighbours in all |
| dialed | fewer than 3 neighbours this node dialled itself: others choose the rest |
| wide | all neighbours together are of fewer than 3 zones, and there are more |
| far | the node drawn from far away is no neighbour |
| thin | a thin node has fewer than two neighbours in an audience; no other rule is for it |

Both directions of a link count alike, but for *dialed*.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from fabgossip.core.config import NeighborsConfig
from fabgossip.core.rosters import Zone
from fabgossip.core.seats import Seat
from fabgossip.model.ids import NodeId

DIALED_MIN: Final = 3
"""Neighbours of this node's own choosing: who surrounds it must also be chosen by it (*start*)."""
ZONES_MIN: Final = 2
"""A zone may fail whole (*start*)."""
ZONES_WIDE_MIN: Final = 3
THIN_LINKS: Final = 2


class Rule(Enum):
    """The rules of the table."""

    MESH = "mesh"
    UPWARD = "upward"
    QUOTA = "quota"
    ZONES = "zones"
    LINKS = "links"
    DIALED = "dialed"
    WIDE = "wide"
    FAR = "far"
    THIN = "thin"


@dataclass(frozen=True, slots=True)
class Present:
    """A neighbour, or who is about to be one."""

    node_id: NodeId
    zone: Zone | None
    is_dialed: bool


@dataclass(frozen=True, slots=True)
class OpenRule:
    """A rule that is not met."""

    rule: Rule
    seat: Seat
    """The audience it is open for, or the widest one."""
    zones: frozenset[Zone | None] = frozenset()
    """Those that are there already, where another is wanted."""
    target: NodeId | None = None

    def heals(self, node_id: NodeId, zone: Zone | None) -> bool:
        """Whether one more neighbour brings this rule closer to being met."""
        match self.rule:
            case Rule.UPWARD:
                return self.seat.is_earlier(node_id)
            case Rule.ZONES:
                return self.seat.has(node_id) and zone not in self.zones
            case Rule.WIDE:
                return zone not in self.zones
            case Rule.FAR:
                return node_id == self.target
            case Rule.LINKS | Rule.DIALED:
                return True
            case Rule.MESH | Rule.QUOTA | Rule.THIN:
                return self.seat.has(node_id)

    def candidates(self) -> tuple[Sequence[NodeId], int]:
        """Of whom to draw: so many of the first of these members."""
        if self.target is not None:
            return (self.target,), 1
        members = self.seat.circle.members
        return members, self.seat.earlier if self.rule is Rule.UPWARD else len(members)


def open_rules(
    seats: tuple[Seat, ...],
    present: Sequence[Present],
    far: NodeId | None,
    config: NeighborsConfig,
) -> list[OpenRule]:
    """The rules these neighbours do not meet. Cost: O(audiences x neighbours)."""
    if not seats:
        return []
    found: list[OpenRule] = []
    for seat in seats:
        inside = [one for one in present if seat.has(one.node_id)]
        found += _thin(seat, inside) if seat.rank is None else _full(seat, inside, config)
    widest = max(seats, key=lambda seat: seat.others)
    if widest.rank is not None:
        found += _over_all(widest, present, far, config)
    return found


def _thin(seat: Seat, inside: Sequence[Present]) -> list[OpenRule]:
    is_open = len(inside) < min(THIN_LINKS, seat.others)
    return [OpenRule(Rule.THIN, seat)] if is_open else []


def _full(seat: Seat, inside: Sequence[Present], config: NeighborsConfig) -> list[OpenRule]:
    if seat.others <= config.mesh_members_max:
        return [OpenRule(Rule.MESH, seat)] if len(inside) < seat.others else []
    found = []
    if seat.earlier and not any(seat.is_earlier(one.node_id) for one in inside):
        found.append(OpenRule(Rule.UPWARD, seat))
    if len(inside) < config.quota_per_audience:
        found.append(OpenRule(Rule.QUOTA, seat))
    zones = frozenset(one.zone for one in inside)
    if inside and len(zones) < min(ZONES_MIN, len(seat.circle.zones)):
        found.append(OpenRule(Rule.ZONES, seat, zones))
    return found


def _over_all(
    widest: Seat, present: Sequence[Present], far: NodeId | None, config: NeighborsConfig
) -> list[OpenRule]:
    if widest.others <= config.mesh_members_max:
        return []
    found = []
    if len(present) < min(config.links_min, widest.others):
        found.append(OpenRule(Rule.LINKS, widest))
    if sum(one.is_dialed for one in present) < min(DIALED_MIN, widest.others):
        found.append(OpenRule(Rule.DIALED, widest))
    zones = frozenset(one.zone for one in present)
    if present and len(zones) < min(ZONES_WIDE_MIN, len(widest.circle.zones)):
        found.append(OpenRule(Rule.WIDE, widest, zones))
    if far is not None and not any(one.node_id == far for one in present):
        found.append(OpenRule(Rule.FAR, widest, target=far))
    return found


def is_redundant(
    one: Present,
    seats: tuple[Seat, ...],
    present: Sequence[Present],
    far: NodeId | None,
    config: NeighborsConfig,
) -> bool:
    """Whether a neighbour heals nothing that would be open without it."""
    rest = [other for other in present if other is not one]
    return not any(
        rule.heals(one.node_id, one.zone) and (one.is_dialed or rule.rule is not Rule.DIALED)
        for rule in open_rules(seats, rest, far, config)
    )
