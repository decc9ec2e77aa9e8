"""Which sources fail whatever they are asked for of an audience, and when one of them gets another
chance.

Decides: whether a source is asked as usual, for a probe, or not at all for a while.
Keeps: who answers is never shut out: that it lacks a content, or is busy, is an answer; a source
that is shut out gets one probe at a time once its time is over, and at once when a link to it
opens; whom a node asks for what everybody may know shows nothing of how what others may not know of
was asked for in vain, so each audience counts for itself, and for all of them only a dial for
company, which no want began; after those one probe for each audience, not one in all.
Must not know: which content was asked for, which step of the ladder asks.

A circuit opens after three failures in a row, or when more than half of the last twenty tries
failed; a source that was merely slower than another one, or that has no link when its turn is over,
half fails. What was asked before the last failure fails with it, and is no further one in the row:
one pause of a disk is one failure, however much waits for it. Each time it opens anew, it stays
open twice as long.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from random import Random
from typing import Final, TypeAlias

from fabgossip.core.config import RecoveryConfig
from fabgossip.core.lots import Lots
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Instant, is_due, later
from fabgossip.model.scope import Audience

CONDUCTS_MAX: Final = 4_096
"""Sources, by audience, whose conduct is remembered (*start*); the one that failed longest ago
leaves."""
TRIES: Final = 20
"""The window of the second rule (*start*)."""
FAILED: Final = 2
HALF_FAILED: Final = 1
"""Weights, in halves of a failure."""
IN_A_ROW: Final = 3 * FAILED
"""Failures in a row that open a circuit (*start*)."""


class Circuit(Enum):
    """How a source stands."""

    CLOSED = auto()
    HALF_OPEN = auto()
    """Its next try is the probe."""
    OPEN = auto()


@dataclass(slots=True)
class _Conduct:
    in_a_row: int = 0
    tries: deque[bool] = field(default_factory=lambda: deque[bool](maxlen=TRIES))
    """Of the last ones, which failed."""
    opened: int = 0
    """How often it opened since it was last closed."""
    until: Instant | None = None
    """None: closed."""
    is_probed: bool = False
    failed_at: Instant | None = None
    """The last failure; of those at one moment only the first is any."""
    in_a_row_at: Instant | None = None
    """The last failure that was a further one in the row."""


_Key: TypeAlias = tuple[NodeId, Audience | None]
"""A source and what it is asked for; None: dials for company."""


class Circuits:
    """The conduct of all sources."""

    __slots__ = ("_conducts", "_config", "_lots")

    def __init__(self, config: RecoveryConfig, rng: Random) -> None:
        self._config = config
        self._lots = Lots(rng)
        self._conducts: OrderedDict[_Key, _Conduct] = OrderedDict()

    def _of(self, node_id: NodeId, audience: Audience) -> Iterator[_Conduct]:
        """What is known of a source that counts for an audience."""
        for key in ((node_id, audience), (node_id, None)):
            conduct = self._conducts.get(key)
            if conduct is not None:
                yield conduct

    def state_of(self, node_id: NodeId, audience: Audience, now: Instant) -> Circuit:
        """How a source stands now."""
        if not self._conducts:
            return Circuit.CLOSED
        states = [_state(one, now) for one in self._of(node_id, audience)]
        for state in (Circuit.OPEN, Circuit.HALF_OPEN):
            if state in states:
                return state
        return Circuit.CLOSED

    def probe_at(self, node_id: NodeId, audience: Audience) -> Instant:
        """When an open circuit lets a probe through."""
        ends = (one.until for one in self._of(node_id, audience) if one.until is not None)
        return max(ends, default=Instant(0))

    def on_asked(self, node_id: NodeId, audience: Audience) -> None:
        """A source is asked: where its circuit was not closed, that is the probe."""
        conduct = self._conducts.get((node_id, audience))
        if conduct is not None:
            conduct.is_probed = conduct.until is not None

    def on_answered(self, node_id: NodeId, audience: Audience) -> None:
        """A source answered, whatever it said: its circuit closes."""
        conduct = self._conducts.get((node_id, audience))
        if conduct is None:
            return
        conduct.tries.append(False)
        if conduct.until is not None:
            conduct.tries.clear()
        conduct.in_a_row = conduct.opened = 0
        conduct.until, conduct.is_probed = None, False

    def on_settled(self, node_id: NodeId, audience: Audience) -> None:
        """A try ended by no doing of the source: a probe may follow."""
        conduct = self._conducts.get((node_id, audience))
        if conduct is not None:
            conduct.is_probed = False

    def on_linked(self, node_id: NodeId, now: Instant) -> None:
        """A link to a source opened: it lives, so its probe need not wait, and that dials failed is
        over. Cost: O(conducts)."""
        self._conducts.pop((node_id, None), None)
        for (one, _), conduct in self._conducts.items():
            if one == node_id and conduct.until is not None:
                conduct.until, conduct.is_probed = now, False

    def on_failed(
        self,
        node_id: NodeId,
        audience: Audience | None,
        weight: int,
        asked_at: Instant,
        now: Instant,
    ) -> None:
        """A source failed: of `FAILED` and `HALF_FAILED`. What fails at one moment, such as all
        transfers of a link that breaks, counts once; `asked_at`: when this try of it began;
        `audience`: None of a dial for company."""
        key = node_id, audience
        conduct = self._conducts.setdefault(key, _Conduct())
        self._conducts.move_to_end(key)
        if len(self._conducts) > CONDUCTS_MAX:
            self._conducts.popitem(last=False)
        if conduct.failed_at == now:
            return
        conduct.failed_at = now
        conduct.tries.append(True)
        is_further = conduct.in_a_row_at is None or asked_at >= conduct.in_a_row_at
        if is_further:
            conduct.in_a_row_at = now
            conduct.in_a_row += weight
        is_failing = len(conduct.tries) == TRIES and sum(conduct.tries) * 2 > TRIES
        if conduct.until is None:
            if conduct.in_a_row >= IN_A_ROW or is_failing:
                self._open(node_id, conduct, now)
        elif is_further:
            self._open(node_id, conduct, now)

    def _open(self, node_id: NodeId, conduct: _Conduct, now: Instant) -> None:
        config = self._config
        wait = min(config.circuit_min_ms << min(conduct.opened, 16), config.circuit_max_ms)
        conduct.opened += 1
        # Of one source what its circuit does says nothing of how often those of others opened.
        conduct.until = later(now, self._lots.around(wait, 2, node_id, now))
        conduct.is_probed = False

    def count_open(self, now: Instant) -> int:
        """How many sources are not asked now for something."""
        rows = self._conducts.items()
        return len({node_id for (node_id, _), one in rows if _state(one, now) is Circuit.OPEN})

    def check(self) -> None:
        """Assert the limits."""
        assert len(self._conducts) <= CONDUCTS_MAX
        assert all(len(one.tries) <= TRIES for one in self._conducts.values())


def _state(conduct: _Conduct, now: Instant) -> Circuit:
    if conduct.until is None:
        return Circuit.CLOSED
    if is_due(conduct.until, now) and not conduct.is_probed:
        return Circuit.HALF_OPEN
    return Circuit.OPEN
