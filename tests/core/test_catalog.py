"""The heads: one per namespace, floors that never sink, and indexes that agree with them."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fabgossip.core.catalog import Catalog, Floor, HeadState
from fabgossip.core.events import Token
from fabgossip.core.history import KEPT_MAX
from fabgossip.model.artifact import ArtifactType, Order, Tombstone, VerifiedManifest
from fabgossip.model.moment import UnixTime
from tests.core.artifacts import (
    EVERYBODY,
    IN_ACME,
    acme_routes,
    artifact,
    increment,
    node_snapshot,
    routes,
)
from tests.core.chained import snapshot_of, step
from tests.trust import factory

NAME = routes().manifest.namespace.text


@given(st.lists(st.integers(1, 6), min_size=1, max_size=12))
def test_a_floor_never_sinks_and_every_index_names_the_newest_head(versions: list[int]) -> None:
    """Whatever order heads come in, and whatever the disk said of floors before."""
    catalog = Catalog()
    highest = 0
    for version in versions:
        catalog.on_floor(NAME, Floor(Order(2, version), None))
        catalog.on_head(routes(version).verified, "n2")
        catalog.check()
        highest = max(highest, version)
        assert catalog.floor(NAME).order == Order(2, highest)
        assert catalog.prefixes(EVERYBODY) == (routes(version).prefix,)
        assert catalog.is_named(routes(version).content_hash)
    others = {one for one in versions if one != versions[-1]}
    assert not any(catalog.is_named(routes(one).content_hash) for one in others)
    assert not any(catalog.by_prefix(routes(one).prefix) for one in others)


def test_what_is_persisted_after_a_newer_head_came_is_nobody_s() -> None:
    """Two changes were on their way: only the one that is still the head becomes durable."""
    catalog = Catalog()
    for token, version in ((Token(1), 7), (Token(2), 8)):
        catalog.on_head(routes(version).verified, "n2")
        catalog.on_persisting(token, routes(version).verified)
    assert catalog.on_persisted(Token(1), ok=True) is None
    found = catalog.on_persisted(Token(2), ok=True)
    assert found is not None
    assert found[0].is_durable
    assert catalog.on_persisted(Token(2), ok=True) is None
    assert catalog.on_persisted(Token(99), ok=True) is None


def test_audiences_and_contents_lead_to_their_heads() -> None:
    catalog = Catalog()
    for one in (routes(), acme_routes(), routes(7, name="r2", content=b"routes 7")):
        catalog.on_head(one.verified, "n2")
    assert set(catalog.audiences()) == {EVERYBODY, IN_ACME}
    assert catalog.prefixes(IN_ACME) == (acme_routes().prefix,)
    named = [head.manifest.namespace.text for head, _ in catalog.by_content(routes().content_hash)]
    assert named == [NAME, f"{factory.PREFIX}/routes/r2"]
    assert len(catalog.of_type(ArtifactType.ROUTE_POLICY_BUNDLE)) == 3


def test_heads_are_read_page_by_page_in_namespace_order() -> None:
    catalog = Catalog()
    for number in (3, 1, 2):
        catalog.on_head(routes(7, name=f"r{number}").verified, "n2")
    first = catalog.heads_after("", 2)
    rest = catalog.heads_after(first[-1].manifest.namespace.text, 2)
    assert [one.manifest.namespace.names for one in (*first, *rest)] == [
        ("r1",),
        ("r2",),
        ("r3",),
    ]


def test_an_increment_is_kept_beside_a_head_it_can_lead_to() -> None:
    catalog = Catalog()
    assert catalog.on_increment(increment().verified) is None
    head, _ = catalog.on_head(node_snapshot(8).verified, "n2")
    assert catalog.on_increment(increment(9).verified) is None
    for version in (7, 8):
        assert catalog.on_increment(increment(version).verified) == ()
        assert catalog.by_prefix(increment(version).prefix) == (head, increment(version).verified)
    assert head.increment is not None
    assert head.increment.verified == increment(8).verified
    catalog.on_increment_gone(head.increment.verified)
    assert catalog.by_prefix(increment(8).prefix) is None
    assert [one.verified for one in head.kept] == [increment(7).verified]
    catalog.check()


def test_a_new_head_takes_over_what_led_to_the_one_before_it_and_nothing_else() -> None:
    catalog = Catalog()
    chain = [step(version) for version in (5, 6, 7)]
    catalog.on_head(snapshot_of(7).verified, "n2")
    for one in (*chain, increment(4)):
        catalog.on_increment(one.verified)
    head, _ = catalog.on_head(snapshot_of(8).verified, "n2")
    assert [one.verified for one in head.kept] == [one.verified for one in reversed(chain)]
    assert head.increment is None
    assert catalog.by_prefix(increment(4).prefix) is None
    # What led to this one is not known: nothing leads past it.
    head, _ = catalog.on_head(snapshot_of(9).verified, "n2")
    assert head.kept == ()
    assert all(catalog.by_prefix(one.prefix) is None for one in chain)
    catalog.check()


def test_a_withdrawal_ends_every_chain() -> None:
    catalog = Catalog()
    catalog.on_head(snapshot_of(7).verified, "n2")
    catalog.on_increment(step(7).verified)
    withdrawn = replace(snapshot_of(8).manifest, tombstone=Tombstone(reason="gone", purge=False))
    head, _ = catalog.on_head(replace(snapshot_of(8).verified, manifest=withdrawn), "n2")
    assert head.kept == ()
    assert catalog.on_increment(step(8).verified) is None
    catalog.check()


def test_of_two_increments_that_share_a_content_one_can_go_alone() -> None:
    catalog = Catalog()
    first, second = increment(7), increment(8)
    assert first.content_hash == second.content_hash
    head, _ = catalog.on_head(node_snapshot(8).verified, "n2")
    for one in (first, second):
        catalog.on_increment(one.verified)
    catalog.on_increment_gone(head.kept[0].verified)
    assert catalog.by_content(first.content_hash) == ((head, first.verified),)
    catalog.on_increment_gone(head.kept[0].verified)
    assert not catalog.is_named(first.content_hash)
    catalog.check()


def test_beyond_the_limit_the_oldest_increment_makes_room() -> None:
    catalog = Catalog()
    catalog.on_head(node_snapshot(100).verified, "n2")
    gone: list[VerifiedManifest] = []
    for version in range(2, KEPT_MAX + 4):
        gone += catalog.on_increment(increment(version).verified) or ()
    assert gone == [increment(2).verified, increment(3).verified]
    catalog.check()


def test_expiry_comes_at_its_second_once_and_in_portions() -> None:
    catalog = Catalog()
    for number in range(3):
        end = factory.NOW + 10 + number
        one = artifact(
            ArtifactType.ROUTE_POLICY_BUNDLE,
            f"routes/e{number}",
            refresh_by=factory.NOW + 5,
            expires_at=end,
        )
        catalog.on_head(one.verified, "n2")
    assert catalog.on_expired(UnixTime(factory.NOW + 9), 9) == ()
    (first,) = catalog.on_expired(UnixTime(factory.NOW + 10), 9)
    assert first.state is HeadState.EXPIRED
    assert len(catalog.on_expired(UnixTime(factory.NOW + 99), 1)) == 1
    assert len(catalog.on_expired(UnixTime(factory.NOW + 99), 9)) == 1
    assert catalog.on_expired(UnixTime(factory.NOW + 99), 9) == ()
