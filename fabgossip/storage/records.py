"""Hash-chained record files: what happened, one line each, in an order nobody can change unseen.

Decides: the bytes of a record, where a segment ends, which segment leaves.
Keeps: an append that returned is durable; each line names the SHA-256 of the line before; a record
never loses its place; a segment that left is told of by a record that stays.
Must not know: why something is recorded, who signs checkpoints, threads.

- A line is one JSON object: sorted keys, ASCII, no spaces, a newline, at most 4 KiB. Whatever a
  peer put into a text, a line stays a line.
- `prev` is the SHA-256 of the previous line as written, newline included, 64 zeros for the first.
  The chain runs across segments, which are named by their first sequence number.
- Opening reads the last segment only. A last line without its newline was never acknowledged: it is
  cut, and a record says so.

Everything blocks, and one thread at a time may use a chain.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from fabgossip.errors import StorageError
from fabgossip.model.ids import HASH_BYTES
from fabgossip.storage.contents import FOLDER_MODE
from fabgossip.storage.syncing import sync_folder

LEDGER_FOLDER: Final = "ledger"
"""Of an authority folder: the control plane's chain."""
RECORD_FORMAT: Final = 1
LINE_BYTES_MAX: Final = 4_096
TEXT_BYTES_MAX: Final = 600
"""Of a text as written: five of them and the fixed fields leave room for inputs, and a namespace
has at most 512."""
SEGMENT_BYTES_MAX: Final = 8 << 20
SEGMENTS_MAX: Final = 32
"""*start*: 256 MiB, about half a million records."""
SEQUENCE_DIGITS: Final = 16
FILE_MODE: Final = 0o600
GAP_EVENT: Final = "audit_gap"
"""Records that are not there, and why: code `torn` or `segments_dropped` here."""
NO_HASH: Final = bytes(HASH_BYTES)
_NAME: Final = re.compile(r"([0-9]{16})\.jsonl")
_TEXTS: Final = ("event", "code", "subject", "object", "decision")
_KEYS: Final = frozenset({"v", "seq", "prev", "boot", "wall", "mono", "inputs", *_TEXTS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is to be recorded: its place in the chain is not its own to say."""

    wall: int
    """Seconds since 1970."""
    mono: int
    """Milliseconds since the machine started."""
    event: str
    code: str = ""
    subject: str = ""
    object: str = ""
    decision: str = ""
    inputs: tuple[tuple[str, str | int], ...] = ()


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The last record of a chain; size 0 of an empty one."""

    size: int = 0
    line_hash: bytes = NO_HASH


def record_line(entry: Entry, seq: int, prev: bytes, boot: str) -> bytes:
    """The line of an entry at its place. Texts are cut to 600 bytes as written; inputs that do not
    fit any more are counted as `omitted`."""
    row: dict[str, object] = {
        "v": RECORD_FORMAT,
        "seq": seq,
        "prev": prev.hex(),
        "boot": boot,
        "wall": entry.wall,
        "mono": entry.mono,
        **{name: _cut(getattr(entry, name)) for name in _TEXTS},
    }
    inputs = [
        (_cut(name), _cut(one) if isinstance(one, str) else one) for name, one in entry.inputs
    ]
    line = packed_line(row | {"inputs": dict(inputs)})
    kept = len(inputs)
    while len(line) > LINE_BYTES_MAX:
        kept -= 1
        omitted = ("omitted", len(inputs) - kept)
        line = packed_line(row | {"inputs": dict((*inputs[:kept], omitted))})
    return line


def packed_line(row: Mapping[str, object]) -> bytes:
    """The one way these fields are written."""
    text = json.dumps(row, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return text.encode("ascii") + b"\n"


def _cut(text: str) -> str:
    text = text[:TEXT_BYTES_MAX]
    while len(json.dumps(text)) - 2 > TEXT_BYTES_MAX:  # the quotes
        text = text[: len(text) * 7 // 8]
    return text


def parse_line(line: bytes) -> dict[str, object] | None:
    """The fields of a record; None if it is not exactly what `record_line` writes."""
    if not line.endswith(b"\n") or len(line) > LINE_BYTES_MAX:
        return None
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or row.keys() != _KEYS or packed_line(row) != line:
        return None
    texts = [row[name] for name in (*_TEXTS, "boot")]
    numbers = [row[name] for name in ("v", "seq", "wall", "mono")]
    inputs, prev = row["inputs"], row["prev"]
    is_record = (
        all(isinstance(one, str) for one in texts)
        and all(type(one) is int for one in numbers)
        and row["v"] == RECORD_FORMAT
        and isinstance(inputs, dict)
        and all(type(one) in (str, int) for one in inputs.values())
        and isinstance(prev, str)
        and re.fullmatch(r"[0-9a-f]{64}", prev) is not None
    )
    return row if is_record else None


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of the chain."""

    first: int
    path: Path


def segments_of(folder: Path) -> tuple[Segment, ...]:
    """The segments in order; raises `StorageError`."""
    try:
        found = [(_NAME.fullmatch(one.name), one) for one in folder.iterdir()]
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror}") from error
    return tuple(sorted((Segment(int(name[1]), path) for name, path in found if name), key=_first))


def _first(segment: Segment) -> int:
    return segment.first


def lines_of(segment: Segment) -> Iterator[bytes]:
    """The lines of a segment, newlines included; a longer one than a record can be comes in pieces.
    Raises `StorageError`."""
    try:
        with segment.path.open("rb") as file:
            while line := file.readline(LINE_BYTES_MAX + 1):
                yield line
    except OSError as error:
        raise StorageError(f"{segment.path}: {error.strerror}") from error


def read_records(folder: Path, after: int, count: int) -> list[tuple[int, bytes]]:
    """At most `count` lines above a sequence number, by their place. Cost: what is read of the
    segments they lie in. Raises `StorageError`."""
    segments = segments_of(folder)
    found: list[tuple[int, bytes]] = []
    for number, segment in enumerate(segments):
        if number + 1 < len(segments) and segments[number + 1].first <= after + 1:
            continue
        for seq, line in enumerate(lines_of(segment), segment.first):
            if len(found) == count:
                return found
            if seq > after and line.endswith(b"\n"):
                found.append((seq, line))
    return found


class RecordChain:
    """A folder of record files, to append to."""

    def __init__(
        self,
        folder: Path,
        boot: str,
        *,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        segments_max: int = SEGMENTS_MAX,
    ) -> None:
        assert segment_bytes_max >= 2 * LINE_BYTES_MAX, "a gap record and one more fit a segment"
        assert segments_max > 1
        self.folder = folder
        self._boot = boot
        self._segment_bytes_max = segment_bytes_max
        self._segments_max = segments_max
        self._descriptor = -1
        self._bytes = 0
        """Of the open segment, as far as they are durable."""
        self._is_sound = True
        """Whether the open segment ends where it should; False after a failed write."""
        self._torn_bytes = 0
        self._firsts: list[int] = []
        self.head = ChainHead()

    @property
    def segment(self) -> int:
        """First sequence number of the segment written to; it changes when one is closed."""
        return self._firsts[-1] if self._firsts else 0

    def open(self) -> None:
        """Make the folder, or find the end of the chain in its last segment.

        A line that is whole counts, whatever it says: a chain that somebody damaged goes on, and
        `verify_records` names the place.

        Raises:
            StorageError: the folder cannot be used.
        """
        try:
            self.folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
            self._firsts = [one.first for one in segments_of(self.folder)]
            while self._firsts and not self._recall():
                # Made, and lost in the crash before its first line was whole.
                self._path(self._firsts.pop()).unlink()
        except OSError as error:
            raise StorageError(f"{self.folder}: {error.strerror}") from error

    def _recall(self) -> bool:
        """Take over the last segment; False if it holds no whole line."""
        first = self._firsts[-1]
        data = self._path(first).read_bytes()
        end = data.rfind(b"\n") + 1
        self._torn_bytes += len(data) - end
        if not end:
            return False
        last = data.rfind(b"\n", 0, end - 1) + 1
        size = first + data.count(b"\n", 0, end) - 1
        self.head = ChainHead(size, sha256(data[last:end]).digest())
        self._bytes = end
        self._descriptor = os.open(self._path(first), os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._is_sound = end == len(data)
        return True

    def _path(self, first: int) -> Path:
        return self.folder / f"{first:0{SEQUENCE_DIGITS}}.jsonl"

    def append(self, entries: Sequence[Entry]) -> int:
        """Make the first of these entries durable together: as many as the segment has room for, at
        least one. Gives how many.

        Raises:
            StorageError: none of them is, and the next append goes on where the chain ended before.
        """
        assert entries
        try:
            if not self._is_sound:
                self._mend()
            if self._torn_bytes:
                self._append([gap_entry(entries[0], "torn", ("bytes", self._torn_bytes))])
                self._torn_bytes = 0
            return self._append(entries)
        except OSError as error:
            self._is_sound = False
            raise StorageError(f"{self.folder}: {error.strerror}") from error

    def _mend(self) -> None:
        """What a failed write left must not stand between two records. Written again, the page is
        dirty again, so a failed fsync does not hide behind it."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, self._bytes)
        self._is_sound = True

    def _append(self, entries: Sequence[Entry]) -> int:
        lines: list[bytes] = []
        head = self.head
        room = self._segment_bytes_max - self._bytes if self._firsts else 0
        for entry in entries:
            line = record_line(entry, head.size + 1, head.line_hash, self._boot)
            room -= len(line)
            if room < 0 and not lines:
                self._rotate(entry)
                return self._append(entries)
            if room < 0:
                break
            lines.append(line)
            head = ChainHead(head.size + 1, sha256(line).digest())
        self._write(b"".join(lines))
        self.head = head
        return len(lines)

    def _write(self, data: bytes) -> None:
        write_at(self._descriptor, data, self._bytes)
        os.fsync(self._descriptor)
        self._bytes += len(data)

    def _rotate(self, entry: Entry) -> None:
        """Begin a segment; it begins with a gap record where the oldest has to leave."""
        first = self.head.size + 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path(first), flags, FILE_MODE)
        try:
            sync_folder(self.folder)
        except OSError:
            os.close(descriptor)
            self._path(first).unlink(missing_ok=True)
            raise
        self.close()
        self._descriptor, self._bytes, self._is_sound = descriptor, 0, True
        self._firsts.append(first)
        leaving = self._firsts[: max(0, len(self._firsts) - self._segments_max)]
        if leaving:
            last = self._firsts[len(leaving)] - 1
            left = ("first", leaving[0]), ("last", last)
            self._append([gap_entry(entry, "segments_dropped", *left)])
            for one in leaving:
                self._path(one).unlink(missing_ok=True)
            del self._firsts[: len(leaving)]

    def close(self) -> None:
        """Close the open segment; all of it is durable already."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def gap_entry(entry: Entry, code: str, *inputs: tuple[str, int]) -> Entry:
    """What tells of records that are not there, at the time of the entry that comes after them."""
    return Entry(wall=entry.wall, mono=entry.mono, event=GAP_EVENT, code=code, inputs=inputs)


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`; raises `OSError`."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
