"""The node's own index: heads, floors, contents, trust chain, in one SQLite file.

Decides: what is durable, and in which transaction.
Keeps: a head and its floor land together; floors, claims seen, grant uses and the time floor never
sink within an epoch; a content row exists only for bytes that are durable; nothing is walked at
start.
Must not know: what a manifest says beyond the columns it is filed under.

Everything blocks, and one thread at a time may use it. WAL with `synchronous=FULL`: a commit that
returned survives power loss on a disk that honours fsync.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from fabgossip.errors import NoSpaceError, StorageError
from fabgossip.model.artifact import TRUST_TYPES, TYPE_RULES, ArtifactType, Order
from fabgossip.model.ids import ContentHash, ManifestHash, NodeId
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import (
    HeldBack,
    KeptCheckpoint,
    Pin,
    PutCheckpoints,
    StoredFloor,
    StoredGrantUse,
    StoredHead,
    StoredMemory,
    StoredPin,
    StoredTrust,
)
from fabgossip.storage.contents import BLOCK_BYTES
from fabgossip.storage.row_writing import meta_of, put_meta, write_row
from fabgossip.storage.rows import (
    ContentRow,
    PinRow,
    Row,
)
from fabgossip.storage.schema import (
    FROM_FIRST,
    FROM_FOURTH,
    FROM_SECOND,
    FROM_THIRD,
    SCHEMA,
    SCHEMA_VERSION,
)

CHECKPOINT_BYTES: Final = 16 << 20
COMMITS_PER_LOOK: Final = 64
"""The log's size is looked at this often: at 256 rows a commit it cannot outgrow its bound twice.
"""
BUSY_TIMEOUT_S: Final = 5.0
_READ_TYPES: Final = tuple(one.value for one in ArtifactType if TYPE_RULES[one].is_read)
_HEADS: Final = """
SELECT head.namespace, head.epoch, head.version, head.is_increment, head.artifact_type,
    head.envelope, head.content_hash, content.size, content.verified_at
FROM head LEFT JOIN content USING (content_hash)
ORDER BY head.namespace
"""
_INCREMENTS: Final = """
SELECT increment.namespace, increment.epoch, increment.version, 1, 'snapshot_increment',
    increment.envelope, increment.content_hash, content.size, content.verified_at
FROM increment LEFT JOIN content USING (content_hash)
ORDER BY increment.namespace, increment.epoch, increment.version, increment.manifest_hash
"""
_STEPS: Final = {
    0: SCHEMA,
    1: FROM_FIRST + FROM_SECOND + FROM_THIRD + FROM_FOURTH,
    2: FROM_SECOND + FROM_THIRD + FROM_FOURTH,
    3: FROM_THIRD + FROM_FOURTH,
    4: FROM_FOURTH,
}
"""What makes today's tables of those of an earlier schema."""


class OtherSchemaError(StorageError):
    """An index written by another release, which only a daemon carries over."""


INDEX_NAME: Final = "index.sqlite"
"""In the state folder of a node."""


class NodeIndex:
    """The index of one node."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._commits = 0
        self._filed_bytes = 0

    @property
    def _db(self) -> sqlite3.Connection:
        assert self._connection is not None, "the index is not open"
        return self._connection

    def open(self, node_id: NodeId) -> None:
        """Open or make the index of `node_id`.

        Raises:
            StorageError: not readable, damaged, of another schema, or of another node.
        """
        try:
            self._connection = sqlite3.connect(
                self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._path.chmod(0o600)
            self._refuse_newer()
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA wal_autocheckpoint=0")
            self._migrate()
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._own(node_id)
            self._filed_bytes = self._count_filed()
        except sqlite3.Error as error:
            raise StorageError(
                f"{self._path}: {error}; fabgossip doctor says what to do"
            ) from error

    @contextmanager
    def reading(self) -> Iterator[Self]:
        """Open to read what is there, beside a daemon that may use it: nothing is made, changed
        or carried over.

        Raises:
            StorageError: not readable, damaged.
            OtherSchemaError: of another schema.
        """
        place = f"{self._path.absolute().as_uri()}?mode=ro"
        if not self._path.with_name(self._path.name + "-wal").exists():
            # Nobody writes: unless told so, SQLite makes the files by which writers are known.
            place += "&immutable=1"
        try:
            self._connection = sqlite3.connect(place, uri=True, timeout=BUSY_TIMEOUT_S)
            self._refuse_newer()
            if self._schema_version() != SCHEMA_VERSION:
                raise OtherSchemaError(f"{self._path}: of another release; start its daemon first")
            yield self
        except sqlite3.Error as error:
            raise StorageError(f"{self._path}: {error}") from error
        finally:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _schema_version(self) -> int:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        assert isinstance(version, int)
        return version

    def _refuse_newer(self) -> None:
        """Asked before anything else: even the journal mode is a change to the file."""
        version = self._schema_version()
        if version > SCHEMA_VERSION:
            self._db.close()
            self._connection = None
            raise StorageError(
                f"{self._path}: written by a newer fabgossip (schema {version}); "
                "it is left untouched"
            )

    def owner(self) -> str | None:
        """The node it is of, None before the first start."""
        row = self._db.execute("SELECT value FROM meta WHERE key = 'node_id'").fetchone()
        return None if row is None else str(row[0])

    def _migrate(self) -> None:
        version = self._schema_version()
        if version < SCHEMA_VERSION:
            script = f"BEGIN; {_STEPS[version]} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;"
            self._db.executescript(script)

    def _own(self, node_id: NodeId) -> None:
        self.check_owner(node_id)
        if self.owner() is None:
            self._db.execute("INSERT INTO meta VALUES ('node_id', ?)", (node_id,))

    def check_owner(self, node_id: NodeId) -> None:
        """Raises `StorageError` where it is of another node."""
        if self.owner() not in (None, node_id):
            raise StorageError(
                f"{self._path.parent}: is the data folder of node {self.owner()}, this is "
                f"{node_id}; name another folder in storage.path"
            )

    def close(self) -> None:
        """Checkpoint and close."""
        if self._connection is not None:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._db.close()
            self._connection = None

    def commit(self, rows: Iterable[Row]) -> None:
        """Write all rows in one transaction; durable when it returns.

        Raises:
            StorageError: nothing of it is durable; the caller must not go on as if it were;
                `NoSpaceError` where space is all that lacked.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for row in rows:
                self._filed_bytes += write_row(self._db, row)
            self._db.execute("COMMIT")
            self._checkpoint_if_large()
        except sqlite3.Error as error:
            self._roll_back()
            self._filed_bytes = self._count_filed()
            # Errors of the module itself carry no code of the library.
            is_full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
            kind = NoSpaceError if is_full else StorageError
            raise kind(f"{self._path}: {error}") from error

    def _roll_back(self) -> None:
        """Leave the transaction, unless SQLite left it by itself; raises `StorageError`."""
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise StorageError(f"{self._path}: {error}") from error

    def _checkpoint_if_large(self) -> None:
        self._commits += 1
        if self._commits % COMMITS_PER_LOOK:
            return
        log = self._path.with_name(self._path.name + "-wal")
        if log.exists() and log.stat().st_size > CHECKPOINT_BYTES:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def pins(self) -> tuple[StoredPin, ...]:
        """All pins in order of their numbers, and whether their contents are held."""
        columns = (
            "pin_id, pin.content_hash, namespace, owner, reason, until, content.size, verified_at"
        )
        tables = "pin LEFT JOIN content USING (content_hash)"
        rows = self._rows(f"SELECT {columns} FROM {tables} ORDER BY pin_id")  # noqa: S608  # no input in it
        return tuple(
            StoredPin(
                pin=Pin(
                    pin_id=row[0],
                    content_hash=ContentHash(row[1]),
                    namespace=row[2],
                    owner=row[3],
                    reason=row[4],
                    until=UnixTime(row[5]),
                ),
                held_bytes=row[6],
                verified_at=UnixTime(row[7] or 0),
            )
            for row in rows
        )

    def held_back(self) -> tuple[HeldBack, ...]:
        """What operators put back, in namespace order."""
        return tuple(
            HeldBack(
                namespace=row[0],
                order=Order(row[1], row[2]),
                envelope=row[3],
                before=None if row[4] is None else ManifestHash(row[4]),
                owner=row[5],
                reason=row[6],
                until=UnixTime(row[7]),
            )
            for row in self._rows("SELECT * FROM held_back ORDER BY namespace")
        )

    def head_order(self, namespace: str) -> Order | None:
        """The order of the head of a namespace, None where it has none."""
        question = "SELECT epoch, version FROM head WHERE namespace = ? AND is_increment = 0"
        rows = self._rows(question, namespace)
        return Order(*rows[0]) if rows else None

    def _count_filed(self) -> int:
        found = self._rows(
            f"SELECT sum((size + {BLOCK_BYTES - 1}) / {BLOCK_BYTES}) FROM content "  # noqa: S608  # no input in it
            "WHERE inline IS NULL"
        )
        return int(found[0][0] or 0) * BLOCK_BYTES

    def used_bytes(self) -> int:
        """What its pages, and the files its rows stand for, take. Pages that are free inside the
        file are used by what comes next. Cost: a few microseconds."""
        ((pages,),) = self._rows("PRAGMA page_count")
        ((free,),) = self._rows("PRAGMA freelist_count")
        ((page_bytes,),) = self._rows("PRAGMA page_size")
        return int(pages - free) * int(page_bytes) + self._filed_bytes

    def _rows(self, question: str, *values: object) -> list[Any]:
        """All rows of an answer. A damaged page shows only when it is read: raises
        `StorageError`."""
        try:
            return self._db.execute(question, values).fetchall()
        except sqlite3.Error as error:
            raise StorageError(f"{self._path}: {error}") from error

    def content(self, content_hash: ContentHash) -> ContentRow | None:
        """The row of a content, None if it is not held.

        Raises:
            StorageError: it cannot be read.
        """
        rows = self._rows("SELECT size, inline FROM content WHERE content_hash = ?", content_hash)
        return ContentRow(size=rows[0][0], inline=rows[0][1]) if rows else None

    def orphans(self) -> tuple[ContentHash, ...]:
        """Contents no head, no increment and no evidence names: what a crash left between a new
        head and the removal of the old content."""
        rows = self._rows(
            "SELECT content_hash FROM content "
            "WHERE content_hash NOT IN (SELECT content_hash FROM head) "
            "AND content_hash NOT IN (SELECT content_hash FROM increment) "
            "AND content_hash NOT IN (SELECT content_hash FROM trust) "
            "AND content_hash NOT IN (SELECT content_hash FROM pin) "
            "AND content_hash NOT IN "
            "(SELECT content_hash FROM evidence WHERE content_hash IS NOT NULL)"
        )
        return tuple(ContentHash(row[0]) for row in rows)

    def loose(self) -> tuple[tuple[ContentHash, int], ...]:
        """The same, with their sizes."""
        orphans = set(self.orphans())
        rows = self._rows("SELECT content_hash, size FROM content ORDER BY content_hash")
        return tuple((ContentHash(row[0]), row[1]) for row in rows if row[0] in orphans)

    def is_rebuilt(self) -> bool:
        """Whether it was made anew from files, and no node has started with it."""
        return bool(meta_of(self._db, "is_rebuilt", 0))

    def mark_rebuilt(self) -> None:
        """Say so; raises `StorageError`."""
        try:
            put_meta(self._db, "is_rebuilt", 1)
        except sqlite3.Error as error:
            raise StorageError(f"{self._path}: {error}") from error

    def fault(self) -> str | None:
        """What SQLite finds wrong with the file, None if nothing. Reads all of it."""
        ((found,),) = self._rows("PRAGMA quick_check(1)")
        return None if found == "ok" else f"{self._path}: {found}"

    def count_inline(self) -> int:
        """Contents that rest in it."""
        return int(self._rows("SELECT count(*) FROM content WHERE inline IS NOT NULL")[0][0])

    def filed(self) -> dict[ContentHash, int]:
        """Contents that rest in files, and their sizes."""
        rows = self._rows("SELECT content_hash, size FROM content WHERE inline IS NULL")
        return {ContentHash(row[0]): row[1] for row in rows}

    def pin(self) -> PinRow | None:
        """The pinned bundle this folder was made under, None while it is new."""
        rows = self._rows("SELECT key, value FROM meta WHERE key IN ('pin', 'pin_roots')")
        found = dict(rows)
        if len(found) < 2:
            return None
        return PinRow(fingerprint=found["pin"], roots=found["pin_roots"])

    def put_pin(self, row: PinRow, *, starts_over: bool = False) -> None:
        """Durably the pinned bundle from now on. Starting over under other roots the old chain
        goes, floors and evidence stay, and the folder counts as one that has forgotten.

        Raises:
            StorageError: it could not be written.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            pairs = (("pin", row.fingerprint), ("pin_roots", row.roots))
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", pairs)
            if starts_over:
                self._db.execute("DELETE FROM trust")
                put_meta(self._db, "is_whole", 0)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StorageError(f"{self._path}: {error}") from error

    def highest_epoch(self) -> int:
        """Of everything this folder remembers; 0 if nothing."""
        epochs = "SELECT epoch FROM floor UNION SELECT epoch FROM claims_seen"
        last = "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'revoked_epoch'"
        found = self._rows(f"SELECT max(epoch) FROM ({epochs} UNION {last})")  # noqa: S608  # no input in it
        return int(found[0][0] or 0)

    def trust_chain(self) -> tuple[StoredTrust, ...]:
        """The stored steps, lowest version first."""
        rows = self._rows("SELECT version, envelope, content FROM trust ORDER BY version")
        return tuple(StoredTrust(version=row[0], envelope=row[1], content=row[2]) for row in rows)

    def revoked(self) -> tuple[tuple[int, bytes], ...]:
        """Number of the kind and 32 bytes of everything ever revoked, in order."""
        rows = self._rows("SELECT kind, value FROM revoked ORDER BY kind, value")
        return tuple((row[0], row[1]) for row in rows)

    def checkpoints(self) -> tuple[PutCheckpoints, ...]:
        """What is kept of each node's audit log, in order of node."""
        found: dict[NodeId, list[KeptCheckpoint]] = {}
        columns = "node_id, size, head, wall, is_evidence, envelope"
        for row in self._rows(f"SELECT {columns} FROM checkpoint ORDER BY node_id, place"):  # noqa: S608  # no input in it
            one = KeptCheckpoint(
                size=row[1], head=row[2], wall=row[3], is_evidence=bool(row[4]), envelope=row[5]
            )
            found.setdefault(row[0], []).append(one)
        return tuple(PutCheckpoints(node_id=one, kept=tuple(kept)) for one, kept in found.items())

    def floors(self) -> tuple[StoredFloor, ...]:
        """All floors in namespace order."""
        rows = self._rows("SELECT * FROM floor ORDER BY namespace")
        return tuple(
            StoredFloor(
                namespace=row[0],
                order=Order(row[1], row[2]),
                manifest_hash=ManifestHash(row[3]),
            )
            for row in rows
        )

    def begin(self) -> StoredMemory:
        """Count this start, durably, and give what must not be forgotten. A folder that was made
        just now knows nothing: it says so until the node has left amnesia.

        Raises:
            StorageError: the start could not be counted.
        """
        try:
            generation = meta_of(self._db, "generation", 0) + 1
            self._db.execute("BEGIN IMMEDIATE")
            put_meta(self._db, "generation", generation)
            put_meta(self._db, "is_rebuilt", 0)
            if generation == 1:
                put_meta(self._db, "is_whole", 0)
            self._db.execute(
                "DELETE FROM grant_use WHERE forget_at < ?", (meta_of(self._db, "time_floor", 0),)
            )
            self._db.execute("COMMIT")
            return self.memory()
        except (sqlite3.Error, ValueError) as error:
            raise StorageError(f"{self._path}: {error}") from error

    def memory(self) -> StoredMemory:
        """What must not be forgotten, as it stands."""
        seen = self._rows("SELECT node_id, epoch, version FROM claims_seen ORDER BY node_id")
        uses = self._rows("SELECT grant_id, uses, forget_at FROM grant_use ORDER BY grant_id")
        evidence = self._rows("SELECT envelope FROM evidence ORDER BY namespace, manifest_hash")
        return StoredMemory(
            generation=meta_of(self._db, "generation", 0),
            is_whole=bool(meta_of(self._db, "is_whole", 0)),
            time_floor=UnixTime(meta_of(self._db, "time_floor", 0)),
            is_clock_doubted=bool(meta_of(self._db, "is_clock_doubted", 0)),
            revoked_epoch=meta_of(self._db, "revoked_epoch", 0),
            claims_seen=tuple((NodeId(row[0]), row[1], row[2]) for row in seen),
            grant_uses=tuple(
                StoredGrantUse(grant_id=row[0], uses=row[1], forget_at=UnixTime(row[2]))
                for row in uses
            ),
            evidence=tuple(row[0] for row in evidence),
        )

    def evidence_contents(
        self, content_of: Callable[[ContentHash], bytes | None]
    ) -> tuple[bytes, ...]:
        """What is held of the contents evidence names; `content_of` reads them."""
        rows = self._db.execute(
            "SELECT DISTINCT evidence.content_hash FROM evidence JOIN content USING (content_hash) "
            "ORDER BY evidence.content_hash"
        ).fetchall()
        contents = (content_of(ContentHash(row[0])) for row in rows)
        return tuple(one for one in contents if one is not None)

    def heads(self, content_of: Callable[[ContentHash], bytes | None]) -> tuple[StoredHead, ...]:
        """All heads in namespace order, then all increments in order of namespace and version;
        `content_of` reads those fabgossip itself reads."""
        heads = []
        for row in (*self._rows(_HEADS), *self._rows(_INCREMENTS)):
            namespace, epoch, version, is_increment, artifact_type = row[:5]
            envelope, content_hash, held_bytes, verified_at = row[5:]
            is_read = held_bytes is not None and artifact_type in _READ_TYPES
            content = content_of(ContentHash(content_hash)) if is_read else None
            heads.append(
                StoredHead(
                    namespace=namespace,
                    envelope=envelope,
                    order=Order(epoch, version),
                    held_bytes=None if is_read and content is None else held_bytes,
                    is_increment=bool(is_increment),
                    is_trust=artifact_type in _TRUST_NAMES,
                    content=content,
                    verified_at=UnixTime(verified_at or 0),
                )
            )
        return tuple(heads)


_TRUST_NAMES: Final = frozenset(one.value for one in TRUST_TYPES)
