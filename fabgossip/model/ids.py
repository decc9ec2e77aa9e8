"""Identifiers: one type, one parser and one short form for each.

Nothing else makes these from outside input. An id is compared as bytes: nothing is folded, trimmed
or decoded.
"""

import re
from hashlib import sha256
from typing import Final, NewType

from fabgossip.errors import ModelError

NodeId = NewType("NodeId", str)
ClusterId = NewType("ClusterId", str)
PlatformId = NewType("PlatformId", str)
OrgId = NewType("OrgId", str)
ArtifactId = NewType("ArtifactId", str)
KeyId = NewType("KeyId", bytes)
"""SHA-256 of the 32 raw bytes of an Ed25519 public key: a hint where to look, never an authority.
"""
ContentHash = NewType("ContentHash", bytes)
"""SHA-256 of an artifact's content."""
ManifestHash = NewType("ManifestHash", bytes)
"""SHA-256 of a manifest's payload bytes: names one statement about a content."""
BootId = NewType("BootId", bytes)
"""16 random bytes, drawn once per process start."""

HASH_BYTES: Final = 32
BOOT_ID_BYTES: Final = 16
ID_BYTES_MAX: Final = 63
INPUT_SHOWN_MAX: Final = 80
NOTHING_HASH: Final = ContentHash(
    bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
)
"""SHA-256 of no bytes at all, which a tombstone names as its content."""

_ID: Final = re.compile(rb"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")


def shown(text: str) -> str:
    """Outside input as an error may repeat it: escaped, at most 80 characters."""
    return ascii(text[:INPUT_SHOWN_MAX])


def parse_id(text: str, word: str) -> str:
    """`text` itself if it is an id of 1..63 characters `[a-z0-9._-]`, alphanumeric at both ends.

    Raises:
        ModelError: naming `word` and the input.
    """
    try:
        encoded = text.encode("ascii")
    except UnicodeEncodeError:
        encoded = b""
    if _ID.fullmatch(encoded) is None:
        raise ModelError(
            f"{word} {shown(text)}: expected 1 to {ID_BYTES_MAX} characters a-z 0-9 . _ -, "
            "starting and ending with a letter or digit"
        )
    return text


def parse_node_id(text: str) -> NodeId:
    """See `parse_id`."""
    return NodeId(parse_id(text, "node id"))


def parse_cluster_id(text: str) -> ClusterId:
    """See `parse_id`."""
    return ClusterId(parse_id(text, "cluster id"))


def parse_platform_id(text: str) -> PlatformId:
    """See `parse_id`."""
    return PlatformId(parse_id(text, "platform id"))


def parse_artifact_id(text: str) -> ArtifactId:
    """See `parse_id`."""
    return ArtifactId(parse_id(text, "artifact id"))


def parse_hash(text: str, word: str) -> bytes:
    """64 lower-case hexadecimal digits, named by `word` where they are not; raises `ModelError`."""
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != HASH_BYTES or len(text) != 2 * HASH_BYTES or text != text.lower():
        raise ModelError(f"{word} {shown(text)}: expected 64 lower-case hexadecimal digits")
    return value


def parse_content_hash(text: str) -> ContentHash:
    """64 lower-case hexadecimal digits; raises `ModelError`."""
    return ContentHash(parse_hash(text, "content hash"))


def parse_key_id(text: str) -> KeyId:
    """64 lower-case hexadecimal digits; raises `ModelError`."""
    return KeyId(parse_hash(text, "key id"))


def short_hash(value: bytes) -> str:
    """First 12 hexadecimal digits, for people; never parsed back."""
    return value.hex()[:12]


def key_id_of(public_key: bytes) -> KeyId:
    """The id of 32 raw public key bytes: made from the key, so it cannot name another one."""
    return KeyId(sha256(public_key).digest())
