"""What a node is made of: who it is, what it pins, how it is configured.

Decides: nothing.
Keeps: every member is frozen, but for a memory of what was worked out, which changes no outcome; a
node starts from these values and its disk alone.
Must not know: which files they came from.
"""

from dataclasses import dataclass, field
from random import Random

from fabgossip.core.config import NodeConfig
from fabgossip.core.rosters import Rosters
from fabgossip.model.authority import NodeIdentity, Opening
from fabgossip.model.ids import BootId, NodeId
from fabgossip.model.messages import SPOKEN, Protocols
from fabgossip.model.moment import UnixTime
from fabgossip.model.topology import Endpoint
from fabgossip.trust.bundle import PinnedTrust


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnIdentity:
    """What a node starts with beside its disk: who it is, its claims with every opening, the
    pinned trust."""

    node_id: NodeId
    claims: bytes
    openings: tuple[Opening, ...]
    pinned: PinnedTrust
    certificate: NodeIdentity | None = None
    """What peers see of it; None while it is out of its time."""
    certificate_times: tuple[UnixTime, UnixTime] | None = None
    """From when until when the certificate is good, as it says itself; None where none is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSetup:
    """What a node is made of."""

    config: NodeConfig
    own: OwnIdentity
    boot_id: BootId
    bootstrap: tuple[Endpoint, ...]
    seed: int
    """Of the node's own chance: its machines draw from streams named after them."""
    protocols: Protocols = SPOKEN
    """Others than this build's only where two builds are to meet."""
    rosters: Rosters = field(default_factory=Rosters)
    """Shared by the nodes of one process."""

    def chance(self, machine: str) -> Random:
        """The stream of one machine: a draw added to another shifts none of it."""
        return Random(f"{self.seed}/{machine}")
