"""Ordered map and sets: the same as a sorted list, whatever was put in and taken out."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from fabgossip.core.ordered import BLOCK_KEYS_MAX, FingerprintSet, OrderedMap, OrderedSet

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


SHORT = st.binary(max_size=3)
"""So short that bounds often fall on keys, and keys are prefixes of others."""


def made_of(keys: list[bytes], salt: bytes = b"salt") -> FingerprintSet:
    made = FingerprintSet(salt)
    for key in keys:
        made.add(key)
    made.check()
    return made


@given(st.lists(st.tuples(st.booleans(), SHORT), max_size=60), SHORT, st.none() | SHORT)
def test_a_fingerprint_set_reads_like_a_sorted_list(
    steps: list[tuple[bool, bytes]], low: bytes, high: bytes | None
) -> None:
    made = FingerprintSet(b"salt")
    model: set[bytes] = set()
    for is_put, key in steps:
        (made.add if is_put else made.discard)(key)
        (model.add if is_put else model.discard)(key)
    made.check()
    inside = sorted(one for one in model if one >= low and (high is None or one < high))
    assert [key for _, key in made.rows(low, high)] == inside
    assert list(made.rows_down(low, high)) == list(made.rows(low, high))[::-1]
    assert made.rank(low) == len([one for one in model if one < low])
    assert len(made) == len(model)
    if high is None or low <= high:
        assert made.count(low, high) == len(inside)
        # A range stands for its keys alone, wherever it lies.
        assert made.fingerprint(low, high) == made_of(inside).fingerprint(b"", None)
    for key_id, key in made.rows(b"", None):
        assert made.find(key_id) == key
        assert made.id_of(key) == key_id
    assert all((one in made) == (one in model) for _, one in steps)


@given(st.sets(SHORT, min_size=2, max_size=30))
def test_a_boundary_is_the_shortest_that_parts(keys: set[bytes]) -> None:
    made, ordered = made_of(sorted(keys)), sorted(keys)
    for rank in range(1, len(ordered)):
        bound = made.boundary(rank)
        assert ordered[rank - 1] < bound <= ordered[rank]
        assert not ordered[rank - 1] < bound[:-1]


def test_many_blocks_say_the_same_as_one_sum_whatever_the_order() -> None:
    """Splits, joins, a run of appends and a middle that was emptied: one fingerprint for one set of
    keys, another for any other."""
    chance = Random(1)
    keys = [chance.randbytes(6) for _ in range(20 * BLOCK_KEYS_MAX)]
    shuffled = sorted(keys, key=lambda _: chance.random())
    ascending, mixed = made_of(sorted(keys)), made_of(shuffled)
    assert ascending.root() == mixed.root()
    gone = sorted(keys)[BLOCK_KEYS_MAX:-BLOCK_KEYS_MAX]
    for key in chance.sample(gone, len(gone)):
        mixed.discard(key)
    mixed.check()
    left = made_of([*sorted(keys)[:BLOCK_KEYS_MAX], *sorted(keys)[-BLOCK_KEYS_MAX:]])
    assert mixed.root() == left.root() != ascending.root()
    for key in gone:
        mixed.add(key)
    mixed.check()
    assert mixed.root() == ascending.root()
    for rank in chance.sample(range(len(keys)), 200):
        bound = mixed.boundary(rank) if rank else b""
        assert mixed.rank(bound) == rank


def test_questions_between_changes_are_answered_by_what_is_there_now() -> None:
    """Sums of blocks are made again from the first that changed, and blocks come and go; at the end
    as well."""
    chance = Random(2)
    model = sorted(chance.randbytes(6) for _ in range(6 * BLOCK_KEYS_MAX))
    made = made_of(model)
    for step in range(5 * BLOCK_KEYS_MAX):
        # From the end and from anywhere, so that the last block joins the one before, too.
        key = model[-1] if step % 2 else chance.choice(model)
        model.remove(key)
        made.discard(key)
        if step % 3 == 0:
            rank = chance.randrange(1, len(model))
            bound = made.boundary(rank)
            assert model[rank - 1] < bound <= model[rank]
            assert made.rank(model[-1]) == len(model) - 1
            assert model[-2] < made.boundary(len(model) - 1) <= model[-1]
        if step % 97 == 0:
            low = model[len(model) // 2]
            assert made.fingerprint(low, None) == made_of(
                [one for one in model if one >= low]
            ).fingerprint(b"", None)
    made.check()


def test_another_salt_gives_other_fingerprints() -> None:
    """Or a collision once crafted would last."""
    one, other = made_of([b"a", b"b"]), made_of([b"a", b"b"], b"salt of tomorrow")
    assert one.root() != other.root()
    assert one.fingerprint(b"", None) != other.fingerprint(b"", None)
    assert one.id_of(b"a") != other.id_of(b"a")
