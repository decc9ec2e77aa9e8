"""Memory of envelopes: nothing is judged or asked for twice, and nothing grows for ever."""

from fabgossip.core.config import DisseminationConfig
from fabgossip.core.dissemination import Dissemination
from fabgossip.core.events import LinkId
from fabgossip.model.messages import GRAFT_PREFIXES_MAX, Announce, Announced, Graft, Have
from tests.core.artifacts import EVERYBODY, IN_ACME, acme_routes, routes
from tests.core.story import Peer, Story

A, B = LinkId(1), LinkId(2)


def prefix(number: int) -> bytes:
    return b"%016d" % number


def test_the_oldest_leaves_at_the_limit() -> None:
    memory = Dissemination(DisseminationConfig(seen_max=16))
    for number in range(17):
        memory.on_judged(b"envelope %d" % number, prefix(number))
        memory.check()
    assert memory.seen_prefix(b"envelope 0") is None
    assert memory.seen_prefix(b"envelope 1") == prefix(1)
    assert memory.seen_prefix(b"envelope 16") == prefix(16)


def test_grafts_ask_once_per_link_in_runs_of_the_limit() -> None:
    memory = Dissemination(DisseminationConfig())
    prefixes = tuple(prefix(number) for number in range(GRAFT_PREFIXES_MAX + 1))
    runs = memory.next_grafts(A, prefixes)
    assert [len(run) for run in runs] == [GRAFT_PREFIXES_MAX, 1]
    assert memory.next_grafts(A, prefixes) == ()
    assert memory.next_grafts(B, prefixes) == runs
    memory.on_lost(A)
    assert memory.next_grafts(A, prefixes) == runs


def test_what_was_judged_is_not_asked_for() -> None:
    memory = Dissemination(DisseminationConfig())
    memory.on_judged(b"envelope", prefix(1))
    assert memory.next_grafts(A, (prefix(1), prefix(2))) == ((prefix(2),),)


def test_a_list_is_answered_by_asking_for_what_is_lacking() -> None:
    story = Story()
    origin, other = story.link("n2"), story.link("n3")
    story.accept(routes(), origin)
    lacking = routes(7, name="r2")
    story.hear(other, Have(audience=EVERYBODY, prefixes=(routes().prefix, lacking.prefix)))
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
