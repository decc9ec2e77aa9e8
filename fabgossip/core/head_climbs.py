"""What a climb for something newer needs of the ladder: the same steps, circuits and tolls as for a
content.

Decides: nothing that is not decided for contents.
Keeps: whoever is asked for what is newer is judged by it as by a content.
Must not know: what is due, what an answer is worth.
"""

from collections.abc import Callable
from functools import partial

from fabgossip.core.asking import Asking
from fabgossip.core.attempts import CONNECT_FAILED, TIMED_OUT
from fabgossip.core.circuits import FAILED, HALF_FAILED, Circuits
from fabgossip.core.events import FetchFailure
from fabgossip.core.patience import Patience
from fabgossip.core.sources import Choice, Supply
from fabgossip.core.wants import Source, Want
from fabgossip.model.moment import Instant


class HeadClimbs:
    """Sources for what is newer than a version that is here."""

    __slots__ = ("_asking", "_circuits", "_patience")

    def __init__(self, asking: Asking, circuits: Circuits, patience: Patience) -> None:
        self._asking = asking
        self._circuits = circuits
        self._patience = patience

    def choose(
        self, want: Want, supply: Supply, room: Callable[[Source], bool], now: Instant
    ) -> Choice:
        """Whom to ask next for what is newer than a want's version: the same steps, circuits and
        tolls as for a content."""
        return self._asking.choose(want, supply, room, now)

    def token_at(self, want: Want, now: Instant) -> Instant:
        """When a want may ask somebody of the step it is in."""
        return self._asking.token_at(want, now)

    def begin(self, want: Want, choice: Choice, now: Instant) -> Source:
        """The source of a choice is asked, or dialled."""
        return self._asking.begin(want, choice, now)

    def on_asked_in_vain(self, want: Want, reason: FetchFailure, now: Instant) -> None:
        """Who was asked for what is newer brought nothing: it is passed over for a while."""
        source = want.source
        assert source is not None
        want.on_fault(source, reason, partial(self._patience.back_off, want, source.node_id), now)
        self._circuits.on_settled(source.node_id, want.audience)
        self._patience.on_failed(want, source.node_id, reason, want.asked_at, now)

    def on_dialed_in_vain(self, want: Want, outcome: str, now: Instant) -> None:
        """Who was dialled for what is newer could not be reached, had no link yet when its turn was
        over, or could not be asked."""
        source = want.source
        assert source is not None
        want.on_unreached(source, partial(self._patience.back_off, want, source.node_id), now)
        self._circuits.on_settled(source.node_id, want.audience)
        if outcome == CONNECT_FAILED:
            self._circuits.on_failed(source.node_id, want.audience, FAILED, now, now)
        elif outcome == TIMED_OUT:
            self._circuits.on_failed(source.node_id, want.audience, HALF_FAILED, want.asked_at, now)

    def on_no_more_asked(self, want: Want, source: Source, *, has_answered: bool) -> None:
        """Who was asked, or dialled, for what is newer brought it, or need not any more."""
        self._circuits.on_settled(source.node_id, want.audience)
        if has_answered:
            self._circuits.on_answered(source.node_id, want.audience)

    def next_try_at(self, want: Want, now: Instant) -> Instant:
        """When to climb again after a climb without success."""
        return self._patience.next_try_at(want, now)
