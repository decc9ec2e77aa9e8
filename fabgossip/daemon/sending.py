"""Contents on their way to peers: read from the disk, hashed before a byte leaves, and sent at the
pace the peer takes them.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256

import trio

from fabgossip.core.chunks import chunks_asked
from fabgossip.core.effects import ServeContent, ServeItem
from fabgossip.core.events import ContentLost, ContentServed, Event, LinkId
from fabgossip.core.pace import WINDOW, Pace
from fabgossip.daemon.connections import Connection
from fabgossip.daemon.disk import Disk
from fabgossip.daemon.transfers import HASH_INLINE_MAX, WATCH_S
from fabgossip.model.artifact import chunk_size_of
from fabgossip.model.messages import NotAvailable
from fabgossip.model.moment import Instant
from fabgossip.wire.codec import ContentHeader, content_header_bytes
from fabgossip.wire.framing import FrameKind, frame_header
from fabgossip.wire.outbox import content_bytes_max


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


class Sending:
    """Everything on its way from this node. All methods are called from the loop."""

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
        self._readers: dict[LinkId, _Reader] = {}
        self._serving: dict[tuple[LinkId, int], trio.CancelScope] = {}
        """By link and stream."""
        self._busy = trio.Event()

    def serve(self, effect: ServeContent, connection: Connection) -> None:
        """Carry out a `ServeContent`: small contents at once, the others by a task of their own."""
        if len(effect.items) == 1:
            item = effect.items[0]
            inline = self._inline(item)
            if inline is not None:
                frame = _content_frame(effect, item.item, 0, inline, is_last=True)
                if connection.offer_bulk(frame, effect.traffic):
                    self._post(ContentServed(link=effect.link, stream=effect.stream))
                    return
        scope = self._serving[(effect.link, effect.stream)] = trio.CancelScope()
        self._nursery.start_soon(self._serve, effect, connection, scope, name="serve content")

    async def _serve(
        self, effect: ServeContent, connection: Connection, scope: trio.CancelScope
    ) -> None:
        reader = self._readers.setdefault(connection.link, _Reader(Pace(WINDOW, self._now())))
        self._busy.set()
        reader.serving += 1
        try:
            with scope:
                for item in effect.items:
                    if not await self._serve_item(effect, item, connection, reader):
                        break
        finally:
            del self._serving[(effect.link, effect.stream)]
            reader.serving -= 1
            if not reader.serving:
                del self._readers[connection.link]
            self._post(
                ContentServed(
                    link=effect.link, stream=effect.stream, is_too_slow=reader.is_too_slow
                )
            )

    async def _serve_item(
        self, effect: ServeContent, item: ServeItem, connection: Connection, reader: _Reader
    ) -> bool:
        """Send one item; a damaged or vanished content is answered like an absent one. False where
        the peer does not take it."""
        for number in chunks_asked(item):
            piece = self._inline(item)
            if piece is None:
                began_at = self._now()
                piece = await trio.to_thread.run_sync(self._read_piece, item, number)
                reader.pace.on_held_up(began_at, self._now())
            else:
                await trio.lowlevel.checkpoint()  # a request may name hundreds
            if piece is None:
                connection.send(NotAvailable(item=item.item), effect.traffic, effect.stream)
                if await trio.to_thread.run_sync(self._disk.has_lost, item.content_hash):
                    self._post(ContentLost(content_hash=item.content_hash))
                return True
            view = memoryview(piece)
            start, is_last = 0, False
            while not is_last:
                size = content_bytes_max(effect.traffic, connection.content_frame_bytes)
                part = view[start : start + size]
                is_last = start + len(part) == len(view)
                frame = _content_frame(effect, item.item, start, part, is_last=is_last)
                start += len(part)
                reader.pace.on_started(len(part))
                with reader.waiting() as scope:
                    await connection.send_bulk(frame, effect.traffic)
                if scope.cancelled_caught or connection.lost is not None:
                    return False
                reader.pace.on_bytes(len(part), self._now())
        return True

    async def watch(self) -> None:
        """Send no more to whoever takes too slowly what it asked for."""
        while True:
            if not self._readers:
                self._busy = trio.Event()
                await self._busy.wait()
            await trio.sleep(WATCH_S)
            now = self._now()
            for reader in self._readers.values():
                reader.look(now)

    def on_cancelled(self, link: LinkId, stream: int) -> None:
        """The peer gave up what it had asked for, if that is still on its way."""
        scope = self._serving.get((link, stream))
        if scope is not None:
            scope.cancel()

    def on_lost(self, link: LinkId) -> None:
        """A link ended with all that went over it."""
        reader = self._readers.get(link)
        if reader is not None:
            reader.end()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._readers

    def _now(self) -> Instant:
        return Instant(int(self._clock() * 1_000))

    def _inline(self, item: ServeItem) -> bytes | None:
        """A content so small that reading and hashing it takes less than a thread does, if it is
        sound."""
        inline = self._disk.find_inline(item.content_hash) if item.size <= HASH_INLINE_MAX else None
        is_sound = inline is not None and sha256(inline).digest() == item.content_hash
        return inline if is_sound else None

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
