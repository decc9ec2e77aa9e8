"""A peer that is entitled to less than before gets nothing that waited for it, from that moment."""

from dataclasses import replace

import pytest

from fabgossip.core.effects import Disconnect, SetTimer
from fabgossip.core.events import LifeDue, LinkId, LostReason, PeerConnected, TimerFired
from fabgossip.model.authority import NodeClaims, Opening
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import ByeReason, Claims, Welcome
from fabgossip.model.moment import Instant, UnixTime
from tests.core.artifacts import IN_ACME, acme_peers, acme_routes, trust
from tests.core.story import Peer, Story, identity, roots_told
from tests.trust import factory

PEER = NodeId("n4")
WITHOUT_ACME = (factory.SERVICE_OPENING, factory.ASSIGNMENT_OPENING)


def newer(openings: tuple[Opening, ...]) -> NodeClaims:
    """The peer's claims issued anew."""
    return replace(factory.claims(openings), node_id=PEER, claims_version=2, issued_at=factory.NOW)


@pytest.fixture
def story() -> tuple[Story, LinkId]:
    """A node that tells a member of acme of its routes."""
    told = Story()
    origin, link = told.link("n2"), told.link(PEER)
    told.accept(acme_peers("n1", "n2", PEER), origin)
    told.accept(acme_routes(), origin)
    assert IN_ACME in roots_told(told, link)
    return told, link


@pytest.mark.parametrize("commits", [factory.OPENINGS, WITHOUT_ACME], ids=["shows", "holds"])
def test_a_peer_whose_newer_claims_show_less_is_cut_at_once(
    story: tuple[Story, LinkId], commits: tuple[Opening, ...]
) -> None:
    """Before they are durable: what waits in its queues was for who is entitled to more."""
    told, link = story
    told.hear(link, Claims(openings=WITHOUT_ACME, claims=factory.signed_claims(newer(commits))))
    cut = told.only(Disconnect)
    assert (cut.link, cut.bye, cut.lost) == (link, ByeReason.CLOSED, LostReason.NARROWED)
    assert not told.sent(link)


def test_a_peer_whose_newer_claims_show_as_much_stays(story: tuple[Story, LinkId]) -> None:
    told, link = story
    claims = factory.signed_claims(newer(factory.OPENINGS))
    told.hear(link, Claims(openings=factory.OPENINGS, claims=claims)).persisted()
    assert not told.find(Disconnect)
    assert IN_ACME in roots_told(told, link)


def test_a_change_of_epoch_ends_no_link(story: tuple[Story, LinkId]) -> None:
    """It makes the claims of everybody count no more until they are issued anew, over these very
    links: a fabric that loses all of them at once would have to find itself again."""
    told, link = story
    bundle = trust(replace(factory.NEXT_BUNDLE, authority_epoch=3))
    told.announce(bundle, link).persisted().stored(bundle, link)
    assert not told.find(Disconnect)
    assert roots_told(told, link) == set()


def ends_at(told: Story) -> list[Instant]:
    """When links are looked at whether they are over, of what was just set."""
    return [one.at for one in told.find(SetTimer) if isinstance(one.timer, LifeDue)]


def assert_ends(told: Story, link: LinkId, at: Instant) -> None:
    """At that very second, not at the next look at everything."""
    told.wait(at - told.now.instant - 1).when(TimerFired(timer=LifeDue(link=link)))
    assert not told.find(Disconnect)
    told.wait(1).when(TimerFired(timer=LifeDue(link=link)))
    assert told.only(Disconnect).lost is LostReason.LIFE


def test_a_link_ends_with_the_peer_s_claims() -> None:
    told = Story()
    ends = replace(factory.claims(), node_id=PEER, expires_at=UnixTime(factory.NOW + 20))
    link = told.connect(PEER)
    told.hear(link, replace(Peer(name=PEER).hello(), claims=factory.signed_claims(ends)))
    told.persisted()
    (at,) = ends_at(told)
    told.hear(link, Welcome(protocol=1, features=0))
    assert_ends(told, link, at)
    assert told.now.unix == ends.expires_at


def test_a_link_ends_with_the_peer_s_certificate() -> None:
    told, link = Story(), LinkId(9)
    ends = replace(identity(PEER), expires_at=UnixTime(factory.NOW + 20))
    told.when(PeerConnected(link=link, identity=ends, is_dialer=True))
    told.hear(link, Peer(name=PEER).hello()).persisted()
    told.hear(link, Welcome(protocol=1, features=0))
    (at,) = ends_at(told)
    assert_ends(told, link, at)
    assert told.now.unix == ends.expires_at
