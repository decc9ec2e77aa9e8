"""Whom to be connected to: neighbours chosen from the signed directories, and the liveness of our
own links.

Decides: whom to dial and when to try again; whether a link is still alive.
Keeps: everybody dialled is listed in a held directory or named by the configuration; nothing about
membership or death is told to anybody; with equal directories every declared audience is
connected, because each member but the first keeps a link to an earlier one.
Must not know: what is sent over a link, what was admitted.

- Up to `mesh_members_max` members everybody links to everybody; above, each keeps
  `quota_per_audience` links and at least one to an earlier member. Thin nodes are in nobody's
  quota and link to two earlier ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from fabgossip.core.config import ConnectionsConfig, NeighborsConfig
from fabgossip.core.events import LinkId
from fabgossip.core.rosters import Circle, Roster
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Duration, Instant, elapsed, is_due, later
from fabgossip.model.scope import Audience, ScopeId
from fabgossip.model.topology import Endpoint, PeerRecord

THIN_LINKS: Final = 2
LOOK_AGAIN_MS: Final = 8_000
"""Missing neighbours are looked for this often although nothing happened (*start*)."""
UNKNOWN_DISTANCE: Final = 3
"""Of peers where our own place is not known: as if they were in another region."""
FAILURES_MAX: Final = 1_024
"""Nodes whose failures are remembered (*start*); beyond, the oldest is dialled like any other."""
JITTER_DIVISOR: Final = 5
"""Jitter of 20 %."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody to dial."""

    node_id: NodeId
    addresses: tuple[str, ...]


@dataclass(slots=True)
class _Backoff:
    failures: int
    until: Instant


@dataclass(slots=True)
class _Liveness:
    is_dialer: bool
    heard_at: Instant
    sequence: int = 0
    asked_at: Instant | None = None
    rtt_ms: int | None = None


@dataclass(frozen=True, slots=True)
class _Seat:
    """One declared audience of which this node is a member, and where it stands in it."""

    roster: Roster
    circle: Circle
    rank: int | None
    """None for a thin node, which has no place in the order."""

    def is_member(self, node_id: NodeId) -> bool:
        """Whether another node is a member on which others count."""
        return node_id in self.roster.ranks and self.roster.is_member(node_id, self.circle)

    def is_earlier(self, node_id: NodeId) -> bool:
        """Whether a member stands before this node."""
        return self.rank is None or self.roster.ranks[node_id] < self.rank

    @property
    def others(self) -> int:
        """How many other members there are."""
        return len(self.circle.members) - (self.rank is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighborsSnapshot:
    """Counts for status."""

    active: int
    target: int
    failure_domains: int


class Neighbors:
    """The view of this node: directories held, links open, who to dial next."""

    __slots__ = (
        "_backoffs", "_bootstrap", "_config", "_connections", "_dialing", "_links", "_live",
        "_own_id", "_own_record", "_rng", "_rosters", "_seats",
    )  # fmt: skip

    def __init__(
        self,
        own_id: NodeId,
        configs: tuple[NeighborsConfig, ConnectionsConfig],
        bootstrap: tuple[Endpoint, ...],
        rng: Random,
    ) -> None:
        self._own_id = own_id
        self._config, self._connections = configs
        self._bootstrap = bootstrap
        self._rng = rng
        self._rosters: dict[str, Roster] = {}
        self._seats: tuple[_Seat, ...] = ()
        self._own_record: PeerRecord | None = None
        self._links: dict[NodeId, LinkId] = {}
        self._live: dict[LinkId, _Liveness] = {}
        self._dialing: dict[NodeId, Instant] = {}
        self._backoffs: dict[NodeId, _Backoff] = {}

    def on_directory(self, namespace: str, roster: Roster | None) -> None:
        """The directory of a namespace now says this (None: it is gone)."""
        if roster is None:
            self._rosters.pop(namespace, None)
        else:
            self._rosters[namespace] = roster
        self._own_record = self.record_of(self._own_id)
        self._seats = tuple(
            _Seat(one, circle, one.ranks.get(self._own_id))
            for one in self._rosters.values()
            for circle in one.circles_of(self._own_id)
        )

    def on_dialing(self, node_id: NodeId, now: Instant) -> None:
        """A dial began."""
        self._dialing[node_id] = now

    def on_connected(self, link: LinkId, node_id: NodeId, now: Instant, *, is_dialer: bool) -> None:
        """A link is there; it replaces an older one to the same node."""
        self._dialing.pop(node_id, None)
        self._links[node_id] = link
        self._live[link] = _Liveness(is_dialer, now)

    def on_settled(self, link: LinkId, node_id: NodeId) -> None:
        """Of two links to a node this one stays: the loss of the other is no loss of the node."""
        self._links[node_id] = link

    def on_open(self, node_id: NodeId) -> None:
        """The link to a node passed the hello: its failures are forgotten."""
        self._backoffs.pop(node_id, None)

    def on_lost(self, link: LinkId | None, node_id: NodeId, now: Instant) -> None:
        """A link ended or a dial failed: the node is not dialled for a while."""
        self._dialing.pop(node_id, None)
        if link is not None:
            self._live.pop(link, None)
            if self._links.get(node_id) != link:
                return
            del self._links[node_id]
        failures = 1 + (self._backoffs[node_id].failures if node_id in self._backoffs else 0)
        wait = min(self._config.redial_min_ms << min(failures - 1, 16), self._config.redial_max_ms)
        self._backoffs[node_id] = _Backoff(failures, later(now, self._jittered(wait)))
        if len(self._backoffs) > FAILURES_MAX:
            del self._backoffs[next(iter(self._backoffs))]

    def _jittered(self, wait_ms: int) -> Duration:
        spread = max(1, wait_ms // JITTER_DIVISOR)
        return Duration(wait_ms - spread + self._rng.randrange(2 * spread + 1))

    def on_ping(self, link: LinkId, now: Instant) -> None:
        """The peer asked for, or gave, a sign of life."""
        live = self._live.get(link)
        if live is not None:
            live.heard_at = now

    def on_pong(self, link: LinkId, sequence: int, now: Instant) -> None:
        """The peer answered; only the newest question measures the round trip."""
        live = self._live.get(link)
        if live is None:
            return
        live.heard_at = now
        if sequence == live.sequence and live.asked_at is not None:
            live.rtt_ms = elapsed(live.asked_at, now)
            live.asked_at = None

    def next_ping(self, link: LinkId, now: Instant) -> int | None:
        """The sequence to ask with, for the side that dialled; None for the other."""
        live = self._live.get(link)
        if live is None or not live.is_dialer:
            return None
        live.sequence = (live.sequence + 1) & 0xFFFFFFFF
        live.asked_at = now
        return live.sequence

    def is_silent(self, link: LinkId, now: Instant) -> bool:
        """Whether nothing was heard on a link for longer than an interval and its answer may
        take."""
        live = self._live.get(link)
        return live is not None and elapsed(live.heard_at, now) > self._connections.silence_max_ms

    def next_ping_at(self, now: Instant) -> Instant:
        """When to look at a link again."""
        interval = self._connections.ping_interval_ms
        return later(
            now, Duration(interval - interval // 20 + self._rng.randrange(interval // 10 + 1))
        )

    def next_dial_at(self, now: Instant) -> Instant:
        """When to look for missing neighbours again: the first back-off to end, or a while."""
        ends = [
            self._backoffs[node_id].until
            for node_id in self._wanted()
            if node_id in self._backoffs and not self._may_dial(node_id, now)
        ]
        look_again = later(now, self._jittered(LOOK_AGAIN_MS))
        return min([look_again, *(one for one in ends if not is_due(one, now))])

    def next_dials(self, now: Instant) -> tuple[Candidate, ...]:
        """Whom to dial now, most useful first."""
        room = min(
            self._config.dials_max - len(self._dialing),
            self._config.links_max - len(self._links) - len(self._dialing),
        )
        if room <= 0:
            return ()
        wanted = [node_id for node_id in self._wanted() if self._may_dial(node_id, now)]
        return tuple(self._candidate(node_id) for node_id in wanted[:room])

    def _candidate(self, node_id: NodeId) -> Candidate:
        record = self.record_of(node_id)
        if record is not None and record.addresses:
            return Candidate(node_id, record.addresses)
        return Candidate(
            node_id, tuple(one.address for one in self._bootstrap if one.node_id == node_id)
        )

    def _may_dial(self, node_id: NodeId, now: Instant) -> bool:
        if node_id in self._links or node_id in self._dialing or node_id == self._own_id:
            return False
        backoff = self._backoffs.get(node_id)
        return backoff is None or is_due(backoff.until, now)

    def _wanted(self) -> list[NodeId]:
        """Missing neighbours: first those that heal the most audiences at once, ties by our own
        chance."""
        votes: dict[NodeId, int] = {}
        for seat in self._seats:
            for node_id in self._missing(seat):
                votes[node_id] = votes.get(node_id, 0) + 1
        votes.pop(self._own_id, None)
        if not self._links and not votes:
            return [one.node_id for one in self._bootstrap if one.node_id != self._own_id]
        if not self._links or not self._seats:
            # Until a directory lists us, only the control endpoint is shown all our claims, so a
            # node that met others first must not stop before it has met that one too.
            for one in self._bootstrap:
                if one.node_id not in self._links:
                    votes.setdefault(one.node_id, 0)
        ranked = [(-count, self._rng.getrandbits(32), node_id) for node_id, count in votes.items()]
        return [node_id for _, _, node_id in sorted(ranked)]

    def _missing(self, seat: _Seat) -> Sequence[NodeId]:
        """Of whom to dial one or more for the sake of an audience, this node itself among them."""
        members = seat.circle.members
        present = sum(seat.is_member(one) for one in (*self._links, *self._dialing))
        if seat.rank is None:
            return () if present >= THIN_LINKS else members
        if seat.others <= self._config.mesh_members_max:
            return members
        earlier = (one for one in self._links if seat.is_member(one) and seat.is_earlier(one))
        if seat.circle.members[0] != self._own_id and not any(True for _ in earlier):
            return [one for one in members if seat.is_earlier(one)]
        return members if present < self._config.quota_per_audience else ()

    def is_listed(self, node_id: NodeId, scope: ScopeId) -> bool:
        """Whether a held directory lists a node for a scope, as a member or because it stores for
        it."""
        return any(one.scope == scope and node_id in one.records for one in self._rosters.values())

    def audiences(self) -> tuple[Audience, ...]:
        """The declared audiences this node is a member of."""
        return tuple(seat.circle.audience for seat in self._seats)

    def record_of(self, node_id: NodeId) -> PeerRecord | None:
        """What a held directory says of a node. Cost: O(directories)."""
        found = (one.records.get(node_id) for one in self._rosters.values())
        return next((one for one in found if one is not None), None)

    def distance_to(self, record: PeerRecord) -> int:
        """How far a peer's failure domain is from ours: 0 same rack to 3 another region, or
        unknown."""
        return (
            UNKNOWN_DISTANCE
            if self._own_record is None
            else self._own_record.domain.distance(record.domain)
        )

    def link_of(self, node_id: NodeId) -> LinkId | None:
        """The link to a node, if there is one."""
        return self._links.get(node_id)

    def rtt_ms(self, link: LinkId) -> int | None:
        """Round trip of the newest answered ping."""
        live = self._live.get(link)
        return None if live is None else live.rtt_ms

    def heard_at(self, link: LinkId) -> Instant | None:
        """When a link last gave a sign of life."""
        live = self._live.get(link)
        return None if live is None else live.heard_at

    def snapshot(self) -> NeighborsSnapshot:
        """Counts for status."""
        records = [self.record_of(node_id) for node_id in self._links]
        domains = {record.domain for record in records if record is not None}
        target = max((self._quota(seat) for seat in self._seats), default=0)
        return NeighborsSnapshot(
            active=len(self._links), target=target, failure_domains=len(domains)
        )

    def _quota(self, seat: _Seat) -> int:
        is_mesh = seat.others <= self._config.mesh_members_max
        return seat.others if is_mesh else self._config.quota_per_audience

    def check(self) -> None:
        """Assert that links, dials and records agree."""
        assert self._own_id not in self._links
        assert not set(self._links) & set(self._dialing)
        assert all(link in self._live for link in self._links.values())
        assert len(self._backoffs) <= FAILURES_MAX
