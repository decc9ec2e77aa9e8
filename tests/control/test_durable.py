"""What the control plane wrote before a power cut is there after it, in the order it matters.

A file's name is as durable as the last fsync of its folder: the disk here is the real one, looked
at each time a folder is synced.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fabgossip.control import files
from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.node_folder import NodePlaces, enroll_node, renew_node
from fabgossip.control.rotation import RotationWish, rotate
from fabgossip.errors import ControlError
from fabgossip.model.ids import ClusterId, PlatformId
from tests.control.fabric import NOW, node

PLACES = NodePlaces(listen="127.0.0.1:1", storage="state", socket="s")
Lost = Callable[[Path], list[Path]]


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> Lost:
    """What below a folder, itself included, a power cut would take now."""
    names: dict[Path, set[str]] = {}
    synced: set[Path] = set()
    real = os.fsync

    def noting(descriptor: int) -> None:
        real(descriptor)
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.is_dir():
            names[path] = set(os.listdir(path))
        synced.add(path)

    def find(folder: Path) -> list[Path]:
        paths = [folder, *folder.rglob("*")]
        return [one for one in paths if one.name not in names.get(one.parent, ())]

    monkeypatch.setattr(os, "fsync", noting)
    return find


def made(folder: Path) -> AuthorityFolder:
    authority = AuthorityFolder(folder / "some" / "authority")
    authority.create(PlatformId("demo-x"), ClusterId("prod"), NOW, ())
    return authority


def test_a_new_authority_is_whole(tmp_path: Path, lost: Lost) -> None:
    made(tmp_path)
    assert lost(tmp_path / "some") == []


def test_new_private_keys_are_there_before_the_bundle_that_names_them(
    tmp_path: Path, lost: Lost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle in force whose roots are gone is the end of the chain. The keepers moved the old
    roots away, so the folder is new."""
    authority = made(tmp_path)
    keys = authority.folder / "keys"
    (keys / "root").rename(tmp_path / "kept")
    real, looked = files.replace_one, []

    def put(path: Path, data: bytes) -> None:
        if path.name == "2.envelope":
            looked.append(lost(keys))
        real(path, data)

    monkeypatch.setattr(files, "replace_one", put)
    rotate(authority, RotationWish(roots=True, node_ca=True), NOW, (tmp_path / "kept",))
    assert looked == [[]]
    assert len(list((keys / "root").iterdir())) == 3


def test_a_node_s_folder_is_whole(tmp_path: Path, lost: Lost) -> None:
    authority = made(tmp_path)
    folder = tmp_path / "nodes" / "n1"
    enroll_node(authority, node("n1"), folder, PLACES, NOW)
    assert lost(tmp_path / "nodes") == []
    renew_node(authority, "n1", folder, NOW)
    assert lost(tmp_path / "nodes") == []


@pytest.mark.parametrize("stands", ["keys/policy", "lock"])
def test_what_stands_in_the_way_is_a_word_about_its_path(stands: str, tmp_path: Path) -> None:
    """Not what the operating system raises, which nobody catches."""
    authority = made(tmp_path)
    path = authority.folder / stands
    if path.exists():
        path.rename(tmp_path / "before")
    path.symlink_to("nowhere/at/all")
    with pytest.raises(ControlError, match=str(path)), authority.locked():
        rotate(authority, RotationWish(roles=("policy",)), NOW)


def test_a_pinned_file_that_is_gone_is_named(tmp_path: Path) -> None:
    authority = made(tmp_path)
    path = authority.folder / "trust" / "bootstrap"
    path.unlink()
    with pytest.raises(ControlError, match=str(path)):
        authority.bootstrap()
