"""The conformance suite of TUF, replayed against a whole node.

Powers: the attacker is a member of the cluster with a good certificate. It may say anything over
its link, replay what was ever signed, and sign with keys that are no longer, not yet or nowhere
trusted. A repository of TUF is a neighbour here, its roles are artifact types with rights, its
target files are contents.

Every replay asserts the code recorded, the exact trusted set left, what was asked of peers, what
went to the disk, and that nobody was told. The table gives each test of
theupdateframework/tuf-conformance (2026) the test that replays it, here or in the file named, or
after a dash the reason why it has no counterpart.

test_basic
  test_basic_refresh_requests: test_a_fresh_link_is_asked_for_trust_first
  test_basic_refresh_trusted_data: test_a_fresh_link_is_asked_for_trust_first
  test_implicit_refresh: tests/core/test_node.py test_a_fetch_of_what_no_manifest_names_is_unknown
  test_invalid_initial_root: tests/trust/test_bundle.py test_a_pinned_file_that_does_not_verify_is_refused
  test_unsigned_initial_root: tests/trust/test_bundle.py test_a_pinned_bundle_with_too_few_roots_is_not_believed
  test_unsigned_metadata: test_what_is_not_signed_by_its_keys_is_refused
  test_url_and_metadata_version_mismatch: tests/trust/test_gate.py test_one_thing_wrong_is_refused_by_its_name
  test_timestamp_content_changes: test_the_same_version_with_another_content_changes_nothing
  test_basic_metadata_hash_support: test_substituted_bytes_are_never_applied
  test_metadata_bytes_match: test_bytes_are_kept_and_told_as_they_came
  test_custom_fields: test_unknown_fields_are_kept_and_told_as_they_came
  test_deprecated_keyid_hash_algorithms: - a key id is the SHA-256 of the key, nothing names an algorithm
  test_snapshot_404: test_what_cannot_be_had_leaves_the_last_good_in_place
  test_targets_404: test_what_cannot_be_had_leaves_the_last_good_in_place
  test_timestamp_404: tests/core/test_fetching.py test_a_parked_want_is_tried_again_after_a_wait_of_up_to_three_times_the_last
  test_incorrect_metadata_type: test_one_type_is_not_passed_off_as_another
  test_faketime: - tests the harness; time is an argument here

test_expiration
  test_root_expired: test_an_expired_bundle_comes_into_force_and_freezes_the_rest
  test_snapshot_expired: test_what_has_expired_is_refused_and_the_last_good_stays
  test_targets_expired: test_what_has_expired_is_refused_and_the_last_good_stays
  test_timestamp_expired: test_what_has_expired_is_refused_and_the_last_good_stays
  test_expired_metadata: test_what_expired_here_gives_way_to_what_is_fresh

test_delegated_expiration
  test_delegated_targets_expired: test_what_has_expired_is_refused_and_the_last_good_stays
  test_expired_local_delegated_targets: test_what_expired_here_gives_way_to_what_is_fresh
  test_expired_local_delegated_targets_updates: test_what_expired_here_gives_way_to_what_is_fresh

test_file_download
  test_client_downloads_expected_file: test_a_content_is_fetched_once_and_applied
  test_client_downloads_expected_file_in_sub_dir: test_a_content_is_fetched_once_and_applied
  test_repository_substitutes_target_file: test_substituted_bytes_are_never_applied
  test_multiple_changes_to_target: test_substitution_between_many_changes_is_never_applied
  test_download_with_hash_algorithms: - SHA-256 is fixed, nothing is negotiated
  test_download_with_unknown_hash_algorithm: - SHA-256 is fixed, nothing is negotiated

test_keys
  test_snapshot_does_not_meet_threshold: test_a_threshold_is_met_or_nothing_happens
  test_snapshot_has_too_few_keys: test_a_bundle_that_asks_for_more_keys_than_it_names_is_unsound
  test_root_has_keys_but_not_snapshot: test_a_raised_threshold_counts_from_the_next_one_on
  test_duplicate_keys: tests/oracles/test_dsse.py test_one_key_under_two_ids_counts_twice_there_and_once_here
  test_duplicate_sig_keyids: tests/oracles/test_dsse.py test_one_signature_twice_is_refused_by_both
  test_keytype_and_scheme: tests/oracles/test_ed25519.py test_no_flipped_bit_of_a_signature_is_good
  test_invalid_sig_in_valid_metadata: tests/oracles/test_dsse.py test_a_bad_signature_beside_good_ones_is_ignored_by_both

test_updater_key_rotations
  test_root_rotation: tests/attacks/test_succession.py test_every_rotation
  test_non_root_rotations: tests/attacks/test_succession.py test_every_rotation_of_signing_keys

test_rollback
  test_simple_snapshot_rollback: test_an_older_version_is_refused_warm_and_cold
  test_new_timestamp_version_rollback: test_an_older_version_is_refused_warm_and_cold
  test_snapshot_rollback: test_an_older_version_is_refused_warm_and_cold
  test_targets_rollback: test_an_older_version_is_refused_warm_and_cold
  test_new_targets_fast_forward_recovery: test_only_a_new_epoch_undoes_a_fast_forward
  test_new_snapshot_fast_forward_recovery: test_only_a_new_epoch_undoes_a_fast_forward
  test_new_timestamp_fast_forward_recovery: test_only_a_new_epoch_undoes_a_fast_forward
  test_new_snapshot_version_mismatch: tests/attacks/test_mix_match.py test_listing_decides
  test_new_targets_version_mismatch: tests/attacks/test_mix_match.py test_a_listing_binds_before_what_it_lists_is_here

test_updater_delegation_graphs
  test_graph_traversal: tests/attacks/test_rights.py test_order_is_irrelevant
  test_graph_traversal with thresholds: test_a_narrower_right_has_a_threshold_of_its_own
  test_targetfile_search: test_a_narrower_right_takes_the_place_of_the_wider_one
  the diamond of pull request 405: test_authority_under_one_prefix_is_none_under_another

test_quoting_issues
  test_unusual_role_name: test_an_unusual_name_is_refused_before_anything_is_named_by_it

test_static_repositories
  test_static_repository: tests/attacks/test_golden.py test_old_and_extended

self_tests
  test_repository_simulator: - tests its own simulator
"""  # noqa: E501 - a table

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

from fabgossip.core.effects import Materialize, Persist, ReceiveContent
from fabgossip.core.events import ContentFailed, FetchFailure, RefreshDue, TimerFired
from fabgossip.model.artifact import TRUST_TYPES, ArtifactType, Manifest, Order
from fabgossip.model.authority import TrustBundle
from fabgossip.model.messages import GetHeads, Heads
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import PutEvidence, PutHead, StoredFloor
from fabgossip.wire.envelopes import envelope_bytes
from tests.attacks.scene import ATTACKER, TRUST_LANE_ASKED, Scene
from tests.core.artifacts import (
    Artifact,
    artifact,
    node_snapshot,
    peers,
    revocations,
    routes,
    sealed,
    stored_head,
    stores,
    trust,
    update,
)
from tests.core.story import NOTHING_STORED, Story
from tests.trust import factory as f

T = ArtifactType
CONTENT_TYPES = tuple(one for one in T if one not in (T.TRUST_BUNDLE, T.SNAPSHOT_INCREMENT))
VERSION_MAX = 2**53 - 1
CURRENT_7 = (Order(2, 7), "current")
"""The routes of most scenes."""


def signed(statement: Manifest, *signers: f.Signer, content: bytes = f.CONTENT) -> Artifact:
    return Artifact(statement, f.signed(statement, *signers), content)


def sample(kind: ArtifactType, version: int) -> Artifact:
    """A version of any type but trust bundles and increments, with a content that type may have."""
    match kind:
        case T.REVOCATION_LIST:
            return revocations(version)
        case T.CLUSTER_SNAPSHOT:
            content = node_snapshot(version).content
            return artifact(kind, "snapshots/role/edge", version=version, content=content)
        case T.PEER_DIRECTORY:
            return peers(version=version)
        case T.STORAGE_DIRECTORY:
            return stores(version=version)
        case _:
            return artifact(kind, version=version)


def next_bundle(bundle: TrustBundle) -> Artifact:
    return trust(replace(bundle, bundle_version=4))


def refused(scene: Scene, offered: Artifact, code: str) -> None:
    """The attempt leaves one record, perhaps a question for newer trust, and nothing else
    anywhere."""
    before = scene.rest().state
    scene.caused.clear()
    scene.offer(offered).rest()
    assert scene.requests in ([], [TRUST_LANE_ASKED])
    scene.leaves(
        before,
        codes=[code],
        requests=scene.requests,
        audited=[("artifact_rejected", code, ATTACKER)],
    )


# test_basic


def test_a_fresh_link_is_asked_for_trust_first() -> None:
    """The first question is about the trust lane; the answer goes to the disk in that order, and no
    more is trusted than was answered."""
    story = Story()
    link = story.link("n2")
    (asked,) = [one for one in story.sent(link) if isinstance(one, GetHeads)]
    tails = [one.namespace.removeprefix(f"{f.PREFIX}/") for one in asked.known]
    assert tails == ["trust/bundle", "trust/revocations", "snapshots/node/n1"]
    assert [(one.epoch, one.version) for one in asked.known] == [(2, 3), (2, 1), (2, 1)]
    answered = (next_bundle(f.BUNDLE), revocations(2), node_snapshot(2))
    story.hear(link, Heads(envelopes=tuple(one.envelope for one in answered)))
    changes = [one.changes for one in story.find(Persist)]
    assert changes == [(PutHead(verified=one.verified),) for one in answered]
    assert story.trusted == {
        "trust/bundle": (Order(2, 4), "persisting"),
        "trust/revocations": (Order(2, 2), "persisting"),
        "snapshots/node/n1": (Order(2, 2), "persisting"),
    }


@pytest.mark.parametrize("kind", T)
@pytest.mark.parametrize(
    ("who", "code"),
    [
        ("nobody", "KEY_UNKNOWN"),
        ("a stranger", "KEY_UNKNOWN"),
        ("another's key", "KEY_NOT_FOR_TYPE"),
        ("a flipped bit", "SIG_INVALID"),
    ],
)
def test_what_is_not_signed_by_its_keys_is_refused(kind: ArtifactType, who: str, code: str) -> None:
    statement = f.manifest(kind)
    payload = f.parts(f.signed(statement)).payload
    good = tuple(one.sign(kind.payload_kind, payload) for one in f.SIGNERS_OF[kind])
    other = f.CLAIMER.sign(kind.payload_kind, payload)
    forged = {
        "nobody": (),
        "a stranger": (f.STRANGER.sign(kind.payload_kind, payload),),
        "another's key": (other,),
        "a flipped bit": tuple(
            replace(one, value=bytes([one.value[0] ^ 1]) + one.value[1:]) for one in good
        ),
    }[who]
    raw = envelope_bytes(kind.payload_kind, payload, forged)
    refused(Scene().publish(routes(7)), Artifact(statement, raw, f.CONTENT), code)


def test_the_same_version_with_another_content_changes_nothing() -> None:
    scene = Scene().publish(routes(7))
    other = routes(7, content=b"other routes")
    scene.offer(other)
    assert scene.codes == ["EQUIVOCATION"]
    assert scene.trusted == {"routes/r1": (Order(2, 7), "disputed")}
    assert [type(one) for one in scene.durable] == [PutEvidence]
    assert scene.fetched == []
    assert switched(scene) == []


def test_bytes_are_kept_and_told_as_they_came() -> None:
    """A signature nobody needs stays in the envelope: what was received is stored and re-served."""
    one = routes(7)
    unusual = Artifact(one.manifest, f.signed(one.manifest, f.POLICY, f.STRANGER), one.content)
    assert unusual.envelope != one.envelope
    scene = Scene().offer(unusual)
    assert scene.codes == []
    (put,) = scene.durable
    assert isinstance(put, PutHead)
    assert put.verified.envelope == unusual.envelope
    assert scene.told(unusual)
    assert not scene.told(one)


def test_unknown_fields_are_kept_and_told_as_they_came() -> None:
    """Unless the signer calls them critical: then a node that does not know them must not act."""
    known = routes(7).manifest
    extended = sealed(replace(known, extensions=(("colour", b"\x00\xff"),)), routes(7).content)
    scene = Scene().offer(extended)
    assert (scene.codes, scene.trusted) == ([], {"routes/r1": CURRENT_7})
    assert scene.durable == [PutHead(verified=extended.verified)]
    assert scene.told(extended)
    critical = replace(extended.manifest, config_version=8, critical_extensions=("colour",))
    refused(scene, signed(critical), "CRITICAL_UNKNOWN")


def test_what_cannot_be_had_leaves_the_last_good_in_place() -> None:
    """The manifest is there, its content nowhere: the head moves, the local state does not."""
    scene = Scene().publish(routes(7))
    scene.announce(routes(8), scene.attacker).persisted()
    fail(scene, routes(8), FetchFailure.MISSING)
    assert scene.trusted == {"routes/r1": (Order(2, 8), "behind")}
    assert scene.fetched[0] == routes(8).content_hash
    assert switched(scene) == []


def fail(scene: Scene, wanted: Artifact, reason: FetchFailure) -> None:
    """The source under way does not bring the content."""
    failed = ContentFailed(
        wanted=wanted.wanted,
        link=scene.only(ReceiveContent).link,
        request=None,
        reason=reason,
        received=0,
    )
    scene.when(failed)


def switched(scene: Scene) -> list[tuple[str, Order | None]]:
    """What the local state was switched to, in order."""
    return [
        (one.namespace.removeprefix(f"{f.PREFIX}/"), one.order)
        for one in scene.caused
        if isinstance(one, Materialize)
    ]


@pytest.mark.parametrize("said", [one for one in T if one is not T.ROUTE_POLICY_BUNDLE])
def test_one_type_is_not_passed_off_as_another(said: ArtifactType) -> None:
    """Complete and well signed, but as routes, by a key that has a right on both types. For trust
    nobody can have that: roots hold no rights, and a revocation key but one."""
    is_trust = said in TRUST_TYPES
    others = tuple(one for one in f.BUNDLE.rights if one.kind != said.value)
    both = replace(f.BUNDLE, rights=(*others, f.right(said.value, f.POLICY)))
    scene = Scene().offer(next_bundle(f.BUNDLE if is_trust else both))
    scene.caused.clear()
    assert scene.node.view.trust.bundle.bundle_version == 4
    read = f.parts(routes(7).envelope)
    raw = envelope_bytes(said.payload_kind, read.payload, read.signatures)
    code = "KEY_NOT_FOR_TYPE" if is_trust else "SIG_INVALID"
    refused(scene, replace(routes(7), envelope=raw), code)


# test_expiration, test_delegated_expiration


def test_an_expired_bundle_comes_into_force_and_freezes_the_rest() -> None:
    """Else a node that slept could not climb the chain; restriction still lands."""
    fresh = next_bundle(f.BUNDLE)
    past = replace(
        fresh.manifest,
        issued_at=UnixTime(f.NOW - f.DAY),
        refresh_by=UnixTime(f.NOW - 1),
        expires_at=UnixTime(f.NOW - 1),
    )
    expired = signed(past, content=fresh.content)
    scene = Scene().publish(routes(7)).offer(expired)
    assert scene.node.view.trust.bundle.bundle_version == 4
    refused(scene, routes(8), "TRUST_EXPIRED")
    assert scene.trusted["routes/r1"][0] == Order(2, 7)
    scene.offer(revocations(1))
    assert scene.node.view.trust.revoked.version == 1


@pytest.mark.parametrize("kind", [one for one in CONTENT_TYPES if one is not T.REVOCATION_LIST])
def test_what_has_expired_is_refused_and_the_last_good_stays(kind: ArtifactType) -> None:
    good = sample(kind, 7)
    scene = Scene().publish(good)
    ends = UnixTime(f.NOW)
    late = replace(
        good.manifest,
        config_version=8,
        issued_at=UnixTime(f.NOW - f.DAY),
        refresh_by=ends,
        expires_at=ends,
    )
    refused(scene, signed(late, content=good.content), "EXPIRED")
    assert scene.trusted == {good.tail: CURRENT_7}


def test_what_expired_here_gives_way_to_what_is_fresh() -> None:
    scene = Scene()
    ends = f.NOW + 60
    short = artifact(T.QOS_POLICY_BUNDLE, content=b"short", refresh_by=ends, expires_at=ends)
    scene.publish(short)
    scene.wait(60_000).when(TimerFired(timer=RefreshDue()))
    assert scene.trusted == {"qos/q1": (Order(2, 7), "expired")}
    assert switched(scene) == [("qos/q1", None)]
    refused(scene, artifact(T.QOS_POLICY_BUNDLE, version=6, content=b"older"), "VERSION_ROLLBACK")
    fresh = artifact(T.QOS_POLICY_BUNDLE, version=8, content=b"fresh")
    scene.offer(fresh)
    assert scene.trusted == {"qos/q1": (Order(2, 8), "current")}
    assert switched(scene) == [("qos/q1", Order(2, 8))]


# test_file_download


@pytest.mark.parametrize("tail", ["services/dns", "services/dns/zones"])
def test_a_content_is_fetched_once_and_applied(tail: str) -> None:
    offered = artifact(T.SERVICE_ASSIGNMENT_BUNDLE, tail, content=b"records")
    scene = Scene().offer(offered)
    assert scene.fetched == [offered.content_hash]
    assert scene.trusted == {tail: CURRENT_7}
    assert switched(scene) == [(tail, Order(2, 7))]


def test_substituted_bytes_are_never_applied() -> None:
    """A source that brings other bytes is not asked again, an honest one is enough. The manifest is
    honest and others may hear of it; that its content is held here is said to nobody."""
    scene = Scene().publish(routes(7))
    scene.announce(routes(8), scene.attacker).persisted()
    assert scene.only(ReceiveContent).link == scene.attacker
    fail(scene, routes(8), FetchFailure.BAD_HASH)
    assert scene.trusted == {"routes/r1": (Order(2, 8), "behind")}
    assert switched(scene) == []
    assert not scene.says_it_holds(routes(8))
    scene.announce(routes(8), scene.bystander)
    assert [one.link for one in scene.find(ReceiveContent)] == [scene.bystander]
    scene.stored(routes(8), scene.bystander).materialized()
    assert scene.trusted == {"routes/r1": (Order(2, 8), "current")}


def test_substitution_between_many_changes_is_never_applied() -> None:
    scene = Scene().publish(routes(1))
    for version in range(2, 12):
        scene.caused.clear()
        if version % 5 == 0:
            scene.announce(routes(version), scene.attacker).persisted()
            fail(scene, routes(version), FetchFailure.BAD_HASH)
            assert (switched(scene), scene.says_it_holds(routes(version))) == ([], False)
        else:
            scene.offer(routes(version))
            assert switched(scene) == [("routes/r1", Order(2, version))]
    assert scene.trusted == {"routes/r1": (Order(2, 11), "current")}


# test_keys


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_threshold_is_met_or_nothing_happens(count: int) -> None:
    names = tuple(sorted(one.key_id for one in f.RELEASES))
    statement = replace(update(8).manifest, signer_key_ids=names)
    offered = signed(statement, *f.RELEASES[:count], content=update(8).content)
    scene = Scene().publish(update(7))
    if count < 2:
        refused(scene, offered, "SIG_THRESHOLD")
        assert scene.trusted == {"updates/u1": CURRENT_7}
    else:
        assert scene.offer(offered).trusted == {"updates/u1": (Order(2, 8), "current")}


def asking(threshold: int) -> Artifact:
    """The next bundle, in which updates need so many of three keys."""
    kind = T.UPDATE_MANIFEST.value
    others = tuple(one for one in f.BUNDLE.rights if one.kind != kind)
    rights = (*others, f.right(kind, *f.RELEASES, threshold=threshold))
    return next_bundle(replace(f.BUNDLE, rights=rights))


def test_a_bundle_that_asks_for_more_keys_than_it_names_is_unsound() -> None:
    scene = Scene().publish(update(7)).offer(asking(4))
    assert scene.codes == ["BUNDLE_INVALID"]
    assert scene.node.view.trust.bundle == f.BUNDLE
    assert scene.trusted == {"updates/u1": CURRENT_7}
    assert not scene.told(asking(4))


def test_a_raised_threshold_counts_from_the_next_one_on() -> None:
    """And for what is held: two of two signed it, three are asked for now."""
    scene = Scene().publish(update(7)).offer(asking(3))
    assert scene.node.view.trust.bundle.bundle_version == 4
    assert scene.trusted["updates/u1"] == (Order(2, 7), "refused")
    assert switched(scene)[0] == ("updates/u1", None)
    refused(scene, update(8), "SIG_THRESHOLD")


# test_rollback


@pytest.mark.parametrize("kind", CONTENT_TYPES)
def test_an_older_version_is_refused_warm_and_cold(kind: ArtifactType) -> None:
    """By a node that saw the newer one, by the same node after a restart, and by one that kept the
    floor alone."""
    newer, older = sample(kind, 8), sample(kind, 7)
    name = newer.manifest.namespace.text
    floor = StoredFloor(
        namespace=name, order=newer.manifest.order, manifest_hash=newer.verified.manifest_hash
    )
    floors = (floor,)
    held = replace(NOTHING_STORED, heads=(stored_head(newer),), floors=floors)
    for scene in (
        Scene().publish(newer),
        Scene(started=held),
        Scene(started=replace(NOTHING_STORED, floors=floors)),
    ):
        refused(scene, older, "VERSION_ROLLBACK")


def test_only_a_new_epoch_undoes_a_fast_forward() -> None:
    """A stolen compiler key took the highest version there is; the roots move the epoch on. Until
    claims of the new epoch come, the trust lane is all that is left to this node."""
    scene = Scene().publish(node_snapshot(VERSION_MAX))
    refused(scene, node_snapshot(8), "VERSION_ROLLBACK")
    again = node_snapshot(1)
    next_epoch = replace(again.manifest, authority_epoch=3)
    recovery = signed(next_epoch, content=again.content)
    refused(Scene(), recovery, "EPOCH_UNKNOWN")
    scene.publish(next_bundle(replace(f.BUNDLE, authority_epoch=3)))
    refused(scene, node_snapshot(VERSION_MAX), "EPOCH_STALE")
    scene.offer(recovery)
    assert scene.trusted == {
        "snapshots/node/n1": (Order(3, 1), "current"),
        "trust/bundle": (Order(3, 4), "held"),
    }


# test_updater_delegation_graphs

WIDE, NARROW = f.POLICY, f.DIRECTORY
"""Who signs routes of the cluster, and who those of one organisation."""


def delegating(*others: f.Signer, threshold: int = 1) -> Artifact:
    """The next bundle, in which routes of one organisation are signed by others."""
    prefix = f"{f.PREFIX}/org/acme"
    narrow = f.right("route_policy_bundle", NARROW, *others, threshold=threshold, prefix=prefix)
    return next_bundle(replace(f.BUNDLE, rights=(*f.BUNDLE.rights, narrow)))


def routes_by(signer: f.Signer, tail: str) -> Artifact:
    statement = replace(f.manifest(T.ROUTE_POLICY_BUNDLE, tail), signer_key_ids=(signer.key_id,))
    return signed(statement, signer)


@pytest.mark.parametrize(
    ("tail", "owner", "other"),
    [("routes/r1", WIDE, NARROW), ("org/acme/routes/r1", NARROW, WIDE)],
)
def test_a_narrower_right_takes_the_place_of_the_wider_one(
    tail: str, owner: f.Signer, other: f.Signer
) -> None:
    """No search through a graph, no fall-back: one prefix, one right."""
    scene = Scene().publish(delegating())
    refused(scene, routes_by(other, tail), "KEY_NOT_FOR_NAMESPACE")
    assert scene.offer(routes_by(owner, tail)).trusted[tail] == CURRENT_7


def test_a_narrower_right_has_a_threshold_of_its_own() -> None:
    """What would be enough elsewhere is too little here."""
    tail = "org/acme/routes/r1"
    names = tuple(sorted(one.key_id for one in (NARROW, WIDE)))
    statement = replace(f.manifest(T.ROUTE_POLICY_BUNDLE, tail), signer_key_ids=names)
    scene = Scene().publish(delegating(WIDE, threshold=2))
    refused(scene, signed(statement, WIDE), "SIG_THRESHOLD")
    assert scene.offer(signed(statement, WIDE, NARROW)).trusted[tail] == CURRENT_7


@pytest.mark.parametrize("is_first_good", [True, False], ids=["good first", "bad first"])
def test_authority_under_one_prefix_is_none_under_another(*, is_first_good: bool) -> None:
    """The same key, the same content, good on one path: nothing of that verdict helps the other
    (CVE-2026-6967)."""
    good, bad = routes_by(NARROW, "org/acme/routes/r1"), routes_by(NARROW, "routes/r1")
    scene = Scene().publish(delegating())
    if is_first_good:
        scene.offer(good)
    refused(scene, bad, "KEY_NOT_FOR_NAMESPACE")
    scene.offer(good)
    assert scene.trusted["org/acme/routes/r1"] == CURRENT_7
    assert "routes/r1" not in scene.trusted


# test_quoting_issues


@pytest.mark.parametrize(
    "name",
    ["?", "#", "/delegatedrole", "../delegatedrole", "..", "%2e%2e", "r1\n", "R1", "r1\x00"],
)
def test_an_unusual_name_is_refused_before_anything_is_named_by_it(name: str) -> None:
    """Though its signer is trusted: nothing is quoted, the grammar has no such name."""
    usual = f.manifest(T.ROUTE_POLICY_BUNDLE)
    path = replace(usual.namespace, text=f"{f.PREFIX}/routes/{name}")
    scene = Scene().publish(routes(7))
    refused(scene, signed(replace(usual, namespace=path)), "ID_SYNTAX")
    assert scene.trusted == {"routes/r1": CURRENT_7}


# The table is true.

ROOT = Path(__file__).parents[2]
ROW = re.compile(
    r"^  (?P<name>[\w ]+): (?:- (?P<reason>.+)|(?:(?P<file>\S+) )?(?P<test>test_\w+))$"
)


def rows() -> list[re.Match[str]]:
    assert __doc__ is not None
    lines = [line for line in __doc__.splitlines() if line.startswith("  ")]
    found = [ROW.match(line) for line in lines]
    assert None not in found, lines[found.index(None)]
    return [one for one in found if one is not None]


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        one.name for one in tree.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_test_the_table_names_exists() -> None:
    for row in rows():
        if row["reason"] is None:
            path = Path(__file__) if row["file"] is None else ROOT / row["file"]
            assert row["test"] in names_in(path), row["test"]


def test_every_replay_of_this_module_is_named_in_the_table() -> None:
    named = {row["test"] for row in rows() if row["file"] is None}
    replays = {one for one in names_in(Path(__file__)) if one.startswith("test_")}
    assert replays - named == {
        "test_every_test_the_table_names_exists",
        "test_every_replay_of_this_module_is_named_in_the_table",
    }
