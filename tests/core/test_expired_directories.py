"""A directory past its time still says who there is and where, and shows nobody anything."""

from dataclasses import replace

from fabgossip.core.effects import Dial
from fabgossip.core.events import DialDue, LostReason, PeerLost, RefreshDue, TimerFired
from fabgossip.model.authority import RevokedKind
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import Hello
from fabgossip.model.moment import UnixTime
from tests.core.artifacts import (
    Artifact,
    acme_peers,
    peers,
    record,
    revocations,
    revoked,
    sealed,
)
from tests.core.story import Story
from tests.trust import factory

LIFE_S = 600


def short_lived(artifact: Artifact) -> Artifact:
    """The same, over in ten minutes."""
    times = {
        "refresh_by": UnixTime(factory.NOW + 100),
        "expires_at": UnixTime(factory.NOW + LIFE_S),
    }
    return sealed(replace(artifact.manifest, **times), artifact.content)  # type: ignore[arg-type]


DIRECTORY = short_lived(peers(record("n1"), record("n2"), record("n3")))


def dialled(story: Story) -> set[str]:
    """Whom a node dials now; nobody can be reached."""
    found: set[str] = set()
    waiting = story.find(Dial)
    while waiting:
        one = waiting.pop()
        found.add(one.node_id)
        story.when(PeerLost(link=None, node_id=one.node_id, reason=LostReason.CONNECT_FAILED))
        waiting += story.find(Dial)
    return found


def past_its_time(*artifacts: Artifact) -> Story:
    """A node whose directories have expired, without a link."""
    story = Story()
    link = story.link("n3")
    for one in artifacts:
        story.accept(one, link)
        dialled(story)
    story.when(PeerLost(link=link, node_id=NodeId("n3"), reason=LostReason.EOF))
    dialled(story)
    story.wait(LIFE_S * 1_000 + 1_000)
    dialled(story.when(TimerFired(timer=RefreshDue())))
    return story


def sought(story: Story) -> set[str]:
    """Whom a node without neighbours dials within a minute or so."""
    story.when(PeerLost(link=None, node_id=NodeId("x"), reason=LostReason.CONNECT_FAILED))
    first = dialled(story)
    return first.union(*(dialled(story.due(DialDue)) for _ in range(8)))


def is_shown(story: Story, peer: str) -> bool:
    """Whether a peer is shown an organisation of ours on a new link."""
    link = story.connect(peer)
    said = [one for one in story.sent(link) if isinstance(one, Hello)]
    return any(one.item.scope == "org:acme" for message in said for one in message.openings)


def test_the_members_of_an_expired_directory_are_dialled() -> None:
    assert sought(past_its_time(DIRECTORY)) == {"n2", "n3"}


def test_who_is_not_in_an_expired_directory_is_a_guest() -> None:
    story = past_its_time(DIRECTORY)
    story.link("m1", is_dialer=False)
    assert story.node.view.snapshot(story.now).neighbors.guests == 1


def test_an_expired_directory_shows_nobody_our_organisation() -> None:
    """Whoever left it since would be told who is in it: an outage grants nothing."""
    in_time = Story()
    in_time.accept(acme_peers("n1", "n2"), in_time.link("n3"))
    assert is_shown(in_time, "n2")
    assert not is_shown(past_its_time(short_lived(acme_peers("n1", "n2"))), "n2")


def test_an_expired_directory_that_is_revoked_says_nothing_any_more() -> None:
    story = past_its_time(DIRECTORY)
    bad = revocations(2, revoked(RevokedKind.MANIFEST, DIRECTORY.verified.manifest_hash))
    link = story.link("m1", is_dialer=False)
    story.announce(bad, link).persisted().stored(bad, link)
    story.when(PeerLost(link=link, node_id=NodeId("m1"), reason=LostReason.EOF))
    assert sought(story) == set()


def test_a_newer_directory_takes_the_place_of_an_expired_one() -> None:
    story = past_its_time(short_lived(acme_peers("n1", "n2")))
    story.accept(acme_peers("n1", "n2", version=8), story.link("m1", is_dialer=False))
    assert is_shown(story, "n2")
