"""Whether a record chain is the one that was written.

Decides: what is wrong with a chain, and which record is the first that is bad.
Keeps: any change of any byte of a covered record is found; the verdict rests on the lines and on
checkpoints the caller believes, on nothing else.
Must not know: where checkpoints come from, who signed them.

- The chain alone shows that a line was edited, removed, inserted or moved. That the whole rest was
  written anew, or cut off, takes a signed checkpoint kept elsewhere.
- Of two lines that do not fit together the later one tells which was changed: put right, it would
  have the hash its own successor names.
- `tests/attacks/test_audit.py` holds each kind of fault.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from fabgossip.errors import StorageError
from fabgossip.model.authority import AuditCheckpoint
from fabgossip.storage.records import (
    GAP_EVENT,
    LINE_BYTES_MAX,
    NO_HASH,
    ChainHead,
    lines_of,
    packed_line,
    parse_line,
    segments_of,
)


class FaultKind(StrEnum):
    """What is wrong with a chain."""

    ALTERED = "altered"
    """A line is not the one that was written."""
    MISSING = "missing"
    """Records that must be there are not."""
    MISPLACED = "misplaced"
    """A record stands where another belongs: inserted, repeated or moved."""
    CUT = "cut"
    """A checkpoint covers more records than there are: the tail is gone, or it is an older copy."""
    REWRITTEN = "rewritten"
    """The chain fits together and is not the one that was signed."""
    FORKED = "forked"
    """Two checkpoints of one size say different things: whoever signs keeps two logs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainFault:
    """The first bad record is `seq`, or one of `seq` to `last` where nothing can tell which."""

    kind: FaultKind
    seq: int
    last: int
    detail: str

    def __str__(self) -> str:
        where = (
            f"record {self.seq}" if self.seq == self.last else f"records {self.seq} to {self.last}"
        )
        return f"{where}: {self.kind.value}: {self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainVerdict:
    """What was found; `faults` in order of `seq`, empty for an intact chain."""

    first: int
    """The oldest record there is, 0 if there is none."""
    head: ChainHead
    """As far as the chain holds."""
    is_torn: bool
    """Whether the last line lacks its end: a crash while writing leaves that."""
    agreeing: int
    """Checkpoints that fit."""
    faults: tuple[ChainFault, ...]


def verify_records(
    segments: Iterable[tuple[int, Iterable[bytes]]], checkpoints: Iterable[AuditCheckpoint] = ()
) -> ChainVerdict:
    """Whether these segments (first sequence number, lines) are the chain that was written, as far
    as the chain itself and believed checkpoints can tell. Reads once, keeps one line."""
    heads: dict[int, set[bytes]] = {}
    for one in checkpoints:
        heads.setdefault(one.size, set()).add(one.head)
    walk = _Walk({size: one.pop() for size, one in heads.items() if len(one) == 1})
    # What is left of two is one too many: whichever the log agrees with, its owner signed another.
    faults = [
        _fault(FaultKind.FORKED, size, size, "signed checkpoints name two different heads")
        for size, one in heads.items()
        if one
    ]
    chain_fault = walk.run(segments)
    faults += walk.beyond() if chain_fault is None else [chain_fault]
    return ChainVerdict(
        first=walk.begins_at or 0,
        head=walk.head,
        is_torn=walk.is_torn,
        agreeing=walk.agreeing,
        faults=tuple(sorted(faults, key=_seq)),
    )


def _seq(fault: ChainFault) -> int:
    return fault.seq


def _fault(kind: FaultKind, seq: int, last: int, detail: str) -> ChainFault:
    return ChainFault(kind=kind, seq=seq, last=last, detail=detail)


@dataclass(slots=True)
class _Link:
    """A line that reads as a record, and the one that must name it."""

    seq: int
    prev: bytes
    line: bytes
    row: dict[str, object] = field(repr=False)

    @property
    def line_hash(self) -> bytes:
        return sha256(self.line).digest()

    def hash_with(self, prev: bytes) -> bytes:
        """What it would hash to if it named another line before it."""
        return sha256(packed_line(self.row | {"prev": prev.hex()})).digest()


class _Walk:
    """One pass over a chain: each line is judged with the one before it in hand."""

    def __init__(self, signed: Mapping[int, bytes]) -> None:
        self._signed = signed
        self._vouched = 0
        """The last record a checkpoint agreed with: it and all before it are what was signed."""
        self._doubt: tuple[_Link, bytes] | None = None
        """A line that does not name the one before it, and the hash of that: the next tells which
        of the two was changed."""
        self._refuted: tuple[int, bytes] | None = None
        """A record that a checkpoint contradicts, and the hash that was signed: the next line tells
        whether it alone was changed."""
        self._dropped = 0
        """The last record a gap record tells to have left."""
        self.begins_at: int | None = None
        self.head = ChainHead()
        self.is_torn = False
        self.agreeing = 0

    def run(self, segments: Iterable[tuple[int, Iterable[bytes]]]) -> ChainFault | None:
        """The first fault of the chain itself."""
        torn: ChainFault | None = None
        for first, lines in segments:
            is_begun = False
            for line in lines:
                if torn is not None:
                    return self._settled(torn)
                if self.begins_at is None:
                    self.begins_at = first
                    self.head = ChainHead(first - 1)
                elif not is_begun and first != self.head.size + 1:
                    return self._settled(self._out_of_place(first, "a segment"))
                is_begun = True
                fault, torn = self._judge(line)
                if fault is not None:
                    return fault
        self.is_torn = torn is not None
        return self._settled(None) or self._unexplained()

    def _judge(self, line: bytes) -> tuple[ChainFault | None, ChainFault | None]:
        """A fault for sure, and one unless this line turns out to be the very last."""
        seq = self.head.size + 1
        link = _link_of(line)
        if link is None:
            fault = _fault(FaultKind.ALTERED, seq, seq, "not a record as it was written")
            if line.endswith(b"\n") or len(line) > LINE_BYTES_MAX:
                return self._settled(fault), None
            return None, fault
        if self._refuted is not None:
            return self._contradicted(link.prev), None
        fits = self._fits(link)
        if link.seq != seq:
            if fits and not self._is_first:
                return self._settled(_fault(FaultKind.ALTERED, seq, seq, "another number")), None
            return self._settled(self._out_of_place(link.seq, "a record")), None
        if self._doubt is not None:
            return self._blame(link.prev), None
        if not fits:
            if self._vouched == self.head.size:
                return _fault(FaultKind.ALTERED, seq, seq, "another record before it"), None
            self._doubt = link, self.head.line_hash
        self.head = ChainHead(seq, link.line_hash)
        self._note_gap(link)
        return self._against_checkpoint(seq), None

    def _fits(self, link: _Link) -> bool:
        """Whether a line names the one before it; of the first, only zeros can be told wrong."""
        if self._is_first:
            return self.begins_at != 1 or link.prev == NO_HASH
        return link.prev == self.head.line_hash

    @property
    def _is_first(self) -> bool:
        """Whether no line was taken yet."""
        return self.begins_at is None or self.head.size < self.begins_at

    def _blame(self, told: bytes | None) -> ChainFault:
        """Which of two lines that do not fit was changed; `told` is the hash the later one had when
        it was written, None where nobody tells."""
        assert self._doubt is not None
        link, before = self._doubt
        seq = link.seq
        if told == link.hash_with(before):
            return _fault(FaultKind.ALTERED, seq, seq, "it names another line before it")
        if told == link.line_hash:
            return _fault(FaultKind.ALTERED, seq - 1, seq - 1, "the next names another line")
        return _fault(FaultKind.ALTERED, seq - 1, seq, "the two do not fit together")

    def _settled(self, fault: ChainFault | None) -> ChainFault | None:
        """The earlier of a fault and of a doubt nothing came to resolve."""
        if self._refuted is not None:
            return self._contradicted(None)
        if self._doubt is None:
            return fault
        return self._blame(self._signed.get(self._doubt[0].seq))

    def _against_checkpoint(self, seq: int) -> ChainFault | None:
        signed = self._signed.get(seq)
        if signed is None:
            return None
        if self._doubt is not None:
            return self._blame(signed)
        if signed != self.head.line_hash:
            self._refuted = seq, signed
            return None
        self._vouched = seq
        self.agreeing += 1
        return None

    def _contradicted(self, told: bytes | None) -> ChainFault:
        """What a checkpoint contradicts; `told` is the hash the next line names, None for none."""
        assert self._refuted is not None
        seq, signed = self._refuted
        if told == signed:
            return _fault(FaultKind.ALTERED, seq, seq, "neither signed nor what the next names")
        detail = f"the checkpoint of size {seq} was signed over another record"
        return _fault(FaultKind.REWRITTEN, self._vouched + 1, seq, detail)

    def _out_of_place(self, found: int, what: str) -> ChainFault:
        seq = self.head.size + 1
        kind = FaultKind.MISSING if found > seq else FaultKind.MISPLACED
        return _fault(kind, seq, seq, f"{what} numbered {found} stands here")

    def _note_gap(self, link: _Link) -> None:
        inputs = link.row["inputs"]
        if link.row["event"] == GAP_EVENT and isinstance(inputs, dict):
            last = inputs.get("last")
            self._dropped = max(self._dropped, last if type(last) is int else 0)

    def _unexplained(self) -> ChainFault | None:
        """Records before the first that no gap record tells of."""
        if self.begins_at is None or self._dropped >= self.begins_at - 1:
            return None
        seq = self._dropped + 1
        detail = f"the log begins with {self.begins_at}, and no record says that earlier ones left"
        return _fault(FaultKind.MISSING, seq, self.begins_at - 1, detail)

    def beyond(self) -> list[ChainFault]:
        """Checkpoints of records that are not there any more."""
        size = self.head.size
        covered = [one for one in self._signed if one > size]
        if not covered:
            return []
        detail = f"a checkpoint of size {max(covered)} was signed, the log ends with {size}"
        return [_fault(FaultKind.CUT, size + 1, size + 1, detail)]


def _link_of(line: bytes) -> _Link | None:
    row = parse_line(line)
    if row is None:
        return None
    seq, prev = row["seq"], row["prev"]
    assert isinstance(seq, int)
    assert isinstance(prev, str)
    return _Link(seq, bytes.fromhex(prev), line, row)


def verify_folder(folder: Path, checkpoints: Iterable[AuditCheckpoint] = ()) -> ChainVerdict:
    """`verify_records` of what lies in a folder; raises `StorageError`, also where neither a record
    file nor a checkpoint says that there was a log."""
    segments, believed = segments_of(folder), tuple(checkpoints)
    if not segments and not believed:
        raise StorageError(f"{folder}: no record files")
    return verify_records(((one.first, lines_of(one)) for one in segments), believed)
