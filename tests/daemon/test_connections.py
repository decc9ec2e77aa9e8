"""One link: frames in order and by class, and never a wait for one peer."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import trio
import trio.testing

from fabgossip.core.events import LostReason
from fabgossip.daemon.connections import FRAMES_PER_TURN, TURN_S, Connection
from fabgossip.model.messages import Bye, ByeReason, Ping, TrafficClass
from fabgossip.wire.codec import parse_message
from fabgossip.wire.framing import Frame, FrameKind, frame_bytes
from fabgossip.wire.outbox import CONTENT_FRAME_BYTES_MIN, QUEUE_BYTES_MAX
from tests.daemon.fabric import HANG_S, linked, linked_over, uncounted
from tests.wire.samples import ping

BULK = b"x" * (64 << 10)


class Kernel(trio.abc.Stream):
    """A stream over memory with a socket's send buffer: it takes bytes while fewer than its limit
    are unsent, and the peer takes them at a constant rate."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self._inner = inner
        self._unsent = bytearray()
        self._changed = trio.Event()
        self.limit = 16 << 10
        self.bytes_per_s = 1 << 30

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
        self.limit = value

    async def pump(self) -> None:
        """Let the peer take what is here, for ever."""
        while True:
            while not self._unsent:
                await self._change()
            piece = bytes(self._unsent[:4_096])
            await trio.sleep(len(piece) / self.bytes_per_s)
            del self._unsent[: len(piece)]
            try:
                await self._inner.send_all(piece)
            except trio.ClosedResourceError:
                return
            self._say()

    async def _change(self) -> None:
        self._changed = trio.Event()
        await self._changed.wait()

    def _say(self) -> None:
        self._changed.set()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            room = self.limit - len(self._unsent)
            if room <= 0:
                await self._change()
                continue
            self._unsent += rest[:room]
            rest = rest[room:]
            self._say()
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._inner.receive_some(max_bytes)

    async def wait_send_all_might_not_block(self) -> None:
        raise AssertionError("nobody asks")

    async def aclose(self) -> None:
        await self._inner.aclose()


class Reader:
    """What an end has received."""

    def __init__(self) -> None:
        self.frames: list[tuple[FrameKind, TrafficClass, bytes]] = []
        self._arrived = trio.Event()

    def __call__(self, _: Connection, frame: Frame) -> None:
        self.frames.append((frame.kind, frame.traffic, bytes(frame.body)))
        self._arrived.set()

    async def until(self, count: int) -> None:
        while len(self.frames) < count:
            self._arrived = trio.Event()
            await self._arrived.wait()

    @property
    def pings(self) -> list[int]:
        found = [
            parse_message(kind, body)
            for kind, _, body in self.frames
            if kind is not FrameKind.CONTENT
        ]
        return [one.sequence for one in found if isinstance(one, Ping)]


@asynccontextmanager
async def served(
    folder: Path,
) -> AsyncIterator[tuple[Connection, Connection, Reader, trio.Nursery]]:
    """A link whose accepting end reads."""
    with trio.fail_after(HANG_S):
        async with linked(folder) as (one, other), trio.open_nursery() as nursery:
            reader = Reader()
            nursery.start_soon(other.serve, reader, uncounted)
            yield one, other, reader, nursery
            one.close(None, LostReason.LOCAL)
            other.close(None, LostReason.LOCAL)


def unread(_: Connection, __: Frame) -> None:
    """Nobody is interested."""


def have(body: bytes, traffic: TrafficClass) -> bytes:
    return frame_bytes(FrameKind.CONTENT, traffic, 1, body)


async def test_frames_of_a_class_arrive_in_the_order_they_were_sent(tmp_path: Path) -> None:
    async with served(tmp_path) as (one, _, reader, nursery):
        for number in range(500):
            assert one.send(ping(number), TrafficClass.LINK, 0)
        nursery.start_soon(one.serve, unread, uncounted)
        await reader.until(500)
        assert reader.pings == list(range(500))


async def test_trust_overtakes_what_was_queued_before_it(tmp_path: Path) -> None:
    """Classes 0, 1, 2 in that order; the others after them."""
    order = [
        TrafficClass.BULK,
        TrafficClass.POLICY,
        TrafficClass.SNAPSHOT,
        TrafficClass.TOMBSTONE,
        TrafficClass.TRUST,
        TrafficClass.LINK,
    ]
    async with served(tmp_path) as (one, _, reader, nursery):
        for traffic in (*order, *order):
            assert one.send_frame(have(BULK[:100], traffic), traffic)
        nursery.start_soon(one.serve, unread, uncounted)
        await reader.until(12)
        arrived = [traffic.name for _, traffic, _ in reader.frames]
        assert arrived[:6] == ["LINK", "LINK", "TRUST", "TRUST", "TOMBSTONE", "TOMBSTONE"]
        assert arrived[6:] == ["SNAPSHOT", "SNAPSHOT", "POLICY", "POLICY", "BULK", "BULK"]


async def test_behind_bulk_for_a_slow_reader_trust_waits_for_two_small_frames(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """One the kernel has and one it is being given, however much the kernel would take."""
    rate = 128 << 10
    near, far = trio.testing.memory_stream_pair()
    kernel = Kernel(near)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kernel.pump)
        one, other = await linked_over(tmp_path, kernel, far)
        kernel.bytes_per_s = rate
        reader = Reader()
        nursery.start_soon(other.serve, reader, uncounted)
        nursery.start_soon(one.serve, unread, uncounted)

        async def feed() -> None:
            while True:
                frame = have(b"x" * one.content_frame_bytes, TrafficClass.BULK)
                await one.send_bulk(frame, TrafficClass.BULK)

        nursery.start_soon(feed)
        await trio.sleep(10)
        began_at = trio.current_time()
        assert one.send(ping(7), TrafficClass.TRUST, 0)
        while 7 not in reader.pings:  # noqa: ASYNC110  # the clock jumps
            await trio.sleep(0.01)
        assert trio.current_time() - began_at <= 2.1 * CONTENT_FRAME_BYTES_MIN / rate
        nursery.cancel_scope.cancel()


async def test_the_kernel_of_a_socket_is_told_how_much_it_may_hold(tmp_path: Path) -> None:
    async with served(tmp_path) as (one, _, __, nursery):
        nursery.start_soon(one.serve, unread, uncounted)
        await trio.testing.wait_all_tasks_blocked()
        transport = one._stream._transport  # noqa: SLF001 - only the socket knows
        assert isinstance(transport, trio.SocketStream)
        option = transport.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
        assert option == one.content_frame_bytes == CONTENT_FRAME_BYTES_MIN


async def test_a_full_queue_drops_and_says_so_but_one_that_carries_trust_closes(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as (one, _, __, nursery):
        for traffic in (TrafficClass.POLICY, TrafficClass.TRUST):
            room = QUEUE_BYTES_MAX[traffic]
            while room >= len(have(BULK, traffic)):
                assert one.send_frame(have(BULK, traffic), traffic)
                room -= len(have(BULK, traffic))
            assert one.lost is None
            assert not one.send_frame(have(BULK, traffic), traffic)
            if traffic is TrafficClass.POLICY:
                assert one.lost is None
        assert one.lost is LostReason.BACKPRESSURE
        nursery.start_soon(one.serve, unread, uncounted)


async def test_a_queue_takes_exactly_its_limit(tmp_path: Path) -> None:
    async with served(tmp_path) as (one, _, __, nursery):
        traffic, limit = TrafficClass.TOMBSTONE, QUEUE_BYTES_MAX[TrafficClass.TOMBSTONE]
        assert one.send_frame(b"x" * limit, traffic)
        assert one.queued_bytes == limit
        assert not one.send_frame(b"x", traffic)
        nursery.start_soon(one.serve, unread, uncounted)


async def test_a_stalled_peer_holds_up_nobody_else(tmp_path: Path) -> None:
    """One end never reads: what is sent to the other one arrives, and no send ever waits."""
    folders = tmp_path / "1", tmp_path / "2"
    for folder in folders:
        folder.mkdir()
    async with (
        served(folders[0]) as (good, _, reader, nursery),
        linked(folders[1]) as (stalled, silent),
    ):
        nursery.start_soon(stalled.serve, unread, uncounted)
        nursery.start_soon(good.serve, unread, uncounted)
        while stalled.send_frame(have(BULK, TrafficClass.BULK), TrafficClass.BULK):
            await trio.lowlevel.checkpoint()
        for number in range(100):
            assert good.send(ping(number), TrafficClass.LINK, 0)
        await reader.until(100)
        assert reader.pings == list(range(100))
        assert stalled.lost is None
        stalled.close(None, LostReason.LOCAL)
        silent.close(None, LostReason.LOCAL)
        await silent.serve(unread, uncounted)


@pytest.mark.parametrize(("frame_s", "frames"), [(0.0, FRAMES_PER_TURN), (0.6 * TURN_S, 2)])
async def test_a_peer_whose_frames_are_many_or_take_long_lets_the_others_get_on(
    tmp_path: Path, mock_clock: trio.testing.MockClock, frame_s: float, frames: int
) -> None:
    """Whoever else is ready runs after so many of them, or after so long; the scheduler may let the
    reader have two turns in a row."""
    count = 4 * FRAMES_PER_TURN
    taken = 0
    seen = [0]

    def on_frame(_: Connection, __: Frame) -> None:
        nonlocal taken
        taken += 1
        if frame_s:
            mock_clock.jump(frame_s)

    async with linked(tmp_path) as (one, other), trio.open_nursery() as nursery:
        for number in range(count):
            assert one.send(ping(number), TrafficClass.LINK, 0)
        nursery.start_soon(one.serve, unread, uncounted)
        nursery.start_soon(other.serve, on_frame, uncounted)
        while taken < count:
            seen.append(taken)
            await trio.lowlevel.checkpoint()
        one.close(None, LostReason.LOCAL)
        other.close(None, LostReason.LOCAL)
    seen.append(count)
    assert max(later - before for before, later in pairwise(seen)) <= 2 * frames


@asynccontextmanager
async def narrow(folder: Path, bytes_per_s: int) -> AsyncIterator[tuple[Connection, Reader]]:
    """A link to a peer that reads at this rate, and is minded."""
    near, far = trio.testing.memory_stream_pair()
    kernel = Kernel(near)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kernel.pump)
        one, other = await linked_over(folder, kernel, far)
        kernel.bytes_per_s = bytes_per_s
        reader = Reader()
        nursery.start_soon(other.serve, reader, uncounted)
        nursery.start_soon(one.serve, unread, uncounted)
        yield one, reader
        nursery.cancel_scope.cancel()


class Slow:
    """When somebody was told that a peer is slow."""

    def __init__(self) -> None:
        self.at: list[int] = []
        self._began_at = trio.current_time()

    def __call__(self) -> None:
        self.at.append(round(trio.current_time() - self._began_at))


async def test_a_peer_is_slow_once_as_long_as_something_waits_and_bulk_may_wait(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Each batch is taken within its second: by that nothing would be slow."""
    async with narrow(tmp_path, 16 << 10) as (one, _), trio.open_nursery() as nursery:
        slow = Slow()
        nursery.start_soon(one.mind, slow)
        for _ in range(4):
            assert one.send_frame(have(BULK, TrafficClass.BULK), TrafficClass.BULK)
        await trio.sleep(60)
        assert slow.at == []
        for _ in range(2):
            for _ in range(3):
                assert one.send_frame(
                    have(BULK[: 16 << 10], TrafficClass.POLICY), TrafficClass.POLICY
                )
            await trio.sleep(20)
        assert slow.at == [61, 81]
        assert one.lost is None
        nursery.cancel_scope.cancel()


async def test_a_peer_for_whom_anything_waits_for_ten_seconds_is_lost(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """However little it takes of each batch: the queue is as long as ever."""
    async with narrow(tmp_path, 4 << 10) as (one, _), trio.open_nursery() as nursery:
        slow = Slow()
        nursery.start_soon(one.mind, slow)

        async def feed() -> None:
            while one.lost is None:
                frame = have(BULK[: 16 << 10], TrafficClass.POLICY)
                while one.offer_bulk(frame, TrafficClass.POLICY):
                    pass
                await trio.sleep(0.1)

        nursery.start_soon(feed)
        while one.lost is None:  # noqa: ASYNC110  # the clock jumps
            await trio.sleep(0.1)
        assert one.lost is LostReason.BACKPRESSURE
        assert 10 <= trio.current_time() <= 15
        assert slow.at == [1]
        nursery.cancel_scope.cancel()


async def test_the_last_word_reaches_a_peer_in_the_middle_of_a_record(tmp_path: Path) -> None:
    """What was encrypted and not yet taken by the kernel goes before it."""
    with trio.fail_after(HANG_S):
        async with linked(tmp_path) as (one, other), trio.open_nursery() as nursery:
            nursery.start_soon(one.serve, unread, uncounted)
            while one.send_frame(have(BULK, TrafficClass.BULK), TrafficClass.BULK):
                await trio.testing.wait_all_tasks_blocked()
            one.close(Bye(reason=ByeReason.SLOW, retry_after_s=60), LostReason.BACKPRESSURE)
            await trio.testing.wait_all_tasks_blocked()
            reader = Reader()
            await other.serve(reader, uncounted)
            kind, _, body = reader.frames[-1]
            assert parse_message(kind, body) == Bye(reason=ByeReason.SLOW, retry_after_s=60)


async def test_a_link_cancelled_from_outside_gives_its_descriptor_back(tmp_path: Path) -> None:
    """Past the deadline of a shutdown nobody else would close it."""
    async with linked(tmp_path) as (one, other):
        with trio.CancelScope() as scope:
            scope.cancel()
            await one.serve(unread, uncounted)
        assert await other.serve(unread, uncounted) in (LostReason.EOF, LostReason.RESET)
        with pytest.raises(trio.ClosedResourceError):
            await one._stream.send_all(b"x")  # noqa: SLF001 - only the stream knows that it is closed


async def test_two_senders_of_bulk_both_get_on(tmp_path: Path) -> None:
    """Each waits for room; neither is forgotten when there is some."""
    frames = 60
    async with served(tmp_path) as (one, _, reader, nursery):

        async def send(mark: bytes) -> None:
            for _ in range(frames):
                frame = have(mark * len(BULK), TrafficClass.POLICY)
                await one.send_bulk(frame, TrafficClass.POLICY)

        for mark in (b"a", b"b"):
            nursery.start_soon(send, mark)
        nursery.start_soon(one.serve, unread, uncounted)
        await reader.until(2 * frames)
        marks = [body[-1:] for _, _, body in reader.frames]
        assert (marks.count(b"a"), marks.count(b"b")) == (frames, frames)


async def test_the_last_word_says_why(tmp_path: Path) -> None:
    async with served(tmp_path) as (one, _, reader, nursery):
        one.close(Bye(reason=ByeReason.RESTART, retry_after_s=7), LostReason.LOCAL)
        one.close(Bye(reason=ByeReason.FULL, retry_after_s=1), LostReason.RESET)
        assert one.lost is LostReason.LOCAL
        nursery.start_soon(one.serve, unread, uncounted)
        await reader.until(1)
        kind, _, body = reader.frames[0]
        assert parse_message(kind, body) == Bye(reason=ByeReason.RESTART, retry_after_s=7)


async def test_bytes_that_are_no_frame_close_the_link_and_tell_the_peer(tmp_path: Path) -> None:
    with trio.fail_after(HANG_S):
        async with linked(tmp_path) as (one, other):
            reader, ends = Reader(), {}

            async def serve(name: str, end: Connection, on_frame: object) -> None:
                assert callable(on_frame)
                ends[name] = await end.serve(on_frame, uncounted)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve, "one", one, reader)
                nursery.start_soon(serve, "other", other, unread)
                await one._stream.send_all(b"\xff" * 64)  # noqa: SLF001 - a peer that is not us
            assert ends["other"] is LostReason.PROTOCOL
            assert [kind for kind, _, _ in reader.frames] == [FrameKind.BAD_REQUEST]


async def test_a_peer_that_just_goes_is_an_end_of_file_or_a_reset(tmp_path: Path) -> None:
    with trio.fail_after(HANG_S):
        async with linked(tmp_path) as (one, other):
            one.close(None, LostReason.LOCAL)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.serve, unread, uncounted)
                assert await other.serve(unread, uncounted) in (LostReason.EOF, LostReason.RESET)
