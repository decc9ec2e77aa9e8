"""Versions that follow each other faster than their contents come are applied all the same."""

from fabgossip.core.catalog import HeadState
from fabgossip.core.effects import Materialize, ReceiveContent, Remove
from fabgossip.core.events import ContentFailed, FetchFailure, LinkId, Persisted
from fabgossip.core.wants import Want
from tests.core.artifacts import Artifact, peers, record, routes, tombstone
from tests.core.story import Story


def version(number: int) -> Artifact:
    return routes(number, content=b"version %d" % number)


def overtaken() -> tuple[Story, LinkId]:
    """Version 6 is in use, 7 on its way, and 8 known."""
    story = Story()
    link = story.link("n2")
    story.accept(version(6), link)
    story.announce(version(7), link).persisted()
    assert story.only(ReceiveContent).wanted == version(7).wanted
    story.announce(version(8), link).persisted()
    return story, link


def switched(story: Story) -> list[int]:
    return [one.order.version for one in story.find(Materialize) if one.order is not None]


def state(story: Story) -> HeadState:
    (head,) = story.node.view.heads_of(version(8).content_hash)
    return head.state


def test_what_was_on_its_way_is_applied_and_the_newer_one_stays_wanted() -> None:
    story, link = overtaken()
    story.stored(version(7), link)
    assert switched(story) == [7]
    assert state(story) is HeadState.BEHIND
    assert isinstance(story.node.view.want_of(version(8).verified), Want)
    story.materialized()
    story.stored(version(8), link)
    assert switched(story) == [8]
    assert version(7).content_hash in [one.content_hash for one in story.find(Remove)]


def test_a_publisher_that_is_always_faster_starves_nobody() -> None:
    """Each content comes after the next version was announced."""
    story = Story()
    link = story.link("n2")
    story.accept(version(6), link)
    story.announce(version(7), link).persisted()
    applied = []
    for number in range(8, 18):
        story.announce(version(number), link).persisted()
        story.stored(version(number - 1), link)
        applied += switched(story)
        if switched(story):
            story.materialized()
        story.node.check()
    assert applied == list(range(7, 17))


def test_of_several_on_their_way_the_first_is_waited_for() -> None:
    """It is the nearest to its end; whoever gave it up for each newer one would get none."""
    story, link = overtaken()
    for number in range(9, 20):
        story.announce(version(number), link).persisted()
    story.stored(version(7), link)
    assert switched(story) == [7]


def test_of_versions_on_their_way_the_newest_that_comes_is_used_and_none_goes_back() -> None:
    story, link = overtaken()
    story.stored(version(8), link).materialized()
    story.stored(version(7), link)
    assert not switched(story)
    assert [one.content_hash for one in story.find(Remove)] == [version(7).content_hash]


def test_what_fails_after_it_was_overtaken_is_given_up() -> None:
    story, link = overtaken()
    failed = ContentFailed(
        wanted=version(7).wanted, link=link, request=None, reason=FetchFailure.STALLED, received=0
    )
    story.when(failed)
    assert not isinstance(story.node.view.want_of(version(7).verified), Want)
    assert isinstance(story.node.view.want_of(version(8).verified), Want)


def test_a_tombstone_lets_nothing_before_it_through() -> None:
    story = Story()
    link = story.link("n2")
    story.accept(version(6), link)
    story.announce(version(7), link).persisted()
    story.announce(tombstone(8), link).persisted()
    story.stored(version(7), link)
    assert not switched(story)


def test_what_this_node_reads_itself_is_not_read_out_of_turn() -> None:
    """A directory that is over is believed by nobody."""
    story = Story()
    link = story.link("n2")
    story.accept(peers(record("n1"), record("n2"), version=6), link)
    late = peers(record("n1"), record("n2"), record("n3"), version=7)
    story.announce(late, link).persisted()
    story.announce(peers(record("n1"), record("n2"), version=8), link).persisted()
    story.stored(late, link)
    assert not switched(story)


def test_what_was_disputed_is_not_used_once_a_newer_version_is_known() -> None:
    """Who holds back the newest content would have consumers read one of two that contradict."""
    story = Story()
    link = story.link("n2")
    story.accept(version(6), link)
    story.announce(version(7), link).persisted()
    other = routes(7, content=b"another seven")
    story.announce(other, link).persisted()
    story.announce(version(8), link).persisted()
    story.stored(version(7), link)
    assert not switched(story)


def test_a_switch_that_fails_late_says_nothing_of_the_newer_version() -> None:
    story, link = overtaken()
    story.stored(version(7), link)
    late = story.only(Materialize).token
    story.stored(version(8), link)
    newest = story.only(Materialize).token
    story.when(Persisted(token=late, ok=False))
    assert state(story) is HeadState.APPLYING
    story.when(Persisted(token=newest, ok=True))
    assert state(story) is HeadState.CURRENT
