"""What must last: over a failing disk, over a kill between two steps, over what came meanwhile.

What is told here of the disk is what the core asked of it; that a row outlives a process is shown
in `tests/storage`.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fabgossip.core.effects import Answer, Fact, Materialize, Outcome, Persist
from fabgossip.core.events import (
    Persisted,
    RefreshDue,
    RequestId,
    RequestMade,
    SubmitRequest,
    TimerFired,
)
from fabgossip.model.artifact import ArtifactType, Order
from fabgossip.model.authority import RevocationList, RevokedKind
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import (
    Change,
    DropHead,
    PutEvidence,
    PutFloor,
    PutHead,
    PutMemory,
    PutRevoked,
    PutTimeFloor,
    PutTrust,
    StoredFloor,
    StoredMemory,
)
from fabgossip.model.policy import DegradedPolicy
from fabgossip.model.topology import Listing, Snapshot
from fabgossip.storage.index import NodeIndex
from fabgossip.wire.contents import revocations_bytes, snapshot_bytes
from tests.core.artifacts import (
    Artifact,
    acme_routes,
    artifact,
    node_snapshot,
    revocations,
    revoked,
    routes,
    sealed,
    stored_head,
    trust,
)
from tests.core.story import NOTHING_STORED, Story
from tests.trust import factory

NAME = routes().manifest.namespace.text
REQUEST = RequestId(1)
LIFE_S = 600
SHORT = artifact(
    ArtifactType.ROUTE_POLICY_BUNDLE,
    "routes/r1",
    content=b"routes for ten minutes",
    refresh_by=factory.NOW + LIFE_S // 2,
    expires_at=factory.NOW + LIFE_S,
)
"""Of version 7, as `routes(7)`."""
MEMORY = StoredMemory(revoked_epoch=2)


def list_against(artifact: Artifact) -> Artifact:
    return revocations(8, revoked(RevokedKind.MANIFEST, artifact.verified.manifest_hash))


def entry_against(artifact: Artifact) -> tuple[int, bytes]:
    return RevokedKind.MANIFEST.value, bytes(artifact.verified.manifest_hash)


def withdrawn(story: Story) -> list[str]:
    return [one.namespace for one in story.find(Materialize) if one.order is None]


def refresh(story: Story) -> Story:
    return story.when(TimerFired(timer=RefreshDue()))


def submit(story: Story, artifact: Artifact, request: RequestId = REQUEST) -> Story:
    return story.when(RequestMade(request=request, body=SubmitRequest(envelope=artifact.envelope)))


def changes(story: Story) -> list[Change]:
    return [change for one in story.find(Persist) for change in one.changes]


# What consumers read while the head's own content cannot be had.


def behind(shown: Artifact) -> Story:
    """Version 8 is the head and its content nowhere; consumers read the version before."""
    story = Story()
    origin = story.link("n2")
    story.accept(shown, origin)
    story.announce(routes(8), origin).persisted()
    assert story.trusted["routes/r1"] == (Order(2, 8), "behind")
    return story


def behind_again(shown: Artifact, *entries: tuple[int, bytes], seconds: int = 0) -> Story:
    """The same node as it starts again, so much later."""
    started = replace(
        NOTHING_STORED,
        heads=(stored_head(routes(8), is_held=False),),
        visible=((NAME, shown.envelope),),
        revoked=entries,
        memory=replace(MEMORY, time_floor=UnixTime(factory.NOW + seconds)),
    )
    return Story(started=started, is_fresh=False)


def test_a_visible_older_version_that_is_revoked_is_withdrawn() -> None:
    story = behind(routes(7))
    listed = list_against(routes(7))
    origin = story.link("n3")
    story.announce(listed, origin).persisted().stored(listed, origin)
    assert withdrawn(story) == [NAME]


def test_a_visible_older_version_that_expires_is_withdrawn_on_time() -> None:
    story = behind(SHORT)
    assert withdrawn(refresh(story.wait((LIFE_S - 1) * 1_000))) == []
    assert withdrawn(refresh(story.wait(1_000))) == [NAME]


def test_a_visible_older_version_is_withdrawn_by_a_start_after_its_end() -> None:
    assert withdrawn(behind_again(SHORT, seconds=LIFE_S - 1)) == []
    assert withdrawn(behind_again(SHORT, seconds=LIFE_S)) == [NAME]
    assert withdrawn(behind_again(routes(7))) == []
    assert withdrawn(behind_again(routes(7), entry_against(routes(7)))) == [NAME]


def test_a_start_goes_on_watching_a_visible_older_version() -> None:
    story = behind_again(SHORT)
    assert withdrawn(refresh(story.wait(LIFE_S * 1_000))) == [NAME]
    story = behind_again(routes(7))
    listed = list_against(routes(7))
    origin = story.link("n3")
    story.announce(listed, origin).persisted().stored(listed, origin)
    assert withdrawn(story) == [NAME]


def test_a_start_withdraws_what_is_for_this_node_no_more() -> None:
    """Its claims were narrowed as it was down: no head has to be there to tell."""
    name = acme_routes().manifest.namespace.text
    started = replace(NOTHING_STORED, visible=((name, acme_routes().envelope),))
    assert withdrawn(Story(started=started)) == []
    assert withdrawn(Story(started=started, holds=(factory.SERVICE_OPENING,))) == [name]


@pytest.mark.parametrize(
    "envelope",
    [b"", b"\xc1", routes(7, name="r2").envelope],
    ids=["none", "no envelope", "of another namespace"],
)
def test_what_lies_in_the_local_state_without_a_word_for_it_is_withdrawn(envelope: bytes) -> None:
    story = Story(started=replace(NOTHING_STORED, visible=((NAME, envelope),)))
    assert withdrawn(story) == [NAME]


# Disputes.


def test_what_was_half_settled_at_a_kill_is_settled_after_it() -> None:
    """The list that takes one side was durable, the head that ends the dispute was not: the other
    side stands as if nothing had happened between."""
    loser, winner = routes(7), routes(7, content=b"the other side")
    started = replace(
        NOTHING_STORED,
        heads=(stored_head(loser), stored_head(list_against(loser))),
        floors=(
            StoredFloor(
                namespace=NAME,
                order=loser.manifest.order,
                manifest_hash=loser.verified.manifest_hash,
            ),
        ),
        revoked=(entry_against(loser),),
        memory=replace(MEMORY, evidence=(winner.envelope,)),
    )
    story = Story(started=started)
    assert changes(story) == [PutHead(verified=winner.verified)]
    assert NAME in withdrawn(story)
    story.persisted()
    story.stored(winner, story.link("n2"))
    assert story.only(Materialize).envelope == winner.envelope
    story.materialized()
    assert story.trusted["routes/r1"] == (Order(2, 7), "current")


def test_a_head_written_again_takes_the_evidence_before_it_along(tmp_path: Path) -> None:
    """A head takes the place of evidence: of older evidence, not of what came while it was refused
    and contradicts it."""
    head, other = routes(7), routes(7, content=b"the other side")
    story = Story()
    origin = story.link("n2")
    refused = story.announce(head, origin).only(Persist)
    kept = story.announce(other, origin).only(Persist)
    story.when(Persisted(token=refused.token, ok=False)).when(Persisted(token=kept.token, ok=True))
    again = refresh(story).only(Persist)
    assert again.changes == (PutHead(verified=head.verified), PutEvidence(verified=other.verified))
    with closing(NodeIndex(tmp_path / "index.sqlite")) as index:
        index.open(factory.NODE)
        for one in (kept, again):
            index.commit(one.changes)
        assert index.memory().evidence == (other.envelope,)


# Local requests.


def test_a_read_content_that_says_nothing_is_not_acknowledged() -> None:
    """Signed, whole and durable, and no directory: whoever handed it over must hear that."""
    nonsense = sealed(factory.manifest(ArtifactType.PEER_DIRECTORY), b"nonsense")
    story = submit(Story(), nonsense).persisted().stored(nonsense, None)
    answer = story.only(Answer)
    assert (answer.outcome, answer.code) == (Outcome.REFUSED, "CONTENT_INVALID")


def test_a_submit_that_a_newer_one_replaced_is_answered_once_that_is_durable() -> None:
    """What replaces it may never reach the disk: then neither is there."""
    story = submit(Story(), routes(7))
    first = story.only(Persist)
    story.announce(routes(8), story.link("n2"))
    newer = story.only(Persist)
    story.when(Persisted(token=first.token, ok=True))
    assert story.find(Answer) == []
    story.when(Persisted(token=newer.token, ok=True))
    assert (story.only(Answer).request, story.only(Answer).outcome) == (REQUEST, Outcome.ADMITTED)


def test_a_submit_that_a_newer_one_replaced_fails_with_it() -> None:
    story = submit(Story(), routes(7))
    first = story.only(Persist)
    newer = story.announce(routes(8), story.link("n2")).only(Persist)
    story.when(Persisted(token=first.token, ok=True))
    story.when(Persisted(token=newer.token, ok=False))
    assert (story.only(Answer).request, story.only(Answer).outcome) == (REQUEST, Outcome.FAILED)


# What the disk refused.

SUCCESSOR = replace(factory.BUNDLE, bundle_version=4)


def lister(listed: Artifact) -> Artifact:
    """A snapshot that is complete for routes, and lists these."""
    manifest = listed.manifest
    row = Listing(
        namespace=manifest.namespace.text,
        order=manifest.order,
        manifest_hash=listed.verified.manifest_hash,
    )
    content = snapshot_bytes(
        Snapshot(
            endpoints=(),
            degraded=DegradedPolicy(),
            settings=b"",
            covers=(f"{factory.PREFIX}/routes",),
            listings=(row,),
        )
    )
    return sealed(factory.manifest(ArtifactType.CLUSTER_SNAPSHOT, "snapshots/role/edge"), content)


def taking(taken: Artifact) -> Callable[[], Story]:
    """A node that has just learned what a content says."""

    def take() -> Story:
        story = Story()
        origin = story.link("n2")
        return story.announce(taken, origin).persisted().stored(taken, origin)

    return take


REFUSED: dict[str, tuple[Callable[[], Story], Change]] = {
    "revocations": (
        taking(list_against(routes(7))),
        PutRevoked(epoch=2, entries=(entry_against(routes(7)),)),
    ),
    "a step of the chain": (
        taking(trust(SUCCESSOR)),
        PutTrust(version=4, envelope=trust(SUCCESSOR).envelope, content=trust(SUCCESSOR).content),
    ),
    "a floor that is listed": (
        taking(lister(routes(8))),
        PutFloor(
            namespace=NAME,
            order=Order(2, 8),
            manifest_hash=routes(8).verified.manifest_hash,
        ),
    ),
    "amnesia": (lambda: Story(state_generation=9), PutMemory(is_whole=False)),
    "a time that was reached": (
        lambda: refresh(Story().wait(301_000)),
        PutTimeFloor(unix=UnixTime(factory.NOW + 301)),
    ),
}


@pytest.mark.parametrize(("reach", "change"), REFUSED.values(), ids=REFUSED)
def test_what_the_disk_refused_is_written_at_every_turn_until_it_is_durable(
    reach: Callable[[], Story], change: Change
) -> None:
    story = reach()
    for _ in range(3):
        (put,) = [one for one in story.find(Persist) if change in one.changes]
        story.when(Persisted(token=put.token, ok=False))
        assert Fact.STORAGE_FAILED in story.facts()
        refresh(story)
    (put,) = [one for one in story.find(Persist) if change in one.changes]
    story.when(Persisted(token=put.token, ok=True))
    assert change not in changes(refresh(story))


def test_amnesia_the_disk_refused_to_note_is_not_noted_once_it_has_ended() -> None:
    """Else the node, which knows again all it must know, would forget that at the next start."""
    story = Story(state_generation=9)
    (noted,) = [one for one in story.find(Persist) if PutMemory(is_whole=False) in one.changes]
    origin = story.link("n2")
    story.accept(node_snapshot(8), origin)
    story.announce(revocations(8), origin).persisted().stored(revocations(8), origin)
    ended = PutMemory(is_whole=True, generation=9)
    assert ended in changes(story)
    story.when(Persisted(token=noted.token, ok=False))
    assert [one for one in changes(refresh(story)) if isinstance(one, PutMemory)] == []


def test_revocations_of_an_older_epoch_are_not_written_over_those_of_today() -> None:
    """All of an epoch is one set on the disk, and the first list of the next one starts anew."""
    story = taking(list_against(routes(7)))()
    story.persisted(ok=False)
    origin = story.link("n3")
    story.accept(trust(replace(factory.NEXT_BUNDLE, authority_epoch=3)), origin)
    listed = sealed(
        replace(factory.manifest(ArtifactType.REVOCATION_LIST), authority_epoch=3),
        revocations_bytes(RevocationList()),
    )
    story.accept(listed, origin)
    assert changes(story) == [PutRevoked(epoch=3, entries=())]
    assert [one for one in changes(refresh(story)) if isinstance(one, PutRevoked)] == []


def with_a_bundle_not_dropped() -> tuple[Story, Change]:
    """A bundle that proved to be none, and a disk that refuses to forget it."""
    nonsense = replace(
        factory.bundle_manifest(factory.NEXT_BUNDLE),
        content_hash=factory.hash_of(b"nonsense"),
        content_size=len(b"nonsense"),
    )
    bad = Artifact(nonsense, factory.signed(nonsense), b"nonsense")
    story = Story()
    origin = story.link("n2")
    story.announce(bad, origin).persisted().stored(bad, origin)
    (dropped,) = [one for one in story.find(Persist) if isinstance(one.changes[0], DropHead)]
    story.when(Persisted(token=dropped.token, ok=False))
    return story, dropped.changes[0]


def test_a_discarded_bundle_the_disk_would_not_drop_takes_no_better_one_along() -> None:
    """Dropped by its namespace at a later turn, the row of the bundle that came since would go."""
    good = trust(factory.NEXT_BUNDLE)
    story, _ = with_a_bundle_not_dropped()
    story.accept(good, story.link("n3"))
    assert story.node.view.trust.bundle == factory.NEXT_BUNDLE
    assert [one for one in changes(refresh(story)) if isinstance(one, DropHead)] == []


def test_a_discarded_bundle_the_disk_would_not_drop_is_dropped_later() -> None:
    story, drop = with_a_bundle_not_dropped()
    assert [one for one in changes(refresh(story)) if isinstance(one, DropHead)] == [drop]
