"""What direct neighbours say they hold.

Decides: whether a neighbour is worth asking for a content.
Keeps: an advertisement is the neighbour's own word on its own link, grants nothing and ends with
the link.
Must not know: what this node holds or wants.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from fabgossip.core.config import HoldingsConfig
from fabgossip.core.events import LinkId
from fabgossip.model.messages import Holdings, HoldingsMode
from fabgossip.model.scope import Audience

AUDIENCES_PER_LINK_MAX: Final = 256
"""Audiences a link may speak of; of further ones its word is not kept."""


@dataclass(slots=True)
class _Word:
    """What one link said of one audience."""

    is_whole: bool = False
    """Whether it ever listed all it has or lacks: before, silence about a prefix decides nothing.
    """
    all_except: bool = False
    prefixes: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    since: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    """Prefixes advertised one by one after the whole list."""


class NeighborHoldings:
    """Advertisements by link and audience."""

    __slots__ = ("_config", "_words")

    def __init__(self, config: HoldingsConfig) -> None:
        self._config = config
        self._words: dict[LinkId, dict[Audience, _Word]] = {}

    def on_holdings(
        self, link: LinkId, holdings: Holdings, allowed: tuple[Audience, ...]
    ) -> tuple[bytes, ...]:
        """Take a neighbour's word about the audiences we may know; gives the prefixes newly
        advertised."""
        words = self._words.setdefault(link, {})
        if holdings.is_whole:
            words.clear()
        fresh: list[bytes] = []
        for entry in holdings.entries:
            if entry.audience not in allowed:
                continue
            if entry.audience not in words and len(words) >= AUDIENCES_PER_LINK_MAX:
                continue
            word = words.setdefault(entry.audience, _Word())
            if holdings.is_whole or entry.mode is HoldingsMode.ALL_EXCEPT:
                word.is_whole = entry.mode is not HoldingsMode.NONE
                word.all_except = entry.mode is HoldingsMode.ALL_EXCEPT
                word.prefixes = OrderedDict.fromkeys(entry.prefixes)
            elif entry.mode is HoldingsMode.ONLY:
                for prefix in entry.prefixes:
                    self._advertised(word, prefix)
            fresh += entry.prefixes if entry.mode is HoldingsMode.ONLY else ()
        return tuple(fresh)

    def _advertised(self, word: _Word, prefix: bytes) -> None:
        word.since[prefix] = None
        word.prefixes.pop(prefix, None) if word.all_except else None
        if len(word.since) > self._config.per_peer_max:
            word.since.popitem(last=False)

    def on_announced(self, link: LinkId, audience: Audience, prefix: bytes) -> None:
        """A link tells of something it listed as lacking: who gets a content tells of it, so that
        word is out of date."""
        word = self._words.get(link, {}).get(audience)
        if word is not None and word.all_except:
            word.prefixes.pop(prefix, None)

    def on_lost(self, link: LinkId) -> None:
        """A link ended, and with it its word."""
        self._words.pop(link, None)

    def says(self, link: LinkId, audience: Audience, prefix: bytes) -> bool | None:
        """Whether a link says it holds this; None if it said nothing that decides it."""
        word = self._words.get(link, {}).get(audience)
        if word is None:
            return None
        if prefix in word.since:
            return True
        if not word.is_whole:
            return None
        return prefix not in word.prefixes if word.all_except else prefix in word.prefixes

    def check(self) -> None:
        """Assert the limits."""
        for words in self._words.values():
            assert all(len(word.since) <= self._config.per_peer_max for word in words.values())
