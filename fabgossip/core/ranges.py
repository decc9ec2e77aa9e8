"""How two sets find out what each lacks: ranges halved until they are equal or short.

Decides: what to say of one's own set, given what the other said of its own.
Keeps: each answer depends on one message and one's own set alone, so a message that is lost or
comes twice costs bytes and nothing else; what is listed is listed whole.
Must not know: links, audiences, what a key stands for.

- The first step cuts from the end: the last 16, then ranges four times as long each, since what is
  missing is nearly always newest.
- If the newest range of the first step differs, it is answered and, while our own part of it is
  short, the one before; no more. What is learned there takes superseded manifests away elsewhere,
  so older ranges often become equal by themselves. The next comparison finds those that did not.
- A range that differs is cut in 4; one of at most 8 keys is listed by ids, and so is every one
  from step 12 on.
"""

from dataclasses import dataclass, field
from typing import Final

from fabgossip.core.ordered import FingerprintSet
from fabgossip.model.messages import RANGES_BYTES_MAX, RANGES_MAX, Range, RangeMode

LISTED_MAX: Final = 8
"""Keys of a range that are listed instead of being cut (*start*)."""
NEWEST: Final = 16
"""Keys of the first and newest range (*start*)."""
WHOLE_LISTED_MAX: Final = 64
"""Keys of a whole set that are listed instead (*start*)."""
CUT: Final = 4
GROWTH: Final = 4
DEEP: Final = 12
"""Steps after which every range is listed: more than any honest set of 200,000 keys needs."""
LISTED_RUN: Final = 2_048
"""Ids of one range: two such fit into a message."""
_HEAD_BYTES: Final = 4


@dataclass(slots=True)
class Compared:
    """What came of a message."""

    lacking: list[bytes] = field(default_factory=list)
    """Ids of what the other has and we lack, newest first."""
    extra: list[bytes] = field(default_factory=list)
    """Keys of what we have and the other lacks, newest first."""
    answers: tuple[tuple[Range, ...], ...] = ()
    """What to say next, message by message."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What is said of a range, and where it starts."""

    low: bytes
    range: Range


def first_step(
    own: FingerprintSet, their_count: int, *, is_list: bool
) -> tuple[tuple[Range, ...], ...]:
    """What to say of a set that differs from the other's, message by message; `is_list` where so
    much differs that a list is shorter."""
    count = len(own)
    if is_list or count <= WHOLE_LISTED_MAX:
        return _messages(_listed(own, b"", None))
    if their_count <= WHOLE_LISTED_MAX:
        return _messages([_fingerprint(own, b"", None)])
    bounds: list[bytes] = []
    rank, length = count - NEWEST, NEWEST
    while rank > 0:
        bounds.append(own.boundary(rank))
        length *= GROWTH
        rank -= length
    return _messages(_fingerprints(own, b"", bounds[::-1], None))


def compare(own: FingerprintSet, ranges: tuple[Range, ...], step: int) -> Compared:
    """Hold what the other said of its set against one's own."""
    compared = Compared()
    unequal: list[tuple[bytes, bytes | None]] = []
    low = b""
    for one in ranges:
        if one.mode is RangeMode.IDS:
            _compare_ids(own, low, one, compared)
        if one.mode is RangeMode.FINGERPRINT and own.fingerprint(low, one.upper) != one.fingerprint:
            unequal.append((low, one.upper))
        low = b"" if one.upper is None else one.upper
    compared.lacking.reverse()
    compared.extra.reverse()
    if step == 0 and unequal and unequal[-1][1] is None:
        unequal = _newest(own, unequal)
    is_short = step == 0 and len(ranges) == 1 and len(own) <= WHOLE_LISTED_MAX
    said: list[_Said] = []
    for low, high in unequal:
        if is_short or step >= DEEP or own.count(low, high) <= LISTED_MAX:
            said += _listed(own, low, high)
        else:
            said += _cut(own, low, high)
    compared.answers = _messages(said)
    return compared


def _newest(
    own: FingerprintSet, unequal: list[tuple[bytes, bytes | None]]
) -> list[tuple[bytes, bytes | None]]:
    """The newest ranges that differ, back to the first that is not simply listed: where the other
    has all the news, our lists of them are empty."""
    newest: list[tuple[bytes, bytes | None]] = []
    for low, high in reversed(unequal):
        newest.append((low, high))
        if own.count(low, high) > LISTED_MAX:
            break
    return newest[::-1]


def _compare_ids(own: FingerprintSet, low: bytes, one: Range, compared: Compared) -> None:
    mine = dict(own.rows(low, one.upper))
    theirs = set(one.ids)
    compared.lacking += [their_id for their_id in one.ids if their_id not in mine]
    compared.extra += [key for own_id, key in mine.items() if own_id not in theirs]


def _fingerprint(own: FingerprintSet, low: bytes, high: bytes | None) -> _Said:
    value = own.fingerprint(low, high)
    return _Said(low, Range(upper=high, mode=RangeMode.FINGERPRINT, fingerprint=value))


def _fingerprints(
    own: FingerprintSet, low: bytes, bounds: list[bytes], high: bytes | None
) -> list[_Said]:
    lows: list[bytes] = [low, *bounds]
    highs: list[bytes | None] = [*bounds, high]
    return [_fingerprint(own, one, other) for one, other in zip(lows, highs, strict=True)]


def _cut(own: FingerprintSet, low: bytes, high: bytes | None) -> list[_Said]:
    start, count = own.rank(low), own.count(low, high)
    bounds = [own.boundary(start + count * part // CUT) for part in range(1, CUT)]
    return _fingerprints(own, low, bounds, high)


def _listed(own: FingerprintSet, low: bytes, high: bytes | None) -> list[_Said]:
    rows = list(own.rows(low, high))
    starts = range(0, max(len(rows), 1), LISTED_RUN)
    rank = own.rank(low)
    bounds = [low, *(own.boundary(rank + start) for start in starts[1:])]
    said = []
    for bound, upper, start in zip(bounds, [*bounds[1:], high], starts, strict=True):
        ids = tuple(own_id for own_id, _ in rows[start : start + LISTED_RUN])
        said.append(_Said(bound, Range(upper=upper, mode=RangeMode.IDS, ids=ids)))
    return said


def _messages(said: list[_Said]) -> tuple[tuple[Range, ...], ...]:
    """Ranges as messages that each fit into a frame; what lies between them is skipped."""
    messages: list[list[Range]] = []
    size, reached = RANGES_BYTES_MAX, b""
    for one in said:
        added = _HEAD_BYTES + len(one.range.upper or b"") + len(one.range.fingerprint)
        added += 8 * len(one.range.ids) + _HEAD_BYTES + len(one.low)
        is_full = size + added > RANGES_BYTES_MAX or len(messages[-1]) + 2 > RANGES_MAX
        if is_full:
            messages.append([])
            size, reached = 0, b""
        if one.low != reached:
            messages[-1].append(Range(upper=one.low, mode=RangeMode.SKIP))
        messages[-1].append(one.range)
        size += added
        reached = one.range.upper or b""
    return tuple(tuple(one) for one in messages)
