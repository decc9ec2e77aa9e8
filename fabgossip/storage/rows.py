"""What the index is told beside the changes of the core, and what it answers.

Decides: nothing.
Keeps: every row is a frozen value.
Must not know: tables, files.
"""

from dataclasses import dataclass

from fabgossip.model.ids import ContentHash
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class PutContent:
    """A content is durable: as a file, or (`inline`) in this very row."""

    content_hash: ContentHash
    size: int
    inline: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DropContent:
    """A content is not held any more; its bytes go after this is durable."""

    content_hash: ContentHash


@dataclass(frozen=True, slots=True, kw_only=True)
class PutVerified:
    """A content was sound when it was hashed at rest."""

    content_hash: ContentHash
    at: UnixTime


Row = Change | PutContent | DropContent | PutVerified


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentRow:
    """What the index says of a content."""

    size: int
    inline: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PinRow:
    """The pinned trust bundle a folder was made under."""

    fingerprint: str
    """SHA-256 of the file, hexadecimal."""
    roots: str
    """Names the root keys and how many must sign."""
