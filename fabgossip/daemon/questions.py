"""The routes of the status socket that only look: each answer is made from one snapshot."""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

import trio

from fabgossip.core.catalog import Head, HeadState
from fabgossip.core.events import GateRequest
from fabgossip.core.health import NodeSnapshot, state_of
from fabgossip.daemon import views
from fabgossip.daemon.conversations import RefusedError, Reply, Request
from fabgossip.daemon.driver import Driver, read_clocks
from fabgossip.daemon.recent import Told
from fabgossip.daemon.waits import REST_TIMES, WAIT_MS_MAX
from fabgossip.errors import ModelError, StorageError
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.ids import ContentHash, parse_id, parse_node_id
from fabgossip.storage.records import read_records

LIMIT_MAX: Final = 1_000
EVENTS_BYTES_MAX: Final = 256 << 10
"""Of the events of one answer, which the loop writes in one go (*start*)."""
FEW_NAMESPACES: Final = 1_000
"""Of so many every status is made anew: two milliseconds at most (*start*)."""
GATE_QUESTIONS_MAX: Final = 64
"""Questions of consumers answered at once (*start*)."""


class Questions:
    """Answers who may read, and, of the audit log, who may operate."""

    def __init__(self, driver: Driver, about: views.About, is_ready: Callable[[], bool]) -> None:
        self._driver = driver
        self._about = about
        self._is_ready = is_ready
        self._asking = 0
        self._seen: NodeSnapshot | None = None
        self._look_at = 0.0
        """When a node of many namespaces is looked at again: one look is for all who ask."""

    @property
    def _prefix(self) -> str:
        return self._driver.node.view.trust.bundle.prefix

    async def on_status(self, _: Request) -> Reply:
        """`GET /v1/status`."""
        seen = self._look()
        retention = replace(seen.retention, space=self._driver.space)
        snapshot = replace(seen, retention=retention)
        body = views.status(snapshot, self._about, self._driver.audit.view())
        return Reply(code=200, body=body)

    def _look(self) -> NodeSnapshot:
        """However many ask how often, the loop has time for other work."""
        seen, begun = self._seen, trio.current_time()
        if seen is None or seen.namespaces.total <= FEW_NAMESPACES or begun >= self._look_at:
            started = time.perf_counter()
            seen = self._seen = self._driver.node.view.snapshot(read_clocks())
            self._look_at = begun + REST_TIMES * (time.perf_counter() - started)
        return seen

    async def on_health(self, _: Request) -> Reply:
        """`GET /v1/health`: the loop turns, or this would not be answered."""
        return Reply(code=200, body={"ok": True, "failing": []})

    async def on_ready(self, _: Request) -> Reply:
        """`GET /v1/ready`."""
        return Reply(code=200 if self._is_ready() else 503, body={"ok": self._is_ready()})

    async def on_version(self, _: Request) -> Reply:
        """`GET /v1/version`."""
        return Reply(code=200, body=views.version(self._about))

    async def on_artifacts(self, request: Request) -> Reply:
        """`GET /v1/artifacts`."""
        limit = request.number("limit", 100, LIMIT_MAX)
        now = read_clocks()
        family, state = request.query.get("family"), request.query.get("state")
        _expect("family", family, [one.value for one in ArtifactType])
        _expect("state", state, ["stale", "disputed", *(one.value for one in HeadState)])
        namespace = request.namespace(self._prefix)
        if namespace is not None:
            found = self._driver.node.view.find(namespace)
            heads: tuple[Head, ...] = () if found is None else (found,)
        else:
            heads = self._driver.node.view.heads_after(request.query.get("after", ""), limit + 1)
        items = [
            views.artifact(self._driver, head, now)
            for head in heads[:limit]
            if (family is None or head.manifest.artifact_type.value == family)
            and (state is None or state_of(head, now) == state)
        ]
        more = heads[limit - 1].manifest.namespace.text if len(heads) > limit else None
        return Reply(code=200, body={"items": items, "next": more})

    async def on_pins(self, _: Request) -> Reply:
        """`GET /v1/pins`."""
        items = [views.pin(one) for one in self._driver.node.view.pins()]
        return Reply(code=200, body={"items": items})

    async def on_peers(self, _: Request) -> Reply:
        """`GET /v1/peers`."""
        now = read_clocks()
        items = [
            views.peer(self._driver, session, now) for session in self._driver.node.view.sessions()
        ]
        down = [views.down(one) for one in self._driver.node.view.down(now.instant)]
        return Reply(code=200, body={"items": items, "down": down})

    async def on_why(self, request: Request) -> Reply:
        """`GET /v1/why?namespace=` or `?content_hash=`."""
        node, now = self._driver.node, read_clocks()
        namespace, content_hash = request.namespace(self._prefix), request.content_hash()
        subject: str | ContentHash
        if namespace is not None:
            subject, head = namespace, node.view.find(namespace)
        elif content_hash is not None:
            subject, head = content_hash, next(iter(node.view.heads_of(content_hash)), None)
        else:
            raise RefusedError(400, "query", "namespace or content_hash is needed")
        granted = views.granted(node.view.granted(subject), now)
        shown = None if head is not None or namespace is None else node.view.shown(namespace)
        if head is None and shown is None and not granted:
            raise RefusedError(404, "unknown", "no verified manifest names it here")
        body = views.NO_HEAD if head is None else views.why(self._driver, head, now)
        local = None if shown is None else views.unclaimed(shown)
        return Reply(code=200, body=body | {"granted": granted, "unclaimed": local})

    async def on_events(self, request: Request) -> Reply:
        """`GET /v1/events?after=&boot_id=&wait_ms=`: the last facts, oldest first; those after one,
        once there is any. Another process counted anew: nothing of this one came after that."""
        recent = self._driver.recent
        if "after" not in request.query:
            if request.query:
                raise RefusedError(400, "query", "boot_id, wait_ms: only with after")
            return self._events(_page(recent.newest(LIMIT_MAX))[::-1], None)
        after, wait_ms = request.sequence("after"), request.number("wait_ms", 1, WAIT_MS_MAX)
        is_of_another = request.query.get("boot_id", self._boot_id) != self._boot_id
        if is_of_another or after > recent.told:
            after = 0
        with trio.move_on_after(wait_ms / 1_000):
            while after == recent.told:
                await recent.next()
        return self._events(_page(recent.after(after, LIMIT_MAX)), after)

    def _events(self, rows: list[Told], after: int | None) -> Reply:
        """Who asks for the last ones misses nothing."""
        last = rows[-1].number if rows else after or 0
        missed = 0 if after is None else last - after - len(rows)
        told = {"next": last, "missed": missed, "boot_id": self._boot_id}
        return Reply(code=200, body={"items": [views.event(one) for one in rows], **told})

    @property
    def _boot_id(self) -> str:
        return self._about.boot_id.hex()

    async def on_gate(self, request: Request) -> Reply:
        """`GET /v1/gate?action=&namespace=|content_hash=`: 200 whatever the answer is; any other
        code means no."""
        action = _action(request.query.get("action"))
        namespace, content_hash = request.namespace(self._prefix), request.content_hash()
        if content_hash is not None and namespace is not None:
            raise RefusedError(400, "query", "at most one of content_hash and namespace")
        if self._asking >= GATE_QUESTIONS_MAX:
            raise RefusedError(503, "busy", "too many questions at once: this means no")
        body = GateRequest(action=action, content_hash=content_hash, namespace=namespace)
        self._asking += 1
        try:
            answer = await self._driver.ask(self._driver.next_request(), body)
        finally:
            self._asking -= 1
        assert answer.permit is not None
        return Reply(code=200, body=views.permit(answer.permit))

    async def on_audit(self, request: Request) -> Reply:
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

    async def on_checkpoints(self, request: Request) -> Reply:
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


def _page(rows: Iterable[Told]) -> list[Told]:
    """The first of them, as many as an answer may have; one of them at least."""
    page: list[Told] = []
    left = EVENTS_BYTES_MAX
    for one in rows:
        left -= len(json.dumps(views.event(one)))
        if page and left < 0:
            break
        page.append(one)
    return page


def _expect(key: str, value: str | None, known: list[str]) -> None:
    if value is not None and value not in known:
        raise RefusedError(400, "query", f"{key}: expected one of {', '.join(known)}")


def _action(text: str | None) -> str:
    try:
        return parse_id(text or "", "action")
    except ModelError as error:
        raise RefusedError(400, "action", str(error)) from error
