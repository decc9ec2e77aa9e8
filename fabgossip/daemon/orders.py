"""The routes of the status socket that ask for something: only operators may. Nothing here has
authority: what is handed over passes the same gate as a stranger's bytes.
"""

from dataclasses import replace
from functools import partial
from typing import Final

import trio

from fabgossip.core.effects import Answer, Outcome
from fabgossip.core.events import (
    FetchRequest,
    GrantedRequest,
    PinRequest,
    ReleaseRequest,
    SubmitRequest,
    UnpinRequest,
    UseRequest,
)
from fabgossip.daemon.conversations import RefusedError, Reply, Request
from fabgossip.daemon.driver import Driver
from fabgossip.daemon.submissions import SubmitBody, length_in, submit_s
from fabgossip.daemon.views import held_back as hold_view
from fabgossip.daemon.views import pin as pin_view
from fabgossip.errors import ModelError
from fabgossip.model.artifact import Order, parse_order
from fabgossip.model.envelope import ENVELOPE_BYTES_MAX

FETCH_TIMEOUT_MS_MAX: Final = 600_000
REASON_MAX: Final = 200
PIN_S: Final = 86_400
PIN_S_MAX: Final = 90 * 86_400
"""A pin that is needed longer is made again: whoever made it may be gone (*start*)."""
PIN_ID_MAX: Final = 1 << 53
ENVELOPE_HEADER: Final = b"fabgossip-envelope-bytes"
GRANT_HEADER: Final = b"fabgossip-grant-bytes"


class Orders:
    """Carries out what an operator asks for."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def on_fetch(self, request: Request) -> Reply:
        """`POST /v1/fetch?content_hash=|namespace=&timeout_ms=`."""
        namespace = request.namespace(self._driver.node.view.trust.bundle.prefix)
        content_hash = request.content_hash()
        if (content_hash is None) == (namespace is None):
            raise RefusedError(400, "query", "exactly one of content_hash and namespace is needed")
        body = FetchRequest(
            content_hash=content_hash,
            namespace=namespace,
            timeout_ms=request.number("timeout_ms", 30_000, FETCH_TIMEOUT_MS_MAX),
        )
        asked_at = trio.current_time()
        answer = await self._driver.ask(self._driver.next_request(), body)
        held = answer.content_hash if answer.outcome is Outcome.HELD else None
        if held is not None and await self._driver.has_lost(held):
            took_ms = int((trio.current_time() - asked_at) * 1_000)
            body = replace(body, timeout_ms=max(1, body.timeout_ms - took_ms))
            answer = await self._driver.ask(self._driver.next_request(), body)
        return _reply(answer)

    async def on_pin(self, request: Request) -> Reply:
        """`POST /v1/pins?content_hash=|namespace=&reason=&seconds=`."""
        namespace = request.namespace(self._driver.node.view.trust.bundle.prefix)
        content_hash = request.content_hash()
        if (content_hash is None) == (namespace is None):
            raise RefusedError(400, "query", "exactly one of content_hash and namespace is needed")
        body = PinRequest(
            owner=_owner(request),
            reason=_reason(request),
            seconds=request.number("seconds", PIN_S, PIN_S_MAX),
            content_hash=content_hash,
            namespace=namespace,
        )
        answer = await self._driver.ask(self._driver.next_request(), body)
        if answer.pin is not None:
            await self._driver.has_lost(answer.pin.content_hash)  # a pin stands for what comes, too
        return _pin_reply(answer)

    async def on_unpin(self, request: Request) -> Reply:
        """`DELETE /v1/pins?pin=`."""
        body = UnpinRequest(pin_id=request.number("pin", 0, PIN_ID_MAX))
        return _pin_reply(await self._driver.ask(self._driver.next_request(), body))

    async def on_use(self, request: Request) -> Reply:
        """`POST /v1/use?namespace=&version=&reason=&seconds=`."""
        namespace, order = self._used_namespace(request), _order(request)
        reason = _reason(request)
        seconds = request.number("seconds", PIN_S, PIN_S_MAX)
        # Only of a name that a verified manifest has a path is made.
        is_known = self._driver.node.view.find(namespace) is not None
        kept = dict(await self._driver.kept_versions(namespace)) if is_known else {}
        if order not in kept:
            raise RefusedError(404, "unknown", _not_kept(namespace, order, tuple(kept)))
        body = UseRequest(
            owner=_owner(request),
            reason=reason,
            seconds=seconds,
            namespace=namespace,
            order=order,
            envelope=kept[order],
        )
        return _use_reply(await self._driver.ask(self._driver.next_request(), body))

    async def on_release(self, request: Request) -> Reply:
        """`DELETE /v1/use?namespace=`."""
        body = ReleaseRequest(owner=_owner(request), namespace=self._used_namespace(request))
        return _use_reply(await self._driver.ask(self._driver.next_request(), body))

    def _used_namespace(self, request: Request) -> str:
        namespace = request.namespace(self._driver.node.view.trust.bundle.prefix)
        if namespace is None:
            raise RefusedError(400, "query", "namespace is needed")
        return namespace

    async def on_granted(self, request: Request) -> Reply:
        """`POST /v1/granted?timeout_ms=`: grant, then envelope of the artifact; the header says
        where one ends. The one route that answers with a content."""
        timeout_ms = request.number("timeout_ms", 30_000, FETCH_TIMEOUT_MS_MAX)
        grant_bytes = length_in(request, GRANT_HEADER)
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

    async def on_submit(self, request: Request) -> Reply:
        """`POST /v1/submit`: envelope, then content; the header says where one ends."""
        body = SubmitBody(self._driver, length_in(request, ENVELOPE_HEADER), request.body_bytes)
        try:
            with trio.move_on_after(submit_s(request.body_bytes)) as scope:
                await request.read_body(body.add)
            if scope.cancelled_caught or not body.is_complete:
                raise RefusedError(
                    400,
                    "truncated",
                    "the body ended, or its time did, before the length it announced",
                )
            submission = body.submission()
        except BaseException:
            # A client that is gone, a task that is cancelled: nobody else knows of the file yet.
            body.drop()
            raise
        asked = SubmitRequest(envelope=bytes(body.envelope))
        answer = await self._driver.ask(self._driver.next_request(), asked, submission)
        return _reply(answer)


def _owner(request: Request) -> str:
    """Who asks, as the kernel says."""
    return f"uid:{request.caller.uid}"


def _reason(request: Request) -> str:
    """For whoever wonders later."""
    reason = request.query.get("reason", "")
    if not 0 < len(reason) <= REASON_MAX or not reason.isprintable():
        raise RefusedError(400, "reason", f"a reason of at most {REASON_MAX} characters")
    return reason


def _not_kept(namespace: str, order: Order, kept: tuple[Order, ...]) -> str:
    if not kept:
        return f"{namespace}: no version of it is in local/ on this node"
    return f"{namespace}: {order} is not kept in local/; kept are: {', '.join(map(str, kept))}"


def _order(request: Request) -> Order:
    try:
        return parse_order(request.query.get("version", ""))
    except ModelError as error:
        raise RefusedError(400, "query", f"version: {error}") from error


_CODES: Final = {
    Outcome.ADMITTED: 200,
    Outcome.ALREADY_CURRENT: 200,
    Outcome.HELD: 200,
    Outcome.PINNED: 200,
    Outcome.UNPINNED: 200,
    Outcome.HELD_BACK: 200,
    Outcome.RELEASED: 200,
    Outcome.DELIVERED: 200,
    Outcome.DECIDED: 200,
    Outcome.REFUSED: 422,
    Outcome.UNKNOWN: 404,
    Outcome.TIMED_OUT: 504,
    Outcome.FAILED: 503,
}


def _pin_reply(answer: Answer) -> Reply:
    reply = _reply(answer)
    return reply if answer.pin is None else replace(reply, body=reply.body | pin_view(answer.pin))


def _use_reply(answer: Answer) -> Reply:
    reply = _reply(answer)
    held_back = answer.held_back
    return reply if held_back is None else replace(reply, body=reply.body | hold_view(held_back))


def _reply(answer: Answer) -> Reply:
    body: dict[str, object] = {"outcome": answer.outcome.value, "namespace": answer.namespace}
    body["content_hash"] = None if answer.content_hash is None else answer.content_hash.hex()
    if answer.code or answer.detail:
        body |= {"code": answer.code or answer.outcome.value, "detail": answer.detail}
    return Reply(code=_CODES[answer.outcome], body=body)
