"""A snapshot comes as a chain of increments, and as a whole wherever that breaks."""

from dataclasses import replace
from typing import Final

import pytest

from fabgossip.core.chains import ANSWER_WITHIN, FETCHED_WITHIN, Gap
from fabgossip.core.effects import (
    Assemble,
    Fact,
    Persist,
    ReceiveContent,
    Record,
    Remove,
    SetTimer,
)
from fabgossip.core.events import (
    AssemblyFailed,
    ChainDue,
    ContentFailed,
    ContentStored,
    FetchFailure,
    LostReason,
    PeerLost,
    Persisted,
    TimerFired,
)
from fabgossip.model.artifact import Tombstone
from fabgossip.model.authority import RevokedKind
from fabgossip.model.ids import NOTHING_HASH, ContentHash, NodeId
from fabgossip.model.increments import AssemblyFault
from fabgossip.model.messages import (
    CHAIN_STEPS_MAX,
    FEATURE_CHAINS,
    Announce,
    Announced,
    GetChain,
)
from fabgossip.model.persistence import DropIncrement
from tests.core.artifacts import (
    Artifact,
    revocations,
    revoked,
    sealed,
    stored_head,
)
from tests.core.chain_story import Chained
from tests.core.chained import NAME, other_step, snapshot_of, step
from tests.core.story import NOTHING_STORED, Peer, Story
from tests.trust import factory

N2: Final = NodeId("n2")


def hashes(*artifacts: Artifact) -> list[ContentHash]:
    return [one.content_hash for one in artifacts]


def asked(story: Chained, head: int, base: int = 5) -> None:
    question = GetChain(
        namespace=NAME,
        base=snapshot_of(base).content_hash,
        head=snapshot_of(head).content_hash,
    )
    assert [one for one in story.sent(story.peer) if isinstance(one, GetChain)] == [question]


# The chain.


def test_told_together_an_increment_that_rides_along_is_all_that_comes() -> None:
    story = Chained().hear_of(snapshot_of(6), step(6), content=True)
    assert [(one.link, one.content) for one in story.find(ReceiveContent)] == [
        (None, step(6).content)
    ]
    assert not [one for one in story.sent(story.peer) if isinstance(one, GetChain)]
    story.stored(step(6), None)
    assert story.only(Assemble).increments == (step(6).manifest,)
    assert story.only(Assemble).wanted == replace(snapshot_of(6).wanted, is_read=True)


def test_told_ahead_of_its_snapshot_an_increment_waits_with_what_rides_along() -> None:
    story = Chained()
    story.hear(story.peer, Announce(entries=(Announced(step(6).envelope, 0, step(6).content),)))
    assert story.find(Persist) == []
    story.hear_of(snapshot_of(6))
    assert story.wanted == hashes(step(6))
    assert story.only(ReceiveContent).content == step(6).content


def test_who_slept_asks_who_told_of_the_head_and_wants_all_increments_at_once() -> None:
    story = Chained().hear_of(snapshot_of(8))
    asked(story, 8)
    assert story.wanted == []
    story.answer(step(6), step(7), step(8), head=8)
    assert sorted(story.wanted) == sorted(hashes(step(6), step(7), step(8)))
    assert {one.link for one in story.find(ReceiveContent)} == {story.peer}
    story.bring(step(8), step(6))
    assert story.find(Assemble) == []
    story.bring(step(7))
    made = story.only(Assemble)
    assert made.increments == tuple(step(one).manifest for one in (6, 7, 8))
    story.when(ContentStored(wanted=made.wanted, link=None, content=snapshot_of(8).content))
    assert story.state == "applying"
    assert story.find(Remove) == [Remove(content_hash=snapshot_of(5).content_hash)]
    assert [one.fact for one in story.find(Record) if one.fact is Fact.CHAIN_ASSEMBLED]
    counts = story.node.view.snapshot(story.now).chains
    assert (counts.under_way, counts.assembled, counts.gaps) == (0, 1, ())
    saved = snapshot_of(8).manifest.content_size - sum(len(step(n).content) for n in (6, 7, 8))
    assert counts.saved_bytes == saved


def test_the_increment_that_comes_late_after_all_ends_the_question() -> None:
    story = Chained().hear_of(snapshot_of(6))
    asked(story, 6)
    story.hear_of(step(6))
    assert story.wanted == hashes(step(6))
    story.bring(step(6))
    assert story.only(Assemble).increments == (step(6).manifest,)


def test_a_chain_over_versions_nobody_here_ever_held_begins_at_the_last_that_is() -> None:
    """Published faster than it is fetched: what each was a step to is kept."""
    story = Chained().hear_of(snapshot_of(6), step(6)).hear_of(snapshot_of(7), step(7))
    story.bring(step(6), step(7))
    assert story.only(Assemble).increments == (step(6).manifest, step(7).manifest)


def test_what_the_disk_refused_is_no_link_of_a_chain_and_nobody_is_told_of_it() -> None:
    story = Chained()
    told = (Announced(snapshot_of(6).envelope, 0, None), Announced(step(6).envelope, 0, None))
    story.hear(story.peer, Announce(entries=told))
    head, increment = [one.token for one in story.find(Persist)]
    story.when(Persisted(token=head, ok=True))
    story.when(Persisted(token=increment, ok=False))
    assert [one for one in story.node.view.heads_after("", 100) if one.kept] == []
    assert story.wanted == hashes(snapshot_of(6)), "a gap ends in the whole snapshot"


def test_one_assembly_at_a_time() -> None:
    story = Chained().hear_of(snapshot_of(6), step(6))
    story.bring(step(6))
    first = story.only(Assemble)
    story.hear_of(snapshot_of(7), step(7)).bring(step(7))
    assert story.find(Assemble) == []
    # What nobody waits for any more ends as well, and makes room.
    story.when(ContentStored(wanted=first.wanted, link=None, content=snapshot_of(6).content))
    assert story.only(Assemble).increments == (step(6).manifest, step(7).manifest)


def test_without_a_base_nothing_is_asked_and_nothing_is_a_gap() -> None:
    story = Story()
    peer = story.link(Peer(name="n2", features=FEATURE_CHAINS))
    story.announce(snapshot_of(6), peer).persisted()
    assert [one.wanted.content_hash for one in story.find(ReceiveContent)] == hashes(snapshot_of(6))
    assert story.sent(peer) == []


def test_without_the_mark_nothing_is_asked() -> None:
    story = Chained().hear_of(snapshot_of(6, is_marked=False))
    assert story.wanted == hashes(snapshot_of(6))
    assert not [one for one in story.sent(story.peer) if isinstance(one, GetChain)]
    assert story.gaps == {}


def test_who_does_not_know_of_chains_is_not_asked() -> None:
    """It would end the link over a kind of message it has never heard of."""
    story = Chained(features=0).hear_of(snapshot_of(6))
    assert story.wanted == hashes(snapshot_of(6))
    assert not [one for one in story.sent(story.peer) if isinstance(one, GetChain)]
    assert story.gaps == {"base_unknown": 1}


# Gaps: each ends in the full snapshot.


def ends_in_full(story: Chained, gap: Gap, head: int = 8) -> None:
    """The full snapshot is wanted, now or already, and what comes of it is the snapshot."""
    assert story.gaps == {gap.value: 1}
    assert snapshot_of(head).content_hash in story.wanted
    broken = [one for one in story.find(Record) if one.fact is Fact.CHAIN_BROKEN]
    assert [dict(one.fields)["outcome"] for one in broken] == [gap.value]
    assert story.find(Assemble) == []
    story.stored(snapshot_of(head), story.peer)
    assert story.state == "applying"
    assert story.node.view.snapshot(story.now).chains.under_way == 0


def test_gap_nobody_knows_a_chain_from_here() -> None:
    story = Chained().hear_of(snapshot_of(8)).answer(head=8)
    ends_in_full(story, Gap.BASE_UNKNOWN)


@pytest.mark.parametrize(
    "chain",
    [(7, 8), (6, 8), (6, 7), (7, 6, 8), (6, 7, 8, 8)],
    ids=["first missing", "middle missing", "last missing", "out of order", "twice"],
)
def test_gap_a_link_is_missing(chain: tuple[int, ...]) -> None:
    story = Chained().hear_of(snapshot_of(8)).answer(*map(step, chain), head=8)
    ends_in_full(story, Gap.LINK_MISSING)


def test_gap_two_steps_of_one_version() -> None:
    """They link, and only one of them could be kept."""
    same = other_step(7, 5, b"frame").manifest
    early = sealed(replace(same, config_version=8), b"frame")
    story = Chained().hear_of(snapshot_of(8)).answer(early, step(8), head=8)
    ends_in_full(story, Gap.LINK_MISSING)


def test_gap_something_else_than_an_increment() -> None:
    story = Chained().hear_of(snapshot_of(8)).answer(snapshot_of(7), step(8), head=8)
    ends_in_full(story, Gap.LINK_MISSING)


def test_gap_an_increment_cannot_be_had() -> None:
    story = Chained().hear_of(snapshot_of(7)).answer(step(6), step(7), head=7)
    story.stored(step(7), story.peer)
    story.when(
        ContentFailed(
            wanted=step(6).wanted,
            link=story.peer,
            request=None,
            reason=FetchFailure.MISSING,
            received=0,
        )
    )
    ends_in_full(story, Gap.LINK_MISSING, head=7)


def test_gap_too_many_versions_behind_is_not_even_asked() -> None:
    head = 6 + CHAIN_STEPS_MAX
    story = Chained().hear_of(snapshot_of(head))
    assert not [one for one in story.sent(story.peer) if isinstance(one, GetChain)]
    ends_in_full(story, Gap.TOO_LONG, head)


def test_gap_more_than_half_of_the_snapshot() -> None:
    half = snapshot_of(8).manifest.content_size // 2
    large = other_step(8, 5, bytes(half + 1))
    story = Chained().hear_of(snapshot_of(8)).answer(large, head=8)
    assert large.content_hash not in story.wanted
    ends_in_full(story, Gap.TOO_LARGE)


def test_exactly_half_of_the_snapshot_is_used() -> None:
    half, rest = divmod(snapshot_of(10).manifest.content_size, 2)
    assert not rest
    story = Chained().hear_of(snapshot_of(10)).answer(other_step(10, 5, bytes(half)), head=10)
    assert story.gaps == {}


@pytest.mark.parametrize("stage", ["asked", "fetching"])
def test_gap_nothing_comes_in_time(stage: str) -> None:
    story = Chained().hear_of(snapshot_of(8))
    assert story.newest(ChainDue) == ANSWER_WITHIN
    if stage == "fetching":
        story.answer(step(6), step(7), step(8), head=8)
        assert story.newest(ChainDue) == FETCHED_WITHIN
    story.due(ChainDue)
    ends_in_full(story, Gap.TIMEOUT)


def test_the_time_for_an_answer_does_not_run_on_once_it_came() -> None:
    story = Chained().hear_of(snapshot_of(6))
    (asked_until,) = [one for one in story.find(SetTimer) if isinstance(one.timer, ChainDue)]
    story.answer(step(6), head=6)
    story.wait(ANSWER_WITHIN).when(TimerFired(timer=asked_until.timer))
    assert story.gaps == {}


def test_gap_the_version_held_is_of_another_epoch() -> None:
    """A chain never leads across one: nobody is even asked."""
    old = stored_head(snapshot_of(5, epoch=1))
    story = Chained(started=replace(NOTHING_STORED, heads=(old,)))
    assert story.state == "outdated"
    story.hear_of(snapshot_of(8))
    assert not [one for one in story.sent(story.peer) if isinstance(one, GetChain)]
    ends_in_full(story, Gap.EPOCH_CHANGED)


def test_gap_an_increment_is_of_another_epoch() -> None:
    old = sealed(replace(step(7).manifest, authority_epoch=1), step(7).content)
    story = Chained().hear_of(snapshot_of(8)).answer(step(6), old, step(8), head=8)
    ends_in_full(story, Gap.EPOCH_CHANGED)


def test_gap_an_increment_was_withdrawn() -> None:
    """Its content is revoked: it passes the gate no more, told by a peer or kept here."""
    listed = revocations(9, revoked(RevokedKind.CONTENT, step(7).content_hash))
    story = Chained()
    story.accept(listed, story.peer)
    story.hear_of(snapshot_of(8)).answer(step(6), step(7), step(8), head=8)
    ends_in_full(story, Gap.WITHDRAWN)


def test_gap_a_kept_increment_was_withdrawn_since() -> None:
    story = Chained().hear_of(snapshot_of(6), step(6)).hear_of(snapshot_of(7), step(7))
    listed = revocations(9, revoked(RevokedKind.CONTENT, step(6).content_hash))
    story.accept(listed, story.peer)
    head = story.node.view.find(snapshot_of(7).manifest.namespace.text)
    assert head is not None
    assert [one.verified.manifest_hash for one in head.kept] == [step(7).verified.manifest_hash]
    ends_in_full(story, Gap.WITHDRAWN, head=7)


def test_a_withdrawal_of_the_snapshot_ends_its_chain_and_fetches_nothing() -> None:
    story = Chained().hear_of(snapshot_of(8)).answer(step(6), step(7), step(8), head=8)
    gone = replace(
        snapshot_of(9).manifest,
        tombstone=Tombstone(reason="gone", purge=False),
        content_hash=NOTHING_HASH,
        content_size=0,
    )
    story.hear_of(Artifact(gone, factory.signed(gone), b""))
    assert story.state == "withdrawn"
    assert [n for n in (6, 7, 8) if story.node.view.wants_of(step(n).content_hash)] == []
    assert story.due(ChainDue).find(ReceiveContent) == []
    story.bring(step(6), step(7), step(8))
    assert story.find(Assemble) == []


def test_gap_the_link_ends() -> None:
    story = Chained()
    story.hear_of(snapshot_of(8))
    other = story.link("n3")
    story.when(PeerLost(link=story.peer, node_id=N2, reason=LostReason.EOF))
    story.peer = other
    effects = story.effects
    story.announce(snapshot_of(8), other)
    story.effects = effects + story.effects
    ends_in_full(story, Gap.TIMEOUT)


@pytest.mark.parametrize(
    ("fault", "place", "gap"),
    [
        (AssemblyFault.BASE, 0, Gap.BASE_DAMAGED),
        (AssemblyFault.INCREMENT, 1, Gap.LINK_MISSING),
        (AssemblyFault.RESULT, 1, Gap.MISMATCH),
        (AssemblyFault.DISK, 2, Gap.TIMEOUT),
    ],
)
def test_gap_the_assembly_fails(fault: AssemblyFault, place: int, gap: Gap) -> None:
    story = Chained().hear_of(snapshot_of(8)).answer(step(6), step(7), step(8), head=8)
    story.bring(step(6), step(7), step(8))
    failed = AssemblyFailed(wanted=story.only(Assemble).wanted, fault=fault, place=place)
    story.when(failed)
    ends_in_full(story, gap)


def test_a_gap_leaves_no_half_of_a_chain_behind() -> None:
    """What was only to lead there is wanted no more; the increment to the head itself is kept, as
    if it had been announced."""
    story = Chained().hear_of(snapshot_of(8)).answer(step(6), step(7), step(8), head=8)
    story.bring(step(6)).due(ChainDue)
    dropped = [
        change
        for persist in story.find(Persist)
        for change in persist.changes
        if isinstance(change, DropIncrement)
    ]
    assert [one.manifest_hash for one in dropped] == [step(7).verified.manifest_hash]
    wants = {n: story.node.view.wants_of(step(n).content_hash) for n in (6, 7, 8)}
    assert [n for n, one in wants.items() if one] == [8]


def test_an_increment_that_makes_something_else_is_never_used_again() -> None:
    """Its signer is blamed; nobody is asked for it once more, whoever tells of it."""
    wrong = other_step(7, 6, step(9).content)
    story = Chained().hear_of(snapshot_of(7)).answer(step(6), wrong, head=7)
    story.bring(step(6), wrong)
    failed = AssemblyFailed(wanted=story.only(Assemble).wanted, fault=AssemblyFault.RESULT, place=1)
    story.when(failed)
    rejected = [one for one in story.find(Record) if one.fact is Fact.ARTIFACT_REJECTED]
    assert [(dict(one.fields)["code"], dict(one.fields)["blame"]) for one in rejected] == [
        ("CONTENT_INVALID", "signer")
    ]
    assert Remove(content_hash=wrong.content_hash) in story.effects
    story.all_persisted()
    for told in (wrong, step(7)):
        story.hear_of(told)
    # The good one beside it is as welcome as ever.
    kept = story.node.view.find(NAME)
    assert kept is not None
    assert [one.verified for one in kept.kept] == [step(7).verified, step(6).verified]
    before = story.gaps
    story.hear_of(snapshot_of(8)).answer(step(6), wrong, step(8), head=8)
    assert story.gaps == {**before, "link_missing": 1}
    assert wrong.content_hash not in story.wanted


def test_a_gap_to_a_snapshot_that_is_not_wanted_any_more_fetches_nothing() -> None:
    story = Chained().hear_of(snapshot_of(8))
    story.hear_of(snapshot_of(9), step(9))
    asked(story, 9)
    story.answer(head=8)
    assert story.wanted == []
    assert story.gaps == {}


# The snapshot is told of while its chain is tried.


def tried(stage: str) -> Chained:
    """A silent or slow peer, and a chain to version 8 that is this far."""
    story = Chained().hear_of(snapshot_of(8))
    if stage != "asked":
        story.answer(step(6), step(7), step(8), head=8)
    if stage == "assembling":
        story.bring(step(6), step(7), step(8))
    return story


@pytest.mark.parametrize("stage", ["asked", "fetching"])
def test_who_brings_the_snapshot_along_ends_its_chain(stage: str) -> None:
    """Whoever told first and is silent holds nobody up who has it."""
    whole = snapshot_of(8)
    story = tried(stage)
    story.told_again(whole, story.join("n3"), whole.content)
    assert [(one.link, one.content) for one in story.find(ReceiveContent)] == [
        (None, whole.content)
    ]
    story.stored(whole, None)
    assert story.state == "applying"
    told = story.node.view.chain_of(NAME)
    assert told is not None
    assert (told.outcome, story.gaps) == ("overtaken", {})
    # Of the chain only what was told of as the newest is still to come.
    wants = {n: story.node.view.wants_of(step(n).content_hash) for n in (6, 7, 8)}
    assert [n for n, one in wants.items() if one] == ([8] if stage == "fetching" else [])


def test_what_is_being_made_is_not_stored_beside_it() -> None:
    story = tried("assembling")
    n3 = story.join("n3")
    story.told_again(snapshot_of(8), n3, snapshot_of(8).content)
    assert story.find(ReceiveContent) == []


def test_who_brings_something_else_along_is_blamed() -> None:
    story = tried("asked")
    story.told_again(snapshot_of(8), story.join("n3"), snapshot_of(7).content)
    assert story.find(ReceiveContent) == []
    (record,) = [one for one in story.find(Record) if one.fact is Fact.ARTIFACT_REJECTED]
    fields = dict(record.fields)
    assert (fields["code"], fields["blame"], fields["source"]) == ("HASH_MISMATCH", "peer", "n3")


@pytest.mark.parametrize("stage", ["asked", "fetching", "assembling"])
def test_where_the_chain_breaks_everybody_who_told_of_it_is_asked(stage: str) -> None:
    """Whoever told first keeps the whole from nobody either."""
    story = tried(stage)
    for name in ("n3", "n4"):
        story.told_again(snapshot_of(8), story.link(name))
    if stage == "assembling":
        wanted = replace(snapshot_of(8).wanted, is_read=True)
        story.when(AssemblyFailed(wanted=wanted, fault=AssemblyFault.RESULT, place=1))
    else:
        story.due(ChainDue)
    (want,) = story.node.view.wants_of(snapshot_of(8).content_hash)
    assert list(want.announcers) == ["n2", "n3", "n4"]


def test_who_tells_of_another_version_is_not_asked_for_this_one() -> None:
    """Of an increment that is here, or of what was newest before."""
    story = Chained().hear_of(snapshot_of(8)).hear_of(step(8), content=True)
    story.stored(step(8), None)
    n3 = story.link("n3")
    for told in (step(8), snapshot_of(5)):
        story.told_again(told, n3, told.content)
        assert story.find(ReceiveContent) == []
    story.due(ChainDue)
    (want,) = story.node.view.wants_of(snapshot_of(8).content_hash)
    assert list(want.announcers) == ["n2"]


def test_what_today_s_trust_refuses_is_not_taken_from_who_brings_it_along() -> None:
    story = tried("asked")
    listed = revocations(9, revoked(RevokedKind.CONTENT, snapshot_of(8).content_hash))
    story.announce(listed, story.peer).persisted().stored(listed, story.peer)
    story.told_again(snapshot_of(8), story.join("n3"), snapshot_of(8).content)
    assert story.find(ReceiveContent) == []


def test_increments_of_a_chain_that_a_newer_one_goes_on_from_stay_wanted() -> None:
    """The newer snapshot is not durable yet, and its chain does not begin before."""
    story = tried("fetching")
    story.announce(snapshot_of(9), story.peer)
    token = story.only(Persist).token
    story.bring(step(6))
    assert story.node.view.wants_of(step(7).content_hash)
    story.when(Persisted(token=token, ok=True))
    story.hear_of(step(9)).bring(step(7), step(8), step(9))
    made = story.only(Assemble)
    assert made.increments == tuple(step(one).manifest for one in (6, 7, 8, 9))
