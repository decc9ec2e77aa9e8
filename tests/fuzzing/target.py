"""What a fuzzing target is, and the values its inputs are packed as."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fabgossip.errors import WireError
from fabgossip.wire.packing import Value, unpack

INPUT_BYTES_MAX: Final = 16 << 10
"""Of any input: above every envelope and most messages; larger ones are only slower (*start*)."""

RSS_MIB_MAX: Final = 256
"""Of one process: three times what the hungriest target takes (measured 2026-11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something that takes bytes from somebody not believed.

    `run` returns for every input; whatever it raises is a finding. `seeds` are well-formed inputs.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], tuple[bytes, ...]]
    share: int = 20
    """How many of a thousand inputs, roughly, it gets: few where one costs a signature or more."""


def read_script(data: bytes, length: int) -> list[Value] | None:
    """The parts of an input that is no format of the product; None where it is not one."""
    try:
        value = unpack(data)
    except WireError:
        return None
    return value if isinstance(value, list) and len(value) == length else None
