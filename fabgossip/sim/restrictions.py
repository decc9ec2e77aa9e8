"""Whether what was taken away stays away, judged by what a disk durably holds of it.

Decides: held, violated or unproved, per checker.
Keeps: a node is held to a restriction from a second after its disk had it, across restarts, until
the disk is exchanged; what it has not heard of binds nobody.
Must not know: what a node decides, or why.

| id | an honest node never ... |
|---|---|
| S8 | tells of, serves or materialises what it durably heard is revoked |
| S9 | lets in, or exchanges a word with, a node it durably heard is revoked |
| S10 | tells of, serves or materialises a version at or below a tombstone it durably holds |
"""

from collections.abc import Iterable
from typing import Final

from fabgossip.model.artifact import NO_ORDER, ArtifactType, Order, VerifiedManifest
from fabgossip.model.authority import RevokedKind
from fabgossip.model.ids import ClusterId, ContentHash
from fabgossip.model.messages import Announce, Have, Heads, Holdings, Manifests, Message
from fabgossip.sim.authority import Issued
from fabgossip.sim.checkers import Docket
from fabgossip.sim.kept import Local
from fabgossip.sim.ledger import Ledger
from fabgossip.sim.scenario import CLUSTER
from fabgossip.sim.world import NS_PER_S
from fabgossip.trust.revocation import node_token
from fabgossip.wire.contents import parse_revocations

CLOSE_WITHIN_NS: Final = NS_PER_S
"""From durable to in force: what the requirement gives for cutting a link."""


class Heard:
    """Since when a node's disk says that something is taken away."""

    def __init__(self, docket: Docket) -> None:
        self._docket = docket
        self._since: dict[tuple[int, bytes], int] = {}
        """By node and 32 bytes of a list: of a manifest, a content, a node."""

    def on_entry(self, index: int, value: bytes) -> None:
        """It is durable; the first time counts."""
        self._since.setdefault((index, value), self._docket.now_ns)

    def binds(self, index: int, value: bytes) -> bool:
        """Whether a node must go by it now."""
        since = self._since.get((index, value))
        return since is not None and self._docket.now_ns - since > CLOSE_WITHIN_NS

    def on_wiped(self, index: int) -> None:
        """Its disk is another one."""
        self._since = {key: since for key, since in self._since.items() if key[0] != index}


class Revoked:
    """S8 and S9: what a list takes away."""

    def __init__(self, ledger: Ledger, docket: Docket) -> None:
        self._ledger = ledger
        self._docket = docket
        self._current = docket.open("S8")
        self._cut = docket.open("S9")
        self._heard = Heard(docket)
        self._tokens = {
            index: node_token(ClusterId(CLUSTER), ledger.node_id(index))
            for index in ledger.indices()
        }
        self._nodes: set[bytes] = set()
        """Tokens of nodes that any list names."""

    def on_durable_content(self, index: int, content_hash: ContentHash) -> None:
        """A content is on the disk."""
        for issued in self._ledger.by_content(content_hash):
            if issued.manifest.artifact_type is ArtifactType.REVOCATION_LIST:
                for entry in parse_revocations(issued.content).entries:
                    self._heard.on_entry(index, entry.value)
                    if entry.kind is RevokedKind.NODE:
                        self._nodes.add(entry.value)

    def on_wiped(self, index: int) -> None:
        """Its disk is another one."""
        self._heard.on_wiped(index)

    def on_sent(self, sender: int, receiver: int, message: Message) -> None:
        """A message left."""
        self._on_words(sender, receiver, "sent")
        for issued in told(self._ledger, message):
            self._judge(sender, issued, "told")

    def on_judged(self, index: int, other: int, *, is_let_in: bool) -> None:
        """A node let another one in, or did not."""
        if is_let_in:
            self._on_words(index, other, "let in")
        elif self._tokens[other] in self._nodes:
            self._cut.checks += 1

    def on_arrived(self, index: int, sender: int) -> None:
        """A message was taken in."""
        self._on_words(index, sender, "heard")

    def on_content_sent(self, sender: int, receiver: int, content_hash: ContentHash) -> None:
        """Bytes of a content left."""
        self._on_words(sender, receiver, "sent")
        self._current.checks += 1
        if self._heard.binds(sender, content_hash):
            self._violated("S8", "served", sender, content_hash.hex())

    def on_materialized(self, index: int, namespace: str, local: Local) -> None:
        """A namespace was switched."""
        issued = None if local.newest is None else self._ledger.by_order(namespace, local.newest)
        if issued is not None:
            self._judge(index, issued, "materialized")

    def _judge(self, index: int, issued: Issued, what: str) -> None:
        self._current.checks += 1
        manifest = issued.manifest
        if self._heard.binds(index, issued.manifest_hash) or (
            self._heard.binds(index, manifest.content_hash)
        ):
            self._violated("S8", what, index, f"{manifest.namespace.text} {manifest.order}")

    def _on_words(self, index: int, other: int, what: str) -> None:
        token = self._tokens[other]
        if token not in self._nodes:
            return
        self._cut.checks += 1
        if self._heard.binds(index, token):
            self._violated("S9", what, index, self._ledger.node_id(other))

    def _violated(self, checker: str, what: str, index: int, name: str) -> None:
        detail = f"{self._ledger.node_id(index)}: {name}, which its disk says is revoked"
        self._docket.violated(checker, what, index, detail)


class Withdrawn:
    """S10: what a tombstone takes away."""

    def __init__(self, ledger: Ledger, docket: Docket) -> None:
        self._ledger = ledger
        self._docket = docket
        self._count = docket.open("S10")
        self._heard = Heard(docket)
        self._orders: dict[tuple[int, str], Order] = {}

    def on_durable_manifest(self, index: int, verified: VerifiedManifest) -> None:
        """A manifest is on the disk."""
        manifest = verified.manifest
        if manifest.tombstone is None:
            return
        key = (index, manifest.namespace.text)
        self._orders[key] = max(manifest.order, self._orders.get(key, NO_ORDER))
        self._heard.on_entry(index, verified.manifest_hash)

    def on_wiped(self, index: int) -> None:
        """Its disk is another one."""
        self._heard.on_wiped(index)
        self._orders = {key: order for key, order in self._orders.items() if key[0] != index}

    def on_sent(self, sender: int, message: Message) -> None:
        """A message left."""
        for issued in told(self._ledger, message):
            self._judge(sender, issued, "told")

    def on_content_sent(self, sender: int, content_hash: ContentHash) -> None:
        """Bytes of a content left: of several that name it one must stand."""
        named = self._ledger.by_content(content_hash)
        self._count.checks += 1
        if named and all(self._is_gone(sender, one) for one in named):
            self._violated("served", sender, named[0])

    def on_materialized(self, index: int, namespace: str, local: Local) -> None:
        """A namespace was switched."""
        issued = None if local.newest is None else self._ledger.by_order(namespace, local.newest)
        if issued is not None:
            self._judge(index, issued, "materialized")

    def _judge(self, index: int, issued: Issued, what: str) -> None:
        self._count.checks += 1
        if self._is_gone(index, issued):
            self._violated(what, index, issued)

    def _is_gone(self, index: int, issued: Issued) -> bool:
        manifest = issued.manifest
        order = self._orders.get((index, manifest.namespace.text), NO_ORDER)
        if manifest.tombstone is not None or manifest.order > order:
            return False
        stone = self._ledger.by_order(manifest.namespace.text, order)
        return stone is not None and self._heard.binds(index, stone.manifest_hash)

    def _violated(self, what: str, index: int, issued: Issued) -> None:
        name = f"{issued.manifest.namespace.text} {issued.manifest.order}"
        detail = f"{self._ledger.node_id(index)}: {name}, which a tombstone on its disk withdrew"
        self._docket.violated("S10", what, index, detail)


def told(ledger: Ledger, message: Message) -> Iterable[Issued]:
    """The artifacts a message says its sender has or knows; what it only asks for is not among
    them."""
    match message:
        case Announce():
            found = [ledger.by_envelope(one.envelope) for one in message.entries]
        case Heads() | Manifests():
            found = [ledger.by_envelope(one) for one in message.envelopes]
        case Have():
            found = [ledger.by_prefix(one) for one in message.prefixes]
        case Holdings():
            prefixes = [one for entry in message.entries for one in entry.prefixes]
            found = [ledger.by_prefix(one) for one in prefixes]
        case _:
            return ()
    return (issued for issued in found if issued is not None)
