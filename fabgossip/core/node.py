"""One node: routes each event to its machines and collects what they want done.

Decides: nothing a machine does not decide.
Keeps: `handle` is synchronous and depends on state, event, time and its own chance alone; it
returns every effect.
Must not know: trio, sockets, disks, clocks, logs.
"""

from random import Random
from typing import Final, assert_never

from fabgossip.core.audits import Audits
from fabgossip.core.beliefs import Beliefs
from fabgossip.core.catalog import GONE_STATES, Catalog, Head, prefix_of
from fabgossip.core.disclosure import Disclosure, Found, is_servable, traffic_of
from fabgossip.core.dissemination import Dissemination
from fabgossip.core.effects import (
    Answer,
    Dial,
    Disconnect,
    Effect,
    Fact,
    Outcome,
    Persist,
    ReceiveContent,
    Record,
    ServeContent,
    ServeItem,
    SetTimer,
)
from fabgossip.core.events import (
    AdvertiseDue,
    AnswersDue,
    AuditChanged,
    CheckpointSigned,
    ContentFailed,
    ContentServed,
    ContentStored,
    DialDue,
    Event,
    FetchFailure,
    FetchRequest,
    GateRequest,
    HelloDue,
    LinkId,
    LostReason,
    MessageReceived,
    PartingDue,
    PeerConnected,
    PeerLost,
    Persisted,
    PingDue,
    RefreshDue,
    RepairDue,
    RequestDue,
    RequestId,
    RequestMade,
    Started,
    SubmitRequest,
    Timer,
    TimerFired,
    Token,
    Unsent,
    WantDue,
)
from fabgossip.core.fetching import IDLE_MS, NOWHERE, EndedWant, Fetching, Source, Want, wanted_from
from fabgossip.core.grants import Granted, GrantUses
from fabgossip.core.health import NodeSnapshot, node_snapshot
from fabgossip.core.holdings import NeighborHoldings
from fabgossip.core.intake import Intake, Machines
from fabgossip.core.listings import Listings
from fabgossip.core.neighbors import Neighbors
from fabgossip.core.permits import Permits
from fabgossip.core.placement import Placement
from fabgossip.core.policing import CLOSED_RETRY_S, Policing
from fabgossip.core.refresh import Refresh
from fabgossip.core.sessions import Session, Sessions, shared_protocol
from fabgossip.core.setup import NodeSetup
from fabgossip.core.waiting import WaitingRoom
from fabgossip.model.artifact import ArtifactType, Order, VerifiedManifest
from fabgossip.model.authority import COMMITMENTS_MAX, Verb, VerifiedClaims, VerifiedGrant
from fabgossip.model.ids import ContentHash, NodeId
from fabgossip.model.messages import (
    Announce,
    AuditHead,
    BadRequest,
    Busy,
    Bye,
    ByeReason,
    Cancel,
    Claims,
    ContentAsk,
    GetContent,
    GetHeads,
    Graft,
    Have,
    Heads,
    Hello,
    Holdings,
    Message,
    NotAvailable,
    Ping,
    Pong,
    TrafficClass,
    Welcome,
)
from fabgossip.model.mode import Mode
from fabgossip.model.moment import Duration, Instant, Now, is_due, is_past, later
from fabgossip.model.persistence import KeptCheckpoint, PutClaimsSeen, PutMemory, PutTimeFloor
from fabgossip.model.scope import Audience, may_share
from fabgossip.trust.authorization import Decision, Subject, may_disclose
from fabgossip.trust.gate import TrustFacts
from fabgossip.trust.rejections import Blame, Rejection, RejectionCode, Retry
from fabgossip.trust.signatures import Verifier

ASK_TRUST_EVERY: Final = Duration(1_000)
"""What newer trust could cure asks a link for it no more often (*start*)."""
SERVED_PER_LINK_MAX: Final = 16
"""Requests of one link served at once: a slow reader does not use up the slots of all (*start*)."""
LINK_LIFE_MS: Final = 3_600_000
"""A link is made anew after this (*start*), give or take a tenth, so not all at once."""
LINK_LIFE_SPREAD: Final = 10
ROUNDS_MAX: Final = 8
"""Facts settle in a few rounds: each round knows more than the one before."""
PARTING: Final = Duration(500)
"""How long a peer that lost its trust may still read the list that says so (*start*); everything
else ends at once, and the link well within a second."""
REPAIR_WAIT: Final = Duration(1_000)
"""A queue that dropped something gets this long to drain before it is filled again (*start*)."""
EXPIRIES_PER_TURN_MAX: Final = 1_024
_FAILURE_CODES: Final = {
    FetchFailure.BAD_LENGTH: "LENGTH_MISMATCH",
    FetchFailure.BAD_HASH: "HASH_MISMATCH",
    FetchFailure.DISK: "STORE_FULL",
    FetchFailure.CANCELLED: "CANCELLED",
    FetchFailure.MISSING: "LENGTH_MISMATCH",
    FetchFailure.BUSY: "CANCELLED",
    FetchFailure.STALLED: "CANCELLED",
    FetchFailure.TOO_SLOW: "TOO_SLOW",
    FetchFailure.LOST: "CANCELLED",
}
_SENDERS_FAULT: Final = frozenset(
    (FetchFailure.BAD_HASH, FetchFailure.BAD_LENGTH, FetchFailure.TOO_SLOW)
)
"""What an honest source never does; the audit log names who did."""


def _stream(seed: int, name: str) -> Random:
    return Random(f"{seed}/{name}")


class Node:
    """The core of a daemon, and of a simulated node."""

    __slots__ = (
        "_audits",
        "_beliefs",
        "_boot_id",
        "_catalog",
        "_chance",
        "_config",
        "_dial_generation",
        "_disclosure",
        "_dissemination",
        "_fetching",
        "_holdings",
        "_intake",
        "_is_advertising",
        "_is_repairing",
        "_neighbors",
        "_node_id",
        "_out",
        "_permits",
        "_placement",
        "_policing",
        "_refresh",
        "_requests",
        "_sessions",
        "_submits",
        "_taking_up",
        "_uses",
        "_waiting",
    )

    def __init__(self, setup: NodeSetup, verifier: Verifier) -> None:
        config, own = setup.config, setup.own
        self._config = config
        self._node_id = own.node_id
        self._boot_id = setup.boot_id
        self._chance = _stream(setup.seed, "links")
        self._audits = Audits(own.pinned.bundle.cluster_id, verifier)
        self._beliefs = Beliefs(own, verifier)
        self._catalog = Catalog()
        self._sessions = Sessions(own.node_id)
        self._neighbors = Neighbors(
            own.node_id,
            own.pinned.bundle.cluster_id,
            (config.neighbors, config.connections),
            setup.bootstrap,
            _stream(setup.seed, "neighbors"),
        )
        self._dissemination = Dissemination(config.dissemination)
        self._holdings = NeighborHoldings(config.holdings)
        self._fetching = Fetching(config.fetching, _stream(setup.seed, "fetching"))
        self._refresh = Refresh(config.refresh, _stream(setup.seed, "refresh"))
        self._placement = Placement(own.node_id)
        self._waiting = WaitingRoom()
        self._out: list[Effect] = []
        self._disclosure = Disclosure(
            self._beliefs, self._catalog, self._sessions, self._neighbors, self._out
        )
        self._intake = Intake(
            Machines(
                self._beliefs, self._catalog, self._dissemination, self._fetching, self._neighbors,
                self._placement, self._disclosure, Listings(), self._waiting, self._out,
            )
        )  # fmt: skip
        self._policing = Policing(
            self._disclosure, self._catalog, self._neighbors, self._holdings, self._out
        )
        self._dial_generation = 0
        self._is_advertising = False
        self._is_repairing = False
        self._submits: dict[RequestId, tuple[VerifiedManifest, Outcome]] = {}
        self._requests: dict[RequestId, ContentHash | str] = {}
        self._taking_up: dict[Token, tuple[LinkId, VerifiedClaims]] = {}
        """Claims that count once their version is durable."""
        self._uses = GrantUses()
        self._permits = Permits(self._beliefs)

    def handle(self, event: Event, now: Now) -> list[Effect]:
        """Take one event and return all that is to be done about it, in order."""
        now = self._beliefs.on_time(now)
        self._route(event, now)
        self._settle_facts(now)
        self._answer_failed()
        if self._intake.has_unadvertised and not self._is_advertising:
            self._is_advertising = True
            wait = Duration(self._config.holdings.batch_ms)
            self._timer(AdvertiseDue(), later(now.instant, wait))
        self._ask_for_content(now)
        effects = list(self._out)
        self._out.clear()
        return effects

    def _settle_facts(self, now: Now) -> None:
        """What this node believes or may do is other than before: links, what waits, and what is
        held are judged again, until nothing changes any more."""
        for _ in range(ROUNDS_MAX):
            conditions = self._beliefs.next_conditions(now)
            if conditions is not None:
                self._on_conditions(conditions)
                self._intake.on_other_mode(now)
            if conditions is None and not self._intake.facts_changed:
                return
            self._intake.facts_changed = False
            self._recover(now)
            if self._intake.own_claims_changed:
                self._intake.own_claims_changed = False
                for session in self._sessions.open_sessions():
                    self._disclosure.newer_claims(session)
            self._judge_links(now)
            self._intake.on_more_known(now)
            self._dial(now)

    def _on_conditions(self, conditions: tuple[Mode, ...]) -> None:
        modes = " ".join(mode.value for mode in conditions)
        fields = (("mode", conditions[-1].value), ("conditions", modes))
        self._out.append(Record(fact=Fact.MODE_CHANGED, fields=fields))

    def _recover(self, now: Now) -> None:
        """Amnesia, once noticed, outlives this process; it ends once all that a fresh node must
        know is here. Both durably."""
        noticed = self._beliefs.next_memory()
        if noticed is not None:
            self._intake.keep(noticed)
        if self._beliefs.has_recovered(now):
            self._intake.keep(PutMemory(is_whole=True, generation=self._beliefs.generation))
            for session in self._sessions.open_sessions():
                self._disclosure.trust_lane(session, now)

    def _route(self, event: Event, now: Now) -> None:
        match event:
            case Started():
                self._on_started(event, now)
            case PeerConnected():
                self._on_connected(event, now)
            case PeerLost():
                self._on_lost(event, now)
            case MessageReceived():
                self._on_message(event, now)
            case Unsent():
                self._on_unsent(event, now)
            case TimerFired():
                self._on_timer(event.timer, now)
            case ContentStored():
                self._on_stored(event, now)
            case ContentFailed():
                self._on_failed(event, now)
            case ContentServed():
                session = self._sessions.find(event.link)
                if session is not None:
                    session.serving -= 1
            case Persisted():
                self._on_persisted(event, now)
            case AuditChanged():
                self._beliefs.audit_is_writable = event.is_writable
            case RequestMade():
                self._on_request(event, now)
            case CheckpointSigned():
                self._audits.on_signed(event.envelope)
                self._show_audit_head()
            case _:
                assert_never(event)

    def _timer(self, timer: Timer, at: Instant) -> None:
        self._out.append(SetTimer(timer=timer, at=at))

    def _on_started(self, event: Started, now: Now) -> None:
        self._out.append(Record(fact=Fact.STARTED, fields=(("node", self._node_id),)))
        self._uses.on_started(event.memory.grant_uses)
        self._audits.on_started(event.checkpoints)
        self._intake.on_started(event, now)
        self._timer(RefreshDue(), self._refresh.next_at(now.instant))
        self._dial(now)

    def _dial(self, now: Now) -> None:
        """Dial who is missing; look again when somebody's back-off ends, or after a while."""
        is_revoked = self._beliefs.freshness.is_revoked
        candidates = () if is_revoked else self._neighbors.next_dials(now.instant)
        for candidate in candidates:
            self._neighbors.on_dialing(candidate.node_id, now.instant)
            self._out.append(Dial(node_id=candidate.node_id, addresses=candidate.addresses))
        self._dial_generation += 1
        timer = DialDue(generation=self._dial_generation)
        self._timer(timer, self._neighbors.next_dial_at(now.instant))

    def _on_persisted(self, event: Persisted, now: Now) -> None:
        taken = self._taking_up.pop(event.token, None)
        if taken is not None:
            self._record_write(ok=event.ok)
            self._on_claims_durable(*taken, now, ok=event.ok)
            return
        served = self._uses.on_persisted(event.token)
        if served is not None:
            self._record_write(ok=event.ok)
            self._on_use_durable(served, now, ok=event.ok)
            return
        self._intake.on_persisted(event.token, now, ok=event.ok)
        if not event.ok:
            self._fail_superseded()
        self._answer_settled()

    def _record_write(self, *, ok: bool) -> None:
        """What the disk refused is not relied on, and whoever watches the disk must hear of it."""
        if not ok:
            fields = (("operation", "persist"),)
            self._out.append(Record(fact=Fact.STORAGE_FAILED, fields=fields))

    def _on_connected(self, event: PeerConnected, now: Now) -> None:
        spread = LINK_LIFE_MS // LINK_LIFE_SPREAD
        life = LINK_LIFE_MS - spread + self._chance.randrange(2 * spread + 1)
        session = Session(event.link, event.identity, event.is_dialer, now.instant, Duration(life))
        self._sessions.on_connected(session)
        self._neighbors.on_connected(
            event.link, session.node_id, now.instant, is_dialer=event.is_dialer
        )
        if self._beliefs.freshness.is_revoked or not self._beliefs.may_link(event.identity):
            self._close(session, ByeReason.CLOSED, LostReason.REVOKED)
            return
        if not self._policing.admits(session, now.instant):
            return
        self._disclosure.hello(session, self._boot_id)
        self._timer(
            HelloDue(link=event.link),
            later(now.instant, Duration(self._config.connections.hello_ms)),
        )

    def _on_lost(self, event: PeerLost, now: Now) -> None:
        self._neighbors.on_lost(event.link, event.node_id, now.instant)
        self._dial(now)
        fields = (("peer", event.node_id), ("reason", event.reason.value))
        if event.link is None:
            self._out.append(Record(fact=Fact.NEIGHBOR_LOST, fields=fields))
            return
        session = self._sessions.on_lost(event.link)
        self._dissemination.on_lost(event.link)
        self._holdings.on_lost(event.link)
        self._fetching.on_lost(event.link)
        self._policing.on_lost(event.link)
        if session is not None and session.is_open:
            self._out.append(Record(fact=Fact.NEIGHBOR_LOST, fields=fields))

    def _on_unsent(self, event: Unsent, now: Now) -> None:
        """A list of what we have repairs whatever was dropped, once the queue had time to drain."""
        session = self._sessions.find(event.link)
        if session is not None:
            self._owe_list(session, event.audience, now)

    def _owe_list(self, session: Session, audience: Audience, now: Now) -> None:
        if self._policing.owe_list(session, audience) and not self._is_repairing:
            self._is_repairing = True
            self._timer(RepairDue(), later(now.instant, REPAIR_WAIT))

    def _on_repair_due(self, now: Now) -> None:
        self._is_repairing = False
        for session in self._sessions.open_sessions():
            dirty = tuple(session.dirty)
            session.dirty.clear()
            for audience in dirty:
                self._disclosure.have(session, audience, now)

    def _close(
        self,
        session: Session,
        bye: ByeReason,
        lost: LostReason,
        retry_after_s: int = CLOSED_RETRY_S,
    ) -> None:
        self._out.append(
            Disconnect(link=session.link, bye=bye, retry_after_s=retry_after_s, lost=lost)
        )

    def _on_message(self, event: MessageReceived, now: Now) -> None:
        session = self._sessions.find(event.link)
        if session is None:
            return
        message = event.message
        if isinstance(message, Bye):
            self._close(session, ByeReason.DRAIN, LostReason.BYE, 0)
        elif session.is_open:
            passed = self._policing.passed(session, message, event.stream, now.instant)
            is_heard = not session.is_parting or isinstance(passed, GetContent)
            if passed is not None and is_heard:
                self._on_open_message(session, passed, event.stream, now)
        else:
            self._on_early_message(session, message, now)

    def _on_early_message(self, session: Session, message: Message, now: Now) -> None:
        match message:
            case Hello() if session.hello is None:
                self._on_hello(session, message, now)
            case Welcome() if not session.is_welcomed:
                session.is_welcomed = True
                self._open(session, now)
            case _:
                self._broken(session)

    def _broken(self, session: Session) -> None:
        """A message out of order is the peer's fault."""
        self._close(session, ByeReason.PROTOCOL, LostReason.PROTOCOL, 60)

    def _on_hello(self, session: Session, hello: Hello, now: Now) -> None:
        session.hello = hello
        session.claims_envelope, session.openings = hello.claims, hello.openings
        self._policing.on_hello(session, now.instant)
        protocol = shared_protocol(hello, self._beliefs.facts.bundle.protocol_min)
        if protocol is None:
            self._close(session, ByeReason.VERSION, LostReason.VERSION, 3_600)
            return
        rival = self._sessions.rival_of(session)
        if rival is not None:
            stays, goes = rival
            self._neighbors.on_settled(stays.link, stays.node_id)
            self._close(goes, ByeReason.DUPLICATE, LostReason.DUPLICATE, 0)
            if goes is session:
                return
        self._judge_claims(session, now)
        self._disclosure.send(session.link, Welcome(protocol=protocol, features=0))
        self._open(session, now)

    def _judge_claims(self, session: Session, now: Now) -> None:
        """Without good claims a peer keeps the trust lane and nothing more. Claims of a version
        never seen are new authority: they need a mode that allows that, and count once durable."""
        before, was_refused = session.claims, session.is_refused
        claims = self._beliefs.claims_of(
            session.claims_envelope, session.openings, session.node_id, now
        )
        session.claims = session.offered = None
        session.is_refused = isinstance(claims, Rejection)
        if isinstance(claims, Rejection):
            if before is not None or not was_refused:
                self._refuse_claims(session, claims)
        elif self._beliefs.is_known(claims):
            session.claims = claims
        else:
            session.offered = claims
            if self._beliefs.may_accept(claims.claims.issued_at, now).allowed:
                self._take_up(session, claims)
        if before is not None and session.claims is None:
            # What the peer was told rested on claims that count no more.
            self._dissemination.on_lost(session.link)
            self._holdings.on_lost(session.link)

    def _refuse_claims(self, session: Session, refused: Rejection) -> None:
        fields = (
            ("peer", session.node_id),
            ("code", refused.code.value),
            ("detail", refused.detail),
        )
        self._out.append(Record(fact=Fact.CLAIMS_REFUSED, fields=fields))

    def _take_up(self, session: Session, claims: VerifiedClaims) -> None:
        if any(link == session.link for link, _ in self._taking_up.values()):
            return
        token = self._intake.next_token()
        self._taking_up[token] = (session.link, claims)
        put = PutClaimsSeen(
            node_id=session.node_id,
            epoch=claims.claims.authority_epoch,
            version=claims.claims.claims_version,
        )
        self._out.append(Persist(token=token, changes=(put,)))

    def _on_claims_durable(
        self, link: LinkId, claims: VerifiedClaims, now: Now, *, ok: bool
    ) -> None:
        session = self._sessions.find(link)
        if ok:
            self._beliefs.on_claims_seen(claims)
        if not ok or session is None or session.offered is None:
            return
        self._judge_claims(session, now)
        if session.claims is None:
            return
        fields = (("peer", session.node_id), ("version", claims.claims.claims_version))
        self._out.append(Record(fact=Fact.CLAIMS_ACCEPTED, fields=fields))
        if session.is_open:
            self._show_all(session, now)

    def _show_all(self, session: Session, now: Now) -> None:
        """What the peer may know rests on other claims than before."""
        self._disclosure.further_claims(session)
        self._disclosure.everything(session, now)
        self._policing.ask_lists(session, self._beliefs.facts.own)
        self._fetching.on_opened()

    def _open(self, session: Session, now: Now) -> None:
        if session.hello is None or not session.is_welcomed or session.is_open:
            return
        session.is_open = True
        self._neighbors.on_open(session.node_id)
        self._out.append(Record(fact=Fact.NEIGHBOR_CONNECTED, fields=(("peer", session.node_id),)))
        self._timer(PingDue(link=session.link), self._neighbors.next_ping_at(now.instant))
        self._disclosure.further_claims(session)
        self._disclosure.ask_heads(session, self._trust_lane())
        self._disclosure.everything(session, now)
        self._fetching.on_opened()
        self._show_audit_head()

    def _trust_lane(self) -> tuple[str, ...]:
        prefix = self._beliefs.facts.bundle.prefix
        return (
            f"{prefix}/trust/bundle",
            f"{prefix}/trust/revocations",
            f"{prefix}/snapshots/node/{self._node_id}",
        )

    def _on_open_message(self, session: Session, message: Message, stream: int, now: Now) -> None:
        match message:
            case Ping():
                self._neighbors.on_ping(session.link, now.instant)
                self._disclosure.send(session.link, Pong(sequence=message.sequence))
            case Pong():
                self._neighbors.on_pong(session.link, message.sequence, now.instant)
            case Claims():
                self._on_claims(session, message, now)
            case Announce():
                for entry in message.entries:
                    self._on_envelope(session, entry.envelope, entry.hops, now)
                    self._on_told(session, entry.envelope)
                self._graft(session)
            case Heads():
                for envelope in message.envelopes:
                    self._on_envelope(session, envelope, 0, now)
            case Have():
                self._on_have(session, message, now)
            case Graft():
                if may_disclose(session.claims, message.audience):
                    self._disclosure.manifests(session, message.prefixes, now)
            case Holdings():
                self._on_holdings(session, message)
            case GetHeads():
                self._disclosure.heads(session, message.known, now)
            case GetContent():
                self._on_get_content(session, message, stream, now)
            case BadRequest():
                self._broken(session)
            case AuditHead():
                self._on_audit_head(session, message, now)
            case NotAvailable() | Busy() | Cancel():
                """Answers to content requests are the interpreter's: these came late or for
                nothing."""
            case Hello() | Welcome() | Bye():
                self._broken(session)
            case _:
                assert_never(message)

    def _on_claims(self, session: Session, message: Claims, now: Now) -> None:
        """Further openings widen what the peer may know; a forged one leaves it as it was."""
        if message.claims:
            self._on_newer_claims(session, message, now)
            return
        shown = {opening.salt for opening in session.openings}
        fresh = tuple(one for one in message.openings if one.salt not in shown)
        if not fresh or len(shown) + len(fresh) > COMMITMENTS_MAX:
            self._policing.on_failed(session, now.instant)
            return
        openings = session.openings + fresh
        claims = self._beliefs.claims_of(session.claims_envelope, openings, session.node_id, now)
        if isinstance(claims, Rejection):
            if not session.is_refused:
                self._refuse_claims(session, claims)
                self._policing.on_failed(session, now.instant)
            return
        session.openings = openings
        self._judge_claims(session, now)
        if session.claims is not None:
            self._show_all(session, now)

    def _on_newer_claims(self, session: Session, message: Claims, now: Now) -> None:
        """The peer's claims were issued anew: what it may know rests on these from now on. Claims
        of an epoch we do not know yet are judged again once we do."""
        session.claims_envelope, session.openings = message.claims, message.openings
        self._judge_claims(session, now)
        if session.claims is not None:
            self._show_all(session, now)

    def _on_envelope(self, session: Session, envelope: bytes, hops: int, now: Now) -> None:
        verdict = self._intake.on_envelope(
            envelope, session.link, hops, now, source=session.node_id
        )
        if isinstance(verdict, Rejection):
            if verdict.blame is Blame.PEER and not self._is_my_fault(verdict):
                self._policing.on_failed(session, now.instant)
            elif verdict.retry is Retry.AFTER_TRUST and is_due(session.ask_trust_at, now.instant):
                session.ask_trust_at = later(now.instant, ASK_TRUST_EVERY)
                self._disclosure.ask_heads(session, self._trust_lane())

    def _is_my_fault(self, verdict: Rejection) -> bool:
        """Without claims of our own nobody can know what is for us."""
        no_claims = not self._beliefs.facts.own.scope_ids
        return verdict.code is RejectionCode.AUDIENCE_NOT_OURS and no_claims

    def _show_audit_head(self) -> None:
        """Witnesses who have not seen the newest checkpoint of our log are shown it."""
        linked = {one.node_id: one for one in self._sessions.open_sessions()}
        claims = {node_id: one.claims for node_id, one in linked.items()}
        for node_id in self._audits.next_witnesses(claims):
            head = AuditHead(checkpoint=self._audits.own)
            self._disclosure.send(linked[node_id].link, head, TrafficClass.POLICY)

    def _on_audit_head(self, session: Session, message: AuditHead, now: Now) -> None:
        sender, claims = session.node_id, session.claims
        verdict = self._audits.on_head(sender, claims, message.checkpoint, now.instant)
        self._out.extend(verdict.effects)
        if verdict.is_bad:
            self._policing.on_failed(session, now.instant)

    def _on_told(self, session: Session, envelope: bytes) -> None:
        prefix = self._dissemination.seen_prefix(envelope)
        found = None if prefix is None else self._catalog.by_prefix(prefix)
        if found is not None and prefix is not None:
            self._holdings.on_announced(session.link, found[1].manifest.audience, prefix)

    def _on_have(self, session: Session, message: Have, now: Now) -> None:
        """A list of an audience we may not know gets no answer, as if it did not exist; an empty
        one asks for ours. Who is not known well enough yet is asked again once it is."""
        if not self._is_known_well(session, (message.audience,)):
            return
        if not may_share(message.audience, self._beliefs.facts.own) or not may_disclose(
            session.claims, message.audience
        ):
            self._policing.on_probe(session, now.instant)
            return
        if not message.prefixes:
            self._owe_list(session, message.audience, now)
            return
        self._dissemination.on_listed(session.link, message.audience, message.prefixes)
        self._graft(session)

    def _graft(self, session: Session) -> None:
        """Ask for what the peer has and we lack, as much at once as it can answer."""
        while (found := self._dissemination.next_graft(session.link)) is not None:
            audience, prefixes = found
            graft = Graft(audience=audience, prefixes=prefixes)
            self._policing.on_asked(session.link, len(prefixes))
            self._disclosure.send(session.link, graft, TrafficClass.SNAPSHOT, audience=audience)

    def _is_known_well(self, session: Session, audiences: tuple[Audience, ...]) -> bool:
        """Whether claims stand on both sides; what is said before is lost, and asked for later."""
        if session.claims is not None and self._beliefs.facts.own.scope_ids:
            return True
        self._policing.on_early(session, audiences)
        return False

    def _on_holdings(self, session: Session, message: Holdings) -> None:
        if not self._is_known_well(session, tuple(one.audience for one in message.entries)):
            return
        own = self._beliefs.facts.own
        allowed = tuple(
            entry.audience
            for entry in message.entries
            if may_share(entry.audience, own) and may_disclose(session.claims, entry.audience)
        )
        for prefix in self._holdings.on_holdings(session.link, message, allowed):
            found = self._catalog.by_prefix(prefix)
            if found is not None:
                self._fetching.on_advertised(session.link, found[1].manifest.content_hash)

    def _on_get_content(self, session: Session, message: GetContent, stream: int, now: Now) -> None:
        """Busy is decided before any look-up; absent, forbidden, withdrawn and revoked get one
        answer."""
        serving = sum(one.serving for one in self._sessions.all_sessions())
        if (
            serving >= self._config.fetching.serve_streams_max
            or session.serving >= SERVED_PER_LINK_MAX
            or not self._policing.has_room(session, message)
        ):
            self._policing.busy(session, message, stream)
            return
        grant = None
        if message.grant:
            grant = self._grant_of(session, message, stream, now)
            if grant is None:
                return
        self._serve(session, message, stream, grant, now)

    def _grant_of(
        self, session: Session, message: GetContent, stream: int, now: Now
    ) -> VerifiedGrant | None:
        """The grant of a request, whose use is counted durably before anything rests on it; None
        while that is under way, or where the grant is not good: then the request is served as if
        it had none."""
        grant = self._beliefs.grant_of(message.grant, session.identity, now)
        if not isinstance(grant, Rejection):
            use = self._uses.next_use(grant.grant, now)
            if isinstance(use, Rejection):
                grant = use
            else:
                request = Granted(session.link, stream, message)
                token = self._intake.next_token()
                self._uses.on_persisting(token, request)
                self._out.append(Persist(token=token, changes=(use,)))
                return None
        self._refuse_grant(session, grant)
        self._serve(session, message, stream, None, now)
        return None

    def _refuse_grant(self, session: Session, refused: Rejection) -> None:
        fields = (
            ("peer", session.node_id),
            ("check", "grant"),
            ("code", refused.code.value),
            ("detail", refused.detail),
        )
        self._out.append(Record(fact=Fact.FETCH_DENIED, fields=fields))

    def _on_use_durable(self, request: Granted, now: Now, *, ok: bool) -> None:
        session = self._sessions.find(request.link)
        if session is None:
            return
        grant = None
        if ok:
            # The disk may have taken its time: what was good then may have ended meanwhile.
            judged = self._beliefs.grant_of(request.message.grant, session.identity, now)
            if isinstance(judged, Rejection):
                self._refuse_grant(session, judged)
            else:
                grant = judged
                fields = (("peer", session.node_id), ("grant", grant.grant.grant_id.hex()))
                self._out.append(Record(fact=Fact.GRANT_USED, fields=fields))
        self._serve(session, request.message, request.stream, grant, now)

    def _serve(
        self,
        session: Session,
        message: GetContent,
        stream: int,
        grant: VerifiedGrant | None,
        now: Now,
    ) -> None:
        request = Subject(
            identity=session.identity,
            claims=session.claims,
            grant=grant,
            narrowing=message.narrowing,
        )
        items = []
        denied: list[Decision] = []
        traffic = TrafficClass.POLICY
        for number, ask in enumerate(message.items):
            served = self._served(session, request, ask, denied, now)
            if served is None:
                self._policing.not_available(session, stream, number, now.instant)
                continue
            traffic = min(traffic, traffic_of(served))
            items.append(
                ServeItem(
                    item=number,
                    content_hash=ask.content_hash,
                    size=served.manifest.content_size,
                    chunk_hashes=served.manifest.chunk_hashes,
                    first_chunk=ask.first_chunk,
                    chunk_count=ask.chunk_count,
                )
            )
        if denied:
            self._disclosure.deny(session, denied[0], len(denied))
        if items:
            session.serving += 1
            self._out.append(
                ServeContent(link=session.link, stream=stream, items=tuple(items), traffic=traffic)
            )

    def _served(
        self,
        session: Session,
        request: Subject,
        ask: ContentAsk,
        denied: list[Decision],
        now: Now,
    ) -> VerifiedManifest | None:
        """The statement under which an item is served. Whether there is such a thing or not, the
        same is asked about it: for what is absent, of the first head there is."""
        found = self._find_asked(ask, now)
        if session.is_parting:
            return self._served_at_parting(found)
        decision = self._disclosure.decide(
            request, self._catalog.first() if found is None else found, Verb.FETCH, now
        )
        if found is None:
            return None
        if not decision.allow:
            denied.append(decision)
            return None
        return found[1]

    def _served_at_parting(self, found: Found) -> VerifiedManifest | None:
        is_list = found is not None and (
            found[1].manifest.artifact_type is ArtifactType.REVOCATION_LIST
        )
        return found[1] if found is not None and is_list else None

    def _find_asked(self, ask: ContentAsk, now: Now) -> Found:
        prefix = prefix_of(ask.manifest_hash)
        found: Found = self._catalog.by_prefix(prefix)
        if found is not None and found[0] is not None and not is_servable(found[0], found[1], now):
            found = None
        if found is None:
            steps = (step.verified for step in self._beliefs.chain)
            step = next((one for one in steps if prefix_of(one.manifest_hash) == prefix), None)
            found = None if step is None else (None, step)
        if found is None:
            return None
        same = (found[1].manifest_hash, found[1].manifest.content_hash) == (
            ask.manifest_hash,
            ask.content_hash,
        )
        return found if same else None

    def _judge_links(self, now: Now) -> None:
        """Facts changed: who lost its trust is cut, who may see more is shown more, who may see
        less starts anew."""
        is_revoked = self._beliefs.freshness.is_revoked
        protocol_min = self._beliefs.facts.bundle.protocol_min
        for session in self._sessions.all_sessions():
            if is_revoked or not self._beliefs.may_link(session.identity):
                self._part(session, now)
                continue
            if session.hello is not None:
                if shared_protocol(session.hello, protocol_min) is None:
                    self._record_cut(session, LostReason.VERSION)
                    self._close(session, ByeReason.VERSION, LostReason.VERSION, 3_600)
                    continue
                self._judge_link_claims(session, now)
            if session.is_open and self._disclosure.has_narrowed(session):
                self._close(session, ByeReason.CLOSED, LostReason.NARROWED, 1)
            elif session.is_open:
                self._disclosure.further_claims(session)

    def _part(self, session: Session, now: Now) -> None:
        """A peer lost its trust, or we did. It gets a moment to read the list that says so, and
        nothing else: its operator must be able to see why it is alone."""
        if session.is_parting:
            return
        self._record_cut(session, LostReason.REVOKED)
        if self._beliefs.freshness.is_revoked or not session.is_open:
            self._close(session, ByeReason.CLOSED, LostReason.REVOKED)
            return
        session.is_parting = True
        session.claims = session.offered = None
        self._dissemination.on_lost(session.link)
        self._holdings.on_lost(session.link)
        self._fetching.on_lost(session.link)
        self._disclosure.revocations(session)
        self._timer(PartingDue(link=session.link), later(now.instant, PARTING))

    def _record_cut(self, session: Session, reason: LostReason) -> None:
        fields = (("peer", session.node_id), ("reason", reason.value))
        self._out.append(Record(fact=Fact.SESSION_CUT, fields=fields))

    def _judge_link_claims(self, session: Session, now: Now) -> None:
        had = session.claims
        self._judge_claims(session, now)
        if had is None and session.claims is not None and session.is_open:
            self._show_all(session, now)

    def _on_timer(self, timer: Timer, now: Now) -> None:
        match timer:
            case RefreshDue():
                self._on_refresh(now)
            case DialDue():
                if timer.generation == self._dial_generation:
                    self._dial(now)
            case PingDue():
                self._on_ping_due(timer.link, now)
            case HelloDue():
                session = self._sessions.find(timer.link)
                if session is not None and not session.is_open:
                    self._close(session, ByeReason.SLOW, LostReason.TIMEOUT, 60)
            case WantDue():
                self._fetching.on_due(timer.content_hash, timer.generation)
            case RepairDue():
                self._on_repair_due(now)
            case AnswersDue():
                self._policing.on_answers_due(timer.link)
            case AdvertiseDue():
                self._intake.advertise(now)
                self._is_advertising = False
            case RequestDue():
                self._on_request_due(timer.request)
            case PartingDue():
                parted = self._sessions.find(timer.link)
                if parted is not None:
                    self._close(parted, ByeReason.CLOSED, LostReason.REVOKED)
            case _:
                assert_never(timer)

    def _on_refresh(self, now: Now) -> None:
        """Trust at every turn, and of the rest what is near its refresh time and the peer may
        know."""
        self._timer(RefreshDue(), self._refresh.next_at(now.instant))
        self._intake.on_expiry(now, EXPIRIES_PER_TURN_MAX)
        self._end_expired_links(now)
        self._keep_time()
        self._intake.apply_again(now)
        self._intake.persist_again()
        self._dissemination.on_unanswered()
        for one in self._sessions.open_sessions():
            self._policing.ask_lists(one, self._beliefs.facts.own)
            self._graft(one)
        link = self._refresh.next_link(tuple(one.link for one in self._sessions.open_sessions()))
        session = None if link is None else self._sessions.find(link)
        if session is None:
            return
        due = [
            head.manifest.namespace.text
            for head in self._catalog.heads()
            if self._refresh.is_due(head.manifest, now.unix)
            and self._disclosure.may_know(session, head.verified, now)
        ]
        lane = self._trust_lane()
        namespaces = (*lane, *(one for one in due if one not in lane))
        self._disclosure.ask_heads(session, namespaces)

    def _keep_time(self) -> None:
        """A node that starts again must not believe an earlier clock than it had."""
        floor = self._beliefs.next_time_floor()
        if floor is not None:
            self._intake.keep(PutTimeFloor(unix=floor))

    def _end_expired_links(self, now: Now) -> None:
        """An expired certificate or claims end a link, without grace: an outage grants nothing."""
        for session in self._sessions.all_sessions():
            claims = session.claims
            is_old = is_due(later(session.since, session.life), now.instant)
            if (
                is_old
                or is_past(session.identity.expires_at, now.unix)
                or (claims is not None and is_past(claims.claims.expires_at, now.unix))
            ):
                self._close(session, ByeReason.LIFE_OVER, LostReason.LIFE)

    def _on_ping_due(self, link: LinkId, now: Now) -> None:
        session = self._sessions.find(link)
        if session is None or not session.is_open:
            return
        if self._neighbors.is_silent(link, now.instant):
            self._close(session, ByeReason.SLOW, LostReason.TIMEOUT, 0)
            return
        sequence = self._neighbors.next_ping(link, now.instant)
        if sequence is not None:
            self._disclosure.send(link, Ping(sequence=sequence))
        self._timer(PingDue(link=link), self._neighbors.next_ping_at(now.instant))

    def _on_stored(self, event: ContentStored, now: Now) -> None:
        want = self._fetching.on_stored(event.content_hash, now.instant)
        self._intake.on_content(event.content_hash, event.content, now)
        self._answer_settled()
        if want is None:
            return
        if want.has_climbed:
            fields = (("content_hash", event.content_hash.hex()), ("step", want.step.value))
            self._out.append(Record(fact=Fact.RECOVERY_ENDED, fields=fields))
        for request in want.requests:
            self._answer_held(request, want.verified)

    def _answer_held(self, request: RequestId, verified: VerifiedManifest) -> None:
        self._requests.pop(request, None)
        self._out.append(
            Answer(
                request=request,
                outcome=Outcome.HELD,
                content_hash=verified.manifest.content_hash,
                namespace=verified.manifest.namespace.text,
            )
        )

    def _on_failed(self, event: ContentFailed, now: Now) -> None:
        content_hash = event.content_hash
        if event.request is not None:
            self._on_submit_failed(event, event.request, now)
            return
        if event.link is None:
            self._intake.on_vanished(content_hash)
            for _, verified in self._catalog.by_content(content_hash):
                self._intake.want(verified, None, now)
            return
        want = self._fetching.on_failed(
            content_hash, event.link, event.reason, event.received, now.instant
        )
        if want is None:
            return
        fields = (
            ("content_hash", content_hash.hex()),
            ("step", want.step.value),
            ("outcome", event.reason.value),
        )
        self._out.append(Record(fact=Fact.FETCH_FAILED, fields=fields))
        if event.reason in _SENDERS_FAULT:
            self._record_sender(want, event.reason)
        self._intake.on_stuck(want.verified, now)

    def _record_sender(self, want: Want, reason: FetchFailure) -> None:
        """What a peer sent was not what was signed: a refusal like any other, in its name."""
        refused = RejectionCode(_FAILURE_CODES[reason])
        fields = (
            ("code", refused.value),
            ("detail", f"the content does not fit its manifest: {reason.value}"),
            ("namespace", want.verified.manifest.namespace.text),
            ("source", want.attempts[-1].node_id or ""),
            ("blame", Blame.PEER.name.lower()),
        )
        self._out.append(Record(fact=Fact.ARTIFACT_REJECTED, fields=fields))

    def _on_submit_failed(self, event: ContentFailed, request: RequestId, now: Now) -> None:
        """The manifest stands, its content did not fit: it is wanted from whoever has it."""
        submitted = self._submits.pop(request, None)
        detail = f"the content does not fit its manifest: {event.reason.value}"
        self._out.append(
            Answer(
                request=request,
                outcome=Outcome.REFUSED,
                code=_FAILURE_CODES[event.reason],
                detail=detail,
            )
        )
        if submitted is not None:
            self._intake.want(submitted[0], None, now)

    def _ask_for_content(self, now: Now) -> None:
        """Start the transfers there is room for, and set the next try of wants no source could
        serve."""
        started, parked = self._fetching.next_transfers(self._sources_of, now.instant)
        for want in started:
            assert want.source is not None
            if want.has_climbed and len(want.attempts) and want.step is not want.attempts[-1].step:
                fields = (
                    ("content_hash", want.wanted.content_hash.hex()),
                    ("step", want.step.value),
                )
                self._out.append(Record(fact=Fact.RECOVERY_STARTED, fields=fields))
            self._out.append(
                ReceiveContent(
                    wanted=wanted_from(want.source.verified, is_read=want.wanted.is_read),
                    link=want.source.link,
                    traffic=want.traffic,
                    idle_ms=IDLE_MS[want.step],
                )
            )
        for want in parked:
            timer = WantDue(content_hash=want.wanted.content_hash, generation=want.generation)
            self._timer(timer, self._fetching.next_try_at(want, now.instant))
            self._intake.on_stuck(want.verified, now)

    def _sources_of(self, want: Want) -> tuple[Source, ...]:
        """Open links whose peer may know a manifest that names the content."""
        named = [one for _, one in self._catalog.by_content(want.wanted.content_hash)]
        sources = []
        for session in self._sessions.open_sessions():
            known = self._known_to(session, named)
            if known is None:
                continue
            record = self._neighbors.record_of(session.node_id)
            prefix = prefix_of(known.manifest_hash)
            sources.append(
                Source(
                    link=session.link,
                    node_id=session.node_id,
                    is_storage=self._placement.is_storage(session.node_id),
                    distance=NOWHERE if record is None else self._neighbors.distance_to(record),
                    says=self._holdings.says(session.link, known.manifest.audience, prefix),
                    verified=known,
                )
            )
        return tuple(sources)

    def _known_to(self, session: Session, named: list[VerifiedManifest]) -> VerifiedManifest | None:
        """The manifest to ask a peer with: one it may know, or the hash of another would tell it
        that the same bytes are in use elsewhere."""
        # Of its own trust lane a node asks anybody: else it could not learn whom to believe before
        # it believes somebody.
        trusted = (one for one in named if self._beliefs.is_own_lane(one.manifest))
        shared = (one for one in named if may_disclose(session.claims, one.manifest.audience))
        return next(shared, None) or next(trusted, None)

    def _on_request(self, event: RequestMade, now: Now) -> None:
        match event.body:
            case SubmitRequest():
                self._on_submit(event.request, event.body.envelope, now)
            case FetchRequest():
                self._on_fetch(event.request, event.body, now)
            case GateRequest():
                self._on_gate(event.request, event.body, now)
            case _:
                assert_never(event.body)

    def _on_gate(self, request: RequestId, body: GateRequest, now: Now) -> None:
        """Every answer is on record before it is given."""
        head = None if body.namespace is None else self._catalog.find(body.namespace)
        if body.content_hash is not None:
            named = self._catalog.by_content(body.content_hash)
            head = next((one for one, verified in named if verified is one.verified), None)
        names_artifact = body.namespace is not None or body.content_hash is not None
        permit = self._permits.decide(body.action, head, now, names_artifact=names_artifact)
        fields = (
            ("action", permit.action),
            ("decision", "allow" if permit.allowed else "deny"),
            ("code", permit.code.value),
            ("mode", permit.mode.value),
            ("namespace", body.namespace or ""),
        )
        self._out.append(Record(fact=Fact.GATE_ANSWERED, fields=fields))
        self._out.append(Answer(request=request, outcome=Outcome.DECIDED, permit=permit))

    def _on_submit(self, request: RequestId, envelope: bytes, now: Now) -> None:
        """A local file passes the same gate as a stranger's bytes; it is answered once it is
        durable."""
        verdict = self._intake.on_envelope(envelope, None, 0, now, source="submit", request=request)
        if isinstance(verdict, VerifiedManifest):
            self._record_submitted(verdict)
            self._submits[request] = (verdict, Outcome.ADMITTED)
            return
        assert verdict is not None
        found = self._known_already(verdict)
        if found is None:
            self._answer_refused(request, verdict)
            return
        self._submits[request] = (found, Outcome.ALREADY_CURRENT)
        if not self._intake.is_settled(found) and found.manifest.tombstone is None:
            self._intake.take(found, request)
        self._answer_settled()

    def _record_submitted(self, verified: VerifiedManifest) -> None:
        """An operator's deed; a refused one is on record as a rejection from here."""
        manifest = verified.manifest
        fields = (
            ("source", "submit"),
            ("namespace", manifest.namespace.text),
            ("order", str(manifest.order)),
        )
        self._out.append(Record(fact=Fact.SUBMITTED, fields=fields))

    def _known_already(self, verdict: Rejection) -> VerifiedManifest | None:
        if not verdict.is_known_already or verdict.manifest_hash is None:
            return None
        found = self._catalog.by_prefix(prefix_of(verdict.manifest_hash))
        return None if found is None else found[1]

    def _answer_refused(self, request: RequestId, verdict: Rejection) -> None:
        self._out.append(
            Answer(
                request=request,
                outcome=Outcome.REFUSED,
                code=verdict.code.value,
                detail=verdict.detail,
                namespace=verdict.namespace,
            )
        )

    def _answer_failed(self) -> None:
        for request, why in self._intake.failed_requests:
            self._submits.pop(request, None)
            self._requests.pop(request, None)
            self._out.append(Answer(request=request, outcome=Outcome.FAILED, detail=why))
        self._intake.failed_requests.clear()

    def _answer_settled(self) -> None:
        """Submitted manifests whose content is durable too are acknowledged now, and not before;
        what proved to be no content of its type is refused."""
        refused = {
            verified.manifest_hash: verdict for verified, verdict in self._intake.refused_contents
        }
        self._intake.refused_contents.clear()
        for request, (verified, _) in tuple(self._submits.items()):
            verdict = refused.get(verified.manifest_hash)
            if verdict is not None:
                del self._submits[request]
                self._answer_refused(request, verdict)
        settled = [
            request
            for request, (verified, _) in self._submits.items()
            if self._intake.is_settled(verified)
        ]
        for request in settled:
            verified, outcome = self._submits.pop(request)
            self._out.append(
                Answer(
                    request=request,
                    outcome=outcome,
                    content_hash=verified.manifest.content_hash,
                    namespace=verified.manifest.namespace.text,
                )
            )

    def _fail_superseded(self) -> None:
        """The disk refuses something: what a newer one replaced may never have been durable, nor
        is that."""
        for request, (verified, _) in tuple(self._submits.items()):
            if not self._intake.is_named(verified) and not self._intake.is_settled(verified):
                self._intake.failed_requests.append((request, "the disk refused what replaced it"))

    def _on_fetch(self, request: RequestId, body: FetchRequest, now: Now) -> None:
        found = self._wanted_by(body)
        if found is None:
            detail = "no verified manifest names it here"
            self._out.append(Answer(request=request, outcome=Outcome.UNKNOWN, detail=detail))
            return
        if self._intake.is_held(found.manifest.content_hash):
            self._answer_held(request, found)
            return
        want = self._intake.want(found, None, now)
        if want is None or not self._fetching.on_request(found.manifest.content_hash, request):
            self._out.append(
                Answer(request=request, outcome=Outcome.FAILED, detail="too many wants are open")
            )
            return
        self._requests[request] = found.manifest.content_hash
        self._timer(RequestDue(request=request), later(now.instant, Duration(body.timeout_ms)))

    def _wanted_by(self, body: FetchRequest) -> VerifiedManifest | None:
        """The durable, unexpired manifest that names what is asked for."""
        if body.content_hash is not None:
            found = self._catalog.by_content(body.content_hash)
        else:
            head = None if body.namespace is None else self._catalog.find(body.namespace)
            found = () if head is None else ((head, head.verified),)
        usable = (
            verified
            for head, verified in found
            if head.is_durable and head.state not in GONE_STATES
        )
        return next(usable, None)

    def _on_request_due(self, request: RequestId) -> None:
        if self._requests.pop(request, None) is None:
            return
        self._fetching.on_request_over(request)
        self._out.append(
            Answer(
                request=request,
                outcome=Outcome.TIMED_OUT,
                detail="no source could serve it in time",
            )
        )

    def snapshot(self, now: Now) -> NodeSnapshot:
        """The node as a reader may see it. Cost: O(heads)."""
        policing = self._policing.snapshot(now.instant)
        return node_snapshot(
            self._node_id,
            self._beliefs,
            self._catalog,
            self._neighbors,
            self._fetching,
            policing,
            now,
        )

    @property
    def trust(self) -> TrustFacts:
        """What the node believes at this moment."""
        return self._beliefs.facts

    def find(self, namespace: str) -> Head | None:
        """The head of a namespace, to read and not to keep."""
        return self._catalog.find(namespace)

    def heads_after(self, namespace: str, count: int) -> tuple[Head, ...]:
        """At most `count` heads above a namespace, in order, to read and not to keep."""
        return self._catalog.heads_after(namespace, count)

    def floors(self) -> dict[str, Order]:
        """The highest order accepted or listed in each namespace. Cost: O(floors)."""
        return self._catalog.floors()

    def heads_of(self, content_hash: ContentHash) -> tuple[Head, ...]:
        """The heads that name a content, to read and not to keep."""
        return tuple(head for head, _ in self._catalog.by_content(content_hash))

    def want_of(self, content_hash: ContentHash) -> Want | EndedWant | None:
        """What was tried for a content, open or ended, to read and not to keep."""
        return self._fetching.find(content_hash) or self._fetching.ended(content_hash)

    def advertisers(self, head: Head) -> tuple[NodeId, ...]:
        """The linked peers whose own word is that they hold a head's content."""
        audience, prefix = head.manifest.audience, prefix_of(head.verified.manifest_hash)
        return tuple(
            session.node_id
            for session in self._sessions.open_sessions()
            if self._holdings.says(session.link, audience, prefix)
        )

    def checkpoints_of(self, node_id: NodeId) -> tuple[KeptCheckpoint, ...]:
        """What is kept of a node's audit log, oldest first."""
        return self._audits.kept_of(node_id)

    def sessions(self) -> tuple[Session, ...]:
        """All links, to read and not to keep."""
        return self._sessions.all_sessions()

    def peer(self, session: Session) -> tuple[str, int | None, Instant | None]:
        """Failure domain, round trip and last sign of life of a link's peer."""
        record = self._neighbors.record_of(session.node_id)
        domain = "" if record is None else str(record.domain)
        return domain, self._neighbors.rtt_ms(session.link), self._neighbors.heard_at(session.link)

    def shared_audiences(self, session: Session) -> int:
        """How many audiences of our heads the peer may know."""
        return sum(may_disclose(session.claims, audience) for audience in self._catalog.audiences())

    def check(self) -> None:
        """Assert the invariants of every machine."""
        for machine in (
            self._audits,
            self._catalog,
            self._sessions,
            self._neighbors,
            self._dissemination,
            self._holdings,
            self._fetching,
            self._intake,
            self._beliefs,
            self._waiting,
            self._uses,
            self._policing,
        ):
            machine.check()
