"""When to ask for newer heads, of which namespaces, and whom.

Decides: the namespaces near their `refresh_by`, and the link to ask next.
Keeps: trust is asked for at every turn; links take turns, so one that withholds delays by one turn
only.
Must not know: what was answered.
"""

from bisect import bisect_right
from random import Random
from typing import Final

from fabgossip.core.config import RefreshConfig
from fabgossip.core.events import LinkId
from fabgossip.model.artifact import Manifest
from fabgossip.model.moment import Duration, Instant, UnixTime, later, seconds_between

REFRESH_SHARE: Final = 5
"""A namespace is asked for once a fifth of its refresh span is left."""
DUE_MAX: Final = 250
"""Namespaces asked for at a turn beside trust (*start*): one question, whose answer finds room in
the queue of its class."""
JITTER_DIVISOR: Final = 5
"""Jitter of 20 %."""


class Refresh:
    """Whose turn it is."""

    __slots__ = ("_config", "_last", "_rng")

    def __init__(self, config: RefreshConfig, rng: Random) -> None:
        self._config = config
        self._rng = rng
        self._last: LinkId | None = None

    def next_at(self, now: Instant) -> Instant:
        """When to ask again."""
        spread = self._config.interval_ms // JITTER_DIVISOR
        return later(
            now, Duration(self._config.interval_ms - spread + self._rng.randrange(2 * spread + 1))
        )

    def next_link(self, links: tuple[LinkId, ...]) -> LinkId | None:
        """The link whose turn it is: the first after the one asked last, in order of number."""
        if not links:
            return None
        ordered = sorted(links)
        following = [link for link in ordered if self._last is not None and link > self._last]
        self._last = following[0] if following else ordered[0]
        return self._last

    @staticmethod
    def is_due(manifest: Manifest, now: UnixTime) -> bool:
        """Whether so little of a manifest's refresh span is left that a newer one should be asked
        for."""
        span = seconds_between(manifest.issued_at, manifest.refresh_by)
        return seconds_between(now, manifest.refresh_by) * REFRESH_SHARE <= span

    @staticmethod
    def next_names(due: list[str], after: str) -> tuple[str, ...]:
        """What of all that is due is asked of a link now: on from the name it was asked for last,
        and round."""
        ordered = sorted(due)
        if len(ordered) <= DUE_MAX:
            return tuple(ordered)
        start = bisect_right(ordered, after)
        return tuple((*ordered[start:], *ordered[:start])[:DUE_MAX])
