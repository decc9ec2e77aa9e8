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
- A range that differs is cut in 4; one of at most 8 keys is listed by ids, and from step 12 on one
  of at most 64. The other says which step it is: its word makes nobody list a whole set.
- What the other lacks is told newest first, at most 4,096 keys for a message. Where there are more,
  a fingerprint stands for the rest of the range, which differs, so that a next step asks for them.
"""

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from fabgossip.core.ordered import FingerprintSet
from fabgossip.model.messages import (
    OFFERED_IDS_MAX,
    RANGES_BYTES_MAX,
    RANGES_MAX,
    Range,
    RangeMode,
)

LISTED_MAX: Final = 8
"""Keys of a range that are listed instead of being cut (*start*)."""
NEWEST: Final = 16
"""Keys of the first and newest range (*start*)."""
WHOLE_LISTED_MAX: Final = 64
"""Keys of a whole set, or of a range deep down, that are listed instead (*start*)."""
CUT: Final = 4
GROWTH: Final = 4
DEEP: Final = 12
"""Steps after which a range is not cut to the last: by then one of an honest set of 200,000 keys is
short enough to be listed."""
LISTED_RUN: Final = 2_048
"""Ids of one range: two such fit into a message."""
EXTRA_MAX: Final = OFFERED_IDS_MAX
"""Keys that one message is answered with because the other lacks them: one offer of ids."""
_HEAD_BYTES: Final = 4
_Bounds: TypeAlias = tuple[bytes, bytes | None]
"""Where a range starts (in it) and ends (not in it; None: at the end of the set)."""


@dataclass(slots=True)
class Compared:
    """What came of a message."""

    lacking: list[bytes] = field(default_factory=list)
    """Ids of what the other has and we lack, newest first."""
    extra: list[bytes] = field(default_factory=list)
    """Keys of what we have and the other lacks, newest first, at most `EXTRA_MAX`."""
    answers: tuple[tuple[Range, ...], ...] = ()
    """What to say next, message by message."""
    keys: int = 0
    """Own keys that were looked at one by one, or listed."""


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
    """Hold what the other said of its set against one's own. Cost: O(ranges and ids in it), and
    `EXTRA_MAX` keys at most beside those it lists."""
    compared = Compared()
    unequal: list[_Bounds] = []
    rest: list[_Bounds] = []
    lows = (b"", *(one.upper or b"" for one in ranges[:-1]))
    for low, one in zip(reversed(lows), reversed(ranges), strict=False):
        if one.mode is RangeMode.IDS:
            rest += _compare_ids(own, low, one, compared)
        if one.mode is RangeMode.FINGERPRINT and own.fingerprint(low, one.upper) != one.fingerprint:
            unequal.append((low, one.upper))
    if step == 0 and unequal and unequal[0][1] is None:
        unequal = _newest(own, unequal)
    is_short = step == 0 and len(ranges) == 1 and len(own) <= WHOLE_LISTED_MAX
    listed_max = WHOLE_LISTED_MAX if is_short or step >= DEEP else LISTED_MAX
    said = [_fingerprint(own, low, high) for low, high in rest]
    for low, high in unequal:
        is_listed = own.count(low, high) <= listed_max
        said += _listed(own, low, high) if is_listed else _cut(own, low, high)
    said.sort(key=lambda one: one.low)
    compared.keys += sum(len(one.range.ids) for one in said)
    compared.answers = _messages(said)
    return compared


def _newest(own: FingerprintSet, unequal: list[_Bounds]) -> list[_Bounds]:
    """The newest ranges that differ, back to the first that is not simply listed: where the other
    has all the news, our lists of them are empty."""
    newest: list[_Bounds] = []
    for low, high in unequal:
        newest.append((low, high))
        if own.count(low, high) > LISTED_MAX:
            break
    return newest


def _compare_ids(
    own: FingerprintSet, low: bytes, one: Range, compared: Compared
) -> tuple[_Bounds, ...]:
    """What either lacks of a range that the other listed; where more of it is our own than one
    answer may bring, the part that was not looked at."""
    compared.lacking += [their_id for their_id in reversed(one.ids) if own.find(their_id) is None]
    theirs, reached = set(one.ids), one.upper
    for own_id, key in own.rows_down(low, one.upper):
        if len(compared.extra) == EXTRA_MAX:
            return ((low, reached),)
        compared.keys += 1
        if own_id not in theirs:
            compared.extra.append(key)
        reached = key
    return ()


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
