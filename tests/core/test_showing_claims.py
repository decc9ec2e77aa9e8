"""Peers always come to be shown the newest claims: none is sent that they would not read."""

from dataclasses import replace
from random import Random
from typing import Final

import pytest

from fabgossip.core.allowance import Allowance
from fabgossip.core.events import LinkId, PingDue, TimerFired
from fabgossip.core.rates import Rates
from fabgossip.core.sessions import CLAIMS_BURST, CLAIMS_EVERY_MS
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import ClaimItem, Opening
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import Claims
from fabgossip.model.moment import Instant, UnixTime
from fabgossip.model.policy import DegradedPolicy
from fabgossip.model.scope import StorageAssignment, parse_scope_id
from fabgossip.model.topology import Snapshot
from fabgossip.wire.contents import snapshot_bytes
from tests.core.artifacts import Artifact, artifact, peers, record
from tests.core.story import Peer, Story
from tests.trust import factory

ROTATIONS: Final = 12
WAY_MS_MAX: Final = 30_000
"""Longer than a link lives in silence."""


def claims_issued(seconds: int) -> bytes:
    """Of `n1`, signed anew."""
    return factory.signed_claims(
        replace(
            factory.claims(), node_id=NodeId("n1"), issued_at=UnixTime(factory.NOW - 60 + seconds)
        )
    )


def own_snapshot(version: int) -> Artifact:
    snapshot = Snapshot(
        endpoints=(), degraded=DegradedPolicy(), settings=b"", claims=claims_issued(version)
    )
    return artifact(
        ArtifactType.CLUSTER_SNAPSHOT, version=version, content=snapshot_bytes(snapshot)
    )


def shown(story: Story, link: LinkId) -> list[bytes]:
    return [one.claims for one in story.sent(link) if isinstance(one, Claims) and one.claims]


def test_however_often_claims_change_the_newest_are_shown_in_the_end() -> None:
    story = Story()
    link, source = story.link("n3"), story.link("n9")
    seen = []
    for version in range(2, 2 + ROTATIONS):
        snapshot = own_snapshot(version)
        story.announce(snapshot, source).persisted().stored(snapshot, source)
        seen += shown(story, link)
        story.materialized()
    assert len(seen) == CLAIMS_BURST
    newest = claims_issued(1 + ROTATIONS)
    assert newest not in seen
    story.when(TimerFired(timer=PingDue(link=link)))
    assert shown(story, link) == []
    story.wait(CLAIMS_EVERY_MS).when(TimerFired(timer=PingDue(link=link)))
    assert shown(story, link) == [newest]
    story.wait(CLAIMS_EVERY_MS).when(TimerFired(timer=PingDue(link=link)))
    assert shown(story, link) == []


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_way_does_to_their_times_the_peer_reads_all(seed: int) -> None:
    """In order, as on one stream; a way that held them all up hands them over at once."""
    chance, pace, rates = Random(seed), Allowance(CLAIMS_EVERY_MS, CLAIMS_BURST), Rates()
    sent, arrived = Instant(0), Instant(0)
    for _ in range(200):
        sent = pace.next_at(Instant(sent + chance.choice((0, 0, 1, 5_000, 60_000))))
        pace.take(sent)
        arrived = max(arrived, Instant(sent + chance.choice((0, WAY_MS_MAX))))
        assert rates.passed(LinkId(1), Claims(openings=()), arrived).message is not None


STORES_ALL: Final = factory.opening(
    ClaimItem(
        assignment=StorageAssignment(
            scope_ids=(parse_scope_id("cluster:prod"),), types=("peer_directory",), shards=None
        )
    ),
    9,
)


def told_of(public: tuple[str, ...], *peer_holds: Opening) -> set[Opening]:
    """What of its claims a node has shown a peer once it holds the cluster's directory."""
    story = Story()
    link = story.link(Peer(name="s1", holds=peer_holds, shows=peer_holds))
    directory = peers(*(record(name) for name in public))
    story.announce(directory, link).persisted()
    story.stored(directory, link)
    seen = [one for one in story.sent(link) if isinstance(one, Claims)]
    story.when(TimerFired(timer=PingDue(link=link)))
    seen += [one for one in story.sent(link) if isinstance(one, Claims)]
    return {opening for one in seen for opening in one.openings}


def test_a_store_of_all_is_shown_the_services_of_who_the_cluster_lists() -> None:
    """Its own directory of the service may be lost, and only who has it could bring it back."""
    assert told_of(("n1", "s1"), STORES_ALL) == {factory.SERVICE_OPENING}


@pytest.mark.parametrize(
    ("public", "holds"),
    [(("s1",), (STORES_ALL,)), (("n1", "s1"), ())],
    ids=["the cluster does not list it", "the peer stores nothing"],
)
def test_nobody_is_shown_a_service_that_may_not_know_it_of_the_node(
    public: tuple[str, ...], holds: tuple[Opening, ...]
) -> None:
    assert told_of(public, *holds) == set()
