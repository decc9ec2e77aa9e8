"""Whatever ends a start before it listens is found without starting, and all of it at once."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from fabgossip.daemon.config import Config, read_config
from fabgossip.daemon.driver import read_clocks
from fabgossip.daemon.papers import EXPIRED
from fabgossip.daemon.preflight import preflight
from fabgossip.errors import FabgossipError
from fabgossip.model.ids import NodeId
from fabgossip.storage.index import INDEX_NAME, NodeIndex
from fabgossip.storage.rows import PinRow
from tests.daemon import enrolled

Spoil = Callable[[Path], object]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return enrolled.make(tmp_path_factory.mktemp("fabric"))


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    return enrolled.copied(pristine, tmp_path)


def config_of(folder: Path) -> Config:
    return read_config(folder / "fabgossip.toml", None)


def keys_of(folder: Path) -> list[str]:
    return [one.key for one in preflight(config_of(folder), read_clocks()).problems]


def index_of(folder: Path, node: str = "n1") -> NodeIndex:
    (folder / "state").mkdir(exist_ok=True)
    index = NodeIndex(folder / "state" / INDEX_NAME)
    index.open(NodeId(node))
    return index


def pinned_by_others(folder: Path) -> None:
    index = index_of(folder)
    index.put_pin(PinRow(fingerprint="ab" * 32, roots="cd" * 32))
    index.close()


def newer(folder: Path) -> None:
    index_of(folder).close()
    with closing(sqlite3.connect(folder / "state" / INDEX_NAME)) as database:
        database.execute("PRAGMA user_version = 99")


def damaged(folder: Path) -> None:
    (folder / "state").mkdir()
    (folder / "state" / INDEX_NAME).write_bytes(b"no database" * 99)


def swapped_key(folder: Path) -> None:
    identity = folder / "identity"
    (identity / "node.key").write_bytes((identity / "audit.key").read_bytes())


def part_is_a_file(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / "state").mkdir()
        (folder / "state" / name).touch()

    return spoil


def below_a_file(folder: Path) -> None:
    (folder / "file").touch()
    text = (folder / "fabgossip.toml").read_text()
    text = text.replace('path = "state"', 'path = "file/state"')
    (folder / "fabgossip.toml").write_text(text)


def files_below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


SPOILS: dict[str, tuple[Spoil, str]] = {
    "the state folder is a file": (lambda one: (one / "state").touch(), "storage.path"),
    "the state folder lies below a file": (below_a_file, "storage.path"),
    "the contents are a file": (part_is_a_file("objects"), "storage.path"),
    "the local state is a file": (part_is_a_file("local"), "storage.path"),
    "the audit log is a file": (part_is_a_file("audit"), "storage.path"),
    "the socket is a file": (lambda one: (one / "status.sock").touch(), "status.socket"),
    "the state is another node's": (lambda one: index_of(one, "n2").close(), ""),
    "the state is of other roots": (pinned_by_others, "trust.bootstrap"),
    "the state is of a newer release": (newer, ""),
    "the state is no database": (damaged, ""),
    "the key is another than the certificate's": (swapped_key, "identity.private_key"),
    "the claims are no claims": (
        lambda one: (one / "identity" / "claims").write_bytes(b"x"),
        "identity.claims",
    ),
    "the certificate is none": (
        lambda one: (one / "identity" / "node.crt").write_bytes(b"x"),
        "identity.certificate",
    ),
}


@pytest.mark.parametrize("name", SPOILS)
async def test_what_ends_a_start_is_found_before(folder: Path, name: str) -> None:
    spoil, key = SPOILS[name]
    spoil(folder)
    before = files_below(folder)
    assert keys_of(folder) == [key]
    assert files_below(folder) == before, "nothing is made by asking"
    with pytest.RaisesGroup(FabgossipError, allow_unwrapped=True, flatten_subgroups=True):
        async with enrolled.served(folder):
            pass


def test_all_of_it_is_found_at_once(folder: Path) -> None:
    for name in ("the claims are no claims", "the certificate is none", "the socket is a file"):
        SPOILS[name][0](folder)
    (folder / "state").touch()
    assert keys_of(folder) == [
        "identity.certificate", "identity.claims", "storage.path", "status.socket",
    ]  # fmt: skip


async def test_nothing_is_wrong_with_a_node_that_starts_and_while_it_runs(folder: Path) -> None:
    assert keys_of(folder) == []
    assert not (folder / "state").exists()
    async with enrolled.served(folder):
        assert keys_of(folder) == []
    assert keys_of(folder) == []


def test_a_certificate_that_has_ended_is_told_and_ends_no_start(tmp_path: Path) -> None:
    folder = enrolled.make(tmp_path, age_s=8 * 86_400)
    found = preflight(config_of(folder), read_clocks())
    assert found.problems == ()
    assert found.warning == EXPIRED
    assert preflight(config_of(enrolled.make(tmp_path / "new")), read_clocks()).warning == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_found(folder: Path) -> None:
    (folder / "state").mkdir(mode=0o500)
    assert keys_of(folder) == ["storage.path"]
