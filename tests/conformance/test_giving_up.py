"""A content that is given up is cancelled at its source, which sends no more of it: both
interpreters do so alike."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import trio
import trio.testing

from fabgossip.core.effects import Effect, Send, ServeContent, ServeItem
from fabgossip.core.events import ContentServed, Event, LinkId, LostReason, PeerConnected, PeerLost
from fabgossip.core.node import Node
from fabgossip.core.setup import NodeSetup
from fabgossip.model.messages import Message, TrafficClass
from fabgossip.model.moment import Now
from fabgossip.sim.disk import COSTS, SimDisk
from fabgossip.sim.host import SimulatedNode
from fabgossip.sim.network import End, Network, SentFrame
from fabgossip.sim.paths import Paths, Place
from fabgossip.sim.streams import Streams
from fabgossip.sim.trace import Happened, Kind, world_event
from fabgossip.sim.transfers import Transfers
from fabgossip.sim.world import NS_PER_MS, World
from fabgossip.trust.signatures import Verifier
from tests.attacks.test_numbers import ASK
from tests.conformance.test_transfers import ASKED, ASKED_OF, IDLE_MS, Taker, rule_of, serving
from tests.core.story import identity
from tests.daemon import fabric as daemon
from tests.daemon.fabric import collector, in_memory, uncounted
from tests.sim.factory import FIVE, TOPOLOGY, run_of, scenario

SIZE: Final = 8 << 20


class Counting(Taker):
    """A peer that counts the content that came."""

    content_bytes = 0

    def received(self, end: End, frame: SentFrame) -> Happened:
        self.content_bytes += len(frame.body)
        return super().received(end, frame)


async def test_the_daemon_cancels_what_it_gives_up(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    link, other = await in_memory(tmp_path)
    frames: list[tuple[str, int, bytes]] = []
    async with trio.open_nursery() as nursery:
        with closing(daemon.End(tmp_path / "end", nursery)) as end:
            for one in (link, other):
                nursery.start_soon(one.serve, collector(frames), uncounted)
            end.transfers.receive(ASKED, link)
            await end.event()
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
    assert [(kind, stream) for kind, stream, _ in frames] == [("GET_CONTENT", 1), ("CANCEL", 1)]


def test_the_simulator_cancels_what_it_gives_up() -> None:
    world, nobody = World(), Taker()
    sent: list[tuple[str, int]] = []
    network = Network(world, Paths({}, (), Streams(1)))
    disk = SimDisk(world, 1, COSTS["instant"], nobody, Streams(1).of("disk"), {})

    def send(_: End, message: Message, __: TrafficClass, stream: int) -> bool:
        sent.append((type(message).__name__, stream))
        return True

    bench = replace(serving(world, network, disk, []), send=send)
    end = End(1, nobody, identity("n2"), is_dialer=True, link=ASKED_OF, next_stream=1)
    transfers = Transfers(bench)
    transfers.receive(ASKED, end)
    transfers.ask_together()
    world.run(2 * IDLE_MS * NS_PER_MS, lambda *_: None)
    assert sent == [("GetContent", 1), ("Cancel", 1)]


async def test_the_daemon_sends_no_more_of_what_is_cancelled(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Its peer takes nothing, so that all but what is queued waits."""
    content = b"x" * SIZE
    link, _ = await in_memory(tmp_path)
    async with trio.open_nursery() as nursery:
        with closing(daemon.End(tmp_path / "end", nursery)) as end:
            await daemon.store(end, content)
            end.sending.serve(asked(content), link)
            await trio.testing.wait_all_tasks_blocked(0.01)
            queued = link.queued_bytes
            end.sending.on_cancelled(LinkId(1), 4)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert end.events == []
            end.sending.on_cancelled(ASKED_OF, 2)
            assert await end.event() == ContentServed(link=ASKED_OF, stream=2)
            assert end.sending.is_idle
            assert link.queued_bytes == queued < SIZE
            end.sending.on_cancelled(ASKED_OF, 2)
            nursery.cancel_scope.cancel()


def test_the_simulator_sends_no_more_of_what_is_cancelled() -> None:
    world, streams, taker = World(), Streams(1), Counting()
    place = Place("r1", "z1", "k1")
    network = Network(world, Paths({1: place, 2: place}, (rule_of(1 << 20),), streams))
    for index in (1, 2):
        network.listen(index, taker)
    disk = SimDisk(world, 1, COSTS["instant"], taker, streams.of("disk"), {})
    content, told = b"x" * SIZE, list[Event]()
    wanted = daemon.wanted(content)
    disk.store(wanted.content_hash, content, lambda _: world_event(Kind.DISK, "stored"))
    world.run(NS_PER_MS, lambda *_: None)
    end, other = (
        End(one, taker, identity(f"n{one}"), is_dialer=one == 1, link=ASKED_OF) for one in (1, 2)
    )
    end.peer, other.peer = other, end
    transfers = Transfers(serving(world, network, disk, told))
    transfers.serve(asked(content), end)
    world.run(1_000 * NS_PER_MS, lambda *_: None)
    assert told == []
    transfers.on_cancelled(ASKED_OF, 4)
    assert told == []
    transfers.on_cancelled(ASKED_OF, 2)
    assert told == [ContentServed(link=ASKED_OF, stream=2)]
    transfers.on_cancelled(ASKED_OF, 2)
    world.run(60_000 * NS_PER_MS, lambda *_: None)
    assert told == [ContentServed(link=ASKED_OF, stream=2)]
    assert 0 < taker.content_bytes < SIZE // 2


def asked(content: bytes) -> ServeContent:
    wanted = daemon.wanted(content)
    item = ServeItem(
        item=0,
        content_hash=wanted.content_hash,
        size=wanted.size,
        chunk_hashes=wanted.chunk_hashes,
        first_chunk=0,
        chunk_count=len(wanted.chunk_hashes),
    )
    return ServeContent(link=ASKED_OF, stream=2, items=(item,), traffic=TrafficClass.POLICY)


class Rude(Node):
    """Asks everybody under a number that is not its to use."""

    def handle(self, event: Event, now: Now) -> list[Effect]:
        effects = super().handle(event, now)
        open_links = [one.link for one in self.view.sessions() if one.is_open]
        if isinstance(event, PeerConnected) or not open_links:
            return effects
        return [
            *effects,
            Send(link=open_links[0], message=ASK, traffic=TrafficClass.POLICY, stream=0),
        ]


class Told(Node):
    """Keeps why links ended."""

    lost: list[LostReason]

    def handle(self, event: Event, now: Now) -> list[Effect]:
        if isinstance(event, PeerLost):
            self.lost.append(event.reason)
        return super().handle(event, now)


def test_the_simulator_ends_a_link_over_a_wrong_number() -> None:
    """As the daemon does (`tests/attacks/test_numbers.py`)."""
    made, lost = list[SimulatedNode](), list[LostReason]()
    kind = type("One", (Told,), {"lost": lost})

    def make(setup: NodeSetup, verifier: Verifier) -> SimulatedNode:
        made.append(kind(setup, verifier) if made else Rude(setup, verifier))
        return made[-1]

    run_of(scenario('phases = { quiet = "20s" }', TOPOLOGY, FIVE), 1, make).run()
    assert LostReason.PROTOCOL in lost
