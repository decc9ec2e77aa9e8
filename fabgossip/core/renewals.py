"""What is near its refresh time, by what climbs for it together.

Decides: which heads somebody may be expected to renew; which names one climb asks for.
Keeps: trust that ran out comes before anything else, for nobody is told of anything by it; each
climb asks for the next names, and round.
Must not know: whom to ask, what an answer is worth.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from fabgossip.core.catalog import GONE_STATES, Head
from fabgossip.core.disclosure import traffic_of
from fabgossip.core.events import LinkId
from fabgossip.core.lasting import is_for
from fabgossip.core.machines import Machines
from fabgossip.core.wants import Want, WantState, goal_of, wanted_from
from fabgossip.model.artifact import NO_ORDER, Order
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Instant, Now, is_past
from fabgossip.model.scope import Audience

Group: TypeAlias = tuple[bool, Audience]
"""What climbs together: whether it is not of the trust lane, and for whom it is. Trust sorts first.
"""


@dataclass(slots=True)
class Renewal:
    """The climb of one audience."""

    want: Want
    """Where it stands: for the version that is due first."""
    due: tuple[str, ...]
    """The namespaces that are due."""
    names: tuple[str, ...]
    """Those of them that are asked for in this climb, as many as one question asks for: each climb
    asks for the next ones, and round."""
    look_at: Instant
    """When something has to be done although nothing happens."""
    question: int = 0
    """The number of the one that is out, on its link."""
    asked: dict[str, Order] = field(default_factory=dict)
    """What it asks for, and the order each had."""
    has_answered: bool = False
    """Whether anything came as its answer."""
    has_brought: bool = False
    """Whether its source brought anything newer, by this question or one before."""

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is due any more."""
        return self.want.state is WantState.SATISFIED

    @property
    def link(self) -> LinkId | None:
        """By which a question is out."""
        source = self.want.source
        is_asked = self.want.state is WantState.FETCHING and source is not None
        return source.link if is_asked and source is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewingSnapshot:
    """Counts for status."""

    climbs: int
    """Climbs for something newer, those that wait for the next one included."""
    highest_step: str
    """Of all of them; `rung 5` of one that waits."""


class Due:
    """What of all heads is due."""

    __slots__ = ("_m",)

    def __init__(self, machines: Machines) -> None:
        self._m = machines

    def groups(self, now: Now) -> dict[Group, list[Head]]:
        """What applies here and is near its refresh time, by what climbs together. Cost:
        O(heads)."""
        lane, facts = self._m.beliefs.lane_namespaces(), self._m.beliefs.facts
        ends = (facts.bundle_expires_at, facts.revocations_expires_at)
        # Nobody is told of anything by trust that ran out: it comes first.
        is_only_trust = any(one is not None and is_past(one, now.unix) for one in ends)
        found: dict[Group, list[Head]] = {}
        if self._m.beliefs.freshness.is_revoked:
            return found
        for head in self._m.catalog.heads():
            if not self._m.refresh.is_due(head.manifest, now.unix):
                continue  # nearly all, and there may be a hundred thousand
            is_of_lane = head.manifest.namespace.text in lane
            if is_of_lane or (not is_only_trust and self._is_renewed(head)):
                found.setdefault((not is_of_lane, head.manifest.audience), []).append(head)
        return found

    def _is_renewed(self, head: Head) -> bool:
        """Whether somebody may be expected to renew it: what is withdrawn, revoked, expired, or
        listed no more, was given up."""
        manifest = head.manifest
        is_given_up = (
            head.state in GONE_STATES or manifest.tombstone is not None or head.is_unlisted
        )
        return not is_given_up and is_for(manifest, self._m.beliefs)

    def new_renewal(self, heads: list[Head], asked: tuple[str, ...], now: Now) -> Renewal:
        """A climb for these; `asked`: what the one before it asked for."""
        first = heads[0].verified
        want = Want(
            goal_of(first),
            wanted_from(first, is_read=False),
            first,
            traffic_of(first),
            now.instant,
            now.instant,
            is_for_head=True,
        )
        if heads[0].source is not None:
            want.on_announced(NodeId(heads[0].source))
        due = names_of(heads)
        return Renewal(want, due, self.next_names(due, asked), now.instant)

    def keep_due(self, renewal: Renewal) -> None:
        """Some of what is asked for may be due no more; where that is all of it, the next is asked
        for."""
        still = set(renewal.due)
        left = tuple(name for name in renewal.names if name in still)
        renewal.names = left or self.next_names(renewal.due, renewal.names)

    def next_names(self, due: tuple[str, ...], asked: tuple[str, ...]) -> tuple[str, ...]:
        """What one climb asks for, after one that asked for these."""
        return self._m.refresh.next_names(list(due), asked[-1] if asked else "")

    def has_newer(self, renewal: Renewal) -> bool:
        """Whether anything that the question asks for is newer than when it was asked."""
        return any(self.order_of(one) > before for one, before in renewal.asked.items())

    def order_of(self, name: str) -> Order:
        """What a namespace stands at."""
        head = self._m.catalog.find(name)
        return NO_ORDER if head is None else head.manifest.order

    def still_due(self, renewal: Renewal, now: Now) -> tuple[str, ...]:
        """The namespaces of a climb that are due even now."""
        return tuple(name for name in renewal.due if self.is_due(name, now))

    def is_due(self, name: str, now: Now) -> bool:
        """Whether a namespace is near its refresh time."""
        head = self._m.catalog.find(name)
        return head is not None and self._m.refresh.is_due(head.manifest, now.unix)


def names_of(heads: Iterable[Head]) -> tuple[str, ...]:
    """The namespaces of heads."""
    return tuple(head.manifest.namespace.text for head in heads)


def rank_of(group: Group) -> tuple[bool, tuple[str, ...]]:
    """Trust first, then by what the audience is called."""
    return group[0], tuple(one.text for one in group[1].scope_ids)
