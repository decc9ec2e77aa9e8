"""How slow this node itself is, by its own timers.

Decides: by how much more patience others are due.
Keeps: a node that cannot keep its own time believes nobody else to be dead; integers only.
Must not know: what a timer was for.

Two timers of the last 16 late by more than 100 ms (so that nine in ten are not in time) raise the
score by 1, to 7 at most, and count no more; ten seconds without a rise lower it by 1. Judging
others while slow oneself is what fails whole clusters; one late timer is what any machine has.
"""

from collections import deque
from typing import Final

from fabgossip.model.moment import Duration, Instant, elapsed, later

SAMPLES: Final = 16
LATE_MIN: Final = 2
"""Of so many samples, so many late ones are more than one in ten, however few were seen yet."""
LATE: Final = Duration(100)
"""What a loop that is not starved is never late by (*start*)."""
SCORE_MAX: Final = 7
CALM: Final = Duration(10_000)
"""Without a rise for so long the score sinks by 1 (*start*)."""


class Lag:
    """The score, and what it rests on."""

    __slots__ = ("_late", "_score", "_since")

    def __init__(self) -> None:
        self._late: deque[bool] = deque(maxlen=SAMPLES)
        """Of the newest timers since the last rise, whether they were late."""
        self._score = 0
        self._since = Instant(0)
        """When the score rose last, or sank."""

    def on_timer(self, due: Instant, now: Instant) -> None:
        """A timer of our own fired that was due then."""
        self._sink(now)
        self._late.append(elapsed(due, now) > LATE)
        if sum(self._late) >= LATE_MIN:
            self._score = min(SCORE_MAX, self._score + 1)
            self._since = now
            self._late.clear()

    def _sink(self, now: Instant) -> None:
        while self._score and elapsed(self._since, now) >= CALM:
            self._score -= 1
            self._since = later(self._since, CALM)

    def score(self, now: Instant) -> int:
        """0 for a node in step, 7 for one that is not to judge anybody."""
        self._sink(now)
        return self._score
