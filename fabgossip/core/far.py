"""The far neighbour: one drawn at random from where this node is not.

Decides: who it is, and when another is drawn.
Keeps: uniform over the other regions, or zones where there is one region: who would surround a node
cannot foresee it, and halves that grew apart mix again.
Must not know: whether it can be reached.
"""

from collections.abc import Callable
from random import Random
from typing import Final

from fabgossip.core.config import NeighborsConfig
from fabgossip.core.directories import Directories
from fabgossip.core.failures import jittered
from fabgossip.core.rosters import Zone
from fabgossip.core.seats import Seat
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Duration, Instant, is_due, later

RESAMPLE_MS: Final = 900_000
"""Another is drawn every 15 minutes give or take 20 % (*start*)."""
SOON_MS: Final = 5_000
"""Within so long after a part of the fabric came back."""
TRIES: Final = 32
JITTER_DIVISOR: Final = 5


class Far:
    """The slot of the far neighbour."""

    __slots__ = ("_config", "_directories", "_rng", "at", "target")

    def __init__(self, config: NeighborsConfig, directories: Directories, rng: Random) -> None:
        self._config = config
        self._directories = directories
        self._rng = rng
        self.target: NodeId | None = None
        self.at: Instant | None = None
        """When another is drawn."""

    def draw(self, may_take: Callable[[NodeId], bool], now: Instant) -> None:
        """Draw one if there is none or it is time; none where all are near, or everybody is a
        neighbour anyway."""
        seat, own = self._directories.widest, self._directories.own_zone
        if seat is None or own is None or not self._is_for(seat):
            self.target = self.at = None
        elif self.target is None or self.at is None or is_due(self.at, now):
            self.target = self._drawn(seat, own, may_take)
            self.at = later(now, jittered(RESAMPLE_MS, self._rng, JITTER_DIVISOR))

    def _is_for(self, seat: Seat) -> bool:
        is_mesh = seat.others <= self._config.mesh_members_max
        return seat.rank is not None and not is_mesh and len(seat.circle.zones) > 1

    def _drawn(self, seat: Seat, own: Zone, may_take: Callable[[NodeId], bool]) -> NodeId | None:
        has_regions = len({region for region, _ in seat.circle.zones}) > 1
        members = seat.circle.members
        for _ in range(TRIES):
            node_id = members[self._rng.randrange(len(members))]
            zone = self._directories.zone_of(node_id)
            is_far = zone is not None and (zone[0] != own[0] if has_regions else zone != own)
            if is_far and may_take(node_id):
                return node_id
        return None

    def on_directory(self) -> None:
        """A directory changed: who is in none any more cannot be had."""
        if self.target is not None and self._directories.record_of(self.target) is None:
            self.target = None

    def on_lost(self, node_id: NodeId) -> None:
        """A node cannot be had: if it is the one drawn, another is."""
        if node_id == self.target:
            self.target = None

    def draw_soon(self, now: Instant) -> None:
        """A part of the fabric is in reach again."""
        self.at = later(now, Duration(self._rng.randrange(SOON_MS + 1)))
