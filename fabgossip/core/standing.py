"""What is held against a node, whatever link it comes by.

Decides: when a node has failed too often, was silenced too often, linked too often, or says hello
from too many processes; how long a node that was cut off is kept out, and one that reads too slowly
is served little.
Keeps: a new link starts with the old account; what is remembered of all nodes is bounded.
Must not know: what failed, what is done about a link.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from fabgossip.model.ids import BootId, NodeId
from fabgossip.model.moment import Duration, Instant, elapsed, is_due, later

FAILURES_MAX: Final = 8
FAILURES_SPAN: Final = Duration(60_000)
"""So many refused envelopes a node is to blame for within so long cut it off (*start*)."""
PROBES_MAX: Final = 100
PROBES_SPAN: Final = Duration(600_000)
"""So many lists of audiences it may not share within so long cut it off (*start*)."""
LINKS_MAX: Final = 30
LINKS_SPAN: Final = Duration(60_000)
"""So many links within so long cut a node off: each costs all this node may tell it. A path that
fails as soon as it is up again makes one every two seconds (*start*)."""
SLOW_READER: Final = Duration(60_000)
"""A node that took a content too slowly counts as slow for so long (*start*)."""
BARRED: Final = Duration(60_000)
"""A node that was cut off gets no new link for so long (*start*)."""
BARRED_MAX: Final = Duration(3_600_000)
"""The longest, and how long after the last time the next one is longer (*start*)."""
BOOT_CHANGES_MAX: Final = 3
BOOT_CHANGES_SPAN: Final = Duration(600_000)
"""A node that changes its process so often within so long may be two machines with one key
(*start*)."""
STANDINGS_MAX: Final = 4_096
"""Nodes remembered; the one unheard of for longest leaves (*start*)."""


@dataclass(frozen=True, slots=True)
class _Limit:
    """So often within so long is too often."""

    most: int
    span: Duration

    def noted(self, times: tuple[Instant, ...], now: Instant) -> tuple[Instant, ...]:
        """What is remembered once it happened again: most nodes never give reason for much."""
        return (*times, now)[-self.most :]

    def is_reached(self, times: tuple[Instant, ...]) -> bool:
        """Whether it was too often."""
        return len(times) == self.most and elapsed(times[0], times[-1]) < self.span


_FAILURES: Final = _Limit(FAILURES_MAX, FAILURES_SPAN)
_PROBES: Final = _Limit(PROBES_MAX, PROBES_SPAN)
_LINKS: Final = _Limit(LINKS_MAX, LINKS_SPAN)
_BOOT_CHANGES: Final = _Limit(BOOT_CHANGES_MAX, BOOT_CHANGES_SPAN)


@dataclass(slots=True)
class _Standing:
    """One node's account: when what happened, newest last, never more than its limit."""

    failures: tuple[Instant, ...] = ()
    probes: tuple[Instant, ...] = ()
    changes: tuple[Instant, ...] = ()
    links: tuple[Instant, ...] = ()
    slow_until: Instant | None = None
    boot_id: BootId | None = None
    barred_until: Instant | None = None
    barred_for: Duration = BARRED
    cloned: tuple[Instant, Duration] | None = None
    """When it changed too often, and how long the changes took."""


@dataclass(frozen=True, slots=True)
class Clone:
    """A node that says hello from changing processes."""

    node_id: NodeId
    within: Duration
    """Its last `BOOT_CHANGES_MAX` changes took so long."""
    ends_in: Duration
    """When it is forgotten, if it changes no more."""


class Standings:
    """The accounts of all nodes that ever gave reason for one."""

    __slots__ = ("_cut", "_standings")

    def __init__(self) -> None:
        self._standings: OrderedDict[NodeId, _Standing] = OrderedDict()
        self._cut = 0

    def _of(self, node_id: NodeId) -> _Standing:
        standing = self._standings.setdefault(node_id, _Standing())
        self._standings.move_to_end(node_id)
        if len(self._standings) > STANDINGS_MAX:
            self._standings.popitem(last=False)
        return standing

    def on_failed(self, node_id: NodeId, now: Instant) -> bool:
        """A node sent an envelope that was refused by its fault; whether it is cut off for it."""
        standing = self._of(node_id)
        standing.failures = _FAILURES.noted(standing.failures, now)
        if not self._is_over(standing, now, is_reached=_FAILURES.is_reached(standing.failures)):
            return False
        standing.failures = ()
        return True

    def on_probe(self, node_id: NodeId, now: Instant) -> bool:
        """A node asked about an audience it may not share; whether it is cut off for it."""
        standing = self._of(node_id)
        standing.probes = _PROBES.noted(standing.probes, now)
        if not self._is_over(standing, now, is_reached=_PROBES.is_reached(standing.probes)):
            return False
        standing.probes = ()
        return True

    def on_link(self, node_id: NodeId, now: Instant) -> bool:
        """A link to a node passed TLS, whoever dialled; whether it is cut off for it."""
        standing = self._of(node_id)
        standing.links = _LINKS.noted(standing.links, now)
        if not self._is_over(standing, now, is_reached=_LINKS.is_reached(standing.links)):
            return False
        standing.links = ()
        return True

    def on_slow(self, node_id: NodeId, now: Instant) -> None:
        """A node did not take what it asked for at the least pace."""
        self._of(node_id).slow_until = later(now, SLOW_READER)

    def is_slow(self, node_id: NodeId, now: Instant) -> bool:
        """Whether a node was too slow a reader a short while ago."""
        standing = self._standings.get(node_id)
        return (
            standing is not None
            and standing.slow_until is not None
            and not is_due(standing.slow_until, now)
        )

    def _is_over(self, standing: _Standing, now: Instant, *, is_reached: bool) -> bool:
        """Whether a node is cut off for what it did once more; one that is already stays so."""
        if not is_reached or self._is_out(standing, now):
            return False
        self._bar(standing, now)
        return True

    def on_flood(self, node_id: NodeId, now: Instant) -> None:
        """A node said far too much; it is cut off."""
        self._bar(self._of(node_id), now)

    def _bar(self, standing: _Standing, now: Instant) -> None:
        """The next time soon after the last lasts twice as long; what more came meanwhile, over
        another link, does not."""
        self._cut += 1
        if self._is_out(standing, now):
            return
        before = standing.barred_until
        goes_on = before is not None and elapsed(before, now) < BARRED_MAX
        standing.barred_for = (
            Duration(min(2 * standing.barred_for, BARRED_MAX)) if goes_on else BARRED
        )
        standing.barred_until = later(now, standing.barred_for)

    def on_boot(self, node_id: NodeId, boot_id: BootId, now: Instant) -> bool:
        """A node said hello from a process; whether it changed too often. Restarts count too: from
        outside, a machine that keeps crashing and two machines look alike."""
        standing = self._of(node_id)
        before, standing.boot_id = standing.boot_id, boot_id
        if before in (None, boot_id):
            return False
        standing.changes = _BOOT_CHANGES.noted(standing.changes, now)
        if not _BOOT_CHANGES.is_reached(standing.changes):
            return False
        standing.cloned = now, elapsed(standing.changes[0], now)
        standing.changes = ()
        return True

    def is_barred(self, node_id: NodeId, now: Instant) -> bool:
        """Whether a node gets no link now."""
        standing = self._standings.get(node_id)
        return standing is not None and self._is_out(standing, now)

    @staticmethod
    def _is_out(standing: _Standing, now: Instant) -> bool:
        return standing.barred_until is not None and not is_due(standing.barred_until, now)

    def clones(self, now: Instant) -> tuple[Clone, ...]:
        """Nodes that changed their process too often a short while ago."""
        return tuple(
            Clone(node_id, one.cloned[1], elapsed(now, later(one.cloned[0], BOOT_CHANGES_SPAN)))
            for node_id, one in self._standings.items()
            if one.cloned is not None and elapsed(one.cloned[0], now) < BOOT_CHANGES_SPAN
        )

    @property
    def cut(self) -> int:
        """How often a node was cut off since the start."""
        return self._cut

    def check(self) -> None:
        """Assert the limit."""
        assert len(self._standings) <= STANDINGS_MAX
