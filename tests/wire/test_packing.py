"""A value has one encoding, and reading hostile bytes costs little: time, depth and memory bounded.

The forms are written by hand from the msgpack specification, not by the packer under test.
"""

import tracemalloc

import msgpack
import pytest

from fabgossip.errors import ModelError, WireError
from fabgossip.model.topology import PeerClass
from fabgossip.wire.packing import (
    DEPTH_MAX,
    Value,
    as_array,
    as_bool,
    as_bytes,
    as_enum,
    as_int,
    as_text,
    expect_ascending,
    id_error,
    pack,
    unpack,
)
from tests.wire.samples import code_when_read

MEMORY_MAX = 1 << 20
SHORTEST: list[tuple[Value, str]] = [
    (None, "c0"),
    (False, "c2"),
    (True, "c3"),
    (0, "00"),
    (127, "7f"),
    (128, "cc80"),
    (255, "ccff"),
    (256, "cd0100"),
    (65_535, "cdffff"),
    (65_536, "ce00010000"),
    (2**32 - 1, "ceffffffff"),
    (2**32, "cf0000000100000000"),
    (-1, "ff"),
    (-32, "e0"),
    (-33, "d0df"),
    (-129, "d1ff7f"),
    ("", "a0"),
    ("a", "a161"),
    ("a" * 31, "bf" + "61" * 31),
    ("a" * 32, "d920" + "61" * 32),
    ("a" * 256, "da0100" + "61" * 256),
    (b"", "c400"),
    (b"a" * 255, "c4ff" + "61" * 255),
    (b"a" * 256, "c50100" + "61" * 256),
    ([], "90"),
    ([0] * 15, "9f" + "00" * 15),
    ([0] * 16, "dc0010" + "00" * 16),
    ([1, [2, "b"], b"c"], "93019202a162c40163"),
]
LONGER_THAN_NEEDED = {
    "0 in two bytes": "cc00",
    "127 in two bytes": "cc7f",
    "255 in three bytes": "cd00ff",
    "1 in nine bytes": "cf0000000000000001",
    "1 signed": "d001",
    "128 signed": "d10080",
    "-1 in two bytes": "d0ff",
    "text of 1 with a length byte": "d90161",
    "text of 1 with two length bytes": "da000161",
    "text of 1 with four length bytes": "db0000000161",
    "bytes of 1 with two length bytes": "c5000161",
    "bytes of 1 with four length bytes": "c60000000161",
    "array of 1 with two count bytes": "dc0001c0",
    "array of 1 with four count bytes": "dd00000001c0",
    "inside an array": "91cc00",
}
NEVER = {
    "empty map": "80",
    "map": "8101a161",
    "map of duplicate keys": "82a16101a16102",
    "map 16": "de0000",
    "map 32": "df00000000",
    "float 32": "ca00000000",
    "float 64": "cb3ff0000000000000",
    "NaN": "cb7ff8000000000000",
    "fixext 1": "d40000",
    "timestamp": "d6ff00000000",
    "ext 8": "c7010061",
    "ext 32": "c90000000100ff",
    "never used": "c1",
    "map in an array": "9180",
    "text that is not UTF-8": "a1ff",
    "surrogate": "a3eda080",
    "two values": "0000",
    "byte behind": "9000",
}
HOSTILE = {
    "array of 4,294,967,295": bytes.fromhex("ddffffffff"),
    "the same with a body": bytes.fromhex("ddffffffff") + b"\xc0" * 10_000,
    "array of 65,535": bytes.fromhex("dcffff") + b"\xc0" * 10_000,
    "nested claims": bytes.fromhex("ddffffffff") * 2_000,
    "nested claims of 65,535": bytes.fromhex("dcffff") * 3_000,
    "nested arrays of 15": b"\x9f" * 10_000,
    "text of 4 GiB": bytes.fromhex("dbffffffff") + b"a" * 10_000,
    "bytes of 4 GiB": bytes.fromhex("c6ffffffff"),
    "4,000 levels": b"\x91" * 4_000 + b"\xc0",
    "10,000 empty arrays": bytes.fromhex("dc2710") + b"\x90" * 10_000,
    "10,000 without a header": b"\x90" * 10_000,
    "map of 4,294,967,295": bytes.fromhex("dfffffffff"),
}


def nested(levels: int) -> bytes:
    return b"\x91" * (levels - 1) + b"\x90"


@pytest.mark.parametrize(("value", "encoded"), SHORTEST, ids=[text[:8] for _, text in SHORTEST])
def test_a_value_is_written_in_its_shortest_form_and_read_back(value: Value, encoded: str) -> None:
    assert pack(value).hex() == encoded
    read = unpack(bytes.fromhex(encoded))
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("encoded", LONGER_THAN_NEEDED.values(), ids=LONGER_THAN_NEEDED.keys())
def test_a_longer_form_than_needed_is_refused(encoded: str) -> None:
    assert code_when_read(unpack, bytes.fromhex(encoded)) == "NONCANONICAL"


@pytest.mark.parametrize("encoded", NEVER.values(), ids=NEVER.keys())
def test_what_is_never_used_is_refused(encoded: str) -> None:
    assert code_when_read(unpack, bytes.fromhex(encoded)) == "MALFORMED"


@pytest.mark.parametrize("first", range(256))
def test_every_first_byte_alone_is_read_or_refused_by_name(first: int) -> None:
    code = code_when_read(unpack, bytes([first]))
    is_whole = first < 0x80 or first >= 0xE0 or first in {0x90, 0xA0, 0xC0, 0xC2, 0xC3}
    assert (code is None) == is_whole


def test_sixteen_levels_are_read_and_seventeen_refused() -> None:
    assert unpack(nested(DEPTH_MAX)) is not None
    assert code_when_read(unpack, nested(DEPTH_MAX + 1)) == "MALFORMED"


def test_siblings_do_not_add_to_the_depth() -> None:
    assert unpack(b"\x92" + nested(DEPTH_MAX - 1) * 2) is not None
    assert code_when_read(unpack, b"\x92" + nested(2) + nested(DEPTH_MAX)) == "MALFORMED"


def test_elements_count_over_all_levels() -> None:
    data = pack([[0] * 10, [0] * 10])
    assert unpack(data, elements_max=23) == [[0] * 10, [0] * 10]
    for elements_max in (1, 2, 12, 22):
        with pytest.raises(WireError, match="MALFORMED"):
            unpack(data, elements_max=elements_max)


def test_more_elements_than_bytes_left_are_a_truncation() -> None:
    assert code_when_read(unpack, b"\x93\x00") == "TRUNCATED"
    assert code_when_read(unpack, b"\x92\x93\x00") == "TRUNCATED"


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_bytes_are_refused_in_little_memory(data: bytes) -> None:
    tracemalloc.start()
    try:
        code = code_when_read(lambda raw: unpack(raw, elements_max=16_384), data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert code in {"MALFORMED", "TRUNCATED", None}
    assert (code is None) == (data == HOSTILE["10,000 empty arrays"])
    assert peak < MEMORY_MAX


def test_what_the_library_takes_and_we_refuse_is_why_we_scan() -> None:
    duplicates = bytes.fromhex("82a16101a16102")
    assert msgpack.unpackb(duplicates) == {"a": 2}
    assert msgpack.unpackb(bytes.fromhex("cc00")) == 0


@pytest.mark.parametrize("value", [True, False, None, "1", b"1", [1], -1, 11])
def test_an_integer_field_takes_integers_within_its_bounds_only(value: Value) -> None:
    with pytest.raises(WireError, match="SCHEMA"):
        as_int(value, "count", low=0, high=10)


def test_an_integer_field_takes_both_its_bounds() -> None:
    assert (as_int(0, "count", high=10), as_int(10, "count", high=10)) == (0, 10)
    assert as_int(2**53 - 1, "count") == 2**53 - 1
    with pytest.raises(WireError, match="SCHEMA"):
        as_int(2**53, "count")


def test_bytes_text_and_arrays_are_not_taken_for_one_another() -> None:
    wrong: list[Value] = ["a", 1, None, True]
    for value in [*wrong, []]:
        with pytest.raises(WireError, match="SCHEMA"):
            as_bytes(value, "hash")
    for value in [*wrong, b"a"]:
        with pytest.raises(WireError, match="SCHEMA"):
            as_array(value, "rows")
    for value in (b"a", 1, None, True, [], "ä", "ab"):
        with pytest.raises(WireError, match="SCHEMA"):
            as_text(value, "name", length_max=1)
    for value in (0, 1, "true", None):
        with pytest.raises(WireError, match="SCHEMA"):
            as_bool(value, "flag")


def test_lengths_are_exact_or_at_most() -> None:
    assert as_bytes(b"ab", "hash", length=2) == b"ab"
    assert as_bytes(b"ab", "hash", length_max=2) == b"ab"
    assert as_array([0, 0], "rows", length=2) == [0, 0]
    assert as_text("ab", "name", length_max=2) == "ab"
    for length in (1, 3):
        with pytest.raises(WireError, match="SCHEMA"):
            as_bytes(b"ab", "hash", length=length)
        with pytest.raises(WireError, match="SCHEMA"):
            as_array([0, 0], "rows", length=length)
    with pytest.raises(WireError, match="SCHEMA"):
        as_bytes(b"ab", "hash", length_max=1)
    with pytest.raises(WireError, match="SCHEMA"):
        as_array([0, 0], "rows", length_max=1)


@pytest.mark.parametrize("value", [0, 4, True, "1", None, b"\x01", [1]])
def test_an_unknown_number_of_an_enum_is_refused(value: Value) -> None:
    assert as_enum(1, PeerClass, "class") is PeerClass.CORE
    with pytest.raises(WireError, match="SCHEMA"):
        as_enum(value, PeerClass, "class")


def test_a_set_stands_ascending_and_nothing_twice() -> None:
    expect_ascending([b"a", b"b", b"ba"], "ids")
    expect_ascending([], "ids")
    for values in ([b"b", b"a"], [b"a", b"a"], [b"a", b"c", b"b"]):
        with pytest.raises(WireError, match="SCHEMA"):
            expect_ascending(values, "ids")


def test_a_word_out_of_its_grammar_keeps_its_reason() -> None:
    error = id_error(ModelError("node id 'X': expected"))
    assert (error.code, error.detail) == ("ID_SYNTAX", "node id 'X': expected")
