"""Contents on their way under a grant, as the daemon carries them.

Decides: nothing the daemon's granted transfers do not decide; only waiting differs.
Keeps: one request for all chunks, each hashed as it comes, exactly one answer per
`ReceiveGranted`; no byte reaches the disk. Nobody on a simulated machine reads what arrived: it is
counted and forgotten.
Must not know: why a content is wanted, who may have it.
"""

from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256

from fabgossip.core.chunks import Arriving, Chunks
from fabgossip.core.effects import ReceiveGranted
from fabgossip.core.events import ContentWanted, FetchFailure, GrantedReceived, LinkId, RequestId
from fabgossip.core.pace import Pace
from fabgossip.model.messages import (
    Busy,
    Cancel,
    ContentAsk,
    GetContent,
    NotAvailable,
    TrafficClass,
)
from fabgossip.model.moment import Duration, Instant
from fabgossip.sim.network import End, SentFrame
from fabgossip.sim.trace import Happened, Kind, world_event
from fabgossip.sim.transfers import WATCH_NS, Bench
from fabgossip.sim.world import NS_PER_MS
from fabgossip.wire.codec import parse_content_header


@dataclass(slots=True, eq=False)
class _Receiving:
    """One content being received for one request."""

    request: RequestId
    wanted: ContentWanted
    end: End
    stream: int
    traffic: TrafficClass
    pace: Pace
    plan: Chunks
    chunk: Arriving
    """The one under way: they come one after the other."""
    content: bytearray = field(default_factory=bytearray)

    @property
    def place(self) -> tuple[LinkId, int]:
        """Link and stream."""
        return self.end.link, self.stream


class GrantedTransfers:
    """Everything on its way under grants, of one process."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._receiving: dict[tuple[LinkId, int], _Receiving] = {}

    def receive(self, effect: ReceiveGranted, end: End | None) -> None:
        """Carry out a `ReceiveGranted`."""
        if end is None or end.lost is not None:
            self._report(effect.request, effect.link, FetchFailure.LOST, 0)
            return
        wanted, stream = effect.wanted, end.take_stream()
        pace = Pace(Duration(effect.idle_ms), self._now())
        plan = Chunks(wanted)
        first = Arriving(0, plan.size_of(0))
        receiving = _Receiving(
            effect.request, wanted, end, stream, effect.traffic, pace, plan, first
        )
        self._receiving[receiving.place] = receiving
        ask = ContentAsk(wanted.manifest_hash, wanted.content_hash, 0, plan.count)
        message = GetContent(items=(ask,), grant=effect.grant, narrowing=effect.narrowing)
        if not self._bench.send(end, message, effect.traffic, stream):
            self._end(receiving, FetchFailure.LOST)
            return
        self._watch(receiving)

    def _now(self) -> Instant:
        return Instant(self._bench.now_ns() // NS_PER_MS)

    def _watch(self, receiving: _Receiving) -> None:
        due = receiving.pace.next_look() * NS_PER_MS
        self._bench.wait(due - due % WATCH_NS + WATCH_NS, partial(self._on_watch, receiving))

    def _on_watch(self, receiving: _Receiving) -> Happened:
        if self._receiving.get(receiving.place) is receiving:
            failure = receiving.pace.verdict(self._now())
            if failure is not None:
                self._fail(receiving, failure)
            else:
                self._watch(receiving)
        return world_event(Kind.TIMER, "watch")

    def on_content(self, end: End, frame: SentFrame) -> bool:
        """A content frame came; whether it was for a request under a grant. Raises `WireError`."""
        receiving = self._receiving.get((end.link, frame.stream))
        if receiving is None:
            return False
        header, data = parse_content_header(memoryview(frame.body))
        receiving.pace.on_bytes(len(data), self._now())
        if not receiving.chunk.takes(header.item, header.offset, data):
            self._fail(receiving, FetchFailure.BAD_LENGTH)
        elif header.is_last:
            self._on_chunk(receiving)
        return True

    def _on_chunk(self, receiving: _Receiving) -> None:
        chunk, plan = receiving.chunk, receiving.plan
        if not chunk.is_whole:
            self._fail(receiving, FetchFailure.BAD_LENGTH)
            return
        if sha256(chunk.data).digest() != plan.hash_of(chunk.number):
            self._fail(receiving, FetchFailure.BAD_HASH)
            return
        receiving.content += chunk.data
        done = chunk.number + 1
        receiving.chunk = Arriving(done, plan.size_of(done))
        if done < plan.count:
            return
        if sha256(receiving.content).digest() != receiving.wanted.content_hash:
            self._fail(receiving, FetchFailure.CONTRADICTED)
            return
        del self._receiving[receiving.place]
        self._report(receiving.request, receiving.place[0], None, len(receiving.content))

    def on_not_available(self, end: End, stream: int, message: NotAvailable | Busy) -> bool:
        """The peer has it not, or no time; whether it was asked under a grant."""
        receiving = self._receiving.get((end.link, stream))
        if receiving is None:
            return False
        is_missing = isinstance(message, NotAvailable)
        self._end(receiving, FetchFailure.MISSING if is_missing else FetchFailure.BUSY)
        return True

    def on_lost(self, link: LinkId) -> None:
        """A link ended with all that came over it."""
        for receiving in [one for one in self._receiving.values() if one.place[0] == link]:
            self._end(receiving, FetchFailure.LOST)

    def on_request_over(self, request: RequestId) -> None:
        """A request was answered: what is on its way for it is for nobody."""
        for receiving in [one for one in self._receiving.values() if one.request == request]:
            del self._receiving[receiving.place]
            self._cancel(receiving)

    def _cancel(self, receiving: _Receiving) -> None:
        if receiving.end.lost is None:
            self._bench.send(receiving.end, Cancel(), receiving.traffic, receiving.stream)

    def _fail(self, receiving: _Receiving, failure: FetchFailure) -> None:
        """It is given up while the peer sends, or may send."""
        self._cancel(receiving)
        self._end(receiving, failure)

    def _end(self, receiving: _Receiving, failure: FetchFailure) -> None:
        del self._receiving[receiving.place]
        self._report(receiving.request, receiving.place[0], failure, len(receiving.content))

    def _report(
        self, request: RequestId, link: LinkId, failure: FetchFailure | None, received: int
    ) -> None:
        self._bench.post(
            GrantedReceived(request=request, link=link, failure=failure, received=received)
        )
