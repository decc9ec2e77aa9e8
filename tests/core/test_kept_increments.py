"""Increments of the past: given to who lags, told ahead of snapshots, found again after a start."""

from dataclasses import replace

from fabgossip.core.announcing import PAIRED_WITHIN
from fabgossip.core.effects import (
    Assemble,
    Fact,
    Materialize,
    Persist,
    ReceiveContent,
    Record,
)
from fabgossip.core.events import (
    AnnounceDue,
    AnswersDue,
    ContentStored,
    PairDue,
    RequestId,
    RequestMade,
    SubmitRequest,
)
from fabgossip.model.artifact import Order
from fabgossip.model.messages import (
    FEATURE_CHAINS,
    Announce,
    Chain,
    GetChain,
    GetHeads,
    HeadKnown,
    Heads,
)
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import DropIncrement, PutIncrement
from tests.core.artifacts import (
    Artifact,
    increment,
    sealed,
    stored_head,
)
from tests.core.chain_story import Chained
from tests.core.chained import NAME, snapshot_of, step
from tests.core.story import NOTHING_STORED, Peer, Story
from tests.trust import factory

# What is kept, and given to others.


def test_a_chain_is_given_in_the_order_it_is_applied_to_who_may_know_of_it() -> None:
    story = caught_up()
    question = GetChain(
        namespace=NAME, base=snapshot_of(6).content_hash, head=snapshot_of(8).content_hash
    )
    told = Chain(
        head=snapshot_of(8).content_hash,
        envelopes=(step(7).envelope, step(8).envelope),
    )
    assert story.hear(story.peer, question).sent(story.peer) == [told]


def test_a_chain_to_a_version_that_is_not_the_newest_any_more_is_given_too() -> None:
    story = caught_up()
    question = GetChain(
        namespace=NAME, base=snapshot_of(5).content_hash, head=snapshot_of(7).content_hash
    )
    (told,) = story.hear(story.peer, question).sent(story.peer)
    assert isinstance(told, Chain)
    assert told.envelopes == (step(6).envelope, step(7).envelope)


def caught_up() -> Chained:
    """A node that came from version 5 to 8 by a chain."""
    story = Chained().hear_of(snapshot_of(8)).answer(step(6), step(7), step(8), head=8)
    story.bring(step(6), step(7), step(8))
    made = story.only(Assemble)
    story.when(ContentStored(wanted=made.wanted, link=None, content=snapshot_of(8).content))
    story.materialized()
    return story


def test_what_is_kept_is_durable_before_its_content_is_wanted() -> None:
    story = Chained().hear_of(snapshot_of(7))
    chain = Chain(
        head=snapshot_of(7).content_hash,
        envelopes=(step(6).envelope, step(7).envelope),
    )
    story.hear(story.peer, chain)
    order = [
        change
        for one in story.effects
        if isinstance(one, Persist | ReceiveContent)
        for change in (one.changes if isinstance(one, Persist) else (one.wanted.content_hash,))
    ]
    assert order == [
        PutIncrement(verified=step(6).verified),
        PutIncrement(verified=step(7).verified),
        step(6).content_hash,
    ]


def test_heads_that_are_asked_for_come_with_their_increment() -> None:
    story = caught_up()
    known = HeadKnown(NAME, 2, 7)
    heads = Heads(envelopes=(snapshot_of(8).envelope, step(8).envelope))
    assert story.hear(story.peer, GetHeads(known=(known,))).sent(story.peer) == [heads]


def test_a_chain_nobody_asked_for_is_nothing() -> None:
    story = Chained()
    before = story.node.view.find(NAME)
    story.answer(step(5), head=5)
    assert story.effects == []
    assert story.node.view.find(NAME) is before


# Told by who was given it.


def submitted(story: Chained, one: Artifact, number: int) -> None:
    request = RequestId(number)
    story.when(RequestMade(request=request, body=SubmitRequest(envelope=one.envelope)))
    story.all_persisted()
    story.stored(one, None)


def told_of(story: Chained) -> list[bytes]:
    return [
        entry.envelope
        for message in story.sent(story.peer)
        if isinstance(message, Announce)
        for entry in message.entries
    ]


def test_a_snapshot_that_is_handed_over_is_told_after_its_increment() -> None:
    story = Chained()
    story.wait(10_000)
    submitted(story, snapshot_of(6), 1)
    assert told_of(story) == []
    submitted(story, step(6), 2)
    first = told_of(story)
    story.due(AnnounceDue)
    assert [*first, *told_of(story)] == [step(6).envelope, snapshot_of(6).envelope]


def test_while_others_wait_neither_pushes_out_the_other() -> None:
    """Of one namespace only the newest leaves; a snapshot and its increment are two things."""
    story = Chained()
    story.wait(10_000)
    for version, number in ((6, 1), (7, 3)):
        submitted(story, snapshot_of(version), number)
        submitted(story, step(version), number + 1)
    story.due(AnnounceDue)
    assert told_of(story) == [step(7).envelope, snapshot_of(7).envelope]


def test_a_snapshot_whose_increment_does_not_come_is_told_after_a_second() -> None:
    story = Chained()
    story.wait(10_000)
    submitted(story, snapshot_of(6), 1)
    assert story.newest(PairDue) == PAIRED_WITHIN
    story.due(PairDue)
    assert told_of(story) == [snapshot_of(6).envelope]


def test_a_snapshot_without_the_mark_is_told_at_once() -> None:
    story = Chained()
    story.wait(10_000)
    submitted(story, snapshot_of(6, is_marked=False), 1)
    assert told_of(story) == [snapshot_of(6, is_marked=False).envelope]


# After a start.


def test_after_a_start_what_was_kept_is_given_as_before() -> None:
    rows = (
        stored_head(snapshot_of(8)),
        *(stored_head(step(one)) for one in (6, 7)),
        stored_head(step(8), is_held=False),
        stored_head(increment(9)),
    )
    story = Story(started=replace(NOTHING_STORED, heads=rows))
    dropped = [
        change
        for persist in story.find(Persist)
        for change in persist.changes
        if isinstance(change, DropIncrement)
    ]
    # Its snapshot is not here: it leads nowhere.
    assert [one.manifest_hash for one in dropped] == [increment(9).verified.manifest_hash]
    assert story.node.view.wants_of(step(8).content_hash)
    peer = story.link(Peer(name="n2", features=FEATURE_CHAINS))
    base = snapshot_of(5).content_hash
    question = GetChain(namespace=NAME, base=base, head=snapshot_of(7).content_hash)
    (told,) = story.hear(peer, question).sent(peer)
    assert isinstance(told, Chain)
    assert told.envelopes == (step(6).envelope, step(7).envelope)
    question = GetChain(namespace=NAME, base=base, head=snapshot_of(8).content_hash)
    assert story.hear(peer, question).sent(peer) == []
    empty = Chain(head=snapshot_of(8).content_hash, envelopes=())
    assert story.due(AnswersDue).sent(peer) == [empty]


def test_an_increment_refused_at_the_start_takes_nothing_else_along() -> None:
    """It expired before its snapshot did: that stays in the local state."""
    old = expiring(6)
    story = Story(
        started=replace(NOTHING_STORED, heads=(stored_head(snapshot_of(7)), stored_head(old)))
    )
    assert [one.order for one in story.find(Materialize)] == [Order(2, 7)]
    assert not [one for one in story.find(Record) if one.fact is Fact.ARTIFACT_REJECTED]
    assert old.content_hash not in [one.wanted.content_hash for one in story.find(ReceiveContent)]


def expiring(version: int) -> Artifact:
    """An increment whose time is over."""
    over = UnixTime(factory.NOW - 1)
    begun = UnixTime(factory.NOW - 100)
    statement = replace(step(version).manifest, issued_at=begun, refresh_by=over, expires_at=over)
    return sealed(statement, step(version).content)
