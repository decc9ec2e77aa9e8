"""Where links come from: listeners, dials, TLS and the leaf rules.

TLS 1.3 only, both ends with certificates of the trust bundle's node CAs, no tickets, no
resumption; the protocol name is checked by both sides because a wrong one does not fail the
handshake. A new context per trust bundle: CAs cannot be taken out of one.
"""

import errno
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Never

import trio
from trio import TaskStatus

from fabgossip.core.events import LinkId, LostReason
from fabgossip.daemon.tls import TlsStream
from fabgossip.errors import ServiceError
from fabgossip.model.authority import KeyStatus, NodeIdentity, TrustBundle
from fabgossip.model.ids import NodeId
from fabgossip.model.topology import split_address
from fabgossip.trust.rejections import Rejection

ALPN: Final = "fabgossip/1"
HANDSHAKE_S: Final = 5.0
"""Longest time from the first byte of TLS to a judged identity (*start*)."""
DIAL_S: Final = 3.0
BACKLOG: Final = 128
USER_TIMEOUT_MS: Final = 10_000
"""The kernel gives up a link whose data stays unacknowledged for so long."""

LeafJudge = Callable[[bytes], NodeIdentity | Rejection]


class DialError(Exception):
    """A dial came to nothing."""

    def __init__(self, reason: LostReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, both in PEM."""

    certificate: bytes
    private_key: bytes = field(repr=False)


class TlsContexts:
    """The two contexts of a node, for one trust bundle."""

    def __init__(self, bundle: TrustBundle, pair: KeyPair) -> None:
        self.server = self._context(ssl.PROTOCOL_TLS_SERVER, bundle, pair)
        self.server.num_tickets = 0
        self.client = self._context(ssl.PROTOCOL_TLS_CLIENT, bundle, pair)

    @staticmethod
    def _context(purpose: int, bundle: TrustBundle, pair: KeyPair) -> ssl.SSLContext:
        context = ssl.SSLContext(purpose)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.set_alpn_protocols([ALPN])
        for ca in bundle.node_cas:
            if ca.status is KeyStatus.ACTIVE:
                context.load_verify_locations(cadata=ca.der)
        with _as_file(pair.certificate) as certificate, _as_file(pair.private_key) as private_key:
            # An empty password fails a key that needs one: without it, a terminal would be asked.
            context.load_cert_chain(certificate, private_key, password="")
        return context


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """A path in memory: the library reads certificates and keys of our own from files alone."""
    descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


async def serve_listener(
    address: str,
    on_stream: Callable[[trio.SocketStream], None],
    *,
    task_status: TaskStatus[str],
) -> Never:
    """Accept connections for ever; gives the bound address.

    As fast as they come: one that waited here would make all behind it wait, whoever they are
    (`tests/attacks/test_flood.py`). `on_stream` turns away who has had its share.

    Raises:
        ServiceError: the address cannot be bound.
    """
    host, port = split_address(address)
    try:
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
    except OSError as error:
        detail = (
            "is in use by another process" if error.errno == errno.EADDRINUSE else error.strerror
        )
        raise ServiceError(f"listen.addresses: {address} {detail}") from error
    listener = listeners[0]
    bound = listener.socket.getsockname()
    task_status.started(f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}")
    async with listener:
        while True:
            try:
                stream = await listener.accept()
            except OSError:
                # Out of descriptors, most likely: those in use must get the chance to end.
                await trio.sleep(0.1)
                continue
            on_stream(stream)
    raise AssertionError("accepting ends by cancellation only")


async def accept_tls(
    stream: trio.SocketStream, context: ssl.SSLContext, judge: LeafJudge
) -> tuple[TlsStream, NodeIdentity]:
    """TLS and leaf rules on an accepted connection; raises `DialError`, the stream closed."""
    _tune(stream)
    return await handshake(stream, context, judge, is_server=True)


async def dial(
    addresses: tuple[str, ...], node_id: NodeId, context: ssl.SSLContext, judge: LeafJudge
) -> tuple[TlsStream, NodeIdentity]:
    """Connect to the first address that answers as `node_id`; raises `DialError`."""
    last = DialError(LostReason.CONNECT_FAILED, "no address is known")
    for address in addresses:
        try:
            return await _dial_one(address, node_id, context, judge)
        except DialError as error:
            last = error
    raise last


async def _dial_one(
    address: str, node_id: NodeId, context: ssl.SSLContext, judge: LeafJudge
) -> tuple[TlsStream, NodeIdentity]:
    stream = None
    with trio.move_on_after(DIAL_S):
        try:
            stream = await trio.open_tcp_stream(*split_address(address))
        except (OSError, ValueError) as error:
            raise DialError(LostReason.CONNECT_FAILED, f"{address}: {error}") from error
    if stream is None:
        raise DialError(LostReason.CONNECT_FAILED, f"{address}: no answer within {DIAL_S:g} s")
    _tune(stream)
    tls, identity = await handshake(stream, context, judge, is_server=False)
    if identity.node_id != node_id:
        await tls.aclose_forcefully()
        raise DialError(LostReason.IDENTITY, f"{address}: another node answered than {node_id}")
    return tls, identity


def _tune(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)


async def handshake(
    stream: trio.abc.Stream, context: ssl.SSLContext, judge: LeafJudge, *, is_server: bool
) -> tuple[TlsStream, NodeIdentity]:
    """TLS and leaf rules on a stream, within `HANDSHAKE_S`; raises `DialError`, the stream
    closed."""
    tls = TlsStream(stream, context, server_side=is_server)
    identity: NodeIdentity | Rejection | None = None
    try:
        with trio.move_on_after(HANDSHAKE_S):
            await tls.do_handshake()
            identity = _judged(tls, judge)
    except (trio.BrokenResourceError, ssl.SSLError) as error:
        await tls.aclose_forcefully()
        raise DialError(LostReason.HANDSHAKE_FAILED, f"TLS: {error.__cause__ or error}") from error
    except trio.Cancelled:
        await tls.aclose_forcefully()
        raise
    if isinstance(identity, NodeIdentity):
        return tls, identity
    await tls.aclose_forcefully()
    if identity is None:
        raise DialError(LostReason.HANDSHAKE_TIMED_OUT, f"TLS: no end within {HANDSHAKE_S:g} s")
    raise DialError(LostReason.IDENTITY, identity.detail)


def _judged(tls: TlsStream, judge: LeafJudge) -> NodeIdentity | Rejection:
    if tls.alpn() != ALPN:
        raise ssl.SSLError("the peer does not speak fabgossip/1")
    der = tls.peer_certificate()
    if der is None:
        raise ssl.SSLError("the peer showed no certificate")
    return judge(der)


class LinkNumbers:
    """Numbers for links, never reused within a process."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> LinkId:
        """A fresh number."""
        self._last += 1
        return LinkId(self._last)
