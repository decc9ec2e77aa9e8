"""Increments: a zstd frame with the base content as dictionary, as `zstd --patch-from` does it."""

from typing import Final

from backports import zstd

WINDOW_LOG_MAX: Final = 25
"""32 MiB: four times the largest snapshot, and what every decoder accepts."""
WINDOW_LOG_MIN: Final = 18
BASE_BYTES_MIN: Final = 8
"""Shorter content is no dictionary to the library."""
UNUSABLE_BASE_MAGIC: Final = bytes.fromhex("37a430ec")
"""A base that starts so would be taken for a trained dictionary."""


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
