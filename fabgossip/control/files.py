"""Files of the control plane: old or new after a crash, never between."""

import os
from collections.abc import Iterable
from pathlib import Path

from fabgossip.errors import ControlError


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
        _sync_folder(folder)


def replace_one(path: Path, data: bytes) -> None:
    """Write one file whole; its name is durable only with its folder. Raises `ControlError`."""
    fresh = path.with_name(path.name + ".new")
    try:
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    except OSError as error:
        raise ControlError(f"{path}: {error.strerror}") from error


def _sync_folder(folder: Path) -> None:
    """A rename is durable only with its folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
