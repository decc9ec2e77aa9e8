"""The newest claims ever met of every node.

Decides: whether claims are older than others of the same node, or as new.
Keeps: of a node that is remembered the order never sinks; how many are remembered is bounded.
Must not know: what claims entitle to.
"""

from collections import OrderedDict
from typing import Final

from fabgossip.model.artifact import NO_ORDER, Order
from fabgossip.model.authority import NodeClaims
from fabgossip.model.ids import NodeId

CLAIMS_SEEN_MAX: Final = 65_536
"""Nodes whose highest claims are remembered (*start*); beyond, who was seen longest ago leaves, and
is new when it comes again."""


def order_of(claims: NodeClaims) -> Order:
    """By which claims of one node are newer or older."""
    return Order(claims.authority_epoch, claims.claims_version)


class ClaimsSeen:
    """Highest (epoch, claims version) by node."""

    __slots__ = ("_orders",)

    def __init__(self) -> None:
        self._orders: OrderedDict[NodeId, Order] = OrderedDict()

    def on_started(self, seen: tuple[tuple[NodeId, int, int], ...]) -> None:
        """What the disk remembers."""
        for node_id, epoch, version in seen:
            self._orders[node_id] = Order(epoch, version)

    def is_older(self, claims: NodeClaims) -> bool:
        """Whether newer ones of this node were taken up before."""
        return order_of(claims) < self.newest_of(claims.node_id)

    def is_known(self, claims: NodeClaims) -> bool:
        """Whether claims of exactly this version were taken up before: then they only renew."""
        return self._orders.get(claims.node_id) == order_of(claims)

    def newest_of(self, node_id: NodeId) -> Order:
        """The newest that were taken up; `NO_ORDER` where none were."""
        return self._orders.get(node_id, NO_ORDER)

    def on_taken_up(self, claims: NodeClaims) -> None:
        """Claims of a node were taken up, durably: older ones count no more."""
        node_id = claims.node_id
        self._orders[node_id] = max(order_of(claims), self.newest_of(node_id))
        self._orders.move_to_end(node_id)
        if len(self._orders) > CLAIMS_SEEN_MAX:
            self._orders.popitem(last=False)

    def check(self) -> None:
        """Assert the limit."""
        assert len(self._orders) <= CLAIMS_SEEN_MAX
