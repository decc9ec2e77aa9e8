"""Who compares which set with whom, and what is asked for because of it.

Decides: whether a set that differs is compared now; what is said next; when a link is looked at
again. What is asked for is `Lacking`'s to decide.
Keeps: one comparison of a set on a link at a time; nothing is asked of a link that cannot be
answered yet; what leads to nothing is not repeated for long; no link depends on another, and no
set of a link on what else is compared there, which its members may not know of (record 0059).
Must not know: which manifests count, who may know of them, how messages leave.

A comparison is started by whoever was told roots that differ from its own, and ends when nothing it
said or asked is unanswered. A moment later both ends hold their roots against each other again.
Limits of a whole link stand only where memory needs them, above what a link is to reach.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from fabgossip.core.events import LinkId
from fabgossip.core.lacking import Lacking
from fabgossip.core.ordered import FingerprintSet
from fabgossip.core.ranges import Compared, compare, first_step
from fabgossip.model.messages import (
    RANGES_STEPS_MAX,
    GetManifests,
    Manifests,
    Range,
    Ranges,
    SaltId,
    SetRoot,
)
from fabgossip.model.moment import Duration, Instant, elapsed, is_due, later
from fabgossip.model.scope import Audience

STARTED_MAX: Final = 64
"""Comparisons that one end of a link starts at once (*start*); the others follow. A node shares a
dozen sets with a peer: none of them is to wait for another."""
SILENCE: Final = Duration(10_000)
"""A comparison that brings nothing for so long has ended (*start*)."""
LOOK_AGAIN: Final = Duration(1_000)
"""From the end of a comparison until roots are held against each other again, and from something
dropped until that is told: by then queues have drained and manifests are durable (*start*)."""
WAITS_MAX: Final = 3
"""So often in a row a comparison waits for news that may be under way (*start*): longer than that
it is not under way, or there is always some."""
VAIN_MAX: Final = 3
"""Comparisons of the same two roots before the next has to wait (*start*)."""
VAIN_WAIT_MIN: Final = Duration(10_000)
VAIN_WAIT_MAX: Final = Duration(600_000)
"""How long it waits then, doubling (*start*): what made them vain may be over."""
PUSHED_BYTES_MAX: Final = 32 * 1024
"""Manifests the comparison of a set brings unasked; of the rest only the ids are told."""
REMEMBERED_MAX: Final = 1_024
"""Sets of a link of which a kind of thing is remembered, such as the last comparison, what is asked
for, or that a root is owed (*start*); beyond, the oldest is forgotten or the newest is not noted,
and pings find what else differs."""
RECENT: Final = Duration(60_000)
LISTED_SHARE: Final = 10
"""A set of which the comparison before, within a minute, moved more than one in so many is listed:
cutting a set whose differences lie scattered costs more than that (modelled: 13 %)."""


@dataclass(slots=True)
class _Comparison:
    """One we started: how many of our messages are unanswered, and when it last brought
    something."""

    audience: Audience
    unanswered: int
    heard_at: Instant
    moved: int = 0


@dataclass(slots=True)
class _Outcome:
    """The roots a comparison was about, how often in a row, since when, and what it moved."""

    roots: tuple[bytes, bytes]
    times: int
    at: Instant
    moved: int = 0


@dataclass(frozen=True, slots=True)
class Owed:
    """What a peer is told when the timer of its link is due."""

    audiences: tuple[Audience, ...] = ()
    """Whose roots."""
    asks: tuple[GetManifests, ...] = ()
    """What others left unanswered made room for."""
    all_roots: bool = False
    holdings: bool = False
    """What is held, whole: a part of it may have been dropped."""


@dataclass(slots=True)
class _Link:
    """What is under way on a link."""

    started: dict[bytes, _Comparison] = field(default_factory=dict)
    waiting: dict[bytes, tuple[SaltId, SetRoot]] = field(default_factory=dict)
    """What else differed, in the order it was told."""
    outcomes: OrderedDict[bytes, _Outcome] = field(default_factory=OrderedDict)
    lacking: Lacking = field(default_factory=Lacking)
    pushed_bytes: OrderedDict[bytes, int] = field(default_factory=OrderedDict)
    """What the comparison of each set brought unasked."""
    is_pinged: bool = False
    """Whether a ping came since the link opened, or since its ends came to share more."""
    pings: _Outcome | None = None
    look_at: Instant | None = None
    """When its timer comes due."""
    owed: dict[Audience, Instant] = field(default_factory=dict)
    """Whose roots the peer is told, and when: the first of them is due first."""
    owes_all_at: Instant | None = None
    """When it is told those of all sets: a ping differed."""
    owes_holdings_at: Instant | None = None
    """When it is told what is held, whole: something was dropped on the link."""
    waits: dict[Audience, int] = field(default_factory=dict)
    """How often in a row the comparison of a set waited for news under way."""


class Reconciliation:
    """The comparisons of all links."""

    __slots__ = ("_links",)

    def __init__(self) -> None:
        self._links: dict[LinkId, _Link] = {}

    def _link(self, link: LinkId) -> _Link:
        return self._links.setdefault(link, _Link())

    def on_lost(self, link: LinkId) -> None:
        """A link ended."""
        self._links.pop(link, None)

    def on_ping(self, link: LinkId, roots: tuple[bytes, bytes], now: Instant) -> bool:
        """A peer's link root came beside ours: whether it is told the roots of all sets now.

        Later it is after a moment: pings and news that a cut held up come together, and a
        comparison must not be before the news of one set because another one differs.
        """
        state = self._link(link)
        is_first, state.is_pinged = not state.is_pinged, True
        if roots[0] == roots[1]:
            state.pings = None
            return False
        outcome = _next_outcome(state.pings, roots, now)
        state.pings = outcome or state.pings
        if outcome is not None and not is_first and state.owes_all_at is None:
            state.owes_all_at = later(now, LOOK_AGAIN)
        return outcome is not None and is_first

    def on_more_shared(self, link: LinkId) -> None:
        """The ends of a link may share more than before: a difference counts at once."""
        state = self._link(link)
        state.is_pinged, state.pings = False, None

    def on_other_salts(self, link: LinkId) -> None:
        """The salts that were good are not: nothing said under them will be answered."""
        state = self._link(link)
        for rows in (state.started, state.waiting, state.lacking, state.pushed_bytes):
            rows.clear()

    def on_root(
        self,
        link: LinkId,
        set_id: bytes,
        salt: SaltId,
        own: FingerprintSet,
        their: SetRoot,
        now: Instant,
    ) -> tuple[Ranges, ...]:
        """A peer told the root of a set: what to say to compare it, nothing where it is equal, is
        being compared or was in vain."""
        state, roots = self._link(link), (own.root(), their.root)
        if roots[0] == roots[1]:
            state.outcomes.pop(set_id, None)
            return ()
        if set_id in state.started:
            return ()
        if len(state.started) >= STARTED_MAX:
            if len(state.waiting) < REMEMBERED_MAX:
                state.waiting[set_id] = (salt, their)
            return ()
        before = state.outcomes.get(set_id)
        outcome = _next_outcome(before, roots, now)
        if outcome is None:
            return ()
        state.outcomes[set_id] = outcome
        state.outcomes.move_to_end(set_id)
        if len(state.outcomes) > REMEMBERED_MAX:
            state.outcomes.popitem(last=False)
        is_again = before is not None and elapsed(before.at, now) <= RECENT
        moved = before.moved if before is not None and is_again else 0
        is_list = moved * LISTED_SHARE > max(len(own), their.count)
        state.pushed_bytes.pop(set_id, None)
        # What the newest range did not cure lies scattered: this time every range is answered.
        step = 2 if is_again else 0
        messages = _ranges(set_id, salt, step, first_step(own, their.count, is_list=is_list))
        state.started[set_id] = _Comparison(their.audience, len(messages), now)
        return messages

    def next_waiting(self, link: LinkId) -> tuple[bytes, SaltId, SetRoot] | None:
        """A set that differed when too many were being compared, once there is room for it."""
        state = self._link(link)
        if not state.waiting or len(state.started) >= STARTED_MAX:
            return None
        set_id = next(iter(state.waiting))
        return (set_id, *state.waiting.pop(set_id))

    def on_ranges(
        self,
        link: LinkId,
        message: Ranges,
        own: FingerprintSet,
        now: Instant,
        *,
        is_dialer: bool,
    ) -> tuple[tuple[Ranges, ...], Compared]:
        """A step of a comparison: the answer, and what either end lacks. Where both started one at
        once, that of who dialled goes on."""
        state = self._link(link)
        if message.step % 2:
            return self._on_answer(state, message, own, now)
        if message.set_id in state.started:
            if is_dialer:
                return (), Compared()
            del state.started[message.set_id]
        if message.step == 0:
            state.pushed_bytes.pop(message.set_id, None)
        compared = compare(own, message.ranges, message.step)
        # Who started it must hear, too, that there is nothing more to say.
        said = compared.answers or ((),)
        return _ranges(message.set_id, message.salt, message.step + 1, said), compared

    def _on_answer(
        self, state: _Link, message: Ranges, own: FingerprintSet, now: Instant
    ) -> tuple[tuple[Ranges, ...], Compared]:
        """An odd step answers a comparison of ours; one that has ended needs no answer."""
        mine = state.started.get(message.set_id)
        if mine is None:
            return (), Compared()
        compared = compare(own, message.ranges, message.step)
        is_end = message.step == RANGES_STEPS_MAX
        said = () if is_end else compared.answers
        mine.heard_at = now
        mine.unanswered = max(0, mine.unanswered + len(said) - (not message.more))
        mine.moved += len(compared.lacking) + len(compared.extra)
        return _ranges(message.set_id, message.salt, message.step + 1, said), compared

    def on_compared(self, link: LinkId, set_id: bytes, now: Instant) -> None:
        """A step was acted on: the comparison has ended if nothing of it is unanswered."""
        self._end_if_done(self._link(link), set_id, now)

    def room_unasked(self, link: LinkId, set_id: bytes) -> int:
        """How many bytes of manifests the comparison of a set may still bring unasked."""
        return PUSHED_BYTES_MAX - self._link(link).pushed_bytes.get(set_id, 0)

    def on_pushed(self, link: LinkId, set_id: bytes, size: int) -> None:
        """So many bytes of manifests of a set went out unasked."""
        pushed = self._link(link).pushed_bytes
        pushed[set_id] = pushed.get(set_id, 0) + size
        if len(pushed) > REMEMBERED_MAX:
            pushed.popitem(last=False)

    def on_lacking(
        self, link: LinkId, set_id: bytes, salt: SaltId, ids: tuple[bytes, ...], now: Instant
    ) -> tuple[GetManifests, ...]:
        """A peer has what we lack: what to ask for now."""
        state = self._link(link)
        if set_id in state.started:
            state.started[set_id].heard_at = now
        state.lacking.note(set_id, salt, ids)
        return state.lacking.next_asks(now)

    def on_manifests(
        self, link: LinkId, message: Manifests, now: Instant
    ) -> tuple[GetManifests, ...]:
        """Manifests came: what to ask for next."""
        state = self._link(link)
        is_settled = state.lacking.settle(message, now)
        mine = state.started.get(message.set_id)
        # Who sends nothing, again and again, is as silent as who does not.
        if mine is not None and (is_settled or message.envelopes):
            mine.heard_at = now
        asks = state.lacking.next_asks(now)
        self._end_if_done(state, message.set_id, now)
        return asks

    def _end_if_done(self, state: _Link, set_id: bytes, now: Instant) -> None:
        mine = state.started.get(set_id)
        if mine is None or mine.unanswered > 0:
            return
        if state.lacking.is_over(set_id):
            _owe(state, self._end(state, set_id, now), now)

    def _end(self, state: _Link, set_id: bytes, now: Instant) -> Audience:
        ended = state.started.pop(set_id)
        outcome = state.outcomes.get(set_id)
        if outcome is not None:
            outcome.at, outcome.moved = now, ended.moved
        return ended.audience

    def on_unsent(self, link: LinkId, audience: Audience, now: Instant) -> None:
        """Something about an audience was dropped on a link. Of too many, pings find the rest."""
        state = self._link(link)
        if state.owes_holdings_at is None:
            state.owes_holdings_at = later(now, LOOK_AGAIN)
        _owe(state, audience, now)

    def wait(self, link: LinkId, audience: Audience, now: Instant) -> bool:
        """News of a set may still be under way: hold its root against the peer's after a moment.
        False if it was waited for often enough."""
        state = self._link(link)
        if audience in state.owed:
            return True
        waits = state.waits.get(audience, 0)
        if waits >= WAITS_MAX or not _owe(state, audience, now):
            self.settled(link, audience)
            return False
        state.waits[audience] = waits + 1
        return True

    def settled(self, link: LinkId, audience: Audience) -> None:
        """No news of a set is under way, or it was waited for often enough."""
        self._link(link).waits.pop(audience, None)

    def next_timer(self, link: LinkId, now: Instant) -> Instant | None:
        """When this link is to be looked at, if no timer asks for that yet. All waits of a kind are
        equally long, so what came first is due first, and a timer once set is early enough for
        every silence that begins later."""
        state = self._link(link)
        first_owed = next(iter(state.owed.values()), None)
        owed = (first_owed, state.owes_all_at, state.owes_holdings_at)
        dues = [at for at in owed if at is not None]
        if state.look_at is None:
            dues.extend(later(one.heard_at, SILENCE) for one in state.started.values())
            end = state.lacking.next_end()
            dues.extend(() if end is None else (end,))
        at = max(min(dues), now) if dues else None
        if at is None or (state.look_at is not None and state.look_at <= at):
            return None
        state.look_at = at
        return at

    def on_due(self, link: LinkId, now: Instant) -> Owed:
        """A link's timer came due: what is silent has ended; what the peer is told now."""
        state = self._links.get(link)
        if state is None or state.look_at is None or not is_due(state.look_at, now):
            return Owed()
        state.look_at = None
        state.lacking.give_up(now)
        owed = {one: None for one, at in state.owed.items() if is_due(at, now)}
        for one in owed:
            del state.owed[one]
        for set_id, mine in tuple(state.started.items()):
            if elapsed(mine.heard_at, now) >= SILENCE:
                owed[self._end(state, set_id, now)] = None
        is_all, has_dropped = _is_due(state.owes_all_at, now), _is_due(state.owes_holdings_at, now)
        if is_all:
            state.owes_all_at = None
        if has_dropped:
            state.owes_holdings_at = None
        return Owed(
            audiences=tuple(owed),
            asks=state.lacking.next_asks(now),
            all_roots=is_all,
            holdings=has_dropped,
        )

    def check(self) -> None:
        """Assert the limits."""
        for state in self._links.values():
            assert len(state.started) <= STARTED_MAX
            state.lacking.check()
            assert max(len(state.outcomes), len(state.waiting)) <= REMEMBERED_MAX
            assert max(len(state.pushed_bytes), len(state.owed)) <= REMEMBERED_MAX
            assert list(state.owed.values()) == sorted(state.owed.values())
            assert len(state.waits) <= 2 * REMEMBERED_MAX
            assert all(0 < count <= WAITS_MAX for count in state.waits.values())
            assert all(mine.unanswered >= 0 for mine in state.started.values())


def _next_outcome(
    before: _Outcome | None, roots: tuple[bytes, bytes], now: Instant
) -> _Outcome | None:
    """One more about these roots; None if it is too early for that."""
    if before is None or before.roots != roots:
        return _Outcome(roots, 1, now)
    if before.times >= VAIN_MAX:
        wait = min(VAIN_WAIT_MIN << min(before.times - VAIN_MAX, 16), VAIN_WAIT_MAX)
        if elapsed(before.at, now) < wait:
            return None
    return _Outcome(roots, before.times + 1, now)


def _ranges(
    set_id: bytes, salt: SaltId, step: int, messages: tuple[tuple[Range, ...], ...]
) -> tuple[Ranges, ...]:
    last = len(messages) - 1
    return tuple(
        Ranges(set_id=set_id, salt=salt, step=step, more=index < last, ranges=ranges)
        for index, ranges in enumerate(messages)
    )


def _is_due(at: Instant | None, now: Instant) -> bool:
    return at is not None and is_due(at, now)


def _owe(state: _Link, audience: Audience, now: Instant) -> bool:
    """The peer is told the root of a set after a moment; False if too many wait for that."""
    if audience not in state.owed:
        if len(state.owed) >= REMEMBERED_MAX:
            return False
        state.owed[audience] = later(now, LOOK_AGAIN)
    return True
