"""Checkpoint files: signed checkpoints of an audit log, one per line, newest last.

Decides: the form of a line; how many are kept.
Keeps: an append that returned is durable; at most 1,024 lines.
Must not know: whether a checkpoint is believed.

A line is a JSON object. `checkpoint`, the envelope in hexadecimal, is all that is read back: the
rest is for people, and says nothing that is not signed inside.
"""

import json
import os
from pathlib import Path
from typing import Final

from fabgossip.errors import StorageError
from fabgossip.model.persistence import KeptCheckpoint
from fabgossip.storage.records import FILE_MODE, packed_line, write_at
from fabgossip.storage.syncing import sync_folder

FILE_NAME: Final = "checkpoints.jsonl"
KEPT: Final = 512
"""Checkpoints left when the file is shortened, at twice as many: eight hours at one a minute, at
least (*start*)."""
FILE_BYTES_MAX: Final = 32 << 20
"""More than any file of ours, or of whoever collected some, can have."""


def checkpoint_line(kept: KeptCheckpoint) -> bytes:
    """The line of a checkpoint."""
    row = {
        "checkpoint": kept.envelope.hex(),
        "head": kept.head.hex(),
        "size": kept.size,
        "wall": kept.wall,
    }
    return packed_line(row)


def read_envelopes(path: Path) -> tuple[bytes, ...]:
    """The envelopes of a checkpoint file in order; a last line without its end is left out.

    Raises:
        StorageError: it cannot be read, or a line is none of ours.
    """
    envelopes, strange = split_lines(path)
    if strange:
        raise strange[0]
    return envelopes


def split_lines(path: Path) -> tuple[tuple[bytes, ...], tuple[StorageError, ...]]:
    """The same, and what is wrong with each line that is none of ours; raises `StorageError` where
    the file cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
    lines = data[: data.rfind(b"\n") + 1].splitlines()
    envelopes = [_envelope(line) for line in lines]
    strange = [number for number, one in enumerate(envelopes, 1) if one is None]
    return (
        tuple(one for one in envelopes if one is not None),
        tuple(StorageError(f"{path}:{number}: no checkpoint") for number in strange),
    )


def _envelope(line: bytes) -> bytes | None:
    try:
        row = json.loads(line)
        return bytes.fromhex(row["checkpoint"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


class CheckpointFile:
    """The checkpoints of a node's own log, kept beside it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._lines = 0
        self._bytes = 0
        """As far as they are durable: what a failed write left behind is written over."""

    def open(self) -> bytes | None:
        """Find the end; gives the newest envelope, None if there is none. A file that does not read
        is set aside, since a log has to go on.

        Raises:
            StorageError: the folder cannot be used.
        """
        try:
            if not self._path.exists():
                return None
            try:
                envelopes = read_envelopes(self._path)
            except StorageError:
                self._path.rename(self._path.with_suffix(".damaged"))
                return None
            self._lines = len(envelopes)
            self._bytes = self._path.read_bytes().rfind(b"\n") + 1
        except OSError as error:
            raise StorageError(f"{self._path}: {error.strerror}") from error
        return envelopes[-1] if envelopes else None

    def append(self, kept: KeptCheckpoint) -> None:
        """Make a checkpoint durable; raises `StorageError`."""
        try:
            if self._lines >= 2 * KEPT:
                self._shorten()
            self._write(checkpoint_line(kept))
            self._lines += 1
        except OSError as error:
            raise StorageError(f"{self._path}: {error.strerror}") from error

    def _write(self, line: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        is_new = not self._bytes
        descriptor = os.open(self._path, flags, FILE_MODE)
        try:
            os.ftruncate(descriptor, self._bytes)
            write_at(descriptor, line, self._bytes)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            sync_folder(self._path.parent)
        self._bytes += len(line)

    def _shorten(self) -> None:
        """Keep the newest half, in a file that is whole before it takes the old one's place."""
        data = self._path.read_bytes()[: self._bytes]
        kept = b"".join(data.splitlines(keepends=True)[-KEPT:])
        fresh = self._path.with_suffix(".new")
        with open(fresh, "wb", opener=_private) as file:
            file.write(kept)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(self._path)
        sync_folder(self._path.parent)
        self._lines, self._bytes = KEPT, len(kept)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, FILE_MODE)
