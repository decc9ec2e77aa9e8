"""What is near its refresh time, and nothing newer came: whom to ask for it, rung by rung.

Decides: which audiences have something due, when a climb for them begins, whom it asks and when it
ends.
Keeps: the steps are those of a content, in the same strict order and at the same tolls; all that is
due in an audience climbs together, and no audience waits for another; a peer is asked for what it
may know; nothing is accepted, widened or prolonged because nobody answered.
Must not know: what an answer is worth, how a link opens.

Neighbours tell of newer versions by themselves, and are asked for what is due in turn. Only what is
due all the same climbs: a healthy fabric, whose control plane renews in time, sees none of this.
What is only stored for others is left to those it is for, and to comparisons of what stores hold.
"""

from dataclasses import replace
from typing import Final

from fabgossip.core.attempts import (
    CONNECT_FAILED,
    IN_USE,
    NOT_ASKED,
    NOTHING_NEWER,
    SKIPPED,
    TIMED_OUT,
    VERIFIED,
)
from fabgossip.core.catalog import Head
from fabgossip.core.effects import Dial, Fact, Record, SetTimer
from fabgossip.core.events import FetchFailure, LinkId, RenewalDue
from fabgossip.core.ladder import STEPS, TURN_MS_MIN, Step
from fabgossip.core.machines import Machines
from fabgossip.core.refresh import DUE_MAX
from fabgossip.core.renewals import Due, Group, Renewal, RenewingSnapshot, names_of, rank_of
from fabgossip.core.sessions import Session
from fabgossip.core.sources import Choice, is_of
from fabgossip.core.wants import Source, Want, WantState, goal_of, wanted_from
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import Heads
from fabgossip.model.moment import Duration, Instant, Now, elapsed, is_due, is_past, later

WAIT_MS: Final = 250
"""What has to wait for a dial looks again after this (*start*)."""
FORGOTTEN: Final = Duration(3_600_000)
"""A climb that ended is remembered so long (*start*)."""


class Renewing:
    """The climbs for newer versions of what this node has."""

    __slots__ = ("_by_group", "_due", "_m", "_timer_at")

    def __init__(self, machines: Machines) -> None:
        self._m = machines
        self._due = Due(machines)
        self._by_group: dict[Group, Renewal] = {}
        """One of each audience of which a head applies here, so no more than there are heads. No
        limit of its own: whoever found no room would wait for another audience."""
        self._timer_at: Instant | None = None

    def on_refresh(self, now: Now) -> None:
        """A turn to look at what is due: what is due anew begins to climb."""
        due = self._due.groups(now)
        for group, renewal in tuple(self._by_group.items()):
            heads = due.get(group, [])
            if renewal.is_over and heads:
                continue  # another climb begins
            due.pop(group, None)
            self._on_still_due(renewal, heads, now)
            if renewal.is_over and elapsed(renewal.look_at, now.instant) >= FORGOTTEN:
                del self._by_group[group]
        for group in sorted(due, key=rank_of):
            before = self._by_group.get(group)
            asked = () if before is None else before.names
            self._by_group[group] = self._due.new_renewal(due[group], asked, now)
        self.look(now)

    def _on_still_due(self, renewal: Renewal, heads: list[Head], now: Now) -> None:
        """What is due may be other namespaces by now, or none."""
        want = renewal.want
        if not heads:
            self._end(renewal, now)
            return
        renewal.due = names_of(heads)
        self._due.keep_due(renewal)
        first = heads[0]
        if first.verified is not want.verified and renewal.link is None:
            want.verified, want.goal = first.verified, goal_of(first.verified)
            want.wanted = wanted_from(first.verified, is_read=False)
        if first.source is not None:
            want.on_announced(NodeId(first.source))
        if renewal.link is not None and not renewal.asked.keys() & set(renewal.due):
            # All of it came by another way: whoever is asked has said nothing of the rest.
            renewal.look_at = later(now.instant, Duration(TURN_MS_MIN))
            self._ask(renewal, renewal.link, now)

    def _end(self, renewal: Renewal, now: Now, *, has_answered: bool = False) -> None:
        """Nothing of it is due any more; `has_answered`: by what came from its source."""
        want = renewal.want
        if renewal.is_over:
            return
        if want.has_climbed:
            self._record(want, Fact.RECOVERY_ENDED)
        if want.source is not None:
            self._note(want, VERIFIED if has_answered else FetchFailure.CANCELLED.value, now)
            self._m.fetching.for_heads.on_no_more_asked(
                want, want.source, has_answered=has_answered
            )
        want.source, want.state = None, WantState.SATISFIED
        want.recorded, want.has_climbed = Step.NORMAL, False
        want.climbs += 1
        renewal.look_at = now.instant

    def _climb(self, renewal: Renewal) -> None:
        """Begin at normal again, with the next names."""
        want = renewal.want
        renewal.names = self._due.next_names(renewal.due, renewal.names)
        want.enter(Step.NORMAL)
        want.climb_since, want.state = None, WantState.QUEUED

    def on_reached(self, now: Now) -> None:
        """Something happened: who was dialled may be there."""
        if any(one.want.state is WantState.DIALING for one in self._by_group.values()):
            self.look(now)

    def look(self, now: Now) -> None:
        """Do what is to be done now: ask the next, end a turn, climb again."""
        for group in sorted(self._by_group, key=rank_of):
            renewal = self._by_group[group]
            while not renewal.is_over and self._is_ripe(renewal, now):
                self._advance(renewal, now)
        self._set_timer(now)

    def _is_ripe(self, renewal: Renewal, now: Now) -> bool:
        want = renewal.want
        dialed = want.source if want.state is WantState.DIALING else None
        if dialed is not None and self._m.recovery.is_reached(dialed.node_id, now):
            return True
        return is_due(renewal.look_at, now.instant)

    def _advance(self, renewal: Renewal, now: Now) -> None:
        want = renewal.want
        match want.state:
            case WantState.DIALING:
                self._on_dialed(renewal, now)
            case WantState.FETCHING:
                self._on_turn_over(renewal, now)
            case WantState.PARKED:
                self._climb(renewal)
            case _:
                self._ask_next(renewal, now)

    def _ask_next(self, renewal: Renewal, now: Now) -> None:
        want = renewal.want
        supply = self._m.recovery.supply_of(want)
        able = tuple(one for one in supply.linked if self._may_ask(renewal, one, now))
        supply = replace(supply, linked=able)
        choice = self._m.fetching.for_heads.choose(want, supply, self._may_turn_to, now.instant)
        if choice.awaits:
            renewal.look_at = self._wait_until(want, choice, now.instant)
        elif choice.source is None:
            self._park(renewal, now)
        else:
            source = self._m.fetching.for_heads.begin(want, choice, now.instant)
            renewal.has_brought = False
            self._record_climb(want)
            renewal.look_at = later(now.instant, Duration(choice.turn_ms))
            if source.link is None:
                self._visit(want, source)
            else:
                self._ask(renewal, source.link, now)

    def _may_turn_to(self, source: Source) -> bool:
        """No more dials than there is room for."""
        is_there = source.link is not None or self._m.neighbors.is_dialing(source.node_id)
        return is_there or self._m.neighbors.room_to_dial() > 0

    def _wait_until(self, want: Want, choice: Choice, now: Instant) -> Instant:
        token_at = self._m.fetching.for_heads.token_at(want, now)
        wake_at = token_at if token_at > now else later(now, Duration(WAIT_MS))
        return wake_at if choice.look_at is None else min(wake_at, choice.look_at)

    def _visit(self, want: Want, source: Source) -> None:
        want.state = WantState.DIALING
        if self._m.neighbors.begin_visit(source.node_id):
            self._m.out.append(Dial(node_id=source.node_id, addresses=source.addresses))

    def _on_dialed(self, renewal: Renewal, now: Now) -> None:
        """A source was reached and is asked, if it may know of this; or its turn is over."""
        want = renewal.want
        assert want.source is not None
        node_id = want.source.node_id
        if not self._m.recovery.is_reached(node_id, now):
            self._unreached(renewal, TIMED_OUT, now)
            return
        linked = self._m.recovery.supply_of(want).linked
        found = next((one for one in linked if one.node_id == node_id), None)
        if found is None or found.link is None or not is_of(want, want.step, found):
            self._unreached(renewal, NOT_ASKED, now)
        else:
            want.source, want.asked_at = found, now.instant
            renewal.look_at = later(
                now.instant, Duration(max(want.left_ms(now.instant), TURN_MS_MIN))
            )
            self._ask(renewal, found.link, now)

    def _ask(self, renewal: Renewal, link: LinkId, now: Now) -> None:
        """Ask a source for what of all this it may know of."""
        session = self._m.sessions.find(link)
        assert session is not None
        names = tuple(one for one in renewal.names if self._may_name(session, one, now))
        if not names:
            self._unreached(renewal, NOT_ASKED, now)
            return
        session.questions += 1
        renewal.question, renewal.has_answered = session.questions, False
        renewal.asked = {name: self._due.order_of(name) for name in names}
        renewal.want.state = WantState.FETCHING
        self._m.disclosure.ask_heads(session, names, renewal.question)

    def _may_ask(self, renewal: Renewal, source: Source, now: Now) -> bool:
        """Whether a linked source may know of anything that is asked for."""
        session = None if source.link is None else self._m.sessions.find(source.link)
        return session is not None and any(
            self._may_name(session, one, now) for one in renewal.names
        )

    def _may_name(self, session: Session, name: str, now: Now) -> bool:
        """Of its own trust lane a node asks anybody."""
        head = self._m.catalog.find(name)
        if head is None or name in self._m.beliefs.lane_namespaces():
            return head is not None
        return self._m.disclosure.may_know(session, head.verified, now)

    def is_asked(self, node_id: NodeId) -> bool:
        """Whether an answer of a node is awaited."""
        return any(
            one.link is not None and one.want.source is not None
            and one.want.source.node_id == node_id
            for one in self._by_group.values()
        )  # fmt: skip

    def on_heads(self, session: Session, answer: Heads, now: Now) -> None:
        """A peer answered, and what it brought was judged. Nothing is a whole answer; of anything
        else more may follow, until the turn is over."""
        renewal = self._asked_by(session.link, answer.question)
        if renewal is None:
            return
        renewal.has_answered = True
        is_newer = self._due.has_newer(renewal)
        renewal.due = self._due.still_due(renewal, now)
        self._due.keep_due(renewal)
        if not renewal.due:
            self._end(renewal, now, has_answered=True)
        elif not answer.envelopes:
            self._on_answered(renewal, now)
        elif is_newer:
            renewal.has_brought = True
        self.look(now)

    def _on_answered(self, renewal: Renewal, now: Now) -> None:
        """A source has nothing newer, or nothing more."""
        if renewal.has_brought:
            self._in_vain(renewal, VERIFIED, FetchFailure.BUSY, now)  # no failure of its
        else:
            self._in_vain(renewal, NOTHING_NEWER, FetchFailure.MISSING, now)

    def _asked_by(self, link: LinkId, question: int) -> Renewal | None:
        out = (one for one in self._by_group.values() if one.link == link)
        return next((one for one in out if one.question == question), None)

    def _on_turn_over(self, renewal: Renewal, now: Now) -> None:
        """Who brought something is asked on, as long as it does."""
        link = renewal.link
        assert link is not None
        is_newer = self._due.has_newer(renewal)
        if renewal.has_answered and is_newer:
            renewal.look_at = later(now.instant, Duration(TURN_MS_MIN))
            self._ask(renewal, link, now)
        elif renewal.has_answered:
            self._on_answered(renewal, now)
        else:
            self._in_vain(renewal, FetchFailure.STALLED.value, FetchFailure.STALLED, now)

    def on_unreached(self, node_id: NodeId, now: Now) -> None:
        """No link to a node could be made."""
        for renewal in self._by_group.values():
            source = renewal.want.source
            is_dialed = renewal.want.state is WantState.DIALING and source is not None
            if is_dialed and source is not None and source.node_id == node_id:
                self._unreached(renewal, CONNECT_FAILED, now)
        self.look(now)

    def on_lost(self, link: LinkId, now: Now) -> None:
        """A link ended with a question out."""
        for renewal in self._by_group.values():
            if renewal.link == link:
                self._in_vain(renewal, FetchFailure.LOST.value, FetchFailure.LOST, now)
        self.look(now)

    def _in_vain(self, renewal: Renewal, outcome: str, reason: FetchFailure, now: Now) -> None:
        """A try came to nothing: the next one is asked."""
        want = renewal.want
        self._note(want, outcome, now)
        self._m.fetching.for_heads.on_asked_in_vain(want, reason, now.instant)
        want.is_urgent = False
        want.source, want.state = None, WantState.QUEUED
        renewal.look_at = now.instant

    def _unreached(self, renewal: Renewal, outcome: str, now: Now) -> None:
        """Who was dialled could not be asked: the next one is."""
        want = renewal.want
        self._note(want, outcome, now)
        self._m.fetching.for_heads.on_dialed_in_vain(want, outcome, now.instant)
        want.source, want.state = None, WantState.QUEUED
        renewal.look_at = now.instant

    @staticmethod
    def _note(want: Want, outcome: str, now: Now) -> None:
        (one,) = want.tries
        want.on_tried(one, outcome, now.instant, 0)

    def _park(self, renewal: Renewal, now: Now) -> None:
        """Nobody has anything newer. Rung 5: whether what is in use may stay is for the signed
        policy; the climb begins anew later."""
        want = renewal.want
        want.enter(Step.RUNG_5)
        outcome, words = self._verdict(want, now)
        want.note(node_id=None, outcome=outcome, reason=words, at=now.instant)
        want.trace.on_climb_over(want.climbs)
        want.climbs += 1
        want.state = WantState.PARKED
        want.retry_at = renewal.look_at = self._m.fetching.for_heads.next_try_at(want, now.instant)

    def _verdict(self, want: Want, now: Now) -> tuple[str, str]:
        """What becomes of the version in use, and why."""
        manifest = want.verified.manifest
        if not is_past(manifest.refresh_by, now.unix):
            return IN_USE, f"{manifest.order} is not past its time to refresh"
        if self._m.beliefs.is_own_lane(manifest):
            return SKIPPED, "no policy is about trust: it stands until it expires"
        last_good = want.last_good = self._m.recovery.last_good(want, want.verified, now)
        assert last_good is not None
        return last_good.outcome, f"{manifest.order}: {last_good.reason}"

    def _record_climb(self, want: Want) -> None:
        """Told of each step once, however often it climbs."""
        if want.has_climbed and STEPS.index(want.step) > STEPS.index(want.recorded):
            want.recorded = want.step
            self._record(want, Fact.RECOVERY_STARTED)

    def _record(self, want: Want, fact: Fact) -> None:
        namespace = want.verified.manifest.namespace.text
        fields = (("newer_than", str(want.verified.manifest.order)), ("namespace", namespace))
        step = ("step", want.recorded.value)
        self._m.out.append(Record(fact=fact, fields=(*fields, step)))

    def on_due(self, now: Now) -> None:
        """The timer came; one that another made needless does nothing."""
        if self._timer_at is not None and is_due(self._timer_at, now.instant):
            self._timer_at = None
            self.look(now)

    def _set_timer(self, now: Now) -> None:
        """One timer is out at most, unless an earlier one is needed; the later one does no harm."""
        times = [one.look_at for one in self._by_group.values() if not one.is_over]
        if not times:
            return
        at = max(min(times), now.instant)
        if self._timer_at is None or at < self._timer_at:
            self._timer_at = at
            self._m.out.append(SetTimer(timer=RenewalDue(), at=at))

    def snapshot(self, now: Now) -> RenewingSnapshot:
        """Counts for status, of what is due even now: a climb ends only with the next turn."""
        climbs = (one for one in self._by_group.values() if not one.is_over)
        steps = [one.want.step for one in climbs if self._due.still_due(one, now)]
        highest = max(steps, key=STEPS.index, default=Step.NORMAL)
        return RenewingSnapshot(climbs=len(steps), highest_step=highest.value)

    def of(self, head: Head, now: Now) -> Want | None:
        """The climb for what is newer than a head, while it is due, to read and not to keep."""
        name = head.manifest.namespace.text
        group = name not in self._m.beliefs.lane_namespaces(), head.manifest.audience
        found = self._by_group.get(group)
        is_under_way = found is not None and not found.is_over and name in found.due
        if found is None or not is_under_way or not self._due.is_due(name, now):
            return None
        return found.want

    def check(self) -> None:
        """Assert the limits, and that no two wait for one answer."""
        out = [(one.link, one.question) for one in self._by_group.values() if one.link is not None]
        assert len(out) == len(set(out))
        for one in self._by_group.values():
            assert len(one.names) <= DUE_MAX
            asks = one.want.state in (WantState.DIALING, WantState.FETCHING)
            assert asks == (one.want.source is not None)
