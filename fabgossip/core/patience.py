"""How long to leave alone what failed: a source for one content, a source altogether, a want.

Decides: when a source is asked again for a content it did not bring; what a failure says of the
source; when a want nobody could serve climbs again.
Keeps: wants and nodes that failed together do not come back together; each want draws from a
stream of its own, for one of all would show in what a peer sees how many others wait.
Must not know: who the sources are, which of them is asked next.
"""

from random import Random
from typing import Final

from fabgossip.core.circuits import FAILED, Circuits
from fabgossip.core.config import FetchingConfig
from fabgossip.core.events import FetchFailure
from fabgossip.core.lots import Lots
from fabgossip.core.wants import BACK_OFF_MAX, LACKED_MAX, Fault, Want
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Duration, Instant, later

TRUST_RETRY_MS_MAX: Final = 30_000
"""Trust is climbed for again after so long at most (*start*)."""
RENEWAL_MS_MIN: Final = 30_000
RENEWAL_MS_MAX: Final = 600_000
"""Who climbs for something newer in vain climbs again after so long (*start*): neighbours are asked
in between, and tell of news by themselves."""
BACK_OFF_SPREAD: Final = 5
"""Jitter of 20 % around the time a source is passed over (*start*)."""
_NO_FAILURES: Final = frozenset(
    {
        FetchFailure.BUSY,
        FetchFailure.CANCELLED,
        FetchFailure.DISK,
        FetchFailure.STORAGE,
        FetchFailure.CONTRADICTED,
    }
)
"""Of the source: it had no time, or it was this node, or who signed."""


class Patience:
    """The waits of the ladder."""

    __slots__ = ("_circuits", "_config", "_lots")

    def __init__(self, config: FetchingConfig, circuits: Circuits, rng: Random) -> None:
        self._config = config
        self._circuits = circuits
        self._lots = Lots(rng)

    def back_off(self, want: Want, node_id: NodeId, failures: int, fault: Fault) -> Duration:
        """How long to pass over a source that failed so many times for one content."""
        base_ms = self._config.missing_ms
        longest = LACKED_MAX if fault is Fault.LACKS else BACK_OFF_MAX
        wait = min(base_ms << min(max(failures - 1, 0), 16), max(longest, base_ms))
        name = want.verified.manifest_hash.hex()
        return self._lots.around(wait, BACK_OFF_SPREAD, name, node_id, failures)

    def next_try_at(self, want: Want, now: Instant) -> Instant:
        """When a want climbs again that nobody could serve, if nothing happens before: decorrelated
        jitter. News that the climb came too late for is worth another one at once."""
        if want.is_urgent:
            return now
        least, most = self._config.retry_min_ms, self._config.retry_max_ms
        if want.is_for_head:
            least, most = RENEWAL_MS_MIN, RENEWAL_MS_MAX
        elif want.is_trust:
            most = min(most, TRUST_RETRY_MS_MAX)
        spread = 3 * max(want.waited_ms, least) - least
        name = want.verified.manifest_hash.hex()
        drawn = self._lots.below(spread + 1, name, want.climbs)
        want.waited_ms = min(least + drawn, most)
        return later(now, Duration(want.waited_ms))

    def on_failed(
        self, want: Want, node_id: NodeId, reason: FetchFailure, asked_at: Instant, now: Instant
    ) -> None:
        """What a failure says of its source, whatever it is asked for of this audience: that it
        lacks a content is an answer."""
        if reason is FetchFailure.MISSING:
            self._circuits.on_answered(node_id, want.audience)
        elif reason not in _NO_FAILURES:
            self._circuits.on_failed(node_id, want.audience, FAILED, asked_at, now)
