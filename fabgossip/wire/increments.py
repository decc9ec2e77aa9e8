"""Increments: a zstd frame with the base content as dictionary, as `zstd --patch-from` does it.

The writer makes a frame only where it pays. The reader believes nothing of one: not its window, not
the size it names, not that it ends where it should; and what it makes is only bytes, for a wrong
base decodes without an error to wrong bytes. Whoever applies one hashes the result.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Final

from backports import zstd

from fabgossip.errors import WireError
from fabgossip.model.artifact import Manifest
from fabgossip.model.ids import ContentHash
from fabgossip.model.increments import AssemblyFault, Broken
from fabgossip.wire.packing import FRAME_TOO_LARGE, MALFORMED, UNSUPPORTED

WINDOW_LOG_MAX: Final = 25
"""32 MiB: four times the largest snapshot, and what every decoder accepts."""
WINDOW_LOG_MIN: Final = 18
BASE_BYTES_MIN: Final = 8
"""Shorter content is no dictionary to the library."""
UNUSABLE_BASE_MAGIC: Final = bytes.fromhex("37a430ec")
"""A base that starts so would be taken for a trained dictionary."""
FRAME_MAGIC: Final = bytes.fromhex("28b52ffd")
"""RFC 8878, section 3.1.1. A skippable frame starts otherwise, and holds nothing."""

_SINGLE_SEGMENT: Final = 0b0010_0000
_HEADER_BYTES_MIN: Final = 6


def increment_bytes(base: bytes, result: bytes) -> bytes | None:
    """A frame that turns `base` into `result`, or None where it does not pay.

    It pays up to half of the result. The logs are at least log2 of both together: with the defaults
    of level 3 a change in 8 MB cost as much as the whole (measured 2026-10).
    """
    if base.startswith(UNUSABLE_BASE_MAGIC) or len(base) < BASE_BYTES_MIN:
        return None
    log = min(WINDOW_LOG_MAX, max(WINDOW_LOG_MIN, (len(base) + len(result)).bit_length()))
    parameter = zstd.CompressionParameter
    options: dict[int, int] = {
        parameter.compression_level: 19 if len(result) <= 1 << 20 else 9,
        parameter.window_log: log,
        parameter.hash_log: log,
        parameter.chain_log: log,
        parameter.content_size_flag: 1,
        parameter.checksum_flag: 0,
        parameter.enable_long_distance_matching: 1,
    }
    dictionary = zstd.ZstdDict(base, is_raw=True)
    frame = zstd.compress(result, options=options, zstd_dict=dictionary.as_prefix)
    return frame if len(frame) <= len(result) // 2 else None


def assemble(
    increments: tuple[Manifest, ...], read: Callable[[ContentHash], bytes | None]
) -> bytes | Broken:
    """What a chain makes of what its first increment names as base, or where it breaks: every
    content that `read` gives is hashed, and so is every result, against what was signed. One base
    and one result are in memory at a time."""
    first = increments[0].base
    assert first is not None, "exactly an increment has a base"
    content = read(first.content_hash)
    if content is None or sha256(content).digest() != first.content_hash:
        return Broken(AssemblyFault.BASE, 0)
    for place, manifest in enumerate(increments):
        base = manifest.base
        assert base is not None, "exactly an increment has a base"
        frame = read(manifest.content_hash)
        if frame is None or sha256(frame).digest() != manifest.content_hash:
            return Broken(AssemblyFault.INCREMENT, place)
        try:
            content = apply_increment(content, frame, base.result_size)
        except WireError:
            return Broken(AssemblyFault.RESULT, place)
        if sha256(content).digest() != base.result_hash:
            return Broken(AssemblyFault.RESULT, place)
    return content


def apply_increment(base: bytes, frame: bytes, result_bytes: int) -> bytes:
    """What a frame makes of `base`: exactly `result_bytes`, whatever the frame says. At most one
    byte more is ever made, and the window never exceeds its limit: memory is the base, the result
    and 32 MiB.

    Raises:
        WireError: UNSUPPORTED (no zstd frame, a base no dictionary can be made of, a window above
            the limit), FRAME_TOO_LARGE (names more than `result_bytes`), MALFORMED (names no size
            or a smaller one, makes another, is cut off or damaged, something follows it).
    """
    if not frame.startswith(FRAME_MAGIC) or len(frame) < _HEADER_BYTES_MIN:
        raise WireError(UNSUPPORTED, "an increment that is no zstd frame")
    if base.startswith(UNUSABLE_BASE_MAGIC) or len(base) < BASE_BYTES_MIN:
        raise WireError(UNSUPPORTED, "an increment on a base that is no dictionary")
    _check_header(frame, result_bytes)
    prefix = zstd.ZstdDict(base, is_raw=True).as_prefix
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG_MAX}
    reader = zstd.ZstdDecompressor(zstd_dict=prefix, options=options)
    try:
        result = reader.decompress(frame, max_length=result_bytes + 1)
    except zstd.ZstdError as error:
        raise WireError(MALFORMED, f"an increment: {error}") from error
    if not reader.eof or len(result) != result_bytes:
        raise WireError(MALFORMED, "an increment that is cut off or makes another size")
    if reader.unused_data:
        raise WireError(MALFORMED, "something follows an increment")
    return result


def _check_header(frame: bytes, result_bytes: int) -> None:
    """The library looks at the window only where it has to allocate one; a frame other tools would
    refuse is refused here too."""
    if _window_bytes(frame) > 1 << WINDOW_LOG_MAX:
        raise WireError(UNSUPPORTED, "an increment with too large a window")
    try:
        named = zstd.get_frame_info(frame).decompressed_size
    except zstd.ZstdError as error:
        raise WireError(MALFORMED, f"an increment: {error}") from error
    if named is None:
        raise WireError(MALFORMED, "an increment that names no size")
    if named > result_bytes:
        raise WireError(FRAME_TOO_LARGE, f"an increment to {named} bytes, not {result_bytes}")
    if named < result_bytes:
        raise WireError(MALFORMED, f"an increment to {named} bytes, not {result_bytes}")


def _window_bytes(frame: bytes) -> int:
    """RFC 8878, section 3.1.1.1.2; 0 where the size of the frame is its window."""
    if frame[4] & _SINGLE_SEGMENT:
        return 0
    exponent, mantissa = divmod(frame[5], 8)
    base: int = 1 << (10 + exponent)
    return base + base // 8 * mantissa
