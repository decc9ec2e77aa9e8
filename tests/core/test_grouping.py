"""What is written together: as much as may be, and nothing whose order can be seen."""

from collections import deque
from random import Random

from fabgossip.core.grouping import GROUP_BYTES_MAX, GROUP_MAX, SWITCHES_MAX, Extent, next_group
from fabgossip.model.ids import ContentHash

HASHES = [ContentHash(bytes([number]) * 32) for number in range(4)]


def groups_of(queue: list[Extent]) -> list[list[Extent]]:
    left, groups = deque(queue), list[list[Extent]]()
    while left:
        groups.append(next_group(left, lambda one: one))
    return groups


def random_extent(rng: Random) -> Extent:
    kind = rng.randrange(4)
    if kind == 0:
        return Extent(removes=rng.choice(HASHES))
    if kind == 1:
        shows = rng.choice([None, *HASHES])
        return Extent(namespace=f"n{rng.randrange(8)}", shows=shows, size=rng.randrange(200_000))
    return Extent(size=rng.randrange(60_000))


def test_all_that_may_be_written_together_is_and_no_more() -> None:
    """Every limit holds in every group, and what begins the next one would
    have broken one."""
    for seed in range(100):
        rng = Random(seed)
        queue = [random_extent(rng) for _ in range(400)]
        groups = groups_of(queue)
        assert [one for group in groups for one in group] == queue
        for group, after in zip(groups, [*groups[1:], []], strict=True):
            assert is_allowed(group)
            if after:
                assert not is_allowed([*group, after[0]])


def is_allowed(group: list[Extent]) -> bool:
    names = [one.namespace for one in group if one.namespace is not None]
    shown_before = [
        {one.shows for one in group[:place] if one.shows is not None} for place in range(len(group))
    ]
    size = sum(one.size for one in group)
    return (
        len(group) <= GROUP_MAX
        and (size <= GROUP_BYTES_MAX or len(group) == 1)
        and len(names) == len(set(names)) <= SWITCHES_MAX
        and all(one.removes not in shown for one, shown in zip(group, shown_before, strict=True))
    )


def test_the_limits_are_reached_exactly() -> None:
    assert [len(group) for group in groups_of([Extent()] * (GROUP_MAX + 1))] == [GROUP_MAX, 1]
    half = Extent(size=GROUP_BYTES_MAX // 2)
    assert [len(group) for group in groups_of([half, half, Extent(size=1)])] == [2, 1]
    switches = [Extent(namespace=f"n{number}") for number in range(SWITCHES_MAX + 1)]
    assert [len(group) for group in groups_of(switches)] == [SWITCHES_MAX, 1]


def test_a_content_larger_than_a_group_is_written_alone() -> None:
    huge = Extent(size=GROUP_BYTES_MAX + 1)
    assert [len(group) for group in groups_of([Extent(), huge, Extent()])] == [1, 1, 1]
