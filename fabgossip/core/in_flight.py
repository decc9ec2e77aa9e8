"""Contents on their way here: how many bytes of each class at once, and how many from one source.

Decides: whether another content may be asked for, and of whom.
Keeps: each class has a budget of its own, so none keeps another waiting; what is under way from one
source is bounded, trust apart, of which so little is under way that it may all be of one.
Must not know: which contents, how they travel.

A small content counts for little, so that a thousand of them may be asked for together; a large one
for no more than one chunk, for no more of it fills memory at once.
"""

from collections import Counter
from typing import Final

from fabgossip.core.config import FetchingConfig
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import TrafficClass

COUNTED_MIN: Final = 4 << 10
"""What a content counts for at least: it costs a request and a row, however small it is (*start*).
"""
COUNTED_MAX: Final = 256 << 10
"""And at most: the smallest chunk (*start*)."""


def counted_bytes(size: int) -> int:
    """What a content of so many bytes counts for."""
    return min(max(size, COUNTED_MIN), COUNTED_MAX)


class InFlight:
    """The contents under way. A budget is exceeded by one content at most: else a large one could
    not be asked for where small ones come and go."""

    __slots__ = ("_budgets", "_by_class", "_by_source", "_config", "_of_trust", "count")

    def __init__(self, config: FetchingConfig) -> None:
        self._config = config
        self._budgets = {
            TrafficClass.TRUST: config.trust_bytes_max,
            TrafficClass.SNAPSHOT: config.snapshot_bytes_max,
            TrafficClass.POLICY: config.policy_bytes_max,
            TrafficClass.BULK: config.bulk_bytes_max,
        }
        self._by_class: Counter[TrafficClass] = Counter()
        self._by_source: Counter[NodeId] = Counter()
        self._of_trust: Counter[NodeId] = Counter()
        self.count = 0
        """How many there are."""

    def has_room(self, traffic: TrafficClass) -> bool:
        """Whether one more of a class may be under way."""
        return self._by_class[traffic] < self._budgets[traffic]

    def is_asked(self, node_id: NodeId) -> bool:
        """Whether anything is under way from a source."""
        return node_id in self._by_source or node_id in self._of_trust

    def is_full(self, node_id: NodeId) -> bool:
        """Whether a source is asked for as much as it may be, trust apart."""
        return self._by_source[node_id] >= self._config.per_link_bytes_max

    def on_started(self, node_id: NodeId, traffic: TrafficClass, size: int) -> None:
        """A content of so many bytes is asked for."""
        self._add(node_id, traffic, counted_bytes(size))
        self.count += 1

    def on_over(self, node_id: NodeId, traffic: TrafficClass, size: int) -> None:
        """It is under way no more."""
        self._add(node_id, traffic, -counted_bytes(size))
        self.count -= 1

    def _add(self, node_id: NodeId, traffic: TrafficClass, change: int) -> None:
        self._by_class[traffic] += change
        by_source = self._of_trust if traffic is TrafficClass.TRUST else self._by_source
        by_source[node_id] += change
        if not by_source[node_id]:
            del by_source[node_id]

    def check(self, count: int) -> None:
        """Assert that so many are under way, within the budgets."""
        assert self.count == count
        of_trust = self._by_class[TrafficClass.TRUST]
        assert of_trust == self._of_trust.total()
        assert self._by_class.total() - of_trust == self._by_source.total()
        for traffic, budget in self._budgets.items():
            assert 0 <= self._by_class[traffic] < budget + COUNTED_MAX
        most = max(self._by_source.values(), default=0)
        assert most < self._config.per_link_bytes_max + COUNTED_MAX
