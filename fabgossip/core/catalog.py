"""The newest verified manifest of every namespace, the floors, and what became of each head's
content.

Decides: which manifest is the head of a namespace and in which state it is.
Keeps: a floor never sinks within an epoch; a head is told, fetched or applied only once it is
durable.
Must not know: who announced a head, where its content comes from, who may know of it.
"""

from dataclasses import dataclass, field
from typing import Final

from fabgossip.core.events import Token
from fabgossip.core.history import KEPT_MAX, Kept, worth_keeping
from fabgossip.core.ordered import OrderedMap, OrderedSet
from fabgossip.model.artifact import (
    NO_ORDER,
    TRUST_TYPES,
    ArtifactType,
    Manifest,
    Order,
    VerifiedManifest,
)
from fabgossip.model.ids import ContentHash, ManifestHash
from fabgossip.model.messages import PREFIX_BYTES
from fabgossip.model.moment import UnixTime, is_past
from fabgossip.model.scope import Audience
from fabgossip.model.words import Word
from fabgossip.trust.rejections import RejectionCode

FLOORS_MAX: Final = 200_000
"""Namespaces with a floor (*start*): beyond, no new namespace is accepted."""
EVIDENCE_MAX: Final = 4
"""Statements kept of one order (*start*): two prove the contradiction, more prove no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why, and when, something accepted before was refused."""

    code: RejectionCode
    detail: str
    at: UnixTime


@dataclass(frozen=True, slots=True)
class Floor:
    """The highest order accepted or listed in a namespace, and the manifest that stands there."""

    order: Order
    manifest_hash: ManifestHash | None


NO_FLOOR: Final = Floor(NO_ORDER, None)


class HeadState(Word):
    """What became of a head."""

    PERSISTING = "persisting"
    """Admitted, not durable yet: nobody is told."""
    BEHIND = "behind"
    """Durable; its content is wanted and not held."""
    KNOWN = "known"
    """Durable; its content is not held and not wanted here."""
    HELD = "held"
    """Its content is held; this node does not apply it."""
    APPLYING = "applying"
    """Its content is held and being switched to."""
    CURRENT = "current"
    """Its content is held and is the local state of the namespace, or staged for its consumer."""
    UNAPPLIED = "unapplied"
    """Its content is held; switching to it failed and is tried again."""
    HELD_BACK = "held_back"
    """Its content is held; an operator put local software back to an older version."""
    WITHHELD = "withheld"
    """Its content is held, and so old that the signed policy keeps it from consumers."""
    INVALID = "invalid"
    """Its content was held and does not say what its type demands."""
    WITHDRAWN = "withdrawn"
    """A tombstone stands at the head."""
    OUTDATED = "outdated"
    """Of an older epoch, or of an audience this node cannot prove to be of any more: the last good
    one, neither served nor newly applied."""
    REFUSED = "refused"
    """Accepted once; today's trust refuses it: revoked, or its key is."""
    EXPIRED = "expired"
    """Past `expires_at`: neither applied nor served."""


GONE_STATES: Final = frozenset({HeadState.WITHDRAWN, HeadState.REFUSED, HeadState.EXPIRED})
"""Neither applied nor served; only a higher order ends it."""
BINDING_TYPES: Final = frozenset({ArtifactType.REVOCATION_LIST, ArtifactType.CLUSTER_SNAPSHOT})
"""Read and served although disputed: what any statement of one order takes away is gone."""
DIRECTORY_TYPES: Final = frozenset({ArtifactType.PEER_DIRECTORY, ArtifactType.STORAGE_DIRECTORY})
"""Read, and like what consumers read not newly gone by while disputed."""
_AFTER_ALL_NAMESPACES: Final = "\uffff"
HOLDING_STATES: Final = frozenset(
    {
        HeadState.HELD,
        HeadState.APPLYING,
        HeadState.UNAPPLIED,
        HeadState.CURRENT,
        HeadState.HELD_BACK,
        HeadState.WITHHELD,
    }
)


@dataclass(slots=True)
class Head:
    """The newest accepted manifest of a namespace, and the increments that lead to it."""

    verified: VerifiedManifest
    state: HeadState
    is_durable: bool = False
    is_held: bool = False
    kept: tuple[Kept, ...] = ()
    """Increments of its epoch up to its order, in falling order, one of each."""
    sides: list[VerifiedManifest] = field(default_factory=list)
    """Other statements of the very same order: evidence that the signer contradicts itself."""
    is_unlisted: bool = False
    """Whether the snapshot that covers the namespace does not list exactly this manifest."""
    widens: bool = False
    """Whether it opens the namespace to more nodes than the version before it, or than one before
    that which was never applied."""
    current_since: UnixTime | None = None
    replaces: "Head | None" = None
    """The head before it, while that one's content may still be on the disk."""
    refusal: Refusal | None = None
    """Why today's trust refuses it, while it does."""
    came_along: bool = False
    """Whether its content came with its announcement: nobody was asked for it."""
    source: str = ""
    """Node id of who announced it, or how else it came; for `why`."""

    @property
    def manifest(self) -> Manifest:
        """The head's manifest."""
        return self.verified.manifest

    @property
    def is_disputed(self) -> bool:
        """Whether another statement stands at its order: neither is applied or served."""
        return bool(self.sides)

    @property
    def rivals(self) -> tuple[VerifiedManifest, ...]:
        """All that is known to be said of its order, itself first."""
        return (self.verified, *self.sides)

    @property
    def rival_hashes(self) -> frozenset[ManifestHash]:
        """The manifest hashes of all that is known to be said of its order."""
        return frozenset(one.manifest_hash for one in self.rivals)

    @property
    def statements(self) -> tuple[VerifiedManifest, ...]:
        """The head, its increments and the other sides of a dispute."""
        return (self.verified, *(one.verified for one in self.kept), *self.sides)

    @property
    def increment(self) -> Kept | None:
        """The increment to this very version."""
        newest = self.kept[0] if self.kept else None
        is_its = newest is not None and newest.verified.manifest.order == self.manifest.order
        return newest if is_its else None

    def kept_of(self, verified: VerifiedManifest) -> Kept | None:
        """An increment as it is kept; None for anything else."""
        return next((one for one in self.kept if one.verified is verified), None)

    def holds(self, verified: VerifiedManifest) -> bool:
        """Whether the content of the head, or of one of its increments, is here."""
        if verified is self.verified:
            return self.is_held
        kept = self.kept_of(verified)
        return kept is not None and kept.is_held

    def is_current_at(self, now: UnixTime) -> bool:
        """Whether it may be served as the current version."""
        return not (self.is_disputed or self.is_unlisted or is_past(self.manifest.refresh_by, now))


def is_narrower(manifest: Manifest, before: Manifest) -> bool:
    """Whether every node that may hold the new version could hold the one before: for each kind it
    named, the new one names no further id."""
    for kind in {scope.kind for scope in before.audience.scope_ids}:
        ids = manifest.audience.ids_of(kind)
        if not ids or not set(ids) <= set(before.audience.ids_of(kind)):
            return False
    return True


def _is_of(head: Head, order: Order) -> bool:
    """Whether an increment of this order can lead to a head."""
    return order.epoch == head.manifest.authority_epoch and order <= head.manifest.order


def _inherited(before: Head, manifest: Manifest) -> tuple[Kept, ...]:
    """The increments a new head takes over: what led to the one before it."""
    if manifest.tombstone is not None or before.manifest.tombstone is not None:
        return ()
    old = before.manifest
    kept = worth_keeping(before.kept, old.content_hash, old.content_size)
    order = manifest.order
    return tuple(
        one
        for one in kept
        if one.verified.manifest.authority_epoch == order.epoch
        and one.verified.manifest.order < order
    )


def _still_widens(manifest: Manifest, before: Head) -> bool:
    was_held_back = before.widens and before.current_since is None
    return was_held_back or not is_narrower(manifest, before.manifest)


def takes_away(verified: VerifiedManifest) -> int:
    """How much a statement withdraws; of one order what withdraws most stands at the head, so that
    a tombstone lands whoever came first (`tests/properties/test_order.py`)."""
    tombstone = verified.manifest.tombstone
    if tombstone is None:
        return 0
    return 2 if tombstone.purge else 1


def prefix_of(manifest_hash: ManifestHash) -> bytes:
    """The 16 bytes that stand for a manifest between peers."""
    return manifest_hash[:PREFIX_BYTES]


class Catalog:
    """All heads, by namespace, by manifest prefix, by content and by audience."""

    __slots__ = (
        "_by_audience",
        "_by_content",
        "_by_expiry",
        "_by_prefix",
        "_floors",
        "_heads",
        "_pending",
        "_touched",
    )

    def __init__(self) -> None:
        self._heads: OrderedMap[str, Head] = OrderedMap()
        self._floors: dict[str, Floor] = {}
        self._by_prefix: dict[bytes, str] = {}
        self._by_content: dict[ContentHash, OrderedSet[str]] = {}
        self._by_audience: dict[Audience, OrderedSet[bytes]] = {}
        self._by_expiry: OrderedMap[tuple[UnixTime, str], str] = OrderedMap()
        self._pending: dict[Token, tuple[str, ManifestHash]] = {}
        self._touched: dict[str, None] = {}
        """Namespaces of which something else may count than before."""

    def touch(self, namespace: str) -> None:
        """What counts of a namespace is to be looked at again."""
        self._touched[namespace] = None

    def take_touched(self) -> tuple[str, ...]:
        """The namespaces to be looked at again, once."""
        touched = tuple(self._touched)
        self._touched.clear()
        return touched

    def is_on_its_way(self, manifest_hash: ManifestHash) -> bool:
        """Whether a statement is on its way to the disk."""
        return any(one == manifest_hash for _, one in self._pending.values())

    def on_floor(self, namespace: str, floor: Floor) -> bool:
        """A floor read from the disk, or raised by a listing; whether it is news."""
        before = self._floors.get(namespace, NO_FLOOR)
        if floor.order <= before.order:
            return False
        self._floors[namespace] = floor
        self.touch(namespace)
        return True

    def on_refused(self, namespace: str, order: Order) -> None:
        """What stood at the floor lost its trust: the floor stays, another statement may take its
        place there."""
        if self.floor(namespace).order == order:
            self._floors[namespace] = Floor(order, None)

    def has_room(self, namespace: str, epoch: int) -> bool:
        """Whether a namespace can have a floor. Floors of older epochs leave first: they bind
        nobody any more."""
        if namespace in self._floors or len(self._floors) < FLOORS_MAX:
            return True
        for name in [one for one, floor in self._floors.items() if floor.order.epoch < epoch]:
            if self._heads.find(name) is None:
                del self._floors[name]
        return len(self._floors) < FLOORS_MAX

    def on_head(self, verified: VerifiedManifest, source: str) -> tuple[Head, Head | None]:
        """An admitted manifest becomes the head; gives it and the head it replaced."""
        namespace = verified.manifest.namespace.text
        before = self._heads.find(namespace)
        if before is not None:
            self._unlink(before)
        head = Head(verified=verified, state=HeadState.PERSISTING, source=source)
        head.widens = before is not None and _still_widens(verified.manifest, before)
        head.kept = () if before is None else _inherited(before, verified.manifest)
        self._heads[namespace] = head
        if verified.manifest.order >= self.floor(namespace).order:
            # Of one order the last accepted stands: a bundle issued again, the winner of a dispute.
            self._floors[namespace] = Floor(verified.manifest.order, verified.manifest_hash)
        self._link(verified)
        for kept in head.kept:
            self._link(kept.verified)
        self._await_expiry(verified.manifest)
        return head, before

    def on_side(self, verified: VerifiedManifest) -> Head | None:
        """Another statement of the head's order, kept as evidence, or at the head if it withdraws
        more; None if it is known, or enough are: then only what withdraws more still has a place.
        """
        head = self._heads.find(verified.manifest.namespace.text)
        if head is None or head.manifest.order != verified.manifest.order:
            return None
        if verified.manifest_hash in {one.manifest_hash for one in head.statements}:
            return None
        is_first = takes_away(verified) > takes_away(head.verified)
        if len(head.rivals) >= EVIDENCE_MAX:
            if not is_first:
                return None
            self._unlink_one(head.sides.pop(), head.statements)
        if is_first:
            return self.on_rivals(head, (verified, *head.rivals))
        head.sides.append(verified)
        self._link(verified)
        return head

    def on_rivals(self, head: Head, rivals: tuple[VerifiedManifest, ...]) -> Head:
        """Of what is said of the head's order these count from now on, the one that withdraws most,
        else the first of them, at the head; gives the new head."""
        first = max(rivals, key=takes_away)
        fresh, before = self.on_head(first, head.source)
        fresh.replaces = before
        for one in rivals:
            if one is not first:
                fresh.sides.append(one)
                self._link(one)
        return fresh

    def on_discarded(self, head: Head) -> Head | None:
        """A head was no good once read; gives the one it replaced, which stands again."""
        namespace = head.manifest.namespace.text
        self._unlink(head)
        self._heads.discard(namespace)
        floor = self.floor(namespace)
        if floor.manifest_hash == head.verified.manifest_hash:
            del self._floors[namespace]
        before, head.replaces = head.replaces, None
        if before is not None:
            self._heads[namespace] = before
            self._floors[namespace] = Floor(before.manifest.order, before.verified.manifest_hash)
            for one in before.statements:
                self._link(one)
            self._await_expiry(before.manifest)
        return before

    def _await_expiry(self, manifest: Manifest) -> None:
        """Trust restricts past its end: it is never called expired, it only is not fresh."""
        if manifest.artifact_type not in TRUST_TYPES:
            namespace = manifest.namespace.text
            self._by_expiry[(manifest.expires_at, namespace)] = namespace

    def on_increment(self, verified: VerifiedManifest) -> tuple[VerifiedManifest, ...] | None:
        """An admitted increment is kept beside its head; gives those that make room for it, another
        one of its order or the oldest, or None if it has no place there."""
        head, order = self._heads.find(verified.manifest.namespace.text), verified.manifest.order
        if head is None or head.manifest.tombstone is not None or not _is_of(head, order):
            return None
        newer = [one for one in head.kept if one.verified.manifest.order > order]
        older = [one for one in head.kept if one.verified.manifest.order < order]
        kept = (*newer, Kept(verified), *older)[:KEPT_MAX]
        gone = tuple(one.verified for one in head.kept if one not in kept)
        head.kept = kept
        for one in gone:
            self._unlink_one(one, head.statements)
        if any(one.verified is verified for one in kept):
            self._link(verified)
        return gone

    def on_increment_gone(self, verified: VerifiedManifest) -> None:
        """An increment is kept no longer."""
        head = self._heads.find(verified.manifest.namespace.text)
        if head is not None and head.kept_of(verified) is not None:
            head.kept = tuple(one for one in head.kept if one.verified is not verified)
            self._unlink_one(verified, head.statements)

    def on_persisting(self, token: Token, verified: VerifiedManifest) -> None:
        """A change about this manifest is on its way to the disk."""
        self._pending[token] = (verified.manifest.namespace.text, verified.manifest_hash)
        self.touch(verified.manifest.namespace.text)

    def on_persisted(self, token: Token, *, ok: bool) -> tuple[Head, VerifiedManifest] | None:
        """The change is durable, or failed: gives the head and the manifest meant, or None if a
        newer head came meanwhile."""
        pending = self._pending.pop(token, None)
        if pending is None:
            return None
        self.touch(pending[0])
        head = self._heads.find(pending[0])
        if head is None:
            return None
        if head.verified.manifest_hash == pending[1]:
            head.is_durable = ok
            return head, head.verified
        for one in head.statements:
            if one.manifest_hash == pending[1]:
                return head, one
        return None

    def _link(self, verified: VerifiedManifest) -> None:
        manifest = verified.manifest
        prefix = prefix_of(verified.manifest_hash)
        self._by_prefix[prefix] = manifest.namespace.text
        self._by_content.setdefault(manifest.content_hash, OrderedSet()).add(
            manifest.namespace.text
        )
        self._by_audience.setdefault(manifest.audience, OrderedSet()).add(prefix)
        self.touch(manifest.namespace.text)

    def _unlink(self, head: Head) -> None:
        self._by_expiry.discard((head.manifest.expires_at, head.manifest.namespace.text))
        self.touch(head.manifest.namespace.text)
        for verified in head.statements:
            self._unlink_one(verified)

    def _unlink_one(
        self, verified: VerifiedManifest, rest: tuple[VerifiedManifest, ...] = ()
    ) -> None:
        """Of a namespace `rest` still stands; without it all of one head leave together."""
        manifest = verified.manifest
        prefix = prefix_of(verified.manifest_hash)
        self._by_prefix.pop(prefix, None)
        # A snapshot and its increments may name one content: the first to go takes the row along,
        # unless another one stays.
        namespaces = self._by_content.get(manifest.content_hash)
        is_named = any(one.manifest.content_hash == manifest.content_hash for one in rest)
        if namespaces is not None and not is_named:
            namespaces.discard(manifest.namespace.text)
            if not len(namespaces):
                del self._by_content[manifest.content_hash]
        prefixes = self._by_audience[manifest.audience]
        prefixes.discard(prefix)
        if not len(prefixes):
            del self._by_audience[manifest.audience]

    def find(self, namespace: str) -> Head | None:
        """The head of a namespace."""
        return self._heads.find(namespace)

    def floor(self, namespace: str) -> Floor:
        """The highest order ever accepted or listed, and by which manifest."""
        return self._floors.get(namespace, NO_FLOOR)

    def floors(self) -> dict[str, Order]:
        """Every floor by namespace. Cost: O(floors)."""
        return {namespace: floor.order for namespace, floor in self._floors.items()}

    def by_prefix(self, prefix: bytes) -> tuple[Head, VerifiedManifest] | None:
        """The head, and the manifest of it, that these 16 bytes stand for."""
        namespace = self._by_prefix.get(prefix)
        head = None if namespace is None else self._heads.find(namespace)
        if head is None:
            return None
        for one in head.statements:
            if prefix_of(one.manifest_hash) == prefix:
                return head, one
        return None

    def first(self) -> tuple[Head, VerifiedManifest] | None:
        """The first head, to ask about in place of one that is not there."""
        return next(((head, head.verified) for head in self._heads.values()), None)

    def by_content(self, content_hash: ContentHash) -> tuple[tuple[Head, VerifiedManifest], ...]:
        """Every head, and the manifest of it, that names this content."""
        found = []
        for namespace in self._by_content.get(content_hash, ()):
            head = self._heads.find(namespace)
            if head is None:
                continue
            found += [
                (head, one) for one in head.statements if one.manifest.content_hash == content_hash
            ]
        return tuple(found)

    def is_named(self, content_hash: ContentHash) -> bool:
        """Whether any head still names this content."""
        return content_hash in self._by_content

    def audiences(self) -> tuple[Audience, ...]:
        """The audiences of all heads, in the order they were first met."""
        return tuple(self._by_audience)

    def prefixes(self, audience: Audience) -> tuple[bytes, ...]:
        """Prefixes of everything at the head in an audience, ascending."""
        return tuple(self._by_audience.get(audience, ()))

    def heads(self) -> tuple[Head, ...]:
        """All heads in namespace order."""
        return tuple(self._heads.values())

    def heads_after(self, namespace: str, count: int) -> tuple[Head, ...]:
        """At most `count` heads whose namespace is above this one, in order."""
        return tuple(head for _, head in self._heads.items_after(namespace, count))

    def on_expired(self, now: UnixTime, count: int) -> tuple[Head, ...]:
        """Mark at most `count` heads whose `expires_at` has come, and give them."""
        rows = self._by_expiry.items_up_to((now, _AFTER_ALL_NAMESPACES), count)
        expired = []
        for key, namespace in rows:
            self._by_expiry.discard(key)
            head = self._heads.find(namespace)
            if head is not None and head.state is not HeadState.WITHDRAWN:
                head.state = HeadState.EXPIRED
                expired.append(head)
        return tuple(expired)

    def of_type(self, artifact_type: ArtifactType) -> tuple[Head, ...]:
        """All heads of a type in namespace order."""
        return tuple(
            head for head in self._heads.values() if head.manifest.artifact_type is artifact_type
        )

    def check(self) -> None:
        """Assert that every index agrees with the heads."""
        for namespace, head in self._heads.items():
            manifest, prefix = head.manifest, prefix_of(head.verified.manifest_hash)
            assert manifest.namespace.text == namespace
            assert self._floors[namespace].order >= manifest.order
            assert len(head.sides) < EVIDENCE_MAX
            if head.kept:
                assert len(head.kept) <= KEPT_MAX
                orders = [one.verified.manifest.order for one in head.kept]
                assert orders == sorted(set(orders), reverse=True)
                assert all(_is_of(head, order) for order in orders)
            assert self._by_prefix[prefix] == namespace
            assert namespace in self._by_content[manifest.content_hash]
            assert prefix in self._by_audience[manifest.audience]
            assert head.is_held or head.state not in HOLDING_STATES
        assert sum(len(prefixes) for prefixes in self._by_audience.values()) == len(self._by_prefix)
