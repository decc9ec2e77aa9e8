"""Envelopes that may be good once this node knows more.

Decides: what is kept, for how long, and what leaves first.
Keeps: nothing here is believed, told or served; one link can push out only what it sent itself.
Must not know: why something waits.
"""

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from fabgossip.core.events import LinkId
from fabgossip.model.moment import Duration, Instant, is_due, later

WAITING_MAX: Final = 256
"""Envelopes kept (*start*): 2.5 MiB at the most; beyond, the oldest leaves."""
WAITING_PER_LINK_MAX: Final = 64
"""Of one link (*start*): beyond, its own oldest leaves."""
WAITING_FOR: Final = Duration(300_000)
"""How long one is kept (*start*): newer trust comes within a refresh interval or two."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An envelope, where it came from, and until when it is kept."""

    envelope: bytes
    origin: LinkId | None
    source: str
    hops: int
    until: Instant


class WaitingRoom:
    """Held back, unserved."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: OrderedDict[bytes, Waiting] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def on_held(
        self, envelope: bytes, origin: LinkId | None, source: str, hops: int, now: Instant
    ) -> None:
        """Keep an envelope for later; seeing it again does not prolong its stay."""
        key = sha256(envelope).digest()
        if key in self._rows:
            return
        mine = [one for one, row in self._rows.items() if row.origin == origin]
        if len(mine) >= WAITING_PER_LINK_MAX:
            del self._rows[mine[0]]
        elif len(self._rows) >= WAITING_MAX:
            self._rows.popitem(last=False)
        self._rows[key] = Waiting(envelope, origin, source, hops, later(now, WAITING_FOR))

    def on_more_known(self, now: Instant) -> tuple[Waiting, ...]:
        """Something this node believes changed: all that waits leaves, to be judged again."""
        rows = tuple(row for row in self._rows.values() if not is_due(row.until, now))
        self._rows.clear()
        return rows

    def check(self) -> None:
        """Assert the limits."""
        assert len(self._rows) <= WAITING_MAX
