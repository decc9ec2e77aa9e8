"""The order of the world is total and owes nothing to the order of insertion."""

import pytest

from fabgossip.sim.trace import Happened, Key, Kind, world_event
from fabgossip.sim.world import SAME_INSTANT_EVENTS_MAX, OutOfTimeError, SpinError, World


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


def test_a_busy_place_takes_what_waits_in_the_order_it_came() -> None:
    world, seen = World(), list[Key]()

    def work() -> Happened:
        world.occupy(1, 10)
        return world_event(Kind.LOCAL)

    for time_ns, source in ((3, 9), (2, 8), (2, 7), (1, 6), (25, 5)):
        world.schedule(time_ns, 1, source, work)
    world.schedule(12, 2, 2, lambda: world_event(Kind.LOCAL))
    world.run(100, lambda key, _: seen.append(key))
    assert [(key[0], key[1], key[2]) for key in seen] == [
        (1, 1, 6), (11, 1, 7), (12, 2, 2), (21, 1, 8), (31, 1, 9), (41, 1, 5),
    ]  # fmt: skip


def test_a_paused_place_goes_on_where_it_stood() -> None:
    world, seen = World(), list[Key]()
    for time_ns in (1, 5, 7, 60):
        world.schedule(time_ns, 1, 1, lambda: world_event(Kind.LOCAL))
    world.pause(1, 50)
    world.run(100, lambda key, _: seen.append(key))
    assert [key[0] for key in seen] == [50, 50, 50, 60]
    assert not world.is_paused(1)


def test_everybody_in_a_long_line_has_a_turn() -> None:
    world, turns = World(), [0]

    def work() -> Happened:
        turns[0] += 1
        world.occupy(1, 10)
        return world_event(Kind.LOCAL)

    for source in range(2_000):
        world.schedule(1, 1, source, work)
    world.run(1 + 10 * 1_999, lambda *_: None)
    assert turns == [2_000]


def test_who_comes_to_a_place_that_stands_still_is_counted() -> None:
    world = World()
    for time_ns, place in ((1, 1), (3, 1), (3, 2), (9, 1)):
        world.schedule(time_ns, place, place, lambda: world_event(Kind.LOCAL))

    def pause() -> Happened:
        world.pause(1, 5)
        return world_event(Kind.FAULT_ON)

    world.schedule(2, 0, 0, pause)
    world.run(100, lambda _key, _happened: None)
    assert (world.halts[1], world.halts[2]) == (1, 0)


def test_more_events_than_a_run_may_have_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fabgossip.sim.world.EVENTS_MAX", 3)
    world, seen = World(), list[Key]()
    for time_ns in range(5):
        world.schedule(time_ns, 1, 1, lambda: world_event(Kind.LOCAL))
    with pytest.raises(OutOfTimeError, match="more than 3 events"):
        world.run(9, lambda key, _: seen.append(key))
    assert len(seen) == 4
