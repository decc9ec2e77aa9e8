"""Slow on purpose: one byte a second at every stage of a connection.

The attacker can open connections, holds a good certificate where a stage needs one, and sends just
enough to look alive. Each stage ends by a deadline of its own, whatever arrives; nobody else waits.
"""

import json
import math
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import trio
import trio.testing

from fabgossip.core.config import ConnectionsConfig
from fabgossip.core.effects import (
    Disconnect,
    ReceiveContent,
    ServeContent,
    ServeItem,
)
from fabgossip.core.events import (
    ContentFailed,
    ContentServed,
    ContentWanted,
    FetchFailure,
    HelloDue,
    LinkId,
    LostReason,
    PeerLost,
)
from fabgossip.core.pace import WINDOW
from fabgossip.daemon import callers, conversations, submissions
from fabgossip.daemon.connections import FRAME_S, Connection
from fabgossip.daemon.endpoints import HANDSHAKE_S, DialError, handshake
from fabgossip.daemon.status import StatusServer
from fabgossip.daemon.status_socket import open_status_socket
from fabgossip.daemon.tls import TlsStream
from fabgossip.model.ids import ContentHash, ManifestHash
from fabgossip.model.messages import Bye, ByeReason, TrafficClass
from fabgossip.model.persistence import PutHead
from fabgossip.wire.codec import ContentHeader, content_header_bytes, message_body, parse_message
from fabgossip.wire.framing import (
    CONTENT_FRAME_BYTES_MAX,
    Frame,
    FrameKind,
    frame_bytes,
    frame_header,
)
from tests.attacks.scene import ATTACKER, Scene, asks_content
from tests.core.artifacts import routes
from tests.core.story import announcement
from tests.daemon.fabric import (
    HANG_S,
    End,
    about,
    bundle_of,
    contexts,
    driver_of,
    in_memory,
    judge_by,
    linked_over,
    listening,
    store,
    uncounted,
    wanted,
)
from tests.wire.samples import ping

Took = float
SECOND: Final = 1.0


async def dripped(send: Callable[[bytes], Awaitable[object]], data: bytes) -> None:
    """One byte a second, for as long as somebody listens."""
    for number in range(len(data)):
        try:
            await send(data[number : number + 1])
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        await trio.sleep(SECOND)


async def slow_handshake(folder: Path) -> Took:
    """A client hello, byte by byte."""
    near, far = trio.testing.memory_stream_pair()
    hello = await client_hello(folder)
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dripped, near.send_all, hello)
        with pytest.raises(DialError) as caught:
            await handshake(
                far, contexts(folder, "b").server, judge_by(bundle_of("CA")), is_server=True
            )
        took = trio.current_time() - start
        assert caught.value.reason is LostReason.HANDSHAKE_TIMED_OUT
        nursery.cancel_scope.cancel()
    return took


async def client_hello(folder: Path) -> bytes:
    """What an honest client says first."""
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        context = contexts(folder, "a").client
        judge = judge_by(bundle_of("CA"))
        nursery.start_soon(partial(handshake, near, context, judge, is_server=False))
        hello = await far.receive_some()
        nursery.cancel_scope.cancel()
    return bytes(hello)


async def slow_hello(_: Path) -> Took:
    """A link that is up and never says from whom; the core's own deadline."""
    scene = Scene().publish(routes(7))
    before = scene.state
    link = scene.connect("n4", is_dialer=False)
    scene.due(HelloDue)
    closed = scene.only(Disconnect)
    assert (closed.link, closed.bye, closed.lost) == (link, ByeReason.SLOW, LostReason.TIMEOUT)
    scene.leaves(before)
    return scene.now.instant / 1_000


async def slow_frame(folder: Path) -> Took:
    """A frame of 4 KiB that begins and does not end; a ping before it went through."""
    victim, attacker = await in_memory(folder)
    frames: list[tuple[FrameKind, bytes]] = []
    pings: list[FrameKind] = []
    start = trio.current_time()
    took, ended = math.inf, trio.Event()
    kind, body = message_body(ping(1))
    whole = frame_bytes(kind, TrafficClass.LINK, 0, body)
    begun = frame_header(FrameKind.HAVE, TrafficClass.SNAPSHOT, 0, 4 << 10)

    async def serve() -> None:
        nonlocal took
        lost = await victim.serve(lambda _, frame: pings.append(frame.kind), uncounted)
        assert lost is LostReason.TIMEOUT
        took = trio.current_time() - start
        ended.set()

    def on_frame(_: Connection, frame: Frame) -> None:
        frames.append((frame.kind, bytes(frame.body)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        nursery.start_soon(attacker.serve, on_frame, uncounted)
        stream = attacker._stream  # noqa: SLF001  # a peer that is not us writes what it likes
        await stream.send_all(whole)
        nursery.start_soon(dripped, stream.send_all, begun + b"x" * 60)
        await ended.wait()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert pings == [FrameKind.PING]
    (farewell,) = frames
    assert parse_message(*farewell) == Bye(reason=ByeReason.SLOW, retry_after_s=60)
    a_lost_link_leaves_nothing(LostReason.TIMEOUT)
    return took


def a_lost_link_leaves_nothing(reason: LostReason) -> None:
    """Of a frame that did not end the core never hears: only that the link did."""
    scene = Scene().publish(routes(7))
    before = scene.state
    scene.when(PeerLost(link=scene.attacker, node_id=ATTACKER, reason=reason)).leaves(before)
    assert [one.node_id for one in scene.node.view.sessions()] == ["n3"]


async def slow_content(folder: Path) -> Took:
    """A content of 1 MiB that comes a byte every half second, each within its idle time."""
    near, _ = await in_memory(folder)
    async with trio.open_nursery() as nursery:
        with closing(End(folder / "disk", nursery)) as end:
            start = trio.current_time()
            end.transfers.receive(WANTED, near)
            await trio.testing.wait_all_tasks_blocked()
            for number in range(60):
                header = content_header_bytes(ContentHeader(0, is_last=False, offset=number))
                end.transfers.on_content(near, 1, memoryview(header + b"x"))
                await trio.sleep(SECOND / 2)
                if end.events:
                    break
            failed = await end.event()
            nursery.cancel_scope.cancel()
    assert isinstance(failed, ContentFailed)
    assert (failed.reason, failed.received) == (FetchFailure.TOO_SLOW, 0)
    a_trickle_is_on_record(failed.reason)
    return end.event_times[0] - start


def a_trickle_is_on_record(reason: FetchFailure) -> None:
    """Who trickles is named, and the next source is asked at once."""
    scene = Scene().publish(routes(7))
    newer = routes(8)
    scene.announce(newer, scene.attacker).persisted()
    before = scene.state
    scene.announce(newer, scene.bystander)
    failed = ContentFailed(
        wanted=newer.wanted,
        link=scene.attacker,
        request=None,
        reason=reason,
        received=0,
    )
    scene.when(failed)
    assert scene.only(ReceiveContent).link == scene.bystander
    scene.leaves(
        before,
        codes=["TOO_SLOW"],
        requests=[asks_content(newer)] * 2,
        audited=[
            ("fetch_failed", "too_slow", ATTACKER),
            ("artifact_rejected", "TOO_SLOW", ATTACKER),
        ],
        durable=[PutHead(verified=newer.verified)],
        onward=[announcement(newer, inline=False)],
    )
    assert scene.blamed == ["peer"]


WANTED: Final = ReceiveContent(
    wanted=ContentWanted(
        manifest_hash=ManifestHash(b"m" * 32),
        content_hash=ContentHash(b"c" * 32),
        size=1 << 20,
        chunk_hashes=(),
        is_read=False,
    ),
    link=LinkId(1),
    idle_ms=2_000,
)
STAGES: Final[dict[str, tuple[Callable[[Path], Awaitable[Took]], float]]] = {
    "handshake": (slow_handshake, HANDSHAKE_S),
    "hello": (slow_hello, ConnectionsConfig().hello_ms / 1_000),
    "frame": (slow_frame, FRAME_S),
    "content": (slow_content, WINDOW / 1_000),
}


@pytest.mark.parametrize("stage", STAGES)
async def test_each_stage(
    stage: str, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Never before its deadline, and never later than one look at it."""
    attack, deadline = STAGES[stage]
    with trio.fail_after(10 * deadline):
        took = await attack(tmp_path)
    assert deadline <= took <= deadline + SECOND + 0.1


async def test_who_takes_a_frame_in_nine_seconds_holds_no_place(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Each in time for the writer; what is left of the content is not sent. Disks take real time,
    so the clock stands meanwhile."""
    autojump_clock.autojump_threshold = math.inf
    here, there = trio.testing.lockstep_stream_pair()
    near, _ = await linked_over(tmp_path, here, there)
    content = b"x" * (8 << 20)
    one = wanted(content)
    item = ServeItem(
        item=0,
        content_hash=one.content_hash,
        size=one.size,
        chunk_hashes=one.chunk_hashes,
        first_chunk=0,
        chunk_count=len(one.chunk_hashes),
    )
    asked = ServeContent(link=near.link, stream=2, items=(item,), traffic=TrafficClass.BULK)

    async def take() -> None:
        while True:
            left = CONTENT_FRAME_BYTES_MAX
            while left > 0:
                left -= len(await there.receive_some(left))
            await trio.sleep(9 * SECOND)

    async with trio.open_nursery() as nursery:
        with closing(End(tmp_path / "disk", nursery)) as end:
            await store(end, content)
            nursery.start_soon(near.serve, lambda *_: None, uncounted)
            nursery.start_soon(take)
            autojump_clock.autojump_threshold = 0.005
            end.sending.serve(asked, near)
            served = await end.event()
            nursery.cancel_scope.cancel()
    assert served == ContentServed(link=near.link, stream=2, is_too_slow=True)
    assert near.lost is None


async def test_frames_of_a_slow_path_are_no_attack(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Each frame has its own ten seconds: a link that is always amid one goes on."""
    victim, attacker = await in_memory(tmp_path)
    kind, body = message_body(ping(1))
    frame = frame_bytes(kind, TrafficClass.LINK, 0, body)
    arrived: list[FrameKind] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(victim.serve, lambda _, one: arrived.append(one.kind), uncounted)
        half = len(frame) // 2
        stream = attacker._stream  # noqa: SLF001  # a peer that is not us writes what it likes
        await stream.send_all(frame[:half])
        for _ in range(10):
            await trio.sleep(FRAME_S - SECOND)
            await stream.send_all(frame[half:] + frame[:half])
        await trio.testing.wait_all_tasks_blocked()
        assert victim.lost is None
        assert len(arrived) == 10
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_handshakes_of_one_address_leave_room_for_another(tmp_path: Path) -> None:
    """Silent connections hold all one address may have; a member from elsewhere gets in."""
    member = contexts(tmp_path, "n2").client
    judge = judge_by(bundle_of("CA"))
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            with closing(End(tmp_path / "disk", nursery)) as end:
                tls = contexts(tmp_path, "n1")
                driver = driver_of(end, tls, nursery, handshakes_in_flight_max=8)
                async with listening(driver.doorway.on_stream) as address:
                    host, _, port = address.partition(":")
                    silent = [await trio.open_tcp_stream(host, int(port)) for _ in range(3)]
                    assert await silent[2].receive_some(1) == b""
                    assert driver.doorway.refused == 1
                    stream = await trio.open_tcp_stream(host, int(port), local_address="127.0.0.2")
                    link, identity = await handshake(stream, member, judge, is_server=False)
                    assert identity.node_id == "n1"
                    assert len(await link.receive_some()) > 0
                    await link.aclose_forcefully()
                    for one in silent:
                        await one.aclose()
                nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_handshakes_that_began_in_time_do_not_overfill_the_links(tmp_path: Path) -> None:
    """Two begin while there is room for one: the second to finish is turned away."""
    judge = judge_by(bundle_of("CA"))
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            with closing(End(tmp_path / "disk", nursery)) as end:
                tls = contexts(tmp_path, "n1")
                driver = driver_of(end, tls, nursery, connections_max=1)
                async with listening(driver.doorway.on_stream) as address:
                    host, _, port = address.partition(":")
                    streams = [await trio.open_tcp_stream(host, int(port)) for _ in range(2)]
                    received = []
                    for number, stream in enumerate(streams):
                        context = contexts(tmp_path, f"n{number + 2}").client
                        link, _ = await handshake(stream, context, judge, is_server=False)
                        received.append(await heard_from(link))
                    assert received == [True, False]
                    assert len(driver.node.view.sessions()) == 1
                    assert driver.doorway.refused == 1
                    for stream in streams:
                        await stream.aclose()
                nursery.cancel_scope.cancel()


async def heard_from(link: TlsStream) -> bool:
    """Whether the other end said anything before it closed."""
    try:
        return len(await link.receive_some()) > 0
    except trio.BrokenResourceError:
        return False


@pytest.mark.parametrize(
    ("size", "seconds"), [(0, 5.0), (64 << 10, 6.0), (1 << 20, 21.0), (256 << 20, 120.0)]
)
def test_a_submitted_body_has_as_long_as_its_size_needs(size: int, seconds: float) -> None:
    assert submissions.submit_s(size) == seconds


@pytest.mark.slow
async def test_a_submit_that_trickles_ends_and_so_do_an_answer_nobody_reads_and_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On real sockets, with the bounds made short: the client is told why, and the place is free
    again."""
    for module in (conversations, submissions):
        monkeypatch.setattr(module, "REQUEST_S", 0.2)
    monkeypatch.setattr(conversations, "REPLY_S", 0.2)
    monkeypatch.setattr(conversations, "FIRST_S", 0.2)
    monkeypatch.setattr(callers, "CALLERS_MAX", 2)
    path = tmp_path / "status.sock"
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            with closing(End(tmp_path / "disk", nursery)) as end:
                driver = driver_of(end, contexts(tmp_path, "n1"), nursery)
                server = StatusServer(driver, about(tmp_path), "")
                with closing(open_status_socket(path)) as listener:
                    await nursery.start(server.serve, listener)
                    trickle = await trio.open_unix_socket(str(path))
                    await trickle.send_all(SUBMIT + b"x")
                    reply = await trickle.receive_some(4_096)
                    assert b" 400 " in reply.partition(b"\r\n")[0]
                    assert json.loads(reply.rpartition(b"\r\n\r\n")[2])["code"] == "truncated"
                    silent = await trio.open_unix_socket(str(path))
                    assert await silent.receive_some(1) == b""
                    deaf = await trio.open_unix_socket(str(path))
                    await until_broken(deaf)
                    asker = await trio.open_unix_socket(str(path))
                    await asker.send_all(GET)
                    assert (await asker.receive_some(4_096)).startswith(b"HTTP/1.1 ")
                    for one in (trickle, silent, deaf, asker):
                        await one.aclose()
                    nursery.cancel_scope.cancel()


async def until_broken(stream: trio.SocketStream) -> None:
    """Ask and ask, and read no answer, until the other end has had enough."""
    try:
        while True:
            await stream.send_all(GET * 1_000)
    except trio.BrokenResourceError:
        return


GET: Final = b"GET /v1/version HTTP/1.1\r\nHost: n\r\n\r\n"
SUBMIT: Final = (
    b"POST /v1/submit HTTP/1.1\r\nHost: n\r\nContent-Length: 100\r\n"
    b"Fabgossip-Envelope-Bytes: 50\r\n\r\n"
)
