"""Guests and neighbours: who asks whom, and what is answered.

Decides: whom of those linked to ask, what to answer, whom to let go.
Keeps: every neighbour shares a declared audience with this node, or the cluster's directory does
not list this node yet; what two ends agreed on is forgotten with the link.
Must not know: whom to dial, how a link is ended.

Until the cluster's directory lists this node, whoever it is linked to is its neighbour, by nobody's
word; those with whom a directory shows an audience in common are asked to stay so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fabgossip.core.admission import (
    APART_S,
    NO_RETRY_S,
    Admission,
    Admitted,
    Verdict,
    is_needy,
)
from fabgossip.core.choice import Choice, Scene
from fabgossip.core.config import NeighborsConfig
from fabgossip.core.directories import Directories
from fabgossip.core.events import LinkId
from fabgossip.core.failures import Failures
from fabgossip.core.far import Far
from fabgossip.core.liveness import Liveness
from fabgossip.core.rules import Present, Rule, is_redundant, open_rules
from fabgossip.core.ties import Standing, Tie, Ties
from fabgossip.model.messages import ByeReason, NeighborAsk, NeighborPurpose
from fabgossip.model.moment import Duration, Instant, elapsed, is_due

ANSWER_WITHIN: Final = Duration(10_000)
"""An ask without an answer for so long was lost (*start*)."""
ASK_AFTER: Final = Duration(1_000)
"""Who was dialled leaves the first word to who dialled (*start*): so long from the hello, whatever
the link carries meanwhile, of which others may not know."""
REFUSALS_MAX: Final = 3
REFUSALS_SPAN: Final = Duration(600_000)
"""More noes than that within so long, and asking again is a fault (*start*)."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What becomes of an ask."""

    is_yes: bool
    retry_after_s: int = 0
    evicted: LinkId | None = None
    """Who has to go for it."""
    bye: ByeReason | None = None
    """Why the asker has to go itself."""


class Company:
    """Everybody linked, and what they are to this node."""

    __slots__ = (
        "_admission", "_choice", "_config", "_directories", "_failures", "_far", "_liveness",
        "ties",
    )  # fmt: skip

    def __init__(
        self,
        config: NeighborsConfig,
        directories: Directories,
        memory: tuple[Failures, Far],
        liveness: Liveness,
        choice: Choice,
    ) -> None:
        self._config = config
        self._directories = directories
        self._failures, self._far = memory
        self._liveness = liveness
        self._choice = choice
        self._admission = Admission(config)
        self.ties = Ties()

    def judge(self, tie: Tie) -> None:
        """A link is what the directories held now make of it."""
        if not tie.is_open:
            return
        if not self._directories.is_settled:
            tie.is_provisional |= tie.standing is not Standing.NEIGHBOR
            tie.standing = Standing.NEIGHBOR
        elif not self._directories.shared(tie.node_id):
            tie.standing, tie.is_provisional = Standing.GUEST, False

    def on_ask(self, link: LinkId, ask: NeighborAsk, now: Instant) -> Reply:
        """A peer wants to be a neighbour; a yes makes it one."""
        tie = self.ties.find(link)
        assert tie is not None
        ask = self._believed(tie, ask)
        is_shared = self._directories.shared(tie.node_id) > 0
        is_agreed = tie.standing is not Standing.GUEST and is_shared
        if not self._directories.is_settled or is_agreed:
            return self._accept(tie, ask)
        if self._directories.is_thin(self._directories.own_id) or not is_shared:
            return self._refuse(tie, now)
        admitted = self._admitted()
        is_full = len(admitted) >= self._config.links_upward_max
        redundant = self._redundant() if is_full else []
        names = [one.node_id for one in redundant]
        verdict, evicted = self._admission.answer(ask, admitted, names, now)
        if verdict is Verdict.FULL:
            return Reply(is_yes=False, retry_after_s=APART_S, bye=ByeReason.FULL)
        if verdict is Verdict.NO:
            return self._refuse(tie, now)
        reply = self._accept(tie, ask)
        if evicted is None:
            return reply
        self._failures.on_told(evicted, APART_S, now)
        gone = next(one for one in redundant if one.node_id == evicted)
        return Reply(is_yes=True, evicted=gone.link)

    def _believed(self, tie: Tie, ask: NeighborAsk) -> NeighborAsk:
        """What an ask is worth by the directory: a thin node is one, and need of somebody earlier
        is none where we are not."""
        if self._directories.is_thin(tie.node_id):
            return NeighborAsk(purpose=NeighborPurpose.THIN, is_needed=ask.is_needed)
        stands_before = any(
            seat.has(tie.node_id) and not seat.is_earlier(tie.node_id)
            for seat in self._directories.seats
        )
        if ask.purpose is NeighborPurpose.THIN or (
            ask.purpose is NeighborPurpose.UPWARD and not stands_before
        ):
            return NeighborAsk(purpose=NeighborPurpose.QUOTA, is_needed=ask.is_needed)
        return ask

    @staticmethod
    def _accept(tie: Tie, ask: NeighborAsk) -> Reply:
        tie.standing = Standing.NEIGHBOR
        tie.is_provisional = False
        tie.is_needed = is_needy(ask)
        return Reply(is_yes=True)

    @staticmethod
    def _refuse(tie: Tie, now: Instant) -> Reply:
        tie.refused_at = [one for one in tie.refused_at if elapsed(one, now) < REFUSALS_SPAN]
        tie.refused_at.append(now)
        is_over = len(tie.refused_at) > REFUSALS_MAX
        bye = ByeReason.OVER_RATE if is_over else None
        return Reply(is_yes=False, retry_after_s=NO_RETRY_S, bye=bye)

    def on_answer(self, link: LinkId, retry_after_s: int, now: Instant, *, is_yes: bool) -> bool:
        """A peer answered; whether it is a neighbour only from now on."""
        tie = self.ties.find(link)
        if tie is None or tie.asked_at is None:
            return False
        tie.asked_at = None
        before = tie.standing
        if is_yes and self._directories.shared(tie.node_id):
            tie.standing = Standing.NEIGHBOR
            return before is not Standing.NEIGHBOR
        tie.standing, tie.is_provisional = Standing.GUEST, False
        self._failures.on_told(tie.node_id, max(retry_after_s, 1), now)
        self._far.on_lost(tie.node_id)
        return False

    def next_asks(self, now: Instant) -> tuple[tuple[LinkId, NeighborAsk], ...]:
        """Whom of those linked to ask now."""
        asks = [self._ask(tie, NeighborPurpose.KEEP, now) for tie in self._unsettled()]
        self._give_up_waiting(now)
        guests = {tie.node_id: tie for tie in self.guests() if self._may_ask(tie, now)}
        if not guests:
            return tuple(asks)
        scene = Scene(
            present=tuple(self.presence(tie) for tie in self.ties.counted() if self.counts(tie)),
            far=self._far.target,
            may_take=lambda node_id: node_id in guests,
            has_failed=lambda one: self._failures.has_failed(one, now),
        )
        for pick in self._choice.picks(scene, len(guests), tuple(guests)):
            tie = guests[pick.node_id]
            asks.append(self._ask(tie, pick.purpose, now))
            tie.standing = Standing.ASKED
        return tuple(asks)

    def _give_up_waiting(self, now: Instant) -> None:
        for tie in self.ties.counted():
            asked_at = tie.asked_at if tie.standing is Standing.ASKED else None
            if asked_at is not None and elapsed(asked_at, now) >= ANSWER_WITHIN:
                tie.standing = Standing.GUEST

    def _unsettled(self) -> list[Tie]:
        """Neighbours by nobody's word, now that a directory lists them and us; asked once."""
        found = [
            tie
            for tie in self.ties.counted()
            if tie.is_provisional and self._directories.shared(tie.node_id)
        ]
        for tie in found:
            tie.is_provisional = False
        return found

    def _ask(self, tie: Tie, purpose: NeighborPurpose, now: Instant) -> tuple[LinkId, NeighborAsk]:
        tie.asked_at = now
        others = [one.node_id for one in self.neighbors() if one is not tie]
        is_needed = any(
            seat.has(tie.node_id) and not any(seat.has(one) for one in others)
            for seat in self._directories.seats
        )
        return tie.link, NeighborAsk(purpose=purpose, is_needed=is_needed)

    def _may_ask(self, tie: Tie, now: Instant) -> bool:
        if tie.asked_at is not None and elapsed(tie.asked_at, now) < ANSWER_WITHIN:
            return False
        opened_at = now if tie.opened_at is None else tie.opened_at
        if not self._has_rested(tie, now):
            return False
        is_turn = tie.is_dialer or elapsed(opened_at, now) >= ASK_AFTER
        is_free = self._failures.may_seek(tie.node_id, now)
        return is_turn and is_free and not self._liveness.is_suspect(tie.link)

    @staticmethod
    def _has_rested(tie: Tie, now: Instant) -> bool:
        return tie.rests_until is None or is_due(tie.rests_until, now)

    def next_ask_at(self, now: Instant) -> Instant | None:
        """When the next visit may be asked to be more."""
        rests = [one.rests_until for one in self.guests() if not self._has_rested(one, now)]
        return min((one for one in rests if one is not None), default=None)

    def neighbors(self) -> list[Tie]:
        """The links that count as those of neighbours, oldest first."""
        return [one for one in self.ties.counted() if one.standing is Standing.NEIGHBOR]

    def guests(self) -> list[Tie]:
        """The open links that are neither that nor asked to be."""
        return [
            one for one in self.ties.counted() if one.is_open and one.standing is Standing.GUEST
        ]

    def next_crowded(self, fresh: LinkId, is_busy: Callable[[LinkId], bool]) -> LinkId | None:
        """Who has to go for a link that just opened, if more guests came by themselves than there
        is room for. Whoever shares an audience may be in need of us, and can say so only once it
        is in: for it a stranger goes, or one of its like that has nothing to do, the longest idle
        first. Else those that want nothing would keep out every neighbour to be."""
        guests = [one for one in self.guests() if not (one.is_dialer or one.is_leaving)]
        gone = next((one for one in guests if one.link == fresh), None)
        if gone is None or len(guests) <= self._config.guests_max:
            return None

        def worth(tie: Tie) -> tuple[bool, bool, Instant]:
            return self._directories.shared(tie.node_id) > 0, is_busy(tie.link), tie.used_at

        if self._directories.shared(gone.node_id):
            gone = min(guests, key=worth)
        gone.is_leaving = True
        return gone.link

    def counts(self, tie: Tie) -> bool:
        """Whether a rule may rest on a link: a neighbour, or one that was asked to be."""
        is_meant = tie.standing is not Standing.GUEST
        return is_meant and not self._liveness.is_suspect(tie.link)

    def presence(self, tie: Tie) -> Present:
        """A link as the rules see it: asked for of every link whenever one comes or goes."""
        revision = self._directories.revision
        if tie.present is None or tie.present[0] != revision:
            zone = self._directories.zone_of(tie.node_id)
            tie.present = (revision, Present(tie.node_id, zone, tie.is_dialer))
        return tie.present[1]

    def _admitted(self) -> list[Admitted]:
        return [
            Admitted(one.node_id, self._directories.is_thin(one.node_id), one.is_needed)
            for one in self.neighbors()
        ]

    def _redundant(self) -> list[Tie]:
        """Neighbours that neither end needs, most dispensable first. Cost: O(audiences x
        neighbours squared)."""
        counted = [(tie, self.presence(tie)) for tie in self.ties.counted() if self.counts(tie)]
        present = [one for _, one in counted]
        seats, far = self._directories.seats, self._far.target
        found = [
            tie
            for tie, one in counted
            if tie.standing is Standing.NEIGHBOR
            and not (tie.is_needed or self._directories.is_thin(tie.node_id))
            and is_redundant(one, seats, present, far, self._config)
        ]
        return sorted(found, key=lambda tie: (self._directories.shared(tie.node_id), tie.node_id))

    def next_surplus(self, now: Instant) -> Tie | None:
        """A neighbour too many, which stays away for a while."""
        if not self._directories.is_settled or not self._admission.is_crowded(
            self._admitted(), now
        ):
            return None
        self._admission.on_shed(now)
        gone = next(iter(self._redundant()), None)
        if gone is not None:
            self._failures.on_told(gone.node_id, APART_S, now)
        return gone

    def open_rules(self) -> tuple[Rule, ...]:
        """The rules the live neighbours there are do not meet."""
        present = [self.presence(tie) for tie in self.neighbors() if self.counts(tie)]
        seats, far = self._directories.seats, self._far.target
        return tuple(one.rule for one in open_rules(seats, present, far, self._config))

    def check(self) -> None:
        """Assert that whoever is a neighbour may be one."""
        self.ties.check()
        for tie in self.neighbors():
            assert not self._directories.is_settled or self._directories.shared(tie.node_id)
