"""Both interpreters carry a content under a grant alike: one request for all of it, each chunk
hashed as it comes, one answer.

A script is what a peer sends, a part at a time; the daemon hears it over a link in memory, the
simulator in virtual time.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import trio
import trio.testing

from fabgossip.control.drafts import chunk_hashes_of
from fabgossip.core.effects import ReceiveGranted
from fabgossip.core.events import (
    ContentWanted,
    Event,
    FetchFailure,
    GrantedReceived,
    LinkId,
    RequestId,
)
from fabgossip.daemon.connections import Connection
from fabgossip.daemon.granted import GrantedTransfers
from fabgossip.model.authority import Narrowing
from fabgossip.model.ids import ManifestHash
from fabgossip.model.messages import Busy, Cancel, ContentAsk, GetContent, Message, NotAvailable
from fabgossip.model.messages import TrafficClass as Traffic
from fabgossip.sim.disk import COSTS, SimDisk
from fabgossip.sim.granted import GrantedTransfers as SimulatedTransfers
from fabgossip.sim.network import End, Network, SentFrame
from fabgossip.sim.paths import Paths
from fabgossip.sim.streams import Streams
from fabgossip.sim.trace import Happened, Kind, world_event
from fabgossip.sim.transfers import Bench
from fabgossip.sim.world import NS_PER_MS, World
from fabgossip.wire import framing as frames
from fabgossip.wire.codec import ContentHeader, content_header_bytes, parse_message
from fabgossip.wire.framing import FrameKind
from tests.conformance.test_transfers import Nobody
from tests.core.story import identity
from tests.daemon import fabric as daemon
from tests.daemon.fabric import in_memory, uncounted
from tests.trust import factory

LINK: Final = LinkId(1)
STREAM: Final = 1
REQUEST: Final = RequestId(7)
IDLE_MS: Final = 1_000
CHUNK: Final = 256 << 10
SMALL: Final = b"small content"
LARGE: Final = bytes(range(256)) * (5 << 10)  # 1.25 MiB, so five chunks
Frame = tuple[int, bytes, bool]
"""Offset within its chunk, bytes, whether they are its last."""
Part = Frame | NotAvailable | Busy | str


def chunks(content: bytes) -> list[Part]:
    """All of it in order, each chunk in two frames where it is large."""
    parts: list[Part] = []
    for start in range(0, len(content), CHUNK):
        chunk = content[start : start + CHUNK]
        half = len(chunk) // 2
        parts += [(0, chunk[:half], False), (half, chunk[half:], True)]
    return parts


FLIPPED: Final = bytes([LARGE[2 * CHUNK] ^ 1])
SPOILED: Final = LARGE[: 2 * CHUNK] + FLIPPED + LARGE[2 * CHUNK + 1 :]
F = FetchFailure
SCRIPTS: Final[dict[str, tuple[bytes, list[Part], tuple[FetchFailure | None, int] | None]]] = {
    "small": (SMALL, chunks(SMALL), (None, len(SMALL))),
    "large": (LARGE, chunks(LARGE), (None, len(LARGE))),
    "empty": (b"", [(0, b"", True)], (None, 0)),
    "other bytes": (SMALL, chunks(SMALL.upper()), (F.BAD_HASH, 0)),
    "a bit in the third chunk": (LARGE, chunks(SPOILED), (F.BAD_HASH, 2 * CHUNK)),
    "a byte too many": (SMALL, [(0, SMALL + b"x", True)], (F.BAD_LENGTH, 0)),
    "a byte too few": (SMALL, [(0, SMALL[1:], True)], (F.BAD_LENGTH, 0)),
    "a gap": (SMALL, [(0, SMALL[:1], False), (2, SMALL[2:], True)], (F.BAD_LENGTH, 0)),
    "a chunk without end": (
        LARGE,
        [(0, LARGE[:CHUNK], False), (CHUNK, b"x", False)],
        (F.BAD_LENGTH, 0),
    ),
    "not there": (SMALL, [NotAvailable(item=0)], (F.MISSING, 0)),
    "no time": (SMALL, [Busy(item=0, retry_after_ms=200)], (F.BUSY, 0)),
    "gone in the middle": (LARGE, [*chunks(LARGE)[:4], "lost"], (F.LOST, 2 * CHUNK)),
    "silent in the middle": (LARGE, chunks(LARGE)[:4], (F.STALLED, 2 * CHUNK)),
    "nobody wants it any more": (LARGE, [*chunks(LARGE)[:3], "over", *chunks(LARGE)[3:]], None),
    "silent": (SMALL, [], (F.STALLED, 0)),
}


def effect_for(content: bytes) -> ReceiveGranted:
    wanted = ContentWanted(
        manifest_hash=ManifestHash(b"m" * 32),
        content_hash=factory.hash_of(content),
        size=len(content),
        chunk_hashes=chunk_hashes_of(content),
        is_read=False,
    )
    return ReceiveGranted(
        request=REQUEST,
        link=LINK,
        wanted=wanted,
        grant=b"grant",
        narrowing=Narrowing(manifest_hashes=(wanted.manifest_hash,)),
        traffic=Traffic.POLICY,
        idle_ms=IDLE_MS,
    )


def asked_for(content: bytes) -> GetContent:
    """Each request that carries a grant spends a use of it."""
    effect = effect_for(content)
    wanted = effect.wanted
    count = max(1, len(wanted.chunk_hashes))
    ask = ContentAsk(wanted.manifest_hash, wanted.content_hash, 0, count)
    return GetContent(items=(ask,), grant=b"grant", narrowing=effect.narrowing)


def body_of(frame: Frame) -> bytes:
    offset, data, is_last = frame
    return content_header_bytes(ContentHeader(item=0, is_last=is_last, offset=offset)) + data


class Carried:
    """What became of a script: what was asked of the peer, what the node was told, what waits for
    the reader."""

    def __init__(self) -> None:
        self.asked: list[Message] = []
        self.told: list[Event] = []
        self.content = b""


async def driven(content: bytes, script: list[Part], folder: Path) -> Carried:
    carried = Carried()
    link, far = await in_memory(folder)

    def on_far(_: Connection, frame: frames.Frame) -> None:
        assert frame.stream == STREAM
        carried.asked.append(parse_message(frame.kind, bytes(frame.body)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.serve, lambda *_: None, uncounted)
        nursery.start_soon(far.serve, on_far, uncounted)
        with closing(daemon.End(folder / "end", nursery)) as end:
            transfers = GrantedTransfers(end.files, nursery, carried.told.append, trio.current_time)
            transfers.receive(effect_for(content), link)
            for part in script:
                match part:
                    case NotAvailable() | Busy():
                        transfers.on_not_available(link, STREAM, part)
                    case "over":
                        transfers.on_request_over(REQUEST)
                    case str():
                        transfers.on_lost(LINK)
                    case frame:
                        transfers.on_content(link, STREAM, memoryview(body_of(frame)))
            await trio.sleep(2 * IDLE_MS / 1_000)
            if (
                GrantedReceived(request=REQUEST, link=LINK, failure=None, received=len(content))
                in carried.told
            ):
                carried.content = b"".join(pieces(transfers, len(content)))
            transfers.on_request_over(REQUEST)
            assert list((end.folder / "incoming").iterdir()) == []
            nursery.cancel_scope.cancel()
    return carried


def pieces(transfers: GrantedTransfers, size: int) -> Iterator[bytes]:
    """As a reader takes them."""
    spool = transfers.spool_of(REQUEST)
    assert spool.size == size
    for start in range(0, size, 100_000):
        yield spool.read_at(start, 100_000)


def simulated(content: bytes, script: list[Part]) -> Carried:
    carried = Carried()
    world, streams, nobody = World(), Streams(1), Nobody()

    def wait(at_ns: int, action: Callable[[], Happened]) -> None:
        world.schedule(max(at_ns, world.now_ns), 1, 1, action)

    def step(event: Event) -> Happened:
        raise AssertionError(event)

    def send(_: End, message: Message, __: Traffic, stream: int) -> bool:
        assert stream == STREAM
        carried.asked.append(message)
        return True

    bench = Bench(
        disk=SimDisk(world, 1, COSTS["instant"], nobody, streams.of("disk"), {}),
        network=Network(world, Paths({}, (), streams)),
        now_ns=lambda: world.now_ns,
        wait=wait,
        step=step,
        post=carried.told.append,
        send=send,
        on_hashed=lambda _: None,
        on_unpacked=lambda _: None,
        on_piece_sent=lambda *_: None,
        on_damaged=lambda _: None,
        on_content_received=lambda *_: None,
    )
    transfers = SimulatedTransfers(bench)
    end = End(1, nobody, identity("n2"), is_dialer=True, link=LINK, next_stream=STREAM)
    transfers.receive(effect_for(content), end)

    def arrive(part: Part) -> Happened:
        match part:
            case NotAvailable() | Busy():
                transfers.on_not_available(end, STREAM, part)
            case "over":
                transfers.on_request_over(REQUEST)
            case str():
                transfers.on_lost(LINK)
            case frame:
                body = body_of(frame)
                transfers.on_content(
                    end, SentFrame(FrameKind.CONTENT, Traffic.POLICY, STREAM, body)
                )
        return world_event(Kind.DELIVER, "content")

    for part in script:
        world.schedule(NS_PER_MS, 1, 2, partial(arrive, part))
    world.run(2 * IDLE_MS * NS_PER_MS, lambda *_: None)
    return carried


@pytest.mark.parametrize("name", SCRIPTS)
async def test_a_content_under_a_grant_comes_alike(
    name: str, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    content, script, end = SCRIPTS[name]
    told: list[Event] = []
    if end is not None:
        told.append(GrantedReceived(request=REQUEST, link=LINK, failure=end[0], received=end[1]))
    # Given up while the peer may send, it is cancelled.
    is_cancelled = end is None or end[0] not in (None, F.MISSING, F.BUSY, F.LOST)
    asked = [asked_for(content), *([Cancel()] if is_cancelled else [])]
    real, virtual = await driven(content, script, tmp_path), simulated(content, script)
    for carried in (real, virtual):
        assert carried.asked == asked
        assert carried.told == told
    assert real.content == (content if end is not None and end[0] is None else b"")
