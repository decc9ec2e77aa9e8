"""A node as the topology of a scenario places it.

Decides: nothing.
Keeps: frozen.
Must not know: how a node works.
"""

from dataclasses import dataclass

from fabgossip.model.ids import NodeId
from fabgossip.model.messages import SPOKEN, Protocols
from fabgossip.sim.hostility import Hostility
from fabgossip.sim.paths import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class SimNode:
    """One node of the topology."""

    index: int
    """Place in the world: 1 and above, in order of node id."""
    node_id: NodeId
    group: str
    role: str
    place: Place
    orgs: tuple[str, ...]
    services: tuple[str, ...]
    assigned: tuple[str, ...]
    """`cluster`, and organisations by name."""
    peer_class: str
    disk_profile: str
    skew_ns: int
    """Of the wall clock, at most, either way."""
    drift_ppm: int
    """Of the boot clock, at most, either way."""
    cpu_percent: int
    rates_bps: tuple[int, int]
    """Up and down; 0: no limit."""
    protocols: Protocols = SPOKEN
    hostility: Hostility | None = None
    """None: honest."""
