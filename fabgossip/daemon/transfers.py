"""Contents on their way here: received chunk by chunk and verified before a byte is kept.

A content of up to 1 MiB is one piece held in memory until its hash matched. Above, each chunk of
the manifest is asked for by itself, hashed in a worker thread and only then written at its place;
several chunks are outstanding so that neither end waits for the other, and the whole is hashed in
order as the chunks pass.
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Protocol

import trio

from fabgossip.core.chunks import Arriving, Chunks
from fabgossip.core.effects import ReceiveContent
from fabgossip.core.events import (
    ContentFailed,
    ContentStored,
    ContentWanted,
    Event,
    FetchFailure,
    LinkId,
    RequestId,
)
from fabgossip.core.pace import Pace, pace_of
from fabgossip.daemon.connections import Connection
from fabgossip.daemon.disk import Disk
from fabgossip.model.artifact import WHOLE_BYTES_MAX
from fabgossip.model.ids import ContentHash
from fabgossip.model.messages import (
    INLINE_BYTES_MAX,
    Busy,
    Cancel,
    ContentAsk,
    GetContent,
    NotAvailable,
    TrafficClass,
)
from fabgossip.model.moment import Instant
from fabgossip.storage.contents import IncomingContent
from fabgossip.wire.codec import parse_content_header

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


@dataclass(slots=True)
class Submission:
    """A content that came with a local request: in memory, or in a file already written."""

    data: bytes | None
    incoming: IncomingContent | None
    size: int
    whole_hash: ContentHash
    chunk_hashes: tuple[ContentHash, ...]


class Transfers:
    """Everything on its way to this node. All methods are called from the loop."""

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
        if not self._disk.takes(size, is_trust=False):
            raise OSError(errno.ENOSPC, "storage takes no more: fabgossip status says why")
        return self._disk.files.open_incoming(content_hash, size)

    def receive(self, effect: ReceiveContent, connection: Connection | None) -> None:
        """Carry out a `ReceiveContent`."""
        if self._must_refuse(effect):
            self._refuse_for_space(effect)
        elif effect.request is not None:
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

    def _must_refuse(self, effect: ReceiveContent) -> bool:
        """Whether bytes would come for which there is no space."""
        is_here = effect.link is None and effect.request is None and effect.content is None
        is_trust = effect.traffic is TrafficClass.TRUST
        return not is_here and not self._disk.takes(effect.wanted.size, is_trust=is_trust)

    def _refuse_for_space(self, effect: ReceiveContent) -> None:
        if effect.request is not None:
            self.on_request_over(effect.request)
        failed = ContentFailed(
            wanted=effect.wanted,
            link=effect.link,
            request=effect.request,
            reason=FetchFailure.STORAGE,
            received=0,
        )
        self._post(failed)

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
            pace=pace_of(effect, self._now()),
            plan=Chunks(wanted),
        )
        if wanted.chunk_hashes:
            try:
                receiving.incoming = self._disk.files.open_incoming(
                    wanted.content_hash, wanted.size
                )
            except OSError as error:
                reason = self._disk.on_error(error)
                self._post(_failed(wanted, connection.link, reason, 0))
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
        self._forget(receiving, stream)
        missing = isinstance(message, NotAvailable)
        self._fail(receiving, FetchFailure.MISSING if missing else FetchFailure.BUSY)
        return True

    def on_lost(self, link: LinkId) -> None:
        """A link ended with all that came over it."""
        for receiving in [one for (its, _), one in self._receiving.items() if its == link]:
            self._fail(receiving, FetchFailure.LOST)

    def _fail(self, receiving: _Receiving, reason: FetchFailure) -> None:
        if receiving.over:
            return
        self._end(receiving)
        self._post(
            _failed(receiving.wanted, receiving.connection.link, reason, receiving.received_bytes)
        )

    def cancel(self, link: LinkId, content_hash: ContentHash) -> None:
        """What is asked of a link for a content is not needed any more."""
        for receiving in list(self._receiving.values()):
            is_its = receiving.wanted.content_hash == content_hash
            if is_its and receiving.connection.link == link:
                self._end(receiving)

    def _end(self, receiving: _Receiving) -> None:
        receiving.over = True
        for stream in list(receiving.chunks):
            self._forget(receiving, stream)
            if receiving.connection.lost is None:
                receiving.connection.send(Cancel(), receiving.traffic, stream)
        if receiving.incoming is not None and not receiving.verifying:
            # While a worker thread writes, the descriptor is its own: it drops the file when it
            # comes back.
            receiving.incoming.drop()

    async def watch(self) -> None:
        """Take its turn from whoever is silent or too slow."""
        while True:
            if not self._receiving:
                self._busy = trio.Event()
                await self._busy.wait()
            await trio.sleep(WATCH_S)
            now = self._now()
            for receiving in list(dict.fromkeys(self._receiving.values())):
                verdict = None if receiving.verifying else receiving.pace.verdict(now)
                if verdict is not None:
                    self._fail(receiving, verdict)

    def _now(self) -> Instant:
        return Instant(int(self._clock() * 1_000))

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._receiving


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
