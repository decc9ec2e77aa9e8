"""Nothing of a link outlasts it, in whatever machine it was kept."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from fabgossip.core.events import LinkId, LostReason, PeerConnected, PeerLost
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import (
    ContentAsk,
    GetContent,
    Graft,
    Have,
    Holdings,
    HoldingsEntry,
    HoldingsMode,
    Welcome,
)
from tests.core.artifacts import EVERYBODY, routes
from tests.core.story import Peer, Story, identity, roots_told

LINK: Final = LinkId(987_654_321)
"""A number nothing else has."""
KEEPERS: Final = {
    "Answers._waiting", "Batching._windows", "Dissemination._asked", "Dissemination._lacking",
    "Liveness._pulses", "NeighborHoldings._said", "News._by_link", "Rates._by_link",
    "Reconciliation._links", "Sessions._by_link", "Slots._by_link", "Ties._by_link",
    "_Tree.branches",
}  # fmt: skip
"""Some of those that keep something of a link."""
OURS: Final = ("fabgossip", "builtins", "collections", "sortedcontainers")


def parts_of(thing: object) -> Iterator[tuple[str, object]]:
    """What a value consists of, with its name where it has one."""
    if isinstance(thing, Mapping):
        yield from (("", one) for pair in thing.items() for one in pair)
    elif isinstance(thing, Iterable) and not isinstance(thing, str | bytes | Iterator):
        yield from (("", one) for one in thing)
    slots = [getattr(kind, "__slots__", ()) for kind in type(thing).__mro__]
    names = {name for names in slots for name in ([names] if isinstance(names, str) else names)}
    for name in sorted(names | getattr(thing, "__dict__", {}).keys()):
        yield name, getattr(thing, name, None)


def keepers(thing: object, place: str = "", seen: set[int] | None = None) -> set[str]:
    """Where below a machine the number of the link is kept."""
    seen = set() if seen is None else seen
    if isinstance(thing, int) and thing == LINK:
        return {place}
    if id(thing) in seen or not type(thing).__module__.startswith(OURS):
        return set()
    seen.add(id(thing))
    found = set[str]()
    for name, part in parts_of(thing):
        found |= keepers(part, f"{type(thing).__name__}.{name}" if name else place, seen)
    return found


def used() -> Story:
    """A node that was told and asked all kinds of things over a link, and told some."""
    story, held, unknown = Story(), routes(7), routes(9)
    origin = story.link("n2")
    story.accept(held, origin)
    story.when(PeerConnected(link=LINK, identity=identity("n3"), is_dialer=False))
    story.hear(LINK, Peer(name="n3").hello()).persisted()
    story.hear(LINK, Welcome(protocol=1, features=0))
    entry = HoldingsEntry(EVERYBODY, HoldingsMode.ONLY, (b"p" * 16,))
    story.hear(LINK, Holdings(sequence=1, is_whole=True, entries=(entry,)))
    story.hear(LINK, Have(audience=EVERYBODY, prefixes=(b"n" * 16,)))
    story.hear(LINK, Have(audience=EVERYBODY, prefixes=(b"l" * 16,), is_late=True))
    story.hear(LINK, Graft(audience=EVERYBODY, prefixes=(held.prefix,)))
    for stream, one in ((2, held), (4, unknown)):
        ask = ContentAsk(one.verified.manifest_hash, one.content_hash, 0, 1)
        story.hear(LINK, GetContent(items=(ask,)), stream)
    roots_told(story, LINK)
    for version in (10, 11):
        story.accept(routes(version), origin)
    return story


def test_nothing_of_a_link_is_kept_once_it_is_lost_but_who_was_at_its_other_end() -> None:
    """What came over it may still be on its way to the disk."""
    story = used()
    assert keepers(story.node) >= KEEPERS
    story.when(PeerLost(link=LINK, node_id=NodeId("n3"), reason=LostReason.RESET))
    assert keepers(story.node) == {"Sessions._ended"}
