"""What lazy links told us exists, and when to ask for it if the tree does not bring it.

Decides: when a prefix is asked for, and of whom next.
Keeps: a prefix of an audience is asked of one link at a time, of at most `GRAFTS_MAX` in all; what
arrives is forgotten; what a link tells takes no other link's room, and what it tells of one
audience keeps nobody from telling the same of another.
Must not know: what a prefix stands for, who may know of it.
"""

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from fabgossip.core.events import LinkId
from fabgossip.core.ordered import OrderedMap
from fabgossip.model.moment import Duration, Instant, is_due, later
from fabgossip.model.scope import Audience

GRAFTS_MAX: Final = 3
"""Links a prefix is asked of; after that comparing sets finds it (*start*)."""
NEWS_PER_LINK_MAX: Final = 1_024
"""Prefixes a link is waited for with; of more, comparing sets finds what it has (*start*)."""
GRAFT_MIN: Final = Duration(100)
"""The tree is given at least this long after the news (*start*)."""
_Name: TypeAlias = tuple[bytes, Audience]


@dataclass(slots=True)
class _Awaited:
    due: tuple[Instant, int]
    """The number makes it one of its kind."""
    tellers: dict[LinkId, Duration] = field(default_factory=dict)
    """Who told of it and was not asked yet, and how long each may take to answer: in the order in
    which they are asked."""
    asked: int = 0


class News:
    """The prefixes waited for, each in the audience it was told in."""

    __slots__ = ("_by_due", "_by_link", "_number", "_rows", "_timer_at")

    def __init__(self) -> None:
        self._rows: dict[bytes, dict[Audience, _Awaited]] = {}
        self._by_due: OrderedMap[tuple[Instant, int], _Name] = OrderedMap()
        self._by_link: dict[LinkId, dict[_Name, None]] = {}
        """What each link may still be asked for."""
        self._number = 0
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
        told = self._by_link.setdefault(link, {})
        for prefix in prefixes:
            if len(told) >= NEWS_PER_LINK_MAX:
                return
            row = self._rows.setdefault(prefix, {}).get(audience)
            if row is None:
                row = self._rows[prefix][audience] = self._new((prefix, audience), later(now, wait))
            if link in row.tellers:
                continue
            told[(prefix, audience)] = None
            if row.asked or later(now, wait) >= row.due[0]:
                row.tellers[link] = wait
            else:
                # How long one teller takes is no reason to wait where another is faster.
                row.tellers = {link: wait, **row.tellers}
                self._move((prefix, audience), row, later(now, wait))

    def _new(self, name: _Name, at: Instant) -> _Awaited:
        self._number += 1
        row = _Awaited((at, self._number))
        self._by_due[row.due] = name
        return row

    def on_seen(self, prefix: bytes, audience: Audience) -> None:
        """It came, from wherever. Whoever told of it by the name of another audience, told of
        something else."""
        if audience in self._rows.get(prefix, ()):
            self._end((prefix, audience))

    def on_lost(self, link: LinkId) -> None:
        """A link ended: it is asked for nothing any more."""
        for prefix, audience in self._by_link.pop(link, {}):
            del self._rows[prefix][audience].tellers[link]

    def next_grafts(self, now: Instant) -> list[tuple[LinkId, Audience, tuple[bytes, ...]]]:
        """What to ask for now, by link and audience, in the order it comes due; the next link is
        asked once this one had its time to answer. Cost: what is due."""
        asks: dict[tuple[LinkId, Audience], list[bytes]] = {}
        due = self._by_due.items_up_to((now, self._number), len(self._by_due))
        for _, (prefix, audience) in due:
            row = self._rows[prefix][audience]
            if not row.tellers or row.asked >= GRAFTS_MAX:
                self._end((prefix, audience))
                continue
            link = next(iter(row.tellers))
            wait = row.tellers.pop(link)
            del self._by_link[link][(prefix, audience)]
            row.asked += 1
            self._move((prefix, audience), row, later(now, wait))
            asks.setdefault((link, audience), []).append(prefix)
        return [(link, audience, tuple(run)) for (link, audience), run in asks.items()]

    def _move(self, name: _Name, row: _Awaited, at: Instant) -> None:
        self._by_due.discard(row.due)
        row.due = (at, row.due[1])
        self._by_due[row.due] = name

    def _end(self, name: _Name) -> None:
        prefix, audience = name
        row = self._rows[prefix].pop(audience)
        if not self._rows[prefix]:
            del self._rows[prefix]
        self._by_due.discard(row.due)
        for link in row.tellers:
            del self._by_link[link][name]

    def next_due(self, now: Instant) -> Instant | None:
        """When to look again, if no timer is set for that yet."""
        if self._timer_at is not None and is_due(self._timer_at, now):
            self._timer_at = None
        first = next((due[0] for due, _ in self._by_due.items()), None)
        if first is None or (self._timer_at is not None and self._timer_at <= first):
            return None
        self._timer_at = first
        return first

    def check(self) -> None:
        """Assert the limits, and that each row is found by its time and by its links."""
        rows = {
            (prefix, audience): row
            for prefix, found in self._rows.items()
            for audience, row in found.items()
        }
        assert dict(self._by_due.items()) == {row.due: name for name, row in rows.items()}
        assert all(row.asked <= GRAFTS_MAX for row in rows.values())
        told = {(link, name) for name, row in rows.items() for link in row.tellers}
        assert told == {(link, name) for link, names in self._by_link.items() for name in names}
        assert all(len(names) <= NEWS_PER_LINK_MAX for names in self._by_link.values())
