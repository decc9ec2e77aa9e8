"""Several sources bring a large content together, each other chunks of it."""

from fabgossip.core.chunks import Chunks
from fabgossip.core.effects import CancelContent, ReceiveContent
from fabgossip.core.events import ContentFailed, ContentStored, FetchFailure, LadderDue, LinkId
from fabgossip.core.hedging import SOURCES_AT_ONCE
from fabgossip.core.ladder import Step
from fabgossip.core.parts import LAST_CHUNKS, SHARED_CHUNKS_MIN, Part
from fabgossip.core.wants import EndedWant, Want
from fabgossip.model.artifact import chunk_size_of
from tests.core.artifacts import Artifact, routes
from tests.core.story import Story
from tests.core.test_fetching import fabric

CHUNK = chunk_size_of(2 << 20)
LARGE = bytes(SHARED_CHUNKS_MIN * CHUNK)


def wanting(content: bytes = LARGE) -> tuple[Story, dict[str, LinkId], Artifact]:
    """Somebody announced it, and was asked."""
    story, links = fabric()
    wanted = routes(content=content)
    story.announce(wanted, links["announcer"]).persisted()
    assert story.only(ReceiveContent).link == links["announcer"]
    return story, links, wanted


def sharing() -> tuple[Story, dict[str, LinkId], Artifact]:
    story, links, wanted = wanting()
    story.due(LadderDue)
    assert story.only(ReceiveContent).link == links["same-rack"]
    return story, links, wanted


def test_the_next_source_of_the_step_is_asked_at_once() -> None:
    story, _, wanted = sharing()
    assert story.now.instant == 0
    want = story.node.view.want_of(wanted.verified)
    assert isinstance(want, Want)
    assert want.reason == "home endpoint, same rack, beside announcer"
    assert (want.step, want.asked, len(want.tries)) == (Step.NORMAL, 2, 2)


def test_one_chunk_less_comes_from_one_source() -> None:
    story, _, _ = wanting(LARGE[:-CHUNK])
    story.due(LadderDue)
    assert story.find(ReceiveContent) == []


def test_each_is_named_for_what_it_brought() -> None:
    story, links, wanted = sharing()
    brought = ((links["announcer"], 5 * CHUNK), (links["same-rack"], 3 * CHUNK))
    story.when(
        ContentStored(wanted=wanted.wanted, link=links["announcer"], content=None, brought=brought)
    )
    want = story.node.view.want_of(wanted.verified)
    assert isinstance(want, EndedWant)
    assert [(one.node_id, one.outcome, one.received) for one in want.attempts] == [
        ("announcer", "verified", 5 * CHUNK),
        ("same-rack", "verified", 3 * CHUNK),
    ]
    assert story.find(CancelContent) == []


def test_who_brought_nothing_is_told_that_nothing_is_needed() -> None:
    story, links, wanted = sharing()
    brought = ((links["same-rack"], len(LARGE)),)
    story.when(
        ContentStored(wanted=wanted.wanted, link=links["same-rack"], content=None, brought=brought)
    )
    assert story.only(CancelContent).link == links["announcer"]


def test_who_fails_is_followed_by_another_of_the_step_and_what_came_counts() -> None:
    """The step has asked as many as it may, so nobody follows before the last one fails."""
    story, links, wanted = sharing()
    for name, next_one in (("announcer", None), ("same-rack", "same-zone")):
        story.when(
            ContentFailed(
                wanted=wanted.wanted, link=links[name], request=None,
                reason=FetchFailure.BAD_HASH, received=CHUNK,
            )
        )  # fmt: skip
        asked = [one.link for one in story.find(ReceiveContent)]
        assert asked == ([] if next_one is None else [links[next_one]])
    want = story.node.view.want_of(wanted.verified)
    assert isinstance(want, Want)
    assert [(one.outcome, one.received) for one in want.attempts] == 2 * [("bad_hash", CHUNK)]
    assert len(want.tries) <= SOURCES_AT_ONCE


def part(chunks: int = 5) -> Part:
    return Part(Chunks(routes(content=bytes(chunks * CHUNK)).wanted))


def ask(part: Part, *own: int) -> int | None:
    number = part.next_for(own)
    if number is not None:
        part.on_asked(number)
    return number


def test_each_chunk_is_asked_of_one_source_until_the_last_two() -> None:
    one = part()
    assert [ask(one) for _ in range(6)] == [0, 1, 2, 3, 4, None]
    for number in (0, 3):
        one.on_over(number)
        one.on_kept(number)
    assert ask(one) is None, "three are lacking"
    one.on_over(2)
    assert ask(one) == 2, "who was to bring it failed"
    one.on_over(2)
    one.on_kept(2)
    assert LAST_CHUNKS == 2
    assert ask(one, 1, 4) is None, "its own"
    assert [ask(one, 1), ask(one), ask(one)] == [4, 1, None]


def test_a_part_is_whole_once_all_chunks_are_here() -> None:
    one = part(5)
    for number in range(5):
        assert not one.is_whole
        one.on_kept(number)
        assert one.kept_bytes == (number + 1) * CHUNK
        assert one.has(number)
    assert one.is_whole
    assert ask(one) is None
