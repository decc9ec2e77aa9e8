"""Names of nodes against the `spiffe` library.

The law: what the library refuses we refuse, and what we accept it reads as the very same text.
Stated difference: it is laxer, as SPIFFE is: other paths, no path at all, a scheme and a trust
domain in upper case, which it folds. Ours is one form, byte for byte.
"""

from typing import Final

import pytest
from cryptography import x509
from hypothesis import example, given
from hypothesis import strategies as st
from spiffe import SpiffeId
from spiffe.spiffe_id.spiffe_id import SpiffeIdError, TrustDomainError

from fabgossip.model.authority import NodeIdentity
from fabgossip.trust.identity import verify_leaf
from fabgossip.trust.revocation import NOTHING_REVOKED
from tests.trust import factory as f

PARTS: Final = (
    "spiffe", "SPIFFE", "https", "://", ":", "/", "//", "acme-net", "ACME-NET", "other", "cluster",
    "prod", "node", "control", "n1", "N1", "a.b-c_9", ".", "..", "%2e", "?x=1", "#n1", ":80", "x@",
)  # fmt: skip
ONLY_THERE: Final = (
    f.NODE_URI.replace("spiffe", "SPIFFE"),
    f.NODE_URI.replace("acme-net", "ACME-NET"),
    f.NODE_URI.replace("n1", "N1"),
    f.NODE_URI.replace("/node/", "/control/"),
    f"{f.NODE_URI}/n1",
    "spiffe://acme-net",
    "spiffe://" + "a" * 255,
)


def library_reads(uri: str) -> str | None:
    try:
        return str(SpiffeId(uri))
    except (SpiffeIdError, TrustDomainError):
        return None


def we_accept(uri: str) -> bool:
    leaf = f.Leaf(names=(x509.UniformResourceIdentifier(uri),))
    verdict = verify_leaf(f.leaf_der(leaf), f.BUNDLE, NOTHING_REVOKED, f.NOW)
    return isinstance(verdict, NodeIdentity)


def spliced(place: int, parts: list[str]) -> str:
    """The good name with something else from a place on."""
    return f.NODE_URI[:place] + "".join(parts)


NAMES: Final = st.lists(st.sampled_from(PARTS), max_size=9).map("".join) | st.builds(
    spliced,
    st.integers(0, len(f.NODE_URI)),
    st.lists(st.sampled_from(PARTS), max_size=3),
)


@given(NAMES)
@example(f.NODE_URI)
@example(f.NODE_URI.replace("n1", "a.b-c_9"))
def test_what_we_accept_the_library_reads_as_it_stands(uri: str) -> None:
    if we_accept(uri):
        assert library_reads(uri) == uri


def test_the_good_name_is_good_to_both() -> None:
    assert we_accept(f.NODE_URI)
    assert library_reads(f.NODE_URI) == f.NODE_URI


@pytest.mark.parametrize("uri", ONLY_THERE)
def test_what_the_library_alone_reads_is_no_node_of_ours(uri: str) -> None:
    assert library_reads(uri) is not None
    assert not we_accept(uri)
