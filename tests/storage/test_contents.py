"""Content files: under a final name there is a whole, durable file or nothing."""

import os
import stat
from hashlib import sha256
from pathlib import Path

import pytest

from fabgossip.errors import StorageError
from fabgossip.model.ids import ContentHash
from fabgossip.storage.contents import QUARANTINED_MAX, ContentFiles
from fabgossip.storage.syncing import Syncing

DATA = b"some content " * 2_000
HASH = ContentHash(sha256(DATA).digest())
OTHER = ContentHash(sha256(b"another").digest())


@pytest.fixture
def files(tmp_path: Path) -> ContentFiles:
    made = ContentFiles(tmp_path, Syncing())
    made.prepare()
    return made


def left_behind(folder: Path) -> list[Path]:
    return [one for one in folder.rglob("*") if one.is_file() or one.is_symlink()]


def store(files: ContentFiles, content_hash: ContentHash, data: bytes) -> None:
    incoming = files.open_incoming(content_hash, len(data))
    incoming.write_at(0, data)
    assert files.adopt([(incoming, content_hash)]) == (None,)


def test_nothing_stands_under_the_final_name_before_it_is_adopted(files: ContentFiles) -> None:
    incoming = files.open_incoming(HASH, len(DATA))
    assert not files.path_of(HASH).exists()
    half = len(DATA) // 2
    incoming.write_at(half, DATA[half:])
    incoming.write_at(0, DATA[:half])
    assert not files.path_of(HASH).exists()
    files.adopt([(incoming, HASH)])
    assert files.path_of(HASH).read_bytes() == DATA


def test_an_adopted_content_is_readable_by_its_owner_only_and_not_writable(
    files: ContentFiles,
) -> None:
    store(files, HASH, DATA)
    assert stat.S_IMODE(files.path_of(HASH).stat().st_mode) == 0o400
    assert stat.S_IMODE(files.path_of(HASH).parent.stat().st_mode) == 0o700


def test_the_space_is_reserved_before_the_first_byte(files: ContentFiles, tmp_path: Path) -> None:
    """A disk that is full says so at the start, not after 200 MiB."""
    incoming = files.open_incoming(HASH, 1 << 20)
    (path,) = left_behind(tmp_path)
    assert path.stat().st_size == 1 << 20
    assert path.stat().st_blocks * 512 >= 1 << 20
    incoming.drop()


def test_a_size_no_disk_has_fails_and_leaves_nothing(files: ContentFiles, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"\[Errno"):
        files.open_incoming(HASH, 1 << 60)
    assert left_behind(tmp_path) == []


def test_a_dropped_content_leaves_nothing(files: ContentFiles, tmp_path: Path) -> None:
    incoming = files.open_incoming(HASH, len(DATA))
    incoming.write_at(0, DATA)
    incoming.drop()
    incoming.drop()
    assert left_behind(tmp_path) == []


def test_two_transfers_of_one_content_do_not_meet(files: ContentFiles) -> None:
    first, second = (files.open_incoming(HASH, len(DATA)) for _ in range(2))
    first.write_at(0, DATA)
    second.write_at(0, b"x" * len(DATA))
    files.adopt([(first, HASH)])
    second.drop()
    assert files.path_of(HASH).read_bytes() == DATA


def test_an_empty_content_is_a_file_too(files: ContentFiles) -> None:
    store(files, OTHER, b"")
    assert files.path_of(OTHER).read_bytes() == b""


def test_a_link_laid_under_the_temporary_name_is_not_followed(
    files: ContentFiles, tmp_path: Path
) -> None:
    """Exclusive creation: a prepared name is refused, whatever it points at."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    (tmp_path / "incoming" / f"{HASH.hex()}.1").symlink_to(victim)
    with pytest.raises(FileExistsError):
        files.open_incoming(HASH, len(DATA))
    assert victim.read_bytes() == b"untouched"


def test_a_link_laid_under_the_final_name_is_not_followed(
    files: ContentFiles, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    files.path_of(HASH).symlink_to(secret)
    with pytest.raises(OSError, match="symbolic links"):
        files.open_content(HASH)


@pytest.mark.parametrize("threads", [1, 2])
def test_what_cannot_be_made_durable_is_not_renamed_and_holds_up_nothing_else(
    tmp_path: Path, threads: int
) -> None:
    files = ContentFiles(tmp_path, Syncing(threads))
    files.prepare()
    good, bad = files.open_incoming(HASH, len(DATA)), files.open_incoming(OTHER, 7)
    good.write_at(0, DATA)
    os.close(bad._descriptor)  # noqa: SLF001 - stands for a disk that fails at fsync
    fault, none = files.adopt([(bad, OTHER), (good, HASH)])
    assert isinstance(fault, OSError)
    assert none is None
    assert files.path_of(HASH).read_bytes() == DATA
    assert not files.path_of(OTHER).exists()
    bad._descriptor = -1  # noqa: SLF001
    bad.drop()


def test_a_failed_rename_leaves_no_final_name(files: ContentFiles) -> None:
    incoming = files.open_incoming(HASH, len(DATA))
    incoming.write_at(0, DATA)
    files.path_of(HASH).mkdir()
    (fault,) = files.adopt([(incoming, HASH)])
    assert isinstance(fault, OSError)
    assert files.path_of(HASH).is_dir()


def test_all_are_synced_before_the_first_has_its_name_and_each_folder_once(
    files: ContentFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In turn they would share no commit of the file system."""
    done: list[str] = []
    real_sync, real_rename = os.fsync, Path.rename

    def sync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_sync(descriptor)

    def rename(path: Path, target: Path) -> Path:
        done.append("rename")
        return real_rename(path, target)

    neighbor = ContentHash(HASH[:1] + OTHER[1:])
    group = [(files.open_incoming(one, 1), one) for one in (HASH, neighbor, OTHER)]
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "rename", rename)
    assert files.adopt(group) == (None, None, None)
    assert done == ["file"] * 3 + ["rename"] * 3 + ["folder"] * 2


def test_what_an_earlier_process_left_half_written_is_removed(
    files: ContentFiles, tmp_path: Path
) -> None:
    store(files, OTHER, b"another")
    files.open_incoming(HASH, len(DATA)).close()
    ContentFiles(tmp_path, Syncing()).prepare()
    assert left_behind(tmp_path) == [files.path_of(OTHER)]


@pytest.mark.parametrize("name", ["notes.mark", "ab.mark", f"{HASH.hex()}.mark.mark", "notes"])
def test_what_somebody_else_put_there_goes_and_is_named(
    files: ContentFiles, tmp_path: Path, name: str
) -> None:
    """No mark of ours, so no content: it must not stop the start, nor touch what is marked."""
    files.mark([HASH])
    (tmp_path / "incoming" / name).touch()
    again = ContentFiles(tmp_path, Syncing())
    assert again.prepare() == (name,)
    assert again.marked() == (HASH,)
    assert left_behind(tmp_path) == [tmp_path / "incoming" / f"{HASH.hex()}.mark"]


def test_a_file_of_another_size_is_lacking_as_one_that_is_gone(files: ContentFiles) -> None:
    store(files, HASH, DATA)
    assert not files.lacks(HASH, len(DATA))
    assert files.lacks(HASH, len(DATA) + 1)
    files.remove(HASH)
    assert files.lacks(HASH, len(DATA))


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "objects").write_bytes(b"")
    with pytest.raises(StorageError, match="content folders"):
        ContentFiles(tmp_path, Syncing()).prepare()


def test_removing_twice_is_no_fault(files: ContentFiles) -> None:
    store(files, HASH, DATA)
    files.remove(HASH)
    files.remove(HASH)
    with pytest.raises(FileNotFoundError):
        files.open_content(HASH)


def test_a_damaged_file_is_set_aside_and_so_many_of_them_at_most(
    files: ContentFiles, tmp_path: Path
) -> None:
    """The newest stay; what rests in the index, or is gone, has no file."""
    files.set_aside(OTHER)
    names = [ContentHash(sha256(b"%d" % number).digest()) for number in range(QUARANTINED_MAX + 3)]
    for one in names:
        store(files, one, b"damaged")
        files.set_aside(one)
        assert not files.path_of(one).exists()
    left = {one.name for one in (tmp_path / "quarantine").iterdir()}
    assert len(left) == QUARANTINED_MAX
    assert names[-1].hex() in left
