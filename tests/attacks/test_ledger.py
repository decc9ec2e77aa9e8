"""Somebody with the control plane's disk changes what its ledger says.

Powers: read and write of every byte of the authority folder but its keys, knowledge of all formats,
older copies of the folder; in the second half also the ledger's key, and roots of their own making.
Never: a pinned bundle that lies elsewhere, checkpoints that were carried away.
"""

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest

from fabgossip.cli.main import run
from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.bundles import OldKeys
from fabgossip.control.ledger import LedgerDamagedError
from fabgossip.control.revoking import RevocationRow
from fabgossip.control.rotation import RotationWish, rotate
from fabgossip.control.sources.folder import Source
from fabgossip.model.authority import RevokedKind
from fabgossip.model.ids import ClusterId, PlatformId
from fabgossip.model.moment import UnixTime
from fabgossip.storage.checkpoints import FILE_NAME
from fabgossip.storage.records import packed_line
from tests.control.fabric import NOW, ROUTES, STORE

Output = pytest.CaptureFixture[str]
SEGMENT: Final = "0000000000000001.jsonl"
SOURCE: Final = Source(documents=(ROUTES,))


def revocation(number: int) -> RevocationRow:
    return RevocationRow(
        kind=RevokedKind.CONTENT.name,
        value=sha256(b"%d" % number).hexdigest(),
        subject=f"content {number}",
        reason="stolen",
        since_epoch=1,
        since=NOW,
    )


def later_by(number: int) -> UnixTime:
    return UnixTime(NOW + number)


def acts(folder: Path, number: int) -> None:
    """One command of the control plane, as a process of its own."""
    AuthorityFolder(folder).revoke(revocation(number), later_by(number))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An authority with a past of six commands."""
    authority = AuthorityFolder(tmp_path / "authority")
    authority.create(PlatformId("demo-test"), ClusterId("prod"), NOW, ())
    authority.save_node(STORE)
    authority.compile(SOURCE, NOW)
    for number in range(4):
        acts(authority.folder, number)
    (tmp_path / "pinned").write_bytes(authority.bootstrap())
    return authority.folder


def verified(folder: Path, capsys: Output, *more: str | Path) -> tuple[int, str]:
    """Exit code and what was said of the ledger, judged by the bundle pinned elsewhere."""
    pinned = ("--bootstrap", folder.parent / "pinned")
    code = run(["audit", "verify", "--authority", str(folder), *map(str, (*pinned, *more))])
    said = capsys.readouterr()
    return code, said.out + said.err


def lines_of(folder: Path) -> list[bytes]:
    return (folder / "ledger" / SEGMENT).read_bytes().splitlines(keepends=True)


def put(folder: Path, lines: list[bytes]) -> None:
    (folder / "ledger" / SEGMENT).write_bytes(b"".join(lines))


def kept_elsewhere(folder: Path) -> Path:
    """The checkpoints as somebody carried them away."""
    return Path(shutil.copy(folder / "ledger" / FILE_NAME, folder.parent / "elsewhere"))


def rechained(lines: list[bytes], place: int) -> list[bytes]:
    """Another reason in one record, and all after it chained to it."""
    made: list[bytes] = []
    for number, line in enumerate(lines, 1):
        row = json.loads(line)
        if number == place:
            row["subject"] = "somebody else"
        row["prev"] = sha256(made[-1]).hexdigest() if made else "0" * 64
        made.append(packed_line(row))
    return made


def test_what_was_written_is_intact(folder: Path, capsys: Output) -> None:
    size = len(lines_of(folder))
    code, said = verified(folder, capsys)
    assert (code, f"records 1 to {size}" in said, "not cover" in said) == (0, True, False)


def test_one_bit_anywhere_is_found_in_its_record(folder: Path, capsys: Output) -> None:
    lines = lines_of(folder)
    for number, line in enumerate(lines, 1):
        place = len(line) // 2
        flipped = line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :]
        put(folder, [*lines[: number - 1], flipped, *lines[number:]])
        code, said = verified(folder, capsys)
        assert (code, f"record {number}" in said) == (5, True), said
    put(folder, lines)
    assert verified(folder, capsys)[0] == 0


def test_a_tail_that_was_cut_shows_by_the_checkpoints_left(folder: Path, capsys: Output) -> None:
    lines = lines_of(folder)
    put(folder, lines[:-2])
    code, said = verified(folder, capsys)
    assert (code, f"record {len(lines) - 1}: cut" in said) == (5, True)


def test_a_whole_older_copy_shows_by_a_checkpoint_carried_away(
    folder: Path, capsys: Output
) -> None:
    """An old copy of the folder is in itself without a fault."""
    older = shutil.copytree(folder, folder.parent / "older")
    size = len(lines_of(folder))
    acts(folder, 9)
    elsewhere = kept_elsewhere(folder)
    assert verified(older, capsys)[0] == 0
    code, said = verified(older, capsys, "--checkpoint", elsewhere)
    assert (code, f"record {size + 1}: cut" in said) == (5, True)


def test_two_ledgers_of_one_authority_are_a_fork(folder: Path, capsys: Output) -> None:
    """Two copies of the folder that both go on: each is intact, together they are proof."""
    other = shutil.copytree(folder, folder.parent / "other")
    size = len(lines_of(folder))
    acts(folder, 7)
    acts(other, 8)
    assert (verified(folder, capsys)[0], verified(other, capsys)[0]) == (0, 0)
    code, said = verified(other, capsys, "--checkpoint", kept_elsewhere(folder))
    assert (code, f"record {size + 1}: forked" in said) == (5, True)


def test_a_past_written_anew_is_not_what_was_signed(folder: Path, capsys: Output) -> None:
    put(folder, rechained(lines_of(folder), 4))
    code, said = verified(folder, capsys)
    assert (code, "rewritten" in said or "altered" in said) == (5, True)


def test_without_any_checkpoint_nothing_is_believed(folder: Path, capsys: Output) -> None:
    put(folder, rechained(lines_of(folder), 4))
    (folder / "ledger" / FILE_NAME).unlink()
    code, said = verified(folder, capsys)
    assert (code, "no checkpoint that counts" in said) == (5, True)


def test_another_authority_in_its_place_is_not_the_pinned_one(folder: Path, capsys: Output) -> None:
    """Roots, keys, ledger, all made anew: only who pinned the roots elsewhere can tell."""
    shutil.rmtree(folder)
    AuthorityFolder(folder).create(PlatformId("demo-test"), ClusterId("prod"), NOW, ())
    assert run(["audit", "verify", "--authority", str(folder)]) == 0
    assert "--bootstrap" in capsys.readouterr().err
    code, said = verified(folder, capsys)
    assert (code, "KEY_UNKNOWN" in said) == (5, True)


def test_a_chain_is_followed_from_the_pin_and_no_forged_step_is(
    folder: Path, capsys: Output
) -> None:
    """The ledger's key changes by a bundle the pinned roots signed, and by no other."""
    authority = AuthorityFolder(folder)
    rotate(authority, RotationWish(roles=("ledger",), roots=True), later_by(20))
    acts(folder, 11)
    assert verified(folder, capsys)[0] == 0
    forged = AuthorityFolder(folder.parent / "forged")
    forged.create(PlatformId("demo-test"), ClusterId("prod"), NOW, ())
    rotate(forged, RotationWish(roles=("ledger",)), later_by(20))
    for name in ("2.envelope", "2.content"):
        shutil.copy(forged.folder / "trust" / name, folder / "trust" / name)
    code, said = verified(folder, capsys)
    assert (code, "roots of the one before" in said) == (5, True)


def test_what_a_stolen_ledger_key_signs_ends_with_its_rotation(
    folder: Path, capsys: Output
) -> None:
    """The thief's checkpoints count no more, and the new key's cover all that is there."""
    before = len((folder / "ledger" / FILE_NAME).read_bytes().splitlines())
    wish = RotationWish(roles=("ledger",), old_keys=OldKeys.REVOKE)
    rotate(AuthorityFolder(folder), wish, later_by(20))
    code, said = verified(folder, capsys)
    assert (code, f"{before} checkpoints of a revoked key passed over" in said) == (0, True)
    put(folder, rechained(lines_of(folder), 4))
    assert verified(folder, capsys)[0] == 5


def _cut(folder: Path) -> None:
    put(folder, lines_of(folder)[:-1])


def _alter(folder: Path) -> None:
    put(folder, rechained(lines_of(folder), len(lines_of(folder))))


def _remove_all(folder: Path) -> None:
    shutil.rmtree(folder / "ledger")


def _remove_checkpoints(folder: Path) -> None:
    (folder / "ledger" / FILE_NAME).unlink()


DAMAGES: Final[dict[str, tuple[Callable[[Path], None], str]]] = {
    "cut": (_cut, "cut"),
    "altered": (_alter, "altered"),
    "gone": (_remove_all, "cut"),
    "unsigned": (_remove_checkpoints, "unsigned"),
}


@pytest.mark.parametrize(("damage", "code"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_ledger_stops_one_command_and_tells_of_itself(
    damage: Callable[[Path], None], code: str, folder: Path
) -> None:
    """An operator must see it; and taking trust away must stay possible."""
    damage(folder)
    left = lines_of(folder) if (folder / "ledger").exists() else []
    book = (folder / "revocations.json").read_bytes()
    with pytest.raises(LedgerDamagedError, match="nothing was done") as stopped:
        acts(folder, 5)
    assert stopped.value.exit_code == 5
    assert (folder / "revocations.json").read_bytes() == book
    (gap,) = map(json.loads, lines_of(folder)[len(left) :])
    assert (gap["event"], gap["code"], gap["seq"]) == ("audit_gap", code, len(left) + 1)
    acts(folder, 5)
    assert json.loads(lines_of(folder)[-1])["event"] == "artifact_revoked"


def test_records_that_no_command_signed_are_marked_by_the_next(
    folder: Path, capsys: Output
) -> None:
    """A crash leaves such, and so does a forger without the key."""
    lines = lines_of(folder)
    row = json.loads(lines[-1]) | {"seq": len(lines) + 1, "prev": sha256(lines[-1]).hexdigest()}
    put(folder, [*lines, packed_line(row)])
    code, said = verified(folder, capsys)
    assert (code, f"covers records {len(lines) + 1} to {len(lines) + 1}" in said) == (0, True)
    acts(folder, 5)
    gap, done = map(json.loads, lines_of(folder)[len(lines) + 1 :])
    assert (gap["event"], gap["code"]) == ("audit_gap", "unsigned")
    assert (gap["inputs"]["first"], gap["inputs"]["last"]) == (len(lines) + 1, len(lines) + 1)
    assert done["event"] == "artifact_revoked"


def test_it_is_shown_as_it_is_written(folder: Path, capsys: Output) -> None:
    assert run(["audit", "show", "--authority", str(folder), "--after", "2"]) == 0
    assert capsys.readouterr().out.encode() == b"".join(lines_of(folder)[2:])
    assert run(["audit", "show", "--authority", str(folder), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["items"]
    assert [one["seq"] for one in shown] == list(range(1, len(lines_of(folder)) + 1))
