"""The file whose first line encrypts the private keys."""

import os
from argparse import Namespace
from pathlib import Path

import pytest

from fabgossip.cli.authority import passphrase_of
from fabgossip.errors import ControlError


def written(folder: Path, data: bytes, mode: int = 0o600) -> Path:
    path = folder / "pass"
    path.write_bytes(data)
    path.chmod(mode)
    return path


def read(path: Path) -> bytes | None:
    return passphrase_of(Namespace(passphrase_file=path))


@pytest.mark.parametrize("data", [b"secret", b"secret\n", b"secret\r\nmore\n", b" s e \n"])
def test_the_first_line_is_the_passphrase(data: bytes, tmp_path: Path) -> None:
    assert read(written(tmp_path, data)) == data.splitlines()[0]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o777])
def test_a_file_others_may_touch_is_refused_with_the_command_that_helps(
    mode: int, tmp_path: Path
) -> None:
    path = written(tmp_path, b"secret", mode)
    with pytest.raises(ControlError, match=f"chmod 600 {path}"):
        read(path)


@pytest.mark.parametrize("data", [b"", b"\n", b"\nsecret"])
def test_an_empty_first_line_is_no_passphrase(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="is empty"):
        read(written(tmp_path, data))


def test_a_file_that_cannot_be_read_is_said_to_be_that(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ControlError, match=f"{path}: cannot be read: "):
            read(path)


def test_a_pipe_of_the_shell_is_taken(tmp_path: Path) -> None:
    """As `--passphrase-file <(command)` gives it."""
    source, sink = os.pipe()
    os.write(sink, b"secret\n")
    os.close(sink)
    assert read(Path(f"/dev/fd/{source}")) == b"secret"
    os.close(source)
