"""Both interpreters give up a source for the same reason at the same look.

One script says when how many bytes arrive; the daemon's transfers hear it under a clock that jumps,
the simulator's in virtual time.
"""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from fabgossip.core.effects import ReceiveContent, ServeContent, ServeItem
from fabgossip.core.events import (
    ContentFailed,
    ContentLost,
    ContentServed,
    ContentWanted,
    Event,
    FetchFailure,
    LinkId,
    LostReason,
)
from fabgossip.core.pace import BYTES_PER_S_MIN
from fabgossip.model.artifact import Order, VerifiedManifest
from fabgossip.model.authority import NodeIdentity
from fabgossip.model.ids import ContentHash, ManifestHash, NodeId
from fabgossip.model.messages import TrafficClass
from fabgossip.model.persistence import Change
from fabgossip.sim.disk import COSTS, SimDisk
from fabgossip.sim.kept import Kept, Local
from fabgossip.sim.network import End, Network, SentFrame
from fabgossip.sim.paths import LinkRule, Paths, Place
from fabgossip.sim.streams import Streams
from fabgossip.sim.trace import Happened, Kind, world_event
from fabgossip.sim.transfers import Bench, Transfers
from fabgossip.sim.world import NS_PER_MS, World
from fabgossip.wire.codec import ContentHeader, content_header_bytes
from fabgossip.wire.framing import FrameKind
from fabgossip.wire.outbox import Budget
from tests.core.story import identity
from tests.daemon import fabric as daemon
from tests.daemon.fabric import in_memory

SIZE = 1 << 20
IDLE_MS = 1_000
WATCH_MS = 50
Arrival = tuple[int, int]
"""When, in milliseconds, and how many bytes."""
Outcome = tuple[FetchFailure, int]
"""Why a transfer ended, and at which look of 50 ms."""


def steady(bytes_per_second: int, seconds: int) -> list[Arrival]:
    """Ten parts a second, never on a look's very instant."""
    return [(tenth * 100 + 20, bytes_per_second // 10) for tenth in range(seconds * 10)]


def drip(*, from_ms: int, to_ms: int) -> list[Arrival]:
    """A byte every half second."""
    return [(at, 1) for at in range(from_ms, to_ms, 500)]


SCRIPTS: dict[str, tuple[list[Arrival], Outcome]] = {
    "nothing ever": ([], (FetchFailure.STALLED, 21)),
    "some, then nothing": ([(20, 1), (520, 1)], (FetchFailure.STALLED, 31)),
    "one byte at a time": (
        [(at, 1) for at in range(20, 60_000, 500)],
        (FetchFailure.TOO_SLOW, 100),
    ),
    "somewhat below the least pace": (steady(60_000, 15), (FetchFailure.TOO_SLOW, 100)),
    "fast, then below it": (
        [*steady(100_000, 5), *drip(from_ms=5_020, to_ms=20_000)],
        (FetchFailure.TOO_SLOW, 200),
    ),
    "above it, then nothing": (steady(70_000, 12), (FetchFailure.STALLED, 259)),
}


ASKED_OF = LinkId(1)
ASKED = ReceiveContent(
    wanted=ContentWanted(
        manifest_hash=ManifestHash(b"m" * 32),
        content_hash=ContentHash(b"c" * 32),
        size=SIZE,
        chunk_hashes=(),
        is_read=False,
    ),
    link=ASKED_OF,
    idle_ms=IDLE_MS,
)


def bodies(script: list[Arrival]) -> list[tuple[int, bytes]]:
    """When which content frame arrives."""
    found, offset = [], 0
    for at, count in script:
        header = content_header_bytes(ContentHeader(item=0, is_last=False, offset=offset))
        found.append((at, header + b"x" * count))
        offset += count
    return found


async def driven(script: list[Arrival], folder: Path) -> Outcome:
    link, _ = await in_memory(folder)
    async with trio.open_nursery() as nursery:
        with closing(daemon.End(folder / "end", nursery)) as end:
            start = trio.current_time()
            end.transfers.receive(ASKED, link)
            for at, body in bodies(script):
                await trio.sleep_until(start + at / 1_000)
                end.transfers.on_content(link, 1, memoryview(body))
            failed = await end.event()
            ended_ms = end.event_times[0] - start
            nursery.cancel_scope.cancel()
    assert isinstance(failed, ContentFailed)
    return failed.reason, round(ended_ms * 1_000 / WATCH_MS)


class Nobody:
    """A port and a disk's tap that nothing reaches in these scripts."""

    identity = identity("n1")
    budget = Budget()

    def committed(self, index: int, changes: tuple[Change, ...]) -> None:
        raise AssertionError(changes)

    def fell_back(self, index: int, kept: Kept) -> None:
        raise AssertionError(kept)

    def removed(self, index: int, content_hash: ContentHash, *, is_damaged: bool) -> None:
        raise AssertionError(content_hash, is_damaged)

    def accepts(self, identity: NodeIdentity) -> bool:
        raise AssertionError(identity)

    def connected(self, end: End) -> Happened:
        raise AssertionError(end)

    def received(self, end: End, frame: SentFrame) -> Happened:
        raise AssertionError(frame)

    def lost(self, link: LinkId | None, node_id: NodeId, reason: LostReason) -> Happened:
        raise AssertionError(reason)

    def slow(self, link: LinkId) -> Happened:
        raise AssertionError(link)

    def too_slow(self, link: LinkId) -> Happened:
        raise AssertionError(link)

    def durable_manifest(self, index: int, verified: VerifiedManifest, floor: Order) -> None:
        raise AssertionError(verified)

    def durable_content(self, index: int, content_hash: ContentHash) -> None:
        raise AssertionError(content_hash)

    def materialized(self, index: int, namespace: str, local: Local) -> None:
        raise AssertionError(local)


class Taker(Nobody):
    """A peer that takes what comes, and a disk that stores."""

    def received(self, end: End, frame: SentFrame) -> Happened:
        return world_event(Kind.DELIVER, "taken")

    def slow(self, link: LinkId) -> Happened:
        return world_event(Kind.LOCAL, "slow")

    def too_slow(self, link: LinkId) -> Happened:
        return world_event(Kind.LOCAL, "too slow")

    def durable_content(self, index: int, content_hash: ContentHash) -> None:
        """What is to be served is here."""


def rule_of(bytes_per_second: int) -> LinkRule:
    """A path that is slow and nothing else."""
    return LinkRule(
        within="rack",
        between=("", ""),
        rtt_ns=0,
        rtt_spread_ns=0,
        jitter="none",
        jitter_ns=0,
        loss_ppm=0,
        rate_bps=8 * bytes_per_second,
    )


def serving(world: World, network: Network, disk: SimDisk, told: list[Event]) -> Bench:
    """What simulated transfers serve from, and whom they tell."""

    def step(event: Event) -> Happened:
        told.append(event)
        return world_event(Kind.DISK, "served")

    return Bench(
        disk=disk,
        network=network,
        now_ns=lambda: world.now_ns,
        wait=lambda at_ns, action: world.schedule(max(at_ns, world.now_ns), 1, 1, action),
        step=step,
        post=told.append,
        send=lambda *_: True,
        on_hashed=lambda _: None,
        on_unpacked=lambda _: None,
        on_piece_sent=lambda *_: None,
        on_damaged=lambda _: None,
        on_content_received=lambda *_: None,
    )


@pytest.mark.parametrize("is_damaged", [True, False], ids=["damaged", "removed meanwhile"])
def test_a_simulated_node_hears_of_what_is_damaged_and_not_of_what_it_removed(
    *, is_damaged: bool
) -> None:
    """As the daemon does (`tests/daemon/test_transfers.py`)."""
    world, streams, nobody = World(), Streams(1), Taker()
    network = Network(world, Paths({}, (), streams))
    disk = SimDisk(world, 1, COSTS["instant"], nobody, streams.of("disk"), {})
    wanted, told = daemon.wanted(b"content"), list[Event]()
    if is_damaged:
        disk.contents[wanted.content_hash] = b"another"
    item = ServeItem(
        item=0,
        content_hash=wanted.content_hash,
        size=wanted.size,
        chunk_hashes=(),
        first_chunk=0,
        chunk_count=1,
    )
    asked = ServeContent(link=ASKED_OF, stream=2, items=(item,), traffic=TrafficClass.POLICY)
    end = End(1, nobody, identity("n1"), is_dialer=True, link=ASKED_OF)
    Transfers(serving(world, network, disk, told)).serve(asked, end)
    world.run(NS_PER_MS, lambda *_: None)
    lost = [ContentLost(content_hash=wanted.content_hash)] if is_damaged else []
    assert told == [*lost, ContentServed(link=ASKED_OF, stream=2)]


@pytest.mark.parametrize(
    ("bytes_per_second", "size", "is_too_slow"),
    [
        (8 << 20, 4 << 20, False),
        (BYTES_PER_S_MIN + 4_096, 4 << 20, False),
        (BYTES_PER_S_MIN // 2, 4 << 20, True),
        (BYTES_PER_S_MIN // 2, 128 << 10, False),
    ],
    ids=["fast", "at the least pace", "below it", "below it, all queued at once"],
)
def test_a_simulated_reader_takes_contents_at_the_least_pace_or_loses_the_rest(
    bytes_per_second: int, size: int, *, is_too_slow: bool
) -> None:
    """As the daemon's does (`tests/attacks/test_slow.py`); two requests share the path, and none is
    blamed for the other."""
    world, streams, nobody = World(), Streams(1), Taker()
    place = Place("r1", "z1", "k1")
    paths = Paths({1: place, 2: place}, (rule_of(bytes_per_second),), streams)
    network = Network(world, paths)
    for index in (1, 2):
        network.listen(index, nobody)
    disk = SimDisk(world, 1, COSTS["instant"], nobody, streams.of("disk"), {})
    content = b"x" * size
    stored = daemon.wanted(content)
    told: list[Event] = []
    bench = serving(world, network, disk, told)
    disk.store(stored.content_hash, content, lambda _: world_event(Kind.DISK, "stored"))
    world.run(NS_PER_MS, lambda *_: None)
    end, other = (
        End(one, nobody, identity(f"n{one}"), is_dialer=one == 1, link=ASKED_OF) for one in (1, 2)
    )
    end.peer, other.peer = other, end
    transfers = Transfers(bench)
    count = len(stored.chunk_hashes) or 1
    for stream, first, chunks in ((2, 0, count // 2), (4, count // 2, count - count // 2)):
        item = ServeItem(
            item=0,
            content_hash=stored.content_hash,
            size=size,
            chunk_hashes=stored.chunk_hashes,
            first_chunk=first,
            chunk_count=chunks,
        )
        asked = ServeContent(link=ASKED_OF, stream=stream, items=(item,), traffic=TrafficClass.BULK)
        transfers.serve(asked, end)
    world.run(600_000 * NS_PER_MS, lambda *_: None)
    assert [one.is_too_slow for one in told if isinstance(one, ContentServed)] == [is_too_slow] * 2


def simulated(script: list[Arrival]) -> Outcome:
    world, streams, nobody = World(), Streams(1), Nobody()
    told: list[tuple[int, Event]] = []

    def wait(at_ns: int, action: Callable[[], Happened]) -> None:
        world.schedule(max(at_ns, world.now_ns), 1, 1, action)

    def step(event: Event) -> Happened:
        raise AssertionError(event)

    bench = Bench(
        disk=SimDisk(world, 1, COSTS["instant"], nobody, streams.of("disk"), {}),
        network=Network(world, Paths({}, (), streams)),
        now_ns=lambda: world.now_ns,
        wait=wait,
        step=step,
        post=lambda event: told.append((world.now_ns, event)),
        send=lambda *_: True,
        on_hashed=lambda _: None,
        on_unpacked=lambda _: None,
        on_piece_sent=lambda *_: None,
        on_damaged=lambda _: None,
        on_content_received=lambda _hash, _size: None,
    )
    transfers = Transfers(bench)
    end = End(1, nobody, identity("n2"), is_dialer=True, link=ASKED_OF, next_stream=1)
    transfers.receive(ASKED, end)
    transfers.ask_together()

    def arrive(body: bytes) -> Happened:
        frame = SentFrame(FrameKind.CONTENT, TrafficClass.POLICY, 1, body)
        transfers.on_content(end, frame)
        return world_event(Kind.DELIVER, "content")

    for at, body in bodies(script):
        world.schedule(at * NS_PER_MS, 1, 2, partial(arrive, body))
    world.run(60_000 * NS_PER_MS, lambda *_: None)
    ((ended_ns, failed),) = told
    assert isinstance(failed, ContentFailed)
    return failed.reason, round(ended_ns / NS_PER_MS / WATCH_MS)


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.slow
async def test_a_source_loses_its_turn_alike(
    name: str, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """The two look at moments of their own, so one may be a look later."""
    script, (reason, look) = SCRIPTS[name]
    for found in (simulated(script), await driven(script, tmp_path)):
        assert found[0] is reason
        assert look <= found[1] <= look + 1
