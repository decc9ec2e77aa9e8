"""Whom to be connected to: neighbours chosen from the signed directories, and the liveness of our
own links.

Decides: whom to dial and when to try again; whether a link is still alive.
Keeps: everybody dialled is listed in a held directory or named by the configuration; nothing about
membership or death is told to anybody; with equal directories every declared audience is
connected, because each member but the first keeps a link to an earlier one.
Must not know: what is sent over a link, what was admitted.

- The order of members is (core before full, then SHA-256 of cluster and node id): the same on
  all nodes.
- Up to `mesh_members_max` members everybody links to everybody; above, each keeps
  `quota_per_audience` links and at least one to an earlier member. Thin nodes are in nobody's
  quota and link to two earlier ones.
"""

from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import Final

from fabgossip.core.config import ConnectionsConfig, NeighborsConfig
from fabgossip.core.events import LinkId
from fabgossip.model.ids import ClusterId, NodeId
from fabgossip.model.moment import Duration, Instant, elapsed, is_due, later
from fabgossip.model.scope import Audience, ScopeId
from fabgossip.model.topology import Endpoint, FailureDomain, PeerClass, PeerDirectory, PeerRecord

THIN_LINKS: Final = 2
LOOK_AGAIN_MS: Final = 8_000
"""Missing neighbours are looked for this often although nothing happened (*start*)."""
FAR: Final = 3
"""Distance of another region."""
NOWHERE: Final = 4
"""Distance of who stands in a place that no held directory tells, or if ours is not known."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Circle:
    """One declared audience of which this node is a member: its other members in order."""

    audience: Audience
    before: tuple[NodeId, ...]
    after: tuple[NodeId, ...]

    @property
    def members(self) -> tuple[NodeId, ...]:
        return self.before + self.after


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighborsSnapshot:
    """Counts for status."""

    active: int
    target: int
    failure_domains: int


class Neighbors:
    """The view of this node: directories held, links open, who to dial next."""

    __slots__ = (
        "_backoffs", "_bootstrap", "_circles", "_cluster_id", "_config", "_connections",
        "_dialing", "_directories", "_links", "_live", "_own_class", "_own_domain", "_own_id",
        "_records", "_rng", )  # fmt: skip

    def __init__(
        self,
        own_id: NodeId,
        cluster_id: ClusterId,
        configs: tuple[NeighborsConfig, ConnectionsConfig],
        bootstrap: tuple[Endpoint, ...],
        rng: Random,
    ) -> None:
        self._own_id = own_id
        self._cluster_id = cluster_id
        self._config, self._connections = configs
        self._bootstrap = bootstrap
        self._rng = rng
        self._directories: dict[str, PeerDirectory] = {}
        self._records: dict[NodeId, PeerRecord] = {}
        self._circles: tuple[_Circle, ...] = ()
        self._own_class = PeerClass.FULL
        self._own_domain: FailureDomain | None = None
        self._links: dict[NodeId, LinkId] = {}
        self._live: dict[LinkId, _Liveness] = {}
        self._dialing: dict[NodeId, Instant] = {}
        self._backoffs: dict[NodeId, _Backoff] = {}

    def on_directory(self, namespace: str, directory: PeerDirectory | None) -> None:
        """The directory of a namespace is now this one (None: gone)."""
        if directory is None:
            self._directories.pop(namespace, None)
        else:
            self._directories[namespace] = directory
        self._records = {}
        for one in self._directories.values():
            for peer in one.peers:
                self._records.setdefault(peer.node_id, peer)
        own = self._records.pop(self._own_id, None)
        self._own_class = PeerClass.FULL if own is None else own.peer_class
        self._own_domain = None if own is None else own.domain
        self._circles = tuple(
            circle for one in self._directories.values() for circle in self._circles_of(one)
        )

    def _circles_of(self, directory: PeerDirectory) -> list[_Circle]:
        own = next((peer for peer in directory.peers if peer.node_id == self._own_id), None)
        if own is None:
            return []
        own_key = self._place(own)
        circles = []
        for index in own.audiences:
            others = [
                peer
                for peer in directory.peers
                if peer is not own
                and peer.peer_class is not PeerClass.THIN
                and index in peer.audiences
            ]
            placed = sorted((self._place(peer), peer.node_id) for peer in others)
            circles.append(
                _Circle(
                    audience=directory.audiences[index],
                    before=tuple(node_id for place, node_id in placed if place < own_key),
                    after=tuple(node_id for place, node_id in placed if place > own_key),
                )
            )
        return circles

    def _place(self, peer: PeerRecord) -> tuple[bool, bytes]:
        text = f"fabgossip order\x00{self._cluster_id}\x00{peer.node_id}"
        return peer.peer_class is not PeerClass.CORE, sha256(text.encode("ascii")).digest()

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
        if len(self._backoffs) > len(self._records) + len(self._bootstrap) + self._config.links_max:
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
        record = self._records.get(node_id)
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
        for circle in self._circles:
            for node_id in self._missing(circle):
                votes[node_id] = votes.get(node_id, 0) + 1
        if not self._links and not votes:
            return [one.node_id for one in self._bootstrap if one.node_id != self._own_id]
        if not self._links or not self._circles:
            # Until a directory lists us, only the control endpoint is shown all our claims, so a
            # node that met others first must not stop before it has met that one too.
            for one in self._bootstrap:
                if one.node_id not in self._links:
                    votes.setdefault(one.node_id, 0)
        ranked = [(-count, self._rng.getrandbits(32), node_id) for node_id, count in votes.items()]
        return [node_id for _, _, node_id in sorted(ranked)]

    def _missing(self, circle: _Circle) -> tuple[NodeId, ...]:
        present = [
            node_id
            for node_id in circle.members
            if node_id in self._links or node_id in self._dialing
        ]
        if self._own_class is PeerClass.THIN:
            return () if len(present) >= THIN_LINKS else circle.members
        if len(circle.members) <= self._config.mesh_members_max:
            return circle.members
        if circle.before and not any(node_id in self._links for node_id in circle.before):
            return circle.before
        return circle.members if len(present) < self._config.quota_per_audience else ()

    def is_listed(self, node_id: NodeId, scope: ScopeId) -> bool:
        """Whether a held directory lists a node for a scope, as a member or because it stores for
        it."""
        return any(
            one.scope == scope and any(peer.node_id == node_id for peer in one.peers)
            for one in self._directories.values()
        )

    def audiences(self) -> tuple[Audience, ...]:
        """The declared audiences this node is a member of."""
        return tuple(circle.audience for circle in self._circles)

    def record_of(self, node_id: NodeId) -> PeerRecord | None:
        """What a held directory says of a node."""
        return self._records.get(node_id)

    def domain_of(self, node_id: NodeId) -> FailureDomain | None:
        """Where a held directory places a node."""
        record = self._records.get(node_id)
        return None if record is None else record.domain

    def distance_to(self, domain: FailureDomain | None) -> int:
        """How far a failure domain is from ours: 0 same rack, 1 same zone, 2 same region, `FAR`,
        `NOWHERE`."""
        if self._own_domain is None or domain is None:
            return NOWHERE
        return self._own_domain.distance(domain)

    def addresses_of(self, node_id: NodeId) -> tuple[str, ...]:
        """Where a node is dialled, by a held directory or the configuration; none: nowhere."""
        return self._candidate(node_id).addresses

    def is_member(self, node_id: NodeId) -> bool:
        """Whether a node shares a declared audience with us: a link to it is more than a visit.
        Before a directory lists us, every link is."""
        return not self._circles or any(node_id in circle.members for circle in self._circles)

    def may_visit(self) -> bool:
        """Whether the links this node opens by itself leave room for one more, dials under way
        included."""
        dialed = sum(live.is_dialer for live in self._live.values())
        return dialed + len(self._dialing) < self._config.links_max

    def room_to_dial(self) -> int:
        """How many more dials may be under way now."""
        dialed = sum(live.is_dialer for live in self._live.values())
        dialing = len(self._dialing)
        room = min(self._config.dials_max, self._config.links_max - dialed) - dialing
        return max(0, room)

    def is_dialing(self, node_id: NodeId) -> bool:
        """Whether a node is being dialled."""
        return node_id in self._dialing

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
        domains = {
            self._records[node_id].domain for node_id in self._links if node_id in self._records
        }
        wanted = {node_id for circle in self._circles for node_id in circle.members}
        target = min(len(wanted), max((self._quota(circle) for circle in self._circles), default=0))
        return NeighborsSnapshot(
            active=len(self._links), target=target, failure_domains=len(domains)
        )

    def _quota(self, circle: _Circle) -> int:
        count = len(circle.members)
        return count if count <= self._config.mesh_members_max else self._config.quota_per_audience

    def check(self) -> None:
        """Assert that links, dials and records agree."""
        assert self._own_id not in self._links
        assert not set(self._links) & set(self._dialing)
        assert all(link in self._live for link in self._links.values())
        assert self._own_id not in self._records
