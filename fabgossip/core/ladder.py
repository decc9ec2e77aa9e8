"""The recovery ladder: its steps in strict order, and what each may cost.

Decides: nothing.
Keeps: a step is entered only once the one before it has ended; a step asks so many sources and is
silent so long, and no more.
Must not know: who the sources are, what a try comes to.

| step | sources | asked at most | silent at most |
|---|---|---|---|
| normal | who announced it, then the home endpoint | 2 | 1 s |
| rung 1 | other storage endpoints of the audience, outside other regions | 4 | 1 s |
| rung 2 | linked neighbours that advertise it, or announced it | 8 | 2 s |
| rung 3 | endpoints of the last valid snapshot, storage of other regions, configured | 4 | 5 s |
| rung 4 | control-plane endpoints | 2 | 10 s |
| rung 5 | none: whether the last valid version may stay in use | | |

All silent, rung 5 comes within the sum of these, 19 s.
"""

from typing import Final

from fabgossip.model.words import Word


class Step(Word):
    """Where in the order of sources a try stood."""

    NORMAL = "normal"
    RUNG_1 = "rung 1"
    RUNG_2 = "rung 2"
    RUNG_3 = "rung 3"
    RUNG_4 = "rung 4"
    RUNG_5 = "rung 5"


STEPS: Final = tuple(Step)
ASKING: Final = STEPS[:-1]
"""The steps that have sources; the last one is a decision."""
SOURCES_MAX: Final = {
    Step.NORMAL: 2,
    Step.RUNG_1: 4,
    Step.RUNG_2: 8,
    Step.RUNG_3: 4,
    Step.RUNG_4: 2,
}
"""Sources asked per step and climb (*start*)."""
IDLE_MS: Final = {
    Step.NORMAL: 1_000,
    Step.RUNG_1: 1_000,
    Step.RUNG_2: 2_000,
    Step.RUNG_3: 5_000,
    Step.RUNG_4: 10_000,
}
"""How long a step may be silent, all its sources together, before the next begins (*start*)."""
TURN_MS_MIN: Final = 500
"""A source has at least so long for its first byte, but for small contents (`silence.py`): the time
of a step is shared among those it has left, and a few round trips across regions and a busy disk
fit into this (*start*)."""


def turn_ms(left_ms: int, sources: int) -> int:
    """How long a source may bring no byte before it loses its turn, with so much time and so many
    sources left in its step, itself included (1 at least)."""
    return min(left_ms, max(left_ms // sources, TURN_MS_MIN))
