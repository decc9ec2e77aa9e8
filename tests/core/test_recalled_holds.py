"""What an operator put back is so over a restart, and is judged once more by it."""

from dataclasses import replace
from hashlib import sha256

from fabgossip.core.effects import Answer, Fact, Outcome
from fabgossip.core.events import (
    Started,
)
from fabgossip.core.problems import ProblemCode
from fabgossip.model.moment import Duration, UnixTime
from fabgossip.model.persistence import (
    HeldBack,
    StoredFloor,
    StoredMemory,
)
from fabgossip.model.policy import DegradedRule
from tests.core.artifacts import (
    Artifact,
    artifact,
    sealed,
    stored_head,
    tombstone,
)
from tests.core.story import NOTHING_STORED, Story
from tests.core.test_using import (
    HOUR_S,
    KIND,
    NAMESPACE,
    NEW,
    OLD,
    asked,
    done,
    ending,
    holds,
    order_of,
    read,
    release,
    turn,
)
from tests.core.test_withholding import snapshot
from tests.trust import factory as f


def test_an_envelope_that_ended_a_process_is_not_looked_at_to_put_it_back() -> None:
    shunned = ((sha256(OLD.envelope).digest(), Duration(HOUR_S * 1_000)),)
    started = replace(
        NOTHING_STORED,
        heads=(stored_head(NEW),),
        visible=((NAMESPACE, NEW.envelope),),
        shunned=shunned,
    )
    answer = asked(Story(started=started)).only(Answer)
    assert (answer.outcome, answer.code) == (Outcome.REFUSED, "SHUNNED")
    held = replace(started, visible=((NAMESPACE, OLD.envelope),), held_back=(row(),))
    story = Story(started=held)
    assert read(story) == []
    assert holds(story) == [order_of(OLD)]


def row(one: Artifact = OLD) -> HeldBack:
    return HeldBack(
        namespace=NAMESPACE,
        order=order_of(one),
        envelope=one.envelope,
        before=NEW.verified.manifest_hash,
        owner="uid:0",
        reason="a drill",
        until=UnixTime(f.NOW + HOUR_S),
    )


def after_restart(shown: Artifact | None, one: Artifact = OLD, *heads: Artifact) -> Story:
    newest = heads or (NEW,)
    floors = tuple(
        StoredFloor(
            namespace=head.manifest.namespace.text,
            order=order_of(head),
            manifest_hash=head.verified.manifest_hash,
        )
        for head in newest
    )
    started: Started = replace(
        NOTHING_STORED,
        heads=tuple(stored_head(head) for head in newest),
        floors=floors,
        visible=() if shown is None else ((NAMESPACE, shown.envelope),),
        put_away=() if shown is not None else ((NAMESPACE, NEW.envelope),),
        held_back=(row(one),),
    )
    return Story(started=started)


def test_a_hold_survives_a_restart_and_ends_as_ever() -> None:
    story = after_restart(OLD)
    assert read(story) == []
    assert story.node.view.held_back(NAMESPACE) is not None
    assert read(release(story)) == [(order_of(NEW), False)]


def test_a_switch_that_a_crash_left_undone_is_done_by_the_next_process() -> None:
    story = after_restart(NEW)
    assert read(story) == [(order_of(OLD), True)]
    done(story)
    assert story.find(Answer) == []
    assert holds(story) == [order_of(OLD)]
    assert read(turn(story)) == []


def test_what_was_put_away_for_its_age_comes_back_by_the_policy_and_not_by_a_start() -> None:
    rule = DegradedRule(artifact_type=KIND, max_age_s=10_000, withhold=True)
    for heads, expected in (
        ((NEW,), []),
        ((NEW, snapshot(2, rule)), [(order_of(OLD), True)]),
    ):
        story = after_restart(None, OLD, *heads)
        assert read(story) + read(turn(story)) == expected
        assert story.node.view.held_back(NAMESPACE) is not None


def test_a_start_without_claims_leaves_a_hold_as_it_is() -> None:
    later = StoredMemory(time_floor=UnixTime(f.NOW + 2 * f.DAY), revoked_epoch=2)
    lasting = [
        artifact(KIND, "routes/r1", version=one, content=b"%d" % one, expires_at=f.NOW + 9 * f.DAY)
        for one in (7, 8)
    ]
    started = replace(
        NOTHING_STORED,
        heads=(stored_head(lasting[1]),),
        visible=((NAMESPACE, lasting[0].envelope),),
        held_back=(replace(row(lasting[0]), until=UnixTime(f.NOW + 9 * f.DAY)),),
        memory=later,
    )
    story = Story(started=started, is_fresh=False)
    assert ProblemCode.NO_CLAIMS in {
        one.code for one in story.node.view.snapshot(story.now).problems
    }
    assert read(story) == []
    assert holds(story) == [order_of(OLD)]


def test_a_start_under_a_tombstone_ends_a_hold_and_takes_its_version_away() -> None:
    story = after_restart(OLD, OLD, tombstone(9))
    assert read(story) == [(None, False)]
    assert Fact.RELEASED in story.facts()


def test_a_version_of_an_epoch_that_is_over_is_held_back_no_longer() -> None:
    """It is not taken away: the newest takes its place."""
    past = replace(OLD.manifest, authority_epoch=1)
    story = after_restart(sealed(past, OLD.content), sealed(past, OLD.content))
    assert read(story) == [(order_of(NEW), False)]
    assert Fact.RELEASED in story.facts()


def test_a_start_that_finds_the_version_expired_ends_the_hold() -> None:
    brief = ending(f.NOW - 1)
    story = after_restart(brief, brief)
    assert (order_of(NEW), False) in read(story)
    assert story.node.view.held_back(NAMESPACE) is None
