"""When somebody else is asked beside a source.

Decides: how long a source of a small content may be silent before another one of its step is asked
as well, and how often; how many sources bring a large one together.
Keeps: of all requests for an audience one in 25 is for what another may bring too, and two more at
most; what is asked for one audience does not hang on another, of which others may not know.
Must not know: who the sources are, what comes of it.

The endpoints everybody starts from are spared. Of a small content the first answer ends the others;
of a large one each brings other chunks, so that nothing comes twice.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from fabgossip.core.ladder import Step
from fabgossip.core.ordered import OrderedMap
from fabgossip.core.parts import is_shared
from fabgossip.core.silence import is_small, silent_after
from fabgossip.core.wants import Want
from fabgossip.model.messages import TrafficClass
from fabgossip.model.moment import Instant, is_due, later
from fabgossip.model.scope import Audience

HEDGED_STEPS: Final = frozenset({Step.NORMAL, Step.RUNG_1, Step.RUNG_2})
SOURCES_AT_ONCE: Final = 3
"""Of a large content: with more, a node's own link is the limit (*start*)."""
TOKEN: Final = 25
"""So many requests are worth one beside another (*start*)."""
TOKENS_MAX: Final = 2
AUDIENCES_MAX: Final = 1_024
"""Whose requests are counted; the one unasked for longest is forgotten (*start*)."""


class Hedging:
    """The wants for which another source may be asked as well."""

    __slots__ = ("_due", "_tokens")

    def __init__(self) -> None:
        self._due: OrderedMap[tuple[Instant, tuple[int, int]], Want] = OrderedMap()
        self._tokens: OrderedDict[Audience, int] = OrderedDict()
        """By audience, in parts of a token."""

    def on_asked(self, want: Want, now: Instant) -> None:
        """The first source of a try was asked."""
        assert want.source is not None
        audience = want.verified.manifest.audience
        parts = self._tokens.pop(audience, TOKENS_MAX * TOKEN)
        self._tokens[audience] = min(parts + 1, TOKENS_MAX * TOKEN)
        if len(self._tokens) > AUDIENCES_MAX:
            self._tokens.popitem(last=False)
        if is_small(want) and want.step in HEDGED_STEPS and want.traffic is not TrafficClass.BULK:
            self._wait(want, later(now, silent_after(want.source)))
        self.on_sharing(want, now)

    def on_sharing(self, want: Want, now: Instant) -> None:
        """There may be room for one more that brings chunks of a content."""
        is_free = want.silent_at is None and len(want.tries) < SOURCES_AT_ONCE
        if is_shared(want.goal.chunk_hashes) and want.step in HEDGED_STEPS and is_free:
            self._wait(want, now)

    def _wait(self, want: Want, until: Instant) -> None:
        want.silent_at = until
        self._due[(until, want.key)] = want

    def on_over(self, want: Want) -> None:
        """The try of a want is over, or another source was asked beside it."""
        if want.silent_at is not None:
            self._due.discard((want.silent_at, want.key))
            want.silent_at = None

    def next_due(self, now: Instant) -> Iterator[Want]:
        """The wants whose time has come, each once."""
        while (want := next(self._due.values(), None)) is not None:
            assert want.silent_at is not None
            if not is_due(want.silent_at, now):
                return
            self.on_over(want)
            yield want

    def may_ask(self, want: Want) -> bool:
        """Whether another source may be asked for a want whose time has come."""
        is_paid = self._tokens.get(want.verified.manifest.audience, 0) >= TOKEN
        return is_paid or not is_small(want)

    def on_beside(self, want: Want) -> None:
        """Somebody else was asked."""
        if is_small(want):
            self._tokens[want.verified.manifest.audience] -= TOKEN

    def next_end(self) -> Instant | None:
        """When the first of them may be."""
        return next((want.silent_at for want in self._due.values()), None)

    def check(self) -> None:
        """Assert the limits, and that only what is asked for waits."""
        assert len(self._tokens) <= AUDIENCES_MAX
        assert all(0 <= parts <= TOKENS_MAX * TOKEN for parts in self._tokens.values())
        for want in self._due.values():
            assert 0 < len(want.tries) < (2 if is_small(want) else SOURCES_AT_ONCE)
