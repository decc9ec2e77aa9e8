"""What lies on a disk: index, contents and local state of one node.

Decides: nothing; it is what was written, and what a new process reads of it.
Keeps: a floor never sinks; what was cut short is dropped by its size, as the daemon does, and what
is damaged otherwise is nothing anybody is given.
Must not know: when anything is durable, why it is written.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256

from fabgossip.core.effects import Materialize
from fabgossip.core.events import Started
from fabgossip.model.artifact import (
    NO_ORDER,
    TRUST_TYPES,
    TYPE_RULES,
    ArtifactType,
    Order,
    VerifiedManifest,
)
from fabgossip.model.ids import ContentHash, ManifestHash, NodeId
from fabgossip.model.moment import NEVER, UnixTime
from fabgossip.model.persistence import (
    Change,
    DropHead,
    DropHeldBack,
    DropIncrement,
    DropPin,
    HeldBack,
    KeptCheckpoint,
    Pin,
    PutCheckpoints,
    PutClaimsSeen,
    PutClockDoubt,
    PutEvidence,
    PutFloor,
    PutGrantUse,
    PutHead,
    PutHeldBack,
    PutIncrement,
    PutMemory,
    PutPin,
    PutRevoked,
    PutTimeFloor,
    PutTrust,
    StoredFloor,
    StoredGrantUse,
    StoredHead,
    StoredMemory,
    StoredPin,
    StoredTrust,
)


@dataclass(slots=True)
class Local:
    """The local state of one namespace."""

    versions: dict[Order, bytes] = field(default_factory=dict)
    envelopes: dict[Order, bytes] = field(default_factory=dict)
    """What stands beside each version, as a daemon keeps it."""
    current: Order | None = None
    staged: Order | None = None
    previous: Order | None = None
    """What was there before the newest switch; it is kept as long."""

    @property
    def newest(self) -> Order | None:
        """What consumers see, or may start."""
        return self.staged if self.current is None else self.current

    def sound(self, order: Order, content_hash: ContentHash, envelope: bytes) -> bytes | None:
        """The content of a version that is still there, None if it is not what was signed."""
        content = self.versions.get(order)
        if content is None or self.envelopes[order] != envelope:
            return None
        return content if sha256(content).digest() == content_hash else None

    def show(self, order: Order, content: bytes, envelope: bytes, *, activate: bool) -> None:
        """Point to a version, as the links of a daemon do."""
        if self.envelopes.get(order, envelope) != envelope:
            self._unlink(order)
        self.versions[order], self.envelopes[order] = content, envelope
        before = self.current if activate else self.staged
        if activate:
            self.current = order
        else:
            self.staged = order
        if before not in (None, order):
            self.previous = before

    def _unlink(self, order: Order) -> None:
        """Another statement of the same order takes its place."""
        self.current = None if self.current == order else self.current
        self.staged = None if self.staged == order else self.staged
        self.previous = None if self.previous == order else self.previous

    def drop_old(self, keep_versions: int) -> None:
        """Of what nothing points to, as many stay as make up what is to be kept."""
        linked = {self.current, self.staged, self.previous} - {None}
        unlinked = sorted(one for one in self.versions if one not in linked)
        spare = max(0, keep_versions - len(linked) + 1)
        for order in unlinked[: max(0, len(unlinked) - spare)]:
            del self.versions[order]
            del self.envelopes[order]


@dataclass
class Kept:
    """One disk at one moment."""

    heads: dict[str, VerifiedManifest] = field(default_factory=dict)
    increments: dict[tuple[str, ManifestHash], VerifiedManifest] = field(default_factory=dict)
    floors: dict[str, StoredFloor] = field(default_factory=dict)
    revoked: set[tuple[int, bytes]] = field(default_factory=set)
    evidence: dict[tuple[str, bytes], VerifiedManifest] = field(default_factory=dict)
    claims_seen: dict[NodeId, tuple[int, int]] = field(default_factory=dict)
    grant_uses: dict[bytes, StoredGrantUse] = field(default_factory=dict)
    generation: int = 0
    is_whole: bool = False
    time_floor: UnixTime = NEVER
    is_clock_doubted: bool = False
    revoked_epoch: int = 0
    contents: dict[ContentHash, bytes] = field(default_factory=dict)
    """What lies under the name of each, whatever it is."""
    sizes: dict[ContentHash, int] = field(default_factory=dict)
    """What the index says of each."""
    trust: dict[int, StoredTrust] = field(default_factory=dict)
    local: dict[str, Local] = field(default_factory=dict)
    rotten: set[ContentHash] = field(default_factory=set)
    """What the index says is held, and is gone."""
    pins: dict[int, Pin] = field(default_factory=dict)
    held_back: dict[str, HeldBack] = field(default_factory=dict)
    verified: dict[ContentHash, UnixTime] = field(default_factory=dict)
    """When a content was found sound, if it was looked at since it came."""
    checkpoints: dict[NodeId, tuple[KeptCheckpoint, ...]] = field(default_factory=dict)

    def image(self) -> "Kept":
        """All of it as it is now, for later."""
        made = Kept()
        made.restore(self)
        return made

    def restore(self, image: "Kept") -> None:
        """What lies here is that of another moment, or of another disk."""
        for one in fields(Kept):
            setattr(self, one.name, _copied(getattr(image, one.name)))

    def started(self) -> Started:
        """What a new process finds. Contents nobody names, or without a row, are dropped, and rows
        whose files are gone or of another size: the core wants them again."""
        self._drop_loose_ends()
        kept = sorted(self.increments.values(), key=_place)
        rows = [*(self.heads[name] for name in sorted(self.heads)), *kept]
        named = {verified.manifest.content_hash for verified in rows}
        named |= set(self._evidence_named())
        named |= {one.content_hash for one in self.pins.values()}
        named |= {ContentHash(sha256(step.content).digest()) for step in self.trust.values()}
        self.contents = {key: data for key, data in self.contents.items() if key in named}
        return Started(
            trust=tuple(self.trust[version] for version in sorted(self.trust)),
            heads=tuple(map(self._stored, rows)),
            floors=tuple(self.floors[name] for name in sorted(self.floors)),
            revoked=tuple(sorted(self.revoked)),
            checkpoints=tuple(
                PutCheckpoints(node_id=one, kept=self.checkpoints[one])
                for one in sorted(self.checkpoints)
            ),
            memory=self._begin_start(),
            pins=tuple(self._stored_pin(self.pins[one]) for one in sorted(self.pins)),
            held_back=tuple(self.held_back[name] for name in sorted(self.held_back)),
            evidence_contents=tuple(
                content
                for content in map(self.sound, sorted(set(self._evidence_named())))
                if content is not None
            ),
            visible=self._visible(),
            put_away=self._put_away(),
        )

    def _drop_loose_ends(self) -> None:
        self.contents = {
            key: data for key, data in self.contents.items() if len(data) == self.sizes.get(key)
        }
        self.sizes = {key: size for key, size in self.sizes.items() if key in self.contents}
        self.rotten.clear()

    def _visible(self) -> tuple[tuple[str, bytes], ...]:
        return tuple(
            (name, local.envelopes[order])
            for name, local in sorted(self.local.items())
            for order in (local.current, local.staged)
            if order is not None
        )

    def _put_away(self) -> tuple[tuple[str, bytes], ...]:
        return tuple(
            (name, local.envelopes[max(local.versions)])
            for name, local in sorted(self.local.items())
            if local.versions and local.newest is None
        )

    def sound(self, content_hash: ContentHash) -> bytes | None:
        """A whole content, None if it is not held or is not what its name says."""
        content = self.contents.get(content_hash)
        is_good = content is not None and sha256(content).digest() == content_hash
        return content if is_good else None

    def _stored_pin(self, pin: Pin) -> StoredPin:
        content = self.contents.get(pin.content_hash)
        size = None if content is None else len(content)
        verified_at = self.verified.get(pin.content_hash, NEVER)
        return StoredPin(pin=pin, held_bytes=size, verified_at=verified_at)

    def _evidence_named(self) -> list[ContentHash]:
        manifests = [one.manifest for one in self.evidence.values()]
        return [one.content_hash for one in manifests if TYPE_RULES[one.artifact_type].is_read]

    def _begin_start(self) -> StoredMemory:
        self.generation += 1
        return StoredMemory(
            generation=self.generation,
            is_whole=self.is_whole,
            time_floor=self.time_floor,
            is_clock_doubted=self.is_clock_doubted,
            revoked_epoch=self.revoked_epoch,
            claims_seen=tuple((name, *self.claims_seen[name]) for name in sorted(self.claims_seen)),
            grant_uses=tuple(self.grant_uses[key] for key in sorted(self.grant_uses)),
            evidence=tuple(self.evidence[key].envelope for key in sorted(self.evidence)),
        )

    def _stored(self, verified: VerifiedManifest) -> StoredHead:
        kind = verified.manifest.artifact_type
        content = self.contents.get(verified.manifest.content_hash)
        return StoredHead(
            namespace=verified.manifest.namespace.text,
            envelope=verified.envelope,
            order=verified.manifest.order,
            held_bytes=None if content is None else len(content),
            is_increment=kind is ArtifactType.SNAPSHOT_INCREMENT,
            is_trust=kind in TRUST_TYPES,
            content=self.sound(verified.manifest.content_hash)
            if TYPE_RULES[kind].is_read
            else None,
            verified_at=self.verified.get(verified.manifest.content_hash, NEVER),
        )

    def commit(self, changes: tuple[Change, ...]) -> Iterator[VerifiedManifest]:
        """Write one transaction; gives each manifest as it comes."""
        for change in changes:
            match change:
                case PutRevoked():
                    if change.epoch != self.revoked_epoch:
                        self.revoked.clear()
                        self.revoked_epoch = change.epoch
                    self.revoked |= set(change.entries)
                case PutFloor():
                    self._raise_floor(change.namespace, change.order, change.manifest_hash)
                case PutEvidence():
                    one = change.verified
                    key = (one.manifest.namespace.text, bytes(one.manifest_hash))
                    self.evidence[key] = one
                case PutClaimsSeen():
                    seen = self.claims_seen.get(change.node_id, (0, 0))
                    self.claims_seen[change.node_id] = max(seen, (change.epoch, change.version))
                case PutGrantUse():
                    self._put_grant_use(change)
                case PutTimeFloor():
                    self.time_floor = max(change.unix, self.time_floor)
                case PutClockDoubt():
                    self.is_clock_doubted = change.is_doubted
                case PutMemory():
                    self.is_whole = change.is_whole
                    self.generation = max(self.generation, change.generation)
                case PutPin():
                    self.pins[change.pin.pin_id] = change.pin
                case DropPin():
                    self.pins.pop(change.pin_id, None)
                case PutHeldBack():
                    self.held_back[change.held_back.namespace] = change.held_back
                case DropHeldBack():
                    self.held_back.pop(change.namespace, None)
                case PutCheckpoints():
                    self.checkpoints[change.node_id] = change.kept
                case PutHead():
                    self._put_head(change.verified)
                    yield change.verified
                case DropHead():
                    self.heads.pop(change.namespace, None)
                    floor = self.floors.get(change.namespace)
                    if floor is not None and floor.manifest_hash == change.manifest_hash:
                        del self.floors[change.namespace]
                case PutIncrement():
                    one = change.verified
                    self.increments[(one.manifest.namespace.text, one.manifest_hash)] = one
                    yield one
                case DropIncrement():
                    self.increments.pop((change.namespace, change.manifest_hash), None)
                case PutTrust():
                    self.trust[change.version] = StoredTrust(
                        version=change.version, envelope=change.envelope, content=change.content
                    )

    def _put_grant_use(self, row: PutGrantUse) -> None:
        known = self.grant_uses.get(row.grant_id)
        if known is None or row.uses >= known.uses:
            self.grant_uses[row.grant_id] = StoredGrantUse(
                grant_id=row.grant_id, uses=row.uses, forget_at=row.forget_at
            )

    def _put_head(self, verified: VerifiedManifest) -> None:
        namespace, order = verified.manifest.namespace.text, verified.manifest.order
        if verified.manifest.artifact_type is not ArtifactType.TRUST_BUNDLE:
            self.evidence = {key: row for key, row in self.evidence.items() if key[0] != namespace}
        self._raise_floor(namespace, order, verified.manifest_hash)
        self.heads[namespace] = verified

    def _raise_floor(self, namespace: str, order: Order, manifest_hash: ManifestHash) -> None:
        if order >= self.floor_of(namespace):
            self.floors[namespace] = StoredFloor(
                namespace=namespace, order=order, manifest_hash=manifest_hash
            )

    def floor_of(self, namespace: str) -> Order:
        """The highest order ever durable in a namespace."""
        floor = self.floors.get(namespace)
        return NO_ORDER if floor is None else floor.order

    def switch(self, effect: Materialize) -> bool:
        """Switch a namespace, or withdraw it; False where its content is not there, or damaged."""
        local = self.local.setdefault(effect.namespace, Local())
        if effect.order is None or effect.manifest is None:
            local.current = local.staged = None
            if effect.purge:
                local.previous = None
                local.versions.clear()
                local.envelopes.clear()
            return True
        content = self.sound(effect.manifest.content_hash)
        if effect.is_kept:
            content = local.sound(effect.order, effect.manifest.content_hash, effect.envelope)
        if content is None:
            return False
        local.show(effect.order, content, effect.envelope, activate=effect.activate)
        local.drop_old(effect.keep_versions)
        return True


def _copied(value: object) -> object:
    """Tables are copied, what is in them is shared: all but local state is frozen."""
    if isinstance(value, dict):
        return {key: _copied(one) if isinstance(one, Local) else one for key, one in value.items()}
    if isinstance(value, set):
        return set(value)
    if isinstance(value, Local):
        return replace(value, versions=dict(value.versions), envelopes=dict(value.envelopes))
    return value


def _place(increment: VerifiedManifest) -> tuple[str, Order, ManifestHash]:
    """As the index of a daemon gives them back."""
    manifest = increment.manifest
    return manifest.namespace.text, manifest.order, increment.manifest_hash
