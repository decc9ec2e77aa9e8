"""The one door: each refusal is reached, in the order of the steps, and nothing else gets through.

The table of refusals changes one thing of a manifest that the gate admits; the last tests look at
the source itself, because a second door would pass every other test.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import fabgossip
from fabgossip.model.artifact import (
    NO_ORDER,
    TRUST_TYPES,
    TYPE_RULES,
    ArtifactType,
    Manifest,
    Order,
    Tombstone,
    VerifiedManifest,
    chunk_count_of,
)
from fabgossip.model.authority import (
    ContentCap,
    KeyStatus,
    RevokedKind,
    Right,
)
from fabgossip.model.envelope import PayloadKind
from fabgossip.model.ids import NOTHING_HASH, ClusterId, ManifestHash
from fabgossip.model.moment import UnixTime
from fabgossip.model.scope import Entitlements, parse_namespace, parse_scope_id
from fabgossip.trust.facts import ANYTHING, Asked, Line, Listed, TrustFacts
from fabgossip.trust.gate import TrustGate
from fabgossip.trust.rejections import Blame, Rejection
from fabgossip.trust.rejections import RejectionCode as Code
from fabgossip.trust.revocation import Revoked
from fabgossip.trust.signatures import Ed25519Verifier
from fabgossip.wire.envelopes import envelope_bytes
from fabgossip.wire.statements import manifest_bytes
from tests.trust import factory as f

T = ArtifactType
ROUTES = f.manifest(T.ROUTE_POLICY_BUNDLE)
RELEASE = f.manifest(T.UPDATE_MANIFEST)
RAW = f.signed(ROUTES)
POLICY_KEY = f.POLICY.key_id


def tombstone(statement: Manifest) -> Manifest:
    return replace(
        statement,
        content_hash=NOTHING_HASH,
        content_size=0,
        chunk_hashes=(),
        tombstone=Tombstone(reason="gone", purge=False),
    )


LONG_AGO = replace(ROUTES, issued_at=UnixTime(f.NOW - 2 * f.DAY))


def with_key(status: KeyStatus, not_after: int = f.NOW + f.DAY) -> TrustFacts:
    keys = tuple(
        replace(key, status=status, not_after=UnixTime(not_after))
        if key.key_id == POLICY_KEY
        else key
        for key in f.BUNDLE.keys
    )
    return replace(f.FACTS, bundle=replace(f.BUNDLE, keys=keys))


def with_rights(*rights: Right) -> TrustFacts:
    return replace(f.FACTS, bundle=replace(f.BUNDLE, rights=rights))


def with_revoked(kind: RevokedKind, value: bytes) -> TrustFacts:
    return replace(f.FACTS, revoked=Revoked(5, frozenset({(kind, value)})))


# What is admitted.


@pytest.mark.parametrize("kind", ArtifactType)
def test_a_manifest_of_every_type_is_admitted(kind: ArtifactType) -> None:
    statement = f.manifest(kind)
    raw = f.signed(statement)
    verdict = f.admit(raw)
    assert isinstance(verdict, VerifiedManifest), verdict
    assert verdict.manifest == statement
    assert verdict.envelope == raw
    assert verdict.manifest_hash.hex() == f.hash_of(manifest_bytes(statement)).hex()
    assert set(verdict.signed_by) == {one.key_id for one in f.SIGNERS_OF[kind]}
    assert verdict.threshold == len(f.SIGNERS_OF[kind])


@pytest.mark.parametrize("kind", ArtifactType)
def test_a_manifest_of_every_type_lives_under_each_of_its_families(kind: ArtifactType) -> None:
    everything = replace(f.OWN, scope_ids=f.OWN.scope_ids | {parse_scope_id("role:r")})
    tails = {"snapshots/node/n1", "snapshots/role/r"} if len(TYPE_RULES[kind].families) > 1 else ()
    for tail in tails:
        verdict = f.admit(f.signed(f.manifest(kind, tail)), facts=replace(f.FACTS, own=everything))
        assert isinstance(verdict, VerifiedManifest), verdict


def test_a_bad_signature_beside_enough_good_ones_is_ignored() -> None:
    kind = PayloadKind.UPDATE_MANIFEST
    bad = replace(f.RELEASES[2].sign(kind, b""), value=bytes(64))
    named = tuple(sorted(one.key_id for one in f.RELEASES))
    payload = manifest_bytes(replace(RELEASE, signer_key_ids=named))
    good = [one.sign(kind, payload) for one in f.RELEASES[:2]]
    verdict = f.admit(envelope_bytes(kind, payload, (*good, bad)))
    assert isinstance(verdict, VerifiedManifest)
    assert set(verdict.signed_by) == {one.key_id for one in f.RELEASES[:2]}


def test_a_stale_manifest_is_admitted() -> None:
    stale = replace(ROUTES, refresh_by=f.NOW, expires_at=UnixTime(f.NOW + 1))
    assert isinstance(f.admit(f.signed(stale)), VerifiedManifest)


def test_what_was_asked_for_is_admitted() -> None:
    asked = Asked(
        manifest_hash=f.parts(RAW).manifest_hash,
        namespace=ROUTES.namespace.text,
    )
    assert isinstance(f.admit(RAW, asked=asked), VerifiedManifest)


@pytest.mark.parametrize("floor", [Order(2, 7), Order(2, 99)])
def test_an_increment_of_a_chain_asked_for_is_admitted_at_the_floor_and_below(floor: Order) -> None:
    line = replace(INCREMENT_LINE, floor=floor, has_increment=True)
    verdict = f.admit(f.signed(INCREMENT), asked=IN_CHAIN, line=line)
    assert isinstance(verdict, VerifiedManifest), verdict


def test_a_storage_node_admits_what_its_assignment_covers() -> None:
    stored = f.manifest(T.SERVICE_ASSIGNMENT_BUNDLE, "org/globex/services/web")
    assert isinstance(f.admit(f.signed(stored)), VerifiedManifest)
    elsewhere = replace(f.FACTS, own=Entitlements(f.OWN.scope_ids))
    assert f.code_of(f.admit(f.signed(stored), facts=elsewhere)) is Code.AUDIENCE_NOT_OURS


# What is refused.


@dataclass(frozen=True)
class Case:
    """One envelope, what the node knows, and what the gate must answer."""

    code: Code
    raw: Callable[[], bytes] = lambda: RAW
    facts: TrustFacts = f.FACTS
    asked: Asked = ANYTHING
    line: Line | None = None
    listed: Listed | None = None
    now: UnixTime = f.NOW


def changed(statement: Manifest, *signers: f.Signer) -> Callable[[], bytes]:
    return lambda: f.signed(statement, *signers)


def payload_with(data: bytes) -> Callable[[], bytes]:
    return lambda: f.sealed(PayloadKind.ROUTE_POLICY_BUNDLE, data, f.POLICY)


def under(tail: str, kind: ArtifactType = T.ROUTE_POLICY_BUNDLE) -> Manifest:
    return f.manifest(kind, tail)


FLOOR = Line(floor=ROUTES.order, manifest_hash=None, withdrawn=Order(0, 0))
PARTS = f.parts(RAW)
NARROW = f.right(T.ROUTE_POLICY_BUNDLE.value, f.COMPILER, prefix=f"{f.PREFIX}/routes/r1")
TEST_CLUSTER = f"platform/{f.PLATFORM}/cluster/test/routes/r1"
FOREIGN = parse_namespace(TEST_CLUSTER)
INCREMENT = f.manifest(T.SNAPSHOT_INCREMENT)
assert INCREMENT.base is not None
IN_CHAIN = Asked(result_hash=INCREMENT.base.result_hash)
INCREMENT_LINE = Line(floor=INCREMENT.order, manifest_hash=None, withdrawn=Order(0, 0))
NEXT = f.bundle_manifest(f.NEXT_BUNDLE)
FORMER = (f.signer("former root 1"), f.signer("former root 2"))
MIB = 1 << 20

CASES: dict[str, Case] = {
    # 2: form
    "nothing": Case(Code.TRUNCATED, lambda: b""),
    "cut short": Case(Code.TRUNCATED, lambda: RAW[:-1]),
    "a byte behind": Case(Code.MALFORMED, lambda: RAW + b"\x00"),
    "too long": Case(Code.FRAME_TOO_LARGE, lambda: bytes(10_241)),
    "not shortest": Case(Code.NONCANONICAL, lambda: b"\xdc\x00\x04" + RAW[1:]),
    "version 2": Case(Code.UNSUPPORTED, lambda: RAW[:1] + b"\x02" + RAW[2:]),
    "a key id twice": Case(
        Code.SCHEMA,
        lambda: envelope_bytes(PARTS.kind, PARTS.payload, PARTS.signatures * 2),
    ),
    "nine signatures": Case(Code.SIG_TOO_MANY, changed(ROUTES, *(*f.SIGNING, *f.ROOTS)[:9])),
    "claims": Case(Code.TYPE_MISMATCH, lambda: f.signed_claims(f.claims())),
    "a grant": Case(Code.TYPE_MISMATCH, lambda: f.sealed(PayloadKind.FETCH_GRANT, b"x", f.GRANTER)),
    # 3: asked by hash
    "another manifest than asked": Case(
        Code.HASH_MISMATCH, asked=Asked(manifest_hash=ManifestHash(bytes(32)))
    ),
    # 4: candidates
    "signed by a stranger": Case(Code.KEY_UNKNOWN, changed(ROUTES, f.STRANGER)),
    "not signed": Case(Code.KEY_UNKNOWN, lambda: f.sealed(PARTS.kind, PARTS.payload)),
    "signed by a revoked key": Case(
        Code.KEY_REVOKED, facts=with_revoked(RevokedKind.SIGNING_KEY, bytes(POLICY_KEY))
    ),
    "signed by a key for other types": Case(
        Code.KEY_NOT_FOR_TYPE, changed(ROUTES, f.COMPILER, f.DIRECTORY)
    ),
    "signed by a root": Case(Code.KEY_NOT_FOR_TYPE, changed(ROUTES, *f.ROOTS)),
    "nobody has a right on the type": Case(
        Code.KEY_NOT_FOR_TYPE,
        facts=with_rights(*(one for one in f.BUNDLE.rights if "route" not in one.kind)),
    ),
    "one of two keys": Case(Code.SIG_THRESHOLD, changed(RELEASE, f.RELEASES[0])),
    "one of two keys beside strangers": Case(
        Code.SIG_THRESHOLD, changed(RELEASE, f.RELEASES[0], f.STRANGER, f.POLICY)
    ),
    "one of two roots": Case(Code.SIG_THRESHOLD, changed(NEXT, f.ROOTS[0])),
    "a trust bundle signed by others": Case(
        Code.KEY_NOT_FOR_TYPE, changed(NEXT, f.COMPILER, f.POLICY)
    ),
    # 5: signatures
    "a bad signature": Case(
        Code.SIG_INVALID,
        lambda: envelope_bytes(
            PARTS.kind, PARTS.payload, (replace(PARTS.signatures[0], value=bytes(64)),)
        ),
    ),
    "the signature of another payload": Case(
        Code.SIG_INVALID,
        lambda: envelope_bytes(
            PARTS.kind, manifest_bytes(replace(ROUTES, config_version=8)), PARTS.signatures
        ),
    ),
    "one of two signatures bad": Case(
        Code.SIG_INVALID,
        lambda: envelope_bytes(
            PayloadKind.UPDATE_MANIFEST,
            manifest_bytes(RELEASE),
            (
                f.RELEASES[0].sign(PayloadKind.UPDATE_MANIFEST, manifest_bytes(RELEASE)),
                f.RELEASES[1].sign(PayloadKind.UPDATE_MANIFEST, b"other"),
            ),
        ),
    ),
    # 6: the payload, once signed
    "signed garbage": Case(Code.MALFORMED, payload_with(b"\xc1")),
    "signed half": Case(Code.TRUNCATED, payload_with(PARTS.payload[:-1])),
    "signed longer form": Case(Code.NONCANONICAL, payload_with(b"\xcc\x00")),
    "signed array of 20": Case(Code.SCHEMA, payload_with(b"\xdc\x00\x14" + b"\x00" * 20)),
    "signed bad name": Case(
        Code.ID_SYNTAX, payload_with(PARTS.payload.replace(b"\xa3a-1", b"\xa3A-1"))
    ),
    "signed unknown critical extension": Case(
        Code.CRITICAL_UNKNOWN, changed(replace(ROUTES, critical_extensions=("limits",)))
    ),
    # 7: what it binds itself to
    "one type in the envelope, another inside": Case(
        Code.TYPE_MISMATCH, payload_with(manifest_bytes(f.manifest(T.QOS_POLICY_BUNDLE)))
    ),
    "another cluster in the field": Case(
        Code.CLUSTER_MISMATCH, changed(replace(ROUTES, cluster_id=ClusterId("test")))
    ),
    "another cluster in the path": Case(
        Code.CLUSTER_MISMATCH, changed(replace(ROUTES, namespace=FOREIGN))
    ),
    "another platform in the path": Case(
        Code.CLUSTER_MISMATCH,
        changed(
            replace(ROUTES, namespace=parse_namespace("platform/other/cluster/prod/routes/r1"))
        ),
    ),
    "another namespace than asked": Case(
        Code.NAMESPACE_MISMATCH, asked=Asked(namespace=f"{f.PREFIX}/routes/r2")
    ),
    "a type under a foreign family": Case(
        Code.NAMESPACE_MISMATCH, changed(under("qos/q1"), f.POLICY)
    ),
    "an organisation in the path only": Case(
        Code.NAMESPACE_MISMATCH,
        changed(replace(ROUTES, namespace=f.namespace("org/acme/routes/r1"))),
    ),
    "another organisation than the path": Case(
        Code.NAMESPACE_MISMATCH,
        changed(
            replace(under("org/acme/routes/r1"), audience=f.audience("cluster:prod", "org:globex"))
        ),
    ),
    "an audience of another cluster": Case(
        Code.NAMESPACE_MISMATCH,
        changed(replace(ROUTES, audience=f.audience("cluster:test"))),
    ),
    "content over the cap": Case(
        Code.SIZE_OVER_CAP,
        changed(
            replace(
                RELEASE,
                content_size=MIB + 1,
                chunk_hashes=(f.hash_of(b""),) * chunk_count_of(MIB + 1),
            )
        ),
    ),
    "content over the cap of this cluster": Case(
        Code.SIZE_OVER_CAP,
        facts=replace(
            f.FACTS,
            bundle=replace(
                f.BUNDLE,
                content_caps=(
                    ContentCap(artifact_type=T.ROUTE_POLICY_BUNDLE, size_max=len(f.CONTENT) - 1),
                ),
            ),
        ),
    ),
    "the result of an increment over the cap": Case(
        Code.SIZE_OVER_CAP,
        changed(replace(INCREMENT, base=replace(INCREMENT.base, result_size=8 * MIB + 1))),
    ),
    # 8: the one right
    "a right elsewhere only": Case(
        Code.KEY_NOT_FOR_NAMESPACE,
        facts=with_rights(
            f.right(T.ROUTE_POLICY_BUNDLE.value, f.POLICY, prefix=f"{f.PREFIX}/routes/r2")
        ),
    ),
    "a longer right of others": Case(
        Code.KEY_NOT_FOR_NAMESPACE, facts=with_rights(*f.BUNDLE.rights, NARROW)
    ),
    "a signer that the manifest does not name": Case(
        Code.KEY_NOT_FOR_NAMESPACE, changed(replace(ROUTES, signer_key_ids=(f.STRANGER.key_id,)))
    ),
    "a root that the manifest does not name": Case(
        Code.SIG_THRESHOLD,
        changed(replace(NEXT, signer_key_ids=(f.ROOTS[0].key_id,)), *f.ROOTS),
    ),
    "one of two signers named": Case(
        Code.SIG_THRESHOLD,
        changed(replace(RELEASE, signer_key_ids=(f.RELEASES[0].key_id,)), *f.RELEASES),
    ),
    "a higher threshold on a longer prefix": Case(
        Code.SIG_THRESHOLD,
        facts=with_rights(
            *f.BUNDLE.rights,
            f.right(
                T.ROUTE_POLICY_BUNDLE.value,
                f.POLICY,
                f.COMPILER,
                threshold=2,
                prefix=f"{f.PREFIX}/routes",
            ),
        ),
    ),
    "a retired key, first seen a day after its window": Case(
        Code.KEY_RETIRED,
        changed(LONG_AGO),
        facts=with_key(KeyStatus.RETIRED, not_after=f.NOW - f.DAY - 1),
    ),
    "a retired key, issued after its window": Case(
        Code.KEY_RETIRED, facts=with_key(KeyStatus.RETIRED, not_after=ROUTES.issued_at - 1)
    ),
    "a key revoked in the bundle": Case(Code.KEY_REVOKED, facts=with_key(KeyStatus.REVOKED)),
    "issued before the window of its key": Case(
        Code.KEY_RETIRED, changed(replace(ROUTES, issued_at=UnixTime(f.NOW - 31 * f.DAY)))
    ),
    # 9: ours
    "another role": Case(
        Code.AUDIENCE_NOT_OURS,
        changed(replace(ROUTES, audience=f.audience("cluster:prod", "role:core"))),
    ),
    "another organisation": Case(Code.AUDIENCE_NOT_OURS, changed(under("org/globex/routes/r1"))),
    "another node": Case(
        Code.AUDIENCE_NOT_OURS, changed(under("snapshots/node/n2", T.CLUSTER_SNAPSHOT))
    ),
    # 10: epoch, revocation, minimums
    "the epoch before": Case(Code.EPOCH_STALE, changed(replace(ROUTES, authority_epoch=1))),
    "the epoch after": Case(Code.EPOCH_UNKNOWN, changed(replace(ROUTES, authority_epoch=3))),
    "a bundle two epochs ahead": Case(
        Code.EPOCH_UNKNOWN, changed(replace(NEXT, authority_epoch=4))
    ),
    "a revoked manifest": Case(
        Code.ARTIFACT_REVOKED,
        facts=with_revoked(RevokedKind.MANIFEST, bytes(PARTS.manifest_hash)),
    ),
    "a revoked content": Case(
        Code.ARTIFACT_REVOKED, facts=with_revoked(RevokedKind.CONTENT, bytes(ROUTES.content_hash))
    ),
    "needs a later bundle": Case(Code.TRUST_TOO_OLD, changed(replace(ROUTES, min_trust_version=4))),
    "needs a later revocation list": Case(
        Code.REVOCATION_TOO_OLD, changed(replace(ROUTES, min_revocation_version=6))
    ),
    # 11: order
    "below the floor": Case(Code.VERSION_ROLLBACK, line=replace(FLOOR, floor=Order(2, 8))),
    "the highest version of the epoch before": Case(
        Code.EPOCH_STALE,
        changed(replace(ROUTES, authority_epoch=1, config_version=2**53 - 1)),
        line=replace(FLOOR, floor=Order(2, 1)),
    ),
    "held already": Case(
        Code.ALREADY_CURRENT, line=replace(FLOOR, manifest_hash=PARTS.manifest_hash)
    ),
    "another at the same order": Case(
        Code.EQUIVOCATION, line=replace(FLOOR, manifest_hash=ManifestHash(bytes(32)))
    ),
    "withdrawn": Case(
        Code.TOMBSTONED, line=replace(FLOOR, floor=Order(2, 1), withdrawn=ROUTES.order)
    ),
    "a bundle before ours": Case(Code.VERSION_ROLLBACK, changed(replace(NEXT, config_version=2))),
    "a bundle skipped": Case(Code.VERSION_GAP, changed(replace(NEXT, config_version=5))),
    "the bundle in force": Case(
        Code.ALREADY_CURRENT,
        changed(f.bundle_manifest(f.BUNDLE)),
        line=replace(
            f.NO_LINE,
            manifest_hash=ManifestHash(f.hash_of(manifest_bytes(f.bundle_manifest(f.BUNDLE)))),
            content_hash=f.bundle_manifest(f.BUNDLE).content_hash,
            issued_at=f.bundle_manifest(f.BUNDLE).issued_at,
        ),
    ),
    "another bundle of the version in force": Case(
        Code.TRUST_FORK,
        changed(f.bundle_manifest(replace(f.BUNDLE, cert_life_max_s=60))),
        line=replace(f.NO_LINE, content_hash=f.bundle_manifest(f.BUNDLE).content_hash),
    ),
    "not listed yet": Case(Code.AHEAD, listed=Listed(order=Order(2, 6), manifest_hash=None)),
    "not listed at all": Case(Code.AHEAD, listed=Listed(order=NO_ORDER, manifest_hash=None)),
    "listed higher": Case(
        Code.VERSION_ROLLBACK, listed=Listed(order=Order(2, 8), manifest_hash=None)
    ),
    "listed with another hash": Case(
        Code.EQUIVOCATION,
        listed=Listed(order=Order(2, 7), manifest_hash=ManifestHash(bytes(32))),
    ),
    "an increment below the floor": Case(
        Code.VERSION_ROLLBACK,
        changed(INCREMENT),
        line=replace(INCREMENT_LINE, floor=Order(2, 8)),
    ),
    "an increment above the floor": Case(
        Code.VERSION_GAP, changed(INCREMENT), line=replace(INCREMENT_LINE, floor=Order(2, 6))
    ),
    "an increment held already": Case(
        Code.ALREADY_CURRENT, changed(INCREMENT), line=replace(INCREMENT_LINE, has_increment=True)
    ),
    "the withdrawal of trust itself": Case(
        Code.NAMESPACE_MISMATCH, changed(tombstone(f.manifest(T.REVOCATION_LIST)))
    ),
    "an increment of what was withdrawn": Case(
        Code.TOMBSTONED, changed(INCREMENT), line=replace(INCREMENT_LINE, withdrawn=INCREMENT.order)
    ),
    "another type than an increment in a chain": Case(
        Code.BASE_MISMATCH, asked=Asked(result_hash=ROUTES.content_hash)
    ),
    "an increment to another result than asked for": Case(
        Code.BASE_MISMATCH,
        changed(INCREMENT),
        asked=Asked(result_hash=INCREMENT.base.content_hash),
        line=INCREMENT_LINE,
    ),
    "an increment of a chain above the floor": Case(
        Code.VERSION_GAP,
        changed(INCREMENT),
        asked=IN_CHAIN,
        line=replace(INCREMENT_LINE, floor=Order(2, 6)),
    ),
    "an increment of a chain that was withdrawn": Case(
        Code.TOMBSTONED,
        changed(INCREMENT),
        asked=IN_CHAIN,
        line=replace(INCREMENT_LINE, withdrawn=INCREMENT.order),
    ),
    # 12: time
    "issued in the future": Case(
        Code.FUTURE_ISSUED, changed(replace(ROUTES, issued_at=UnixTime(f.NOW + 121)))
    ),
    "expired": Case(Code.EXPIRED, now=ROUTES.expires_at),
    "under an expired bundle": Case(
        Code.TRUST_EXPIRED, facts=replace(f.FACTS, bundle_expires_at=f.NOW)
    ),
}
REACHABLE_ELSEWHERE = {
    Code.LENGTH_MISMATCH,  # of content, by whoever receives it
    Code.TOO_SLOW,
    Code.CONTENT_INVALID,  # by `read`
    Code.BUNDLE_INVALID,
    Code.IDENTITY_INVALID,  # by `trust/identity.py`
    Code.CLAIMS_INVALID,
    Code.GRANT_INVALID,  # by `trust/grants.py`
    Code.SILENT_REMOVAL,  # by `core/`: nothing was sent, something is missing
    Code.STORE_FULL,
    Code.MODE_DENIED,
    Code.SHUNNED,  # by `core/`, before the gate
    Code.DENY_INTERNAL,
    Code.TOO_SLOW,
    Code.IDENTITY_CLONED,
}


def verdict_of(case: Case) -> VerifiedManifest | Rejection:
    return f.admit(
        case.raw(),
        facts=case.facts,
        asked=case.asked,
        line=case.line,
        listed=case.listed,
        now=case.now,
    )


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_one_thing_wrong_is_refused_by_its_name(case: Case) -> None:
    verdict = verdict_of(case)
    assert f.code_of(verdict) is case.code, verdict


def test_every_code_of_the_gate_is_reached() -> None:
    assert {case.code for case in CASES.values()} == set(Code) - REACHABLE_ELSEWHERE


# The order of the steps.


@pytest.mark.parametrize("kind", ArtifactType)
def test_an_unsigned_payload_is_never_decoded(kind: ArtifactType) -> None:
    for garbage in (b"\xc1", b"\xdd\xff\xff\xff\xff", b"\x91" * 5_000, PARTS.payload[:-1]):
        for signers in ((f.STRANGER,), (), (f.CLAIMER, f.GRANTER, f.STRANGER)):
            verdict = f.admit(f.sealed(kind.payload_kind, garbage, *signers))
            assert isinstance(verdict, Rejection)
            assert verdict.code in {Code.KEY_UNKNOWN, Code.KEY_NOT_FOR_TYPE, Code.SIG_THRESHOLD}
            assert not verdict.was_signed


def test_a_forged_signature_over_garbage_is_a_matter_of_signatures() -> None:
    bad = replace(PARTS.signatures[0], value=bytes(64))
    raw = envelope_bytes(PARTS.kind, b"\xc1", (bad,))
    assert f.code_of(f.admit(raw)) is Code.SIG_INVALID


def test_a_signer_is_blamed_for_what_it_signed_and_a_peer_for_what_it_sent() -> None:
    signed = f.admit(payload_with(b"\xdc\x00\x14" + b"\x00" * 20)())
    sent = f.admit(envelope_bytes(PARTS.kind, PARTS.payload, PARTS.signatures * 2))
    for verdict, blame in ((signed, Blame.SIGNER), (sent, Blame.PEER)):
        assert isinstance(verdict, Rejection)
        assert (verdict.code, verdict.blame) == (Code.SCHEMA, blame)
    garbage = f.admit(payload_with(b"\xc1")())
    assert isinstance(garbage, Rejection)
    assert (garbage.code, garbage.blame) == (Code.MALFORMED, Blame.SIGNER)


def test_a_refusal_names_its_subject_once_it_was_decoded() -> None:
    late = verdict_of(CASES["expired"])
    early = verdict_of(CASES["a bad signature"])
    assert isinstance(late, Rejection)
    assert isinstance(early, Rejection)
    assert (late.namespace, late.was_signed) == (ROUTES.namespace.text, True)
    assert (early.namespace, early.was_signed) == (None, False)


def test_the_first_step_that_refuses_speaks() -> None:
    wrong = replace(
        ROUTES,
        audience=f.audience("cluster:prod", "role:core"),
        authority_epoch=1,
        min_trust_version=9,
        expires_at=f.NOW,
        refresh_by=f.NOW,
    )
    asked = Asked(manifest_hash=ManifestHash(bytes(32)))
    assert f.code_of(f.admit(f.signed(wrong), asked=asked)) is Code.HASH_MISMATCH
    assert f.code_of(f.admit(f.signed(wrong))) is Code.AUDIENCE_NOT_OURS
    wrong = replace(wrong, audience=ROUTES.audience)
    assert f.code_of(f.admit(f.signed(wrong))) is Code.EPOCH_STALE
    wrong = replace(wrong, authority_epoch=2)
    assert f.code_of(f.admit(f.signed(wrong))) is Code.TRUST_TOO_OLD
    wrong = replace(wrong, min_trust_version=3)
    low = replace(FLOOR, floor=Order(2, 9))
    assert f.code_of(f.admit(f.signed(wrong), line=low)) is Code.VERSION_ROLLBACK
    assert f.code_of(f.admit(f.signed(wrong))) is Code.EXPIRED


# Thresholds and rights.


def test_a_threshold_counts_keys_and_not_their_entries() -> None:
    one = f.RELEASES[0]
    rights = tuple(
        f.right(T.UPDATE_MANIFEST.value, one, f.RELEASES[1], threshold=2)
        if right.kind == T.UPDATE_MANIFEST.value
        else right
        for right in f.BUNDLE.rights
    )
    twice = replace(f.BUNDLE, keys=(*f.BUNDLE.keys, f.signing_key(one)), rights=rights)
    facts = replace(f.FACTS, bundle=twice)
    assert f.code_of(f.admit(f.signed(RELEASE, one), facts=facts)) is Code.SIG_THRESHOLD


def test_one_key_under_two_ids_counts_once() -> None:
    one = f.RELEASES[0]
    payload = manifest_bytes(RELEASE)
    kind = PayloadKind.UPDATE_MANIFEST
    signature = one.sign(kind, payload)
    other_id = replace(signature, key_id=f.RELEASES[1].key_id)
    raw = envelope_bytes(kind, payload, (signature, other_id))
    assert f.code_of(f.admit(raw)) is Code.SIG_INVALID


def test_two_of_three_roots_open_the_next_bundle_whichever_they_are() -> None:
    for signers in (f.ROOTS[:2], f.ROOTS[1:], f.ROOTS[::2], f.ROOTS):
        assert isinstance(f.admit(f.signed(NEXT, *signers)), VerifiedManifest)


def test_only_roots_that_count_are_named_as_signers_of_a_bundle() -> None:
    """A root of the bundle before may have signed as well: it has no say in the next."""
    former = replace(f.BUNDLE, root_keys=tuple(sorted(one.public_key for one in FORMER)))
    facts = replace(f.FACTS, previous=former)
    names = tuple(sorted(one.key_id for one in (*f.ROOTS, *FORMER)))
    raw = f.signed(replace(NEXT, signer_key_ids=names), *f.ROOTS[:2], FORMER[0])
    verdict = f.admit(raw, facts=facts)
    assert isinstance(verdict, VerifiedManifest)
    assert set(verdict.signed_by) == {one.key_id for one in f.ROOTS[:2]}


def test_a_cap_is_of_one_type_alone() -> None:
    caps = (ContentCap(artifact_type=T.QOS_POLICY_BUNDLE, size_max=1),)
    facts = replace(f.FACTS, bundle=replace(f.BUNDLE, content_caps=caps))
    assert isinstance(f.admit(RAW, facts=facts), VerifiedManifest)


def test_the_longest_right_decides_alone_in_any_order_of_the_bundle() -> None:
    for rights in ((*f.BUNDLE.rights, NARROW), (NARROW, *f.BUNDLE.rights)):
        facts = with_rights(*rights)
        by_compiler = replace(ROUTES, signer_key_ids=(f.COMPILER.key_id,))
        assert isinstance(f.admit(f.signed(by_compiler, f.COMPILER), facts=facts), VerifiedManifest)
        assert f.code_of(f.admit(RAW, facts=facts)) is Code.KEY_NOT_FOR_NAMESPACE


@pytest.mark.parametrize("issued_at", [f.NOW - 30 * f.DAY, f.NOW - f.HOUR, f.NOW, f.NOW + 120])
def test_both_ends_of_a_window_are_within(issued_at: int) -> None:
    statement = replace(ROUTES, issued_at=UnixTime(issued_at))
    assert isinstance(f.admit(f.signed(statement)), VerifiedManifest)


@pytest.mark.parametrize("kind", sorted(set(ArtifactType) - TRUST_TYPES))
def test_no_node_key_authors_anything(kind: ArtifactType) -> None:
    thief = f.signer("a storage node")
    raw = f.signed(replace(f.manifest(kind), signer_key_ids=(thief.key_id,)), thief)
    assert f.code_of(f.admit(raw)) is Code.KEY_UNKNOWN


def test_the_next_bundle_may_open_the_next_epoch() -> None:
    opening = f.bundle_manifest(replace(f.NEXT_BUNDLE, authority_epoch=3))
    assert isinstance(f.admit(f.signed(opening)), VerifiedManifest)


# Restriction always passes.


@pytest.mark.parametrize(
    "statement",
    [
        tombstone(ROUTES),
        tombstone(RELEASE),
        f.manifest(T.REVOCATION_LIST),
        NEXT,
    ],
    ids=["tombstone", "tombstone of a release", "revocation list", "bundle"],
)
def test_restriction_passes_late_early_and_under_an_expired_bundle(statement: Manifest) -> None:
    expired_trust = replace(f.FACTS, bundle_expires_at=UnixTime(1))
    raw = f.signed(statement)
    assert isinstance(f.admit(raw, facts=expired_trust), VerifiedManifest)
    assert isinstance(f.admit(raw, now=UnixTime(f.NOW + 9 * f.DAY)), VerifiedManifest)
    assert isinstance(f.admit(raw, now=UnixTime(1_000)), VerifiedManifest)


def test_a_tombstone_needs_the_same_right_and_order() -> None:
    gone = tombstone(ROUTES)
    assert f.code_of(f.admit(f.signed(gone, f.COMPILER))) is Code.KEY_NOT_FOR_TYPE
    low = replace(FLOOR, floor=Order(2, 8))
    assert f.code_of(f.admit(f.signed(gone), line=low)) is Code.VERSION_ROLLBACK


# Recall: what our own index holds is judged again.


def recall(raw: bytes, facts: TrustFacts = f.FACTS, now: UnixTime = f.NOW) -> object:
    return TrustGate(Ed25519Verifier()).recall(raw, facts, now)


def test_what_was_admitted_once_is_recalled_at_its_floor() -> None:
    assert isinstance(recall(RAW), VerifiedManifest)


@pytest.mark.parametrize(
    "name",
    [
        "cut short",
        "signed by a stranger",
        "a bad signature",
        "signed by a revoked key",
        "signed garbage",
        "one type in the envelope, another inside",
        "another cluster in the path",
        "a type under a foreign family",
        "the withdrawal of trust itself",
        "an organisation in the path only",
        "content over the cap",
        "a longer right of others",
        "another role",
        "the epoch before",
        "a revoked manifest",
        "a revoked content",
        "expired",
    ],
)
def test_a_poisoned_or_outdated_row_is_not_recalled(name: str) -> None:
    case = CASES[name]
    assert f.code_of(recall(case.raw(), case.facts, case.now)) is case.code


def test_a_bundle_past_its_end_takes_no_row_away_and_still_judges_a_file() -> None:
    """What was accepted under it ends by its own time; who looks at a file learns of it."""
    case = CASES["under an expired bundle"]
    assert isinstance(recall(case.raw(), case.facts, case.now), VerifiedManifest)
    gate = TrustGate(Ed25519Verifier())
    assert f.code_of(gate.inspect(case.raw(), case.facts, case.now)) is case.code


@pytest.mark.parametrize("statement", [NEXT, f.manifest(T.REVOCATION_LIST)], ids=["bundle", "list"])
def test_a_revocation_list_takes_nothing_from_trust_itself(statement: Manifest) -> None:
    """A thief of its key could block the bundle that ends it, or have one taken back."""
    raw = f.signed(statement)
    entries = {
        (RevokedKind.MANIFEST, bytes(f.parts(raw).manifest_hash)),
        (RevokedKind.CONTENT, bytes(statement.content_hash)),
    }
    facts = replace(f.FACTS, revoked=Revoked(5, frozenset(entries)))
    assert isinstance(f.admit(raw, facts=facts), VerifiedManifest)
    assert isinstance(recall(raw, facts), VerifiedManifest)


# Nobody else makes verified words.

PACKAGE = Path(fabgossip.__file__).parent
MAKERS = {
    "VerifiedManifest": {"trust/gate.py"},
    "VerifiedClaims": {"trust/identity.py"},
    "NodeIdentity": {"trust/identity.py", "sim", "cli/sim_authority.py"},
}
"""Where each proof may be made; in `sim/` a certificate is a fact of the simulated world."""


def constructions(source: str) -> Iterator[str]:
    """Names of proof types that this source calls, copies into, or makes by another way around."""
    tree = ast.parse(source)
    aliases = {name: name for name in MAKERS}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            aliases |= {
                one.asname: one.name for one in node.names if one.asname and one.name in MAKERS
            }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        if name in aliases:
            yield aliases[name]
        if name in {"replace", "__new__", "partial", "cast"}:
            for argument in node.args:
                if isinstance(argument, ast.Name) and argument.id in aliases:
                    yield aliases[argument.id]
                if isinstance(argument, ast.Constant) and argument.value in aliases:
                    yield aliases[str(argument.value)]


def strangers(path: str, source: str) -> list[str]:
    """Proofs made in a file that may not make them."""
    return [
        name
        for name in constructions(source)
        if not any(path == maker or path.startswith(f"{maker}/") for maker in MAKERS[name])
    ]


def test_proofs_are_made_where_they_are_checked_and_nowhere_else() -> None:
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        path = file.relative_to(PACKAGE).as_posix()
        source = file.read_text(encoding="utf-8")
        if any(name in source for name in MAKERS):
            found[path] = strangers(path, source)
    assert {path: names for path, names in found.items() if names} == {}


def test_each_proof_is_made_where_it_should_be() -> None:
    for name, makers in MAKERS.items():
        home = next(maker for maker in makers if maker.endswith(".py"))
        assert name in set(constructions((PACKAGE / home).read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "plant",
    [
        "VerifiedManifest(manifest=m)",
        "artifact.VerifiedManifest(m)",
        "from x import VerifiedManifest as V\nV(m)",
        "cast('VerifiedManifest', m)",
        "VerifiedManifest.__new__(VerifiedManifest)",
        "object.__new__(VerifiedManifest)",
        "partial(VerifiedManifest, manifest=m)",
    ],
)
def test_a_planted_second_door_is_found(plant: str) -> None:
    assert strangers("core/node.py", plant) == ["VerifiedManifest"]
    assert strangers("trust/gate.py", plant) == []
    assert strangers("sim/host.py", plant) == ["VerifiedManifest"]
    assert strangers("sim/host.py", "NodeIdentity(node_id=n)") == []
    assert strangers("core/node.py", "NodeIdentity(node_id=n)") == ["NodeIdentity"]


def test_of_two_envelopes_of_one_statement_the_signature_that_counts_stays() -> None:
    """A forged one beside it under the same key would make what is passed on malformed."""
    statement = f.manifest(ArtifactType.ROUTE_POLICY_BUNDLE)
    whole = f.parts(f.signed(statement, f.POLICY, f.COMPILER))
    good = {one.key_id: one for one in whole.signatures}
    first, second = f.POLICY.key_id, f.COMPILER.key_id
    forged = replace(good[second], value=bytes(64))
    verified = f.admitted(f.signed(statement, f.POLICY))
    held = replace(
        verified,
        envelope=envelope_bytes(whole.kind, whole.payload, (good[first], forged)),
        signed_by=(first,),
    )
    other = replace(
        verified,
        envelope=envelope_bytes(whole.kind, whole.payload, (good[second],)),
        signed_by=(second,),
    )
    joined = TrustGate.joined(held, other)
    assert sorted(joined.signed_by) == sorted((first, second))
    found = f.parts(joined.envelope).signatures
    assert sorted(found, key=lambda one: one.key_id) == sorted(
        good.values(), key=lambda one: one.key_id
    )
