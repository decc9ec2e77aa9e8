"""Certificates against two other judges of chains: `cryptography.x509.verification` and `openssl
verify`.

The law: what either refuses, our leaf rules refuse too. So nothing rests on the TLS library alone,
which stands before them in the daemon. The exceptions are the rows of `MILDER`, each with its
reason. Where the others accept what we refuse, they are laxer, which is why there are leaf rules:
`ONLY_OURS` names every such row.
"""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from fabgossip.model.authority import NodeCa, NodeIdentity
from fabgossip.trust.identity import verify_leaf
from fabgossip.trust.revocation import NOTHING_REVOKED
from tests.trust import factory as f
from tests.trust.test_identity import BROKEN, GOOD, KEPT, NO_ISSUERS

OPENSSL = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(
    OPENSSL is None, reason="no `openssl` command; on Debian: apt install openssl"
)

Row = tuple[f.Leaf, f.Authority]
"""A leaf, and the CA the judges trust."""


def issued_by(**changes: int | bool) -> Row:
    ca = f.authority("CA", **changes)  # type: ignore[arg-type]  # one keyword of each test
    return replace(GOOD, issuer=ca), ca


ROWS: dict[str, Row] = {
    "every rule kept": (GOOD, f.NODE_CA),
    **{name: (leaf, f.NODE_CA) for name, leaf in {**KEPT, **BROKEN}.items()},
    **{f"a CA {name}": (replace(GOOD, issuer=ca), ca) for name, ca in NO_ISSUERS.items()},
    "a CA expired a second ago": issued_by(not_after=f.NOW - 1),
    "a CA with one second left": issued_by(not_after=f.NOW + 1),
    "a CA begins within the tolerance of clocks": issued_by(not_before=f.NOW + 120),
    "a CA without key identifier": issued_by(has_identifier=False),
    "the issuer's key not named": (replace(GOOD, names_issuer_key=False), f.NODE_CA),
}

X509_REFUSES = {
    "begins within the tolerance of clocks",
    "not valid yet",
    "another CA",
    "another CA of the same name",
    "a CA",
    "certificate signing",
    "server only",
    "no name",
    "name not critical, no subject",
    "a CA expired a second ago",
    "a CA not valid yet",
    "a CA no CA",
    "a CA silent whether it is a CA",
    "a CA without key usage",
    "a CA not for signing certificates",
    "a CA begins within the tolerance of clocks",
    "the issuer's key not named",
}
"""It judges as a server judges a client; the other way it wants a DNS name or an address."""

OPENSSL_REFUSES = {
    "begins within the tolerance of clocks",
    "not valid yet",
    "expired",
    "another CA",
    "another CA of the same name",
    "a CA",
    "certificate signing",
    "CRL signing",
    "no name",
    "name not critical, no subject",
    "a CA expired",
    "a CA expired a second ago",
    "a CA not valid yet",
    "a CA no CA",
    "a CA silent whether it is a CA",
    "a CA without key usage",
    "a CA not for signing certificates",
    "a CA begins within the tolerance of clocks",
    "a CA without key identifier",
    "the issuer's key not named",
}

MILDER = {
    "begins within the tolerance of clocks": "a clock 120 s late must not cut a node off",
    "a CA begins within the tolerance of clocks": "the same",
    "a CA without key identifier": "it helps to find an issuer; ours is found by its signature",
    "the issuer's key not named": "the same",
}
"""Rows where we accept what one of the others refuses, and why that gives nothing away."""

ONLY_OURS = {
    "no usage at all",
    "key on P-384",
    "key on P-256K1",
    "Ed25519 key",
    "no basic constraints",
    "no key usage",
    "key usage not critical",
    "no digital signature",
    "content commitment",
    "key encipherment",
    "data encipherment",
    "key agreement",
    "no extended usage",
    "client only",
    "code signing too",
    "two URIs",
    "a second node",
    "a DNS name beside",
    "a DNS name only",
    "another platform",
    "another cluster",
    "no node",
    "a control endpoint",
    "upper case node",
    "upper case scheme",
    "another scheme",
    "percent-encoded",
    "dots",
    "encoded dots",
    "a longer path",
    "a trailing slash",
    "a query",
    "a fragment",
    "a port",
    "a user",
    "valid for too long",
}
"""Rows nobody but us refuses."""


def we_accept(row: Row) -> bool:
    leaf, ca = row
    bundle = replace(f.BUNDLE, node_cas=(NodeCa(ca.der),))
    verdict = verify_leaf(f.leaf_der(leaf), bundle, NOTHING_REVOKED, f.NOW)
    return isinstance(verdict, NodeIdentity)


def x509_accepts(row: Row) -> bool:
    leaf, ca = row
    builder = PolicyBuilder().store(Store([ca.certificate])).time(f.date(f.NOW))
    certificate = x509.load_der_x509_certificate(f.leaf_der(leaf))
    try:
        builder.build_client_verifier().verify(certificate, [])
    except VerificationError:
        return False
    return True


def openssl_accepts(row: Row, folder: Path) -> bool:
    assert OPENSSL is not None
    leaf, ca = row
    files = {
        "leaf.pem": x509.load_der_x509_certificate(f.leaf_der(leaf)),
        "ca.pem": ca.certificate,
    }
    for name, certificate in files.items():
        (folder / name).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    command = [OPENSSL, "verify", "-x509_strict", "-attime", str(int(f.NOW))]
    command += ["-no-CApath", "-no-CAstore", "-CAfile", "ca.pem", "leaf.pem"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return True
    assert "verification failed" in done.stderr, done.stderr
    return False


def test_every_name_in_the_lists_is_a_row() -> None:
    assert X509_REFUSES | OPENSSL_REFUSES | MILDER.keys() | ONLY_OURS <= ROWS.keys()


@pytest.mark.parametrize("name", ROWS)
def test_what_one_of_the_others_refuses_we_refuse(name: str) -> None:
    refused_elsewhere = name in X509_REFUSES | OPENSSL_REFUSES
    is_refused = name in ONLY_OURS or (refused_elsewhere and name not in MILDER)
    assert we_accept(ROWS[name]) is not is_refused


@pytest.mark.parametrize("name", ROWS)
def test_x509_verification_refuses_what_the_list_says(name: str) -> None:
    assert x509_accepts(ROWS[name]) is (name not in X509_REFUSES)


@needs_openssl
@pytest.mark.parametrize("name", ROWS)
def test_openssl_refuses_what_the_list_says(name: str, tmp_path: Path) -> None:
    """The list is of OpenSSL 3.0; should a later one refuse more, the law holds all the same."""
    if openssl_accepts(ROWS[name], tmp_path):
        assert name not in OPENSSL_REFUSES
    else:
        assert name in OPENSSL_REFUSES or not we_accept(ROWS[name])
