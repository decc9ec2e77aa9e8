"""Whether a node says of itself what is so, and leaves no want without an end.

Decides: held, violated or unproved, per checker.
Keeps: books are the disk, the local state and the links of its host; it is asked at the end of each
phase and changes nothing.
Must not know: how a node keeps what it says.

| id | an honest node ... |
|---|---|
| S24 | reports no head, holding, local state, link or condition that its disk and its host deny |
| L7 | has no want that waits without a reason and a time, or climbs on and on |
"""

from typing import Final

from fabgossip.core.catalog import HOLDING_STATES, Head, HeadState
from fabgossip.core.events import LinkId
from fabgossip.core.ladder import ASKING, IDLE_MS
from fabgossip.core.view import View
from fabgossip.core.wants import Want, WantState
from fabgossip.model.mode import Mode
from fabgossip.model.moment import Instant, Now, elapsed
from fabgossip.sim.checkers import Docket
from fabgossip.sim.disk import SimDisk
from fabgossip.sim.ledger import Ledger

HEADS_A_TIME: Final = 256
CLIMB_MS_MAX: Final = 2 * sum(IDLE_MS[step] for step in ASKING) + 60_000
"""A climb whose sources bring a byte now and then is not silent: bytes of a content of the greatest
size at the least pace are let come for a minute (*start*)."""


class Reported:
    """S24: what a node shows is what is there."""

    def __init__(self, ledger: Ledger, docket: Docket) -> None:
        self._ledger = ledger
        self._docket = docket
        self._count = docket.open("S24")

    def on_audit(
        self, index: int, view: View, disk: SimDisk, links: frozenset[LinkId], now: Now
    ) -> None:
        """A node is asked for all it shows. Cost: O(heads)."""
        snapshot, heads = view.snapshot(now), all_heads(view)
        self._count.checks += 1
        if snapshot.namespaces.total != len(heads):
            told = f"{snapshot.namespaces.total} heads told, {len(heads)} shown"
            self._violated("heads", index, told)
        gone = [one.link for one in view.sessions() if one.link not in links]
        if gone:
            self._violated("links", index, f"links {gone} are over")
        if snapshot.mode is Mode.FRESH and not disk.is_whole:
            self._violated("mode", index, "fresh, and its disk is not whole")
        for head in heads:
            self._check_head(index, head, disk)

    def _check_head(self, index: int, head: Head, disk: SimDisk) -> None:
        name, order = head.manifest.namespace.text, head.manifest.order
        self._count.checks += 1
        if head.state in HOLDING_STATES and head.manifest.content_hash not in disk.sizes:
            self._violated("holding", index, f"{name} {order} is {head.state.value}, and not here")
        local = disk.local.get(name)
        shown = () if local is None else (local.current, local.staged)
        if head.state is HeadState.CURRENT and order not in shown:
            self._violated("current", index, f"{name} {order} told, {shown} shown")

    def _violated(self, what: str, index: int, detail: str) -> None:
        self._docket.violated("S24", what, index, f"{self._ledger.node_id(index)}: {detail}")


class Wanting:
    """L7: a want ends, or waits for something that has a name."""

    def __init__(self, ledger: Ledger, docket: Docket) -> None:
        self._ledger = ledger
        self._docket = docket
        self._count = docket.open("L7")

    def on_audit(self, index: int, view: View, now: Instant) -> None:
        """The run is over, or a phase of it. Cost: O(heads)."""
        for head in all_heads(view):
            want = view.want_of(head.verified)
            if want is not None:
                self._count.checks += 1
            if isinstance(want, Want):
                self._check(index, head, want, now)

    def _check(self, index: int, head: Head, want: Want, now: Instant) -> None:
        if want.state is WantState.PARKED:
            if want.waits_for_disk is None and not want.attempts and want.last_good is None:
                self._violated("parked without a reason", index, head, want)
            if want.waits_for_disk is None and elapsed(want.retry_at, now) > 0:
                self._violated("parked past its time", index, head, want)
            return
        since = want.climb_since
        if since is not None and elapsed(since, now) > CLIMB_MS_MAX:
            self._violated("climbs on", index, head, want)

    def _violated(self, what: str, index: int, head: Head, want: Want) -> None:
        name = f"{head.manifest.namespace.text} {head.manifest.order}"
        told = f"{want.state.value} at {want.step.value}, {len(want.attempts)} tries"
        self._docket.violated("L7", what, index, f"{self._ledger.node_id(index)}: {name} {told}")


def all_heads(view: View) -> list[Head]:
    """All heads of a node, in order."""
    found: list[Head] = []
    after = ""
    while True:
        page = view.heads_after(after, HEADS_A_TIME)
        found += page
        if len(page) < HEADS_A_TIME:
            return found
        after = page[-1].manifest.namespace.text
