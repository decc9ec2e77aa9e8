"""When a node that had forgotten knows again all a fresh one must know.

Decides: whether amnesia is over.
Keeps: nothing our own disk says ends it. A disk that was rolled back by minutes holds a list and a
snapshot in time and lacks what came since (`tests/attacks/test_amnesia.py`): only newer ones count.
Must not know: how it was noticed that something was forgotten.
"""

from fabgossip.model.artifact import NO_ORDER, Order
from fabgossip.model.moment import UnixTime, is_past
from fabgossip.trust.facts import TrustFacts


class Recovering:
    """What the disk came with, and what was heard since."""

    __slots__ = ("_recalled_list", "_recalled_snapshot", "_snapshot", "is_recalled")

    def __init__(self) -> None:
        self._recalled_list = NO_ORDER
        self._snapshot = NO_ORDER
        """The node's own snapshot that was read last."""
        self._recalled_snapshot = NO_ORDER
        self.is_recalled = False
        """Whether all that the disk held was judged: what comes now is new."""

    def on_recalled(self, facts: TrustFacts) -> None:
        """All that the disk holds was judged."""
        self._recalled_list = _list_of(facts)
        self._recalled_snapshot = self._snapshot
        self.is_recalled = True

    def on_own_snapshot(self, order: Order) -> None:
        """The node's own snapshot was read."""
        self._snapshot = order

    def is_over(self, facts: TrustFacts, now: UnixTime) -> bool:
        """Whether the chain, a list and the node's own snapshot are in time and heard of since the
        start, and the clock is sound."""
        fresh = facts.freshness
        due = (fresh.bundle_refresh_by, fresh.revocations_refresh_by, fresh.snapshot_refresh_by)
        is_fresh = all(one is not None and not is_past(one, now) for one in due)
        is_heard = (
            _list_of(facts) > self._recalled_list and self._snapshot > self._recalled_snapshot
        )
        return is_fresh and is_heard and not fresh.is_clock_suspect


def _list_of(facts: TrustFacts) -> Order:
    return Order(facts.revoked.epoch, facts.revoked.version)
