"""Neighbours by agreement: what a node says when links open, are asked for, doubted, ended."""

from typing import Final

from fabgossip.core.config import NeighborsConfig, NodeConfig
from fabgossip.core.effects import Dial, Disconnect, Fact, Send
from fabgossip.core.events import (
    DialDue,
    LinkId,
    LostReason,
    PeerLost,
    SilenceDue,
    TimerFired,
)
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import (
    Announce,
    Bye,
    ByeReason,
    Have,
    Message,
    NeighborAnswer,
    NeighborAsk,
    NeighborPurpose,
    Ping,
    Pong,
)
from fabgossip.model.topology import PeerClass
from tests.core.artifacts import Artifact, peers, record, revocations, routes
from tests.core.story import Story

ASK = NeighborAsk(purpose=NeighborPurpose.QUOTA, is_needed=True)
YES = NeighborAnswer(is_yes=True, retry_after_s=0)
FIRST_WAIT_MAX_MS: Final = 1_000
"""After it whoever was lost may be dialled again."""


def member(
    *names: str, config: NeighborsConfig | None = None, own: PeerClass = PeerClass.FULL
) -> Story:
    """A node that holds a directory of itself and these."""
    story = Story(config=NodeConfig(neighbors=config or NeighborsConfig()))
    link = story.link("source")
    directory = peers(
        record("n1", peer_class=own), record("source"), *(record(name) for name in names)
    )
    story.announce(directory, link).persisted().stored(directory, link)
    in_vain(story)
    story.when(PeerLost(link=link, node_id=NodeId("source"), reason=LostReason.RESET))
    return in_vain(in_vain(story).wait(FIRST_WAIT_MAX_MS).due(DialDue))


def in_vain(story: Story) -> Story:
    """Nobody answers those that were dialled."""
    dialed = [one.node_id for one in story.find(Dial)]
    while dialed:
        reason = LostReason.CONNECT_FAILED
        story.when(PeerLost(link=None, node_id=dialed.pop(), reason=reason))
        dialed += [one.node_id for one in story.find(Dial)]
    return story


def of(messages: list[Message], *kinds: type[Message]) -> list[Message]:
    return [one for one in messages if isinstance(one, kinds)]


def told(story: Story, link: LinkId, artifact: Artifact) -> bool:
    """Whether a link hears at once of what another one brings."""
    source = story.link("a bringer")
    story.announce(artifact, source).persisted()
    sent = story.sent(link)
    sent += story.stored(artifact, source).sent(link)
    return bool(of(sent, Announce, Have))


def test_who_dialed_asks_as_soon_as_the_link_is_open() -> None:
    story = member("n2")
    link = story.link("n2")
    assert of(story.sent(link), NeighborAsk) == [ASK]
    accepted = member("n2")
    other = accepted.link("n2", is_dialer=False)
    assert of(accepted.sent(other), NeighborAsk) == []


def test_a_visit_to_a_node_just_lost_is_no_more_than_that_until_it_would_have_been_dialed() -> None:
    """Who else is told of it would see that there was something to say."""
    story = member("n2")
    story.when(PeerLost(link=story.link("n2"), node_id=NodeId("n2"), reason=LostReason.RESET))
    visit, start = story.link("n2"), story.now.instant
    assert of(story.sent(visit), NeighborAsk) == []
    story.due(DialDue)
    assert of(story.sent(visit), NeighborAsk) == [ASK]
    assert 250 <= story.now.instant - start <= FIRST_WAIT_MAX_MS


def test_a_yes_makes_a_neighbor_at_both_ends_and_the_sets_are_compared_at_once() -> None:
    story = member("n2", "n3")
    link = story.link("n2")
    story.hear(link, YES)
    assert len(of(story.sent(link), Ping)) == 1
    assert story.node.view.snapshot(story.now).neighbors.guests == 0
    asked = story.link("n3", is_dialer=False)
    assert story.node.view.snapshot(story.now).neighbors.guests == 1
    story.hear(asked, ASK)
    assert story.sent(asked)[0] == YES
    assert story.node.view.snapshot(story.now).neighbors.guests == 0


def test_a_guest_hears_of_what_restricts_and_of_nothing_else() -> None:
    for artifact, is_told in ((routes(), False), (revocations(7), True)):
        story = member("n2")
        guest = story.link("stranger", is_dialer=False)
        assert told(story, guest, artifact) is is_told
        story = member("n2")
        neighbor = story.link("n2", is_dialer=False)
        story.hear(neighbor, ASK)
        assert told(story, neighbor, artifact)


def test_what_restricts_goes_whole_to_every_guest() -> None:
    """They are in no tree: neither its size nor what is told to neighbours makes a guest wait."""
    story = member("n2")
    guests = [story.link(f"g{number}", is_dialer=False) for number in range(9)]
    source = story.link("source")
    for version in (7, 8):
        listed = revocations(version)
        story.announce(listed, source).persisted().stored(listed, source)
        assert [len(of(story.sent(one), Announce)) for one in guests] == [1] * len(guests)


def test_a_stranger_that_asks_is_told_no_and_stays_a_guest() -> None:
    story = member("n2")
    link = story.link("stranger", is_dialer=False)
    story.hear(link, ASK)
    assert story.sent(link) == [NeighborAnswer(is_yes=False, retry_after_s=60)]
    assert story.find(Disconnect) == []


def test_an_ask_nobody_waited_for_an_answer_to_changes_nothing() -> None:
    story = member("n2")
    link = story.link("n2", is_dialer=False)
    story.hear(link, YES)
    assert story.node.view.snapshot(story.now).neighbors.guests == 1


def test_after_a_no_another_is_dialed_and_the_one_that_said_it_not_asked_again() -> None:
    config = NeighborsConfig(mesh_members_max=1, quota_per_audience=1, links_min=1, dials_max=1)
    story = member("n2", "n3", "n4", config=config)
    link = story.link("n2")
    in_vain(story).wait(2_000)
    story.hear(link, NeighborAnswer(is_yes=False, retry_after_s=60))
    assert {one.node_id for one in story.find(Dial)} <= {"n3", "n4", "source"}
    assert story.find(Dial)
    story.wait(20_000).due(DialDue)
    assert of(story.sent(link), NeighborAsk) == []


def test_somebody_needy_takes_the_place_of_somebody_redundant() -> None:
    config = NeighborsConfig(
        mesh_members_max=1, links_min=1, quota_per_audience=1, links_ordinary_max=4,
        links_upward_max=6,
    )  # fmt: skip
    names = [f"m{number}" for number in range(8)]
    story = member(*names, config=config)
    comfort = NeighborAsk(purpose=NeighborPurpose.QUOTA, is_needed=False)
    links = {name: story.link(name, is_dialer=False) for name in names}
    for number, name in enumerate(names[:6]):
        story.hear(links[name], comfort if number < 4 else ASK)
        assert story.sent(links[name])[0] == YES
    story.hear(links["m6"], comfort)
    assert story.sent(links["m6"]) == [NeighborAnswer(is_yes=False, retry_after_s=60)]
    story.hear(links["m7"], ASK)
    gone = story.only(Disconnect)
    assert gone.link in {links[name] for name in names[:4]}, "none of those that need it"
    assert (gone.bye, gone.retry_after_s, gone.lost) == (
        ByeReason.EVICTED, 600, LostReason.EVICTED,
    )  # fmt: skip
    assert story.sent(links["m7"])[0] == YES
    assert story.facts() == [Fact.NEIGHBOR_EVICTED]


def test_a_peer_that_says_when_to_come_back_is_heard() -> None:
    story = member("n2")
    link = story.link("n2")
    story.hear(link, YES)
    story.hear(link, Bye(reason=ByeReason.EVICTED, retry_after_s=600))
    story.when(PeerLost(link=link, node_id=NodeId("n2"), reason=LostReason.BYE))
    dialed = []
    while story.now.instant < 599_000:
        story.due(DialDue)
        if story.now.instant < 600_000:
            dialed += [one.node_id for one in story.find(Dial)]
        in_vain(story)
    assert dialed
    assert "n2" not in dialed


def test_a_link_in_doubt_carries_no_announcement_whole_and_is_replaced_at_once() -> None:
    config = NeighborsConfig(mesh_members_max=1, quota_per_audience=2, links_min=2)
    story = member("n2", "n3", "n4", "n5", config=config)
    links = [story.link(name) for name in ("n2", "n3")]
    for link in links:
        story.hear(link, YES)
    in_vain(story).wait(6_000)
    story.hear(links[1], Pong(sequence=1))
    story.when(TimerFired(timer=SilenceDue(link=links[0])))
    assert story.find(Disconnect) == []
    assert story.node.view.snapshot(story.now).neighbors.suspects == 1
    assert of(story.sent(links[0]), Ping)
    assert story.find(Dial), "somebody else"
    story.hear(links[0], Pong(sequence=2))
    assert story.node.view.snapshot(story.now).neighbors.suspects == 0


def test_an_idle_guest_is_told_that_its_visit_is_over() -> None:
    story = member("n2")
    link = story.link("stranger", is_dialer=False)
    start = story.now.instant
    while not story.find(Disconnect):
        story.due(DialDue)
    assert (story.only(Disconnect).link, story.only(Disconnect).bye) == (
        link, ByeReason.VISIT_OVER,
    )  # fmt: skip
    assert 60_000 <= story.now.instant - start <= 70_000


def test_a_thin_node_passes_nothing_on_and_tells_what_only_it_has() -> None:
    story = member("n2", "n3", own=PeerClass.THIN)
    link = story.link("n2")
    assert of(story.sent(link), NeighborAsk) == [
        NeighborAsk(purpose=NeighborPurpose.THIN, is_needed=True)
    ]
    story.hear(link, YES)
    assert not told(story, link, routes())


def test_a_guest_beyond_the_limit_is_told_so() -> None:
    story = member("n2", config=NeighborsConfig(guests_max=1))
    story.link("stranger", is_dialer=False)
    story.link("another", is_dialer=False)
    assert (story.only(Disconnect).bye, story.only(Disconnect).retry_after_s) == (
        ByeReason.FULL, 30,
    )  # fmt: skip
    assert len(story.find(Send)) <= 1, "nothing but the welcome"


def test_strangers_that_do_nothing_keep_out_nobody_dialled_and_nobody_who_may_be_in_need() -> None:
    story = member("n2", "n3")
    for number in range(NeighborsConfig().guests_max):
        story.link(f"visitor{number}", is_dialer=False)
    asked = story.link("n2", is_dialer=True)
    assert story.find(Disconnect) == []
    assert of(story.sent(asked), NeighborAsk)
    asker = story.link("n3", is_dialer=False)
    assert asker not in {one.link for one in story.find(Disconnect)}
    story.hear(asker, ASK)
    assert of(story.sent(asker), NeighborAnswer) == [YES]
