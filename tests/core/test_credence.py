"""Whose word counts: not of who was contradicted too often, and of nobody is remembered more."""

from fabgossip.core.credence import NODES_MAX, Credence
from fabgossip.core.events import FetchFailure, RequestId
from fabgossip.core.sources import Supply
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Instant
from tests.core.artifacts import routes
from tests.core.test_backlog import ASKER, Wanting, linked

LIAR = NodeId("liar")


def test_three_contradictions_within_ten_minutes_cost_ten_minutes() -> None:
    credence = Credence()
    for now in (0, 300_000, 599_999):
        assert not credence.is_ignored(LIAR, Instant(now))
        credence.on_contradicted(LIAR, Instant(now))
    assert credence.is_ignored(LIAR, Instant(599_999 + 599_999))
    assert not credence.is_ignored(LIAR, Instant(599_999 + 600_000))
    assert not credence.is_ignored(NodeId("another"), Instant(600_000))


def test_contradictions_further_apart_cost_nothing() -> None:
    credence = Credence()
    for now in (0, 300_000, 600_000):
        credence.on_contradicted(LIAR, Instant(now))
    assert not credence.is_ignored(LIAR, Instant(600_000))
    credence.on_contradicted(LIAR, Instant(899_999))
    assert credence.is_ignored(LIAR, Instant(899_999))


def test_of_many_liars_the_one_contradicted_longest_ago_is_forgotten() -> None:
    credence = Credence()
    for now in range(3):
        credence.on_contradicted(LIAR, Instant(now))
    for number in range(NODES_MAX):
        credence.on_contradicted(NodeId(f"n{number}"), Instant(10))
        credence.check()
    assert not credence.is_ignored(LIAR, Instant(10))


def test_an_advertisement_that_counts_for_nothing_makes_nobody_a_source() -> None:
    """Three that were contradicted: the node is asked no more on its word, until they are over."""
    node = Wanting(lambda want: Supply(ASKER, (linked("liar", want.verified, says=True),)))
    want = node.want(routes())
    for _ in range(3):
        assert node.step().started == (want,)
        assert want.source is not None
        assert want.source.link is not None
        node.fetching.on_failed(want.wanted, want.source.link, FetchFailure.MISSING, 0, node.now)
        assert node.step().parked == (want,)
        node.wait(60_000)
        node.fetching.on_request(want, RequestId(1))
        node.fetching.on_request_over(want.goal.content_hash, RequestId(1))
    assert node.step().parked == (want,)
    node.wait(600_000)
    node.fetching.on_request(want, RequestId(1))
    assert node.step().started == (want,)
