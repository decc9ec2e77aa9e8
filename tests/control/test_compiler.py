"""Sources to artifacts: the same in, the same out; nothing new without a reason."""

import os
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import given as for_all
from hypothesis import strategies as st

import fabgossip
from fabgossip.control.compiler import compile_artifacts
from fabgossip.control.drafts import UnsignedArtifact
from fabgossip.control.enrollment import NodeRow, entitlements_of, org_scopes
from fabgossip.control.signing import sign_artifact
from fabgossip.errors import ControlError
from fabgossip.model.artifact import TYPE_RULES, ArtifactType, VerifiedManifest
from fabgossip.model.ids import NodeId
from fabgossip.model.scope import ScopeKind, may_hold, scope_id
from fabgossip.model.topology import PeerClass
from fabgossip.trust.facts import TrustFacts
from fabgossip.trust.revocation import NOTHING_REVOKED
from fabgossip.wire.contents import parse_peer_directory, parse_storage_directory
from fabgossip.wire.statements import manifest_bytes
from tests.control.fabric import (
    EVERY_TYPE,
    NODES,
    NOW,
    ROUTES,
    SNAPSHOT,
    STORE,
    bundle,
    given,
    node,
    published,
    ring,
)
from tests.trust import factory


def by_tail(made: tuple[UnsignedArtifact, ...]) -> dict[str, UnsignedArtifact]:
    return {
        one.manifest.namespace.text.removeprefix(f"{bundle().prefix}/"): one
        for one in made
        if one.manifest.artifact_type is not ArtifactType.SNAPSHOT_INCREMENT
    }


def digest() -> str:
    """Of everything a compile and its signatures give."""
    whole = sha256()
    for one in compile_artifacts(given(*EVERY_TYPE)):
        signed = sign_artifact(bundle(), ring(), one.manifest, one.content)
        whole.update(manifest_bytes(one.manifest) + one.content + signed.envelope)
    return whole.hexdigest()


@pytest.mark.slow
@pytest.mark.system
def test_the_same_input_gives_the_same_bytes_under_every_hash_seed() -> None:
    program = "from tests.control.test_compiler import digest; print(digest())"
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(fabgossip.__file__).parent.parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {digest()}


def test_the_order_of_nodes_and_documents_does_not_matter() -> None:
    forward = compile_artifacts(given(*EVERY_TYPE))
    backward = compile_artifacts(given(*EVERY_TYPE[::-1], nodes=NODES[::-1]))
    assert by_tail(forward) == by_tail(backward)


def test_a_second_compile_of_the_same_makes_nothing() -> None:
    made = compile_artifacts(given(*EVERY_TYPE))
    again = given(*EVERY_TYPE, published=published(made), now=NOW + 60)
    assert compile_artifacts(again) == ()


def test_a_changed_document_makes_the_next_version_of_itself_only() -> None:
    made = compile_artifacts(given(*EVERY_TYPE))
    changed = (replace(ROUTES, content=b"other routes"), *EVERY_TYPE[1:])
    (fresh,) = compile_artifacts(given(*changed, published=published(made), now=NOW + 60))
    assert fresh.manifest.namespace.text.endswith("routes/main")
    assert fresh.manifest.config_version == 2
    assert fresh.content == b"other routes"


def test_an_artifact_is_made_anew_at_half_its_refresh_span_and_not_before() -> None:
    made = compile_artifacts(given(ROUTES))
    half = TYPE_RULES[ArtifactType.ROUTE_POLICY_BUNDLE].refresh_s // 2
    early = compile_artifacts(given(ROUTES, published=published(made), now=NOW + half - 1))
    assert "routes/main" not in by_tail(early)
    late = by_tail(compile_artifacts(given(ROUTES, published=published(made), now=NOW + half)))
    assert late["routes/main"].manifest.config_version == 2
    assert late["routes/main"].content == ROUTES.content


def test_an_increment_turns_the_version_before_into_this_one() -> None:
    """By the library's own decoder, the old content as prefix, to the very bytes."""
    made = compile_artifacts(given(SNAPSHOT))
    (before,) = [one for one in made if "snapshots/role/" in one.manifest.namespace.text]
    changed = replace(SNAPSHOT, content=SNAPSHOT.content[:-1] + b"!")
    fresh = compile_artifacts(given(changed, published=published(made), now=NOW + 60))
    whole, step = fresh
    assert step.manifest.artifact_type is ArtifactType.SNAPSHOT_INCREMENT
    assert whole.manifest.order == step.manifest.order
    base = step.manifest.base
    assert base is not None
    assert (base.version, base.content_hash) == (1, before.manifest.content_hash)
    dictionary = zstd.ZstdDict(before.content, is_raw=True).as_prefix
    result = zstd.decompress(step.content, zstd_dict=dictionary)
    assert result == whole.content
    assert (base.result_hash, base.result_size) == (sha256(result).digest(), len(result))


def test_a_large_content_names_its_chunks() -> None:
    content = bytes(3 << 20)
    document = replace(ROUTES, content=content)
    manifest = by_tail(compile_artifacts(given(document)))["routes/main"].manifest
    size = 256 << 10
    assert manifest.chunk_hashes == (sha256(content[:size]).digest(),) * 12


@pytest.mark.parametrize(
    "one", compile_artifacts(given(*EVERY_TYPE)), ids=lambda one: one.manifest.namespace.text
)
def test_every_artifact_passes_the_gate_of_an_entitled_node(one: UnsignedArtifact) -> None:
    signed = sign_artifact(bundle(), ring(), one.manifest, one.content)
    kind, namespace = one.manifest.artifact_type.value, one.manifest.namespace.text
    entitled = [
        row
        for row in NODES
        if may_hold(one.manifest.audience, kind, namespace, entitlements_of(row, factory.CLUSTER))
    ]
    assert entitled
    for row in entitled:
        facts = TrustFacts(
            bundle=bundle(),
            revoked=NOTHING_REVOKED,
            own=entitlements_of(row, factory.CLUSTER),
            own_node_id=NodeId(row.node_id),
            bundle_expires_at=factory.FACTS.bundle_expires_at,
            freshness=factory.FACTS.freshness,
        )
        verdict = factory.admit(signed.envelope, facts=facts)
        assert isinstance(verdict, VerifiedManifest), verdict


def test_every_type_is_made() -> None:
    made = compile_artifacts(given(*EVERY_TYPE))
    changed = replace(SNAPSHOT, content=SNAPSHOT.content[:-1] + b"!")
    made += compile_artifacts(given(changed, published=published(made)))
    assert {one.manifest.artifact_type for one in made} == set(ArtifactType)


ORGS = ("acme", "globex")
ROWS = st.builds(
    lambda orgs, services, roles, stores, kind: {
        "orgs": tuple(sorted(orgs)),
        "services": tuple(sorted(services)),
        "roles": tuple(sorted(roles)),
        "stores": () if kind == "thin" else tuple(sorted(stores)),
        "peer_class": kind,
    },
    st.sets(st.sampled_from(ORGS)),
    st.sets(st.sampled_from(("web", "dns"))),
    st.sets(st.sampled_from(("edge", "spine"))),
    st.sets(st.sampled_from(("cluster", *ORGS))),
    st.sampled_from(("core", "full", "thin")),
)


@for_all(st.lists(ROWS, max_size=8))
def test_no_directory_lists_a_node_its_readers_may_not_know(
    facts: list[dict[str, tuple[str, ...] | str]],
) -> None:
    """A node of an organisation is named only inside it, unless it is core, which everybody may
    know; and no assignment to an organisation is told outside it."""
    nodes = (STORE, *(node(f"r{number}", **one) for number, one in enumerate(facts)))
    rows: dict[str, NodeRow] = {one.node_id: one for one in nodes}
    for one in compile_artifacts(given(*EVERY_TYPE, nodes=nodes)):
        org = one.manifest.audience.org
        if one.manifest.artifact_type is ArtifactType.PEER_DIRECTORY:
            directory = parse_peer_directory(one.content)
            for peer in directory.peers:
                row = rows[peer.node_id]
                public = row.kind is PeerClass.CORE or not org_scopes(row)
                assert public if org is None else org in org_scopes(row)
            named = {audience.org for audience in directory.audiences}
            assert named <= {None, org}
        elif one.manifest.artifact_type is ArtifactType.STORAGE_DIRECTORY:
            told = {
                known
                for place in parse_storage_directory(one.content).nodes
                for assignment in place.assignments
                for known in assignment.org_ids
            }
            assert told <= ({org} if org is not None else set())


def test_every_member_finds_itself_in_the_directory_of_its_organisation() -> None:
    made = by_tail(compile_artifacts(given(*EVERY_TYPE)))
    inside = parse_peer_directory(made["org/acme/peers/scope/org:acme"].content)
    assert {peer.node_id for peer in inside.peers} == {"n1", "n2"}
    assert inside.scope == scope_id(ScopeKind.ORG, "acme")


def test_every_problem_of_a_source_is_reported_at_once() -> None:
    documents = (
        replace(ROUTES, namespace="nowhere/at/all/here"),
        replace(ROUTES, namespace="qos/not-routes"),
        replace(ROUTES, namespace="routes/big", content=bytes((16 << 20) + 1)),
        ROUTES,
        ROUTES,
    )
    with pytest.raises(ControlError) as caught:
        compile_artifacts(given(*documents))
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    for part in ("nowhere", "does not live there", "bytes", "named twice"):
        assert any(part in line for line in lines), part


@pytest.mark.parametrize(
    ("nodes", "words"), [((), "no node is enrolled"), ((node("n1"),), "stores for others")]
)
def test_a_fabric_that_cannot_work_is_refused(nodes: tuple[NodeRow, ...], words: str) -> None:
    with pytest.raises(ControlError, match=words):
        compile_artifacts(given(ROUTES, nodes=nodes))
