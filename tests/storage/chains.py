"""Record chains to be looked at, damaged and judged."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from fabgossip.model.authority import AuditCheckpoint
from fabgossip.storage.records import NO_HASH, ChainHead, Entry, RecordChain, record_line
from tests.trust import factory

BOOT = "0b" * 16


def entry(number: int, **fields: str) -> Entry:
    """What happened as the `number`-th."""
    inputs = (("number", number),)
    return Entry(
        wall=factory.NOW + number, mono=1_000 * number, event="happened", inputs=inputs, **fields
    )


def entries(count: int) -> list[Entry]:
    return [entry(number) for number in range(1, count + 1)]


def append_all(chain: RecordChain, rows: Sequence[Entry]) -> None:
    """Append as often as it takes."""
    while rows:
        rows = rows[chain.append(rows) :]


def chained(rows: Iterable[Entry]) -> list[bytes]:
    """The lines of a chain, without a disk."""
    lines: list[bytes] = []
    prev = NO_HASH
    for seq, row in enumerate(rows, 1):
        lines.append(record_line(row, seq, prev, BOOT))
        prev = head_of(lines).line_hash
    return lines


def head_of(lines: Sequence[bytes]) -> ChainHead:
    """The head of these lines of a whole chain."""
    return ChainHead(len(lines), sha256(lines[-1]).digest())


def checkpoint_of(lines: Sequence[bytes], size: int = 0) -> AuditCheckpoint:
    """What was signed when the chain had so many lines; all of them unless said."""
    head = head_of(lines[: size or len(lines)])
    return factory.checkpoint(head.size, head.line_hash)


def lines_in(folder: Path) -> list[bytes]:
    """All lines of a folder's segments, in order."""
    files = sorted(folder.glob("[0-9]*.jsonl"))
    return [line for one in files for line in one.read_bytes().splitlines(keepends=True)]
