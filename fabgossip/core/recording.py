"""Facts about artifacts, in the same words wherever they are noticed.

Decides: nothing.
Keeps: no peer is blamed for what came from our own disk.
Must not know: who reads them.
"""

from typing import TypeAlias

from fabgossip.core.effects import Fact, Record
from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.persistence import HeldBack
from fabgossip.trust.rejections import Blame, Rejection

Fields: TypeAlias = tuple[tuple[str, str | int], ...]


def fields_of(verified: VerifiedManifest, source: str) -> Fields:
    """What names a statement; `source` says where it came from, or why this is noted."""
    manifest = verified.manifest
    return (
        ("namespace", manifest.namespace.text),
        ("family", manifest.artifact_type.value),
        ("epoch", manifest.authority_epoch),
        ("version", manifest.config_version),
        ("content_hash", manifest.content_hash.hex()),
        ("source", source),
    )


def hold_fields(held_back: HeldBack, source: str) -> Fields:
    """What names a hold; `source` says who did something about it."""
    return (
        ("source", source),
        ("namespace", held_back.namespace),
        ("epoch", held_back.order.epoch),
        ("version", held_back.order.version),
        ("until", held_back.until),
        ("detail", held_back.reason),
    )


def rejected(verdict: Rejection, *, source: str) -> Record:
    """That a statement, or a content, was refused."""
    is_ours = source == "disk" and verdict.blame is Blame.PEER  # no peer brought it
    blame = Blame.NONE if is_ours else verdict.blame
    fields = (
        ("code", verdict.code.value),
        ("detail", verdict.detail),
        ("namespace", verdict.namespace or ""),
        ("source", source),
        ("blame", blame.name.lower()),
    )
    return Record(fact=Fact.ARTIFACT_REJECTED, fields=fields)
