"""How often a node may do something, whoever in it wants to.

Decides: whether there is a token now, and when the next one comes.
Keeps: in any span at most `burst` and one for each `every_ms` of it; integers only.
Must not know: what is paid for.
"""

from fabgossip.model.moment import Duration, Instant, later


class Allowance:
    """One bucket of tokens, full at the start. It keeps one number: when it would be full again."""

    __slots__ = ("_every", "_full_at", "_span")

    def __init__(self, every_ms: int, burst: int) -> None:
        self._every = Duration(every_ms)
        self._span = every_ms * (burst - 1)
        self._full_at = Instant(0)

    def next_at(self, now: Instant) -> Instant:
        """When there is a token: `now` if there is one."""
        return max(now, Instant(self._full_at - self._span))

    def take(self, now: Instant) -> None:
        """Use a token up; only where `next_at` says `now`."""
        assert self.next_at(now) == now
        self._full_at = later(max(self._full_at, now), self._every)
