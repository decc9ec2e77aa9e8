"""Asking for newer heads: trust at every turn, the rest in time, and everybody in turn."""

from random import Random

import pytest

from fabgossip.core.config import RefreshConfig
from fabgossip.core.events import LinkId, RefreshDue, TimerFired
from fabgossip.core.refresh import Refresh
from fabgossip.model.messages import GetHeads
from fabgossip.model.moment import Instant, UnixTime
from tests.core.artifacts import acme_routes, routes
from tests.core.story import Peer, Story
from tests.trust import factory

TURN = TimerFired(timer=RefreshDue())


def asked(story: Story, link: LinkId) -> set[str]:
    return {
        one.namespace.removeprefix(f"{factory.PREFIX}/")
        for message in story.sent(link)
        if isinstance(message, GetHeads)
        for one in message.known
    }


def test_links_take_turns() -> None:
    refresh = Refresh(RefreshConfig(), Random(1))
    links = (LinkId(3), LinkId(1), LinkId(2))
    assert [refresh.next_link(links) for _ in range(4)] == [1, 2, 3, 1]
    assert refresh.next_link((LinkId(3),)) == 3
    assert refresh.next_link(()) is None


def test_the_next_turn_is_an_interval_away_within_a_fifth() -> None:
    refresh = Refresh(RefreshConfig(interval_ms=10_000), Random(1))
    turns = {refresh.next_at(Instant(0)) for _ in range(200)}
    assert 8_000 <= min(turns) < max(turns) <= 12_000


@pytest.mark.parametrize(("left", "due"), [(1_441, False), (1_440, True), (-1, True)])
def test_a_namespace_is_due_once_a_fifth_of_its_span_is_left(left: int, due: bool) -> None:  # noqa: FBT001
    manifest = routes().manifest
    assert manifest.refresh_by - manifest.issued_at == 7_200
    assert Refresh.is_due(manifest, UnixTime(manifest.refresh_by - left)) is due


def test_trust_is_asked_for_at_every_turn_and_of_everybody_in_turn() -> None:
    story = Story()
    links = (story.link("n2"), story.link("n3"))
    for link in links:
        story.when(TURN)
        assert asked(story, link) == {"trust/bundle", "trust/revocations", "snapshots/node/n1"}
    assert 24_000 <= story.newest(RefreshDue) <= 36_000


def test_what_nears_its_refresh_time_is_asked_of_who_may_know_it() -> None:
    """A question names only what the peer may know: asking is telling."""
    story = Story()
    outsider, origin = story.link(Peer(name="n3", shows=())), story.link("n2")
    story.accept(routes(), origin).accept(acme_routes(), origin)
    story.when(TURN)
    assert not asked(story, outsider) & {"routes/r1", "org/acme/routes/r1"}
    story.when(TURN).step_clock(factory.HOUR - 1_000)
    story.when(TURN)
    assert "routes/r1" in asked(story, outsider)
    assert "org/acme/routes/r1" not in asked(story, outsider)
    story.when(TURN)
    assert asked(story, origin) >= {"routes/r1", "org/acme/routes/r1"}
