"""Who exists, where, and what it may hold: the contents of peer and storage directories and of
snapshots.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from fabgossip.model.artifact import Order
from fabgossip.model.ids import ManifestHash, NodeId
from fabgossip.model.policy import DegradedPolicy, ReplicationPolicy, RetentionPolicy
from fabgossip.model.scope import Audience, ScopeId, StorageAssignment

ADDRESSES_MAX: Final = 8
ADDRESS_BYTES_MAX: Final = 260
PORT_MAX: Final = 65_535
"""A DNS name of 253 bytes, a colon and a port."""
DIRECTORY_PEERS_MAX: Final = 50_000
AUDIENCES_MAX: Final = 1_024
"""Narrower audiences a directory can declare."""
ENDPOINTS_MAX: Final = 64
COVERS_MAX: Final = 64
LISTINGS_MAX: Final = 50_000
WINDOW_MAX: Final = 8
"""Earlier manifests a listing names as worth keeping."""


class PeerClass(Enum):
    """How much a node carries. Numbers of the wire; never reused."""

    CORE = 1
    FULL = 2
    THIN = 3


@dataclass(frozen=True, slots=True, order=True)
class FailureDomain:
    """Nodes that fail together: region, zone in it, rack in that."""

    region: str
    zone: str
    rack: str

    def __str__(self) -> str:
        return f"{self.region}/{self.zone}/{self.rack}"

    def distance(self, other: "FailureDomain") -> int:
        """0 same rack, 1 same zone, 2 same region, 3 elsewhere."""
        if self.region != other.region:
            return 3
        if self.zone != other.zone:
            return 2
        return 0 if self.rack == other.rack else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRecord:
    """A node as a directory lists it. `audiences` are indices into the directory's declared
    audiences.
    """

    node_id: NodeId
    addresses: tuple[str, ...]
    domain: FailureDomain
    peer_class: PeerClass
    is_storage: bool
    """Listed because it stores for this scope, not because it is a member of it."""
    audiences: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerDirectory:
    """The members of one scope and the audiences in use inside it."""

    scope: ScopeId
    audiences: tuple[Audience, ...]
    peers: tuple[PeerRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageNode:
    """A node that stores for others, and the part of its assignments this directory may tell."""

    node_id: NodeId
    domain: FailureDomain
    assignments: tuple[StorageAssignment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageDirectory:
    """Storage nodes of one scope and the policies they follow: one signed version fixes both."""

    scope: ScopeId
    nodes: tuple[StorageNode, ...]
    replication: ReplicationPolicy
    retention: RetentionPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a node can be dialled, and who must answer there."""

    address: str
    node_id: NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A namespace as a snapshot lists it: which manifest is the current one there."""

    namespace: str
    order: Order
    manifest_hash: ManifestHash
    window: tuple[ManifestHash, ...] = ()
    """Earlier manifests worth keeping, newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A cluster snapshot: where to start from again, what an outage allows, and opaque settings for
    consumers.

    `covers` are the namespaces and prefixes it is complete for: what lies under one of them and is
    not listed is not current. A node's own snapshot also carries its newest claims.
    """

    endpoints: tuple[Endpoint, ...]
    degraded: DegradedPolicy
    settings: bytes
    covers: tuple[str, ...] = ()
    listings: tuple[Listing, ...] = ()
    claims: bytes = b""
    """Envelope of the newest claims of the node the snapshot is for; empty in others."""


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[v6]:port`; port 0 is any free one, to listen on. Raises
    `ValueError`."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > PORT_MAX:
        raise _no_address(address)
    return host.removeprefix("[").removesuffix("]"), int(port)


def parse_peer_address(text: str) -> str:
    """An address that can be told to peers: its port is known beforehand. Raises `ValueError`."""
    _, port = split_address(text)
    if not port:
        raise _no_address(text)
    return text


def _no_address(text: str) -> ValueError:
    return ValueError(f"{text!r}: expected host:port, port 1 to {PORT_MAX}")


def is_loopback(address: str) -> bool:
    """Whether an address to listen on is reachable from this machine only."""
    host, _ = split_address(address)
    return host == "::1" or host.startswith("127.") or host == "localhost"
