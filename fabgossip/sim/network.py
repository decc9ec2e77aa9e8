"""Connections between processes: ordered, delayed, cut and reset as TLS over TCP is.

Decides: when a frame arrives, when a dial succeeds or fails, how a connection ends and for which
reason each end learns of it.
Keeps: order within one direction of one connection and nowhere else; a frame arrives at least
1 us after it left; loss and cuts are delay until the sender's patience ends.
Must not know: what a frame says, what a node decides.

- A dial takes one round trip for TCP and one for TLS; the dialled end learns of it half a round
  trip later, with the dialler's last handshake message.
- Frames queued in one step leave at its end as the daemon's `Outbox` orders them; where a rate is
  limited, the next one leaves when the one before is through. What is queued when a link is closed
  is lost with it.
- Behind a cut, packets wait; TCP tries again after 0.2, 0.6, 1.4 s .. from the first one waiting
  and gives up after 10 s with a reset that the other end does not see.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from fabgossip.core.events import LinkId, LostReason
from fabgossip.model.authority import NodeIdentity
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import TrafficClass
from fabgossip.sim.obstacles import Barrier, Obstacles, Strain
from fabgossip.sim.paths import PATIENCE_NS, RETRY_NS, Paths
from fabgossip.sim.trace import Happened, Kind, world_event
from fabgossip.sim.world import NS_PER_MS, NS_PER_S, World
from fabgossip.wire.framing import HEADER_BYTES, FrameKind
from fabgossip.wire.outbox import Budget, Outbox, content_frame_bytes
from fabgossip.wire.streams import PeerStreams

KIB: Final = 1 << 10
NO_LINK: Final = LinkId(0)
ARRIVAL_NS_MIN: Final = 1_000
RECORD_BYTES_MAX: Final = 16 * KIB
RECORD_OVERHEAD: Final = 22
"""Bytes TLS adds to a record."""
HANDSHAKE_BYTES: Final = 2_700
"""Of one end (measured)."""
DIAL_NS: Final = 3 * NS_PER_S
HANDSHAKE_NS: Final = 5 * NS_PER_S
SLOW_NS: Final = NS_PER_S
TOO_SLOW_NS: Final = 10 * NS_PER_S
"""The daemon's limits: a dial, a handshake, data that waits to leave."""
INBOX_MAX: Final = 10_000
"""Of what waits at a node that works: more is not read, and waits where it comes from (*start*)."""
FULL_NS: Final = 10 * NS_PER_MS
"""How often a sender looks whether a full inbox has room."""


class Port(Protocol):
    """One process as the network sees it."""

    identity: NodeIdentity
    budget: Budget
    """Of what waits on all its links."""

    def accepts(self, identity: NodeIdentity) -> bool:
        """Whether a peer's certificate passes."""
        ...

    def connected(self, end: "End") -> Happened:
        """A link is there."""
        ...

    def received(self, end: "End", frame: "SentFrame") -> Happened:
        """A frame arrived on a link that is not lost."""
        ...

    def lost(self, link: LinkId | None, node_id: NodeId, reason: LostReason) -> Happened:
        """A link ended, or (link None) a dial failed."""
        ...

    def slow(self, link: LinkId) -> Happened:
        """Something has begun to wait for more than a second to leave on a link."""
        ...

    def too_slow(self, link: LinkId) -> Happened:
        """It has waited as long as anything may."""
        ...


@dataclass(frozen=True, slots=True)
class SentFrame:
    """A frame on its way."""

    kind: FrameKind
    traffic: TrafficClass
    stream: int
    body: bytes = field(repr=False)

    @property
    def queued_bytes(self) -> int:
        """Bytes while it waits."""
        return HEADER_BYTES + len(self.body)

    @property
    def wire_bytes(self) -> int:
        """Bytes on the wire, records included."""
        size = self.queued_bytes
        return size + RECORD_OVERHEAD * -(-size // RECORD_BYTES_MAX)


@dataclass(slots=True)
class _Parcel:
    """What travels one direction: a frame, or the beginning or end of a connection."""

    number: int
    size: int
    arrive: Callable[[], Happened]


@dataclass(slots=True, eq=False)
class End:
    """One end of a connection."""

    index: int
    """Place of the node in the world."""
    port: Port
    identity: NodeIdentity
    """Of the other end."""
    is_dialer: bool
    link: LinkId = NO_LINK
    """Given by the port once it is connected."""
    lost: LostReason | None = None
    next_stream: int = 0
    outbox: Outbox[SentFrame] = field(default_factory=Outbox)
    is_minded: bool = False
    """Whether somebody looks how long what waits has waited."""
    is_writing: bool = False
    """Whether what waits leaves when the path has taken what left before."""
    writes_at_ns: int = 0
    """And when that is."""
    parcels: int = 0
    arrives_ns: int = 0
    ready_ns: int = 0
    """When the work is done whose outcome is sent next."""
    free_ns: int = 0
    """When the path has taken all that was sent, where its rate is limited."""
    held: list[_Parcel] | None = None
    """What waits behind a cut, from the first packet that did not pass."""
    held_since_ns: int = 0
    unheard_ns: int | None = None
    """Since when nothing it sends is acknowledged, because the way back is cut."""
    has_ended: bool = False
    """Whether the other end will hear, or has heard, that this one is gone."""
    peer: "End" = field(init=False, repr=False)
    """The other end."""
    peer_streams: PeerStreams = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.peer_streams = PeerStreams(is_dialer=not self.is_dialer)

    def take_stream(self) -> int:
        """A request number never used on this link."""
        self.next_stream += 2
        return self.next_stream - 2


def _ends(dialer: tuple[int, Port], dialed: tuple[int, Port]) -> tuple[End, End]:
    one = End(dialer[0], dialer[1], dialed[1].identity, is_dialer=True, next_stream=1)
    other = End(dialed[0], dialed[1], dialer[1].identity, is_dialer=False, next_stream=2)
    for end in (one, other):
        end.outbox = Outbox(end.port.budget)
    one.peer, other.peer = other, one
    return one, other


@dataclass(slots=True)
class Books:
    """What became of every parcel, in parcels."""

    sent: int = 0
    arrived: int = 0
    dropped: int = 0
    in_the_air: int = 0
    """Counted at departure and arrival, apart from the others."""


class _Pipe:
    """What passes one after the other."""

    __slots__ = ("free_ns", "rate_bps")

    def __init__(self, rate_bps: int) -> None:
        self.rate_bps = rate_bps
        self.free_ns = 0

    def passed_ns(self, size: int, from_ns: int) -> int:
        """When so many bytes that come at a time are through."""
        self.free_ns = max(self.free_ns, from_ns) + size * 8 * NS_PER_S // self.rate_bps
        return self.free_ns


class Network:
    """All connections of a run."""

    def __init__(
        self,
        world: World,
        paths: Paths,
        rates_bps: dict[int, tuple[int, int]] | None = None,
        *,
        is_prompt: bool = False,
    ) -> None:
        """`rates_bps`: what nodes send and receive at most, 0 and absent: no limit. `is_prompt`:
        what waits behind a cut leaves when that is mended, not when TCP tries next, which whatever
        waited first decides for all that waits."""
        self._is_prompt = is_prompt
        self._uplinks = {index: _Pipe(up) for index, (up, _) in (rates_bps or {}).items() if up}
        self._downlinks = {
            index: _Pipe(down) for index, (_, down) in (rates_bps or {}).items() if down
        }
        self._world = world
        self._paths = paths
        self._ports: dict[int, Port] = {}
        self._ends: list[End] = []
        self.obstacles = Obstacles()
        self._reading: dict[int, int] = {}
        """Bits a second, of nodes that read no faster."""
        self.slowed: Counter[int] = Counter()
        """Parcels that wait for how fast a node reads."""
        self.books = Books()
        self.frames_sent = 0
        self.bytes_sent = 0
        self.bytes_at: Counter[int] = Counter()
        """Sent and received by node, TLS and its handshakes included."""

    def listen(self, index: int, port: Port) -> None:
        """A process is up."""
        self._ports[index] = port

    def vanish(self, index: int, ends: tuple[End, ...]) -> None:
        """A process died: its kernel closes what it had open."""
        self._ports.pop(index, None)
        for end in ends:
            if end.lost is None:
                end.lost = LostReason.LOCAL
                self._end(end)

    def ways(self) -> dict[int, list[tuple[int, int]]]:
        """The open links of each node, and how far away the other end is, jitter left out."""
        self._ends = [end for end in self._ends if end.lost is None or end.held is not None]
        ways: dict[int, list[tuple[int, int]]] = {}
        for end in self._ends:
            if end.lost is None and end.link != NO_LINK and end.peer.link != NO_LINK:
                way = self._paths.base_ns(end.index, end.peer.index)
                ways.setdefault(end.index, []).append((end.peer.index, way))
        return ways

    def sides(self) -> dict[int, list[int]]:
        """The other nodes each node believes to have a link to."""
        sides: dict[int, list[int]] = {}
        for end in self._open_ends():
            if end.link != NO_LINK:
                sides.setdefault(end.index, []).append(end.peer.index)
        return sides

    def cut(self, number: int, barriers: tuple[Barrier, ...]) -> None:
        """A fault keeps packets from passing from now on."""
        self.obstacles.cut(number, barriers)

    def mend(self, number: int) -> None:
        """They pass again; what waits is sent when TCP tries next."""
        if self.obstacles.mend(number):
            self._send_again()

    def _send_again(self) -> None:
        self._ends = [end for end in self._ends if end.lost is None or end.held is not None]
        for end in self._ends:
            if not self.obstacles.is_cut(end.peer.index, end.index):
                end.unheard_ns = None
            if end.held is not None and not self.obstacles.is_cut(end.index, end.peer.index):
                self._world.schedule(
                    self._next_try(end), end.index, end.index, partial(self._flush, end)
                )

    def strain(self, number: int, strain: Strain) -> None:
        """A fault makes packets late from now on."""
        self.obstacles.strain(number, strain)

    def relieve(self, number: int) -> None:
        """They are no later than their rule says."""
        if self.obstacles.relieve(number):
            self._send_again()

    def slow_reading(self, index: int, rate_bps: int) -> None:
        """A node reads no faster than this from now on; 0: as fast as it comes."""
        if rate_bps:
            self._reading[index] = rate_bps
        else:
            self._reading.pop(index, None)

    def reset(self, nodes: frozenset[int]) -> int:
        """All connections of some nodes are reset at both ends; gives how many."""
        found = [end for end in self._open_ends() if end.index in nodes]
        for end in found:
            for one in (end, end.peer):
                self._lose(one)
        return len(found)

    def forget(self, nodes: frozenset[int]) -> int:
        """Some nodes lose their connections; the other ends are told nothing, and what they send is
        acknowledged by nobody who reads it. Gives how many."""
        found = [end for end in self._open_ends() if end.index in nodes]
        for end in found:
            self._lose(end)
        return len(found)

    def _open_ends(self) -> list[End]:
        return [end for end in self._ends if end.lost is None]

    def _lose(self, end: End) -> None:
        if end.lost is None:
            end.lost = LostReason.RESET
            end.has_ended = True
            self._world.schedule(
                self._world.now_ns, end.index, end.index,
                partial(self._on_over, end, LostReason.RESET),
            )  # fmt: skip

    def _next_try(self, end: End) -> int:
        if self._is_prompt:
            return self._world.now_ns
        at, wait = end.held_since_ns, RETRY_NS
        while at < self._world.now_ns:
            at += wait
            wait *= 2
        return at

    def _flush(self, end: End) -> Happened:
        if end.held is None or self.obstacles.is_cut(end.index, end.peer.index):
            return world_event(Kind.DROP, "nothing to send again")
        parcels = sorted(end.held, key=lambda one: one.number)
        end.held = None
        for parcel in parcels:
            self._transmit(end, parcel)
        return world_event(Kind.DROP, f"sent again: {len(parcels)}")

    def dial(self, dialer: tuple[int, Port], dialed: tuple[int, NodeId]) -> None:
        """Try to connect; `connected` at both ends or `lost` at the dialler follows."""
        here, (there, node_id) = dialer[0], dialed
        started = self._world.now_ns
        way = self._way(here, there)
        is_refused, is_silent = self.obstacles.bars(there)
        if is_silent or self._world.is_paused(there):
            failed = started + HANDSHAKE_NS
            self._fail(dialer, node_id, LostReason.HANDSHAKE_TIMED_OUT, failed)
            return
        if way is None or self.obstacles.is_severed(here, there):
            self._fail(dialer, node_id, LostReason.CONNECT_FAILED, started + DIAL_NS)
            return
        if is_refused:
            self._fail(dialer, node_id, LostReason.CONNECT_FAILED, started + 2 * way)
            return
        self._world.schedule(
            started + way, here, there, partial(self._on_syn, dialer, dialed, started)
        )

    def _on_syn(
        self, dialer: tuple[int, Port], dialed: tuple[int, NodeId], started: int
    ) -> Happened:
        """The first packet reached the other machine; the rest of the dial is told from here."""
        (here, _), (there, node_id) = dialer, dialed
        now = self._world.now_ns
        ways = [self._way(there, here), self._way(here, there), self._way(there, here)]
        back, rest = ways[0], [way for way in ways if way is not None]
        if self.obstacles.is_severed(here, there) or back is None or len(rest) < len(ways):
            self._fail(dialer, node_id, LostReason.CONNECT_FAILED, started + DIAL_NS)
        elif there not in self._ports:
            self._fail(dialer, node_id, LostReason.CONNECT_FAILED, now + back)
        else:
            step = partial(self._on_handshake, dialer, (there, self._ports[there]), node_id)
            self._world.schedule(now + sum(rest), here, there, partial(step, now + back))
        return world_event(Kind.CONNECT, "syn")

    def _on_handshake(
        self,
        dialer: tuple[int, Port],
        dialed: tuple[int, Port],
        node_id: NodeId,
        connected_ns: int,
    ) -> Happened:
        """TLS is done as the dialler sees it."""
        (here, port), (there, other) = dialer, dialed
        if self._ports.get(here) is not port:
            return world_event(Kind.DROP, "the dialler is gone")
        is_swallowed = self.obstacles.is_swallowed(here, there, HANDSHAKE_BYTES)
        if is_swallowed or self.obstacles.is_severed(here, there):
            self._fail(dialer, node_id, LostReason.HANDSHAKE_TIMED_OUT, connected_ns + HANDSHAKE_NS)
            return world_event(Kind.DROP, "handshake behind a cut")
        if self._ports.get(there) is not other:
            return port.lost(None, node_id, LostReason.HANDSHAKE_FAILED)
        self.bytes_sent += 2 * HANDSHAKE_BYTES
        self.bytes_at[here] += HANDSHAKE_BYTES
        self.bytes_at[there] += HANDSHAKE_BYTES
        if not port.accepts(other.identity):
            return port.lost(None, node_id, LostReason.IDENTITY)
        mine, theirs = _ends(dialer, dialed)
        self._ends += [mine, theirs]
        self._transmit(mine, self._parcel(mine, 0, partial(self._on_accepted, theirs)))
        return port.connected(mine)

    def _on_accepted(self, end: End) -> Happened:
        if end.lost is not None or self._ports.get(end.index) is not end.port:
            end.lost = end.lost or LostReason.LOCAL
            self._end(end)
            return world_event(Kind.DROP, "the dialled process is gone")
        if not end.port.accepts(end.identity):
            end.lost = LostReason.IDENTITY
            self._end(end)
            return world_event(Kind.LOST, "refused by its certificate")
        return end.port.connected(end)

    def _fail(
        self, dialer: tuple[int, Port], node_id: NodeId, reason: LostReason, at_ns: int
    ) -> None:
        here, port = dialer

        def failed() -> Happened:
            if self._ports.get(here) is not port:
                return world_event(Kind.DROP, "the dialler is gone")
            return port.lost(None, node_id, reason)

        self._world.schedule(max(at_ns, self._world.now_ns), here, here, failed)

    def _way(self, source: int, destination: int) -> int | None:
        add_ns, loss_ppm = self.obstacles.lateness(source, destination)
        delay = self._paths.delay_ns(source, destination, loss_ppm)
        return None if delay is None else max(delay + add_ns, ARRIVAL_NS_MIN)

    def _rate_bps(self, end: End) -> int:
        """How fast the other end takes what this one sends; 0: no limit."""
        rate = self._paths.rule(end.index, end.peer.index).rate_bps
        if not self._reading:
            return rate
        reading = self._reading.get(end.peer.index, 0)
        return min(rate, reading) if rate and reading else rate or reading

    def send(self, end: End, frame: SentFrame) -> bool:
        """Queue a frame; False if its class is full: see `drops`."""
        return end.outbox.offer(frame.traffic, frame, frame.queued_bytes, self._world.now_ns)

    def room_at(self, end: End, frame: SentFrame) -> int:
        """When there is room for a content frame, or it is worth while to look again."""
        if end.outbox.has_room(frame.traffic, frame.queued_bytes):
            return self._world.now_ns
        # The path may have become faster meanwhile; what is queued leaves when it was to leave.
        writes_at_ns = end.writes_at_ns if end.is_writing else 0
        return max(self._taken_at(end), writes_at_ns, self._world.now_ns + ARRIVAL_NS_MIN)

    def content_frame_bytes(self, end: End) -> int:
        """How much content a frame of this link carries, as the daemon would find by measuring."""
        uplink = self._uplinks.get(end.index)
        rates = (self._rate_bps(end), 0 if uplink is None else uplink.rate_bps)
        slowest = min((one for one in rates if one), default=0)
        return content_frame_bytes(slowest // 8 if slowest else None)

    def _taken_at(self, end: End) -> int:
        """When the path has taken all that left, and the other end reads."""
        uplink = self._uplinks.get(end.index)
        taken_ns = end.free_ns if self._rate_bps(end) else 0
        if self._world.waiting_at(end.peer.index) >= INBOX_MAX:
            taken_ns = max(taken_ns, self._world.now_ns + FULL_NS)
        return taken_ns if uplink is None else max(taken_ns, uplink.free_ns)

    def flush(self, end: End, work_ns: int = 0) -> None:
        """Send what a step has queued, in the order of classes, once its work is done."""
        if end.outbox.is_empty:
            return
        end.ready_ns = self._world.now_ns + work_ns
        if not end.is_writing:
            self._write(end)

    def _write(self, end: End) -> None:
        while not end.outbox.is_empty:
            taken_ns = self._taken_at(end)
            if taken_ns > self._world.now_ns:
                end.is_writing, end.writes_at_ns = True, taken_ns
                self._world.schedule(taken_ns, end.index, end.index, partial(self._go_on, end))
                if not end.is_minded:
                    end.is_minded = True
                    self._mind(end, is_told=False)
                return
            self._send_frame(end, end.outbox.take().frame)

    def _go_on(self, end: End) -> Happened:
        """The path took what left before."""
        end.is_writing = False
        if end.lost is not None or self._ports.get(end.index) is not end.port:
            return world_event(Kind.DROP, "the link is over")
        self._write(end)
        return world_event(Kind.WRITE, "")

    def _mind(self, end: End, *, is_told: bool) -> None:
        """Look again when what waits could have waited for too long."""
        now_ns, since = self._world.now_ns, end.outbox.oldest
        if since is None:
            end.is_minded = False
            return
        look_ns = int(since) + SLOW_NS
        if look_ns <= now_ns:
            look_ns = min(now_ns + SLOW_NS, int(since) + TOO_SLOW_NS)
        look = partial(self._on_mind, end, is_told=is_told)
        self._world.schedule(max(look_ns, now_ns), end.index, end.index, look)

    def _on_mind(self, end: End, *, is_told: bool) -> Happened:
        if end.lost is not None or self._ports.get(end.index) is not end.port:
            return world_event(Kind.DROP, "the link is over")
        since = end.outbox.oldest
        waited_ns = 0 if since is None else self._world.now_ns - int(since)
        if waited_ns >= TOO_SLOW_NS:
            return end.port.too_slow(end.link)
        is_slow = waited_ns >= SLOW_NS
        self._mind(end, is_told=is_slow)
        if is_slow and not is_told:
            return end.port.slow(end.link)
        return world_event(Kind.TIMER, "mind")

    def _send_frame(self, end: End, frame: SentFrame) -> None:
        size = frame.wire_bytes
        self.frames_sent += 1
        self.bytes_sent += size
        self.bytes_at[end.index] += size
        self._transmit(end, self._parcel(end, size, partial(self._on_frame, end.peer, frame, size)))

    def _on_frame(self, end: End, frame: SentFrame, size: int) -> Happened:
        self.bytes_at[end.index] += size
        if end.lost is not None or self._ports.get(end.index) is not end.port:
            if not end.has_ended:
                self._end(end)  # its kernel answers what it does not know with a reset
            return world_event(Kind.DROP, "the link is over")
        return end.port.received(end, frame)

    def close(self, end: End, farewell: SentFrame | None, reason: LostReason) -> None:
        """End a link with a last word; what was queued in this step is lost."""
        if end.lost is not None:
            return
        end.lost = reason
        end.outbox.clear()
        if farewell is not None:
            self._send_frame(end, farewell)
        self._end(end)
        self._world.schedule(
            self._world.now_ns, end.index, end.index, partial(self._on_over, end, reason)
        )

    def _end(self, end: End) -> None:
        end.has_ended = True
        self._transmit(end, self._parcel(end, 0, partial(self._on_end, end.peer)))

    def _on_end(self, end: End) -> Happened:
        """The other end is gone, without a closing word of TLS."""
        if end.lost is not None or self._ports.get(end.index) is not end.port:
            return world_event(Kind.DROP, "over already")
        end.lost = LostReason.RESET
        end.has_ended = True
        return self._on_over(end, LostReason.RESET)

    def _on_over(self, end: End, reason: LostReason) -> Happened:
        if self._ports.get(end.index) is not end.port or end.link == NO_LINK:
            return world_event(Kind.DROP, "nobody to tell")
        return end.port.lost(end.link, end.identity.node_id, reason)

    def waiting(self) -> int:
        """Parcels that wait behind a cut now. Cost: O(connections)."""
        return sum(len(end.held) for end in self._ends if end.held is not None)

    def _parcel(self, end: End, size: int, arrive: Callable[[], Happened]) -> _Parcel:
        end.parcels += 1
        self.books.sent += 1
        return _Parcel(end.parcels, size, arrive)

    def _transmit(self, end: End, parcel: _Parcel) -> None:
        here, there = end.index, end.peer.index
        is_stuck = end.held is not None or self.obstacles.is_cut(here, there)
        if is_stuck or self.obstacles.is_swallowed(here, there, parcel.size):
            self._hold(end, parcel)
            return
        if end.unheard_ns is None and self.obstacles.is_cut(there, here):
            self._expect_word(end)
        way = self._way(here, there)
        if way is None:
            self._hold(end, parcel)  # lost eight times: the sender waits until its patience ends
            return
        leaves = max(self._world.now_ns, end.ready_ns)
        uplink, downlink = self._uplinks.get(here), self._downlinks.get(there)
        if uplink is not None:
            leaves = uplink.passed_ns(parcel.size, leaves)
        rate = self._rate_bps(end)
        if rate:
            self.slowed[there] += parcel.size > 0 and rate == self._reading.get(there)
            end.free_ns = max(end.free_ns, leaves) + parcel.size * 8 * NS_PER_S // rate
            leaves = end.free_ns
        arrives = leaves + way
        if downlink is not None:
            arrives = downlink.passed_ns(parcel.size, arrives)
        end.arrives_ns = max(end.arrives_ns, arrives)
        self.books.in_the_air += 1
        self._world.schedule(end.arrives_ns, there, here, partial(self._arrive, end, parcel))

    def _arrive(self, end: End, parcel: _Parcel) -> Happened:
        self.books.in_the_air -= 1
        is_behind = any(one.number < parcel.number for one in end.held or ())
        if is_behind or self.obstacles.is_cut(end.index, end.peer.index):
            self._hold(end, parcel)
            return world_event(Kind.DROP, "waits behind a cut")
        if parcel.size and self.obstacles.is_spoiled(end.index, end.peer.index):
            self.books.dropped += 1
            self._lose(end)
            self._lose(end.peer)
            return world_event(Kind.DROP, "damaged, as TLS finds")
        self.books.arrived += 1
        return parcel.arrive()

    def _hold(self, end: End, parcel: _Parcel) -> None:
        if end.held is None:
            end.held = []
            end.held_since_ns = self._world.now_ns
            self._world.schedule(
                self._world.now_ns + PATIENCE_NS,
                end.index,
                end.index,
                partial(self._give_up, end, self._world.now_ns),
            )
        end.held.append(parcel)

    def _expect_word(self, end: End) -> None:
        """What is sent arrives, but nothing that comes back."""
        end.unheard_ns = self._world.now_ns
        self._world.schedule(
            end.unheard_ns + PATIENCE_NS,
            end.index,
            end.index,
            partial(self._give_up, end, end.unheard_ns),
        )

    def _give_up(self, end: End, since_ns: int) -> Happened:
        """The kernel gives up a connection whose data stays unacknowledged."""
        waits = end.held is not None and end.held_since_ns == since_ns
        if not waits and end.unheard_ns != since_ns:
            return world_event(Kind.DROP, "all acknowledged")
        if self.obstacles.is_patient(end.index, end.peer.index):
            return world_event(Kind.DROP, "the path is slow, not gone")
        self.books.dropped += len(end.held or ())
        end.held = None
        end.has_ended = False
        if end.lost is not None:
            return world_event(Kind.DROP, "over already")
        end.lost = LostReason.RESET
        return self._on_over(end, LostReason.RESET)
