"""Who is told what we hold: neighbours alone, whole, and anew once a part of it was dropped."""

from dataclasses import replace

import pytest

from fabgossip.core.effects import Send
from fabgossip.core.events import ComparisonDue, LinkId, Unsent
from fabgossip.model.messages import (
    Holdings,
    NeighborAnswer,
    NeighborAsk,
    NeighborPurpose,
)
from fabgossip.model.topology import PeerClass
from tests.core.artifacts import EVERYBODY, peers, record, routes
from tests.core.story import Story


def holdings(story: Story, link: LinkId) -> list[Holdings]:
    return [one for one in story.sent(link) if isinstance(one, Holdings)]


def listed(own: PeerClass = PeerClass.FULL) -> Story:
    """A node that holds something, of a cluster of nine: no mesh, so who is linked is not yet a
    neighbour."""
    story = Story()
    origin = story.link("n2")
    others = [record(f"n{number}") for number in range(2, 10)]
    story.accept(peers(replace(record("n1"), peer_class=own), *others), origin)
    story.accept(routes(), origin)
    return story


def test_a_guest_is_told_nothing() -> None:
    story = listed()
    assert not holdings(story, story.link("stranger"))


@pytest.mark.parametrize("asks", [True, False], ids=["asks", "is asked"])
def test_who_becomes_a_neighbor_is_told_everything(asks: bool) -> None:  # noqa: FBT001
    story = listed()
    link = story.link("n3", is_dialer=not asks)
    told = [*holdings(story, link)]
    if asks:
        story.hear(link, NeighborAsk(purpose=NeighborPurpose.QUOTA, is_needed=False))
    else:
        story.hear(link, NeighborAnswer(is_yes=True, retry_after_s=0))
    assert not told
    (whole,) = holdings(story, link)
    assert whole.is_whole
    assert EVERYBODY in [one.audience for one in whole.entries]


def test_a_thin_node_advertises_nothing() -> None:
    story = listed(PeerClass.THIN)
    assert not holdings(story, story.link("n3"))


def test_what_was_dropped_is_made_good_by_all_of_it() -> None:
    story = listed()
    link = story.node.view.sessions()[0].link
    story.when(Unsent(link=link, audience=EVERYBODY)).due(ComparisonDue)
    (whole,) = holdings(story, link)
    assert whole.is_whole


def test_of_a_dropped_list_of_holdings_the_node_hears() -> None:
    """A frame that names no audience is dropped without a word."""
    story = listed()
    link = story.node.view.sessions()[0].link
    story.when(Unsent(link=link, audience=EVERYBODY)).due(ComparisonDue)
    sent = [one for one in story.find(Send) if isinstance(one.message, Holdings)]
    assert [one.audience for one in sent] == [EVERYBODY]
