"""`fabgossip audit verify`: one verdict and one exit code, with and without checkpoints."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fabgossip.cli.main import run
from fabgossip.model.envelope import PayloadKind
from fabgossip.model.ids import ClusterId
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import KeptCheckpoint
from fabgossip.storage.checkpoints import FILE_NAME, checkpoint_line
from fabgossip.storage.records import RecordChain
from fabgossip.wire.contents import bundle_bytes, pinned_bytes
from fabgossip.wire.envelopes import envelope_bytes
from fabgossip.wire.statements import claims_bytes, own_claims_bytes
from tests.storage.chains import BOOT, append_all, chained, entries, head_of
from tests.trust import factory

Output = pytest.CaptureFixture[str]
Verify = Callable[..., tuple[int, str, str]]
LINES = chained(entries(9))


def line(size: int, *signers: factory.Signer, lines: list[bytes] = LINES) -> bytes:
    """A line of a checkpoint file, about so many records."""
    head = head_of(lines[:size])
    raw = factory.signed_checkpoint(factory.checkpoint(size, head.line_hash), *signers)
    kept = KeptCheckpoint(size=size, head=head.line_hash, wall=factory.NOW, envelope=raw)
    return checkpoint_line(kept)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of nine records with a checkpoint over four of them, and the claims of its node."""
    chain = RecordChain(tmp_path / "audit", BOOT)
    chain.open()
    append_all(chain, entries(9))
    chain.close()
    (chain.folder / FILE_NAME).write_bytes(line(4))
    claims = factory.signed_claims(factory.claims())
    (tmp_path / "claims").write_bytes(own_claims_bytes(claims, factory.OPENINGS))
    envelope = factory.signed(factory.bundle_manifest(factory.BUNDLE))
    (tmp_path / "bootstrap").write_bytes(pinned_bytes(envelope, bundle_bytes(factory.BUNDLE)))
    return chain.folder


@pytest.fixture
def verify(log: Path, capsys: Output) -> Verify:
    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = run(["audit", "verify", str(log), *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def claims(log: Path) -> tuple[str | Path, ...]:
    return "--claims", log.parent / "claims", "--bootstrap", log.parent / "bootstrap"


def kept_elsewhere(log: Path, *lines: bytes) -> tuple[str, Path]:
    path = log.parent / "heads"
    path.write_bytes(b"".join(lines))
    return "--checkpoint", path


def edit(log: Path, old: bytes, new: bytes) -> None:
    path = log / "0000000000000001.jsonl"
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new, 1))


def test_an_intact_log_is_0(log: Path, verify: Verify, claims: tuple[str | Path, ...]) -> None:
    head = head_of(LINES).line_hash.hex()
    elsewhere = kept_elsewhere(log, line(9), line(7))
    assert verify(*claims, *elsewhere) == (
        0,
        f"intact: records 1 to 9, head {head}\n3 checkpoints agree\n",
        "",
    )
    code, out, _ = verify(*claims, *elsewhere, "--json")
    assert (code, json.loads(out)) == (
        0,
        {
            "schema_version": 1,
            "verified": True,
            "first": 1,
            "last": 9,
            "head": head,
            "torn": False,
            "checkpoints": 3,
            "covered_to": 9,
            "faults": [],
            "refused": [],
            "warnings": [],
        },
    )


def test_how_far_checkpoints_reach_is_told_and_that_none_was_kept_elsewhere(
    verify: Verify, claims: tuple[str | Path, ...]
) -> None:
    code, out, err = verify(*claims)
    assert (code, out.startswith("intact: records 1 to 9, ")) == (0, True)
    covers, beside = err.splitlines()
    assert covers == "no checkpoint covers records 5 to 9 yet"
    assert "fabgossip audit heads NODE" in beside
    code, out, _ = verify(*claims, "--json")
    body = json.loads(out)
    assert (code, body["covered_to"], body["warnings"]) == (0, 4, [covers, beside])


def test_a_log_without_any_checkpoint_is_not_shown_to_be_whole(
    log: Path, verify: Verify, claims: tuple[str | Path, ...]
) -> None:
    """Its tail cut off and its checkpoints emptied, it was intact, and 0 of them agreed."""
    (log / "0000000000000001.jsonl").write_bytes(b"".join(LINES[:6]))
    for spoil in (lambda path: path.write_bytes(b""), Path.unlink):
        spoil(log / FILE_NAME)
        code, out, err = verify(*claims)
        assert (code, out.startswith("fits together: records 1 to 6, ")) == (5, True)
        assert "no checkpoint that counts" in err
        code, out, _ = verify(*claims, "--json")
        body = json.loads(out)
        assert (code, body["verified"], body["covered_to"]) == (5, False, 0)
        assert "no checkpoint that counts" in body["refused"][0]


def test_a_line_that_is_no_checkpoint_hides_no_verdict(
    log: Path, verify: Verify, claims: tuple[str | Path, ...]
) -> None:
    (log / FILE_NAME).write_bytes(b"garbage\n" + line(7) + b"more\n")
    code, out, err = verify(*claims)
    assert (code, "records 1 to 9" in out, "1 checkpoints agree" in out) == (5, True, True)
    assert f"{log / FILE_NAME}:1: no checkpoint; " in err
    edit(log, b'"number":6', b'"number":7')
    code, out, err = verify(*claims)
    assert (code, "record 6: altered" in err, ":1: no checkpoint" in err) == (5, True, True)


def test_without_claims_it_says_what_was_not_judged(verify: Verify) -> None:
    code, out, err = verify()
    assert (code, out.startswith("intact")) == (0, True)
    assert "--claims" in err


def test_a_tampered_log_is_5_and_names_the_first_bad_record(log: Path, verify: Verify) -> None:
    edit(log, b'"number":6', b'"number":7')
    code, out, err = verify()
    assert (code, out) == (5, "")
    assert err == f"fabgossip: {log}: record 6: altered: the next names another line\n"
    code, out, _ = verify("--json")
    (fault,) = json.loads(out)["faults"]
    assert (code, fault["kind"], fault["seq"], fault["last"]) == (5, "altered", 6, 6)


def test_a_cut_tail_shows_against_a_checkpoint_kept_elsewhere(
    log: Path, verify: Verify, claims: tuple[str | Path, ...]
) -> None:
    path = log / "0000000000000001.jsonl"
    path.write_bytes(b"".join(LINES[:6]))
    assert verify(*claims)[0] == 0
    code, _, err = verify(*claims, *kept_elsewhere(log, line(8)))
    assert (code, "record 7: cut" in err) == (5, True)


def test_a_fork_shows_from_checkpoints_alone(
    log: Path, verify: Verify, claims: tuple[str | Path, ...]
) -> None:
    forked = chained([*entries(3), *entries(6)])
    code, _, err = verify(*claims, *kept_elsewhere(log, line(7), line(7, lines=forked)))
    assert (code, "record 7: forked" in err) == (5, True)


def test_a_checkpoint_of_another_key_is_no_evidence(
    log: Path, verify: Verify, claims: tuple[str | Path, ...]
) -> None:
    code, _, err = verify(*claims, *kept_elsewhere(log, line(7, factory.STRANGER)))
    assert (code, "KEY_UNKNOWN" in err) == (5, True)
    code, out, _ = verify(*claims, *kept_elsewhere(log, line(7, factory.STRANGER)), "--json")
    body = json.loads(out)
    assert (code, body["verified"], body["last"], body["covered_to"]) == (5, False, 9, 4)
    (refused,) = body["refused"]
    assert "KEY_UNKNOWN" in refused


def test_what_cannot_be_read_is_1(
    log: Path, verify: Verify, claims: tuple[str | Path, ...], tmp_path: Path, capsys: Output
) -> None:
    assert run(["audit", "verify", str(tmp_path / "nowhere")]) == 1
    assert verify(*claims, *kept_elsewhere(log, b"no checkpoint\n"))[0] == 1
    assert verify("--claims", log / FILE_NAME, *claims[2:])[0] == 1
    assert verify("--claims", tmp_path / "nothing", *claims[2:])[0] == 1
    (log / "0000000000000001.jsonl").unlink()
    assert verify()[0] == 1


NOT_OURS = {
    "a stranger": factory.signed_claims(factory.claims(), factory.STRANGER),
    "whose log it is": factory.signed_claims(factory.claims(), factory.AUDITOR),
    "a key with another right": factory.signed_claims(factory.claims(), factory.POLICY),
    "nobody": envelope_bytes(PayloadKind.NODE_CLAIMS, claims_bytes(factory.claims()), ()),
    "the right key, of another cluster": factory.signed_claims(
        replace(factory.claims(), cluster_id=ClusterId("other"))
    ),
    "the right key, for something else": factory.sealed(
        PayloadKind.AUDIT_CHECKPOINT, claims_bytes(factory.claims()), factory.CLAIMER
    ),
    "the right key, before its time": factory.signed_claims(
        replace(factory.claims(), issued_at=UnixTime(factory.NOW - 31 * factory.DAY))
    ),
}


@pytest.mark.parametrize("raw", NOT_OURS.values(), ids=NOT_OURS)
def test_claims_that_the_control_plane_did_not_sign_name_no_key(
    raw: bytes, log: Path, verify: Verify, claims: tuple[str | Path, ...]
) -> None:
    """Or whoever rewrites a log writes the claims that go with it."""
    (log.parent / "claims").write_bytes(own_claims_bytes(raw, factory.OPENINGS))
    code, out, err = verify(*claims)
    assert (code, out, "CLAIMS_INVALID" in err) == (5, "", True)


def test_claims_that_have_expired_still_name_the_key_of_a_log(
    log: Path, verify: Verify, claims: tuple[str | Path, ...]
) -> None:
    old = replace(
        factory.claims(),
        issued_at=UnixTime(factory.NOW - 2 * factory.DAY),
        expires_at=UnixTime(factory.NOW - factory.DAY),
        authority_epoch=1,
    )
    (log.parent / "claims").write_bytes(
        own_claims_bytes(factory.signed_claims(old), factory.OPENINGS)
    )
    assert verify(*claims)[0] == 0


def test_claims_and_the_trust_they_are_judged_by_go_together(
    verify: Verify, claims: tuple[str | Path, ...]
) -> None:
    assert verify(*claims[:2])[0] == 2
    assert verify(*claims[2:])[0] == 2


def test_checkpoints_without_a_key_to_judge_them_by_are_2(log: Path, verify: Verify) -> None:
    assert verify(*kept_elsewhere(log, line(7)))[0] == 2


def test_a_torn_line_is_told_and_is_0(log: Path, verify: Verify) -> None:
    path = log / "0000000000000001.jsonl"
    path.write_bytes(path.read_bytes() + b'{"boot"')
    code, _, err = verify()
    assert (code, "no end" in err) == (0, True)


@pytest.mark.parametrize("verb", [("show",), ("heads", "n2"), ("verify",)], ids=" ".join)
def test_without_a_daemon_asking_is_3(verb: tuple[str, ...], tmp_path: Path) -> None:
    assert run(["audit", *verb, "--socket", str(tmp_path / "none")]) == 3
