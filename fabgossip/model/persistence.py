"""What a node writes to its own index and reads back: the words between core and storage."""

from dataclasses import dataclass, field
from typing import TypeAlias

from fabgossip.model.artifact import Order, VerifiedManifest
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import UnixTime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHead:
    """A head row of the node's own index."""

    namespace: str
    envelope: bytes
    order: Order
    is_held: bool
    """Whether its content is held."""
    is_increment: bool
    is_trust: bool
    """Whether it is a trust bundle or a revocation list."""
    content: bytes | None
    """The content of a type fabgossip reads, where held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTrust:
    """A step of the node's own trust chain."""

    version: int
    envelope: bytes
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PutHead:
    """Make a manifest the head of its namespace and raise the floor to its order, in one
    transaction.
    """

    verified: VerifiedManifest = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PutIncrement:
    """Keep an increment beside the head of its namespace; it raises no floor."""

    verified: VerifiedManifest = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PutTrust:
    """Append a step to the trust chain."""

    version: int
    envelope: bytes = field(repr=False)
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PutRevoked:
    """Add to what was ever revoked: (number of the kind, 32 bytes), never taken back by a list."""

    entries: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCheckpoint:
    """A verified checkpoint of an audit log, a peer's or our own, and what it says."""

    size: int
    head: bytes
    wall: UnixTime
    envelope: bytes = field(repr=False)
    is_evidence: bool = False
    """Whether another one of the same size names another head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PutCheckpoints:
    """These are all checkpoints kept of a node, oldest first; none: it is forgotten."""

    node_id: NodeId
    kept: tuple[KeptCheckpoint, ...]


Change: TypeAlias = PutHead | PutIncrement | PutTrust | PutRevoked | PutCheckpoints
