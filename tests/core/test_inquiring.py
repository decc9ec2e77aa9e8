"""Who is asked for a chain, and who is next when that comes to nothing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest

from fabgossip.core.chains import ANSWER_WITHIN
from fabgossip.core.effects import SetTimer
from fabgossip.core.events import ChainDue, LostReason, PeerLost, TimerFired
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import (
    FEATURE_CHAINS,
    GetChain,
    Holdings,
    HoldingsEntry,
    HoldingsMode,
)
from tests.core.artifacts import Artifact, sealed
from tests.core.chain_story import Chained
from tests.core.chained import NAME, snapshot_of, step
from tests.core.story import Peer, Story
from tests.trust import factory

N2: Final = NodeId("n2")
QUESTION: Final = GetChain(
    namespace=NAME, base=snapshot_of(5).content_hash, head=snapshot_of(8).content_hash
)


def be_silent(story: Chained) -> None:
    story.due(ChainDue)


def know_none(story: Chained) -> None:
    story.answer(head=8)


def break_the_chain(story: Chained) -> None:
    story.answer(step(6), step(8), head=8)


def end_the_link(story: Chained) -> None:
    story.when(PeerLost(link=story.peer, node_id=N2, reason=LostReason.EOF))


VAIN: Final = (be_silent, know_none, break_the_chain, end_the_link)
"""How the peer that was asked makes nothing of it."""


@pytest.mark.parametrize("fail", VAIN)
def test_where_one_comes_to_nothing_another_is_asked(fail: Callable[[Chained], None]) -> None:
    """One hostile or poor announcer does not have the whole fetched."""
    story = Chained()
    other = story.join("n3")
    story.hear_of(snapshot_of(8))
    assert (story.questions(story.peer), story.questions(other)) == ([QUESTION], [])
    fail(story)
    assert (story.questions(other), story.wanted, story.gaps) == ([QUESTION], [], {})
    story.answer(step(6), step(7), step(8), head=8, link=other)
    assert sorted(story.wanted) == sorted(step(one).content_hash for one in (6, 7, 8))
    assert story.gaps == {}


@pytest.mark.parametrize("fail", VAIN)
def test_two_are_asked_and_no_more(fail: Callable[[Chained], None]) -> None:
    story = Chained()
    other, third = story.join("n3"), story.join("n4")
    story.hear_of(snapshot_of(8))
    fail(story)
    story.answer(head=8, link=other)
    assert (story.questions(story.peer), story.questions(third)) == ([], [])
    assert story.gaps == {"base_unknown": 1}
    assert story.node.view.wants_of(snapshot_of(8).content_hash)


def test_the_second_one_has_all_its_time() -> None:
    """And what the first one says now is nothing any more."""
    story = Chained()
    other = story.join("n3")
    story.hear_of(snapshot_of(8))
    (first,) = [one for one in story.find(SetTimer) if isinstance(one.timer, ChainDue)]
    story.wait(ANSWER_WITHIN - 1)
    story.answer(head=8)
    assert story.questions(other) == [QUESTION]
    assert story.newest(ChainDue) == ANSWER_WITHIN
    story.wait(1).when(TimerFired(timer=first.timer))
    story.answer(step(6), step(7), step(8), head=8)
    assert (story.gaps, story.wanted) == ({}, [])


def test_who_is_asked_second_told_of_it_too() -> None:
    story = Chained()
    older, teller = story.join("n3"), story.join("n4")
    story.hear_of(snapshot_of(8)).told_again(snapshot_of(8), teller)
    story.due(ChainDue)
    assert (story.questions(older), story.questions(teller)) == ([], [QUESTION])


def test_who_failed_last_is_not_the_first_again() -> None:
    """Though he is always the first to tell: silence costs its time once."""
    story = Chained()
    other = story.join("n3")
    story.hear_of(snapshot_of(7)).due(ChainDue)
    story.hear_of(snapshot_of(8))
    assert (story.questions(story.peer), story.questions(other)) == ([], [QUESTION])
    story.answer(head=8, link=other)
    assert story.questions(story.peer) == [QUESTION]


def test_a_snapshot_that_is_not_wanted_any_more_is_asked_of_nobody_else() -> None:
    story = Chained()
    other = story.join("n3")
    story.hear_of(snapshot_of(8))
    # Newer, and not durable yet.
    story.announce(snapshot_of(9), story.peer)
    story.due(ChainDue)
    assert (story.questions(other), story.wanted) == ([], [])
    assert story.node.view.wants_of(snapshot_of(8).content_hash) == ()


def test_contents_that_do_not_come_are_no_reason_to_ask_again() -> None:
    """Every increment is asked of all who have it already."""
    story = Chained()
    other = story.join("n3")
    story.hear_of(snapshot_of(8)).answer(step(6), step(7), step(8), head=8)
    story.due(ChainDue)
    assert (story.questions(other), story.gaps) == ([], {"timeout": 1})


def test_who_told_first_is_asked_first() -> None:
    story = Chained()
    teller = story.join("n3")
    story.told_again(snapshot_of(8), teller)
    assert (story.questions(story.peer), story.questions(teller)) == ([], [QUESTION])


def test_who_says_that_he_lacks_it_is_not_asked() -> None:
    story = Chained()
    other = story.join("n3")
    audience = snapshot_of(8).manifest.audience
    lacks = HoldingsEntry(audience=audience, mode=HoldingsMode.ONLY, prefixes=())
    story.hear(other, Holdings(sequence=1, is_whole=True, entries=(lacks,)))
    story.hear_of(snapshot_of(8)).due(ChainDue)
    assert (story.questions(other), story.gaps) == ([], {"timeout": 1})


def narrow(version: int) -> Artifact:
    """A version for one organization only."""
    wide = snapshot_of(version)
    scopes = (one.text for one in wide.manifest.audience.scope_ids)
    audience = factory.audience(*scopes, "org:acme")
    return sealed(replace(wide.manifest, audience=audience), wide.content)


@pytest.mark.parametrize(
    ("held", "told", "is_told_by_outsider"),
    [
        (narrow(5), snapshot_of(6), True),
        (narrow(5), snapshot_of(6), False),
        (snapshot_of(5), narrow(6), False),
    ],
    ids=["told by the outsider", "the version held", "the next one"],
)
def test_who_may_not_know_of_both_versions_is_not_asked(
    held: Artifact, told: Artifact, *, is_told_by_outsider: bool
) -> None:
    """A question names both contents. Nor is its answer waited for."""
    story = Story()
    insider = story.link(Peer(name="n2"))
    outsider = story.link(Peer(name="n3", features=FEATURE_CHAINS, holds=(), shows=()))
    story.accept(held, insider)
    story.announce(told, outsider if is_told_by_outsider else insider).persisted()
    assert not [one for one in story.sent(outsider) if isinstance(one, GetChain)]
    assert dict(story.node.view.snapshot(story.now).chains.gaps) == {"base_unknown": 1}
