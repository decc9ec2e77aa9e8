"""Making what was written durable: one file, one folder, or many at once.

Decides: how many fsyncs are under way at once.
Keeps: what came back without an error is durable on a disk that honours fsync; each failure is told
of the one it is of; a failed fsync is never retried.
Must not know: what lies in a file.

Each fsync waits for a commit of the file system's journal. Asked for one after another, a group
waits for as many commits; asked for together they share them: 128 files of 20 KB on ext4 took
0.62 s in turn and 0.06 s by 16 threads (2026-11, 4 ms an fsync).
"""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

SYNC_THREADS: Final = 8
"""Fsyncs a daemon has under way at once: of its 64 tasks the worker threads have 40 (*start*)."""


class Syncing:
    """Makes groups durable, by so many threads; by one, it is the calling thread."""

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads

    def sync(self, descriptors: Sequence[int]) -> tuple[OSError | None, ...]:
        """Make the bytes of open files durable; gives what went wrong with each. Blocks."""
        if self._threads == 1 or len(descriptors) < 2:
            return tuple(map(_synced, descriptors))
        # Made for each group: threads cost 0.05 ms each, and nothing is left to be stopped.
        with ThreadPoolExecutor(min(self._threads, len(descriptors))) as threads:
            return tuple(threads.map(_synced, descriptors))

    def sync_folders(self, folders: Iterable[Path]) -> dict[Path, OSError]:
        """Make renames and removals inside folders durable, each folder once; gives what went
        wrong, by folder. Blocks."""
        opened: dict[Path, int] = {}
        failed: dict[Path, OSError] = {}
        try:
            for folder in dict.fromkeys(folders):
                try:
                    opened[folder] = _open_folder(folder)
                except OSError as error:
                    failed[folder] = error
            for folder, fault in zip(opened, self.sync(tuple(opened.values())), strict=True):
                if fault is not None:
                    failed[folder] = fault
        finally:
            for descriptor in opened.values():
                os.close(descriptor)
        return failed


def _synced(descriptor: int) -> OSError | None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        return error
    return None


def _open_folder(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def sync_folder(folder: Path) -> None:
    """Make renames and removals inside a folder durable; raises `OSError`."""
    descriptor = _open_folder(folder)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
