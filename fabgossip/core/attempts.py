"""What is remembered of the tries to get one content.

Decides: which of them, once they are too many.
Keeps: the first and the last stay; a climb that asked nobody is told once, however often it is
climbed again.
Must not know: what a try was for.
"""

from dataclasses import dataclass
from typing import Final

from fabgossip.core.ladder import Step
from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Instant

ATTEMPTS_MAX: Final = 32
"""Steps kept per want: the first 8 and the last 24 (*start*)."""
ATTEMPTS_FIRST: Final = 8
VERIFIED: Final = "verified"
"""Outcome of a source that brought what was asked for."""
SKIPPED: Final = "skipped"
"""Outcome of a step that had no source to ask."""
IN_USE: Final = "in use"
REFUSED: Final = "refused"
"""Outcomes of rung 5."""
NOTHING_NEWER: Final = "nothing_newer"
"""Outcome of a source that was asked for a newer version and has none, or none for this node."""
CONNECT_FAILED: Final = "connect_failed"
TIMED_OUT: Final = "timed_out"
"""Outcome of a source that had no link when its turn was over."""
OPEN: Final = "open"
"""Outcome of a source that was not asked because it fails whatever it is asked for of an
audience."""
NOT_ASKED: Final = "barred"
"""Outcome of a source that was linked and may not know of what is wanted, or is none of its step.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try, or a step without one, as `why` shows it."""

    at: Instant
    climb: int
    step: Step
    node_id: NodeId | None
    outcome: str
    took_ms: int
    received: int
    reason: str = ""
    """Why this source, and why now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastGood:
    """What rung 5 makes of the version that was accepted before."""

    is_allowed: bool
    verified: VerifiedManifest
    reason: str

    @property
    def outcome(self) -> str:
        """In one word."""
        return IN_USE if self.is_allowed else REFUSED

    @property
    def words(self) -> str:
        """In a sentence."""
        return f"{self.verified.manifest.order} was the last valid version: {self.reason}"


class Trace:
    """The tries of one want."""

    __slots__ = ("_attempts",)

    def __init__(self) -> None:
        self._attempts: list[Attempt] = []

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """What is remembered, oldest first."""
        return tuple(self._attempts)

    def add(self, attempt: Attempt) -> None:
        """Remember a try; beyond the limit the oldest of those that are not the first leaves."""
        self._attempts.append(attempt)
        if len(self._attempts) > ATTEMPTS_MAX:
            del self._attempts[ATTEMPTS_FIRST]

    def on_climb_over(self, climb: int) -> None:
        """A climb ended without success: of climbs in a row that asked nobody only the last one is
        worth its lines."""
        both = [one for one in self._attempts if one.climb in (climb, climb - 1)]
        if all(one.node_id is None for one in both):
            self._attempts = [one for one in self._attempts if one.climb != climb - 1]

    def has(self, climb: int, step: Step) -> bool:
        """Whether anything is remembered of a step of a climb."""
        return any(one.step is step and one.climb == climb for one in self._attempts)
