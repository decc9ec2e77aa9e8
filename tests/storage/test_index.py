"""The node's index: what is written together lands together, and a floor never sinks."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabgossip.errors import StorageError
from fabgossip.model.artifact import Order
from fabgossip.model.ids import ContentHash, NodeId
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import (
    DropHeldBack,
    DropIncrement,
    KeptCheckpoint,
    PutCheckpoints,
    PutClaimsSeen,
    PutEvidence,
    PutGrantUse,
    PutHead,
    PutHeldBack,
    PutIncrement,
    PutMemory,
    PutTimeFloor,
    PutTrust,
    StoredTrust,
)
from fabgossip.storage.index import NodeIndex
from fabgossip.storage.rows import DropContent, PutContent, PutVerified, Row
from fabgossip.storage.schema import SCHEMA_VERSION
from tests.core.artifacts import Artifact, increment, node_snapshot, peers, record, routes
from tests.core.test_holdbacks import held_back

OWN = NodeId("n1")
NAME = routes().manifest.namespace.text


def opened(folder: Path) -> NodeIndex:
    index = NodeIndex(folder / "index.db")
    index.open(OWN)
    return index


@pytest.fixture
def index(tmp_path: Path) -> NodeIndex:
    return opened(tmp_path)


def put(artifact: Artifact) -> PutHead:
    return PutHead(verified=artifact.verified)


def content_of(artifact: Artifact, *, inline: bool = True) -> PutContent:
    return PutContent(
        content_hash=artifact.content_hash,
        size=len(artifact.content),
        inline=artifact.content if inline else None,
    )


def nothing(_: ContentHash) -> bytes | None:
    return None


def test_a_head_and_its_floor_land_together_and_survive(index: NodeIndex, tmp_path: Path) -> None:
    index.commit([put(routes(7))])
    index.close()
    again = opened(tmp_path)
    (head,) = again.heads(nothing)
    assert (head.envelope, head.order) == (routes(7).envelope, Order(2, 7))
    assert [(one.namespace, one.order) for one in again.floors()] == [(NAME, Order(2, 7))]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_a_floor_never_sinks_whatever_heads_are_put(versions: list[int]) -> None:
    index = NodeIndex(Path(":memory:"))
    index._connection = sqlite3.connect(":memory:", isolation_level=None)  # noqa: SLF001
    index._migrate()  # noqa: SLF001
    for count, version in enumerate(versions, 1):
        index.commit([put(routes(version))])
        assert [(one.namespace, one.order) for one in index.floors()] == [
            (NAME, Order(2, max(versions[:count])))
        ]


def test_a_failed_transaction_leaves_nothing_of_it(index: NodeIndex) -> None:
    """The second row is refused by the database: the first must not stand alone."""
    index.commit([put(routes(7))])
    broken = PutContent(content_hash=ContentHash(b"x"), size=None, inline=None)  # type: ignore[arg-type]
    with pytest.raises(StorageError, match="NOT NULL"):
        index.commit([put(routes(8)), content_of(routes(8)), broken])
    assert [(one.namespace, one.order) for one in index.floors()] == [(NAME, Order(2, 7))]
    assert index.content(routes(8).content_hash) is None
    index.commit([put(routes(9))])
    assert [(one.namespace, one.order) for one in index.floors()] == [(NAME, Order(2, 9))]


def test_a_folder_of_another_node_is_refused(index: NodeIndex, tmp_path: Path) -> None:
    index.close()
    with pytest.raises(StorageError, match="data folder of node n1, this is n2"):
        NodeIndex(tmp_path / "index.db").open(NodeId("n2"))


def test_an_index_of_a_newer_schema_is_refused_and_left_untouched(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE of_the_future (x)")
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    before = sha256(path.read_bytes()).digest()
    with pytest.raises(StorageError, match="newer fabgossip"):
        NodeIndex(path).open(OWN)
    assert sha256(path.read_bytes()).digest() == before


@pytest.mark.parametrize("damage", ["no database", "a page overwritten"])
def test_a_damaged_file_is_named_and_what_to_do(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "index.db"
    if damage == "no database":
        path.write_bytes(b"this was never a database" * 100)
    else:
        opened(tmp_path).close()
        data = bytearray(path.read_bytes())
        data[100:4_096] = b"\xff" * (4_096 - 100)
        path.write_bytes(data)
    with pytest.raises(StorageError, match=r"index\.db: .*fabgossip doctor"):
        opened(tmp_path)


READS: dict[str, tuple[str, Callable[[NodeIndex], object]]] = {
    "heads": ("head", lambda index: index.heads(nothing)),
    "floors": ("floor", NodeIndex.floors),
    "the trust chain": ("trust", NodeIndex.trust_chain),
    "revocations": ("revoked", NodeIndex.revoked),
    "checkpoints": ("checkpoint", NodeIndex.checkpoints),
    "a content": ("content", lambda index: index.content(routes().content_hash)),
    "orphans": ("content", NodeIndex.orphans),
    "evidence": ("evidence", NodeIndex.begin),
    "grants used": ("grant_use", NodeIndex.begin),
    "claims seen": ("claims_seen", NodeIndex.highest_epoch),
}


@pytest.mark.parametrize(("table", "read"), READS.values(), ids=READS)
def test_a_damaged_page_shows_when_it_is_read_and_is_named(
    tmp_path: Path, table: str, read: Callable[[NodeIndex], object]
) -> None:
    """Opening looks at a few pages only; whoever reads the others is told which file it is."""
    opened(tmp_path).close()
    path = tmp_path / "index.db"
    with closing(sqlite3.connect(path)) as db:
        (page,) = db.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)
        ).fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    index = opened(tmp_path)
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    with pytest.raises(StorageError, match=r"index\.db: "):
        read(index)


def test_the_index_is_its_owner_s_alone(index: NodeIndex, tmp_path: Path) -> None:
    assert (tmp_path / "index.db").stat().st_mode & 0o077 == 0


def test_increments_stay_until_they_are_dropped_whatever_becomes_of_the_head(
    index: NodeIndex,
) -> None:
    older, newer = increment(7), increment(8)
    index.commit([put(node_snapshot(7)), PutIncrement(verified=older.verified)])
    index.commit([put(node_snapshot(8)), PutIncrement(verified=newer.verified)])
    found = [(one.is_increment, one.order.version) for one in index.heads(nothing)]
    assert found == [(False, 8), (True, 7), (True, 8)]
    name = older.manifest.namespace.text
    index.commit(
        [DropIncrement(namespace=name, manifest_hash=older.verified.manifest_hash), put(routes(7))]
    )
    assert [one.envelope for one in index.heads(nothing) if one.is_increment] == [newer.envelope]


def test_the_content_of_an_increment_is_no_orphan(index: NodeIndex) -> None:
    one = increment(7)
    index.commit([PutIncrement(verified=one.verified), content_of(one)])
    assert index.orphans() == ()
    (row,) = index.heads(nothing)
    assert row.held_bytes == len(one.content)


def test_an_increment_raises_no_floor(index: NodeIndex) -> None:
    index.commit([PutIncrement(verified=increment(7).verified)])
    assert index.floors() == ()


def test_what_fabgossip_reads_comes_with_its_content_and_the_rest_without(
    index: NodeIndex,
) -> None:
    directory = peers(record("n1"))
    index.commit([put(directory), content_of(directory), put(routes()), content_of(routes())])
    asked = []

    def content(content_hash: ContentHash) -> bytes | None:
        asked.append(content_hash)
        return directory.content

    rows = {one.envelope: one for one in index.heads(content)}
    assert rows[directory.envelope].content == directory.content
    assert rows[routes().envelope].content is None
    assert all(one.held_bytes is not None for one in rows.values())
    assert asked == [directory.content_hash]


def test_a_content_that_cannot_be_read_back_is_not_held(index: NodeIndex) -> None:
    """The row says it is here, the file does not: it will be fetched again."""
    directory = peers(record("n1"))
    index.commit([put(directory), content_of(directory)])
    (row,) = index.heads(nothing)
    assert row.held_bytes is None


def test_orphans_are_what_no_head_names(index: NodeIndex) -> None:
    index.commit([put(routes(7)), content_of(routes(7)), content_of(routes(8))])
    assert index.orphans() == (routes(8).content_hash,)
    index.commit([DropContent(content_hash=routes(8).content_hash)])
    assert index.orphans() == ()


def test_a_content_rests_inline_or_as_a_file(index: NodeIndex) -> None:
    index.commit([content_of(routes(7)), content_of(routes(8), inline=False)])
    inline, file = (index.content(routes(version).content_hash) for version in (7, 8))
    assert inline is not None
    assert file is not None
    assert (inline.inline, file.inline) == (routes(7).content, None)
    assert file.size == len(routes(8).content)


def test_the_trust_chain_comes_back_in_order(index: NodeIndex) -> None:
    for version in (3, 10, 2):
        index.commit([PutTrust(version=version, envelope=b"e%d" % version, content=b"c")])
    assert [one.version for one in index.trust_chain()] == [2, 3, 10]
    assert index.trust_chain()[0] == StoredTrust(version=2, envelope=b"e2", content=b"c")


def test_what_was_counted_or_reached_never_sinks(index: NodeIndex, tmp_path: Path) -> None:
    """Written late, or again after the disk refused it, the smaller one changes nothing: not the
    time floor, not the claims seen of a node, not the uses of a grant, not the starts."""
    n2, grant = NodeId("n2"), b"g" * 16
    high, low = UnixTime(900), UnixTime(800)

    def rows(unix: UnixTime, epoch: int, version: int, uses: int) -> list[Row]:
        return [
            PutTimeFloor(unix=unix),
            PutClaimsSeen(node_id=n2, epoch=epoch, version=version),
            PutGrantUse(grant_id=grant, uses=uses, forget_at=UnixTime(10_000 + uses)),
            PutMemory(is_whole=True, generation=uses),
        ]

    index.begin()
    index.commit(rows(high, 2, 5, 4))
    for late in (rows(low, 2, 4, 3), rows(low, 1, 9, 1)):
        index.commit(late)
    index.close()
    memory = opened(tmp_path).memory()
    assert memory.time_floor == high
    assert memory.claims_seen == ((n2, 2, 5),)
    assert [(one.uses, one.forget_at) for one in memory.grant_uses] == [(4, 10_004)]
    assert memory.generation == 4


def test_what_was_committed_survives_a_process_that_just_ends(
    index: NodeIndex, tmp_path: Path
) -> None:
    """Without a close, the log beside the file holds it."""
    index.commit([put(routes(7))])
    again = NodeIndex(tmp_path / "index.db")
    again.open(OWN)
    assert [(one.namespace, one.order) for one in again.floors()] == [(NAME, Order(2, 7))]


def test_checkpoints_of_a_node_are_replaced_whole_and_come_back_in_order(
    index: NodeIndex, tmp_path: Path
) -> None:
    def kept(*sizes: int) -> tuple[KeptCheckpoint, ...]:
        return tuple(
            KeptCheckpoint(
                size=size,
                head=bytes([size]) * 32,
                wall=UnixTime(size),
                envelope=b"e%d" % size,
                is_evidence=size > 8,
            )
            for size in sizes
        )

    n2, n3 = NodeId("n2"), NodeId("n3")
    index.commit([PutCheckpoints(node_id=n3, kept=kept(7, 5, 6))])
    index.commit([PutCheckpoints(node_id=n2, kept=kept(1, 2))])
    index.commit([PutCheckpoints(node_id=n3, kept=kept(9, 4))])
    index.close()
    again = opened(tmp_path)
    expected = [PutCheckpoints(node_id=n2, kept=kept(1, 2))]
    expected += [PutCheckpoints(node_id=n3, kept=kept(9, 4))]
    assert list(again.checkpoints()) == expected
    again.commit([PutCheckpoints(node_id=n2, kept=())])
    assert list(again.checkpoints()) == expected[1:]


def test_the_content_of_evidence_that_binds_is_no_orphan_and_is_found_at_a_start(
    index: NodeIndex, tmp_path: Path
) -> None:
    """A snapshot covers although another one of its order is known; routes only contradict."""
    snapshot, other = node_snapshot(7), routes(7, content=b"of no use")
    evidence = [PutEvidence(verified=one.verified) for one in (snapshot, other)]
    index.commit([*evidence, content_of(snapshot), content_of(other)])
    index.close()
    again = opened(tmp_path)
    assert again.orphans() == (other.content_hash,)
    held = {snapshot.content_hash: snapshot.content}
    assert again.evidence_contents(held.get) == (snapshot.content,)
    assert again.evidence_contents(nothing) == ()


def test_an_index_of_schema_1_is_carried_over_with_its_evidence(tmp_path: Path) -> None:
    opened(tmp_path).close()
    path = tmp_path / "index.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("ALTER TABLE evidence DROP COLUMN content_hash")
        db.execute("DROP TABLE increment")
        db.execute("DROP TABLE pin")
        db.execute("DROP TABLE held_back")
        db.execute("DROP INDEX content_filed")
        db.execute("ALTER TABLE content DROP COLUMN verified_at")
        db.execute("INSERT INTO evidence VALUES ('a', x'00', x'01')")
        db.execute("PRAGMA user_version=1")
        db.commit()
    for _ in range(2):
        index = opened(tmp_path)
        assert index.memory().evidence == (b"\x01",)
        assert index.orphans() == ()
        index.commit([PutEvidence(verified=routes(7).verified)])
        index.commit([put(routes(7))])
        index.close()


def test_an_index_of_schema_2_loses_the_one_increment_it_kept_of_a_namespace(
    tmp_path: Path,
) -> None:
    index = opened(tmp_path)
    index.commit([put(node_snapshot(7))])
    index.close()
    one = increment(7)
    values = (one.manifest.namespace.text, 1, 2, 7, "snapshot_increment", b"hash", one.envelope)
    with closing(sqlite3.connect(tmp_path / "index.db")) as db:
        db.execute("DROP TABLE increment")
        db.execute("DROP TABLE pin")
        db.execute("DROP TABLE held_back")
        db.execute("DROP INDEX content_filed")
        db.execute("ALTER TABLE content DROP COLUMN verified_at")
        db.execute("INSERT INTO head VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        db.execute("PRAGMA user_version=2")
        db.commit()
    for _ in range(2):
        index = opened(tmp_path)
        assert next(row.envelope for row in index.heads(nothing)) == node_snapshot(7).envelope
        index.commit([PutIncrement(verified=one.verified)])
        assert [row.is_increment for row in index.heads(nothing)] == [False, True]
        index.close()


def test_what_is_used_follows_every_row_and_a_failed_commit_changes_nothing(
    index: NodeIndex,
) -> None:
    """Files count by their blocks; of a content that came twice one file lies there."""
    empty = index.used_bytes()
    one = PutContent(content_hash=ContentHash(b"1" * 32), size=20_000, inline=None)
    other = PutContent(content_hash=ContentHash(b"2" * 32), size=20_481, inline=None)
    index.commit([one, other, one])
    assert index.used_bytes() - empty == 20_480 + 24_576
    broken = PutContent(content_hash=ContentHash(b"3" * 32), size=None, inline=None)  # type: ignore[arg-type]  # no row
    with pytest.raises(StorageError):
        index.commit([DropContent(content_hash=one.content_hash), broken])
    assert index.used_bytes() - empty == 20_480 + 24_576
    index.commit([DropContent(content_hash=one.content_hash)])
    assert index.used_bytes() - empty == 24_576


def test_what_was_put_back_is_remembered_and_forgotten_and_an_index_of_schema_4_has_none(
    tmp_path: Path,
) -> None:
    index = opened(tmp_path)
    index.commit([put(routes(8))])
    index.close()
    with closing(sqlite3.connect(tmp_path / "index.db")) as db:
        db.execute("DROP TABLE held_back")
        db.execute("PRAGMA user_version=4")
        db.commit()
    one = replace(held_back("b"), before=routes(8).verified.manifest_hash)
    for expected in ((), (held_back("a"), one)):
        index = opened(tmp_path)
        assert index.held_back() == expected
        assert index.head_order(routes().manifest.namespace.text) == routes(8).manifest.order
        rows = (held_back("b", 6), one, held_back("a"))
        index.commit([PutHeldBack(held_back=each) for each in rows])
        index.close()
    index = opened(tmp_path)
    index.commit([DropHeldBack(namespace="a")])
    assert index.held_back() == (one,)
    assert index.head_order("a") is None


def test_an_index_of_schema_3_is_carried_over_with_what_it_holds(tmp_path: Path) -> None:
    one = routes(7, content=b"large routes " * 2_000)
    index = opened(tmp_path)
    row = PutContent(content_hash=one.content_hash, size=len(one.content), inline=None)
    index.commit([put(one), row])
    index.close()
    with closing(sqlite3.connect(tmp_path / "index.db")) as db:
        db.execute("DROP TABLE pin")
        db.execute("DROP TABLE held_back")
        db.execute("DROP INDEX content_filed")
        db.execute("ALTER TABLE content DROP COLUMN verified_at")
        db.execute("PRAGMA user_version=3")
        db.commit()
    for _ in range(2):
        index = opened(tmp_path)
        assert index.pins() == ()
        assert [head.verified_at for head in index.heads(nothing)] == [0]
        index.close()
    index = opened(tmp_path)
    index.commit([PutVerified(content_hash=one.content_hash, at=UnixTime(77))])
    assert [head.verified_at for head in index.heads(nothing)] == [77]
    index.commit([row])
    assert [head.verified_at for head in index.heads(nothing)] == [0]
