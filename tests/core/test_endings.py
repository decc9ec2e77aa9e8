"""Why a link ended is said: in the peer's own word, where it gave one."""

import pytest

from fabgossip.core.effects import Fact, Record
from fabgossip.core.events import LostReason, PeerLost
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import Bye, ByeReason
from tests.core.story import Story


def reasons(story: Story) -> list[str]:
    return [
        str(dict(one.fields)["reason"])
        for one in story.find(Record)
        if one.fact is Fact.NEIGHBOR_LOST
    ]


@pytest.mark.parametrize("bye", ByeReason)
def test_the_word_of_the_peer_is_kept(bye: ByeReason) -> None:
    story = Story()
    link = story.link("n2")
    story.hear(link, Bye(reason=bye, retry_after_s=1))
    story.when(PeerLost(link=link, node_id=NodeId("n2"), reason=LostReason.BYE))
    assert reasons(story) == [f"bye_{bye.name.lower()}"]
    story.wait(300)
    ended = story.node.view.snapshot(story.now).neighbors.last_ended
    assert ended is not None
    assert (ended.node_id, ended.reason, ended.ago_ms) == ("n2", f"bye_{bye.name.lower()}", 300)


def test_what_was_seen_here_stands_without_one_or_beside_one_that_came_late() -> None:
    story = Story()
    assert story.node.view.snapshot(story.now).neighbors.last_ended is None
    for said in (False, True):
        link = story.link("n2")
        if said:
            story.hear(link, Bye(reason=ByeReason.FULL, retry_after_s=1))
        story.when(PeerLost(link=link, node_id=NodeId("n2"), reason=LostReason.RESET))
        assert reasons(story) == ["reset"]


def test_one_that_never_opened_is_told_in_status_alone() -> None:
    """Why no link comes about is what an operator asks."""
    story = Story()
    link = story.connect("n2")
    story.hear(link, Bye(reason=ByeReason.VERSION, retry_after_s=3_600))
    story.when(PeerLost(link=link, node_id=NodeId("n2"), reason=LostReason.BYE))
    assert reasons(story) == []
    ended = story.node.view.snapshot(story.now).neighbors.last_ended
    assert ended is not None
    assert ended.reason == "bye_version"
