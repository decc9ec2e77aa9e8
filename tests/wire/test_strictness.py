"""Every format refuses every damaged byte string with a named code, and nothing has two encodings.

Runs over the whole table of `samples`: truncations, bytes behind, flipped bits, foreign values.
"""

import msgpack
import pytest

from tests.wire.samples import CODES, NAMES, SAMPLES, Sample, code_when_read

every_format = pytest.mark.parametrize("sample", SAMPLES, ids=NAMES)
LISTS = {"Announce", "GetHeads", "Heads", "GetContent", "Cancel"}
FIXED = [sample for sample in SAMPLES if sample.name not in LISTS]
"""What has a fixed number of elements; the others are lists of like things."""
FOREIGN: tuple[object, ...] = (
    None,
    True,
    False,
    -1,
    0,
    2**53,
    2**64 - 1,
    -(2**63),
    "",
    "x" * 600,
    "ä",
    b"",
    b"x" * 33,
    [],
    [[]],
    [0] * 100,
)
"""Well-packed values that a field may or may not be; none may raise anything but a `WireError`."""


@every_format
def test_what_is_written_is_read_back(sample: Sample) -> None:
    assert sample.parse(sample.data) == sample.value
    assert sample.again(sample.data) == sample.data


@every_format
def test_every_truncation_is_refused(sample: Sample) -> None:
    codes = {code_when_read(sample.parse, sample.data[:n]) for n in range(len(sample.data))}
    assert codes == {"TRUNCATED"}


@every_format
@pytest.mark.parametrize("behind", [b"\x00", b"\xc0", b"\x90", b"\xff" * 9])
def test_bytes_behind_the_value_are_refused(sample: Sample, behind: bytes) -> None:
    assert code_when_read(sample.parse, sample.data + behind) in {"MALFORMED", "FRAME_TOO_LARGE"}


@every_format
def test_a_flipped_bit_is_refused_or_is_another_value_with_these_bytes(sample: Sample) -> None:
    for place in range(len(sample.data)):
        flipped = bytearray(sample.data)
        flipped[place] ^= 1 << (place % 8)
        data = bytes(flipped)
        if code_when_read(sample.parse, data) is None:
            assert sample.again(data) == data
            assert sample.parse(data) != sample.value


@every_format
def test_a_foreign_value_in_any_place_is_refused_or_is_legal_there(sample: Sample) -> None:
    value = msgpack.unpackb(sample.data, raw=False)
    for place in range(len(value)):
        for foreign in FOREIGN:
            changed = [*value[:place], foreign, *value[place + 1 :]]
            data = msgpack.packb(changed, use_bin_type=True)
            if code_when_read(sample.parse, data) is None:
                assert sample.again(data) == data


@pytest.mark.parametrize("sample", FIXED, ids=[sample.name for sample in FIXED])
def test_a_missing_or_further_element_is_refused(sample: Sample) -> None:
    value = msgpack.unpackb(sample.data, raw=False)
    for changed in (value[:-1], [*value, None], [*value, value[-1]]):
        data = msgpack.packb(changed, use_bin_type=True)
        assert code_when_read(sample.parse, data) == "SCHEMA"


@every_format
@pytest.mark.parametrize(
    "whole",
    [
        b"",
        b"\xc0",
        b"\x01",
        b"\xa1a",
        b"\xc4\x01a",
        b"\x80",
        b"\xdd\xff\xff\xff\xff",
        b"\xc7\x01\x00a",
        b"\xcb" + bytes(8),
        b"\x91" * 4_000,
    ],
)
def test_a_value_of_another_kind_is_refused(sample: Sample, whole: bytes) -> None:
    assert code_when_read(sample.parse, whole) in CODES
