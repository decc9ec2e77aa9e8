"""`GET /v1/wait`: an answer once consumers may read what they wait for, or when the time is over.

A reader that asked again and again would miss nothing but time; here it is woken by what happened.
Modes change with the clock alone, so it looks once a second even if nothing did.
"""

import time
from typing import Final

import trio

from fabgossip.core.awaiting import Arrival, Awaited
from fabgossip.daemon.conversations import RefusedError, Reply, Request
from fabgossip.daemon.driver import Driver, read_clocks
from fabgossip.errors import ModelError
from fabgossip.model.artifact import Order, parse_order

WAITS_MAX: Final = 64
"""Requests that wait at once (*start*)."""
WAIT_MS_MAX: Final = 30_000
"""The longest one request waits; who waits longer asks again (*start*)."""
LOOK_EVERY_S: Final = 1.0
SETTLE_S: Final = 0.02
"""What happens together is looked at once: the cost of a look grows with the namespaces (*start*).
"""
REST_TIMES: Final = 20
"""Times as long as a look at all namespaces took, until the next one (*start*)."""
NAMED_MAX: Final = 20
"""Namespaces an answer names of those that are not there (*start*)."""


class Waits:
    """The requests that wait."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._count = 0
        self._all: tuple[Awaited, ...] = ()
        self._look_at = 0.0
        """When all namespaces are looked at again: one look is for all who wait."""

    async def on_wait(self, request: Request) -> Reply:
        """`GET /v1/wait?namespace=&min_version=&usable=&wait_ms=`; without a namespace all that
        this node is to use."""
        if self._count >= WAITS_MAX:
            raise RefusedError(503, "busy", "too many wait at once; ask again")
        namespace = request.namespace(self._driver.node.view.trust.bundle.prefix)
        at_least = _order(request.query.get("min_version"))
        if at_least is not None and namespace is None:
            raise RefusedError(400, "query", "min_version: only with a namespace")
        must_be_usable = request.query.get("usable", "0") == "1"
        wait_ms = request.number("wait_ms", 1, WAIT_MS_MAX)
        self._count += 1
        try:
            with trio.move_on_after(wait_ms / 1_000):
                while not _is_over(self._look(namespace, at_least, must_be_usable=must_be_usable)):
                    with trio.move_on_after(LOOK_EVERY_S):
                        await self._driver.recent.next()
                        await trio.sleep(SETTLE_S)
        finally:
            self._count -= 1
        return _reply(self._look(namespace, at_least, must_be_usable=must_be_usable))

    def _look(
        self, namespace: str | None, at_least: Order | None, *, must_be_usable: bool
    ) -> tuple[Awaited, ...]:
        awaiting, now = self._driver.node.awaiting, read_clocks()
        if namespace is None:
            return self._look_at_all()
        return (awaiting.of(namespace, at_least, now, must_be_usable=must_be_usable),)

    def _look_at_all(self) -> tuple[Awaited, ...]:
        """However many wait and whatever happens, the loop has time for other work."""
        begun = trio.current_time()
        if begun >= self._look_at:
            started = time.perf_counter()
            self._all = self._driver.node.awaiting.of_all(read_clocks())
            self._look_at = begun + REST_TIMES * (time.perf_counter() - started)
        return self._all


def _order(text: str | None) -> Order | None:
    try:
        return None if text is None else parse_order(text)
    except ModelError as error:
        raise RefusedError(400, "query", f"min_version: {error}") from error


def _is_over(found: tuple[Awaited, ...]) -> bool:
    """Nothing at all is not everything: a node that just began knows of nothing."""
    is_gone = any(one.arrival is Arrival.GONE for one in found)
    return is_gone or (bool(found) and all(one.arrival is Arrival.REACHED for one in found))


def _reply(found: tuple[Awaited, ...]) -> Reply:
    missing = [one for one in found if one.arrival is not Arrival.REACHED]
    is_gone = any(one.arrival is Arrival.GONE for one in found)
    arrival = Arrival.GONE if is_gone else Arrival.NOT_YET
    items = [_item(one) for one in (missing or found)[:NAMED_MAX]]
    body: dict[str, object] = {
        "arrival": (Arrival.REACHED if _is_over(found) and not is_gone else arrival).value,
        "namespaces": len(found),
        "missing": len(missing),
        "items": items,
    }
    return Reply(code=200, body=body)


def _item(one: Awaited) -> dict[str, object]:
    order = None if one.order is None else str(one.order)
    return {
        "namespace": one.namespace,
        "arrival": one.arrival.value,
        "order": order,
        "reason": one.reason,
    }
