"""Which contents stay: nothing pinned leaves, whatever happens, and who was needed stays longer."""

from collections import OrderedDict, deque
from functools import partial
from random import Random

from fabgossip.core.retention import LOOKS_MAX, Retention
from fabgossip.core.space import SpaceState
from fabgossip.model.ids import ContentHash
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import Pin


def content(number: int) -> ContentHash:
    return ContentHash(number.to_bytes(32, "big"))


def pin(pin_id: int, content_hash: ContentHash, until: int = 100) -> Pin:
    return Pin(
        pin_id=pin_id,
        content_hash=content_hash,
        namespace="n",
        owner="uid:0",
        reason="a test",
        until=UnixTime(until),
    )


def too_much(retention: Retention, count: int) -> Retention:
    retention.on_space(SpaceState(excess_bytes=count))
    return retention


def evicted(retention: Retention, count: int) -> list[int]:
    """Contents of one byte that leave for so many; the others may leave too."""
    leaving = too_much(retention, count).leaving(lambda _: 1, lambda _: True)
    for one in leaving:
        retention.on_gone(one)
    return [int.from_bytes(one, "big") for one in leaving]


def of(count: int) -> Retention:
    retention = Retention()
    for number in range(count):
        retention.on_held(content(number))
    return retention


def test_the_oldest_leave_first_and_no_more_than_is_too_much() -> None:
    assert evicted(of(9), 3) == [0, 1, 2]


def test_who_was_needed_is_passed_over_once() -> None:
    retention = of(4)
    retention.on_touched(content(0))
    assert evicted(retention, 2) == [1, 2]
    # The hand goes on where it stood: the new one behind it comes before the one it passed.
    retention.on_held(content(9))
    assert evicted(retention, 3) == [3, 9, 0]


def test_what_is_pinned_is_counted_by_pins_and_not_by_contents() -> None:
    retention = of(2)
    retention.on_pin(pin(1, content(0)))
    retention.on_pin(pin(2, content(0), until=50))
    assert retention.next_pin_id() == 3
    assert [one.pin_id for one in retention.ended(UnixTime(60))] == [2]
    assert retention.on_unpin(2) is not None
    assert retention.is_pinned(content(0))
    assert retention.on_unpin(1) is not None
    assert retention.on_unpin(1) is None
    assert not retention.is_pinned(content(0))
    retention.check()


def test_a_turn_that_frees_nothing_is_told_and_costs_no_more_than_a_turn() -> None:
    looks = 0

    def needed(_: ContentHash) -> bool:
        nonlocal looks
        looks += 1
        return False

    retention = too_much(of(50), 10)
    assert not retention.snapshot().is_stuck
    assert retention.leaving(lambda _: 1, needed) == ()
    assert looks == 100
    assert retention.snapshot().is_stuck
    retention.on_space(SpaceState())
    assert not retention.snapshot().is_stuck


def test_one_step_looks_at_so_many_and_the_next_goes_on_there() -> None:
    retention = too_much(of(3 * LOOKS_MAX), 1)
    seen: list[ContentHash] = []

    def needed(one: ContentHash) -> bool:
        seen.append(one)
        return False

    for _ in range(3):
        retention.leaving(lambda _: 1, needed)
    assert seen == [content(number) for number in range(3 * LOOKS_MAX)]


def test_nothing_that_may_not_leave_ever_does_whatever_happens() -> None:
    """Against a dictionary that knows what is held and pinned."""
    for seed in range(20):
        rng, retention = Random(seed), Retention()
        held: dict[int, None] = {}
        pins: dict[int, int] = {}
        for step in range(600):
            number = rng.randrange(40)
            match rng.randrange(6):
                case 0 | 1:
                    retention.on_held(content(number))
                    held[number] = None
                case 2:
                    retention.on_touched(content(number))
                case 3:
                    retention.on_pin(pin(step + 1, content(number)))
                    pins[step + 1] = number
                case 4 if pins:
                    gone = rng.choice(list(pins))
                    del pins[gone]
                    assert retention.on_unpin(gone) is not None
                case _:
                    count = rng.randrange(5)
                    too_much(retention, count)
                    leaving = retention.leaving(lambda _: 1, partial(is_not_pinned, retention))
                    may = {content(one) for one in held if one not in pins.values()}
                    assert set(leaving) <= may
                    assert len(leaving) == min(count, len(may)) == len(set(leaving))
                    for one in leaving:
                        retention.on_gone(one)
                        del held[int.from_bytes(one, "big")]
            retention.check()


def is_not_pinned(retention: Retention, one: ContentHash) -> bool:
    return not retention.is_pinned(one)


def hits(order: list[int], room: int) -> tuple[int, int]:
    """Of requests in this order: how many find their content, and how many would by age alone."""
    retention, held = Retention(), OrderedDict[int, None]()
    queue, found, found_by_age = deque[int](), 0, 0
    for number in order:
        if number in held:
            found += 1
            retention.on_touched(content(number))
        else:
            for one in evicted(retention, len(held) + 1 - room):
                del held[one]
            held[number] = None
            retention.on_held(content(number))
        if number in queue:
            found_by_age += 1
        else:
            if len(queue) == room:
                queue.popleft()
            queue.append(number)
    return found, found_by_age


def test_more_is_found_than_by_age_alone() -> None:
    """Few contents are asked for often, and many once."""
    for seed in range(5):
        rng = Random(seed)
        order = [int(rng.paretovariate(0.9)) % 1_000 for _ in range(4_000)]
        found, found_by_age = hits(order, 50)
        assert found > found_by_age
