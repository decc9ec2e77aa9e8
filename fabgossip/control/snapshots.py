"""Snapshots: where to start from again, what an outage allows, a node's newest claims, and what is
current below the prefixes a snapshot covers.

- Every node that is not revoked has one of its own, with or without a document for it.
- Claims in it stay the same bytes until what they say changes, a key that signed them no longer
  counts, or half of their life is gone.
- A covering snapshot lists only what all its holders may hold: whose audience the snapshot's own
  implies. Anything else below a covered prefix is an error of the source.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from fabgossip.control.drafts import (
    CompileInput,
    Draft,
    PublishedHead,
    audience_of,
    is_worn,
    manifest_hash_of,
    namespace_of,
)
from fabgossip.control.enrollment import NodeRow, claims_envelope, node_claims
from fabgossip.control.sources.folder import Document
from fabgossip.errors import ControlError, WireError
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import NodeClaims
from fabgossip.model.moment import is_past, seconds_after
from fabgossip.model.scope import Audience, Family, Namespace, has_prefix, is_within
from fabgossip.model.topology import WINDOW_MAX, Listing, Snapshot
from fabgossip.wire.contents import parse_snapshot, snapshot_bytes
from fabgossip.wire.envelopes import parse_envelope
from fabgossip.wire.statements import claims_bytes, parse_claims

_EMPTY: Final = Document(
    artifact_type=ArtifactType.CLUSTER_SNAPSHOT, namespace="", audience=(), content=b""
)


def node_path(node_id: str) -> str:
    """Where a node's own snapshot lives, below the cluster."""
    return f"{Family.SNAPSHOT_NODE}/{node_id}"


def node_snapshots(given: CompileInput) -> list[Draft]:
    """The own snapshots of nodes no document speaks of."""
    named = {document.namespace for document in given.source.documents}
    return [
        _draft(given, replace(_EMPTY, namespace=node_path(node_id)), ())
        for node_id in given.members
        if node_path(node_id) not in named
    ]


def snapshot_of(
    given: CompileInput, document: Document, newest: Iterable[PublishedHead] = ()
) -> Draft:
    """The snapshot of a document; what it covers of `newest` is listed.

    Raises:
        ControlError: something below a covered prefix may not be known to all its holders.
    """
    if not document.covers:
        return _draft(given, document, ())
    reader = audience_of(namespace_of(given.bundle, document.namespace), document.audience)
    prefixes = [f"{given.bundle.prefix}/{one}" for one in document.covers]
    below = [
        head
        for head in newest
        if any(has_prefix(head.manifest.namespace.text, prefix) for prefix in prefixes)
        and _is_listed(given, head)
    ]
    wider = [one for one in below if not _implies(reader, one.manifest.audience)]
    if wider:
        names = ", ".join(sorted(one.manifest.namespace.text for one in wider))
        raise ControlError(
            f"{document.namespace}: covers {names}, which not all of its holders may hold"
        )
    return _draft(given, document, tuple(_listing(given, one) for one in below))


def _is_listed(given: CompileInput, head: PublishedHead) -> bool:
    """What has left the source stays listed until it expires: leaving it out would look like a
    removal nobody signed."""
    manifest = head.manifest
    is_of_epoch = manifest.authority_epoch == given.bundle.authority_epoch
    return is_of_epoch and not is_past(manifest.expires_at, given.now)


def _implies(reader: Audience, other: Audience) -> bool:
    """Whether every node that may hold what is for `reader` may hold what is for `other`, by
    membership or by a storage assignment: those know no wildcard for organisations."""
    return reader.org == other.org and is_within(other, reader)


def _listing(given: CompileInput, head: PublishedHead) -> Listing:
    keep = min(given.source.retention.keep_versions, WINDOW_MAX)
    return Listing(
        namespace=head.manifest.namespace.text,
        order=head.manifest.order,
        manifest_hash=manifest_hash_of(head.manifest),
        window=head.window[:keep],
    )


def _draft(given: CompileInput, document: Document, listings: tuple[Listing, ...]) -> Draft:
    namespace = namespace_of(given.bundle, document.namespace)
    snapshot = Snapshot(
        endpoints=given.endpoints,
        degraded=given.source.degraded,
        settings=document.content,
        covers=tuple(sorted(f"{given.bundle.prefix}/{one}" for one in document.covers)),
        listings=tuple(sorted(listings, key=lambda one: one.namespace)),
        claims=_claims_in(given, namespace),
    )
    return Draft(
        artifact_type=ArtifactType.CLUSTER_SNAPSHOT,
        namespace=namespace,
        audience=audience_of(namespace, document.audience),
        content=snapshot_bytes(snapshot),
        increments=document.increments,
    )


def _claims_in(given: CompileInput, namespace: Namespace) -> bytes:
    """The newest claims of the node a snapshot is for, or none."""
    row = None if namespace.node_id is None else given.members.get(namespace.node_id)
    if row is None or namespace.org_id is not None:
        return b""
    before = given.published.get(namespace.text)
    old = b"" if before is None or not before.content else parse_snapshot(before.content).claims
    return old if old and not _are_due(given, row, old) else _fresh_claims(given, row)


def _fresh_claims(given: CompileInput, row: NodeRow) -> bytes:
    times = (given.now, seconds_after(given.now, given.bundle.cert_life_max_s))
    minimums = (given.minimums.trust, given.minimums.revocation)
    return claims_envelope(row, given.bundle, given.claims_keys, times, minimums)


def _are_due(given: CompileInput, row: NodeRow, envelope: bytes) -> bool:
    try:
        parts = parse_envelope(envelope)
        claims = parse_claims(parts.payload)
    except WireError:
        return True
    signers = (one.key_id for one in parts.signatures)
    if not given.signers.needs_no_renewal(signers, claims.issued_at):
        return True
    if is_worn(claims.issued_at, claims.expires_at, given.now):
        return True
    return claims_bytes(_as_of(given, row, claims)) != parts.payload


def is_told(given: CompileInput, row: NodeRow) -> bool:
    """Whether the claims in a node's newest own snapshot say what is registered of it."""
    path = f"{given.bundle.prefix}/{node_path(row.node_id)}"
    head = given.published.get(path)
    if head is None or not head.content:
        return False
    try:
        payload = parse_envelope(parse_snapshot(head.content).claims).payload
        return claims_bytes(_as_of(given, row, parse_claims(payload))) == payload
    except WireError:
        return False


def _as_of(given: CompileInput, row: NodeRow, before: NodeClaims) -> NodeClaims:
    """What would be signed about a node today, with the times and minimums of `before`."""
    minimums = (before.min_trust_version, before.min_revocation_version)
    return node_claims(row, given.bundle, (before.issued_at, before.expires_at), minimums)
