"""Whether what must stay on a disk stays.

Decides: held, violated or unproved.
Keeps: what is held where follows from what disks reported; what nobody is to have any more may go.
Must not know: what a node decides, or why.

| id | an honest node never ... |
|---|---|
| S23 | drops what a durable pin names, or the last copy of what is current and for it |

What a tombstone on its disk withdrew, or a list ever took back, may go, pins on it or not.
"""

from collections import defaultdict
from collections.abc import Callable

from fabgossip.model.artifact import NO_ORDER, ArtifactType, Order, VerifiedManifest
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
        self._stones: dict[tuple[int, str], Order] = {}
        """The highest tombstone on each disk, by namespace."""

    def on_issued(self, issued: Issued) -> None:
        """The control plane signed something."""
        if issued.manifest.artifact_type is ArtifactType.REVOCATION_LIST:
            entries = parse_revocations(issued.content).entries
            self._taken_back |= {one.value for one in entries}

    def on_durable_manifest(self, index: int, verified: VerifiedManifest) -> None:
        """A manifest is on the disk of an honest node."""
        manifest = verified.manifest
        if manifest.tombstone is not None:
            key = (index, manifest.namespace.text)
            self._stones[key] = max(manifest.order, self._stones.get(key, NO_ORDER))

    def on_short(self, index: int) -> None:
        """A node has more than it may: what it must keep is put to the test."""
        self._count.checks += len(self._pins[index])
        self._count.checks += sum(
            len(places) == 1 and index in places and self._is_any_current(index, content_hash)
            for content_hash, places in self._holders.items()
        )

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
        named = self._ledger.by_content(content_hash)
        name = " ".join(one.manifest.namespace.text for one in named)
        is_bound = any(self._is_standing(index, one) for one in named)
        if is_bound and content_hash in self._pins[index].values():
            self._violated("pinned", index, name)
        is_current = self._is_any_current(index, content_hash)
        self._count.checks += is_current
        if is_current and not self._holders[content_hash]:
            self._violated("last", index, name)

    def _is_any_current(self, index: int, content_hash: ContentHash) -> bool:
        named = self._ledger.by_content(content_hash)
        return any(self._is_current(index, one) for one in named)

    def _is_standing(self, index: int, issued: Issued) -> bool:
        """Whether nothing on its disk withdrew it, and no list ever took it back."""
        manifest = issued.manifest
        stone = self._stones.get((index, manifest.namespace.text), NO_ORDER)
        values = {bytes(issued.manifest_hash), bytes(manifest.content_hash)}
        return manifest.order > stone and not values & self._taken_back

    def _is_current(self, index: int, issued: Issued) -> bool:
        manifest = issued.manifest
        is_newest = self._ledger.newest(manifest.namespace.text) is issued
        is_in_time = not is_past(manifest.expires_at, self._unix())
        may_know = self._ledger.may_know(index, issued)
        return is_newest and is_in_time and may_know and self._is_standing(index, issued)

    def on_fell_back(self, index: int, kept: Kept) -> None:
        """Its disk is that of an earlier moment."""
        self._pins[index] = {one.pin_id: one.content_hash for one in kept.pins.values()}
        for content_hash in kept.contents:
            self._holders[content_hash].add(index)
        for verified in kept.heads.values():
            self.on_durable_manifest(index, verified)

    def on_wiped(self, index: int) -> None:
        """Its disk is another one."""
        self._pins.pop(index, None)
        self._stones = {key: one for key, one in self._stones.items() if key[0] != index}
        for places in self._holders.values():
            places.discard(index)

    def _violated(self, what: str, index: int, name: str) -> None:
        detail = f"{self._ledger.node_id(index)} drops {name}"
        self._docket.violated("S23", what, index, detail)
