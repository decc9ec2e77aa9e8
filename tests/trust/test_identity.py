"""Who stands at the other end: every leaf rule broken in turn, every claims rule broken in turn."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import (
    ClaimItem,
    KeyStatus,
    NodeCa,
    NodeClaims,
    NodeIdentity,
    Opening,
    RevokedKind,
    VerifiedClaims,
)
from fabgossip.model.envelope import PayloadKind
from fabgossip.model.ids import ClusterId, NodeId, PlatformId
from fabgossip.model.moment import UnixTime
from fabgossip.model.scope import parse_scope_id
from fabgossip.trust.identity import (
    ClaimsTrust,
    signed_claims,
    spiffe_id,
    verify_claims,
    verify_leaf,
)
from fabgossip.trust.rejections import Rejection, RejectionCode
from fabgossip.trust.revocation import NOTHING_REVOKED, Revoked, node_token
from fabgossip.trust.signatures import Ed25519Verifier
from fabgossip.wire.statements import claims_bytes, manifest_bytes
from tests.trust import factory as f

GOOD = f.Leaf()
URI = x509.UniformResourceIdentifier
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


def usage(**changes: bool) -> x509.KeyUsage:
    bits = {
        "digital_signature": True,
        "content_commitment": False,
        "key_encipherment": False,
        "data_encipherment": False,
        "key_agreement": False,
        "key_cert_sign": False,
        "crl_sign": False,
        "encipher_only": False,
        "decipher_only": False,
    }
    return x509.KeyUsage(**(bits | changes))


def judged(
    leaf: f.Leaf, revoked: Revoked = NOTHING_REVOKED, now: UnixTime = f.NOW
) -> NodeIdentity | Rejection:
    return verify_leaf(f.leaf_der(leaf), f.BUNDLE, revoked, now)


def is_refused(verdict: NodeIdentity | Rejection) -> bool:
    return f.code_of(verdict) is RejectionCode.IDENTITY_INVALID


def named(*uris: str) -> f.Leaf:
    return replace(GOOD, names=tuple(URI(uri) for uri in uris))


# Leaf certificates.


def test_a_leaf_that_keeps_every_rule_names_its_node() -> None:
    der = f.leaf_der(GOOD)
    identity = verify_leaf(der, f.BUNDLE, NOTHING_REVOKED, f.NOW)
    assert isinstance(identity, NodeIdentity)
    assert identity.node_id == f.NODE
    signed = x509.load_der_x509_certificate(der).tbs_certificate_bytes
    assert identity.certificate_hash == f.hash_of(signed)
    assert identity.expires_at == GOOD.not_after


@dataclass(frozen=True)
class Curve:
    """A public key on another curve, made when asked."""

    curve: ec.EllipticCurve

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return ec.derive_private_key(12345, self.curve).public_key()


BROKEN: dict[str, f.Leaf] = {
    "key on P-384": replace(GOOD, public_key=Curve(ec.SECP384R1()).public_key),
    "key on P-256K1": replace(GOOD, public_key=Curve(ec.SECP256K1()).public_key),
    "Ed25519 key": replace(
        GOOD, public_key=ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key
    ),
    "a CA": replace(GOOD, is_ca=True),
    "no basic constraints": replace(GOOD, is_ca=None),
    "no key usage": replace(GOOD, usage=None),
    "key usage not critical": replace(GOOD, usage_critical=False),
    "no digital signature": replace(
        GOOD, usage=usage(digital_signature=False, key_encipherment=True)
    ),
    "no usage at all": replace(GOOD, usage=usage(digital_signature=False)),
    "content commitment": replace(GOOD, usage=usage(content_commitment=True)),
    "key encipherment": replace(GOOD, usage=usage(key_encipherment=True)),
    "data encipherment": replace(GOOD, usage=usage(data_encipherment=True)),
    "key agreement": replace(GOOD, usage=usage(key_agreement=True)),
    "certificate signing": replace(GOOD, usage=usage(key_cert_sign=True)),
    "CRL signing": replace(GOOD, usage=usage(crl_sign=True)),
    "no extended usage": replace(GOOD, ends=None),
    "client only": replace(GOOD, ends=(CLIENT,)),
    "server only": replace(GOOD, ends=(SERVER,)),
    "code signing too": replace(GOOD, ends=(CLIENT, SERVER, ExtendedKeyUsageOID.CODE_SIGNING)),
    "no name": replace(GOOD, names=()),
    "two URIs": named(f.NODE_URI, f.NODE_URI),
    "a second node": named(f.NODE_URI, f.NODE_URI.replace("n1", "n2")),
    "a DNS name beside": replace(GOOD, names=(URI(f.NODE_URI), x509.DNSName("n1.example"))),
    "a DNS name only": replace(GOOD, names=(x509.DNSName("n1.example"),)),
    "name not critical, no subject": replace(GOOD, names_critical=False),
    "another platform": named(f.NODE_URI.replace("acme-net", "other")),
    "another cluster": named(f.NODE_URI.replace("/prod/", "/test/")),
    "no node": named(f.NODE_URI.removesuffix("n1")),
    "a control endpoint": named(f.NODE_URI.replace("/node/", "/control/")),
    "upper case node": named(f.NODE_URI.replace("n1", "N1")),
    "upper case scheme": named(f.NODE_URI.replace("spiffe", "SPIFFE")),
    "another scheme": named(f.NODE_URI.replace("spiffe", "https")),
    "percent-encoded": named(f.NODE_URI.replace("n1", "%6e1")),
    "dots": named(f"{f.NODE_URI}/../n1"),
    "encoded dots": named(f.NODE_URI.replace("n1", "%2e%2e")),
    "a longer path": named(f"{f.NODE_URI}/n1"),
    "a trailing slash": named(f"{f.NODE_URI}/"),
    "a query": named(f"{f.NODE_URI}?x=1"),
    "a fragment": named(f"{f.NODE_URI}#n1"),
    "a port": named(f.NODE_URI.replace("acme-net", "acme-net:80")),
    "a user": named(f.NODE_URI.replace("acme-net", "x@acme-net")),
    "not valid yet": replace(GOOD, not_before=f.NOW + 121),
    "expired": replace(GOOD, not_after=f.NOW),
    "valid for too long": replace(GOOD, not_after=GOOD.not_before + 7 * f.DAY + 1),
    "another CA": replace(GOOD, issuer=f.authority("another CA")),
    "another CA of the same name": replace(
        GOOD, issuer=replace(f.NODE_CA, private=f.p256_key("thief"))
    ),
}


@pytest.mark.parametrize("leaf", BROKEN.values(), ids=BROKEN.keys())
def test_a_leaf_that_breaks_one_rule_is_no_identity(leaf: f.Leaf) -> None:
    assert is_refused(judged(leaf))


KEPT: dict[str, f.Leaf] = {
    "begins within the tolerance of clocks": replace(GOOD, not_before=f.NOW + 120),
    "one second left": replace(GOOD, not_after=f.NOW + 1),
    "the longest life": replace(GOOD, not_after=GOOD.not_before + 7 * f.DAY),
    "a subject, and the name not critical": replace(
        GOOD, subject=f.common_name("n1"), names_critical=False
    ),
    "usages in another order": replace(GOOD, ends=(SERVER, CLIENT)),
    "another node": named(f.NODE_URI.replace("n1", "a.b-c_9")),
}


@pytest.mark.parametrize("leaf", KEPT.values(), ids=KEPT.keys())
def test_a_leaf_at_the_edge_of_the_rules_is_an_identity(leaf: f.Leaf) -> None:
    assert isinstance(judged(leaf), NodeIdentity)


def test_a_leaf_of_any_ca_of_the_bundle_counts() -> None:
    second = f.authority("second CA")
    der = f.leaf_der(replace(GOOD, issuer=second))
    both = replace(f.BUNDLE, node_cas=(NodeCa(f.NODE_CA.der), NodeCa(second.der)))
    assert isinstance(verify_leaf(der, both, NOTHING_REVOKED, f.NOW), NodeIdentity)
    assert is_refused(verify_leaf(der, f.BUNDLE, NOTHING_REVOKED, f.NOW))


def test_an_unreadable_ca_in_the_bundle_hides_no_other() -> None:
    bundle = replace(f.BUNDLE, node_cas=(NodeCa(b"no certificate"), NodeCa(f.NODE_CA.der)))
    verdict = verify_leaf(f.leaf_der(GOOD), bundle, NOTHING_REVOKED, f.NOW)
    assert isinstance(verdict, NodeIdentity)


NO_ISSUERS: dict[str, f.Authority] = {
    "expired": f.authority("CA", not_after=f.NOW),
    "not valid yet": f.authority("CA", not_before=f.NOW + 121),
    "no CA": f.authority("CA", is_ca=False),
    "silent whether it is a CA": f.authority("CA", is_ca=None),
    "without key usage": f.authority("CA", usage=None),
    "not for signing certificates": f.authority("CA", usage=f.SIGNATURE_ONLY),
}
GOOD_ISSUER = f.authority("CA")


@pytest.mark.parametrize("issuer", NO_ISSUERS.values(), ids=NO_ISSUERS.keys())
def test_a_place_in_the_bundle_makes_no_ca_of_a_certificate(issuer: f.Authority) -> None:
    """Nor does it hide another certificate of the same key that is one."""
    der = f.leaf_der(replace(GOOD, issuer=issuer))
    alone = replace(f.BUNDLE, node_cas=(NodeCa(issuer.der),))
    renewed = replace(f.BUNDLE, node_cas=(NodeCa(issuer.der), NodeCa(GOOD_ISSUER.der)))
    assert is_refused(verify_leaf(der, alone, NOTHING_REVOKED, f.NOW))
    identity = verify_leaf(der, renewed, NOTHING_REVOKED, f.NOW)
    assert isinstance(identity, NodeIdentity)
    assert identity.issuer_hash == f.hash_of(GOOD_ISSUER.certificate.tbs_certificate_bytes)


def test_a_ca_at_the_edge_of_its_time_issues() -> None:
    for issuer in (
        f.authority("CA", not_after=f.NOW + 1),
        f.authority("CA", not_before=f.NOW + 120),
    ):
        der = f.leaf_der(replace(GOOD, issuer=issuer))
        bundle = replace(f.BUNDLE, node_cas=(NodeCa(issuer.der),))
        assert isinstance(verify_leaf(der, bundle, NOTHING_REVOKED, f.NOW), NodeIdentity)


def test_the_ca_itself_is_no_node() -> None:
    assert is_refused(verify_leaf(f.NODE_CA.der, f.BUNDLE, NOTHING_REVOKED, f.NOW))


def test_the_bundle_says_how_long_a_leaf_may_live() -> None:
    strict = replace(f.BUNDLE, cert_life_max_s=f.HOUR)
    assert is_refused(verify_leaf(f.leaf_der(GOOD), strict, NOTHING_REVOKED, f.NOW))


def test_a_revoked_node_or_certificate_is_no_identity() -> None:
    der = f.leaf_der(GOOD)
    signed = x509.load_der_x509_certificate(der).tbs_certificate_bytes
    certificate = (RevokedKind.CERTIFICATE, bytes(f.hash_of(signed)))
    node = (RevokedKind.NODE, node_token(f.CLUSTER, f.NODE))
    other = (RevokedKind.NODE, node_token(f.CLUSTER, NodeId("n2")))
    for entry in (certificate, node):
        assert is_refused(verify_leaf(der, f.BUNDLE, Revoked(1, frozenset({entry})), f.NOW))
    unharmed = verify_leaf(der, f.BUNDLE, Revoked(1, frozenset({other})), f.NOW)
    assert isinstance(unharmed, NodeIdentity)


def test_every_truncation_of_a_leaf_is_refused() -> None:
    der = f.leaf_der(GOOD)
    for length in range(0, len(der), 3):
        assert is_refused(verify_leaf(der[:length], f.BUNDLE, NOTHING_REVOKED, f.NOW))


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # of a negative one
def test_a_flipped_bit_anywhere_in_a_leaf_is_refused() -> None:
    der = f.leaf_der(GOOD)
    for place in range(len(der)):
        flipped = bytearray(der)
        flipped[place] ^= 1 << (place % 8)
        assert is_refused(verify_leaf(bytes(flipped), f.BUNDLE, NOTHING_REVOKED, f.NOW)), place


def test_a_certificate_of_an_unknown_version_is_refused_not_raised() -> None:
    der = f.leaf_der(GOOD)
    version = bytes.fromhex("a003020102")
    assert der.count(version) == 1
    for number in (0, 1, 3, 127):
        changed = der.replace(version, version[:-1] + bytes([number]))
        assert is_refused(verify_leaf(changed, f.BUNDLE, NOTHING_REVOKED, f.NOW))


def test_a_name_of_an_unknown_kind_is_refused_not_raised() -> None:
    der = f.leaf_der(GOOD)
    uri = b"\x86" + bytes([len(f.NODE_URI)]) + f.NODE_URI.encode()
    assert der.count(uri) == 1
    for tag in (0x81, 0x82, 0x83, 0x84, 0x85, 0x87, 0x88, 0xA0, 0xA3, 0xA4, 0xA5, 0x9F):
        changed = der.replace(uri, bytes([tag]) + uri[1:])
        assert is_refused(verify_leaf(changed, f.BUNDLE, NOTHING_REVOKED, f.NOW))


def test_a_subject_of_any_type_of_text_is_refused_not_raised() -> None:
    der = f.leaf_der(replace(GOOD, subject=f.common_name("n1")))
    text = b"\x0c\x02n1"
    assert der.count(text) == 1
    for tag in range(1, 32):
        changed = der.replace(text, bytes([tag]) + text[1:])
        if changed != der:
            assert is_refused(verify_leaf(changed, f.BUNDLE, NOTHING_REVOKED, f.NOW)), tag


@pytest.mark.parametrize("der", [b"", b"\x30", b"\x30\x80", b"\xff" * 4_000, b"\x30\x84\xff\xff"])
def test_bytes_that_are_no_certificate_are_refused(der: bytes) -> None:
    assert is_refused(verify_leaf(der, f.BUNDLE, NOTHING_REVOKED, f.NOW))


def test_the_name_of_a_node_has_one_form() -> None:
    assert spiffe_id(f.PLATFORM, f.CLUSTER, f.NODE) == f.NODE_URI


# Claims.


def shown(
    raw: bytes,
    openings: tuple[Opening, ...] = f.OPENINGS,
    node_id: NodeId = f.NODE,
    trust: ClaimsTrust | None = None,
) -> VerifiedClaims | Rejection:
    return verify_claims(raw, openings, node_id, trust or f.claims_trust(), f.BOTH_CLOCKS)


def is_claims_invalid(verdict: VerifiedClaims | Rejection) -> bool:
    return f.code_of(verdict) is RejectionCode.CLAIMS_INVALID


def scopes_of(verdict: VerifiedClaims | Rejection) -> set[str]:
    assert isinstance(verdict, VerifiedClaims), verdict
    return {scope.text for scope in verdict.entitlements.scope_ids}


OPEN = {"cluster:prod", "node:n1", "role:edge"}
GOOD_CLAIMS = f.signed_claims(f.claims())


def test_claims_with_every_opening_reveal_every_item() -> None:
    verdict = shown(GOOD_CLAIMS)
    assert scopes_of(verdict) == OPEN | {"org:acme", "service:dns"}
    assert isinstance(verdict, VerifiedClaims)
    assert verdict.entitlements.assignments == (f.ASSIGNMENT,)
    assert verdict.claims == f.claims()
    assert verdict.claims_hash == f.hash_of(claims_bytes(f.claims()))


def test_an_item_counts_only_once_its_opening_is_shown() -> None:
    assert scopes_of(shown(GOOD_CLAIMS, ())) == OPEN
    assert scopes_of(shown(GOOD_CLAIMS, (f.ORG_OPENING,))) == OPEN | {"org:acme"}
    hidden = shown(GOOD_CLAIMS, (f.SERVICE_OPENING,))
    assert isinstance(hidden, VerifiedClaims)
    assert hidden.entitlements.assignments == ()


FORGED: dict[str, Opening] = {
    "an item never committed": f.opening(ClaimItem(scope="org:globex"), 1),
    "the right item with another salt": replace(f.ORG_OPENING, salt=bytes(16)),
    "a wider assignment": replace(
        f.ASSIGNMENT_OPENING,
        item=ClaimItem(assignment=replace(f.ASSIGNMENT, types=("update_manifest",))),
    ),
    "all shards for some": replace(
        f.ASSIGNMENT_OPENING, item=ClaimItem(assignment=replace(f.ASSIGNMENT, shards=(0,)))
    ),
    "a padding value as salt": Opening(f.claims().commitments[0][:16], ClaimItem(scope="org:x")),
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED.keys())
def test_a_forged_opening_spoils_the_claims(forged: Opening) -> None:
    assert is_claims_invalid(shown(GOOD_CLAIMS, (forged,)))
    assert is_claims_invalid(shown(GOOD_CLAIMS, (f.ORG_OPENING, forged)))


def test_padding_hides_how_many_items_there_are() -> None:
    none, three = f.claims(()), f.claims(f.OPENINGS)
    assert len(claims_bytes(replace(none, commitments=three.commitments))) == len(
        claims_bytes(three)
    )
    assert len(three.commitments) == 16
    many = tuple(f.opening(ClaimItem(scope=f"org:o{n}"), n) for n in range(17))
    assert len(f.claims(many).commitments) == 32


def changed(**fields: object) -> Callable[[], bytes]:
    """Signed claims with these fields; the types of fields are checked where they are packed."""
    return lambda: f.signed_claims(replace(f.claims(), **fields))  # type: ignore[arg-type]  # by name


CLAIMS_BROKEN: dict[str, Callable[[], bytes]] = {
    "another platform": changed(platform_id=PlatformId("other")),
    "another cluster": changed(cluster_id=ClusterId("test")),
    "another node": changed(node_id=NodeId("n2")),
    "issued in the future": changed(issued_at=UnixTime(f.NOW + 121)),
    "expired": changed(expires_at=f.NOW),
    "needs a later bundle": changed(min_trust_version=4),
    "needs a later list": changed(min_revocation_version=6),
    "not padded": changed(commitments=f.claims().commitments[:15]),
    "expired before it was issued": changed(expires_at=UnixTime(f.NOW - 2 * f.HOUR)),
    "signed by a stranger": lambda: f.signed_claims(f.claims(), f.STRANGER),
    "signed by the compiler": lambda: f.signed_claims(f.claims(), f.COMPILER),
    "signed by a root": lambda: f.signed_claims(f.claims(), f.ROOTS[0]),
    "not signed": lambda: f.sealed(PayloadKind.NODE_CLAIMS, claims_bytes(f.claims())),
    "another kind of envelope": lambda: f.sealed(
        PayloadKind.FETCH_GRANT, claims_bytes(f.claims()), f.CLAIMER
    ),
    "a manifest as claims": lambda: f.sealed(
        PayloadKind.NODE_CLAIMS,
        manifest_bytes(f.manifest(ArtifactType.PEER_DIRECTORY)),
        f.CLAIMER,
    ),
    "garbage, signed": lambda: f.sealed(PayloadKind.NODE_CLAIMS, b"\xc1", f.CLAIMER),
    "no envelope": lambda: b"\xc1",
    "nothing": lambda: b"",
}


@pytest.mark.parametrize("make", CLAIMS_BROKEN.values(), ids=CLAIMS_BROKEN.keys())
def test_claims_that_break_one_rule_entitle_to_nothing(make: Callable[[], bytes]) -> None:
    assert is_claims_invalid(shown(make(), ()))


@pytest.mark.parametrize(
    ("epoch", "code"), [(1, RejectionCode.EPOCH_STALE), (3, RejectionCode.EPOCH_UNKNOWN)]
)
def test_claims_of_another_epoch_entitle_to_nothing_and_are_told_from_bad_ones(
    epoch: int, code: RejectionCode
) -> None:
    found = shown(changed(authority_epoch=epoch)(), ())
    assert isinstance(found, Rejection)
    assert found.code is code


@pytest.mark.parametrize(
    "make",
    [
        changed(issued_at=UnixTime(f.NOW + 120)),
        changed(expires_at=UnixTime(f.NOW + 1)),
        changed(min_trust_version=3, min_revocation_version=5),
        lambda: f.signed_claims(f.claims(), f.CLAIMER, f.STRANGER),
    ],
)
def test_claims_at_the_edge_of_the_rules_count(make: Callable[[], bytes]) -> None:
    assert scopes_of(shown(make(), ())) == OPEN


def test_claims_are_shown_by_the_node_they_name() -> None:
    assert is_claims_invalid(shown(GOOD_CLAIMS, (), NodeId("n2")))


def test_signatures_on_claims_are_checked_before_they_are_decoded() -> None:
    garbage = f.sealed(PayloadKind.NODE_CLAIMS, b"\xc1garbage", f.STRANGER)
    verdict = shown(garbage, ())
    assert isinstance(verdict, Rejection)
    assert "not signed" in verdict.detail


def with_key(**fields: object) -> ClaimsTrust:
    keys = tuple(
        replace(one, **fields) if one.key_id == f.CLAIMER.key_id else one  # type: ignore[arg-type]  # by name
        for one in f.BUNDLE.keys
    )
    return ClaimsTrust(replace(f.BUNDLE, keys=keys), f.FACTS.revoked, Ed25519Verifier())


def test_claims_of_a_revoked_key_are_not_decoded() -> None:
    garbage = f.sealed(PayloadKind.NODE_CLAIMS, b"\xc1", f.CLAIMER)
    trust = with_key(status=KeyStatus.REVOKED)
    verdict = verify_claims(garbage, (), f.NODE, trust, f.BOTH_CLOCKS)
    assert isinstance(verdict, Rejection)
    assert "not signed" in verdict.detail


DISTRUSTED: dict[str, ClaimsTrust] = {
    "the key is retired, and this turns up long after": with_key(
        status=KeyStatus.RETIRED, not_after=UnixTime(f.NOW - f.DAY - 1)
    ),
    "the key is revoked in the bundle": with_key(status=KeyStatus.REVOKED),
    "the key is revoked by list": ClaimsTrust(
        f.BUNDLE,
        Revoked(6, frozenset({(RevokedKind.SIGNING_KEY, bytes(f.CLAIMER.key_id))})),
        Ed25519Verifier(),
    ),
    "issued before the time its key may sign in": with_key(not_before=f.NOW),
    "issued after the time its key may sign in": with_key(not_after=UnixTime(f.NOW - f.DAY)),
    "nobody has a right on claims": ClaimsTrust(
        replace(
            f.BUNDLE, rights=tuple(one for one in f.BUNDLE.rights if one.kind != "node_claims")
        ),
        f.FACTS.revoked,
        Ed25519Verifier(),
    ),
    "two keys are needed": ClaimsTrust(
        replace(
            f.BUNDLE,
            rights=tuple(
                replace(one, threshold=2) if one.kind == "node_claims" else one
                for one in f.BUNDLE.rights
            ),
        ),
        f.FACTS.revoked,
        Ed25519Verifier(),
    ),
}


@pytest.mark.parametrize("trust", DISTRUSTED.values(), ids=DISTRUSTED.keys())
def test_claims_without_trusted_signatures_entitle_to_nothing(trust: ClaimsTrust) -> None:
    assert scopes_of(shown(GOOD_CLAIMS)) >= OPEN
    assert is_claims_invalid(shown(GOOD_CLAIMS, (), f.NODE, trust))


def test_every_flipped_bit_of_signed_claims_is_refused() -> None:
    for place in range(len(GOOD_CLAIMS)):
        flipped = bytearray(GOOD_CLAIMS)
        flipped[place] ^= 1 << (place % 8)
        assert is_claims_invalid(shown(bytes(flipped), ()))


def test_the_role_beside_the_control_plane_is_told_from_others() -> None:
    def verified(claims: NodeClaims) -> VerifiedClaims:
        verdict = shown(f.signed_claims(claims), ())
        assert isinstance(verdict, VerifiedClaims)
        return verdict

    assert not verified(f.claims()).is_control_endpoint
    endpoint = replace(f.claims(), roles=("control-endpoint", "edge"))
    assert verified(endpoint).is_control_endpoint
    assert parse_scope_id("role:control-endpoint") in verified(endpoint).entitlements.scope_ids


LEAF_DER = f.leaf_der(f.Leaf())
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def twin_of(der: bytes) -> bytes:
    """The same certificate under the other of the two signatures that verify: anybody can make
    it."""
    certificate = x509.load_der_x509_certificate(der)
    r, s = decode_dss_signature(certificate.signature)
    other = encode_dss_signature(r, P256_ORDER - s)
    bits = bytes((0x03, len(other) + 1, 0)) + other
    signed = certificate.tbs_certificate_bytes
    start = 4 + len(signed)
    algorithm = der[start : start + 2 + der[start + 1]]
    body = signed + algorithm + bits
    return b"\x30\x82" + len(body).to_bytes(2, "big") + body


def test_a_revoked_certificate_does_not_come_back_as_its_twin() -> None:
    twin = twin_of(LEAF_DER)
    assert twin != LEAF_DER
    first, second = (verify_leaf(one, f.BUNDLE, NOTHING_REVOKED, f.NOW) for one in (LEAF_DER, twin))
    assert isinstance(first, NodeIdentity)
    assert first == second
    gone = Revoked(1, frozenset({(RevokedKind.CERTIFICATE, first.certificate_hash)}))
    assert f.code_of(verify_leaf(twin, f.BUNDLE, gone, f.NOW)) is RejectionCode.IDENTITY_INVALID


def test_a_revoked_node_ca_takes_its_leaves_along() -> None:
    first = verify_leaf(LEAF_DER, f.BUNDLE, NOTHING_REVOKED, f.NOW)
    assert isinstance(first, NodeIdentity)
    gone = Revoked(1, frozenset({(RevokedKind.CERTIFICATE, first.issuer_hash)}))
    assert f.code_of(verify_leaf(LEAF_DER, f.BUNDLE, gone, f.NOW)) is RejectionCode.IDENTITY_INVALID


def test_what_was_signed_as_something_else_is_no_claims_for_who_looks_back() -> None:
    """The same bytes under the same key, of another kind."""
    payload = claims_bytes(f.claims())
    trust = f.claims_trust()
    own, other = (
        signed_claims(f.sealed(kind, payload, f.CLAIMER), trust)
        for kind in (PayloadKind.NODE_CLAIMS, PayloadKind.AUDIT_CHECKPOINT)
    )
    assert own == f.claims()
    assert isinstance(other, Rejection)
    assert other.code is RejectionCode.CLAIMS_INVALID
