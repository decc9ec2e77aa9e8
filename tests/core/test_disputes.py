"""Several statements of one order: what follows at once, what leaves the disk, what a start finds.

That all of it is the same whoever came first, `tests/properties/test_order.py` shows.
"""

from dataclasses import replace

import pytest

from fabgossip.core.effects import Materialize, Persist, Remove
from fabgossip.core.events import Persisted, RefreshDue, Started, TimerFired
from fabgossip.model.artifact import Order, Tombstone
from fabgossip.model.authority import Revocation, RevokedKind
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import PutEvidence, PutHead, StoredFloor, StoredMemory
from tests.attacks.test_mix_match import snapshot
from tests.core.artifacts import (
    Artifact,
    revocations,
    routes,
    sealed,
    stored_head,
    tombstone,
    trust,
)
from tests.core.story import NOTHING_STORED, Story
from tests.trust import factory

R1 = "routes/r1"
A, B, C = (routes(7, content=b"say %d" % number) for number in range(3))
GONE = tombstone(7)


def revoked(one: Artifact) -> Revocation:
    return Revocation(
        kind=RevokedKind.MANIFEST,
        value=one.verified.manifest_hash,
        reason="stolen",
        since_epoch=1,
        since=factory.NOW,
        until=UnixTime(0),
    )


def evidence(*sides: Artifact) -> StoredMemory:
    return StoredMemory(revoked_epoch=2, evidence=tuple(one.envelope for one in sides))


def known(story: Story) -> set[bytes]:
    """The statements that stand at the head."""
    head = story.node.view.find(A.manifest.namespace.text)
    assert head is not None
    return {one.manifest_hash for one in head.rivals}


def names(*some: Artifact) -> set[bytes]:
    return {factory.parts(one.envelope).manifest_hash for one in some}


def test_a_second_statement_that_withdraws_stands_at_the_head_and_the_first_is_evidence() -> None:
    """What it withdrew leaves local state and disk, once that is durable."""
    story = Story()
    origin = story.link("n2")
    story.accept(A, origin).announce(GONE, origin)
    changes = (PutHead(verified=GONE.verified), PutEvidence(verified=A.verified))
    assert story.only(Persist).changes == changes
    assert story.find(Materialize) == []
    story.persisted()
    assert story.only(Materialize).order is None
    assert story.find(Remove) == [Remove(content_hash=A.content_hash)]
    assert known(story) == names(A, GONE)


def test_what_contradicts_only_a_listing_is_evidence_as_soon_as_the_listed_one_is_here() -> None:
    story = Story()
    origin = story.link("n2")
    story.accept(snapshot(7, A), origin)
    story.announce(B, origin)
    assert story.find(Persist) == []
    story.announce(A, origin)
    assert known(story) == names(A, B)
    kept = [change for one in story.find(Persist) for change in one.changes]
    assert kept == [PutHead(verified=A.verified), PutEvidence(verified=B.verified)]


def short_lived(expires_at: int) -> Artifact:
    ends = UnixTime(expires_at)
    said = replace(
        B.manifest, issued_at=UnixTime(ends - 60), refresh_by=UnixTime(ends - 1), expires_at=ends
    )
    return sealed(said, B.content)


def test_what_expired_still_contradicts() -> None:
    """Else the next list, or a start, would let the other one stand alone."""
    short = short_lived(factory.NOW + 60)
    story = Story()
    origin = story.link("n2")
    story.accept(A, origin).announce(short, origin).persisted()
    story.wait(61_000).when(TimerFired(timer=RefreshDue()))
    story.accept(revocations(8, revoked(routes(99))), origin)
    assert known(story) == names(A, short)

    past = short_lived(factory.NOW - 1)
    again = Story(started=replace(NOTHING_STORED, heads=(stored_head(A),), memory=evidence(past)))
    assert known(again) == names(A, past)


def test_a_revoked_tombstone_purges_nothing() -> None:
    """It was durable before it was revoked, so its floor stands and nothing below it is shown; but
    bytes leave the disk for good, and for that it does not count."""
    said = replace(tombstone(8).manifest, tombstone=Tombstone(reason="withdrawn", purge=True))
    purge = Artifact(said, factory.signed(said), b"")
    story = Story()
    origin = story.link("n2")
    story.accept(A, origin).announce(purge, origin)
    token = story.only(Persist).token
    story.accept(revocations(8, revoked(purge)), origin)
    story.when(Persisted(token=token, ok=True))
    assert [(one.order, one.purge) for one in story.find(Materialize)] == [(None, False)]


def test_a_side_that_was_revoked_while_the_head_was_written_is_none() -> None:
    story = Story()
    origin = story.link("n2")
    story.accept(A, origin).announce(GONE, origin)
    token = story.only(Persist).token
    listed = revocations(8, revoked(A))
    story.announce(listed, origin).persisted().stored(listed, origin)
    story.when(Persisted(token=token, ok=True)).persisted()
    assert story.trusted[R1] == (Order(2, 7), "withdrawn")
    assert known(story) == names(GONE)


@pytest.mark.parametrize("lost", [A, B, C])
def test_all_that_is_left_of_a_dispute_is_found_by_a_start(lost: Artifact) -> None:
    """Killed between a list and what follows from it."""
    listed = revocations(8, revoked(lost))
    heads = (stored_head(listed), stored_head(A))
    floor = StoredFloor(
        namespace=A.manifest.namespace.text,
        order=A.manifest.order,
        manifest_hash=A.verified.manifest_hash,
    )
    start = Started(trust=(), heads=heads, floors=(floor,), memory=evidence(B, C))
    story = Story(started=start)
    assert story.trusted[R1] == (Order(2, 7), "disputed")
    assert known(story) == names(A, B, C) - names(lost)


def test_a_tombstone_an_earlier_release_kept_as_evidence_withdraws_from_the_start() -> None:
    story = Story(started=replace(NOTHING_STORED, heads=(stored_head(A),), memory=evidence(GONE)))
    assert [one.order for one in story.find(Materialize)] == [None]
    assert known(story) == names(A, GONE)


def test_a_forked_bundle_is_evidence_and_takes_no_place_that_is_free() -> None:
    fork = trust(replace(factory.BUNDLE, cert_life_max_s=factory.BUNDLE.cert_life_max_s - 1))
    floor = StoredFloor(
        namespace=fork.manifest.namespace.text,
        order=fork.manifest.order,
        manifest_hash=trust(factory.BUNDLE).verified.manifest_hash,
    )
    story = Story(started=replace(NOTHING_STORED, floors=(floor,), memory=evidence(fork)))
    assert story.node.view.find(fork.manifest.namespace.text) is None
    assert story.node.view.trust.freshness.is_disputed
