"""Whether disks keep their word, and whether what they spoiled goes no further.

Decides: held, violated or unproved, per checker.
Keeps: a checker hears facts and changes nothing; what is judged is what lies on a disk and what was
issued.
Must not know: what a node decides, or why.

| id | an honest node never ... |
|---|---|
| S11 | starts from anything but what was durable, each namespace whole: the old or the new |
| S12 | serves bytes that are not what was issued, or says it holds a content it read damaged |
"""

from collections import defaultdict

from fabgossip.core.effects import ServeItem
from fabgossip.core.events import Started
from fabgossip.model.artifact import Order, chunk_size_of
from fabgossip.model.ids import ContentHash, ManifestHash
from fabgossip.model.messages import Holdings, HoldingsMode, Message
from fabgossip.model.persistence import (
    Change,
    DropHead,
    DropHeldBack,
    DropPin,
    HeldBack,
    Pin,
    PutHead,
    PutHeldBack,
    PutPin,
    PutRevoked,
)
from fabgossip.sim.checkers import Docket
from fabgossip.sim.kept import Kept, Local
from fabgossip.sim.ledger import Ledger


class _Book:
    """What one disk was told to keep, written down apart from it."""

    def __init__(self) -> None:
        self.heads: dict[str, ManifestHash] = {}
        self.pins: dict[int, Pin] = {}
        self.held_back: dict[str, HeldBack] = {}
        self.revoked_epoch = 0
        self.revoked: set[tuple[int, bytes]] = set()
        self.shown: dict[str, Order | None] = {}

    def on_committed(self, change: Change) -> None:
        """One change of a transaction that is durable."""
        match change:
            case PutHead():
                name = change.verified.manifest.namespace.text
                self.heads[name] = change.verified.manifest_hash
            case DropHead():
                self.heads.pop(change.namespace, None)
            case PutPin():
                self.pins[change.pin.pin_id] = change.pin
            case DropPin():
                self.pins.pop(change.pin_id, None)
            case PutHeldBack():
                self.held_back[change.held_back.namespace] = change.held_back
            case DropHeldBack():
                self.held_back.pop(change.namespace, None)
            case PutRevoked():
                if change.epoch != self.revoked_epoch:
                    self.revoked_epoch, self.revoked = change.epoch, set()
                self.revoked |= set(change.entries)
            case _:
                return


class Survived:
    """S11: what a process finds is what was durable, and nothing of it is half."""

    def __init__(self, ledger: Ledger, docket: Docket) -> None:
        self._ledger = ledger
        self._docket = docket
        self._count = docket.open("S11")
        self._books: defaultdict[int, _Book] = defaultdict(_Book)

    def on_committed(self, index: int, changes: tuple[Change, ...]) -> None:
        """A transaction is durable."""
        for change in changes:
            self._books[index].on_committed(change)

    def on_materialized(self, index: int, namespace: str, local: Local) -> None:
        """A namespace was switched."""
        self._books[index].shown[namespace] = local.newest

    def on_fell_back(self, index: int, kept: Kept) -> None:
        """The disk had lied: what it has now is what is held against it."""
        book = self._books[index] = _Book()
        book.heads = {name: one.manifest_hash for name, one in kept.heads.items()}
        book.pins, book.held_back = dict(kept.pins), dict(kept.held_back)
        book.revoked_epoch, book.revoked = kept.revoked_epoch, set(kept.revoked)
        book.shown = {name: local.newest for name, local in kept.local.items()}

    def on_wiped(self, index: int) -> None:
        """Its disk is another one."""
        self._books.pop(index, None)

    def on_started(self, index: int, started: Started, local: dict[str, Local]) -> None:
        """A process found this on its disk, and local software that."""
        book = self._books[index]
        self._count.checks += len(book.heads) + len(local)
        found = {one.namespace: one.envelope for one in started.heads if not one.is_increment}
        for name, manifest_hash in book.heads.items():
            issued = self._ledger.by_prefix(manifest_hash[:16])
            if issued is not None and found.get(name) != issued.envelope:
                self._violated("head", index, f"{name} {issued.manifest.order} was durable")
        if set(started.revoked) != book.revoked:
            self._violated("revoked", index, "revocations")
        if {one.pin.pin_id: one.pin for one in started.pins} != book.pins:
            self._violated("pins", index, "pins")
        if {one.namespace: one for one in started.held_back} != book.held_back:
            self._violated("held back", index, "what was put back")
        for name, shown in local.items():
            self._check_shown(index, name, shown)

    def _check_shown(self, index: int, name: str, local: Local) -> None:
        if local.newest != self._books[index].shown.get(name):
            self._violated("shown", index, f"{name} shows {local.newest}")
        for order, content in local.versions.items():
            stated = self._ledger.of_order(name, order)
            if not any(one.content == content for one in stated):
                self._violated("half", index, f"{name} {order} is not what was issued")

    def _violated(self, what: str, index: int, detail: str) -> None:
        self._docket.violated("S11", what, index, f"{self._ledger.node_id(index)}: {detail}")


class Served:
    """S12: what is damaged stays where it is."""

    def __init__(self, ledger: Ledger, docket: Docket) -> None:
        self._ledger = ledger
        self._docket = docket
        self._count = docket.open("S12")
        self._damaged: dict[tuple[int, ContentHash], int] = {}
        """Since when a process knows."""

    def on_piece_sent(self, index: int, item: ServeItem, number: int, piece: bytes) -> None:
        """A chunk, or a whole small content, left."""
        self._count.checks += 1
        named = self._ledger.by_content(item.content_hash)
        start = number * chunk_size_of(item.size) if item.chunk_hashes else 0
        if not named or named[0].content[start : start + len(piece)] != piece:
            self._violated("served", index, item.content_hash)

    def on_damaged(self, index: int, content_hash: ContentHash) -> None:
        """A process read what is not what its name says."""
        self._count.checks += 1
        self._damaged.setdefault((index, content_hash), self._docket.now_ns)

    def on_durable_content(self, index: int, content_hash: ContentHash) -> None:
        """A sound one came."""
        self._damaged.pop((index, content_hash), None)

    def on_crashed(self, index: int) -> None:
        """Who starts again does not know until it reads."""
        self._damaged = {key: since for key, since in self._damaged.items() if key[0] != index}

    def on_sent(self, sender: int, message: Message) -> None:
        """A message left."""
        if not self._damaged or not isinstance(message, Holdings):
            return
        for entry in message.entries:
            if entry.mode is HoldingsMode.ONLY:
                self._check_told(sender, entry.prefixes)

    def _check_told(self, sender: int, prefixes: tuple[bytes, ...]) -> None:
        for issued in map(self._ledger.by_prefix, prefixes):
            if issued is None:
                continue
            content_hash = issued.manifest.content_hash
            since = self._damaged.get((sender, content_hash))
            if since is not None and self._docket.now_ns > since:
                self._violated("told", sender, content_hash)

    def _violated(self, what: str, index: int, content_hash: ContentHash) -> None:
        detail = f"{self._ledger.node_id(index)}: {content_hash.hex()} is damaged there"
        self._docket.violated("S12", what, index, detail)
