"""The one interpreter of effects in the real world: owns the node, feeds it events, carries out
what it wants.

There is no await between taking an event and queueing its effects. Effects are carried out in list
order; one that fails comes back as an event, never as an exception into the node.
"""

import heapq
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Final, Never, assert_never

import trio

from fabgossip.core.effects import (
    Answer,
    Assemble,
    CancelContent,
    Dial,
    Disconnect,
    Effect,
    Fact,
    Materialize,
    Persist,
    ReceiveContent,
    ReceiveGranted,
    Record,
    Remove,
    Scrub,
    Send,
    ServeContent,
    SetTimer,
)
from fabgossip.core.events import (
    AuditChanged,
    AuditState,
    CheckpointSigned,
    ClockChanged,
    ContentLost,
    ContentStored,
    Event,
    LinkId,
    LinkSlow,
    LocalDamaged,
    LostReason,
    MessageReceived,
    PeerConnected,
    PeerLost,
    Persisted,
    Request,
    RequestId,
    RequestMade,
    SpaceChanged,
    Started,
    Timer,
    TimerFired,
    Token,
    Unsent,
    Unwanted,
)
from fabgossip.core.node import Node
from fabgossip.core.setup import NodeSetup
from fabgossip.core.space import AMPLE
from fabgossip.daemon.admission import Handshakes
from fabgossip.daemon.assembling import Assemblies
from fabgossip.daemon.audit import Audit
from fabgossip.daemon.connections import Connection
from fabgossip.daemon.crash_marks import (
    CrashMarks,
    digests_of,
    envelopes_in,
    envelopes_kept,
    envelopes_of,
    one_by_one,
)
from fabgossip.daemon.disk import Disk
from fabgossip.daemon.doorway import Doorway, House
from fabgossip.daemon.endpoints import DialError, LinkNumbers, TlsContexts
from fabgossip.daemon.facts import RULES
from fabgossip.daemon.granted import GrantedTransfers
from fabgossip.daemon.logs import Log, LogLevel
from fabgossip.daemon.recent import Recent
from fabgossip.daemon.sending import Sending
from fabgossip.daemon.submitted import Submission
from fabgossip.daemon.tls import TlsStream
from fabgossip.daemon.transfers import Transfers
from fabgossip.model.artifact import Order
from fabgossip.model.authority import NodeIdentity, TrustBundle
from fabgossip.model.ids import ContentHash, NodeId
from fabgossip.model.messages import (
    BadRequest,
    BadRequestCode,
    Busy,
    Bye,
    Cancel,
    Message,
    NotAvailable,
)
from fabgossip.model.moment import Instant, Now, UnixTime
from fabgossip.trust.identity import verify_leaf
from fabgossip.trust.lane import claims_trust
from fabgossip.trust.rejections import Rejection, RejectionCode
from fabgossip.trust.signatures import Ed25519Verifier
from fabgossip.wire.codec import parse_message
from fabgossip.wire.framing import EARLY_KINDS, Frame, FrameKind
from fabgossip.wire.outbox import Budget

SPACE_LOOK_S: Final = 1.0
"""How often the disk is looked at: a few system calls (*start*)."""
REPEATS_LOOK_S: Final = 1.0


def read_clocks() -> Now:
    """Both clocks, read once per step. The instant counts suspend, so no deadline is outslept."""
    instant = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    return Now(instant=Instant(instant), unix=UnixTime(int(time.time())))


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What the driver acts on."""

    disk: Disk
    audit: Audit
    log: Log
    marks: CrashMarks
    tls: Callable[[TrustBundle], TlsContexts]
    """The contexts of the trust bundle in force."""
    connections_max: int
    handshakes_in_flight_max: int
    handshakes_per_second_max: int


class Driver:
    """Owns the node. All methods are called from the loop."""

    def __init__(self, setup: NodeSetup, world: World, nursery: trio.Nursery) -> None:
        self._node = Node(setup, Ed25519Verifier())
        self._world = world
        self._nursery = nursery
        self._events: deque[Event] = deque()
        self._is_stepping = False
        self._kept: dict[Token, tuple[bytes, ...]] = {}
        """Envelopes on their way to the disk."""
        self._budget = Budget()
        self._connections: dict[LinkId, Connection] = {}
        self._links = LinkNumbers()
        self._timers: list[tuple[int, int, Timer]] = []
        self._timer_count = 0
        self._timer_wake = trio.Event()
        self._answers: dict[RequestId, Callable[[Answer], None]] = {}
        self._requests = 0
        self._all_closed = trio.Event()
        self.transfers = Transfers(world.disk, nursery, self.post, trio.current_time)
        self._assemblies = Assemblies(world.disk, nursery, self.post)
        self.sending = Sending(world.disk, nursery, self.post, trio.current_time)
        self.granted = GrantedTransfers(world.disk.files, nursery, self.post, trio.current_time)
        self.recent = Recent(self._log_fact)
        house = House(
            tls=self._tls,
            judge=self._judge,
            is_full=self._is_full,
            serve=self._serve_link,
            on_failed=self._record_identity,
            log=world.log,
        )
        handshakes = Handshakes(world.handshakes_in_flight_max, world.handshakes_per_second_max)
        self.doorway = Doorway(nursery, handshakes, house)
        self.space = AMPLE
        """How much space there is, as it was looked at last."""

    @property
    def node(self) -> Node:
        """The node, to read between steps."""
        return self._node

    def post(self, event: Event) -> None:
        """Give the node an event; whatever happens meanwhile waits in line behind it."""
        self._events.append(event)
        if self._is_stepping:
            return
        self._is_stepping = True
        while self._events:
            self._step(self._events.popleft())
        # Not after a step that raised: that node is as the step left it, and handles nothing more.
        self._is_stepping = False

    def _step(self, event: Event) -> None:
        """One event and its effects, noted while that lasts where it is about envelopes."""
        now = read_clocks()
        digests = self._handled(event)
        if digests:
            self._world.marks.note(digests, now.unix)
        try:
            effects = self._node.handle(event, now)
        except Exception as error:
            self._on_raised(event, digests, error)
            raise
        try:
            for effect in effects:
                self._carry_out(effect)
        except Exception:
            # Not over what the node was told: it judged that, and the fault is ours alone.
            if digests:
                self._world.marks.take_back()
            raise
        if digests:
            self._world.marks.take_back()

    def _handled(self, event: Event) -> tuple[bytes, ...]:
        """What a step is about: envelopes that come, that are durable now, whose content is here,
        and with the start those over which a process ended of late."""
        match event:
            case Started():
                return tuple(self._world.marks.suspects)
            case Persisted(token=token):
                return digests_of(self._kept.pop(token, ()))
            case ContentStored(wanted=wanted):
                heads = self._node.view.heads_of(wanted.content_hash)
                return digests_of(head.verified.envelope for head in heads)
            case _:
                return digests_of(envelopes_in(event))

    def _on_raised(self, event: Event, digests: tuple[bytes, ...], error: Exception) -> None:
        """The process ends, and the next one is told over what."""
        judging = self._node.view.judging
        if judging is not None:
            digests = digests_of((judging,))
        else:
            # A list or a bundle is left alone only where it was certainly at fault.
            trust = digests_of(one for one in envelopes_in(event) if claims_trust(one))
            digests = tuple(one for one in digests if one not in trust)
        if digests:
            self._world.marks.note(digests, read_clocks().unix, is_raised=True)
        link = event.link if isinstance(event, MessageReceived) else None
        connection = None if link is None else self._connections.get(link)
        fields = (
            ("peer", "" if connection is None else connection.identity.node_id),
            ("envelopes", " ".join(one.hex() for one in digests[:4])),
            ("error", type(error).__name__),
            ("detail", str(error)),
        )
        self._world.log.emit("step_failed", LogLevel.ERROR, fields)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send():
                self._send(effect)
            case Dial():
                self._nursery.start_soon(self._dial, effect, name=f"dial {effect.node_id}")
            case Disconnect():
                self._disconnect(effect)
            case SetTimer():
                self._set_timer(effect)
            case ReceiveContent():
                connection = None if effect.link is None else self._connections.get(effect.link)
                self.transfers.receive(effect, connection)
            case Assemble():
                self._assemblies.begin(effect)
            case ReceiveGranted():
                self.granted.receive(effect, self._connections.get(effect.link))
            case ServeContent():
                served = self._connections.get(effect.link)
                if served is not None:
                    self.sending.serve(effect, served)
            case Persist():
                if kept := envelopes_kept(effect):
                    self._kept[effect.token] = kept
                self._world.disk.persist(effect, self._persisted(effect.token))
            case Materialize():
                if effect.envelope:
                    self._kept[effect.token] = (effect.envelope,)
                self._world.disk.materialize(effect, self._persisted(effect.token))
            case CancelContent():
                self.transfers.cancel(effect.link, effect.content_hash)
            case Remove():
                self._world.disk.remove(effect)
            case Scrub():
                self._nursery.start_soon(self._scrub, effect, name="scrub")
            case Answer():
                self._answer(effect)
            case Record():
                self._record(effect)
            case _:
                assert_never(effect)

    def _send(self, effect: Send) -> None:
        connection = self._connections.get(effect.link)
        if connection is None or connection.lost is not None:
            return
        sent = connection.send(effect.message, effect.traffic, effect.stream)
        if not sent and effect.audience is not None:
            self._events.append(Unsent(link=effect.link, audience=effect.audience))

    def _disconnect(self, effect: Disconnect) -> None:
        connection = self._connections.get(effect.link)
        if connection is not None:
            connection.close(
                Bye(reason=effect.bye, retry_after_s=effect.retry_after_s), effect.lost
            )

    async def _scrub(self, effect: Scrub) -> None:
        disk = self._world.disk
        is_sound = await trio.to_thread.run_sync(disk.is_sound, effect.content_hash)
        if is_sound is None:
            self.post(Persisted(token=effect.token, ok=False))
        elif is_sound:
            disk.note_verified(effect, self._persisted(effect.token))
        else:
            self.post(ContentLost(content_hash=effect.content_hash))
        for one in effect.shown:
            if not await trio.to_thread.run_sync(disk.is_shown, one):
                namespace = one.manifest.namespace.text
                self.post(LocalDamaged(namespace=namespace, manifest_hash=one.manifest_hash))

    def _persisted(self, token: Token) -> Callable[[bool], None]:
        def done(ok: bool) -> None:  # noqa: FBT001  # the outcome of one disk job, given by position
            if not ok:
                detail = (("detail", self._world.disk.last_error),)
                self._world.log.emit(Fact.STORAGE_FAILED.value, LogLevel.ERROR, detail)
            self.post(Persisted(token=token, ok=ok))

        return done

    def _record(self, effect: Record) -> None:
        self._world.audit.record(effect)
        self.recent.record(effect, read_clocks())

    def _log_fact(self, fact: Record) -> None:
        self._world.log.emit(fact.fact.value, RULES[fact.fact].level, fact.fields)

    async def tell_repeats(self) -> Never:
        """Tell what was counted once its time is over, for ever."""
        while True:
            await trio.sleep(REPEATS_LOOK_S)
            self.recent.tell_due(read_clocks())

    async def has_lost(self, content_hash: ContentHash) -> bool:
        """Whether the file of a held content is gone, as an operator is about to be told that it is
        there. Then it is wanted anew from now on."""
        is_gone = await trio.to_thread.run_sync(self._world.disk.lacks, content_hash)
        if is_gone:
            self.post(ContentLost(content_hash=content_hash))
        return is_gone

    async def kept_versions(self, namespace: str) -> tuple[tuple[Order, bytes], ...]:
        """The versions of a namespace of the catalog whose folders are still in `local/`, oldest
        first, and the envelope of each."""
        return await trio.to_thread.run_sync(self._world.disk.kept_versions, namespace)

    @property
    def audit(self) -> Audit:
        """The audit log."""
        return self._world.audit

    def on_checkpoint_signed(self, envelope: bytes) -> None:
        """The audit log has a new checkpoint to show."""
        self.post(CheckpointSigned(envelope=envelope))

    def on_audit_state(self, state: AuditState) -> None:
        """The audit log is in another state: the node allows nothing of high risk unless it is
        intact."""
        self.post(AuditChanged(state=state))
        event, level, detail = _audit_line(state)
        said = self._world.audit.last_error
        self._world.log.emit(event, level, (("detail", f"{said}: {detail}" if said else detail),))

    async def watch_space(self) -> None:
        """Look at the disk, for ever: others fill it too, and make room again."""
        disk = self._world.disk
        while True:
            self.space = disk.look(read_clocks().instant)
            if disk.is_news(self.space):
                self.post(SpaceChanged(space=self.space))
            await trio.sleep(SPACE_LOOK_S)

    def on_clock_changed(self, is_synchronized: bool) -> None:  # noqa: FBT001  # given by position
        """The kernel says something else of its clock than before."""
        self.log_clock(is_synchronized=is_synchronized)
        self.post(ClockChanged(is_synchronized=is_synchronized))

    def log_clock(self, *, is_synchronized: bool) -> None:
        """What the kernel says of its clock, for who has to mend it."""
        if is_synchronized:
            self._world.log.emit("clock_synchronized", LogLevel.WARNING)
        else:
            detail = (("detail", "the kernel does not call its clock synchronized"),)
            self._world.log.emit("clock_unsynchronized", LogLevel.ERROR, detail)

    def log_fault(self, event: str, error: Exception) -> None:
        """Something of ours failed for one client; the daemon goes on."""
        fields = (("error", type(error).__name__), ("detail", str(error)))
        self._world.log.emit(event, LogLevel.ERROR, fields)

    def _set_timer(self, effect: SetTimer) -> None:
        self._timer_count += 1
        heapq.heappush(self._timers, (effect.at, self._timer_count, effect.timer))
        if self._timers[0][1] == self._timer_count:
            self._timer_wake.set()

    async def run_timers(self) -> None:
        """Give due timers back to the node, for ever."""
        while True:
            now = read_clocks().instant
            while self._timers and self._timers[0][0] <= now:
                self.post(TimerFired(timer=heapq.heappop(self._timers)[2]))
            self._timer_wake = trio.Event()
            wait = (self._timers[0][0] - now) / 1_000 if self._timers else 3_600.0
            with trio.move_on_after(max(0.0, wait)):
                await self._timer_wake.wait()

    def _tls(self) -> TlsContexts:
        try:
            return self._world.tls(self._node.view.trust.bundle)
        except OSError as error:
            # `ssl.SSLError` is one: a CA of the bundle, or our own key, is not to be used.
            raise DialError(LostReason.HANDSHAKE_FAILED, f"TLS: {error}") from error

    def _judge(self, der: bytes) -> NodeIdentity | Rejection:
        facts = self._node.view.trust
        return verify_leaf(der, facts.bundle, facts.revoked, read_clocks().unix)

    async def _dial(self, effect: Dial) -> None:
        failed = await self.doorway.dial(effect)
        if failed is not None:
            self.post(PeerLost(link=None, node_id=effect.node_id, reason=failed))

    def _is_full(self) -> bool:
        return len(self._connections) >= self._world.connections_max

    def _record_identity(self, error: DialError, dialed: NodeId | None) -> None:
        """A certificate the bundle's node CAs signed, and the leaf rules refused, is for the audit
        log. What fails before that, anybody on the network can cause: only the log has it."""
        if error.reason is not LostReason.IDENTITY:
            return
        peer = () if dialed is None else (("peer", dialed),)
        code = RejectionCode.IDENTITY_INVALID.value
        fields = (*peer, ("code", code), ("detail", str(error)))
        self._record(Record(fact=Fact.IDENTITY_REFUSED, fields=fields))

    async def _serve_link(self, stream: TlsStream, identity: NodeIdentity, is_dialer: bool) -> None:  # noqa: FBT001  # given by position
        """One link from its first event to its last."""
        link = self._links.next()
        connection = Connection(link, stream, identity, is_dialer=is_dialer, budget=self._budget)
        self._connections[link] = connection
        self.post(PeerConnected(link=link, identity=identity, is_dialer=is_dialer))
        reason = LostReason.LOCAL
        try:
            async with trio.open_nursery() as nursery:
                on_slow = partial(self.post, LinkSlow(link=link))
                nursery.start_soon(connection.mind, on_slow, name="mind")
                reason = await connection.serve(self._on_frame, self._on_unwanted)
                nursery.cancel_scope.cancel()
        finally:
            connection.lost = connection.lost or reason
            del self._connections[link]
            self._record_fault(connection)
            self.transfers.on_lost(link)
            self.sending.on_lost(link)
            self.granted.on_lost(link)
            self.post(PeerLost(link=link, node_id=identity.node_id, reason=connection.lost))
            if not self._connections:
                self._all_closed.set()

    def _record_fault(self, connection: Connection) -> None:
        """Bytes no node of ours sends, from somebody with a good certificate."""
        if connection.fault is None:
            return
        fields = (
            ("peer", connection.identity.node_id),
            ("code", connection.fault.code),
            ("detail", connection.fault.detail),
            ("reason", LostReason.PROTOCOL.value),
        )
        self._record(Record(fact=Fact.SESSION_CUT, fields=fields))

    def _on_frame(self, connection: Connection, frame: Frame) -> None:
        """Hand a frame to whom it belongs: content to the transfers, the rest to the node. Raises
        `WireError`."""
        if connection.lost is not None:
            return
        if frame.kind not in EARLY_KINDS and not self._node.view.is_open(connection.link):
            self._on_unwanted(connection, 1)
            return
        connection.peer_streams.check(frame.kind, frame.stream)
        if frame.kind is FrameKind.CONTENT:
            asked = self.granted.on_content(
                connection, frame.stream, frame.body
            ) or self.transfers.on_content(connection, frame.stream, frame.body)
            connection.unwanted += not asked
            return
        message = parse_message(frame.kind, bytes(frame.body))
        if isinstance(message, NotAvailable | Busy):
            asked = self.granted.on_not_available(
                connection, frame.stream, message
            ) or self.transfers.on_not_available(connection, frame.stream, message)
            connection.unwanted += not asked
            return
        if isinstance(message, Cancel):
            self.sending.on_cancelled(connection.link, frame.stream)
        for part in self._parts(message):
            self.post(MessageReceived(link=connection.link, stream=frame.stream, message=part))

    def _parts(self, message: Message) -> tuple[Message, ...]:
        """Several steps where one may end the process."""
        suspects = self._world.marks.suspects
        if not suspects or suspects.isdisjoint(digests_of(envelopes_of(message))):
            return (message,)
        return one_by_one(message)

    def _on_unwanted(self, connection: Connection, count: int) -> None:
        """Frames that lead to nothing: before a link is open, whoever sends them is no peer."""
        if connection.lost is not None:
            return
        if not self._node.view.is_open(connection.link):
            connection.close(BadRequest(code=BadRequestCode.KIND), LostReason.PROTOCOL)
        self.post(Unwanted(link=connection.link, count=count))

    def next_request(self) -> RequestId:
        """A number for a local request, so that its content can be handed over first."""
        self._requests += 1
        return RequestId(self._requests)

    async def ask(
        self, request: RequestId, body: Request, submission: Submission | None = None
    ) -> Answer:
        """Make a local request and wait for its one answer. From here on the content that comes
        with it is the driver's, whatever becomes of who asked."""
        answered: list[Answer] = []
        done = trio.Event()

        def on_answer(answer: Answer) -> None:
            answered.append(answer)
            done.set()

        self._answers[request] = on_answer
        if submission is not None:
            self.transfers.submitted.on_submission(request, submission)
        try:
            self.post(RequestMade(request=request, body=body))
            await done.wait()
        finally:
            self._answers.pop(request, None)
            self.transfers.submitted.on_request_over(request)
        return answered[0]

    def _answer(self, effect: Answer) -> None:
        on_answer = self._answers.pop(effect.request, None)
        if on_answer is not None:
            on_answer(effect)

    def connection_to(self, link: LinkId) -> Connection | None:
        """The connection of a link, to read."""
        return self._connections.get(link)

    async def drain(self, bye: Bye) -> None:
        """Say goodbye on every link and wait until all have ended."""
        for connection in list(self._connections.values()):
            connection.close(bye, LostReason.LOCAL)
        if self._connections:
            self._all_closed = trio.Event()
            await self._all_closed.wait()


def node_seed(node_id: NodeId, entropy: bytes) -> int:
    """A seed for a node's own chance, from entropy drawn once at start."""
    return int.from_bytes(sha256(node_id.encode("ascii") + entropy).digest()[:8], "big")


def _audit_line(state: AuditState) -> tuple[str, LogLevel, str]:
    """Event, level and words of the log for a state of the audit log: what it means, what to do."""
    match state:
        case AuditState.INTACT:
            detail = (
                "the disk takes audit records again, first those that waited; high risk is judged "
                "by the mode again"
            )
            return "audit_resumed", LogLevel.WARNING, detail
        case AuditState.STOPPED:
            detail = (
                "audit records wait in memory, nothing of high risk is allowed; make room on the "
                "disk: it is tried again by itself"
            )
            return "audit_stopped", LogLevel.ERROR, detail
        case AuditState.DAMAGED:
            detail = (
                "signed audit records are gone or changed; new ones are written, nothing of high "
                "risk is allowed until the next start; copy audit/ away, then: fabgossip audit "
                "verify"
            )
            return "audit_damaged", LogLevel.ERROR, detail
