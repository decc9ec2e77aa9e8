"""An increment gives the result back from its base, and is written only where it pays."""

import random

import pytest
from backports import zstd

from fabgossip.wire.increments import UNUSABLE_BASE_MAGIC, increment_bytes

BASE = random.Random(1).randbytes(20_000)
RESULT = BASE[:9_000] + b"a small change" + BASE[9_000:]


def patched(base: bytes, frame: bytes) -> bytes:
    """What any zstd decoder makes of it: `zstd -d --patch-from=base`."""
    return zstd.decompress(frame, zstd_dict=zstd.ZstdDict(base, is_raw=True).as_prefix)


def test_an_increment_turns_its_base_into_its_result() -> None:
    frame = increment_bytes(BASE, RESULT)
    assert frame is not None
    assert patched(BASE, frame) == RESULT
    assert len(frame) < len(RESULT) // 50


def test_an_increment_says_how_large_its_result_is() -> None:
    frame = increment_bytes(BASE, RESULT)
    assert frame is not None
    assert zstd.get_frame_info(frame).decompressed_size == len(RESULT)


def test_an_increment_of_more_than_half_its_result_does_not_pay() -> None:
    assert increment_bytes(BASE, random.Random(2).randbytes(20_000)) is None


def test_a_base_that_looks_like_a_trained_dictionary_is_not_used() -> None:
    assert increment_bytes(UNUSABLE_BASE_MAGIC + BASE, UNUSABLE_BASE_MAGIC + RESULT) is None


@pytest.mark.parametrize("length", range(10))
def test_a_base_too_short_to_help_is_not_an_error(length: int) -> None:
    base = b"x" * length
    frame = increment_bytes(base, b"y" * 5_000)
    assert frame is None or patched(base, frame) == b"y" * 5_000


@pytest.mark.parametrize("result", [b"", b"z"])
def test_a_result_too_short_to_pay_has_no_increment(result: bytes) -> None:
    assert increment_bytes(BASE, result) is None


def test_the_same_increment_is_written_twice() -> None:
    assert increment_bytes(BASE, RESULT) == increment_bytes(BASE, RESULT)
