"""Shapes of partitions: who is cut off from whom, and when each piece mends.

Decides: the sides of every cut of a shape, by the chance of its nemesis.
Keeps: each cut is a row of its own between two sets of nodes, so the plan stays flat.
Must not know: how a cut is carried out.

- *partial*: the targets fall in two halves that do not hear each other; all others hear both.
- *bridge*: the same, and one of the targets hears both.
- *ring_majorities*: the targets stand in a ring; each hears the nearest, more than half of them
  all, and no two of them the same ones.
- *islands*: the targets fall in so many groups that do not hear each other.
- *heal_one_way*: the targets are cut off both ways; what they send passes again a while before what
  is sent to them.
- *swizzle_clog*: the targets are clogged one after the other, and freed in another order.
"""

from dataclasses import dataclass
from typing import Final

from fabgossip.sim.streams import Stream

SHAPES: Final[dict[str, tuple[str, frozenset[str]]]] = {
    "partial": ("two halves of the targets are cut off; all others hear both", frozenset()),
    "bridge": ("two halves are cut off; one of the targets hears both", frozenset()),
    "ring_majorities": ("each target hears another majority of them", frozenset()),
    "islands": ("the targets fall in groups that are cut off", frozenset({"count"})),
    "heal_one_way": ("the targets are cut off; what they send passes first", frozenset({"lag"})),
    "swizzle_clog": ("the targets are clogged and freed in turn, in any order", frozenset()),
}
"""Each shape: what it does, and its parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One cut of a shape."""

    on_ns: int
    off_ns: int
    targets: tuple[int, ...]
    others: frozenset[int]
    kind: str = "cut"
    direction: str = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a shape is made of."""

    kind: str
    on_ns: int
    off_ns: int
    targets: tuple[int, ...]
    everybody: frozenset[int]
    count: int
    lag_ns: int


def pieces_of(shape: Shape, chance: Stream) -> list[Piece]:
    """The cuts of a shape; none where it has too few targets."""
    ring = _shuffled(shape.targets, chance)
    match shape.kind:
        case "partial":
            return _apart(shape, [ring[::2], ring[1::2]])
        case "bridge":
            return _apart(shape, [ring[1::2], ring[2::2]])
        case "islands":
            return _apart(shape, [ring[number :: shape.count] for number in range(shape.count)])
        case "ring_majorities":
            return _ring(shape, ring)
        case "heal_one_way":
            return _one_way_first(shape)
        case _:
            return _swizzled(shape, ring, chance)


def _shuffled(of: tuple[int, ...], chance: Stream) -> list[int]:
    left = list(of)
    return [left.pop(chance.below(len(left))) for _ in of]


def _apart(shape: Shape, groups: list[list[int]]) -> list[Piece]:
    """Each group against all later ones: no two cuts say the same."""
    found = [tuple(sorted(one)) for one in groups if one]
    return [
        _piece(shape, one, frozenset(other for later in found[number + 1 :] for other in later))
        for number, one in enumerate(found[:-1])
    ]


def _piece(shape: Shape, targets: tuple[int, ...], others: frozenset[int]) -> Piece:
    return Piece(on_ns=shape.on_ns, off_ns=shape.off_ns, targets=targets, others=others)


def _ring(shape: Shape, ring: list[int]) -> list[Piece]:
    size = len(ring)
    reach = -(-(size // 2) // 2)
    pieces = []
    for place, one in enumerate(ring):
        far = {ring[(place + step) % size] for step in range(reach + 1, size - reach)}
        if far:
            pieces.append(_piece(shape, (one,), frozenset(far)))
    return pieces


def _one_way_first(shape: Shape) -> list[Piece]:
    others = shape.everybody - set(shape.targets)
    first_ns = max(shape.on_ns, shape.off_ns - shape.lag_ns)
    return [
        Piece(
            on_ns=shape.on_ns,
            off_ns=off_ns,
            targets=shape.targets,
            others=others,
            direction=direction,
        )
        for direction, off_ns in (("out", first_ns), ("in", shape.off_ns))
    ]


def _swizzled(shape: Shape, ring: list[int], chance: Stream) -> list[Piece]:
    """All are clogged for the middle third; before and after, by turns."""
    third = (shape.off_ns - shape.on_ns) // 3
    freed = {one: place for place, one in enumerate(_shuffled(shape.targets, chance))}
    turns = len(ring)
    return [
        Piece(
            on_ns=shape.on_ns + third * place // turns,
            off_ns=shape.off_ns - third * freed[one] // turns,
            targets=(one,),
            others=shape.everybody - {one},
            kind="clog",
        )
        for place, one in enumerate(ring)
    ]
