"""What a node pays to turn to those whom everybody turns to when all else fails.

Decides: when a want may ask somebody of rung 3 or 4.
Keeps: however many wants are outstanding, endpoints to start from and the control plane are asked
at the pace of the whole node; one token of rung 4 is good for everything that waited when it was
used.
Must not know: whom a want asks, what comes of it.
"""

from fabgossip.core.allowance import Allowance
from fabgossip.core.config import RecoveryConfig
from fabgossip.core.ladder import Step
from fabgossip.core.wants import Want
from fabgossip.model.moment import Instant


class Tolls:
    """The allowances of rungs 3 and 4."""

    __slots__ = ("_batch_at", "_control", "_endpoints")

    def __init__(self, config: RecoveryConfig) -> None:
        self._endpoints = Allowance(config.endpoints_every_ms, config.endpoints_burst)
        self._control = Allowance(config.control_every_ms, config.control_burst)
        self._batch_at: Instant | None = None
        """When the newest token of rung 4 was used."""

    def next_at(self, step: Step, want: Want, now: Instant) -> Instant:
        """When a want may ask somebody of a step: `now` if it may."""
        if step is Step.RUNG_3:
            return self._endpoints.next_at(now)
        if step is Step.RUNG_4 and not self._is_batched(want):
            return self._control.next_at(now)
        return now

    def pay(self, want: Want, now: Instant) -> None:
        """A want asks somebody of its step."""
        if want.step is Step.RUNG_3:
            self._endpoints.take(now)
        elif want.step is Step.RUNG_4 and not self._is_batched(want):
            self._control.take(now)
            self._batch_at = now

    def _is_batched(self, want: Want) -> bool:
        """Whether the climb of a want had begun when the newest token was used."""
        began, paid_at = want.climb_since, self._batch_at
        return began is not None and paid_at is not None and began <= paid_at
