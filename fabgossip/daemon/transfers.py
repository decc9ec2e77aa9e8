"""Contents on their way here: received chunk by chunk and verified before a byte is kept.

A content of up to 1 MiB is one piece held in memory until its hash matched, and asked for together
with others. Above, each chunk of
the manifest is asked for by itself, hashed in a worker thread and only then written at its place in
the file of the content; several chunks are outstanding so that neither end waits for the other.
Several sources may bring chunks of one content, and what one brought stays for the next one, also
after a start.
"""

import errno
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import trio

from fabgossip.core.batches import Batch, Batches
from fabgossip.core.chunks import Arriving, Chunks, ask_for
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
from fabgossip.core.parts import PARTS_MAX, Part, PartKey, part_key
from fabgossip.daemon.connections import Connection
from fabgossip.daemon.disk import Disk
from fabgossip.daemon.parts import PartFile
from fabgossip.daemon.submitted import Submitted
from fabgossip.model.ids import ContentHash
from fabgossip.model.messages import (
    INLINE_BYTES_MAX,
    Busy,
    Cancel,
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


@dataclass(slots=True, eq=False)
class _Receiving:
    """What one link brings of a content."""

    wanted: ContentWanted
    connection: Connection
    traffic: TrafficClass
    pace: Pace
    part: Part
    shared: "_Shared | None" = None
    """None: it comes in one piece."""
    chunks: dict[int, Arriving] = field(default_factory=dict)
    """By stream: each request names a content once."""
    unverified: set[int] = field(default_factory=set)
    """Complete chunks that were not looked at yet."""
    brought: int = 0
    """Verified bytes so far."""
    over: bool = False

    @property
    def numbers(self) -> tuple[int, ...]:
        """The chunks it is asked for, or brought unseen."""
        return (*(one.number for one in self.chunks.values()), *self.unverified)


@dataclass(slots=True, eq=False)
class _Shared:
    """A content that comes in chunks, and who brings them."""

    file: PartFile
    receivings: dict[_Receiving, None] = field(default_factory=dict)
    arrived: deque[tuple[_Receiving, Arriving]] = field(default_factory=deque)
    """Complete, waiting to be verified."""
    late: list[tuple[ContentWanted, LinkId]] = field(default_factory=list)
    """Who was to bring some of it once it was whole: it is on its way to its name."""
    is_busy: bool = False
    """Whether a worker thread has the file."""
    is_whole: bool = False
    """Whether it is on its way to its name."""
    is_dropped: bool = False

    @property
    def is_over(self) -> bool:
        """Whether nobody is to bring anything any more."""
        return self.is_whole or self.is_dropped

    @property
    def is_left(self) -> bool:
        """Whether nobody is about to bring anything."""
        return not (self.receivings or self.is_over)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was brought, as far as was looked."""
        return not (self.file.part.kept_bytes or self.file.incoming.is_left or self.is_busy)


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
        self._receiving: dict[tuple[LinkId, int], dict[int, _Receiving]] = {}
        """By link and stream what a request asks for, by item."""
        self._batches: Batches[_Receiving] = Batches()
        self._is_gathering = False
        self._shared: OrderedDict[PartKey, _Shared] = OrderedDict()
        """Those to which nobody brings anything, the one left longest ago first, and the others."""
        self._busy = trio.Event()
        self.submitted = Submitted()

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
        if is_here or part_key(effect.wanted) in self._shared:
            return False
        size, is_trust = effect.wanted.size, effect.traffic is TrafficClass.TRUST
        if self._disk.takes(size, is_trust=is_trust):
            return False
        self._drop_parts()
        return not self._disk.takes(size, is_trust=is_trust)

    def _drop_parts(self) -> None:
        """What nobody brings anything to makes room for what comes."""
        for shared in list(self._shared.values()):
            if shared.is_left:
                self._drop_part(shared)
        with suppress(OSError):
            self._disk.files.drop_all_left()

    def _drop_part(self, shared: _Shared) -> None:
        """A part is given up; while a worker thread has its file, it is dropped afterwards."""
        shared.is_dropped = True
        self._shared.pop(shared.file.key, None)
        if not shared.is_busy:
            shared.file.incoming.drop()

    def _refuse_for_space(self, effect: ReceiveContent) -> None:
        if effect.request is not None:
            self.submitted.on_request_over(effect.request)
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
        """A submitted content must be exactly what the manifest signed."""
        taken = self.submitted.take(request, wanted)
        if isinstance(taken, FetchFailure):
            self._refuse(wanted, request, taken)
            return
        done = self._stored_callback(wanted, None, request, taken.data)
        if taken.data is not None:
            self._disk.store_small(wanted.content_hash, taken.data, done)
        elif taken.incoming is not None:
            self._disk.store_file(wanted.content_hash, taken.incoming, wanted.size, done)

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
        brought: tuple[tuple[LinkId, int], ...] = (),
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
                self._post(
                    ContentStored(wanted=wanted, link=link, content=content, brought=brought)
                )
            if ok:
                self._forget_parts(wanted.content_hash)

        return done

    def _forget_parts(self, content_hash: ContentHash) -> None:
        """A content is here, however it came."""
        for shared in [one for one in self._shared.values() if one.file.key[0] == content_hash]:
            if shared.is_left:
                self._drop_part(shared)
        with suppress(OSError):
            self._disk.files.drop_left(content_hash)

    def _ask(self, effect: ReceiveContent, connection: Connection) -> None:
        wanted = effect.wanted
        if not wanted.chunk_hashes:
            whole = self._receiving_of(effect, connection, Part(Chunks(wanted)), None)
            self._batches.on_wanted(connection.link, effect, whole)
            self._gather()
            return
        try:
            shared = self._shared.get(part_key(wanted)) or self._open(wanted)
        except OSError as error:
            reason = self._disk.on_error(error)
            self._post(_failed(wanted, connection.link, reason, 0))
            return
        if shared.is_whole:
            shared.late.append((wanted, connection.link))
            return
        receiving = self._receiving_of(effect, connection, shared.file.part, shared)
        if self._is_looked_at(shared, receiving):
            self._ask_more(receiving)

    def _receiving_of(
        self, effect: ReceiveContent, connection: Connection, part: Part, shared: _Shared | None
    ) -> _Receiving:
        return _Receiving(
            wanted=effect.wanted,
            connection=connection,
            traffic=effect.traffic,
            pace=pace_of(effect, self._now()),
            part=part,
            shared=shared,
        )

    def _gather(self) -> None:
        """Ask for what is wanted in one piece after all that happens at this moment."""
        if not self._is_gathering:
            self._is_gathering = True
            self._nursery.start_soon(self._ask_together, name="ask together")

    async def _ask_together(self) -> None:
        self._is_gathering = False
        for link in self._batches.links():
            while (batch := self._batches.take(link)) is not None:
                self._ask_batch(batch)

    def _ask_batch(self, batch: Batch[_Receiving]) -> None:
        receivings = [one for one in batch.items if not one.over]
        if not receivings:
            return
        connection = receivings[0].connection
        stream = None if connection.lost is not None else connection.next_stream()
        if stream is None:
            self._fail_each(receivings, FetchFailure.LOST)
            return
        pace = batch.pace(self._now())
        for item, receiving in enumerate(receivings):
            receiving.pace = pace
            receiving.chunks[stream] = Arriving(0, receiving.wanted.size, item)
            receiving.part.on_asked(0)
        self._receiving[(connection.link, stream)] = dict(enumerate(receivings))
        self._batches.on_asked(connection.link, stream, batch)
        self._busy.set()
        asks = tuple(ask_for(one.wanted, 0) for one in receivings)
        if not connection.send(GetContent(items=asks), batch.traffic, stream):
            self._fail_each(receivings, FetchFailure.LOST)

    def _fail_each(self, receivings: list[_Receiving], reason: FetchFailure) -> None:
        for one in receivings:
            self._fail(one, reason)

    def _is_looked_at(self, shared: _Shared, receiving: _Receiving) -> bool:
        """Somebody is to bring some of a content; whether it is known what is here."""
        shared.receivings[receiving] = None
        if not shared.is_busy and (shared.file.incoming.is_left or shared.file.part.is_whole):
            self._begin_work(shared)
        return not shared.file.incoming.is_left

    def _open(self, wanted: ContentWanted) -> _Shared:
        """The part of a content, as an earlier process left it; raises `OSError`."""
        files = self._disk.files
        is_only = all(key[0] != wanted.content_hash for key in self._shared)
        open_file = files.open_part if is_only else files.open_incoming
        file = PartFile(wanted, open_file(wanted.content_hash, wanted.size))
        shared = self._shared[file.key] = _Shared(file)
        return shared

    def _begin_work(self, shared: _Shared) -> None:
        shared.is_busy = True
        self._nursery.start_soon(self._work, shared, name="verify chunks")

    def _ask_more(self, receiving: _Receiving) -> None:
        """Ask for chunks up to the limit of outstanding bytes."""
        part, wanted = receiving.part, receiving.wanted
        while len(receiving.numbers) < part.plan.at_once:
            number = None if receiving.over else part.next_for(receiving.numbers)
            if number is None:
                return
            stream = receiving.connection.next_stream()
            if stream is None:
                self._fail(receiving, FetchFailure.LOST)
                return
            ask = ask_for(wanted, number)
            receiving.chunks[stream] = Arriving(number, part.plan.size_of(number))
            part.on_asked(number)
            self._receiving[(receiving.connection.link, stream)] = {0: receiving}
            self._busy.set()
            if not receiving.connection.send(GetContent(items=(ask,)), receiving.traffic, stream):
                self._fail(receiving, FetchFailure.LOST)
                return

    def on_content(self, connection: Connection, stream: int, body: memoryview) -> bool:
        """A content frame came; whether it was waited for.

        Raises:
            WireError: it is not one; the link closes.
        """
        header, data = parse_content_header(body)
        receiving = self._asked(connection, stream, header.item)
        if receiving is None:
            return False
        chunk = receiving.chunks[stream]
        receiving.pace.on_bytes(len(data), self._now())
        if not chunk.takes(header.item, header.offset, data):
            self._fail(receiving, FetchFailure.BAD_LENGTH)
        elif header.is_last:
            self._on_chunk(receiving, stream, chunk)
        return True

    def _asked(self, connection: Connection, stream: int, item: int) -> _Receiving | None:
        """Whom an answer is for."""
        return self._receiving.get((connection.link, stream), {}).get(item)

    def _on_chunk(self, receiving: _Receiving, stream: int, chunk: Arriving) -> None:
        self._forget(receiving, stream)
        shared = receiving.shared
        if not chunk.is_whole:
            receiving.part.on_over(chunk.number)
            self._fail(receiving, FetchFailure.BAD_LENGTH)
        elif shared is None:
            self._on_whole(receiving, bytes(chunk.data))
        else:
            receiving.unverified.add(chunk.number)
            shared.arrived.append((receiving, chunk))
            if not shared.is_busy:
                self._begin_work(shared)

    def _forget(self, receiving: _Receiving, stream: int) -> int:
        """Nothing comes on a stream any more for a content; gives the chunk that was to."""
        link, chunk = receiving.connection.link, receiving.chunks.pop(stream)
        request = self._receiving[(link, stream)]
        del request[chunk.item]
        if not request:
            del self._receiving[(link, stream)]
            self._batches.on_over(link, stream)
            if self._batches.has_waiting(link):
                self._gather()
        return chunk.number

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

    async def _work(self, shared: _Shared) -> None:
        """Hash and write what has arrived, one chunk at a time, off the loop."""
        part = shared.file.part
        if shared.file.incoming.is_left:
            await self._take_up(shared)
        while not shared.is_over and shared.receivings and part.is_whole:
            await self._finish(shared, next(reversed(shared.receivings)))
        while not shared.is_over and shared.arrived:
            receiving, chunk = shared.arrived.popleft()
            await self._verify(shared, receiving, chunk)
            if part.is_whole and shared.receivings and not shared.is_over:
                await self._finish(shared, receiving)
        shared.is_busy = False
        if shared.is_left:
            self._on_left(shared)
        elif shared.is_dropped:
            shared.file.incoming.drop()

    async def _take_up(self, shared: _Shared) -> None:
        """Look what an earlier process left."""
        began_at = self._now()
        for number in await trio.to_thread.run_sync(shared.file.left):
            shared.file.part.on_kept(number)
        shared.file.incoming.is_left = False
        for receiving in list(shared.receivings):
            receiving.pace.on_held_up(began_at, self._now())
            self._ask_more(receiving)

    async def _verify(self, shared: _Shared, receiving: _Receiving, chunk: Arriving) -> None:
        began_at, add = self._now(), shared.file.add
        verdict = await trio.to_thread.run_sync(add, chunk.number, chunk.data)
        receiving.unverified.discard(chunk.number)
        shared.file.part.on_over(chunk.number)
        receiving.pace.on_held_up(began_at, self._now())
        if verdict is FetchFailure.DISK:
            self._fail_all(shared, verdict)
        elif verdict is not None:
            self._fail(receiving, verdict)
        else:
            if not shared.file.part.has(chunk.number):
                shared.file.part.on_kept(chunk.number)
                receiving.brought += len(chunk.data)
            self._ask_more(receiving)

    async def _finish(self, shared: _Shared, last: _Receiving) -> None:
        """All chunks are here: is the whole what it must be?"""
        wanted, link = last.wanted, last.connection.link
        try:
            digest = await trio.to_thread.run_sync(shared.file.whole_hash)
        except OSError:
            self._fail_all(shared, FetchFailure.DISK)
            return
        if shared.is_dropped or not shared.receivings:
            return
        shared.is_whole = True
        sources = [one for one in shared.receivings if one.brought or one is last]
        brought = tuple((one.connection.link, one.brought) for one in sources)
        for one in list(shared.receivings):
            self._end(one)
        if digest != wanted.content_hash:
            self._drop_part(shared)
            self._post(_failed(wanted, link, FetchFailure.CONTRADICTED, wanted.size))
            return
        done = self._stored_callback(wanted, link, None, None, brought)
        self._disk.store_file(
            wanted.content_hash, shared.file.incoming, wanted.size,
            lambda ok: self._on_part_stored(shared, done, ok),
        )  # fmt: skip

    def _on_part_stored(self, shared: _Shared, done: Callable[[bool], None], ok: bool) -> None:  # noqa: FBT001  # the outcome of one disk job, given by position
        self._shared.pop(shared.file.key, None)
        done(ok)
        for wanted, link in () if ok else shared.late:
            self._post(_failed(wanted, link, FetchFailure.DISK, 0))

    def _fail_all(self, shared: _Shared, reason: FetchFailure) -> None:
        """The own disk failed, whoever brings something."""
        receivings = list(shared.receivings)
        self._drop_part(shared)
        for receiving in receivings:
            self._fail(receiving, reason)

    def on_not_available(
        self, connection: Connection, stream: int, message: NotAvailable | Busy
    ) -> bool:
        """The peer has it not, or no time; whether it was asked."""
        receiving = self._asked(connection, stream, message.item)
        if receiving is None:
            return False
        receiving.part.on_over(self._forget(receiving, stream))
        missing = isinstance(message, NotAvailable)
        self._fail(receiving, FetchFailure.MISSING if missing else FetchFailure.BUSY)
        return True

    def on_lost(self, link: LinkId) -> None:
        """A link ended with all that came over it."""
        for receiving in self._under_way():
            if receiving.connection.link == link:
                self._fail(receiving, FetchFailure.LOST)
        self._batches.on_lost(link)

    def _under_way(self) -> list[_Receiving]:
        """All that is to be brought, also by who is asked for nothing yet, or now."""
        sharing = [one for shared in self._shared.values() for one in shared.receivings]
        return list(dict.fromkeys((*self._requested(), *self._batches.waiting(), *sharing)))

    def _requested(self) -> list[_Receiving]:
        """All that is asked for, a content in chunks as often as it is."""
        return [one for request in self._receiving.values() for one in request.values()]

    def _fail(self, receiving: _Receiving, reason: FetchFailure) -> None:
        if receiving.over:
            return
        self._end(receiving)
        link = receiving.connection.link
        self._post(_failed(receiving.wanted, link, reason, receiving.brought))

    def cancel(self, link: LinkId, content_hash: ContentHash) -> None:
        """What is asked of a link for a content is not needed any more."""
        for receiving in self._under_way():
            is_its = receiving.wanted.content_hash == content_hash
            if is_its and receiving.connection.link == link:
                self._end(receiving)

    def _end(self, receiving: _Receiving) -> None:
        """A source brings no more of a content: the others bring it, now or once they are asked."""
        receiving.over = True
        for stream in list(receiving.chunks):
            receiving.part.on_over(self._forget(receiving, stream))
            link = receiving.connection.link
            is_needless = (link, stream) not in self._receiving
            if receiving.connection.lost is None and is_needless:
                receiving.connection.send(Cancel(), receiving.traffic, stream)
        shared = receiving.shared
        if shared is None:
            return
        shared.receivings.pop(receiving, None)
        if shared.is_over:
            return
        for other in list(shared.receivings):
            self._ask_more(other)
        if not shared.receivings:
            self._on_left(shared)

    def _on_left(self, shared: _Shared) -> None:
        """Nobody brings anything to a part: what there is of it stays for a while."""
        if shared.is_empty:
            self._drop_part(shared)
            return
        self._shared.move_to_end(shared.file.key)
        left = [one for one in self._shared.values() if one.is_left]
        for one in left[: len(left) - PARTS_MAX]:
            self._drop_part(one)

    async def watch(self) -> None:
        """Take its turn from whoever is silent or too slow."""
        while True:
            if not self._receiving:
                self._busy = trio.Event()
                await self._busy.wait()
            await trio.sleep(WATCH_S)
            now = self._now()
            verdicts: dict[Pace, FetchFailure | None] = {}
            for receiving in dict.fromkeys(self._requested()):
                if receiving.unverified:
                    continue
                if receiving.pace not in verdicts:
                    verdicts[receiving.pace] = receiving.pace.verdict(now)
                verdict = verdicts[receiving.pace]
                if verdict is not None:
                    self._fail(receiving, verdict)

    def _now(self) -> Instant:
        return Instant(int(self._clock() * 1_000))

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._receiving


def _failed(
    wanted: ContentWanted, link: LinkId | None, reason: FetchFailure, received: int
) -> ContentFailed:
    return ContentFailed(wanted=wanted, link=link, request=None, reason=reason, received=received)
