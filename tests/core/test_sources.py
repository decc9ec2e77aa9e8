"""Equal sources share the work: of one content among nodes, of one node among contents."""

from collections import Counter

from fabgossip.core.ladder import Step
from fabgossip.core.sources import Supply, ranked_sources
from fabgossip.core.wants import Source, Want, goal_of, wanted_from
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import TrafficClass
from fabgossip.model.moment import Instant
from tests.core.artifacts import Artifact, routes
from tests.core.test_backlog import absent

EQUAL = tuple(absent(f"s{number}") for number in range(4))
ASKERS = [NodeId(f"n{number}") for number in range(100)]


def want_of(artifact: Artifact) -> Want:
    verified, now = artifact.verified, Instant(0)
    wanted = wanted_from(verified, is_read=False)
    return Want(goal_of(verified), wanted, verified, TrafficClass.POLICY, now, now)


def ranked(want: Want, asker: NodeId) -> list[Source]:
    return ranked_sources(want, Step.RUNG_1, Supply(asker, (), lambda: EQUAL))


def test_nodes_that_want_one_content_at_once_spread_over_equal_sources() -> None:
    """Every node wants a new version in the same moment."""
    want = want_of(routes())
    first = Counter(ranked(want, asker)[0].node_id for asker in ASKERS)
    assert len(first) == len(EQUAL)
    assert max(first.values()) <= 40


def test_contents_that_a_node_wants_spread_over_equal_sources() -> None:
    wants = [want_of(routes(number)) for number in range(1, 101)]
    first = Counter(ranked(want, ASKERS[0])[0].node_id for want in wants)
    assert len(first) == len(EQUAL)
    assert max(first.values()) <= 40


def test_a_node_that_looks_again_finds_the_same_order() -> None:
    want = want_of(routes())
    assert ranked(want, ASKERS[0]) == ranked(want, ASKERS[0])
