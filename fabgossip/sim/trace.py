"""What happened, as one hash: two runs that differ anywhere differ here.

Decides: nothing.
Keeps: one record per event, `[time_ns, destination, source, sequence, kind, event, effects]`, in
the order of the world; a checkpoint after each 10,000, or 100 for each node where that is more.
Must not know: what an event means.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
from typing import Final, TypeAlias

from fabgossip.wire.packing import pack

CHECKPOINT_EVENTS: Final = 10_000
CHECKPOINT_EVENTS_PER_NODE: Final = 100
"""In a larger fabric checkpoints are rarer: each looks at every node, which takes as long as ten
events of it."""
HASH_BYTES: Final = 16
DIGEST_BYTES: Final = 8


class Kind(IntEnum):
    """What a record is about. Numbers of the trace; never reused."""

    DELIVER = 1
    TIMER = 2
    DISK = 3
    CLOCK = 4
    LOCAL = 5
    CONNECT = 6
    LOST = 7
    FAULT_ON = 8
    FAULT_OFF = 9
    PUBLISH = 10
    DROP = 11
    CRASH = 12
    RESTART = 13
    CHECK = 14
    WRITE = 15


Key: TypeAlias = tuple[int, int, int, int]
"""True time in ns, destination, source, sequence: total, and owed to no insertion order."""
Happened: TypeAlias = tuple[Kind, bytes, bytes]
"""Kind, digest of the event, digest of what followed."""


def digest8(data: bytes) -> bytes:
    """8 bytes that stand for these in a record."""
    return blake2b(data, digest_size=DIGEST_BYTES).digest()


NOTHING: Final = digest8(b"")


def world_event(kind: Kind, detail: str = "") -> Happened:
    """Something no node handled."""
    return kind, digest8(detail.encode()), NOTHING


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a run stood after so many events."""

    events: int
    time_ns: int
    trace_hash: str
    nodes: str
    """Digest of all node snapshots."""


class Trace:
    """The rolling hash of a run."""

    __slots__ = ("_every", "_hash", "_snapshots", "checkpoints", "events")

    def __init__(self, snapshots: Callable[[], bytes], nodes: int) -> None:
        self._every = max(CHECKPOINT_EVENTS, CHECKPOINT_EVENTS_PER_NODE * nodes)
        self._hash = blake2b(digest_size=HASH_BYTES)
        self._snapshots = snapshots
        self.events = 0
        self.checkpoints: list[Checkpoint] = []

    def add(self, key: Key, happened: Happened) -> None:
        """Note one event."""
        self._hash.update(pack((*key, happened[0].value, happened[1], happened[2])))
        self.events += 1
        if self.events % self._every == 0:
            self.checkpoint(key[0])

    def checkpoint(self, time_ns: int) -> None:
        """Note where the nodes stand."""
        nodes = blake2b(self._snapshots(), digest_size=HASH_BYTES).digest()
        self._hash.update(nodes)
        self.checkpoints.append(Checkpoint(self.events, time_ns, self.hash_hex, nodes.hex()))

    @property
    def hash_hex(self) -> str:
        """The hash of all records so far."""
        return self._hash.hexdigest()
