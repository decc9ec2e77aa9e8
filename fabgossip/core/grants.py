"""How often each fetch grant was used, and the requests that wait for that to be durable.

Decides: whether a grant has a use left.
Keeps: a use is durable before anything rests on it; a use is remembered until the grant has ended,
also by this node's own monotonic clock, so a clock stepped back extends nothing. A restart ends
every grant used before it: that clock's reading is lost, and the wall clock may have been stepped.
Must not know: what a grant allows, who signed it.
"""

from dataclasses import dataclass
from typing import Final

from fabgossip.core.events import LinkId, Token
from fabgossip.model.authority import FetchGrant
from fabgossip.model.messages import GetContent
from fabgossip.model.moment import (
    Duration,
    Instant,
    Now,
    is_due,
    is_past,
    later,
    seconds_after,
    seconds_between,
)
from fabgossip.model.persistence import PutGrantUse, StoredGrantUse
from fabgossip.trust.rejections import Rejection, RejectionCode

GRANTS_MAX: Final = 65_536
"""Grants remembered (*start*): beyond, new ones are refused; old ones are never forgotten early."""
REMEMBERED_S: Final = 120
"""How long after its end a grant is remembered: the tolerance between two clocks."""


@dataclass(frozen=True, slots=True)
class Granted:
    """A request that waits for the use of its grant to be durable."""

    link: LinkId
    stream: int
    message: GetContent


def ends_at(grant: FetchGrant, now: Now) -> Instant:
    """When a grant met now ends by the clock that nobody steps."""
    life_s = max(0, seconds_between(now.unix, grant.expires_at))
    return later(now.instant, Duration(life_s * 1_000))


class GrantUses:
    """The grants used."""

    __slots__ = ("_deadlines", "_rows", "_waiting")

    def __init__(self) -> None:
        self._rows: dict[bytes, PutGrantUse] = {}
        self._deadlines: dict[bytes, Instant] = {}
        """When a grant ends by the clock that nobody steps."""
        self._waiting: dict[Token, Granted] = {}

    def on_started(self, rows: tuple[StoredGrantUse, ...]) -> None:
        """What the disk remembers."""
        for row in rows:
            self._rows[row.grant_id] = PutGrantUse(
                grant_id=row.grant_id, uses=row.uses, forget_at=row.forget_at
            )

    def next_use(self, grant: FetchGrant, now: Now) -> PutGrantUse | Rejection:
        """One more use of a grant, to be made durable; GRANT_INVALID if none is left."""
        self._forget(now)
        row = self._rows.get(grant.grant_id)
        if row is None and len(self._rows) >= GRANTS_MAX:
            return _refused("too many grants are in use")
        deadline = self._deadlines.get(grant.grant_id)
        if row is None:
            deadline = ends_at(grant, now)
        elif deadline is None:
            return _refused("used before this node started, nobody knows how long ago")
        if is_due(deadline, now.instant):
            return _refused("ended by the monotonic clock")
        uses = 0 if row is None else row.uses
        if uses >= grant.max_uses:
            return _refused(f"used {uses} times, as often as it may be")
        put = PutGrantUse(
            grant_id=grant.grant_id,
            uses=uses + 1,
            forget_at=seconds_after(grant.expires_at, REMEMBERED_S),
        )
        self._rows[grant.grant_id] = put
        self._deadlines[grant.grant_id] = deadline
        return put

    def _forget(self, now: Now) -> None:
        for grant_id in [
            one for one, row in self._rows.items() if is_past(row.forget_at, now.unix)
        ]:
            del self._rows[grant_id]
            self._deadlines.pop(grant_id, None)

    def on_persisting(self, token: Token, request: Granted) -> None:
        """The use is on its way to the disk."""
        self._waiting[token] = request

    def waits_for(self, token: Token) -> bool:
        """Whether a request waits for this to be durable."""
        return token in self._waiting

    def on_persisted(self, token: Token) -> Granted:
        """The request whose use is durable now, or could not be made so."""
        return self._waiting.pop(token)

    def check(self) -> None:
        """Assert the limits."""
        assert len(self._rows) <= GRANTS_MAX
        assert self._deadlines.keys() <= self._rows.keys()


def _refused(detail: str) -> Rejection:
    return Rejection(code=RejectionCode.GRANT_INVALID, detail=detail, in_good_faith=True)
