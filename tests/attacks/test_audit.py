"""Somebody with the node's disk changes what its audit log says.

Powers: read and write of every byte in the log's folder, and knowledge of its format. In the second
half also the node's own audit key, so that checkpoints can be made to say anything. Never: the
checkpoints other nodes keep.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabgossip.model.authority import AuditCheckpoint
from fabgossip.storage.records import Entry, RecordChain, parse_line, record_line
from fabgossip.storage.verifying import ChainVerdict, FaultKind, verify_folder, verify_records
from tests.attacks.powers import files_below
from tests.storage.chains import (
    BOOT,
    append_all,
    chained,
    checkpoint_of,
    entries,
    entry,
    head_of,
    lines_in,
)
from tests.trust import factory

SIZE = 20
LINES = chained(entries(SIZE))
ANCHORS = (checkpoint_of(LINES, 8), checkpoint_of(LINES))
Lines = list[bytes]
Found = tuple[FaultKind, int, int]


def judged(lines: Sequence[bytes], *checkpoints: AuditCheckpoint) -> ChainVerdict:
    return verify_records([(1, lines)], checkpoints)


def found(lines: Sequence[bytes], *checkpoints: AuditCheckpoint) -> list[Found]:
    """Kind and place of what is wrong."""
    return [(one.kind, one.seq, one.last) for one in judged(lines, *checkpoints).faults]


def rewritten(lines: Lines, place: int, said: Entry) -> Lines:
    """Another record at a place, and all after it chained to it."""
    told = [said if seq == place else row for seq, row in enumerate(entries(len(lines)), 1)]
    return chained(told)


def edited(lines: Lines, place: int) -> Lines:
    """Another text in a line, well written, and nothing else."""
    line = lines[place - 1].replace(b'"event":"happened"', b'"event":"pleasant"')
    return [*lines[: place - 1], line, *lines[place:]]


def relinked(lines: Lines, place: int) -> Lines:
    """A line that names another one before it."""
    line = record_line(entry(place), place, b"x" * 32, BOOT)
    return [*lines[: place - 1], line, *lines[place:]]


def swapped(lines: Lines, place: int) -> Lines:
    before, one, two, after = (
        lines[: place - 1], lines[place - 1], lines[place], lines[place + 1 :],
    )  # fmt: skip
    return [*before, two, one, *after]


TAMPERED: dict[str, tuple[Callable[[Lines, int], Lines], FaultKind, int]] = {
    "a text is edited": (edited, FaultKind.ALTERED, 0),
    "a link is edited": (relinked, FaultKind.ALTERED, 0),
    "a line is removed": (lambda one, at: one[: at - 1] + one[at:], FaultKind.MISSING, 0),
    "a line is doubled": (lambda one, at: one[:at] + one[at - 1 :], FaultKind.MISPLACED, 1),
    "two lines are swapped": (swapped, FaultKind.MISSING, 0),
    "a line of another time is inserted": (
        lambda one, at: [*one[: at - 1], one[0], *one[at - 1 :]],
        FaultKind.MISPLACED,
        0,
    ),
}


@pytest.mark.parametrize("place", [2, 8, 9, 15, 18])
@pytest.mark.parametrize(("change", "kind", "behind"), TAMPERED.values(), ids=TAMPERED)
def test_tampering(
    place: int,
    change: Callable[[Lines, int], Lines],
    kind: FaultKind,
    behind: int,
    tmp_path: Path,
) -> None:
    """The first bad record is named, with checkpoints and without; and what was found is evidence:
    whoever looks at it leaves every byte where it is."""
    first = place + behind
    tampered = change(LINES, place)
    assert found(tampered) == [(kind, first, first)]
    assert found(tampered, *ANCHORS) == [(kind, first, first)]
    (tmp_path / f"{1:016}.jsonl").write_bytes(b"".join(tampered))
    before = files_below(tmp_path)
    (fault,) = verify_folder(tmp_path, ANCHORS).faults
    assert (fault.kind, fault.seq, fault.last) == (kind, first, first)
    assert files_below(tmp_path) == before


def test_an_intact_log_is_intact() -> None:
    verdict = judged(LINES, *ANCHORS)
    assert (verdict.faults, verdict.agreeing, verdict.is_torn) == ((), 2, False)
    assert (verdict.first, verdict.head) == (1, head_of(LINES))


def test_a_tail_cut_off_shows_against_a_checkpoint_and_only_there() -> None:
    assert found(LINES[:14], ANCHORS[0]) == []
    assert found(LINES[:14], *ANCHORS) == [(FaultKind.CUT, 15, 15)]


def test_a_log_that_is_gone_altogether_is_a_cut() -> None:
    assert found([], ANCHORS[0]) == [(FaultKind.CUT, 1, 1)]


def test_a_torn_last_line_is_tolerated_unless_a_checkpoint_covers_it() -> None:
    torn = [*LINES[:-1], LINES[-1][:-9]]
    assert found(torn) == []
    assert judged(torn).is_torn
    assert found(torn, *ANCHORS) == [(FaultKind.CUT, SIZE, SIZE)]


def test_a_line_written_in_another_way_is_found_without_any_checkpoint() -> None:
    spaced = LINES[-1].replace(b'","', b'", "', 1)
    assert found([*LINES[:-1], spaced]) == [(FaultKind.ALTERED, SIZE, SIZE)]


def test_a_torn_line_in_the_middle_is_none() -> None:
    assert found([*LINES[:4], LINES[4][:-9], *LINES[5:]]) == [(FaultKind.ALTERED, 5, 5)]


def test_a_log_written_anew_fits_together_and_not_with_its_checkpoint() -> None:
    """The record that was changed lies between the last checkpoint that fits and the first that
    does not."""
    forged = rewritten(LINES, 12, entry(12, decision="accept"))
    assert found(forged, ANCHORS[0]) == []
    assert found(forged, *ANCHORS) == [(FaultKind.REWRITTEN, 9, SIZE)]


def test_a_log_rolled_back_and_gone_on_is_found() -> None:
    """An old copy of the disk is put back, and the node writes other things after it."""
    other = chained([*entries(8), *(entry(100 + number) for number in range(20))])
    assert found(other, ANCHORS[0]) == []
    assert found(other, *ANCHORS) == [(FaultKind.REWRITTEN, 9, SIZE)]
    assert found(LINES[:8], *ANCHORS) == [(FaultKind.CUT, 9, 9)]


def test_two_checkpoints_of_one_size_prove_two_logs() -> None:
    forged = rewritten(LINES, 12, entry(12, decision="accept"))
    both = checkpoint_of(LINES), checkpoint_of(forged)
    for lines in (LINES, forged):
        assert found(lines, *both) == [(FaultKind.FORKED, SIZE, SIZE)]


def test_two_checkpoints_that_say_the_same_prove_nothing() -> None:
    again = replace(checkpoint_of(LINES), wall=factory.NOW)
    assert found(LINES, again, replace(again, wall=factory.NOW)) == []


@given(st.integers(0, sum(map(len, LINES)) - 1), st.integers(1, 255))
def test_any_change_of_any_byte_of_any_line_is_found(place: int, mask: int) -> None:
    """The first bad record is named exactly; of the last line, with what the checkpoints leave
    open."""
    data = bytearray(b"".join(LINES))
    data[place] ^= mask
    seq = bytes(b"".join(LINES)[:place]).count(b"\n") + 1
    *whole, rest = bytes(data).split(b"\n")
    lines = [one + b"\n" for one in whole] + ([rest] if rest else [])
    (fault,) = judged(lines, *ANCHORS).faults
    assert fault.seq <= seq <= fault.last
    assert fault.seq == fault.last or seq == SIZE


def test_a_segment_that_was_taken_away_is_missed(tmp_path: Path) -> None:
    """The first, one in the middle; a segment that left by itself is told of by a record."""
    chain = RecordChain(tmp_path / "audit", BOOT, segment_bytes_max=16 << 10, segments_max=4)
    chain.open()
    append_all(chain, entries(400))
    chain.close()
    files = sorted(chain.folder.glob("*.jsonl"))
    first, second = int(files[0].stem), int(files[1].stem)
    assert verify_folder(chain.folder).faults == ()
    hidden = tmp_path / "hidden"
    for gone in (0, 1):
        files[gone].rename(hidden)
        (fault,) = verify_folder(chain.folder).faults
        start, end = (first, second - 1) if gone == 0 else (second, second)
        assert (fault.kind, fault.seq, fault.last) == (FaultKind.MISSING, start, end)
        hidden.rename(files[gone])


HOSTILE = ('n2","decision":"accept', "a\nb", "\x1b[2J\r\n", "\u2028\x00\x85", "\ud800", '{"v":1}\n')


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_what_a_peer_puts_into_a_text_stays_in_it(text: str, tmp_path: Path) -> None:
    chain = RecordChain(tmp_path / "audit", BOOT)
    chain.open()
    said = Entry(
        wall=1, mono=2, event="artifact_rejected", code="SCHEMA", subject=text, object=text,
        decision="reject", inputs=(("detail", text), (text, 1)),
    )  # fmt: skip
    append_all(chain, [said, entry(2)])
    hostile, _ = lines_in(chain.folder)
    assert all(0x20 <= byte < 0x7F for byte in hostile[:-1])
    read = parse_line(hostile)
    assert read is not None
    assert (read["subject"], read["object"], read["decision"]) == (text, text, "reject")
    assert read["inputs"] == {"detail": text, text: 1}
    assert verify_folder(chain.folder).faults == ()
