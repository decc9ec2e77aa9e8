"""Of all links to a node one counts, and nothing is kept of one that ended."""

import pytest

from fabgossip.core.events import LinkId
from fabgossip.core.ties import Tie, Ties
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Instant

A = NodeId("a")
OLD, NEW = LinkId(1), LinkId(2)


def both() -> Ties:
    ties = Ties()
    for link in (OLD, NEW):
        ties.on_connected(Tie(link, A, is_dialer=True, used_at=Instant(0)))
        ties.check()
    return ties


def test_a_newer_link_counts_once_it_is_settled_that_it_stays() -> None:
    ties = both()
    assert [tie.link for tie in ties.counted()] == [OLD]
    ties.on_settled(NEW, A)
    ties.check()
    assert [tie.link for tie in ties.counted()] == [NEW]
    assert len(ties) == 1


@pytest.mark.parametrize(("first", "second"), [(OLD, NEW), (NEW, OLD)])
def test_the_loss_of_the_last_link_is_the_loss_of_the_node(first: LinkId, second: LinkId) -> None:
    ties = both()
    assert not ties.on_lost(first)
    ties.check()
    assert [tie.link for tie in ties.counted()] == [second]
    assert ties.on_lost(second)
    ties.check()
    assert A not in ties
    assert ties.find(second) is None


def test_of_the_links_left_the_newest_open_one_counts() -> None:
    ties = both()
    for number in (3, 4):
        ties.on_connected(Tie(LinkId(number), A, is_dialer=True, used_at=Instant(0)))
    for link in (OLD, NEW):
        tie = ties.find(link)
        assert tie is not None
        tie.is_open = True
    ties.on_settled(LinkId(3), A)
    ties.on_lost(LinkId(3))
    ties.check()
    assert [tie.link for tie in ties.counted()] == [NEW]


def test_a_link_that_ended_cannot_be_settled_on() -> None:
    ties = both()
    ties.on_lost(NEW)
    ties.on_settled(NEW, A)
    ties.check()
    assert [tie.link for tie in ties.counted()] == [OLD]
