"""Memory of envelopes: nothing is judged or asked for twice, and nothing grows for ever."""

import pytest

from fabgossip.core.config import DisseminationConfig
from fabgossip.core.dissemination import LACKING_MAX, Dissemination
from fabgossip.core.events import LinkId
from fabgossip.model.messages import (
    GRAFT_PREFIXES_MAX,
    HAVE_PREFIXES_MAX,
    Announce,
    Announced,
    Graft,
    Have,
)
from tests.core.artifacts import EVERYBODY, IN_ACME, acme_routes, routes
from tests.core.story import Peer, Story

A, B = LinkId(1), LinkId(2)


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


def grafts(memory: Dissemination, link: LinkId) -> list[int]:
    """How many prefixes each graft of a link asks for until it asks no more."""
    sizes = []
    while (found := memory.next_graft(link)) is not None:
        assert found[0] == EVERYBODY
        sizes.append(len(found[1]))
    return sizes


def test_a_link_is_asked_for_no_more_than_it_can_answer() -> None:
    """A thousand answers at once would overfill the peer's queue, and be dropped."""
    memory = Dissemination(DisseminationConfig(asked_max=GRAFT_PREFIXES_MAX + 1))
    listed = tuple(prefix(number) for number in range(3 * GRAFT_PREFIXES_MAX))
    memory.on_listed(A, EVERYBODY, listed)
    assert grafts(memory, A) == [GRAFT_PREFIXES_MAX, 1]
    memory.check()
    for number in range(3):
        memory.on_accepted(b"envelope %d" % number, EVERYBODY, prefix(number), A)
    assert grafts(memory, A) == [3]


def test_nothing_is_asked_twice_of_one_link_unless_it_never_came() -> None:
    memory = Dissemination(DisseminationConfig())
    memory.on_listed(A, EVERYBODY, (prefix(1), prefix(2)))
    assert grafts(memory, A) == [2]
    memory.on_listed(A, EVERYBODY, (prefix(1), prefix(2)))
    assert grafts(memory, A) == []
    memory.on_accepted(b"envelope", EVERYBODY, prefix(1), A)
    memory.on_unanswered()
    assert memory.next_graft(A) == (EVERYBODY, (prefix(2),))


def test_a_lost_link_is_asked_anew_and_another_link_at_once() -> None:
    memory = Dissemination(DisseminationConfig())
    memory.on_listed(A, EVERYBODY, (prefix(1),))
    memory.on_listed(B, EVERYBODY, (prefix(1),))
    assert (grafts(memory, A), grafts(memory, B)) == ([1], [1])
    memory.on_lost(A)
    memory.on_listed(A, EVERYBODY, (prefix(1),))
    assert grafts(memory, A) == [1]


@pytest.mark.slow
def test_a_link_that_lists_without_end_pushes_out_its_own_lists_alone() -> None:
    """At the limit of all links together the longest list loses its oldest, not the newest one."""
    memory = Dissemination(DisseminationConfig(seen_max=LACKING_MAX))
    for start in range(0, LACKING_MAX, HAVE_PREFIXES_MAX):
        listed = tuple(prefix(number) for number in range(start, start + HAVE_PREFIXES_MAX))
        memory.on_listed(A, EVERYBODY, listed)
    memory.check()
    memory.on_listed(B, EVERYBODY, (prefix(LACKING_MAX),))
    memory.check()
    assert memory.next_graft(B) == (EVERYBODY, (prefix(LACKING_MAX),))
    asked = memory.next_graft(A)
    assert asked == (EVERYBODY, tuple(prefix(number) for number in range(1, 65)))


def test_what_was_judged_is_not_asked_for() -> None:
    memory = Dissemination(DisseminationConfig())
    memory.on_accepted(b"envelope", EVERYBODY, prefix(1), A)
    memory.on_listed(A, EVERYBODY, (prefix(1), prefix(2)))
    assert memory.next_graft(A) == (EVERYBODY, (prefix(2),))


def test_what_came_over_another_link_meanwhile_does_not_hide_the_rest() -> None:
    """Neither another audience behind it nor what stands far behind it waits for the next turn."""
    memory = Dissemination(DisseminationConfig())
    many = tuple(prefix(number) for number in range(8 * GRAFT_PREFIXES_MAX))
    memory.on_listed(A, EVERYBODY, many)
    memory.on_listed(A, IN_ACME, (b"q" * 16,))
    for number, one in enumerate(many):
        memory.on_accepted(b"envelope %d" % number, EVERYBODY, one, A)
    assert memory.next_graft(A) == (IN_ACME, (b"q" * 16,))


def test_a_list_is_answered_by_asking_for_what_is_lacking() -> None:
    story = Story()
    origin, other = story.link("n2"), story.link("n3")
    story.accept(routes(), origin)
    lacking = routes(7, name="r2")
    listed = (routes().prefix, lacking.prefix)
    story.hear(other, Have(audience=EVERYBODY, prefixes=listed, is_late=True))
    assert story.sent(other) == [Graft(audience=EVERYBODY, prefixes=(lacking.prefix,))]


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
