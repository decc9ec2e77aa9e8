"""Second links: what a link that is opened beside another one to the same node hides.

Powers: the attacker holds the certificate of a node no directory lists any more, or never did, and
opens and ends links as it likes.
"""

from dataclasses import replace

import pytest

from fabgossip.core.config import NeighborsConfig, NodeConfig
from fabgossip.core.effects import Disconnect, Fact
from fabgossip.core.events import DialDue, LinkId, LostReason, PeerLost
from fabgossip.core.neighbors import GUEST_IDLE
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import ByeReason, Welcome
from tests.core.artifacts import peers, record, routes
from tests.core.story import Peer, Story, announcement

WELCOME = Welcome(protocol=1, features=0)


def open_and_end_another(story: Story, name: str) -> None:
    """A second link to a node passes TLS and ends before its hello."""
    second = story.connect(name, is_dialer=False)
    story.when(PeerLost(link=second, node_id=NodeId(name), reason=LostReason.EOF))


@pytest.mark.parametrize("is_hidden", [False, True], ids=["one link", "a second one ended"])
def test_who_is_listed_no_more_is_no_neighbor_whatever_other_links_it_had(
    *, is_hidden: bool
) -> None:
    story = Story()
    evil, honest = story.link("m1"), story.link("n3")
    story.accept(peers(record("n1"), record("m1"), record("n3")), honest)
    if is_hidden:
        open_and_end_another(story, "m1")
    story.accept(peers(record("n1"), record("n3"), version=8), honest)
    assert story.node.view.snapshot(story.now).neighbors.guests == 1
    story.announce(routes(), honest).persisted()
    assert announcement(routes()) not in story.sent(evil)
    story.wait(GUEST_IDLE).due(DialDue)
    assert (evil, ByeReason.VISIT_OVER) in [(one.link, one.bye) for one in story.find(Disconnect)]


def test_guests_beyond_the_limit_are_sent_away_whatever_other_links_they_had() -> None:
    config = NodeConfig(neighbors=replace(NeighborsConfig(), guests_max=3))
    story = Story(config=config)
    honest = story.link("n3")
    story.accept(peers(record("n1"), record("n3")), honest)
    for number in range(3):
        story.link(f"g{number}", is_dialer=False)
        open_and_end_another(story, f"g{number}")
    turned_away = story.link("g3", is_dialer=False)
    assert (turned_away, ByeReason.FULL) in [(one.link, one.bye) for one in story.find(Disconnect)]


def test_of_three_links_to_a_node_one_is_left_however_slowly_the_others_end() -> None:
    """A peer that reads no goodbye keeps its link for a while. That one is not held against the
    next, or the link that stays meanwhile were beside both."""
    story = Story()
    ended: list[LinkId] = []
    links = [story.link("m1", is_dialer=False)]
    for number in range(3):
        links.append(story.connect("m1", is_dialer=False))
        story.hear(links[-1], replace(Peer(name="m1"), boot=f"boot {number}").hello())
        ended += [one.link for one in story.find(Disconnect)]
        story.hear(links[-1], WELCOME)
    assert ended == links[:-1]


def test_a_link_that_was_given_up_opens_no_more() -> None:
    story = Story()
    gone = story.connect("m1", is_dialer=False)
    story.hear(gone, Peer(name="m1").hello())
    story.link(Peer(name="m1", boot="second"), is_dialer=False)
    story.hear(gone, WELCOME)
    assert Fact.NEIGHBOR_CONNECTED not in story.facts()
