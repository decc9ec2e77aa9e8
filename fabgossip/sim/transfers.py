"""Contents on their way, as the daemon carries them: asked for chunk by chunk, hashed before a
byte is kept, hashed before a byte leaves.

Decides: nothing the daemon's transfers do not decide; only waiting differs.
Keeps: the same limits, the same reasons of failure, exactly one answer per `ReceiveContent` and
per `ServeContent`.
Must not know: why a content is wanted, who may have it.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Final, TypeAlias

from fabgossip.core.batches import Batch, Batches
from fabgossip.core.chunks import Arriving, Chunks, ask_for, chunks_asked
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
from fabgossip.core.pace import WINDOW, Pace, pace_of
from fabgossip.core.parts import PARTS_MAX, Part, PartKey, part_key
from fabgossip.model.artifact import chunk_size_of
from fabgossip.model.ids import ContentHash
from fabgossip.model.messages import (
    INLINE_BYTES_MAX,
    Busy,
    Cancel,
    GetContent,
    Message,
    NotAvailable,
    TrafficClass,
)
from fabgossip.model.moment import Instant
from fabgossip.sim.disk import SimDisk
from fabgossip.sim.network import End, Network, SentFrame
from fabgossip.sim.trace import Happened, Kind, world_event
from fabgossip.sim.world import NS_PER_MS
from fabgossip.wire.codec import ContentHeader, content_header_bytes, parse_content_header
from fabgossip.wire.framing import FrameKind
from fabgossip.wire.outbox import content_bytes_max

WATCH_NS: Final = 50 * NS_PER_MS
"""How often the daemon looks for silent transfers."""
Wait: TypeAlias = Callable[[int, Callable[[], Happened]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What transfers work with; every call is for the process they belong to."""

    disk: SimDisk
    network: Network
    now_ns: Callable[[], int]
    wait: Wait
    """Call back at a time, unless the process is gone by then."""
    step: Callable[[Event], Happened]
    """Give the node an event, now."""
    post: Callable[[Event], None]
    """Give the node an event after the step under way."""
    send: Callable[[End, Message, TrafficClass, int], bool]
    on_hashed: Callable[[int], None]
    on_unpacked: Callable[[int], None]
    on_piece_sent: Callable[[End, ServeItem, int, bytes], None]
    on_damaged: Callable[[ContentHash], None]
    """What was read is not what its name says."""
    on_content_received: Callable[[ContentHash, int], None]


@dataclass(slots=True, eq=False)
class _Receiving:
    """What one link brings of a content."""

    wanted: ContentWanted
    end: End
    traffic: TrafficClass
    pace: Pace
    shared: "_Shared"
    chunks: dict[int, Arriving] = field(default_factory=dict)
    """By stream: each request names a content once."""
    brought: int = 0
    """Verified bytes so far."""
    over: bool = False

    @property
    def numbers(self) -> tuple[int, ...]:
        """The chunks it is asked for."""
        return tuple(one.number for one in self.chunks.values())


@dataclass(slots=True, eq=False)
class _Shared:
    """A content, the chunks of it that are here, and who brings the others."""

    part: Part
    data: dict[int, bytes] = field(default_factory=dict)
    receivings: dict[_Receiving, None] = field(default_factory=dict)
    late: list[tuple[ContentWanted, LinkId]] = field(default_factory=list)
    """Who was to bring some of it once it was whole."""
    is_whole: bool = False
    """Whether it is on its way to the disk."""


@dataclass(slots=True, eq=False)
class _Reader:
    """Who takes contents over one link, however many at once."""

    pace: Pace
    serving: int = 0
    is_too_slow: bool = False


@dataclass(slots=True)
class _Served:
    """A request being served: what is still to be read, and what was read and not sent."""

    effect: ServeContent
    end: End
    pieces: deque[tuple[ServeItem, int]]
    frames: deque[SentFrame] = field(default_factory=deque)
    is_over: bool = False

    @property
    def has_more(self) -> bool:
        """Whether anything is left."""
        return bool(self.pieces or self.frames)


class Transfers:
    """Everything in flight of one process."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._receiving: dict[tuple[LinkId, int], dict[int, _Receiving]] = {}
        """By link and stream what a request asks for, by item."""
        self._batches: Batches[_Receiving] = Batches()
        self._shared: OrderedDict[PartKey, _Shared] = OrderedDict()
        """Of contents that come in chunks."""
        self._readers: dict[LinkId, _Reader] = {}
        self._serving: dict[tuple[LinkId, int], _Served] = {}
        self._submissions: dict[RequestId, bytes] = {}

    def on_submission(self, request: RequestId, content: bytes) -> None:
        """A content waits under a request's number."""
        self._submissions[request] = content

    def on_request_over(self, request: RequestId) -> None:
        """A request was answered: what is left of its content goes."""
        self._submissions.pop(request, None)

    def receive(self, effect: ReceiveContent, end: End | None) -> None:
        """Carry out a `ReceiveContent`."""
        wanted = effect.wanted
        if self._must_refuse(effect):
            if effect.request is not None:
                self.on_request_over(effect.request)
            self._bench.post(
                ContentFailed(
                    wanted=wanted,
                    link=effect.link,
                    request=effect.request,
                    reason=FetchFailure.STORAGE,
                    received=0,
                )
            )
        elif effect.request is not None:
            self._take(wanted, effect.request)
        elif effect.content is not None:
            self._store(wanted, None, effect.content)
        elif effect.link is None:
            at = self._bench.now_ns() + self._bench.disk.read_ns
            self._bench.wait(at, lambda: self._bench.step(self._read_again(wanted)))
        elif end is None or end.lost is not None:
            self._bench.post(_failed(wanted, effect.link, FetchFailure.LOST, 0))
        else:
            self._ask(effect, end)

    def _must_refuse(self, effect: ReceiveContent) -> bool:
        is_here = effect.link is None and effect.request is None and effect.content is None
        if is_here or part_key(effect.wanted) in self._shared:
            return False
        is_trust = effect.traffic is TrafficClass.TRUST
        return not self._bench.disk.takes(effect.wanted.size, is_trust=is_trust)

    def _read_again(self, wanted: ContentWanted) -> Event:
        content = self._bench.disk.read(wanted.content_hash)
        if content is None or self._hashed(content) != wanted.content_hash:
            return _failed(wanted, None, FetchFailure.DISK, 0)
        return ContentStored(wanted=wanted, link=None, content=content)

    def _take(self, wanted: ContentWanted, request: RequestId) -> None:
        """A submitted content must be exactly what the manifest signed."""
        content = self._submissions.pop(request, None)
        if content is None:
            self._refuse(wanted, request, FetchFailure.MISSING)
        elif len(content) != wanted.size:
            self._refuse(wanted, request, FetchFailure.BAD_LENGTH)
        elif self._hashed(content) != wanted.content_hash:
            self._refuse(wanted, request, FetchFailure.BAD_HASH)
        else:
            self._store(wanted, None, content)

    def _hashed(self, content: bytes) -> bytes:
        self._bench.on_hashed(len(content))
        return sha256(content).digest()

    def _refuse(self, wanted: ContentWanted, request: RequestId, reason: FetchFailure) -> None:
        self._bench.post(
            ContentFailed(
                wanted=wanted,
                link=None,
                request=request,
                reason=reason,
                received=0,
            )
        )

    def _store(
        self,
        wanted: ContentWanted,
        link: LinkId | None,
        content: bytes,
        brought: tuple[tuple[LinkId, int], ...] = (),
    ) -> None:
        def done(ok: bool) -> Happened:  # noqa: FBT001  # the outcome of one disk job, given by position
            late = self._over(wanted)
            if not ok:
                for its, other in late:
                    self._bench.post(_failed(its, other, FetchFailure.DISK, 0))
                return self._bench.step(_failed(wanted, link, FetchFailure.DISK, 0))
            read = content if wanted.is_read or wanted.size <= INLINE_BYTES_MAX else None
            stored = ContentStored(wanted=wanted, link=link, content=read, brought=brought)
            return self._bench.step(stored)

        self._bench.disk.store(wanted.content_hash, content, done)

    def _over(self, wanted: ContentWanted) -> list[tuple[ContentWanted, LinkId]]:
        """A content is stored, or could not be: who was to bring more of it."""
        late = []
        for key in [one for one in self._shared if one[0] == wanted.content_hash]:
            shared = self._shared[key]
            if not shared.receivings:
                late += shared.late
                del self._shared[key]
        return late

    def _ask(self, effect: ReceiveContent, end: End) -> None:
        wanted = effect.wanted
        shared = self._shared.get(part_key(wanted)) or _Shared(Part(Chunks(wanted)))
        if wanted.chunk_hashes:
            self._shared[part_key(wanted)] = shared
        if shared.is_whole:
            shared.late.append((wanted, end.link))
            return
        receiving = _Receiving(
            wanted=wanted,
            end=end,
            traffic=effect.traffic,
            pace=pace_of(effect, self._now()),
            shared=shared,
        )
        shared.receivings[receiving] = None
        if wanted.chunk_hashes:
            self._ask_more(receiving)
            self._watch(receiving)
        else:
            self._batches.on_wanted(end.link, effect, receiving)

    def ask_together(self) -> None:
        """A step is over: ask for what is wanted in one piece."""
        for link in self._batches.links():
            while (batch := self._batches.take(link)) is not None:
                self._ask_batch(batch)

    def _ask_batch(self, batch: Batch[_Receiving]) -> None:
        receivings = [one for one in batch.items if not one.over]
        if not receivings:
            return
        end = receivings[0].end
        stream, pace = end.take_stream(), batch.pace(self._now())
        for item, receiving in enumerate(receivings):
            receiving.pace = pace
            receiving.chunks[stream] = Arriving(0, receiving.wanted.size, item)
            receiving.shared.part.on_asked(0)
        self._receiving[(end.link, stream)] = dict(enumerate(receivings))
        self._batches.on_asked(end.link, stream, batch)
        asks = tuple(ask_for(one.wanted, 0) for one in receivings)
        if self._bench.send(end, GetContent(items=asks), batch.traffic, stream):
            self._watch_batch(receivings)
        else:
            self._fail_each(receivings, FetchFailure.LOST)

    def _fail_each(self, receivings: list[_Receiving], reason: FetchFailure) -> None:
        for one in receivings:
            self._fail(one, reason)

    def _watch_batch(self, receivings: list[_Receiving]) -> None:
        look_ns = _look_ns(receivings[0].pace)
        self._bench.wait(look_ns, partial(self._on_watch_batch, receivings))

    def _on_watch_batch(self, receivings: list[_Receiving]) -> Happened:
        """Whatever one request asks for moves at one pace."""
        left = [one for one in receivings if not one.over]
        verdict = left[0].pace.verdict(self._now()) if left else None
        if verdict is not None:
            self._fail_each(left, verdict)
        elif left:
            self._watch_batch(left)
        return world_event(Kind.TIMER, "watch")

    def _now(self) -> Instant:
        return Instant(self._bench.now_ns() // NS_PER_MS)

    def _watch(self, receiving: _Receiving) -> None:
        """Look again when the verdict could be another, at the pace the daemon looks."""
        self._bench.wait(_look_ns(receiving.pace), partial(self._on_watch, receiving))

    def _on_watch(self, receiving: _Receiving) -> Happened:
        if not receiving.over:
            verdict = receiving.pace.verdict(self._now()) if receiving.chunks else None
            if verdict is not None:
                self._fail(receiving, verdict)
            else:
                self._watch(receiving)
        return world_event(Kind.TIMER, "watch")

    def _ask_more(self, receiving: _Receiving) -> None:
        part, end, wanted = receiving.shared.part, receiving.end, receiving.wanted
        while len(receiving.chunks) < part.plan.at_once:
            number = None if receiving.over else part.next_for(receiving.numbers)
            if number is None:
                return
            stream = end.take_stream()
            ask = ask_for(wanted, number)
            receiving.chunks[stream] = Arriving(number, part.plan.size_of(number))
            part.on_asked(number)
            self._receiving[(end.link, stream)] = {0: receiving}
            if not self._bench.send(end, GetContent(items=(ask,)), receiving.traffic, stream):
                self._fail(receiving, FetchFailure.LOST)
                return

    def on_content(self, end: End, frame: SentFrame) -> bool:
        """A content frame came; whether it was waited for. Raises `WireError` if it is none."""
        header, data = parse_content_header(memoryview(frame.body))
        receiving = self._asked(end, frame.stream, header.item)
        if receiving is None:
            return False
        chunk = receiving.chunks[frame.stream]
        receiving.pace.on_bytes(len(data), self._now())
        if not chunk.takes(header.item, header.offset, data):
            self._fail(receiving, FetchFailure.BAD_LENGTH)
        elif header.is_last:
            self._on_chunk(receiving, frame.stream, chunk)
        return True

    def _asked(self, end: End, stream: int, item: int) -> _Receiving | None:
        """Whom an answer is for."""
        return self._receiving.get((end.link, stream), {}).get(item)

    def _on_chunk(self, receiving: _Receiving, stream: int, chunk: Arriving) -> None:
        self._forget(receiving, stream)
        if not chunk.is_whole:
            self._fail(receiving, FetchFailure.BAD_LENGTH)
            return
        shared, part = receiving.shared, receiving.shared.part
        if sha256(chunk.data).digest() != part.plan.hash_of(chunk.number):
            self._fail(receiving, FetchFailure.BAD_HASH)
            return
        if not part.has(chunk.number):
            part.on_kept(chunk.number)
            shared.data[chunk.number] = bytes(chunk.data)
            receiving.brought += len(chunk.data)
        if part.is_whole:
            self._finish(receiving)
        else:
            self._ask_more(receiving)

    def _finish(self, last: _Receiving) -> None:
        """All chunks are here: is the whole what it must be?"""
        wanted, shared, link = last.wanted, last.shared, last.end.link
        shared.is_whole = True
        content = b"".join(shared.data[number] for number in sorted(shared.data))
        sources = [one for one in shared.receivings if one.brought or one is last]
        brought = tuple((one.end.link, one.brought) for one in sources)
        for one in list(shared.receivings):
            self._end(one)
        if wanted.chunk_hashes and sha256(content).digest() != wanted.content_hash:
            del self._shared[part_key(wanted)]
            self._bench.post(_failed(wanted, link, FetchFailure.CONTRADICTED, wanted.size))
            return
        self._bench.on_content_received(wanted.content_hash, wanted.size)
        self._store(wanted, link, content, brought if wanted.chunk_hashes else ())

    def _forget(self, receiving: _Receiving, stream: int) -> None:
        """Nothing comes on a stream any more for a content."""
        link, chunk = receiving.end.link, receiving.chunks.pop(stream)
        receiving.shared.part.on_over(chunk.number)
        request = self._receiving[(link, stream)]
        del request[chunk.item]
        if not request:
            del self._receiving[(link, stream)]
            self._batches.on_over(link, stream)

    def on_not_available(self, end: End, stream: int, message: NotAvailable | Busy) -> bool:
        """The peer has it not, or no time; whether it was asked."""
        receiving = self._asked(end, stream, message.item)
        if receiving is None:
            return False
        self._forget(receiving, stream)
        missing = isinstance(message, NotAvailable)
        self._fail(receiving, FetchFailure.MISSING if missing else FetchFailure.BUSY)
        return True

    def on_lost(self, link: LinkId) -> None:
        """A link ended with all that came over it."""
        for receiving in self._under_way():
            if receiving.end.link == link:
                self._fail(receiving, FetchFailure.LOST)
        self._batches.on_lost(link)

    def _under_way(self) -> list[_Receiving]:
        """All that is to be brought, also by who is asked for nothing yet, or now."""
        sharing = [one for shared in self._shared.values() for one in shared.receivings]
        asked = [one for request in self._receiving.values() for one in request.values()]
        return list(dict.fromkeys((*asked, *self._batches.waiting(), *sharing)))

    def _fail(self, receiving: _Receiving, reason: FetchFailure) -> None:
        if receiving.over:
            return
        self._end(receiving)
        self._bench.post(_failed(receiving.wanted, receiving.end.link, reason, receiving.brought))

    def cancel(self, link: LinkId, content_hash: ContentHash) -> None:
        """What is asked of a link for a content is not needed any more."""
        for receiving in self._under_way():
            if receiving.wanted.content_hash == content_hash and receiving.end.link == link:
                self._end(receiving)

    def _end(self, receiving: _Receiving) -> None:
        receiving.over = True
        for stream in list(receiving.chunks):
            self._forget(receiving, stream)
            is_needless = (receiving.end.link, stream) not in self._receiving
            if receiving.end.lost is None and is_needless:
                self._bench.send(receiving.end, Cancel(), receiving.traffic, stream)
        shared = receiving.shared
        shared.receivings.pop(receiving, None)
        if shared.is_whole:
            return
        for other in list(shared.receivings):
            self._ask_more(other)
        if not shared.receivings and receiving.wanted.chunk_hashes:
            self._on_left(part_key(receiving.wanted))

    def _on_left(self, key: PartKey) -> None:
        """Nobody brings anything to a part: what there is of it stays for a while."""
        if not self._shared[key].data:
            del self._shared[key]
            return
        self._shared.move_to_end(key)
        left = [one for one, its in self._shared.items() if not (its.receivings or its.is_whole)]
        for one in left[: len(left) - PARTS_MAX]:
            del self._shared[one]

    def serve(self, effect: ServeContent, end: End) -> None:
        """Carry out a `ServeContent`: read, hash, send, at the pace the path takes it."""
        reader = self._readers.setdefault(end.link, _Reader(Pace(WINDOW, self._now())))
        reader.serving += 1
        pieces = deque((item, number) for item in effect.items for number in chunks_asked(item))
        at = self._bench.now_ns() + self._bench.disk.read_ns
        served = self._serving[(effect.link, effect.stream)] = _Served(effect, end, pieces)
        self._bench.wait(at, partial(self._serve, served))

    def on_cancelled(self, link: LinkId, stream: int) -> None:
        """The peer gave up what it had asked for, if that is still on its way."""
        served = self._serving.get((link, stream))
        if served is not None:
            self._bench.post(self._ended(served))

    def _serve(self, served: _Served) -> Happened:
        if served.is_over:
            return world_event(Kind.DISK, "given up")
        end = served.end
        reader = self._readers[end.link]
        while served.has_more and end.lost is None and not reader.is_too_slow:
            if not served.frames:
                self._read_piece(served)
                continue
            frame = served.frames[0]
            reader.pace.on_started(len(frame.body))
            room_ns = self._bench.network.room_at(end, frame)
            if room_ns > self._bench.now_ns():
                if reader.pace.verdict(self._now()) is not None:
                    reader.is_too_slow = True
                    break
                again_ns = min(room_ns, _look_ns(reader.pace))
                self._bench.wait(again_ns, partial(self._serve, served))
                return world_event(Kind.DISK, "waits for room")
            served.frames.popleft()
            end.outbox.put(frame.traffic, frame, frame.queued_bytes, self._bench.now_ns())
            self._bench.network.flush(end)
            reader.pace.on_bytes(len(frame.body), self._now())
        return self._bench.step(self._ended(served))

    def _ended(self, served: _Served) -> Event:
        effect, reader = served.effect, self._readers[served.end.link]
        served.is_over = True
        del self._serving[(effect.link, effect.stream)]
        reader.serving -= 1
        if not reader.serving:
            del self._readers[served.end.link]
        return ContentServed(link=effect.link, stream=effect.stream, is_too_slow=reader.is_too_slow)

    def _read_piece(self, served: _Served) -> None:
        """One chunk, or a whole small content; damaged or vanished is answered like absent."""
        effect, end = served.effect, served.end
        item, number = served.pieces.popleft()
        piece = self._piece(item, number)
        if piece is None:
            answer = NotAvailable(item=item.item)
            self._bench.send(end, answer, effect.traffic, effect.stream)
            if self._bench.disk.is_sound(item.content_hash) is False:  # damaged, not removed
                self._bench.on_damaged(item.content_hash)
                self._bench.post(ContentLost(content_hash=item.content_hash))
            return
        self._bench.on_piece_sent(end, item, number, piece)
        size = content_bytes_max(effect.traffic, self._bench.network.content_frame_bytes(end))
        for start in range(0, max(len(piece), 1), size):
            part = piece[start : start + size]
            is_last = start + len(part) == len(piece)
            header = content_header_bytes(ContentHeader(item.item, is_last, start))
            served.frames.append(
                SentFrame(FrameKind.CONTENT, effect.traffic, effect.stream, header + part)
            )

    def _piece(self, item: ServeItem, number: int) -> bytes | None:
        content = self._bench.disk.read(item.content_hash)
        if content is None:
            return None
        if not item.chunk_hashes:
            return content if self._hashed(content) == item.content_hash else None
        size = chunk_size_of(item.size)
        piece = content[number * size : (number + 1) * size]
        return piece if self._hashed(piece) == item.chunk_hashes[number] else None


def _look_ns(pace: Pace) -> int:
    """When the daemon's look comes that could find another verdict."""
    due = pace.next_look() * NS_PER_MS
    return due - due % WATCH_NS + WATCH_NS


def _failed(
    wanted: ContentWanted, link: LinkId | None, reason: FetchFailure, received: int
) -> ContentFailed:
    return ContentFailed(wanted=wanted, link=link, request=None, reason=reason, received=received)
