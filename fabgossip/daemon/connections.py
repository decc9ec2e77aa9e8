"""One link: frames in, frames out, and never a wait for one peer.

Each link has its own reader and writer. `send` places a frame in the queue of its class or refuses
it in the same call; the writer takes them as `Outbox` decides. A queue that carries revocations
never drops: the link closes instead.
"""

import math
from collections.abc import Callable, Iterator
from typing import Final

import trio

from fabgossip.core.events import LinkId, LostReason
from fabgossip.daemon.tls import TlsStream
from fabgossip.errors import WireError
from fabgossip.model.authority import NodeIdentity
from fabgossip.model.messages import (
    BadRequest,
    Bye,
    ByeReason,
    Message,
    TrafficClass,
)
from fabgossip.wire.codec import message_body
from fabgossip.wire.framing import STREAM_MAX, Frame, FrameReader, broken_rule, frame_bytes
from fabgossip.wire.outbox import (
    JUDGED,
    NEVER_DROPPED,
    Budget,
    DrainRate,
    Outbox,
)
from fabgossip.wire.streams import PeerStreams

KIB: Final = 1024
BATCH_BYTES: Final = 64 * KIB
"""Small frames are encrypted together up to here."""
FRAMES_PER_TURN: Final = 32
"""Frames of one peer taken before the others get their turn (*start*)."""
TURN_S: Final = 0.005
"""Time they may take together before that, but for the last of them (*start*)."""
CLEANUP_S: Final = 2.0
"""Longest time the last word of a link may take (*start*)."""
FRAME_S: Final = 10.0
"""Longest time between the first and the last byte of a frame (*start*)."""
SLOW_S: Final = 1.0
"""A peer is slow while something for it has waited for so long (*start*)."""
TOO_SLOW_S: Final = 10.0
"""Longest time anything may wait for a peer, and longest time to hand one batch to the kernel
(*start*)."""
SLOW_RETRY_S: Final = 60
LAST_WORD_BYTES: Final = 1 << 20
"""Unsent bytes the kernel may hold for the last word of a link: it need not wait any more."""


class Connection:
    """A link after TLS and the leaf rules."""

    def __init__(
        self,
        link: LinkId,
        stream: TlsStream,
        identity: NodeIdentity,
        *,
        is_dialer: bool,
        budget: Budget | None = None,
    ) -> None:
        """`budget`: of all links of the node."""
        self.link = link
        self.identity = identity
        self.is_dialer = is_dialer
        self._stream = stream
        self._outbox: Outbox[bytes] = Outbox(budget)
        self._wake = trio.Event()
        self._drained = trio.Event()
        self._queued = trio.Event()
        self._writing_since: float | None = None
        """Since when the oldest frame of the batch under way waits, of those that are judged."""
        self._drain = DrainRate()
        self._unsent_bytes = 0
        self._next_stream = 1 if is_dialer else 2
        self.peer_streams = PeerStreams(is_dialer=not is_dialer)
        self._scope = trio.CancelScope()
        self._farewell: Bye | BadRequest | None = None
        self.lost: LostReason | None = None
        self.fault: WireError | None = None
        """What the peer sent that is not of the protocol, which ended the link."""
        self.frames_sent = 0
        self.bytes_received = 0
        self.unwanted = 0
        """Frames of the turn under way that lead to nothing; whoever takes frames counts."""

    @property
    def queued_bytes(self) -> int:
        """Bytes waiting to be written."""
        return self._outbox.bytes

    @property
    def content_frame_bytes(self) -> int:
        """How much content a frame should carry, so that trust waits for none of them long."""
        return self._drain.content_frame_bytes

    def next_stream(self) -> int | None:
        """A request number never used on this link; None once they are used up, which ends it."""
        stream = self._next_stream
        if stream > STREAM_MAX:
            self.close(Bye(reason=ByeReason.LIFE_OVER, retry_after_s=0), LostReason.LIFE)
            return None
        self._next_stream += 2
        return stream

    def send(self, message: Message, traffic: TrafficClass, stream: int) -> bool:
        """Queue a message; False if the queue of its class is full and the message was dropped."""
        kind, body = message_body(message)
        return self.send_frame(frame_bytes(kind, traffic, stream, body), traffic)

    def send_frame(self, frame: bytes, traffic: TrafficClass) -> bool:
        """Queue a whole frame; see `send`."""
        if self.lost is not None:
            return True  # gone with all that waits
        if not self._outbox.offer(traffic, frame, len(frame), trio.current_time()):
            if traffic in NEVER_DROPPED:
                self._close_slow(LostReason.BACKPRESSURE)
            return False
        self._wake_all()
        return True

    def offer_bulk(self, frame: bytes, traffic: TrafficClass) -> bool:
        """Queue a content frame if there is room for it."""
        if self.lost is not None:
            return True
        if not self._outbox.has_room(traffic, len(frame)):
            return False
        self._outbox.put(traffic, frame, len(frame), trio.current_time())
        self._wake_all()
        return True

    def _wake_all(self) -> None:
        self._wake.set()
        self._queued.set()

    def _close_slow(self, lost: LostReason) -> None:
        self.close(Bye(reason=ByeReason.SLOW, retry_after_s=SLOW_RETRY_S), lost)

    async def send_bulk(self, frame: bytes, traffic: TrafficClass) -> None:
        """Queue a content frame, waiting for room: content is never dropped."""
        while not self.offer_bulk(frame, traffic):
            await self._drained.wait()

    def close(self, farewell: Bye | BadRequest | None, lost: LostReason) -> None:
        """End the link, with a last word if there is one; the first reason given stands."""
        if self.lost is None:
            self.lost = lost
            self._farewell = farewell
            self._scope.cancel()

    async def serve(
        self,
        on_frame: Callable[["Connection", Frame], None],
        on_unwanted: Callable[["Connection", int], None],
    ) -> LostReason:
        """Read and write until the link ends; gives why it did. `on_unwanted` hears, once per read,
        how many frames led to nothing: skipped here, or counted in `unwanted`."""
        try:
            with self._scope:
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._write, name="writer")
                        await self._read(on_frame, on_unwanted)
                        nursery.cancel_scope.cancel()
                except* (trio.BrokenResourceError, trio.ClosedResourceError):
                    self.lost = self.lost or LostReason.RESET
                except* WireError as faults:
                    self.close(None, LostReason.PROTOCOL)
                    self.fault = next(_leaves(faults))
        finally:
            # Cancelled from outside as well: the descriptor is this task's to give back.
            self._outbox.clear()
            await self._say_goodbye()
        return self.lost or LostReason.EOF

    async def _read(
        self,
        on_frame: Callable[["Connection", Frame], None],
        on_unwanted: Callable[["Connection", int], None],
    ) -> None:
        reader, under_way, skipped = FrameReader(), _FrameTime(), 0
        while True:
            data = None
            with trio.move_on_at(under_way.deadline):
                data = await self._stream.receive_some()
            if data is None:
                self._close_slow(LostReason.TIMEOUT)
                return
            if not data:
                self.lost = self.lost or LostReason.EOF
                return
            self.bytes_received += len(data)
            reader.feed(data)
            try:
                await self._take(reader, on_frame)
            except WireError as error:
                self.close(BadRequest(code=broken_rule(error)), LostReason.PROTOCOL)
                raise
            unwanted = self.unwanted + reader.skipped_frames - skipped
            self.unwanted, skipped = 0, reader.skipped_frames
            if unwanted:
                on_unwanted(self, unwanted)
            under_way.on_read(reader, trio.current_time())

    async def _take(
        self, reader: FrameReader, on_frame: Callable[["Connection", Frame], None]
    ) -> None:
        """All whole frames there are. A peer that sends many, or some that take long, must not keep
        the others waiting."""
        taken, until = 0, trio.current_time() + TURN_S
        for frame in reader.frames():
            on_frame(self, frame)
            taken += 1
            if taken == FRAMES_PER_TURN or trio.current_time() >= until:
                await trio.lowlevel.checkpoint()
                taken, until = 0, trio.current_time() + TURN_S

    async def _write(self) -> None:
        while True:
            self._limit_unsent()
            batch = self._next_batch()
            if not batch:
                self._wake = trio.Event()
                await self._wake.wait()
                continue
            # Whoever waits for room prepares the next frame while this one is on its way.
            self._drained.set()
            self._drained = trio.Event()
            began_at = trio.current_time()
            with trio.move_on_after(TOO_SLOW_S) as scope:
                await self._stream.send_all(batch)
            if scope.cancelled_caught:
                self._close_slow(LostReason.WRITE_TIMEOUT)
                await trio.lowlevel.checkpoint()
            self._writing_since = None
            self._drain.on_written(len(batch), trio.current_time() - began_at)

    def _limit_unsent(self) -> None:
        """The kernel holds one content frame at a time: the next one is encrypted while this one
        travels, and trust waits behind no more than that."""
        size = self.content_frame_bytes
        if size != self._unsent_bytes:
            self._unsent_bytes = size
            self._stream.limit_unsent(size)

    async def mind(self, on_slow: Callable[[], None]) -> None:
        """Tell once whenever something has begun to wait for too long, and end the link if it goes
        on; bulk may wait."""
        is_told = False
        while self.lost is None:
            since = self._waits_since
            if since is None:
                is_told, self._queued = False, trio.Event()
                await self._queued.wait()
                continue
            waited_s = trio.current_time() - since
            if waited_s >= TOO_SLOW_S:
                self._close_slow(LostReason.BACKPRESSURE)
            elif waited_s < SLOW_S:
                is_told = False
                await trio.sleep(SLOW_S - waited_s)
            else:
                if not is_told:
                    is_told = True
                    on_slow()
                await trio.sleep(min(SLOW_S, TOO_SLOW_S - waited_s))

    @property
    def _waits_since(self) -> float | None:
        """Since when the oldest frame waits that is judged, in a queue or the batch under way."""
        both = (self._outbox.oldest, self._writing_since)
        return min((one for one in both if one is not None), default=None)

    def _next_batch(self) -> bytes:
        """The next frames to encrypt together: a large one alone, small ones of one or more
        classes, no more than trust may have to wait for."""
        frames: list[bytes] = []
        size, size_max = 0, min(BATCH_BYTES, self.content_frame_bytes)
        while (following := self._outbox.next_size()) is not None:
            if frames and size + following > size_max:
                break
            taken = self._outbox.take()
            frames.append(taken.frame)
            size += following
            if taken.traffic in JUDGED:
                before = self._writing_since
                self._writing_since = taken.since if before is None else min(before, taken.since)
        self.frames_sent += len(frames)
        return frames[0] if len(frames) == 1 else b"".join(frames)

    async def _say_goodbye(self) -> None:
        """The last word and the close, bounded: a peer that does not read delays nobody."""
        with trio.move_on_after(CLEANUP_S, shield=True):
            try:
                if self._farewell is not None:
                    # The kernel delivers it after the close, to a peer that reads at all.
                    self._stream.limit_unsent(LAST_WORD_BYTES)
                    kind, body = message_body(self._farewell)
                    await self._stream.send_all(frame_bytes(kind, TrafficClass.LINK, 0, body))
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
                pass
        await self._stream.aclose_forcefully()


class _FrameTime:
    """Until when the frame under way must end: a byte now and then does not keep it alive."""

    __slots__ = ("_ended", "deadline")

    def __init__(self) -> None:
        self._ended = 0
        self.deadline = math.inf

    def on_read(self, reader: FrameReader, now: float) -> None:
        """More bytes were read, and all whole frames among them taken."""
        if not reader.is_amid_frame:
            self.deadline = math.inf
        elif self.deadline == math.inf or reader.ended_frames != self._ended:
            self.deadline = now + FRAME_S
        self._ended = reader.ended_frames


def _leaves(faults: BaseExceptionGroup[WireError]) -> Iterator[WireError]:
    """The faults of a group, however deep."""
    for one in faults.exceptions:
        if isinstance(one, WireError):
            yield one
        else:
            yield from _leaves(one)
