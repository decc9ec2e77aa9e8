"""Files and folders of the control plane: old or new after a crash, never between.

A name is durable only once its folder is: a bundle in force whose new root keys went with a power
cut could never be followed by another.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fabgossip.errors import ControlError
from fabgossip.storage.syncing import sync_folder

FOLDER_MODE: Final = 0o700


def replace_file(path: Path, data: bytes) -> None:
    """Write a file whole and durably in place of the one there; raises `ControlError`."""
    replace_files([(path, data)])


def replace_files(files: Iterable[tuple[Path, bytes]]) -> None:
    """Write files, each whole; all are durable at the end. Raises `ControlError`."""
    folders = set()
    for path, data in files:
        replace_one(path, data)
        folders.add(path.parent)
    for folder in sorted(folders):
        with said(folder):
            sync_folder(folder)


def replace_one(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write one file whole, with `mode` less the umask; its name is durable only with its folder. A
    disk that refuses leaves nothing new. Raises `ControlError`."""
    fresh = path.with_name(path.name + ".new")
    with said(path):
        fresh.unlink(missing_ok=True)  # of a command that was killed
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with os.fdopen(os.open(fresh, flags, mode), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(path)
        finally:
            fresh.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder for its owner alone, durably, and those missing above it; raises
    `ControlError`, also if it exists."""
    missing = [one for one in (path, *path.parents) if not one.exists()]
    with said(path):
        path.mkdir(mode=FOLDER_MODE, parents=True)
        for one in missing:
            sync_folder(one.parent)


def ensure_folder(path: Path) -> None:
    """The same, of one that may be there already; raises `ControlError`."""
    if not path.is_dir():
        make_folder(path)


@contextmanager
def said(path: Path) -> Iterator[None]:
    """What the system refuses, as a word about a path; raises `ControlError`."""
    try:
        yield
    except OSError as error:
        raise ControlError(f"{path}: {error.strerror}") from error
