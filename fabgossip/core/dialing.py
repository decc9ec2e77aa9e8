"""Dials: how many, whom, and when to try again.

Decides: whom to dial now, when to look again.
Keeps: a member that lacks a live neighbour before it never stops looking for one; no more dials
at once, and no more links of our own, than configured: visits to fetch something are among them,
and leave some for neighbours, as these do for those that are sought.
Must not know: what becomes of a link once it is open.

- *Seek*: as long as no live neighbour stands before this node in an audience where somebody does,
  three that do are dialled every 8 s, whatever failed before. A fabric cut in two settles to one
  seeker per audience and part, so it heals without anybody being told.
- Members of an organisation that the cluster's directory does not list hear what is for everybody
  over those that it lists. Where none of these is left, the first of the others visits them.
- A part of the fabric out of reach for a minute is dialled anew once the first link into it opens.
"""

from dataclasses import dataclass
from random import Random
from typing import Final

from fabgossip.core.choice import Choice, Scene
from fabgossip.core.company import Company
from fabgossip.core.config import NeighborsConfig
from fabgossip.core.directories import Directories
from fabgossip.core.events import LostReason
from fabgossip.core.failures import JITTER_DIVISOR, Failures, jittered
from fabgossip.core.far import Far
from fabgossip.core.rosters import Zone
from fabgossip.core.rules import DIALED_MIN, Present, open_rules
from fabgossip.core.ties import Tie
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Duration, Instant, elapsed, is_due, later
from fabgossip.model.topology import Endpoint

LOOK_AGAIN_MS: Final = 8_000
"""Missing neighbours are looked for this often although nothing happened (*start*)."""
SEEK_MS: Final = 8_000
SEEK_DIALS: Final = 3
SEEK_JITTER_DIVISOR: Final = 10
"""Members that stand before this node are sought so often, so many at once (*start*)."""
VISITS_SPARE: Final = DIALED_MIN + SEEK_DIALS
"""Of the links this node may open by itself visits leave so many (*start*)."""
SPARED_SHARE: Final = 4
"""And who leaves some for others, one in so many at most (*start*)."""
LONELY: Final = 2
"""With fewer links than this twice as many dials may be under way."""
DARK: Final = Duration(60_000)
DARK_MAX: Final = 256
"""Parts of the fabric remembered as out of reach (*start*)."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody to dial."""

    node_id: NodeId
    addresses: tuple[str, ...]


class Dialing:
    """The dials under way, and what is remembered of those before."""

    __slots__ = (
        "_bootstrap", "_choice", "_company", "_config", "_dark", "_directories", "_failures",
        "_far", "_is_short", "_rng", "_seek_at", "_under_way",
    )  # fmt: skip

    def __init__(
        self,
        config: NeighborsConfig,
        directories: Directories,
        memory: tuple[Failures, Far],
        company: Company,
        choice: Choice,
        bootstrap: tuple[Endpoint, ...],
        rng: Random,
    ) -> None:
        self._config = config
        self._directories = directories
        self._failures, self._far = memory
        self._company = company
        self._choice = choice
        self._bootstrap = bootstrap
        self._rng = rng
        self._under_way: dict[NodeId, bool] = {}
        """The dials, and whether one began for what is wanted alone."""
        self._seek_at: Instant | None = None
        self._dark: dict[Zone, Instant] = {}
        self._is_short = False
        """Whether somebody is missing who could not be dialled."""

    def on_dialing(self, node_id: NodeId, *, is_visit: bool) -> None:
        """A dial began; `is_visit`: for what is wanted, and not for company."""
        self._under_way[node_id] = is_visit

    def on_dialed(self, node_id: NodeId) -> None:
        """A dial is over. A link its node made meanwhile ends it not: it runs, and counts, until
        it is there itself or failed."""
        self._under_way.pop(node_id, None)

    def on_open(self, tie: Tie, now: Instant) -> None:
        """A link passed the hello: what failed before is over, for all that were cut off with its
        peer."""
        tie.rests_until = self._failures.on_open(tie.node_id, now)
        reach = self._directories.reach_of(tie.node_id)
        since = None if reach is None else self._dark.pop(reach, None)
        if since is not None and elapsed(since, now) >= DARK:
            self._failures.forget(lambda one: self._directories.reach_of(one) == reach, now)
            self._far.draw_soon(now)

    def on_failed(
        self, node_id: NodeId, reason: LostReason, now: Instant, *, was_linked: bool
    ) -> None:
        """A link ended, or a dial came to nothing."""
        is_identity = reason is LostReason.IDENTITY
        self._failures.on_failed(node_id, now, is_identity=is_identity, was_linked=was_linked)
        self._far.on_lost(node_id)
        reach = self._directories.reach_of(node_id)
        if reach is None or any(
            self._directories.reach_of(tie.node_id) == reach for tie in self._company.ties.counted()
        ):
            return
        self._dark.setdefault(reach, now)
        if len(self._dark) > DARK_MAX:
            del self._dark[next(iter(self._dark))]

    def next_dials(self, now: Instant) -> tuple[Candidate, ...]:
        """Whom to dial now, most useful first."""
        room = self._room(0)
        if room <= 0:
            return ()
        found = self._sought(now)[:room]
        room = max(len(found), min(room, self._links_left(SEEK_DIALS)))
        self._far.draw(lambda one: self._may_be_far(one, now), now)
        present = self._present(found)
        scene = Scene(
            present=present,
            far=self._far.target,
            may_take=lambda one: one not in found and self._may_dial(one, now),
            has_failed=lambda one: self._failures.has_failed(one, now),
        )
        found += [pick.node_id for pick in self._choice.picks(scene, room - len(found))]
        rules = open_rules(
            self._directories.seats, self._present(found), self._far.target, self._config
        )
        self._is_short = bool(rules) or self._needs_door()
        if self._needs_door():
            doors = [one.node_id for one in self._bootstrap if one.node_id not in found]
            found += [one for one in doors if self._may_dial(one, now)]
        return tuple(self.candidate(node_id) for node_id in found[:room])

    def _needs_door(self) -> bool:
        """Whether nodes named by the configuration are dialled. Until a directory lists us, only
        the control endpoint is shown all our claims, so a node that met others first must not stop
        before it has met that one too."""
        return not len(self._company.ties) or not self._directories.seats

    def is_visit(self, node_id: NodeId) -> bool:
        """Whether a dial under way began for what is wanted alone."""
        return self._under_way.get(node_id, False)

    def is_under_way(self, node_id: NodeId) -> bool:
        """Whether a node is being dialled."""
        return node_id in self._under_way

    def visits_left(self) -> int:
        """How many more nodes this one may visit, dials under way included."""
        return self._links_left(VISITS_SPARE)

    def visits_now(self) -> int:
        """How many more visits may be dialled now."""
        return self._room(VISITS_SPARE)

    def _links_left(self, spared: int) -> int:
        dialed = sum(tie.is_dialer for tie in self._company.ties.counted())
        spared = min(spared, self._config.links_max // SPARED_SHARE)
        return self._config.links_max - spared - dialed - len(self._under_way)

    def _room(self, spared: int) -> int:
        dials = self._config.dials_max * (2 if len(self._company.ties) < LONELY else 1)
        return min(dials - len(self._under_way), self._links_left(spared))

    def _present(self, found: list[NodeId]) -> tuple[Present, ...]:
        """Neighbours, and who is about to be one."""
        counted = [
            self._company.presence(tie)
            for tie in self._company.ties.counted()
            if self._company.counts(tie) or not tie.is_open
        ]
        zone_of = self._directories.zone_of
        dialed = [one for one in self._under_way if one not in self._company.ties]
        coming = [Present(one, zone_of(one), is_dialed=True) for one in (*dialed, *found)]
        return (*counted, *coming)

    def _is_free(self, node_id: NodeId) -> bool:
        is_linked = node_id in self._company.ties or node_id in self._under_way
        return not is_linked and node_id != self._directories.own_id

    def _may_dial(self, node_id: NodeId, now: Instant) -> bool:
        return self._is_free(node_id) and self._failures.may_dial(node_id, now)

    def _may_be_far(self, node_id: NodeId, now: Instant) -> bool:
        return node_id != self._directories.own_id and self._failures.may_dial(node_id, now)

    def _sought(self, now: Instant) -> list[NodeId]:
        """Members that stand before this node, where none of them is a live neighbour."""
        live = [one.node_id for one in self._company.neighbors() if self._company.counts(one)]
        lacking = [
            seat
            for seat in self._directories.seats
            if seat.earlier and not any(seat.is_earlier(one) for one in live)
        ]
        is_cut_off = self._is_cut_off(live)
        if not lacking and not is_cut_off:
            self._seek_at = None
            return []
        if self._seek_at is not None and not is_due(self._seek_at, now):
            return []
        is_first = self._seek_at is None
        self._seek_at = later(now, jittered(SEEK_MS, self._rng, SEEK_JITTER_DIVISOR))
        if is_first:
            return []
        drawn = {
            node_id: None
            for seat in lacking
            for node_id in self._choice.drawn(seat.circle.members, seat.earlier)
            if self._is_free(node_id) and self._failures.may_seek(node_id, now)
        }
        if is_cut_off:
            drawn |= dict.fromkeys(self._doors(now))
        return self._rng.sample(list(drawn), min(SEEK_DIALS, len(drawn)))

    def _is_cut_off(self, live: list[NodeId]) -> bool:
        """Whether nobody between this node and those the cluster's directory lists is left: it is
        not listed itself, is the first one alive in all its audiences, and has no link to any that
        is."""
        if self._directories.is_settled or not self._directories.seats:
            return False
        is_led = any(seat.is_earlier(one) for seat in self._directories.seats for one in live)
        is_linked = any(
            tie.is_open and self._directories.is_public(tie.node_id)
            for tie in self._company.ties.counted()
        )
        return not is_led and not is_linked

    def _doors(self, now: Instant) -> list[NodeId]:
        """Whom to visit for what is for everybody."""
        core = self._directories.public_core()
        names = dict.fromkeys(
            (*self._choice.drawn(core, len(core)), *(one.node_id for one in self._bootstrap))
        )
        return [one for one in names if self._is_free(one) and self._failures.may_seek(one, now)]

    def candidate(self, node_id: NodeId) -> Candidate:
        """Where a node is dialled, by a held directory or the configuration."""
        record = self._directories.record_of(node_id)
        if record is not None and record.addresses:
            return Candidate(node_id, record.addresses)
        return Candidate(
            node_id, tuple(one.address for one in self._bootstrap if one.node_id == node_id)
        )

    def next_dial_at(self, now: Instant) -> Instant:
        """When to look for missing neighbours again."""
        times = [later(now, jittered(LOOK_AGAIN_MS, self._rng, JITTER_DIVISOR))]
        end = self._failures.next_end(now) if self._is_short else None
        times += [one for one in (self._seek_at, self._far.at, end) if one is not None]
        return min(one for one in times if not is_due(one, now))

    def check(self) -> None:
        """Assert the limits, and that this node does not dial itself."""
        self._failures.check()
        assert len(self._dark) <= DARK_MAX
        assert self._directories.own_id not in self._under_way
