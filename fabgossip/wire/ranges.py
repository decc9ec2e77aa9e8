"""Ranges of a set to and from bytes.

A range is one byte (its mode in 2 bits, then in 6 how many bytes its upper bound shares with the
bound before), one byte for the length of the rest of the bound, that rest, and what is said of it:
nothing, a fingerprint of 8 bytes, or 2 bytes of count and 8 per id. No rest and nothing shared is
the end of the set. Each bound is above the one before and shares with it all it can, so there is
one form.
"""

from typing import Final

from fabgossip.errors import WireError
from fabgossip.model.messages import (
    BOUND_BYTES_MAX,
    FINGERPRINT_BYTES,
    RANGES_MAX,
    SALTED_ID_BYTES,
    Range,
    RangeMode,
)
from fabgossip.wire.packing import MALFORMED, NONCANONICAL, SCHEMA, TRUNCATED

_MODES: Final = {mode.value: mode for mode in RangeMode}
_SHARED_BITS: Final = 6
_SHARED_MASK: Final = (1 << _SHARED_BITS) - 1
_COUNT_BYTES: Final = 2


def ranges_bytes(ranges: tuple[Range, ...]) -> bytes:
    """The one encoding of ranges whose bounds ascend."""
    parts: list[bytes] = []
    before = b""
    for one in ranges:
        upper = b"" if one.upper is None else one.upper
        shared = 0 if one.upper is None else _shared(before, upper)
        parts += (
            bytes((one.mode.value << _SHARED_BITS | shared, len(upper) - shared)),
            upper[shared:],
        )
        if one.mode is RangeMode.FINGERPRINT:
            parts.append(one.fingerprint)
        elif one.mode is RangeMode.IDS:
            parts += (len(one.ids).to_bytes(_COUNT_BYTES, "big"), *one.ids)
        before = upper
    return b"".join(parts)


def _shared(before: bytes, bound: bytes) -> int:
    count = 0
    for one, other in zip(before, bound, strict=False):
        if one != other:
            break
        count += 1
    return count


def ranges_from(data: bytes) -> tuple[Range, ...]:
    """The ranges of these bytes.

    Raises:
        WireError: TRUNCATED, MALFORMED (unknown mode), SCHEMA (too many, too long a bound, bounds
            not ascending, something behind the end, an id twice) or NONCANONICAL.
    """
    ranges: list[Range] = []
    position, before = 0, b""
    while position < len(data):
        if len(ranges) == RANGES_MAX:
            raise WireError(SCHEMA, f"more than {RANGES_MAX} ranges")
        if ranges and ranges[-1].upper is None:
            raise WireError(SCHEMA, "a range behind the end")
        head, length = _take(data, position, 2)
        mode = _MODES.get(head >> _SHARED_BITS)
        if mode is None:
            raise WireError(MALFORMED, "mode of a range")
        upper, position = _bound(data, position + 2, before, head & _SHARED_MASK, length)
        fingerprint, ids = b"", tuple[bytes, ...]()
        if mode is RangeMode.FINGERPRINT:
            fingerprint = _take(data, position, FINGERPRINT_BYTES)
            position += FINGERPRINT_BYTES
        elif mode is RangeMode.IDS:
            ids, position = _ids(data, position)
        ranges.append(Range(upper=upper, mode=mode, fingerprint=fingerprint, ids=ids))
        before = upper or b""
    return tuple(ranges)


def _bound(
    data: bytes, position: int, before: bytes, shared: int, length: int
) -> tuple[bytes | None, int]:
    rest = _take(data, position, length)
    if not shared and not length:
        return None, position
    upper = before[:shared] + rest
    if shared > len(before) or shared != _shared(before, upper):
        raise WireError(NONCANONICAL, "a bound shares other bytes with the one before")
    if len(upper) > BOUND_BYTES_MAX or upper <= before:
        raise WireError(SCHEMA, "bounds must ascend, with at most 40 bytes each")
    return upper, position + length


def _ids(data: bytes, position: int) -> tuple[tuple[bytes, ...], int]:
    count = int.from_bytes(_take(data, position, _COUNT_BYTES), "big")
    rows = _take(data, position + _COUNT_BYTES, count * SALTED_ID_BYTES)
    return ids_from(rows), position + _COUNT_BYTES + len(rows)


def ids_from(data: bytes) -> tuple[bytes, ...]:
    """Ids that stand one behind the other; raises `WireError` SCHEMA (a rest, an id twice)."""
    if len(data) % SALTED_ID_BYTES:
        raise WireError(SCHEMA, "ids of 8 bytes each")
    starts = range(0, len(data), SALTED_ID_BYTES)
    ids = tuple(data[start : start + SALTED_ID_BYTES] for start in starts)
    if len(set(ids)) != len(ids):
        raise WireError(SCHEMA, "an id stands twice")
    return ids


def _take(data: bytes, position: int, length: int) -> bytes:
    part = data[position : position + length]
    if len(part) != length:
        raise WireError(TRUNCATED, "bytes end inside a range")
    return part
