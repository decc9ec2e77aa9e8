"""Other envelopes around the statement of a trust bundle that is on its way.

Decides: which of them are kept until the bundle's content is here.
Keeps: a copy whose signatures somebody took away never takes the place of a whole one; copies are
bounded, and once the content is known each is judged before anything is done about it.
Must not know: what makes a bundle good.

Whether enough roots of the new bundle signed shows only in its content: until then a copy without
their signatures looks as good as any.
"""

from dataclasses import dataclass
from typing import Final

from fabgossip.core.events import LinkId
from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.ids import ContentHash, ManifestHash

VARIANTS_MAX: Final = 8
"""Copies kept beside the first (*start*): 80 KiB. One that finds no room may come again."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A copy, and where it came from."""

    verified: VerifiedManifest
    origin: LinkId | None
    source: str


class Variants:
    """Of the one bundle that may follow the one in force."""

    __slots__ = ("_content", "_rows")

    def __init__(self) -> None:
        self._rows: list[Variant] = []
        self._content: tuple[ContentHash, bytes] | None = None

    def add(self, variant: Variant) -> bool:
        """Keep a copy; False if there is no room for it."""
        manifest_hash = variant.verified.manifest_hash
        if any(one.verified.manifest_hash != manifest_hash for one in self._rows):
            self._rows.clear()
        if len(self._rows) >= VARIANTS_MAX:
            return False
        self._rows.append(variant)
        return True

    def take(self, manifest_hash: ManifestHash) -> tuple[Variant, ...]:
        """The copies of a statement, in the order they came; they are kept no longer."""
        rows = tuple(one for one in self._rows if one.verified.manifest_hash == manifest_hash)
        self._rows.clear()
        return rows

    def on_content(self, content_hash: ContentHash, content: bytes) -> None:
        """What a statement speaks of was read."""
        self._content = (content_hash, content)

    def content_of(self, verified: VerifiedManifest) -> bytes | None:
        """The content of a statement, if it was read before."""
        if self._content is None or self._content[0] != verified.manifest.content_hash:
            return None
        return self._content[1]

    def check(self) -> None:
        """Assert the limit."""
        assert len(self._rows) <= VARIANTS_MAX
