"""The life of a link: dialled, hello, open, pinged, judged again, parted, ended.

Decides: when a link opens and when it ends.
Keeps: a peer that loses its trust is cut at once; an expired certificate or claims end a link
without grace.
Must not know: what is said over an open link.
"""

from random import Random
from typing import Final

from fabgossip.core.comparing import Comparing
from fabgossip.core.effects import Dial, Fact, Record, SetTimer
from fabgossip.core.events import (
    DialDue,
    HelloDue,
    LifeDue,
    LinkId,
    LostReason,
    PartingDue,
    PeerConnected,
    PeerLost,
    PingDue,
    SilenceDue,
    Timer,
)
from fabgossip.core.liveness import Life
from fabgossip.core.lots import Lots
from fabgossip.core.machines import Machines
from fabgossip.core.peer_claims import PeerClaims
from fabgossip.core.renewing import Renewing
from fabgossip.core.sessions import Session, shared_protocol
from fabgossip.core.witnessing import Witnessing
from fabgossip.model.ids import BootId
from fabgossip.model.messages import (
    FEATURES,
    Bye,
    ByeReason,
    Hello,
    Message,
    NeighborAnswer,
    NeighborAsk,
    Ping,
    Pong,
    Welcome,
)
from fabgossip.model.moment import Duration, Instant, Now, instant_of, is_due, is_past, later

LINK_LIFE_MS: Final = 3_600_000
"""A link is made anew after this (*start*), give or take a tenth, so not all at once."""
LINK_LIFE_SPREAD: Final = 10
FULL_RETRY_S: Final = 30
"""When a guest for whom there is no room may come again (*start*)."""
PARTING: Final = Duration(500)
"""How long a peer that lost its trust may still read the list that says so (*start*); everything
else ends at once, and the link well within a second."""


class Links:
    """Opens, keeps and ends links."""

    __slots__ = (
        "_boot_id", "_claims", "_comparing", "_dial_generation", "_lots", "_m", "_renewing",
        "_witnessing",
    )  # fmt: skip

    def __init__(
        self,
        machines: Machines,
        claims: PeerClaims,
        comparing: Comparing,
        witnessing: Witnessing,
        renewing: Renewing,
        boot_id: BootId,
        chance: Random,
    ) -> None:
        self._m = machines
        self._claims = claims
        self._comparing = comparing
        self._witnessing = witnessing
        self._renewing = renewing
        self._boot_id = boot_id
        self._lots = Lots(chance)
        self._dial_generation = 0

    def dial(self, now: Now) -> None:
        """Ask and dial who is missing; look again when somebody's back-off ends, or after a
        while."""
        is_revoked = self._m.beliefs.freshness.is_revoked
        if not is_revoked:
            self._ask(now)
        candidates = () if is_revoked else self._m.neighbors.next_dials(now.instant)
        for candidate in candidates:
            self._m.neighbors.on_dialing(candidate.node_id)
            self._m.out.append(Dial(node_id=candidate.node_id, addresses=candidate.addresses))
        self._dial_generation += 1
        timer = DialDue(generation=self._dial_generation)
        self._timer(timer, self._m.neighbors.next_dial_at(now.instant))

    def _ask(self, now: Now) -> None:
        for link, ask in self._m.neighbors.next_asks(now.instant):
            self._m.disclosure.send(link, ask)

    def on_connected(self, event: PeerConnected, now: Now) -> None:
        """A link passed TLS: hello is said, unless its peer is not to be spoken to."""
        name = event.identity.node_id
        life = self._lots.around(LINK_LIFE_MS, LINK_LIFE_SPREAD, name, now.instant)
        session = Session(event.link, event.identity, event.is_dialer, now.instant, life)
        self._m.sessions.on_connected(session)
        self._m.neighbors.on_connected(
            event.link, session.node_id, now.instant, is_dialer=event.is_dialer
        )
        if self._m.beliefs.freshness.is_revoked or not self._m.beliefs.may_link(event.identity):
            self._m.disclosure.goodbye(session, ByeReason.CLOSED, LostReason.REVOKED)
            return
        if not self._m.policing.admits(session, now.instant):
            return
        self._m.disclosure.hello(session, self._boot_id)
        self._timer(
            HelloDue(link=event.link),
            later(now.instant, Duration(self._m.config.connections.hello_ms)),
        )

    def on_lost(self, event: PeerLost, now: Now) -> None:
        """A link ended, or a dial failed."""
        for_company = event.link is None and not self._m.neighbors.is_visit(event.node_id)
        self._m.neighbors.on_lost(event.link, event.node_id, event.reason, now.instant)
        lost = None if event.link is None else self._m.sessions.find(event.link)
        was_open = lost is not None and lost.is_open
        if not was_open and self._m.neighbors.link_of(event.node_id) is None:
            # The end of a link that was open says nothing of how well its peer serves.
            self._m.fetching.on_unreached(event.node_id, now.instant, for_company=for_company)
            self._renewing.on_unreached(event.node_id, now)
        self.dial(now)
        reason = _reason_of(event, lost)
        fields = (("peer", event.node_id), ("reason", reason))
        self._m.neighbors.losses.on_lost(event.node_id, reason, now.instant)
        if event.link is None:
            self._m.out.append(Record(fact=Fact.NEIGHBOR_LOST, fields=fields))
            return
        self._m.neighbors.on_ended(event.node_id, reason, now.instant)
        session = self._m.sessions.on_lost(event.link)
        self._m.forget_link(event.link, event.node_id)
        self._renewing.on_lost(event.link, now)
        if session is not None and session.is_open:
            self._m.out.append(Record(fact=Fact.NEIGHBOR_LOST, fields=fields))

    def on_early_message(self, session: Session, message: Message, now: Now) -> None:
        """What comes before a link is open: hello and welcome, nothing else."""
        match message:
            case Hello() if session.hello is None:
                self._on_hello(session, message, now)
            case Welcome() if session.welcome is None:
                session.welcome = message
                self._m.neighbors.liveness.on_welcome(session.link, now.instant)
                self._open(session, now)
            case _:
                self._break_early(session, now)

    def _break_early(self, session: Session, now: Now) -> None:
        self._m.policing.on_failed(session, now.instant)
        self.on_broken(session)

    def on_broken(self, session: Session) -> None:
        """A message out of order is the peer's fault."""
        self._record_cut(session, LostReason.PROTOCOL)
        self._m.disclosure.goodbye(session, ByeReason.PROTOCOL, LostReason.PROTOCOL, 60)

    def _on_hello(self, session: Session, hello: Hello, now: Now) -> None:
        session.hello = hello
        session.claims_envelope, session.openings = hello.claims, hello.openings
        self._m.policing.on_hello(session, now.instant)
        protocol_min = self._m.beliefs.facts.bundle.protocol_min
        session.protocol = shared_protocol(self._m.sessions.spoken, hello, protocol_min)
        if session.protocol is None:
            self._record_cut(session, LostReason.VERSION)
            self._m.disclosure.goodbye(session, ByeReason.VERSION, LostReason.VERSION, 3_600)
            return
        rival = self._m.sessions.rival_of(session)
        stays, goes = (session, None) if rival is None else rival
        self._m.neighbors.on_settled(stays.link, stays.node_id)
        if goes is not None:
            self._m.disclosure.goodbye(goes, ByeReason.DUPLICATE, LostReason.DUPLICATE, 0)
        if goes is session:
            return
        self._claims.judge(session, now)
        self._m.disclosure.send(session.link, _welcome(session.protocol, hello))
        self._open(session, now)

    def _open(self, session: Session, now: Now) -> None:
        if session.hello is None or session.welcome is None or session.is_open or session.is_ended:
            return
        if not session.is_agreed:
            self._break_early(session, now)
            return
        session.is_open = True
        self._m.neighbors.on_open(session.link, now.instant)
        self._m.out.append(
            Record(fact=Fact.NEIGHBOR_CONNECTED, fields=(("peer", session.node_id),))
        )
        if not self._has_room(session):
            return
        self._ping_later(session.link, now)
        certificate_ends = instant_of(session.identity.expires_at, now)
        self._timer(
            LifeDue(link=session.link),
            min(later(session.since, session.life), certificate_ends),
        )
        self._m.disclosure.show_claims(session, now)
        self._m.disclosure.ask_heads(session, self._m.beliefs.lane_namespaces())
        self._m.disclosure.whole_holdings(session, now)
        self._ping(session, now)
        self._ask(now)
        self._m.fetching.on_opened(session.node_id, now.instant)
        self._witnessing.show_head()

    def _has_room(self, session: Session) -> bool:
        """Whether a link that just opened stays; another one may have to go for it."""
        link = self._m.neighbors.next_crowded(session.link, self._is_busy)
        gone = None if link is None else self._m.sessions.of(link)
        if gone is not None:
            self._m.disclosure.goodbye(gone, ByeReason.FULL, LostReason.FULL, FULL_RETRY_S)
        return gone is not session

    def on_ping(self, session: Session, ping: Ping, now: Now) -> None:
        """The peer asks whether we live, and whether our sets differ."""
        self._m.disclosure.send(session.link, Pong(sequence=ping.sequence))
        self._comparing.on_ping(session, ping, now)

    def on_ping_due(self, link: LinkId, now: Now) -> None:
        """Time to ask for a sign of life."""
        session = self._m.sessions.find(link)
        if session is None or not session.is_talking:
            return
        self._m.neighbors.liveness.on_ping_due(link, now.instant)
        if self._m.disclosure.show_claims(session, now):
            self._comparing.look(session, now)
        self._ping(session, now)
        self._ping_later(link, now)

    def _ping(self, session: Session, now: Now) -> None:
        self._comparing.ping(session, now)
        self._look_later(session.link, now)

    def _ping_later(self, link: LinkId, now: Now) -> None:
        at = self._m.neighbors.liveness.next_ping_at(link, now.instant)
        if at is not None:
            self._timer(PingDue(link=link), at)

    def _look_later(self, link: LinkId, now: Now) -> None:
        at = self._m.neighbors.liveness.next_look_at(link, now.instant)
        if at is not None:
            self._timer(SilenceDue(link=link), at)

    def on_silence_due(self, link: LinkId, now: Now) -> None:
        """Time to look whether a link lives. One that is in doubt carries nothing whole, and
        somebody takes its place at once."""
        session = self._m.sessions.find(link)
        if session is None or not session.is_talking:
            return
        match self._m.neighbors.liveness.look(link, now.instant):
            case Life.DOWN:
                self._m.disclosure.goodbye(session, ByeReason.SLOW, LostReason.TIMEOUT, 0)
            case Life.SUSPECT:
                self._m.telling.trees.on_doubtful(link)
                self._ping(session, now)
                self.dial(now)
            case Life.DOUBTED | Life.ALIVE:
                self._look_later(link, now)

    def on_ask(self, session: Session, ask: NeighborAsk, now: Now) -> None:
        """A peer wants to be a neighbour."""
        was_neighbor = self._m.neighbors.is_neighbor(session.link)
        reply = self._m.neighbors.on_ask(session.link, ask, now.instant)
        if reply.bye is not None:
            lost = LostReason.FULL if reply.bye is ByeReason.FULL else LostReason.PROTOCOL
            self._m.disclosure.goodbye(session, reply.bye, lost)
            return
        evicted = None if reply.evicted is None else self._m.sessions.find(reply.evicted)
        if evicted is not None:
            self._evict(evicted)
        answer = NeighborAnswer(is_yes=reply.is_yes, retry_after_s=reply.retry_after_s)
        self._m.disclosure.send(session.link, answer)
        if reply.is_yes and not was_neighbor:
            self._m.disclosure.whole_holdings(session, now)

    def on_answer(self, session: Session, answer: NeighborAnswer, now: Now) -> None:
        """A peer said whether we are neighbours. What was told to neighbours before the yes is
        found by comparing sets; what we hold is told now."""
        is_fresh = self._m.neighbors.on_answer(
            session.link, answer.retry_after_s, now.instant, is_yes=answer.is_yes
        )
        if is_fresh:
            self._m.disclosure.whole_holdings(session, now)
            self._ping(session, now)
        elif not answer.is_yes:
            self.dial(now)

    def _evict(self, session: Session) -> None:
        fields = (("peer", session.node_id),)
        self._m.out.append(Record(fact=Fact.NEIGHBOR_EVICTED, fields=fields))
        self._m.disclosure.goodbye(session, ByeReason.EVICTED, LostReason.EVICTED)

    def _part_with_surplus(self, now: Now) -> None:
        for one in self._m.neighbors.next_partings(self._is_busy, now.instant):
            session = self._m.sessions.find(one.link)
            if session is None:
                continue
            if one.bye is ByeReason.EVICTED:
                self._evict(session)
            else:
                self._m.disclosure.goodbye(session, one.bye, one.lost, one.retry_after_s)

    def _is_busy(self, link: LinkId) -> bool:
        peer = self._m.sessions.peer_of(link)
        is_asked = peer is not None and (
            self._m.fetching.is_asked(peer) or self._renewing.is_asked(peer)
        )
        return is_asked or self._m.slots.is_in_use(link)

    def on_dial_due(self, timer: DialDue, now: Now) -> None:
        """Time to look for who is missing."""
        if timer.generation == self._dial_generation:
            self._part_with_surplus(now)
            self.dial(now)

    def on_hello_due(self, link: LinkId) -> None:
        """A peer had its time to say hello."""
        session = self._m.sessions.find(link)
        if session is not None and not session.is_open:
            self._m.disclosure.goodbye(session, ByeReason.SLOW, LostReason.TIMEOUT, 60)

    def on_parting_due(self, link: LinkId) -> None:
        """A peer that lost its trust had its moment."""
        session = self._m.sessions.find(link)
        if session is not None:
            self._m.disclosure.goodbye(session, ByeReason.CLOSED, LostReason.REVOKED)

    def on_bye(self, session: Session, bye: Bye, now: Now) -> None:
        """The peer ends the link, and says when to come back."""
        session.bye = bye.reason
        self._m.neighbors.on_told(session.node_id, bye.retry_after_s, now.instant)
        self._m.disclosure.goodbye(session, ByeReason.DRAIN, LostReason.BYE, 0)

    def judge_all(self, now: Now) -> None:
        """Facts changed: who lost its trust is cut, who may see more is shown more, who may see
        less starts anew."""
        is_revoked = self._m.beliefs.freshness.is_revoked
        spoken = self._m.sessions.spoken
        protocol_min = self._m.beliefs.facts.bundle.protocol_min
        for session in self._m.sessions.all_sessions():
            if is_revoked or not self._m.beliefs.may_link(session.identity):
                self._part(session, now)
                continue
            if session.hello is not None:
                if shared_protocol(spoken, session.hello, protocol_min) is None:
                    self._record_cut(session, LostReason.VERSION)
                    self._m.disclosure.goodbye(
                        session, ByeReason.VERSION, LostReason.VERSION, 3_600
                    )
                    continue
                self._claims.judge_again(session, now)
            if session.is_ended:
                continue
            if session.is_open and self._m.disclosure.has_narrowed(session):
                self._m.disclosure.narrowed(session)
            elif session.is_open and self._m.disclosure.show_claims(session, now):
                self._comparing.look(session, now)

    def _part(self, session: Session, now: Now) -> None:
        """A peer lost its trust, or we did. It gets a moment to read the list that says so, and
        nothing else: its operator must be able to see why it is alone."""
        if session.is_parting:
            return
        self._record_cut(session, LostReason.REVOKED)
        if self._m.beliefs.freshness.is_revoked or not session.is_open:
            self._m.disclosure.goodbye(session, ByeReason.CLOSED, LostReason.REVOKED)
            return
        session.is_parting = True
        session.claims = session.offered = None
        self._m.forget_told(session.link)
        self._m.disclosure.revocations(session)
        self._timer(PartingDue(link=session.link), later(now.instant, PARTING))

    def _record_cut(self, session: Session, reason: LostReason) -> None:
        fields = (("peer", session.node_id), ("reason", reason.value))
        self._m.out.append(Record(fact=Fact.SESSION_CUT, fields=fields))

    def end_expired(self, now: Now) -> None:
        """Look at all links whether they are over: a clock that was set forward made no timer
        due."""
        for session in self._m.sessions.all_sessions():
            self._end_if_expired(session, now)

    def on_life_due(self, link: LinkId, now: Now) -> None:
        """Something a link rests on ends about now."""
        session = self._m.sessions.find(link)
        if session is not None:
            self._end_if_expired(session, now)

    def _end_if_expired(self, session: Session, now: Now) -> None:
        """An expired certificate or claims end a link, without grace: an outage grants nothing."""
        claims = session.claims
        is_old = is_due(later(session.since, session.life), now.instant)
        if (
            is_old
            or is_past(session.identity.expires_at, now.unix)
            or (claims is not None and is_past(claims.claims.expires_at, now.unix))
        ):
            self._m.disclosure.goodbye(session, ByeReason.LIFE_OVER, LostReason.LIFE)

    def _timer(self, timer: Timer, at: Instant) -> None:
        self._m.out.append(SetTimer(timer=timer, at=at))


def _welcome(protocol: int, hello: Hello) -> Welcome:
    """In force is what both ends have."""
    return Welcome(protocol=protocol, features=hello.features & FEATURES)


def _reason_of(event: PeerLost, session: Session | None) -> str:
    """Why a link ended: a peer that said so is named with its word."""
    said = None if session is None else session.bye
    if said is None or event.reason is not LostReason.BYE:
        return event.reason.value
    return f"{event.reason.value}_{said.name.lower()}"
