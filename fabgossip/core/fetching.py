"""Outstanding wants: which content to get from whom, and what every try came to.

Decides: the next source of each want, when to try again, when to give up a source for a content.
Keeps: no want without an admitted manifest; one want per content and signer however many reasons
it has; whichever want brings a content, it ends all that are for it;
steps in strict order; trust waits for no other class.
Must not know: how bytes travel, where they rest.

After a climb without success the want is parked, and starts at normal again on evidence (a link
opens, somebody advertises it), at once if that came during the climb, or after a wait that doubles.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from fabgossip.core.config import FetchingConfig
from fabgossip.core.events import ContentWanted, FetchFailure, LinkId, RequestId
from fabgossip.core.ordered import OrderedMap
from fabgossip.core.sources import next_source
from fabgossip.core.wants import (
    ATTEMPTS_MAX,
    REQUESTS_PER_WANT_MAX,
    SOURCES_PER_WANT_MAX,
    STEPS,
    Attempt,
    EndedWant,
    Goal,
    Source,
    Step,
    Want,
    WantState,
    goal_of,
    wanted_from,
)
from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.ids import ContentHash, NodeId
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
        "_by_content", "_config", "_ended", "_failed", "_fetched", "_generation", "_in_flight",
        "_per_source", "_queue", "_seed", "_sequence", "_wants", )  # fmt: skip

    def __init__(self, config: FetchingConfig, rng: Random) -> None:
        self._config = config
        self._seed = rng.getrandbits(64)
        """Each want draws from a stream of its own: one for all would show how many others wait."""
        self._wants: dict[Goal, Want] = {}
        self._by_content: dict[ContentHash, dict[Goal, Want]] = {}
        self._queue: OrderedMap[tuple[int, int], Goal] = OrderedMap()
        self._in_flight: dict[bool, int] = {True: 0, False: 0}
        self._per_source: dict[NodeId, int] = {}
        self._ended: deque[EndedWant] = deque(maxlen=config.ended_max)
        self._sequence = 0
        self._generation = 0
        self._fetched = 0
        self._failed = 0

    def on_wanted(
        self,
        verified: VerifiedManifest,
        traffic: TrafficClass,
        announcer: NodeId | None,
        now: Instant,
        *,
        is_read: bool,
    ) -> Want | None:
        """There is a reason to get this content; None if the limit of wants is reached (trust is
        never refused)."""
        goal = goal_of(verified)
        want = self._wants.get(goal)
        if want is None:
            if len(self._wants) >= self._config.wants_max and traffic is not TrafficClass.TRUST:
                return None
            self._sequence += 1
            wanted = wanted_from(verified, is_read=is_read)
            want = Want(goal, wanted, verified, traffic, now, self._sequence, now)
            self._wants[goal] = want
            self._by_content.setdefault(goal.content_hash, {})[goal] = want
            self._queue[want.key] = goal
        if announcer is not None:
            self.on_announced(want, announcer)
        return want

    def on_announced(self, want: Want, announcer: NodeId) -> None:
        """A node announced what a want is for: whether it had it before or not, it may have it
        now."""
        want.on_announced(announcer)
        want.on_word(announcer)
        want.is_urgent |= want.step is not Step.NORMAL
        self._wake(want)

    def on_request(self, want: Want, request: RequestId) -> bool:
        """A local request waits for a want; False if too many do."""
        if request in want.requests:
            return True
        if len(want.requests) >= REQUESTS_PER_WANT_MAX:
            return False
        want.requests.append(request)
        self._wake(want)
        return True

    def on_request_over(self, content_hash: ContentHash, request: RequestId) -> None:
        """A local request for a content waits no longer."""
        for want in self._wants_of(content_hash):
            if request in want.requests:
                want.requests.remove(request)

    def is_awaited(self, content_hash: ContentHash, request: RequestId) -> bool:
        """Whether a local request still waits for a want of a content."""
        return any(request in want.requests for want in self._wants_of(content_hash))

    def _wants_of(self, content_hash: ContentHash) -> tuple[Want, ...]:
        return tuple(self._by_content.get(content_hash, {}).values())

    def on_advertised(self, node_id: NodeId, verified: VerifiedManifest) -> None:
        """A neighbour says it holds a wanted content now."""
        want = self.find(verified)
        if want is not None:
            want.on_word(node_id)
            self._wake(want)

    def on_opened(self) -> None:
        """A link opened: whatever is parked may have a source again."""
        for want in self._wants.values():
            want.is_urgent |= want.step is not Step.NORMAL
            self._wake(want)

    def on_lost(self, node_id: NodeId) -> None:
        """A link to a node ended; its transfers come back as failures of their own. That it
        announced something stands: over another link it is asked as before."""
        for want in self._wants.values():
            want.on_lost(node_id)

    def _wake(self, want: Want) -> None:
        if want.state is WantState.PARKED:
            want.state = WantState.QUEUED
            want.generation = self._next_generation()
            want.step = Step.NORMAL
            want.is_urgent = False
            self._queue[want.key] = want.goal

    def _next_generation(self) -> int:
        self._generation += 1
        return self._generation

    def on_due(self, content_hash: ContentHash, generation: int) -> None:
        """The wait of a parked want is over, unless it was woken before."""
        for want in self._wants_of(content_hash):
            if want.generation == generation:
                self._wake(want)

    def on_stored(
        self, stored: ContentWanted, link: LinkId | None, now: Instant
    ) -> tuple[Want, ...]:
        """The content is here: all wants of it end, satisfied, or refused where its size is not
        what they say."""
        ended = self._wants_of(stored.content_hash)
        for want in ended:
            if want.source is not None:
                is_its = want.source.link == link and want.goal.size == stored.size
                outcome = "verified" if is_its else FetchFailure.CANCELLED.value
                self._attempted(want, outcome, now, stored.size if is_its else 0)
                self._release(want)
            is_true = want.goal.size == stored.size
            self._end(want, WantState.SATISFIED if is_true else WantState.REFUSED)
        self._fetched += any(want.state is WantState.SATISFIED for want in ended)
        return ended

    def on_failed(
        self,
        failed: ContentWanted,
        link: LinkId,
        reason: FetchFailure,
        received: int,
        now: Instant,
    ) -> Want | None:
        """A try came to nothing: the want queues for its next source; where what is signed
        contradicts itself, it ends."""
        tried = (link, failed.manifest_hash)
        want = next(
            (
                one
                for one in self._wants_of(failed.content_hash)
                if one.source is not None
                and (one.source.link, one.source.verified.manifest_hash) == tried
            ),
            None,
        )
        if want is None or want.source is None:
            # The try belonged to a want that was void meanwhile; another may ask somebody else.
            return None
        self._failed += 1
        source = want.source
        self._attempted(want, reason.value, now, received)
        self._release(want)
        if reason is FetchFailure.CONTRADICTED:
            self._end(want, WantState.REFUSED)
            return want
        if reason in (FetchFailure.BAD_HASH, FetchFailure.BAD_LENGTH):
            want.bar(source, now)
        want.on_fault(source, reason, self._config.missing_ms, now)
        want.state = WantState.QUEUED
        self._queue[want.key] = want.goal
        return want

    def on_named(
        self, content_hash: ContentHash, named: tuple[VerifiedManifest, ...]
    ) -> tuple[Want, ...]:
        """These manifests name a content by now, and no other: gives the wants that nothing
        stands behind any more. A transfer of theirs under way finishes; its bytes are dropped."""
        void = []
        for want in self._wants_of(content_hash):
            behind = [one for one in named if goal_of(one) == want.goal]
            if not behind:
                if want.state is WantState.FETCHING:
                    self._release(want)
                self._end(want, WantState.VOID)
                void.append(want)
            elif want.verified not in behind:
                want.verified = behind[0]
                want.wanted = wanted_from(want.verified, is_read=want.wanted.is_read)
        return tuple(void)

    def _end(self, want: Want, state: WantState) -> None:
        want.state = state
        goal = want.goal
        del self._wants[goal]
        rest = self._by_content[goal.content_hash]
        del rest[goal]
        if not rest:
            del self._by_content[goal.content_hash]
        self._queue.discard(want.key)
        namespace = want.verified.manifest.namespace.text
        ended = EndedWant(
            goal=goal,
            namespace=namespace,
            state=state,
            attempts=tuple(want.attempts),
        )
        self._ended.append(ended)

    def _release(self, want: Want) -> None:
        assert want.source is not None
        self._in_flight[want.traffic is TrafficClass.TRUST] -= 1
        left = self._per_source[want.source.node_id] - 1
        if left:
            self._per_source[want.source.node_id] = left
        else:
            del self._per_source[want.source.node_id]
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
        for _, goal in self._queue.items_after((-1, 0), self._config.transfers_max * 4):
            want = self._wants[goal]
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

    def _are_full(self, nodes: Iterable[NodeId]) -> bool:
        return all(self._is_full(node_id) for node_id in nodes)

    def is_asked(self, node_id: NodeId) -> bool:
        """Whether a content is on its way from a node."""
        return self._per_source.get(node_id, 0) > 0

    def _is_full(self, node_id: NodeId) -> bool:
        return self._per_source.get(node_id, 0) >= self._config.per_link_max

    def _start(self, want: Want, source: Source, now: Instant) -> None:
        self._queue.discard(want.key)
        want.state = WantState.FETCHING
        want.source = source
        want.asked_at = now
        want.has_climbed = want.has_climbed or want.step is not Step.NORMAL
        self._in_flight[want.traffic is TrafficClass.TRUST] += 1
        self._per_source[source.node_id] = self._per_source.get(source.node_id, 0) + 1

    def _park(self, want: Want, now: Instant) -> None:
        self._queue.discard(want.key)
        want.state = WantState.PARKED
        want.step = Step.NORMAL
        want.generation = self._next_generation()
        want.climbs += 1

    def next_try_at(self, want: Want, now: Instant) -> Instant:
        """When a parked want starts at normal again if nothing happens before."""
        if want.is_urgent:
            return now
        wait = min(self._config.retry_min_ms << min(want.climbs - 1, 16), self._config.retry_max_ms)
        chance = Random(f"{self._seed}/{want.verified.manifest_hash.hex()}/{want.climbs}")
        return later(now, Duration(wait // 2 + chance.randrange(wait // 2 + 1)))

    def find(self, verified: VerifiedManifest) -> Want | None:
        """The open want behind which a manifest stands."""
        return self._wants.get(goal_of(verified))

    def ended(self, verified: VerifiedManifest) -> EndedWant | None:
        """The newest ended want behind which a manifest stood, while it is remembered."""
        goal = goal_of(verified)
        return next((one for one in reversed(self._ended) if one.goal == goal), None)

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
        assert sum(self._in_flight.values()) == len(fetching) == sum(self._per_source.values())
        assert all(count <= self._config.per_link_max for count in self._per_source.values())
        queued = sum(want.state is WantState.QUEUED for want in self._wants.values())
        assert queued == len(self._queue)
        assert len(self._wants) == sum(len(one) for one in self._by_content.values())
        for want in self._wants.values():
            assert len(want.attempts) <= ATTEMPTS_MAX
            sources = (len(want.announcers), len(want.tried), len(want.barred))
            assert max(sources) <= SOURCES_PER_WANT_MAX
