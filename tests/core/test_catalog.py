"""The heads: one per namespace, floors that never sink, and indexes that agree with them."""

from hypothesis import given
from hypothesis import strategies as st

from fabgossip.core.catalog import Catalog, Floor, HeadState
from fabgossip.core.events import Token
from fabgossip.model.artifact import ArtifactType, Order
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


def test_an_increment_belongs_to_the_head_of_its_own_order() -> None:
    catalog = Catalog()
    assert catalog.on_increment(increment().verified) is None
    catalog.on_head(node_snapshot(8).verified, "n2")
    assert catalog.on_increment(increment(7).verified) is None
    catalog.on_head(node_snapshot(7).verified, "n2")
    head = catalog.on_increment(increment(7).verified)
    assert head is not None
    assert catalog.by_prefix(increment(7).prefix) == (head, increment(7).verified)
    catalog.on_head(node_snapshot(9).verified, "n2")
    assert catalog.by_prefix(increment(7).prefix) is None
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
