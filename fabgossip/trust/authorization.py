"""Who may know of an artifact and who may fetch it.

Decides: `authorize(subject, object, verb, facts, now)`, from what the peer showed on this
connection and nothing else.
Keeps: every check must pass; a fact that is missing denies; the decision depends on its arguments
alone.
Must not know: what the node holds, which peer asked before, how the answer is worded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from fabgossip.model.artifact import TRUST_TYPES, Manifest
from fabgossip.model.authority import NodeIdentity, VerifiedClaims
from fabgossip.model.ids import ManifestHash
from fabgossip.model.moment import UnixTime, is_past
from fabgossip.model.scope import Audience, Family, ScopeId, ScopeKind, may_hold, may_share
from fabgossip.trust.gate import TrustFacts


class Check(Enum):
    """The outcome of one check; UNKNOWN denies like FAIL and differs in the audit only."""

    PASS = "pass"  # noqa: S105 - an outcome, no password
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A peer as this connection shows it; `claims` is None until verified ones were shown."""

    identity: NodeIdentity
    claims: VerifiedClaims | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """The artifact in question."""

    manifest: Manifest
    manifest_hash: ManifestHash

    @property
    def is_trust_lane(self) -> bool:
        """What a valid certificate alone entitles to: a change of epoch locks no node out."""
        return (
            self.manifest.artifact_type in TRUST_TYPES
            or self.manifest.namespace.family is Family.SNAPSHOT_NODE
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Allow or deny, and the checks in their order."""

    allow: bool
    denied_by: str | None
    checks: tuple[tuple[str, Check], ...]


def authorize(subject: Subject, about: Object, facts: TrustFacts, now: UnixTime) -> Decision:
    """Whether `subject` may know of, and so fetch, `about`."""
    checks = tuple((name, check(subject, about, facts, now)) for name, check in CHECKS)
    denied_by = next((name for name, outcome in checks if outcome is not Check.PASS), None)
    return Decision(allow=denied_by is None, denied_by=denied_by, checks=checks)


def _identity(subject: Subject, _: Object, facts: TrustFacts, now: UnixTime) -> Check:
    return Check.FAIL if is_past(subject.identity.expires_at, now) else Check.PASS


def _membership(subject: Subject, about: Object, facts: TrustFacts, now: UnixTime) -> Check:
    # The snapshot of another node is in the trust lane of that node only.
    if about.is_trust_lane and about.manifest.namespace.node_id in (None, subject.identity.node_id):
        return Check.PASS
    if subject.claims is None:
        return Check.UNKNOWN
    claims = subject.claims.claims
    if (
        claims.cluster_id != facts.bundle.cluster_id
        or claims.authority_epoch != facts.bundle.authority_epoch
    ):
        return Check.FAIL
    return Check.FAIL if is_past(claims.expires_at, now) else Check.PASS


def _scope(subject: Subject, about: Object, _: TrustFacts, __: UnixTime) -> Check:
    manifest = about.manifest
    node_id = manifest.namespace.node_id
    if about.is_trust_lane and node_id is None:
        return Check.PASS
    if node_id is not None and node_id == subject.identity.node_id:
        return Check.PASS
    if subject.claims is None:
        return Check.UNKNOWN
    held = subject.claims.entitlements
    allowed = may_hold(
        manifest.audience, manifest.artifact_type.value, manifest.namespace.text, held
    )
    return Check.PASS if allowed else Check.FAIL


def _organization(subject: Subject, about: Object, _: TrustFacts, __: UnixTime) -> Check:
    org = about.manifest.audience.org
    if org is None:
        return Check.PASS
    if subject.claims is None:
        return Check.UNKNOWN
    return Check.PASS if org in shown_orgs(subject.claims) else Check.FAIL


def _revocation(subject: Subject, about: Object, facts: TrustFacts, _: UnixTime) -> Check:
    revoked, identity = facts.revoked, subject.identity
    if revoked.has_node(facts.bundle.cluster_id, identity.node_id):
        return Check.FAIL
    if revoked.has_certificate(identity.certificate_hash):
        return Check.FAIL
    return (
        Check.FAIL
        if revoked.has_artifact(about.manifest_hash, about.manifest.content_hash)
        else Check.PASS
    )


_Check = Callable[[Subject, Object, TrustFacts, UnixTime], Check]
CHECKS: Final[tuple[tuple[str, _Check], ...]] = (
    ("node_identity", _identity),
    ("cluster_membership", _membership),
    ("artifact_scope", _scope),
    ("organization", _organization),
    ("revocation", _revocation),
)
"""Checked in this order; the first that does not pass names the denial."""


def shown_orgs(claims: VerifiedClaims) -> frozenset[ScopeId]:
    """The organisations a peer showed, as a member or in an assignment."""
    member = {scope for scope in claims.entitlements.scope_ids if scope.kind is ScopeKind.ORG}
    assigned = {org for one in claims.entitlements.assignments for org in one.org_ids}
    return frozenset(member | assigned)


def may_disclose(claims: VerifiedClaims | None, audience: Audience) -> bool:
    """Whether a peer, by what it showed on this connection, may know that the audience exists.
    Unknown is no.
    """
    return claims is not None and may_share(audience, claims.entitlements)
