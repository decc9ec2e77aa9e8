"""The order of the world is total and owes nothing to the order of insertion."""

import pytest

from fabgossip.sim.trace import Happened, Key, Kind, world_event
from fabgossip.sim.world import SAME_INSTANT_EVENTS_MAX, SpinError, World


def order_of(rows: list[tuple[int, int, int]]) -> list[Key]:
    world, seen = World(), list[Key]()
    for time_ns, destination, source in rows:
        world.schedule(time_ns, destination, source, lambda: world_event(Kind.LOCAL))
    world.run(100, lambda key, _: seen.append(key))
    return seen


def test_the_world_comes_first_then_nodes_in_order_then_sources() -> None:
    rows = [(5, 2, 1), (5, 1, 2), (5, 0, 0), (4, 9, 9), (5, 1, 1)]
    expected = [(4, 9, 9, 1), (5, 0, 0, 1), (5, 1, 1, 1), (5, 1, 2, 1), (5, 2, 1, 1)]
    assert order_of(rows) == expected
    assert order_of(rows[::-1]) == expected


def test_one_source_keeps_its_order() -> None:
    assert [key[3] for key in order_of([(5, 2, 1)] * 3)] == [1, 2, 3]


def test_a_place_that_acts_for_ever_at_one_instant_is_stopped() -> None:
    world = World()

    def again() -> Happened:
        world.schedule(world.now_ns, 1, 1, again)
        return world_event(Kind.LOCAL)

    world.schedule(0, 1, 1, again)
    seen: list[Key] = []
    with pytest.raises(SpinError):
        world.run(1, lambda key, _: seen.append(key))
    assert len(seen) == SAME_INSTANT_EVENTS_MAX


def test_nothing_after_the_end_happens() -> None:
    world, seen = World(), list[Key]()
    world.schedule(11, 1, 1, lambda: world_event(Kind.LOCAL))
    world.run(10, lambda key, _: seen.append(key))
    assert (seen, world.now_ns) == ([], 10)
