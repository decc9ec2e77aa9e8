"""Whether what is to be held for others is held, once the world is whole again.

Decides: held, violated or unproved.
Keeps: who holds what follows from the directories that were signed; a version is owed as long after
it came as restrictions are, and of a disk that takes nothing nothing is.
Must not know: what a node decides, or why.

| id | after the heal phase |
|---|---|
| L2 | every node the storage directories make a holder holds the newest version of each namespace |
"""

from collections.abc import Callable

from fabgossip.core.placement import Placement
from fabgossip.model.artifact import Manifest
from fabgossip.model.ids import NodeId
from fabgossip.model.scope import Family
from fabgossip.sim.checkers import Docket
from fabgossip.sim.landing import Landed
from fabgossip.sim.ledger import Ledger
from fabgossip.wire.contents import parse_storage_directory


class Replicated:
    """L2: holders hold."""

    def __init__(self, ledger: Ledger, docket: Docket, landed: Landed) -> None:
        self._ledger = ledger
        self._docket = docket
        self._landed = landed
        self._count = docket.open("L2")

    def on_end(self, holds: Callable[[int, Manifest], bool]) -> None:
        """The run is over. `holds`: whether a node's index has a content, or has no room for it."""
        placement = self._placement()
        indices = {self._ledger.node_id(index): index for index in self._ledger.indices()}
        for name in self._ledger.namespaces():
            issued = self._ledger.newest(name)
            if issued is None or issued.manifest.tombstone is not None:
                continue
            for node_id in sorted(placement.holders(issued.manifest)):
                index = indices[node_id]
                if not self._landed.is_owed(index, issued):
                    continue
                self._count.checks += 1
                if not holds(index, issued.manifest):
                    detail = f"{node_id}: {name} {issued.manifest.order}, which it is to hold"
                    self._docket.violated("L2", "missing", index, detail)

    def _placement(self) -> Placement:
        placement = Placement(NodeId("nobody"))
        for name in self._ledger.namespaces():
            newest = self._ledger.newest(name)
            if newest is not None and newest.manifest.namespace.family is Family.STORAGE:
                gone = newest.manifest.tombstone is not None
                directory = None if gone else parse_storage_directory(newest.content)
                placement.on_directory(name, directory)
        return placement
