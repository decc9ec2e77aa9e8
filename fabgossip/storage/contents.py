"""Contents above 16 KiB as files named by their hash.

Decides: the order of steps by which bytes become a content: temporary file, write, fsync, rename,
fsync folder.
Keeps: a file under a final name is whole and durable, and has a row in the index or a mark beside
it; nothing outside the folder is ever written.
Must not know: what a content means, who may have it, whether the bytes are the right ones (its
caller hashed them).

Everything blocks. A failed fsync is never retried: the kernel may have called the pages clean, so
the file is dropped.
"""

import os
import re
import stat
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from fabgossip.errors import StorageError
from fabgossip.model.ids import ContentHash
from fabgossip.storage.syncing import Syncing

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o400
PART_MODE: Final = 0o600
"""Another process may go on with it."""
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
SHARDS: Final = 256
BLOCK_BYTES: Final = 4_096
"""Of the file systems this runs on."""
OBJECTS: Final = "objects"
INCOMING: Final = "incoming"
QUARANTINE: Final = "quarantine"
QUARANTINED_MAX: Final = 64
QUARANTINE_BYTES_MAX: Final = 256 << 20
"""Damaged files kept for who looks into it; the oldest leave (*start*)."""
_MARK: Final = ".mark"
PARTS_MAX: Final = 64
PARTS_BYTES_MAX: Final = 160 << 20
"""Parts that are kept across a start, the newest first: less than a tenth of the usual
quota. A larger content begins anew (*start*)."""
_PART: Final = ".part"
_INCOMING_NAME: Final = re.compile(r"[0-9a-f]{64}\.[0-9]+")
_PART_NAME: Final = re.compile(r"([0-9a-f]{64})\.part")
_MARK_NAME: Final = re.compile(r"([0-9a-f]{64})\.mark")


class IncomingContent:
    """A file being written; `write_at` in any order, then `finish` or `drop`."""

    __slots__ = ("_descriptor", "_on_over", "_path", "is_left")

    def __init__(
        self, path: Path, size: int, on_over: Callable[[], None], *, is_part: bool = False
    ) -> None:
        """`on_over` hears once that it is written or dropped; `is_part`: what an earlier process
        left of it is taken up."""
        self._path = path
        self._on_over = on_over
        self.is_left = False
        """Whether anything of it was here before: nobody has looked at what."""
        try:
            if is_part:
                self._descriptor, self.is_left = _open_part(path, size)
            else:
                self._descriptor = os.open(path, _CREATE, FILE_MODE)
        except OSError:
            on_over()
            raise
        try:
            if size:
                os.posix_fallocate(self._descriptor, 0, size)
        except OSError:
            self.drop()
            raise

    def write_at(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at `offset`; raises `OSError`."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view, offset = view[written:], offset + written

    def read_at(self, offset: int, count: int) -> bytes:
        """At most `count` bytes of what was written, from `offset` on; raises `OSError`."""
        return os.pread(self._descriptor, count, offset)

    @property
    def descriptor(self) -> int:
        """Of the open file."""
        return self._descriptor

    def close(self) -> Path:
        """Close the file, which nobody writes any more, and give its path."""
        os.fchmod(self._descriptor, FILE_MODE)
        os.close(self._descriptor)
        self._descriptor = -1
        self._on_over()
        return self._path

    def drop(self) -> None:
        """Close and remove what was written; what a failing disk keeps goes at the next start."""
        descriptor, self._descriptor = self._descriptor, -1
        with suppress(OSError):
            if descriptor >= 0:
                self._on_over()
                os.close(descriptor)
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


class ContentFiles:
    """The folder `objects/`, its 256 shards, and `incoming/` beside it."""

    def __init__(self, folder: Path, syncing: Syncing) -> None:
        self._syncing = syncing
        self._objects = folder / OBJECTS
        self._incoming = folder / INCOMING
        self._quarantine = folder / QUARANTINE
        self._count = 0
        self._reserved_bytes = 0
        self._left: dict[ContentHash, int] = {}
        """Sizes of the parts an earlier process left, until they are taken up or go."""
        self._lock = threading.Lock()

    def prepare(self) -> tuple[str, ...]:
        """Make the folders and remove what an earlier process left half-written, but for its marks
        and for parts that may be taken up; gives the names of files somebody else had put there,
        which go as well. Raises `StorageError`."""
        foreign = []
        try:
            for one in (self._objects, self._incoming, self._quarantine):
                one.mkdir(mode=FOLDER_MODE, exist_ok=True)
            for number in range(SHARDS):
                (self._objects / f"{number:02x}").mkdir(mode=FOLDER_MODE, exist_ok=True)
            self._left = self._parts_to_keep()
            for left in self._incoming.iterdir():
                part = _PART_NAME.fullmatch(left.name)
                is_kept = part is not None and ContentHash(bytes.fromhex(part[1])) in self._left
                if is_kept or _marked_by(left) is not None:
                    continue
                left.unlink()
                if part is not None:
                    continue
                if not _INCOMING_NAME.fullmatch(left.name):
                    foreign.append(left.name)
        except OSError as error:
            raise StorageError(f"cannot prepare the content folders: {error}") from error
        return tuple(sorted(foreign))

    def _parts_to_keep(self) -> dict[ContentHash, int]:
        """The newest parts, within the limits, by the sizes of their files."""
        found = []
        for path in self._incoming.iterdir():
            name, about = _PART_NAME.fullmatch(path.name), path.lstat()
            if name is not None and _is_own_file(about):
                content_hash = ContentHash(bytes.fromhex(name[1]))
                found.append((about.st_mtime_ns, content_hash, about.st_size))
        kept: dict[ContentHash, int] = {}
        for _, content_hash, size in sorted(found, reverse=True)[:PARTS_MAX]:
            if sum(kept.values()) + size <= PARTS_BYTES_MAX:
                kept[content_hash] = size
        return kept

    def path_of(self, content_hash: ContentHash) -> Path:
        """Where a content rests, whether it is there or not."""
        name = content_hash.hex()
        return self._objects / name[:2] / name

    def lacks(self, content_hash: ContentHash, size: int) -> bool:
        """Whether no file of this size rests under the name of a content; what stands there is not
        read. Where that cannot be told, it is not lacking."""
        try:
            return self.path_of(content_hash).lstat().st_size != size
        except FileNotFoundError:
            return True
        except OSError:
            return False

    def mark(self, contents: Iterable[ContentHash]) -> None:
        """From now on the bytes of these may lie under their names without a row: before they come
        and before they go. Raises `OSError`."""
        for one in contents:
            (self._incoming / f"{one.hex()}{_MARK}").touch(mode=FILE_MODE)

    def unmark(self, contents: Iterable[ContentHash]) -> None:
        """Rows and bytes of these agree again; raises `OSError`."""
        for one in contents:
            (self._incoming / f"{one.hex()}{_MARK}").unlink(missing_ok=True)

    def marked(self) -> tuple[ContentHash, ...]:
        """What an earlier process marked and did not come to unmark, in order."""
        found = (_marked_by(one) for one in sorted(self._incoming.iterdir()))
        return tuple(one for one in found if one is not None)

    def open_incoming(self, content_hash: ContentHash, size: int) -> IncomingContent:
        """Reserve the exact size under a temporary name; raises `OSError` (no space, no inodes)."""
        self._count += 1
        path = self._incoming / f"{content_hash.hex()}.{self._count}"
        self._reserve(size)
        return IncomingContent(path, size, lambda: self._reserve(-size))

    def open_part(self, content_hash: ContentHash, size: int) -> IncomingContent:
        """The part of a content, of which an earlier process may have left something; raises
        `OSError`. There is one for each content: who opens a second one spoils the first."""
        path = self._incoming / f"{content_hash.hex()}{_PART}"
        with self._lock:
            self._left.pop(content_hash, None)
        self._reserve(size)
        return IncomingContent(path, size, lambda: self._reserve(-size), is_part=True)

    def drop_left(self, content_hash: ContentHash) -> None:
        """Nobody takes up what an earlier process left of a content; raises `OSError`."""
        with self._lock:
            is_left = self._left.pop(content_hash, None) is not None
        if is_left:
            (self._incoming / f"{content_hash.hex()}{_PART}").unlink(missing_ok=True)

    def drop_all_left(self) -> None:
        """The same of every content; raises `OSError`."""
        for content_hash in tuple(self._left):
            self.drop_left(content_hash)

    def _reserve(self, size: int) -> None:
        """Files are begun in the loop, and end wherever their last byte is written."""
        with self._lock:
            self._reserved_bytes += size

    @property
    def reserved_bytes(self) -> int:
        """Of files on their way, and of parts nobody has taken up."""
        with self._lock:
            return self._reserved_bytes + sum(map(rounded, self._left.values()))

    def free(self) -> tuple[int, int]:
        """Bytes and inodes the file system has left for this process; raises `OSError`."""
        found = os.statvfs(self._objects)
        return found.f_bavail * found.f_frsize, found.f_favail

    def adopt(
        self, finished: Iterable[tuple[IncomingContent, ContentHash]]
    ) -> tuple[OSError | None, ...]:
        """Make whole, hashed files durable under their names: all synced, all renamed, each folder
        synced once. Gives what went wrong with each: it may not be counted as held, and what lies
        under its name has no row."""
        rows = tuple(finished)
        faults = list(self._syncing.sync([incoming.descriptor for incoming, _ in rows]))
        for place, (incoming, content_hash) in enumerate(rows):
            if faults[place] is None:
                try:
                    incoming.close().rename(self.path_of(content_hash))
                except OSError as error:
                    faults[place] = error
        paths = [self.path_of(content_hash).parent for _, content_hash in rows]
        renamed = [path for path, fault in zip(paths, faults, strict=True) if fault is None]
        failed = self._syncing.sync_folders(renamed)
        return tuple(fault or failed.get(path) for path, fault in zip(paths, faults, strict=True))

    def open_content(self, content_hash: ContentHash) -> int:
        """A descriptor to read a content with `os.pread`; raises `OSError` if it is not there."""
        return os.open(self.path_of(content_hash), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def set_aside(self, content_hash: ContentHash) -> None:
        """Take the damaged file of a content away from its name, and keep it for a while; raises
        `OSError`. A content that rests in the index, or is gone, has none."""
        with suppress(FileNotFoundError):
            self.path_of(content_hash).rename(self._quarantine / content_hash.hex())
        found = [(one.stat(), one) for one in self._quarantine.iterdir()]
        found.sort(key=lambda row: (row[0].st_ctime_ns, row[1].name), reverse=True)
        size = 0
        for number, (about, path) in enumerate(found, 1):
            size += rounded(about.st_size)
            if number > QUARANTINED_MAX or size > QUARANTINE_BYTES_MAX:
                path.unlink()

    def remove(self, content_hash: ContentHash) -> None:
        """Remove the bytes of a content whose row is gone."""
        self.path_of(content_hash).unlink(missing_ok=True)


def _open_part(path: Path, size: int) -> tuple[int, bool]:
    """A descriptor, and whether anything was there. What is not a file of ours alone, of this very
    size, is no part of it and goes."""
    try:
        return os.open(path, _CREATE, PART_MODE), False
    except FileExistsError:
        about = path.lstat()
    if _is_own_file(about) and about.st_size == size:
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC), True
    path.unlink()
    return os.open(path, _CREATE, PART_MODE), False


def _is_own_file(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1


def rounded(size: int) -> int:
    """What a file of this size takes on a disk."""
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def _marked_by(path: Path) -> ContentHash | None:
    """The content a file in `incoming/` marks; None if it is none of our marks."""
    name = _MARK_NAME.fullmatch(path.name)
    return None if name is None else ContentHash(bytes.fromhex(name[1]))
