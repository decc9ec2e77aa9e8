"""Contents on their way under a grant: verified like any other, kept for the one who asked.

All chunks are asked for in one request: each request that carries a grant spends a use of it. A
chunk is hashed and written as soon as it is whole, in the loop: 0.4 ms for the usual 256 KiB, 20 ms
for the largest of 4 MiB (measured 2026-11-26 on two busy cores). So reading waits for the disk, and
there is never more than one chunk in memory. What arrived lies in memory up to 1 MiB, else in a
file of `incoming/`, which no start takes over; it goes when the request is over.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import trio

from fabgossip.core.chunks import Arriving, Chunks
from fabgossip.core.effects import ReceiveGranted
from fabgossip.core.events import (
    ContentWanted,
    Event,
    FetchFailure,
    GrantedReceived,
    LinkId,
    RequestId,
)
from fabgossip.core.pace import Pace
from fabgossip.daemon.connections import Connection
from fabgossip.daemon.transfers import WATCH_S
from fabgossip.model.artifact import WHOLE_BYTES_MAX
from fabgossip.model.messages import (
    Busy,
    Cancel,
    ContentAsk,
    GetContent,
    NotAvailable,
    TrafficClass,
)
from fabgossip.model.moment import Duration, Instant
from fabgossip.storage.contents import ContentFiles, IncomingContent
from fabgossip.wire.codec import parse_content_header


@dataclass(slots=True, eq=False)
class _Receiving:
    """One content being received for one request."""

    request: RequestId
    connection: Connection
    stream: int
    traffic: TrafficClass
    pace: Pace
    spool: "Spool"
    plan: Chunks
    chunk: Arriving
    """The one under way: they come one after the other."""

    @property
    def link(self) -> LinkId:
        """Where it comes from."""
        return self.connection.link

    def cancel(self) -> None:
        """Tell the peer to send no more of it."""
        if self.connection.lost is None:
            self.connection.send(Cancel(), self.traffic, self.stream)

    @property
    def received(self) -> int:
        """Verified bytes so far."""
        return self.plan.start_of(self.chunk.number)


class Spool:
    """Verified bytes that wait for a reader: in memory, or in a file nobody else can open."""

    def __init__(self, files: ContentFiles, wanted: ContentWanted) -> None:
        """Raises `OSError`."""
        self.content_hash = wanted.content_hash
        self.size = wanted.size
        self._whole = sha256()
        self._data = bytearray()
        self._file: IncomingContent | None = None
        if wanted.size > WHOLE_BYTES_MAX:
            self._file = files.open_incoming(wanted.content_hash, wanted.size)

    def add(self, offset: int, data: bytes | bytearray) -> None:
        """Keep verified bytes; raises `OSError`."""
        self._whole.update(data)
        if self._file is None:
            self._data += data
        else:
            self._file.write_at(offset, data)

    @property
    def is_right(self) -> bool:
        """Whether all of it is the content that was signed."""
        return self._whole.digest() == self.content_hash

    def read_at(self, offset: int, count: int) -> bytes:
        """At most `count` bytes from `offset` on; raises `OSError`. Blocks for a file."""
        if self._file is None:
            return bytes(self._data[offset : offset + count])
        return self._file.read_at(offset, count)

    def drop(self) -> None:
        """Forget the bytes."""
        self._data.clear()
        if self._file is not None:
            self._file.drop()


class GrantedTransfers:
    """Everything on its way under grants. All methods are called from the loop."""

    def __init__(
        self,
        files: ContentFiles,
        nursery: trio.Nursery,
        post: Callable[[Event], None],
        clock: Callable[[], float],
    ) -> None:
        self._files = files
        self._nursery = nursery
        self._post = post
        self._clock = clock
        self._receiving: dict[tuple[LinkId, int], _Receiving] = {}
        self._spools: dict[RequestId, Spool] = {}

    def receive(self, effect: ReceiveGranted, connection: Connection | None) -> None:
        """Carry out a `ReceiveGranted`."""
        stream = None
        if connection is not None and connection.lost is None:
            stream = connection.next_stream()
        if connection is None or stream is None:
            self._report(effect.request, effect.link, FetchFailure.LOST, 0)
            return
        try:
            spool = Spool(self._files, effect.wanted)
        except OSError:
            self._report(effect.request, effect.link, FetchFailure.DISK, 0)
            return
        pace = Pace(Duration(effect.idle_ms), self._now())
        plan = Chunks(effect.wanted)
        first = Arriving(0, plan.size_of(0))
        receiving = _Receiving(
            effect.request, connection, stream, effect.traffic, pace, spool, plan, first
        )
        self._receiving[(effect.link, stream)] = receiving
        self._nursery.start_soon(self._watch, receiving, name="watch a granted content")
        wanted = effect.wanted
        ask = ContentAsk(wanted.manifest_hash, wanted.content_hash, 0, plan.count)
        message = GetContent(items=(ask,), grant=effect.grant, narrowing=effect.narrowing)
        if not connection.send(message, effect.traffic, stream):
            self._end(receiving, FetchFailure.LOST)

    def on_content(self, connection: Connection, stream: int, body: memoryview) -> bool:
        """A content frame came; whether it was for a request under a grant.

        Raises:
            WireError: it is no content frame; the link closes.
        """
        receiving = self._receiving.get((connection.link, stream))
        if receiving is None:
            return False
        header, data = parse_content_header(body)
        receiving.pace.on_bytes(len(data), self._now())
        if not receiving.chunk.takes(header.item, header.offset, data):
            self._fail(receiving, FetchFailure.BAD_LENGTH)
        elif header.is_last:
            self._on_chunk(receiving)
        return True

    def _on_chunk(self, receiving: _Receiving) -> None:
        """Nothing is kept before its hash matched."""
        chunk, plan = receiving.chunk, receiving.plan
        if not chunk.is_whole:
            self._fail(receiving, FetchFailure.BAD_LENGTH)
            return
        if sha256(chunk.data).digest() != plan.hash_of(chunk.number):
            self._fail(receiving, FetchFailure.BAD_HASH)
            return
        try:
            receiving.spool.add(receiving.received, chunk.data)
        except OSError:
            self._fail(receiving, FetchFailure.DISK)
            return
        done = chunk.number + 1
        receiving.chunk = Arriving(done, plan.size_of(done))
        if done < plan.count:
            return
        if not receiving.spool.is_right:
            self._fail(receiving, FetchFailure.CONTRADICTED)
            return
        del self._receiving[(receiving.link, receiving.stream)]
        self._spools[receiving.request] = receiving.spool
        self._report(receiving.request, receiving.link, None, receiving.received)

    def on_not_available(
        self, connection: Connection, stream: int, message: NotAvailable | Busy
    ) -> bool:
        """The peer has it not, or no time; whether it was asked under a grant."""
        receiving = self._receiving.get((connection.link, stream))
        if receiving is None:
            return False
        is_missing = isinstance(message, NotAvailable)
        self._end(receiving, FetchFailure.MISSING if is_missing else FetchFailure.BUSY)
        return True

    def on_lost(self, link: LinkId) -> None:
        """A link ended with all that came over it."""
        for receiving in [one for one in self._receiving.values() if one.link == link]:
            self._end(receiving, FetchFailure.LOST)

    def on_request_over(self, request: RequestId) -> None:
        """A request was answered, and its content read or given up: what is left of it goes."""
        for receiving in [one for one in self._receiving.values() if one.request == request]:
            del self._receiving[(receiving.link, receiving.stream)]
            receiving.spool.drop()
            receiving.cancel()
        spool = self._spools.pop(request, None)
        if spool is not None:
            spool.drop()

    def spool_of(self, request: RequestId) -> Spool:
        """The content of a request whose answer said that it was delivered."""
        return self._spools[request]

    def _fail(self, receiving: _Receiving, failure: FetchFailure) -> None:
        """It is given up while the peer sends, or may send."""
        receiving.cancel()
        self._end(receiving, failure)

    def _end(self, receiving: _Receiving, failure: FetchFailure) -> None:
        received = receiving.received
        del self._receiving[(receiving.link, receiving.stream)]
        receiving.spool.drop()
        self._report(receiving.request, receiving.link, failure, received)

    def _report(
        self, request: RequestId, link: LinkId, failure: FetchFailure | None, received: int
    ) -> None:
        self._post(GrantedReceived(request=request, link=link, failure=failure, received=received))

    async def _watch(self, receiving: _Receiving) -> None:
        """End it if the peer is silent or too slow."""
        place = (receiving.link, receiving.stream)
        while self._receiving.get(place) is receiving:
            await trio.sleep(WATCH_S)
            failure = receiving.pace.verdict(self._now())
            if failure is not None and self._receiving.get(place) is receiving:
                self._fail(receiving, failure)

    def _now(self) -> Instant:
        return Instant(int(self._clock() * 1_000))
