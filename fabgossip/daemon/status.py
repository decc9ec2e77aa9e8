"""The status socket: HTTP/1.1 and JSON over a Unix socket, so that `curl --unix-socket` works.

Whoever the socket's mode lets in may read; root, the daemon's own user and the operator group may
also ask for things. Here: who is let in, which route a request takes, and whether its caller may.
"""

import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

import trio
from trio import TaskStatus

from fabgossip.daemon.callers import Caller, Callers, caller_at
from fabgossip.daemon.conversations import Conversation, RefusedError, Reply, Request
from fabgossip.daemon.driver import Driver
from fabgossip.daemon.orders import Orders
from fabgossip.daemon.questions import Questions
from fabgossip.daemon.views import About
from fabgossip.daemon.waits import Waits


class StatusServer:
    """Answers local software."""

    def __init__(self, driver: Driver, about: About, operator_group: str) -> None:
        self._driver = driver
        self._callers = Callers(os.geteuid(), operator_group)
        questions = Questions(driver, about, lambda: self.is_ready)
        self._routes = _routes(questions, Waits(driver), Orders(driver))
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
            await Conversation(stream, self._route, caller).run()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except Exception as error:  # noqa: BLE001  # one client's request never ends the daemon
            self._driver.log_fault("status_request_failed", error)
        finally:
            self._callers.leave(caller)
            await trio.aclose_forcefully(stream)

    async def _route(self, request: Request) -> Reply:
        route = self._routes.get((request.method, request.path))
        if route is None:
            known = {path for _, path in self._routes}
            if request.path in known:
                raise RefusedError(405, "method", f"{request.method} is not for {request.path}")
            raise RefusedError(
                404, "not_found", f"{request.path}: known are {', '.join(sorted(known))}"
            )
        if route.is_operate and not self._callers.may_operate(request.caller):
            self._driver.audit.refused(f"uid:{request.caller.uid}", request.path)
            raise RefusedError(403, "forbidden", f"refused: {self._callers.operators} only")
        unknown = set(request.query) - set(route.query)
        if unknown:
            raise RefusedError(400, "query", f"unknown query keys: {', '.join(sorted(unknown))}")
        return await route.answer(request)


@dataclass(frozen=True, slots=True)
class _Route:
    """Who answers, whether only operators may ask, and the query keys it knows."""

    answer: Callable[[Request], Awaitable[Reply]]
    is_operate: bool = False
    query: tuple[str, ...] = ()


_Routes: TypeAlias = dict[tuple[str, str], _Route]


def _routes(questions: Questions, waits: Waits, orders: Orders) -> _Routes:
    """Method and path of every question and order."""
    return {
        ("GET", "/v1/status"): _Route(questions.on_status),
        ("GET", "/v1/health"): _Route(questions.on_health),
        ("GET", "/v1/ready"): _Route(questions.on_ready),
        ("GET", "/v1/version"): _Route(questions.on_version),
        ("GET", "/v1/artifacts"): _Route(
            questions.on_artifacts, query=("namespace", "family", "state", "after", "limit")
        ),
        ("GET", "/v1/peers"): _Route(questions.on_peers),
        ("GET", "/v1/why"): _Route(questions.on_why, query=("namespace", "content_hash")),
        ("GET", "/v1/events"): _Route(questions.on_events, query=("after", "boot_id", "wait_ms")),
        ("GET", "/v1/gate"): _Route(
            questions.on_gate, query=("action", "namespace", "content_hash")
        ),
        ("GET", "/v1/wait"): _Route(
            waits.on_wait, query=("namespace", "min_version", "usable", "wait_ms")
        ),
        ("GET", "/v1/audit"): _Route(questions.on_audit, is_operate=True, query=("after",)),
        ("GET", "/v1/checkpoints"): _Route(
            questions.on_checkpoints, is_operate=True, query=("node",)
        ),
        ("GET", "/v1/pins"): _Route(questions.on_pins),
        ("POST", "/v1/pins"): _Route(
            orders.on_pin,
            is_operate=True,
            query=("content_hash", "namespace", "reason", "seconds"),
        ),
        ("DELETE", "/v1/pins"): _Route(orders.on_unpin, is_operate=True, query=("pin",)),
        ("POST", "/v1/use"): _Route(
            orders.on_use,
            is_operate=True,
            query=("namespace", "version", "reason", "seconds"),
        ),
        ("DELETE", "/v1/use"): _Route(orders.on_release, is_operate=True, query=("namespace",)),
        ("POST", "/v1/fetch"): _Route(
            orders.on_fetch, is_operate=True, query=("content_hash", "namespace", "timeout_ms")
        ),
        ("POST", "/v1/granted"): _Route(orders.on_granted, is_operate=True, query=("timeout_ms",)),
        ("POST", "/v1/submit"): _Route(orders.on_submit, is_operate=True),
    }
