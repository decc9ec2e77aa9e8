"""What is written together: the head of a disk's queue, as far as one commit may reach.

Decides: where a group ends.
Keeps: nothing is reordered whose order can be seen: of a namespace a group has one change of its
local state, a later statement about it, or about whom to believe, is durable only after that, and
a content leaves only after what was made of it; the first of the queue is always taken.
Must not know: how anything is written.

Within a group what goes into the index and what comes as a file is one commit; the local state
follows, also where it was asked for before: nobody waits for the folders of another namespace. A
withdrawal never lands before what it withdraws is shown, to be shown after it
(`tests/sim/test_recovery.py` found that).
There is no timer: whoever is free takes what is there.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar, assert_never

from fabgossip.core.effects import Materialize, Persist
from fabgossip.model.ids import ContentHash
from fabgossip.model.persistence import (
    DropHead,
    DropHeldBack,
    DropIncrement,
    DropPin,
    PutCheckpoints,
    PutClaimsSeen,
    PutClockDoubt,
    PutEvidence,
    PutFloor,
    PutGrantUse,
    PutHead,
    PutHeldBack,
    PutIncrement,
    PutMemory,
    PutPin,
    PutRevoked,
    PutTimeFloor,
    PutTrust,
)

T = TypeVar("T")
GROUP_MAX: Final = 256
"""Writes of a group: twice as many were no faster (`tests/benchmarks/store.py`)."""
GROUP_BYTES_MAX: Final = 4 << 20
"""Bytes of a group, unless its first write alone has more: what comes next waits for them
(*start*)."""
SWITCHES_MAX: Final = 64
"""Changes of the local state in a group: a daemon has four files of each open until they are
durable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What a write touches."""

    size: int = 0
    namespace: str | None = None
    """Whose local state it changes."""
    shows: ContentHash | None = None
    """The content the local state is made of."""
    removes: ContentHash | None = None
    about: frozenset[str] = frozenset()
    """The namespaces its statements are about."""
    is_about_all: bool = False
    """It may bear on every namespace: whom to believe, what is revoked, what the node knows."""


def extent_of(effect: Materialize) -> Extent:
    """What a change of the local state touches."""
    manifest = effect.manifest
    if manifest is None:
        return Extent(namespace=effect.namespace)
    size, shows = manifest.content_size, manifest.content_hash
    return Extent(size=size, namespace=effect.namespace, shows=shows)


def extent_of_persist(effect: Persist) -> Extent:
    """What changes of the index touch."""
    names: set[str] = set()
    is_about_all = False
    for change in effect.changes:
        match change:
            case PutHead() | PutIncrement() | PutEvidence():
                names.add(change.verified.manifest.namespace.text)
            case PutFloor() | DropHead() | DropIncrement() | DropHeldBack():
                names.add(change.namespace)
            case PutHeldBack():
                names.add(change.held_back.namespace)
            case PutGrantUse() | PutTimeFloor() | PutCheckpoints() | PutPin() | DropPin():
                """Nothing that is applied rests on it."""
            case PutTrust() | PutRevoked() | PutClaimsSeen() | PutClockDoubt() | PutMemory():
                is_about_all = True
            case _:
                assert_never(change)
    return Extent(about=frozenset(names), is_about_all=is_about_all)


def next_group(queue: deque[T], extent_of: Callable[[T], Extent]) -> list[T]:
    """Take what may be written together off a queue that is not empty."""
    reach = _Reach()
    group: list[T] = []
    while queue and len(group) < GROUP_MAX:
        extent = extent_of(queue[0])
        if group and not reach.has_room(extent):
            break
        reach.add(extent)
        group.append(queue.popleft())
    return group


class _Reach:
    """How much a group may still take."""

    def __init__(self) -> None:
        self._bytes = 0
        self._namespaces: set[str] = set()
        self._shown: set[ContentHash] = set()

    def add(self, extent: Extent) -> None:
        self._bytes += extent.size
        if extent.namespace is not None:
            self._namespaces.add(extent.namespace)
        if extent.shows is not None:
            self._shown.add(extent.shows)

    def has_room(self, extent: Extent) -> bool:
        if self._bytes + extent.size > GROUP_BYTES_MAX or extent.removes in self._shown:
            return False
        if not self._namespaces.isdisjoint(extent.about):
            return False
        if self._namespaces and extent.is_about_all:
            return False
        if extent.namespace is None:
            return True
        return extent.namespace not in self._namespaces and len(self._namespaces) < SWITCHES_MAX
