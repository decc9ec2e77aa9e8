"""Where facts of a run are heard: hands each to the checkers and measures that want it.

Decides: nothing.
Keeps: listeners change nothing, so the trace is the same with and without them.
Must not know: what a listener makes of a fact.
"""

from collections.abc import Callable
from dataclasses import dataclass

from fabgossip.core.chains import Gap
from fabgossip.core.config import RecoveryConfig
from fabgossip.core.effects import Fact, Record, ServeItem
from fabgossip.core.events import ContentWanted, LinkId, LostReason, Started
from fabgossip.core.view import View
from fabgossip.core.wants import Want
from fabgossip.model.artifact import Order, VerifiedManifest
from fabgossip.model.ids import ContentHash
from fabgossip.model.messages import Announce, Graft, Message, TrafficClass
from fabgossip.model.moment import Now
from fabgossip.model.persistence import Change, PutClaimsSeen, PutClockDoubt, PutMemory
from fabgossip.model.scope import Entitlements
from fabgossip.sim.agreement import Agreement
from fabgossip.sim.anchored import Anchored
from fabgossip.sim.authentic import Authentic, Contradicted
from fabgossip.sim.authority import Issued
from fabgossip.sim.builds import Builds
from fabgossip.sim.checkers import (
    Alive,
    Applied,
    Bounded,
    Climbed,
    Counted,
    Disclosed,
    Docket,
    Durable,
    Floors,
    Sound,
)
from fabgossip.sim.clock import TRUE
from fabgossip.sim.disk import SimDisk
from fabgossip.sim.excuses import Excuses
from fabgossip.sim.faults import Fault
from fabgossip.sim.frugal import Frugal
from fabgossip.sim.intact import Served, Survived
from fabgossip.sim.kept import Kept, Local
from fabgossip.sim.landing import Deadlines, Landed, Lasting
from fabgossip.sim.ledger import Ledger
from fabgossip.sim.liveness import Calm, Dropped, Whole
from fabgossip.sim.measures import Measures
from fabgossip.sim.naming import Named
from fabgossip.sim.network import End, SentFrame
from fabgossip.sim.observing import CONNECTED, LOST, Observers
from fabgossip.sim.permitted import Permitted
from fabgossip.sim.replicated import Replicated
from fabgossip.sim.reporting import Reported, Wanting
from fabgossip.sim.restrictions import Revoked, Withdrawn
from fabgossip.sim.scoped import Scoped
from fabgossip.sim.staying import Staying
from fabgossip.sim.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What listeners judge by."""

    links_max: int
    """A node opens by itself."""
    is_up: Callable[[int], bool]
    """And honest: a hostile node is judged by nobody."""
    hostile: frozenset[int]
    deadlines: Deadlines
    now_at: Callable[[int], Now]
    """By the clocks of a node."""
    recovery: RecoveryConfig
    wires: dict[int, int]
    """The highest protocol version each node speaks."""


class Chained:
    """What became of snapshots that were to be made of increments."""

    def __init__(self) -> None:
        self.assembled = 0
        self.gaps = dict.fromkeys(Gap, 0)


class Watch:
    """All listeners of a run."""

    def __init__(
        self,
        world: World,
        ledger: Ledger,
        measures: Measures,
        agreement: Agreement,
        limits: Limits,
        observers: Observers,
    ) -> None:
        self._world = world
        self._hostile = limits.hostile
        self._observers = observers
        self.ledger = ledger
        self.measures = measures
        self.agreement = agreement
        self.docket = docket = Docket()
        """Of safety."""
        self.liveness = Docket()
        self._disclosed = Disclosed(ledger, docket)
        self._named = Named(ledger, docket)
        self._applied = Applied(ledger, docket)
        self._floors = Floors(ledger, docket)
        self._sound = Sound(ledger, docket)
        self._durable = Durable(ledger, docket)
        self._revoked = Revoked(ledger, docket)
        self._withdrawn = Withdrawn(ledger, docket)
        self._bounded = Bounded(ledger, docket, limits.links_max)
        self._survived = Survived(ledger, docket)
        self._served = Served(ledger, docket)
        self._permitted = Permitted(ledger, docket)
        self._scoped = Scoped(ledger, docket)
        self._anchored = Anchored(ledger, docket)
        self._authentic = Authentic(ledger, docket)
        self.contradicted = Contradicted(ledger, docket)
        self._staying = Staying(ledger, docket, lambda: TRUE.at(world.now_ns).unix)
        self._frugal = Frugal(ledger, docket, limits.recovery)
        self._builds = Builds(ledger, docket, limits.wires)
        self._reported = Reported(ledger, docket)
        self._wanting = Wanting(ledger, self.liveness)
        self._now_at = limits.now_at
        self.landed = Landed(ledger, self.liveness, limits.is_up, limits.deadlines)
        self.replicated = Replicated(ledger, self.liveness, self.landed)
        self._lasting = Lasting(ledger, self.liveness, lambda index: limits.now_at(index).unix)
        self._alive = Alive(ledger, docket)
        self.climbed = Climbed(ledger, docket)
        self.counted = Counted(docket)
        self.chained = Chained()
        self.excuses = Excuses(world)
        self.dropped = Dropped(ledger, self.liveness, limits.is_up, self.excuses.is_excused)
        self.calm = Calm(self.liveness)
        self.whole = Whole(ledger, self.liveness)

    def sent(self, sender: int, end: End, message: Message, size: int) -> None:
        """A message left a node, so many bytes of it."""
        self.docket.now_ns, receiver = self._world.now_ns, end.peer.index
        if sender in self._hostile:
            self._disclosed.on_told(sender, receiver, message)
            return
        self._disclosed.on_sent(sender, receiver, message)
        self._durable.on_sent(sender, message)
        self._revoked.on_sent(sender, receiver, message)
        self._withdrawn.on_sent(sender, message)
        self._scoped.on_sent(sender, message)
        self._anchored.on_sent(sender, message)
        self._served.on_sent(sender, message)
        self._frugal.on_sent(sender, end.link, message, size)
        if isinstance(message, Announce):
            self._frugal.on_announced(sender, end.link, message)
        self._builds.on_sent(sender, receiver, message)
        self.measures.on_sent(message)

    def content_sent(self, sender: int, receiver: int, content_hash: ContentHash) -> None:
        """A content began to leave a node."""
        if sender in self._hostile:
            return
        self.docket.now_ns = self._world.now_ns
        self._disclosed.on_content_sent(sender, receiver, content_hash)
        self._durable.on_content_sent(sender, content_hash)
        self._revoked.on_content_sent(sender, receiver, content_hash)
        self._withdrawn.on_content_sent(sender, content_hash)
        self._permitted.on_content_sent(sender, content_hash)
        self._scoped.on_content_sent(sender, content_hash)
        self._anchored.on_content_sent(sender, content_hash)
        self.contradicted.on_content_sent(sender, content_hash)

    def piece_sent(self, sender: int, item: ServeItem, number: int, piece: bytes) -> None:
        """A chunk of a content, or a whole small one, left a node."""
        if sender not in self._hostile:
            self._served.on_piece_sent(sender, item, number, piece)

    def damaged(self, index: int, content_hash: ContentHash) -> None:
        """A node read a content that is not what its name says."""
        self.docket.now_ns = self._world.now_ns
        self._served.on_damaged(index, content_hash)

    def arrived(self, index: int, sender: int, frame: SentFrame) -> None:
        """A frame came to a node, whatever it is."""
        self._observers.on_frame(index, sender, frame, self._world.now_ns)
        if sender not in self._hostile:
            self.docket.now_ns = self._world.now_ns
            self._named.on_frame(index, sender, frame)

    def garbled(self, index: int, sender: int, error: BaseException) -> None:
        """What the codec refuses came to a node; hostile ones may send it."""
        if sender not in self._hostile:
            self.raised(index, "wire", error)

    def delivered(self, index: int, end: End, message: Message, frame: SentFrame) -> None:
        """A message arrived; what a hostile node tells is nothing that was delivered."""
        self.docket.now_ns, sender = self._world.now_ns, end.peer.index
        if index not in self._hostile:
            self._revoked.on_arrived(index, sender)
            self._frugal.on_heard(index, end.link, message, len(frame.body))
            if isinstance(message, Graft):
                self._frugal.on_grafted(index, end.link, message)
        if sender not in self._hostile:
            self._builds.on_heard(index, sender, (frame.kind, frame.body), message)
            self.measures.on_message(index, message)

    def content_received(
        self, index: int, content_hash: ContentHash, wants: tuple[Want, ...]
    ) -> None:
        """A whole, verified content arrived from a peer, for these wants."""
        for want in wants:
            if want.source is not None:
                self.climbed.on_won(want.step)
        self.measures.on_stored(index, self.ledger.by_content(content_hash))

    def asked(self, index: int, end: End | None, view: View, wanted: ContentWanted) -> None:
        """A node asks somebody for a content it wants (`end` None: its own disk)."""
        self.docket.now_ns = self._world.now_ns
        for want in view.wants_of(wanted.content_hash):
            if end is not None and want.source is not None and want.source.link == end.link:
                self.climbed.on_asked(index, end.peer.index, want)
                self._frugal.on_asked(index, want)

    def recorded(self, record: Record) -> None:
        """A node recorded something."""
        match record.fact:
            case Fact.WANT_STUCK:
                self.climbed.on_exhausted()
            case Fact.CHAIN_ASSEMBLED:
                self.chained.assembled += 1
            case Fact.CHAIN_BROKEN:
                self.chained.gaps[Gap(str(dict(record.fields)["outcome"]))] += 1
            case _:
                return

    def durable_manifest(self, index: int, verified: VerifiedManifest, floor: Order) -> None:
        """See `DiskTap`."""
        if index in self._hostile:
            return
        self.docket.now_ns = self._world.now_ns
        self._floors.on_durable_manifest(index, verified, floor)
        self._durable.on_durable_manifest(index, verified)
        self._withdrawn.on_durable_manifest(index, verified)
        self._scoped.on_durable_manifest(index, verified)
        self._applied.on_durable_manifest(index)
        self._anchored.on_durable_manifest(index, verified, floor)
        self._authentic.on_durable_manifest(index, verified)
        self.contradicted.on_durable_manifest(index, verified)
        self._staying.on_durable_manifest(index, verified)
        self.measures.on_durable_manifest(index, verified, self._world.now_ns)
        issued = self.ledger.by_envelope(verified.envelope)
        if issued is not None and issued.manifest.base is None:
            self.agreement.on_durable(index, issued, self._world.now_ns)
            self.liveness.now_ns = self._world.now_ns
            self.landed.on_durable(index, verified, issued)

    def durable_content(self, index: int, content_hash: ContentHash) -> None:
        """See `DiskTap`."""
        self.docket.now_ns = self._world.now_ns
        self._durable.on_durable_content(index, content_hash)
        self._revoked.on_durable_content(index, content_hash)
        self._served.on_durable_content(index, content_hash)
        if index not in self._hostile:
            self._staying.on_durable_content(index, content_hash)
            self.contradicted.on_durable_content(index, content_hash)

    def short(self, index: int) -> None:
        """A node was told that it has more than it may."""
        if index not in self._hostile:
            self._staying.on_short(index)

    def switching(self, index: int, namespace: str) -> None:
        """A node wants a namespace switched."""
        self.docket.now_ns = self._world.now_ns
        self.contradicted.on_switching(index, namespace)

    def removed(self, index: int, content_hash: ContentHash, *, is_damaged: bool) -> None:
        """See `DiskTap`."""
        if index not in self._hostile:
            self.docket.now_ns = self._world.now_ns
            self._staying.on_removed(index, content_hash, is_damaged=is_damaged)

    def committed(self, index: int, changes: tuple[Change, ...]) -> None:
        """See `DiskTap`."""
        if index not in self._hostile:
            self.docket.now_ns = self._world.now_ns
            self._floors.on_committed(index, changes)
            self._survived.on_committed(index, changes)
            self._permitted.on_committed(index, changes)
            self._anchored.on_committed(index, changes)
            self.contradicted.on_committed(index, changes)
            self._durable.on_committed(index, changes)
            self._staying.on_committed(index, changes)
            if any(isinstance(one, PutClockDoubt | PutMemory) for one in changes):
                self._scoped.on_disturbed(index)
            for change in changes:
                if isinstance(change, PutClaimsSeen):
                    self.ledger.on_claims_seen(index, change.node_id, change.version)

    def fell_back(self, index: int, kept: Kept) -> None:
        """See `DiskTap`: what it says it has is held against it, and what it said before is not."""
        if index in self._hostile:
            return
        self.wiped(index)
        self._floors.on_fell_back(index, kept.held_back.values())
        self._survived.on_fell_back(index, kept)
        self._permitted.on_fell_back(index, kept)
        self._anchored.on_fell_back(index, kept)
        self._authentic.on_fell_back(index, kept)
        self.contradicted.on_fell_back(index, kept)
        self._staying.on_fell_back(index, kept)
        for verified in (*kept.heads.values(), *kept.increments.values()):
            self.durable_manifest(index, verified, kept.floor_of(verified.manifest.namespace.text))
        for content_hash in kept.contents:
            self._durable.on_durable_content(index, content_hash)
            self._revoked.on_durable_content(index, content_hash)

    def materialized(self, index: int, namespace: str, local: Local) -> None:
        """See `DiskTap`."""
        if index in self._hostile:
            return
        self.docket.now_ns = self._world.now_ns
        self._applied.on_materialized(index, namespace, local)
        self._survived.on_materialized(index, namespace, local)
        self._floors.on_materialized(index, namespace, local)
        self._revoked.on_materialized(index, namespace, local)
        self._withdrawn.on_materialized(index, namespace, local)
        self._permitted.on_materialized(index, namespace, local)
        self._scoped.on_materialized(index, namespace, local)
        self._anchored.on_materialized(index, namespace, local)
        self.contradicted.on_materialized(index, namespace, local)
        self.liveness.now_ns = self._world.now_ns
        self._lasting.on_materialized(index, namespace, local)
        self.measures.on_materialized(index, namespace, local, self._world.now_ns)

    def started(self, index: int, started: Started, local: dict[str, Local]) -> None:
        """A process read its disk; local software reads this."""
        self.docket.now_ns = self._world.now_ns
        if index not in self._hostile:
            self._survived.on_started(index, started, local)
            self._permitted.on_started(index, started)
            self._scoped.on_disturbed(index)
        self._floors.on_started(index, started)

    def crashed(self, index: int) -> None:
        """A process died."""
        self.liveness.now_ns = self._world.now_ns
        self.measures.on_crashed(index)
        self._alive.on_crashed(index)
        self._served.on_crashed(index)
        self.dropped.on_crashed(index)

    def begun(self, index: int) -> int:
        """A process began; gives the number of its incarnation."""
        self._frugal.on_begun(index)
        self.dropped.on_begun(index)
        self.liveness.now_ns = self._world.now_ns
        self.landed.on_begun(index)
        return self._alive.on_begun(index)

    def dismissed(self, index: int) -> None:
        """A node is revoked from now on: nobody owes it anything."""
        self.measures.on_crashed(index)

    def wiped(self, index: int) -> None:
        """A disk was exchanged for an empty one: what it held it never had."""
        self.agreement.on_wiped(index)
        self._floors.on_wiped(index)
        self._durable.on_wiped(index)
        self._survived.on_wiped(index)
        self._permitted.on_wiped(index)
        self._scoped.on_wiped(index)
        self._anchored.on_wiped(index)
        self._authentic.on_wiped(index)
        self.contradicted.on_wiped(index)
        self._staying.on_wiped(index)
        self.landed.on_wiped(index)
        self._revoked.on_wiped(index)
        self._withdrawn.on_wiped(index)

    def acted(self, index: int, incarnation: int) -> None:
        """An effect is carried out."""
        self._alive.on_acted(index, incarnation)

    def queued(self, index: int, traffic: TrafficClass, queued: int) -> None:
        """So many bytes of a class wait on a link."""
        if index not in self._hostile:
            self._bounded.on_queued(index, traffic, queued)

    def connected(self, index: int, other: int, dialed: int) -> None:
        """A link is there; a node has so many it dialled."""
        self.docket.now_ns = self._world.now_ns
        self._observers.on_link(index, other, CONNECTED, self._world.now_ns)
        if index not in self._hostile:
            self._bounded.on_connected(index, dialed)
        if self.agreement.is_mending:
            self.agreement.on_change(self._world.now_ns)

    def judged(self, index: int, other: int, *, is_let_in: bool) -> None:
        """A node looked at the certificate of another that wants a link."""
        self.docket.now_ns = self._world.now_ns
        if index not in self._hostile:
            self._revoked.on_judged(index, other, is_let_in=is_let_in)

    def lost(self, index: int, end: End, reason: LostReason) -> None:
        """A link ended at a node."""
        self.liveness.now_ns, other = self._world.now_ns, end.peer.index
        self._frugal.on_lost(index, end.link)
        self._observers.on_link(index, other, f"{LOST} {reason.value}", self._world.now_ns)
        if index not in self._hostile:
            self.dropped.on_lost(index, other, reason)

    def fault_on(self, fault: Fault) -> None:
        """A fault began."""
        self.excuses.on_fault(fault)
        if fault.kind == "control_plane_dark":
            self._lasting.on_dark(fault.number, is_dark=True)

    def fault_off(self, fault: Fault) -> None:
        """It is undone."""
        self.excuses.on_undone(fault)
        self._lasting.on_dark(fault.number, is_dark=False)

    def asked_to_keep(self, index: int, changes: tuple[Change, ...]) -> None:
        """A node wants something to be durable."""
        self._permitted.on_asked(index, changes)

    def claims_changed(self, index: int, held: Entitlements, snapshot: Order) -> None:
        """A node is entitled to other things; its snapshot of this order says so."""
        self.ledger.on_claims(index, held, snapshot)
        self.agreement.on_claims(index)
        self._named.on_claims(index)

    def clock_word(self, index: int, *, is_synchronized: bool) -> None:
        """The kernel of a machine said something of its clock."""
        self.docket.now_ns = self._world.now_ns
        self._permitted.on_clock_word(index, is_synchronized=is_synchronized)
        self._scoped.on_disturbed(index)

    def audit(self, index: int, view: View, disk: SimDisk, links: frozenset[LinkId]) -> None:
        """A phase of the run is over; a node that is up is asked for all it shows."""
        if index in self._hostile:
            return
        self.docket.now_ns = self.liveness.now_ns = self._world.now_ns
        now = self._now_at(index)
        self._reported.on_audit(index, view, disk, links, now)
        self._scoped.on_audit(index, disk, view.snapshot(now).mode)
        self._wanting.on_audit(index, view, now.instant)

    def mended(self) -> None:
        """No cut is left."""
        self.agreement.on_mended(self._world.now_ns)

    def handled(self) -> None:
        """A node handled an event and checked itself."""
        self._sound.on_handled()

    def raised(self, index: int, what: str, error: BaseException) -> None:
        """A node raised, failed its check, or sent what the codec refuses."""
        self.docket.now_ns = self._world.now_ns
        self._sound.on_raised(index, what, error)
        if what != "wire":
            self._world.stop()

    def issued(self, issued: Issued) -> None:
        """The control plane signed an artifact."""
        self._staying.on_issued(issued)
        self.ledger.on_issued(issued)
