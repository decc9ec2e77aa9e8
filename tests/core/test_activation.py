"""What consumers read: switched to, and never more than the mode lets take effect."""

from dataclasses import replace
from typing import Final

import pytest

from fabgossip.core.effects import Dial, Fact, Materialize, ReceiveContent, Record
from fabgossip.core.events import FetchFailure, Persisted, RefreshDue, TimerFired
from fabgossip.model.artifact import ArtifactType, Order
from fabgossip.model.authority import RevokedKind
from fabgossip.model.ids import NodeId
from fabgossip.model.mode import Mode
from fabgossip.model.policy import DegradedRule
from fabgossip.model.scope import Audience
from tests.core.artifacts import (
    EVERYBODY,
    Artifact,
    artifact,
    peers,
    record,
    revocations,
    revoked,
    routes,
    stored_head,
    tombstone,
)
from tests.core.story import NOTHING_STORED, Story
from tests.core.test_fetching import fail
from tests.core.test_withholding import snapshot
from tests.trust import factory

EDGE: Final = factory.audience(f"cluster:{factory.CLUSTER}", "role:edge")
OUTAGE_MS: Final = 1_000_000
"""Past the 15 minutes after which a node counts as partitioned."""
NAMESPACE: Final = routes().manifest.namespace.text


def routes_for(version: int, audience: Audience) -> Artifact:
    return artifact(
        ArtifactType.ROUTE_POLICY_BUNDLE,
        "routes/r1",
        version=version,
        content=b"routes %d" % version,
        audience=audience,
    )


def cut_off(story: Story) -> Story:
    """Nothing newly signed came for a while."""
    story.wait(OUTAGE_MS).when(TimerFired(timer=RefreshDue()))
    assert story.node.view.snapshot(story.now).mode is Mode.PARTITIONED
    return story


def switched_to(story: Story) -> list[Order | None]:
    return [one.order for one in story.find(Materialize) if one.namespace == NAMESPACE]


def test_a_wider_audience_waits_for_a_fresh_mode_however_often_it_is_signed_again() -> None:
    story = Story()
    link = story.link("n3")
    story.accept(routes_for(7, EDGE), link)
    cut_off(story)
    for version in (8, 9):
        wider = routes_for(version, EVERYBODY)
        story.announce(wider, link).persisted().stored(wider, link)
        assert switched_to(story) == []
        assert story.trusted["routes/r1"] == (Order(2, version), "held")
    story.accept(routes_for(10, EDGE), link)
    assert story.trusted["routes/r1"] == (Order(2, 10), "current")


def test_a_start_in_an_outage_does_not_switch_to_a_wider_audience() -> None:
    shown = routes_for(7, EDGE)
    for audience, expected in ((EVERYBODY, []), (EDGE, [Order(2, 8)])):
        started = replace(
            NOTHING_STORED,
            heads=(stored_head(routes_for(8, audience)),),
            visible=((NAMESPACE, shown.envelope),),
        )
        assert switched_to(Story(is_fresh=False, started=started)) == expected


def test_a_version_held_back_before_a_tombstone_still_widens_after_it() -> None:
    story = Story()
    link = story.link("n3")
    story.accept(routes_for(7, EDGE), link)
    cut_off(story)
    wider = routes_for(8, EVERYBODY)
    story.announce(wider, link).persisted().stored(wider, link)
    story.announce(tombstone(9), link).persisted().materialized()
    again = routes_for(10, EVERYBODY)
    story.announce(again, link).persisted().stored(again, link)
    assert switched_to(story) == []
    assert story.trusted["routes/r1"] == (Order(2, 10), "held")


def test_a_switch_that_a_tombstone_overtook_shows_nothing() -> None:
    """The disk does both in turn, and answers the first when the second was asked already."""
    story = Story()
    link = story.link("n3")
    rule = DegradedRule(
        artifact_type=ArtifactType.ROUTE_POLICY_BUNDLE, max_age_s=10_000, withhold=False
    )
    story.accept(snapshot(2, rule), link)
    story.announce(routes(), link).persisted().stored(routes(), link)
    switch = story.only(Materialize).token
    story.announce(tombstone(8), link).persisted()
    away = story.only(Materialize).token
    for token in (switch, away):
        story.when(Persisted(token=token, ok=True))
    assert last_good(story, routes(9)) == "skipped"


def test_what_is_switched_to_stays_when_what_was_shown_before_loses_its_trust() -> None:
    """Found by `revocation-in-partition`: the version after came before the list that revoked the
    one before, and went with it."""
    story = Story()
    link = story.link("n3")
    story.accept(routes(7), link)
    story.announce(routes(8), link).persisted().stored(routes(8), link)
    (switch,) = story.find(Materialize)
    bad = revocations(8, revoked(RevokedKind.MANIFEST, routes(7).verified.manifest_hash))
    story.announce(bad, link).persisted().stored(bad, link)
    away, again = (one for one in story.find(Materialize) if one.namespace == NAMESPACE)
    assert (away.order, again.order) == (None, Order(2, 8))
    for one in (switch, away, again):
        story.when(Persisted(token=one.token, ok=True))
    assert story.trusted["routes/r1"] == (Order(2, 8), "current")


def test_what_consumers_read_under_a_tombstone_is_taken_away_at_the_start() -> None:
    heads = (stored_head(tombstone(8)),)
    visible = ((NAMESPACE, routes().envelope),)
    story = Story(started=replace(NOTHING_STORED, heads=heads, visible=visible))
    assert switched_to(story) == [None]
    for one in story.find(Materialize):
        story.when(Persisted(token=one.token, ok=True))
    story.link("n3")
    assert last_good(story, routes(9)) == "skipped"


def last_good(story: Story, lacked: Artifact) -> str | int:
    """What rung 5 makes of the version before one nobody has."""
    link = story.link("n4")
    story.announce(lacked, link).persisted()
    fail(story, lacked, FetchFailure.MISSING)
    (stuck,) = (one for one in story.find(Record) if one.fact is Fact.WANT_STUCK)
    return dict(stuck.fields)["outcome"]


@pytest.mark.parametrize("is_bad_first", [True, False])
def test_a_disputed_directory_is_gone_by_by_nobody(*, is_bad_first: bool) -> None:
    """Whichever of two came first, and whichever content came at all: a thief of the directory key
    says who is one of us to nobody."""
    good = peers(record("n1"), record("n2"), record("n3"))
    bad = peers(record("n1"), record("n2"), record("n3"), record("evil"))
    first, second = (bad, good) if is_bad_first else (good, bad)
    story = Story()
    link = story.link("n3")
    story.announce(first, link).persisted()
    story.only(ReceiveContent)
    story.announce(second, link).persisted()
    story.stored(first, link)
    assert [one.node_id for one in story.find(Dial)] == []
    assert story.trusted == {"peers/scope/cluster:prod": (Order(2, 7), "disputed")}
    healed = peers(record("n1"), record("n2"), record("n3"), version=8)
    story.accept(healed, link)
    assert [one.node_id for one in story.find(Dial)] == [NodeId("n2")]
