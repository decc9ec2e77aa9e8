"""Whom to be connected to: neighbours chosen from the signed directories, guests, dials.

Decides: nothing its parts do not decide: `Directories` (who there is), `Company` (who is a
neighbour), `Dialing` (whom to dial), `Liveness` (who is still there); says which link to end.
Keeps: every neighbour shares a declared audience with this node by a held directory, or the
cluster's does not list this node yet; nothing about membership or death is told to anybody; what is
kept follows the neighbours, not the directory.
Must not know: what is sent over a link, what was admitted.

The rules are those of `core/rules.py`, the choice that of `core/choice.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from fabgossip.core.admission import APART_S
from fabgossip.core.choice import Choice
from fabgossip.core.company import Company, Reply
from fabgossip.core.config import ConnectionsConfig, NeighborsConfig
from fabgossip.core.dialing import Candidate, Dialing
from fabgossip.core.directories import Directories
from fabgossip.core.events import LinkId, LostReason
from fabgossip.core.failures import Failures
from fabgossip.core.far import Far
from fabgossip.core.liveness import Liveness
from fabgossip.core.losses import DownNode, Losses
from fabgossip.core.rosters import Roster, zone_of
from fabgossip.core.rules import THIN_LINKS, Rule
from fabgossip.core.seats import Seat
from fabgossip.core.ties import Standing, Tie
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import ByeReason, Message, NeighborAsk, Ping, Pong
from fabgossip.model.moment import Duration, Instant, elapsed, is_due, later
from fabgossip.model.scope import Audience, ScopeId
from fabgossip.model.topology import Endpoint, FailureDomain, PeerRecord

GUEST_IDLE: Final = Duration(60_000)
"""A guest that is good for nothing goes after so long (*start*)."""


@dataclass(frozen=True, slots=True)
class Parting:
    """A link to end, and what to say."""

    link: LinkId
    bye: ByeReason
    lost: LostReason
    retry_after_s: int


@dataclass(frozen=True, slots=True)
class EndedLink:
    """Why a link ended, and how long ago."""

    node_id: NodeId
    reason: str
    ago_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighborsSnapshot:
    """Counts for status."""

    active: int
    """Links to neighbours, and those that are not open yet."""
    target: int
    failure_domains: int
    zones: int
    """In how many zones the neighbours stand."""
    zones_there: int
    """In how many zones the members of the widest audience do; 0 for a thin node, which is content
    with whom it has."""
    guests: int
    suspects: int
    last_ended: EndedLink | None
    """Of all links, those that were not open yet among them."""
    down: tuple[DownNode, ...] = ()
    """Who is dialled again and again, or will be, the newest loss first."""


class Neighbors:
    """The view of this node: directories held, links, who to dial, ask and let go next."""

    __slots__ = (
        "_company", "_config", "_dialing", "_directories", "_ended", "_failures", "_far",
        "liveness", "losses",
    )  # fmt: skip

    def __init__(
        self,
        own_id: NodeId,
        configs: tuple[NeighborsConfig, ConnectionsConfig],
        bootstrap: tuple[Endpoint, ...],
        rng: Random,
    ) -> None:
        self._ended: tuple[NodeId, str, Instant] | None = None
        self._config, connections = configs
        self._directories = Directories(own_id)
        self._failures = Failures(self._config, lambda: self._directories.public_count, rng)
        self._far = Far(self._config, self._directories, rng)
        self.liveness = Liveness(connections, rng)
        self.losses = Losses()
        choice, memory = Choice(self._config, self._directories, rng), (self._failures, self._far)
        self._company = Company(self._config, self._directories, memory, self.liveness, choice)
        self._dialing = Dialing(
            self._config, self._directories, memory, self._company, choice, bootstrap, rng
        )

    def on_directory(self, namespace: str, roster: Roster | None) -> None:
        """The directory of a namespace now says this (None: it is gone)."""
        self._directories.on_directory(namespace, roster)
        self._far.on_directory()
        for tie in self._company.ties.all():
            self._judge(tie)

    def on_directory_expired(self, namespace: str) -> None:
        """The directory of a namespace is past its time: it says as before who there is, and
        nobody is shown anything for it."""
        self._directories.on_expired(namespace)

    def _judge(self, tie: Tie) -> None:
        is_thin = self.is_thin or self._directories.is_thin(tie.node_id)
        self.liveness.on_thin(tie.link, is_thin=is_thin)
        self._company.judge(tie)

    def begin_visit(self, node_id: NodeId) -> bool:
        """Whether a node has to be dialled to be asked: its link is not about to open, and no dial
        is under way. That one is from now on."""
        if self.link_of(node_id) is not None or self.is_dialing(node_id):
            return False
        self._dialing.on_dialing(node_id, is_visit=True)
        return True

    def is_visit(self, node_id: NodeId) -> bool:
        """Whether a dial under way began for what is wanted alone."""
        return self._dialing.is_visit(node_id)

    def on_dialing(self, node_id: NodeId) -> None:
        """A dial for company began."""
        self._dialing.on_dialing(node_id, is_visit=False)

    def on_connected(self, link: LinkId, node_id: NodeId, now: Instant, *, is_dialer: bool) -> None:
        """A link is there; an older one to the same node counts until this one says hello."""
        if is_dialer:
            self._dialing.on_dialed(node_id)
        self.liveness.on_connected(link, node_id, now, is_dialer=is_dialer)
        self._company.ties.on_connected(Tie(link, node_id, is_dialer, now))

    def on_settled(self, link: LinkId, node_id: NodeId) -> None:
        """A link said hello, and of all to its node is the one that stays: the loss of another is
        no loss of the node."""
        self._company.ties.on_settled(link, node_id)

    def on_open(self, link: LinkId, now: Instant) -> None:
        """A link passed the hello."""
        tie = self._company.ties.find(link)
        assert tie is not None
        tie.is_open, tie.used_at, tie.opened_at = True, now, now
        self._dialing.on_open(tie, now)
        self.losses.on_open(tie.node_id)
        self._judge(tie)

    def next_crowded(self, fresh: LinkId, is_busy: Callable[[LinkId], bool]) -> LinkId | None:
        """Who has to go for a link that just opened, if there are too many guests now."""
        return self._company.next_crowded(fresh, is_busy)

    def on_lost(
        self, link: LinkId | None, node_id: NodeId, reason: LostReason, now: Instant
    ) -> None:
        """A link ended or a dial failed: the node is not dialled for a while, unless another link
        to it is there."""
        if link is None:
            self._dialing.on_dialed(node_id)
            is_lost = node_id not in self._company.ties
        else:
            self.liveness.on_lost(link)
            is_lost = self._company.ties.on_lost(link)
        if is_lost:
            self._dialing.on_failed(node_id, reason, now, was_linked=link is not None)

    def on_ended(self, node_id: NodeId, reason: str, now: Instant) -> None:
        """A link is gone, for this reason."""
        self._ended = (node_id, reason, now)

    def on_told(self, node_id: NodeId, retry_after_s: int, now: Instant) -> None:
        """A peer that ended a link said when to come back."""
        self._failures.on_told(node_id, retry_after_s, now)

    def on_heard(self, link: LinkId, message: Message, now: Instant) -> None:
        """A link brought a sign of life, or something of use."""
        self.liveness.on_heard(link, now)
        tie = self._company.ties.find(link)
        if isinstance(message, Ping | Pong):
            self.liveness.on_sign(link, now)
        elif tie is not None:
            tie.used_at = now

    def on_ask(self, link: LinkId, ask: NeighborAsk, now: Instant) -> Reply:
        """A peer wants to be a neighbour; a yes makes it one."""
        return self._company.on_ask(link, ask, now)

    def on_answer(self, link: LinkId, retry_after_s: int, now: Instant, *, is_yes: bool) -> bool:
        """A peer answered; whether it is a neighbour only from now on."""
        return self._company.on_answer(link, retry_after_s, now, is_yes=is_yes)

    def next_asks(self, now: Instant) -> tuple[tuple[LinkId, NeighborAsk], ...]:
        """Whom of those linked to ask now."""
        return self._company.next_asks(now)

    def next_dials(self, now: Instant) -> tuple[Candidate, ...]:
        """Whom to dial now, most useful first."""
        return self._dialing.next_dials(now)

    def next_dial_at(self, now: Instant) -> Instant:
        """When to look for missing neighbours again, or to ask whom we visit to be one."""
        asks_at, dials_at = self._company.next_ask_at(now), self._dialing.next_dial_at(now)
        return dials_at if asks_at is None else min(asks_at, dials_at)

    def next_partings(self, is_busy: Callable[[LinkId], bool], now: Instant) -> tuple[Parting, ...]:
        """Whom to let go now: guests with nothing to do, and one neighbour too many."""
        partings = [
            Parting(tie.link, ByeReason.VISIT_OVER, LostReason.VISIT_OVER, 0)
            for tie in self._company.guests()
            if is_due(later(tie.used_at, GUEST_IDLE), now) and not is_busy(tie.link)
        ]
        gone = self._company.next_surplus(now)
        if gone is not None:
            partings.append(Parting(gone.link, ByeReason.EVICTED, LostReason.EVICTED, APART_S))
        return tuple(partings)

    @property
    def is_thin(self) -> bool:
        """Whether a directory says that this node passes nothing on."""
        return self._directories.is_thin(self._directories.own_id)

    @property
    def is_public(self) -> bool:
        """Whether the cluster's own directory lists this node."""
        return self._directories.is_public(self._directories.own_id)

    def is_neighbor(self, link: LinkId) -> bool:
        """Whether a link is one between neighbours."""
        tie = self._company.ties.find(link)
        return tie is not None and tie.standing is Standing.NEIGHBOR

    def is_listed(self, node_id: NodeId, scope: ScopeId) -> bool:
        """Whether a held directory in time lists a node for a scope, as a member or because it
        stores for it."""
        return self._directories.is_listed(node_id, scope)

    def audiences(self) -> tuple[Audience, ...]:
        """The declared audiences this node is a member of."""
        return tuple(seat.circle.audience for seat in self._directories.seats)

    def record_of(self, node_id: NodeId) -> PeerRecord | None:
        """What a held directory says of a node. Cost: O(directories)."""
        return self._directories.record_of(node_id)

    def domain_of(self, node_id: NodeId) -> FailureDomain | None:
        """Where a held directory places a node."""
        record = self._directories.record_of(node_id)
        return None if record is None else record.domain

    def distance_to(self, domain: FailureDomain | None) -> int:
        """How far a failure domain is from ours: 0 same rack, 1 same zone, 2 same region, `FAR`,
        `NOWHERE`."""
        return self._directories.distance_to(domain)

    def addresses_of(self, node_id: NodeId) -> tuple[str, ...]:
        """Where a node is dialled, by a held directory or the configuration; none: nowhere."""
        return self._dialing.candidate(node_id).addresses

    def link_of(self, node_id: NodeId) -> LinkId | None:
        """The link to a node, if there is one."""
        tie = self._company.ties.of(node_id)
        return None if tie is None else tie.link

    def is_dialing(self, node_id: NodeId) -> bool:
        """Whether a node is being dialled."""
        return self._dialing.is_under_way(node_id)

    def may_visit(self) -> bool:
        """Whether the links this node opens by itself leave room for one more visit, dials under
        way included."""
        return self._dialing.visits_left() > 0

    def room_to_dial(self) -> int:
        """How many more visits may be dialled now."""
        return max(0, self._dialing.visits_now())

    def open_rules(self) -> tuple[Rule, ...]:
        """The rules the live neighbours there are do not meet."""
        return self._company.open_rules()

    def snapshot(self, now: Instant) -> NeighborsSnapshot:
        """Counts for status."""
        ended = None
        if self._ended is not None:
            node_id, reason, at = self._ended
            ended = EndedLink(node_id, reason, elapsed(at, now))
        neighbors, widest = self._company.neighbors(), self._directories.widest
        records = [self.record_of(tie.node_id) for tie in neighbors]
        return NeighborsSnapshot(
            active=len(self._company.ties) - len(self._company.guests()),
            target=max((self._wanted(seat) for seat in self._directories.seats), default=0),
            failure_domains=len({one.domain for one in records if one is not None}),
            zones=len({zone_of(one.domain) for one in records if one is not None}),
            zones_there=0 if widest is None or widest.rank is None else len(widest.circle.zones),
            guests=len(self._company.guests()),
            suspects=sum(self.liveness.is_suspect(tie.link) for tie in neighbors),
            last_ended=ended,
            down=tuple(self.losses.down(lambda one: self._dials_at(one, now), self._address, now)),
        )

    def _dials_at(self, node_id: NodeId, now: Instant) -> Instant | None:
        if node_id in self._company.ties:
            return None
        return now if self.is_dialing(node_id) else self._failures.dials_at(node_id)

    def _address(self, node_id: NodeId) -> str:
        return next(iter(self.addresses_of(node_id)), "")

    def _wanted(self, seat: Seat) -> int:
        if seat.rank is None:
            return min(THIN_LINKS, seat.others)
        if seat.others <= self._config.mesh_members_max:
            return seat.others
        return min(max(self._config.links_min, self._config.quota_per_audience), seat.others)

    def check(self) -> None:
        """Assert that links, dials and limits agree."""
        self._company.check()
        self._dialing.check()
        self.losses.check()
        assert self._directories.own_id not in self._company.ties
