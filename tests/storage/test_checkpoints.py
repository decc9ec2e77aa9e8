"""The checkpoint file: lines that read back, a bounded number, whatever a crash leaves."""

import errno
import os
from pathlib import Path

import pytest

from fabgossip.errors import StorageError
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import KeptCheckpoint
from fabgossip.storage.checkpoints import FILE_NAME, KEPT, CheckpointFile, read_envelopes


def kept(size: int) -> KeptCheckpoint:
    return KeptCheckpoint(
        size=size, head=bytes(32), wall=UnixTime(7), envelope=b"envelope %d" % size
    )


def names(folder: Path) -> list[bytes]:
    return list(read_envelopes(folder / FILE_NAME))


def test_a_line_is_an_object_whose_envelope_reads_back(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path)
    assert file.open() is None
    file.append(kept(3))
    assert (tmp_path / FILE_NAME).read_text() == (
        '{"checkpoint":"656e76656c6f70652033","head":"' + "00" * 32 + '","size":3,"wall":7}\n'
    )
    assert names(tmp_path) == [b"envelope 3"]
    assert CheckpointFile(tmp_path).open() == b"envelope 3"


def test_the_oldest_half_leaves_when_there_are_twice_as_many_as_kept(tmp_path: Path) -> None:
    for sizes in (range(1, KEPT), range(KEPT, 2 * KEPT + 2)):
        file = CheckpointFile(tmp_path)
        file.open()
        for size in sizes:
            file.append(kept(size))
    expected = [b"envelope %d" % size for size in range(KEPT + 1, 2 * KEPT + 2)]
    assert names(tmp_path) == expected


def test_half_a_line_is_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = CheckpointFile(tmp_path)
    file.append(kept(1))
    with monkeypatch.context() as patched:
        real = os.pwrite

        def half(descriptor: int, view: memoryview, offset: int) -> int:
            real(descriptor, view[: len(view) // 2], offset)
            raise OSError(errno.ENOSPC, "no space")

        patched.setattr(os, "pwrite", half)
        with pytest.raises(StorageError):
            file.append(kept(2))
    assert names(tmp_path) == [b"envelope 1"]
    again = CheckpointFile(tmp_path)
    assert again.open() == b"envelope 1"
    for one in (file, again):
        one.append(kept(3))
        assert names(tmp_path) == [b"envelope 1", b"envelope 3"]


@pytest.mark.parametrize(
    "line", [b"[1]\n", b"{}\n", b'{"checkpoint":"zz"}\n', b"\xff\n", b"[" * 5_000 + b"\n"]
)
def test_a_line_that_is_none_is_said_and_set_aside_at_the_next_start(
    line: bytes, tmp_path: Path
) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(line)
    with pytest.raises(StorageError, match=rf"{FILE_NAME}:1: no checkpoint"):
        read_envelopes(path)
    file = CheckpointFile(tmp_path)
    assert file.open() is None
    file.append(kept(1))
    assert names(tmp_path) == [b"envelope 1"]
    assert path.with_suffix(".damaged").read_bytes() == line
