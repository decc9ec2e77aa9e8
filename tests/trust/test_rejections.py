"""A refusal says whose fault it is and what could help; a relayer never pays for a signer."""

import pytest

from fabgossip.trust.rejections import Blame, Rejection, Retry
from fabgossip.trust.rejections import RejectionCode as Code

FORM = {Code.FRAME_TOO_LARGE, Code.TRUNCATED, Code.MALFORMED, Code.UNSUPPORTED}
SIGNED_FORM = {Code.NONCANONICAL, Code.SCHEMA, Code.ID_SYNTAX, Code.CRITICAL_UNKNOWN}
PEERS_OWN = {
    Code.HASH_MISMATCH,
    Code.LENGTH_MISMATCH,
    Code.TOO_SLOW,
    Code.SIG_INVALID,
    Code.SIG_TOO_MANY,
    Code.TYPE_MISMATCH,
    Code.AUDIENCE_NOT_OURS,
    Code.IDENTITY_INVALID,
    Code.IDENTITY_CLONED,
    Code.CLAIMS_INVALID,
}
NOBODYS = {
    Code.EPOCH_STALE,
    Code.EPOCH_UNKNOWN,
    Code.VERSION_ROLLBACK,
    Code.VERSION_GAP,
    Code.BASE_MISMATCH,
    Code.ALREADY_CURRENT,
    Code.EXPIRED,
    Code.FUTURE_ISSUED,
    Code.TRUST_EXPIRED,
    Code.KEY_UNKNOWN,
    Code.KEY_REVOKED,
    Code.KEY_RETIRED,
    Code.KEY_NOT_FOR_TYPE,
    Code.KEY_NOT_FOR_NAMESPACE,
    Code.SIG_THRESHOLD,
    Code.ARTIFACT_REVOKED,
    Code.TOMBSTONED,
    Code.TRUST_TOO_OLD,
    Code.REVOCATION_TOO_OLD,
}


def refusal(code: Code, *, was_signed: bool) -> Rejection:
    return Rejection(code=code, detail="", was_signed=was_signed)


def test_a_name_is_its_own_value() -> None:
    assert all(code.value == code.name for code in Code)


@pytest.mark.parametrize("code", sorted(FORM | SIGNED_FORM))
def test_bad_form_is_the_signers_once_it_was_signed_and_the_peers_before(code: Code) -> None:
    assert refusal(code, was_signed=False).blame is Blame.PEER
    assert refusal(code, was_signed=True).blame is Blame.SIGNER
    assert refusal(code, was_signed=True).retry is Retry.NEVER


@pytest.mark.parametrize("code", sorted(PEERS_OWN))
def test_what_a_peer_did_itself_is_its_own_fault(code: Code) -> None:
    assert refusal(code, was_signed=True).blame is Blame.PEER


@pytest.mark.parametrize("code", [Code.CLAIMS_INVALID, Code.GRANT_INVALID])
def test_what_may_be_shown_in_good_faith_is_nobodys_fault(code: Code) -> None:
    assert refusal(code, was_signed=False).blame is Blame.PEER
    assert Rejection(code=code, detail="", in_good_faith=True).blame is Blame.NONE


@pytest.mark.parametrize("code", sorted(NOBODYS))
def test_being_behind_or_ahead_is_nobodys_fault(code: Code) -> None:
    assert refusal(code, was_signed=True).blame is Blame.NONE
    assert refusal(code, was_signed=False).blame is Blame.NONE


@pytest.mark.parametrize(
    ("code", "retry"),
    [
        (Code.TRUNCATED, Retry.OTHER_SOURCE),
        (Code.HASH_MISMATCH, Retry.OTHER_SOURCE),
        (Code.TOO_SLOW, Retry.OTHER_SOURCE),
        (Code.SIG_INVALID, Retry.OTHER_SOURCE),
        (Code.KEY_UNKNOWN, Retry.AFTER_TRUST),
        (Code.VERSION_GAP, Retry.AFTER_TRUST),
        (Code.REVOCATION_TOO_OLD, Retry.AFTER_TRUST),
        (Code.FUTURE_ISSUED, Retry.AFTER_CLOCK),
        (Code.VERSION_ROLLBACK, Retry.NEVER),
        (Code.ARTIFACT_REVOKED, Retry.NEVER),
        (Code.EXPIRED, Retry.NEVER),
    ],
)
def test_a_refusal_says_what_could_help(code: Code, retry: Retry) -> None:
    assert refusal(code, was_signed=False).retry is retry


def test_only_what_is_current_is_known_already() -> None:
    known = {code for code in Code if refusal(code, was_signed=True).is_known_already}
    assert known == {Code.ALREADY_CURRENT}
