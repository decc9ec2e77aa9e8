"""How one certificate becomes another: by its parts, so that the lengths around a change fit it."""

from random import Random
from typing import Final, TypeAlias

Part: TypeAlias = tuple[int, bytes]
"""Tag and content of one value."""

CONSTRUCTED: Final = 0x20
OCTET_STRING: Final = 0x04
DEPTH_OFTEN: Final = 0.85


def parts_of(data: bytes) -> list[Part] | None:
    """The values these bytes are made of, one behind the other; None where they are not DER."""
    parts: list[Part] = []
    place = 0
    while place < len(data):
        if place + 2 > len(data):
            return None
        tag, size = data[place], data[place + 1]
        place += 2
        if size > 0x80:
            width = size & 0x7F
            size = int.from_bytes(data[place : place + width], "big")
            place += width
        if place + size > len(data):
            return None
        parts.append((tag, data[place : place + size]))
        place += size
    return parts


def der_of(parts: list[Part]) -> bytes:
    """The bytes of these values."""
    return b"".join(bytes((tag,)) + _size(len(content)) + content for tag, content in parts)


def _size(size: int) -> bytes:
    if size < 0x80:
        return bytes((size,))
    raw = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(raw),)) + raw


def changed(parts: list[Part], rng: Random) -> bytes:
    """The bytes of these values with one change somewhere inside."""
    place = rng.randrange(len(parts))
    tag, content = parts[place]
    inside = parts_of(content) if tag & CONSTRUCTED or tag == OCTET_STRING else None
    if inside and rng.random() < DEPTH_OFTEN:
        parts[place] = (tag, changed(inside, rng))
        return der_of(parts)
    other = rng.randrange(len(parts))
    match rng.randrange(6):
        case 0:
            del parts[place]
        case 1:
            parts.insert(other, parts[place])
        case 2:
            parts[place], parts[other] = parts[other], parts[place]
        case 3:
            parts[place] = (rng.randrange(256), content)
        case 4:
            parts[place] = (tag, content + rng.randbytes(rng.randrange(1, 5)))
        case _:
            spoiled = bytearray(content or b"\x00")
            spoiled[rng.randrange(len(spoiled))] = rng.randrange(256)
            parts[place] = (tag, bytes(spoiled))
    return der_of(parts)
