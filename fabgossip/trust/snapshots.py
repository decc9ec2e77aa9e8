"""What a snapshot may say of other artifacts: nothing that would reach beyond its own readers.

Decides: whether the prefixes a snapshot covers, and what it lists below them, are its to speak of.
Keeps: no snapshot covers or lists trust, so the key that signs snapshots never stands in the way
of the list or the bundle that takes it away; nothing is listed outside what is covered, for others
than the snapshot's readers, or in an epoch that is not open yet.
Must not know: what is held, what was listed before.
"""

from typing import Final

from fabgossip.errors import ModelError
from fabgossip.model.artifact import Manifest
from fabgossip.model.scope import Audience, Namespace, has_prefix, is_within, parse_namespace
from fabgossip.model.topology import Listing, Snapshot

TRUST: Final = "trust"
"""The segment below the cluster no snapshot speaks of."""


def snapshot_fault(manifest: Manifest, snapshot: Snapshot) -> str | None:
    """What a snapshot claims to speak of and must not; None if all is its own."""
    for prefix in snapshot.covers:
        fault = _cover_fault(manifest.namespace, prefix)
        if fault is not None:
            return f"it covers {prefix}, {fault}"
    for listing in snapshot.listings:
        fault = _listing_fault(manifest, snapshot.covers, listing)
        if fault is not None:
            return f"it lists {listing.namespace}, {fault}"
    return None


def _cover_fault(own: Namespace, prefix: str) -> str | None:
    cluster = f"platform/{own.platform_id}/cluster/{own.cluster_id}"
    if prefix == cluster or not has_prefix(prefix, cluster):
        return "which is not below its cluster"
    return "which is trust" if has_prefix(prefix, f"{cluster}/{TRUST}") else None


def _listing_fault(manifest: Manifest, covers: tuple[str, ...], listing: Listing) -> str | None:
    try:
        namespace = parse_namespace(listing.namespace)
    except ModelError as error:
        return str(error)
    if not any(has_prefix(listing.namespace, prefix) for prefix in covers):
        return "which it does not cover"
    if not is_within(Audience(namespace.implied), manifest.audience):
        return "which not all of its readers may know of"
    if listing.order.epoch > manifest.authority_epoch:
        return f"in epoch {listing.order.epoch}, which is not open"
    return None
