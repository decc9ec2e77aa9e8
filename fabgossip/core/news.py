"""What lazy links told us exists, and when to ask for it if the tree does not bring it.

Decides: when a prefix is asked for, and of whom next.
Keeps: a prefix is asked of one link at a time, of at most `GRAFTS_MAX` in all; what arrives is
forgotten.
Must not know: what a prefix stands for, who may know of it.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from fabgossip.core.events import LinkId
from fabgossip.model.moment import Duration, Instant, is_due, later
from fabgossip.model.scope import Audience

GRAFTS_MAX: Final = 3
"""Links a prefix is asked of; after that comparing sets finds it (*start*)."""
NEWS_MAX: Final = 4_096
"""Prefixes waited for; the oldest leaves, and comparing sets finds it (*start*)."""
GRAFT_MIN: Final = Duration(100)
"""The tree is given at least this long after the news (*start*)."""


@dataclass(slots=True)
class _Awaited:
    audience: Audience
    due: Instant
    links: list[LinkId] = field(default_factory=list)
    """Who told of it and was not asked yet, first told first."""
    asked: int = 0


class News:
    """The prefixes waited for."""

    __slots__ = ("_rows", "_timer_at")

    def __init__(self) -> None:
        self._rows: OrderedDict[bytes, _Awaited] = OrderedDict()
        self._timer_at: Instant | None = None

    def on_told(
        self,
        link: LinkId,
        audience: Audience,
        prefixes: tuple[bytes, ...],
        wait: Duration,
        now: Instant,
    ) -> None:
        """A lazy link told of prefixes never seen here."""
        for prefix in prefixes:
            row = self._rows.get(prefix)
            if row is None:
                row = self._rows[prefix] = _Awaited(audience, later(now, wait))
            if link not in row.links and row.audience == audience:
                row.links.append(link)
        while len(self._rows) > NEWS_MAX:
            self._rows.popitem(last=False)

    def on_seen(self, prefix: bytes) -> None:
        """It came, from wherever."""
        self._rows.pop(prefix, None)

    def on_lost(self, link: LinkId) -> None:
        """A link ended: it is asked for nothing any more."""
        for row in self._rows.values():
            if link in row.links:
                row.links.remove(link)

    def next_grafts(
        self, wait: Duration, now: Instant
    ) -> list[tuple[LinkId, Audience, tuple[bytes, ...]]]:
        """What to ask for now, by link and audience, in the order it was told; the next link is
        asked after another `wait`."""
        asks: dict[tuple[LinkId, Audience], list[bytes]] = {}
        for prefix, row in tuple(self._rows.items()):
            if not is_due(row.due, now):
                continue
            if not row.links or row.asked >= GRAFTS_MAX:
                del self._rows[prefix]
                continue
            link = row.links.pop(0)
            row.asked += 1
            row.due = later(now, wait)
            asks.setdefault((link, row.audience), []).append(prefix)
        return [(link, audience, tuple(run)) for (link, audience), run in asks.items()]

    def next_due(self, now: Instant) -> Instant | None:
        """When to look again, if no timer is set for that yet."""
        if self._timer_at is not None and is_due(self._timer_at, now):
            self._timer_at = None
        first = min((row.due for row in self._rows.values()), default=None)
        if first is None or (self._timer_at is not None and self._timer_at <= first):
            return None
        self._timer_at = first
        return first

    def check(self) -> None:
        """Assert the limits."""
        assert len(self._rows) <= NEWS_MAX
        assert all(row.asked <= GRAFTS_MAX for row in self._rows.values())
