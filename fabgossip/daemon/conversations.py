"""HTTP/1.1 with one client of the status socket: requests in turn, each answered once, every stage
with a time of its own. Knows nothing of what is asked.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import h11
import trio

from fabgossip.core.pace import BYTES_PER_S_MIN
from fabgossip.daemon.callers import Caller
from fabgossip.daemon.granted import Spool
from fabgossip.errors import ModelError
from fabgossip.model.ids import ContentHash, parse_content_hash
from fabgossip.model.scope import parse_namespace
from fabgossip.storage.records import SEQUENCE_DIGITS

SCHEMA_VERSION: Final = 1
HEAD_BYTES_MAX: Final = 16 << 10
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


@dataclass(slots=True)
class Request:
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
        """A place in the audit log or among the events, 0 where the query has none."""
        text = self.query.get(key, "0")
        if not (text.isascii() and text.isdigit() and len(text) <= SEQUENCE_DIGITS):
            raise RefusedError(400, "query", f"{key}: expected a sequence number")
        return int(text)

    def namespace(self, prefix: str) -> str | None:
        """The namespace of the query; one that is named as in `fabric.toml`, below the cluster, is
        completed by `prefix`. What can be none is refused: it may be as long as a head, and what a
        reader asks for is kept among the events."""
        text = self.query.get("namespace")
        if text is None:
            return None
        full = text if text.startswith("platform/") else f"{prefix}/{text}"
        try:
            return parse_namespace(full).text
        except ModelError as error:
            raise RefusedError(400, "namespace", str(error)) from error

    def content_hash(self) -> ContentHash | None:
        """The content the query names."""
        text = self.query.get("content_hash")
        try:
            return None if text is None else parse_content_hash(text)
        except ModelError as error:
            raise RefusedError(400, "content_hash", str(error)) from error


class Conversation:
    """One client connection: requests in turn, kept alive."""

    def __init__(
        self,
        stream: trio.SocketStream,
        route: Callable[[Request], Awaitable[Reply]],
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
        request = Request(
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
