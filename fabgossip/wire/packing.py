"""Deterministic packing and strict unpacking of msgpack, and the small readers every decoder is
made of.

A value on the wire is an array of integers, text, bytes, booleans, nil and arrays of these: no
maps, floats or extension types, nothing behind the value, every part in its shortest form. Before
any object is made, one pass over the bytes bounds depth and element count, because an array header
of five bytes can claim four thousand million elements and nested claims multiply. Afterwards the
value is packed again and must give the same bytes.
"""

from collections.abc import Sequence
from enum import Enum
from itertools import pairwise
from typing import Final, TypeAlias, TypeVar

import msgpack

from fabgossip.errors import ModelError, WireError

DEPTH_MAX: Final = 16
ELEMENTS_MAX: Final = 2_000_000
"""Elements in one value, nested ones included (*start*): a directory of 50,000 peers needs about
900,000.
"""
INTEGER_MAX: Final = 2**53 - 1

FRAME_TOO_LARGE: Final = "FRAME_TOO_LARGE"
TRUNCATED: Final = "TRUNCATED"
MALFORMED: Final = "MALFORMED"
UNSUPPORTED: Final = "UNSUPPORTED"
NONCANONICAL: Final = "NONCANONICAL"
SCHEMA: Final = "SCHEMA"
ID_SYNTAX: Final = "ID_SYNTAX"
CRITICAL_UNKNOWN: Final = "CRITICAL_UNKNOWN"
SIG_TOO_MANY: Final = "SIG_TOO_MANY"
TYPE_MISMATCH: Final = "TYPE_MISMATCH"

Value: TypeAlias = "int | str | bytes | bool | Sequence[Value] | None"
E_ = TypeVar("E_", bound=Enum)

_FIXED_TAIL: Final = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_SIZED_BYTES: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_SIZED_ARRAY: Final = {0xDC: 2, 0xDD: 4}
_PLAIN: Final = frozenset({0xC0, 0xC2, 0xC3})


def pack(value: Value) -> bytes:
    """The one encoding of `value`: shortest forms, text as str, bytes as bin."""
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def unpack(data: bytes, *, elements_max: int = ELEMENTS_MAX) -> Value:
    """The value these bytes are the one encoding of. Cost: one pass in Python per element, none per
    byte of text.

    Raises:
        WireError: TRUNCATED, MALFORMED (map, float, extension, too deep, too many elements,
            trailing bytes, bad UTF-8) or NONCANONICAL.
    """
    _scan(data, elements_max)
    try:
        value: Value = msgpack.unpackb(data, raw=False, use_list=True, strict_map_key=True)
    except ValueError as error:
        raise WireError(MALFORMED, "text that is not UTF-8") from error
    if pack(value) != data:
        raise WireError(NONCANONICAL, "a part is not in its shortest form")
    return value


def _scan(data: bytes, elements_max: int) -> None:
    end = len(data)
    position = elements = 0
    pending = [1]
    while pending:
        if not pending[-1]:
            pending.pop()
            continue
        pending[-1] -= 1
        elements += 1
        if position >= end:
            raise WireError(TRUNCATED, "bytes end inside a value")
        position, count = _step(data, position)
        if count is None:
            continue
        if elements + count > elements_max:
            raise WireError(MALFORMED, f"more than {elements_max} elements")
        if count > end - position:
            raise WireError(TRUNCATED, f"an array claims {count} elements")
        if len(pending) > DEPTH_MAX:
            raise WireError(MALFORMED, f"nested deeper than {DEPTH_MAX}")
        pending.append(count)
    if position > end:
        raise WireError(TRUNCATED, "bytes end inside a value")
    if position < end:
        raise WireError(MALFORMED, f"{end - position} bytes behind the value")


def _step(data: bytes, position: int) -> tuple[int, int | None]:
    """Where the next value starts, and how many elements follow if this one is an array."""
    first = data[position]
    position += 1
    if first < 0x80 or first >= 0xE0 or first in _PLAIN:
        return position, None
    if 0x90 <= first <= 0x9F:
        return position, first & 0x0F
    if 0xA0 <= first <= 0xBF:
        return position + (first & 0x1F), None
    if first in _FIXED_TAIL:
        return position + _FIXED_TAIL[first], None
    if first in _SIZED_BYTES:
        width = _SIZED_BYTES[first]
        return position + width + int.from_bytes(data[position : position + width], "big"), None
    if first in _SIZED_ARRAY:
        width = _SIZED_ARRAY[first]
        return position + width, int.from_bytes(data[position : position + width], "big")
    raise WireError(
        MALFORMED, f"byte {first:#04x} starts a map, float or extension, which are not used"
    )


def as_array(
    value: Value, word: str, *, length: int | None = None, length_max: int | None = None
) -> Sequence[Value]:
    """`value` as an array of exactly `length`, or at most `length_max`, elements; `WireError`
    SCHEMA otherwise.
    """
    if not isinstance(value, list):
        raise WireError(SCHEMA, f"{word}: expected an array")
    if length is not None and len(value) != length:
        raise WireError(SCHEMA, f"{word}: expected {length} elements, got {len(value)}")
    if length_max is not None and len(value) > length_max:
        raise WireError(SCHEMA, f"{word}: at most {length_max} elements, got {len(value)}")
    return value


def as_int(value: Value, word: str, *, low: int = 0, high: int = INTEGER_MAX) -> int:
    """`value` as an integer of low..high, never a boolean; `WireError` SCHEMA otherwise."""
    if type(value) is not int or not low <= value <= high:
        raise WireError(SCHEMA, f"{word}: expected an integer from {low} to {high}")
    return value


def as_bytes(
    value: Value, word: str, *, length: int | None = None, length_max: int | None = None
) -> bytes:
    """`value` as bytes of exactly `length`, or at most `length_max`; else `WireError` SCHEMA."""
    if type(value) is not bytes:
        raise WireError(SCHEMA, f"{word}: expected bytes")
    if length is not None and len(value) != length:
        raise WireError(SCHEMA, f"{word}: expected {length} bytes, got {len(value)}")
    if length_max is not None and len(value) > length_max:
        raise WireError(SCHEMA, f"{word}: at most {length_max} bytes, got {len(value)}")
    return value


def as_text(value: Value, word: str, *, length_max: int) -> str:
    """`value` as ASCII text of at most `length_max` characters; `WireError` SCHEMA otherwise."""
    if type(value) is not str or len(value) > length_max or not value.isascii():
        raise WireError(SCHEMA, f"{word}: expected at most {length_max} ASCII characters")
    return value


def as_bool(value: Value, word: str) -> bool:
    """`value` as a boolean; `WireError` SCHEMA otherwise."""
    if type(value) is not bool:
        raise WireError(SCHEMA, f"{word}: expected true or false")
    return value


def as_enum(value: Value, enum: type[E_], word: str) -> E_:
    """The member of `enum` with this number or text; `WireError` SCHEMA otherwise."""
    if type(value) not in (int, str):
        raise WireError(SCHEMA, f"{word}: expected a number or name of {enum.__name__}")
    try:
        return enum(value)
    except ValueError as error:
        raise WireError(SCHEMA, f"{word}: unknown {enum.__name__}") from error


def expect_ascending(values: Sequence[bytes] | Sequence[str], word: str) -> None:
    """`WireError` SCHEMA unless strictly ascending: one order, nothing twice."""
    for first, second in pairwise(values):
        if first >= second:  # type: ignore[operator]  # both elements come from one homogeneous sequence
            raise WireError(SCHEMA, f"{word}: must be ascending and unique")


def id_error(error: ModelError) -> WireError:
    """A word that is not of its grammar, as a refusal of the bytes that carried it."""
    return WireError(ID_SYNTAX, str(error))
