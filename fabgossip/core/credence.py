"""Whose word that it holds something counts.

Decides: when what a node says of its holdings is ignored, and for how long.
Keeps: a word costs whoever gives it something if it is not true: else it would end each wait there
is for a source that lacks a content (`tests/attacks/test_stalling.py`); bounded.
Must not know: what is said, what follows from it.

A word is contradicted by the answer that the node has it not. Three times in ten minutes, and its
words are ignored for ten minutes.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final

from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Duration, Instant, elapsed, is_due, later

CONTRADICTED_MAX: Final = 3
SPAN: Final = Duration(600_000)
"""So many contradicted words in this time are no accident (*start*)."""
IGNORED: Final = Duration(600_000)
"""How long the words of such a node are ignored (*start*)."""
NODES_MAX: Final = 4_096
"""Nodes remembered (*start*); the one contradicted longest ago leaves."""


@dataclass(slots=True)
class _Record:
    contradicted: deque[Instant] = field(default_factory=lambda: deque(maxlen=CONTRADICTED_MAX))
    until: Instant | None = None


class Credence:
    """The contradicted words of all nodes."""

    __slots__ = ("_by_node",)

    def __init__(self) -> None:
        self._by_node: OrderedDict[NodeId, _Record] = OrderedDict()

    def on_contradicted(self, node_id: NodeId, now: Instant) -> None:
        """A node said it holds something, and when asked, that it has it not."""
        record = self._by_node.setdefault(node_id, _Record())
        self._by_node.move_to_end(node_id)
        if len(self._by_node) > NODES_MAX:
            self._by_node.popitem(last=False)
        record.contradicted.append(now)
        is_full = len(record.contradicted) == CONTRADICTED_MAX
        if is_full and elapsed(record.contradicted[0], now) < SPAN:
            record.contradicted.clear()
            record.until = later(now, IGNORED)

    def is_ignored(self, node_id: NodeId, now: Instant) -> bool:
        """Whether a word of a node counts for nothing now."""
        record = self._by_node.get(node_id)
        return record is not None and record.until is not None and not is_due(record.until, now)

    def check(self) -> None:
        """Assert the limit."""
        assert len(self._by_node) <= NODES_MAX
