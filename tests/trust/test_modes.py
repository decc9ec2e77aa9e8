"""The table of modes: every cell, every pair of conditions, and absence is never freshness."""

from dataclasses import replace
from itertools import combinations

import pytest

from fabgossip.model.mode import Action, Freshness, Mode
from fabgossip.model.moment import UnixTime
from fabgossip.trust.modes import PARTITIONED_AFTER_S, Circumstances, conditions_of, may

NOW = UnixTime(10_000_000)
BEFORE = UnixTime(NOW - PARTITIONED_AFTER_S - 1)
FRESH = Freshness(
    newest_issued_at=NOW,
    bundle_refresh_by=UnixTime(NOW + 3_600),
    revocations_refresh_by=UnixTime(NOW + 3_600),
    snapshot_refresh_by=UnixTime(NOW + 3_600),
)
WITH: dict[Mode, dict[str, object]] = {
    Mode.PARTITIONED: {"newest_issued_at": BEFORE},
    Mode.STALE: {"revocations_refresh_by": NOW},
    Mode.CLOCK_SUSPECT: {"is_clock_suspect": True},
    Mode.AMNESIA: {"has_amnesia": True},
    Mode.REVOKED: {"is_revoked": True},
}
EVERYTHING = Circumstances(is_trust_lane=True, issued_at=BEFORE, policy=frozenset(Mode))
YES, NO, POLICY, LANE, EARLIER = "yes", "no", "policy", "lane", "earlier"
CELLS = {
    # fresh, partitioned, stale, clock suspect, amnesia, revoked
    Action.RESTRICT: (YES, YES, YES, YES, YES, YES),
    Action.SERVE_TRUST_LANE: (YES, YES, YES, YES, NO, NO),
    Action.SERVE_CURRENT: (YES, YES, NO, NO, NO, NO),
    Action.SERVE_STALE: (YES, YES, YES, YES, NO, NO),
    Action.ACCEPT_CONTENT: (YES, YES, YES, YES, LANE, NO),
    Action.APPLY: (YES, YES, YES, NO, NO, NO),
    Action.CONTINUE_LAST_GOOD: (YES, POLICY, POLICY, POLICY, NO, NO),
    Action.ACCEPT_AUTHORITY: (YES, EARLIER, NO, NO, NO, NO),
    Action.HIGH_RISK: (YES, NO, NO, NO, NO, NO),
}


def under(*modes: Mode) -> Freshness:
    fields = {name: value for mode in modes for name, value in WITH[mode].items()}
    return replace(FRESH, **fields)  # type: ignore[arg-type]  # names of its fields


def is_allowed(cell: str, about: Circumstances, mode: Mode) -> bool:
    return {
        YES: True,
        NO: False,
        POLICY: mode in about.policy,
        LANE: about.is_trust_lane,
        EARLIER: about.issued_at is not None,
    }[cell]


ABOUT = [
    Circumstances(),
    Circumstances(is_trust_lane=True),
    Circumstances(issued_at=BEFORE),
    *(Circumstances(policy=frozenset({mode})) for mode in Mode),
    EVERYTHING,
]


def test_every_action_has_a_row() -> None:
    assert set(CELLS) == set(Action)


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("mode", Mode)
def test_each_cell_says_what_the_table_says(action: Action, mode: Mode) -> None:
    freshness = FRESH if mode is Mode.FRESH else under(mode)
    assert conditions_of(freshness, NOW) == (mode,)
    cell = CELLS[action][list(Mode).index(mode)]
    for about in ABOUT:
        permission = may(action, freshness, NOW, about)
        assert permission.allowed is is_allowed(cell, about, mode)
        assert permission.mode is mode
        assert permission.reason


@pytest.mark.parametrize("action", Action)
def test_one_more_condition_never_allows_more(action: Action) -> None:
    for count in range(1, len(WITH) + 1):
        for modes in combinations(WITH, count):
            for about in ABOUT:
                allowed = may(action, under(*modes), NOW, about).allowed
                alone = [may(action, under(mode), NOW, about).allowed for mode in modes]
                assert allowed is all(alone)


def test_what_was_issued_after_the_partition_began_is_no_authority() -> None:
    late = Circumstances(issued_at=UnixTime(BEFORE + 1))
    assert not may(Action.ACCEPT_AUTHORITY, under(Mode.PARTITIONED), NOW, late).allowed
    assert may(Action.ACCEPT_AUTHORITY, FRESH, NOW, late).allowed


@pytest.mark.parametrize(
    ("fields", "mode"),
    [
        ({"newest_issued_at": UnixTime(NOW - PARTITIONED_AFTER_S)}, Mode.FRESH),
        ({"newest_issued_at": BEFORE}, Mode.PARTITIONED),
        ({"bundle_refresh_by": UnixTime(NOW + 1)}, Mode.FRESH),
        ({"bundle_refresh_by": NOW}, Mode.STALE),
        ({"revocations_refresh_by": NOW}, Mode.STALE),
        ({"revocations_refresh_by": None}, Mode.STALE),
        ({"snapshot_refresh_by": NOW}, Mode.STALE),
        ({"snapshot_refresh_by": None}, Mode.STALE),
        ({"is_disputed": True}, Mode.STALE),
        ({"has_full_revocations": True}, Mode.STALE),
    ],
)
def test_each_limit_counts_from_its_very_second(fields: dict[str, object], mode: Mode) -> None:
    freshness = replace(FRESH, **fields)  # type: ignore[arg-type]  # names of its fields
    assert conditions_of(freshness, NOW)[-1] is mode
