"""A node's disk in memory: index, contents and local state, durable when they say so.

Decides: when a write is durable; what a crash leaves.
Keeps: one writer that commits all that waits together and reports in order, as the daemon's;
what was reported survives a crash, unless a fault makes the disk lie or fall back.
Must not know: why something is written.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Final, Protocol, TypeAlias

from fabgossip.core.effects import Materialize, Persist, Remove, Scrub
from fabgossip.core.grouping import Extent, extent_of, extent_of_persist, next_group
from fabgossip.core.space import USUAL_LIMITS, DiskUsage, Space, SpaceState
from fabgossip.model.artifact import Order, VerifiedManifest
from fabgossip.model.ids import ContentHash
from fabgossip.model.messages import INLINE_BYTES_MAX
from fabgossip.model.moment import Instant
from fabgossip.model.persistence import Change
from fabgossip.sim.ailments import Ailments
from fabgossip.sim.kept import Kept, Local
from fabgossip.sim.quantities import PPM
from fabgossip.sim.streams import Stream
from fabgossip.sim.trace import Happened, Kind, world_event
from fabgossip.sim.world import NS_PER_MS, World

ROOMY_BYTES: Final = 1 << 50
FULL_BYTES: Final = USUAL_LIMITS.free_bytes_min
"""What others leave of a full one: trust has it."""
ROOMY_INODES: Final = 1 << 30
SECTOR_BYTES: Final = 4_096
"""What a disk writes whole or not at all."""
STALL_NS: Final = 100 * NS_PER_MS
"""How often one that stalls is looked at."""
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

    def committed(self, index: int, changes: tuple[Change, ...]) -> None:
        """A transaction of the index."""
        ...

    def durable_content(self, index: int, content_hash: ContentHash) -> None:
        """A content."""
        ...

    def removed(self, index: int, content_hash: ContentHash, *, is_damaged: bool) -> None:
        """A content is there no more, because the node let go of it."""
        ...

    def materialized(self, index: int, namespace: str, local: Local) -> None:
        """A namespace was switched."""
        ...

    def fell_back(self, index: int, kept: Kept) -> None:
        """What lies on the disk is of an earlier moment, though it said otherwise."""
        ...


@dataclass(slots=True)
class _Job:
    """Something to make durable, and whom to tell."""

    write: Callable[[], bool]
    done: Done | None
    extent: Extent
    file: tuple[ContentHash, bytes] | None = None
    """A content that is to lie under its name before the index has its row."""
    is_apart: bool = False
    """What local software reads is no part of the one transaction of the index."""


class SimDisk(Kept):
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
        super().__init__()
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
        self._limits = USUAL_LIMITS
        self._space = Space(self._limits)
        self.free_bytes = ROOMY_BYTES
        """What others leave of it."""
        self.is_failing = False
        """Whether every write fails."""
        self.ailments = Ailments()
        self.traps: dict[int, tuple[str, Callable[[], None]]] = {}
        """Whom to tell when a write comes to a point, by fault."""
        self._lied_since: Kept | None = None
        """What the disk had when it began to say that all is durable."""
        self._lies_of_files = False
        """Whether it lies of contents in files alone."""
        self.hindrances = 0
        """How often it refused or failed because of a fault."""
        self._failures = 0
        self._is_looked_at = False
        """Whether the next look is planned."""
        self.on_space: Callable[[SpaceState], None] | None = None
        """The process that is to hear of it."""
        self._epoch = 0
        """Counts crashes: what belongs to an earlier one is void."""

    def wipe(self) -> None:
        """All that was kept is gone."""
        self.restore(Kept())

    def persist(self, effect: Persist, done: Done) -> None:
        """Make a `Persist` durable."""
        extent = replace(extent_of_persist(effect), size=4_096)
        self._put(_Job(lambda: self._commit(effect.changes), done, extent))

    def store(self, content_hash: ContentHash, data: bytes, done: Done) -> None:
        """Make a verified content durable."""
        extent = Extent(size=len(data))
        job = _Job(lambda: self._store(content_hash, data), done, extent, (content_hash, data))
        self._put(job)

    def remove(self, effect: Remove) -> None:
        """Drop a content; of a damaged one nothing is kept that anybody looks at."""
        content_hash = effect.content_hash

        def drop() -> bool:
            self.contents.pop(content_hash, None)
            self.sizes.pop(content_hash, None)
            self.verified.pop(content_hash, None)
            self.rotten.discard(content_hash)
            self._tap.removed(self._index, content_hash, is_damaged=effect.is_damaged)
            return True

        self._put(_Job(drop, None, Extent(removes=content_hash)))

    def is_sound(self, content_hash: ContentHash) -> bool | None:
        """Whether a content is what its name says, also where there is none any more; None where
        that cannot be told now."""
        if self.ailments.fails("read"):
            return None
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

    def has_room(self, size: int) -> bool:
        """Whether a content of this size would fit, as far as anybody can tell from outside."""
        return self._space.shortage(size, self._usage()) is None

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

    def limit(self, quota_bytes: int) -> None:
        """The next process may use so much."""
        self._limits = replace(USUAL_LIMITS, quota_bytes=quota_bytes)
        self._space = Space(self._limits)
        self._look_later()

    def flip_bits(self, share_ppm: int, chance: Stream) -> int:
        """In a share of the contents kept in files a bit is another; gives how many."""
        filed = [key for key, data in self.contents.items() if len(data) > INLINE_BYTES_MAX]
        struck = [key for key in filed if chance.below(PPM) < share_ppm]
        for key in struck:
            spoiled = bytearray(self.contents[key])
            spoiled[chance.below(len(spoiled))] ^= 1 << chance.below(8)
            self.contents[key] = bytes(spoiled)
        return len(struck)

    def lie(self, *, is_of_files: bool) -> None:
        """From now on nothing is durable that is said to be; or of contents in files nothing is."""
        self._lied_since, self._lies_of_files = self.image(), is_of_files

    def lie_no_more(self) -> None:
        """All that was said to be durable is."""
        self._lied_since = None

    def roll_back(self, image: Kept) -> None:
        """The disk of a machine that is down is that of an earlier moment."""
        self.restore(image)
        self._tap.fell_back(self._index, self)

    @property
    def read_ns(self) -> int:
        """How long a read takes."""
        return self.ailments.lasts_ns(self._costs.read_ns)

    def read(self, content_hash: ContentHash) -> bytes | None:
        """What lies under the name of a content, None if it is not held or cannot be read."""
        return None if self.ailments.fails("read") else self.contents.get(content_hash)

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
        self._come_to("begun", group)
        size = sum(job.extent.size for job in group)
        usual = self._costs.sync_ns + size * self._costs.ns_per_kib // 1_024
        self._world.schedule(
            self._world.now_ns + self.ailments.lasts_ns(usual),
            self._index,
            self._index,
            partial(self._on_written, self._epoch),
        )

    def _on_written(self, epoch: int) -> Happened:
        if epoch != self._epoch:
            return world_event(Kind.DROP, "written by nobody")
        if self.ailments.is_stalled:
            again = partial(self._on_written, epoch)
            self._world.schedule(self._world.now_ns + STALL_NS, self._index, self._index, again)
            return world_event(Kind.DISK, "stalled")
        group, self._group = self._group, []
        is_synced = not self.ailments.fails("sync")
        for job in group:
            self._report(job, ok=self._write(job) if is_synced else self._fail())
        self._come_to("written", group)
        if self._jobs or self._next_local:
            self._begin()
        return world_event(Kind.DISK, f"commit {len(group)}")

    def _come_to(self, point: str, group: list[_Job]) -> None:
        if not self.traps:
            return
        what = "local" if any(job.is_apart for job in group) else "commit"
        for place, on_point in list(self.traps.values()):
            if place == f"{what}_{point}":
                on_point()

    def _write(self, job: _Job) -> bool:
        if self.is_failing or self.ailments.fails("write"):
            return self._fail()
        return job.write()

    def _fail(self) -> bool:
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
        """The machine is without power. Of the writes under way the index has all or none; a
        content it has was whole before, one it has not is absent, cut after some sector, or whole,
        and of no use; each namespace local software reads is the old or the new; the rest never
        began."""
        group, self._group = self._group, []
        self._jobs.clear()
        self._next_local.clear()
        self._epoch += 1
        self._space = Space(self._limits)  # what was told, was told to the process that ended
        is_committed = bool(group) and self._stream.below(2)
        for job in group:
            if self._stream.below(2) if job.is_apart else is_committed:
                job.write()
            elif job.file is not None:
                self._tear(*job.file)
        if self._lied_since is not None:
            self._fall_back(self._lied_since)

    def _tear(self, content_hash: ContentHash, data: bytes) -> None:
        """What lies under a name after a write that was not synced."""
        if content_hash in self.sizes:
            return  # the same, whole, was there before, and no name was given to what came
        left = self._left_of(data)
        if left is not None:
            self.contents[content_hash] = left

    def _left_of(self, data: bytes) -> bytes | None:
        drawn = self._stream.below(3)
        if drawn == 0:
            return None
        sectors = -(-len(data) // SECTOR_BYTES)
        return data if drawn == 1 else data[: SECTOR_BYTES * self._stream.below(sectors + 1)]

    def _fall_back(self, before: Kept) -> None:
        """It had lied: of all it took since, what lies here is by chance."""
        if self._lies_of_files:
            for content_hash, data in list(self.contents.items()):
                if content_hash not in before.contents and len(data) > INLINE_BYTES_MAX:
                    self._lose(content_hash, data)
        else:
            shown = {name: local for name, local in self.local.items() if self._stream.below(2)}
            self.restore(before)
            self.local |= shown
        self._tap.fell_back(self._index, self)
        self._lied_since = self.image()

    def _lose(self, content_hash: ContentHash, data: bytes) -> None:
        """A file the index has, and that was never synced."""
        left = self._left_of(data)
        if left is None:
            del self.contents[content_hash]
            self.rotten.add(content_hash)
            return
        is_reserved = self._stream.below(2)  # what was not written of it is zero
        self.contents[content_hash] = left + bytes(len(data) - len(left)) * is_reserved

    def _store(self, content_hash: ContentHash, data: bytes) -> bool:
        known = self._shared.setdefault(content_hash, data)
        self.contents[content_hash] = known if known == data else data
        self.sizes[content_hash] = len(data)
        self.verified.pop(content_hash, None)
        self.rotten.discard(content_hash)
        self._tap.durable_content(self._index, content_hash)
        return True

    def _materialize(self, effect: Materialize) -> bool:
        is_done = self.switch(effect)
        if is_done:
            self._tap.materialized(self._index, effect.namespace, self.local[effect.namespace])
        return is_done

    def _commit(self, changes: tuple[Change, ...]) -> bool:
        for verified in self.commit(changes):
            floor = self.floor_of(verified.manifest.namespace.text)
            self._tap.durable_manifest(self._index, verified, floor)
        self._tap.committed(self._index, changes)
        return True
