"""Ordered map and set: the same as a sorted list, whatever was put in and taken out."""

from hypothesis import given
from hypothesis import strategies as st

from fabgossip.core.ordered import OrderedMap, OrderedSet

KEYS = st.integers(0, 12)
STEPS = st.lists(st.tuples(st.booleans(), KEYS), max_size=40)


@given(STEPS, KEYS, st.integers(0, 5))
def test_a_map_reads_like_a_sorted_list(
    steps: list[tuple[bool, int]], key: int, count: int
) -> None:
    rows: OrderedMap[int, str] = OrderedMap()
    model: dict[int, str] = {}
    for number, (is_put, one) in enumerate(steps):
        if is_put:
            rows[one] = model[one] = f"value {number}"
        else:
            rows.discard(one)
            model.pop(one, None)
    assert list(rows.items()) == sorted(model.items())
    assert list(rows.values()) == [model[one] for one in sorted(model)]
    assert len(rows) == len(model)
    assert (key in rows) == (key in model)
    assert rows.find(key) == model.get(key)
    above = [(one, model[one]) for one in sorted(model) if one > key]
    assert rows.items_after(key, count) == tuple(above[:count])
    up_to = [(one, model[one]) for one in sorted(model) if one <= key]
    assert rows.items_up_to(key, count) == tuple(up_to[:count])


@given(STEPS)
def test_a_set_reads_like_a_sorted_list(steps: list[tuple[bool, int]]) -> None:
    keys: OrderedSet[int] = OrderedSet()
    model: set[int] = set()
    for is_put, one in steps:
        (keys.add if is_put else keys.discard)(one)
        (model.add if is_put else model.discard)(one)
    assert list(keys) == sorted(model)
    assert len(keys) == len(model)
    assert all((one in keys) == (one in model) for one in range(13))
