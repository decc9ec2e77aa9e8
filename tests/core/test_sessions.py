"""Links from TLS to open: the order of the first words, and which of two links stays."""

from dataclasses import replace
from itertools import permutations

import pytest

from fabgossip.core.effects import Dial, Disconnect, Fact, Send
from fabgossip.core.events import DialDue, HelloDue, LinkId, LostReason, PeerLost, TimerFired
from fabgossip.core.sessions import CROSSING, shared_protocol
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import (
    Announce,
    ByeReason,
    GetContent,
    GetHeads,
    Have,
    Hello,
    Message,
    Protocols,
    Welcome,
)
from fabgossip.model.topology import Endpoint
from tests.core.artifacts import EVERYBODY, revocations, routes, trust
from tests.core.story import Peer, Story, handed_over, roots_told
from tests.trust import factory
from tests.wire.samples import ping

WELCOME = Welcome(protocol=1, features=0)
N2 = Peer(name="n2")
FIRST = Protocols(lowest=1, highest=1)
NEXT = Protocols(lowest=1, highest=2)
"""A build that speaks its own version and the one before."""


def test_hello_is_the_first_word_and_welcome_its_answer() -> None:
    story = Story()
    link = story.connect("n2")
    (hello,) = story.sent(link)
    assert isinstance(hello, Hello)
    assert hello.openings == ()
    story.hear(link, N2.hello())
    assert story.sent(link) == [WELCOME]
    assert Fact.NEIGHBOR_CONNECTED not in story.facts()
    story.hear(link, WELCOME)
    assert Fact.NEIGHBOR_CONNECTED in story.facts()
    assert isinstance(story.sent(link)[0], GetHeads)


def test_a_welcome_may_overtake_nothing_but_the_hello() -> None:
    """Each end sends both words without waiting: the link opens on the second, whichever it is."""
    story = Story()
    link = story.connect("n2")
    story.hear(link, WELCOME)
    assert story.effects == []
    story.hear(link, N2.hello())
    assert Fact.NEIGHBOR_CONNECTED in story.facts()


@pytest.mark.parametrize(
    "message",
    [
        ping(1),
        Have(audience=EVERYBODY, prefixes=()),
        GetHeads(known=()),
        GetContent(items=()),
        Announce(entries=()),
    ],
    ids=lambda one: type(one).__name__,
)
@pytest.mark.parametrize("said", [(), (N2.hello(),), (WELCOME,)], ids=["", "hello", "welcome"])
def test_any_other_word_before_the_link_is_open_is_a_broken_protocol(
    said: tuple[Message, ...], message: Message
) -> None:
    story = Story()
    link = story.connect("n2")
    for one in said:
        story.hear(link, one)
    story.hear(link, message)
    assert story.find(Send) == []
    closed = story.only(Disconnect)
    assert (closed.link, closed.bye, closed.lost) == (
        link,
        ByeReason.PROTOCOL,
        LostReason.PROTOCOL,
    )


@pytest.mark.parametrize("message", [N2.hello(), WELCOME], ids=["hello", "welcome"])
def test_the_first_words_are_said_once(message: Message) -> None:
    story = Story()
    link = story.link(N2)
    story.hear(link, message)
    assert story.only(Disconnect).lost is LostReason.PROTOCOL


def test_a_half_open_link_is_told_nothing() -> None:
    """An artifact that arrives meanwhile goes to open links only."""
    story = Story()
    origin, half = story.link("n2"), story.connect("n3")
    story.hear(half, Peer(name="n3").hello())
    story.accept(routes(), origin)
    assert story.sent(half) == []


def test_a_link_that_does_not_open_in_time_is_closed() -> None:
    story = Story()
    slow, open_link = story.connect("n2"), story.link("n3")
    story.when(TimerFired(timer=HelloDue(link=open_link)))
    story.then()
    story.when(TimerFired(timer=HelloDue(link=slow)))
    assert (story.only(Disconnect).link, story.only(Disconnect).bye) == (slow, ByeReason.SLOW)


def speaking(name: str, low: int, high: int) -> Hello:
    """The first word of a peer that speaks these versions."""
    return replace(Peer(name=name).hello(), protocol_min=low, protocol_max=high)


@pytest.mark.parametrize(
    ("own", "low", "high", "least", "spoken"),
    [
        (FIRST, 1, 1, 1, 1),
        (FIRST, 1, 9, 1, 1),
        (FIRST, 0, 0, 1, None),
        (FIRST, 2, 9, 1, None),
        (FIRST, 1, 1, 2, None),
        (NEXT, 1, 1, 1, 1),
        (NEXT, 1, 2, 1, 2),
        (NEXT, 2, 3, 1, 2),
        (NEXT, 1, 1, 2, None),
        (NEXT, 1, 2, 2, 2),
        (NEXT, 1, 3, 3, None),
        (NEXT, 0, 0, 1, None),
        (NEXT, 3, 9, 1, None),
        (Protocols(lowest=2, highest=3), 1, 1, 1, None),
        (Protocols(lowest=2, highest=3), 1, 2, 1, 2),
    ],
)
def test_the_protocol_is_the_highest_both_speak_and_the_bundle_allows(
    own: Protocols, low: int, high: int, least: int, spoken: int | None
) -> None:
    assert shared_protocol(own, speaking("n2", low, high), least) == spoken


@pytest.mark.parametrize(("low", "high", "spoken"), [(1, 1, 1), (1, 2, 2), (2, 3, 2)])
def test_a_build_names_all_it_speaks_and_welcomes_with_what_both_do(
    low: int, high: int, spoken: int
) -> None:
    story = Story(protocols=NEXT)
    link = story.connect("n2")
    (hello,) = story.sent(link)
    assert isinstance(hello, Hello)
    assert (hello.protocol_min, hello.protocol_max) == (1, 2)
    story.hear(link, speaking("n2", low, high))
    assert story.sent(link) == [Welcome(protocol=spoken, features=0)]


@pytest.mark.parametrize("is_early", [False, True], ids=["hello first", "welcome first"])
def test_a_welcome_with_another_version_opens_no_link(
    is_early: bool,  # noqa: FBT001  # given by name
) -> None:
    """Both ends find the same version by one rule: whoever names another would be misread."""
    story = Story(protocols=NEXT)
    link = story.connect("n2")
    words: list[Message] = [speaking("n2", 1, 2), WELCOME]
    for one in reversed(words) if is_early else words:
        story.hear(link, one)
    assert story.only(Disconnect).bye is ByeReason.PROTOCOL
    assert Fact.NEIGHBOR_CONNECTED not in story.facts()


@pytest.mark.parametrize(("own", "low", "high"), [(FIRST, 2, 3), (NEXT, 3, 9), (NEXT, 0, 0)])
def test_a_peer_without_a_shared_protocol_is_told_so(own: Protocols, low: int, high: int) -> None:
    story = Story(protocols=own)
    link = story.connect("n2")
    story.hear(link, speaking("n2", low, high))
    closed = story.only(Disconnect)
    assert (closed.bye, closed.lost) == (ByeReason.VERSION, LostReason.VERSION)
    assert story.sent(link) == []


def test_the_bundle_ends_the_version_before_and_no_other() -> None:
    """Links on which both speak what it allows stay; who comes with the old one is turned away."""
    story = Story(protocols=NEXT)
    links = {}
    for name, high in (("n2", 1), ("n3", 2)):
        links[name] = story.connect(name)
        story.hear(links[name], speaking(name, 1, high))
        story.hear(links[name], Welcome(protocol=high, features=0))
    story.accept(trust(replace(factory.NEXT_BUNDLE, protocol_min=2)), links["n3"])
    closed = story.only(Disconnect)
    assert (closed.link, closed.bye) == (links["n2"], ByeReason.VERSION)
    again = story.connect("n4")
    story.hear(again, speaking("n4", 1, 1))
    assert (story.only(Disconnect).link, story.only(Disconnect).bye) == (again, ByeReason.VERSION)


def _crossing(own: str, other: str, order: tuple[str, ...]) -> set[str]:
    """Which of two crossing links `own` gives up: `mine` it dialled, `theirs` the other one did."""
    story = Story(name=own)
    links: dict[str, LinkId] = {}
    closed: list[LinkId] = []
    for step in order:
        word, which = step.split()
        if word == "connect":
            links[which] = story.connect(other, is_dialer=which == "mine")
        else:
            story.hear(links[which], Peer(name=other).hello())
            closed += [one.link for one in story.find(Disconnect)]
    return {which for which, link in links.items() if link in closed}


ORDERS = [
    order
    for order in permutations(("connect mine", "connect theirs", "hello mine", "hello theirs"))
    if order.index("connect mine") < order.index("hello mine")
    and order.index("connect theirs") < order.index("hello theirs")
]


@pytest.mark.parametrize("order", ORDERS, ids=", ".join)
def test_crossing_dials_settle_on_the_link_of_the_smaller_id(order: tuple[str, ...]) -> None:
    """Whatever arrives first where, both ends give up the same link and keep the other."""
    assert _crossing("n1", "n2", order) == {"theirs"}
    assert _crossing("n2", "n1", order) == {"mine"}


@pytest.mark.parametrize(("own", "other"), [("n1", "n2"), ("n2", "n1")])
def test_the_loss_of_a_duplicate_is_no_loss_of_the_node(own: str, other: str) -> None:
    """The surviving link counts as the neighbour: the node is neither missed nor dialled again."""
    story = Story(name=own, bootstrap=(Endpoint(address=f"{other}:1", node_id=NodeId(other)),))
    story.link(Peer(name=other), is_dialer=False)
    duplicate = story.connect(other)
    story.hear(duplicate, Peer(name=other).hello())
    goes = story.only(Disconnect).link
    story.when(PeerLost(link=goes, node_id=NodeId(other), reason=LostReason.DUPLICATE))
    assert story.node.view.snapshot(story.now).neighbors.active == 1
    story.wait(120_000).due(DialDue)
    assert story.find(Dial) == []


def test_another_process_at_the_other_end_replaces_the_older_link() -> None:
    """A peer that restarted before its old link died is not turned away."""
    story = Story()
    old = story.link(N2)
    new = story.connect("n2", is_dialer=False)
    story.hear(new, replace(N2, boot="second").hello())
    closed = story.only(Disconnect)
    assert (closed.link, closed.bye) == (old, ByeReason.DUPLICATE)
    assert story.sent(new) == [WELCOME]
    lost = PeerLost(link=old, node_id=NodeId("n2"), reason=LostReason.DUPLICATE)
    story.when(lost).hear(new, WELCOME)
    assert [one.link for one in story.node.view.sessions()] == [new]
    assert Fact.NEIGHBOR_CONNECTED in story.facts()


@pytest.mark.parametrize("is_dialer", [True, False])
@pytest.mark.parametrize(("own", "other"), [("n1", "n2"), ("n2", "n1")])
def test_who_dials_anew_long_after_the_link_was_made_has_lost_it(
    own: str, other: str, *, is_dialer: bool
) -> None:
    """It would be turned away for as long as this end believes in the old link."""
    story = Story(name=own)
    old = story.link(Peer(name=other), is_dialer=is_dialer)
    story.wait(CROSSING + 1)
    new = story.connect(other, is_dialer=not is_dialer)
    story.hear(new, Peer(name=other).hello())
    assert (story.only(Disconnect).link, story.only(Disconnect).bye) == (old, ByeReason.DUPLICATE)


def test_claims_of_another_node_leave_the_trust_lane_only() -> None:
    """A stranger's papers open a link, and entitle to no more than a certificate alone."""
    story = Story()
    origin = story.link("n2")
    story.accept(routes(), origin)
    link = story.connect("n3")
    story.hear(link, Peer(name="n2").hello()).hear(link, WELCOME)
    assert roots_told(story, link) == set()
    assert handed_over(story, link, EVERYBODY) == set()
    story.announce(revocations(1), origin).persisted()
    (told,) = [one for one in story.sent(link) if isinstance(one, Announce)]
    assert told.entries[0].envelope == revocations(1).envelope


def test_what_is_stored_at_a_link_ends_with_it() -> None:
    """A new link to the same node starts from what it shows there, not from what it showed."""
    story = Story()
    first = story.link(N2)
    story.when(PeerLost(link=first, node_id=NodeId("n2"), reason=LostReason.EOF))
    story.accept(routes(), story.link("n3"))
    again = story.link(replace(N2, holds=factory.OPENINGS, shows=()))
    session = next(one for one in story.node.view.sessions() if one.link == again)
    assert session.openings == ()
