"""What is told, to whom and how much of it: content along, news only, or nothing."""

from dataclasses import replace
from typing import Final

import pytest

from fabgossip.core.config import DisseminationConfig, NodeConfig
from fabgossip.core.effects import Fact, ReceiveContent, Record
from fabgossip.core.events import (
    AnnounceDue,
    GraftDue,
    HaveDue,
    LinkId,
    LinkSlow,
    LostReason,
    PeerLost,
    TimerFired,
)
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import MEMBER_ROLE, RevokedKind
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import Announce, Announced, Graft, Have, Message, Pong, Prune
from fabgossip.trust.rejections import RejectionCode
from fabgossip.trust.revocation import node_token
from tests.core.artifacts import (
    EVERYBODY,
    Artifact,
    artifact,
    revocations,
    revoked,
    routes,
    trust,
)
from tests.core.story import Peer, Story, announcement
from tests.trust import factory

ONE_EAGER: Final = NodeConfig(dissemination=DisseminationConfig(eager_links=1))


def with_content(artifact: Artifact, content: bytes | None = None, hops: int = 1) -> Announce:
    """An announcement that carries a content, its own unless another is given."""
    carried = artifact.content if content is None else content
    return Announce(entries=(Announced(artifact.envelope, hops, carried),))


def test_content_that_came_along_is_kept_and_carried_on_without_asking_anybody() -> None:
    story = Story()
    origin, other = story.link("n2"), story.link("n3")
    story.hear(origin, with_content(routes())).persisted()
    kept = story.only(ReceiveContent)
    assert (kept.content, kept.link, kept.request) == (routes().content, None, None)
    assert story.sent(other) == [with_content(routes(), hops=2)]
    assert story.sent(origin) == []


def test_content_that_is_not_the_one_signed_is_blamed_on_who_sent_it_and_wanted_as_usual() -> None:
    story = Story()
    origin, other = story.link("n2"), story.link("n3")
    story.hear(origin, with_content(routes(), b"something else"))
    (refused,) = [one for one in story.find(Record) if one.fact is Fact.ARTIFACT_REJECTED]
    assert dict(refused.fields)["code"] == RejectionCode.HASH_MISMATCH.value
    assert dict(refused.fields)["blame"] == "peer"
    story.persisted()
    assert story.only(ReceiveContent).link == origin
    assert story.sent(other) == []


def test_a_slow_link_carries_news_only_until_its_peer_asks_for_more() -> None:
    """Nobody below it waits for a peer that does not take what is sent."""
    story = Story()
    origin, slow = story.link("n2"), story.link("n3")
    story.hear(origin, with_content(routes(6))).persisted()
    assert [type(one) for one in story.sent(slow)] == [Announce]
    story.due(AnnounceDue).when(LinkSlow(link=slow))
    story.hear(origin, with_content(routes(7))).persisted()
    assert story.sent(slow) == []
    assert [type(one) for one in story.due(HaveDue).sent(slow)] == [Have]
    story.hear(slow, Graft(audience=EVERYBODY, prefixes=(routes(7).prefix,)))
    story.hear(origin, with_content(routes(8))).persisted()
    assert [type(one) for one in story.sent(slow)] == [Announce]


@pytest.mark.parametrize("has_answered", [True, False])
def test_where_all_links_are_lazy_the_oldest_carries_unless_it_is_in_doubt(
    *, has_answered: bool
) -> None:
    story = Story()
    slow, other, origin = three_links(story)
    story.hear(origin, with_content(routes(6))).persisted()
    story.due(AnnounceDue).hear(other, Prune(audience=EVERYBODY))
    for link in (slow, origin):
        story.when(LinkSlow(link=link))
    if has_answered:
        story.hear(slow, Pong(sequence=1))
    story.hear(origin, with_content(routes(7))).persisted()
    carried = [with_content(routes(7), hops=2)]
    expected = (carried, []) if has_answered else ([], carried)
    assert (story.sent(slow), story.sent(other)) == expected


def test_that_a_link_was_slow_is_nothing_once_it_has_ended() -> None:
    """It may be said of it afterwards: `check` finds what is kept of a link there is not."""
    story = Story()
    link = story.link("n2")
    story.when(PeerLost(link=link, node_id=NodeId("n2"), reason=LostReason.RESET))
    story.when(LinkSlow(link=link)).then()


def test_a_duplicate_along_the_tree_is_pruned_and_the_first_way_is_not() -> None:
    story = Story()
    first, second = story.link("n2"), story.link("n3")
    story.hear(first, with_content(routes())).persisted()
    story.hear(first, with_content(routes()))
    assert story.sent(first) == []
    story.hear(second, with_content(routes()))
    assert story.sent(second) == [Prune(audience=EVERYBODY)]


def test_what_was_asked_for_prunes_nothing() -> None:
    """It came along no tree, so it has no hops."""
    story = Story()
    first, second = story.link("n2"), story.link("n3")
    story.hear(first, with_content(routes())).persisted()
    story.hear(second, with_content(routes(), hops=0))
    assert story.sent(second) == []


def three_links(story: Story) -> tuple[LinkId, LinkId, LinkId]:
    """Where one link starts eager: one things come from, one that is eager, one that is lazy."""
    return story.link("n2"), story.link("n3"), story.link("n4")


def test_a_lazy_link_hears_the_news_a_moment_later_and_nothing_more() -> None:
    story = Story(config=ONE_EAGER)
    origin, _, lazy = three_links(story)
    story.hear(origin, with_content(routes())).persisted()
    assert story.sent(lazy) == []
    story.due(HaveDue)
    assert story.sent(lazy) == [Have(audience=EVERYBODY, prefixes=(routes().prefix,))]


def test_who_told_us_itself_needs_no_news() -> None:
    story = Story(config=ONE_EAGER)
    origin, _, lazy = three_links(story)
    story.hear(origin, with_content(routes())).persisted()
    story.hear(lazy, Have(audience=EVERYBODY, prefixes=(routes().prefix,)))
    assert story.due(HaveDue).sent(lazy) == []


def test_news_the_tree_does_not_follow_up_is_grafted() -> None:
    story = Story()
    link = story.link("n2")
    story.hear(link, Have(audience=EVERYBODY, prefixes=(routes().prefix,)))
    assert story.sent(link) == []
    story.due(GraftDue)
    assert story.sent(link) == [Graft(audience=EVERYBODY, prefixes=(routes().prefix,))]


def test_news_the_tree_follows_up_is_not() -> None:
    story = Story()
    first, second = story.link("n2"), story.link("n3")
    story.hear(second, Have(audience=EVERYBODY, prefixes=(routes().prefix,)))
    story.hear(first, with_content(routes()))
    assert story.due(GraftDue).sent(second) == []


def test_a_graft_makes_the_link_eager_at_both_ends() -> None:
    story = Story(config=ONE_EAGER)
    origin, _, lazy = three_links(story)
    story.hear(origin, with_content(routes())).persisted()
    story.hear(lazy, Graft(audience=EVERYBODY, prefixes=(routes().prefix,)))
    assert [type(one) for one in story.sent(lazy)] == [Announce]
    story.hear(origin, with_content(routes(8))).persisted()
    assert [type(one) for one in story.sent(lazy)] == [Announce]


def test_a_pruned_link_hears_only_the_news() -> None:
    story = Story()
    origin, other, third = three_links(story)
    story.hear(origin, with_content(routes())).persisted()
    story.hear(other, Prune(audience=EVERYBODY))
    story.hear(origin, with_content(routes(8))).persisted()
    assert story.sent(other) == []
    assert [type(one) for one in story.sent(third)] == []  # its window is open
    assert [type(one) for one in story.due(AnnounceDue).sent(third)] == [Announce]


LIMITED: Final = replace(
    factory.NEXT_BUNDLE,
    role_rules=(
        factory.role_rule(MEMBER_ROLE, ArtifactType.ROUTE_POLICY_BUNDLE),
        factory.role_rule("edge"),
    ),
)
"""A member may know of routes, an edge node of everything."""


def limited(config: NodeConfig | None = None) -> Story:
    """A node of a cluster where roles differ."""
    story = Story(config=config)
    link = story.link("n9")
    story.accept(trust(LIMITED), link)
    return story.when(PeerLost(link=link, node_id=NodeId("n9"), reason=LostReason.RESET))


def qos(version: int) -> Artifact:
    """What no member may know of, for an audience that every member is in."""
    return artifact(ArtifactType.QOS_POLICY_BUNDLE, "qos/q1", version=version)


@pytest.mark.parametrize("is_told_before", [True, False])
def test_what_a_peer_may_not_know_of_does_not_show_in_what_it_is_told(
    *, is_told_before: bool
) -> None:
    """It neither brings back a branch the peer pruned nor makes a tree for it to prune."""
    worlds: list[list[Message]] = []
    for hidden in (False, True):
        story = limited()
        origin, observer = story.link("n2"), story.link(Peer(name="n3", roles=(MEMBER_ROLE,)))
        if is_told_before:
            story.hear(origin, with_content(routes(6))).persisted()
        for version in (7, 8):
            if hidden:
                story.hear(origin, with_content(qos(version))).persisted()
                assert story.sent(observer) == []
            story.hear(observer, Prune(audience=EVERYBODY))
        story.wait(1_000).when(TimerFired(timer=AnnounceDue()))
        story.hear(origin, with_content(routes(7))).persisted()
        seen = story.sent(observer)
        story.wait(1_000).when(TimerFired(timer=HaveDue()))
        worlds.append(seen + story.sent(observer))
    assert worlds[0] == worlds[1]
    assert [type(one) for one in worlds[0]] == [Have if is_told_before else Announce]


def test_what_no_eager_link_may_know_of_is_carried_by_one_that_may() -> None:
    """Else all of them would wait for the news. What everybody may know of goes as before."""
    story = limited(ONE_EAGER)
    observer = story.link(Peer(name="n3", roles=(MEMBER_ROLE,)))
    story.hear(observer, with_content(routes(6))).persisted()
    origin, edge = story.link("n4"), story.link("n5")
    story.hear(origin, with_content(qos(7))).persisted()
    assert story.sent(edge) == [with_content(qos(7), hops=2)]
    story.hear(origin, with_content(routes(7))).persisted()
    assert story.sent(observer) == [with_content(routes(7), hops=2)]
    assert story.sent(edge) == []


def test_a_burst_shares_a_frame_and_of_one_namespace_the_newest_leaves() -> None:
    story = Story()
    origin, other = story.link("n2"), story.link("n3")
    story.hear(origin, with_content(routes(1, name="r0"))).persisted()
    assert story.sent(other) == [with_content(routes(1, name="r0"), hops=2)]
    for version, name in ((1, "r1"), (1, "r2"), (2, "r1")):
        story.hear(origin, with_content(routes(version, name=name))).persisted()
        assert story.sent(other) == []
    story.due(AnnounceDue)
    (frame,) = [one for one in story.sent(other) if isinstance(one, Announce)]
    told = [one.envelope for one in frame.entries]
    assert told == [routes(1, name="r2").envelope, routes(2, name="r1").envelope]


def test_of_a_version_that_waits_to_leave_nobody_hears_once_a_newer_one_is_durable() -> None:
    """The newer one is not told of before its content is here; the floor is above the other."""
    story = Story()
    origin, other = story.link("n2"), story.link("n3")
    story.accept(routes(7, name="first"), origin)
    story.accept(routes(7), origin)
    assert story.sent(other) == []
    story.announce(routes(8), origin).persisted()
    assert story.due(AnnounceDue).sent(other) == []
    story.stored(routes(8), origin)
    assert announcement(routes(8)) in (*story.sent(other), *story.due(AnnounceDue).sent(other))


def test_who_brought_a_newer_version_is_not_told_of_the_one_before() -> None:
    """It waited for its window meanwhile; nobody tells of a version below one that is durable."""
    story = Story()
    origin, other = story.link("n2"), story.link("n3")
    story.hear(origin, with_content(routes(1, "r1"))).persisted()
    story.hear(origin, with_content(routes(6, "r2"))).persisted()
    assert story.sent(other) == [], "it waits"
    story.hear(other, with_content(routes(7, "r2"))).persisted()
    assert story.due(AnnounceDue).sent(other) == []


def test_a_revocation_list_waits_for_no_window() -> None:
    story = Story()
    origin, other = story.link("n2"), story.link("n3")
    story.hear(origin, with_content(routes())).persisted()
    listed = revocations(8, revoked(RevokedKind.NODE, node_token(factory.CLUSTER, NodeId("n9"))))
    story.announce(listed, origin).persisted()
    assert story.sent(other) == [announcement(listed, inline=False)]


@pytest.mark.parametrize("size", [4_096, 4_097])
def test_on_a_cold_link_only_what_is_worth_it_rides_along(size: int) -> None:
    story = Story()
    origin, other = story.link("n2"), story.link("n3")
    small = routes(content=bytes(size))
    story.hear(origin, with_content(small)).persisted()
    (told,) = [one for one in story.sent(other) if isinstance(one, Announce)]
    assert (told.entries[0].content is not None) == (size == 4_096)


def test_what_was_learned_from_a_list_is_told_as_late_news_to_everybody() -> None:
    """Who comes back after a week floods nobody."""
    story = Story()
    origin, other = story.link("n2"), story.link("n3")
    story.hear(origin, Have(audience=EVERYBODY, prefixes=(routes().prefix,), is_late=True))
    assert [type(one) for one in story.sent(origin)] == [Graft]
    story.hear(origin, with_content(routes(), hops=0)).persisted()
    assert story.sent(other) == []
    late = Have(audience=EVERYBODY, prefixes=(routes().prefix,), is_late=True)
    assert story.due(HaveDue).sent(other) == [late]
    assert replace(late, is_late=False) != late


@pytest.mark.parametrize("is_late", [True, False])
def test_what_is_known_here_is_not_asked_for_however_much_was_heard_of_since(
    *, is_late: bool
) -> None:
    """What was seen is forgotten by number, over all audiences; what is at the head is not."""
    story = Story(config=NodeConfig(dissemination=DisseminationConfig(seen_max=16)))
    origin, other = story.link("n2"), story.link("n3")
    story.accept(routes(), origin)
    for number in range(20):
        story.accept(routes(name=f"x{number}"), origin)
    have = Have(audience=EVERYBODY, prefixes=(routes().prefix,), is_late=is_late)
    story.hear(other, have)
    assert not [one for one in story.sent(other) if isinstance(one, Graft)]
    story.wait(1_000).when(TimerFired(timer=GraftDue()))
    assert not [one for one in story.sent(other) if isinstance(one, Graft)]


def test_a_link_that_would_have_been_faster_joins_the_tree_once_it_proves_so() -> None:
    """Until then it is told only the news: what came is not sent back to who told of it."""
    story = Story(config=ONE_EAGER)
    origin, _, lazy = three_links(story)
    story.hear(origin, with_content(routes(6))).persisted()
    for version in (7, 8):
        story.hear(lazy, Have(audience=EVERYBODY, prefixes=(routes(version).prefix,)))
        story.hear(origin, with_content(routes(version)))
        grafted = [one for one in story.sent(lazy) if isinstance(one, Graft)]
        assert grafted == ([Graft(audience=EVERYBODY, prefixes=())] if version == 8 else [])
        assert story.persisted().sent(lazy) == []
    story.hear(lazy, with_content(routes(9))).persisted()
    story.hear(origin, with_content(routes(10))).persisted()
    assert [type(one) for one in story.sent(lazy)] == [Announce]
