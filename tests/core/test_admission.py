"""Who asks is taken for comfort up to a limit, for need up to another, then only for somebody."""

import pytest

from fabgossip.core.admission import EVICT_EVERY, SHED_EVERY, Admission, Admitted, Verdict
from fabgossip.core.config import NeighborsConfig
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import NeighborAsk, NeighborPurpose
from fabgossip.model.moment import Instant

CONFIG = NeighborsConfig(links_ordinary_max=3, links_upward_max=5, thin_children_max=2)
NOW = Instant(0)
COMFORT = NeighborAsk(purpose=NeighborPurpose.QUOTA, is_needed=False)
NEEDY = [
    NeighborAsk(purpose=NeighborPurpose.QUOTA, is_needed=True),
    NeighborAsk(purpose=NeighborPurpose.UPWARD, is_needed=False),
]
THIN = NeighborAsk(purpose=NeighborPurpose.THIN, is_needed=True)
X, Y = NodeId("x"), NodeId("y")


def neighbors(count: int, thin: int = 0) -> list[Admitted]:
    kinds = [False] * count + [True] * thin
    return [
        Admitted(NodeId(f"n{number}"), is_thin, is_needed=False)
        for number, is_thin in enumerate(kinds)
    ]


def test_up_to_the_ordinary_limit_everybody_is_taken_and_beyond_nobody_without_need() -> None:
    for count in range(6):
        verdict, gone = Admission(CONFIG).answer(COMFORT, neighbors(count), [X], NOW)
        assert verdict is (Verdict.YES if count < 3 else Verdict.NO)
        assert gone is None


@pytest.mark.parametrize("ask", NEEDY)
def test_the_needy_are_taken_up_to_their_own_limit_and_then_for_who_is_redundant(
    ask: NeighborAsk,
) -> None:
    for count in range(5):
        verdict, gone = Admission(CONFIG).answer(ask, neighbors(count), [X], NOW)
        assert (verdict, gone) == (Verdict.YES, None)
    assert Admission(CONFIG).answer(ask, neighbors(5), [X, Y], NOW) == (Verdict.YES, X)
    assert Admission(CONFIG).answer(ask, neighbors(5), [], NOW) == (Verdict.NO, None)


def test_one_is_evicted_in_thirty_seconds_at_most() -> None:
    admission, full = Admission(CONFIG), neighbors(5)
    assert admission.answer(NEEDY[0], full, [X], NOW) == (Verdict.YES, X)
    before, after = Instant(EVICT_EVERY - 1), Instant(EVICT_EVERY)
    assert admission.answer(NEEDY[0], full, [Y], before) == (Verdict.NO, None)
    assert admission.answer(NEEDY[0], full, [Y], after) == (Verdict.YES, Y)


def test_thin_nodes_are_counted_apart() -> None:
    admission = Admission(CONFIG)
    assert admission.answer(COMFORT, neighbors(2, thin=2), [], NOW)[0] is Verdict.YES
    assert admission.answer(THIN, neighbors(9, thin=1), [], NOW)[0] is Verdict.YES
    assert admission.answer(THIN, neighbors(0, thin=2), [X], NOW) == (Verdict.FULL, None)
    assert not admission.is_crowded(neighbors(3, thin=2), NOW)


def test_surplus_is_shed_once_a_minute() -> None:
    admission = Admission(CONFIG)
    assert not admission.is_crowded(neighbors(3), NOW)
    assert admission.is_crowded(neighbors(4), NOW)
    admission.on_shed(NOW)
    assert not admission.is_crowded(neighbors(4), Instant(SHED_EVERY - 1))
    assert admission.is_crowded(neighbors(4), Instant(SHED_EVERY))
