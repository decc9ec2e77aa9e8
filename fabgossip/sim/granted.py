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

from fabgossip.core.effects import ReceiveGranted
from fabgossip.core.events import ContentWanted, FetchFailure, GrantedReceived, LinkId, RequestId
from fabgossip.core.pace import Pace
from fabgossip.model.artifact import chunk_size_of
from fabgossip.model.messages import Busy, ContentAsk, GetContent, NotAvailable
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
    place: tuple[LinkId, int]
    """Link and stream."""
    pace: Pace
    chunk: bytearray = field(default_factory=bytearray)
    content: bytearray = field(default_factory=bytearray)
    chunks_done: int = 0

    @property
    def chunk_bytes(self) -> int:
        """The size of the next chunk, or of the whole small content."""
        size = self.wanted.size
        step = chunk_size_of(size) if self.wanted.chunk_hashes else size
        return min(step, size - len(self.content))


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
        receiving = _Receiving(effect.request, wanted, (effect.link, stream), pace)
        self._receiving[receiving.place] = receiving
        count = max(len(wanted.chunk_hashes), 1)
        ask = ContentAsk(wanted.manifest_hash, wanted.content_hash, 0, count)
        message = GetContent(items=(ask,), grant=effect.grant, narrowing=effect.narrowing)
        if not self._bench.send(end, message, effect.traffic, stream):
            self._fail(receiving, FetchFailure.LOST)
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
        expected = header.item == 0 and header.offset == len(receiving.chunk)
        receiving.chunk += data
        if not expected or len(receiving.chunk) > receiving.chunk_bytes:
            self._fail(receiving, FetchFailure.BAD_LENGTH)
        elif header.is_last:
            self._on_chunk(receiving)
        return True

    def _on_chunk(self, receiving: _Receiving) -> None:
        wanted, data = receiving.wanted, bytes(receiving.chunk)
        hashes = wanted.chunk_hashes or (wanted.content_hash,)
        if len(data) != receiving.chunk_bytes:
            self._fail(receiving, FetchFailure.BAD_LENGTH)
            return
        if sha256(data).digest() != hashes[receiving.chunks_done]:
            self._fail(receiving, FetchFailure.BAD_HASH)
            return
        receiving.content += data
        receiving.chunk = bytearray()
        receiving.chunks_done += 1
        if receiving.chunks_done < len(hashes):
            return
        if sha256(receiving.content).digest() != wanted.content_hash:
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
        self._fail(receiving, FetchFailure.MISSING if is_missing else FetchFailure.BUSY)
        return True

    def on_lost(self, link: LinkId) -> None:
        """A link ended with all that came over it."""
        for receiving in [one for one in self._receiving.values() if one.place[0] == link]:
            self._fail(receiving, FetchFailure.LOST)

    def on_request_over(self, request: RequestId) -> None:
        """A request was answered: what is on its way for it is for nobody."""
        for receiving in [one for one in self._receiving.values() if one.request == request]:
            del self._receiving[receiving.place]

    def _fail(self, receiving: _Receiving, failure: FetchFailure) -> None:
        del self._receiving[receiving.place]
        self._report(receiving.request, receiving.place[0], failure, len(receiving.content))

    def _report(
        self, request: RequestId, link: LinkId, failure: FetchFailure | None, received: int
    ) -> None:
        self._bench.post(
            GrantedReceived(request=request, link=link, failure=failure, received=received)
        )
