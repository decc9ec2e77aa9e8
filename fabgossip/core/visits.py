"""Wants that wait for a link to their source.

Decides: nothing.
Keeps: the turn of whoever was dialled ends on time, whichever want dialled it, and in whatever
order.
Must not know: how a node is dialled, what becomes of a want whose source was not reached.
"""

from fabgossip.core.ordered import OrderedMap
from fabgossip.core.wants import Want, WantState
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Duration, Instant, later


class Visits:
    """The wants that are `dialing`, by node and by the end of their turn."""

    __slots__ = ("_by_end", "_by_node")

    def __init__(self) -> None:
        self._by_node: dict[NodeId, dict[tuple[int, int], Want]] = {}
        self._by_end: OrderedMap[tuple[Instant, tuple[int, int]], Want] = OrderedMap()

    def __len__(self) -> int:
        return len(self._by_end)

    def on_begun(self, want: Want, now: Instant) -> None:
        """The source of a want has to be dialled, and has its turn for that."""
        assert want.source is not None
        want.state = WantState.DIALING
        want.visit_ends = later(now, Duration(want.turn_ms))
        self._by_node.setdefault(want.source.node_id, {})[want.key] = want
        self._by_end[(want.visit_ends, want.key)] = want

    def on_over(self, want: Want) -> None:
        """A want waits for no link any more."""
        assert want.source is not None
        self._by_end.discard((want.visit_ends, want.key))
        waiting = self._by_node[want.source.node_id]
        del waiting[want.key]
        if not waiting:
            del self._by_node[want.source.node_id]

    def is_dialed(self, node_id: NodeId) -> bool:
        """Whether any want waits for a link to a node."""
        return node_id in self._by_node

    def nodes(self) -> tuple[NodeId, ...]:
        """The nodes that wants wait to be linked to."""
        return tuple(self._by_node)

    def of(self, node_id: NodeId) -> tuple[Want, ...]:
        """The wants that wait for a link to a node."""
        return tuple(self._by_node.get(node_id, {}).values())

    def due(self, now: Instant) -> tuple[Want, ...]:
        """The wants whose source has no link and lost its turn, longest ago first."""
        last = (later(now, Duration(1)), (-1, 0))
        return tuple(want for _, want in self._by_end.items_up_to(last, len(self._by_end)))

    def next_end(self) -> Instant | None:
        """When the first turn ends."""
        return next((want.visit_ends for want in self._by_end.values()), None)

    def check(self, dialing: int) -> None:
        """Assert that so many wait, each under its node and its end."""
        assert dialing == len(self._by_end) == sum(len(one) for one in self._by_node.values())
        for node_id, wants in self._by_node.items():
            for key, want in wants.items():
                assert want.source is not None
                assert (want.source.node_id, want.key) == (node_id, key)
                assert (want.visit_ends, want.key) in self._by_end
