"""Whether what a node took in was signed, and of its time.

Decides: held, violated or unproved, per checker.
Keeps: signed is what the ledger has; an epoch counts from a second after the bundle that opens it
is on the disk.
Must not know: what a node decides, or why.

| id | an honest node never ... |
|---|---|
| S7 | takes up what is of an older epoch than a bundle it durably has |
| S14 | takes up what no issuer signed |
"""

from typing import Final

from fabgossip.model.artifact import ArtifactType, VerifiedManifest
from fabgossip.model.messages import PREFIX_BYTES
from fabgossip.sim.checkers import Docket
from fabgossip.sim.kept import Kept
from fabgossip.sim.ledger import Ledger
from fabgossip.sim.world import NS_PER_S

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
