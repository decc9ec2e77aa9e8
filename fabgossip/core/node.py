"""One node: routes each event to its rooms and collects what they want done.

Decides: in which order the rooms hear of an event, and nothing else.
Keeps: `handle` is synchronous and depends on state, event, time and its own chance alone; it
returns every effect.
Must not know: trio, sockets, disks, clocks, logs.
"""

from typing import Final, assert_never

from fabgossip.core.acquisition import Acquisition
from fabgossip.core.affected import affected_by
from fabgossip.core.awaiting import Awaiting
from fabgossip.core.comparing import Comparing
from fabgossip.core.effects import Effect, Fact, Record, SetTimer
from fabgossip.core.events import (
    AdvertiseDue,
    AnnounceDue,
    AnswersDue,
    AssemblyFailed,
    AuditChanged,
    AuditState,
    ChainDue,
    CheckpointSigned,
    ClockChanged,
    ComparisonDue,
    ContentFailed,
    ContentLost,
    ContentServed,
    ContentStored,
    DialDue,
    Event,
    GraftDue,
    GrantedReceived,
    HaveDue,
    HelloDue,
    LadderDue,
    LifeDue,
    LinkSlow,
    LocalDamaged,
    MessageReceived,
    PairDue,
    PapersRead,
    PartingDue,
    PeerConnected,
    PeerLost,
    Persisted,
    PingDue,
    RefreshDue,
    RenewalDue,
    RequestDue,
    RequestMade,
    ScrubDue,
    SilenceDue,
    SpaceChanged,
    Started,
    Timer,
    TimerFired,
    Unsent,
    Unwanted,
    WantDue,
)
from fabgossip.core.exchange import Exchange
from fabgossip.core.links import Links
from fabgossip.core.machines import machines_of
from fabgossip.core.peer_claims import PeerClaims
from fabgossip.core.renewing import Renewing
from fabgossip.core.replication import Replication
from fabgossip.core.requests import Requests
from fabgossip.core.rooms import rooms_of
from fabgossip.core.serving import Serving
from fabgossip.core.sessions import Session
from fabgossip.core.setup import NodeSetup
from fabgossip.core.view import View
from fabgossip.core.witnessing import Witnessing
from fabgossip.model.ids import short_hash
from fabgossip.model.messages import (
    Announce,
    AuditHead,
    BadRequest,
    Busy,
    Bye,
    Cancel,
    Chain,
    Claims,
    GetChain,
    GetContent,
    GetHeads,
    GetManifests,
    Graft,
    Have,
    Heads,
    Hello,
    Holdings,
    Ids,
    Manifests,
    Message,
    NeighborAnswer,
    NeighborAsk,
    NotAvailable,
    Ping,
    Pong,
    Prune,
    Ranges,
    Roots,
    Welcome,
)
from fabgossip.model.mode import Mode
from fabgossip.model.moment import Duration, Instant, Now, later
from fabgossip.model.persistence import PutMemory, PutTimeFloor
from fabgossip.trust.signatures import Verifier

ROUNDS_MAX: Final = 8
"""Facts settle in a few rounds: each round knows more than the one before. A peer may send a line
of statements of which each admits the next; what is left then settles with the next event."""
FIRST_SCRUB: Final = Duration(60_000)
"""After a start others have more to do first (*start*)."""
EXPIRIES_PER_TURN_MAX: Final = 1_024


class Node:
    """The core of a daemon, and of a simulated node."""

    __slots__ = (
        "_acquisition", "_claims", "_comparing", "_exchange", "_links", "_m", "_renewing",
        "_replication", "_requests", "_rooms", "_serving", "_witnessing", "awaiting", "view",
    )  # fmt: skip

    def __init__(self, setup: NodeSetup, verifier: Verifier) -> None:
        self._m = machines_of(setup, verifier)
        self._rooms = rooms_of(self._m)
        self._comparing = Comparing(self._m)
        self._claims = PeerClaims(self._m, self._rooms.durability, self._comparing)
        self._witnessing = Witnessing(self._m)
        self._renewing = Renewing(self._m)
        self._links = Links(
            self._m,
            self._claims,
            self._comparing,
            self._witnessing,
            self._renewing,
            setup.boot_id,
            setup.chance("links"),
        )
        self._exchange = Exchange(self._m, self._rooms.intake)
        self._serving = Serving(self._m, self._rooms.durability)
        self._acquisition = Acquisition(
            self._m,
            self._rooms.contents,
            self._rooms.announcing,
            self._rooms.assembling,
            self._rooms.following,
            self._rooms.activation,
        )
        self._requests = Requests(
            self._m,
            self._rooms.intake,
            self._rooms.contents,
            self._rooms.keeping,
            self._rooms.activation,
            self._rooms.using,
        )
        self._replication = Replication(self._m, self._rooms.contents)
        self.view = View(self._m, self._rooms.activation, self._renewing)
        """What readers may see."""
        self.awaiting = Awaiting(self._m, self._rooms.activation)
        """What consumers may read."""

    def handle(self, event: Event, now: Now) -> list[Effect]:
        """Take one event and return all that is to be done about it, in order."""
        if isinstance(event, Started):
            self._m.beliefs.on_memory(event.memory, is_synchronized=event.is_synchronized)
        now = self._m.beliefs.on_time(now)
        self._route(event, now)
        self._settle_facts(now)
        self._comparing.settle(now, is_news=not isinstance(event, Started))
        self._requests.answer_failed()
        self._renewing.on_reached(now)
        self._acquisition.start_transfers(now)
        effects = list(self._m.out)
        self._m.out.clear()
        return effects

    def _route(self, event: Event, now: Now) -> None:
        match event:
            case Started():
                self._on_started(event, now)
            case PeerConnected():
                self._links.on_connected(event, now)
            case PeerLost():
                self._links.on_lost(event, now)
                if event.link is not None:
                    self._rooms.assembling.on_lost(event.link, now)
            case MessageReceived():
                self._on_message(event, now)
            case Unsent():
                self._comparing.on_unsent(event, now)
            case LinkSlow():
                self._m.telling.on_slow(event.link)
            case TimerFired():
                self._on_timer(event.timer, now)
            case ContentStored():
                self._requests.on_content(self._acquisition.on_stored(event, now))
            case ContentFailed():
                self._on_failed(event, now)
            case AssemblyFailed():
                self._rooms.assembling.on_failed(event, now)
            case GrantedReceived():
                self._acquisition.on_granted(event, now)
            case ContentServed():
                self._serving.on_served(event, now)
            case ContentLost():
                self._rooms.mending.on_lost(event.content_hash, now)
            case LocalDamaged():
                self._rooms.activation.on_damaged(event, now)
            case Unwanted():
                self._on_unwanted(event, now)
            case Persisted():
                self._on_persisted(event, now)
            case AuditChanged():
                self._m.beliefs.audit_is_writable = event.state is AuditState.INTACT
                self._m.audits.own_state = event.state
            case SpaceChanged():
                self._on_space(event, now)
            case ClockChanged():
                self._m.beliefs.on_clock(now, is_synchronized=event.is_synchronized)
            case RequestMade():
                self._requests.on_request(event, now)
            case PapersRead():
                self._on_papers(event, now)
            case CheckpointSigned():
                self._m.audits.on_signed(event.envelope)
                self._witnessing.show_head()
            case _:
                assert_never(event)

    def _settle_facts(self, now: Now) -> None:
        """What this node believes or may do is other than before: links, what waits, and what is
        held are judged again, until nothing changes any more."""
        for _ in range(ROUNDS_MAX):
            conditions = self._m.beliefs.next_conditions(now)
            if conditions is not None:
                self._on_conditions(conditions)
                self._rooms.intake.on_other_mode(now)
            if conditions is None and not self._m.unsettled.facts_changed:
                return
            self._m.unsettled.facts_changed = False
            self._recover(now)
            if self._m.unsettled.own_claims_changed:
                self._m.unsettled.own_claims_changed = False
                self._m.dissemination.on_other_claims()
                for session in self._m.sessions.open_sessions():
                    self._m.disclosure.show_claims(session, now)
                    self._m.disclosure.whole_holdings(session, now)
                    self._comparing.look(session, now)
            self._links.judge_all(now)
            self._m.granted.on_facts(now)
            self._rooms.intake.on_more_known(now)
            self._links.dial(now)

    def _on_conditions(self, conditions: tuple[Mode, ...]) -> None:
        modes = " ".join(mode.value for mode in conditions)
        fields: tuple[tuple[str, str | int], ...] = (
            ("mode", conditions[-1].value),
            ("conditions", modes),
        )
        revoked = self._m.beliefs.own_revocation()
        if revoked is not None:
            fields += (("revoked", revoked.part.value),)
        if revoked is not None and revoked.entry is not None:
            entry = revoked.entry
            fields += (("entry", short_hash(entry.value)), ("reason", entry.reason))
        self._m.out.append(Record(fact=Fact.MODE_CHANGED, fields=fields))

    def _recover(self, now: Now) -> None:
        """Amnesia, once noticed, outlives this process; it ends once all that a fresh node must
        know is here. Both durably, as is a doubt about the clock."""
        beliefs = self._m.beliefs
        for noticed in beliefs.next_memory():
            self._rooms.durability.keep(noticed)
        if beliefs.has_recovered(now):
            self._rooms.durability.keep(PutMemory(is_whole=True, generation=beliefs.generation))
            for session in self._m.sessions.open_sessions():
                self._m.disclosure.trust_lane(session, now)

    def _timer(self, timer: Timer, at: Instant) -> None:
        self._m.out.append(SetTimer(timer=timer, at=at))

    def _on_started(self, event: Started, now: Now) -> None:
        fields = (("node", self._m.sessions.own_id),)
        self._m.out.append(Record(fact=Fact.STARTED, fields=fields))
        self._m.shunned.on_started(event.shunned, now.instant)
        for digest, wait in event.shunned:
            named = (("envelope", digest.hex()), ("seconds", wait // 1_000))
            self._m.out.append(Record(fact=Fact.ENVELOPE_SHUNNED, fields=named))
        self._m.uses.on_started(event.memory.grant_uses)
        self._m.audits.on_started(event.checkpoints)
        self._rooms.recalling.on_started(event, now)
        self._rooms.mending.look(later(now.instant, FIRST_SCRUB))
        self._timer(RefreshDue(), self._m.refresh.next_at(now.instant))
        self._links.dial(now)

    def _on_papers(self, event: PapersRead, now: Now) -> None:
        self._m.beliefs.renewal_fault = event.fault
        if event.fault:
            fields: tuple[tuple[str, str | int], ...] = (("detail", event.fault),)
            self._m.out.append(Record(fact=Fact.RENEWAL_REFUSED, fields=fields))
        if event.papers is None:
            return
        shown = event.papers.certificate
        fields = (
            ("certificate", short_hash(shown.certificate_hash)),
            ("expires_at", shown.expires_at),
        )
        self._m.out.append(Record(fact=Fact.IDENTITY_RENEWED, fields=fields))
        self._m.unsettled.facts_changed = True
        before = self._m.beliefs.facts
        if self._m.beliefs.on_papers(event.papers, now):
            self._m.unsettled.own_claims_changed = True
            self._rooms.following.judge_affected(affected_by(before, self._m.beliefs.facts), now)

    def _on_space(self, event: SpaceChanged, now: Now) -> None:
        before, space = self._m.retention.space.trouble, event.space
        self._rooms.keeping.on_space(event, now)
        if space.trouble is None:
            self._m.fetching.on_space()
        if space.trouble is not before:
            fields: tuple[tuple[str, str | int], ...] = (
                ("reason", "" if space.trouble is None else space.trouble.value),
                ("used", space.used_bytes),
                ("quota", space.quota_bytes),
                ("free", space.free_bytes),
            )
            fact = Fact.STORAGE_TAKES if space.trouble is None else Fact.STORAGE_REFUSES
            self._m.out.append(Record(fact=fact, fields=fields))

    def _on_persisted(self, event: Persisted, now: Now) -> None:
        if self._rooms.keeping.waits_for(event.token):
            self._rooms.keeping.on_persisted(event.token, ok=event.ok)
            return
        if self._rooms.using.waits_for(event.token):
            self._rooms.using.on_persisted(event.token, now, ok=event.ok)
            return
        if self._rooms.mending.waits_for(event.token):
            self._rooms.mending.on_persisted(now, ok=event.ok)
            return
        for room in (self._claims, self._serving):
            if room.waits_for(event.token):
                if not event.ok:
                    # What the disk refused is not relied on, and whoever watches it must hear.
                    fields = (("operation", "persist"),)
                    self._m.out.append(Record(fact=Fact.STORAGE_FAILED, fields=fields))
                room.on_persisted(event.token, now, ok=event.ok)
                return
        self._rooms.intake.on_persisted(event.token, now, ok=event.ok)
        self._requests.on_persisted(ok=event.ok)

    def _on_failed(self, event: ContentFailed, now: Now) -> None:
        if event.request is not None:
            self._requests.on_submit_failed(event, event.request, now)
        else:
            self._acquisition.on_failed(event, now)

    def _on_message(self, event: MessageReceived, now: Now) -> None:
        session = self._m.sessions.find(event.link)
        if session is None:
            return
        message = event.message
        if isinstance(message, Bye):
            self._links.on_bye(session, message, now)
        elif session.is_open:
            self._m.neighbors.on_heard(event.link, message, now.instant)
            passed = self._m.policing.passed(session, message, event.stream, now.instant)
            is_heard = not session.is_parting or isinstance(passed, GetContent)
            if passed is not None and is_heard:
                self._on_open_message(session, passed, event.stream, now)
        else:
            self._links.on_early_message(session, message, now)

    def _on_unwanted(self, event: Unwanted, now: Now) -> None:
        session = self._m.sessions.find(event.link)
        if session is not None:
            self._m.policing.on_unwanted(session, event.count, now.instant)

    def _on_open_message(self, session: Session, message: Message, stream: int, now: Now) -> None:
        match message:
            case Ping():
                self._links.on_ping(session, message, now)
            case Pong():
                self._m.neighbors.liveness.on_pong(session.link, message.sequence, now.instant)
                self._m.telling.trees.on_alive(session.link)
            case NeighborAsk():
                self._links.on_ask(session, message, now)
            case NeighborAnswer():
                self._links.on_answer(session, message, now)
            case Claims():
                self._claims.on_claims(session, message, now)
            case Announce():
                self._exchange.on_announce(session, message, now)
            case Heads():
                self._exchange.on_heads(session, message, now)
                self._renewing.on_heads(session, message, now)
            case Have():
                self._exchange.on_have(session, message, now)
            case Graft():
                self._exchange.on_graft(session, message, now)
            case Prune():
                self._exchange.on_prune(session, message)
            case Holdings():
                self._exchange.on_holdings(session, message, now)
            case Roots():
                self._comparing.on_roots(session, message, now)
            case Ranges():
                self._comparing.on_ranges(session, message, now)
            case Ids():
                self._comparing.on_ids(session, message, now)
            case GetManifests():
                self._comparing.on_get_manifests(session, message, now)
            case Manifests():
                self._exchange.on_manifests(session, message, now)
                self._comparing.on_manifests(session, message, now)
            case GetHeads():
                found = self._m.disclosure.heads(session, message, now)
                if not found:
                    self._m.policing.no_heads(session, message, now.instant)
                self._m.policing.on_found(session.link, found - len(message.known), now.instant)
            case GetChain():
                self._serving.on_get_chain(session, message, now)
            case Chain():
                self._rooms.assembling.on_chain(session, message, now)
            case GetContent():
                self._serving.on_get_content(session, message, stream, now)
            case AuditHead():
                self._witnessing.on_head(session, message, now)
            case NotAvailable() | Busy() | Cancel():
                """Answers to content requests are the interpreter's: these came late or for
                nothing."""
            case BadRequest() | Hello() | Welcome() | Bye():
                self._links.on_broken(session)
            case _:
                assert_never(message)

    def _on_timer(self, timer: Timer, now: Now) -> None:
        match timer:
            case RefreshDue():
                self._on_refresh(now)
            case ScrubDue():
                self._rooms.mending.on_due(now)
            case DialDue():
                self._links.on_dial_due(timer, now)
            case PingDue():
                self._links.on_ping_due(timer.link, now)
            case SilenceDue():
                self._links.on_silence_due(timer.link, now)
            case HelloDue():
                self._links.on_hello_due(timer.link)
            case PartingDue():
                self._links.on_parting_due(timer.link)
            case LifeDue():
                self._links.on_life_due(timer.link, now)
            case WantDue():
                self._m.fetching.on_due(timer.content_hash, timer.generation)
            case ChainDue():
                self._rooms.assembling.on_due(timer.namespace, timer.generation, now)
            case LadderDue():
                self._acquisition.on_ladder_due(now)
            case ComparisonDue():
                self._comparing.on_due(timer.link, now)
            case AnswersDue():
                self._m.policing.on_answers_due(timer.link)
            case AnnounceDue():
                self._m.telling.on_announce_due(now)
            case PairDue():
                self._rooms.announcing.on_pair_due(timer.prefix, now)
            case HaveDue():
                self._m.telling.on_have_due(now)
            case RenewalDue():
                self._renewing.on_due(now)
            case GraftDue():
                self._exchange.on_graft_due(now)
            case AdvertiseDue():
                self._rooms.announcing.on_advertise_due(now)
            case RequestDue():
                self._requests.on_request_due(timer.request)
            case _:
                assert_never(timer)

    def _on_refresh(self, now: Now) -> None:
        """What is looked at again at every turn."""
        self._timer(RefreshDue(), self._m.refresh.next_at(now.instant))
        self._rooms.withdrawing.on_expiry(now, EXPIRIES_PER_TURN_MAX)
        self._rooms.activation.withhold(now)
        self._rooms.using.on_refresh(now)
        self._rooms.keeping.on_refresh(now)
        self._rooms.departing.on_refresh(now)
        self._rooms.contents.want_again(now)
        self._links.end_expired(now)
        self._keep_time()
        self._rooms.activation.apply_again(now)
        self._rooms.intake.persist_again()
        self._exchange.on_refresh(now)
        self._renewing.on_refresh(now)
        self._comparing.on_refresh(now)
        self._replication.on_refresh(now)

    def _keep_time(self) -> None:
        """A node that starts again must not believe an earlier clock than it had, nor one it had
        come to doubt."""
        for noticed in self._m.beliefs.next_memory():
            self._rooms.durability.keep(noticed)
        floor = self._m.beliefs.next_time_floor()
        if floor is not None:
            self._rooms.durability.keep(PutTimeFloor(unix=floor))

    def check(self) -> None:
        """Assert the invariants of every machine."""
        m = self._m
        for machine in (
            m.audits, m.catalog, m.chains, m.sessions, m.neighbors, m.dissemination, m.holdings,
            m.fetching, self._rooms.contents, m.beliefs, m.waiting, m.variants, m.uses, m.granted,
            m.policing, m.slots, m.news, m.retention, m.holdbacks, m.scrubbing, m.telling,
            m.reconciliation, m.recovery, self._comparing, self._replication, self._renewing,
        ):  # fmt: skip
            machine.check()
