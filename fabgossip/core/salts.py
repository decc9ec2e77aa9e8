"""Under which salt sets are held against those of peers: of the bundle in force, and of a day.

Decides: which salts a peer may use now, and which one this node uses on a link.
Keeps: a clock nobody trusts keeps no node from comparing, and what one peer says of the day is for
that peer alone.
Must not know: sets, what is compared.
"""

from typing import Final

from fabgossip.core.beliefs import Beliefs
from fabgossip.core.sessions import Session
from fabgossip.core.sets import Salt, salt_of
from fabgossip.model.messages import SaltId
from fabgossip.model.moment import Now

DAY_S: Final = 86_400
OVERLAP_S: Final = 900
"""Around the end of a day either day's salt is good for so long (*start*): clocks differ."""
DAYS_OFF_MAX: Final = 1
"""A node that does not trust its clock takes the day of who asks, if it is so near its own
(*start*). Nothing vouches for another: what is newly signed is refused by who is behind, and has
ended for who is ahead. So nobody makes it build sets of any day there is."""
AHEAD_S: Final = 3_600
"""So long before a day ends the sets of the next one are made."""


class Salts:
    """The salts of today."""

    __slots__ = ("_beliefs", "_own")

    def __init__(self, beliefs: Beliefs) -> None:
        self._beliefs = beliefs
        self._own = SaltId(beliefs.facts.bundle.bundle_version, 0)
        """As it was asked for last: mostly it is the same again."""

    def id_for(self, session: Session, now: Now) -> SaltId:
        """Under which this node compares on a link."""
        return self._id_of(self._today(session, now))

    def made(self, salt_id: SaltId) -> Salt:
        """The salt of an id of the bundle in force."""
        return salt_of(salt_id, self._beliefs.bundle_line()[1])

    def coming(self, now: Now) -> SaltId | None:
        """The one of tomorrow, once it is near."""
        if now.unix % DAY_S < DAY_S - AHEAD_S:
            return None
        own = self._id_of(now.unix // DAY_S)
        return SaltId(own.bundle_version, own.day + 1)

    def _today(self, session: Session, now: Now) -> int:
        """The day as the other end of a link has it, where this node does not trust its clock: what
        one peer says of it is for that peer alone."""
        own, asked = now.unix // DAY_S, session.asked_day
        if asked is None or not self.is_suspect or abs(asked - own) > DAYS_OFF_MAX:
            return own
        return asked

    @property
    def is_suspect(self) -> bool:
        """Whether this node does not trust its clock."""
        return self._beliefs.facts.freshness.is_clock_suspect

    def _id_of(self, day: int) -> SaltId:
        version = self._beliefs.facts.bundle.bundle_version
        if self._own.bundle_version != version or self._own.day != day:
            self._own = SaltId(version, day)
        return self._own

    def salt(self, salt_id: SaltId, now: Now) -> Salt | None:
        """The salt of an id, if a peer may use it now."""
        if salt_id not in self.good_ids(now):
            return None
        return self.made(salt_id)

    def good_ids(self, now: Now) -> tuple[SaltId, ...]:
        """Those a peer may use now, the own one first. Asked for at every ping."""
        own, second = self._id_of(now.unix // DAY_S), now.unix % DAY_S
        if self.is_suspect:
            near = range(own.day - DAYS_OFF_MAX, own.day + DAYS_OFF_MAX + 1)
            return (own, *(SaltId(own.bundle_version, day) for day in near if day != own.day))
        if OVERLAP_S <= second < DAY_S - OVERLAP_S:
            return (own,)
        days = [own.day]
        if second < OVERLAP_S:
            days.append(own.day - 1)
        if second >= DAY_S - OVERLAP_S:
            days.append(own.day + 1)
        return tuple(SaltId(own.bundle_version, day) for day in days)
