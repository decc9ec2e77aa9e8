"""The links of this node, one by one: guest or neighbour.

Decides: nothing; keeps what was agreed.
Keeps: of all links to a node exactly one counts, an open one if there is one; one that said
nothing yet takes no other's place; nothing is kept of a link that ended.
Must not know: who should be a neighbour.
"""

from dataclasses import dataclass, field
from enum import Enum

from fabgossip.core.events import LinkId
from fabgossip.core.rules import Present
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Instant


class Standing(Enum):
    """What a link is to this end."""

    GUEST = 1
    """Open or about to be, and no neighbour."""
    ASKED = 2
    """This end asked, and waits for the answer."""
    NEIGHBOR = 3


@dataclass(slots=True, eq=False)
class Tie:
    """One link."""

    link: LinkId
    node_id: NodeId
    is_dialer: bool
    used_at: Instant
    """When it last carried anything but signs of life; of a fresh one, when it came to be."""
    opened_at: Instant | None = None
    """When it passed the hello."""
    rests_until: Instant | None = None
    """Opened before its node, lost a moment ago, would have been dialled: until then this end asks
    for nothing, for what it was opened for is not everybody's business."""
    standing: Standing = Standing.GUEST
    is_open: bool = False
    is_provisional: bool = False
    """A neighbour by nobody's word, because no directory said who should be."""
    is_leaving: bool = False
    """Told to make room: it keeps none while it ends."""
    is_needed: bool = False
    """Whether the other end said that it cannot do without."""
    asked_at: Instant | None = None
    refused_at: list[Instant] = field(default_factory=list)
    """When the other end was told no, newest last."""
    present: tuple[int, Present] | None = None
    """The link as the rules see it by the directories of a revision."""


class Ties:
    """All links, by number and by who is at the other end."""

    __slots__ = ("_by_link", "_by_node", "_counted")

    def __init__(self) -> None:
        self._by_link: dict[LinkId, Tie] = {}
        self._by_node: dict[NodeId, list[Tie]] = {}
        """All links to a node, oldest first."""
        self._counted: dict[NodeId, Tie] = {}

    def on_connected(self, tie: Tie) -> None:
        """A link is there; it counts if there is no other to the same node."""
        self._by_link[tie.link] = tie
        self._by_node.setdefault(tie.node_id, []).append(tie)
        self._counted.setdefault(tie.node_id, tie)

    def on_settled(self, link: LinkId, node_id: NodeId) -> None:
        """A link said hello, or was held against another that did: of all to its node it counts."""
        if link in self._by_link:
            self._counted[node_id] = self._by_link[link]

    def on_lost(self, link: LinkId) -> bool:
        """A link ended; whether it was the last one to its node."""
        tie = self._by_link.pop(link, None)
        if tie is None:
            return False
        others = self._by_node[tie.node_id]
        others.remove(tie)
        if not others:
            del self._by_node[tie.node_id], self._counted[tie.node_id]
            return True
        if self._counted[tie.node_id] is tie:
            opened = [one for one in others if one.is_open]
            self._counted[tie.node_id] = (opened or others)[-1]
        return False

    def find(self, link: LinkId) -> Tie | None:
        """The link of a number."""
        return self._by_link.get(link)

    def of(self, node_id: NodeId) -> Tie | None:
        """The link to a node that counts."""
        return self._counted.get(node_id)

    def all(self) -> list[Tie]:
        """All links, those that do not count too, oldest first."""
        return list(self._by_link.values())

    def counted(self) -> list[Tie]:
        """The links that count, oldest first."""
        return list(self._counted.values())

    def __len__(self) -> int:
        return len(self._counted)

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._counted

    def check(self) -> None:
        """Assert that both indices agree: every link counts, or another to its node does."""
        assert self._by_node.keys() == self._counted.keys()
        assert sum(map(len, self._by_node.values())) == len(self._by_link)
        for node_id, tie in self._counted.items():
            assert tie.node_id == node_id
            assert tie in self._by_node[node_id]
        for tie in self._by_link.values():
            assert tie in self._by_node[tie.node_id]
            assert tie.is_open or tie.standing is Standing.GUEST
            assert not tie.is_provisional or tie.standing is Standing.NEIGHBOR
