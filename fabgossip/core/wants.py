"""What a node lacks and has a reason to get, and all that was tried for it.

Decides: nothing.
Keeps: what different keys sign is wanted apart, so that no signer can stand in the way of another's
content; what is remembered of one want is bounded.
Must not know: which source is asked next, how many contents are under way.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum, auto
from typing import Final, TypeAlias, TypeVar

from fabgossip.core.attempts import Attempt, LastGood, Trace
from fabgossip.core.events import ContentWanted, FetchFailure, LinkId, RequestId
from fabgossip.core.ladder import IDLE_MS, Step
from fabgossip.model.artifact import ArtifactType, VerifiedManifest
from fabgossip.model.ids import ContentHash, KeyId, NodeId
from fabgossip.model.messages import TrafficClass
from fabgossip.model.moment import Duration, Instant, elapsed, is_due, later
from fabgossip.model.scope import Audience

V = TypeVar("V")
BUSY_WAIT: Final = Duration(200)
"""A source that was only busy is asked again after this: its slots turn over in less (*start*)."""
BACK_OFF_MAX: Final = Duration(60_000)
"""The longest a source is passed over that withheld a content, which doubles with each failure,
give or take a fifth (*start*)."""
LACKED_MAX: Final = Duration(300_000)
"""The same of one that lacked it: its own word that it has it ends that (*start*)."""
REQUESTS_PER_WANT_MAX: Final = 16
SOURCES_PER_WANT_MAX: Final = 64
"""Announcers remembered per want, and as many sources tried, barred, and heard: the oldest of each
leaves (*start*)."""
BARRED: Final = Duration(86_400_000)
"""A source that sent a wrong byte is not asked for that content again for a day."""


DISK_WAITS: Final = {
    FetchFailure.DISK: Duration(30_000),
    FetchFailure.STORAGE: Duration(60_000),
}
"""How long a want waits for the own disk after it failed, or had no space; space that is there
again ends the latter at once (*start*)."""

AT_ONCE: Final = Instant(0)
"""Before every moment there is."""

FAILURE_CODES: Final = {
    FetchFailure.BAD_LENGTH: "LENGTH_MISMATCH",
    FetchFailure.BAD_HASH: "HASH_MISMATCH",
    FetchFailure.DISK: "STORE_FULL",
    FetchFailure.STORAGE: "STORE_FULL",
    FetchFailure.CANCELLED: "CANCELLED",
    FetchFailure.MISSING: "LENGTH_MISMATCH",
    FetchFailure.BUSY: "CANCELLED",
    FetchFailure.STALLED: "CANCELLED",
    FetchFailure.TOO_SLOW: "TOO_SLOW",
    FetchFailure.LOST: "CANCELLED",
    FetchFailure.CONTRADICTED: "CONTENT_INVALID",
}
"""What local software is told of a content that did not come."""


class WantState(StrEnum):
    """Where a want stands."""

    QUEUED = "queued"
    DIALING = "dialing"
    """Its next source has no link yet."""
    FETCHING = "fetching"
    PARKED = "parked"
    SATISFIED = "satisfied"
    VOID = "void"
    REFUSED = "refused"
    """What is signed about it is not true: there is no such content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A content as some keys state it. Of one hash at most one size and one row of chunks is true,
    and whoever signs another can have it fetched in vain for no want but its own. For the same
    reason, who is asked for what a revocation key signed is never asked with the manifest of
    another: nobody may know that one."""

    content_hash: ContentHash
    size: int
    chunk_hashes: tuple[ContentHash, ...]
    artifact_type: ArtifactType
    signed_by: tuple[KeyId, ...]


class Origin(Enum):
    """What makes an endpoint one to start from again, in the order of trust in it being right."""

    SNAPSHOT = 1
    """The last valid snapshot names it."""
    CONFIGURED = 2
    """Only the node's configuration does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A node that may be asked, as known right now."""

    link: LinkId | None
    """None: it has to be dialled first."""
    node_id: NodeId
    is_storage: bool
    """Whether a held storage directory lists it for this audience."""
    distance: int
    verified: VerifiedManifest | None
    """The manifest to ask it with: one it may know; None while it has no link."""
    says: bool | None
    """Its own word: holds it, does not, or said nothing."""
    is_mute: bool = False
    """Whether it cannot say so, as we share no audience yet."""
    is_named: bool = False
    """Whether it named this very content as held."""
    addresses: tuple[str, ...] = ()
    origin: Origin | None = None
    is_control: bool = False
    """Whether its signed claims say that it stands beside the control plane."""
    is_spared: bool = False
    """Whether it is left to rung 4, for others store what is wanted."""
    rtt_ms: int | None = None
    """The least of the newest round trips over its link."""
    is_doubted: bool = False
    """Whether its link missed a sign of life."""


class Fault(Enum):
    """What a try that came to nothing says of its source."""

    NONE = auto()
    """It was not the source at all."""
    BUSY = auto()
    """It had no time: an answer, and no failure."""
    LACKS = auto()
    """It has it not, or its link ended: its own later word is reason to ask again."""
    WITHHOLDS = auto()
    """It said it would and did not; its word is no reason any more."""


_FAULTS: Final = {
    FetchFailure.MISSING: Fault.LACKS,
    FetchFailure.LOST: Fault.LACKS,
    FetchFailure.BUSY: Fault.BUSY,
    FetchFailure.DISK: Fault.NONE,
    FetchFailure.STORAGE: Fault.NONE,
    FetchFailure.CANCELLED: Fault.NONE,
}
"""Everything else is withholding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What is remembered of a node that was asked for a content."""

    climb: int
    """The climb in which it was last tried."""
    failures: int
    """Failures before that climb and in it, whatever link they came by."""
    busy: int = 0
    """How often it was busy, counted likewise: no reason to pass it over, but to ask first who was
    asked less."""
    fault: Fault
    until: Instant
    """Not asked again before."""
    is_by_word: bool = False
    """Whether its own word ended that wait."""


@dataclass(frozen=True, slots=True)
class Try:
    """A source that is asked for a content, why, and since when."""

    source: Source
    reason: str
    asked_at: Instant


BackOff: TypeAlias = Callable[[int, Fault], Duration]
"""How long to pass over who failed so many times, the last time like this."""


@dataclass(slots=True)
class Want:
    """One content this node lacks and has a reason to get."""

    goal: Goal
    wanted: ContentWanted
    verified: VerifiedManifest
    traffic: TrafficClass
    since: Instant
    asked_at: Instant
    sequence: int = 0
    is_for_head: bool = False
    """Whether not the content is wanted but a newer version: who lacks this one may have that."""
    announcers: OrderedDict[NodeId, None] = field(default_factory=OrderedDict)
    """Who announced it, over whatever link."""
    requests: list[RequestId] = field(default_factory=list)
    state: WantState = WantState.QUEUED
    step: Step = Step.NORMAL
    step_since: Instant | None = None
    """When the step began to wait for a source, or last had a byte of one."""
    asked: int = 0
    """Sources asked in this step of this climb."""
    climb_since: Instant | None = None
    """When the climb under way began; None before it did."""
    has_climbed: bool = False
    recorded: Step = Step.NORMAL
    """The step of which the log knows."""
    source: Source | None = None
    reason: str = ""
    """Of the try under way."""
    turn_ms: int = 0
    """How long its source may bring no byte."""
    beside: list[Try] = field(default_factory=list)
    """Who was asked in the same step before, and was silent."""
    silent_at: Instant | None = None
    """When the source of the try under way has been silent for so long that another is asked."""
    visit_ends: Instant = AT_ONCE
    """When a source that is being dialled loses its turn."""
    visited: NodeId | None = None
    """Who was dialled, and is reached now."""
    waited_ms: int = 0
    """After the climb before the last one."""
    waits_for_disk: FetchFailure | None = None
    """Of a parked one: why the own disk did not take it; no source can help."""
    retry_at: Instant = AT_ONCE
    """Of a parked want: when it starts at normal again if nothing happens before."""
    tried: dict[NodeId, Tried] = field(default_factory=dict)
    barred: dict[NodeId, Instant] = field(default_factory=dict)
    trace: Trace = field(default_factory=Trace)
    climbs: int = 0
    last_good: LastGood | None = None
    """What rung 5 made of the version before, once a climb ended without success."""
    told_stuck: tuple[bool, bool] | None = None
    """What the log knows of rung 5: whether there is a version before, and whether it may stay."""
    is_urgent: bool = False
    """Whether something happened that the climb under way comes too late for: the next one starts
    at once."""
    heard: dict[NodeId, None] = field(default_factory=dict)
    """Whose word counted and who was not asked since: the same word again is no news."""
    generation: int = 0
    """Of its wait: a timer of an earlier one is stale."""
    is_timed: bool = False
    """Whether a timer for the end of its wait is out."""

    @property
    def key(self) -> tuple[int, int]:
        """Order of service: class, then age."""
        return self.traffic, self.sequence

    @property
    def audience(self) -> Audience:
        """For whom the content is."""
        return self.verified.manifest.audience

    @property
    def is_trust(self) -> bool:
        """Whether it waits for no other class."""
        return self.traffic is TrafficClass.TRUST

    def wait_until(self, retry_at: Instant, generation: int) -> None:
        """Begin a wait; an earlier one is over."""
        self.retry_at, self.generation, self.is_timed = retry_at, generation, False

    def enter(self, step: Step) -> None:
        """Begin a step."""
        self.step, self.step_since, self.asked = step, None, 0

    def left_ms(self, now: Instant) -> int:
        """How long this step may still be silent; all of it until something is waited for."""
        since = now if self.step_since is None else self.step_since
        return max(0, IDLE_MS[self.step] - elapsed(since, now))

    def vain_before(self, node_id: NodeId) -> tuple[int, int]:
        """How often a node was asked in vain in earlier climbs, and how often of these it failed;
        within a climb, the order of sources stands. Who is always busy keeps the first place no
        more than who always fails (`tests/attacks/test_stalling.py`)."""
        tried = self.tried.get(node_id)
        if tried is None:
            return 0, 0
        is_now = tried.climb == self.climbs and tried.fault is not Fault.NONE
        has_failed_now = is_now and tried.fault is not Fault.BUSY
        return tried.failures + tried.busy - is_now, tried.failures - has_failed_now

    def may_ask(self, source: Source, now: Instant) -> bool:
        """Whether a source has its try in this climb still before it, and is neither passed over
        nor barred."""
        barred = self.barred.get(source.node_id)
        if barred is not None and not is_due(barred, now):
            return False
        tried = self.tried.get(source.node_id)
        return tried is None or (tried.climb != self.climbs and is_due(tried.until, now))

    def on_fault(self, source: Source, reason: FetchFailure, wait: BackOff, now: Instant) -> None:
        """A try of a source came to nothing: it is passed over, the longer the oftener."""
        fault = _FAULTS.get(reason, Fault.WITHHOLDS)
        before = self.tried.get(source.node_id)
        failed = fault not in (Fault.NONE, Fault.BUSY)
        failures = (0 if before is None else before.failures) + failed
        passed_over = wait(failures, fault)
        if fault is Fault.BUSY:
            passed_over = BUSY_WAIT
        elif reason is FetchFailure.LOST:
            # It may have another link by now: that one is asked in the next climb, after everybody
            # else had a try, and at once.
            passed_over, self.is_urgent = Duration(0), True
        tried = Tried(
            climb=self.climbs,
            failures=failures,
            busy=(0 if before is None else before.busy) + (fault is Fault.BUSY),
            fault=fault,
            until=later(now, passed_over),
        )
        self._note_tried(source.node_id, tried)

    def on_unreached(self, source: Source, wait: BackOff, now: Instant) -> None:
        """A source without a link could not be asked: a link of it is reason to ask it again."""
        before = self.tried.get(source.node_id)
        failures = 1 if before is None else before.failures + 1
        tried = Tried(
            climb=self.climbs,
            failures=failures,
            busy=0 if before is None else before.busy,
            fault=Fault.LACKS,
            until=later(now, wait(failures, Fault.LACKS)),
        )
        self._note_tried(source.node_id, tried)

    def _note_tried(self, node_id: NodeId, tried: Tried) -> None:
        _note(self.tried, node_id, tried)
        self.heard.pop(node_id, None)

    def is_contradicted(self, source: Source, reason: FetchFailure) -> bool:
        """Whether the source of the try under way lacks what it named itself."""
        tried = self.tried.get(source.node_id)
        is_by_word = tried is not None and tried.is_by_word
        return reason is FetchFailure.MISSING and (source.is_named or is_by_word)

    def bar(self, source: Source, now: Instant) -> None:
        """A source sent a wrong byte."""
        _note(self.barred, source.node_id, later(now, BARRED))

    def on_announced(self, node_id: NodeId) -> bool:
        """A node says that it exists: newest last; the oldest leaves at the limit. Whether that is
        news."""
        is_news = node_id not in self.announcers
        self.announcers.setdefault(node_id)
        if len(self.announcers) > SOURCES_PER_WANT_MAX:
            self.announcers.popitem(last=False)
        return is_news

    def on_word(self, node_id: NodeId) -> bool:
        """A node says that it has it: if it only lacked it, it is not passed over any longer, and
        where its try in this climb is over, the next climb is urgent. Whether that is news: said
        again before it was asked, it is not, nor is the word of who withheld it, or saying so would
        be enough to have this node climb (`tests/attacks/test_stalling.py`)."""
        tried = self.tried.get(node_id)
        if node_id in self.heard or (tried is not None and tried.fault is Fault.WITHHOLDS):
            return False
        _note(self.heard, node_id, None)
        if tried is not None:
            self.tried[node_id] = replace(tried, until=AT_ONCE, is_by_word=True)
            self.is_urgent |= tried.climb == self.climbs
        return True

    def on_link(self, node_id: NodeId) -> None:
        """A link to a node opened or ended, and with the old one what it said by it: over another
        one it is asked anew if it only lacked it, and at once if it was about to answer."""
        self.heard.pop(node_id, None)
        tried = self.tried.get(node_id)
        if tried is not None and tried.fault is not Fault.WITHHOLDS:
            self.tried[node_id] = replace(tried, until=AT_ONCE)

    @property
    def tries(self) -> tuple[Try, ...]:
        """Who is asked now, in the order they were; none while it waits for a source."""
        if self.source is None:
            return ()
        return (*self.beside, Try(self.source, self.reason, self.asked_at))

    def on_tried(self, one: Try, outcome: str, now: Instant, received: int) -> None:
        """A try under way ended like this."""
        self.note(
            node_id=one.source.node_id,
            outcome=outcome,
            reason=one.reason,
            at=one.asked_at,
            took_ms=elapsed(one.asked_at, now),
            received=received,
        )

    def note(
        self,
        *,
        node_id: NodeId | None,
        outcome: str,
        reason: str,
        at: Instant,
        took_ms: int = 0,
        received: int = 0,
    ) -> None:
        """Remember a try of the step this want is in, or that there was none."""
        attempt = Attempt(
            at=at,
            climb=self.climbs,
            step=self.step,
            node_id=node_id,
            outcome=outcome,
            took_ms=took_ms,
            received=received,
            reason=reason,
        )
        self.trace.add(attempt)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """What is remembered of all tries, oldest first."""
        return self.trace.attempts


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedWant:
    """What is remembered of a want that ended."""

    goal: Goal
    namespace: str
    state: WantState
    attempts: tuple[Attempt, ...]


def _note(noted: dict[NodeId, V], node_id: NodeId, value: V) -> None:
    """Note a source, newest last; the oldest leaves at the limit."""
    noted.pop(node_id, None)
    noted[node_id] = value
    if len(noted) > SOURCES_PER_WANT_MAX:
        del noted[next(iter(noted))]


def goal_of(verified: VerifiedManifest) -> Goal:
    """What a manifest has a node want."""
    manifest = verified.manifest
    return Goal(
        content_hash=manifest.content_hash,
        size=manifest.content_size,
        chunk_hashes=manifest.chunk_hashes,
        artifact_type=manifest.artifact_type,
        signed_by=verified.signed_by,
    )


def wanted_from(verified: VerifiedManifest, *, is_read: bool) -> ContentWanted:
    """What a manifest signs about its content."""
    manifest = verified.manifest
    return ContentWanted(
        manifest_hash=verified.manifest_hash,
        content_hash=manifest.content_hash,
        size=manifest.content_size,
        chunk_hashes=manifest.chunk_hashes,
        is_read=is_read,
    )
