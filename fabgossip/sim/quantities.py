"""Durations, sizes and shares as people write them in a scenario.

Decides: nothing.
Keeps: what is read is an integer: nanoseconds, bytes, parts per million.
Must not know: which field is read.
"""

import re
from typing import Final

_DURATION_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3_600 * 1_000_000_000,
    "d": 86_400 * 1_000_000_000,
}
_SIZE_BYTES: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_QUANTITY: Final = re.compile(r"([0-9]{1,12})([A-Za-z]{1,3})")
DURATION_MAX_NS: Final = 366 * _DURATION_NS["d"]
PPM: Final = 1_000_000


def parse_duration(text: str) -> int:
    """Nanoseconds of `250ms`, `5s`, `10m`; raises `ValueError`."""
    value = _parsed(text, _DURATION_NS, "a duration such as 250ms, 5s or 10m")
    if value > DURATION_MAX_NS:
        raise ValueError(f"{text!r} is more than 366 days")
    return value


def write_duration(duration_ns: int) -> str:
    """A duration that was read, as text; in the smallest unit that has few enough digits."""
    units = ("ns", "us", "ms")
    unit = next(one for one in units if duration_ns // _DURATION_NS[one] < 10**12)
    return f"{duration_ns // _DURATION_NS[unit]}{unit}"


def parse_size(text: str) -> int:
    """Bytes of `200B`, `64KiB`, `2MiB`; raises `ValueError`."""
    return _parsed(text, _SIZE_BYTES, "a size such as 200B, 64KiB or 2MiB")


def _parsed(text: str, units: dict[str, int], form: str) -> int:
    found = _QUANTITY.fullmatch(text)
    if found is None or found[2] not in units:
        raise ValueError(f"{text!r} is not {form}")
    return int(found[1]) * units[found[2]]


def parse_share(value: float) -> int:
    """Parts per million of a probability; raises `ValueError`."""
    if not 0 <= value <= 1:
        raise ValueError(f"{value} is no probability")
    return round(value * PPM)
