"""Who may know of an artifact: every check must pass, what is missing denies, nothing leaks."""

from dataclasses import dataclass, replace
from itertools import chain, combinations

import pytest

from fabgossip.model.artifact import TRUST_TYPES, ArtifactType, Manifest
from fabgossip.model.authority import (
    Narrowing,
    NodeIdentity,
    Opening,
    RevokedKind,
    RoleRule,
    Verb,
    VerifiedClaims,
)
from fabgossip.model.envelope import PayloadKind
from fabgossip.model.ids import ClusterId, ManifestHash, NodeId
from fabgossip.model.moment import UnixTime
from fabgossip.model.scope import Entitlements, ScopeId, StorageAssignment, parse_scope_id
from fabgossip.trust.authorization import (
    CHECKS,
    Check,
    Decision,
    Object,
    Subject,
    authorize,
    is_authorized,
    may_disclose,
    shown_orgs,
    types_known,
)
from fabgossip.trust.facts import TrustFacts
from fabgossip.trust.identity import verify_claims, verify_leaf
from fabgossip.trust.revocation import NOTHING_REVOKED, Revoked, node_token
from fabgossip.wire.statements import claims_bytes, manifest_bytes
from tests.trust import factory as f

T = ArtifactType
LEAF = f.leaf_der(f.Leaf())


def identity() -> NodeIdentity:
    found = verify_leaf(LEAF, f.BUNDLE, NOTHING_REVOKED, f.NOW)
    assert isinstance(found, NodeIdentity)
    return found


def shown(openings: tuple[Opening, ...] = f.OPENINGS) -> VerifiedClaims:
    raw = f.sealed(PayloadKind.NODE_CLAIMS, claims_bytes(f.claims()), f.CLAIMER)
    found = verify_claims(raw, openings, f.NODE, f.claims_trust(), f.BOTH_CLOCKS)
    assert isinstance(found, VerifiedClaims)
    return found


def holding(*scopes: str, assignments: tuple[StorageAssignment, ...] = ()) -> VerifiedClaims:
    """Claims that reveal exactly these scope ids beside the cluster."""
    ids = frozenset(parse_scope_id(text) for text in ("cluster:prod", *scopes))
    return replace(shown(), entitlements=Entitlements(ids, assignments))


IDENTITY = identity()
FULL = Subject(identity=IDENTITY, claims=shown())
STRANGER = Subject(identity=IDENTITY, claims=None)


def about(statement: Manifest) -> Object:
    return Object(
        manifest=statement,
        manifest_hash=ManifestHash(f.hash_of(manifest_bytes(statement))),
        signed_by=statement.signer_key_ids,
    )


def decision(
    subject: Subject, statement: Manifest, facts: TrustFacts = f.FACTS, now: UnixTime = f.NOW
) -> Decision:
    """The decision; whoever asks for the verdict alone gets the same one."""
    verdict = authorize(subject, about(statement), Verb.FETCH, facts, now)
    assert is_authorized(subject, about(statement), Verb.FETCH, facts, now) is verdict.allow
    return verdict


ROUTES = f.manifest(T.ROUTE_POLICY_BUNDLE)
ORG_ROUTES = f.manifest(T.ROUTE_POLICY_BUNDLE, "org/acme/routes/r1")
OTHER_ORG = f.manifest(T.ROUTE_POLICY_BUNDLE, "org/globex/routes/r1")
OTHER_SNAPSHOT = f.manifest(T.CLUSTER_SNAPSHOT, "snapshots/node/n2")
OWN_SNAPSHOT = f.manifest(T.CLUSTER_SNAPSHOT, "snapshots/node/n1")
TRUST_LANE = (
    f.manifest(T.TRUST_BUNDLE),
    f.manifest(T.REVOCATION_LIST),
    OWN_SNAPSHOT,
)
EVERYTHING = (
    *(f.manifest(kind) for kind in ArtifactType),
    ORG_ROUTES,
    OTHER_ORG,
    OTHER_SNAPSHOT,
    f.manifest(T.SERVICE_ASSIGNMENT_BUNDLE, "org/globex/services/web"),
    f.manifest(T.CLUSTER_SNAPSHOT, "snapshots/role/core"),
)


def test_a_peer_may_know_what_it_showed_it_may_hold() -> None:
    verdict = decision(FULL, ORG_ROUTES)
    assert verdict.allow
    assert verdict.denied_by is None
    assert {outcome for _, outcome in verdict.checks} == {Check.PASS}


def expired_claims() -> VerifiedClaims:
    claims = shown()
    return replace(claims, claims=replace(claims.claims, expires_at=f.NOW))


def claims_of(**fields: object) -> VerifiedClaims:
    claims = shown()
    return replace(claims, claims=replace(claims.claims, **fields))  # type: ignore[arg-type]  # by name


@dataclass(frozen=True)
class Case:
    """One thing missing or wrong, and the check that must name it."""

    denied_by: str
    outcome: Check
    subject: Subject = FULL
    statement: Manifest = ROUTES
    facts: TrustFacts = f.FACTS
    now: UnixTime = f.NOW


def revoked(kind: RevokedKind, value: bytes) -> TrustFacts:
    return replace(f.FACTS, revoked=Revoked(5, frozenset({(kind, value)})))


RULE = f.role_rule("edge")
CLAIMED_FOR_LONG = Subject(
    identity=replace(IDENTITY, expires_at=UnixTime(f.NOW + 2 * f.DAY)),
    claims=claims_of(expires_at=UnixTime(f.NOW + 2 * f.DAY)),
)


def with_rules(*rules: RoleRule) -> TrustFacts:
    return replace(f.FACTS, bundle=replace(f.BUNDLE, role_rules=rules))


CASES: dict[str, Case] = {
    "the certificate expired": Case("node_identity", Check.FAIL, now=IDENTITY.expires_at),
    "no claims": Case("cluster_membership", Check.UNKNOWN, STRANGER),
    "claims expired": Case(
        "cluster_membership", Check.FAIL, Subject(identity=IDENTITY, claims=expired_claims())
    ),
    "claims of the epoch before": Case(
        "cluster_membership",
        Check.FAIL,
        Subject(identity=IDENTITY, claims=claims_of(authority_epoch=1)),
    ),
    "claims of another cluster": Case(
        "cluster_membership",
        Check.FAIL,
        Subject(identity=IDENTITY, claims=claims_of(cluster_id=ClusterId("test"))),
    ),
    "another role": Case(
        "artifact_scope",
        Check.FAIL,
        statement=f.manifest(T.CLUSTER_SNAPSHOT, "snapshots/role/core"),
    ),
    "another organisation": Case("artifact_scope", Check.FAIL, statement=OTHER_ORG),
    "an organisation not shown": Case(
        "artifact_scope",
        Check.FAIL,
        Subject(identity=IDENTITY, claims=shown((f.SERVICE_OPENING,))),
        ORG_ROUTES,
    ),
    "the snapshot of another node": Case("artifact_scope", Check.FAIL, statement=OTHER_SNAPSHOT),
    "the snapshot of another node, no claims": Case(
        "cluster_membership", Check.UNKNOWN, STRANGER, OTHER_SNAPSHOT
    ),
    "the certificate ends soon, by a clock in doubt": Case(
        "node_identity",
        Check.UNKNOWN,
        facts=replace(f.FACTS, freshness=replace(f.FACTS.freshness, is_clock_suspect=True)),
        now=UnixTime(IDENTITY.expires_at - 120),
    ),
    "an expired bundle": Case(
        "cluster_membership", Check.UNKNOWN, facts=replace(f.FACTS, bundle_expires_at=f.NOW)
    ),
    "claims of the epoch after": Case(
        "cluster_membership",
        Check.UNKNOWN,
        Subject(identity=IDENTITY, claims=claims_of(authority_epoch=3)),
    ),
    "claims of another node": Case(
        "cluster_membership",
        Check.FAIL,
        Subject(identity=IDENTITY, claims=claims_of(node_id=NodeId("n2"))),
    ),
    "narrowed to another type": Case(
        "artifact_scope",
        Check.FAIL,
        replace(FULL, narrowing=Narrowing(types=(T.QOS_POLICY_BUNDLE,))),
    ),
    "narrowed to another manifest": Case(
        "artifact_scope",
        Check.FAIL,
        replace(FULL, narrowing=Narrowing(manifest_hashes=(ManifestHash(bytes(32)),))),
    ),
    "narrowed to other scopes": Case(
        "artifact_scope",
        Check.FAIL,
        replace(FULL, narrowing=Narrowing(scope_ids=(ScopeId("role:edge"),))),
    ),
    "an expired list": Case(
        "trust_revocation", Check.UNKNOWN, facts=replace(f.FACTS, revocations_expires_at=f.NOW)
    ),
    "no list at all": Case(
        "trust_revocation", Check.UNKNOWN, facts=replace(f.FACTS, revocations_expires_at=None)
    ),
    "needs a later list": Case(
        "trust_revocation", Check.UNKNOWN, statement=replace(ROUTES, min_revocation_version=6)
    ),
    "needs a later bundle": Case(
        "trust_revocation", Check.UNKNOWN, statement=replace(ROUTES, min_trust_version=4)
    ),
    "claims whose key is revoked": Case(
        "trust_revocation",
        Check.FAIL,
        facts=revoked(RevokedKind.SIGNING_KEY, f.CLAIMER.key_id),
    ),
    "a role without the verb": Case(
        "role_assignment", Check.FAIL, facts=with_rules(replace(RULE, verbs=(Verb.KNOW,)))
    ),
    "no rule for any of its roles": Case("role_assignment", Check.UNKNOWN, facts=with_rules()),
    "a role without the type": Case(
        "artifact_type", Check.FAIL, facts=with_rules(f.role_rule("edge", T.QOS_POLICY_BUNDLE))
    ),
    "a type and a verb of two roles": Case(
        "artifact_type",
        Check.FAIL,
        Subject(identity=IDENTITY, claims=claims_of(roles=("core", "edge"))),
        facts=with_rules(
            replace(RULE, verbs=(Verb.KNOW,)), f.role_rule("core", T.QOS_POLICY_BUNDLE)
        ),
    ),
    "a node that has forgotten what it knew": Case(
        "degraded_policy",
        Check.FAIL,
        facts=replace(f.FACTS, freshness=replace(f.FACTS.freshness, has_amnesia=True)),
    ),
    "expired": Case(
        "degraded_policy",
        Check.FAIL,
        CLAIMED_FOR_LONG,
        facts=replace(f.FACTS, revocations_expires_at=UnixTime(f.NOW + 2 * f.DAY)),
        now=ROUTES.expires_at,
    ),
    "the node is revoked": Case(
        "trust_revocation",
        Check.FAIL,
        facts=revoked(RevokedKind.NODE, node_token(f.CLUSTER, f.NODE)),
    ),
    "the certificate is revoked": Case(
        "trust_revocation",
        Check.FAIL,
        facts=revoked(RevokedKind.CERTIFICATE, IDENTITY.certificate_hash),
    ),
    "the manifest is revoked": Case(
        "trust_revocation",
        Check.FAIL,
        facts=revoked(RevokedKind.MANIFEST, f.hash_of(manifest_bytes(ROUTES))),
    ),
    "the content is revoked": Case(
        "trust_revocation",
        Check.FAIL,
        facts=revoked(RevokedKind.CONTENT, bytes(ROUTES.content_hash)),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_one_thing_wrong_denies_by_its_name(case: Case) -> None:
    verdict = decision(case.subject, case.statement, case.facts, case.now)
    assert not verdict.allow
    assert verdict.denied_by == case.denied_by
    assert dict(verdict.checks)[case.denied_by] is case.outcome


def test_an_organisation_held_by_a_shown_assignment_counts_as_shown() -> None:
    stored = f.manifest(T.SERVICE_ASSIGNMENT_BUNDLE, "org/globex/services/web")
    assert decision(FULL, stored).allow
    without = Subject(identity=IDENTITY, claims=shown((f.ORG_OPENING,)))
    assert not decision(without, stored).allow


def test_an_own_snapshot_under_an_organisation_waits_for_that_organisation_to_be_shown() -> None:
    own = f.manifest(T.CLUSTER_SNAPSHOT, "org/acme/snapshots/node/n1")
    assert decision(FULL, own).allow
    hidden = Subject(identity=IDENTITY, claims=shown((f.SERVICE_OPENING,)))
    for subject in (STRANGER, hidden):
        verdict = decision(subject, own)
        assert verdict.denied_by == "organization"
        assert dict(verdict.checks)["organization"] is Check.UNKNOWN


# The trust lane.


@pytest.mark.parametrize("statement", TRUST_LANE, ids=lambda one: one.namespace.text)
def test_a_certificate_alone_entitles_to_the_trust_lane(statement: Manifest) -> None:
    assert decision(STRANGER, statement).allow
    outdated = Subject(identity=IDENTITY, claims=claims_of(authority_epoch=1))
    assert decision(outdated, statement).allow


@pytest.mark.parametrize("statement", TRUST_LANE, ids=lambda one: one.namespace.text)
def test_the_trust_lane_is_closed_to_a_revoked_or_expired_node(statement: Manifest) -> None:
    gone = revoked(RevokedKind.NODE, node_token(f.CLUSTER, f.NODE))
    assert not decision(STRANGER, statement, gone).allow
    assert not decision(STRANGER, statement, now=IDENTITY.expires_at).allow


STORES_ALL = StorageAssignment((parse_scope_id("cluster:prod"),), ("cluster_snapshot",))


def test_the_snapshot_of_another_node_needs_claims_that_still_count() -> None:
    claims = holding(assignments=(STORES_ALL,))
    assert decision(Subject(identity=IDENTITY, claims=claims), OTHER_SNAPSHOT).allow
    for fields in ({"authority_epoch": 1}, {"expires_at": f.NOW}):
        old = replace(claims, claims=replace(claims.claims, **fields))
        assert not decision(Subject(identity=IDENTITY, claims=old), OTHER_SNAPSHOT).allow


def test_a_rule_is_of_its_role_alone_and_without_one_nothing_is_known() -> None:
    verdict = decision(FULL, ROUTES, with_rules(f.role_rule("core")))
    assert verdict.denied_by == "role_assignment"
    assert dict(verdict.checks)["role_assignment"] is Check.UNKNOWN
    assert dict(verdict.checks)["artifact_type"] is Check.UNKNOWN


def test_what_a_revoked_key_signed_is_served_to_nobody() -> None:
    one = replace(about(ROUTES), signed_by=(f.POLICY.key_id,))
    assert authorize(FULL, one, Verb.FETCH, f.FACTS, f.NOW).allow
    gone = revoked(RevokedKind.SIGNING_KEY, f.POLICY.key_id)
    assert authorize(FULL, one, Verb.FETCH, gone, f.NOW).denied_by == "trust_revocation"


def test_a_revocation_list_closes_no_way_to_the_bundle() -> None:
    """A thief of its key could otherwise keep from everybody the bundle that ends it."""
    bundle = f.manifest(T.TRUST_BUNDLE)
    root = f.ROOTS[0].key_id
    one = replace(about(bundle), signed_by=(root,))
    entries = {
        (RevokedKind.MANIFEST, f.hash_of(manifest_bytes(bundle))),
        (RevokedKind.CONTENT, bundle.content_hash),
        (RevokedKind.SIGNING_KEY, root),
    }
    for entry in entries:
        assert authorize(STRANGER, one, Verb.FETCH, revoked(*entry), f.NOW).allow


# Invariants.


def test_removing_claims_never_allows() -> None:
    for openings in subsets(f.OPENINGS):
        some = Subject(identity=IDENTITY, claims=shown(openings))
        for statement in EVERYTHING:
            allowed = decision(some, statement).allow
            assert allowed or not decision(STRANGER, statement).allow
            assert decision(FULL, statement).allow or not allowed


def subsets(openings: tuple[Opening, ...]) -> chain[tuple[Opening, ...]]:
    return chain.from_iterable(combinations(openings, n) for n in range(len(openings) + 1))


def test_a_revocation_never_allows() -> None:
    entries = [
        revoked(kind, value)
        for kind in RevokedKind
        for value in (
            IDENTITY.certificate_hash,
            node_token(f.CLUSTER, f.NODE),
            node_token(f.CLUSTER, NodeId("n2")),
            bytes(ROUTES.content_hash),
        )
    ]
    for subject in (FULL, STRANGER):
        for statement in EVERYTHING:
            before = decision(subject, statement).allow
            assert all(before or not decision(subject, statement, one).allow for one in entries)


@pytest.mark.parametrize("kind", sorted(set(ArtifactType) - TRUST_TYPES))
def test_no_entitlement_of_one_organisation_opens_another(kind: ArtifactType) -> None:
    tail = f.manifest(kind).namespace.text.removeprefix(f"{f.PREFIX}/")
    foreign = f.manifest(kind, f"org/globex/{tail.replace('node/n1', 'node/n2')}")
    everything_else = ("org:acme", "role:edge", "node:n1", "node:n2", "service:dns")
    wide = tuple(
        StorageAssignment(tuple(ScopeId(text) for text in scopes), (kind.value,))
        for scopes in (
            ("cluster:prod",),
            ("cluster:prod", "org:acme"),
            ("role:edge",),
            ("service:dns",),
            ("node:n2",),
        )
    )
    peer = Subject(identity=IDENTITY, claims=holding(*everything_else, assignments=wide))
    assert not decision(peer, foreign).allow
    member = Subject(identity=IDENTITY, claims=holding(*everything_else, "org:globex"))
    assert decision(member, foreign).allow


def test_the_decision_depends_on_its_arguments_only() -> None:
    first = [decision(subject, one) for subject in (FULL, STRANGER) for one in EVERYTHING]
    again = [decision(subject, one) for subject in (FULL, STRANGER) for one in EVERYTHING]
    assert first == again


# Disclosure.


@pytest.mark.parametrize(
    "unknown", [{"manifest_hash": None}, {"signed_by": ()}], ids=["its hash", "its signers"]
)
def test_what_cannot_be_looked_up_in_the_revocation_list_is_not_served(
    unknown: dict[str, tuple[()] | None],
) -> None:
    one = replace(about(ROUTES), **unknown)  # type: ignore[arg-type]  # fields of it
    verdict = authorize(FULL, one, Verb.FETCH, f.FACTS, f.NOW)
    assert verdict.denied_by == "trust_revocation"
    assert dict(verdict.checks)["trust_revocation"] is Check.UNKNOWN


@pytest.mark.parametrize("place", range(len(CHECKS)))
def test_a_check_that_breaks_denies(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Check:
        raise KeyError("nobody thought of that")

    checks = list(CHECKS)
    checks[place] = (checks[place][0], broken)
    monkeypatch.setattr("fabgossip.trust.authorization.CHECKS", tuple(checks))
    verdict = decision(FULL, ROUTES)
    assert (verdict.allow, verdict.denied_by) == (False, "DENY_INTERNAL")


def test_nothing_is_disclosed_to_who_showed_nothing() -> None:
    assert not any(may_disclose(None, one.audience) for one in EVERYTHING)


def test_an_audience_is_disclosed_to_its_members_and_their_stores_only() -> None:
    acme, globex = ORG_ROUTES.audience, OTHER_ORG.audience
    assert may_disclose(holding("org:acme"), acme)
    assert not may_disclose(holding("org:acme"), globex)
    assert may_disclose(shown((f.ASSIGNMENT_OPENING,)), globex)
    assert not may_disclose(holding(assignments=(STORES_ALL,)), globex)


def test_the_organisations_shown_are_those_of_membership_and_assignment() -> None:
    assert shown_orgs(shown()) == {ScopeId("org:acme"), ScopeId("org:globex")}
    assert shown_orgs(shown((f.ORG_OPENING,))) == {ScopeId("org:acme")}
    assert shown_orgs(shown(())) == frozenset()


def test_a_role_that_may_fetch_a_type_but_not_know_of_it_knows_trust_alone() -> None:
    fetches = RoleRule(role="edge", verbs=(Verb.FETCH,), types=(T.ROUTE_POLICY_BUNDLE,))
    knows = replace(fetches, verbs=(Verb.KNOW,), types=(T.UPDATE_MANIFEST,))
    facts = replace(f.FACTS, bundle=replace(f.BUNDLE, role_rules=(fetches, knows)))
    assert types_known(("edge",), facts) == TRUST_TYPES | {T.UPDATE_MANIFEST}
    assert types_known(("other",), facts) == TRUST_TYPES
