"""Fetch grants: bound to one node, one certificate and a short time; a narrowing only takes."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import pytest

from fabgossip.model.authority import (
    KeyStatus,
    Narrowing,
    NodeIdentity,
    RevokedKind,
    VerifiedGrant,
)
from fabgossip.model.envelope import PayloadKind
from fabgossip.model.ids import ClusterId, NodeId, PlatformId
from fabgossip.model.moment import UnixTime
from fabgossip.model.scope import Entitlements, parse_scope_id
from fabgossip.trust.facts import TrustFacts
from fabgossip.trust.grants import narrowed, verify_grant, widened
from fabgossip.trust.rejections import Rejection, RejectionCode
from fabgossip.trust.revocation import Revoked, grant_token
from fabgossip.wire.statements import grant_bytes
from tests.trust import factory as f

GRANT = f.grant()
HOLDER = NodeIdentity(
    node_id=f.NODE,
    certificate_hash=sha256(b"certificate of n1").digest(),
    expires_at=UnixTime(f.NOW + f.DAY),
)


def judged(
    raw: bytes, facts: TrustFacts = f.FACTS, now: UnixTime = f.NOW
) -> VerifiedGrant | Rejection:
    return verify_grant(raw, HOLDER, f.claims_trust(facts), now)


def changed(**fields: object) -> Callable[[], bytes]:
    return lambda: f.signed_grant(replace(GRANT, **fields))  # type: ignore[arg-type]  # by name


def with_granter(**fields: object) -> TrustFacts:
    keys = tuple(
        replace(key, **fields) if key.key_id == f.GRANTER.key_id else key  # type: ignore[arg-type]  # by name
        for key in f.BUNDLE.keys
    )
    return replace(f.FACTS, bundle=replace(f.BUNDLE, keys=keys))


def revoked(kind: RevokedKind, value: bytes) -> TrustFacts:
    return replace(f.FACTS, revoked=Revoked(5, frozenset({(kind, value)})))


def test_a_grant_that_keeps_every_rule_is_good() -> None:
    verdict = judged(f.signed_grant(GRANT))
    assert isinstance(verdict, VerifiedGrant)
    assert verdict == VerifiedGrant(grant=GRANT, signed_by=(f.GRANTER.key_id,))


BROKEN: dict[str, Callable[[], bytes]] = {
    "another platform": changed(platform_id=PlatformId("other")),
    "another cluster": changed(cluster_id=ClusterId("test")),
    "the epoch before": changed(authority_epoch=1),
    "the epoch after": changed(authority_epoch=3),
    "another node": changed(node_id=NodeId("n2")),
    "another certificate": changed(certificate_hash=sha256(b"certificate of n2").digest()),
    "not valid yet": changed(not_before=UnixTime(f.NOW + 1)),
    "expired": changed(expires_at=f.NOW),
    "needs a later bundle": changed(min_trust_version=4),
    "needs a later list": changed(min_revocation_version=6),
    "signed by a stranger": lambda: f.signed_grant(GRANT, f.STRANGER),
    "signed by the claims key": lambda: f.signed_grant(GRANT, f.CLAIMER),
    "not signed": lambda: f.sealed(PayloadKind.FETCH_GRANT, grant_bytes(GRANT)),
    "another kind of envelope": lambda: f.sealed(
        PayloadKind.NODE_CLAIMS, grant_bytes(GRANT), f.GRANTER
    ),
    "signed garbage": lambda: f.sealed(PayloadKind.FETCH_GRANT, b"\xc1", f.GRANTER),
    "nothing": lambda: b"",
}


@pytest.mark.parametrize("make", BROKEN.values(), ids=BROKEN.keys())
def test_a_grant_that_breaks_one_rule_is_good_for_nothing(make: Callable[[], bytes]) -> None:
    assert f.code_of(judged(make())) is RejectionCode.GRANT_INVALID


def test_signatures_on_grants_are_checked_before_they_are_decoded() -> None:
    verdict = judged(f.sealed(PayloadKind.FETCH_GRANT, b"\xc1", f.STRANGER))
    assert isinstance(verdict, Rejection)
    assert "not signed" in verdict.detail


@pytest.mark.parametrize(
    "facts",
    [
        revoked(RevokedKind.GRANT, grant_token(GRANT.grant_id)),
        revoked(RevokedKind.SIGNING_KEY, f.GRANTER.key_id),
        with_granter(status=KeyStatus.REVOKED),
        with_granter(not_after=UnixTime(GRANT.not_before - 1)),
        replace(f.FACTS, bundle=replace(f.BUNDLE, rights=())),
    ],
    ids=["the grant is revoked", "its key is", "in the bundle", "past its window", "nobody may"],
)
def test_a_grant_ends_with_whom_it_rests_on(facts: TrustFacts) -> None:
    assert f.code_of(judged(f.signed_grant(GRANT), facts)) is RejectionCode.GRANT_INVALID


@pytest.mark.parametrize(
    "make",
    [
        changed(not_before=f.NOW),
        changed(expires_at=UnixTime(f.NOW + 1)),
        changed(min_trust_version=3, min_revocation_version=5),
    ],
)
def test_a_grant_at_the_edge_of_the_rules_is_good(make: Callable[[], bytes]) -> None:
    assert isinstance(judged(make()), VerifiedGrant)


def test_a_grant_adds_and_a_narrowing_takes_an_assignment_with_any_of_its_scopes() -> None:
    wide = widened(f.OWN, GRANT)
    assert wide == Entitlements(f.OWN.scope_ids | {parse_scope_id("role:gateway")}, (f.ASSIGNMENT,))
    cluster = parse_scope_id("cluster:prod")
    left = Narrowing(scope_ids=(cluster,))
    assert narrowed(wide, left) == Entitlements(frozenset({cluster}))
