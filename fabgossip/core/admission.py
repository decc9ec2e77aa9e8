"""Who may become a neighbour, and who must make room.

Decides: the answer to a peer that asks; whom to let go.
Keeps: a node in need of a link is never refused for the comfort of others, up to a limit; one that
was let go is told that we live and when to come back; nobody is let go whom a rule needs.
Must not know: how a link is ended, what is said over it.

- Up to `links_ordinary_max` neighbours everybody is taken; beyond, up to `links_upward_max`, only
  who asks for a neighbour that stands before it, or has no other link in an audience we share.
- At that limit the most redundant neighbour goes to make room for one in need, one in 30 s at most.
- Beyond `links_ordinary_max` one that is redundant is let go a minute.
- Thin nodes are counted apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from fabgossip.core.config import NeighborsConfig
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import NeighborAsk, NeighborPurpose
from fabgossip.model.moment import Duration, Instant, is_due, later

EVICT_EVERY: Final = Duration(30_000)
SHED_EVERY: Final = Duration(60_000)
"""Churn must not feed itself (*start*)."""
APART_S: Final = 600
"""A pair stays apart for so long once one end let the other go (*start*)."""
NO_RETRY_S: Final = 60
"""One constant for every no: it tells nothing. No longer, as who is refused may just have been
listed by a directory that is still on its way (*start*)."""


class Verdict(Enum):
    """What becomes of an ask."""

    YES = 1
    NO = 2
    FULL = 3
    """Of a thin node: it should find another place."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A neighbour as admission sees it, and how easily it is missed."""

    node_id: NodeId
    is_thin: bool
    is_needed: bool
    """Whether the other end said that it needs this link."""


class Admission:
    """Answers asks and makes room."""

    __slots__ = ("_config", "_evicted_at", "_shed_at")

    def __init__(self, config: NeighborsConfig) -> None:
        self._config = config
        self._evicted_at: Instant | None = None
        self._shed_at: Instant | None = None

    def answer(
        self,
        ask: NeighborAsk,
        admitted: Sequence[Admitted],
        redundant: Sequence[NodeId],
        now: Instant,
    ) -> tuple[Verdict, NodeId | None]:
        """What to say to a member of a shared audience, and who has to go for it; `redundant`:
        who may, most dispensable first."""
        if ask.purpose is NeighborPurpose.THIN:
            children = sum(one.is_thin for one in admitted)
            is_full = children >= self._config.thin_children_max
            return Verdict.FULL if is_full else Verdict.YES, None
        count = sum(not one.is_thin for one in admitted)
        if count < self._config.links_ordinary_max:
            return Verdict.YES, None
        if not is_needy(ask):
            return Verdict.NO, None
        if count < self._config.links_upward_max:
            return Verdict.YES, None
        if not redundant or not self._may(self._evicted_at, EVICT_EVERY, now):
            return Verdict.NO, None
        self._evicted_at = now
        return Verdict.YES, redundant[0]

    def is_crowded(self, admitted: Sequence[Admitted], now: Instant) -> bool:
        """Whether somebody redundant may be let go now."""
        count = sum(not one.is_thin for one in admitted)
        return count > self._config.links_ordinary_max and self._may(self._shed_at, SHED_EVERY, now)

    def on_shed(self, now: Instant) -> None:
        """Somebody was."""
        self._shed_at = now

    @staticmethod
    def _may(last: Instant | None, every: Duration, now: Instant) -> bool:
        return last is None or is_due(later(last, every), now)


def is_needy(ask: NeighborAsk) -> bool:
    """Whether a peer says that it cannot do without."""
    return ask.is_needed or ask.purpose is NeighborPurpose.UPWARD
