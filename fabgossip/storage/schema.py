"""The tables of a node's index, and how older ones become these.

Decides: what is a column, what is unique.
Keeps: a schema that was released is only ever added to, by a step of its own.
Must not know: who writes a row, what it means.
"""

from typing import Final

SCHEMA_VERSION: Final = 5
SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE head (
    namespace TEXT NOT NULL, is_increment INTEGER NOT NULL,
    epoch INTEGER NOT NULL, version INTEGER NOT NULL, artifact_type TEXT NOT NULL,
    content_hash BLOB NOT NULL, envelope BLOB NOT NULL,
    PRIMARY KEY (namespace, is_increment)
) WITHOUT ROWID;
CREATE TABLE increment (
    namespace TEXT NOT NULL, manifest_hash BLOB NOT NULL,
    epoch INTEGER NOT NULL, version INTEGER NOT NULL,
    content_hash BLOB NOT NULL, envelope BLOB NOT NULL,
    PRIMARY KEY (namespace, manifest_hash)
) WITHOUT ROWID;
CREATE INDEX head_by_content ON head (content_hash);
CREATE TABLE floor (
    namespace TEXT PRIMARY KEY, epoch INTEGER NOT NULL, version INTEGER NOT NULL,
    manifest_hash BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE evidence (
    namespace TEXT NOT NULL, manifest_hash BLOB NOT NULL, envelope BLOB NOT NULL,
    content_hash BLOB, PRIMARY KEY (namespace, manifest_hash)
) WITHOUT ROWID;
CREATE TABLE claims_seen (
    node_id TEXT PRIMARY KEY, epoch INTEGER NOT NULL, version INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE grant_use (
    grant_id BLOB PRIMARY KEY, uses INTEGER NOT NULL, forget_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE content (
    content_hash BLOB PRIMARY KEY, size INTEGER NOT NULL, inline BLOB,
    verified_at INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX content_filed ON content (size) WHERE inline IS NULL;
CREATE TABLE pin (
    pin_id INTEGER PRIMARY KEY, content_hash BLOB NOT NULL, namespace TEXT NOT NULL,
    owner TEXT NOT NULL, reason TEXT NOT NULL, until INTEGER NOT NULL
);
CREATE TABLE held_back (
    namespace TEXT PRIMARY KEY, epoch INTEGER NOT NULL, version INTEGER NOT NULL,
    envelope BLOB NOT NULL, before BLOB,
    owner TEXT NOT NULL, reason TEXT NOT NULL, until INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE revoked (
    kind INTEGER NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, value)
) WITHOUT ROWID;
CREATE TABLE checkpoint (
    node_id TEXT NOT NULL, place INTEGER NOT NULL, size INTEGER NOT NULL, head BLOB NOT NULL,
    wall INTEGER NOT NULL, is_evidence INTEGER NOT NULL, envelope BLOB NOT NULL,
    PRIMARY KEY (node_id, place)
) WITHOUT ROWID;
CREATE TABLE trust (
    version INTEGER PRIMARY KEY, envelope BLOB NOT NULL, content BLOB NOT NULL,
    content_hash BLOB NOT NULL
);
"""


FROM_FIRST: Final = "ALTER TABLE evidence ADD COLUMN content_hash BLOB;"
"""What schema 1 lacks; contents of its evidence were not kept."""
FROM_SECOND: Final = """
CREATE TABLE increment (
    namespace TEXT NOT NULL, manifest_hash BLOB NOT NULL,
    epoch INTEGER NOT NULL, version INTEGER NOT NULL,
    content_hash BLOB NOT NULL, envelope BLOB NOT NULL,
    PRIMARY KEY (namespace, manifest_hash)
) WITHOUT ROWID;
DELETE FROM head WHERE is_increment = 1;
"""
"""What schema 2 lacks: it kept one increment of a namespace, beside its head, and nobody applied
it. `is_increment` is 0 everywhere since."""
FROM_THIRD: Final = """
ALTER TABLE content ADD COLUMN verified_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX content_filed ON content (size) WHERE inline IS NULL;
CREATE TABLE pin (
    pin_id INTEGER PRIMARY KEY, content_hash BLOB NOT NULL, namespace TEXT NOT NULL,
    owner TEXT NOT NULL, reason TEXT NOT NULL, until INTEGER NOT NULL
);
"""
"""What schema 3 lacks: when contents were hashed at rest, the sizes of files without a look at
every row, and pins."""
FROM_FOURTH: Final = """
CREATE TABLE held_back (
    namespace TEXT PRIMARY KEY, epoch INTEGER NOT NULL, version INTEGER NOT NULL,
    envelope BLOB NOT NULL, before BLOB,
    owner TEXT NOT NULL, reason TEXT NOT NULL, until INTEGER NOT NULL
) WITHOUT ROWID;
"""
"""What schema 4 lacks: the versions operators put back."""
