"""How one input becomes another: by the value it packs, or blindly by its bytes.

Formats here have one encoding each, so nearly every blind change ends at the scan in front of the
decoder. A change of the value and not of its bytes goes on to the rules behind it; bytes that pack
a value themselves (an envelope inside an announcement, a payload inside that envelope) are changed
from inside as well. Certificates are changed by their parts.
"""

from collections.abc import Callable
from random import Random
from typing import Final, TypeAlias

from fabgossip.errors import WireError
from fabgossip.wire.packing import DEPTH_MAX, INTEGER_MAX, Value, pack, unpack
from tests.fuzzing import der

Tree: TypeAlias = "int | str | bytes | bool | list[Tree] | None"
"""A value that can be changed in place."""
Blindly: TypeAlias = Callable[[bytes], bytes]
"""Changes some of the bytes, without knowing what they are."""

BLIND_ONE_IN: Final = 4
"""Share of the inputs changed blindly: encodings must be attacked too."""
CHANGES_MAX: Final = 4
ELEMENTS_MAX: Final = 20_000
"""Larger values are changed blindly: they cost more than they find."""
INTERESTING: Final[tuple[int | str | bytes | bool | None, ...]] = (
    *(None, True, False, -1, 0, 1, 2, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32),
    *(INTEGER_MAX, INTEGER_MAX + 1, 2**63, 2**64 - 1, -(2**63), 253_402_300_799),
    *("", "a", "/", "..", "a" * 63, "a" * 64, "cluster:prod", "org:acme", "\x00", "\x7f", "ä"),
    *(b"", b"\x00", bytes(16), bytes(32), b"\xff" * 32, bytes(64), b"\x90", b"\xc0"),
)


def mutated(data: bytes, rng: Random, blindly: Blindly) -> bytes:
    """Another input made from `data`."""
    if not rng.randrange(BLIND_ONE_IN):
        return blindly(data)
    tree = _tree_of(data)
    if tree is None:
        parts = der.parts_of(data)
        return der.changed(parts, rng) if parts else blindly(data)
    for _ in range(rng.randint(1, CHANGES_MAX)):
        tree = _changed(tree, rng, blindly)
    return pack(tree)


def _tree_of(data: bytes) -> list["Tree"] | None:
    try:
        value: Value = unpack(data, elements_max=ELEMENTS_MAX)
    except WireError:
        return None
    return value if isinstance(value, list) else None


def _changed(tree: list[Tree], rng: Random, blindly: Blindly) -> list[Tree]:
    """The same list with one change somewhere inside; it stays a list."""
    inside, depth = tree, 0
    while inside:
        place = rng.randrange(len(inside))
        part = inside[place]
        if isinstance(part, list) and rng.random() < 0.8:
            inside, depth = part, depth + 1
            continue
        if isinstance(part, bytes):
            within = _tree_of(part)
            if within and rng.random() < 0.8:
                inside[place] = pack(_changed(within, rng, blindly))
                return tree
        _change(inside, place, rng, blindly, may_nest=depth < DEPTH_MAX - 2)
        return tree
    inside.append(rng.choice(INTERESTING))
    return tree


def _change(
    parts: list[Tree], place: int, rng: Random, blindly: Blindly, *, may_nest: bool
) -> None:
    match rng.randrange(8):
        case 0:
            del parts[place]
        case 1:
            parts.insert(rng.randrange(len(parts) + 1), parts[place])
        case 2:
            other = rng.randrange(len(parts))
            parts[place], parts[other] = parts[other], parts[place]
        case 3:
            parts[place] = parts[rng.randrange(len(parts))]
        case 4 if may_nest:
            parts[place] = [parts[place]]
        case 5:
            parts[place] = rng.choice(INTERESTING)
        case _:
            parts[place] = _tweaked(parts[place], rng, blindly)


def _tweaked(part: Tree, rng: Random, blindly: Blindly) -> Tree:
    """Something near `part`, of the same type where it can be."""
    match part:
        case bool() | None:
            return not part
        case int():
            near = part + rng.choice((-256, -2, -1, 1, 2, 256))
            return near if -(2**63) <= near < 2**64 else 0
        case bytes():
            return blindly(part)
        case str():
            return blindly(part.encode()).decode("utf-8", "replace")
        case list():
            rng.shuffle(part)
            return part
