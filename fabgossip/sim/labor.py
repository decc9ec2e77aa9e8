"""What a node's work costs it in CPU time.

Decides: nothing; the costs are a table.
Keeps: a signature is paid for by each node the first time it sees it, although all nodes share
what became of it.
Must not know: what the work is for.
"""

from collections.abc import Callable, Hashable
from typing import Final, TypeVar

from fabgossip.trust.signatures import Verifier

T = TypeVar("T", bound=Hashable)
HANDLE_NS: Final = 20_000
"""One event (*start*)."""
VERIFY_NS: Final = 106_000
"""One signature (measured)."""
HANDSHAKE_NS: Final = 1_500_000
"""One end of a handshake (*start*)."""
HASH_PS_PER_BYTE: Final = 2_000
"""SHA-256 (*start*)."""
ZSTD_PS_PER_BYTE: Final = 5_000
"""What an increment makes of its base (*start*)."""


class Labor:
    """The work of one process since it was last asked; a `Verifier` that charges for verdicts."""

    __slots__ = ("_done_ns", "_percent", "_seen", "_verifier")

    def __init__(self, verifier: Verifier, percent: int) -> None:
        self._verifier = verifier
        self._percent = percent
        self._seen: set[bytes] = set()
        self._done_ns = 0

    def is_good(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """See `Verifier`."""
        if signature not in self._seen:
            self._seen.add(signature)
            self._done_ns += VERIFY_NS
        return self._verifier.is_good(public_key, message, signature)

    def read(self, parse: Callable[[bytes], T], data: bytes) -> T:
        """See `Verifier`."""
        return self._verifier.read(parse, data)

    def add(self, work_ns: int) -> None:
        """So much was done."""
        self._done_ns += work_ns

    def hashed(self, size: int) -> None:
        """So many bytes were hashed."""
        self._done_ns += size * HASH_PS_PER_BYTE // 1_000

    def unpacked(self, size: int) -> None:
        """So many bytes were made of increments."""
        self._done_ns += size * ZSTD_PS_PER_BYTE // 1_000

    def take(self) -> int:
        """Nanoseconds of work since this was last asked."""
        done, self._done_ns = self._done_ns, 0
        return done * self._percent // 100
