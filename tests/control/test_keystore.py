"""Private keys on disk: encrypted, their owner's alone, never overwritten."""

import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fabgossip.control.keystore import (
    KeyFolder,
    artifact_key_from_seed,
    new_artifact_key,
    new_node_key,
    replace_private,
    write_private,
)
from fabgossip.errors import ControlError

KEY = artifact_key_from_seed(b"s" * 32)
SECRET = b"a passphrase"


@pytest.mark.slow
def test_a_key_comes_back_with_its_passphrase_and_with_no_other(tmp_path: Path) -> None:
    KeyFolder(tmp_path, SECRET).add("claims", KEY)
    (path,) = tmp_path.glob("claims/*.pem")
    assert b"ENCRYPTED" in path.read_bytes()
    found = KeyFolder(tmp_path, SECRET).ring().find(KEY.key_id)
    assert found is not None
    assert found.public_key == KEY.public_key
    for wrong in (b"another", None):
        with pytest.raises(ControlError, match="passphrase"):
            KeyFolder(tmp_path, wrong).ring()


@contextmanager
def full_disk() -> Iterator[None]:
    """The system takes the first 40 bytes of a file and refuses the next. Not for longer than the
    call that is looked at: what the tests themselves report may go to a file, too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_no_half_of_a_key(tmp_path: Path) -> None:
    """Every later command reads all keys there are, and stops at one that is none."""
    with pytest.raises(ControlError, match="File too large"), full_disk():
        KeyFolder(tmp_path, None).add("claims", KEY)
    assert [one.name for one in tmp_path.rglob("*")] == ["claims"]


def test_a_full_disk_leaves_the_file_that_was_to_be_replaced(tmp_path: Path) -> None:
    paper = tmp_path / "node.crt"
    paper.write_bytes(b"before")
    with pytest.raises(ControlError, match="File too large"), full_disk():
        replace_private(paper, b"after" * 9)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("node.crt", b"before")]


def test_what_a_killed_command_left_is_in_nobody_s_way(tmp_path: Path) -> None:
    (tmp_path / "node.key.new").write_bytes(b"ha")
    write_private(tmp_path / "node.key", b"whole")
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("node.key", b"whole")]


def test_files_are_their_owner_s_alone(tmp_path: Path) -> None:
    KeyFolder(tmp_path, None).add("claims", KEY)
    (path,) = tmp_path.glob("claims/*.pem")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    KeyFolder(tmp_path, None).add("claims", KEY)
    with pytest.raises(ControlError, match="File exists"):
        KeyFolder(tmp_path, None).add("claims", KEY)
    with pytest.raises(ControlError, match="File exists"):
        write_private(next(tmp_path.glob("claims/*.pem")), b"")


def test_keys_are_found_by_role_and_id(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path, None)
    other = new_artifact_key()
    folder.add("claims", KEY)
    folder.add("policy", other)
    folder.add_node_ca(new_node_key(), b"certificate")
    ring = folder.ring()
    assert [one.key_id for one in ring.of_role("policy")] == [other.key_id]
    assert ring.of_role("nobody") == ()
    assert ring.find(new_artifact_key().key_id) is None
    assert folder.node_ca(b"certificate").curve.name == "secp256r1"


def test_a_key_of_another_kind_in_a_role_is_refused(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path, None)
    folder.add_node_ca(new_node_key(), b"certificate")
    (tmp_path / "node-ca").rename(tmp_path / "claims")
    with pytest.raises(ControlError, match="not an Ed25519 key"):
        folder.ring()


def test_root_keys_that_are_not_where_they_are_said_to_be(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path, None)
    with pytest.raises(ControlError, match="nowhere: no such folder"):
        folder.ring((tmp_path / "nowhere",))
    with pytest.raises(ControlError, match=r"no \*.pem in it"):
        folder.ring((tmp_path,))


def test_the_key_of_a_seed_is_always_the_same() -> None:
    assert artifact_key_from_seed(b"s" * 32).public_key == KEY.public_key
    assert new_artifact_key().public_key != new_artifact_key().public_key
