"""Snapshots: every node's own with its claims, and what is listed where a snapshot covers."""

from dataclasses import replace

import pytest

from fabgossip.control.compiler import compile_artifacts
from fabgossip.control.drafts import (
    CompileInput,
    Minimums,
    PublishedHead,
    UnsignedArtifact,
    manifest_hash_of,
)
from fabgossip.control.enrollment import NodeRow, entitlements_of, openings_of
from fabgossip.control.sources.folder import Document, Source
from fabgossip.control.sources.policies import DEFAULT_DEGRADED
from fabgossip.errors import ControlError
from fabgossip.model.artifact import ArtifactType, Manifest
from fabgossip.model.authority import (
    CERT_LIFE_MAX_S,
    KeyStatus,
    NodeClaims,
    Revocation,
    RevocationList,
    RevokedKind,
    TrustBundle,
    VerifiedClaims,
)
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Instant, Now, UnixTime, seconds_after
from fabgossip.model.policy import RetentionPolicy
from fabgossip.model.scope import may_hold, parse_scope_id
from fabgossip.model.topology import Snapshot
from fabgossip.trust.identity import ClaimsTrust, verify_claims
from fabgossip.trust.revocation import NOTHING_REVOKED, node_token
from fabgossip.trust.signatures import Ed25519Verifier
from fabgossip.wire.contents import parse_snapshot
from fabgossip.wire.envelopes import parse_envelope
from fabgossip.wire.statements import parse_claims
from tests.control.fabric import NODES, NOW, ROUTES, SNAPSHOT, bundle, given, keys, published
from tests.trust import factory

PREFIX = factory.PREFIX
COVERING = replace(SNAPSHOT, covers=("routes",), increments=False)
EDGE_ROUTES = replace(ROUTES, audience=(parse_scope_id("role:edge"),))


def snapshots(made: tuple[UnsignedArtifact, ...]) -> dict[str, Snapshot]:
    """By the last part of their namespace."""
    return {
        one.manifest.namespace.names[0]: parse_snapshot(one.content)
        for one in made
        if one.manifest.artifact_type is ArtifactType.CLUSTER_SNAPSHOT
    }


def claims_of(snapshot: Snapshot) -> NodeClaims:
    return parse_claims(parse_envelope(snapshot.claims).payload)


def manifests(made: tuple[UnsignedArtifact, ...], tail: str) -> list[Manifest]:
    return [one.manifest for one in made if one.manifest.namespace.text.endswith(tail)]


def revoking(*node_ids: str) -> RevocationList:
    return RevocationList(
        entries=tuple(
            Revocation(
                kind=RevokedKind.NODE,
                value=node_token(factory.CLUSTER, NodeId(one)),
                reason="lost",
                since_epoch=1,
                since=NOW,
                until=UnixTime(0),
            )
            for one in node_ids
        )
    )


def test_every_node_has_its_own_snapshot_with_claims_its_openings_fit() -> None:
    found = snapshots(compile_artifacts(given()))
    assert set(found) == {row.node_id for row in NODES}
    for row in NODES:
        trust = ClaimsTrust(bundle(), NOTHING_REVOKED, Ed25519Verifier())
        openings = openings_of(row, factory.CLUSTER)
        now = Now(instant=Instant(0), unix=NOW)
        claims = verify_claims(found[row.node_id].claims, openings, NodeId(row.node_id), trust, now)
        assert isinstance(claims, VerifiedClaims)
        assert claims.entitlements == entitlements_of(row, factory.CLUSTER)


def test_a_document_for_a_node_joins_its_claims() -> None:
    document = replace(SNAPSHOT, namespace="snapshots/node/n1", content=b"settings of n1")
    found = snapshots(compile_artifacts(given(document)))
    assert found["n1"].settings == b"settings of n1"
    assert claims_of(found["n1"]).node_id == "n1"
    elsewhere = replace(document, namespace="org/acme/snapshots/node/n1")
    made = compile_artifacts(given(elsewhere))
    (inside,) = [one for one in made if "org/acme/snapshots" in one.manifest.namespace.text]
    assert parse_snapshot(inside.content).claims == b""


def again(made: tuple[UnsignedArtifact, ...], after_s: int, **changes: object) -> CompileInput:
    later = given(published=published(made), now=NOW + after_s)
    return replace(later, **changes)  # type: ignore[arg-type]


def test_claims_are_the_same_bytes_until_half_of_their_life_is_gone() -> None:
    made = compile_artifacts(given())
    before = snapshots(made)["n1"].claims
    half = CERT_LIFE_MAX_S // 2
    early = snapshots(compile_artifacts(again(made, half - 1)))
    assert early["n1"].claims == before
    late = claims_of(snapshots(compile_artifacts(again(made, half)))["n1"])
    assert late.issued_at == NOW + half
    assert late.expires_at == NOW + half + CERT_LIFE_MAX_S


def changed(node_id: str, **facts: object) -> tuple[NodeRow, ...]:
    return tuple(
        replace(row, **facts) if row.node_id == node_id else row  # type: ignore[arg-type]
        for row in NODES
    )


@pytest.mark.parametrize(
    "facts",
    [{"roles": ("spine",)}, {"state_generation": 7}, {"claims_version": 2}, {"orgs": ()}],
    ids=str,
)
def test_claims_are_signed_anew_when_what_they_say_changes(facts: dict[str, object]) -> None:
    made = compile_artifacts(given())
    fresh = snapshots(compile_artifacts(again(made, 60, nodes=changed("n1", **facts))))
    assert set(fresh) == {"n1"}
    assert fresh["n1"].claims != snapshots(made)["n1"].claims


def with_status(status: KeyStatus) -> TrustBundle:
    """The bundle in which a second claims key stands beside the first, which has this status."""
    (key,) = (key for key in bundle().keys if key.key_id == keys()["claims"][0].key_id)
    others = tuple(one for one in bundle().keys if one is not key)
    return replace(bundle(), keys=(*others, replace(key, status=status)))


def test_claims_of_a_key_that_does_not_count_any_more_are_signed_anew() -> None:
    made = compile_artifacts(given())
    kept = again(made, 60, bundle=with_status(KeyStatus.ACTIVE))
    assert snapshots(compile_artifacts(kept)) == {}
    gone = again(made, 60, bundle=with_status(KeyStatus.REVOKED))
    assert set(snapshots(compile_artifacts(gone))) == {row.node_id for row in NODES}


def test_a_revoked_node_has_no_snapshot_and_no_claims_even_with_a_document() -> None:
    document = replace(SNAPSHOT, namespace="snapshots/node/n1", increments=False)
    made = compile_artifacts(given(document))
    left = replace(given(document), revocations=revoking("n1"))
    assert set(snapshots(compile_artifacts(left))) == {row.node_id for row in NODES} - {"n1"}
    later = replace(left, published=published(made), now=seconds_after(NOW, 7 * 86_400))
    assert "n1" not in snapshots(compile_artifacts(later))


def test_a_covering_snapshot_lists_the_newest_below_its_prefixes() -> None:
    other = replace(EDGE_ROUTES, namespace="routes/other")
    made = compile_artifacts(given(EDGE_ROUTES, other, COVERING))
    found = snapshots(made)["edge"]
    assert found.covers == (f"{PREFIX}/routes",)
    listed = {one.namespace: (one.order, one.manifest_hash) for one in found.listings}
    expected = [*manifests(made, "routes/main"), *manifests(made, "routes/other")]
    assert listed == {one.namespace.text: (one.order, manifest_hash_of(one)) for one in expected}
    assert compile_artifacts(given(EDGE_ROUTES, other, COVERING, published=published(made))) == ()


def test_what_is_listed_is_made_before_its_list() -> None:
    update = Document(
        artifact_type=ArtifactType.UPDATE_MANIFEST,
        namespace="updates/agent",
        audience=(parse_scope_id("role:edge"),),
        content=b"update",
    )
    made = compile_artifacts(given(update, replace(COVERING, covers=("updates",))))
    names = [one.manifest.namespace.text for one in made]
    tails = [name.removeprefix(f"{PREFIX}/") for name in names]
    assert tails.index("updates/agent") < tails.index("snapshots/role/edge")


def test_a_nodes_own_snapshot_comes_before_all_but_trust_unless_it_lists_the_rest() -> None:
    own = replace(SNAPSHOT, namespace="snapshots/node/n1", increments=False)
    order = [
        ranks(compile_artifacts(given(EDGE_ROUTES, COVERING, one)))
        for one in (
            own,
            replace(own, audience=EDGE_ROUTES.audience, covers=("routes",)),
        )
    ]
    (plain, listing) = order
    assert plain["snapshots/node/n1"] < plain["peers/scope/cluster:prod"] < plain["routes/main"]
    assert listing["snapshots/node/n2"] < listing["peers/scope/cluster:prod"]
    assert listing["routes/main"] < listing["snapshots/node/n1"]


def ranks(made: tuple[UnsignedArtifact, ...]) -> dict[str, int]:
    names = (one.manifest.namespace.text.removeprefix(f"{PREFIX}/") for one in made)
    return {name: number for number, name in enumerate(names)}


def test_a_listing_follows_and_keeps_a_window_of_earlier_ones() -> None:
    source = Source(retention=RetentionPolicy(keep_versions=2))
    heads: dict[str, PublishedHead] = {}
    hashes = []
    everything: tuple[UnsignedArtifact, ...] = ()
    for number in range(4):
        document = replace(EDGE_ROUTES, content=b"%d" % number)
        now = given(document, COVERING, published=heads, now=NOW + number)
        now = replace(now, source=replace(now.source, retention=source.retention))
        made = compile_artifacts(now)
        everything += made
        heads = published(everything)
        hashes.append(manifest_hash_of(manifests(made, "routes/main")[0]))
        (listing,) = snapshots(made)["edge"].listings
        assert listing.manifest_hash == hashes[-1]
        assert listing.window == tuple(hashes[:-1][::-1][:2])


@pytest.mark.parametrize(
    ("document", "covering"),
    [
        (replace(ROUTES, audience=(parse_scope_id("role:spine"),)), COVERING),
        (replace(ROUTES, audience=(parse_scope_id("org:acme"),)), COVERING),
        (
            replace(ROUTES, audience=(parse_scope_id("service:web"),)),
            replace(COVERING, audience=(parse_scope_id("org:acme"),)),
        ),
        (ROUTES, replace(COVERING, audience=(parse_scope_id("org:acme"),))),
    ],
)
def test_what_not_every_holder_may_know_is_no_listing(
    document: Document, covering: Document
) -> None:
    with pytest.raises(ControlError, match=r"covers .*/routes/main, which not all"):
        compile_artifacts(given(document, covering))


def test_every_holder_of_a_list_may_hold_what_it_names() -> None:
    """By the rule of the model, for members and storage nodes alike."""
    inside = replace(
        COVERING, namespace="org/acme/snapshots/role/edge", covers=("org/acme/routes",)
    )
    routes = replace(EDGE_ROUTES, namespace="org/acme/routes/inner")
    made = compile_artifacts(given(EDGE_ROUTES, COVERING, routes, inside))
    audiences = {one.manifest.namespace.text: one.manifest for one in made}
    lists = [one for one in made if one.manifest.artifact_type is ArtifactType.CLUSTER_SNAPSHOT]
    pairs = 0
    for one in lists:
        for listing in parse_snapshot(one.content).listings:
            listed = audiences[listing.namespace]
            for row in NODES:
                held = entitlements_of(row, factory.CLUSTER)
                if may_hold(one.manifest.audience, "cluster_snapshot", "", held):
                    assert may_hold(listed.audience, listed.artifact_type.value, "", held)
                    pairs += 1
    assert pairs > 2


def test_what_left_the_source_stays_listed_until_it_expires() -> None:
    made = compile_artifacts(given(EDGE_ROUTES, COVERING))
    heads = published(made)
    month = 30 * 86_400
    for after_s, count in ((month - 1, 1), (month, 0)):
        fresh = compile_artifacts(given(COVERING, published=heads, now=NOW + after_s))
        assert len(snapshots(fresh)["edge"].listings) == count


def test_a_snapshot_says_what_an_outage_allows() -> None:
    found = snapshots(compile_artifacts(given(SNAPSHOT)))
    assert found["edge"].degraded == DEFAULT_DEGRADED
    rule = DEFAULT_DEGRADED.rule_for(ArtifactType.UPDATE_MANIFEST)
    assert rule is not None
    assert rule.max_age_s == 0


def test_what_is_compiled_after_a_revocation_names_what_must_be_known() -> None:
    minimums = Minimums(trust=3, revocation=9)
    made = compile_artifacts(replace(given(ROUTES), minimums=minimums))
    for one in made:
        is_trust = "/trust/" in one.manifest.namespace.text
        named = (one.manifest.min_trust_version, one.manifest.min_revocation_version)
        assert named == ((0, 0) if is_trust else (3, 9))
    claims = claims_of(snapshots(made)["n1"])
    assert (claims.min_trust_version, claims.min_revocation_version) == (3, 9)
