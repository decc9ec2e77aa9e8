"""Whether an invariant of safety broke, judged by the truth and never by a node's belief.

Decides: held, violated or unproved, per checker.
Keeps: a checker hears facts and changes nothing; what it never saw exercised is unproved.
Must not know: what a node decides, or why.

| id | an honest node never ... |
|---|---|
| S1 | sends envelope, content, holdings or list naming what its receiver may not know |
| S2 | materialises an artifact whose audience it is not in |
| S4 | names in any frame what its receiver may not know; `worlds.py` judges the rest of S4 |
| S5 | materialises other bytes than were issued |
| S6 | lowers a floor, crashes included; applies below one, but forward to what came late |
| S13 | asks a source out of its step, more of one than it may, or before every step below is over |
| S15 | queues more than its class may, or dials more links than it may have |
| S17 | (of the network itself) loses count: sent = arrived + dropped + on its way |
| S19 | raises, fails its own `check()`, sends what the codec refuses, or spins at one instant |
| S20 | (of the simulator itself) acts once it is dead |
| S21 | tells of an artifact, or of a content, before it is durable here |
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fabgossip.core.attempts import ATTEMPTS_FIRST, ATTEMPTS_MAX, NOT_ASKED, OPEN, SKIPPED
from fabgossip.core.events import FetchFailure, Started
from fabgossip.core.ladder import ASKING, SOURCES_MAX, STEPS, Step
from fabgossip.core.wants import Want
from fabgossip.model.artifact import NO_ORDER, Order, VerifiedManifest
from fabgossip.model.authority import CONTROL_ENDPOINT_ROLE
from fabgossip.model.ids import ContentHash
from fabgossip.model.messages import (
    Announce,
    Chain,
    GetChain,
    GetContent,
    GetHeads,
    Graft,
    Have,
    Heads,
    Holdings,
    HoldingsMode,
    Manifests,
    Message,
    Roots,
    TrafficClass,
)
from fabgossip.model.persistence import (
    Change,
    DropHeldBack,
    HeldBack,
    PutEvidence,
    PutHeldBack,
)
from fabgossip.model.scope import Audience
from fabgossip.sim.authority import Issued
from fabgossip.sim.kept import Local
from fabgossip.sim.ledger import Ledger
from fabgossip.sim.network import Books
from fabgossip.sim.places import Places
from fabgossip.sim.world import NS_PER_S
from fabgossip.wire.outbox import QUEUE_BYTES_MAX

LEARNS_NS: Final = NS_PER_S
"""From its own snapshot on the disk until a node has read the claims in it, and what it wanted
before is done (*start*)."""
VIOLATIONS_MAX = 1_000
"""Kept per run; beyond, only counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One broken invariant."""

    checker: str
    signature: str
    """The same failure in another run has the same signature: no ids, no times."""
    index: int
    at_ns: int
    detail: str


@dataclass(slots=True)
class Count:
    """What became of one checker."""

    checks: int = 0
    violations: int = 0

    @property
    def state(self) -> str:
        """In one word."""
        if self.violations:
            return "violated"
        return "held" if self.checks else "unproved"


class Docket:
    """Where checkers bring what they found; it knows the time."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.counts: dict[str, Count] = {}
        self.violations: list[Violation] = []

    def open(self, checker: str) -> Count:
        """The count of a checker."""
        return self.counts.setdefault(checker, Count())

    def violated(self, checker: str, what: str, index: int, detail: str) -> None:
        """Note a violation."""
        self.open(checker).violations += 1
        if len(self.violations) < VIOLATIONS_MAX:
            self.violations.append(
                Violation(
                    checker=checker,
                    signature=f"{checker}/{what}",
                    index=index,
                    at_ns=self.now_ns,
                    detail=detail,
                )
            )


class Disclosed:
    """S1: nothing leaves a node that its receiver may not know exists."""

    def __init__(self, ledger: Ledger, docket: Docket) -> None:
        self._ledger = ledger
        self._docket = docket
        self._count = docket.open("S1")
        self._told: dict[int, dict[bytes, int]] = {}
        """Whom each sender has named a prefix to, as bits."""
        self._receivers: dict[int, int] = {}
        """How many there are of each sender."""
        self._bits: dict[tuple[int, int], int] = {}
        """The bit of a receiver among those a sender ever named anything to."""

    def on_sent(self, sender: int, receiver: int, message: Message) -> None:
        """A message left."""
        for issued, what in self._named(message):
            self._count.checks += 1
            prefix = issued.prefix
            self._note(sender, receiver, prefix)
            if self._ledger.may_know_by(sender, receiver, issued):
                continue
            if not self._has_named(receiver, sender, prefix):
                self._violated(what, sender, receiver, issued.manifest.namespace.text)
        for audience, what in _audiences(message):
            self._count.checks += 1
            if not self._ledger.may_share_by(sender, receiver, audience):
                names = " ".join(scope.text for scope in audience.scope_ids)
                self._violated(what, sender, receiver, names)

    def on_told(self, sender: int, receiver: int, message: Message) -> None:
        """A hostile node says what it likes; of what it named it may be asked."""
        for issued, _ in self._named(message):
            self._note(sender, receiver, issued.prefix)

    def _note(self, sender: int, receiver: int, prefix: bytes) -> None:
        way = (sender, receiver)
        bit = self._bits.get(way)
        if bit is None:
            number = self._receivers[sender] = self._receivers.get(sender, 0) + 1
            bit = self._bits[way] = 1 << number
        told = self._told.setdefault(sender, {})
        told[prefix] = told.get(prefix, 0) | bit

    def _has_named(self, sender: int, receiver: int, prefix: bytes) -> bool:
        bit = self._bits.get((sender, receiver), 0)
        return bool(self._told.get(sender, {}).get(prefix, 0) & bit)

    def on_content_sent(self, sender: int, receiver: int, content_hash: ContentHash) -> None:
        """Bytes of a content left."""
        self._count.checks += 1
        named = self._ledger.by_content(content_hash)
        if not any(self._ledger.may_know_by(sender, receiver, one) for one in named):
            names = " ".join(one.manifest.namespace.text for one in named)
            self._violated("content", sender, receiver, names)

    def _violated(self, what: str, sender: int, receiver: int, name: str) -> None:
        node_ids = self._ledger.node_id(sender), self._ledger.node_id(receiver)
        self._docket.violated(
            "S1", f"sent/{what}", sender, f"{node_ids[0]} told {node_ids[1]} of {name}"
        )

    def _named(self, message: Message) -> Iterable[tuple[Issued, str]]:
        ledger = self._ledger
        match message:
            case Announce():
                found = [(ledger.by_envelope(one.envelope), "announce") for one in message.entries]
            case Heads():
                found = [(ledger.by_envelope(one), "heads") for one in message.envelopes]
            case Chain():
                found = [(ledger.by_envelope(one), "chain") for one in message.envelopes]
            case GetChain():
                found = [(ledger.newest(message.namespace), "get_chain")]
            case Manifests():
                found = [(ledger.by_envelope(one), "manifests") for one in message.envelopes]
            case Have() | Graft():
                what = "have" if isinstance(message, Have) else "graft"
                found = [(ledger.by_prefix(one), what) for one in message.prefixes]
            case Holdings():
                found = [
                    (ledger.by_prefix(prefix), "holdings")
                    for entry in message.entries
                    for prefix in entry.prefixes
                ]
            case GetContent():
                found = [
                    (ledger.by_prefix(one.manifest_hash[:16]), "get_content")
                    for one in message.items
                ]
            case GetHeads():
                found = [
                    (ledger.newest(one.namespace), "get_heads")
                    for one in message.known
                    if "/snapshots/node/" not in one.namespace  # its own, told to whoever knows it
                ]
            case _:
                return ()
        return ((issued, what) for issued, what in found if issued is not None)


def _audiences(message: Message) -> Iterable[tuple[Audience, str]]:
    match message:
        case Have():
            return ((message.audience, "have"),)
        case Graft():
            return ((message.audience, "graft"),)
        case Holdings():
            return tuple((entry.audience, "holdings") for entry in message.entries)
        case Roots():
            return tuple((entry.audience, "roots") for entry in message.entries)
        case _:
            return ()


class Applied:
    """S2 and S5: what is materialised is for this node, and is what was issued."""

    def __init__(self, ledger: Ledger, docket: Docket) -> None:
        self._ledger = ledger
        self._docket = docket
        self._entitled = docket.open("S2")
        self._bytes = docket.open("S5")
        self._learned_ns: dict[int, int] = {}
        """When the snapshot with a node's newest claims came to its disk."""

    def on_durable_manifest(self, index: int) -> None:
        """A manifest is on the disk, perhaps that of its own snapshot."""
        if self._ledger.is_behind(index):
            self._learned_ns.pop(index, None)
        else:
            self._learned_ns.setdefault(index, self._docket.now_ns)

    def on_materialized(self, index: int, namespace: str, local: Local) -> None:
        """A namespace was switched."""
        order = local.newest
        if order is None:
            return
        stated = self._ledger.of_order(namespace, order)
        node_id = self._ledger.node_id(index)
        self._entitled.checks += 1
        learned_ns = self._learned_ns.get(index, -LEARNS_NS)
        was_behind = self._docket.now_ns - learned_ns < LEARNS_NS
        if stated and not any(
            self._ledger.might_apply(index, one, was_behind=was_behind) for one in stated
        ):
            detail = f"{node_id} applies {namespace} {order}"
            self._docket.violated("S2", "materialized", index, detail)
        self._bytes.checks += 1
        if not any(local.versions[order] == one.content for one in stated):
            detail = f"{node_id}: {namespace} {order} is not what was issued"
            self._docket.violated("S5", "materialized", index, detail)


class Floors:
    """S6: a floor never sinks, and nothing older is applied but what an operator put back."""

    def __init__(self, ledger: Ledger, docket: Docket) -> None:
        self._ledger = ledger
        self._docket = docket
        self._count = docket.open("S6")
        self._highest: dict[tuple[int, str], Order] = {}
        self._shown: dict[tuple[int, str], Order] = {}
        """The newest that consumers read."""
        self._held_back: dict[tuple[int, str], Order] = {}
        """What operators put back, as the disk has it."""

    def on_committed(self, index: int, changes: tuple[Change, ...]) -> None:
        """A transaction of the index is durable."""
        for change in changes:
            if isinstance(change, PutHeldBack):
                self._hold(index, change.held_back)
            elif isinstance(change, DropHeldBack):
                self._held_back.pop((index, change.namespace), None)

    def _hold(self, index: int, held_back: HeldBack) -> None:
        self._held_back[(index, held_back.namespace)] = held_back.order

    def on_fell_back(self, index: int, held_back: Iterable[HeldBack]) -> None:
        """The disk had lied: of what was put back it has these."""
        for one in held_back:
            self._hold(index, one)

    def on_durable_manifest(self, index: int, verified: VerifiedManifest, floor: Order) -> None:
        """A head and its floor are on the disk."""
        namespace = verified.manifest.namespace.text
        before = self._highest.get((index, namespace), NO_ORDER)
        self._count.checks += 1
        is_history = verified.manifest.base is not None  # an increment of a chain moves no floor
        if floor < before or (verified.manifest.order < before and not is_history):
            self._violated("persisted", index, f"{namespace}: {floor} after {before}")
        self._highest[(index, namespace)] = max(floor, before)

    def on_materialized(self, index: int, namespace: str, local: Local) -> None:
        """A namespace was switched."""
        floor = self._highest.get((index, namespace), NO_ORDER)
        self._count.checks += 1
        if local.newest is None:
            return
        before = self._shown.get((index, namespace), NO_ORDER)
        is_put_back = local.current == self._held_back.get((index, namespace), NO_ORDER)
        if local.newest < min(floor, before) and not is_put_back:
            detail = f"{namespace}: {local.newest} below {floor}, and below {before} before it"
            self._violated("applied", index, detail)
        self._shown[(index, namespace)] = max(before, local.newest)

    def on_started(self, index: int, started: Started) -> None:
        """A process found this on its disk."""
        found = {one.namespace: one.order for one in started.floors}
        for (place, namespace), floor in self._highest.items():
            if place == index:
                self._count.checks += 1
                if found.get(namespace, NO_ORDER) < floor:
                    detail = f"{namespace}: {found.get(namespace)} found, {floor} was durable"
                    self._violated("restarted", index, detail)

    def on_wiped(self, index: int) -> None:
        """Its disk is another one."""
        for known in (self._highest, self._shown, self._held_back):
            for key in [one for one in known if one[0] == index]:
                del known[key]

    def _violated(self, what: str, index: int, detail: str) -> None:
        self._docket.violated("S6", what, index, f"{self._ledger.node_id(index)}: {detail}")


class Sound:
    """S19: a node neither raises nor contradicts itself."""

    def __init__(self, ledger: Ledger, docket: Docket) -> None:
        self._ledger = ledger
        self._docket = docket
        self._count = docket.open("S19")

    def on_handled(self) -> None:
        """An event was handled and the node checked itself."""
        self._count.checks += 1

    def on_raised(self, index: int, what: str, error: BaseException) -> None:
        """It did not go well."""
        detail = f"{self._ledger.node_id(index)}: {type(error).__name__}: {error}"
        self._docket.violated("S19", f"{what}/{type(error).__name__}", index, detail)


class Durable:
    """S21: nothing is told before it is durable."""

    def __init__(self, ledger: Ledger, docket: Docket) -> None:
        self._ledger = ledger
        self._docket = docket
        self._count = docket.open("S21")
        self._manifests: defaultdict[bytes, Places] = defaultdict(Places)
        self._contents: defaultdict[ContentHash, Places] = defaultdict(Places)

    def on_durable_manifest(self, index: int, verified: VerifiedManifest) -> None:
        """A manifest is on the disk."""
        self._manifests[verified.manifest_hash[:16]].add(index)

    def on_committed(self, index: int, changes: tuple[Change, ...]) -> None:
        """A transaction of the index is durable: evidence is told as what it contradicts is."""
        for change in changes:
            if isinstance(change, PutEvidence):
                self.on_durable_manifest(index, change.verified)

    def on_durable_content(self, index: int, content_hash: ContentHash) -> None:
        """A content is on the disk."""
        self._contents[content_hash].add(index)

    def on_wiped(self, index: int) -> None:
        """Its disk is another one."""
        for places in (*self._manifests.values(), *self._contents.values()):
            places.discard(index)

    def on_sent(self, sender: int, message: Message) -> None:
        """A message left."""
        match message:
            case Announce():
                envelopes = [one.envelope for one in message.entries]
                self._check(sender, "announce", map(self._ledger.by_envelope, envelopes))
            case Heads():
                self._check(sender, "heads", map(self._ledger.by_envelope, message.envelopes))
            case Chain():
                steps = map(self._ledger.by_envelope, message.envelopes)
                self._check(sender, "chain", steps, with_content=True)
            case Manifests():
                known = map(self._ledger.by_envelope, message.envelopes)
                self._check(sender, "manifests", known)
            case Have():
                self._check(sender, "have", map(self._ledger.by_prefix, message.prefixes))
            case Holdings():
                for entry in message.entries:
                    if entry.mode is HoldingsMode.ONLY:
                        named = map(self._ledger.by_prefix, entry.prefixes)
                        self._check(sender, "holdings", named, with_content=True)
            case _:
                return

    def on_content_sent(self, sender: int, content_hash: ContentHash) -> None:
        """Bytes of a content left."""
        self._count.checks += 1
        if sender not in self._contents[content_hash]:
            self._violated("content", sender, content_hash.hex())

    def _check(
        self,
        sender: int,
        what: str,
        named: Iterable[Issued | None],
        *,
        with_content: bool = False,
    ) -> None:
        for issued in named:
            if issued is None:
                continue
            self._count.checks += 1
            manifest = issued.manifest
            is_durable = sender in self._manifests[issued.prefix] and (
                not with_content or sender in self._contents[manifest.content_hash]
            )
            if not is_durable:
                self._violated(what, sender, f"{manifest.namespace.text} {manifest.order}")

    def _violated(self, what: str, index: int, name: str) -> None:
        detail = f"{self._ledger.node_id(index)} told of {name} before it was durable"
        self._docket.violated("S21", what, index, detail)


class Climbed:
    """S13: the ladder is climbed in strict order, and each rung asks whom it is for."""

    def __init__(self, ledger: Ledger, docket: Docket) -> None:
        self._ledger = ledger
        self._docket = docket
        self._count = docket.open("S13")
        self.won = dict.fromkeys(ASKING, 0)
        """Contents that came, by the step that brought them."""
        self.exhausted = 0
        """Climbs that came to rung 5 as news."""

    def on_asked(self, index: int, source: int, want: Want) -> None:
        """A node asks another one for a content."""
        self._count.checks += 1
        tries = [one for one in want.attempts if one.climb == want.climbs]
        if len(tries) >= ATTEMPTS_MAX - ATTEMPTS_FIRST:
            return  # the beginning of this climb is not remembered any more
        steps = [STEPS.index(one.step) for one in tries]
        place = STEPS.index(want.step)
        if steps != sorted(steps) or any(one > place for one in steps):
            self._violated("order", index, want)
        if not set(range(place)) <= set(steps):
            self._violated("step left out", index, want)
        asked = [one.node_id for one in tries if one.outcome not in _IS_NO_TRY]
        of_step = [one for one in tries if one.step is want.step and one.outcome not in _IS_NO_TRY]
        if self._ledger.node_id(source) in asked:
            self._violated("asked twice", index, want)
        if len(of_step) >= SOURCES_MAX[want.step]:
            self._violated("too many", index, want)
        if not self._is_of(source, want.step):
            self._violated("wrong source", index, want)

    def _is_of(self, source: int, step: Step) -> bool:
        """Whether a node may be asked at a step by what it is in truth."""
        held = self._ledger.entitlements(source)
        match step:
            case Step.RUNG_1:
                return bool(held.assignments)
            case Step.RUNG_4:
                return any(one.text == f"role:{CONTROL_ENDPOINT_ROLE}" for one in held.scope_ids)
            case _:
                return True

    def on_won(self, step: Step) -> None:
        """A content came."""
        self.won[step] += 1

    def on_exhausted(self) -> None:
        """Nobody brought it."""
        self.exhausted += 1

    def _violated(self, what: str, index: int, want: Want) -> None:
        namespace = want.verified.manifest.namespace.text
        told = " ".join(f"{one.step.value}:{one.outcome}" for one in want.attempts)
        detail = f"{self._ledger.node_id(index)}: {namespace} at {want.step.value} after {told}"
        self._docket.violated("S13", what, index, detail)


_IS_NO_TRY = frozenset({SKIPPED, OPEN, NOT_ASKED, FetchFailure.LOST.value})
"""A source whose link broke is asked again over the next one."""


class Bounded:
    """S15: what has a limit keeps it."""

    def __init__(self, ledger: Ledger, docket: Docket, links_max: int) -> None:
        self._ledger = ledger
        self._docket = docket
        self._count = docket.open("S15")
        self._links_max = links_max

    def on_queued(self, index: int, traffic: TrafficClass, queued: int) -> None:
        """So many bytes of a class wait on one link."""
        self._count.checks += 1
        if queued > QUEUE_BYTES_MAX[traffic]:
            self._violated("queue", index, f"{queued} bytes of class {traffic.name.lower()}")

    def on_connected(self, index: int, dialed: int) -> None:
        """So many links a node opened by itself."""
        self._count.checks += 1
        if dialed > self._links_max:
            self._violated("links", index, f"{dialed} links")

    def _violated(self, what: str, index: int, detail: str) -> None:
        self._docket.violated("S15", what, index, f"{self._ledger.node_id(index)}: {detail}")


class Counted:
    """S17: every parcel is somewhere."""

    def __init__(self, docket: Docket) -> None:
        self._docket = docket
        self._count = docket.open("S17")

    def on_audit(self, books: Books, waiting: int) -> None:
        """The books of the network, and what was found waiting."""
        self._count.checks += 1
        accounted = books.arrived + books.dropped + books.in_the_air + waiting
        if books.sent != accounted:
            self._docket.violated("S17", "books", 0, f"{books.sent} sent, {accounted} accounted")


class Alive:
    """S20: only the newest incarnation of a node acts."""

    def __init__(self, ledger: Ledger, docket: Docket) -> None:
        self._ledger = ledger
        self._docket = docket
        self._count = docket.open("S20")
        self._incarnations: dict[int, int] = {}
        self._dead: set[int] = set()

    def on_begun(self, index: int) -> int:
        """A process began; gives the number of its incarnation."""
        self._incarnations[index] = self._incarnations.get(index, 0) + 1
        self._dead.discard(index)
        return self._incarnations[index]

    def on_crashed(self, index: int) -> None:
        """It is gone."""
        self._dead.add(index)

    def on_acted(self, index: int, incarnation: int) -> None:
        """An effect was carried out."""
        self._count.checks += 1
        if index in self._dead or self._incarnations[index] != incarnation:
            detail = f"{self._ledger.node_id(index)}: incarnation {incarnation} acts"
            self._docket.violated("S20", "acted", index, detail)
