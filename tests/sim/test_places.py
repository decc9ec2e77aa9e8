"""A set of bits is a set."""

from hypothesis import given
from hypothesis import strategies as st

from fabgossip.sim.places import Places


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40))))
def test_it_holds_what_was_put_in_and_not_taken_out(steps: list[tuple[bool, int]]) -> None:
    places, meant = Places(), set[int]()
    for is_added, place in steps:
        (places.add if is_added else places.discard)(place)
        (meant.add if is_added else meant.discard)(place)
        assert len(places) == len(meant)
        assert [one for one in range(50) if one in places] == sorted(meant)
