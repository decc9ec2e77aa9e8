"""Outstanding wants: which content to get from whom, and what every try came to.

Decides: the next source of each want, when to try again, when to give up a source for a content.
Keeps: no want without an admitted manifest; one want per content however many reasons it has;
steps in strict order; trust waits for no other class.
Must not know: how bytes travel, where they rest.

Steps of one climb, each left only when no source of it is left:

| step | sources |
|---|---|
| normal | who announced it, then the home endpoint: the nearest linked storage node |
| rung 1 | the other linked storage nodes, nearest failure domain first |
| rung 2 | linked neighbours that advertise it |

After a climb without success the want is parked, and starts at normal again on evidence (a link
opens, somebody advertises it) or after a wait that doubles.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from random import Random
from typing import Final, TypeVar, assert_never

from fabgossip.core.config import FetchingConfig
from fabgossip.core.effects import ContentWanted
from fabgossip.core.events import FetchFailure, LinkId, RequestId
from fabgossip.core.ordered import OrderedMap
from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.ids import ContentHash, NodeId
from fabgossip.model.messages import TrafficClass
from fabgossip.model.moment import Duration, Instant, elapsed, is_due, later
from fabgossip.model.scope import Audience

K = TypeVar("K")
ATTEMPTS_MAX: Final = 32
"""Steps kept per want: the first 8 and the last 24 (*start*)."""
ATTEMPTS_FIRST: Final = 8
BUSY_WAIT: Final = Duration(200)
"""A source that was only busy is asked again after this: its slots turn over in less (*start*)."""
REQUESTS_PER_WANT_MAX: Final = 16
SOURCES_PER_WANT_MAX: Final = 64
"""Announcers remembered per want, and as many sources passed over and barred: further announcers
are not noted, the oldest of the others leaves (*start*)."""
BARRED: Final = Duration(86_400_000)
"""A source that sent a wrong byte is not asked for that content again for a day."""
NOWHERE: Final = 4
"""Distance of a source no directory places."""


class Step(StrEnum):
    """Where in the order of sources a try stood."""

    NORMAL = "normal"
    RUNG_1 = "rung 1"
    RUNG_2 = "rung 2"


_STEPS: Final = (Step.NORMAL, Step.RUNG_1, Step.RUNG_2)


IDLE_MS: Final = {Step.NORMAL: 1_000, Step.RUNG_1: 1_000, Step.RUNG_2: 2_000}
"""How long a source of a step may be silent before it loses its turn (*start*)."""


FAILURE_CODES: Final = {
    FetchFailure.BAD_LENGTH: "LENGTH_MISMATCH",
    FetchFailure.BAD_HASH: "HASH_MISMATCH",
    FetchFailure.DISK: "STORE_FULL",
    FetchFailure.CANCELLED: "CANCELLED",
    FetchFailure.MISSING: "LENGTH_MISMATCH",
    FetchFailure.BUSY: "CANCELLED",
    FetchFailure.STALLED: "CANCELLED",
    FetchFailure.TOO_SLOW: "TOO_SLOW",
    FetchFailure.LOST: "CANCELLED",
}
"""What local software is told of a content that did not come."""


class WantState(StrEnum):
    """Where a want stands."""

    QUEUED = "queued"
    FETCHING = "fetching"
    PARKED = "parked"
    SATISFIED = "satisfied"
    VOID = "void"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A link that may be asked, as known right now."""

    link: LinkId
    node_id: NodeId
    is_storage: bool
    distance: int
    verified: VerifiedManifest
    """The manifest to ask it with: one it may know."""
    says: bool | None
    """Its own word: holds it, does not, or said nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try, as `why` shows it."""

    at: Instant
    step: Step
    node_id: NodeId | None
    outcome: str
    took_ms: int
    received: int


@dataclass(slots=True)
class Want:
    """One content this node lacks and has a reason to get."""

    wanted: ContentWanted
    verified: VerifiedManifest
    traffic: TrafficClass
    since: Instant
    sequence: int
    asked_at: Instant
    announcers: OrderedDict[LinkId, None] = field(default_factory=OrderedDict)
    requests: list[RequestId] = field(default_factory=list)
    state: WantState = WantState.QUEUED
    step: Step = Step.NORMAL
    has_climbed: bool = False
    source: Source | None = None
    passed_over: dict[LinkId, Instant] = field(default_factory=dict)
    barred: dict[NodeId, Instant] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    climbs: int = 0
    generation: int = 0

    @property
    def key(self) -> tuple[int, int]:
        """Order of service: class, then age."""
        return self.traffic, self.sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedWant:
    """What is remembered of a want that ended."""

    content_hash: ContentHash
    namespace: str
    state: WantState
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchingSnapshot:
    """Counts for status."""

    wanted: int
    in_flight: int
    parked: int
    highest_step: str
    fetched: int
    failed: int


class Fetching:
    """All wants of a node."""

    __slots__ = (
        "_config", "_ended", "_failed", "_fetched", "_in_flight", "_per_link", "_queue", "_rng",
        "_sequence", "_wants", )  # fmt: skip

    def __init__(self, config: FetchingConfig, rng: Random) -> None:
        self._config = config
        self._rng = rng
        self._wants: dict[ContentHash, Want] = {}
        self._queue: OrderedMap[tuple[int, int], ContentHash] = OrderedMap()
        self._in_flight: dict[bool, int] = {True: 0, False: 0}
        self._per_link: dict[LinkId, int] = {}
        self._ended: deque[EndedWant] = deque(maxlen=config.ended_max)
        self._sequence = 0
        self._fetched = 0
        self._failed = 0

    def on_wanted(
        self,
        verified: VerifiedManifest,
        traffic: TrafficClass,
        announcer: LinkId | None,
        now: Instant,
        *,
        is_read: bool,
    ) -> Want | None:
        """There is a reason to get this content; None if the limit of wants is reached (trust is
        never refused)."""
        manifest = verified.manifest
        want = self._wants.get(manifest.content_hash)
        if want is None:
            if len(self._wants) >= self._config.wants_max and traffic is not TrafficClass.TRUST:
                return None
            self._sequence += 1
            wanted = wanted_from(verified, is_read=is_read)
            want = Want(wanted, verified, traffic, now, self._sequence, now)
            self._wants[manifest.content_hash] = want
            self._queue[want.key] = manifest.content_hash
        if announcer is not None:
            self.on_announced(want, announcer)
        return want

    def on_announced(self, want: Want, announcer: LinkId) -> None:
        """A link announced what a want is for: whether it had it before or not, it may have it
        now."""
        if len(want.announcers) < SOURCES_PER_WANT_MAX:
            want.announcers[announcer] = None
        want.passed_over.pop(announcer, None)
        self._wake(want)

    def on_request(self, content_hash: ContentHash, request: RequestId) -> bool:
        """A local request waits for a want; False if too many do."""
        want = self._wants[content_hash]
        if len(want.requests) >= REQUESTS_PER_WANT_MAX:
            return False
        want.requests.append(request)
        self._wake(want)
        return True

    def on_request_over(self, request: RequestId) -> None:
        """A local request waits no longer."""
        for want in self._wants.values():
            if request in want.requests:
                want.requests.remove(request)

    def on_advertised(self, link: LinkId, content_hash: ContentHash) -> None:
        """A neighbour says it holds a wanted content now."""
        want = self._wants.get(content_hash)
        if want is not None:
            want.passed_over.pop(link, None)
            self._wake(want)

    def on_opened(self) -> None:
        """A link opened: whatever is parked may have a source again."""
        for want in self._wants.values():
            self._wake(want)

    def on_lost(self, link: LinkId) -> None:
        """A link ended; its transfers come back as failures of their own."""
        for want in self._wants.values():
            want.announcers.pop(link, None)
            want.passed_over.pop(link, None)

    def _wake(self, want: Want) -> None:
        if want.state is WantState.PARKED:
            want.state = WantState.QUEUED
            want.generation += 1
            want.step = Step.NORMAL
            self._queue[want.key] = want.wanted.content_hash

    def on_due(self, content_hash: ContentHash, generation: int) -> None:
        """The wait of a parked want is over, unless it was woken before."""
        want = self._wants.get(content_hash)
        if want is not None and want.generation == generation:
            self._wake(want)

    def on_stored(self, content_hash: ContentHash, now: Instant) -> Want | None:
        """The content is here: the want ends satisfied."""
        want = self._wants.get(content_hash)
        if want is None:
            return None
        if want.state is WantState.FETCHING:
            self._attempted(want, "verified", now, want.wanted.size)
            self._release(want)
        self._fetched += 1
        self._end(want, WantState.SATISFIED)
        return want

    def on_failed(
        self,
        content_hash: ContentHash,
        link: LinkId,
        reason: FetchFailure,
        received: int,
        now: Instant,
    ) -> Want | None:
        """A try came to nothing: the want queues for its next source."""
        want = self._wants.get(content_hash)
        if want is None or want.source is None or want.source.link != link:
            # The try belonged to a want that was void meanwhile; this one asks somebody else.
            return None
        self._failed += 1
        source = want.source
        self._attempted(want, reason.value, now, received)
        self._release(want)
        if reason in (FetchFailure.BAD_HASH, FetchFailure.BAD_LENGTH):
            _note_until(want.barred, source.node_id, later(now, BARRED))
        wait = BUSY_WAIT if reason is FetchFailure.BUSY else Duration(self._config.missing_ms)
        _note_until(want.passed_over, source.link, later(now, wait))
        want.state = WantState.QUEUED
        self._queue[want.key] = content_hash
        return want

    def on_renamed(self, verified: VerifiedManifest, traffic: TrafficClass) -> None:
        """The manifest a want asked with is gone; another one names the same content."""
        want = self._wants.get(verified.manifest.content_hash)
        if want is None or want.verified.manifest_hash == verified.manifest_hash:
            return
        is_queued = want.state is WantState.QUEUED
        if is_queued:
            self._queue.discard(want.key)
        want.verified = verified
        want.wanted = wanted_from(verified, is_read=want.wanted.is_read)
        if want.state is not WantState.FETCHING:
            want.traffic = traffic
        if is_queued:
            self._queue[want.key] = want.wanted.content_hash

    def on_void(self, content_hash: ContentHash) -> Want | None:
        """Nothing names the content any more. A transfer under way finishes; its bytes are
        dropped."""
        want = self._wants.get(content_hash)
        if want is not None:
            if want.state is WantState.FETCHING:
                self._release(want)
            self._end(want, WantState.VOID)
        return want

    def _end(self, want: Want, state: WantState) -> None:
        want.state = state
        content_hash = want.wanted.content_hash
        del self._wants[content_hash]
        self._queue.discard(want.key)
        namespace = want.verified.manifest.namespace.text
        ended = EndedWant(
            content_hash=content_hash,
            namespace=namespace,
            state=state,
            attempts=tuple(want.attempts),
        )
        self._ended.append(ended)

    def _release(self, want: Want) -> None:
        assert want.source is not None
        self._in_flight[want.traffic is TrafficClass.TRUST] -= 1
        left = self._per_link[want.source.link] - 1
        if left:
            self._per_link[want.source.link] = left
        else:
            del self._per_link[want.source.link]
        want.source = None

    def _attempted(self, want: Want, outcome: str, now: Instant, received: int) -> None:
        assert want.source is not None
        attempt = Attempt(
            at=want.asked_at,
            step=want.step,
            node_id=want.source.node_id,
            outcome=outcome,
            took_ms=elapsed(want.asked_at, now),
            received=received,
        )
        self._note(want, attempt)

    @staticmethod
    def _note(want: Want, attempt: Attempt) -> None:
        want.attempts.append(attempt)
        if len(want.attempts) > ATTEMPTS_MAX:
            del want.attempts[ATTEMPTS_FIRST]

    def next_transfers(
        self, sources_of: Callable[[Want], tuple[Source, ...]], now: Instant
    ) -> tuple[list[Want], list[Want]]:
        """The wants to ask for now (each with `source` and `step` set), and those that were just
        parked."""
        if not len(self._queue):
            return [], []
        started: list[Want] = []
        parked: list[Want] = []
        busy: list[Audience] = []
        for _, content_hash in self._queue.items_after((-1, 0), self._config.transfers_max * 4):
            want = self._wants[content_hash]
            is_trust = want.traffic is TrafficClass.TRUST
            room = self._config.trust_transfers_max if is_trust else self._config.transfers_max
            if self._in_flight[is_trust] >= room:
                if is_trust:
                    continue
                break
            if want.verified.manifest.audience in busy and self._are_full(want.announcers):
                continue
            found, is_busy = self._next_source(want, sources_of(want), now)
            if found is not None:
                self._start(want, found, now)
                started.append(want)
            elif is_busy:
                busy.append(want.verified.manifest.audience)
            else:
                self._park(want, now)
                parked.append(want)
        return started, parked

    def _are_full(self, links: Iterable[LinkId]) -> bool:
        return all(self._per_link.get(link, 0) >= self._config.per_link_max for link in links)

    def _next_source(
        self, want: Want, sources: tuple[Source, ...], now: Instant
    ) -> tuple[Source | None, bool]:
        """The best source of the first step that has one, and whether one is only waiting for a
        free slot."""
        is_busy = False
        for step in _STEPS[_STEPS.index(want.step) :]:
            for source in self._ranked(want, step, sources):
                if self._is_passed_over(want, source, now):
                    continue
                if self._per_link.get(source.link, 0) >= self._config.per_link_max:
                    is_busy = True
                    continue
                want.step = step
                return source, False
            if is_busy:
                return None, True
            if step is want.step and step is not _STEPS[-1] and want.attempts:
                self._note_skipped(want, step, now)
        return None, False

    def _note_skipped(self, want: Want, step: Step, now: Instant) -> None:
        if any(one.step is step for one in want.attempts):
            return
        skipped = Attempt(at=now, step=step, node_id=None, outcome="skipped", took_ms=0, received=0)
        self._note(want, skipped)

    def _ranked(self, want: Want, step: Step, sources: tuple[Source, ...]) -> list[Source]:
        match step:
            case Step.NORMAL:
                announcers = [
                    one for one in sources if one.link in want.announcers and one.says is not False
                ]
                home = [
                    one
                    for one in self._ranked(want, Step.RUNG_1, sources)[:1]
                    if one not in announcers
                ]
                return (
                    sorted(announcers, key=lambda one: (one.distance, _lot(want, one), one.node_id))
                    + home
                )
            case Step.RUNG_1:
                eligible = [one for one in sources if one.is_storage and one.says is not False]
            case Step.RUNG_2:
                eligible = [one for one in sources if one.says is True]
            case _:
                assert_never(step)
        return sorted(
            eligible,
            key=lambda one: (one.says is not True, one.distance, _lot(want, one), one.node_id),
        )

    @staticmethod
    def _is_passed_over(want: Want, source: Source, now: Instant) -> bool:
        until = want.passed_over.get(source.link)
        barred = want.barred.get(source.node_id)
        return (until is not None and not is_due(until, now)) or (
            barred is not None and not is_due(barred, now)
        )

    def _start(self, want: Want, source: Source, now: Instant) -> None:
        self._queue.discard(want.key)
        want.state = WantState.FETCHING
        want.source = source
        want.asked_at = now
        want.has_climbed = want.has_climbed or want.step is not Step.NORMAL
        self._in_flight[want.traffic is TrafficClass.TRUST] += 1
        self._per_link[source.link] = self._per_link.get(source.link, 0) + 1

    def _park(self, want: Want, now: Instant) -> None:
        self._queue.discard(want.key)
        want.state = WantState.PARKED
        want.step = Step.NORMAL
        want.generation += 1
        want.climbs += 1

    def next_try_at(self, want: Want, now: Instant) -> Instant:
        """When a parked want starts at normal again if nothing happens before."""
        wait = min(self._config.retry_min_ms << min(want.climbs - 1, 16), self._config.retry_max_ms)
        return later(now, Duration(wait // 2 + self._rng.randrange(wait // 2 + 1)))

    def find(self, content_hash: ContentHash) -> Want | None:
        """The open want of a content."""
        return self._wants.get(content_hash)

    def ended(self, content_hash: ContentHash) -> EndedWant | None:
        """The newest ended want of a content that is still remembered."""
        return next(
            (one for one in reversed(self._ended) if one.content_hash == content_hash), None
        )

    def wants(self) -> tuple[Want, ...]:
        """All open wants, oldest first."""
        return tuple(self._wants.values())

    def snapshot(self) -> FetchingSnapshot:
        """Counts for status."""
        steps = [_STEPS.index(want.step) for want in self._wants.values()]
        return FetchingSnapshot(
            wanted=len(self._wants),
            in_flight=sum(self._in_flight.values()),
            parked=sum(want.state is WantState.PARKED for want in self._wants.values()),
            highest_step=_STEPS[max(steps)].value if steps else Step.NORMAL.value,
            fetched=self._fetched,
            failed=self._failed,
        )

    def check(self) -> None:
        """Assert limits and that counts equal a recount."""
        fetching = [want for want in self._wants.values() if want.state is WantState.FETCHING]
        assert sum(self._in_flight.values()) == len(fetching) == sum(self._per_link.values())
        assert all(count <= self._config.per_link_max for count in self._per_link.values())
        queued = sum(want.state is WantState.QUEUED for want in self._wants.values())
        assert queued == len(self._queue)
        for want in self._wants.values():
            assert len(want.attempts) <= ATTEMPTS_MAX
            sources = (len(want.announcers), len(want.passed_over), len(want.barred))
            assert max(sources) <= SOURCES_PER_WANT_MAX


def _note_until(until: dict[K, Instant], key: K, at: Instant) -> None:
    """Note a source, newest last; the oldest leaves at the limit."""
    until.pop(key, None)
    until[key] = at
    if len(until) > SOURCES_PER_WANT_MAX:
        del until[next(iter(until))]


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


def _lot(want: Want, source: Source) -> bytes:
    """A lot per content and source, so that nodes spread over sources of one rank."""
    return blake2b(
        want.wanted.content_hash + source.node_id.encode("ascii"), digest_size=8
    ).digest()
