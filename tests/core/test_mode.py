"""The mode: from signed times alone, and absence is never freshness."""

import pytest

from fabgossip.core.mode import PARTITIONED_AFTER_S, Freshness, Mode, mode_of
from fabgossip.model.moment import UnixTime

NOW = 10_000_000
LATER = UnixTime(NOW + 3_600)


def at(issued: int = 0, bundle: int = 3_600, revocations: int | None = 3_600) -> Freshness:
    return Freshness(
        newest_issued_at=UnixTime(NOW + issued),
        bundle_refresh_by=UnixTime(NOW + bundle),
        revocations_refresh_by=None if revocations is None else UnixTime(NOW + revocations),
    )


@pytest.mark.parametrize(
    ("freshness", "mode"),
    [
        (at(), Mode.FRESH),
        (at(issued=-PARTITIONED_AFTER_S), Mode.FRESH),
        (at(issued=-PARTITIONED_AFTER_S - 1), Mode.PARTITIONED),
        (at(bundle=1), Mode.FRESH),
        (at(bundle=0), Mode.STALE),
        (at(revocations=0), Mode.STALE),
        (at(revocations=None), Mode.STALE),
        (at(issued=-PARTITIONED_AFTER_S - 1, revocations=0), Mode.STALE),
    ],
)
def test_each_limit_counts_from_its_very_second(freshness: Freshness, mode: Mode) -> None:
    assert mode_of(freshness, UnixTime(NOW)) is mode
