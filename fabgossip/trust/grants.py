"""What a fetch grant adds to one request, and what a narrowing takes from it.

Decides: whether a grant is good for the connection it came over, and names an artifact; which
entitlements a request has.
Keeps: a grant is bound to one node and its certificate; it adds only services, roles and nodes,
never a cluster or an organisation; a narrowing only takes away.
Must not know: how often a grant was used, who holds what.
"""

from collections.abc import Callable
from typing import Final

from fabgossip.errors import WireError
from fabgossip.model.artifact import Manifest
from fabgossip.model.authority import FetchGrant, Narrowing, NodeIdentity, VerifiedGrant
from fabgossip.model.envelope import PayloadKind
from fabgossip.model.ids import ManifestHash
from fabgossip.model.moment import UnixTime, is_past
from fabgossip.model.scope import Entitlements, StorageAssignment
from fabgossip.trust.bundle import counts
from fabgossip.trust.identity import ClaimsTrust, good_signers, is_forged
from fabgossip.trust.minimums import lacking
from fabgossip.trust.rejections import Rejection, RejectionCode
from fabgossip.wire.envelopes import parse_envelope
from fabgossip.wire.statements import parse_grant


def verify_grant(
    raw: bytes, holder: NodeIdentity, trust: ClaimsTrust, now: UnixTime
) -> VerifiedGrant | Rejection:
    """The grant of these bytes, if it is good for this holder now: GRANT_INVALID otherwise, and the
    holder's fault where it is forged or was given to another."""
    is_signed = False
    try:
        envelope = parse_envelope(raw)
        if envelope.kind is not PayloadKind.FETCH_GRANT:
            return _invalid("another kind of envelope", in_good_faith=False)
        found = good_signers(raw, PayloadKind.FETCH_GRANT, trust)
        if found is None or len(found[1]) < found[0].threshold:
            detail = "not signed by enough keys with a right on grants"
            in_good_faith = not is_forged(raw, PayloadKind.FETCH_GRANT, trust)
            return _invalid(detail, in_good_faith=in_good_faith)
        is_signed = True
        grant = parse_grant(envelope.payload)
    except WireError as error:
        return _invalid(str(error), in_good_faith=is_signed)
    right, signers = found
    signed_by = tuple(key.key_id for key in signers if counts(key, grant.not_before, now))
    if len(signed_by) < right.threshold:
        return _invalid("issued outside the time its keys may sign in", in_good_faith=True)
    for rule in GRANT_RULES:
        fault = rule(grant, holder, trust, now)
        if fault is not None:
            return _invalid(fault, in_good_faith=rule not in (_of_node, _of_certificate))
    return VerifiedGrant(grant=grant, signed_by=signed_by)


def _invalid(detail: str, *, in_good_faith: bool) -> Rejection:
    code = RejectionCode.GRANT_INVALID
    return Rejection(code=code, detail=detail, in_good_faith=in_good_faith)


def _of_cluster(grant: FetchGrant, _: NodeIdentity, trust: ClaimsTrust, __: UnixTime) -> str | None:
    ours = (trust.bundle.platform_id, trust.bundle.cluster_id)
    return None if (grant.platform_id, grant.cluster_id) == ours else "of another cluster"


def _of_epoch(grant: FetchGrant, _: NodeIdentity, trust: ClaimsTrust, __: UnixTime) -> str | None:
    same = grant.authority_epoch == trust.bundle.authority_epoch
    return None if same else "of another epoch"


def _of_node(grant: FetchGrant, holder: NodeIdentity, _: ClaimsTrust, __: UnixTime) -> str | None:
    return None if grant.node_id == holder.node_id else "of another node"


def _of_certificate(
    grant: FetchGrant, holder: NodeIdentity, _: ClaimsTrust, __: UnixTime
) -> str | None:
    same = grant.certificate_hash == holder.certificate_hash
    return None if same else "bound to another certificate"


def _in_time(grant: FetchGrant, _: NodeIdentity, __: ClaimsTrust, now: UnixTime) -> str | None:
    if not is_past(grant.not_before, now):
        return "not valid yet"
    return "expired" if is_past(grant.expires_at, now) else None


def _not_revoked(
    grant: FetchGrant, _: NodeIdentity, trust: ClaimsTrust, __: UnixTime
) -> str | None:
    return "revoked" if trust.revoked.has_grant(grant.grant_id) else None


def _minimums(grant: FetchGrant, _: NodeIdentity, trust: ClaimsTrust, __: UnixTime) -> str | None:
    lack = lacking(grant, trust.bundle, trust.revoked)
    return None if lack is None else f"needs {lack.words}"


GRANT_RULES: Final[
    tuple[Callable[[FetchGrant, NodeIdentity, ClaimsTrust, UnixTime], str | None], ...]
] = (_of_cluster, _of_epoch, _of_node, _of_certificate, _in_time, _not_revoked, _minimums)
"""All must find nothing wrong."""


def narrowed(held: Entitlements, narrowing: Narrowing | None) -> Entitlements:
    """What is left of entitlements once a request uses less: the intersection by scope ids, an
    assignment only where all its scopes are left."""
    if narrowing is None or narrowing.scope_ids is None:
        return held
    left = frozenset(narrowing.scope_ids)
    kept: tuple[StorageAssignment, ...] = tuple(
        one for one in held.assignments if left.issuperset(one.scope_ids)
    )
    return Entitlements(held.scope_ids & left, kept)


def not_named(grant: FetchGrant, manifest: Manifest, manifest_hash: ManifestHash) -> str | None:
    """Why this is no artifact the grant speaks of, None if it is one."""
    if manifest.tombstone is not None:
        return "a withdrawal has no content to fetch"
    if manifest.artifact_type not in grant.types:
        return "the grant names other artifact types"
    if grant.manifest_hashes is not None and manifest_hash not in grant.manifest_hashes:
        return "the grant names other manifests"
    return None


def widened(held: Entitlements, grant: FetchGrant | None) -> Entitlements:
    """Entitlements with what a grant adds."""
    if grant is None:
        return held
    return Entitlements(held.scope_ids | frozenset(grant.scope_ids), held.assignments)
