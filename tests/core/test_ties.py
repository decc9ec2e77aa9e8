"""Of two links to a node one counts, and nothing is kept of one that ended."""

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


def test_the_newer_link_counts_until_it_is_settled_which_one_stays() -> None:
    ties = both()
    assert [tie.link for tie in ties.counted()] == [NEW]
    ties.on_settled(OLD, A)
    ties.check()
    assert [tie.link for tie in ties.counted()] == [OLD]
    assert len(ties) == 1


def test_the_loss_of_the_link_that_counts_is_the_loss_of_the_node() -> None:
    ties = both()
    assert ties.on_lost(OLD) is None
    assert A in ties
    gone = ties.on_lost(NEW)
    assert gone is not None
    assert gone.node_id == A
    assert A not in ties
    assert ties.find(NEW) is None


def test_a_link_that_ended_cannot_be_settled_on() -> None:
    ties = both()
    ties.on_lost(OLD)
    ties.on_settled(OLD, A)
    ties.check()
    assert [tie.link for tie in ties.counted()] == [NEW]
