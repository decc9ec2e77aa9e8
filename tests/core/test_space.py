"""How much more a disk takes: every limit at its edge, and no trouble outlasts its reason."""

from dataclasses import replace

import pytest

from fabgossip.core.space import (
    FAILURES_WITHIN,
    TRUST_RESERVE_BYTES,
    DiskUsage,
    Space,
    SpaceLimits,
    SpaceTrouble,
)
from fabgossip.model.moment import Duration, Instant, later

QUOTA, FREE, INODES = 1_000 << 20, 256 << 20, 10
LIMITS = SpaceLimits(quota_bytes=QUOTA, free_bytes_min=FREE, free_inodes_min=INODES)
EMPTY = DiskUsage(used_bytes=0, free_bytes=1 << 40, free_inodes=INODES)
NOW = Instant(1_000)


@pytest.mark.parametrize(
    ("usage", "size", "trouble"),
    [
        (EMPTY, QUOTA, None),
        (EMPTY, QUOTA + 1, SpaceTrouble.QUOTA),
        (replace(EMPTY, used_bytes=QUOTA - 7), 7, None),
        (replace(EMPTY, used_bytes=QUOTA - 7), 8, SpaceTrouble.QUOTA),
        (replace(EMPTY, free_bytes=FREE + 7), 7, None),
        (replace(EMPTY, free_bytes=FREE + 7), 8, SpaceTrouble.DISK),
        (replace(EMPTY, free_inodes=INODES - 1), 1, SpaceTrouble.DISK),
    ],
)
def test_a_content_comes_up_to_the_limit_and_not_beyond(
    usage: DiskUsage, size: int, trouble: SpaceTrouble | None
) -> None:
    space = Space(LIMITS)
    assert space.takes(size, usage, is_trust=False) is (trouble is None)
    assert space.look(usage, NOW).trouble is trouble


def test_trust_has_a_reserve_of_its_own_and_no_more() -> None:
    """Whoever fills the disk stops no revocation; and trust itself does not fill it either."""
    full = replace(EMPTY, used_bytes=QUOTA, free_bytes=FREE)
    space = Space(LIMITS)
    assert not space.takes(1, full, is_trust=False)
    assert space.takes(TRUST_RESERVE_BYTES, full, is_trust=True)
    assert not space.takes(TRUST_RESERVE_BYTES + 1, full, is_trust=True)
    assert space.takes(1, replace(EMPTY, free_bytes=1, free_inodes=1), is_trust=True)


def test_there_is_space_again_once_the_least_that_was_refused_fits() -> None:
    space = Space(LIMITS)
    full = replace(EMPTY, used_bytes=QUOTA - 10)
    assert not space.takes(100, full, is_trust=False)
    assert not space.takes(50, full, is_trust=False)
    assert space.takes(10, full, is_trust=False)  # what fits comes all the same
    assert space.look(full, NOW).trouble is SpaceTrouble.QUOTA
    assert space.look(replace(full, used_bytes=QUOTA - 49), NOW).trouble is SpaceTrouble.QUOTA
    assert space.look(replace(full, used_bytes=QUOTA - 50), NOW).trouble is None


def test_a_disk_that_fails_three_times_is_given_nothing_but_trust_for_a_while() -> None:
    space = Space(LIMITS)
    space.on_failures(2, NOW)
    assert space.look(EMPTY, NOW).trouble is None
    second = later(NOW, Duration(FAILURES_WITHIN - 1))
    space.on_failures(1, second)
    assert space.look(EMPTY, second).trouble is SpaceTrouble.READ_ONLY
    assert not space.takes(1, EMPTY, is_trust=False)
    assert space.takes(1, EMPTY, is_trust=True)
    assert space.look(EMPTY, later(NOW, FAILURES_WITHIN)).trouble is None
    assert space.takes(1, EMPTY, is_trust=False)


def test_failures_far_apart_are_the_moment_s() -> None:
    space = Space(LIMITS)
    for number in range(9):
        now = later(NOW, Duration(number * (FAILURES_WITHIN // 2)))
        space.on_failures(1, now)
        assert space.look(EMPTY, now).trouble is None


def test_what_has_to_leave_is_named_from_four_fifths_on_down_to_three_quarters() -> None:
    space = Space(LIMITS)
    soft = replace(EMPTY, used_bytes=QUOTA * 80 // 100)
    assert space.look(soft, NOW).excess_bytes == 0
    above = replace(soft, used_bytes=soft.used_bytes + 1)
    assert space.look(above, NOW).excess_bytes == above.used_bytes - QUOTA * 75 // 100


def test_the_core_hears_of_trouble_once_and_of_too_much_until_it_is_gone() -> None:
    space = Space(LIMITS)
    assert not space.is_news(space.look(EMPTY, NOW))
    space.on_failures(3, NOW)
    assert [space.is_news(space.look(EMPTY, NOW)) for _ in range(3)] == [True, False, False]
    much = replace(EMPTY, used_bytes=QUOTA)
    assert [space.is_news(space.look(much, NOW)) for _ in range(2)] == [True, True]
    # That it is gone is news once: else it would count as too much of which nothing may leave.
    assert [space.is_news(space.look(EMPTY, NOW)) for _ in range(2)] == [True, False]


def test_room_again_is_news_although_nobody_looked_while_there_was_none() -> None:
    space = Space(LIMITS)
    full = replace(EMPTY, free_bytes=FREE)
    assert not space.takes(1, full, is_trust=False)
    assert [space.is_news(space.look(EMPTY, NOW)) for _ in range(2)] == [True, False]
    assert not space.takes(1, full, is_trust=False)
    assert [space.is_news(space.look(full, NOW)) for _ in range(2)] == [True, False]
    assert not space.takes(1, full, is_trust=False)
    assert [space.is_news(space.look(EMPTY, NOW)) for _ in range(2)] == [True, False]
