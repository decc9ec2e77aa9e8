"""Fetch grants: for one node with one certificate, for minutes, never wider than asked."""

from dataclasses import replace
from pathlib import Path

import pytest

from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.granting import (
    GrantWish,
    make_grant,
    published_at,
    read_certificate,
    wish_for,
)
from fabgossip.control.node_folder import NodePlaces, enroll_node
from fabgossip.control.revoking import RevocationRow
from fabgossip.control.signing import SignedArtifact
from fabgossip.errors import ControlError
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import GRANT_LIFE_MAX_S
from fabgossip.model.envelope import PayloadKind
from fabgossip.model.ids import ClusterId, ManifestHash, NodeId, PlatformId
from fabgossip.model.scope import parse_scope_id
from fabgossip.trust.bundle import right_for
from fabgossip.trust.identity import certificate_hash_of
from fabgossip.trust.revocation import node_token
from fabgossip.trust.signatures import Ed25519Verifier, signed_bytes
from fabgossip.wire.envelopes import parse_envelope
from fabgossip.wire.statements import parse_grant
from tests.control.fabric import NOW, node
from tests.trust import factory

WISH = GrantWish(
    node_id=NodeId("n1"),
    types=(ArtifactType.ROUTE_POLICY_BUNDLE,),
    scope_ids=(parse_scope_id("role:edge"),),
    manifest_hashes=(),
    uses=2,
    life_s=GRANT_LIFE_MAX_S,
)
PLACES = NodePlaces(listen="127.0.0.1:0", storage="state", socket="s")


@pytest.fixture
def authority(tmp_path: Path) -> AuthorityFolder:
    made = AuthorityFolder(tmp_path / "authority")
    made.create(PlatformId("demo-test"), ClusterId("prod"), NOW, ())
    for name in ("n1", "n2"):
        enroll_node(made, node(name), tmp_path / name, PLACES, NOW)
    return made


def pem(authority: AuthorityFolder, name: str) -> Path:
    return authority.folder.parent / name / "identity" / "node.crt"


def test_a_grant_says_what_was_asked_signed_by_the_grant_key(authority: AuthorityFolder) -> None:
    certificate = read_certificate(pem(authority, "n1"))
    wish = replace(WISH, manifest_hashes=(ManifestHash(b"b" * 32), ManifestHash(b"a" * 32)))
    signed = make_grant(authority, wish, certificate, NOW)
    envelope = parse_envelope(signed.envelope)
    grant = parse_grant(envelope.payload)
    assert grant == signed.grant
    assert grant.certificate_hash == certificate_hash_of(certificate)
    assert (grant.node_id, grant.max_uses) == ("n1", 2)
    assert (grant.not_before, grant.expires_at) == (NOW, NOW + GRANT_LIFE_MAX_S)
    assert grant.manifest_hashes == (b"a" * 32, b"b" * 32)
    bundle = authority.bundle()
    right = right_for(bundle, PayloadKind.FETCH_GRANT.value, bundle.prefix)
    assert right is not None
    (signature,) = envelope.signatures
    assert signature.key_id in right.key_ids
    key = next(one for one in bundle.keys if one.key_id == signature.key_id)
    message = signed_bytes(envelope.kind, envelope.payload)
    assert Ed25519Verifier().is_good(key.public_key, message, signature.value)


def test_no_two_grants_have_one_id(authority: AuthorityFolder) -> None:
    certificate = read_certificate(pem(authority, "n1"))
    first, second = (make_grant(authority, WISH, certificate, NOW).grant for _ in range(2))
    assert first.grant_id != second.grant_id


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (replace(WISH, life_s=GRANT_LIFE_MAX_S + 1), "a grant lives at most"),
        (replace(WISH, scope_ids=(parse_scope_id("org:acme"),)), "never a cluster"),
        (replace(WISH, uses=0), "uses"),
        (replace(WISH, node_id=NodeId("n2")), "expected that of .*/node/n2"),
        (replace(WISH, node_id=NodeId("nobody")), "not enrolled"),
    ],
)
def test_a_grant_out_of_bounds_is_refused(
    wish: GrantWish, words: str, authority: AuthorityFolder
) -> None:
    certificate = read_certificate(pem(authority, "n1"))
    with pytest.raises(ControlError, match=words):
        make_grant(authority, wish, certificate, NOW)


def test_a_revoked_node_gets_none(authority: AuthorityFolder) -> None:
    row = RevocationRow(
        kind="NODE",
        value=node_token(ClusterId("prod"), NodeId("n1")).hex(),
        subject="n1",
        reason="lost",
        since_epoch=1,
        since=NOW,
    )
    authority.revoke(row, NOW)
    with pytest.raises(ControlError, match="n1 is revoked"):
        make_grant(authority, WISH, read_certificate(pem(authority, "n1")), NOW)


def test_what_is_no_certificate_is_said_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    with pytest.raises(ControlError, match=f"{path}: No such file"):
        read_certificate(path)
    path.write_bytes(b"no PEM at all")
    with pytest.raises(ControlError, match=f"{path}: no certificate"):
        read_certificate(path)


def signed_for(*scopes: str) -> SignedArtifact:
    tail = "services/dns" if "service:dns" in scopes else "routes/r1"
    kind = ArtifactType.SERVICE_ASSIGNMENT_BUNDLE
    statement = factory.manifest(kind if "service:dns" in scopes else WISH.types[0], tail)
    statement = replace(statement, audience=factory.audience("cluster:prod", *scopes))
    return SignedArtifact(manifest=statement, envelope=factory.signed(statement), content=b"")


def test_a_wish_for_an_artifact_names_that_one_and_no_more() -> None:
    artifact = signed_for("service:dns", "role:edge")
    wish = wish_for(artifact, replace(WISH, types=(), scope_ids=()))
    assert wish.types == (ArtifactType.SERVICE_ASSIGNMENT_BUNDLE,)
    assert [one.text for one in wish.scope_ids] == ["role:edge", "service:dns"]
    assert wish.manifest_hashes == (parse_envelope(artifact.envelope).manifest_hash,)
    assert (wish.node_id, wish.uses, wish.life_s) == (WISH.node_id, WISH.uses, WISH.life_s)


@pytest.mark.parametrize("scopes", [(), ("org:acme",)])
def test_what_a_grant_cannot_open_gets_none(scopes: tuple[str, ...]) -> None:
    with pytest.raises(ControlError, match="which a grant does not open"):
        wish_for(signed_for(*scopes), WISH)


def test_nothing_is_granted_where_nothing_is_published(authority: AuthorityFolder) -> None:
    with pytest.raises(ControlError, match="nothing is published there"):
        published_at(authority, "services/none")
