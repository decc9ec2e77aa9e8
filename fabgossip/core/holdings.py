"""What direct neighbours say they hold.

Decides: whether a neighbour is worth asking for a content.
Keeps: an advertisement is the neighbour's own word on its own link, grants nothing and ends with
the link; where a part of it was lost, what was said before decides nothing.
Must not know: what this node holds or wants.
"""

from dataclasses import dataclass, field
from typing import Final

from fabgossip.core.config import HoldingsConfig
from fabgossip.core.events import LinkId
from fabgossip.model.messages import Holdings, HoldingsEntry, HoldingsMode
from fabgossip.model.scope import Audience

AUDIENCES_PER_LINK_MAX: Final = 256
"""Audiences a link may speak of; of further ones its word is not kept."""


@dataclass(slots=True)
class _Word:
    """What one link listed of one audience."""

    is_whole: bool = False
    """Whether it ever listed all it has or lacks: before, silence about a prefix decides nothing.
    """
    all_except: bool = False
    prefixes: dict[bytes, None] = field(default_factory=dict)


@dataclass(slots=True)
class _Said:
    """All one link said."""

    sequence: int | None = None
    """Of the newest message; None before the first."""
    words: dict[Audience, _Word] = field(default_factory=dict)
    listed: int = 0
    """Prefixes in all words."""
    since: dict[bytes, Audience] = field(default_factory=dict)
    """Prefixes advertised one by one after the lists."""
    missing: dict[bytes, None] = field(default_factory=dict)
    """Prefixes it was asked for and had not, whatever it said before; for readers alone."""


class NeighborHoldings:
    """Advertisements by link and audience. Of each link at most `per_peer_max` prefixes of lists
    are kept, and as many that were advertised one by one."""

    __slots__ = ("_config", "_said")

    def __init__(self, config: HoldingsConfig) -> None:
        self._config = config
        self._said: dict[LinkId, _Said] = {}

    def on_holdings(
        self, link: LinkId, holdings: Holdings, allowed: tuple[Audience, ...]
    ) -> tuple[bytes, ...]:
        """Take a neighbour's word about the audiences we may know; gives the prefixes newly
        advertised."""
        said = self._said.setdefault(link, _Said())
        is_gap = said.sequence is not None and holdings.sequence > said.sequence + 1
        if holdings.is_whole or is_gap:
            # What was lost may have taken something back.
            said = self._said[link] = _Said()
        said.sequence = holdings.sequence
        fresh: list[bytes] = []
        for entry in holdings.entries:
            if entry.audience not in allowed:
                continue
            if entry.audience not in said.words and len(said.words) >= AUDIENCES_PER_LINK_MAX:
                continue
            word = said.words.setdefault(entry.audience, _Word())
            if holdings.is_whole or entry.mode is HoldingsMode.ALL_EXCEPT:
                self._listed(said, word, entry)
            elif entry.mode is HoldingsMode.ONLY:
                for prefix in entry.prefixes:
                    self._advertised(said, word, entry.audience, prefix)
            fresh += entry.prefixes if entry.mode is HoldingsMode.ONLY else ()
        return tuple(fresh)

    def _listed(self, said: _Said, word: _Word, entry: HoldingsEntry) -> None:
        """A list replaces the one before; where there is no room for it, nothing is known."""
        said.listed -= len(word.prefixes)
        fits = said.listed + len(entry.prefixes) <= self._config.per_peer_max
        word.is_whole = fits and entry.mode is not HoldingsMode.NONE
        word.all_except = fits and entry.mode is HoldingsMode.ALL_EXCEPT
        word.prefixes = dict.fromkeys(entry.prefixes if fits else ())
        said.listed += len(word.prefixes)

    def _advertised(self, said: _Said, word: _Word, audience: Audience, prefix: bytes) -> None:
        said.since[prefix] = audience
        said.missing.pop(prefix, None)
        self._lacks_no_more(said, word, prefix)
        if len(said.since) > self._config.per_peer_max:
            del said.since[next(iter(said.since))]

    @staticmethod
    def _lacks_no_more(said: _Said, word: _Word, prefix: bytes) -> None:
        if word.all_except and prefix in word.prefixes:
            del word.prefixes[prefix]
            said.listed -= 1

    def on_announced(self, link: LinkId, audience: Audience, prefix: bytes) -> None:
        """A link tells of something it listed as lacking: who gets a content tells of it, so that
        word is out of date."""
        said = self._said.get(link)
        word = None if said is None else said.words.get(audience)
        if said is not None and word is not None:
            said.missing.pop(prefix, None)
            self._lacks_no_more(said, word, prefix)

    def on_missing(self, link: LinkId, prefix: bytes) -> None:
        """A link was asked for this and has it not. Whom to ask next, wants remember for
        themselves."""
        said = self._said.get(link)
        if said is not None:
            said.missing[prefix] = None
            if len(said.missing) > self._config.per_peer_max:
                del said.missing[next(iter(said.missing))]

    def on_lost(self, link: LinkId) -> None:
        """A link ended, and with it its word; or part of its word was not read, and none of it
        decides anything any more."""
        self._said.pop(link, None)

    def says(self, link: LinkId, audience: Audience, prefix: bytes) -> bool | None:
        """Whether a link says it holds this; None if it said nothing that decides it."""
        said = self._said.get(link)
        word = None if said is None else said.words.get(audience)
        if said is None or word is None:
            return None
        if said.since.get(prefix) == audience:
            return True
        if not word.is_whole:
            return None
        return prefix not in word.prefixes if word.all_except else prefix in word.prefixes

    def names(self, link: LinkId, audience: Audience, prefix: bytes) -> bool:
        """Whether a link named exactly this as held. Who holds all but a few of what it knew said
        nothing of what came into the world since."""
        said = self._said.get(link)
        word = None if said is None else said.words.get(audience)
        if said is None or word is None:
            return False
        is_listed = word.is_whole and not word.all_except and prefix in word.prefixes
        return is_listed or said.since.get(prefix) == audience

    def was_missing(self, link: LinkId, prefix: bytes) -> bool:
        """Whether a link had this not when it was asked, and said nothing newer."""
        said = self._said.get(link)
        return said is not None and prefix in said.missing

    def check(self) -> None:
        """Assert the limits, and that the count equals a recount."""
        for said in self._said.values():
            assert len(said.words) <= AUDIENCES_PER_LINK_MAX
            assert said.listed == sum(len(word.prefixes) for word in said.words.values())
            assert said.listed <= self._config.per_peer_max
            assert len(said.since) <= self._config.per_peer_max
            assert len(said.missing) <= self._config.per_peer_max
