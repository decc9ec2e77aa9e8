"""Whether what a node took in was signed, of its time, and contradicted by nobody.

Decides: held, violated or unproved, per checker.
Keeps: signed is what the ledger has; an epoch counts from a second after the bundle that opens it
is on the disk.
Must not know: what a node decides, or why.

| id | an honest node never ... |
|---|---|
| S7 | takes up what is of an older epoch than a bundle it durably has |
| S7 | newly applies, or serves, either of two statements of one order it durably has |
| S14 | takes up what no issuer signed |
"""

from typing import Final

from fabgossip.core.placement import CRITICAL_TYPES
from fabgossip.model.artifact import NO_ORDER, ArtifactType, Order, VerifiedManifest
from fabgossip.model.authority import RevokedKind
from fabgossip.model.ids import ContentHash, ManifestHash
from fabgossip.model.messages import PREFIX_BYTES
from fabgossip.model.persistence import Change, PutEvidence
from fabgossip.sim.authority import Issued
from fabgossip.sim.checkers import Docket
from fabgossip.sim.kept import Kept, Local
from fabgossip.sim.ledger import Ledger
from fabgossip.sim.world import NS_PER_S
from fabgossip.wire.contents import parse_revocations

BINDS_NS: Final = NS_PER_S
"""From the bundle on the disk until its epoch binds (*start*): what came before it may land."""


class Authentic:
    """S7 and S14: what becomes durable."""

    def __init__(self, ledger: Ledger, docket: Docket) -> None:
        self._ledger = ledger
        self._docket = docket
        self._timely = docket.open("S7")
        self._signed = docket.open("S14")
        self._epochs: dict[int, tuple[int, int]] = {}
        """The epoch of the newest bundle on each disk, and since when."""
        self._risen: set[int] = set()
        """Disks that had another one before."""

    def on_durable_manifest(self, index: int, verified: VerifiedManifest) -> None:
        """A manifest is on the disk."""
        manifest = verified.manifest
        self._signed.checks += 1
        if self._ledger.by_prefix(verified.manifest_hash[:PREFIX_BYTES]) is None:
            self._violated("S14", "stored", index, verified)
        epoch, since_ns = self._epochs.get(index, (0, 0))
        if manifest.artifact_type is ArtifactType.TRUST_BUNDLE:
            if manifest.authority_epoch > epoch:
                self._epochs[index] = manifest.authority_epoch, self._docket.now_ns
                self._risen |= {index} if epoch else set()
            return
        self._timely.checks += index in self._risen
        is_bound = self._docket.now_ns - since_ns > BINDS_NS
        if manifest.authority_epoch < epoch and is_bound:
            self._violated("S7", "stored", index, verified)

    def on_fell_back(self, index: int, kept: Kept) -> None:
        """Its disk is that of an earlier moment."""
        self._epochs.pop(index, None)
        for verified in kept.heads.values():
            if verified.manifest.artifact_type is ArtifactType.TRUST_BUNDLE:
                self._epochs[index] = verified.manifest.authority_epoch, self._docket.now_ns

    def on_wiped(self, index: int) -> None:
        """Its disk is another one."""
        self._epochs.pop(index, None)

    def _violated(self, checker: str, what: str, index: int, verified: VerifiedManifest) -> None:
        name = f"{verified.manifest.namespace.text} {verified.manifest.order}"
        self._docket.violated(checker, what, index, f"{self._ledger.node_id(index)}: {name}")


class Contradicted:
    """S7: what becomes of two statements of one order."""

    def __init__(self, ledger: Ledger, docket: Docket) -> None:
        self._ledger = ledger
        self._docket = docket
        self._count = docket.open("S7")
        self._stated: dict[tuple[int, str], tuple[Order, dict[ManifestHash, None]]] = {}
        """What each disk has of the highest order of a namespace."""
        self._since: dict[tuple[int, str], int] = {}
        """Since when that is more than one."""
        self._shown: dict[tuple[int, str], Order | None] = {}
        self._asked_ns: dict[tuple[int, str], int] = {}
        """When each node last wanted a namespace switched."""
        self.found = 0
        """How often a node came to have two statements."""

    def on_durable_manifest(self, index: int, verified: VerifiedManifest) -> None:
        """A manifest is on the disk, as the head or as evidence beside it."""
        manifest = verified.manifest
        if manifest.base is not None or manifest.artifact_type is ArtifactType.TRUST_BUNDLE:
            return
        key = (index, manifest.namespace.text)
        order, stated = self._stated.get(key, (NO_ORDER, {}))
        if manifest.order > order:
            stated = {}
            self._since.pop(key, None)
        if manifest.order >= order:
            stated[verified.manifest_hash] = None
            self._stated[key] = manifest.order, stated
        if len(stated) > 1 and key not in self._since:
            self._count.checks += 1
            self.found += 1
            self._since[key] = self._docket.now_ns

    def on_committed(self, index: int, changes: tuple[Change, ...]) -> None:
        """A transaction of the index is durable."""
        for change in changes:
            if isinstance(change, PutEvidence):
                self.on_durable_manifest(index, change.verified)

    def on_durable_content(self, index: int, content_hash: ContentHash) -> None:
        """A content is on the disk: what a list takes back contradicts nobody; of a key it takes
        back nobody here knows what it signed."""
        lists = [
            parse_revocations(one.content)
            for one in self._ledger.by_content(content_hash)
            if one.manifest.artifact_type is ArtifactType.REVOCATION_LIST
        ]
        entries = [entry for one in lists for entry in one.entries]
        values = {entry.value for entry in entries}
        has_keys = any(entry.kind is RevokedKind.SIGNING_KEY for entry in entries)
        for key, (_, stated) in self._stated.items():
            if key[0] == index and (has_keys or values & stated.keys()):
                self._since.pop(key, None)

    def on_switching(self, index: int, namespace: str) -> None:
        """A node wants a namespace switched."""
        self._asked_ns[(index, namespace)] = self._docket.now_ns

    def on_materialized(self, index: int, namespace: str, local: Local) -> None:
        """A namespace was switched."""
        key, newest = (index, namespace), local.newest
        before, self._shown[key] = self._shown.get(key), newest
        is_news = newest is not None and newest != before and self._since_of(key, newest)
        if is_news and self._since[key] < self._asked_ns.get(key, 0):
            self._violated("applied", index, f"{namespace} {newest}")

    def on_content_sent(self, sender: int, content_hash: ContentHash) -> None:
        """Bytes of a content left: of several that name it one must stand alone."""
        named = self._ledger.by_content(content_hash)
        if named and all(self._is_half(sender, one) for one in named):
            self._violated("served", sender, named[0].manifest.namespace.text)

    def _is_half(self, index: int, issued: Issued) -> bool:
        """Of snapshots and lists both sides are handed out: whoever lacks one learns of it so."""
        manifest = issued.manifest
        key = (index, manifest.namespace.text)
        is_binding = manifest.artifact_type in CRITICAL_TYPES
        is_half = not is_binding and self._since_of(key, manifest.order)
        return is_half and self._docket.now_ns - self._since[key] > BINDS_NS

    def _since_of(self, key: tuple[int, str], order: Order) -> bool:
        return key in self._since and self._stated[key][0] == order

    def on_fell_back(self, index: int, kept: Kept) -> None:
        """Its disk is that of an earlier moment."""
        for verified in (*kept.heads.values(), *kept.evidence.values()):
            self.on_durable_manifest(index, verified)

    def on_wiped(self, index: int) -> None:
        """Its disk is another one."""
        for known in (self._stated, self._since, self._shown, self._asked_ns):
            for key in [one for one in known if one[0] == index]:
                del known[key]

    def _violated(self, what: str, index: int, name: str) -> None:
        detail = f"{self._ledger.node_id(index)}: {name}, of which its disk has two statements"
        self._docket.violated("S7", what, index, detail)
