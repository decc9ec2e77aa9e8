"""The shape of a partition decides who hears whom, and when."""

import pytest

from fabgossip.sim.partitions import Piece, Shape, pieces_of
from fabgossip.sim.streams import Stream

NODES = tuple(range(1, 10))
S = 10**9


def pieces(kind: str, targets: tuple[int, ...] = NODES, seed: int = 1) -> list[Piece]:
    shape = Shape(
        kind=kind, on_ns=10 * S, off_ns=40 * S, targets=targets, everybody=frozenset(range(1, 13)),
        count=4, lag_ns=5 * S,
    )  # fmt: skip
    return pieces_of(shape, Stream(seed))


def heard(found: list[Piece], one: int) -> set[int]:
    """Whom a node hears while all pieces are on."""
    deaf: set[int] = set()
    for piece in found:
        if one in piece.targets:
            deaf |= piece.others
        if one in piece.others:
            deaf |= set(piece.targets)
    return set(range(1, 13)) - deaf - {one}


@pytest.mark.parametrize("seed", range(5))
def test_two_halves_do_not_hear_each_other_and_a_witness_hears_both(seed: int) -> None:
    found = pieces("partial", seed=seed)
    circles = [heard(found, one) for one in range(1, 13)]
    assert all(circles[witness - 1] == set(range(1, 13)) - {witness} for witness in (10, 11, 12))
    assert sorted(len(circle) for circle in circles[:9]) == [6] * 4 + [7] * 5
    assert all(other in circles[one - 1] for one in NODES for other in (10, 11, 12))
    assert all(one in circles[other - 1] for one in NODES for other in circles[one - 1])


@pytest.mark.parametrize("seed", range(5))
def test_one_bridge_hears_both_halves(seed: int) -> None:
    everybody = tuple(range(1, 13))
    found = pieces("bridge", everybody, seed)
    circles = {one: heard(found, one) for one in everybody}
    bridges = [one for one, circle in circles.items() if len(circle) == 11]
    assert len(bridges) == 1
    assert sorted(len(circle) for circle in circles.values()) == [5] * 5 + [6] * 6 + [11]


@pytest.mark.parametrize("size", [4, 5, 6, 7, 8, 9])
def test_in_a_ring_everybody_hears_another_majority(size: int) -> None:
    targets = tuple(range(1, size + 1))
    found = pieces("ring_majorities", targets)
    circles = [frozenset(heard(found, one) & set(targets) | {one}) for one in targets]
    assert all(len(circle) > size // 2 for circle in circles)
    assert all(one in circles[other - 1] for one in targets for other in circles[one - 1])
    if size > 4:
        assert len(set(circles)) == size
        assert all(len(circle) < size for circle in circles)


def test_islands_hear_themselves_alone() -> None:
    found = pieces("islands", tuple(range(1, 13)))
    islands = {frozenset(heard(found, one) | {one}) for one in range(1, 13)}
    assert sorted(map(len, islands)) == [3, 3, 3, 3]
    assert len(found) == 3, "no two cuts say the same"


def test_what_is_sent_passes_before_what_is_heard() -> None:
    rows = [(one.direction, one.on_ns // S, one.off_ns // S) for one in pieces("heal_one_way")]
    assert rows == [("out", 10, 35), ("in", 10, 40)]


def test_all_are_clogged_together_and_freed_in_another_order() -> None:
    found = pieces("swizzle_clog")
    assert {one.kind for one in found} == {"clog"}
    assert sorted(one.targets[0] for one in found) == list(NODES)
    assert max(one.on_ns for one in found) < 20 * S
    assert min(one.off_ns for one in found) > 30 * S
    begun = [one.targets for one in sorted(found, key=lambda one: one.on_ns)]
    freed = [one.targets for one in sorted(found, key=lambda one: one.off_ns)]
    assert begun != freed


@pytest.mark.parametrize("kind", ["partial", "bridge", "islands", "ring_majorities"])
def test_who_is_alone_cannot_fall_apart(kind: str) -> None:
    assert pieces(kind, (3,)) == []
