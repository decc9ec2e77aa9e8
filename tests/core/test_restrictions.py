"""Restriction always lands: on what was accepted before it, across a restart, and in any order.

And authority never comes from a failure: what the disk refused is not told, what came too late is
not applied, and a peer that holds an old signed thing cannot push out a newer one.
"""

from dataclasses import replace

import pytest

from fabgossip.core.effects import Fact, Materialize, Persist, Record, Remove
from fabgossip.core.events import RefreshDue, Started, TimerFired
from fabgossip.model.artifact import ArtifactType, Order
from fabgossip.model.authority import Revocation, RevokedKind
from fabgossip.model.messages import Announce
from fabgossip.model.persistence import PutHead, PutRevoked, StoredMemory
from fabgossip.trust.rejections import RejectionCode
from tests.core.artifacts import artifact, revocations, revoked, routes, stored_head
from tests.core.story import Story
from tests.trust import factory

NOTHING_STORED = Started(trust=(), heads=(), floors=())
MEMORY = StoredMemory(revoked_epoch=2)
NAME = routes().manifest.namespace.text


def withdrawn(story: Story) -> list[str]:
    return [one.namespace for one in story.find(Materialize) if one.order is None]


def test_a_revoked_manifest_that_is_current_is_withdrawn_at_once() -> None:
    story = Story()
    origin = story.link("n2")
    story.accept(routes(7), origin)
    listed = revocations(8, revoked(RevokedKind.MANIFEST, routes(7).verified.manifest_hash))
    story.announce(listed, origin).persisted().stored(listed, origin)
    assert withdrawn(story) == [NAME]
    assert story.trusted["routes/r1"] == (Order(2, 7), "refused")


def test_what_a_revoked_key_signed_is_withdrawn_too() -> None:
    story = Story()
    origin = story.link("n2")
    story.accept(routes(7), origin)
    listed = revocations(8, revoked(RevokedKind.SIGNING_KEY, factory.POLICY.key_id))
    story.announce(listed, origin).persisted().stored(listed, origin)
    assert withdrawn(story) == [NAME]


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (revoked(RevokedKind.SIGNING_KEY, factory.POLICY.key_id), RejectionCode.KEY_REVOKED),
        (
            revoked(RevokedKind.MANIFEST, routes(7).verified.manifest_hash),
            RejectionCode.ARTIFACT_REVOKED,
        ),
    ],
)
def test_what_is_refused_later_says_why_and_since_when(
    entry: Revocation, code: RejectionCode
) -> None:
    """In the record, in the problem and in the head, for `why`."""
    story = Story()
    origin = story.link("n2")
    story.accept(routes(7), origin)
    story.wait(5_000)
    listed = revocations(8, entry)
    story.announce(listed, origin).persisted().stored(listed, origin)
    (told,) = (dict(one.fields) for one in story.find(Record) if one.fact is Fact.ARTIFACT_REJECTED)
    assert (told["code"], told["namespace"]) == (code.value, NAME)
    head = story.node.view.find(NAME)
    assert head is not None
    assert head.refusal is not None
    assert (head.refusal.code, head.refusal.at) == (code, factory.NOW + 5)
    (problem,) = (
        one for one in story.node.view.snapshot(story.now).problems if one.namespace == NAME
    )
    assert f"({code.value})" in problem.because


def test_what_was_ever_revoked_outlives_the_list_it_stood_in() -> None:
    """A later list without the entry, or a crash before its content came, must not give it back."""
    value = routes(7).verified.manifest_hash
    story = Story()
    origin = story.link("n2")
    listed = revocations(8, revoked(RevokedKind.MANIFEST, value))
    story.announce(listed, origin).persisted().stored(listed, origin)
    kept = [change for one in story.find(Persist) for change in one.changes]
    entry = (RevokedKind.MANIFEST.value, bytes(value))
    assert kept == [PutRevoked(epoch=2, entries=(entry,))]

    again = Story(started=replace(NOTHING_STORED, revoked=(entry,), memory=MEMORY))
    again.announce(routes(7), again.link("n2"))
    assert again.find(Persist) == []


def test_a_head_that_is_refused_at_start_leaves_the_local_state() -> None:
    entry = (RevokedKind.MANIFEST.value, bytes(routes(7).verified.manifest_hash))
    heads = (stored_head(routes(7)),)
    stored = replace(NOTHING_STORED, heads=heads, revoked=(entry,), memory=MEMORY)
    assert withdrawn(Story(started=stored)) == [NAME]


def test_a_content_that_comes_after_its_expiry_is_not_applied() -> None:
    short = artifact(
        ArtifactType.QOS_POLICY_BUNDLE, refresh_by=factory.NOW + 30, expires_at=factory.NOW + 60
    )
    story = Story()
    origin = story.link("n2")
    story.announce(short, origin).persisted()
    story.step_clock(61).when(TimerFired(timer=RefreshDue()))
    story.stored(short, origin)
    assert [one for one in story.find(Materialize) if one.order is not None] == []


def test_what_the_disk_refused_is_told_to_nobody_and_written_again() -> None:
    story = Story()
    origin = story.link("n2")
    story.announce(routes(7), origin).persisted(ok=False)
    late = story.link("n3")
    assert not any(isinstance(one, Announce) for one in story.sent(late))
    story.when(TimerFired(timer=RefreshDue()))
    assert story.only(Persist).changes == (PutHead(verified=routes(7).verified),)


def test_the_last_good_content_stays_while_the_new_one_cannot_be_had() -> None:
    story = Story()
    origin = story.link("n2")
    story.accept(routes(7), origin)
    story.announce(routes(8), origin).persisted()
    assert story.find(Remove) == []
