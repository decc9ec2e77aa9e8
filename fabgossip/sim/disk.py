"""A node's disk in memory: index, contents and local state, durable when they say so.

Decides: when a write is durable; what a crash leaves.
Keeps: one writer that commits all that waits together and reports in order, as the daemon's;
what was reported survives a crash; a floor never sinks.
Must not know: why something is written.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from typing import Final, Protocol, TypeAlias

from fabgossip.core.effects import Materialize, Persist, Remove, Scrub
from fabgossip.core.events import Started
from fabgossip.core.grouping import Extent, extent_of, extent_of_persist, next_group
from fabgossip.core.space import USUAL_LIMITS, DiskUsage, Space, SpaceState
from fabgossip.model.artifact import (
    NO_ORDER,
    TRUST_TYPES,
    TYPE_RULES,
    ArtifactType,
    Order,
    VerifiedManifest,
)
from fabgossip.model.ids import ContentHash, ManifestHash, NodeId
from fabgossip.model.messages import INLINE_BYTES_MAX
from fabgossip.model.moment import NEVER, Instant, UnixTime
from fabgossip.model.persistence import (
    Change,
    DropHead,
    DropIncrement,
    DropPin,
    KeptCheckpoint,
    Pin,
    PutCheckpoints,
    PutClaimsSeen,
    PutClockDoubt,
    PutEvidence,
    PutFloor,
    PutGrantUse,
    PutHead,
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
from fabgossip.sim.streams import Stream
from fabgossip.sim.trace import Happened, Kind, world_event
from fabgossip.sim.world import NS_PER_MS, World

ROOMY_BYTES: Final = 1 << 50
FULL_BYTES: Final = USUAL_LIMITS.free_bytes_min
"""What others leave of a full one: trust has it."""
ROOMY_INODES: Final = 1 << 30
LOOK_NS: Final = 1_000 * NS_PER_MS
"""As the daemon looks at its disk."""
Done: TypeAlias = Callable[[bool], Happened]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskCosts:
    """What a disk of one profile takes (*start*)."""

    sync_ns: int
    ns_per_kib: int
    read_ns: int


COSTS: Final = {
    "instant": DiskCosts(sync_ns=0, ns_per_kib=0, read_ns=0),
    "nvme": DiskCosts(sync_ns=500_000, ns_per_kib=1_000, read_ns=50_000),
    "ssd": DiskCosts(sync_ns=2_000_000, ns_per_kib=3_000, read_ns=150_000),
    "hdd": DiskCosts(sync_ns=15_000_000, ns_per_kib=8_000, read_ns=9_000_000),
}


class DiskTap(Protocol):
    """Who hears what became durable."""

    def durable_manifest(self, index: int, verified: VerifiedManifest, floor: Order) -> None:
        """A manifest and its namespace's floor."""
        ...

    def durable_content(self, index: int, content_hash: ContentHash) -> None:
        """A content."""
        ...

    def materialized(self, index: int, namespace: str, local: "Local") -> None:
        """A namespace was switched."""
        ...


@dataclass(slots=True)
class Local:
    """The local state of one namespace."""

    versions: dict[Order, bytes] = field(default_factory=dict)
    current: Order | None = None
    staged: Order | None = None

    @property
    def newest(self) -> Order | None:
        """What consumers see, or may start."""
        return self.staged if self.current is None else self.current


@dataclass(slots=True)
class _Job:
    """Something to make durable, and whom to tell."""

    write: Callable[[], bool]
    done: Done | None
    extent: Extent
    is_apart: bool = False
    """A content is a file of its own, and so is what local software reads; all else is one
    transaction of the index."""


class SimDisk:
    """One node's disk; it outlives the node's processes."""

    def __init__(
        self,
        world: World,
        index: int,
        costs: DiskCosts,
        tap: DiskTap,
        stream: Stream,
        shared: dict[ContentHash, bytes],
    ) -> None:
        """`shared`: the contents of all disks of a run, so that equal ones are in memory once."""
        self._world = world
        self._index = index
        self._costs = costs
        self._tap = tap
        self._stream = stream
        self._shared = shared
        self._jobs: deque[_Job] = deque()
        self._group: list[_Job] = []
        self._next_local: list[_Job] = []
        """Changes of the local state that follow the commits of their group."""
        self._space = Space(USUAL_LIMITS)
        self.free_bytes = ROOMY_BYTES
        """What others leave of it."""
        self.is_failing = False
        """Whether every write fails."""
        self.hindrances = 0
        """How often it refused or failed for the sake of either."""
        self._failures = 0
        self._is_looked_at = False
        """Whether the next look is planned."""
        self.on_space: Callable[[SpaceState], None] | None = None
        """The process that is to hear of it."""
        self._epoch = 0
        """Counts crashes: what belongs to an earlier one is void."""
        self.wipe()

    def wipe(self) -> None:
        """All that was kept is gone."""
        self.heads: dict[str, VerifiedManifest] = {}
        self.increments: dict[tuple[str, ManifestHash], VerifiedManifest] = {}
        self.floors: dict[str, StoredFloor] = {}
        self.revoked: set[tuple[int, bytes]] = set()
        self.evidence: dict[tuple[str, bytes], VerifiedManifest] = {}
        self.claims_seen: dict[NodeId, tuple[int, int]] = {}
        self.grant_uses: dict[bytes, StoredGrantUse] = {}
        self.generation = 0
        self.is_whole = False
        self.time_floor = UnixTime(0)
        self.is_clock_doubted = False
        self.revoked_epoch = 0
        self.contents: dict[ContentHash, bytes] = {}
        self.trust: dict[int, StoredTrust] = {}
        self.local: dict[str, Local] = {}
        self.rotten: set[ContentHash] = set()
        """What the index says is held, and is gone."""
        self.pins: dict[int, Pin] = {}
        self.verified: dict[ContentHash, UnixTime] = {}
        """When a content was found sound, if it was looked at since it came."""
        self.checkpoints: dict[NodeId, tuple[KeptCheckpoint, ...]] = {}

    def persist(self, effect: Persist, done: Done) -> None:
        """Make a `Persist` durable."""
        extent = replace(extent_of_persist(effect), size=4_096)
        self._put(_Job(lambda: self._commit(effect.changes), done, extent))

    def store(self, content_hash: ContentHash, data: bytes, done: Done) -> None:
        """Make a verified content durable."""
        extent = Extent(size=len(data))
        self._put(_Job(lambda: self._store(content_hash, data), done, extent, is_apart=True))

    def remove(self, effect: Remove) -> None:
        """Drop a content; of a damaged one nothing is kept that anybody looks at."""
        content_hash = effect.content_hash

        def drop() -> bool:
            self.contents.pop(content_hash, None)
            self.verified.pop(content_hash, None)
            self.rotten.discard(content_hash)
            return True

        self._put(_Job(drop, None, Extent(removes=content_hash)))

    def is_sound(self, content_hash: ContentHash) -> bool:
        """Whether a content is what its name says, also where there is none any more."""
        content = self.contents.get(content_hash)
        if content is None:
            return content_hash not in self.rotten
        return sha256(content).digest() == content_hash

    def note_verified(self, effect: Scrub, done: Done) -> None:
        """Note durably that a content was sound."""

        def note() -> bool:
            self.verified[effect.content_hash] = effect.at
            return True

        self._put(_Job(note, done, Extent()))

    def materialize(self, effect: Materialize, done: Done) -> None:
        """Switch a namespace, or withdraw it."""
        extent = extent_of(effect)
        self._put(_Job(lambda: self._materialize(effect), done, extent, is_apart=True))

    def takes(self, size: int, *, is_trust: bool) -> bool:
        """Whether a content of this size may come."""
        is_taken = self._space.takes(size, self._usage(), is_trust=is_trust)
        if not is_taken:
            self.hindrances += self.free_bytes < ROOMY_BYTES
            self._look_later()
        return is_taken

    def _usage(self) -> DiskUsage:
        used = sum(map(len, self.contents.values()))
        free = max(0, self.free_bytes - used)
        return DiskUsage(used_bytes=used, free_bytes=free, free_inodes=ROOMY_INODES)

    def _look_later(self) -> None:
        """While something is amiss the daemon's look of each second matters."""
        if not self._is_looked_at:
            self._is_looked_at = True
            at = self._world.now_ns + LOOK_NS
            self._world.schedule(at, self._index, self._index, self._look)

    def _look(self) -> Happened:
        self._is_looked_at = False
        failures, self._failures = self._failures, 0
        now = Instant(self._world.now_ns // NS_PER_MS)
        self._space.on_failures(failures, now)
        state = self._space.look(self._usage(), now)
        if self._space.is_news(state) and self.on_space is not None:
            self.on_space(state)
        if state.trouble is not None or state.excess_bytes:
            self._look_later()
        return world_event(Kind.DISK, "look")

    def rot(self) -> bool:
        """Contents kept in files are gone, and the index does not know; whether there were any."""
        kept = {key: data for key, data in self.contents.items() if len(data) <= INLINE_BYTES_MAX}
        is_rotten = len(kept) < len(self.contents)
        self.rotten |= self.contents.keys() - kept.keys()
        self.contents = kept
        return is_rotten

    @property
    def read_ns(self) -> int:
        """How long a read takes."""
        return self._costs.read_ns

    def read(self, content_hash: ContentHash) -> bytes | None:
        """A whole content, None if it is not held."""
        return self.contents.get(content_hash)

    def _put(self, job: _Job) -> None:
        self._jobs.append(job)
        if not self._group:
            self._begin()

    def _begin(self) -> None:
        """Start on what is at the head of the queue, and may be written together: first what is
        committed, then the local state."""
        group, self._next_local = self._next_local, []
        if not group:
            taken = next_group(self._jobs, lambda job: job.extent)
            self._next_local = [job for job in taken if job.extent.namespace is not None]
            group = [job for job in taken if job.extent.namespace is None]
        if not group:
            group, self._next_local = self._next_local, []
        self._group = group
        size = sum(job.extent.size for job in group)
        cost = self._costs.sync_ns + size * self._costs.ns_per_kib // 1_024
        self._world.schedule(
            self._world.now_ns + cost,
            self._index,
            self._index,
            partial(self._on_written, self._epoch),
        )

    def _on_written(self, epoch: int) -> Happened:
        if epoch != self._epoch:
            return world_event(Kind.DROP, "written by nobody")
        group, self._group = self._group, []
        for job in group:
            self._report(job, ok=self._write(job))
        if self._jobs or self._next_local:
            self._begin()
        return world_event(Kind.DISK, f"commit {len(group)}")

    def _write(self, job: _Job) -> bool:
        if not self.is_failing:
            return job.write()
        self._failures += 1
        self.hindrances += 1
        self._look_later()
        return False

    def _report(self, job: _Job, *, ok: bool) -> None:
        if job.done is not None:
            result = partial(self._on_result, self._epoch, job.done, ok)
            self._world.schedule(self._world.now_ns, self._index, self._index, result)

    def _on_result(self, epoch: int, done: Done, ok: bool) -> Happened:  # noqa: FBT001  # as the daemon gives it
        if epoch != self._epoch:
            return world_event(Kind.DROP, "for a process that is gone")
        return done(ok)

    def crash(self) -> None:
        """The process is gone: what was under way landed or did not, each file by itself and the
        index as a whole; the rest never began."""
        group, self._group = self._group, []
        self._jobs.clear()
        self._next_local.clear()
        self._epoch += 1
        if not group:
            return
        is_committed = self._stream.below(2)
        for job in group:
            if self._stream.below(2) if job.is_apart else is_committed:
                job.write()

    def started(self) -> Started:
        """What a new process finds; contents nobody names are dropped."""
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
            evidence_contents=tuple(
                self.contents[one]
                for one in sorted(set(self._evidence_named()))
                if one in self.contents
            ),
        )

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
            content=content if TYPE_RULES[kind].is_read else None,
            verified_at=self.verified.get(verified.manifest.content_hash, NEVER),
        )

    def _commit(self, changes: tuple[Change, ...]) -> bool:
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
                case PutCheckpoints():
                    self.checkpoints[change.node_id] = change.kept
                case PutHead():
                    self._put_head(change.verified)
                case DropHead():
                    self.heads.pop(change.namespace, None)
                    floor = self.floors.get(change.namespace)
                    if floor is not None and floor.manifest_hash == change.manifest_hash:
                        del self.floors[change.namespace]
                case PutIncrement():
                    self._put_increment(change.verified)
                case DropIncrement():
                    self.increments.pop((change.namespace, change.manifest_hash), None)
                case PutTrust():
                    self.trust[change.version] = StoredTrust(
                        version=change.version, envelope=change.envelope, content=change.content
                    )
        return True

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
        self._tap.durable_manifest(self._index, verified, self._floor(namespace))

    def _put_increment(self, verified: VerifiedManifest) -> None:
        namespace = verified.manifest.namespace.text
        self.increments[(namespace, verified.manifest_hash)] = verified
        self._tap.durable_manifest(self._index, verified, self._floor(namespace))

    def _raise_floor(self, namespace: str, order: Order, manifest_hash: ManifestHash) -> None:
        if order >= self._floor(namespace):
            self.floors[namespace] = StoredFloor(
                namespace=namespace, order=order, manifest_hash=manifest_hash
            )

    def _floor(self, namespace: str) -> Order:
        floor = self.floors.get(namespace)
        return NO_ORDER if floor is None else floor.order

    def _store(self, content_hash: ContentHash, data: bytes) -> bool:
        known = self._shared.setdefault(content_hash, data)
        self.contents[content_hash] = known if known == data else data
        self.verified.pop(content_hash, None)
        self.rotten.discard(content_hash)
        self._tap.durable_content(self._index, content_hash)
        return True

    def _materialize(self, effect: Materialize) -> bool:
        local = self.local.setdefault(effect.namespace, Local())
        if effect.order is None or effect.manifest is None:
            local.current = local.staged = None
            if effect.purge:
                local.versions.clear()
            self._tap.materialized(self._index, effect.namespace, local)
            return True
        content = self.contents.get(effect.manifest.content_hash)
        if content is None:
            return False
        local.versions[effect.order] = content
        if effect.activate:
            local.current = effect.order
        else:
            local.staged = effect.order
        spare = sorted(one for one in local.versions if one not in (local.current, local.staged))
        for order in spare[: max(0, len(spare) - effect.keep_versions)]:
            del local.versions[order]
        self._tap.materialized(self._index, effect.namespace, local)
        return True


def _place(increment: VerifiedManifest) -> tuple[str, Order, ManifestHash]:
    """As the index of a daemon gives them back."""
    manifest = increment.manifest
    return manifest.namespace.text, manifest.order, increment.manifest_hash
