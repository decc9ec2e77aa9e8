"""What counts, by audience: equal sets for equal manifests, whatever came when."""

from itertools import permutations
from random import Random

import pytest

from fabgossip.core.sets import ALL_OF_IT, VIEWS_MAX, Reach, Sets, key_of, salt_of, set_id_of
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.ids import ContentHash
from fabgossip.model.messages import SaltId
from fabgossip.model.moment import UnixTime
from fabgossip.model.scope import ALL_SHARDS, shard_of
from tests.core.artifacts import EVERYBODY, IN_ACME, Artifact, acme_routes, routes, update
from tests.trust import factory

BUNDLE = ContentHash(b"b" * 32)
SALT = salt_of(SaltId(3, 20_000), BUNDLE)
NOW = factory.NOW
MANY = (*(routes(7, f"r{number}") for number in range(4)), update(), acme_routes())


def counted(*artifacts: Artifact) -> Sets:
    sets = Sets()
    for one in artifacts:
        sets.on_counted(one.manifest.namespace.text, (one.verified,), NOW)
    sets.check()
    return sets


def root(sets: Sets, reach: Reach = ALL_OF_IT) -> bytes:
    return sets.view(EVERYBODY, reach, SALT).root()


def test_any_order_gives_equal_roots() -> None:
    """And so do versions that came and went between."""
    expected = root(counted(*MANY))
    for order in permutations(MANY, 6):
        assert root(counted(*order)) == expected
    sets = Sets()
    view = sets.view(EVERYBODY, ALL_OF_IT, SALT)
    chance = Random(1)
    for version in (3, 5, 7):
        for number in chance.sample(range(4), 4):
            one = routes(version, f"r{number}")
            sets.on_counted(one.manifest.namespace.text, (one.verified,), NOW)
            view = sets.view(EVERYBODY, ALL_OF_IT, SALT)
            sets.check()
    sets.on_counted(update().manifest.namespace.text, (update().verified,), NOW)
    assert view.root() == root(sets) == expected


def test_both_sides_of_a_dispute_count_and_leave_together() -> None:
    sides = (routes(7).verified, routes(7, content=b"another").verified)
    sets, namespace = Sets(), routes().manifest.namespace.text
    sets.on_counted(namespace, sides, NOW)
    assert len(sets.view(EVERYBODY, ALL_OF_IT, SALT)) == 2
    sets.on_counted(namespace, (), NOW)
    sets.check()
    assert sets.audiences() == ()
    assert sets.audience_of(set_id_of(EVERYBODY)) is None


def test_what_is_past_its_time_counts_no_more() -> None:
    sets = counted(routes(), acme_routes())
    end = routes().manifest.expires_at
    sets.on_time(UnixTime(end - 1))
    assert set(sets.audiences()) == {EVERYBODY, IN_ACME}
    sets.on_time(end)
    sets.check()
    assert sets.audiences() == ()
    sets.on_counted(routes().manifest.namespace.text, (routes().verified,), end)
    assert sets.audiences() == ()


@pytest.mark.parametrize("is_early", [True, False], ids=["made before", "made after"])
def test_a_reach_takes_in_its_types_and_shards_alone(is_early: bool) -> None:  # noqa: FBT001
    """Whether the set was made before the manifests came or after."""
    kind = ArtifactType.ROUTE_POLICY_BUNDLE
    shard = shard_of(routes(7, "r2").manifest.namespace.text)
    by_type: Reach = ((kind, ALL_SHARDS),)
    by_shard: Reach = ((kind, frozenset({shard})), (ArtifactType.UPDATE_MANIFEST, ALL_SHARDS))
    sets = counted(routes(7, "r0"))
    if is_early:
        root(sets, by_type), root(sets, by_shard)
    for one in MANY:
        sets.on_counted(one.manifest.namespace.text, (one.verified,), NOW)
    sets.check()
    assert root(sets, by_type) == root(counted(*MANY[:4]))
    inside = [one for one in MANY[:4] if shard_of(one.manifest.namespace.text) == shard]
    assert root(sets, by_shard) == root(counted(*inside, update()))
    assert root(sets, ()) == root(Sets())


def test_a_set_made_ahead_in_slices_is_the_same() -> None:
    """With manifests that come and go while it is made."""
    sets = counted(*MANY)
    root(sets)
    tomorrow = salt_of(SaltId(3, 20_001), BUNDLE)
    gone, fresh = routes(7, "r1"), routes(9, "r9")
    for step in range(8):
        sets.build_ahead(tomorrow, 1)
        sets.check()
        if step == 1:
            sets.on_counted(gone.manifest.namespace.text, (), NOW)
            sets.on_counted(fresh.manifest.namespace.text, (fresh.verified,), NOW)
    other = counted(*(one for one in MANY if one is not gone), fresh)
    expected = other.view(EVERYBODY, ALL_OF_IT, tomorrow).root()
    assert sets.view(EVERYBODY, ALL_OF_IT, tomorrow).root() == expected
    sets.keep_salts((tomorrow.salt_id,))
    assert sets.view(EVERYBODY, ALL_OF_IT, tomorrow).root() == expected
    assert root(sets) == root(other)


def test_sets_of_an_audience_are_bounded() -> None:
    sets = counted(*MANY)
    for day in range(2 * VIEWS_MAX):
        sets.view(EVERYBODY, ALL_OF_IT, salt_of(SaltId(3, day), BUNDLE))
        sets.check()


def test_the_newest_issued_comes_last_and_a_salt_is_a_bundle_and_a_day() -> None:
    assert key_of(routes().verified)[:8] == routes().manifest.issued_at.to_bytes(8, "big")
    salts = {
        salt_of(SaltId(3, 1), BUNDLE).value,
        salt_of(SaltId(3, 2), BUNDLE).value,
        salt_of(SaltId(3, 1), ContentHash(b"c" * 32)).value,
    }
    assert len(salts) == 3
