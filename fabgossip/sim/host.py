"""The interpreter of effects in virtual time: owns a node, feeds it events, carries out what it
wants.

Decides: nothing; it does what `daemon/driver.py` does, in the same order.
Keeps: effects are carried out in list order; one that fails comes back as an event; a dead process
acts no more; the node checks itself as it goes.
Must not know: the truth about entitlements; it only tells of facts.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from hashlib import blake2b
from typing import Final, Protocol, assert_never

from fabgossip.core.config import NodeConfig
from fabgossip.core.effects import (
    Answer,
    Assemble,
    CancelContent,
    Dial,
    Disconnect,
    Effect,
    Materialize,
    Persist,
    ReceiveContent,
    ReceiveGranted,
    Record,
    Remove,
    Scrub,
    Send,
    ServeContent,
    ServeItem,
    SetTimer,
)
from fabgossip.core.events import (
    ClockChanged,
    ContentLost,
    Event,
    LinkId,
    LinkSlow,
    LostReason,
    MessageReceived,
    PeerConnected,
    PeerLost,
    Persisted,
    PinRequest,
    ReleaseRequest,
    Request,
    RequestId,
    RequestMade,
    SpaceChanged,
    Started,
    SubmitRequest,
    Timer,
    TimerFired,
    Token,
    Unsent,
    Unwanted,
    UseRequest,
)
from fabgossip.core.node import Node
from fabgossip.core.rosters import Rosters
from fabgossip.core.setup import NodeSetup
from fabgossip.core.space import SpaceState
from fabgossip.core.view import View
from fabgossip.errors import WireError
from fabgossip.model.artifact import NO_ORDER
from fabgossip.model.authority import NodeIdentity
from fabgossip.model.ids import BOOT_ID_BYTES, BootId, ContentHash, NodeId
from fabgossip.model.messages import (
    BadRequest,
    BadRequestCode,
    Busy,
    Bye,
    ByeReason,
    Cancel,
    Message,
    NotAvailable,
    Protocols,
    TrafficClass,
)
from fabgossip.model.moment import Now, is_past
from fabgossip.sim.assembling import Assemblies
from fabgossip.sim.authority import Issued, Papers
from fabgossip.sim.clock import Clock
from fabgossip.sim.codec import Codec
from fabgossip.sim.disk import Done, SimDisk
from fabgossip.sim.granted import GrantedTransfers
from fabgossip.sim.kept import Local
from fabgossip.sim.labor import HANDLE_NS, HANDSHAKE_NS, Labor
from fabgossip.sim.network import End, Network, SentFrame
from fabgossip.sim.streams import Streams
from fabgossip.sim.trace import DIGEST_BYTES, Happened, Kind, digest8, world_event
from fabgossip.sim.transfers import Bench, Transfers
from fabgossip.sim.watch import Watch
from fabgossip.sim.world import SpinError, World
from fabgossip.trust.membership import may_link
from fabgossip.trust.signatures import Verifier
from fabgossip.wire.framing import EARLY_KINDS, FrameKind, broken_rule
from fabgossip.wire.outbox import NEVER_DROPPED, Budget

PIN_S: Final = 86_400
"""Longer than a run."""
STEP_EVENTS_MAX: Final = 100_000
"""Events a node may cause itself within one step."""
TIMERS_NAMED_MAX: Final = 4_096
"""Timers whose words are kept: those of different nodes are mostly equal."""
_OF_THE_DEAD: Final = world_event(Kind.DROP, "of a process that is gone")


class SimulatedNode(Protocol):
    """What is under test: `core.node.Node`, or in a test of the simulator something worse."""

    def handle(self, event: Event, now: Now) -> list[Effect]:
        """See `Node.handle`."""
        ...

    def check(self) -> None:
        """See `Node.check`."""
        ...

    @property
    def view(self) -> View:
        """What readers may see."""
        ...


NodeMaker = Callable[[NodeSetup, Verifier], SimulatedNode]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all hosts of a run share."""

    world: World
    network: Network
    codec: Codec
    watch: Watch
    streams: Streams
    verifier: Verifier
    rosters: Rosters
    config: NodeConfig
    make_node: NodeMaker
    protocols: dict[int, Protocols]
    index_of: dict[NodeId, int]
    cpu_percents: dict[int, int]
    """How long work takes at each node, of the usual; 0: no time."""
    check_every: int
    """A node checks itself after so many of its events, and at the end."""


class Process:
    """One incarnation of a daemon."""

    def __init__(
        self, around: Surroundings, index: int, papers: Papers, disk: SimDisk, clock: Clock
    ) -> None:
        self._around = around
        self._index = index
        self._disk = disk
        self._clock = clock
        self._incarnation = around.watch.begun(index)
        self.identity = papers.certificate
        self.budget = Budget()
        self.is_dead = False
        self._ends: dict[LinkId, End] = {}
        self._dialed: set[LinkId] = set()
        self._queued: dict[LinkId, End] = {}
        """Links with something to send at the end of the step."""
        self._links = 0
        self._requests = 0
        self._answers: dict[RequestId, Callable[[Answer | None], None]] = {}
        self._events: deque[Event] = deque()
        self._is_stepping = False
        self._handled = 0
        self._described = blake2b(digest_size=DIGEST_BYTES)
        """Of all this process was told and wanted, in order."""
        node_id = papers.own.node_id
        setup = NodeSetup(
            config=around.config,
            own=papers.own,
            boot_id=BootId(around.streams.of(f"boot/{node_id}").bytes(BOOT_ID_BYTES)),
            bootstrap=papers.bootstrap,
            seed=around.streams.of(f"node/{node_id}").draw(),
            protocols=around.protocols[index],
            rosters=around.rosters,
        )
        self._labor = Labor(around.verifier, around.cpu_percents[index])
        self.node = around.make_node(setup, self._labor)
        self._transfers = Transfers(self._bench())
        self._assemblies = Assemblies(self._bench())
        self._granted = GrantedTransfers(self._bench())

    def _bench(self) -> Bench:
        watch, index = self._around.watch, self._index

        def piece_sent(end: End, item: ServeItem, number: int, piece: bytes) -> None:
            watch.content_sent(index, end.peer.index, item.content_hash)
            watch.piece_sent(index, item, number, piece)

        def content_received(content_hash: ContentHash, size: int) -> None:
            self._labor.hashed(size)
            watch.content_received(index, content_hash, self.node.view.wants_of(content_hash))

        return Bench(
            disk=self._disk,
            network=self._around.network,
            now_ns=lambda: self._around.world.now_ns,
            wait=self._wait,
            step=partial(self._step, Kind.DISK),
            post=self._post,
            send=self._send_on,
            on_hashed=self._labor.hashed,
            on_unpacked=self._labor.unpacked,
            on_piece_sent=piece_sent,
            on_damaged=partial(watch.damaged, index),
            on_content_received=content_received,
        )

    def _wait(self, at_ns: int, action: Callable[[], Happened]) -> None:
        def act() -> Happened:
            return _OF_THE_DEAD if self.is_dead else action()

        world = self._around.world
        world.schedule(max(at_ns, world.now_ns), self._index, self._index, act)

    def _post(self, event: Event) -> None:
        self._step(Kind.LOCAL, event)

    def start(self, *, is_synchronized: bool = True) -> Happened:
        """Read the disk and begin."""
        started = replace(self._disk.started(), is_synchronized=is_synchronized)
        self._around.watch.started(self._index, started, self._disk.local)
        self._around.network.listen(self._index, self)
        self._disk.on_space = self._on_space
        return self._step(Kind.RESTART, started)

    def _on_space(self, space: SpaceState) -> None:
        if space.excess_bytes:
            self._around.watch.short(self._index)
        self._post(SpaceChanged(space=space))

    def die(self) -> None:
        """The process ends at once; its kernel closes what was open."""
        self.is_dead = True
        self._disk.on_space = None
        self._around.network.vanish(self._index, tuple(self._ends.values()))
        self._ends.clear()
        answers, self._answers = self._answers, {}
        for on_answer in answers.values():
            on_answer(None)

    def _step(self, kind: Kind, event: Event) -> Happened:
        """Give the node an event; what happens meanwhile waits in line behind it, as in the
        driver."""
        described = _event_bytes(event)
        self._described.update(described)
        self._events.append(event)
        if not self._is_stepping and not self.is_dead:
            self._is_stepping = True
            try:
                self._handle_all()
            finally:
                self._is_stepping = False
        return kind, digest8(described), self._described.digest()

    def _handle_all(self) -> None:
        watch = self._around.watch
        for _ in range(STEP_EVENTS_MAX):
            try:
                effects = self.node.handle(self._events.popleft(), self._now())
            except Exception as error:  # noqa: BLE001  # whatever a node raises is its own fault: S19
                watch.raised(self._index, "handle", error)
                return
            self._labor.add(HANDLE_NS)
            for effect in effects:
                self._carry_out(effect)
            self._handled += 1
            if self._handled % self._around.check_every == 0 and not self.is_sound():
                return
            watch.handled()
            if not self._events:
                self._transfers.ask_together()
            if not self._events:
                break
        else:
            spun = SpinError(self._index, self._around.world.now_ns)
            watch.raised(self._index, "spin", spun)
        self._rest()

    def _rest(self) -> None:
        """The step is over: what it sends leaves when its work is done, and so long all else
        waits."""
        work_ns = self._labor.take()
        if work_ns:
            self._around.world.occupy(self._index, work_ns)
        queued, self._queued = self._queued, {}
        for end in queued.values():
            self._around.network.flush(end, work_ns)

    def _now(self) -> Now:
        return self._clock.read(self._around.world.now_ns)

    def is_sound(self) -> bool:
        """Let the node check itself."""
        try:
            self.node.check()
        except AssertionError as error:
            self._around.watch.raised(self._index, "check", error)
            return False
        return True

    def _carry_out(self, effect: Effect) -> None:
        self._around.watch.acted(self._index, self._incarnation)
        if not isinstance(effect, Send):
            self._described.update(_effect_bytes(effect))
        match effect:
            case Send():
                self._send(effect)
            case Dial():
                there = self._around.index_of.get(effect.node_id)
                if there is None or not effect.addresses:
                    reason = LostReason.CONNECT_FAILED
                    self._post(PeerLost(link=None, node_id=effect.node_id, reason=reason))
                else:
                    self._around.network.dial((self._index, self), (there, effect.node_id))
            case Disconnect():
                self._disconnect(effect)
            case SetTimer():
                self._set_timer(effect)
            case ReceiveContent():
                end = None if effect.link is None else self._ends.get(effect.link)
                self._around.watch.asked(self._index, end, self.node.view, effect.wanted)
                self._transfers.receive(effect, end)
            case Assemble():
                self._assemblies.begin(effect)
            case ReceiveGranted():
                self._granted.receive(effect, self._ends.get(effect.link))
            case ServeContent():
                served = self._ends.get(effect.link)
                if served is not None:
                    self._transfers.serve(effect, served)
            case Persist():
                self._around.watch.asked_to_keep(self._index, effect.changes)
                self._disk.persist(effect, self._persisted(effect.token))
            case Materialize():
                self._around.watch.switching(self._index, effect.namespace)
                self._disk.materialize(effect, self._persisted(effect.token))
            case CancelContent():
                self._transfers.cancel(effect.link, effect.content_hash)
            case Remove():
                self._disk.remove(effect)
            case Scrub():
                at = self._around.world.now_ns + self._disk.read_ns
                self._wait(at, partial(self._scrub, effect))
            case Answer():
                on_answer = self._answers.pop(effect.request, None)
                self._transfers.on_request_over(effect.request)
                self._granted.on_request_over(effect.request)
                if on_answer is not None:
                    on_answer(effect)
            case Record():
                self._around.watch.recorded(effect)  # the trace has it by its digest
            case _:
                assert_never(effect)

    def _send(self, effect: Send) -> None:
        end = self._ends.get(effect.link)
        if end is None or end.lost is not None:
            return
        sent = self._send_on(end, effect.message, effect.traffic, effect.stream)
        if not sent and effect.audience is not None:
            self._post(Unsent(link=effect.link, audience=effect.audience))

    def _send_on(self, end: End, message: Message, traffic: TrafficClass, stream: int) -> bool:
        network = self._around.network
        kind, body = self._around.codec.encode(message)
        frame = SentFrame(kind, traffic, stream, body)
        self._described.update(b"%d %d %d " % (end.link, kind, stream) + body)
        if network.send(end, frame):
            self._queued[end.link] = end
            self._around.watch.queued(self._index, traffic, end.outbox.waiting(traffic))
            self._around.watch.sent(self._index, end, message, len(body))
            return True
        if traffic in NEVER_DROPPED:
            self._close(end, Bye(reason=ByeReason.SLOW, retry_after_s=60), LostReason.BACKPRESSURE)
        return False

    def _disconnect(self, effect: Disconnect) -> None:
        end = self._ends.get(effect.link)
        if end is not None:
            self._close(
                end, Bye(reason=effect.bye, retry_after_s=effect.retry_after_s), effect.lost
            )

    def _close(self, end: End, farewell: Message, reason: LostReason) -> None:
        kind, body = self._around.codec.encode(farewell)
        self._around.network.close(end, SentFrame(kind, TrafficClass.LINK, 0, body), reason)

    def _set_timer(self, effect: SetTimer) -> None:
        world, at_ns = self._around.world, self._clock.true_ns_of(effect.at)
        fire = partial(self._on_timer, effect)
        world.schedule(max(at_ns, world.now_ns), self._index, self._index, fire)

    def _on_timer(self, effect: SetTimer) -> Happened:
        if self.is_dead:
            return _OF_THE_DEAD
        if self._now().instant < effect.at:
            self._set_timer(effect)  # the clock has become slower since
            return world_event(Kind.TIMER, "not due yet")
        return self._step(Kind.TIMER, TimerFired(timer=effect.timer))

    def hear_of_clock(self, *, is_synchronized: bool) -> None:
        """The kernel has a word about its clock."""
        event = ClockChanged(is_synchronized=is_synchronized)
        self._wait(self._around.world.now_ns, partial(self._step, Kind.CLOCK, event))

    def _scrub(self, effect: Scrub) -> Happened:
        content = self._disk.read(effect.content_hash)
        self._labor.hashed(0 if content is None else len(content))
        is_sound = self._disk.is_sound(effect.content_hash)
        if is_sound is None:
            return self._step(Kind.DISK, Persisted(token=effect.token, ok=False))
        if not is_sound:
            self._around.watch.damaged(self._index, effect.content_hash)
            return self._step(Kind.DISK, ContentLost(content_hash=effect.content_hash))
        self._disk.note_verified(effect, self._persisted(effect.token))
        return world_event(Kind.DISK, "sound")

    def _persisted(self, token: Token) -> Done:
        return lambda ok: self._step(Kind.DISK, Persisted(token=token, ok=ok))

    @property
    def links(self) -> frozenset[LinkId]:
        """What the node was told of and not that it is lost."""
        return frozenset(self._ends)

    def accepts(self, identity: NodeIdentity) -> bool:
        """What the leaf rules leave to judge: revocation and expiry."""
        facts = self.node.view.trust
        is_over = is_past(identity.expires_at, self._now().unix)
        is_let_in = not is_over and may_link(identity, facts.bundle, facts.previous, facts.revoked)
        other = self._around.index_of[identity.node_id]
        self._around.watch.judged(self._index, other, is_let_in=is_let_in)
        return is_let_in

    def connected(self, end: End) -> Happened:
        """A link passed TLS and the leaf rules."""
        self._links += 1
        end.link = LinkId(self._links)
        self._ends[end.link] = end
        self._labor.add(HANDSHAKE_NS)
        if end.is_dialer:
            self._dialed.add(end.link)
        self._around.watch.connected(self._index, end.peer.index, len(self._dialed))
        return self._step(
            Kind.CONNECT,
            PeerConnected(link=end.link, identity=end.identity, is_dialer=end.is_dialer),
        )

    def received(self, end: End, frame: SentFrame) -> Happened:
        """A frame arrived: content goes to the transfers, the rest to the node."""
        self._around.watch.arrived(self._index, end.peer.index, frame)
        if frame.kind not in EARLY_KINDS and not self.node.view.is_open(end.link):
            self._close(end, BadRequest(code=BadRequestCode.KIND), LostReason.PROTOCOL)
            return self._step(Kind.DELIVER, Unwanted(link=end.link, count=1))
        try:
            end.peer_streams.check(frame.kind, frame.stream)
            if frame.kind is FrameKind.CONTENT:
                if not (
                    self._granted.on_content(end, frame) or self._transfers.on_content(end, frame)
                ):
                    self._post(Unwanted(link=end.link, count=1))
                self._transfers.ask_together()
                self._around.network.flush(end)
                return Kind.DELIVER, digest8(frame.body), digest8(b"content")
            codec = self._around.codec
            message = codec.decode(frame.kind, frame.traffic, frame.stream, frame.body)
        except WireError as error:
            self._around.watch.garbled(self._index, end.peer.index, error)
            self._close(end, BadRequest(code=broken_rule(error)), LostReason.PROTOCOL)
            return world_event(Kind.DROP, error.code)
        self._around.watch.delivered(self._index, end, message, frame)
        if isinstance(message, NotAvailable | Busy):
            if not (
                self._granted.on_not_available(end, frame.stream, message)
                or self._transfers.on_not_available(end, frame.stream, message)
            ):
                self._post(Unwanted(link=end.link, count=1))
            return Kind.DELIVER, digest8(frame.body), digest8(b"content")
        if isinstance(message, Cancel):
            self._transfers.on_cancelled(end.link, frame.stream)
        self._described.update(b"%d %d " % (end.link, frame.kind) + frame.body)
        event = MessageReceived(link=end.link, stream=frame.stream, message=message)
        return self._step(Kind.DELIVER, event)

    def slow(self, link: LinkId) -> Happened:
        """Something has begun to wait for more than a second to leave on a link."""
        return self._step(Kind.LOCAL, LinkSlow(link=link))

    def too_slow(self, link: LinkId) -> Happened:
        """It has waited as long as anything may."""
        bye = Bye(reason=ByeReason.SLOW, retry_after_s=60)
        self._close(self._ends[link], bye, LostReason.BACKPRESSURE)
        return world_event(Kind.LOCAL, "a peer that takes nothing")

    def lost(self, link: LinkId | None, node_id: NodeId, reason: LostReason) -> Happened:
        """A link ended, or a dial failed."""
        if link is not None:
            end = self._ends.pop(link, None)
            self._dialed.discard(link)
            self._transfers.on_lost(link)
            self._granted.on_lost(link)
            if end is not None:
                self._around.watch.lost(self._index, end, reason)
        return self._step(Kind.LOST, PeerLost(link=link, node_id=node_id, reason=reason))

    def submit(self, issued: Issued, on_answer: Callable[[Answer | None], None]) -> Happened:
        """Hand an artifact over as `fabgossip submit` does; one answer follows, None if the
        process dies before."""
        if self.is_dead:
            on_answer(None)
            return _OF_THE_DEAD
        self._requests += 1
        request = RequestId(self._requests)
        self._answers[request] = on_answer
        self._transfers.on_submission(request, issued.content)
        body = SubmitRequest(envelope=issued.envelope)
        return self._step(Kind.LOCAL, RequestMade(request=request, body=body))

    def pin(self, namespace: str) -> Happened:
        """Keep what a namespace has now, as `fabgossip artifacts pin` does."""
        body = PinRequest(owner="operator", reason="a scenario", seconds=PIN_S, namespace=namespace)
        return self._ask(body)

    def use(self, namespace: str) -> Happened:
        """Put local software back to the version before what it reads, as `fabgossip artifacts use`
        does."""
        local = self._disk.local.get(namespace, Local())
        older = [one for one in local.versions if one < (local.current or NO_ORDER)]
        if not older:
            return world_event(Kind.DROP, "nothing to go back to")
        order = max(older)
        body = UseRequest(
            owner="operator",
            reason="a scenario",
            seconds=PIN_S,
            namespace=namespace,
            order=order,
            envelope=local.envelopes[order],
        )
        return self._ask(body)

    def release(self, namespace: str) -> Happened:
        """And to the newest again."""
        return self._ask(ReleaseRequest(owner="operator", namespace=namespace))

    def _ask(self, body: Request) -> Happened:
        """Ask for something whose answer nobody waits for."""
        self._requests += 1
        request = RequestId(self._requests)
        return self._step(Kind.LOCAL, RequestMade(request=request, body=body))


def default_node(setup: NodeSetup, verifier: Verifier) -> SimulatedNode:
    """The product itself."""
    return Node(setup, verifier)


def _event_bytes(event: Event) -> bytes:
    match event:
        case MessageReceived():
            return b""  # its caller names the frame it came in
        case Started():
            rows = [row.envelope for row in event.heads]
            return b"started" + b"".join(rows) + repr(event.floors).encode()
        case TimerFired():
            return b"TimerFired(timer=%b)" % _timer_bytes(event.timer)
        case _:
            return repr(event).encode()


def _effect_bytes(effect: Effect) -> bytes:
    match effect:
        case Persist():
            return b"persist %d" % effect.token + repr(effect.changes).encode()
        case SetTimer():
            return b"SetTimer(timer=%b, at=%d)" % (_timer_bytes(effect.timer), effect.at)
        case _:
            return repr(effect).encode()


@lru_cache(TIMERS_NAMED_MAX)
def _timer_bytes(timer: Timer) -> bytes:
    """What `repr` says of a timer."""
    return repr(timer).encode()
