"""How each kind of row is written to a node's index.

Decides: what of a row goes to which table.
Keeps: floors, claims seen, grant uses and the time floor never sink within an epoch.
Must not know: transactions, when something is durable.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, Final, Protocol

from fabgossip.model.artifact import TYPE_RULES, ArtifactType, Order, VerifiedManifest
from fabgossip.model.ids import ContentHash, ManifestHash
from fabgossip.model.persistence import (
    DropHead,
    DropHeldBack,
    DropIncrement,
    DropPin,
    HeldBack,
    Pin,
    PutCheckpoints,
    PutClaimsSeen,
    PutClockDoubt,
    PutEvidence,
    PutFloor,
    PutGrantUse,
    PutHead,
    PutHeldBack,
    PutIncrement,
    PutMemory,
    PutPin,
    PutRevoked,
    PutTimeFloor,
    PutTrust,
)
from fabgossip.storage.contents import rounded
from fabgossip.storage.rows import (
    DropContent,
    PutContent,
    PutVerified,
    Row,
)

_RAISE_FLOOR: Final = """
INSERT INTO floor VALUES (?, ?, ?, ?)
ON CONFLICT (namespace) DO UPDATE SET
    epoch = excluded.epoch, version = excluded.version, manifest_hash = excluded.manifest_hash
WHERE (excluded.epoch, excluded.version) >= (epoch, version)
"""
_RAISE_CLAIMS: Final = """
INSERT INTO claims_seen VALUES (?, ?, ?)
ON CONFLICT (node_id) DO UPDATE SET epoch = excluded.epoch, version = excluded.version
WHERE (excluded.epoch, excluded.version) >= (epoch, version)
"""
_PUT_CONTENT: Final = """
INSERT OR REPLACE INTO content (content_hash, size, inline) VALUES (?, ?, ?)
"""
_RAISE_USES: Final = """
INSERT INTO grant_use VALUES (?, ?, ?)
ON CONFLICT (grant_id) DO UPDATE SET uses = excluded.uses, forget_at = excluded.forget_at
WHERE excluded.uses >= uses
"""


class Database(Protocol):
    """What a row is written to: a connection to SQLite."""

    def execute(self, statement: str, values: Sequence[Any] = ..., /) -> Any:  # noqa: ANN401  # a cursor
        """Carry out a statement."""
        ...

    def executemany(self, statement: str, values: Iterable[Sequence[Any]], /) -> Any:  # noqa: ANN401  # a cursor
        """Carry out a statement for each of these."""
        ...


def write_row(db: Database, row: Row) -> int:
    """Write a row in the transaction under way; gives by how many bytes what the files of contents
    take has changed. Raises what the database raises."""
    filed_bytes = 0
    match row:
        case PutHead():
            _put_head(db, row.verified)
        case PutIncrement():
            _put_increment(db, row.verified)
        case DropIncrement():
            db.execute(
                "DELETE FROM increment WHERE namespace = ? AND manifest_hash = ?",
                (row.namespace, row.manifest_hash),
            )
        case DropHead():
            db.execute("DELETE FROM head WHERE namespace = ?", (row.namespace,))
            dropped = (row.namespace, row.manifest_hash)
            db.execute("DELETE FROM floor WHERE namespace = ? AND manifest_hash = ?", dropped)
        case PutTrust():
            content_hash = sha256(row.content).digest()
            values = (row.version, row.envelope, row.content, content_hash)
            db.execute("INSERT OR REPLACE INTO trust VALUES (?, ?, ?, ?)", values)
        case PutRevoked():
            _put_revoked(db, row)
        case PutFloor():
            _raise_floor(db, row.namespace, row.order, row.manifest_hash)
        case PutEvidence():
            _put_evidence(db, row.verified)
        case PutClaimsSeen():
            db.execute(_RAISE_CLAIMS, (row.node_id, row.epoch, row.version))
        case PutGrantUse():
            _put_grant_use(db, row)
        case PutTimeFloor():
            put_meta(db, "time_floor", max(row.unix, meta_of(db, "time_floor", 0)))
        case PutClockDoubt():
            put_meta(db, "is_clock_doubted", int(row.is_doubted))
        case PutMemory():
            put_meta(db, "is_whole", int(row.is_whole))
            generation = max(row.generation, meta_of(db, "generation", 0))
            put_meta(db, "generation", generation)
        case PutCheckpoints():
            _put_checkpoints(db, row)
        case PutPin():
            _put_pin(db, row.pin)
        case DropPin():
            db.execute("DELETE FROM pin WHERE pin_id = ?", (row.pin_id,))
        case PutHeldBack():
            _put_held_back(db, row.held_back)
        case DropHeldBack():
            db.execute("DELETE FROM held_back WHERE namespace = ?", (row.namespace,))
        case PutContent():
            filed_bytes = _put_content(db, row)
        case PutVerified():
            question = "UPDATE content SET verified_at = ? WHERE content_hash = ?"
            db.execute(question, (row.at, row.content_hash))
        case DropContent():
            filed_bytes = -_filed_bytes_of(db, row.content_hash)
            db.execute("DELETE FROM content WHERE content_hash = ?", (row.content_hash,))
    return filed_bytes


def _put_content(db: Database, row: PutContent) -> int:
    before = _filed_bytes_of(db, row.content_hash)
    db.execute(_PUT_CONTENT, (row.content_hash, row.size, row.inline))
    return (rounded(row.size) if row.inline is None else 0) - before


def _put_pin(db: Database, pin: Pin) -> None:
    row = (pin.pin_id, pin.content_hash, pin.namespace, pin.owner, pin.reason, pin.until)
    db.execute("INSERT OR REPLACE INTO pin VALUES (?, ?, ?, ?, ?, ?)", row)


def _put_held_back(db: Database, one: HeldBack) -> None:
    row = (
        one.namespace,
        one.order.epoch,
        one.order.version,
        one.envelope,
        one.before,
        one.owner,
        one.reason,
        one.until,
    )
    db.execute("INSERT OR REPLACE INTO held_back VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)


def _filed_bytes_of(db: Database, content_hash: ContentHash) -> int:
    question = "SELECT size FROM content WHERE content_hash = ? AND inline IS NULL"
    row = db.execute(question, (content_hash,)).fetchone()
    return 0 if row is None else rounded(row[0])


def _put_evidence(db: Database, verified: VerifiedManifest) -> None:
    """Of what fabgossip reads the content is kept too: it binds although it is disputed."""
    manifest = verified.manifest
    is_read = TYPE_RULES[manifest.artifact_type].is_read
    content_hash = manifest.content_hash if is_read else None
    evidence = (
        manifest.namespace.text,
        verified.manifest_hash,
        verified.envelope,
        content_hash,
    )
    columns = "namespace, manifest_hash, envelope, content_hash"
    db.execute(
        f"INSERT OR IGNORE INTO evidence ({columns}) VALUES (?, ?, ?, ?)",  # noqa: S608  # no input in it
        evidence,
    )


def _put_revoked(db: Database, row: PutRevoked) -> None:
    """The union of one epoch: the first list of a higher one starts anew."""
    if meta_of(db, "revoked_epoch", 0) != row.epoch:
        db.execute("DELETE FROM revoked")
        put_meta(db, "revoked_epoch", row.epoch)
    db.executemany("INSERT OR IGNORE INTO revoked VALUES (?, ?)", row.entries)


def _raise_floor(db: Database, namespace: str, order: Order, manifest_hash: ManifestHash) -> None:
    """Of one order the statement accepted last stands: the winner of a dispute, a bundle issued
    again."""
    floor = (namespace, order.epoch, order.version, manifest_hash)
    db.execute(_RAISE_FLOOR, floor)


def _put_grant_use(db: Database, row: PutGrantUse) -> None:
    db.execute(_RAISE_USES, (row.grant_id, row.uses, row.forget_at))


def meta_of(db: Database, key: str, default: int) -> int:
    """A fact of the index itself."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return default if row is None else int(row[0])


def put_meta(db: Database, key: str, value: int) -> None:
    """Write a fact of the index itself in the transaction under way."""
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, str(value)))


def _put_increment(db: Database, verified: VerifiedManifest) -> None:
    manifest = verified.manifest
    row = (
        manifest.namespace.text,
        verified.manifest_hash,
        manifest.order.epoch,
        manifest.order.version,
        manifest.content_hash,
        verified.envelope,
    )
    db.execute("INSERT OR REPLACE INTO increment VALUES (?, ?, ?, ?, ?, ?)", row)


def _put_head(db: Database, verified: VerifiedManifest) -> None:
    manifest = verified.manifest
    namespace, order = manifest.namespace.text, manifest.order
    if manifest.artifact_type is not ArtifactType.TRUST_BUNDLE:
        # A bundle ends a fork once it was read and is in force, not by being here.
        db.execute("DELETE FROM evidence WHERE namespace = ?", (namespace,))
    _raise_floor(db, namespace, order, verified.manifest_hash)
    row = (
        namespace,
        0,
        order.epoch,
        order.version,
        manifest.artifact_type.value,
        manifest.content_hash,
        verified.envelope,
    )
    db.execute("INSERT OR REPLACE INTO head VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def _put_checkpoints(db: Database, row: PutCheckpoints) -> None:
    db.execute("DELETE FROM checkpoint WHERE node_id = ?", (row.node_id,))
    values = [
        (row.node_id, place, one.size, one.head, one.wall, one.is_evidence, one.envelope)
        for place, one in enumerate(row.kept)
    ]
    db.executemany("INSERT INTO checkpoint VALUES (?, ?, ?, ?, ?, ?, ?)", values)
