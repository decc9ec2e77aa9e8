"""Record files: a line for good, in its place, whatever the process or the disk does meanwhile."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabgossip.errors import StorageError
from fabgossip.storage.records import (
    LINE_BYTES_MAX,
    NO_HASH,
    ChainHead,
    Entry,
    RecordChain,
    parse_line,
    read_records,
    record_line,
    segments_of,
)
from fabgossip.storage.verifying import verify_folder
from tests.storage.chains import BOOT, append_all, chained, entries, entry, head_of, lines_in

SMALL = 16 << 10
"""Bytes of a segment: about 50 records."""


def opened(folder: Path, segments_max: int = 32) -> RecordChain:
    chain = RecordChain(folder / "audit", BOOT, segment_bytes_max=SMALL, segments_max=segments_max)
    chain.open()
    return chain


def firsts(chain: RecordChain) -> list[int]:
    return [one.first for one in segments_of(chain.folder)]


def test_a_record_is_one_line_of_sorted_ascii_without_spaces(tmp_path: Path) -> None:
    chain = opened(tmp_path)
    append_all(chain, [entry(1, subject="n2", code="SIG_INVALID", decision="reject")])
    assert lines_in(chain.folder) == [
        b'{"boot":"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b","code":"SIG_INVALID","decision":"reject",'
        b'"event":"happened","inputs":{"number":1},"mono":1000,"object":"",'
        b'"prev":"' + b"0" * 64 + b'","seq":1,"subject":"n2","v":1,"wall":1800000001}\n'
    ]
    assert os.stat(chain.folder / "0000000000000001.jsonl").st_mode & 0o777 == 0o600


def test_each_line_names_the_hash_of_the_one_before_across_segments(tmp_path: Path) -> None:
    chain = opened(tmp_path)
    append_all(chain, entries(200))
    assert lines_in(chain.folder) == chained(entries(200))
    assert len(firsts(chain)) > 2
    assert all(one.path.stat().st_size <= SMALL for one in segments_of(chain.folder))
    assert chain.head == head_of(chained(entries(200)))


def test_a_chain_goes_on_where_an_earlier_process_left_it(tmp_path: Path) -> None:
    for start in range(0, 120, 40):
        chain = opened(tmp_path)
        append_all(chain, entries(120)[start : start + 40])
        chain.close()
    assert lines_in(tmp_path / "audit") == chained(entries(120))


def test_opening_reads_the_last_segment_only(tmp_path: Path) -> None:
    chain = opened(tmp_path)
    append_all(chain, entries(200))
    chain.close()
    for one in segments_of(chain.folder)[:-1]:
        one.path.write_bytes(b"not a record\n")
    assert opened(tmp_path).head == chain.head


TEXT = st.text(max_size=700)


@given(TEXT, TEXT, st.dictionaries(TEXT, st.one_of(TEXT, st.integers(0, 2**53)), max_size=12))
def test_any_texts_make_one_line_that_fits_and_reads_back(
    subject: str, code: str, inputs: dict[str, str | int]
) -> None:
    row = Entry(
        wall=1, mono=2, event="e" * 700, code=code, subject=subject, object=code,
        decision=subject, inputs=tuple(inputs.items()),
    )  # fmt: skip
    line = record_line(row, 2**53, NO_HASH, BOOT)
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert len(line) <= LINE_BYTES_MAX
    read = parse_line(line)
    assert read is not None
    assert subject.startswith(str(read["subject"]))


def test_inputs_that_do_not_fit_are_counted() -> None:
    inputs = tuple((f"name {number}", "\x1b" * 200) for number in range(10))
    line = record_line(Entry(wall=1, mono=2, event="e", inputs=inputs), 1, NO_HASH, BOOT)
    kept = json.loads(line)["inputs"]
    assert len(line) <= LINE_BYTES_MAX
    assert kept["omitted"] == 10 - (len(kept) - 1)


def test_a_torn_last_line_is_cut_and_told_of(tmp_path: Path) -> None:
    chain = opened(tmp_path)
    append_all(chain, entries(3))
    chain.close()
    with segments_of(chain.folder)[-1].path.open("ab") as file:
        file.write(b'{"boot":"0b')
    again = opened(tmp_path)
    assert again.head.size == 3
    append_all(again, [entry(9)])
    told, last = (json.loads(line) for line in lines_in(again.folder)[3:])
    assert (told["event"], told["code"], told["inputs"]) == ("audit_gap", "torn", {"bytes": 11})
    assert (told["seq"], last["seq"]) == (4, 5)
    assert verify_folder(again.folder).faults == ()


def test_a_segment_that_never_got_its_first_line_is_made_again(tmp_path: Path) -> None:
    chain = opened(tmp_path)
    append_all(chain, entries(3))
    chain.close()
    (chain.folder / "0000000000000004.jsonl").write_bytes(b'{"boot')
    again = opened(tmp_path)
    assert (again.head, firsts(again)) == (chain.head, [1])
    append_all(again, [entry(4)])
    assert verify_folder(again.folder).faults == ()


def test_the_oldest_segment_leaves_and_a_record_that_stays_says_so(tmp_path: Path) -> None:
    chain = opened(tmp_path, segments_max=3)
    append_all(chain, entries(400))
    kept = firsts(chain)
    assert len(kept) == 3
    gaps = [json.loads(line) for line in lines_in(chain.folder) if b"audit_gap" in line]
    assert gaps[-1]["code"] == "segments_dropped"
    assert gaps[-1]["inputs"]["last"] == kept[0] - 1
    verdict = verify_folder(chain.folder)
    assert (verdict.faults, verdict.first, verdict.head) == ((), kept[0], chain.head)


def test_records_are_read_by_their_place_across_segments(tmp_path: Path) -> None:
    chain = opened(tmp_path)
    append_all(chain, entries(200))
    lines = chained(entries(200))
    for after, count in ((0, 5), (49, 3), (120, 60), (199, 9), (200, 9)):
        wanted = list(enumerate(lines, 1))[after : after + count]
        assert read_records(chain.folder, after, count) == wanted


class Refusing:
    """A disk that refuses, once it is told to: `fails` of the named call of `os`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
        self.is_refusing = False
        real: Callable[..., int | None] = getattr(os, name)

        def call(*arguments: int | bytes | memoryview) -> int | None:
            if not self.is_refusing:
                return real(*arguments)
            if name == "pwrite":
                view = arguments[1]
                assert isinstance(view, memoryview)
                real(arguments[0], view[: len(view) // 2], arguments[2])
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, name, call)


REFUSALS = {
    "full": ("pwrite", errno.ENOSPC),
    "fsync fails": ("fsync", errno.EIO),
}


@pytest.mark.parametrize(("call", "code"), REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("before", [3, 48, 49, 50, 51, 52, 53])
def test_a_disk_that_refuses_leaves_the_chain_as_it_was(
    before: int, call: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a segment had just ended: half a line never stands between two records."""
    disk = Refusing(monkeypatch, call, code)
    chain = opened(tmp_path, segments_max=2)
    append_all(chain, entries(before))
    head = chain.head
    disk.is_refusing = True
    for _ in range(3):
        with pytest.raises(StorageError):
            chain.append(entries(60)[before:])
    assert chain.head == head
    disk.is_refusing = False
    append_all(chain, entries(60)[before:])
    assert lines_in(chain.folder) == chained(entries(60))
    assert verify_folder(chain.folder).head == chain.head


def test_what_a_failed_write_left_is_gone_behind_a_shorter_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Refusing(monkeypatch, "pwrite", errno.ENOSPC)
    chain = opened(tmp_path)
    disk.is_refusing = True
    with pytest.raises(StorageError):
        chain.append(entries(40))
    disk.is_refusing = False
    append_all(chain, [entry(1)])
    assert lines_in(chain.folder) == chained([entry(1)])


def test_what_a_crash_leaves_of_a_failed_write_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Refusing(monkeypatch, "pwrite", errno.ENOSPC)
    chain = opened(tmp_path)
    append_all(chain, entries(3))
    disk.is_refusing = True
    with pytest.raises(StorageError):
        chain.append(entries(5)[3:])
    disk.is_refusing = False
    again = opened(tmp_path)
    append_all(again, [entry(5)])
    assert verify_folder(again.folder).faults == ()


def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "audit").write_bytes(b"")
    with pytest.raises(StorageError, match="audit"):
        opened(tmp_path)
    with pytest.raises(StorageError):
        segments_of(tmp_path / "nowhere")


def test_an_empty_chain_has_no_head(tmp_path: Path) -> None:
    assert opened(tmp_path).head == ChainHead(0, NO_HASH)
