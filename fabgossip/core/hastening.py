"""Which lazy link would have brought news sooner than the tree did.

Decides: when a link is to carry an audience because it is faster than whoever brings it now.
Keeps: what is decided for one audience depends on that audience alone; no word of a peer makes a
row; a link that was tried and was not faster is left alone for `TRIED_AGAIN_AFTER`.
Must not know: what is announced, how a link becomes eager.

- A lazy link tells of news after a window of `have_ms`. If it tells less than that after the tree
  brought it, or before, it would have brought it sooner by the rest.
- Only the first teller of a prefix counts: the others would have been later.
- It takes `AGREEING` prefixes in a row that one link tells of first: where news starts at many
  nodes, each way is the fastest now and then.
"""

from collections import OrderedDict
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from fabgossip.core.config import DisseminationConfig
from fabgossip.core.events import LinkId
from fabgossip.model.moment import Duration, Instant, elapsed, is_due, later
from fabgossip.model.scope import Audience

FASTER_BY: Final = Duration(5)
"""Less is not worth the copies that trying costs (*start*)."""
AGREEING: Final = 2
"""Prefixes in a row (*start*)."""
TRIED_AGAIN_AFTER: Final = Duration(60_000)
"""A peer may have shorter windows than ours: it looks faster than it is (*start*)."""
PREFIXES_MAX: Final = 64
"""Remembered of an audience: of more within a window nothing can be told apart (*start*)."""
V = TypeVar("V")


@dataclass(slots=True)
class _Row:
    """One audience."""

    brought: OrderedDict[bytes, Instant] = field(default_factory=OrderedDict)
    """When the tree brought a prefix nobody told of."""
    told: OrderedDict[bytes, tuple[LinkId, Instant]] = field(default_factory=OrderedDict)
    """Who told first of a prefix the tree has not brought."""
    fastest: LinkId | None = None
    agreeing: int = 0
    tried: dict[LinkId, None] = field(default_factory=dict)
    """Links that were to be faster and have not brought anything yet."""
    slower: dict[LinkId, Instant] = field(default_factory=dict)
    """Links that were not, and until when they are left alone."""


class Hastening:
    """Compares what lazy links tell with what the tree brings."""

    __slots__ = ("_config", "_rows")

    def __init__(self, config: DisseminationConfig) -> None:
        self._config = config
        self._rows: OrderedDict[Audience, _Row] = OrderedDict()

    def has_proved(self, audience: Audience, link: LinkId) -> bool:
        """A link brought something first: whether that was tried, and is settled by it."""
        row = self._rows.get(audience)
        if row is None or link not in row.tried:
            return False
        del row.tried[link]
        return True

    def on_brought(self, audience: Audience, prefix: bytes, now: Instant) -> LinkId | None:
        """The tree brought a prefix; gives the link that is to carry the audience from now on, if
        one would have been sooner."""
        row = self._rows.setdefault(audience, _Row())
        self._rows.move_to_end(audience)
        if len(self._rows) > self._config.audiences_max:
            self._rows.popitem(last=False)
        told = row.told.pop(prefix, None)
        if told is None:
            _remember(row.brought, prefix, now)
            return None
        return self._judge(row, told[0], now, is_faster=True)

    def on_told(
        self, audience: Audience, prefix: bytes, link: LinkId, now: Instant
    ) -> LinkId | None:
        """A lazy link told of a prefix; gives it if it is to carry the audience from now on."""
        row = self._rows.get(audience)
        if row is None or prefix in row.told:
            return None
        at = row.brought.pop(prefix, None)
        if at is None:
            _remember(row.told, prefix, (link, now))
            return None
        window = self._config.have_ms - FASTER_BY
        return self._judge(row, link, now, is_faster=elapsed(at, now) <= window)

    def _judge(self, row: _Row, link: LinkId, now: Instant, *, is_faster: bool) -> LinkId | None:
        until = row.slower.get(link)
        if not is_faster or (until is not None and not is_due(until, now)):
            row.fastest, row.agreeing = None, 0
            return None
        row.agreeing = row.agreeing + 1 if link == row.fastest else 1
        row.fastest = link
        if row.agreeing < AGREEING:
            return None
        row.fastest, row.agreeing = None, 0
        row.slower.pop(link, None)
        row.tried[link] = None
        return link

    def on_duplicate(self, audience: Audience, link: LinkId, now: Instant) -> None:
        """A link brought what another one had brought before."""
        row = self._rows.get(audience)
        if row is not None and link in row.tried:
            del row.tried[link]
            row.slower[link] = later(now, TRIED_AGAIN_AFTER)

    def on_lost(self, link: LinkId) -> None:
        """A link ended."""
        for row in self._rows.values():
            row.tried.pop(link, None)
            row.slower.pop(link, None)
            for prefix in [one for one, told in row.told.items() if told[0] == link]:
                del row.told[prefix]
            if row.fastest == link:
                row.fastest, row.agreeing = None, 0

    def check(self) -> None:
        """Assert the limits."""
        assert len(self._rows) <= self._config.audiences_max
        assert all(len(row.brought) <= PREFIXES_MAX for row in self._rows.values())
        assert all(len(row.told) <= PREFIXES_MAX for row in self._rows.values())


def _remember(rows: MutableMapping[bytes, V], prefix: bytes, value: V) -> None:
    rows[prefix] = value
    if len(rows) > PREFIXES_MAX:
        del rows[next(iter(rows))]
