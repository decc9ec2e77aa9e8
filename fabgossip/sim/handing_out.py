"""What the control plane signed, on its way into the fabric: handed to one node after the other
until one takes it.

Decides: who is given an artifact, and when it is offered again.
Keeps: the order of issue, but for what a node does not take yet; nothing leaves a control plane
that is dark.
Must not know: how artifacts are signed, what a node does with one.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from fabgossip.core.effects import Answer, Outcome
from fabgossip.model.artifact import Order
from fabgossip.model.scope import Namespace
from fabgossip.sim.authority import Issued
from fabgossip.sim.injection import Injection
from fabgossip.sim.machine import Host
from fabgossip.sim.measures import Measures
from fabgossip.sim.topology import SimNode
from fabgossip.sim.trace import Happened, Kind, world_event
from fabgossip.sim.world import NS_PER_S, WORLD, World
from fabgossip.trust.rejections import RejectionCode

RETRY_NS: Final = NS_PER_S
"""How long the control plane waits when no node takes an artifact."""
_NOT_YET: Final = frozenset(
    {RejectionCode.MODE_DENIED, RejectionCode.AUDIENCE_NOT_OURS, RejectionCode.KEY_UNKNOWN,
     RejectionCode.EPOCH_UNKNOWN, RejectionCode.STORE_FULL}
)  # fmt: skip
"""What a node says that lacks its own snapshot, claims of the epoch, the newest bundle or space: it
is offered the same again, or another node is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """Who is given an artifact first."""

    group: str
    lot: int | None
    """Which of those that run, of 2^64; None: the first."""


STORING: Final = First(group="", lot=None)
"""Who stores for the cluster is given what is the control plane's own."""


class HandingOut:
    """The artifacts no node has taken yet."""

    def __init__(
        self,
        world: World,
        nodes: tuple[SimNode, ...],
        hosts: Mapping[int, Host],
        injection: Injection,
        measures: Measures,
        on_issued: Callable[[Issued], None],
    ) -> None:
        self._world = world
        self._nodes = nodes
        self._hosts = hosts
        self._injection = injection
        self._measures = measures
        self._on_issued = on_issued
        self._queue: deque[tuple[Issued, First]] = deque()
        self._deferred: deque[tuple[Issued, First]] = deque()
        self._offered: dict[Namespace, Order] = {}
        """The highest handed to a process, which may have taken it and died before it said so."""
        self._is_handing_out = False

    def issue(self, issued: tuple[Issued, ...], first: First) -> Happened:
        """These are signed now."""
        for one in issued:
            self._on_issued(one)
            self._queue.append((one, first))
        if not self._is_handing_out:
            self._hand_out()
        return world_event(Kind.PUBLISH, " ".join(one.envelope.hex() for one in issued))

    def once_light(self, action: Callable[[], Happened]) -> None:
        """Once the control plane is not dark any more."""
        self._at(max(self._injection.light_ns, self._world.now_ns) + RETRY_NS, action)

    def _at(self, at_ns: int, action: Callable[[], Happened]) -> None:
        self._world.schedule(at_ns, WORLD, WORLD, action)

    def _hand_out(self) -> None:
        self._is_handing_out = bool(self._queue)
        if not self._queue:
            return
        issued, first = self._queue[0]
        if self._injection.is_dark:
            self.once_light(self._try_again)
            return
        host = self._first_up(first)
        if host is None or host.process is None:
            self._at(self._world.now_ns + RETRY_NS, self._try_again)
            return
        process, manifest = host.process, issued.manifest
        offered = self._offered.get(manifest.namespace, manifest.order)
        self._offered[manifest.namespace] = max(offered, manifest.order)
        answered = partial(self._on_answer, issued)
        self._world.schedule(
            self._world.now_ns, host.index, WORLD, partial(process.submit, issued, answered)
        )

    def _try_again(self) -> Happened:
        self._hand_out()
        return world_event(Kind.PUBLISH, "again")

    def _first_up(self, first: First) -> Host | None:
        """The node that is given something, of those that run."""
        running = [
            self._hosts[node.index]
            for node in self._nodes
            if _is_meant(first.group, node) and self._hosts[node.index].process is not None
        ]
        if not running:
            return None
        return running[0 if first.lot is None else (first.lot * len(running)) >> 64]

    def _on_answer(self, issued: Issued, answer: Answer | None) -> None:
        if answer is None:
            self._at(self._world.now_ns + RETRY_NS, self._try_again)
            return
        handed = self._queue.popleft()
        if answer.code in _NOT_YET:
            self._deferred.append(handed)
        elif answer.outcome in (Outcome.ADMITTED, Outcome.ALREADY_CURRENT):
            self._offer_again()
        elif not self._is_overtaken(issued, answer):
            self._measures.on_refused(issued, f"{answer.outcome.value} {answer.code}")
        if self._deferred and not self._queue:
            self._offer_again()
            self._at(self._world.now_ns + RETRY_NS, self._try_again)
            return
        self._hand_out()

    def _is_overtaken(self, issued: Issued, answer: Answer) -> bool:
        """By an epoch, or by a later version that was handed out while this one waited."""
        if answer.code == RejectionCode.VERSION_ROLLBACK:
            return self._offered[issued.manifest.namespace] > issued.manifest.order
        return answer.code == RejectionCode.EPOCH_STALE

    def _offer_again(self) -> None:
        """What was not taken yet comes before what is left, in its old order."""
        self._queue.extendleft(reversed(self._deferred))
        self._deferred.clear()


def _is_meant(group: str, node: SimNode) -> bool:
    if group == "*":
        return node.hostility is None
    return node.group == group if group else "cluster" in node.assigned
