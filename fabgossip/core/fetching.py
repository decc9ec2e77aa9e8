"""Outstanding wants: which content to get from whom, and what every try came to.

Decides: the next source of each want, when to try again, when to give up a source for a content.
Keeps: no want without an admitted manifest; one want per content however many reasons it has;
steps in strict order; trust waits for no other class.
Must not know: how bytes travel, where they rest.

After a climb without success the want is parked, and starts at normal again on evidence (a link
opens, somebody advertises it) or after a wait that doubles.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from fabgossip.core.config import FetchingConfig
from fabgossip.core.events import FetchFailure, LinkId, RequestId
from fabgossip.core.ordered import OrderedMap
from fabgossip.core.sources import next_source
from fabgossip.core.wants import (
    ATTEMPTS_MAX,
    BARRED,
    BUSY_WAIT,
    REQUESTS_PER_WANT_MAX,
    SOURCES_PER_WANT_MAX,
    STEPS,
    Attempt,
    EndedWant,
    Source,
    Step,
    Want,
    WantState,
    note_until,
    wanted_from,
)
from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.ids import ContentHash
from fabgossip.model.messages import TrafficClass
from fabgossip.model.moment import Duration, Instant, elapsed, later
from fabgossip.model.scope import Audience


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
            note_until(want.barred, source.node_id, later(now, BARRED))
        wait = BUSY_WAIT if reason is FetchFailure.BUSY else Duration(self._config.missing_ms)
        note_until(want.passed_over, source.link, later(now, wait))
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
        want.note(attempt)

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
            found, is_busy = next_source(want, sources_of(want), self._is_full, now)
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
        return all(self._is_full(link) for link in links)

    def _is_full(self, link: LinkId) -> bool:
        return self._per_link.get(link, 0) >= self._config.per_link_max

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
        steps = [STEPS.index(want.step) for want in self._wants.values()]
        return FetchingSnapshot(
            wanted=len(self._wants),
            in_flight=sum(self._in_flight.values()),
            parked=sum(want.state is WantState.PARKED for want in self._wants.values()),
            highest_step=STEPS[max(steps)].value if steps else Step.NORMAL.value,
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
