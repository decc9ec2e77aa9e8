"""Whether what must happen in the end did, judged by the truth once the faults are over.

Decides: held, violated or unproved, per checker of liveness.
Keeps: a checker hears facts and changes nothing; only what no fault excuses is a violation.
Must not know: what a node decides, or why.

| id | after the heal phase |
|---|---|
| L1 | every node that is up applies the newest of what it is entitled to |
| L5 | links to the dead are dropped, and none to a live, reachable node was |
| L6 | messages are as few as in the quiet phase, within a tenth |
| L9 | each audience is in one piece |
"""

from collections.abc import Callable
from typing import Final

from fabgossip.core.events import LostReason
from fabgossip.sim.agreement import Agreement
from fabgossip.sim.checkers import Docket
from fabgossip.sim.ledger import Ledger

DEAD_NS: Final = 15_000_000_000
"""A dead neighbour is dropped within this: 9.4 s until it is doubted, and replaced; 5 s more until
the link ends (*start*)."""
RATE_WINDOW_NS: Final = 10_000_000_000
"""Rates over less are no rates."""


class Dropped:
    """L5: the living are kept, the dead are not."""

    def __init__(
        self,
        ledger: Ledger,
        docket: Docket,
        is_up: Callable[[int], bool],
        is_excused: Callable[[int, int], bool],
    ) -> None:
        self._ledger = ledger
        self._docket = docket
        self._count = docket.open("L5")
        self._is_up = is_up
        self._is_excused = is_excused
        self._down_since: dict[int, int] = {}
        self.false_evictions = 0

    def on_crashed(self, index: int) -> None:
        """A node went down."""
        self._down_since[index] = self._docket.now_ns

    def on_begun(self, index: int) -> None:
        """It is up."""
        self._down_since.pop(index, None)

    def on_lost(self, index: int, other: int, reason: LostReason) -> None:
        """A link ended at a node."""
        self._count.checks += 1
        if reason is LostReason.TIMEOUT and self._is_up(other):
            if self._is_excused(index, other):
                return
            self.false_evictions += 1
            names = self._ledger.node_id(index), self._ledger.node_id(other)
            self._docket.violated("L5", "dropped", index, f"{names[0]} gave up {names[1]}, alive")

    def on_end(self, links: list[tuple[int, int]]) -> None:
        """The run is over: no node that is up has a link to one long dead."""
        for index, other in links:
            self._count.checks += 1
            since = self._down_since.get(other)
            if since is not None and self._docket.now_ns - since > DEAD_NS:
                names = self._ledger.node_id(index), self._ledger.node_id(other)
                self._docket.violated("L5", "kept", index, f"{names[0]} keeps {names[1]}, dead")


class Calm:
    """L6: a storm ends with what caused it."""

    def __init__(self, docket: Docket) -> None:
        self._docket = docket
        self._count = docket.open("L6")
        self._quiet: tuple[int, int] | None = None
        """Messages and nanoseconds."""

    def on_quiet(self, messages: int, lasted_ns: int) -> None:
        """The quiet phase is over."""
        if lasted_ns >= RATE_WINDOW_NS:
            self._quiet = (messages, lasted_ns)

    def on_end(self, messages: int, lasted_ns: int) -> None:
        """So many messages in the last part of the run."""
        if self._quiet is None or lasted_ns < RATE_WINDOW_NS:
            return
        self._count.checks += 1
        quiet, quiet_ns = self._quiet
        if messages * quiet_ns * 10 > quiet * lasted_ns * 11:
            detail = f"{messages} messages in {lasted_ns} ns, {quiet} in {quiet_ns} ns before"
            self._docket.violated("L6", "rate", 0, detail)


class Whole:
    """L1 and L9: everybody has the newest, and every audience hangs together."""

    def __init__(self, ledger: Ledger, docket: Docket) -> None:
        self._ledger = ledger
        self._docket = docket
        self._newest = docket.open("L1")
        self._pieces = docket.open("L9")

    def on_newest(self, behind: list[str]) -> None:
        """The run is over; these lack something."""
        self._newest.checks += 1
        if behind:
            detail = f"{len(behind)} behind, first {behind[0]}"
            self._docket.violated("L1", "behind", 0, detail)

    def on_pieces(self, agreement: Agreement) -> None:
        """It had time to come together."""
        self._pieces.checks += 1
        for audience, count in agreement.pieces():
            names = " ".join(scope.text for scope in audience.scope_ids)
            self._docket.violated("L9", "pieces", 0, f"{names} is in {count} pieces")
