"""Changes on their way to the disk, and what the disk would not take.

Decides: which token stands for a change, and whether a refused one is written once more.
Keeps: nothing is written again in whose place something newer stands; whoever waits for a
statement the disk refused hears it once.
Must not know: what follows from what is durable.
"""

from dataclasses import dataclass

from fabgossip.core.catalog import Head, prefix_of
from fabgossip.core.effects import Fact, Persist, Record
from fabgossip.core.events import LinkId, RequestId, Token
from fabgossip.core.machines import Machines
from fabgossip.model.artifact import ArtifactType, VerifiedManifest
from fabgossip.model.persistence import Change, DropHead, PutEvidence, PutHead, PutIncrement


@dataclass(slots=True)
class Provenance:
    """Where a manifest on its way to the disk came from."""

    origin: LinkId | None = None
    request: RequestId | None = None
    hops: int = 0
    content: bytes | None = None
    """What came with the announcement, and fits."""
    is_late: bool = False
    """Whether it was asked for because a list names it."""


class Durability:
    """Makes statements and other changes durable."""

    __slots__ = (
        "_kept",
        "_m",
        "_next_token",
        "_pending",
        "_unkept",
        "_unpersisted",
    )

    def __init__(self, machines: Machines) -> None:
        self._m = machines
        self._next_token = 0
        self._pending: dict[Token, Provenance] = {}
        self._unpersisted: list[tuple[VerifiedManifest, Provenance]] = []
        self._kept: dict[Token, tuple[Change, ...]] = {}
        """Changes on their way that are of no one manifest."""
        self._unkept: list[tuple[Change, ...]] = []

    def next_token(self) -> Token:
        """A number for something to be made durable."""
        self._next_token += 1
        return Token(self._next_token)

    def keep(self, *changes: Change) -> None:
        """Make changes durable that are of no one manifest, however often the disk refuses."""
        token = self.next_token()
        self._kept[token] = changes
        self._m.out.append(Persist(token=token, changes=changes))

    def persist_again(self) -> None:
        """Try once more what the disk refused, unless something newer took its place."""
        failed, self._unpersisted = self._unpersisted, []
        for verified, provenance in failed:
            found = self._m.catalog.by_prefix(prefix_of(verified.manifest_hash))
            if found is not None:
                self.persist(verified, changes_for(found[0], verified), provenance)

    def persist(
        self, verified: VerifiedManifest, changes: tuple[Change, ...], provenance: Provenance
    ) -> None:
        """Make a statement durable."""
        token = self.next_token()
        self._pending[token] = provenance
        self._m.catalog.on_persisting(token, verified)
        self._m.out.append(Persist(token=token, changes=changes))

    def on_persisted(self, token: Token) -> Provenance | None:
        """The disk has answered about a statement: gives where that came from."""
        return self._pending.pop(token, None)

    def on_refused(self, verified: VerifiedManifest, provenance: Provenance) -> None:
        """Nobody is told of what is not durable; whoever submitted it hears that it failed."""
        fields = (("operation", "persist"), ("namespace", verified.manifest.namespace.text))
        self._m.out.append(Record(fact=Fact.STORAGE_FAILED, fields=fields))
        if provenance.request is not None:
            self._m.unsettled.failed_requests.append((provenance.request, "the disk refused it"))
            provenance.request = None
        self._unpersisted.append((verified, provenance))

    def on_kept(self, token: Token, *, ok: bool) -> bool:
        """The disk has answered; False if the token stands for no change of this kind."""
        changes = self._kept.pop(token, None)
        if changes is None:
            return False
        if not ok:
            self._unkept.append(changes)
            self._m.out.append(Record(fact=Fact.STORAGE_FAILED, fields=(("operation", "persist"),)))
        return True

    def keep_again(self) -> None:
        """Try once more what the disk refused, unless it holds no more."""
        unkept, self._unkept = self._unkept, []
        for changes in unkept:
            is_overtaken = any(
                self._m.beliefs.is_overtaken(one) or self._m.holdbacks.is_overtaken(one)
                for one in changes
            )
            if not is_overtaken and not self._is_replaced(changes):
                self.keep(*changes)

    def _is_replaced(self, changes: tuple[Change, ...]) -> bool:
        """Whether changes that discard a head, and put the one before back, came too late: another
        one stands in the namespace by now."""
        dropped = next((one for one in changes if isinstance(one, DropHead)), None)
        if dropped is None:
            return False
        head = self._m.catalog.find(dropped.namespace)
        put_back = next((one for one in changes if isinstance(one, PutHead)), None)
        stands = None if head is None else head.verified.manifest_hash
        meant = None if put_back is None else put_back.verified.manifest_hash
        return stands != meant


def changes_for(head: Head, verified: VerifiedManifest) -> tuple[Change, ...]:
    """What makes a statement of a head durable; a head takes the evidence before it along."""
    if verified in head.sides:
        return (PutEvidence(verified=verified),)
    if verified.manifest.artifact_type is ArtifactType.SNAPSHOT_INCREMENT:
        return (PutIncrement(verified=verified),)
    return (PutHead(verified=verified), *(PutEvidence(verified=one) for one in head.sides))
