"""Who may know of an artifact and who may fetch it.

Decides: `authorize(subject, object, verb, facts, now)`, from what the peer showed on this
connection and nothing else.
Keeps: all eight checks must pass; a fact that is missing denies; one fact less, or one revocation
more, never allows; the decision depends on its arguments alone.
Must not know: what the node holds, which peer asked before, how the answer is worded.

| check | passes when | unknown, which denies, when |
|---|---|---|
| node identity | the leaf rules passed on this connection, the certificate has not ended | no leaf; the clock is suspect near its end |
| cluster membership | claims of this cluster and epoch, unexpired | no claims, a newer epoch, an expired bundle |
| role assignment | a role of the claims has the verb | no rule for any of its roles |
| artifact scope | the items shown, the grant and the narrowing let it hold the artifact | the audience is not known |
| organization | the artifact names no organisation, or one that was shown | nothing was shown |
| artifact type | a role that has the verb has the type, and so has the grant where that is used | no rule for any of its roles |
| trust and revocation | nothing it rests on is revoked, and, but for bundles and lists, our list is unexpired and new enough | no list, expired, too old; no manifest hash or signer to look up |
| partition and degraded policy | the mode lets this node serve it | the mode forbids to judge at all |

For the trust lane (bundle, revocation list, tombstones, a node's own snapshot) a valid certificate
alone makes a member, so that a change of epoch locks nobody out.
"""  # noqa: E501  # a table

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from fabgossip.model.artifact import TRUST_TYPES, ArtifactType, Manifest
from fabgossip.model.authority import (
    Narrowing,
    NodeIdentity,
    RoleRule,
    Verb,
    VerifiedClaims,
    VerifiedGrant,
)
from fabgossip.model.ids import KeyId, ManifestHash
from fabgossip.model.mode import Action
from fabgossip.model.moment import UnixTime, is_past, seconds_after
from fabgossip.model.scope import (
    Audience,
    Entitlements,
    Family,
    ScopeId,
    ScopeKind,
    may_hold,
    may_share,
)
from fabgossip.trust.facts import TrustFacts
from fabgossip.trust.grants import narrowed, widened
from fabgossip.trust.identity import CLOCK_TOLERANCE_S
from fabgossip.trust.minimums import Demanding, lacking
from fabgossip.trust.modes import may
from fabgossip.trust.rejections import RejectionCode


class Check(Enum):
    """The outcome of one check; UNKNOWN denies like FAIL and differs in the audit only."""

    PASS = "pass"  # noqa: S105 - an outcome, no password
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A peer as this connection shows it; None for what it did not show, or not well enough."""

    identity: NodeIdentity | None
    claims: VerifiedClaims | None
    grant: VerifiedGrant | None = None
    narrowing: Narrowing | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """The artifact in question; `manifest` None where this node knows of none."""

    manifest: Manifest | None
    manifest_hash: ManifestHash | None = None
    signed_by: tuple[KeyId, ...] = ()
    is_current: bool = True
    """Whether it would be served as the current version; else as stale, until it expires."""

    @property
    def is_trust_lane(self) -> bool:
        """What a valid certificate alone entitles to: a change of epoch locks no node out."""
        manifest = self.manifest
        return manifest is not None and (
            manifest.is_restriction or manifest.namespace.family is Family.SNAPSHOT_NODE
        )

    def is_lane_of(self, subject: Subject) -> bool:
        """Whether it is in the trust lane of this very subject: the snapshot and the tombstones of
        others are not."""
        manifest = self.manifest
        if manifest is None or subject.identity is None:
            return False
        return manifest.is_lane_of(subject.identity.node_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Allow or deny, and the checks in their order; `denied_by` names the first that did not pass,
    or DENY_INTERNAL."""

    allow: bool
    denied_by: str | None
    checks: tuple[tuple[str, Check], ...]


def authorize(
    subject: Subject, about: Object, verb: Verb, facts: TrustFacts, now: UnixTime
) -> Decision:
    """Whether `subject` may do `verb` with `about`. Pure and total: bad input denies, and so does a
    check that fails to decide."""
    try:
        checks = tuple((name, check(subject, about, verb, facts, now)) for name, check in CHECKS)
    except Exception:  # noqa: BLE001  # whatever is wrong here must not open a door, nor end the node
        return Decision(allow=False, denied_by=RejectionCode.DENY_INTERNAL.value, checks=())
    denied_by = next((name for name, outcome in checks if outcome is not Check.PASS), None)
    return Decision(allow=denied_by is None, denied_by=denied_by, checks=checks)


def is_authorized(
    subject: Subject, about: Object, verb: Verb, facts: TrustFacts, now: UnixTime
) -> bool:
    """What `authorize` allows, for who needs no reasons: it asks no further than the first check
    that does not pass. A node that stores for thousands asks this of each of their snapshots."""
    try:
        return all(check(subject, about, verb, facts, now) is Check.PASS for _, check in CHECKS)
    except Exception:  # noqa: BLE001  # as above
        return False


def _outcome(passed: bool) -> Check:  # noqa: FBT001  # a verdict, given by position
    return Check.PASS if passed else Check.FAIL


def _identity(subject: Subject, _: Object, __: Verb, facts: TrustFacts, now: UnixTime) -> Check:
    identity = subject.identity
    if identity is None:
        return Check.UNKNOWN
    if is_past(identity.expires_at, now):
        return Check.FAIL
    edge = seconds_after(identity.expires_at, -CLOCK_TOLERANCE_S)
    if facts.freshness.is_clock_suspect and is_past(edge, now):
        return Check.UNKNOWN
    return Check.PASS


def _membership(
    subject: Subject, about: Object, _: Verb, facts: TrustFacts, now: UnixTime
) -> Check:
    if about.is_lane_of(subject):
        return Check.PASS
    if subject.claims is None or is_past(facts.bundle_expires_at, now):
        return Check.UNKNOWN
    claims, bundle = subject.claims.claims, facts.bundle
    if claims.authority_epoch > bundle.authority_epoch:
        return Check.UNKNOWN
    same = (claims.platform_id, claims.cluster_id, claims.authority_epoch) == (
        bundle.platform_id,
        bundle.cluster_id,
        bundle.authority_epoch,
    )
    is_own = subject.identity is not None and claims.node_id == subject.identity.node_id
    return _outcome(same and is_own and not is_past(claims.expires_at, now))


def _rules_of(subject: Subject, facts: TrustFacts) -> tuple[RoleRule, ...]:
    roles = () if subject.claims is None else subject.claims.claims.roles
    return tuple(rule for rule in facts.bundle.role_rules if rule.role in roles)


def _role(subject: Subject, about: Object, verb: Verb, facts: TrustFacts, _: UnixTime) -> Check:
    if about.is_lane_of(subject):
        return Check.PASS
    rules = _rules_of(subject, facts)
    if not rules:
        return Check.UNKNOWN
    return _outcome(any(verb in rule.verbs for rule in rules))


def types_known(roles: tuple[str, ...], facts: TrustFacts) -> frozenset[ArtifactType]:
    """The types a node of these roles may know of at all, wherever it may hold them."""
    known = frozenset(
        kind
        for rule in facts.bundle.role_rules
        if rule.role in roles and Verb.KNOW in rule.verbs
        for kind in rule.types
    )
    return known | TRUST_TYPES


def entitlements_of(subject: Subject) -> Entitlements:
    """What a request of the subject rests on: the items shown and the grant, narrowed."""
    held = Entitlements(frozenset()) if subject.claims is None else subject.claims.entitlements
    grant = None if subject.grant is None else subject.grant.grant
    return narrowed(widened(held, grant), subject.narrowing)


def _holds(held: Entitlements, manifest: Manifest) -> bool:
    return may_hold(manifest.audience, manifest.artifact_type.value, manifest.namespace.text, held)


def _is_within(subject: Subject, about: Object) -> bool:
    """Whether the narrowing leaves this artifact in."""
    narrowing, manifest = subject.narrowing, about.manifest
    if narrowing is None or manifest is None:
        return True
    if narrowing.types is not None and manifest.artifact_type not in narrowing.types:
        return False
    hashes = narrowing.manifest_hashes
    return hashes is None or about.manifest_hash in hashes


def _scope(subject: Subject, about: Object, _: Verb, __: TrustFacts, ___: UnixTime) -> Check:
    manifest = about.manifest
    if manifest is None:
        return Check.UNKNOWN
    if not _is_within(subject, about):
        return Check.FAIL
    if about.is_lane_of(subject):
        return Check.PASS
    if subject.claims is None:
        return Check.UNKNOWN
    if not _holds(entitlements_of(subject), manifest):
        return Check.FAIL
    return _outcome(not _rests_on_grant(subject, manifest) or _granted(subject, about))


def _rests_on_grant(subject: Subject, manifest: Manifest) -> bool:
    if subject.grant is None or subject.claims is None:
        return False
    return not _holds(narrowed(subject.claims.entitlements, subject.narrowing), manifest)


def _granted(subject: Subject, about: Object) -> bool:
    """Whether the grant itself speaks of this manifest, where it is needed."""
    assert subject.grant is not None
    hashes = subject.grant.grant.manifest_hashes
    return hashes is None or about.manifest_hash in hashes


def _organization(subject: Subject, about: Object, _: Verb, __: TrustFacts, ___: UnixTime) -> Check:
    """No organisation is crossed, and a grant opens none."""
    if about.manifest is None:
        return Check.UNKNOWN
    org = about.manifest.audience.org
    if org is None:
        return Check.PASS
    shown = frozenset() if subject.claims is None else shown_orgs(subject.claims)
    if not shown:
        return Check.UNKNOWN
    return _outcome(org in shown)


def _type(subject: Subject, about: Object, verb: Verb, facts: TrustFacts, _: UnixTime) -> Check:
    manifest = about.manifest
    if manifest is None:
        return Check.UNKNOWN
    if about.is_lane_of(subject):
        return Check.PASS
    rules = _rules_of(subject, facts)
    if not rules:
        return Check.UNKNOWN
    kind = manifest.artifact_type
    if not any(verb in rule.verbs and kind in rule.types for rule in rules):
        return Check.FAIL
    if not _rests_on_grant(subject, manifest):
        return Check.PASS
    assert subject.grant is not None
    grant = subject.grant.grant
    return _outcome(kind in grant.types and verb in grant.verbs)


def _revocation(
    subject: Subject, about: Object, _: Verb, facts: TrustFacts, now: UnixTime
) -> Check:
    """A revocation known denies however old our list is; none known allows only while it is
    unexpired and as new as everything involved demands. What nobody named or signed cannot be
    looked up in it."""
    relied = _relied_on(subject, about)
    if _is_revoked(relied, about, facts):
        return Check.FAIL
    if about.manifest_hash is None or not about.signed_by:
        return Check.UNKNOWN
    if about.manifest is not None and about.manifest.artifact_type in TRUST_TYPES:
        # To be told of trust grants nothing. Were a list in time needed for it, an ended one would
        # keep itself, and the next epoch its bundle, from whom they take something away.
        return Check.PASS
    expires_at = facts.revocations_expires_at
    if expires_at is None or is_past(expires_at, now):
        return Check.UNKNOWN
    demands = _demands(relied, about)
    lacks = any(lacking(one, facts.bundle, facts.revoked) is not None for one in demands)
    return Check.UNKNOWN if lacks else Check.PASS


def _relied_on(subject: Subject, about: Object) -> Subject:
    """What of the subject the decision rests on. A grant that is not needed, or claims where the
    certificate alone counts, must not deny: to show less would allow more
    (`tests/attacks/test_authorization.py`)."""
    manifest = about.manifest
    if manifest is None:
        return subject
    if about.is_lane_of(subject):
        claims = None if manifest.audience.org is None else subject.claims
        return replace(subject, claims=claims, grant=None)
    if subject.grant is None or _rests_on_grant(subject, manifest):
        return subject
    return replace(subject, grant=None)


def _is_revoked(subject: Subject, about: Object, facts: TrustFacts) -> bool:
    revoked, identity = facts.revoked, subject.identity
    if identity is not None and revoked.has_identity(facts.bundle.cluster_id, identity):
        return True
    manifest, manifest_hash = about.manifest, about.manifest_hash
    # A list takes nothing from roots, nor from trust itself: see `trust/signers.py`.
    is_bundle = manifest is not None and manifest.artifact_type is ArtifactType.TRUST_BUNDLE
    signers = [] if is_bundle else [*about.signed_by]
    if subject.claims is not None:
        signers += subject.claims.signed_by
    if subject.grant is not None:
        signers += subject.grant.signed_by
        if revoked.has_grant(subject.grant.grant.grant_id):
            return True
    if any(revoked.has_key(key_id) for key_id in signers):
        return True
    return (
        manifest is not None
        and manifest_hash is not None
        and manifest.artifact_type not in TRUST_TYPES
        and revoked.has_artifact(manifest_hash, manifest.content_hash)
    )


def _demands(subject: Subject, about: Object) -> tuple[Demanding, ...]:
    """All that says how new trust must be to go by it."""
    claims = () if subject.claims is None else (subject.claims.claims,)
    grant = () if subject.grant is None else (subject.grant.grant,)
    manifest = () if about.manifest is None else (about.manifest,)
    return (*manifest, *claims, *grant)


def _mode(_: Subject, about: Object, __: Verb, facts: TrustFacts, now: UnixTime) -> Check:
    manifest = about.manifest
    if manifest is None:
        return Check.UNKNOWN
    if is_past(manifest.expires_at, now) and not about.is_trust_lane:
        return Check.FAIL
    if about.is_trust_lane:
        actions: tuple[Action, ...] = (Action.SERVE_TRUST_LANE,)
    elif about.is_current:
        # Where it may not be served as current it may still be served as stale, until it expires.
        actions = (Action.SERVE_CURRENT, Action.SERVE_STALE)
    else:
        actions = (Action.SERVE_STALE,)
    return _outcome(any(may(action, facts.freshness, now).allowed for action in actions))


_Check = Callable[[Subject, Object, Verb, TrustFacts, UnixTime], Check]
CHECKS: Final[tuple[tuple[str, _Check], ...]] = (
    ("node_identity", _identity),
    ("cluster_membership", _membership),
    ("role_assignment", _role),
    ("artifact_scope", _scope),
    ("organization", _organization),
    ("artifact_type", _type),
    ("trust_revocation", _revocation),
    ("degraded_policy", _mode),
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
