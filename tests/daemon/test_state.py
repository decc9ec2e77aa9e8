"""The state folder: whatever stands in the way of it is one line that names it."""

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from fabgossip.daemon.state import LockedError, StateFolder
from fabgossip.errors import StorageError
from fabgossip.model.ids import NodeId
from fabgossip.storage.syncing import Syncing

OWN = NodeId("n1")


def file(name: str) -> Callable[[Path], None]:
    def put(folder: Path) -> None:
        folder.mkdir()
        (folder / name).touch()

    return put


def subfolder(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).mkdir(parents=True)


def lock_elsewhere(folder: Path) -> None:
    folder.mkdir()
    (folder / "lock").symlink_to("elsewhere")


OBSTACLES: dict[str, Callable[[Path], None]] = {
    "the folder is a file": Path.touch,
    "the lock is a folder": subfolder("lock"),
    "the lock is a link": lock_elsewhere,
    "the index is a folder": subfolder("index.sqlite"),
    "the objects are a file": file("objects"),
    "a folder came in": subfolder("incoming/left"),
    "the local state is a file": file("local"),
}


@pytest.mark.parametrize("obstruct", OBSTACLES.values(), ids=OBSTACLES)
def test_what_stands_in_the_way_is_a_storage_error(
    tmp_path: Path, obstruct: Callable[[Path], None]
) -> None:
    """The command line knows what to say of that, and of nothing the operating system raises."""
    folder = tmp_path / "state"
    obstruct(folder)
    with pytest.raises(StorageError, match=str(folder)):
        StateFolder(folder, OWN, Syncing())


def test_a_second_process_is_told_who_has_the_folder(tmp_path: Path) -> None:
    with (
        closing(StateFolder(tmp_path, OWN, Syncing())),
        pytest.raises(LockedError, match=f"in use by process {os.getpid()}"),
    ):
        StateFolder(tmp_path, OWN, Syncing())
