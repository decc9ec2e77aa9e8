"""The links of this node, one by one: guest or neighbour.

Decides: nothing; keeps what was agreed.
Keeps: of all links to a node exactly one counts, an open one if there is one; one that said
nothing yet takes no other's place; nothing is kept of a link that ended.
Must not know: who should be a neighbour.
"""

from dataclasses import dataclass, field
from enum import Enum

from fabgossip.core.events import LinkId
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Instant


class Standing(Enum):
    """What a link is to this end."""

    GUEST = 1
    """Open or about to be, and no neighbour."""
    ASKED = 2
    """This end asked, and waits for the answer."""
    NEIGHBOR = 3


@dataclass(slots=True)
class Tie:
    """One link."""

    link: LinkId
    node_id: NodeId
    is_dialer: bool
    used_at: Instant
    """When it last carried anything but signs of life; of a fresh one, when it came to be."""
    standing: Standing = Standing.GUEST
    is_open: bool = False
    is_provisional: bool = False
    """A neighbour by nobody's word, because no directory said who should be."""
    is_needed: bool = False
    """Whether the other end said that it cannot do without."""
    asked_at: Instant | None = None
    refused_at: list[Instant] = field(default_factory=list)
    """When the other end was told no, newest last."""


class Ties:
    """All links, by number and by who is at the other end."""

    __slots__ = ("_by_link", "_by_node")

    def __init__(self) -> None:
        self._by_link: dict[LinkId, Tie] = {}
        self._by_node: dict[NodeId, LinkId] = {}

    def on_connected(self, tie: Tie) -> None:
        """A link is there; it counts if there is no other to the same node."""
        self._by_link[tie.link] = tie
        self._by_node.setdefault(tie.node_id, tie.link)

    def on_settled(self, link: LinkId, node_id: NodeId) -> None:
        """A link said hello, or was held against another that did: of all to its node it counts."""
        if link in self._by_link:
            self._by_node[node_id] = link

    def on_lost(self, link: LinkId) -> bool:
        """A link ended; whether it was the last one to its node. Cost: O(links)."""
        tie = self._by_link.pop(link, None)
        if tie is None or self._by_node[tie.node_id] != link:
            return False
        others = [one for one in self._by_link.values() if one.node_id == tie.node_id]
        if not others:
            del self._by_node[tie.node_id]
            return True
        opened = [one for one in others if one.is_open]
        self._by_node[tie.node_id] = (opened or others)[-1].link
        return False

    def find(self, link: LinkId) -> Tie | None:
        """The link of a number."""
        return self._by_link.get(link)

    def of(self, node_id: NodeId) -> Tie | None:
        """The link to a node that counts."""
        link = self._by_node.get(node_id)
        return None if link is None else self._by_link[link]

    def all(self) -> list[Tie]:
        """All links, those that do not count too, oldest first."""
        return list(self._by_link.values())

    def counted(self) -> list[Tie]:
        """The links that count, oldest first."""
        return [self._by_link[link] for link in self._by_node.values()]

    def __len__(self) -> int:
        return len(self._by_node)

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._by_node

    def check(self) -> None:
        """Assert that both indices agree: every link counts, or another to its node does."""
        for node_id, link in self._by_node.items():
            assert self._by_link[link].node_id == node_id
        for tie in self._by_link.values():
            assert tie.node_id in self._by_node
            assert tie.is_open or tie.standing is Standing.GUEST
            assert not tie.is_provisional or tie.standing is Standing.NEIGHBOR
