"""Ranges on the wire: one form for each, and every other one refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabgossip.errors import WireError
from fabgossip.model.messages import BOUND_BYTES_MAX, RANGES_MAX, Range, RangeMode
from fabgossip.wire.packing import MALFORMED, NONCANONICAL, SCHEMA, TRUNCATED
from fabgossip.wire.ranges import ids_from, ranges_bytes, ranges_from

SKIP, FINGERPRINT, IDS = RangeMode
EIGHT = st.binary(min_size=8, max_size=8)
BOUNDS = st.sets(st.binary(min_size=1, max_size=BOUND_BYTES_MAX), max_size=12)


@st.composite
def ranges(draw: st.DrawFn) -> tuple[Range, ...]:
    uppers: list[bytes | None] = [*sorted(draw(BOUNDS))]
    if draw(st.booleans()):
        uppers.append(None)
    made = []
    for upper in uppers:
        mode = draw(st.sampled_from(RangeMode))
        fingerprint = draw(EIGHT) if mode is FINGERPRINT else b""
        ids = tuple(draw(st.sets(EIGHT, max_size=4))) if mode is IDS else ()
        made.append(Range(upper=upper, mode=mode, fingerprint=fingerprint, ids=ids))
    return tuple(made)


@given(ranges())
def test_what_is_written_is_read_again(value: tuple[Range, ...]) -> None:
    assert ranges_from(ranges_bytes(value)) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_the_one_form_of_what_they_say(data: bytes) -> None:
    try:
        read = ranges_from(data)
    except WireError:
        return
    assert ranges_bytes(read) == data


@given(ranges(), st.integers(0, 200))
def test_a_cut_is_never_read_as_a_whole_range(value: tuple[Range, ...], cut: int) -> None:
    data = ranges_bytes(value)
    try:
        read = ranges_from(data[:cut])
    except WireError:
        return
    assert read == value[: len(read)]


def test_a_bound_costs_what_it_does_not_share() -> None:
    """Two bytes beside it and the fingerprint: what comparing costs is made of these."""
    rows = (
        Range(upper=b"12345678", mode=FINGERPRINT, fingerprint=b"8 bytes!"),
        Range(upper=b"12345679", mode=FINGERPRINT, fingerprint=b"8 bytes!"),
        Range(upper=None, mode=SKIP),
    )
    assert [len(ranges_bytes(rows[:count])) for count in (1, 2, 3)] == [18, 29, 31]


A = b"\x00\x01a"
REFUSED = {
    "unknown mode": (b"\xc0\x01a", MALFORMED),
    "no rest of a bound": (b"\x00\x02a", TRUNCATED),
    "half a head": (b"\x00", TRUNCATED),
    "half a fingerprint": (b"\x40\x01a1234567", TRUNCATED),
    "fewer ids than counted": (b"\x80\x01a\x00\x0212345678", TRUNCATED),
    "an id twice": (b"\x80\x01a\x00\x021234567812345678", SCHEMA),
    "the same bound again": (A + b"\x01\x00", SCHEMA),
    "a bound below the one before": (b"\x00\x01b" + A, SCHEMA),
    "a bound that shares too little": (A + b"\x00\x02ab", NONCANONICAL),
    "a bound that shares too much": (A + b"\x02\x01b", NONCANONICAL),
    "a range behind the end": (b"\x00\x00" + A, SCHEMA),
    "a bound too long": (b"\x00\x29" + b"a" * 41, SCHEMA),
    "too many": (
        ranges_bytes(
            tuple(
                Range(upper=number.to_bytes(2, "big"), mode=SKIP)
                for number in range(1, RANGES_MAX + 2)
            )
        ),
        SCHEMA,
    ),
}


@pytest.mark.parametrize(("data", "code"), REFUSED.values(), ids=REFUSED)
def test_every_other_form_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(WireError) as caught:
        ranges_from(data)
    assert caught.value.code == code


@pytest.mark.parametrize("data", [b"1234567", b"1234567812345678"], ids=["a rest", "twice"])
def test_ids_are_of_eight_bytes_and_stand_once(data: bytes) -> None:
    with pytest.raises(WireError) as caught:
        ids_from(data)
    assert caught.value.code == SCHEMA
