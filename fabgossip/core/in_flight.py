"""Contents on their way here: how many at once, and how many from one source.

Decides: whether another one may be asked for, and of whom.
Keeps: trust has room of its own, so no other class keeps it waiting.
Must not know: which contents, how they travel.
"""

from collections import Counter

from fabgossip.core.config import FetchingConfig
from fabgossip.model.ids import NodeId


class InFlight:
    """Counts of transfers under way."""

    __slots__ = ("_config", "_of_trust", "_others", "_per_source", "_trust_per_source")

    def __init__(self, config: FetchingConfig) -> None:
        self._config = config
        self._of_trust = 0
        self._others = 0
        self._per_source: Counter[NodeId] = Counter()
        self._trust_per_source: Counter[NodeId] = Counter()

    @property
    def count(self) -> int:
        """All of them."""
        return self._of_trust + self._others

    def has_room(self, *, is_trust: bool) -> bool:
        """Whether one more of its class may be under way."""
        if is_trust:
            return self._of_trust < self._config.trust_transfers_max
        return self._others < self._config.transfers_max

    def is_asked(self, node_id: NodeId) -> bool:
        """Whether anything is under way from a source."""
        return node_id in self._per_source or node_id in self._trust_per_source

    def is_full(self, node_id: NodeId) -> bool:
        """Whether a source is asked for as many as it may be; trust apart, of which so little is
        under way that it may all be of one."""
        return self._per_source[node_id] >= self._config.per_link_max

    def on_started(self, node_id: NodeId, *, is_trust: bool) -> None:
        """One is asked for."""
        self._count(1, is_trust=is_trust)
        self._of(is_trust=is_trust)[node_id] += 1

    def on_over(self, node_id: NodeId, *, is_trust: bool) -> None:
        """One is under way no more."""
        self._count(-1, is_trust=is_trust)
        per_source = self._of(is_trust=is_trust)
        per_source[node_id] -= 1
        if not per_source[node_id]:
            del per_source[node_id]

    def _of(self, *, is_trust: bool) -> Counter[NodeId]:
        return self._trust_per_source if is_trust else self._per_source

    def _count(self, change: int, *, is_trust: bool) -> None:
        if is_trust:
            self._of_trust += change
        else:
            self._others += change

    def check(self, count: int) -> None:
        """Assert that so many are under way, within the limits."""
        assert self.count == count
        assert self._others == sum(self._per_source.values())
        assert self._of_trust == sum(self._trust_per_source.values())
        assert max(self._per_source.values(), default=0) <= self._config.per_link_max
        assert self._of_trust <= self._config.trust_transfers_max
        assert self._others <= self._config.transfers_max
