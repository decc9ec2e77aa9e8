"""What accepted snapshots list as current below the prefixes they are complete for.

Decides: which snapshot covers a manifest, and what it lists in its place.
Keeps: the longest prefix speaks, and of equals the one issued last; a snapshot speaks only about
what all its own readers may know; snapshots of one order cover what any of them covers, and list
nothing.
Must not know: what is held.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from fabgossip.model.artifact import NO_ORDER, TRUST_TYPES, Manifest, VerifiedManifest
from fabgossip.model.ids import ManifestHash
from fabgossip.model.moment import UnixTime
from fabgossip.model.scope import Audience, has_prefix, is_within
from fabgossip.model.topology import Listing, Snapshot
from fabgossip.trust.facts import Listed


@dataclass(frozen=True, slots=True)
class _Cover:
    audience: Audience
    issued_at: UnixTime
    prefixes: tuple[str, ...]
    listings: dict[str, Listing]
    is_contradicted: bool
    """Whether another snapshot of its order is known: no listing of it counts."""


class Listings:
    """The covering snapshots, by their own namespace."""

    __slots__ = ("_covers",)

    def __init__(self) -> None:
        self._covers: dict[str, dict[ManifestHash, _Cover]] = {}

    def on_snapshot(
        self, verified: VerifiedManifest, snapshot: Snapshot, rivals: Collection[ManifestHash]
    ) -> bool:
        """A snapshot was read, and these are all that are known of its order; whether anything is
        covered now or was before. What was read of other orders is gone."""
        manifest = verified.manifest
        before = self._covers.get(manifest.namespace.text, {})
        covers = {one: cover for one, cover in before.items() if one in rivals}
        covers[verified.manifest_hash] = _Cover(
            manifest.audience,
            manifest.issued_at,
            snapshot.covers,
            {one.namespace: one for one in snapshot.listings},
            is_contradicted=len(rivals) > 1,
        )
        self._covers[manifest.namespace.text] = covers
        return any(one.prefixes for one in (*before.values(), *covers.values()))

    def on_contradicted(self, namespace: str, rivals: Collection[ManifestHash]) -> bool:
        """These stand at one order; whether that changes what is listed."""
        covers = self._covers.get(namespace, {})
        for one in rivals:
            if one in covers:
                covers[one] = replace(covers[one], is_contradicted=True)
        return any(one.prefixes for one in covers.values())

    def on_gone(self, namespace: str) -> bool:
        """No snapshot of a namespace counts any more; whether anything was covered."""
        covers = self._covers.pop(namespace, {})
        return any(one.prefixes for one in covers.values())

    def listed(self, manifest: Manifest) -> Listed | None:
        """What the covering snapshot says of a manifest's namespace, None if none covers it. Trust
        is never covered."""
        if manifest.artifact_type in TRUST_TYPES:
            return None
        namespace = manifest.namespace.text
        found = [
            (len(prefix), cover.issued_at, name, cover)
            for name, covers in self._covers.items()
            for cover in covers.values()
            for prefix in cover.prefixes
            if name != namespace
            and has_prefix(namespace, prefix)
            and is_within(manifest.audience, cover.audience)
        ]
        if not found:
            return None
        cover = max(found, key=lambda row: row[:3])[3]
        listing = None if cover.is_contradicted else cover.listings.get(namespace)
        if listing is None:
            return Listed(order=NO_ORDER, manifest_hash=None)
        return Listed(order=listing.order, manifest_hash=listing.manifest_hash)
