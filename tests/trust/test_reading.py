"""What the gate reads out of a content: strict, in its scope, a bundle by both thresholds only.

A successor is admitted by the roots in force and read by its own: both thresholds, always.
"""

from dataclasses import replace

import pytest

from fabgossip.model.artifact import (
    ArtifactType,
    Manifest,
    VerifiedManifest,
)
from fabgossip.model.authority import (
    RevocationList,
    TrustBundle,
)
from fabgossip.model.ids import ClusterId
from fabgossip.model.scope import parse_scope_id
from fabgossip.model.topology import Snapshot
from fabgossip.trust.facts import TrustFacts
from fabgossip.trust.gate import TrustGate
from fabgossip.trust.rejections import Blame, Rejection
from fabgossip.trust.rejections import RejectionCode as Code
from fabgossip.trust.signatures import Ed25519Verifier
from fabgossip.wire.contents import (
    bundle_bytes,
    peer_directory_bytes,
    revocations_bytes,
    snapshot_bytes,
    storage_directory_bytes,
)
from tests.trust import factory as f
from tests.wire.samples import PEERS, REVOCATIONS, SNAPSHOT, STORES

T = ArtifactType
NEXT = f.bundle_manifest(f.NEXT_BUNDLE)


def read(verified: VerifiedManifest, content: bytes, facts: TrustFacts = f.FACTS) -> object:
    return TrustGate(Ed25519Verifier()).read(verified, content, facts)


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        (T.REVOCATION_LIST, revocations_bytes(REVOCATIONS), REVOCATIONS),
        (T.CLUSTER_SNAPSHOT, snapshot_bytes(SNAPSHOT), SNAPSHOT),
        (T.PEER_DIRECTORY, peer_directory_bytes(PEERS), PEERS),
        (T.STORAGE_DIRECTORY, storage_directory_bytes(STORES), STORES),
    ],
)
def test_a_content_is_read_after_its_manifest_was_verified(
    kind: ArtifactType, content: bytes, expected: RevocationList | Snapshot
) -> None:
    verified = f.admitted(f.signed(f.manifest(kind)))
    assert read(verified, content) == expected
    for broken in (b"", content[:-1], content + b"\x00", b"\x80"):
        refused = read(verified, broken)
        assert isinstance(refused, Rejection)
        assert (refused.code, refused.blame) == (Code.CONTENT_INVALID, Blame.SIGNER)


def test_a_directory_speaks_about_the_scope_of_its_namespace() -> None:
    verified = f.admitted(f.signed(f.manifest(T.PEER_DIRECTORY)))
    other = replace(PEERS, scope=parse_scope_id("role:edge"))
    assert f.code_of(read(verified, peer_directory_bytes(other))) is Code.CONTENT_INVALID
    verified = f.admitted(f.signed(f.manifest(T.STORAGE_DIRECTORY)))
    others = replace(STORES, scope=parse_scope_id("role:edge"))
    assert f.code_of(read(verified, storage_directory_bytes(others))) is Code.CONTENT_INVALID


NEW_ROOTS = (f.signer("root 4"), f.signer("root 5"), f.signer("root 6"))


def successor(content: TrustBundle, *signers: f.Signer, manifest: Manifest | None = None) -> object:
    """What becomes of the next bundle: admitted by N first, then read."""
    statement = f.bundle_manifest(content) if manifest is None else manifest
    names = tuple(sorted(one.key_id for one in (*f.ROOTS, *NEW_ROOTS)))
    raw = f.signed(replace(statement, signer_key_ids=names), *signers)
    return read(f.admitted(raw), bundle_bytes(content))


def test_a_successor_signed_by_both_thresholds_is_read() -> None:
    assert successor(f.NEXT_BUNDLE, *f.ROOTS[:2]) == f.NEXT_BUNDLE
    rotated = replace(f.bundle(roots=NEW_ROOTS), bundle_version=4)
    assert successor(rotated, *f.ROOTS[:2], *NEW_ROOTS[1:]) == rotated


@pytest.mark.parametrize("new", [(), NEW_ROOTS[:1], (f.STRANGER, f.COMPILER)])
def test_a_successor_without_the_threshold_of_its_own_roots_is_refused(
    new: tuple[f.Signer, ...],
) -> None:
    rotated = replace(f.bundle(roots=NEW_ROOTS), bundle_version=4)
    assert f.code_of(successor(rotated, *f.ROOTS, *new)) is Code.BUNDLE_INVALID


@pytest.mark.parametrize("old", [(), f.ROOTS[:1]])
def test_a_successor_without_the_threshold_of_the_roots_in_force_is_not_admitted(
    old: tuple[f.Signer, ...],
) -> None:
    rotated = replace(f.bundle(roots=NEW_ROOTS), bundle_version=4)
    names = tuple(sorted(one.key_id for one in (*f.ROOTS, *NEW_ROOTS)))
    statement = replace(f.bundle_manifest(rotated), signer_key_ids=names)
    verdict = f.admit(f.signed(statement, *old, *NEW_ROOTS))
    assert f.code_of(verdict) in {Code.SIG_THRESHOLD, Code.KEY_UNKNOWN}


def test_a_higher_threshold_of_the_successor_must_be_met_by_its_own_roots() -> None:
    stricter = replace(f.NEXT_BUNDLE, root_threshold=3)
    assert f.code_of(successor(stricter, *f.ROOTS[:2])) is Code.BUNDLE_INVALID
    assert successor(stricter, *f.ROOTS) == stricter


def test_a_successor_that_lowers_its_threshold_still_meets_the_one_in_force() -> None:
    demo = replace(f.FACTS, bundle=replace(f.BUNDLE, root_threshold=3))
    raw = f.signed(NEXT, *f.ROOTS[:2])
    assert f.code_of(f.admit(raw, facts=demo)) is Code.SIG_THRESHOLD


@pytest.mark.parametrize(
    "content",
    [
        replace(f.NEXT_BUNDLE, node_cas=()),
        replace(f.NEXT_BUNDLE, root_threshold=1),
        replace(f.NEXT_BUNDLE, rights=(*f.BUNDLE.rights, f.right("trust_bundle", f.POLICY))),
    ],
    ids=["no CA", "one root", "a second root"],
)
def test_an_unsound_successor_is_refused(content: TrustBundle) -> None:
    assert f.code_of(successor(content, *f.ROOTS)) is Code.BUNDLE_INVALID


@pytest.mark.parametrize(
    "content",
    [
        replace(f.NEXT_BUNDLE, bundle_version=5),
        replace(f.NEXT_BUNDLE, authority_epoch=3),
        replace(f.NEXT_BUNDLE, cluster_id=ClusterId("test")),
    ],
    ids=["version", "epoch", "cluster"],
)
def test_a_bundle_other_than_its_manifest_says_is_refused(content: TrustBundle) -> None:
    refused = successor(content, *f.ROOTS, manifest=NEXT)
    assert f.code_of(refused) is Code.BUNDLE_INVALID


def test_another_bundle_of_the_version_in_force_is_refused() -> None:
    fork = replace(f.BUNDLE, protocol_min=2)
    assert f.code_of(successor(fork, *f.ROOTS)) is Code.BUNDLE_INVALID
    assert successor(f.BUNDLE, *f.ROOTS) == f.BUNDLE


def test_a_bundle_that_is_no_bundle_is_refused() -> None:
    verified = f.admitted(f.signed(NEXT))
    assert f.code_of(read(verified, b"\x90")) is Code.CONTENT_INVALID
