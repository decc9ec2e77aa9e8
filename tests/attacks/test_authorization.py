"""A fact that is missing, read as a yes.

Powers: the attacker decides what the node does not know: it hides claims, openings, grants, lists,
manifests, its own certificate, and the hour. It asks the same things in any order. What it cannot
do is forge what a check rests on.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from random import Random
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabgossip.core.effects import ServeContent
from fabgossip.core.events import AnswersDue
from fabgossip.model.artifact import ArtifactType, Manifest
from fabgossip.model.authority import (
    FetchGrant,
    Narrowing,
    NodeIdentity,
    RevokedKind,
    Verb,
    VerifiedClaims,
    VerifiedGrant,
)
from fabgossip.model.ids import ManifestHash, NodeId
from fabgossip.model.messages import GetContent
from fabgossip.model.mode import Freshness
from fabgossip.model.moment import UnixTime
from fabgossip.model.scope import Entitlements, StorageAssignment, parse_scope_id
from fabgossip.trust import authorization
from fabgossip.trust.authorization import CHECKS, Check, Object, Subject, authorize
from fabgossip.trust.facts import TrustFacts
from fabgossip.trust.identity import verify_claims
from fabgossip.trust.revocation import Revoked, grant_token, node_token
from fabgossip.wire.statements import manifest_bytes
from tests.attacks.powers import ask, frames
from tests.attacks.scene import ATTACKER, Scene
from tests.core.artifacts import routes
from tests.trust import factory as f

NAMES: Final = tuple(name for name, _ in CHECKS)
Outcomes = tuple[Check, ...]
LIVE: Final = NodeIdentity(
    node_id=f.NODE,
    certificate_hash=b"c" * 32,
    expires_at=UnixTime(f.NOW + f.DAY),
    issuer_hash=b"i" * 32,
)


def claims_with(*scopes: str, assignments: tuple[StorageAssignment, ...] = ()) -> VerifiedClaims:
    raw = f.signed_claims(f.claims())
    found = verify_claims(raw, (), f.NODE, f.claims_trust(), f.BOTH_CLOCKS)
    assert isinstance(found, VerifiedClaims)
    ids = frozenset(parse_scope_id(one) for one in ("cluster:prod", "node:n1", *scopes))
    return replace(found, entitlements=Entitlements(ids, assignments))


def object_of(statement: Manifest, *, is_current: bool = True) -> Object:
    return Object(
        manifest=statement,
        manifest_hash=ManifestHash(f.hash_of(manifest_bytes(statement))),
        signed_by=statement.signer_key_ids,
        is_current=is_current,
    )


MEMBER: Final = claims_with("role:edge", "org:acme", "service:dns")
OUTSIDER: Final = claims_with("role:edge")
ROLELESS: Final = replace(MEMBER, claims=replace(MEMBER.claims, roles=()))
KNOWER: Final = replace(MEMBER, claims=replace(MEMBER.claims, roles=("knower",)))
EXPIRED: Final = replace(MEMBER, claims=replace(MEMBER.claims, expires_at=f.NOW))
NEXT_EPOCH: Final = replace(MEMBER, claims=replace(MEMBER.claims, authority_epoch=3))
DEMANDING: Final = replace(MEMBER, claims=replace(MEMBER.claims, min_revocation_version=6))
KEEPER: Final = claims_with("role:edge", assignments=(f.ASSIGNMENT,))
GRANT: Final = VerifiedGrant(grant=f.grant(), signed_by=(f.GRANTER.key_id,))
BUNDLE: Final = replace(
    f.BUNDLE,
    role_rules=(
        *f.BUNDLE.role_rules,
        replace(f.role_rule("knower", ArtifactType.QOS_POLICY_BUNDLE), verbs=(Verb.KNOW,)),
    ),
)
FACTS: Final = replace(f.FACTS, bundle=BUNDLE)
T = ArtifactType
STATEMENTS: Final = (
    f.manifest(T.ROUTE_POLICY_BUNDLE),
    f.manifest(T.ROUTE_POLICY_BUNDLE, "org/acme/routes/r1"),
    f.manifest(T.ROUTE_POLICY_BUNDLE, "org/globex/routes/r1"),
    f.manifest(T.SERVICE_ASSIGNMENT_BUNDLE, "org/globex/services/dns"),
    f.manifest(T.CLUSTER_SNAPSHOT, "snapshots/role/gateway"),
    f.manifest(T.CLUSTER_SNAPSHOT, "snapshots/node/n2"),
    f.manifest(T.CLUSTER_SNAPSHOT),
    f.manifest(T.REVOCATION_LIST),
    replace(f.manifest(T.QOS_POLICY_BUNDLE), expires_at=f.NOW),
    replace(f.manifest(T.QOS_POLICY_BUNDLE), min_trust_version=99),
)


def revoked(kind: RevokedKind, value: bytes) -> Revoked:
    return Revoked(5, frozenset({(kind, value)}))


REVOCATIONS: Final = {
    (RevokedKind.NODE, node_token(f.CLUSTER, f.NODE)),
    (RevokedKind.NODE, node_token(f.CLUSTER, NodeId("n2"))),
    (RevokedKind.CERTIFICATE, LIVE.certificate_hash),
    (RevokedKind.CERTIFICATE, LIVE.issuer_hash),
    (RevokedKind.SIGNING_KEY, f.CLAIMER.key_id),
    (RevokedKind.SIGNING_KEY, f.GRANTER.key_id),
    (RevokedKind.SIGNING_KEY, f.POLICY.key_id),
    (RevokedKind.GRANT, grant_token(GRANT.grant.grant_id)),
    *((RevokedKind.MANIFEST, f.hash_of(manifest_bytes(one))) for one in STATEMENTS),
    (RevokedKind.CONTENT, f.hash_of(f.CONTENT)),
}
FRESHNESS: Final[dict[str, Freshness]] = {
    "fresh": FACTS.freshness,
    "partitioned": replace(FACTS.freshness, newest_issued_at=UnixTime(f.NOW - f.DAY)),
    "stale": replace(FACTS.freshness, revocations_refresh_by=None),
    "clock suspect": replace(FACTS.freshness, is_clock_suspect=True),
    "amnesia": replace(FACTS.freshness, has_amnesia=True),
    "revoked": replace(FACTS.freshness, is_revoked=True),
}
IDENTITIES: Final = (
    None,
    LIVE,
    replace(LIVE, expires_at=f.NOW),
    replace(LIVE, expires_at=UnixTime(f.NOW + 60)),
)
CLAIMS: Final = (
    None, MEMBER, OUTSIDER, ROLELESS, KNOWER, EXPIRED, NEXT_EPOCH, DEMANDING, KEEPER,
)  # fmt: skip


# Every row of the table.


def test_fails_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all 6,561 combinations of eight outcomes one allows; of the others the first that did not
    pass names the denial."""
    allowed = []
    subject, about = Subject(identity=LIVE, claims=MEMBER), object_of(STATEMENTS[0])
    for outcomes in product(Check, repeat=len(CHECKS)):
        rows = tuple(zip(NAMES, map(always, outcomes), strict=True))
        monkeypatch.setattr(authorization, "CHECKS", rows)
        found = authorize(subject, about, Verb.FETCH, FACTS, f.NOW)
        assert found.checks == tuple(zip(NAMES, outcomes, strict=True))
        first = [name for name, one in zip(NAMES, outcomes, strict=True) if one is not Check.PASS]
        assert found.denied_by == (first[0] if first else None)
        if found.allow:
            allowed.append(outcomes)
    assert allowed == [(Check.PASS,) * 8]


@pytest.mark.parametrize("outcome", [Check.FAIL, Check.UNKNOWN])
@pytest.mark.parametrize("name", NAMES)
def test_each_check_alone_denies_at_a_whole_node(
    name: str, outcome: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is that of a node that has no such thing; all that is left is our own record."""
    answers = []
    for holds in ((), (routes(7),)):
        scene = Scene().publish(*holds)
        before = scene.state
        rows = tuple((one, always(outcome) if one == name else check) for one, check in CHECKS)
        with monkeypatch.context() as patch:
            patch.setattr(authorization, "CHECKS", rows)
            scene.hear(scene.attacker, GetContent(items=(ask(routes(7)),)), stream=3)
            assert scene.find(ServeContent) == []
            scene.due(AnswersDue)
            answers.append(frames(scene, scene.attacker))
            scene.leaves(before, audited=[("fetch_denied", name, ATTACKER)] if holds else [])
    assert answers[0] == answers[1]
    assert len(answers[0]) == 1


def always(outcome: Check) -> Callable[..., Check]:
    return lambda *_: outcome


def test_real_subjects_reach_every_outcome_of_every_check() -> None:
    """And what is allowed is what all eight let pass, whatever combination that is."""
    reached: set[tuple[str, Check]] = set()
    rows: set[Outcomes] = set()
    worlds = [
        FACTS,
        replace(FACTS, revoked=revoked(RevokedKind.NODE, node_token(f.CLUSTER, f.NODE))),
        replace(FACTS, revocations_expires_at=None),
        replace(FACTS, bundle_expires_at=f.NOW),
        *(replace(FACTS, freshness=one) for one in FRESHNESS.values()),
    ]
    objects = (Object(manifest=None), *map(object_of, STATEMENTS))
    for identity, claims, about, facts, verb in product(IDENTITIES, CLAIMS, objects, worlds, Verb):
        found = authorize(Subject(identity=identity, claims=claims), about, verb, facts, f.NOW)
        assert found.allow is all(one is Check.PASS for _, one in found.checks)
        assert (found.denied_by is None) is found.allow
        reached |= set(found.checks)
        rows.add(tuple(one for _, one in found.checks))
    assert reached == set(product(NAMES, Check)) - UNREACHABLE
    assert len(rows) > 300


UNREACHABLE: Final[set[tuple[str, Check]]] = set()


# The invariants.


@dataclass(frozen=True)
class Case:
    """Everything a decision depends on."""

    subject: Subject
    about: Object
    verb: Verb
    facts: TrustFacts
    now: UnixTime

    @property
    def allows(self) -> bool:
        return authorize(self.subject, self.about, self.verb, self.facts, self.now).allow


def narrowings() -> st.SearchStrategy[Narrowing | None]:
    scopes = st.sets(
        st.sampled_from(["cluster:prod", "org:acme", "org:globex", "role:edge", "role:gateway"])
    ).map(lambda one: tuple(sorted(parse_scope_id(text) for text in one)))
    types = st.sets(st.sampled_from(ArtifactType)).map(lambda one: tuple(sorted(one)))
    hashes = st.sets(st.sampled_from([object_of(one).manifest_hash for one in STATEMENTS]))
    return st.none() | st.builds(
        Narrowing,
        scope_ids=st.none() | scopes,
        types=st.none() | types,
        manifest_hashes=st.none() | hashes.map(lambda one: tuple(sorted(filter(None, one)))),
    )


def grants() -> st.SearchStrategy[VerifiedGrant | None]:
    def with_fields(fields: dict[str, object]) -> VerifiedGrant:
        statement: FetchGrant = replace(GRANT.grant, **fields)  # type: ignore[arg-type]  # by name
        return replace(GRANT, grant=statement)

    fields = st.fixed_dictionaries(
        {
            "types": st.sampled_from([tuple(sorted(ArtifactType)), (T.ROUTE_POLICY_BUNDLE,)]),
            "scope_ids": st.sampled_from(
                [
                    (parse_scope_id("role:gateway"),),
                    (parse_scope_id("node:n2"),),
                    (parse_scope_id("service:dns"),),
                ]
            ),
            "min_revocation_version": st.sampled_from([0, 6]),
        }
    )
    return st.none() | fields.map(with_fields)


CASES: Final = st.builds(
    Case,
    subject=st.builds(
        Subject,
        identity=st.sampled_from(IDENTITIES) | st.just(LIVE),
        claims=st.sampled_from(CLAIMS) | st.just(MEMBER),
        grant=grants(),
        narrowing=st.none() | narrowings(),
    ),
    about=st.builds(object_of, st.sampled_from(STATEMENTS), is_current=st.booleans()),
    verb=st.sampled_from(Verb),
    facts=st.builds(
        replace,
        st.just(FACTS),
        freshness=st.sampled_from(list(FRESHNESS.values())) | st.just(FACTS.freshness),
        revoked=st.frozensets(st.sampled_from(sorted(REVOCATIONS, key=repr)), max_size=2).map(
            lambda values: Revoked(5, values)
        ),
    ),
    now=st.sampled_from([f.NOW, UnixTime(f.NOW + 120), UnixTime(f.NOW - 10)]),
)


def about_(case: Case, **fields: object) -> Case:
    return replace(case, about=replace(case.about, **fields))  # type: ignore[arg-type]  # by name


def subject_(case: Case, **fields: object) -> Case:
    return replace(case, subject=replace(case.subject, **fields))  # type: ignore[arg-type]  # by name


def facts_(case: Case, **fields: object) -> Case:
    return replace(case, facts=replace(case.facts, **fields))  # type: ignore[arg-type]  # by name


def fewer_claims(case: Case) -> list[Case]:
    """One scope id, one assignment, one role less."""
    claims = case.subject.claims
    if claims is None:
        return []
    held = claims.entitlements
    less = [replace(held, scope_ids=held.scope_ids - {one}) for one in sorted(held.scope_ids)]
    less += [replace(held, assignments=())]
    fewer = [replace(claims, entitlements=one) for one in less]
    fewer += [replace(claims, claims=replace(claims.claims, roles=()))]
    return [subject_(case, claims=one) for one in fewer]


def fewer_rights(case: Case) -> list[Case]:
    """One role rule less."""
    rules = case.facts.bundle.role_rules
    return [
        facts_(
            case,
            bundle=replace(case.facts.bundle, role_rules=tuple(r for r in rules if r is not one)),
        )
        for one in rules
    ]


def without_a_fact(case: Case) -> list[Case]:
    """The case with one thing less known, in every way."""
    freshness = case.facts.freshness
    return [
        subject_(case, identity=None),
        subject_(case, claims=None),
        subject_(case, grant=None),
        about_(case, manifest=None),
        about_(case, manifest_hash=None),
        about_(case, signed_by=()),
        about_(case, is_current=False),
        facts_(case, revocations_expires_at=None),
        facts_(case, freshness=replace(freshness, revocations_refresh_by=None)),
        facts_(case, freshness=replace(freshness, snapshot_refresh_by=None)),
        facts_(case, freshness=replace(freshness, has_amnesia=True)),
        facts_(case, revoked=replace(case.facts.revoked, version=0)),
        *fewer_claims(case),
        *fewer_rights(case),
    ]


@given(CASES)
def test_one_fact_less_never_allows(case: Case) -> None:
    if not case.allows:
        assert [one for one in without_a_fact(case) if one.allows] == []


@given(CASES, st.sampled_from(sorted(REVOCATIONS, key=repr)))
def test_one_revocation_more_never_allows(case: Case, entry: tuple[RevokedKind, bytes]) -> None:
    if not case.allows:
        values = case.facts.revoked.values | {entry}
        assert not facts_(case, revoked=replace(case.facts.revoked, values=values)).allows


@given(CASES, narrowings())
def test_a_narrowing_never_allows(case: Case, narrowing: Narrowing | None) -> None:
    bare = subject_(case, narrowing=None)
    if not bare.allows:
        assert not subject_(case, narrowing=narrowing).allows


@given(CASES)
def test_a_graver_mode_never_allows(case: Case) -> None:
    if not case.allows:
        freshness = case.facts.freshness
        for graver in (
            replace(freshness, is_clock_suspect=True),
            replace(freshness, has_amnesia=True),
            replace(freshness, is_revoked=True),
            replace(freshness, is_disputed=True),
        ):
            assert not facts_(case, freshness=graver).allows


@given(st.lists(CASES, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_answer_never_depends_on_what_was_asked_before(
    cases: list[Case], chance: Random
) -> None:
    first = [one.allows for one in cases]
    order = list(range(len(cases)))
    chance.shuffle(order)
    again = {number: cases[number].allows for number in order}
    assert [again[number] for number in range(len(cases))] == first


def test_the_properties_meet_cases_that_are_allowed() -> None:
    """Or they would prove nothing: what is allowed becomes denied by each fact that is taken."""
    case = Case(
        Subject(identity=LIVE, claims=MEMBER), object_of(STATEMENTS[1]), Verb.FETCH, FACTS, f.NOW
    )
    assert case.allows
    denied = [one for one in without_a_fact(case) if not one.allows]
    assert len(denied) >= 8
