"""What waits for more trust is bounded, and one sender cannot push out another's."""

from typing import Final

from fabgossip.core.events import LinkId
from fabgossip.core.waiting import (
    WAITING_FOR,
    WAITING_MAX,
    WAITING_PER_SOURCE_MAX,
    Waiting,
    WaitingRoom,
)
from fabgossip.model.moment import Duration, Instant, later

NOW: Final = Instant(1_000)


def envelope(
    raw: bytes, source: str, link: int = 1, at: Instant = NOW, namespace: str | None = None
) -> Waiting:
    """One that came then."""
    return Waiting(raw, LinkId(link), source, 0, later(at, WAITING_FOR), namespace)


def held(room: WaitingRoom, source: str, count: int, link: int = 1, start: int = 0) -> None:
    """So many envelopes of one node, over one link."""
    for number in range(start, start + count):
        room.on_held(envelope(b"%s %d" % (source.encode(), number), source, link))
        room.check()


def waiting(room: WaitingRoom, at: Instant = NOW) -> list[bytes]:
    return [one.envelope for one in room.on_more_known(at)]


def test_of_one_node_the_oldest_leaves_whatever_links_it_used() -> None:
    room = WaitingRoom()
    held(room, "n2", WAITING_PER_SOURCE_MAX, link=1)
    held(room, "n2", 1, link=2, start=WAITING_PER_SOURCE_MAX)
    assert waiting(room) == [b"n2 %d" % one for one in range(1, WAITING_PER_SOURCE_MAX + 1)]


def test_a_full_room_is_made_room_in_by_who_sent_most() -> None:
    """Five liars fill it; the one envelope of an honest node stays."""
    room = WaitingRoom()
    held(room, "honest", 1)
    for liar in range(5):
        held(room, f"liar{liar}", WAITING_PER_SOURCE_MAX)
    kept = waiting(room)
    assert len(kept) == WAITING_MAX
    assert b"honest 0" in kept


def test_one_leaves_when_its_time_is_over_and_being_seen_again_prolongs_nothing() -> None:
    room = WaitingRoom()
    room.on_held(envelope(b"a", "n2"))
    room.on_held(envelope(b"a", "n2", at=later(NOW, Duration(WAITING_FOR - 1))))
    assert waiting(room, later(NOW, WAITING_FOR)) == []


def test_everything_leaves_to_be_judged_again_once() -> None:
    room = WaitingRoom()
    held(room, "n2", 2)
    assert waiting(room) == [b"n2 0", b"n2 1"]
    assert waiting(room) == []


def test_what_speaks_of_one_namespace_leaves_alone_when_something_new_stands_there() -> None:
    room = WaitingRoom()
    for raw, namespace in ((b"a", "routes/r1"), (b"b", "routes/r2"), (b"c", None)):
        room.on_held(envelope(raw, "n2", namespace=namespace))
    assert [one.envelope for one in room.on_accepted("routes/r1", NOW)] == [b"a"]
    assert room.on_accepted("routes/r2", later(NOW, WAITING_FOR)) == ()
    assert waiting(room) == [b"c"]
