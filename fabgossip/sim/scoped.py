"""Whether a node that has less than before keeps to it.

Decides: held, violated or unproved.
Keeps: a node is held to its newest claims from a second after the snapshot that has them is on its
disk; what it has not heard of binds nobody; bytes may stay for a minute in which nothing befell it,
and for as long as it is not fresh.
Must not know: what a node decides, or why.

| id | an honest node never ... |
|---|---|
| S3 | tells of, serves, applies, keeps what its claims cover no more, shows what it only stores |
"""

from typing import Final

from fabgossip.model.artifact import Order, VerifiedManifest
from fabgossip.model.ids import ContentHash
from fabgossip.model.messages import Message
from fabgossip.model.mode import Mode
from fabgossip.sim.authority import Issued
from fabgossip.sim.checkers import Docket
from fabgossip.sim.kept import Kept, Local
from fabgossip.sim.ledger import Ledger
from fabgossip.sim.restrictions import told
from fabgossip.sim.world import NS_PER_S

BINDS_NS: Final = NS_PER_S
"""From the snapshot on the disk until it binds (*start*)."""
PURGES_NS: Final = 60 * NS_PER_S
"""From then until the bytes are gone (*start*)."""


class Scoped:
    """S3: what claims take away is out of use."""

    def __init__(self, ledger: Ledger, docket: Docket) -> None:
        self._ledger = ledger
        self._docket = docket
        self._count = docket.open("S3")
        self._since: dict[int, int] = {}
        """When nodes whose claims changed learned of it."""
        self._disturbed: dict[int, int] = {}
        """When a process last began, or doubted or believed anew its clock or its memory."""
        self._shown: dict[tuple[int, str], Order | None] = {}

    def on_durable_manifest(self, index: int, verified: VerifiedManifest) -> None:
        """A manifest is on the disk."""
        manifest = verified.manifest
        is_own = manifest.namespace.node_id == self._ledger.node_id(index)
        if is_own and self._ledger.on_own_snapshot(index, manifest.order):
            self._since[index] = self._docket.now_ns

    def on_disturbed(self, index: int) -> None:
        """Something befell it after which it may not be fresh for a while."""
        self._disturbed[index] = self._docket.now_ns

    def on_wiped(self, index: int) -> None:
        """Its disk is another one."""
        self._since.pop(index, None)

    def on_sent(self, sender: int, message: Message) -> None:
        """A message left."""
        if sender in self._since:
            for issued in told(self._ledger, message):
                self._judge("told", sender, issued)

    def on_content_sent(self, sender: int, content_hash: ContentHash) -> None:
        """Bytes of a content left: of several that name it one must be the sender's."""
        named = self._ledger.by_content(content_hash)
        if sender in self._since and named:
            own = [one for one in named if self._ledger.may_know(sender, one)]
            self._judge("served", sender, (own or named)[0])

    def on_materialized(self, index: int, namespace: str, local: Local) -> None:
        """A namespace was switched; what was shown before may stay."""
        before = self._shown.get((index, namespace))
        self._shown[(index, namespace)] = local.newest
        if index not in self._since or local.newest is None or local.newest == before:
            return
        issued = self._ledger.by_order(namespace, local.newest)
        if issued is not None:
            self._judge("applied", index, issued)

    def on_audit(self, index: int, disk: Kept, mode: Mode) -> None:
        """A phase is over: what still lies on its disk. Cost: O(contents)."""
        since = max(self._since.get(index, self._docket.now_ns), self._disturbed.get(index, 0))
        if mode is not Mode.FRESH or self._docket.now_ns - since <= PURGES_NS:
            return
        for content_hash in disk.contents:
            named = self._ledger.by_content(content_hash)
            own = [one for one in named if self._ledger.may_know(index, one)]
            for issued in (own or named)[:1]:
                self._judge("kept", index, issued)
        for namespace, local in disk.local.items():
            for order in local.versions:
                issued_at = self._ledger.by_order(namespace, order)
                if issued_at is not None:
                    self._judge("kept for consumers", index, issued_at)
            self._judge_shown(index, namespace, local)

    def _judge_shown(self, index: int, namespace: str, local: Local) -> None:
        """What software reads is for this node to apply: to store it is not enough."""
        shown = None if local.newest is None else self._ledger.by_order(namespace, local.newest)
        if shown is None or shown.manifest.namespace.node_id == self._ledger.node_id(index):
            return
        self._count.checks += 1
        if not self._ledger.applies(index, shown):
            detail = f"{self._ledger.node_id(index)}: {namespace} {local.newest}, only stored here"
            self._docket.violated("S3", "shown", index, detail)

    def _judge(self, what: str, index: int, issued: Issued) -> None:
        self._count.checks += 1
        if self._docket.now_ns - self._since[index] <= BINDS_NS:
            return
        if not self._ledger.may_know(index, issued):
            name = f"{issued.manifest.namespace.text} {issued.manifest.order}"
            detail = f"{self._ledger.node_id(index)}: {name}, which its claims do not cover"
            self._docket.violated("S3", what, index, detail)
