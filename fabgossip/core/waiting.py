"""Envelopes that may be good once this node knows more.

Decides: what is kept, for how long, and what leaves first.
Keeps: nothing here is believed, told or served; who sent most of what waits makes room for others.
Must not know: why something waits.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from fabgossip.core.events import LinkId
from fabgossip.model.moment import Duration, Instant, is_due

WAITING_MAX: Final = 256
"""Envelopes kept (*start*): 6.5 MiB at the most, with the contents that rode along; beyond, the
oldest of who sent most leaves."""
WAITING_PER_SOURCE_MAX: Final = 64
"""Of one node, over all its links (*start*): beyond, its own oldest leaves."""
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
    namespace: str | None
    """What it speaks of, as far as it was read."""
    content: bytes | None = None
    """What rode along; nobody has looked at it yet."""


class WaitingRoom:
    """Held back, unserved."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: OrderedDict[bytes, Waiting] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def on_held(self, waiting: Waiting) -> None:
        """Keep an envelope for later; seeing it again does not prolong its stay."""
        key = sha256(waiting.envelope).digest()
        if key in self._rows:
            return
        if self._counts()[waiting.source] >= WAITING_PER_SOURCE_MAX:
            self._drop_oldest_of(waiting.source)
        elif len(self._rows) >= WAITING_MAX:
            # Not the oldest of all: a few nodes could push out what everybody else sent.
            [(most, _)] = self._counts().most_common(1)
            self._drop_oldest_of(most)
        self._rows[key] = waiting

    def _counts(self) -> Counter[str]:
        return Counter(row.source for row in self._rows.values())

    def _drop_oldest_of(self, source: str) -> None:
        del self._rows[next(key for key, row in self._rows.items() if row.source == source)]

    def on_more_known(self, now: Instant) -> tuple[Waiting, ...]:
        """Something this node believes changed: all that waits leaves, to be judged again."""
        rows = tuple(row for row in self._rows.values() if not is_due(row.until, now))
        self._rows.clear()
        return rows

    def on_accepted(self, namespace: str, now: Instant) -> tuple[Waiting, ...]:
        """Something new stands in a namespace: what waits of the same leaves, to be judged by it.
        Cost: O(waiting)."""
        mine = [one for one, row in self._rows.items() if row.namespace == namespace]
        rows = tuple(self._rows.pop(one) for one in mine)
        return tuple(row for row in rows if not is_due(row.until, now))

    def check(self) -> None:
        """Assert the limits."""
        assert len(self._rows) <= WAITING_MAX
        assert all(count <= WAITING_PER_SOURCE_MAX for count in self._counts().values())
