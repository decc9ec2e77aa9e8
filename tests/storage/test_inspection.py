"""A state folder nobody serves: each fault is named, looking changes nothing, and what is sound is
taken up by a new index."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest

from fabgossip.model.ids import ContentHash, NodeId
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import Pin, PutHead, PutPin
from fabgossip.storage.contents import INCOMING, OBJECTS, ContentFiles
from fabgossip.storage.index import INDEX_NAME, NodeIndex
from fabgossip.storage.inspection import Grade, inspect, rebuild_index
from fabgossip.storage.materialized import LocalState, LocalVersion
from fabgossip.storage.rows import PutContent
from fabgossip.storage.syncing import Syncing
from tests.core.artifacts import routes

OWN = NodeId("n1")
DATA = [b"some content %d " % number * 2_000 for number in range(3)]
HASHES = [ContentHash(sha256(one).digest()) for one in DATA]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three contents in files."""
    files, index = ContentFiles(tmp_path, Syncing()), NodeIndex(tmp_path / INDEX_NAME)
    files.prepare()
    index.open(OWN)
    with closing(index):
        for content_hash, data in zip(HASHES, DATA, strict=True):
            incoming = files.open_incoming(content_hash, len(data))
            incoming.write_at(0, data)
            files.adopt([(incoming, content_hash)])
            index.commit([PutContent(content_hash=content_hash, size=len(data), inline=None)])
    tmp_path.chmod(0o751)
    return tmp_path


def path_of(folder: Path, number: int = 0) -> Path:
    return ContentFiles(folder, Syncing()).path_of(HASHES[number])


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(one.relative_to(folder)): one.read_bytes()
        for one in sorted(folder.rglob("*"))
        if one.is_file() and "sqlite-" not in one.name
    }


def change(folder: Path) -> None:
    path = path_of(folder)
    path.chmod(0o600)
    path.write_bytes(b"x" + DATA[0][1:])


def overwrite_index(folder: Path) -> None:
    (folder / INDEX_NAME).write_bytes(b"no database at all " * 300)


FAULTS: dict[str, tuple[Callable[[Path], object], str, Grade]] = {
    "a file is gone": (lambda one: path_of(one).unlink(), "files that are gone", Grade.WARN),
    "a file is damaged": (change, "damaged files", Grade.WARN),
    "a file nothing names": (
        lambda one: (one / "objects" / "ab" / ("ab" * 32)).touch(),
        "files nothing names",
        Grade.WARN,
    ),
    "a foreign file": (
        lambda one: (one / "objects" / "ab" / "notes").touch(), "foreign files", Grade.FAIL,
    ),
    "a link": (
        lambda one: (one / "objects" / "ab" / ("ab" * 32)).symlink_to(one),
        "foreign files",
        Grade.FAIL,
    ),
    "a file of another user": (
        lambda one: os.chown(path_of(one), 12_345, -1),
        "files of another user",
        Grade.FAIL,
    ),
    "the index is none": (overwrite_index, "index", Grade.FAIL),
    "others may write": (lambda one: one.chmod(0o777), "state folder", Grade.FAIL),
    "something was set aside": (
        lambda one: (one / "quarantine" / "x").touch(), "quarantine", Grade.WARN,
    ),
}  # fmt: skip


IS_ROOT: Final = os.geteuid() == 0


@pytest.mark.parametrize(
    "name", [one for one in FAULTS if IS_ROOT or one != "a file of another user"]
)
def test_each_fault_is_named_with_what_to_do_and_looking_changes_nothing(
    folder: Path, name: str
) -> None:
    spoil, subject, grade = FAULTS[name]
    spoil(folder)
    before = everything(folder)
    wrong = [one for one in inspect(folder, hashes=True) if one.grade is not Grade.OK]
    assert [(one.subject.startswith(subject), one.grade) for one in wrong] == [(True, grade)]
    assert wrong[0].next_step
    assert everything(folder) == before


def test_a_sound_folder_has_no_fault_and_only_hashing_finds_a_changed_byte(folder: Path) -> None:
    assert {one.grade for one in inspect(folder, hashes=True)} == {Grade.OK}
    change(folder)
    assert {one.grade for one in inspect(folder, hashes=False)} == {Grade.OK}


def test_a_new_index_knows_what_is_sound_and_the_old_one_is_kept(folder: Path) -> None:
    overwrite_index(folder)
    change(folder)
    (folder / "objects" / "ab" / "notes").touch()
    rebuilt = rebuild_index(folder, OWN)
    assert (rebuilt.adopted, rebuilt.damaged, rebuilt.foreign) == (2, 1, 1)
    assert (folder / rebuilt.aside).read_bytes().startswith(b"no database")
    index = NodeIndex(folder / INDEX_NAME)
    index.open(OWN)
    with closing(index):
        assert {one for one, _ in index.loose()} == set(HASHES[1:])
        assert index.is_rebuilt()
        index.begin()
        assert not index.is_rebuilt()
    assert not path_of(folder).exists()
    again = rebuild_index(folder, OWN)
    assert again.aside != rebuilt.aside
    assert again.adopted == 2


def test_what_local_shows_and_no_head_names_is_found(folder: Path) -> None:
    artifact = routes()
    namespace = artifact.manifest.namespace.text
    local = LocalState(folder, Syncing())
    local.prepare()
    version = LocalVersion(
        manifest=artifact.manifest, envelope=artifact.envelope, source=artifact.content,
        settings=None, keep_versions=0, activate=True,
    )  # fmt: skip
    assert local.switch((version,)) == (None,)
    subject = "current in local/ that nothing names"
    (found,) = (one for one in inspect(folder, hashes=False) if one.subject == subject)
    assert (found.grade, found.detail) == (Grade.WARN, f"1: {namespace}")
    index = NodeIndex(folder / INDEX_NAME)
    index.open(OWN)
    with closing(index):
        index.commit([PutHead(verified=artifact.verified)])
    (found,) = (one for one in inspect(folder, hashes=False) if one.subject == subject)
    assert found.grade is Grade.OK


def test_a_new_index_has_no_pins_and_those_of_the_old_one_are_told(folder: Path) -> None:
    """Nobody tells them again: an operator who does not know makes none anew."""
    pin = Pin(
        pin_id=1, content_hash=HASHES[0], namespace="routes/edge", owner="uid:0", reason="a drill",
        until=UnixTime(2_000_000_000),
    )  # fmt: skip
    index = NodeIndex(folder / INDEX_NAME)
    index.open(OWN)
    with closing(index):
        index.commit([PutPin(pin=pin)])
    assert rebuild_index(folder, OWN).orders == ((pin,), ())
    assert rebuild_index(folder, OWN).orders == ((), ())
    overwrite_index(folder)
    assert rebuild_index(folder, OWN).orders is None


NOBODY: Final = 65_534


@contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """As somebody else than the daemon's user: what root may, nobody may not."""
    before, mode = os.geteuid(), folder.stat().st_mode
    folder.chmod(0)
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)
        folder.chmod(mode)


@pytest.mark.parametrize("place", ["", OBJECTS, INCOMING])
def test_who_may_not_read_a_folder_is_told_so(place: str, folder: Path) -> None:
    with unprivileged(folder / place):
        (found,) = inspect(folder, hashes=False)
    assert found.grade is Grade.FAIL
    assert "cannot be read: Permission denied" in found.detail
    assert found.next_step == "as root, or as the daemon's user"
