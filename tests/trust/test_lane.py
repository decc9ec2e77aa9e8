"""The lane an envelope claims: of all kinds, the two that carry trust and no other."""

import pytest

from fabgossip.model.envelope import PayloadKind
from fabgossip.trust.lane import claims_trust
from tests.trust import factory

TRUST = {PayloadKind.TRUST_BUNDLE, PayloadKind.REVOCATION_LIST}


@pytest.mark.parametrize("kind", PayloadKind)
def test_trust_is_known_by_the_first_bytes_whatever_follows(kind: PayloadKind) -> None:
    envelope = factory.sealed(kind, b"any payload at all", factory.STRANGER)
    assert claims_trust(envelope) is (kind in TRUST)
    assert claims_trust(envelope[:70]) is (kind in TRUST)


@pytest.mark.parametrize("data", [b"", b"\x94", b"\x94\x01\xd9", b"trust_bundle" * 20])
def test_what_is_no_envelope_claims_nothing(data: bytes) -> None:
    assert not claims_trust(data)
