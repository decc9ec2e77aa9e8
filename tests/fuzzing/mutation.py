"""How one input becomes another: by the value it packs, or blindly by its bytes.

Formats here have one encoding each, so nearly every blind change ends at the scan in front of the
decoder. A change of the value and not of its bytes goes on to the rules behind it; bytes that pack
a value themselves (an envelope inside an announcement, a payload inside that envelope) are changed
from inside as well. Certificates are changed by their parts.

- Most changes keep the type and the length of what they change: a record with an element more is
  refused before anything in it is looked at.
- Lists of like things are put in order again after one was added: else only the order is refused.
- Some values are packed in longer forms than need be: those are what a strict reader must refuse.
"""

from collections.abc import Callable
from random import Random
from typing import Final, TypeAlias

from fabgossip.errors import WireError
from fabgossip.wire.packing import INTEGER_MAX, Value, pack, unpack
from tests.fuzzing import der

Tree: TypeAlias = "int | str | bytes | bool | list[Tree] | None"
"""A value that can be changed in place."""
Blindly: TypeAlias = Callable[[bytes], bytes]
"""Changes some of the bytes, without knowing what they are."""

BLIND_ONE_IN: Final = 8
"""Share of the inputs changed blindly: encodings must be attacked too (*start*)."""
LONG_ONE_IN: Final = 16
"""Share of the inputs packed in longer forms (*start*)."""
CHANGES: Final = (1, 1, 1, 2, 4)
ELEMENTS_MAX: Final = 20_000
"""Larger values are changed blindly: they cost more than they find."""
INTERESTING: Final[tuple[int | str | bytes | bool | None, ...]] = (
    *(None, True, False, -1, 0, 1, 2, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32),
    *(INTEGER_MAX, INTEGER_MAX + 1, 2**63, 2**64 - 1, -(2**63), 253_402_300_799),
    *("", "a", "/", "..", "a" * 63, "a" * 64, "cluster:prod", "org:acme", "\x00", "\x7f", "ä"),
    *(b"", b"\x00", bytes(16), bytes(32), b"\xff" * 32, bytes(64), b"\x90", b"\xc0"),
)
LETTERS: Final = "abz019.-_:/ A\x00\x7fä"


def mutated(data: bytes, rng: Random, blindly: Blindly) -> bytes:
    """Another input made from `data`."""
    if not rng.randrange(BLIND_ONE_IN):
        return blindly(data)
    tree = _tree_of(data)
    if tree is None:
        parts = der.parts_of(data)
        return der.changed(parts, rng) if parts else blindly(data)
    for _ in range(rng.choice(CHANGES)):
        _change_inside(tree, rng, blindly)
    return pack(tree) if rng.randrange(LONG_ONE_IN) else _packed_long(tree, rng)


def _tree_of(data: bytes) -> "list[Tree] | None":
    try:
        value: Value = unpack(data, elements_max=ELEMENTS_MAX)
    except WireError:
        return None
    return value if isinstance(value, list) else None


def _change_inside(parts: list[Tree], rng: Random, blindly: Blindly) -> None:
    """One change somewhere in the list, the more likely in a part the more there is in it."""
    if not parts:
        parts.append(rng.choice(INTERESTING))
        return
    (place,) = rng.choices(range(len(parts)), [_weight(part) for part in parts])
    part = parts[place]
    inside = part if isinstance(part, list) else None
    if isinstance(part, bytes):
        inside = _tree_of(part)
    if inside and rng.random() < 0.9:
        _change_inside(inside, rng, blindly)
        parts[place] = pack(inside) if isinstance(part, bytes) else inside
    else:
        _change(parts, place, rng, blindly)


def _weight(part: Tree) -> int:
    match part:
        case list():
            return 1 + sum(map(_weight, part))
        case bytes():
            return 1 + len(part).bit_length()
        case _:
            return 1


def _change(parts: list[Tree], place: int, rng: Random, blindly: Blindly) -> None:
    other = rng.randrange(len(parts))
    match rng.randrange(16):
        case 0:
            del parts[place]
        case 1:
            parts.insert(other, parts[place])
        case 2:
            parts[place], parts[other] = parts[other], parts[place]
        case 3:
            parts[place] = parts[other]
        case 4:
            parts[place] = [parts[place]]
        case 5 | 6:
            parts[place] = rng.choice(INTERESTING)
        case 7 | 8 | 9:
            parts.append(_near(parts[place], rng, blindly))
            _put_in_order(parts)
        case _:
            parts[place] = _near(parts[place], rng, blindly)


def _put_in_order(parts: list[Tree]) -> None:
    texts = [one for one in parts if isinstance(one, str)]
    many = [one for one in parts if isinstance(one, bytes)]
    numbers = [one for one in parts if type(one) is int]
    for ordered in (sorted(set(texts)), sorted(set(many)), sorted(set(numbers))):
        if len(ordered) == len(parts):
            parts[:] = ordered


def _near(part: Tree, rng: Random, blindly: Blindly) -> Tree:
    """Something near `part`, most often of the same type and length."""
    match part:
        case bool() | None:
            return not part
        case int():
            near = part + rng.choice((-256, -2, -1, 1, 2, 256))
            return near if -(2**63) <= near < 2**64 else 0
        case bytes():
            if not part or not rng.randrange(4):
                return blindly(part)
            place = rng.randrange(len(part))
            return part[:place] + bytes((rng.randrange(256),)) + part[place + 1 :]
        case str():
            place = rng.randrange(len(part) + 1)
            return part[:place] + rng.choice(LETTERS) + part[place + rng.randrange(2) :]
        case list():
            return rng.sample(part, len(part))


def _packed_long(part: Tree, rng: Random) -> bytes:
    """The same value, here and there in a form longer than the shortest."""
    is_long = not rng.randrange(4)
    match part:
        case list():
            short = pack([None] * len(part)).rstrip(pack(None))
            head = b"\xdd" + len(part).to_bytes(4, "big") if is_long else short
            return head + b"".join(_packed_long(one, rng) for one in part)
        case bytes() if is_long:
            return b"\xc6" + len(part).to_bytes(4, "big") + part
        case str() if is_long:
            text = part.encode("utf-8")
            return b"\xdb" + len(text).to_bytes(4, "big") + text
        case int() if is_long and type(part) is int and 0 <= part < 2**64:
            return b"\xcf" + part.to_bytes(8, "big")
        case _:
            return pack(part)
