"""What accepted snapshots list as current below the prefixes they are complete for.

Decides: which snapshot covers a manifest, and what it lists in its place.
Keeps: the longest prefix speaks, and of equals the one issued last; a snapshot speaks only about
what all its own readers may know.
Must not know: what is held, what follows from a contradiction.
"""

from dataclasses import dataclass

from fabgossip.model.artifact import NO_ORDER, Manifest
from fabgossip.model.moment import UnixTime
from fabgossip.model.scope import Audience, has_prefix
from fabgossip.model.topology import Listing, Snapshot
from fabgossip.trust.gate import Listed


@dataclass(frozen=True, slots=True)
class _Cover:
    audience: Audience
    issued_at: UnixTime
    prefixes: tuple[str, ...]
    listings: dict[str, Listing]


class Listings:
    """The covering snapshots, by their own namespace."""

    __slots__ = ("_covers",)

    def __init__(self) -> None:
        self._covers: dict[str, _Cover] = {}

    def on_snapshot(self, manifest: Manifest, snapshot: Snapshot | None) -> bool:
        """The snapshot of a namespace is now this one (None: gone); whether anything is covered
        by the new or was by the old one."""
        before = self._covers.pop(manifest.namespace.text, None)
        if snapshot is not None and snapshot.covers:
            self._covers[manifest.namespace.text] = _Cover(
                manifest.audience,
                manifest.issued_at,
                snapshot.covers,
                {one.namespace: one for one in snapshot.listings},
            )
        return before is not None or manifest.namespace.text in self._covers

    def listed(self, manifest: Manifest) -> Listed | None:
        """What the covering snapshot says of a manifest's namespace, None if none covers it."""
        namespace = manifest.namespace.text
        found = [
            (len(prefix), cover.issued_at, name, cover)
            for name, cover in self._covers.items()
            for prefix in cover.prefixes
            if name != namespace
            and has_prefix(namespace, prefix)
            and _is_within(manifest.audience, cover.audience)
        ]
        if not found:
            return None
        cover = max(found, key=lambda row: row[:3])[3]
        listing = cover.listings.get(namespace)
        if listing is None:
            return Listed(order=NO_ORDER, manifest_hash=None)
        return Listed(order=listing.order, manifest_hash=listing.manifest_hash)


def _is_within(audience: Audience, reader: Audience) -> bool:
    """Whether every reader of a snapshot may know an audience: for each kind it names, the reader's
    ids are among them."""
    for kind in {scope.kind for scope in audience.scope_ids}:
        ids = reader.ids_of(kind)
        if not ids or not set(ids) <= set(audience.ids_of(kind)):
            return False
    return True
