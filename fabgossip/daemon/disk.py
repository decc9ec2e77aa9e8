"""One thread that writes: index commits in groups, content files, local state.

Whenever it is free it takes what is queued, as far as a group may reach, and makes it durable
together: all files, all names, all folders, one commit. So a lone write waits for its own fsync
only, and hundreds share one. What is to become the local state follows as a group of its own once
the commit is acknowledged. Nothing is acknowledged before its commit returned, and there is no
timer.
"""

import errno
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Never, TypeVar

import trio

from fabgossip.core.effects import Materialize, Persist, Remove, Scrub
from fabgossip.core.events import FetchFailure
from fabgossip.core.grouping import Extent, extent_of, extent_of_persist, next_group
from fabgossip.core.space import DiskUsage, Space, SpaceLimits, SpaceState
from fabgossip.errors import NoSpaceError, StorageError, WireError
from fabgossip.model.artifact import INLINE_BYTES_MAX, TYPE_RULES, Order, VerifiedManifest
from fabgossip.model.ids import ContentHash
from fabgossip.model.moment import Instant
from fabgossip.storage.contents import ContentFiles, IncomingContent
from fabgossip.storage.index import NodeIndex
from fabgossip.storage.materialized import Fault, LocalState, LocalVersion, has_settings
from fabgossip.storage.rows import DropContent, PutContent, PutVerified, Row
from fabgossip.wire.contents import parse_snapshot

_T = TypeVar("_T")
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)
_GONE: Final = (errno.ENOENT, errno.ELOOP, errno.EIO)
"""No file, a link in its place, or a sector that cannot be read."""


@dataclass(slots=True, eq=False)
class _Job:
    """Something to make durable, and what to call in the loop afterwards."""

    done: Callable[[bool], None]
    extent: Extent
    rows: tuple[Row, ...] = ()
    incoming: tuple[IncomingContent, ContentHash] | None = None
    """A file to be adopted before."""
    is_damaged: bool = False
    """What is removed is set aside."""
    local: Materialize | None = None
    """A change of the local state instead: follows the commits of its group."""

    @property
    def moves(self) -> ContentHash | None:
        """The content of which a file comes or goes."""
        return self.extent.removes if self.incoming is None else self.incoming[1]


class Disk:
    """The node's disk as the loop sees it. All methods are called from the loop."""

    def __init__(
        self,
        index: NodeIndex,
        reader: NodeIndex,
        files: ContentFiles,
        local: LocalState,
        limits: SpaceLimits,
    ) -> None:
        self._index = index
        self._reader = reader
        self.files = files
        self._local = local
        self._jobs: deque[_Job] = deque()
        self._next_local: list[_Job] = []
        """Of the group whose commit was the last thing written."""
        self._wake = threading.Condition()
        self._fault: BaseException | None = None
        self._faulted = trio.Event()
        self._stopping = False
        self._token: trio.lowlevel.TrioToken | None = None
        self._thread = threading.Thread(target=self._work, name="fabgossip-disk", daemon=True)
        self._space = Space(limits)
        self._failures = 0
        """Writes that failed since it was last looked."""
        self._queued_bytes = 0
        self._written_bytes = index.used_bytes() + local.used_bytes
        self.last_error = ""

    def start(self) -> None:
        """Start the writing thread; called once, inside the loop."""
        self._token = trio.lowlevel.current_trio_token()
        self._thread.start()

    def stop(self) -> None:
        """Finish what is queued and end the thread. Blocks."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def takes(self, size: int, *, is_trust: bool) -> bool:
        """Whether a content of this size may come."""
        return self._space.takes(size, self._usage(), is_trust=is_trust)

    def look(self, now: Instant) -> SpaceState:
        """How much space there is, and whether it fails."""
        failures, self._failures = self._failures, 0
        self._space.on_failures(failures, now)
        return self._space.look(self._usage(), now)

    def _usage(self) -> DiskUsage:
        try:
            free_bytes, free_inodes = self.files.free()
        except OSError as error:
            self._on_error(error)
            free_bytes = free_inodes = 0
        used = self._written_bytes + self._queued_bytes + self.files.reserved_bytes
        return DiskUsage(used_bytes=used, free_bytes=free_bytes, free_inodes=free_inodes)

    def is_news(self, state: SpaceState) -> bool:
        """Whether the node has to hear of it."""
        return self._space.is_news(state)

    def on_error(self, error: OSError) -> FetchFailure:
        """A content could not be written, or not even begun; what that is called."""
        self._on_error(error)
        return FetchFailure.STORAGE if error.errno in _NO_SPACE else FetchFailure.DISK

    def _on_error(self, error: OSError | StorageError) -> None:
        """That space is lacking is not the disk's fault."""
        self.last_error = str(error)
        is_full = isinstance(error, OSError) and error.errno in _NO_SPACE
        if not is_full and not isinstance(error, NoSpaceError):
            self._failures += 1

    def persist(self, effect: Persist, done: Callable[[bool], None]) -> None:
        """Make a `Persist` durable."""
        self._put(_Job(done, extent_of_persist(effect), rows=effect.changes))

    def store_small(
        self, content_hash: ContentHash, data: bytes, done: Callable[[bool], None]
    ) -> None:
        """Make a verified content of up to 1 MiB durable: inline to 16 KiB, above as a file."""
        if len(data) <= INLINE_BYTES_MAX:
            row = PutContent(content_hash=content_hash, size=len(data), inline=data)
            self._put(_Job(done, Extent(size=len(data)), rows=(row,)))
            return
        try:
            incoming = self.files.open_incoming(content_hash, len(data))
        except OSError as error:
            self._on_error(error)
            done(False)  # noqa: FBT003  # the outcome of one disk job, given by position
            return
        try:
            incoming.write_at(0, data)
        except OSError as error:
            incoming.drop()
            self._on_error(error)
            done(False)  # noqa: FBT003  # the outcome of one disk job, given by position
            return
        self.store_file(content_hash, incoming, len(data), done)

    def store_file(
        self,
        content_hash: ContentHash,
        incoming: IncomingContent,
        size: int,
        done: Callable[[bool], None],
    ) -> None:
        """Make a verified, written file durable under its name."""
        row = PutContent(content_hash=content_hash, size=size, inline=None)
        job = _Job(done, Extent(size=size), rows=(row,), incoming=(incoming, content_hash))
        self._put(job)

    def remove(self, effect: Remove) -> None:
        """Drop a content: its row, then its bytes; those of a damaged one are set aside."""
        content_hash = effect.content_hash
        row = DropContent(content_hash=content_hash)
        job = _Job(_unheard, Extent(removes=content_hash), rows=(row,))
        job.is_damaged = effect.is_damaged
        self._put(job)

    def note_verified(self, effect: Scrub, done: Callable[[bool], None]) -> None:
        """Note durably that a content was sound."""
        row = PutVerified(content_hash=effect.content_hash, at=effect.at)
        self._put(_Job(done, Extent(), rows=(row,)))

    def materialize(self, effect: Materialize, done: Callable[[bool], None]) -> None:
        """Switch the local state of a namespace, or withdraw it."""
        self._put(_Job(done, extent_of(effect), local=effect))

    def _put(self, job: _Job) -> None:
        with self._wake:
            self._queued_bytes += job.extent.size
            self._jobs.append(job)
            self._wake.notify()

    def read(self, content_hash: ContentHash) -> bytes | None:
        """A whole content, None if it is not held, cannot be read, or is not what its name says.
        Blocks for a file; inline content costs about 20 us."""
        return self._read(self._reader, content_hash)

    def find_inline(self, content_hash: ContentHash) -> bytes | None:
        """A content that rests in the index, None if it is not held, rests in a file, or cannot be
        read."""
        try:
            row = self._reader.content(content_hash)
        except StorageError:
            return None
        return None if row is None else row.inline

    def _read(self, index: NodeIndex, content_hash: ContentHash) -> bytes | None:
        """Bytes on a disk can rot, or be written by somebody else: they are hashed again."""
        content = self._stored(index, content_hash)
        if content is None or sha256(content).digest() != content_hash:
            return None
        return content

    def has_lost(self, content_hash: ContentHash) -> bool:
        """Whether a content has a row, and its bytes are gone or not what its name says. Where they
        cannot be read for another reason, as in a process out of descriptors, nothing is lost.
        Blocks."""
        return self.is_sound(content_hash) is False

    def lacks(self, content_hash: ContentHash) -> bool:
        """Whether a content has a row, and no file of its size; what stands there is not read.
        Blocks."""
        try:
            row = self._reader.content(content_hash)
        except StorageError:
            return False
        return row is not None and row.inline is None and self.files.lacks(content_hash, row.size)

    def is_sound(self, content_hash: ContentHash) -> bool | None:
        """Whether a content is what its name says, also where there is none any more; None where
        that cannot be told now. Blocks."""
        try:
            content = self._bytes(self._reader, content_hash)
        except OSError as error:
            return False if error.errno in _GONE else None
        except StorageError:
            return None
        return content is None or sha256(content).digest() == content_hash

    def is_shown(self, verified: VerifiedManifest) -> bool:
        """Whether local software finds a version as it was signed. Blocks."""
        manifest, settings = verified.manifest, None
        if has_settings(manifest.artifact_type):
            content = self.read(manifest.content_hash)
            if content is None:
                return True  # nothing to compare it with now
            with suppress(WireError):
                settings = parse_snapshot(content).settings
        return self._local.is_shown(manifest, verified.envelope, settings)

    def _stored(self, index: NodeIndex, content_hash: ContentHash) -> bytes | None:
        try:
            return self._bytes(index, content_hash)
        except (OSError, StorageError):
            return None

    def _bytes(self, index: NodeIndex, content_hash: ContentHash) -> bytes | None:
        """What rests under the name of a content, None if it has no row; raises `OSError`,
        `StorageError`."""
        row = index.content(content_hash)
        if row is None or row.inline is not None:
            return None if row is None else row.inline
        with os.fdopen(self.files.open_content(content_hash), "rb") as file:
            return file.read()

    def _work(self) -> None:
        while True:
            with self._wake:
                while self.is_idle and not self._stopping:
                    self._wake.wait()
                if self.is_idle:
                    return
            try:
                results = self.write_next()
            except BaseException as error:  # noqa: BLE001  # raised again by `report_faults`
                self._in_loop(self._break, error)
                return
            self._report(results)

    def write_next(self) -> list[tuple[Callable[[bool], None], bool]]:
        """Make what is next in line durable; gives whom to tell, and whether it is. Called by the
        writing thread, and by nobody else while that runs. Blocks."""
        results = self._write_next()
        with suppress(StorageError):  # whoever asks for something hears of it
            self._written_bytes = self._index.used_bytes() + self._local.used_bytes
        return [(job.done, ok) for job, ok in results]

    def _write_next(self) -> list[tuple[_Job, bool]]:
        if not self._next_local:
            with self._wake:
                group = next_group(self._jobs, lambda job: job.extent)
                self._queued_bytes -= sum(job.extent.size for job in group)
            self._next_local = [job for job in group if job.local is not None]
            commits = [job for job in group if job.local is None]
            if commits:
                return self._commit(commits)
        local, self._next_local = self._next_local, []
        return self._change_local(local)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be written."""
        return not self._jobs and not self._next_local

    def _commit(self, group: list[_Job]) -> list[tuple[_Job, bool]]:
        """Files first, then one transaction of all whose files are durable."""
        moving = [job for job in group if job.moves is not None]
        failed = self._move(moving)
        try:
            self._index.commit(row for job in group if job not in failed for row in job.rows)
        except (OSError, StorageError) as error:
            self._on_error(error)
            failed = group
        for job in failed:
            if job.incoming is not None:
                job.incoming[0].drop()
        self._tidy_up([job.moves for job in moving if job.moves is not None])
        return [(job, job not in failed) for job in group]

    def _move(self, moving: list[_Job]) -> list[_Job]:
        """Mark what comes and goes, and have it come; gives those that may not be committed."""
        try:
            self.files.mark(job.moves for job in moving if job.moves is not None)
        except OSError as error:
            self._on_error(error)
            return moving
        # Before a sound one takes its name: where the commit fails, the row has no file, which is
        # found by the next look at it.
        for job in moving:
            if job.is_damaged and job.moves is not None:
                with suppress(OSError):  # then it leaves for good with its row
                    self.files.set_aside(job.moves)
        coming = [job for job in moving if job.incoming is not None]
        faults = self.files.adopt(job.incoming for job in coming if job.incoming is not None)
        failed = []
        for job, fault in zip(coming, faults, strict=True):
            if fault is not None:
                self._on_error(fault)
                failed.append(job)
        return failed

    def _tidy_up(self, contents: list[ContentHash]) -> None:
        """Remove the bytes that have no row; where that fails they stay marked, and go when the
        daemon starts again."""
        try:
            drop_loose(self._index, self.files, contents)
        except (OSError, StorageError) as error:
            self.last_error = str(error)

    def _report(self, results: list[tuple[Callable[[bool], None], bool]]) -> None:
        self._in_loop(self._deliver, results)

    def _in_loop(self, call: Callable[[_T], None], argument: _T) -> None:
        assert self._token is not None
        try:
            self._token.run_sync_soon(call, argument)
        except trio.RunFinishedError:
            return

    def _break(self, error: BaseException) -> None:
        """The writing thread has ended by a fault of ours: without it nothing is ever answered."""
        self._fault = error
        self._faulted.set()

    def _deliver(self, results: list[tuple[Callable[[bool], None], bool]]) -> None:
        """Call back whoever asked, in the order they asked. Runs in the loop itself, where an
        exception would end the loop without a word: `report_faults` raises it instead."""
        if self._fault is not None:
            return
        try:
            for done, ok in results:
                done(ok)
        except BaseException as error:  # noqa: BLE001  # raised again by `report_faults`
            self._break(error)

    async def report_faults(self) -> Never:
        """Raise what a callback or the writing thread raised, where the nursery sees it."""
        await self._faulted.wait()
        assert self._fault is not None
        raise self._fault

    def _change_local(self, jobs: list[_Job]) -> list[tuple[_Job, bool]]:
        """Switch all together, then withdraw, each namespace once."""
        faults: dict[int, Fault | None] = {}
        with ExitStack() as opened:
            versions = {}
            for place, job in enumerate(jobs):
                assert job.local is not None
                try:
                    versions[place] = self._local_version(job.local, opened)
                except (OSError, StorageError) as error:
                    faults[place] = error
            switches = {place: one for place, one in versions.items() if one is not None}
            switched = self._local.switch(tuple(switches.values()))
            faults |= zip(switches, switched, strict=True)
        for fault in faults.values():
            self.last_error = self.last_error if fault is None else str(fault)
        return [(job, faults.get(place) is None) for place, job in enumerate(jobs)]

    def _local_version(self, effect: Materialize, opened: ExitStack) -> LocalVersion | None:
        """What to switch to, its content open; None: it was a withdrawal, and is done."""
        if effect.order is None or effect.manifest is None:
            self._local.withdraw(effect.namespace, purge=effect.purge)
            return None
        if effect.is_kept:
            return self._kept_version(effect, opened)
        manifest = effect.manifest
        row = self._index.content(manifest.content_hash)
        if row is None:
            raise StorageError(f"{effect.namespace}: its content is not held")
        settings: bytes | None = None
        source: bytes | int | None
        if row.inline is not None or TYPE_RULES[manifest.artifact_type].is_read:
            source = self._read(self._index, manifest.content_hash)
            if source is None:
                raise StorageError(f"{effect.namespace}: its content is gone from the disk")
            settings = _settings(effect, source)
        else:
            source = self.files.open_content(manifest.content_hash)
            opened.callback(os.close, source)
        return LocalVersion(
            manifest=manifest,
            envelope=effect.envelope,
            source=source,
            settings=settings,
            keep_versions=effect.keep_versions,
            activate=effect.activate,
            is_damaged=effect.is_damaged,
        )

    def _kept_version(self, effect: Materialize, opened: ExitStack) -> LocalVersion:
        """What to switch back to: the content in its own folder, open."""
        assert effect.order is not None
        assert effect.manifest is not None
        source = self._local.open_kept(effect.namespace, effect.order)
        opened.callback(os.close, source)
        is_read = has_settings(effect.manifest.artifact_type)
        return LocalVersion(
            manifest=effect.manifest,
            envelope=effect.envelope,
            source=source,
            settings=_settings(effect, _whole(source)) if is_read else None,
            keep_versions=effect.keep_versions,
            activate=effect.activate,
            is_kept=True,
        )

    def kept_versions(self, namespace: str) -> tuple[tuple[Order, bytes], ...]:
        """The versions of a namespace that local software could be put back to, oldest first, and
        the envelope of each; none where the folder cannot be read. Blocks; from any thread."""
        try:
            return self._local.kept(namespace)
        except OSError:
            return ()


def drop_loose(index: NodeIndex, files: ContentFiles, marked: Iterable[ContentHash]) -> None:
    """Remove the bytes of marked contents that have no row, then the marks. Blocks.

    Raises:
        OSError, StorageError: some are still marked.
    """
    for content_hash in marked:
        if index.content(content_hash) is None:
            files.remove(content_hash)
        files.unmark((content_hash,))


def _unheard(_: bool, /) -> None:  # noqa: FBT001  # the outcome of one disk job, given by position
    """Nobody waits for a removal: what is left is an orphan, removed at the next start."""


def _whole(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _settings(effect: Materialize, content: bytes) -> bytes | None:
    assert effect.manifest is not None
    if not has_settings(effect.manifest.artifact_type):
        return None
    try:
        return parse_snapshot(content).settings
    except WireError as error:
        raise StorageError(f"{effect.namespace}: {error}") from error
