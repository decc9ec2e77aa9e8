"""Whether what a node says and shows rests on what is durable.

Decides: held, violated or unproved, per checker; the rest of S6 and S21 is with the checkers.
Keeps: floors and revocations count from the transaction that has them, until the disk is exchanged.
Must not know: what a node decides, or why.

| id | an honest node never ... |
|---|---|
| S6 | tells of a version as the newest below a floor it persisted |
| S21 | shows a version, or serves a revocation list, before floor and entries are durable |
"""

from collections import defaultdict

from fabgossip.model.artifact import NO_ORDER, ArtifactType, Order, VerifiedManifest
from fabgossip.model.ids import ContentHash
from fabgossip.model.messages import Announce, Heads, Message
from fabgossip.model.persistence import Change, PutRevoked
from fabgossip.sim.checkers import Docket
from fabgossip.sim.kept import Kept, Local
from fabgossip.sim.ledger import Ledger
from fabgossip.wire.contents import parse_revocations


class Anchored:
    """S6 and S21: floors and revocations come first."""

    def __init__(self, ledger: Ledger, docket: Docket) -> None:
        self._ledger = ledger
        self._docket = docket
        self._below = docket.open("S6")
        self._before = docket.open("S21")
        self._floors: dict[tuple[int, str], Order] = {}
        self._revoked: defaultdict[int, set[tuple[int, bytes]]] = defaultdict(set)

    def on_durable_manifest(self, index: int, verified: VerifiedManifest, floor: Order) -> None:
        """A manifest and its floor are on the disk."""
        key = (index, verified.manifest.namespace.text)
        self._floors[key] = max(floor, self._floors.get(key, NO_ORDER))

    def on_committed(self, index: int, changes: tuple[Change, ...]) -> None:
        """A transaction is durable."""
        for change in changes:
            if isinstance(change, PutRevoked):
                self._revoked[index] |= set(change.entries)

    def on_fell_back(self, index: int, kept: Kept) -> None:
        """Its disk is that of an earlier moment."""
        self._revoked[index] |= set(kept.revoked)

    def on_wiped(self, index: int) -> None:
        """Its disk is another one."""
        self._floors = {key: one for key, one in self._floors.items() if key[0] != index}
        self._revoked.pop(index, None)

    def on_sent(self, sender: int, message: Message) -> None:
        """A message left; of trust bundles the whole chain is told, oldest first."""
        match message:
            case Announce():
                envelopes = [one.envelope for one in message.entries]
            case Heads():
                envelopes = list(message.envelopes)
            case _:
                return
        for issued in map(self._ledger.by_envelope, envelopes):
            if issued is None or issued.manifest.artifact_type is ArtifactType.TRUST_BUNDLE:
                continue
            manifest = issued.manifest
            self._below.checks += 1
            floor = self._floors.get((sender, manifest.namespace.text), NO_ORDER)
            if manifest.base is None and manifest.order < floor:
                told = f"{manifest.namespace.text} {manifest.order} told below {floor}"
                self._violated("S6", "told", sender, told)

    def on_content_sent(self, sender: int, content_hash: ContentHash) -> None:
        """Bytes of a content left."""
        for issued in self._ledger.by_content(content_hash):
            if issued.manifest.artifact_type is not ArtifactType.REVOCATION_LIST:
                continue
            self._before.checks += 1
            entries = parse_revocations(issued.content).entries
            missing = [
                one for one in entries if (one.kind.value, one.value) not in self._revoked[sender]
            ]
            if missing:
                told = f"list {issued.manifest.order}, {len(missing)} entries are not durable"
                self._violated("S21", "list", sender, told)

    def on_materialized(self, index: int, namespace: str, local: Local) -> None:
        """A namespace was switched."""
        if local.newest is None:
            return
        self._before.checks += 1
        floor = self._floors.get((index, namespace), NO_ORDER)
        if local.newest > floor:
            self._violated("S21", "applied", index, f"{namespace} {local.newest} above {floor}")

    def _violated(self, checker: str, what: str, index: int, detail: str) -> None:
        self._docket.violated(checker, what, index, f"{self._ledger.node_id(index)}: {detail}")
