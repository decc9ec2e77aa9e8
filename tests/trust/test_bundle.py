"""Whom a cluster believes: a sound bundle, a pinned one, the next one, the one right for a path."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from fabgossip.errors import TrustError
from fabgossip.model.artifact import ArtifactType, Manifest
from fabgossip.model.authority import ContentCap, KeyStatus, Right, TrustBundle
from fabgossip.model.envelope import PayloadKind
from fabgossip.model.ids import ClusterId, PlatformId
from fabgossip.model.moment import UnixTime
from fabgossip.trust.bundle import (
    bundle_faults,
    bundle_from_pinned,
    counts,
    describes,
    good_roots,
    meets_roots,
    right_for,
    succession_fault,
)
from fabgossip.trust.signatures import Ed25519Verifier
from fabgossip.wire.contents import bundle_bytes
from fabgossip.wire.envelopes import envelope_bytes
from fabgossip.wire.statements import manifest_bytes
from tests.trust import factory as f

VERIFIER = Ed25519Verifier()
IDENTITY = b"\x01" + bytes(31)
"""The neutral element: under this key one signature verifies every message."""
OUTSIDE = "platform/acme-net/cluster/other"
POLICY_RIGHT = f.right("route_policy_bundle", f.POLICY)


def with_right(one: Right) -> TrustBundle:
    return replace(f.BUNDLE, rights=(*f.BUNDLE.rights, one))


def without(kind: str) -> tuple[Right, ...]:
    return tuple(one for one in f.BUNDLE.rights if one.kind != kind)


# Soundness.

UNSOUND: dict[str, tuple[TrustBundle, str]] = {
    "root threshold above its keys": (replace(f.BUNDLE, root_threshold=4), "above the number"),
    "no root key": (replace(f.BUNDLE, root_keys=()), "above the number"),
    "one root is enough": (replace(f.BUNDLE, root_threshold=1), "below 2"),
    "one root key twice": (
        replace(f.BUNDLE, root_keys=(f.ROOTS[0].public_key,) * 2),
        "above the number",
    ),
    "a key twice": (replace(f.BUNDLE, keys=(*f.BUNDLE.keys, f.BUNDLE.keys[0])), "stands twice"),
    "a weak signing key": (
        replace(
            f.BUNDLE,
            keys=(*f.BUNDLE.keys, replace(f.signing_key(f.STRANGER), public_key=IDENTITY)),
        ),
        "not fit",
    ),
    "a weak root key": (
        replace(f.BUNDLE, root_keys=(IDENTITY, *f.BUNDLE.root_keys)),
        "not fit",
    ),
    "a root among the signing keys": (
        replace(f.BUNDLE, keys=(*f.BUNDLE.keys, f.signing_key(f.ROOTS[0]))),
        "root key stands among",
    ),
    "a right on trust bundles": (with_right(f.right("trust_bundle", f.POLICY)), "right on"),
    "a right on an unknown kind": (with_right(f.right("audit", f.POLICY)), "right on"),
    "a right outside the cluster": (
        with_right(f.right("qos_policy_bundle", f.POLICY, prefix=OUTSIDE)),
        "outside the cluster",
    ),
    "a right on half a segment": (
        with_right(f.right("qos_policy_bundle", f.POLICY, prefix=f"{f.PREFIX}uction")),
        "outside the cluster",
    ),
    "a right of an unknown key": (
        with_right(f.right("qos_policy_bundle", f.STRANGER, prefix=f"{f.PREFIX}/qos")),
        "a key unknown",
    ),
    "a right of a root key": (
        with_right(f.right("qos_policy_bundle", f.ROOTS[0], prefix=f"{f.PREFIX}/qos")),
        "a key unknown",
    ),
    "a threshold above its keys": (
        with_right(f.right("qos_policy_bundle", f.POLICY, threshold=2, prefix=f"{f.PREFIX}/qos")),
        "above its keys",
    ),
    "two rights at one prefix": (with_right(POLICY_RIGHT), "two rights"),
    "a revocation key with a second right": (
        with_right(f.right("qos_policy_bundle", f.REVOKER, prefix=f"{f.PREFIX}/qos")),
        "second right",
    ),
    "a grant key with a second right": (
        with_right(f.right("qos_policy_bundle", f.GRANTER, prefix=f"{f.PREFIX}/qos")),
        "second right",
    ),
    "a ledger key with a second right": (
        with_right(
            f.right("audit_checkpoint", f.POLICY),
        ),
        "second right",
    ),
    "one node CA twice": (
        replace(f.BUNDLE, node_cas=f.BUNDLE.node_cas * 2),
        "node CA stands twice",
    ),
    "two rules for one role": (
        replace(f.BUNDLE, role_rules=f.BUNDLE.role_rules * 2),
        "two rules",
    ),
    "two content caps for one type": (
        replace(
            f.BUNDLE,
            content_caps=tuple(
                ContentCap(artifact_type=ArtifactType.ROUTE_POLICY_BUNDLE, size_max=one)
                for one in (1, 2)
            ),
        ),
        "two content caps",
    ),
    "no node CA": (replace(f.BUNDLE, node_cas=()), "no active node CA"),
}


def test_the_bundle_of_the_tests_is_sound() -> None:
    assert bundle_faults(f.BUNDLE) == ()


@pytest.mark.parametrize(("bundle", "fault"), UNSOUND.values(), ids=UNSOUND.keys())
def test_an_unsound_bundle_is_found_out(bundle: TrustBundle, fault: str) -> None:
    assert any(fault in one for one in bundle_faults(bundle))


def test_a_demo_may_stand_on_one_root() -> None:
    rights = tuple(
        replace(one, prefix=one.prefix.replace("acme-net", "demo-net")) for one in f.BUNDLE.rights
    )
    demo = replace(
        f.BUNDLE,
        platform_id=PlatformId("demo-net"),
        rights=rights,
        root_threshold=1,
        root_keys=(f.ROOTS[0].public_key,),
    )
    assert bundle_faults(demo) == ()


# Rights.

ROUTES = "route_policy_bundle"
NARROW = f.right(ROUTES, f.COMPILER, prefix=f"{f.PREFIX}/org/acme")
NARROWER = f.right(ROUTES, f.DIRECTORY, prefix=f"{f.PREFIX}/org/acme/routes/r1")


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        ("routes/r1", POLICY_RIGHT),
        ("org/globex/routes/r1", POLICY_RIGHT),
        ("org/acme/routes/r2", NARROW),
        ("org/acme/routes/r1", NARROWER),
        ("org/acme/routes/r10", NARROW),
        ("org/acme2/routes/r1", POLICY_RIGHT),
    ],
)
def test_the_right_with_the_longest_prefix_counts_in_any_order(tail: str, expected: Right) -> None:
    rights = (*f.BUNDLE.rights, NARROW, NARROWER)
    for order in (rights, rights[::-1]):
        found = right_for(replace(f.BUNDLE, rights=order), ROUTES, f"{f.PREFIX}/{tail}")
        assert found == expected


def test_a_right_on_another_kind_is_no_right() -> None:
    bundle = replace(f.BUNDLE, rights=without(ROUTES))
    assert right_for(bundle, ROUTES, f"{f.PREFIX}/routes/r1") is None


def test_a_right_does_not_reach_outside_its_cluster() -> None:
    assert right_for(f.BUNDLE, ROUTES, f"{OUTSIDE}/routes/r1") is None


# Root signatures.


def pinned(
    *signers: f.Signer,
    bundle: TrustBundle = f.BUNDLE,
    manifest: Callable[[Manifest], Manifest] = lambda one: one,
) -> tuple[bytes, bytes]:
    statement = manifest(f.bundle_manifest(bundle))
    return f.signed(statement, *signers), bundle_bytes(bundle)


def test_a_pinned_bundle_with_enough_roots_is_believed() -> None:
    for signers in (f.ROOTS[:2], f.ROOTS[1:], f.ROOTS, (*f.ROOTS[::2], f.STRANGER)):
        assert bundle_from_pinned(*pinned(*signers), VERIFIER).bundle == f.BUNDLE


def long_ago(one: Manifest) -> Manifest:
    return replace(one, issued_at=UnixTime(1), refresh_by=UnixTime(2), expires_at=UnixTime(3))


def test_what_was_pinned_is_told_with_its_manifest() -> None:
    raw, content = pinned(*f.ROOTS)
    found = bundle_from_pinned(raw, content, VERIFIER)
    assert found.manifest == f.bundle_manifest(f.BUNDLE)
    assert found.manifest_hash == f.parts(raw).manifest_hash


def test_a_pinned_bundle_is_believed_past_its_expiry() -> None:
    past = pinned(*f.ROOTS, manifest=long_ago)
    assert bundle_from_pinned(*past, VERIFIER).bundle == f.BUNDLE


@pytest.mark.parametrize(
    "signers",
    [
        f.ROOTS[:1],
        (f.STRANGER, f.COMPILER, f.POLICY),
        (f.ROOTS[0], f.STRANGER),
        (f.ROOTS[0], f.COMPILER),
    ],
)
def test_a_pinned_bundle_with_too_few_roots_is_not_believed(
    signers: tuple[f.Signer, ...],
) -> None:
    with pytest.raises(TrustError, match="lacks 2 good root signatures"):
        bundle_from_pinned(*pinned(*signers), VERIFIER)


def test_a_root_that_the_manifest_does_not_name_does_not_count() -> None:
    unnamed = pinned(
        *f.ROOTS[:2], manifest=lambda one: replace(one, signer_key_ids=(f.ROOTS[0].key_id,))
    )
    with pytest.raises(TrustError, match="lacks 2"):
        bundle_from_pinned(*unnamed, VERIFIER)


def test_a_bad_root_signature_does_not_count_beside_good_ones() -> None:
    statement = f.bundle_manifest(f.BUNDLE)
    payload = manifest_bytes(statement)
    kind = PayloadKind.TRUST_BUNDLE
    bad = replace(f.ROOTS[1].sign(kind, payload), value=bytes(64))
    for others, enough in (((f.ROOTS[0],), False), ((f.ROOTS[0], f.ROOTS[2]), True)):
        good = tuple(one.sign(kind, payload) for one in others)
        envelope = f.parts(envelope_bytes(kind, payload, (bad, *good)))
        assert meets_roots(f.BUNDLE, envelope, statement, VERIFIER) is enough
        assert set(good_roots(f.BUNDLE, envelope, VERIFIER)) == {one.key_id for one in good}


NOT_PINNED: dict[str, Callable[[], tuple[bytes, bytes]]] = {
    "envelope unreadable": lambda: (b"\xc1", *pinned(*f.ROOTS)[1:]),
    "content unreadable": lambda: (pinned(*f.ROOTS)[0], b"\x90"),
    "payload unreadable": lambda: (
        f.sealed(PayloadKind.TRUST_BUNDLE, b"\xc0", *f.ROOTS),
        *pinned(*f.ROOTS)[1:],
    ),
    "another content": lambda: (
        pinned(*f.ROOTS)[0],
        *pinned(*f.ROOTS, bundle=replace(f.BUNDLE, protocol_min=2))[1:],
    ),
    "another hash": lambda: pinned(
        *f.ROOTS, manifest=lambda one: replace(one, content_hash=f.hash_of(b""))
    ),
    "another size": lambda: pinned(*f.ROOTS, manifest=lambda one: replace(one, content_size=1)),
    "another version": lambda: pinned(
        *f.ROOTS, manifest=lambda one: replace(one, config_version=9)
    ),
    "another epoch": lambda: pinned(*f.ROOTS, manifest=lambda one: replace(one, authority_epoch=9)),
    "another kind": lambda: (
        f.signed(f.manifest(ArtifactType.REVOCATION_LIST), *f.ROOTS),
        *pinned(*f.ROOTS)[1:],
    ),
    "the payload type of another kind": lambda: (
        f.sealed(
            PayloadKind.REVOCATION_LIST, manifest_bytes(f.bundle_manifest(f.BUNDLE)), *f.ROOTS
        ),
        *pinned(*f.ROOTS)[1:],
    ),
    "unsound": lambda: pinned(*f.ROOTS, bundle=replace(f.BUNDLE, node_cas=())),
    "roots of its own making": lambda: pinned(
        f.STRANGER, bundle=f.bundle(roots=(f.STRANGER, *f.ROOTS[:1]))
    ),
}


@pytest.mark.parametrize("make", NOT_PINNED.values(), ids=NOT_PINNED.keys())
def test_a_pinned_file_that_does_not_verify_is_refused(
    make: Callable[[], tuple[bytes, bytes]],
) -> None:
    with pytest.raises(TrustError):
        bundle_from_pinned(*make(), VERIFIER)


def test_manifest_and_bundle_must_agree_on_the_cluster() -> None:
    statement = f.bundle_manifest(f.BUNDLE)
    assert describes(statement, f.BUNDLE)
    assert not describes(statement, replace(f.BUNDLE, cluster_id=ClusterId("test")))
    assert not describes(statement, replace(f.BUNDLE, platform_id=PlatformId("other")))


# Succession by content.

NOT_NEXT: dict[str, TrustBundle] = {
    "the same version": f.BUNDLE,
    "the version before": replace(f.BUNDLE, bundle_version=2),
    "a version skipped": replace(f.BUNDLE, bundle_version=5),
    "the epoch before": replace(f.NEXT_BUNDLE, authority_epoch=1),
    "an epoch skipped": replace(f.NEXT_BUNDLE, authority_epoch=4),
    "another cluster": replace(f.NEXT_BUNDLE, cluster_id=ClusterId("test")),
    "another platform": replace(f.NEXT_BUNDLE, platform_id=PlatformId("other")),
    "unsound": replace(f.NEXT_BUNDLE, node_cas=()),
}


@pytest.mark.parametrize("successor", NOT_NEXT.values(), ids=NOT_NEXT.keys())
def test_what_is_not_exactly_next_may_not_follow(successor: TrustBundle) -> None:
    assert succession_fault(f.BUNDLE, successor) is not None


@pytest.mark.parametrize("epoch", [2, 3])
def test_exactly_the_next_version_may_follow_in_this_epoch_or_the_next(epoch: int) -> None:
    assert succession_fault(f.BUNDLE, replace(f.NEXT_BUNDLE, authority_epoch=epoch)) is None


def test_a_right_on_another_kind_is_none_however_long_its_prefix() -> None:
    other = f.right("qos_policy_bundle", f.COMPILER, prefix=f"{f.PREFIX}/routes")
    assert right_for(with_right(other), ROUTES, f"{f.PREFIX}/routes/r1") == POLICY_RIGHT


@pytest.mark.parametrize(
    "fields",
    [
        {"artifact_type": ArtifactType.REVOCATION_LIST},
        {"cluster_id": ClusterId("test")},
        {"namespace": f.namespace("trust/revocations")},
        {"config_version": 5},
        {"authority_epoch": 3},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_manifest_that_differs_in_one_thing_describes_no_bundle(
    fields: dict[str, object],
) -> None:
    statement = f.bundle_manifest(f.NEXT_BUNDLE)
    assert describes(statement, f.NEXT_BUNDLE)
    assert not describes(replace(statement, **fields), f.NEXT_BUNDLE)  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize("fields", [{"platform_id": PlatformId("other")}, {"cluster_id": "test"}])
def test_a_bundle_of_another_cluster_may_not_follow(fields: dict[str, object]) -> None:
    other = replace(f.NEXT_BUNDLE, **fields)  # type: ignore[arg-type]  # by name
    assert succession_fault(f.BUNDLE, other) == "another platform or cluster"


def test_a_revoked_key_vouches_for_nothing_whenever_it_was_seen() -> None:
    key = f.signing_key(f.POLICY)
    assert counts(key, f.NOW, None)
    assert not any(
        counts(f.signing_key(f.POLICY, KeyStatus.REVOKED), f.NOW, seen) for seen in (None, f.NOW)
    )
