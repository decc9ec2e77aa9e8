"""What is written together: as much as may be, and nothing whose order can be seen."""

from collections import deque
from random import Random

from fabgossip.core.effects import Materialize, Persist
from fabgossip.core.events import Token
from fabgossip.core.grouping import (
    GROUP_BYTES_MAX,
    GROUP_MAX,
    SWITCHES_MAX,
    Extent,
    extent_of,
    extent_of_persist,
    next_group,
)
from fabgossip.model.ids import ContentHash
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import (
    Change,
    DropHeldBack,
    PutEvidence,
    PutHead,
    PutHeldBack,
    PutRevoked,
    PutTimeFloor,
    PutTrust,
)
from tests.core.artifacts import routes, tombstone
from tests.core.test_holdbacks import held_back

HASHES = [ContentHash(bytes([number]) * 32) for number in range(4)]


def groups_of(queue: list[Extent]) -> list[list[Extent]]:
    left, groups = deque(queue), list[list[Extent]]()
    while left:
        groups.append(next_group(left, lambda one: one))
    return groups


def random_extent(rng: Random) -> Extent:
    kind = rng.randrange(6)
    if kind == 4:
        return Extent(is_about_all=rng.random() < 0.1)
    if kind == 5:
        return Extent(about=frozenset({f"n{rng.randrange(100)}"}))
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
    named_before = [
        {one.namespace for one in group[:place] if one.namespace is not None}
        for place in range(len(group))
    ]
    size = sum(one.size for one in group)
    return (
        len(group) <= GROUP_MAX
        and (size <= GROUP_BYTES_MAX or len(group) == 1)
        and len(names) == len(set(names)) <= SWITCHES_MAX
        and all(one.removes not in shown for one, shown in zip(group, shown_before, strict=True))
        and all(
            not (named and one.is_about_all) and not named & one.about
            for one, named in zip(group, named_before, strict=True)
        )
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


def test_what_may_withdraw_what_is_being_shown_waits_for_that() -> None:
    """A restriction that is durable first would see what it restricts appear after it."""
    shown, other = routes(7), routes(7, name="r2")
    switch = extent_of(
        Materialize(
            token=Token(1),
            namespace=shown.manifest.namespace.text,
            order=shown.manifest.order,
            manifest=shown.manifest,
        )
    )

    def is_together(*changes: Change) -> bool:
        persist = extent_of_persist(Persist(token=Token(2), changes=changes))
        return len(next_group(deque([switch, persist]), lambda one: one)) == 2

    assert is_together(PutHead(verified=other.verified))
    assert is_together(PutTimeFloor(unix=UnixTime(1)))
    assert not is_together(PutHead(verified=tombstone(8).verified))
    assert not is_together(PutHead(verified=other.verified), PutEvidence(verified=shown.verified))
    here = shown.manifest.namespace.text
    assert is_together(DropHeldBack(namespace="elsewhere"))
    assert not is_together(DropHeldBack(namespace=here))
    assert not is_together(PutHeldBack(held_back=held_back(here)))
    assert not is_together(PutRevoked(epoch=2, entries=()))
    assert not is_together(PutTrust(version=2, envelope=b"", content=b""))
