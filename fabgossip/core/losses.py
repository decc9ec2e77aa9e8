"""Whom this node lost or could not reach, and why: for readers alone.

Decides: which of them still matter.
Keeps: the newest reason of each node, while no link to it is open; bounded.
Must not know: whom to dial, and when.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Duration, Instant, elapsed, is_due, later

LOSSES_MAX: Final = 256
"""Nodes remembered (*start*); beyond, the one that was lost longest ago is forgotten."""
LEFT_ALONE: Final = Duration(16_000)
"""Who may be dialled for so long and is not, is wanted no more: others took its place. Twice the
time after which missing neighbours are looked for."""
NO_LOSS: Final = frozenset({"evicted", "full", "visit_over", "duplicate"})
"""The other end lives, and has links enough."""


@dataclass(frozen=True, slots=True)
class DownNode:
    """Somebody this node would have a link to and has not."""

    node_id: NodeId
    address: str
    """Where it is dialled first; empty where nobody says."""
    reason: str
    ago_ms: int
    dials_in_ms: int
    """0 while it is being dialled, or as soon as there is room for it."""


class Losses:
    """The newest loss or failed dial of each node."""

    __slots__ = ("_by_node",)

    def __init__(self) -> None:
        self._by_node: OrderedDict[NodeId, tuple[str, Instant]] = OrderedDict()

    def on_lost(self, node_id: NodeId, reason: str, now: Instant) -> None:
        """A link ended, or a dial failed."""
        if reason.removeprefix("bye_") in NO_LOSS:
            self._by_node.pop(node_id, None)
            return
        self._by_node[node_id] = (reason, now)
        self._by_node.move_to_end(node_id)
        if len(self._by_node) > LOSSES_MAX:
            self._by_node.popitem(last=False)

    def on_open(self, node_id: NodeId) -> None:
        """It is back."""
        self._by_node.pop(node_id, None)

    def down(
        self,
        dials_at: Callable[[NodeId], Instant | None],
        address_of: Callable[[NodeId], str],
        now: Instant,
    ) -> Iterator[DownNode]:
        """Who is still wanted, newest loss first; `dials_at`: when a node may be dialled again,
        None of one that is not to be. Cost: O(losses)."""
        for node_id, (reason, lost_at) in reversed(self._by_node.items()):
            at = dials_at(node_id)
            if at is None or is_due(later(at, LEFT_ALONE), now):
                continue
            wait = 0 if is_due(at, now) else elapsed(now, at)
            yield DownNode(node_id, address_of(node_id), reason, elapsed(lost_at, now), wait)

    def check(self) -> None:
        """Assert the limit."""
        assert len(self._by_node) <= LOSSES_MAX
