"""Which conditions a node is in, and what it may do under each.

Decides: the conditions that hold, from signed times and the node's own clock and disk; whether an
action is allowed.
Keeps: allowed means allowed under every condition that holds, so one more condition never allows
more; an unknown action is refused.
Must not know: neighbours, sources, contents, and what peers say about time.

The table of cells is the rule; `tests/trust/test_modes.py` walks every cell and every pair.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from fabgossip.model.mode import Action, Cause, Freshness, Mode, Permission
from fabgossip.model.moment import UnixTime, is_past, seconds_between

PARTITIONED_AFTER_S: Final = 900
"""Nothing newly signed for this long (*start*): three times the interval at which the control plane
signs a revocation list."""


class Cell(Enum):
    """What the table says of an action under a condition."""

    YES = "yes"
    NO = "no"
    POLICY = "policy"
    """Only where the signed degraded policy says so."""
    LANE = "lane"
    """Only the trust lane."""
    EARLIER = "earlier"
    """Only what was issued before the condition began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a cell that is neither yes nor no depends on."""

    is_trust_lane: bool = False
    issued_at: UnixTime | None = None
    policy: frozenset[Mode] = frozenset()
    """Conditions under which the signed policy allows the action."""


NONE: Final = Circumstances()
_Y, _N, _P = Cell.YES, Cell.NO, Cell.POLICY
_COLUMNS: Final = tuple(Mode)
_ROWS: Final[dict[Action, tuple[Cell, ...]]] = {
    #                          fresh partitioned   stale clock-suspect amnesia revoked
    Action.RESTRICT: (_Y, _Y, _Y, _Y, _Y, _Y),
    Action.SERVE_TRUST_LANE: (_Y, _Y, _Y, _Y, _N, _N),
    Action.SERVE_CURRENT: (_Y, _Y, _N, _N, _N, _N),
    Action.SERVE_STALE: (_Y, _Y, _Y, _Y, _N, _N),
    Action.ACCEPT_CONTENT: (_Y, _Y, _Y, _Y, Cell.LANE, _N),
    Action.APPLY: (_Y, _Y, _Y, _N, _N, _N),
    Action.CONTINUE_LAST_GOOD: (_Y, _P, _P, _P, _N, _N),
    Action.ACCEPT_AUTHORITY: (_Y, Cell.EARLIER, _N, _N, _N, _N),
    Action.HIGH_RISK: (_Y, _N, _N, _N, _N, _N),
}
TABLE: Final[dict[tuple[Action, Mode], Cell]] = {
    (action, mode): cell
    for action, row in _ROWS.items()
    for mode, cell in zip(_COLUMNS, row, strict=True)
}


def conditions_of(freshness: Freshness, now: UnixTime) -> tuple[Mode, ...]:
    """Every condition that holds, gravest last; `FRESH` alone if none does. Never having seen a
    revocation list or the node's own snapshot is stale: absence is not freshness.
    """
    held = []
    if seconds_between(freshness.newest_issued_at, now) > PARTITIONED_AFTER_S:
        held.append(Mode.PARTITIONED)
    # Asked at every event of a node, so written out: a generator here was 3 % of all work.
    bundle, revocations, snapshot = (
        freshness.bundle_refresh_by,
        freshness.revocations_refresh_by,
        freshness.snapshot_refresh_by,
    )
    if (
        revocations is None
        or snapshot is None
        or freshness.is_disputed
        or freshness.has_full_revocations
        or is_past(bundle, now)
        or is_past(revocations, now)
        or is_past(snapshot, now)
    ):
        held.append(Mode.STALE)
    if freshness.is_clock_suspect:
        held.append(Mode.CLOCK_SUSPECT)
    if freshness.has_amnesia:
        held.append(Mode.AMNESIA)
    if freshness.is_revoked:
        held.append(Mode.REVOKED)
    return tuple(held) or (Mode.FRESH,)


def may(
    action: Action, freshness: Freshness, now: UnixTime, about: Circumstances = NONE
) -> Permission:
    """Whether `action` is allowed under every condition that holds. Cost: a look-up for each."""
    held = conditions_of(freshness, now)
    for mode in reversed(held):
        cell = TABLE.get((action, mode), Cell.NO)
        if not _is_met(cell, mode, freshness, about):
            return _PERMISSIONS[_CAUSES[cell], mode]
    return _PERMISSIONS[Cause.ALLOWED, held[-1]]


def _is_met(cell: Cell, mode: Mode, freshness: Freshness, about: Circumstances) -> bool:
    match cell:
        case Cell.YES:
            return True
        case Cell.NO:
            return False
        case Cell.POLICY:
            return mode in about.policy
        case Cell.LANE:
            return about.is_trust_lane
        case Cell.EARLIER:
            return about.issued_at is not None and about.issued_at <= freshness.newest_issued_at


_CAUSES: Final = {
    Cell.NO: Cause.FORBIDDEN,
    Cell.POLICY: Cause.POLICY,
    Cell.LANE: Cause.LANE,
    Cell.EARLIER: Cause.EARLIER,
}
"""What a cell that is not met says."""
_PERMISSIONS: Final = {
    (cause, mode): Permission(cause=cause, mode=mode)
    for cause in (Cause.ALLOWED, *_CAUSES.values())
    for mode in Mode
}
"""All there are: asked for at every artifact that is told of."""
