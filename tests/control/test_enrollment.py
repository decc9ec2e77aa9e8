"""New nodes: papers every other node accepts, and that a renewal leaves comparable."""

import itertools
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from fabgossip.control.enrollment import (
    DROPPED_SALTS_MAX,
    NodeRow,
    certificate_der,
    certificate_pem,
    claims_envelope,
    entitlements_of,
    node_ca_certificate,
    node_certificate,
    openings_of,
    salts_for,
)
from fabgossip.daemon.driver import read_clocks
from fabgossip.model.authority import NodeCa, VerifiedClaims
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Instant, Now, UnixTime, seconds_after
from fabgossip.trust.identity import ClaimsTrust, verify_claims, verify_leaf
from fabgossip.trust.revocation import NOTHING_REVOKED
from fabgossip.trust.signatures import Ed25519Verifier
from tests.control.fabric import NODES, NOW, bundle, keys, node
from tests.trust import factory

CA_KEY = factory.p256_key("a node CA")
TIMES = (NOW, seconds_after(NOW, 7 * 86_400))
ROW = NODES[2]


_NUMBERS = itertools.count(1)


def counted(count: int) -> bytes:
    """No entropy at all: never the same twice."""
    return next(_NUMBERS).to_bytes(count, "big")


def test_a_certificate_is_accepted_by_the_leaf_rules() -> None:
    ca = node_ca_certificate(CA_KEY, factory.CLUSTER, NOW)
    trusting = replace(bundle(), node_cas=(NodeCa(certificate_der(ca)),))
    key = factory.p256_key("n1").public_key()
    leaf = node_certificate(NodeId("n1"), key, trusting, CA_KEY, TIMES)
    identity = verify_leaf(certificate_der(leaf), trusting, NOTHING_REVOKED, NOW)
    assert getattr(identity, "node_id", identity) == "n1"
    assert leaf.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    ) == key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.system
def test_a_certificate_is_accepted_by_another_program(tmp_path: Path) -> None:
    now = read_clocks().unix
    ca = node_ca_certificate(CA_KEY, factory.CLUSTER, now)
    trusting = replace(bundle(), node_cas=(NodeCa(certificate_der(ca)),))
    key = factory.p256_key("n1").public_key()
    times = (now, seconds_after(now, 86_400))
    leaf = node_certificate(NodeId("n1"), key, trusting, CA_KEY, times)
    for name, certificate in (("ca", ca), ("leaf", leaf)):
        (tmp_path / name).write_bytes(certificate_pem(certificate))
    for purpose in ("sslclient", "sslserver"):
        command = ["openssl", "verify", "-x509_strict", "-purpose", purpose]
        command += ["-CAfile", str(tmp_path / "ca"), str(tmp_path / "leaf")]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr


def enrolled(row: NodeRow) -> NodeRow:
    return replace(row, salts=salts_for(row, factory.CLUSTER, counted))


def claims_of(row: NodeRow) -> bytes:
    return claims_envelope(row, bundle(), keys()["claims"], TIMES)


@pytest.mark.parametrize("row", NODES, ids=lambda row: row.node_id)
def test_claims_and_all_openings_give_exactly_the_entitlements(row: NodeRow) -> None:
    row = enrolled(row)
    trust = ClaimsTrust(bundle(), NOTHING_REVOKED, Ed25519Verifier())
    openings = openings_of(row, factory.CLUSTER)
    now = Now(instant=Instant(0), unix=UnixTime(NOW + 1))
    found = verify_claims(claims_of(row), openings, NodeId(row.node_id), trust, now)
    assert isinstance(found, VerifiedClaims), found
    assert found.entitlements == entitlements_of(row, factory.CLUSTER)
    hidden = verify_claims(claims_of(row), (), NodeId(row.node_id), trust, now)
    assert isinstance(hidden, VerifiedClaims)
    assert not [one for one in hidden.entitlements.scope_ids if one.text.startswith("org:")]


def test_the_number_of_commitments_tells_little() -> None:
    trust = ClaimsTrust(bundle(), NOTHING_REVOKED, Ed25519Verifier())
    now = Now(instant=Instant(0), unix=UnixTime(NOW + 1))
    counts = set()
    for row in NODES:
        row = enrolled(row)
        found = verify_claims(claims_of(row), (), NodeId(row.node_id), trust, now)
        assert isinstance(found, VerifiedClaims)
        counts.add(len(found.claims.commitments))
    assert counts == {16}


def test_a_renewal_keeps_salts_and_draws_only_what_is_new() -> None:
    """Openings shown before stay good."""
    row = enrolled(ROW)
    wider = replace(row, orgs=(*row.orgs, "initech"))
    again = salts_for(wider, factory.CLUSTER, counted)
    assert {name: again[name] for name in row.salts} == row.salts
    assert set(again) - set(row.salts) == {"org:initech"}


def test_what_is_taken_away_and_given_back_opens_with_what_the_node_has() -> None:
    """Under another salt the node lost its organisation by the very claims that gave it back."""
    before = enrolled(ROW)
    without = enrolled(replace(before, orgs=()))
    assert set(openings_of(without, factory.CLUSTER)) < set(openings_of(before, factory.CLUSTER))
    back = enrolled(replace(without, orgs=before.orgs))
    assert openings_of(back, factory.CLUSTER) == openings_of(before, factory.CLUSTER)


def test_salts_of_what_was_dropped_are_kept_within_a_bound() -> None:
    """The oldest go first."""
    row = ROW
    for number in range(DROPPED_SALTS_MAX + 2):
        row = enrolled(replace(row, orgs=(f"org-{number}",)))
    dropped = [name for name in row.salts if name.startswith("org:")][:-1]
    assert dropped == [f"org:org-{number}" for number in range(1, DROPPED_SALTS_MAX + 1)]


def test_a_row_with_a_word_out_of_its_grammar_is_refused() -> None:
    for facts in ({"orgs": ("Not an org",)}, {"roles": ("",)}, {"region": "r/1"}):
        with pytest.raises(Exception, match="expected"):
            node("n1", **facts)
    for address in ("n1:0", "n1:74200", "n1:99999", "N1:7420", "n1", ":7420", "[n1]:7420"):
        with pytest.raises(ValueError, match="expected"):
            node("n1", addresses=(address,))
    with pytest.raises(ValueError, match="thin node"):
        node("n1", peer_class="thin", stores=("cluster",))


def test_a_ca_signs_certificates_and_nothing_below_it_does() -> None:
    ca = node_ca_certificate(CA_KEY, factory.CLUSTER, NOW)
    constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)
