"""What leaves a node and for whom: a peer hears of nothing it did not show a right to."""

import ast
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

import fabgossip
from fabgossip.core.beliefs import Beliefs
from fabgossip.core.catalog import Catalog
from fabgossip.core.config import ConnectionsConfig, FetchingConfig, NeighborsConfig, NodeConfig
from fabgossip.core.disclosure import Disclosure
from fabgossip.core.effects import Disconnect, Effect, Fact, Send, ServeContent
from fabgossip.core.events import (
    AnswersDue,
    ComparisonDue,
    ContentServed,
    LinkId,
    LostReason,
    TimerFired,
    Unsent,
)
from fabgossip.core.neighbors import Neighbors
from fabgossip.core.sessions import Session, Sessions
from fabgossip.core.setup import OwnIdentity
from fabgossip.model.authority import VerifiedClaims
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import (
    SPOKEN,
    Announce,
    Busy,
    Claims,
    ContentAsk,
    GetContent,
    GetHeads,
    Graft,
    Have,
    HeadKnown,
    Heads,
    Hello,
    Holdings,
    Message,
    NotAvailable,
    Roots,
    Welcome,
)
from fabgossip.model.moment import Duration, Instant, Now
from tests.core.artifacts import (
    EVERYBODY,
    IN_ACME,
    Artifact,
    acme_peers,
    acme_routes,
    peers,
    record,
    routes,
    tombstone,
)
from tests.core.story import (
    VERIFIER,
    Peer,
    Story,
    announcement,
    handed_over,
    identity,
    pinned,
    roots_told,
)
from tests.trust import factory

OUTSIDER = Peer(name="n3", shows=())
"""In the cluster, and shows no organisation."""
CORE = Path(fabgossip.__file__).parent / "core"


def ask(artifact: Artifact) -> GetContent:
    item = ContentAsk(artifact.verified.manifest_hash, artifact.content_hash, 0, 1)
    return GetContent(items=(item,))


def names_acme(message: Message) -> bool:
    """Whether a message names, counts or carries anything of the organisation."""
    secrets = (acme_routes().prefix, acme_routes().envelope, acme_routes(8).envelope)
    text = repr(message)
    return "org:acme" in text or any(repr(one)[2:-1] in text for one in secrets)


def test_send_is_made_in_exactly_one_function() -> None:
    """The choke point is one: a second place that sends would pass by the one that judges."""
    sources = {path.stem: path.read_text() for path in sorted(CORE.parent.rglob("*.py"))}
    trees = {stem: ast.parse(text) for stem, text in sources.items() if "Send(" in text}
    places = [
        f"{stem}.{outer.name}.{inner.name}"
        for stem, tree in trees.items()
        for outer in ast.walk(tree)
        if isinstance(outer, ast.ClassDef)
        for inner in outer.body
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
        for _ in _calls_of_send(inner)
    ]
    assert places == ["disclosure.Disclosure.send"]
    assert sum(len(_calls_of_send(tree)) for tree in trees.values()) == 1


def _calls_of_send(tree: ast.AST) -> list[ast.Call]:
    """Every `Send(...)`, and not the patterns of a `match`."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == Send.__name__
    ]


def test_the_choke_point_itself_judges_the_audience() -> None:
    """Whatever its caller forgot to ask: no audience passes to who did not show a right to it."""
    out: list[Effect] = []
    beliefs = Beliefs(
        OwnIdentity(node_id=NodeId("n1"), claims=b"", openings=(), pinned=pinned()), VERIFIER
    )
    sessions = Sessions(NodeId("n1"), SPOKEN)
    configs = (NeighborsConfig(), ConnectionsConfig())
    neighbors = Neighbors(NodeId("n1"), configs, (), Random(1))
    disclosure = Disclosure(beliefs, Catalog(), sessions, neighbors, out)
    now = Now(instant=Instant(0), unix=factory.NOW)
    for link, peer in enumerate((Peer(name="n2"), OUTSIDER)):
        session = Session(
            LinkId(link), identity(peer.name), is_dialer=True, since=now.instant, life=Duration(1)
        )
        claims = beliefs.claims_of(peer.hello().claims, peer.shows, NodeId(peer.name), now)
        assert isinstance(claims, VerifiedClaims)
        session.claims = claims
        sessions.on_connected(session)
    for link in range(3):
        disclosure.send(LinkId(link), Have(audience=IN_ACME, prefixes=()), audience=IN_ACME)
    assert [one.link for one in out if isinstance(one, Send)] == [LinkId(0)]


def test_everybody_entitled_is_told_but_not_where_it_came_from() -> None:
    story = Story()
    origin, entitled, outsider = story.link("n2"), story.link("n4"), story.link(OUTSIDER)
    story.announce(acme_routes(), origin, hops=3).persisted().stored(acme_routes(), origin)
    assert story.sent(entitled) == [announcement(acme_routes(), hops=4)]
    assert story.sent(origin) == []
    assert story.sent(outsider) == []


def test_a_peer_that_shows_no_organisation_never_hears_of_it() -> None:
    """Not when its link opens, not when versions come and go, not when it asks."""
    story = Story()
    origin = story.link("n2")
    story.accept(acme_routes(7), origin)
    heard: list[Message] = []
    outsider = story.link(OUTSIDER)
    heard += story.sent(outsider)
    probes = (
        Have(audience=IN_ACME, prefixes=(b"p" * 16,)),
        Graft(audience=IN_ACME, prefixes=(acme_routes().prefix,)),
        GetHeads(known=(HeadKnown(acme_routes().manifest.namespace.text, 0, 0),)),
        ask(acme_routes()),
        GetHeads(known=(HeadKnown("nothing/like/this", 0, 0),)),
    )
    for probe in probes:
        heard += story.hear(outsider, probe, 2).sent(outsider)
    heard += story.due(AnswersDue).sent(outsider)
    for artifact in (acme_routes(8), routes(7)):
        for event in ("announce", "persist", "store", "switch"):
            match event:
                case "announce":
                    story.announce(artifact, origin)
                case "persist":
                    story.persisted()
                case "store":
                    story.stored(artifact, origin)
                case _:
                    story.materialized()
            heard += story.sent(outsider)
    assert announcement(routes(7)) in heard
    assert not [one for one in heard if names_acme(one)]
    assert heard.count(Heads(envelopes=())) == 2


@pytest.mark.parametrize("held", [True, False], ids=["forbidden", "absent"])
def test_absent_and_forbidden_get_the_identical_answer(held: bool) -> None:  # noqa: FBT001
    story = Story()
    origin, outsider = story.link("n2"), story.link(OUTSIDER)
    if held:
        story.accept(acme_routes(), origin)
    story.hear(outsider, ask(acme_routes()), 6)
    # Only our own record tells the two apart.
    assert (Fact.FETCH_DENIED in story.facts()) is held
    assert story.find(ServeContent) == []
    story.due(AnswersDue)
    assert story.find(Send) == [
        Send(
            link=outsider,
            message=NotAvailable(item=0),
            traffic=story.find(Send)[0].traffic,
            stream=6,
        )
    ]
    assert story.find(Send)[0].traffic.name == "POLICY"


def test_a_known_manifest_with_another_content_hash_is_not_available() -> None:
    """Entitled to one content is not entitled to every hash."""
    story = Story()
    link = story.link("n2")
    story.accept(routes(), link)
    item = ContentAsk(routes().verified.manifest_hash, acme_routes().content_hash, 0, 1)
    story.hear(link, GetContent(items=(item,)), 2).due(AnswersDue)
    assert story.sent(link) == [NotAvailable(item=0)]


def test_what_is_held_is_served_by_its_place_in_the_request() -> None:
    story = Story()
    link = story.link("n2")
    story.accept(routes(), link)
    items = (ask(acme_routes()).items[0], ask(routes()).items[0])
    story.hear(link, GetContent(items=items), 2)
    served = story.only(ServeContent)
    assert [(one.item, one.content_hash) for one in served.items] == [(1, routes().content_hash)]
    assert served.stream == 2
    assert story.due(AnswersDue).sent(link) == [NotAvailable(item=0)]


@pytest.mark.parametrize("artifact", [routes(), acme_routes(99)], ids=["held", "absent"])
def test_busy_is_decided_before_the_look_up(artifact: Artifact) -> None:
    """With its own slot and all shared ones in use, and no sooner, an asker gets the same word
    whatever it asks for."""
    config = NodeConfig(fetching=FetchingConfig(serve_streams_max=1))
    story = Story(config=config)
    link = story.link("n2")
    story.accept(routes(), link)
    for stream in (2, 4):
        story.hear(link, ask(routes()), stream)
        assert len(story.find(ServeContent)) == 1
    story.hear(link, ask(artifact), 6)
    (busy,) = story.sent(link)
    assert isinstance(busy, Busy)
    assert story.find(ServeContent) == []
    assert story.facts() == []
    story.when(ContentServed(link=link, stream=2)).hear(link, ask(routes()), 8)
    assert len(story.find(ServeContent)) == 1


def test_what_is_withdrawn_or_expired_is_not_served() -> None:
    story = Story()
    link = story.link("n2")
    story.accept(routes(), link).accept(tombstone(8), link)
    story.hear(link, ask(routes()), 2)
    assert story.find(ServeContent) == []
    assert story.due(AnswersDue).sent(link) == [NotAvailable(item=0)]
    story.accept(routes(7, name="r2"), link).step_clock(factory.DAY)
    story.hear(link, ask(routes(7, name="r2")), 4)
    assert story.find(ServeContent) == []
    assert story.due(AnswersDue).sent(link) == [NotAvailable(item=0)]


def test_only_durable_heads_are_given_and_grafted() -> None:
    """What a power cut could take back is not offered."""
    story = Story()
    origin = story.link("n2")
    story.announce(routes(), origin)
    persist = story.effects
    late = story.link("n4")
    assert routes().envelope not in handed_over(story, late, EVERYBODY)
    graft = Graft(audience=EVERYBODY, prefixes=(routes().prefix,))
    assert story.hear(late, graft).sent(late) == []
    known = HeadKnown(routes().manifest.namespace.text, 0, 0)
    story.hear(late, GetHeads(known=(known,)))
    assert story.due(AnswersDue).sent(late) == [Heads(envelopes=())]
    story.effects = persist
    story.persisted()
    assert routes().envelope in handed_over(story, late, EVERYBODY)
    assert story.hear(late, graft).sent(late) == [announcement(routes(), hops=0)]


def test_heads_answers_what_is_above_and_nothing_else() -> None:
    story = Story()
    link = story.link("n2")
    story.accept(routes(8), link)
    name = routes().manifest.namespace.text
    for version, expected in ((7, (routes(8).envelope,)), (8, ()), (9, ())):
        known = HeadKnown(name, 2, version)
        story.hear(link, GetHeads(known=(known,)))
        if not expected:
            assert story.sent(link) == []
            story.due(AnswersDue)
        assert story.sent(link) == [Heads(envelopes=expected)]


def shown(story: Story, link: LinkId) -> set[str]:
    """The organisations and services a node has shown on a link, in the last effects."""
    openings = [
        opening
        for message in story.sent(link)
        if isinstance(message, Hello | Claims)
        for opening in message.openings
    ]
    return {one.item.scope or "an assignment" for one in openings}


def test_an_organisation_is_shown_only_to_peers_its_directory_lists() -> None:
    story = Story()
    origin = story.link("n2")
    assert shown(story, origin) == set()
    story.accept(acme_peers("n1", "n4"), origin)
    listed = story.connect("n4")
    assert shown(story, listed) == {"org:acme"}
    unlisted = story.connect("n5")
    assert shown(story, unlisted) == set()


def test_a_directory_that_comes_later_widens_what_an_open_link_was_shown() -> None:
    story = Story()
    origin, listed, unlisted = story.link("n2"), story.link("n4"), story.link("n5")
    story.announce(acme_peers("n1", "n4"), origin).persisted()
    story.stored(acme_peers("n1", "n4"), origin)
    assert shown(story, listed) == {"org:acme"}
    assert shown(story, unlisted) == shown(story, origin) == set()


def test_the_control_endpoint_is_shown_everything() -> None:
    """It signed it; so a node that holds no directory yet can be told of its own artifacts."""
    story = Story()
    link = story.connect("n9")
    story.hear(link, Peer(name="n9", roles=("control-endpoint", "edge")).hello()).persisted()
    story.hear(link, Welcome(protocol=1, features=0))
    assert shown(story, link) == {"org:acme", "service:dns", "an assignment"}


def test_a_directory_that_no_longer_lists_a_peer_closes_the_link() -> None:
    """What was shown cannot be unsaid: the link starts anew and shows less."""
    story = Story()
    origin = story.link("n2")
    story.accept(acme_peers("n1", "n4", "n5"), origin)
    leaves, stays = story.link("n4"), story.link("n5")
    story.announce(acme_peers("n1", "n5", version=8), origin).persisted()
    story.stored(acme_peers("n1", "n5", version=8), origin)
    closed = story.only(Disconnect)
    assert (closed.link, closed.lost) == (leaves, LostReason.NARROWED)
    assert stays in [one.link for one in story.node.view.sessions()]


def test_a_peer_that_shows_more_is_told_more() -> None:
    story = Story()
    origin, outsider = story.link("n2"), story.link(OUTSIDER)
    story.accept(acme_peers("n1", "n2", OUTSIDER.name), origin)
    story.accept(acme_routes(), origin)
    assert IN_ACME not in roots_told(story, outsider)
    assert handed_over(story, outsider, IN_ACME) == set()
    story.hear(outsider, Claims(openings=(factory.ORG_OPENING,)))
    whole = [one for one in story.sent(outsider) if isinstance(one, Holdings)]
    assert whole[-1].is_whole
    assert IN_ACME in [entry.audience for entry in whole[-1].entries]
    assert IN_ACME in roots_told(story, outsider)
    assert acme_routes().envelope in handed_over(story, outsider, IN_ACME)


def test_a_forged_opening_leaves_a_peer_as_it_was() -> None:
    story = Story()
    origin, outsider = story.link("n2"), story.link(OUTSIDER)
    story.accept(acme_routes(), origin)
    forged = replace(factory.ORG_OPENING, salt=b"x" * 16)
    story.hear(outsider, Claims(openings=(forged,)))
    story.then()
    assert story.accept(acme_routes(8), origin).sent(outsider) == []


def test_what_a_full_queue_dropped_is_found_by_the_root_of_its_set() -> None:
    """Once the queue had a second to drain, and not sooner."""
    story = Story()
    origin, link, outsider = story.link("n2"), story.link("n4"), story.link(OUTSIDER)
    story.accept(acme_peers("n1", "n2", "n4"), origin).accept(acme_routes(), origin)
    for unsent in (link, outsider):
        story.when(Unsent(link=unsent, audience=IN_ACME))
        assert story.find(Send) == []
    assert story.newest(ComparisonDue) == 1_000
    story.wait(999).when(TimerFired(timer=ComparisonDue(link=link)))
    assert story.find(Send) == []
    story.wait(1).when(TimerFired(timer=ComparisonDue(link=link)))
    (roots,) = [one for one in story.sent(link) if isinstance(one, Roots)]
    assert [(one.audience, one.count) for one in roots.entries] == [(IN_ACME, 2)]
    story.when(TimerFired(timer=ComparisonDue(link=outsider)))
    assert [one.entries for one in story.sent(outsider) if isinstance(one, Roots)] == [()]


def test_announcements_of_a_public_directory_reach_every_member() -> None:
    story = Story()
    origin, outsider = story.link("n2"), story.link(OUTSIDER)
    directory = peers(record("n1"), record("n2"), record("n3"))
    story.announce(directory, origin).persisted().stored(directory, origin)
    assert [one for one in story.sent(outsider) if isinstance(one, Announce)] == [
        announcement(directory)
    ]
