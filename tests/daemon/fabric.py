"""Two ends on loopback: certificates of a real node CA, real TLS, and a disk of its own each.

The certificates are judged by OpenSSL against the machine's clock, so they are made for now.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache, partial
from hashlib import sha256
from pathlib import Path

import trio
import trio.testing

from fabgossip.control.drafts import chunk_hashes_of
from fabgossip.control.enrollment import (
    certificate_der,
    certificate_pem,
    node_ca_certificate,
    node_certificate,
)
from fabgossip.control.keystore import private_pem
from fabgossip.core.config import NodeConfig
from fabgossip.core.effects import ReceiveContent
from fabgossip.core.events import ContentStored, ContentWanted, Event, LinkId, RequestId
from fabgossip.core.setup import NodeSetup, OwnIdentity
from fabgossip.core.space import SpaceLimits
from fabgossip.daemon.connections import Connection
from fabgossip.daemon.crash_marks import CrashMarks
from fabgossip.daemon.disk import Disk
from fabgossip.daemon.driver import Driver, World, read_clocks
from fabgossip.daemon.endpoints import KeyPair, TlsContexts, accept_tls, dial, handshake
from fabgossip.daemon.logs import Log, LogLevel
from fabgossip.daemon.sending import Sending
from fabgossip.daemon.submitted import Submission
from fabgossip.daemon.transfers import Transfers
from fabgossip.daemon.views import About
from fabgossip.model.authority import NodeCa, NodeIdentity, TrustBundle
from fabgossip.model.ids import ContentHash, ManifestHash, NodeId
from fabgossip.model.moment import seconds_after
from fabgossip.storage.contents import ContentFiles, IncomingContent
from fabgossip.storage.index import NodeIndex
from fabgossip.storage.materialized import LocalState
from fabgossip.storage.syncing import Syncing
from fabgossip.trust.identity import verify_leaf
from fabgossip.trust.rejections import Rejection
from fabgossip.trust.revocation import NOTHING_REVOKED
from fabgossip.wire.framing import Frame
from tests.core.story import NOTHING_STORED, boot_id, claims_of, pinned
from tests.daemon.audits import audit_in
from tests.trust import factory

HANG_S = 60
"""A test that waits this long hangs; nothing else is decided by the clock."""


@cache
def bundle_of(ca: str) -> TrustBundle:
    """The factory's bundle with a node CA that is valid today."""
    now = read_clocks().unix
    certificate = node_ca_certificate(factory.p256_key(ca), factory.CLUSTER, now)
    return replace(factory.BUNDLE, node_cas=(NodeCa(certificate_der(certificate)),))


def judge_by(bundle: TrustBundle) -> Callable[[bytes], NodeIdentity | Rejection]:
    """The leaf rules under a bundle."""
    return lambda der: verify_leaf(der, bundle, NOTHING_REVOKED, read_clocks().unix)


def contexts(folder: Path, name: str, *, ca: str = "CA", believes: str = "CA") -> TlsContexts:
    """The TLS contexts of a node certified by one CA that believes another."""
    now, key = read_clocks().unix, factory.p256_key(f"{name} of {ca}")
    times = (now, seconds_after(now, 3_600))
    certificate = node_certificate(
        NodeId(name), key.public_key(), bundle_of(ca), factory.p256_key(ca), times
    )
    pair = KeyPair(certificate_pem(certificate), private_pem(key, None))
    (folder / f"{name}.{ca}.crt").write_bytes(pair.certificate)
    (folder / f"{name}.{ca}.key").write_bytes(pair.private_key)
    return TlsContexts(bundle_of(believes), pair)


@asynccontextmanager
async def listening(
    on_stream: Callable[[trio.SocketStream], object],
) -> AsyncIterator[str]:
    """A TCP listener on loopback; gives its address."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def accept() -> None:
        while True:
            on_stream(await listener.accept())

    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        yield f"127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def linked(folder: Path) -> AsyncIterator[tuple[Connection, Connection]]:
    """Both ends of one link: who dialled, who accepted. Nobody reads or writes yet."""
    judge = judge_by(bundle_of("CA"))
    accepted: list[Connection] = []
    done = trio.Event()
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:

            async def accept(stream: trio.SocketStream) -> None:
                tls, identity = await accept_tls(stream, contexts(folder, "b").server, judge)
                accepted.append(Connection(LinkId(2), tls, identity, is_dialer=False))
                done.set()

            async with listening(lambda stream: nursery.start_soon(accept, stream)) as address:
                tls, identity = await dial(
                    (address,), NodeId("b"), contexts(folder, "a").client, judge
                )
                await done.wait()
            yield Connection(LinkId(1), tls, identity, is_dialer=True), accepted[0]


async def in_memory(folder: Path) -> tuple[Connection, Connection]:
    """Both ends of one link over memory streams, for a clock that jumps: who dialled, who
    accepted. Nobody reads or writes yet."""
    return await linked_over(folder, *trio.testing.memory_stream_pair())


async def linked_over(
    folder: Path, near: trio.abc.Stream, far: trio.abc.Stream
) -> tuple[Connection, Connection]:
    """As `in_memory`, over these."""
    judge = judge_by(bundle_of("CA"))
    ends: dict[bool, Connection] = {}

    async def secure(stream: trio.abc.Stream, name: str, *, is_server: bool) -> None:
        pair = contexts(folder, name)
        context = pair.server if is_server else pair.client
        tls, identity = await handshake(stream, context, judge, is_server=is_server)
        link = LinkId(2 if is_server else 1)
        ends[is_server] = Connection(link, tls, identity, is_dialer=not is_server)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(secure, near, "a", is_server=False))
        nursery.start_soon(partial(secure, far, "b", is_server=True))
    return ends[False], ends[True]


class End:
    """A disk and its transfers, and the events they gave."""

    def __init__(self, folder: Path, nursery: trio.Nursery) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.index, self.reader = (NodeIndex(folder / "index") for _ in range(2))
        self.files, local = ContentFiles(folder, Syncing()), LocalState(folder, Syncing())
        for index in (self.index, self.reader):
            index.open(NodeId("n1"))
        self.files.prepare()
        local.prepare()
        self.marks = CrashMarks(folder, read_clocks().unix)
        self.disk = Disk(self.index, self.reader, self.files, local, SpaceLimits())
        self.events: list[Event] = []
        self.event_times: list[float] = []
        """When each event came."""
        self._arrived = trio.Event()
        self.transfers = Transfers(self.disk, nursery, self.on_event, trio.current_time)
        self.sending = Sending(self.disk, nursery, self.on_event, trio.current_time)
        self.disk.start()
        nursery.start_soon(self.disk.report_faults)
        nursery.start_soon(self.transfers.watch)
        nursery.start_soon(self.sending.watch)

    def on_event(self, event: Event) -> None:
        self.events.append(event)
        self.event_times.append(trio.current_time())
        self._arrived.set()

    async def event(self) -> Event:
        """The next event."""
        while not self.events:
            self._arrived = trio.Event()
            await self._arrived.wait()
        return self.events.pop(0)

    def close(self) -> None:
        self.disk.stop()
        self.index.close()
        self.reader.close()
        self.marks.close()


def wanted(content: bytes, *, is_read: bool = False) -> ContentWanted:
    """A content as its manifest names it."""
    return ContentWanted(
        manifest_hash=ManifestHash(b"m" * 32),
        content_hash=ContentHash(sha256(content).digest()),
        size=len(content),
        chunk_hashes=chunk_hashes_of(content),
        is_read=is_read,
    )


async def store(end: End, content: bytes) -> None:
    """Make an end hold a content, by the way a submitted one takes."""
    one = wanted(content)
    incoming: IncomingContent | None = None
    if one.chunk_hashes:
        incoming = end.transfers.open_incoming(one.content_hash, one.size)
        incoming.write_at(0, content)
    submission = Submission(
        data=None if incoming else content,
        incoming=incoming,
        size=one.size,
        whole_hash=one.content_hash,
        chunk_hashes=one.chunk_hashes,
    )
    end.transfers.submitted.on_submission(RequestId(1), submission)
    end.transfers.receive(ReceiveContent(wanted=one, request=RequestId(1)), None)
    assert isinstance(await end.event(), ContentStored)


def collector(frames: list[tuple[str, int, bytes]]) -> Callable[[Connection, Frame], None]:
    """Keeps what arrives: kind, stream, body."""
    return lambda _, frame: frames.append((frame.kind.name, frame.stream, bytes(frame.body)))


def uncounted(_: Connection, count: int) -> None:
    """No frame of an honest end leads to nothing."""
    raise AssertionError(count)


def driver_of(
    end: End,
    tls: TlsContexts,
    nursery: trio.Nursery,
    *,
    handshakes_in_flight_max: int = 8,
    handshakes_per_second_max: int = 100,
    connections_max: int = 8,
) -> Driver:
    """A driver of node `n1` on a disk, started with nothing stored; it keeps no log."""
    own = OwnIdentity(
        node_id=NodeId("n1"),
        claims=claims_of("n1", factory.OPENINGS, ("edge",)),
        openings=factory.OPENINGS,
        pinned=pinned(bundle_of("CA")),
    )
    setup = NodeSetup(config=NodeConfig(), own=own, boot_id=boot_id("n1"), bootstrap=(), seed=1)
    world = World(
        disk=end.disk,
        audit=audit_in(end.folder / "audit"),
        log=Log(LogLevel.ERROR, lambda: 0.0, as_json=True, write=lambda _: None),
        marks=end.marks,
        tls=lambda _: tls,
        connections_max=connections_max,
        handshakes_in_flight_max=handshakes_in_flight_max,
        handshakes_per_second_max=handshakes_per_second_max,
    )
    driver = Driver(setup, world, nursery)
    driver.post(NOTHING_STORED)
    return driver


def about(folder: Path) -> About:
    """What does not change while that daemon runs."""
    return About(
        node_id="n1",
        cluster_id=factory.CLUSTER,
        boot_id=boot_id("n1"),
        started_at=factory.NOW,
        config_path=str(folder / "config"),
        listening=(),
        storage_path=str(folder),
    )
