"""An increment gives the result back from its base, is written only where it pays, and is read
within bounds whatever it says."""

import random
import tracemalloc

import pytest
from backports import zstd

from fabgossip.errors import WireError
from fabgossip.wire.increments import UNUSABLE_BASE_MAGIC, apply_increment, increment_bytes

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


def made(base: bytes = BASE, result: bytes = RESULT) -> bytes:
    frame = increment_bytes(base, result)
    assert frame is not None
    return frame


def streamed(data: bytes, pieces: int = 1, window_log: int = 18, names: int | None = None) -> bytes:
    """A frame of `data`, `pieces` times over, as a stream of unknown length; with `names`
    its header names that size."""
    compressor = zstd.ZstdCompressor(
        options={zstd.CompressionParameter.window_log: window_log},
        zstd_dict=zstd.ZstdDict(BASE, is_raw=True).as_prefix,
    )
    frame = b"".join([compressor.compress(data) for _ in range(pieces)]) + compressor.flush()
    if names is None:
        return frame
    assert frame[4] == 0, "one descriptor, a window, no size"
    return frame[:4] + b"\xc0" + frame[5:6] + names.to_bytes(8, "little") + frame[6:]


def refused(frame: bytes, result_bytes: int = len(RESULT), base: bytes = BASE) -> str:
    with pytest.raises(WireError) as caught:
        apply_increment(base, frame, result_bytes)
    return caught.value.code


def test_what_is_read_is_what_was_written() -> None:
    assert apply_increment(BASE, made(), len(RESULT)) == RESULT


def test_a_stream_that_names_its_size_is_read_as_well() -> None:
    frame = streamed(RESULT, names=len(RESULT))
    assert apply_increment(BASE, frame, len(RESULT)) == RESULT


def test_on_another_base_it_makes_other_bytes_and_says_nothing() -> None:
    assert apply_increment(BASE[::-1], made(), len(RESULT)) != RESULT


def test_a_frame_that_names_no_size_is_refused() -> None:
    assert refused(streamed(RESULT)) == "MALFORMED"


@pytest.mark.parametrize(("other", "code"), [(-1, "FRAME_TOO_LARGE"), (1, "MALFORMED")])
def test_a_frame_that_names_another_size_than_was_signed_is_refused(other: int, code: str) -> None:
    assert refused(made(), len(RESULT) + other) == code


@pytest.mark.parametrize("other", [-1, 1, 100])
def test_a_frame_that_makes_another_size_than_it_names_is_refused(other: int) -> None:
    size = len(RESULT) + other
    assert refused(streamed(RESULT, names=size), size) == "MALFORMED"


def test_a_larger_window_than_every_decoder_takes_is_refused() -> None:
    assert apply_increment(BASE, streamed(BASE, window_log=25, names=len(BASE)), len(BASE)) == BASE
    frame = streamed(BASE, window_log=26, names=len(BASE))
    assert refused(frame, len(BASE)) == "UNSUPPORTED"


@pytest.mark.parametrize("after", [b"\0", made(), bytes.fromhex("502a4d1800000000")])
def test_what_follows_the_frame_is_refused(after: bytes) -> None:
    assert refused(made() + after) == "MALFORMED"


def test_a_skippable_frame_before_it_is_refused() -> None:
    assert refused(bytes.fromhex("502a4d1800000000") + made()) == "UNSUPPORTED"


@pytest.mark.parametrize("length", [0, 3, 4, 5, 6, 7, 20, len(made()) - 1])
def test_a_frame_that_is_cut_off_is_refused(length: int) -> None:
    assert refused(made()[:length]) in ("MALFORMED", "UNSUPPORTED")


@pytest.mark.parametrize("base", [b"", b"1234567", UNUSABLE_BASE_MAGIC + BASE])
def test_a_base_no_dictionary_can_be_made_of_is_refused(base: bytes) -> None:
    assert refused(made(), base=base) == "UNSUPPORTED"


def test_a_gibibyte_of_zeros_in_33_kb_is_never_made() -> None:
    frame = streamed(bytes(1 << 20), pieces=1_024, names=len(RESULT))
    assert len(frame) < 33_000
    tracemalloc.start()
    try:
        assert refused(frame) == "MALFORMED"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * len(RESULT)
