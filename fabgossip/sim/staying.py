"""Whether what must stay on a disk stays.

Decides: held, violated or unproved.
Keeps: what is held where follows from what disks reported; what nobody is to have any more may go.
Must not know: what a node decides, or why.

| id | an honest node never ... |
|---|---|
| S23 | drops what a durable pin names, or the last copy of what is current and for it |
"""

from collections import defaultdict
from collections.abc import Callable

from fabgossip.model.artifact import ArtifactType
from fabgossip.model.ids import ContentHash
from fabgossip.model.moment import UnixTime, is_past
from fabgossip.model.persistence import Change, DropPin, PutPin
from fabgossip.sim.authority import Issued
from fabgossip.sim.checkers import Docket
from fabgossip.sim.kept import Kept
from fabgossip.sim.ledger import Ledger
from fabgossip.sim.places import Places
from fabgossip.wire.contents import parse_revocations


class Staying:
    """S23: contents that leave."""

    def __init__(self, ledger: Ledger, docket: Docket, unix: Callable[[], UnixTime]) -> None:
        """`unix`: the true time."""
        self._ledger = ledger
        self._docket = docket
        self._unix = unix
        self._count = docket.open("S23")
        self._holders: defaultdict[ContentHash, Places] = defaultdict(Places)
        self._pins: defaultdict[int, dict[int, ContentHash]] = defaultdict(dict)
        self._taken_back: set[bytes] = set()
        """Manifests and contents that any list ever named."""

    def on_issued(self, issued: Issued) -> None:
        """The control plane signed something."""
        if issued.manifest.artifact_type is ArtifactType.REVOCATION_LIST:
            entries = parse_revocations(issued.content).entries
            self._taken_back |= {one.value for one in entries}

    def on_durable_content(self, index: int, content_hash: ContentHash) -> None:
        """A content is on the disk of an honest node."""
        self._holders[content_hash].add(index)

    def on_committed(self, index: int, changes: tuple[Change, ...]) -> None:
        """A transaction of the index is durable."""
        for change in changes:
            if isinstance(change, PutPin):
                self._pins[index][change.pin.pin_id] = change.pin.content_hash
            elif isinstance(change, DropPin):
                self._pins[index].pop(change.pin_id, None)

    def on_removed(self, index: int, content_hash: ContentHash, *, is_damaged: bool) -> None:
        """A node let go of a content; a damaged one is none."""
        self._holders[content_hash].discard(index)
        if is_damaged:
            return
        self._count.checks += 1
        named = self._ledger.by_content(content_hash)
        name = " ".join(one.manifest.namespace.text for one in named)
        if content_hash in self._pins[index].values():
            self._violated("pinned", index, name)
        is_last = not self._holders[content_hash]
        if is_last and any(self._is_current(index, one) for one in named):
            self._violated("last", index, name)

    def _is_current(self, index: int, issued: Issued) -> bool:
        manifest = issued.manifest
        is_newest = self._ledger.newest(manifest.namespace.text) is issued
        is_good = not {bytes(issued.manifest_hash), bytes(manifest.content_hash)} & self._taken_back
        is_in_time = not is_past(manifest.expires_at, self._unix())
        may_know = self._ledger.may_know(index, issued)
        return is_newest and is_good and is_in_time and may_know and manifest.tombstone is None

    def on_fell_back(self, index: int, kept: Kept) -> None:
        """Its disk is that of an earlier moment."""
        self._pins[index] = {one.pin_id: one.content_hash for one in kept.pins.values()}
        for content_hash in kept.contents:
            self._holders[content_hash].add(index)

    def on_wiped(self, index: int) -> None:
        """Its disk is another one."""
        self._pins.pop(index, None)
        for places in self._holders.values():
            places.discard(index)

    def _violated(self, what: str, index: int, name: str) -> None:
        detail = f"{self._ledger.node_id(index)} drops {name}"
        self._docket.violated("S23", what, index, detail)
