"""Whether the kernel vouches for its clock: something on this machine keeps it in step with others.

Asked of the kernel and of no time service, so that whichever service keeps the clock counts alike.
Asking changes nothing and needs no privilege; where a filter of system calls forbids it, nobody
vouches.
"""

import ctypes
from collections.abc import Callable
from typing import Final, Never

import trio

LOOK_S: Final = 10.0
"""Between two looks (*start*). A clock that lost its source takes the kernel hours to call
unsynchronized, so seconds do not matter; what it says then is acted on at once."""
_TIMEX_BYTES: Final = 512
"""More than `struct timex` has on any machine; all zero it asks and sets nothing."""
_TIME_ERROR: Final = 5
"""adjtimex(2): the clock is not synchronized."""
_LIBC: Final = ctypes.CDLL(None)


def is_kernel_synchronized() -> bool:
    """What the kernel says of its clock at this moment."""
    return vouches(int(_LIBC.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))))


def vouches(state: int) -> bool:
    """Whether an answer of adjtimex(2) is that of a clock that is kept in step; -1 is none."""
    return 0 <= state < _TIME_ERROR


async def watch_clock(
    ask: Callable[[], bool],
    tell: Callable[[bool], None],
    was_synchronized: bool,  # noqa: FBT001  # a nursery gives it by position
) -> Never:
    """Tell of every change of what the kernel says, for ever."""
    while True:
        await trio.sleep(LOOK_S)
        is_synchronized = ask()
        if is_synchronized is not was_synchronized:
            was_synchronized = is_synchronized
            tell(is_synchronized)
