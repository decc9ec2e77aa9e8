"""Who is told what we hold: neighbours alone, whole, and anew once a part of it was dropped."""

from dataclasses import replace

import pytest

from fabgossip.core.effects import Persist, ReceiveContent, Send
from fabgossip.core.events import (
    AdvertiseDue,
    ComparisonDue,
    ContentStored,
    LinkId,
    Persisted,
    RefreshDue,
    RequestId,
    RequestMade,
    SubmitRequest,
    TimerFired,
    Unsent,
)
from fabgossip.core.sessions import EARLY_HOLDINGS_MAX
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.messages import (
    Announce,
    Holdings,
    HoldingsEntry,
    HoldingsMode,
    NeighborAnswer,
    NeighborAsk,
    NeighborPurpose,
    Welcome,
)
from fabgossip.model.policy import DegradedPolicy
from fabgossip.model.topology import PeerClass, Snapshot
from fabgossip.wire.contents import snapshot_bytes
from tests.core.artifacts import EVERYBODY, Artifact, artifact, peers, record, routes, stores
from tests.core.story import Peer, Story


def holdings(story: Story, link: LinkId) -> list[Holdings]:
    return [one for one in story.sent(link) if isinstance(one, Holdings)]


def listed(own: PeerClass = PeerClass.FULL) -> Story:
    """A node that holds something, of a cluster of nine: no mesh, so who is linked is not yet a
    neighbour."""
    story = Story()
    origin = story.link("n2")
    others = [record(f"n{number}") for number in range(2, 10)]
    story.accept(peers(replace(record("n1"), peer_class=own), *others), origin)
    story.accept(routes(), origin)
    return story


def test_a_guest_is_told_nothing() -> None:
    story = listed()
    assert not holdings(story, story.link("stranger"))


@pytest.mark.parametrize("asks", [True, False], ids=["asks", "is asked"])
def test_who_becomes_a_neighbor_is_told_everything(asks: bool) -> None:  # noqa: FBT001
    story = listed()
    link = story.link("n3", is_dialer=not asks)
    told = [*holdings(story, link)]
    if asks:
        story.hear(link, NeighborAsk(purpose=NeighborPurpose.QUOTA, is_needed=False))
    else:
        story.hear(link, NeighborAnswer(is_yes=True, retry_after_s=0))
    assert not told
    (whole,) = holdings(story, link)
    assert whole.is_whole
    assert EVERYBODY in [one.audience for one in whole.entries]


def test_a_thin_node_advertises_nothing() -> None:
    story = listed(PeerClass.THIN)
    assert not holdings(story, story.link("n3"))


def test_what_was_dropped_is_made_good_by_all_of_it() -> None:
    story = listed()
    link = story.node.view.sessions()[0].link
    story.when(Unsent(link=link, audience=EVERYBODY)).due(ComparisonDue)
    (whole,) = holdings(story, link)
    assert whole.is_whole


def test_of_a_dropped_list_of_holdings_the_node_hears() -> None:
    """A frame that names no audience is dropped without a word."""
    story = listed()
    link = story.node.view.sessions()[0].link
    story.when(Unsent(link=link, audience=EVERYBODY)).due(ComparisonDue)
    sent = [one for one in story.find(Send) if isinstance(one.message, Holdings)]
    assert [one.audience for one in sent] == [EVERYBODY]


def submitted(story: Story, one: Artifact) -> Story:
    """Local software hands over an artifact with its content."""
    body = SubmitRequest(envelope=one.envelope)
    story.when(RequestMade(request=RequestId(1), body=body)).persisted()
    taken = story.only(ReceiveContent)
    content = ContentStored(wanted=taken.wanted, link=None, content=one.content)
    return story.when(content)


@pytest.mark.parametrize("names", [("n1", "n2"), ("n2", "n3")], ids=["a storage node", "no"])
def test_storage_nodes_tell_each_other_that_what_they_announced_is_held(
    names: tuple[str, ...],
) -> None:
    """Of what is critical: they count copies by each other's word, and an announcement does not
    say that its content is held. Whom nobody counts hears nothing of it."""
    story = Story()
    links = [story.link(name) for name in ("n2", "n4")]
    story.accept(stores(*names, kind=ArtifactType.REVOCATION_LIST), links[0])
    snapshot = Snapshot(endpoints=(), degraded=DegradedPolicy(), settings=b"for edges")
    critical = artifact(
        ArtifactType.CLUSTER_SNAPSHOT, "snapshots/role/edge", content=snapshot_bytes(snapshot)
    )
    for one, expected in ((critical, [(critical.prefix,)]), (routes(), [])):
        submitted(story, one)
        assert [type(message) for message in story.sent(links[0])] == [Announce]
        is_due = any(isinstance(timer, AdvertiseDue) for timer in story.timers())
        told = [holdings(story.due(AdvertiseDue), link) if is_due else [] for link in links]
        found = [[entry.prefixes for each in row for entry in each.entries] for row in told]
        assert found == [expected if "n1" in names else [], []]


@pytest.mark.parametrize("is_known", [True, False])
def test_what_a_peer_says_before_its_claims_count_waits_for_them(
    is_known: bool,  # noqa: FBT001
) -> None:
    """It says all of it once."""
    story = Story()
    story.accept(routes(), story.link("n2"))
    link = story.connect("n3")
    story.hear(link, Peer(name="n3").hello())
    durable = story.only(Persist).token
    story.hear(link, Welcome(protocol=1, features=0))
    entry = HoldingsEntry(EVERYBODY, HoldingsMode.ALL_EXCEPT, ())
    story.hear(link, Holdings(sequence=1, is_whole=True, entries=(entry,)))
    if is_known:
        story.when(Persisted(token=durable, ok=True))
    story.when(TimerFired(timer=RefreshDue()))
    heads = story.node.view.heads_after("", 100)
    (head,) = [one for one in heads if one.manifest.content_hash == routes().content_hash]
    assert story.node.view.advertisers(head).by_all == (("n3",) if is_known else ())


def test_what_a_peer_says_too_early_and_too_often_is_forgotten() -> None:
    story = Story()
    link = story.connect("n3")
    story.hear(link, Peer(name="n3").hello())
    story.hear(link, Welcome(protocol=1, features=0))
    (session,) = story.node.view.sessions()
    for number in range(1, 3 * EARLY_HOLDINGS_MAX):
        story.hear(link, Holdings(sequence=number, is_whole=number == 1, entries=()))
        assert len(session.early_holdings) <= EARLY_HOLDINGS_MAX
    story.hear(link, Holdings(sequence=99, is_whole=True, entries=()))
    assert [one.sequence for one in session.early_holdings] == [99]
