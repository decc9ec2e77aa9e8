"""Contents on their way: verified before a byte is kept, and whoever sent a wrong one is named."""

import errno
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest
import trio
import trio.lowlevel

from fabgossip.control.drafts import chunk_hashes_of
from fabgossip.core.batches import ITEMS_MAX
from fabgossip.core.effects import ReceiveContent, ServeContent, ServeItem
from fabgossip.core.events import (
    ContentFailed,
    ContentLost,
    ContentServed,
    ContentStored,
    ContentWanted,
    FetchFailure,
    LostReason,
    RequestId,
)
from fabgossip.daemon.connections import Connection
from fabgossip.daemon.submitted import Submission
from fabgossip.model.artifact import chunk_size_of
from fabgossip.model.ids import ContentHash
from fabgossip.model.messages import (
    INLINE_BYTES_MAX,
    Busy,
    Cancel,
    GetContent,
    NotAvailable,
    TrafficClass,
)
from fabgossip.wire.codec import ContentHeader, content_header_bytes, parse_message
from fabgossip.wire.framing import Frame, FrameKind, frame_bytes
from tests.daemon.fabric import HANG_S, End, linked, store, uncounted, wanted

SMALL = b"small content"
LARGE = bytes(range(256)) * (12 << 10)  # 3 MiB, so twelve chunks
IDLE_MS = 10_000


class Link:
    """A receiving end at `here`, and a serving end whose answers the test decides."""

    def __init__(self, here: End, there: End, ends: tuple[Connection, Connection]) -> None:
        self.here, self.there = here, there
        self.near, self.far = ends
        self.spoil: dict[str, object] = {}
        self.asked: list[GetContent] = []
        self.cancelled: list[int] = []
        self.outgoing, self._outgoing = trio.open_memory_channel[bytes](1_000)

    async def send_content(self) -> None:
        """What `answer` gave leaves in its order, each frame once there is room for it."""
        async for frame in self._outgoing:
            await self.far.send_bulk(frame, TrafficClass.POLICY)

    def on_near(self, connection: Connection, frame: Frame) -> None:
        if frame.kind is FrameKind.CONTENT:
            self.here.transfers.on_content(connection, frame.stream, frame.body)
            return
        message = parse_message(frame.kind, bytes(frame.body))
        assert isinstance(message, NotAvailable | Busy)
        self.here.transfers.on_not_available(connection, frame.stream, message)

    def on_far(self, connection: Connection, frame: Frame) -> None:
        message = parse_message(frame.kind, bytes(frame.body))
        if isinstance(message, Cancel):
            self.cancelled.append(frame.stream)
            self.there.sending.on_cancelled(connection.link, frame.stream)
            return
        assert isinstance(message, GetContent)
        self.asked.append(message)
        answer = self.spoil.get("answer")
        if answer is not None:
            assert callable(answer)
            content = answer(connection, frame.stream, message)
            if isinstance(content, bytes):
                self.outgoing.send_nowait(content)
            return
        (ask,) = message.items
        content = self.spoil.get("content")
        assert isinstance(content, bytes)
        item = ServeItem(
            item=0,
            content_hash=ask.content_hash,
            size=len(content),
            chunk_hashes=chunk_hashes_of(content),
            first_chunk=ask.first_chunk,
            chunk_count=ask.chunk_count,
        )
        effect = ServeContent(
            link=connection.link, stream=frame.stream, items=(item,), traffic=TrafficClass.POLICY
        )
        self.there.sending.serve(effect, connection)

    def receive(self, content: bytes, *, idle_ms: int = IDLE_MS, is_read: bool = False) -> None:
        effect = ReceiveContent(
            wanted=wanted(content, is_read=is_read), link=self.near.link, idle_ms=idle_ms
        )
        self.here.transfers.receive(effect, self.near)


@asynccontextmanager
async def link(folder: Path) -> AsyncIterator[Link]:
    with trio.fail_after(HANG_S):
        async with linked(folder) as ends, trio.open_nursery() as nursery:
            here, there = End(folder / "here", nursery), End(folder / "there", nursery)
            made = Link(here, there, ends)
            nursery.start_soon(ends[0].serve, made.on_near, uncounted)
            nursery.start_soon(ends[1].serve, made.on_far, uncounted)
            nursery.start_soon(made.send_content)
            yield made
            for one in ends:
                one.close(None, LostReason.LOCAL)
            nursery.cancel_scope.cancel()
        here.close()
        there.close()


@pytest.mark.parametrize(
    "content", [b"", SMALL, b"m" * 300_000, LARGE], ids=["empty", "inline", "file", "chunked"]
)
@pytest.mark.slow
async def test_a_content_arrives_whole_and_is_durable(tmp_path: Path, content: bytes) -> None:
    async with link(tmp_path) as one:
        await store(one.there, content)
        one.spoil["content"] = content
        one.receive(content)
        stored = await one.here.event()
        small = content if len(content) <= INLINE_BYTES_MAX else None
        is_chunked = bool(chunk_hashes_of(content))
        assert stored == ContentStored(
            wanted=wanted(content), link=one.near.link, content=small,
            brought=((one.near.link, len(content)),) if is_chunked else (),
        )  # fmt: skip
        assert one.here.disk.read(wanted(content).content_hash) == content
        assert len(one.asked) == max(len(chunk_hashes_of(content)), 1)
        served = [await one.there.event() for _ in one.asked]
        assert all(isinstance(event, ContentServed) for event in served)


async def test_small_contents_are_asked_for_together_and_each_has_an_outcome_of_its_own(
    tmp_path: Path,
) -> None:
    contents = [b"content %d" % number for number in range(ITEMS_MAX + 40)]
    missing, busy, wrong = 3, 5, 7

    def answer(connection: Connection, stream: int, message: GetContent) -> None:
        for item in reversed(range(len(message.items))):
            content = contents[item] if len(message.items) == ITEMS_MAX else contents[-40 + item]
            if content == contents[missing]:
                connection.send(NotAvailable(item=item), TrafficClass.POLICY, stream)
            elif content == contents[busy]:
                said = Busy(item=item, retry_after_ms=1_000)
                connection.send(said, TrafficClass.POLICY, stream)
            else:
                data = b"x" * len(content) if content == contents[wrong] else content
                one.outgoing.send_nowait(content_frame(stream, data, item=item))

    async with link(tmp_path) as one:
        one.spoil["answer"] = answer
        for content in contents:
            one.receive(content)
        events = [await one.here.event() for _ in contents]
    assert [len(request.items) for request in one.asked] == [ITEMS_MAX, 40]
    failed = {
        event.wanted.content_hash: event.reason
        for event in events
        if isinstance(event, ContentFailed)
    }
    assert failed == {
        wanted(contents[missing]).content_hash: FetchFailure.MISSING,
        wanted(contents[busy]).content_hash: FetchFailure.BUSY,
        wanted(contents[wrong]).content_hash: FetchFailure.BAD_HASH,
    }
    stored = {one.wanted.content_hash for one in events if isinstance(one, ContentStored)}
    assert len(stored) == len(contents) - 3


async def test_who_is_silent_in_the_middle_of_a_request_has_failed_for_all_that_is_left_of_it(
    tmp_path: Path,
) -> None:
    contents = [b"content %d" % number for number in range(4)]
    async with link(tmp_path) as one:
        one.spoil["answer"] = lambda _, stream, __: content_frame(stream, contents[2], item=2)
        for content in contents:
            one.receive(content, idle_ms=100)
        first, *others = [await one.here.event() for _ in contents]
    assert isinstance(first, ContentStored)
    assert first.content == contents[2]
    assert {event.reason for event in others if isinstance(event, ContentFailed)} == {
        FetchFailure.STALLED
    }


async def test_a_request_is_cancelled_once_nothing_of_it_is_needed(tmp_path: Path) -> None:
    contents = [b"content %d" % number for number in range(2)]
    async with link(tmp_path) as one:
        one.spoil["answer"] = lambda *_: None
        for content in contents:
            one.receive(content)
        await trio.testing.wait_all_tasks_blocked(0.01)
        for number, content in enumerate(contents):
            assert one.cancelled == []
            one.here.transfers.cancel(one.near.link, wanted(content).content_hash)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert len(one.cancelled) == number
    assert one.here.events == []


async def test_what_gathers_on_a_link_that_ends_has_failed_with_it(tmp_path: Path) -> None:
    async with link(tmp_path) as one:
        one.receive(SMALL)
        one.here.transfers.on_lost(one.near.link)
        failed = await one.here.event()
        assert isinstance(failed, ContentFailed)
        assert failed.reason is FetchFailure.LOST
        await trio.testing.wait_all_tasks_blocked()
        assert one.asked == []


async def test_a_content_fabgossip_reads_comes_with_its_bytes(tmp_path: Path) -> None:
    async with link(tmp_path) as one:
        await store(one.there, SMALL)
        one.spoil["content"] = SMALL
        one.receive(SMALL, is_read=True)
        stored = await one.here.event()
        assert isinstance(stored, ContentStored)
        assert stored.content == SMALL


def content_frame(
    stream: int, data: bytes, offset: int = 0, *, is_last: bool = True, item: int = 0
) -> bytes:
    header = content_header_bytes(ContentHeader(item, is_last, offset))
    return frame_bytes(FrameKind.CONTENT, TrafficClass.POLICY, stream, header + data)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (bytes([SMALL[0] ^ 1]) + SMALL[1:], FetchFailure.BAD_HASH),
        (SMALL[:-1], FetchFailure.BAD_LENGTH),
        (SMALL + b"!", FetchFailure.BAD_LENGTH),
    ],
    ids=["a flipped bit", "short", "long"],
)
async def test_a_wrong_content_is_blamed_on_its_sender_and_nothing_is_kept(
    tmp_path: Path, sent: bytes, reason: FetchFailure
) -> None:
    async with link(tmp_path) as one:
        one.spoil["answer"] = lambda _, stream, __: content_frame(stream, sent)
        one.receive(SMALL)
        failed = await one.here.event()
        assert failed == ContentFailed(
            wanted=wanted(SMALL),
            link=one.near.link,
            request=None,
            reason=reason,
            received=0,
        )
        assert one.here.disk.read(wanted(SMALL).content_hash) is None


async def test_a_flipped_bit_in_one_chunk_counts_what_was_good_before_it(tmp_path: Path) -> None:
    size = chunk_size_of(len(LARGE))

    def answer(_: Connection, stream: int, message: GetContent) -> bytes:
        number = message.items[0].first_chunk
        data = bytearray(LARGE[number * size : (number + 1) * size])
        if number == 2:
            data[-1] ^= 1
        return content_frame(stream, bytes(data))

    async with link(tmp_path) as one:
        one.spoil["answer"] = answer
        one.receive(LARGE)
        failed = await one.here.event()
        assert isinstance(failed, ContentFailed)
        assert (failed.reason, failed.received) == (FetchFailure.BAD_HASH, 2 * size)
        await trio.testing.wait_all_tasks_blocked()
        assert not one.here.files.path_of(wanted(LARGE).content_hash).exists()


async def test_chunks_the_manifest_contradicts_are_refused_as_a_whole(tmp_path: Path) -> None:
    """Every chunk is the one that was named, and the whole is not."""
    async with link(tmp_path) as one:
        await store(one.there, LARGE)
        one.spoil["content"] = LARGE
        right = wanted(LARGE)
        lie = ContentWanted(
            manifest_hash=right.manifest_hash,
            content_hash=ContentHash(b"h" * 32),
            size=right.size,
            chunk_hashes=right.chunk_hashes,
            is_read=False,
        )
        size = chunk_size_of(len(LARGE))
        one.spoil["answer"] = lambda _, stream, message: content_frame(
            stream, LARGE[message.items[0].first_chunk * size :][:size]
        )
        effect = ReceiveContent(wanted=lie, link=one.near.link, idle_ms=IDLE_MS)
        one.here.transfers.receive(effect, one.near)
        failed = await one.here.event()
        assert isinstance(failed, ContentFailed)
        assert failed.reason is FetchFailure.CONTRADICTED
        assert not one.here.files.path_of(lie.content_hash).exists()


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (NotAvailable(item=0), FetchFailure.MISSING),
        (Busy(item=0, retry_after_ms=1_000), FetchFailure.BUSY),
    ],
    ids=["not available", "busy"],
)
async def test_a_refusal_ends_the_try(
    tmp_path: Path, message: NotAvailable | Busy, reason: FetchFailure
) -> None:
    async with link(tmp_path) as one:
        one.spoil["answer"] = lambda end, stream, _: end.send(message, TrafficClass.POLICY, stream)
        one.receive(SMALL)
        failed = await one.here.event()
        assert isinstance(failed, ContentFailed)
        assert failed.reason is reason


SIZE = chunk_size_of(len(LARGE))


def chunk(number: int) -> bytes:
    return LARGE[number * SIZE : (number + 1) * SIZE]


def only(*numbers: int) -> Callable[[Connection, int, GetContent], bytes | None]:
    """Brings these chunks, and says nothing of the others."""

    def answer(_: Connection, stream: int, message: GetContent) -> bytes | None:
        number = message.items[0].first_chunk
        return content_frame(stream, chunk(number)) if number in numbers else None

    return answer


async def bring(one: Link, *numbers: int) -> None:
    """A source brings these chunks, of the first four, and is gone."""
    one.spoil["answer"] = only(*numbers)
    one.receive(LARGE)
    while len(one.asked) < 4 + len(numbers):  # for each that was kept another one is asked for
        await trio.lowlevel.checkpoint()
    one.here.transfers.on_lost(one.near.link)
    failed = await one.here.event()
    assert isinstance(failed, ContentFailed)
    assert failed.received == len(numbers) * SIZE
    one.asked.clear()


async def part_of(folder: Path, *numbers: int) -> None:
    """What a daemon leaves that was brought these chunks before it ended."""
    async with link(folder) as one:
        await bring(one, *numbers)


def asked_of(one: Link) -> list[int]:
    return sorted(message.items[0].first_chunk for message in one.asked)


async def test_what_one_source_brought_is_not_asked_of_the_next(tmp_path: Path) -> None:
    async with link(tmp_path) as one:
        await bring(one, 0, 1, 3)
        one.spoil["answer"] = only(*range(64))
        one.receive(LARGE)
        assert isinstance(await one.here.event(), ContentStored)
        assert asked_of(one) == [2, *range(4, 12)]
        assert one.here.disk.read(wanted(LARGE).content_hash) == LARGE
        assert not list((tmp_path / "here" / "incoming").iterdir())


async def test_what_an_earlier_process_left_is_looked_at_and_taken_up(tmp_path: Path) -> None:
    """A chunk that rotted meanwhile is asked for as if it had never come."""
    await part_of(tmp_path, 0, 1, 3)
    (part,) = (tmp_path / "here" / "incoming").glob("*.part")
    with part.open("r+b") as file:
        file.seek(SIZE)
        file.write(b"rotten")
    async with link(tmp_path) as one:
        one.spoil["answer"] = only(*range(64))
        one.receive(LARGE)
        stored = await one.here.event()
        assert isinstance(stored, ContentStored)
        assert asked_of(one) == [1, 2, *range(4, len(chunk_hashes_of(LARGE)))]
        assert stored.brought == ((one.near.link, len(LARGE) - 2 * SIZE),)
        assert one.here.disk.read(wanted(LARGE).content_hash) == LARGE


@pytest.mark.parametrize("spoil", ["another size", "a link", "two names"])
async def test_a_part_that_is_not_ours_alone_is_no_part(tmp_path: Path, spoil: str) -> None:
    await part_of(tmp_path, 0)
    (part,) = (tmp_path / "here" / "incoming").glob("*.part")
    other = tmp_path / "elsewhere"
    if spoil == "another size":
        os.truncate(part, SIZE)
    elif spoil == "a link":
        part.rename(other)
        part.symlink_to(other)
    else:
        os.link(part, other)
    before = other.read_bytes() if other.exists() else b""
    async with link(tmp_path) as one:
        one.spoil["answer"] = only(*range(64))
        one.receive(LARGE)
        assert isinstance(await one.here.event(), ContentStored)
        assert asked_of(one) == list(range(len(chunk_hashes_of(LARGE))))
    assert not other.exists() or other.read_bytes() == before


async def test_two_sources_bring_one_content_together(tmp_path: Path) -> None:
    """Each chunk once, but for the last two, and a wrong one costs only its sender."""
    async with link(tmp_path) as one:
        waiting: list[tuple[Connection, int, int]] = []
        one.spoil["answer"] = lambda connection, stream, message: waiting.append(
            (connection, stream, message.items[0].first_chunk)
        )
        one.receive(LARGE)
        one.receive(LARGE)
        while len(waiting) < 8:
            await trio.testing.wait_all_tasks_blocked()
        first = {number for _, _, number in waiting}
        assert first == set(range(8))
        one.spoil["answer"] = only(*range(64))
        for _, stream, number in waiting:
            data = chunk(number) if number else b"!" * SIZE
            one.outgoing.send_nowait(content_frame(stream, data))
        failed, stored = await one.here.event(), await one.here.event()
        assert isinstance(failed, ContentFailed)
        assert failed.reason is FetchFailure.BAD_HASH
        assert isinstance(stored, ContentStored)
        assert one.here.disk.read(wanted(LARGE).content_hash) == LARGE
        count = len(chunk_hashes_of(LARGE))
        assert len(one.asked) <= count + 8


@pytest.mark.slow
async def test_a_silent_source_loses_its_turn(tmp_path: Path) -> None:
    async with link(tmp_path) as one:
        one.spoil["answer"] = lambda *_: None
        one.receive(SMALL, idle_ms=100)
        failed = await one.here.event()
        assert isinstance(failed, ContentFailed)
        assert failed.reason is FetchFailure.STALLED


async def test_what_is_not_needed_any_more_is_taken_back_and_nothing_follows(
    tmp_path: Path,
) -> None:
    """The peer stops sending; what else is asked of it goes on."""
    async with link(tmp_path) as one:
        cancelled = trio.Event()
        one.spoil["answer"] = lambda *_: None
        one.receive(SMALL)
        one.receive(LARGE)
        one.there.sending.on_cancelled = lambda *_: cancelled.set()  # type: ignore[method-assign]
        one.here.transfers.cancel(one.near.link, wanted(LARGE).content_hash)
        await cancelled.wait()
        one.here.transfers.on_lost(one.near.link)
        (lost,) = one.here.events
        assert isinstance(lost, ContentFailed)
        assert lost.wanted == wanted(SMALL)
        assert not list((tmp_path / "here" / "incoming").iterdir())


async def test_a_lost_link_ends_every_transfer_once(tmp_path: Path) -> None:
    async with link(tmp_path) as one:
        one.spoil["answer"] = lambda *_: None
        one.receive(SMALL)
        one.receive(LARGE)
        one.here.transfers.on_lost(one.near.link)
        one.here.transfers.on_lost(one.near.link)
        reasons = [await one.here.event() for _ in range(2)]
        assert one.here.events == []
        assert all(
            isinstance(event, ContentFailed) and event.reason is FetchFailure.LOST
            for event in reasons
        )
        one.receive(SMALL)


def zero(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(b"\x00" * len(LARGE))


@pytest.mark.parametrize("spoil", [zero, Path.unlink], ids=["damaged", "gone"])
async def test_a_damaged_content_is_not_served(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    """Hashed before it leaves: a rotten disk looks like an absent content, and the core hears of
    it."""
    async with link(tmp_path) as one:
        await store(one.there, LARGE)
        spoil(one.there.files.path_of(wanted(LARGE).content_hash))
        one.spoil["content"] = LARGE
        one.receive(LARGE)
        failed = await one.here.event()
        assert isinstance(failed, ContentFailed)
        assert failed.reason is FetchFailure.MISSING
        lost = ContentLost(content_hash=wanted(LARGE).content_hash)
        # The peer that was told is done may be heard before the thread that looked.
        assert lost in [await one.there.event(), await one.there.event()]


async def test_a_sector_that_cannot_be_read_ends_one_answer_and_not_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: int) -> bytes:
        raise OSError(errno.EIO, "a bad sector")

    async with link(tmp_path) as one:
        await store(one.there, LARGE)
        monkeypatch.setattr(os, "pread", fail)
        one.spoil["content"] = LARGE
        one.receive(LARGE)
        failed = await one.here.event()
        assert isinstance(failed, ContentFailed)
        assert failed.reason is FetchFailure.MISSING


@pytest.mark.parametrize(
    ("size", "whole", "reason"),
    [
        (len(SMALL) + 1, SMALL, FetchFailure.BAD_LENGTH),
        (len(SMALL), b"another conte", FetchFailure.BAD_HASH),
    ],
)
async def test_a_submitted_content_must_be_what_was_signed(
    tmp_path: Path, size: int, whole: bytes, reason: FetchFailure
) -> None:
    async with link(tmp_path) as one:
        submission = Submission(
            data=whole,
            incoming=None,
            size=size,
            whole_hash=ContentHash(sha256(whole).digest()),
            chunk_hashes=(),
        )
        one.here.transfers.submitted.on_submission(RequestId(7), submission)
        effect = ReceiveContent(wanted=wanted(SMALL), request=RequestId(7))
        one.here.transfers.receive(effect, None)
        failed = await one.here.event()
        assert isinstance(failed, ContentFailed)
        assert (failed.reason, failed.request) == (reason, RequestId(7))


async def test_a_content_of_our_own_disk_is_hashed_when_it_is_read_again(tmp_path: Path) -> None:
    async with link(tmp_path) as one:
        await store(one.here, SMALL)
        one.here.transfers.receive(ReceiveContent(wanted=wanted(SMALL)), None)
        stored = await one.here.event()
        assert isinstance(stored, ContentStored)
        assert stored.content == SMALL
        one.here.transfers.receive(ReceiveContent(wanted=wanted(b"never stored")), None)
        failed = await one.here.event()
        assert isinstance(failed, ContentFailed)
        assert (failed.link, failed.reason) == (None, FetchFailure.DISK)
