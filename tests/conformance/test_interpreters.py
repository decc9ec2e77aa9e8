"""The two interpreters of effects: the daemon's driver and the simulated host answer alike.

A node that decides nothing wants one effect done; what it is told about it must be the same.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import trio

from fabgossip.core.config import NodeConfig
from fabgossip.core.effects import (
    Answer,
    Assemble,
    CancelContent,
    Dial,
    Disconnect,
    Effect,
    Fact,
    Materialize,
    Outcome,
    Persist,
    ReceiveContent,
    ReceiveGranted,
    Record,
    Remove,
    Scrub,
    Send,
    ServeContent,
    SetTimer,
)
from fabgossip.core.events import (
    AssemblyFailed,
    ContentFailed,
    Event,
    FetchFailure,
    GrantedReceived,
    LinkId,
    LostReason,
    PeerLost,
    Persisted,
    RefreshDue,
    RequestId,
    Started,
    TimerFired,
    Token,
)
from fabgossip.core.node import Node
from fabgossip.core.setup import NodeSetup, OwnIdentity
from fabgossip.core.wants import wanted_from
from fabgossip.daemon import driver as daemon_driver
from fabgossip.daemon.driver import Driver, World
from fabgossip.daemon.logs import Log, LogLevel
from fabgossip.model.authority import Narrowing
from fabgossip.model.ids import NodeId
from fabgossip.model.increments import AssemblyFault
from fabgossip.model.messages import ByeReason, TrafficClass
from fabgossip.model.moment import Now
from fabgossip.model.persistence import PutHead
from fabgossip.sim.host import SimulatedNode
from fabgossip.trust.signatures import Verifier
from tests.core.artifacts import EVERYBODY, routes
from tests.core.chained import snapshot_of, step
from tests.core.story import NOTHING_STORED, boot_id, claims_of, pinned
from tests.daemon.audits import audit_in
from tests.daemon.fabric import HANG_S, End, contexts
from tests.sim.factory import FIVE, TOPOLOGY, run_of, scenario
from tests.trust import factory
from tests.wire.samples import ping

GONE = LinkId(99)
TOKEN = Token(7)
WANTED = wanted_from(routes().verified, is_read=False)
Script = Callable[[Now], tuple[Effect, ...]]


def failed(
    reason: FetchFailure, *, link: LinkId | None = None, request: RequestId | None = None
) -> ContentFailed:
    return ContentFailed(wanted=WANTED, link=link, request=request, reason=reason, received=0)


def switch() -> Materialize:
    verified = routes().verified
    return Materialize(
        token=TOKEN,
        namespace=verified.manifest.namespace.text,
        order=verified.manifest.order,
        manifest=verified.manifest,
        envelope=verified.envelope,
    )


CASES: dict[str, tuple[Script, tuple[Event, ...]]] = {
    "a change is durable": (
        lambda _: (Persist(token=TOKEN, changes=(PutHead(verified=routes().verified),)),),
        (Persisted(token=TOKEN, ok=True),),
    ),
    "changes come back in order": (
        lambda _: tuple(
            Persist(token=Token(number), changes=(PutHead(verified=routes(number).verified),))
            for number in range(1, 6)
        ),
        tuple(Persisted(token=Token(number), ok=True) for number in range(1, 6)),
    ),
    "a content that is not held cannot be switched to": (
        lambda _: (switch(),),
        (Persisted(token=TOKEN, ok=False),),
    ),
    "a version that is not kept cannot be gone back to": (
        lambda _: (replace(switch(), is_kept=True),),
        (Persisted(token=TOKEN, ok=False),),
    ),
    "a namespace that is not there is withdrawn": (
        lambda _: (Materialize(token=TOKEN, namespace=switch().namespace, order=None),),
        (Persisted(token=TOKEN, ok=True),),
    ),
    "a content that is not on the own disk": (
        lambda _: (ReceiveContent(wanted=WANTED),),
        (failed(FetchFailure.DISK),),
    ),
    "a content from a link that is gone": (
        lambda _: (ReceiveContent(wanted=WANTED, link=GONE, idle_ms=100),),
        (failed(FetchFailure.LOST, link=GONE),),
    ),
    "a content from a request that brought none": (
        lambda _: (ReceiveContent(wanted=WANTED, request=RequestId(5)),),
        (failed(FetchFailure.MISSING, request=RequestId(5)),),
    ),
    "a content under a grant from a link that is gone": (
        lambda _: (
            ReceiveGranted(
                request=RequestId(5),
                link=GONE,
                wanted=WANTED,
                grant=b"grant",
                narrowing=Narrowing(),
                traffic=TrafficClass.POLICY,
                idle_ms=100,
            ),
        ),
        (GrantedReceived(request=RequestId(5), link=GONE, failure=FetchFailure.LOST, received=0),),
    ),
    "an assembly on a base that is not held": (
        lambda _: (
            Assemble(
                wanted=wanted_from(snapshot_of(8).verified, is_read=True),
                increments=(step(8).manifest,),
            ),
        ),
        (
            AssemblyFailed(
                wanted=wanted_from(snapshot_of(8).verified, is_read=True),
                fault=AssemblyFault.BASE,
                place=0,
            ),
        ),
    ),
    "a dial without an address": (
        lambda _: (Dial(node_id=NodeId("nobody"), addresses=()),),
        (PeerLost(link=None, node_id=NodeId("nobody"), reason=LostReason.CONNECT_FAILED),),
    ),
    "a content that left while it was to be hashed is no damage": (
        lambda now: (Scrub(token=TOKEN, content_hash=WANTED.content_hash, at=now.unix),),
        (Persisted(token=TOKEN, ok=True),),
    ),
    "a timer that is due already": (
        lambda now: (SetTimer(timer=RefreshDue(), at=now.instant),),
        (TimerFired(timer=RefreshDue()),),
    ),
    "what is for links and requests that are gone, and what nobody answers": (
        lambda now: (
            Send(
                link=GONE,
                message=ping(1),
                traffic=TrafficClass.LINK,
                audience=EVERYBODY,
            ),
            Disconnect(link=GONE, bye=ByeReason.DRAIN, retry_after_s=0, lost=LostReason.LOCAL),
            ServeContent(link=GONE, stream=2, items=(), traffic=TrafficClass.POLICY),
            CancelContent(link=GONE, content_hash=WANTED.content_hash),
            Remove(content_hash=WANTED.content_hash),
            Answer(request=RequestId(5), outcome=Outcome.FAILED),
            Record(fact=Fact.STARTED),
            SetTimer(timer=RefreshDue(), at=now.instant),
        ),
        (TimerFired(timer=RefreshDue()),),
    ),
}


class Told:
    """What a node was told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._more = trio.Event()

    def add(self, event: Event) -> None:
        self.events.append(event)
        self._more.set()

    async def until(self, count: int) -> None:
        while len(self.events) < count:
            self._more = trio.Event()
            await self._more.wait()


class Scripted(Node):
    """Wants what its script says once it started, and keeps what it is told."""

    script: Script
    told: Told

    def handle(self, event: Event, now: Now) -> list[Effect]:
        if isinstance(event, Started):
            return list(self.script(now))
        self.told.add(event)
        return []


def scripted(script: Script, told: Told) -> type[Scripted]:
    """A kind of node with this script."""
    return type("One", (Scripted,), {"script": staticmethod(script), "told": told})


def simulated(script: Script) -> list[Event]:
    """What the simulated host tells the first node."""
    told = Told()
    silent = scripted(lambda _: (), Told())
    made: list[SimulatedNode] = []

    def make(setup: NodeSetup, verifier: Verifier) -> SimulatedNode:
        kind = silent if made else scripted(script, told)
        made.append(kind(setup, verifier))
        return made[-1]

    run_of(scenario('phases = { quiet = "1s" }', TOPOLOGY, FIVE), 1, make).run()
    return told.events


async def driven(
    script: Script, count: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> list[Event]:
    """What the driver tells its node, until it has told as much as was expected."""
    told = Told()
    monkeypatch.setattr(daemon_driver, "Node", scripted(script, told))
    own = OwnIdentity(
        node_id=NodeId("n1"),
        claims=claims_of("n1", factory.OPENINGS, ("edge",)),
        openings=factory.OPENINGS,
        pinned=pinned(),
    )
    setup = NodeSetup(config=NodeConfig(), own=own, boot_id=boot_id("n1"), bootstrap=(), seed=1)
    tls = contexts(folder, "n1")
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            with closing(End(folder / "disk", nursery)) as end:
                log = Log(LogLevel.ERROR, lambda: 0.0, as_json=True, write=lambda _: None)
                audit = audit_in(folder / "audit")
                world = World(
                    disk=end.disk,
                    audit=audit,
                    log=log,
                    marks=end.marks,
                    tls=lambda _: tls,
                    connections_max=8,
                    handshakes_in_flight_max=8,
                    handshakes_per_second_max=1,
                )
                driver = Driver(setup, world, nursery)
                audit.start(driver.on_checkpoint_signed, driver.on_audit_state)
                nursery.start_soon(driver.run_timers)
                driver.post(NOTHING_STORED)
                await told.until(count)
                nursery.cancel_scope.cancel()
            audit.stop()
    return told.events


@pytest.mark.parametrize("case", CASES)
@pytest.mark.slow
async def test_both_interpreters_tell_the_node_the_same(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, expected = CASES[case]
    assert simulated(script) == list(expected)
    assert await driven(script, len(expected), tmp_path, monkeypatch) == list(expected)


def test_every_effect_is_in_a_script() -> None:
    """A new effect needs a case of its own."""
    used = {type(one) for script, _ in CASES.values() for one in script(factory.BOTH_CLOCKS)}
    assert used == set(get_args(Effect))
