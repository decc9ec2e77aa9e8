"""Memory of envelopes: nothing is judged or asked for twice, and nothing grows for ever."""

from typing import Final

import pytest

from fabgossip.core.config import DisseminationConfig, NodeConfig
from fabgossip.core.dissemination import LACKING_MAX, UNANSWERED, Dissemination
from fabgossip.core.events import GraftDue, LinkId, RefreshDue, TimerFired
from fabgossip.model.messages import (
    GRAFT_PREFIXES_MAX,
    HAVE_PREFIXES_MAX,
    Announce,
    Announced,
    Graft,
    Have,
)
from fabgossip.model.moment import Duration, Instant, later
from tests.core.artifacts import EVERYBODY, IN_ACME, acme_routes, routes
from tests.core.story import Peer, Story

A, B = LinkId(1), LinkId(2)
NOW: Final = Instant(1_000)


def prefix(number: int) -> bytes:
    return b"%016d" % number


def test_the_oldest_leaves_at_the_limit() -> None:
    memory = Dissemination(DisseminationConfig(seen_max=16))
    for number in range(17):
        memory.on_accepted(b"envelope %d" % number, EVERYBODY, prefix(number), A)
        memory.check()
    assert memory.seen_prefix(b"envelope 0") is None
    assert memory.seen_prefix(b"envelope 1") == prefix(1)
    assert memory.seen_prefix(b"envelope 16") == prefix(16)


def grafts(memory: Dissemination, link: LinkId, now: Instant = NOW) -> list[int]:
    """How many prefixes each graft of a link asks for until it asks no more."""
    sizes = []
    while (found := memory.next_graft(link, now)) is not None:
        assert found[0] == EVERYBODY
        sizes.append(len(found[1]))
    return sizes


def test_a_link_is_asked_for_no_more_than_it_can_answer() -> None:
    """A thousand answers at once would overfill the peer's queue, and be dropped."""
    memory = Dissemination(DisseminationConfig(asked_max=GRAFT_PREFIXES_MAX + 1))
    listed = tuple(prefix(number) for number in range(3 * GRAFT_PREFIXES_MAX))
    memory.on_listed(A, EVERYBODY, listed, NOW)
    assert grafts(memory, A) == [GRAFT_PREFIXES_MAX, 1]
    memory.check()
    for number in range(3):
        memory.on_accepted(b"envelope %d" % number, EVERYBODY, prefix(number), A)
    assert grafts(memory, A) == [3]


def test_nothing_is_asked_twice_of_one_link_unless_it_never_came() -> None:
    memory = Dissemination(DisseminationConfig())
    memory.on_listed(A, EVERYBODY, (prefix(1), prefix(2)), NOW)
    assert grafts(memory, A) == [2]
    memory.on_accepted(b"envelope", EVERYBODY, prefix(1), A)
    for now, asked in ((later(NOW, Duration(UNANSWERED - 1)), []), (later(NOW, UNANSWERED), [1])):
        memory.on_listed(A, EVERYBODY, (prefix(1), prefix(2)), now)
        assert grafts(memory, A, now) == asked


def test_what_is_not_answered_takes_no_room_for_longer_than_an_answer_may_take() -> None:
    """Each question has its own time: what was asked for a moment ago still comes."""
    memory = Dissemination(DisseminationConfig(asked_max=2))
    memory.on_listed(A, EVERYBODY, (prefix(1),), NOW)
    assert grafts(memory, A) == [1]
    soon = later(NOW, Duration(1))
    memory.on_listed(A, EVERYBODY, tuple(prefix(number) for number in range(2, 6)), soon)
    assert grafts(memory, A, soon) == [1]
    assert grafts(memory, A, later(NOW, Duration(UNANSWERED - 1))) == []
    assert grafts(memory, A, later(NOW, UNANSWERED)) == [1]
    memory.check()


def test_what_the_tree_did_not_bring_is_asked_for_before_what_was_listed() -> None:
    """In the same room, and in the order it was told in."""
    memory = Dissemination(DisseminationConfig(asked_max=3))
    memory.on_listed(A, EVERYBODY, (prefix(1), prefix(2), prefix(4)), NOW)
    memory.on_news(A, IN_ACME, (prefix(5), prefix(2)), NOW)
    assert memory.next_graft(A, NOW) == (IN_ACME, (prefix(2), prefix(5)))
    assert memory.next_graft(A, NOW) == (EVERYBODY, (prefix(1),))
    assert memory.next_graft(A, NOW) is None
    assert [memory.was_asked(A, prefix(number)) for number in (1, 2, 5)] == [True, False, False]


def test_a_lost_link_is_asked_anew_and_another_link_at_once() -> None:
    memory = Dissemination(DisseminationConfig())
    memory.on_listed(A, EVERYBODY, (prefix(1),), NOW)
    memory.on_listed(B, EVERYBODY, (prefix(1),), NOW)
    assert (grafts(memory, A), grafts(memory, B)) == ([1], [1])
    memory.on_lost(A)
    memory.on_listed(A, EVERYBODY, (prefix(1),), NOW)
    assert grafts(memory, A) == [1]


@pytest.mark.slow
def test_a_link_that_lists_without_end_pushes_out_its_own_lists_alone() -> None:
    """At the limit of all links together the longest list loses its oldest, not the newest one."""
    memory = Dissemination(DisseminationConfig(seen_max=LACKING_MAX))
    for start in range(0, LACKING_MAX, HAVE_PREFIXES_MAX):
        listed = tuple(prefix(number) for number in range(start, start + HAVE_PREFIXES_MAX))
        memory.on_listed(A, EVERYBODY, listed, NOW)
    memory.check()
    memory.on_listed(B, EVERYBODY, (prefix(LACKING_MAX),), NOW)
    memory.check()
    assert memory.next_graft(B, NOW) == (EVERYBODY, (prefix(LACKING_MAX),))
    asked = memory.next_graft(A, NOW)
    assert asked == (EVERYBODY, tuple(prefix(number) for number in range(1, 65)))


def test_what_was_judged_is_not_asked_for() -> None:
    memory = Dissemination(DisseminationConfig())
    memory.on_accepted(b"envelope", EVERYBODY, prefix(1), A)
    memory.on_listed(A, EVERYBODY, (prefix(1), prefix(2)), NOW)
    assert memory.next_graft(A, NOW) == (EVERYBODY, (prefix(2),))


def test_what_came_over_another_link_meanwhile_does_not_hide_the_rest() -> None:
    """Neither another audience behind it nor what stands far behind it waits for the next turn."""
    memory = Dissemination(DisseminationConfig())
    many = tuple(prefix(number) for number in range(8 * GRAFT_PREFIXES_MAX))
    memory.on_listed(A, EVERYBODY, many, NOW)
    memory.on_listed(A, IN_ACME, (b"q" * 16,), NOW)
    for number, one in enumerate(many):
        memory.on_accepted(b"envelope %d" % number, EVERYBODY, one, A)
    assert memory.next_graft(A, NOW) == (IN_ACME, (b"q" * 16,))


def test_a_list_is_answered_by_asking_for_what_is_lacking() -> None:
    story = Story()
    origin, other = story.link("n2"), story.link("n3")
    story.accept(routes(), origin)
    lacking = routes(7, name="r2")
    listed = (routes().prefix, lacking.prefix)
    story.hear(other, Have(audience=EVERYBODY, prefixes=listed, is_late=True))
    assert story.sent(other) == [Graft(audience=EVERYBODY, prefixes=(lacking.prefix,))]


def asked_of(story: Story, link: LinkId) -> int:
    """Prefixes that were grafted from a link just now."""
    return sum(len(one.prefixes) for one in story.sent(link) if isinstance(one, Graft))


def test_no_answer_overfills_the_queue_of_a_peer_whatever_it_told_of() -> None:
    """Neither news, of which many come due at once, nor a turn of the refresh asks for more."""
    asked_max = NodeConfig().dissemination.asked_max
    story = Story()
    late, link = story.link("n2"), story.link("n3")
    names = tuple(prefix(number) for number in range(2 * HAVE_PREFIXES_MAX))
    runs = names[:HAVE_PREFIXES_MAX], names[HAVE_PREFIXES_MAX:]
    story.hear(late, Have(audience=EVERYBODY, prefixes=runs[0], is_late=True))
    assert asked_of(story, late) == asked_max
    for run in runs:
        story.hear(link, Have(audience=EVERYBODY, prefixes=run))
    assert asked_of(story.due(GraftDue), link) == asked_max
    story.wait(1).when(TimerFired(timer=RefreshDue()))
    assert (asked_of(story, late), asked_of(story, link)) == (0, 0)


def test_news_that_was_asked_for_is_news_to_others() -> None:
    """A list alone tells of what everybody else may have by now."""
    story = Story()
    link, other = story.link("n2"), story.link("n3")
    story.hear(link, Have(audience=EVERYBODY, prefixes=(routes().prefix,)))
    assert asked_of(story.due(GraftDue), link) == 1
    answer = Announced(routes().envelope, 0, routes().content)
    story.hear(link, Announce(entries=(answer,))).persisted()
    assert [type(one) for one in story.sent(other)] == [Announce]


def test_a_list_of_an_audience_the_peer_did_not_show_gets_no_answer() -> None:
    """Asking would tell that we are in it."""
    story = Story()
    outsider = story.link(Peer(name="n3", shows=()))
    story.hear(outsider, Have(audience=IN_ACME, prefixes=(acme_routes().prefix,)))
    assert story.sent(outsider) == []


def test_several_envelopes_of_one_message_are_each_taken() -> None:
    story = Story()
    origin = story.link("n2")
    entries = tuple(Announced(routes(7, name=f"r{n}").envelope, 0) for n in range(3))
    story.hear(origin, Announce(entries=entries))
    assert set(story.trusted) == {"routes/r0", "routes/r1", "routes/r2"}
