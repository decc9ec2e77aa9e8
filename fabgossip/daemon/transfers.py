"""Contents on their way: received chunk by chunk and verified before a byte is kept, served from
disk and hashed before a byte leaves.

A content of up to 1 MiB is one piece held in memory until its hash matched. Above, each chunk of
the manifest is asked for by itself, hashed in a worker thread and only then written at its place;
several chunks are outstanding so that neither end waits for the other, and the whole is hashed in
order as the chunks pass.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Protocol

import trio

from fabgossip.core.chunks import Arriving, Chunks, chunks_asked
from fabgossip.core.effects import ReceiveContent, ServeContent, ServeItem
from fabgossip.core.events import (
    ContentFailed,
    ContentLost,
    ContentServed,
    ContentStored,
    ContentWanted,
    Event,
    FetchFailure,
    LinkId,
    RequestId,
)
from fabgossip.core.pace import WINDOW, Pace
from fabgossip.daemon.connections import Connection
from fabgossip.daemon.disk import Disk
from fabgossip.model.artifact import WHOLE_BYTES_MAX, chunk_size_of
from fabgossip.model.ids import ContentHash
from fabgossip.model.messages import (
    INLINE_BYTES_MAX,
    Busy,
    ContentAsk,
    GetContent,
    NotAvailable,
    TrafficClass,
)
from fabgossip.model.moment import Duration, Instant
from fabgossip.storage.contents import IncomingContent
from fabgossip.wire.codec import ContentHeader, content_header_bytes, parse_content_header
from fabgossip.wire.framing import CONTENT_FRAME_BYTES_MAX, FrameKind, frame_header

HASH_INLINE_MAX: Final = 64 << 10
"""Hashing this much takes 40 us, less than handing it to a thread."""
WATCH_S: Final = 0.05
"""How often silent and slow transfers are looked for."""


class Digest(Protocol):
    """A hash under way."""

    def update(self, data: bytes | bytearray, /) -> None:
        """Add bytes."""
        ...

    def digest(self) -> bytes:
        """The hash of all bytes added."""
        ...


@dataclass(slots=True, eq=False)
class _Receiving:
    """One content being received from one link."""

    wanted: ContentWanted
    connection: Connection
    traffic: TrafficClass
    pace: Pace
    plan: Chunks
    next_chunk: int = 0
    chunks: dict[int, Arriving] = field(default_factory=dict)
    """By stream."""
    arrived: dict[int, Arriving] = field(default_factory=dict)
    """Complete, by number, waiting to be hashed in order."""
    verifying: bool = False
    verified: int = 0
    incoming: IncomingContent | None = None
    whole: Digest = field(default_factory=sha256)
    over: bool = False

    @property
    def received_bytes(self) -> int:
        """Verified bytes so far."""
        return self.plan.start_of(self.verified)


@dataclass(slots=True, eq=False)
class _Reader:
    """Who takes contents over one link, however many at once: all together at the least pace, or
    all of them end. Several share the path, so one alone may come slowly and be no fault."""

    pace: Pace
    serving: int = 0
    is_too_slow: bool = False
    _waits: list[trio.CancelScope] = field(default_factory=list)

    @contextmanager
    def waiting(self) -> Iterator[trio.CancelScope]:
        """The peer's time: until there is room for what it asked for."""
        with trio.CancelScope() as scope:
            if self.is_too_slow:
                scope.cancel()
            self._waits.append(scope)
            try:
                yield scope
            finally:
                self._waits.remove(scope)

    def look(self, now: Instant) -> None:
        """Nothing is held against who is not waited for."""
        if self._waits and self.pace.verdict(now) is not None:
            self.is_too_slow = True
            self.end()

    def end(self) -> None:
        """Wait no longer."""
        for scope in self._waits:
            scope.cancel()


@dataclass(slots=True)
class Submission:
    """A content that came with a local request: in memory, or in a file already written."""

    data: bytes | None
    incoming: IncomingContent | None
    size: int
    whole_hash: ContentHash
    chunk_hashes: tuple[ContentHash, ...]


class Transfers:
    """Everything in flight on this node. All methods are called from the loop."""

    def __init__(
        self,
        disk: Disk,
        nursery: trio.Nursery,
        post: Callable[[Event], None],
        clock: Callable[[], float],
    ) -> None:
        self._disk = disk
        self._nursery = nursery
        self._post = post
        self._clock = clock
        self._receiving: dict[tuple[LinkId, int], _Receiving] = {}
        self._readers: dict[LinkId, _Reader] = {}
        self._busy = trio.Event()
        self._submissions: dict[RequestId, Submission] = {}

    def on_submission(self, request: RequestId, submission: Submission) -> None:
        """A content waits under a request's number."""
        self._submissions[request] = submission

    def on_request_over(self, request: RequestId) -> None:
        """A request was answered: what is left of its content goes."""
        submission = self._submissions.pop(request, None)
        if submission is not None and submission.incoming is not None:
            submission.incoming.drop()

    def open_incoming(self, content_hash: ContentHash, size: int) -> IncomingContent:
        """A file for a content that comes with a request; raises `OSError`."""
        return self._disk.files.open_incoming(content_hash, size)

    def receive(self, effect: ReceiveContent, connection: Connection | None) -> None:
        """Carry out a `ReceiveContent`."""
        if effect.request is not None:
            self._take(effect.wanted, effect.request)
        elif effect.content is not None:
            done = self._stored_callback(effect.wanted, None, None, effect.content)
            self._disk.store_small(effect.wanted.content_hash, effect.content, done)
        elif effect.link is None:
            self._nursery.start_soon(self._read_again, effect.wanted, name="read again")
        elif connection is None or connection.lost is not None:
            self._post(_failed(effect.wanted, effect.link, FetchFailure.LOST, 0))
        else:
            self._ask(effect, connection)

    async def _read_again(self, wanted: ContentWanted) -> None:
        content = await trio.to_thread.run_sync(self._disk.read, wanted.content_hash)
        if content is None or sha256(content).digest() != wanted.content_hash:
            self._post(_failed(wanted, None, FetchFailure.DISK, 0))
        else:
            self._post(ContentStored(wanted=wanted, link=None, content=content))

    def _take(self, wanted: ContentWanted, request: RequestId) -> None:
        """A submitted content, hashed as it came in, must be exactly what the manifest signed."""
        submission = self._submissions.pop(request, None)
        if submission is None:
            self._refuse(wanted, request, FetchFailure.MISSING)
            return
        if submission.size != wanted.size:
            self._drop(submission)
            self._refuse(wanted, request, FetchFailure.BAD_LENGTH)
            return
        if (submission.whole_hash, submission.chunk_hashes) != (
            wanted.content_hash,
            wanted.chunk_hashes,
        ):
            self._drop(submission)
            self._refuse(wanted, request, FetchFailure.BAD_HASH)
            return
        done = self._stored_callback(wanted, None, request, submission.data)
        if submission.data is not None:
            self._disk.store_small(wanted.content_hash, submission.data, done)
        elif submission.incoming is not None:
            self._disk.store_file(wanted.content_hash, submission.incoming, wanted.size, done)

    @staticmethod
    def _drop(submission: Submission) -> None:
        if submission.incoming is not None:
            submission.incoming.drop()

    def _refuse(self, wanted: ContentWanted, request: RequestId, reason: FetchFailure) -> None:
        self._post(
            ContentFailed(
                wanted=wanted,
                link=None,
                request=request,
                reason=reason,
                received=0,
            )
        )

    def _stored_callback(
        self,
        wanted: ContentWanted,
        link: LinkId | None,
        request: RequestId | None,
        data: bytes | None,
    ) -> Callable[[bool], None]:
        def done(ok: bool) -> None:  # noqa: FBT001  # the outcome of one disk job, given by position
            if not ok:
                reason = FetchFailure.DISK
                failed = ContentFailed(
                    wanted=wanted,
                    link=link,
                    request=request,
                    reason=reason,
                    received=0,
                )
                self._post(failed)
            elif wanted.is_read and data is None:
                self._nursery.start_soon(self._read_again, wanted, name="read again")
            else:
                content = data if wanted.is_read or wanted.size <= INLINE_BYTES_MAX else None
                self._post(ContentStored(wanted=wanted, link=link, content=content))

        return done

    def _ask(self, effect: ReceiveContent, connection: Connection) -> None:
        wanted = effect.wanted
        receiving = _Receiving(
            wanted=wanted,
            connection=connection,
            traffic=effect.traffic,
            pace=Pace(Duration(effect.idle_ms), self._now()),
            plan=Chunks(wanted),
        )
        if wanted.chunk_hashes:
            try:
                receiving.incoming = self._disk.files.open_incoming(
                    wanted.content_hash, wanted.size
                )
            except OSError:
                self._post(_failed(wanted, connection.link, FetchFailure.DISK, 0))
                return
        self._ask_more(receiving)

    def _ask_more(self, receiving: _Receiving) -> None:
        """Ask for chunks up to the limit of outstanding bytes."""
        waiting = len(receiving.chunks) + len(receiving.arrived)
        while waiting < receiving.plan.at_once and receiving.next_chunk < receiving.plan.count:
            stream = receiving.connection.next_stream()
            if stream is None:
                self._fail(receiving, FetchFailure.LOST)
                return
            number = receiving.next_chunk
            wanted = receiving.wanted
            ask = ContentAsk(wanted.manifest_hash, wanted.content_hash, number, 1)
            receiving.chunks[stream] = Arriving(number, receiving.plan.size_of(number))
            self._receiving[(receiving.connection.link, stream)] = receiving
            self._busy.set()
            if not receiving.connection.send(GetContent(items=(ask,)), receiving.traffic, stream):
                self._fail(receiving, FetchFailure.LOST)
                return
            receiving.next_chunk += 1
            waiting += 1

    def on_content(self, connection: Connection, stream: int, body: memoryview) -> bool:
        """A content frame came; whether it was waited for.

        Raises:
            WireError: it is not one; the link closes.
        """
        header, data = parse_content_header(body)
        receiving = self._receiving.get((connection.link, stream))
        if receiving is None:
            return False
        chunk = receiving.chunks[stream]
        receiving.pace.on_bytes(len(data), self._now())
        if not chunk.takes(header.item, header.offset, data):
            self._fail(receiving, FetchFailure.BAD_LENGTH)
        elif header.is_last:
            self._on_chunk(receiving, stream, chunk)
        return True

    def _on_chunk(self, receiving: _Receiving, stream: int, chunk: Arriving) -> None:
        self._forget(receiving, stream)
        if not chunk.is_whole:
            self._fail(receiving, FetchFailure.BAD_LENGTH)
        elif receiving.incoming is None:
            self._on_whole(receiving, bytes(chunk.data))
        else:
            receiving.arrived[chunk.number] = chunk
            if not receiving.verifying:
                receiving.verifying = True
                self._nursery.start_soon(self._verify_chunks, receiving, name="verify chunks")

    def _forget(self, receiving: _Receiving, stream: int) -> None:
        receiving.chunks.pop(stream, None)
        self._receiving.pop((receiving.connection.link, stream), None)

    def _on_whole(self, receiving: _Receiving, data: bytes) -> None:
        if len(data) <= HASH_INLINE_MAX:
            self._judge_whole(receiving, data, sha256(data).digest())
        else:
            self._nursery.start_soon(self._hash_whole, receiving, data, name="hash content")

    async def _hash_whole(self, receiving: _Receiving, data: bytes) -> None:
        digest = await trio.to_thread.run_sync(lambda: sha256(data).digest())
        self._judge_whole(receiving, data, digest)

    def _judge_whole(self, receiving: _Receiving, data: bytes, digest: bytes) -> None:
        if receiving.over:
            return
        receiving.over = True
        wanted, link = receiving.wanted, receiving.connection.link
        if digest != wanted.content_hash:
            self._post(_failed(wanted, link, FetchFailure.BAD_HASH, 0))
            return
        self._disk.store_small(
            wanted.content_hash, data, self._stored_callback(wanted, link, None, data)
        )

    async def _verify_chunks(self, receiving: _Receiving) -> None:
        """Hash and write the chunks that have arrived, in order, one at a time, off the loop."""
        incoming = receiving.incoming
        assert incoming is not None
        while not receiving.over and (chunk := receiving.arrived.pop(receiving.verified, None)):
            began_at = self._now()
            verdict = await trio.to_thread.run_sync(_verify_and_write, receiving, incoming, chunk)
            if verdict is not None:
                self._fail(receiving, verdict)
                break
            receiving.verified += 1
            receiving.pace.on_held_up(began_at, self._now())
            if not receiving.over:
                self._ask_more(receiving)
        receiving.verifying = False
        if receiving.over:
            incoming.drop()
        elif receiving.verified == receiving.plan.count:
            self._finish(receiving, incoming)

    def _finish(self, receiving: _Receiving, incoming: IncomingContent) -> None:
        wanted, link = receiving.wanted, receiving.connection.link
        receiving.over = True
        if receiving.whole.digest() != wanted.content_hash:
            incoming.drop()
            self._post(_failed(wanted, link, FetchFailure.CONTRADICTED, wanted.size))
            return
        done = self._stored_callback(wanted, link, None, None)
        self._disk.store_file(wanted.content_hash, incoming, wanted.size, done)

    def on_not_available(
        self, connection: Connection, stream: int, message: NotAvailable | Busy
    ) -> bool:
        """The peer has it not, or no time; whether it was asked."""
        receiving = self._receiving.get((connection.link, stream))
        if receiving is None:
            return False
        missing = isinstance(message, NotAvailable)
        self._fail(receiving, FetchFailure.MISSING if missing else FetchFailure.BUSY)
        return True

    def on_lost(self, link: LinkId) -> None:
        """A link ended with all that came over it."""
        for receiving in [one for (its, _), one in self._receiving.items() if its == link]:
            self._fail(receiving, FetchFailure.LOST)
        reader = self._readers.get(link)
        if reader is not None:
            reader.end()

    def _fail(self, receiving: _Receiving, reason: FetchFailure) -> None:
        if receiving.over:
            return
        receiving.over = True
        for stream in list(receiving.chunks):
            self._forget(receiving, stream)
        if receiving.incoming is not None and not receiving.verifying:
            # While a worker thread writes, the descriptor is its own: it drops the file when it
            # comes back.
            receiving.incoming.drop()
        self._post(
            _failed(receiving.wanted, receiving.connection.link, reason, receiving.received_bytes)
        )

    async def watch(self) -> None:
        """Take its turn from whoever is silent or too slow, at either end."""
        while True:
            if not self._receiving and not self._readers:
                self._busy = trio.Event()
                await self._busy.wait()
            await trio.sleep(WATCH_S)
            now = self._now()
            for receiving in list(dict.fromkeys(self._receiving.values())):
                verdict = None if receiving.verifying else receiving.pace.verdict(now)
                if verdict is not None:
                    self._fail(receiving, verdict)
            for reader in self._readers.values():
                reader.look(now)

    def _now(self) -> Instant:
        return Instant(int(self._clock() * 1_000))

    def serve(self, effect: ServeContent, connection: Connection) -> None:
        """Carry out a `ServeContent`: small contents at once, the others by a task of their own."""
        if len(effect.items) == 1 and effect.items[0].size <= HASH_INLINE_MAX:
            item = effect.items[0]
            inline = self._disk.find_inline(item.content_hash)
            if inline is not None and sha256(inline).digest() == item.content_hash:
                connection.send_frame(
                    _content_frame(effect, item.item, 0, inline, is_last=True), effect.traffic
                )
                self._post(ContentServed(link=effect.link, stream=effect.stream))
                return
        self._nursery.start_soon(self._serve, effect, connection, name="serve content")

    async def finish(self) -> None:
        """Wait until nothing is on its way, in or out."""
        while self._receiving or self._readers:  # noqa: ASYNC110  # once in a process's life
            await trio.sleep(WATCH_S)

    async def _serve(self, effect: ServeContent, connection: Connection) -> None:
        reader = self._readers.setdefault(
            connection.link, _Reader(Pace(WINDOW, self._now(), CONTENT_FRAME_BYTES_MAX))
        )
        self._busy.set()
        reader.serving += 1
        try:
            for item in effect.items:
                if not await self._serve_item(effect, item, connection, reader):
                    break
        finally:
            reader.serving -= 1
            if not reader.serving:
                del self._readers[connection.link]
            self._post(
                ContentServed(
                    link=effect.link, stream=effect.stream, is_too_slow=reader.is_too_slow
                )
            )

    async def _serve_item(
        self, effect: ServeContent, item: ServeItem, connection: Connection, reader: "_Reader"
    ) -> bool:
        """Send one item; a damaged or vanished content is answered like an absent one. False where
        the peer does not take it."""
        for number in chunks_asked(item):
            began_at = self._now()
            piece = await trio.to_thread.run_sync(self._read_piece, item, number)
            reader.pace.on_held_up(began_at, self._now())
            if piece is None:
                connection.send(NotAvailable(item=item.item), effect.traffic, effect.stream)
                if await trio.to_thread.run_sync(self._disk.has_lost, item.content_hash):
                    self._post(ContentLost(content_hash=item.content_hash))
                return True
            view = memoryview(piece)
            for start in range(0, max(len(view), 1), CONTENT_FRAME_BYTES_MAX):
                part = view[start : start + CONTENT_FRAME_BYTES_MAX]
                is_last = start + len(part) == len(view)
                frame = _content_frame(effect, item.item, start, part, is_last=is_last)
                with reader.waiting() as scope:
                    await connection.send_bulk(frame, effect.traffic)
                if scope.cancelled_caught or connection.lost is not None:
                    return False
                reader.pace.on_bytes(len(part), self._now())
        return True

    def _read_piece(self, item: ServeItem, number: int) -> bytes | None:
        """A chunk, or a whole small content, as it rests on disk and only if its hash still
        matches. Blocks."""
        if not item.chunk_hashes:
            content = self._disk.read(item.content_hash)
            return (
                content
                if content is not None and sha256(content).digest() == item.content_hash
                else None
            )
        size = chunk_size_of(item.size)
        try:
            descriptor = self._disk.files.open_content(item.content_hash)
        except OSError:
            return None
        try:
            piece = os.pread(descriptor, size, number * size)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return piece if sha256(piece).digest() == item.chunk_hashes[number] else None


def _content_frame(
    effect: ServeContent, item: int, offset: int, data: bytes | memoryview, *, is_last: bool
) -> bytes:
    """A whole frame, put together with one copy of the content."""
    content_header = content_header_bytes(ContentHeader(item, is_last, offset))
    size = len(content_header) + len(data)
    header = frame_header(FrameKind.CONTENT, effect.traffic, effect.stream, size)
    return b"".join((header, content_header, data))


def _verify_and_write(
    receiving: _Receiving, incoming: IncomingContent, chunk: Arriving
) -> FetchFailure | None:
    """Hash a chunk and, only if it is the right one, write it and add it to the whole. Blocks."""
    if sha256(chunk.data).digest() != receiving.plan.hash_of(chunk.number):
        return FetchFailure.BAD_HASH
    try:
        incoming.write_at(receiving.plan.start_of(chunk.number), chunk.data)
    except OSError:
        return FetchFailure.DISK
    receiving.whole.update(chunk.data)
    return None


def _failed(
    wanted: ContentWanted, link: LinkId | None, reason: FetchFailure, received: int
) -> ContentFailed:
    return ContentFailed(wanted=wanted, link=link, request=None, reason=reason, received=received)


def is_spooled(size: int) -> bool:
    """Whether a submitted content is written to a file as it comes instead of being kept in
    memory."""
    return size > WHOLE_BYTES_MAX
