"""Two processes and one connection: order, patience, and what a fault makes of them."""

from collections.abc import Callable

import pytest

from fabgossip.core.events import LinkId, LostReason
from fabgossip.model.authority import NodeIdentity
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import TrafficClass
from fabgossip.sim.network import INBOX_MAX, End, Network, SentFrame
from fabgossip.sim.obstacles import Barrier, Strain
from fabgossip.sim.paths import PATIENCE_NS, LinkRule, Paths, Place
from fabgossip.sim.streams import Stream, Streams
from fabgossip.sim.trace import Happened, Kind, world_event
from fabgossip.sim.world import NS_PER_MS, NS_PER_S, World
from fabgossip.wire.framing import FrameKind
from fabgossip.wire.outbox import Budget
from tests.core.story import identity

HERE, THERE = 1, 2


class Peer:
    """A process that writes down what comes to it and what becomes of its links."""

    def __init__(self, name: str, world: World) -> None:
        self.identity: NodeIdentity = identity(name)
        self.budget = Budget()
        self._world = world
        self.ends: list[End] = []
        self.bodies: list[bytes] = []
        self.times: list[int] = []
        self.losses: list[tuple[int, LostReason]] = []

    def accepts(self, identity: NodeIdentity) -> bool:
        return identity is not None

    def connected(self, end: End) -> Happened:
        end.link = LinkId(len(self.ends) + 1)
        self.ends.append(end)
        return world_event(Kind.CONNECT, "")

    def received(self, end: End, frame: SentFrame) -> Happened:
        assert end.lost is None
        self.bodies.append(frame.body)
        self.times.append(self._world.now_ns)
        return world_event(Kind.DELIVER, "")

    def lost(self, link: LinkId | None, node_id: NodeId, reason: LostReason) -> Happened:
        assert node_id
        self.losses.append((link or 0, reason))
        return world_event(Kind.LOST, "")

    def slow(self, link: LinkId) -> Happened:
        raise AssertionError(link)

    def too_slow(self, link: LinkId) -> Happened:
        raise AssertionError(link)


class Pair:
    """A world of two, 10 ms apart."""

    def __init__(self, loss_ppm: int = 0, seed: int = 1) -> None:
        self.world = World()
        streams = Streams(seed)
        places = {HERE: Place("eu", "z1", "k1"), THERE: Place("eu", "z1", "k2")}
        rule = LinkRule(
            within="region", between=("", ""), rtt_ns=20 * NS_PER_MS, rtt_spread_ns=0,
            jitter="uniform", jitter_ns=5 * NS_PER_MS, loss_ppm=loss_ppm, rate_bps=0,
        )  # fmt: skip
        self.network = Network(self.world, Paths(places, (rule,), streams))
        self.here, self.there = Peer("n1", self.world), Peer("n2", self.world)
        self.network.listen(HERE, self.here)
        self.network.listen(THERE, self.there)

    def dial(self) -> None:
        self.network.dial((HERE, self.here), (THERE, NodeId("n2")))

    def connect(self) -> End:
        self.dial()
        self.run(NS_PER_S)
        return self.here.ends[-1]

    def run(self, for_ns: int) -> None:
        self.world.run(self.world.now_ns + for_ns, lambda *_: None)

    def send(self, end: End, body: bytes) -> None:
        frame = SentFrame(FrameKind.PING, TrafficClass.LINK, 0, body)
        assert self.network.send(end, frame)
        self.network.flush(end)

    def at(self, from_now_ns: int, action: Callable[[], None]) -> None:
        def act() -> Happened:
            action()
            return world_event(Kind.LOCAL, "")

        self.world.schedule(self.world.now_ns + from_now_ns, 0, 0, act)


@pytest.mark.parametrize("seed", range(5))
def test_under_a_fifth_of_loss_what_comes_keeps_its_order(seed: int) -> None:
    pair = Pair(loss_ppm=200_000, seed=seed)
    while not pair.here.ends:
        pair.dial()
        pair.run(10 * NS_PER_S)
    end = pair.here.ends[0]
    sent = [b"%d" % number for number in range(2_000)]
    for number, body in enumerate(sent):
        pair.at(number * NS_PER_MS, lambda body=body: pair.send(end, body))  # type: ignore[misc]  # one of each
    pair.run(60 * NS_PER_S)
    assert pair.there.bodies == sent[: len(pair.there.bodies)], "in order, without a hole"
    assert len(pair.there.bodies) == len(sent) or pair.here.losses
    late = [at for at in pair.there.times if at % NS_PER_MS]
    assert late, "jitter is there"
    assert pair.there.times == sorted(pair.there.times)


def test_nothing_comes_later_than_a_kernel_waits_for_its_word() -> None:
    """At nine in ten lost, most connections break; what comes came in time."""
    broken = 0
    for seed in range(40):
        pair = Pair(seed=seed)
        end = pair.connect()
        pair.network.strain(1, Strain(nodes=frozenset({HERE, THERE}), loss_ppm=900_000))
        sent_ns = pair.world.now_ns
        pair.send(end, b"late")
        pair.run(60 * NS_PER_S)
        broken += bool(pair.here.losses)
        for at in pair.there.times:
            assert at - sent_ns <= PATIENCE_NS + 15 * NS_PER_MS
        for _, reason in pair.here.losses:
            assert reason is LostReason.RESET
    assert 10 < broken < 40


def test_who_works_on_ten_thousand_reads_no_more_until_there_is_room() -> None:
    pair = Pair()
    end = pair.connect()
    pair.world.occupy(THERE, 5 * NS_PER_S)
    for number in range(INBOX_MAX + 500):
        pair.send(end, b"%d" % number)
    pair.run(NS_PER_S)
    for number in range(INBOX_MAX + 500, INBOX_MAX + 700):
        pair.send(end, b"%d" % number)
    pair.run(NS_PER_S)
    assert end.outbox.waiting(TrafficClass.LINK) > 0, "it waits where it comes from"
    pair.run(10 * NS_PER_S)
    assert pair.there.bodies == [b"%d" % number for number in range(INBOX_MAX + 700)]


def test_behind_a_cut_it_is_given_up_after_ten_seconds() -> None:
    pair = Pair()
    end = pair.connect()
    here, there = frozenset({HERE}), frozenset({THERE})
    pair.network.cut(1, (Barrier(here, there), Barrier(there, here)))
    pair.send(end, b"lost")
    pair.run(PATIENCE_NS + NS_PER_S)
    assert [reason for _, reason in pair.here.losses] == [LostReason.RESET]
    assert pair.there.bodies == []


def strained(pair: Pair, **kind: int) -> None:
    strain = Strain(nodes=frozenset({HERE}), chance=Stream(1), **kind)
    pair.network.strain(1, strain)


def test_a_damaged_frame_ends_the_connection_at_both_ends_and_is_given_to_nobody() -> None:
    pair = Pair()
    end = pair.connect()
    strained(pair, spoils_ppm=1_000_000)
    pair.send(end, b"damaged")
    pair.run(NS_PER_S)
    assert pair.there.bodies == []
    assert [row[1] for row in (*pair.here.losses, *pair.there.losses)] == [LostReason.RESET] * 2
    assert pair.network.obstacles.mattered == {1}
    books = pair.network.books
    assert books.sent == books.arrived + books.dropped + books.in_the_air


def test_behind_a_large_frame_that_never_passes_nothing_does() -> None:
    pair = Pair()
    end = pair.connect()
    strained(pair, passes_bytes=1_400)
    for body in (b"small", b"large" * 400, b"after"):
        pair.send(end, body)
    pair.run(NS_PER_S)
    assert pair.there.bodies == [b"small"]
    pair.network.relieve(1)
    pair.run(4 * NS_PER_S)
    assert pair.there.bodies == [b"small", b"large" * 400, b"after"]
    strained(pair, passes_bytes=1_400)
    pair.send(end, b"large" * 400)
    pair.run(PATIENCE_NS + NS_PER_S)
    assert [reason for _, reason in pair.here.losses] == [LostReason.RESET]
    pair.dial()
    pair.run(10 * NS_PER_S)
    assert pair.here.losses[-1] == (0, LostReason.HANDSHAKE_TIMED_OUT), "certificates are large"


@pytest.mark.parametrize(
    ("is_silent", "reason", "after_ms"),
    [
        (False, LostReason.CONNECT_FAILED, (20, 30)),
        (True, LostReason.HANDSHAKE_TIMED_OUT, (4_990, 5_010)),
    ],
)
def test_who_lets_nobody_in_says_so_or_says_nothing(
    is_silent: bool,  # noqa: FBT001  # a row of the table
    reason: LostReason,
    after_ms: tuple[int, int],
) -> None:
    pair = Pair()
    pair.network.obstacles.bar(1, frozenset({THERE}), is_silent=is_silent)
    pair.dial()
    pair.run(after_ms[0] * NS_PER_MS - 1)
    assert pair.here.losses == []
    pair.run((after_ms[1] - after_ms[0]) * NS_PER_MS)
    assert pair.here.losses == [(0, reason)]
    pair.network.obstacles.unbar(1)
    assert pair.connect().lost is None


def test_who_waits_for_room_looks_when_there_is_some_although_the_path_became_faster() -> None:
    """What is queued leaves when it was to leave: looking all the time until then is no looking."""
    pair = Pair()
    end = pair.connect()
    pair.network.slow_reading(THERE, 64_000)
    frame = SentFrame(FrameKind.CONTENT, TrafficClass.BULK, 1, bytes(256 << 10))
    while end.outbox.has_room(frame.traffic, frame.queued_bytes):
        end.outbox.put(frame.traffic, frame, frame.queued_bytes, pair.world.now_ns)
        pair.network.flush(end)
    pair.network.slow_reading(THERE, 0)
    room_ns = pair.network.room_at(end, frame)
    assert room_ns - pair.world.now_ns > NS_PER_S
    pair.run(room_ns - pair.world.now_ns)
    assert end.outbox.has_room(frame.traffic, frame.queued_bytes)
