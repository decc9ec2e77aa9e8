"""The status socket: whatever a local program writes, it gets well-formed answers or a closed end.

The real server on a real socket, with a driver that has a node and an answer for every request. The
server survives an exception of its own by logging it as a fault of the daemon; here that is a
finding.
"""

import re
import socket
from functools import cache
from pathlib import Path
from typing import Final, Never, cast

import trio
from trio.testing import MockClock

from fabgossip.core.effects import Answer, Outcome
from fabgossip.core.events import AuditState, GateRequest, Request, RequestId, RequestMade
from fabgossip.core.node import Node
from fabgossip.core.space import AMPLE
from fabgossip.daemon.audit import AuditView
from fabgossip.daemon.driver import Driver
from fabgossip.daemon.recent import Recent
from fabgossip.daemon.status import StatusServer
from fabgossip.daemon.views import About
from fabgossip.model.moment import Instant, Now
from tests.core.artifacts import acme_routes, routes
from tests.core.story import Story, boot_id
from tests.fuzzing.target import Target
from tests.trust import factory

CODES: Final = frozenset({100, 200, 400, 403, 404, 405, 413, 422, 431, 501, 503, 504, 507})
"""Every code the status API documents, and those of the HTTP library for what is no request."""
READ_BYTES: Final = 1 << 16
IDLE_S: Final = 0.02
"""Who waits for an event, or for a version, waits no longer than until nothing else happens."""
ABOUT: Final = About(
    node_id=factory.NODE,
    cluster_id=factory.CLUSTER,
    boot_id=boot_id("n1 first"),
    started_at=factory.NOW,
    config_path="fabgossip.toml",
    listening=("127.0.0.1:7420",),
    storage_path="state",
)


class _Full:
    """Transfers of a disk without room."""

    def open_incoming(self, *_: object) -> Never:
        raise OSError("no space")


class _Audit:
    """A log nobody keeps, of a folder that is not there."""

    folder = Path("/nonexistent/audit")

    def refused(self, *_: object) -> None:
        """Somebody who may not ask did."""

    def view(self) -> AuditView:
        return AuditView(sequence=0, anchored_at=None, state=AuditState.INTACT)


class _Driver:
    """What the status server needs of a driver."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.recent = Recent(lambda _: None)
        self.transfers = _Full()
        self.audit = _Audit()
        self.space = AMPLE
        self.faults: list[Exception] = []

    def next_request(self) -> RequestId:
        return RequestId(1)

    async def ask(self, request: RequestId, body: Request, *_: object) -> Answer:
        await trio.lowlevel.checkpoint()
        if isinstance(body, GateRequest):
            now = Now(instant=Instant(0), unix=factory.NOW)
            effects = self.node.handle(RequestMade(request=request, body=body), now)
            return next(one for one in effects if isinstance(one, Answer))
        return Answer(request=request, outcome=Outcome.UNKNOWN)

    def connection_to(self, _: object) -> None:
        """No link is open in a story but in the node's own book."""

    def log_fault(self, _: str, error: Exception) -> None:
        self.faults.append(error)


@cache
def _node() -> Node:
    story = Story()
    link = story.link("n2")
    story.accept(routes(), link).accept(acme_routes(), link)
    return story.node


def status(data: bytes) -> None:
    """Everything a client writes before it waits for the answers."""
    driver = _Driver(_node())
    answer = trio.run(_answer_to, data, driver, clock=MockClock(autojump_threshold=IDLE_S))
    if driver.faults:
        raise driver.faults[0]
    if answer:
        assert answer.startswith(b"HTTP/1.1 ")
    for code in re.findall(rb"(?:^|\n|\})HTTP/1\.1 (\d{3}) ", answer):
        assert int(code) in CODES


async def _answer_to(data: bytes, driver: _Driver) -> bytes:
    server = StatusServer(cast("Driver", driver), ABOUT, "")
    answer = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind("")  # the kernel gives it a name that is no file
        listener.listen()
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve, listener)
            client = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with client:
                await client.connect(listener.getsockname())
                nursery.start_soon(_write, client, data)
                await _read(client, answer)
            nursery.cancel_scope.cancel()
    return bytes(answer)


async def _write(client: trio.socket.SocketType, data: bytes) -> None:
    try:
        while data:
            data = data[await client.send(data) :]
        client.shutdown(socket.SHUT_WR)
    except (OSError, trio.ClosedResourceError):
        pass  # the server has closed, or had enough


async def _read(client: trio.socket.SocketType, answer: bytearray) -> None:
    try:
        while data := await client.recv(READ_BYTES):
            answer += data
    except ConnectionResetError:
        pass  # closed before all was read


def _request(line: str, *headers: str, body: bytes = b"") -> bytes:
    head = [f"{line} HTTP/1.1", "Host: localhost", *headers, "", ""]
    return "\r\n".join(head).encode() + body


def _seeds() -> tuple[bytes, ...]:
    head = routes().manifest
    reads = ("status", "health", "ready", "version", "peers", "events", "artifacts")
    queries = (
        "artifacts?limit=1&after=a&family=route_policy_bundle&state=current",
        f"why?namespace={head.namespace.text}",
        f"why?content_hash={head.content_hash.hex()}",
    )
    envelope = routes().envelope
    sizes = (f"Content-Length: {len(envelope) + 4}", f"Fabgossip-Envelope-Bytes: {len(envelope)}")
    fetch = f"POST /v1/fetch?content_hash={head.content_hash.hex()}&timeout_ms=1000"
    return (
        *(_request(f"GET /v1/{path}") for path in (*reads, *queries)),
        _request("HEAD /v1/status", "Connection: close"),
        _request("GET /v1/events?after=0&wait_ms=20000"),
        _request("GET /v1/health") + _request("GET /v1/ready"),
        _request(fetch, "Content-Length: 0"),
        _request("POST /v1/submit", *sizes, body=envelope + b"more"),
        _request("POST /v1/submit", "Expect: 100-continue", *sizes, body=envelope + b"more"),
        _request("POST /v1/submit", "Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\n\r\n"),
    )


STATUS: Final = Target(name="status", run=status, seeds=_seeds, share=10)
