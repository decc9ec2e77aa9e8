"""Envelopes that brought this process down before, and are left alone for a while.

Decides: whether an envelope is looked at.
Keeps: only what the start named is left alone, and for no longer than the start said.
Must not know: how it was noticed that a process ended over an envelope.
"""

from collections.abc import Iterable
from hashlib import sha256

from fabgossip.model.moment import Duration, Instant, is_due, later


class Shunned:
    """What nobody looks at, by the hash of its bytes: reading it may be what ends the process."""

    __slots__ = ("_until", "judging")

    def __init__(self) -> None:
        self._until: dict[bytes, Instant] = {}
        self.judging: bytes | None = None
        """The envelope being judged. Who catches what a step raised reads here over which."""

    def on_started(self, rows: Iterable[tuple[bytes, Duration]], now: Instant) -> None:
        """What is to be left alone, and for how long."""
        for digest, wait in rows:
            self._until[digest] = later(now, wait)

    def is_shunned(self, envelope: bytes, now: Instant) -> bool:
        """Whether exactly these bytes are left alone."""
        if not self._until:
            return False
        until = self._until.get(sha256(envelope).digest())
        return until is not None and not is_due(until, now)

    def digests(self, now: Instant) -> tuple[bytes, ...]:
        """All that is left alone."""
        return tuple(one for one, until in self._until.items() if not is_due(until, now))
