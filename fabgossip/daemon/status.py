"""The status socket: HTTP/1.1 and JSON over a Unix socket, so that `curl --unix-socket` works.

Whoever the socket's mode lets in may read; root, the daemon's own user and the operator group may
also ask for things. Every answer is made from one snapshot. Nothing here has authority: `submit`
passes the same gate as a stranger's bytes.
"""

import json
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import h11
import trio
from trio import TaskStatus

from fabgossip.core.catalog import Head, HeadState
from fabgossip.core.effects import Answer, Outcome
from fabgossip.core.events import FetchRequest, GateRequest, GrantedRequest, SubmitRequest
from fabgossip.core.health import state_of
from fabgossip.core.pace import BYTES_PER_S_MIN
from fabgossip.daemon import views
from fabgossip.daemon.callers import CALLERS_MAX, Caller, Callers, caller_at
from fabgossip.daemon.driver import Driver, read_clocks
from fabgossip.daemon.granted import Spool
from fabgossip.daemon.transfers import Submission, is_spooled
from fabgossip.errors import ModelError, ServiceError, StorageError
from fabgossip.model.artifact import CONTENT_BYTES_MAX, ArtifactType, chunk_count_of, chunk_size_of
from fabgossip.model.envelope import ENVELOPE_BYTES_MAX
from fabgossip.model.ids import ContentHash, parse_content_hash, parse_id, parse_node_id
from fabgossip.storage.records import SEQUENCE_DIGITS, read_records

SCHEMA_VERSION: Final = 1
HEAD_BYTES_MAX: Final = 16 << 10
LIMIT_MAX: Final = 1_000
DIGITS_MAX: Final = 9
"""Of any number a client may give."""
FIRST_S: Final = 5.0
"""Longest time a connection may take to bring its first request (*start*)."""
IDLE_S: Final = 60.0
"""Longest time a connection may take to bring the next request (*start*)."""
REQUEST_S: Final = 5.0
"""Longest time the rest of a refused request may take."""
DRAINED_BYTES_MAX: Final = 1 << 20
"""A refused body up to here is read and forgotten and the connection goes on; above, it closes."""
REPLY_S: Final = 10.0
"""Longest time a client may take to read an answer (*start*)."""
SUBMIT_S: Final = 120.0
"""Longest time a submitted body may take, whatever its size."""
FETCH_TIMEOUT_MS_MAX: Final = 600_000
GATE_QUESTIONS_MAX: Final = 64
"""Questions of consumers answered at once (*start*)."""
ENVELOPE_HEADER: Final = b"fabgossip-envelope-bytes"
GRANT_HEADER: Final = b"fabgossip-grant-bytes"
PIECE_BYTES: Final = 256 << 10
"""Of a content handed over at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A status code and a JSON object, or a content and what to say of it in headers."""

    code: int
    body: dict[str, object]
    content: Spool | None = None
    over: Callable[[], None] | None = None
    """Called once the client has it, or is gone."""


class RefusedError(Exception):
    """A request that is answered with a code and words."""

    def __init__(self, code: int, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reply = Reply(code=code, body={"code": reason, "detail": detail})


def open_status_socket(path: Path) -> socket.socket:
    """Bind the socket with mode 0660; a dead one is replaced, a live one never.

    Raises:
        ServiceError: another process serves it, or it cannot be bound.
    """
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        _remove_dead(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        before = os.umask(0o117)
        try:
            listener.bind(os.fspath(path))
        finally:
            os.umask(before)
        listener.listen(CALLERS_MAX)
    except OSError as error:
        raise ServiceError(f"status.socket: {path}: {error.strerror}") from error
    return listener


def _remove_dead(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ServiceError(f"status.socket: {path} exists and is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            path.unlink()
            return
    raise ServiceError(f"status.socket: {path} is served by another process")


class StatusServer:
    """Answers local software."""

    def __init__(self, driver: Driver, about: views.About, operator_group: str) -> None:
        self._driver = driver
        self._about = about
        self._callers = Callers(os.geteuid(), operator_group)
        self._asking = 0
        self._scope = trio.CancelScope()
        self._has_ended = trio.Event()
        self.is_ready = False

    async def serve(self, listener: socket.socket, *, task_status: TaskStatus[None]) -> None:
        """Accept until stopped."""
        accepting = trio.socket.from_stdlib_socket(listener)
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    task_status.started()
                    while True:
                        peer, _ = await accepting.accept()
                        self._admit(trio.SocketStream(peer), caller_at(peer), nursery)
        finally:
            self._has_ended.set()

    def _admit(self, stream: trio.SocketStream, caller: Caller, nursery: trio.Nursery) -> None:
        if self._callers.enter(caller):
            nursery.start_soon(self._serve_one, stream, caller, name="status client")
        else:
            stream.socket.close()

    async def stop(self) -> None:
        """End every conversation. The socket may be closed after that and not before: a task that
        waits for a closed one fails, and with it the daemon."""
        self._scope.cancel()
        await self._has_ended.wait()

    async def _serve_one(self, stream: trio.SocketStream, caller: Caller) -> None:
        try:
            await _Conversation(stream, self._route, caller).run()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except Exception as error:  # noqa: BLE001  # one client's request never ends the daemon
            self._driver.log_fault("status_request_failed", error)
        finally:
            self._callers.leave(caller)
            await trio.aclose_forcefully(stream)

    async def _route(self, request: "_Request") -> Reply:
        route = _ROUTES.get((request.method, request.path))
        if route is None:
            known = {path for _, path in _ROUTES}
            if request.path in known:
                raise RefusedError(405, "method", f"{request.method} is not for {request.path}")
            raise RefusedError(
                404, "not_found", f"{request.path}: known are {', '.join(sorted(known))}"
            )
        if route.is_operate and not self._callers.may_operate(request.caller):
            self._driver.audit.refused(f"uid:{request.caller.uid}", request.path)
            raise RefusedError(
                403, "forbidden", "root, the daemon's user or its operator group only"
            )
        unknown = set(request.query) - set(route.query)
        if unknown:
            raise RefusedError(400, "query", f"unknown query keys: {', '.join(sorted(unknown))}")
        return await route.answer(self, request)

    async def on_status(self, _: "_Request") -> Reply:
        """`GET /v1/status`."""
        snapshot = self._driver.node.view.snapshot(read_clocks())
        body = views.status(snapshot, self._about, self._driver.audit.view())
        return Reply(code=200, body=body)

    async def on_health(self, _: "_Request") -> Reply:
        """`GET /v1/health`: the loop turns, or this would not be answered."""
        return Reply(code=200, body={"ok": True, "failing": []})

    async def on_ready(self, _: "_Request") -> Reply:
        """`GET /v1/ready`."""
        return Reply(code=200 if self.is_ready else 503, body={"ok": self.is_ready})

    async def on_version(self, _: "_Request") -> Reply:
        """`GET /v1/version`."""
        return Reply(code=200, body=views.version(self._about))

    async def on_artifacts(self, request: "_Request") -> Reply:
        """`GET /v1/artifacts`."""
        limit = request.number("limit", 100, LIMIT_MAX)
        now = read_clocks()
        family, state = request.query.get("family"), request.query.get("state")
        _expect("family", family, [one.value for one in ArtifactType])
        _expect("state", state, ["stale", "disputed", *(one.value for one in HeadState)])
        namespace = self._namespace(request)
        if namespace is not None:
            found = self._driver.node.view.find(namespace)
            heads: tuple[Head, ...] = () if found is None else (found,)
        else:
            heads = self._driver.node.view.heads_after(request.query.get("after", ""), limit + 1)
        items = [
            views.artifact(head, now)
            for head in heads[:limit]
            if (family is None or head.manifest.artifact_type.value == family)
            and (state is None or state_of(head, now) == state)
        ]
        more = heads[limit - 1].manifest.namespace.text if len(heads) > limit else None
        return Reply(code=200, body={"items": items, "next": more})

    def _namespace(self, request: "_Request") -> str | None:
        """The namespace of a query; one that is named as in `fabric.toml`, below the cluster, is of
        this node's."""
        text = request.query.get("namespace")
        if text is None or text.startswith("platform/"):
            return text
        return f"{self._driver.node.view.trust.bundle.prefix}/{text}"

    async def on_peers(self, _: "_Request") -> Reply:
        """`GET /v1/peers`."""
        now = read_clocks()
        items = [
            views.peer(self._driver, session, now) for session in self._driver.node.view.sessions()
        ]
        return Reply(code=200, body={"items": items})

    async def on_why(self, request: "_Request") -> Reply:
        """`GET /v1/why?namespace=` or `?content_hash=`."""
        node, now = self._driver.node, read_clocks()
        namespace, text = self._namespace(request), request.query.get("content_hash")
        if namespace is None and text is None:
            raise RefusedError(400, "query", "namespace or content_hash is needed")
        if namespace is not None:
            head = node.view.find(namespace)
        else:
            head = next(iter(node.view.heads_of(_content_hash(text or ""))), None)
        subject = namespace if namespace is not None else _content_hash(text or "")
        granted = views.granted(node.view.granted(subject), now)
        if head is None and not granted:
            raise RefusedError(404, "unknown", "no verified manifest names it here")
        body = views.NO_HEAD if head is None else views.why(self._driver, head, now)
        return Reply(code=200, body=body | {"granted": granted})

    async def on_events(self, _: "_Request") -> Reply:
        """`GET /v1/events`: the last facts, oldest first."""
        items = [views.event(at, fact) for at, fact in self._driver.facts]
        return Reply(code=200, body={"items": items[-LIMIT_MAX:]})

    async def on_gate(self, request: "_Request") -> Reply:
        """`GET /v1/gate?action=&namespace=|content_hash=`: 200 whatever the answer is; any other
        code means no."""
        action = _action(request.query.get("action"))
        text, namespace = request.query.get("content_hash"), self._namespace(request)
        if text is not None and namespace is not None:
            raise RefusedError(400, "query", "at most one of content_hash and namespace")
        if self._asking >= GATE_QUESTIONS_MAX:
            raise RefusedError(503, "busy", "too many questions at once: this means no")
        body = GateRequest(
            action=action,
            content_hash=None if text is None else _content_hash(text),
            namespace=namespace,
        )
        self._asking += 1
        try:
            answer = await self._driver.ask(self._driver.next_request(), body)
        finally:
            self._asking -= 1
        assert answer.permit is not None
        return Reply(code=200, body=views.permit(answer.permit))

    async def on_audit(self, request: "_Request") -> Reply:
        """`GET /v1/audit?after=`: records of the log, oldest first."""
        after = request.sequence("after")
        folder = self._driver.audit.folder
        try:
            rows = await trio.to_thread.run_sync(read_records, folder, after, LIMIT_MAX)
        except StorageError as error:
            raise RefusedError(503, "storage", str(error)) from error
        items = [views.audit_record(seq, line) for seq, line in rows]
        return Reply(
            code=200, body={"items": items, "next": rows[-1][0] if len(rows) == LIMIT_MAX else None}
        )

    async def on_checkpoints(self, request: "_Request") -> Reply:
        """`GET /v1/checkpoints?node=`: what is kept of a node's audit log."""
        try:
            node_id = parse_node_id(request.query.get("node", ""))
        except ModelError as error:
            raise RefusedError(400, "query", f"node: {error}") from error
        kept = self._driver.node.view.checkpoints_of(node_id)
        if not kept:
            raise RefusedError(404, "unknown", "no checkpoint of such a node is kept here")
        items = [views.checkpoint(one) for one in kept]
        return Reply(code=200, body={"node_id": node_id, "items": items})

    async def on_fetch(self, request: "_Request") -> Reply:
        """`POST /v1/fetch?content_hash=|namespace=&timeout_ms=`."""
        text, namespace = request.query.get("content_hash"), self._namespace(request)
        if (text is None) == (namespace is None):
            raise RefusedError(400, "query", "exactly one of content_hash and namespace is needed")
        body = FetchRequest(
            content_hash=None if text is None else _content_hash(text),
            namespace=namespace,
            timeout_ms=request.number("timeout_ms", 30_000, FETCH_TIMEOUT_MS_MAX),
        )
        answer = await self._driver.ask(self._driver.next_request(), body)
        return _reply(answer)

    async def on_granted(self, request: "_Request") -> Reply:
        """`POST /v1/granted?timeout_ms=`: grant, then envelope of the artifact; the header says
        where one ends. The one route that answers with a content."""
        timeout_ms = request.number("timeout_ms", 30_000, FETCH_TIMEOUT_MS_MAX)
        grant_bytes = _length(request, GRANT_HEADER)
        if not grant_bytes < request.body_bytes <= 2 * ENVELOPE_BYTES_MAX:
            raise RefusedError(400, "envelope", "grant and envelope are expected as the body")
        body = bytearray()

        async def add(data: bytes) -> None:
            body.extend(data)

        with trio.move_on_after(submit_s(request.body_bytes)) as scope:
            await request.read_body(add)
        if scope.cancelled_caught or len(body) != request.body_bytes:
            raise RefusedError(400, "truncated", "the body ended before the length it announced")
        number = self._driver.next_request()
        asked = GrantedRequest(
            grant=bytes(body[:grant_bytes]),
            envelope=bytes(body[grant_bytes:]),
            timeout_ms=timeout_ms,
        )
        over = partial(self._driver.granted.on_request_over, number)
        try:
            answer = await self._driver.ask(number, asked)
        except BaseException:
            over()
            raise
        reply = _reply(answer)
        if answer.outcome is not Outcome.DELIVERED:
            over()
            return reply
        content = self._driver.granted.spool_of(number)
        return replace(reply, content=content, over=over)

    async def on_submit(self, request: "_Request") -> Reply:
        """`POST /v1/submit`: envelope, then content; the header says where one ends."""
        body = _SubmitBody(self._driver, _length(request, ENVELOPE_HEADER), request.body_bytes)
        with trio.move_on_after(submit_s(request.body_bytes)) as scope:
            await request.read_body(body.add)
        if scope.cancelled_caught or not body.is_complete:
            body.drop()
            raise RefusedError(
                400, "truncated", "the body ended, or its time did, before the length it announced"
            )
        answer = await self._driver.ask(
            self._driver.next_request(),
            SubmitRequest(envelope=bytes(body.envelope)),
            body.submission(),
        )
        return _reply(answer)


def _length(request: "_Request", header: bytes) -> int:
    """How many bytes of the body an envelope has, as a header says."""
    length = request.headers.get(header, b"")
    if not (length.isdigit() and len(length) <= DIGITS_MAX) or not (
        0 < int(length) <= ENVELOPE_BYTES_MAX
    ):
        name = header.decode("ascii").title()
        raise RefusedError(400, "envelope", f"header {name}: 1 to {ENVELOPE_BYTES_MAX}")
    return int(length)


def submit_s(body_bytes: int) -> float:
    """How long a submitted body of this size may take: the pace of a peer's content is its least
    too, so that a trickle holds no connection."""
    return min(REQUEST_S + body_bytes / BYTES_PER_S_MIN, SUBMIT_S)


class _SubmitBody:
    """A submitted envelope and content as they come in, hashed on the way; large contents go to a
    file."""

    def __init__(self, driver: Driver, envelope_bytes: int, body_bytes: int) -> None:
        self.envelope = bytearray()
        self._envelope_bytes = envelope_bytes
        self._size = body_bytes - envelope_bytes
        if not 0 <= self._size <= CONTENT_BYTES_MAX:
            raise RefusedError(413, "content", f"a content has at most {CONTENT_BYTES_MAX} bytes")
        self._received = 0
        self._whole = sha256()
        self._chunk_bytes = chunk_size_of(self._size) if chunk_count_of(self._size) else 0
        self._chunk = bytearray()
        self._chunk_hashes: list[ContentHash] = []
        self._data = bytearray()
        self._incoming = None
        if is_spooled(self._size):
            try:
                name = ContentHash(sha256(b"submission").digest())
                self._incoming = driver.transfers.open_incoming(name, self._size)
            except OSError as error:
                raise RefusedError(507, "storage", error.strerror or "no space") from error

    @property
    def is_complete(self) -> bool:
        """Whether all announced bytes came."""
        return len(self.envelope) == self._envelope_bytes and self._received == self._size

    async def add(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        missing = self._envelope_bytes - len(self.envelope)
        self.envelope += data[:missing]
        content = data[missing:] if missing else data
        if not content:
            return
        if self._incoming is None:
            self._data += content
            self._whole.update(content)
        else:
            await trio.to_thread.run_sync(self._spool, self._received, content)
        self._received += len(content)

    def _spool(self, offset: int, content: bytes) -> None:
        assert self._incoming is not None
        self._incoming.write_at(offset, content)
        self._whole.update(content)
        self._chunk += content
        while len(self._chunk) >= self._chunk_bytes:
            self._chunk_hashes.append(
                ContentHash(sha256(self._chunk[: self._chunk_bytes]).digest())
            )
            del self._chunk[: self._chunk_bytes]

    def submission(self) -> Submission:
        """What the driver needs to judge and store the content."""
        if self._chunk:
            self._chunk_hashes.append(ContentHash(sha256(self._chunk).digest()))
        return Submission(
            data=None if self._incoming is not None else bytes(self._data),
            incoming=self._incoming,
            size=self._received,
            whole_hash=ContentHash(self._whole.digest()),
            chunk_hashes=tuple(self._chunk_hashes),
        )

    def drop(self) -> None:
        """Forget what came."""
        if self._incoming is not None:
            self._incoming.drop()


def _expect(key: str, value: str | None, known: list[str]) -> None:
    if value is not None and value not in known:
        raise RefusedError(400, "query", f"{key}: expected one of {', '.join(known)}")


def _action(text: str | None) -> str:
    try:
        return parse_id(text or "", "action")
    except ModelError as error:
        raise RefusedError(400, "action", str(error)) from error


def _content_hash(text: str) -> ContentHash:
    try:
        return parse_content_hash(text)
    except ModelError as error:
        raise RefusedError(400, "content_hash", str(error)) from error


_CODES: Final = {
    Outcome.ADMITTED: 200,
    Outcome.ALREADY_CURRENT: 200,
    Outcome.HELD: 200,
    Outcome.DELIVERED: 200,
    Outcome.DECIDED: 200,
    Outcome.REFUSED: 422,
    Outcome.UNKNOWN: 404,
    Outcome.TIMED_OUT: 504,
    Outcome.FAILED: 503,
}


def _reply(answer: Answer) -> Reply:
    body: dict[str, object] = {"outcome": answer.outcome.value, "namespace": answer.namespace}
    body["content_hash"] = None if answer.content_hash is None else answer.content_hash.hex()
    if answer.code or answer.detail:
        body |= {"code": answer.code or answer.outcome.value, "detail": answer.detail}
    return Reply(code=_CODES[answer.outcome], body=body)


@dataclass(slots=True)
class _Request:
    """One request; its body is read on demand."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[bytes, bytes]
    caller: Caller
    read_body: Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]]

    @property
    def body_bytes(self) -> int:
        """The announced length."""
        length = self.headers.get(b"content-length", b"0")
        return int(length) if length.isdigit() and len(length) <= DIGITS_MAX else 0

    def number(self, key: str, default: int, high: int) -> int:
        """An integer of the query."""
        text = self.query.get(key)
        if text is None:
            return default
        if not (
            text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX and 1 <= int(text) <= high
        ):
            raise RefusedError(400, "query", f"{key}: expected an integer from 1 to {high}")
        return int(text)

    def sequence(self, key: str) -> int:
        """A place in the audit log, 0 where the query has none."""
        text = self.query.get(key, "0")
        if not (text.isascii() and text.isdigit() and len(text) <= SEQUENCE_DIGITS):
            raise RefusedError(400, "query", f"{key}: expected a sequence number")
        return int(text)


class _Conversation:
    """One client connection: requests in turn, kept alive."""

    def __init__(
        self,
        stream: trio.SocketStream,
        route: Callable[[_Request], Awaitable[Reply]],
        caller: Caller,
    ) -> None:
        self._stream = stream
        self._route = route
        self._caller = caller
        self._method = b""
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)

    async def run(self) -> None:
        """Serve until the client leaves or breaks the protocol."""
        patience_s = FIRST_S
        while True:
            self._method = b""
            try:
                event = None
                with trio.move_on_after(patience_s):
                    event = await self._next_event()
                if not isinstance(event, h11.Request):
                    return
                patience_s = IDLE_S
                self._method = event.method
                reply = await self._answer(event)
            except h11.RemoteProtocolError as error:
                reply = Reply(
                    code=error.error_status_hint, body={"code": "http", "detail": str(error)}
                )
            if not await self._hand_over(reply):
                return
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _hand_over(self, reply: Reply) -> bool:
        """Send an answer; whether the client took it in time: a content at the pace a peer's has
        to come."""
        size = 0 if reply.content is None else reply.content.size
        try:
            with trio.move_on_after(REPLY_S + size / BYTES_PER_S_MIN) as scope:
                if reply.content is None:
                    await self._send(reply)
                else:
                    await self._send_content(reply.content, reply.body)
        finally:
            if reply.over is not None:
                reply.over()
        return not scope.cancelled_caught

    async def _send_content(self, content: Spool, body: dict[str, object]) -> None:
        headers = [
            ("Content-Type", "application/octet-stream"),
            ("Content-Length", str(content.size)),
            ("Fabgossip-Namespace", str(body["namespace"])),
            ("Fabgossip-Content-Hash", str(body["content_hash"])),
        ]
        response = h11.Response(status_code=200, headers=headers)
        await self._stream.send_all(self._http.send(response) or b"")
        for start in range(0, content.size, PIECE_BYTES):
            piece = await trio.to_thread.run_sync(content.read_at, start, PIECE_BYTES)
            await self._stream.send_all(self._http.send(h11.Data(data=piece)) or b"")
        await self._stream.send_all(self._http.send(h11.EndOfMessage()) or b"")

    async def _next_event(self) -> object:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                await self._stream.send_all(
                    self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b""
                )
            self._http.receive_data(await self._stream.receive_some(256 << 10))

    async def _answer(self, event: h11.Request) -> Reply:
        try:
            parts = urlsplit(event.target.decode("ascii", "replace"))
        except ValueError:
            return Reply(code=400, body={"code": "target", "detail": "not a request target"})
        request = _Request(
            method=event.method.decode("ascii", "replace"),
            path=parts.path,
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers=dict(event.headers),
            caller=self._caller,
            read_body=self._read_body,
        )
        try:
            reply = await self._route(request)
        except RefusedError as error:
            reply = error.reply
        if self._http.their_state is h11.SEND_BODY and request.body_bytes <= DRAINED_BYTES_MAX:
            with trio.move_on_after(REQUEST_S):
                await self._read_body(_ignore)
        return reply

    async def _read_body(self, on_data: Callable[[bytes], Awaitable[None]]) -> None:
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Data):
                await on_data(bytes(event.data))
            else:
                return

    async def _send(self, reply: Reply) -> None:
        body = json.dumps(
            {"schema_version": SCHEMA_VERSION, **reply.body}, ensure_ascii=True
        ).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        if self._http.their_state is not h11.DONE:
            headers.append(("Connection", "close"))
        head = self._http.send(h11.Response(status_code=reply.code, headers=headers)) or b""
        is_head = self._method == b"HEAD"
        data = b"" if is_head else self._http.send(h11.Data(data=body)) or b""
        await self._stream.send_all(head + data + (self._http.send(h11.EndOfMessage()) or b""))


async def _ignore(_: bytes) -> None:
    """A body nobody asked for."""


_Handler = Callable[[StatusServer, _Request], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class _Route:
    """Who answers, whether only operators may ask, and the query keys it knows."""

    answer: _Handler
    is_operate: bool = False
    query: tuple[str, ...] = ()


_ROUTES: Final[dict[tuple[str, str], _Route]] = {
    ("GET", "/v1/status"): _Route(StatusServer.on_status),
    ("GET", "/v1/health"): _Route(StatusServer.on_health),
    ("GET", "/v1/ready"): _Route(StatusServer.on_ready),
    ("GET", "/v1/version"): _Route(StatusServer.on_version),
    ("GET", "/v1/artifacts"): _Route(
        StatusServer.on_artifacts, query=("namespace", "family", "state", "after", "limit")
    ),
    ("GET", "/v1/peers"): _Route(StatusServer.on_peers),
    ("GET", "/v1/why"): _Route(StatusServer.on_why, query=("namespace", "content_hash")),
    ("GET", "/v1/events"): _Route(StatusServer.on_events),
    ("GET", "/v1/gate"): _Route(
        StatusServer.on_gate, query=("action", "namespace", "content_hash")
    ),
    ("GET", "/v1/audit"): _Route(StatusServer.on_audit, is_operate=True, query=("after",)),
    ("GET", "/v1/checkpoints"): _Route(
        StatusServer.on_checkpoints, is_operate=True, query=("node",)
    ),
    ("POST", "/v1/fetch"): _Route(
        StatusServer.on_fetch, is_operate=True, query=("content_hash", "namespace", "timeout_ms")
    ),
    ("POST", "/v1/granted"): _Route(
        StatusServer.on_granted, is_operate=True, query=("timeout_ms",)
    ),
    ("POST", "/v1/submit"): _Route(StatusServer.on_submit, is_operate=True),
}
