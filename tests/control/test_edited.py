"""Files of the authority folder that somebody edited by hand: said by file and field."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.published import PublishedFolder
from fabgossip.control.revoking import RevocationBook, RevocationRow, read_book, write_book
from fabgossip.errors import ControlError
from fabgossip.model.ids import ClusterId, PlatformId
from tests.control.fabric import NOW, node

ROW = RevocationRow(
    kind="NODE", value="ab" * 32, subject="n1", reason="lost", since_epoch=1, since=NOW
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    authority = AuthorityFolder(tmp_path / "authority")
    authority.create(PlatformId("demo-x"), ClusterId("prod"), NOW, ())
    authority.save_node(node("n1"))
    write_book(authority.folder / "revocations.json", RevocationBook((ROW,)))
    return authority.folder


def edit(path: Path, key: str, value: object) -> None:
    table = json.loads(path.read_bytes())
    (table if isinstance(table, dict) else table[0])[key] = value
    path.write_text(json.dumps(table))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("kind", "NODES", r"rows\[0\]: kind 'NODES': expected .*NODE"),
        ("kind", 7, r"rows\[0\]\.kind: expected text"),
        ("value", "ab", r"rows\[0\]: value 'ab'"),
        ("value", "AB" * 32, r"rows\[0\]: value 'AB"),
        ("since_epoch", 0, r"rows\[0\]\.since_epoch: 0 is below"),
        ("since", -1, r"rows\[0\]\.since: "),
        ("until", 2**53, r"rows\[0\]\.until: "),
        ("lifted_in", "2", r"rows\[0\]\.lifted_in: "),
    ],
)
def test_the_book_of_revocations(key: str, value: object, words: str, folder: Path) -> None:
    path = folder / "revocations.json"
    assert read_book(path).rows == (ROW,)
    edit(path, key, value)
    with pytest.raises(ControlError, match=f"{path}: {words}"):
        read_book(path)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("manifest_hash", "../../../etc/passwd", r"heads\[0\]: manifest_hash "),
        ("content_hash", "ab", r"heads\[0\]: content_hash "),
        ("window", ["ab"], r"heads\[0\]: window "),
        ("delivered", 1, r"heads\[0\]\.delivered: "),
    ],
)
def test_the_list_of_heads(key: str, value: object, words: str, folder: Path) -> None:
    path = folder / "heads.json"
    edit(path, key, value)
    with pytest.raises(ControlError, match=f"{path}: {words}"):
        PublishedFolder(folder).newest()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [("roles", ["Bad Role"], "name"), ("addresses", ["here"], "address"), ("zone", 1, "zone")],
)
def test_what_is_registered_of_a_node(key: str, value: object, words: str, folder: Path) -> None:
    path = folder / "nodes" / "n1.json"
    edit(path, key, value)
    with pytest.raises(ControlError, match=f"{path}: .*{words}"):
        AuthorityFolder(folder).nodes()


Spoil = Callable[[Path], None]
SPOILT: dict[str, tuple[Spoil, str]] = {
    "no heads": (lambda folder: (folder / "heads.json").unlink(), "heads.json"),
    "a copy in the chain": (
        lambda folder: (folder / "trust" / "1 (copy).envelope").touch(),
        "1 \\(copy\\).envelope",
    ),
}


@pytest.mark.parametrize(("spoil", "words"), SPOILT.values(), ids=SPOILT)
def test_what_is_missing_or_too_much(spoil: Spoil, words: str, folder: Path) -> None:
    spoil(folder)
    with pytest.raises(ControlError, match=words):
        AuthorityFolder(folder).is_bundle_due(NOW)
