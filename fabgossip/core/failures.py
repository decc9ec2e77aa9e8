"""Whom not to dial yet: what failed, how often, and what a peer asked for.

Decides: when a node may be dialled again.
Keeps: no node is dialled in a tight loop; what a peer told us to wait is waited for whatever the
reason to dial it; bounded.
Must not know: why a node is wanted.

- After a first failure or loss a moment by lot, up to 0.1 s times the root of the members there
  are: 1 s of a hundred, 10 s of ten thousand, for all of these may have lost the same node.
- After the next ones 2 s (twice `redial_min_ms`), doubling to `redial_max_ms`; once ten minutes of
  failures have passed, to five minutes.
- Where one end does not take the other for what it says it is, 60 s doubling to an hour, counted
  apart: what else failed says nothing of that.
- What stands against nobody any more is forgotten ten minutes later.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt
from random import Random
from typing import Final

from fabgossip.core.config import NeighborsConfig
from fabgossip.core.lots import Lots
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Duration, Instant, elapsed, is_due, later

FAILURES_MAX: Final = 1_024
"""Nodes remembered (*start*); beyond, the one that failed longest ago is dialled like any other,
one that asked to be left alone after all that did not."""
LOST: Final = Duration(600_000)
"""A lost neighbour is dialled again soon for so long (*start*)."""
FAILED_WAIT_MS: Final = 300_000
"""The longest wait after that (*start*)."""
IDENTITY_WAIT_MS: Final = 60_000
IDENTITY_WAIT_MAX_MS: Final = 3_600_000
"""An expired certificate must not fill an uplink with handshakes (*start*)."""
TOLD_MAX: Final = Duration(3_600_000)
"""A peer that asks for a longer wait is heard as if it had said an hour."""
FIRST_WAIT_MS: Final = 100
"""Times the root of the number of members: the longest first wait (*start*)."""
FIRST_SHARE: Final = 4
"""Of `redial_min_ms`, the shortest: who lets links open and drops them costs no more (*start*)."""
JITTER_DIVISOR: Final = 5
"""Jitter of 20 %."""


@dataclass(slots=True)
class _Failure:
    since: Instant
    until: Instant
    count: int = 0
    identity_count: int = 0
    """Of these the other end, or this one, did not pass for what it says it is."""
    told_until: Instant | None = None
    is_loss: bool = False
    """Whether it is one link that ended, and nothing since."""

    def is_told(self, now: Instant) -> bool:
        """Whether the node asked to be left alone until later."""
        return self.told_until is not None and not is_due(self.told_until, now)

    def end(self) -> Instant:
        """When nothing stands against the node any more."""
        return max(self.until, self.told_until or self.until)


class Failures:
    """What is remembered of nodes that could not be reached or did not want a link."""

    __slots__ = ("_by_node", "_config", "_lots", "_members")

    def __init__(self, config: NeighborsConfig, members: Callable[[], int], rng: Random) -> None:
        self._config = config
        self._members = members
        self._lots = Lots(rng)
        self._by_node: OrderedDict[NodeId, _Failure] = OrderedDict()

    def on_failed(
        self, node_id: NodeId, now: Instant, *, is_identity: bool, was_linked: bool
    ) -> None:
        """A link ended, or a dial failed."""
        known = self._known(node_id, now) or _Failure(now, now)
        self._remember(node_id, known, now)
        known.since = known.since if known.count else now
        known.is_loss = was_linked and not is_identity and not known.count
        known.count += 1
        known.identity_count += is_identity
        until = later(now, self._wait(node_id, known, now, is_identity=is_identity))
        # What failed in another way gives a node that does not pass no shorter wait.
        known.until = max(known.until, until) if known.identity_count else until

    def _wait(
        self, node_id: NodeId, known: _Failure, now: Instant, *, is_identity: bool
    ) -> Duration:
        count = known.count - known.identity_count
        shortest, longest = self._config.redial_min_ms, self._config.redial_max_ms
        if is_identity:
            count = known.identity_count
            shortest, longest = IDENTITY_WAIT_MS, IDENTITY_WAIT_MAX_MS
        elif count == 1:
            return self._first_wait(node_id, now)
        elif elapsed(known.since, now) > LOST:
            longest = max(longest, FAILED_WAIT_MS)
        wait = min(shortest << min(count - 1, 16), longest)
        return self._lots.around(wait, JITTER_DIVISOR, node_id, now)

    def _known(self, node_id: NodeId, now: Instant) -> _Failure | None:
        """What is remembered of a node, and not for long past its time."""
        known = self._by_node.get(node_id)
        if known is not None and is_due(later(known.end(), LOST), now):
            del self._by_node[node_id]
            return None
        return known

    def _remember(self, node_id: NodeId, known: _Failure, now: Instant) -> None:
        self._by_node[node_id] = known
        self._by_node.move_to_end(node_id)
        if len(self._by_node) > FAILURES_MAX:
            others = (one for one in self._by_node.items() if one[1] is not known)
            idle = (one for one, row in others if not row.is_told(now))
            del self._by_node[next(idle, next(iter(self._by_node)))]

    def _first_wait(self, node_id: NodeId, now: Instant) -> Duration:
        longest = max(self._config.redial_min_ms, FIRST_WAIT_MS * isqrt(self._members()))
        shortest = self._config.redial_min_ms // FIRST_SHARE
        return Duration(shortest + self._lots.below(longest - shortest + 1, node_id, now))

    def on_told(self, node_id: NodeId, wait_s: int, now: Instant) -> None:
        """A peer asked not to be dialled, or asked, for so long."""
        if not wait_s:
            return
        wait = Duration(wait_s * 1_000)
        known = self._known(node_id, now) or _Failure(now, now)
        known.told_until = later(now, min(wait, TOLD_MAX))
        self._remember(node_id, known, now)

    def on_open(self, node_id: NodeId, now: Instant) -> Instant:
        """A link to a node passed the hello: what failed before is forgotten, not what it said.
        Gives from when on it would have been dialled anyway, if its link ended a moment ago."""
        known = self._by_node.pop(node_id, None)
        if known is None:
            return now
        if known.is_told(now):
            self._by_node[node_id] = _Failure(now, now, told_until=known.told_until)
        return known.until if known.is_loss else now

    def forget(self, is_meant: Callable[[NodeId], bool], now: Instant) -> None:
        """Some nodes may be in reach again: their failures say nothing any more, what they asked
        for and is not over does."""
        for node_id in [one for one in self._by_node if is_meant(one)]:
            if not self._by_node[node_id].is_told(now):
                del self._by_node[node_id]

    def has_failed(self, node_id: NodeId, now: Instant) -> bool:
        """Whether anything is held against a node."""
        return self._known(node_id, now) is not None

    def may_dial(self, node_id: NodeId, now: Instant) -> bool:
        """Whether no failure and no word of the node stands against dialling it."""
        known = self._known(node_id, now)
        return known is None or (is_due(known.until, now) and not known.is_told(now))

    def may_seek(self, node_id: NodeId, now: Instant) -> bool:
        """The same, whatever failed before."""
        known = self._known(node_id, now)
        return known is None or not known.is_told(now)

    def dials_at(self, node_id: NodeId) -> Instant | None:
        """From when on a node may be dialled again; None where nothing is held against it."""
        known = self._by_node.get(node_id)
        return None if known is None else max(known.until, known.told_until or known.until)

    def next_end(self, now: Instant) -> Instant | None:
        """When the next node may be dialled again that may not be now. Cost: O(failures)."""
        ends = [one.end() for one in self._by_node.values()]
        return min((end for end in ends if not is_due(end, now)), default=None)

    def check(self) -> None:
        """Assert the limit."""
        assert len(self._by_node) <= FAILURES_MAX


def jittered(wait_ms: int, rng: Random, divisor: int) -> Duration:
    """A wait give or take one part in `divisor`."""
    spread = max(1, wait_ms // divisor)
    return Duration(wait_ms - spread + rng.randrange(2 * spread + 1))
