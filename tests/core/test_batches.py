"""Contents asked for together: within the limits, in order of class, nothing lost and nothing
twice."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fabgossip.core.batches import BYTES_MAX, ITEMS_MAX, REQUESTS_MAX, Batch, Batches
from fabgossip.core.effects import ReceiveContent
from fabgossip.core.events import ContentWanted, FetchFailure, LinkId
from fabgossip.model.ids import ContentHash, ManifestHash
from fabgossip.model.messages import CONTENT_ITEMS_MAX, TrafficClass
from fabgossip.model.moment import Instant
from tests.core.artifacts import EVERYBODY, IN_ACME

LINK, OTHER = LinkId(1), LinkId(2)
TRUST, POLICY = TrafficClass.TRUST, TrafficClass.POLICY


def effect(
    size: int = 1, traffic: TrafficClass = POLICY, *, idle_ms: int = 1_000, turn_ms: int = 0
) -> ReceiveContent:
    wanted = ContentWanted(
        manifest_hash=ManifestHash(b"m" * 32),
        content_hash=ContentHash(b"c" * 32),
        size=size,
        chunk_hashes=(),
        is_read=False,
    )
    return ReceiveContent(
        wanted=wanted, link=LINK, traffic=traffic, idle_ms=idle_ms, turn_ms=turn_ms
    )


def asked(batches: Batches[int], link: LinkId = LINK) -> list[Batch[int]]:
    """Every request that may leave leaves, on streams of its own."""
    found: list[Batch[int]] = []
    while (batch := batches.take(link)) is not None:
        batches.on_asked(link, len(found), batch)
        found.append(batch)
        batches.check()
    return found


@given(
    st.lists(
        st.tuples(
            st.integers(0, BYTES_MAX // 3),
            st.sampled_from((TRUST, TrafficClass.SNAPSHOT, POLICY, TrafficClass.BULK)),
        ),
        max_size=600,
    )
)
def test_all_that_is_wanted_is_asked_for_once_in_requests_within_the_limits(
    wanted: list[tuple[int, TrafficClass]],
) -> None:
    batches: Batches[int] = Batches()
    for number, (size, traffic) in enumerate(wanted):
        batches.on_wanted(LINK, effect(size, traffic), number)
    assert sorted(batches.waiting()) == list(range(len(wanted)))
    names: list[int] = []
    while batches.has_waiting(LINK):
        for stream, batch in enumerate(asked(batches)):
            names += batch.items
            sizes = [wanted[one][0] for one in batch.items]
            assert 0 < len(sizes) <= ITEMS_MAX
            assert sum(sizes[:-1]) < BYTES_MAX
            assert {wanted[one][1] for one in batch.items} == {batch.traffic}
            batches.on_over(LINK, stream)
    assert sorted(names) == list(range(len(wanted)))
    assert batches.links() == ()
    for traffic in TrafficClass:
        of_class = [one for one in names if wanted[one][1] is traffic]
        assert of_class == sorted(of_class)


def test_a_busy_link_is_asked_for_more_by_fewer_requests_and_no_class_waits_for_another() -> None:
    batches: Batches[int] = Batches()
    for number in range(REQUESTS_MAX):
        batches.on_wanted(LINK, effect(), number)
        (batch,) = asked_once(batches, stream=number)
        assert batch.items == (number,)
    for number in range(100, 120):
        batches.on_wanted(LINK, effect(), number)
        assert batches.take(LINK) is None
    batches.on_wanted(LINK, effect(traffic=TRUST), 7)
    batches.on_wanted(LINK, effect(traffic=TrafficClass.SNAPSHOT), 9)
    batches.on_wanted(OTHER, effect(), 8)
    assert [one.items for one in asked_once(batches, stream=50)] == [(7,)]
    assert [one.items for one in asked_once(batches, stream=52)] == [(9,)]
    assert batches.take(LINK) is None
    assert [one.items for one in asked(batches, OTHER)] == [(8,)]
    batches.on_over(LINK, 3)
    assert [one.items for one in asked_once(batches, stream=51)] == [tuple(range(100, 120))]


def test_when_a_content_is_asked_for_does_not_hang_on_those_of_another_audience() -> None:
    """Who sees when it comes on would see that there is something it may not know of."""
    batches: Batches[int] = Batches()
    for number in range(REQUESTS_MAX):
        batches.on_wanted(LINK, replace(effect(), audience=IN_ACME), number)
        asked_once(batches, stream=number)
    for number in (10, 12):
        batches.on_wanted(LINK, replace(effect(), audience=EVERYBODY), number)
        batches.on_wanted(LINK, replace(effect(), audience=IN_ACME), number + 1)
    (batch,) = asked_once(batches, stream=100)
    assert batch.items == (10, 12)
    assert batches.take(LINK) is None


def asked_once(batches: Batches[int], stream: int) -> list[Batch[int]]:
    batch = batches.take(LINK)
    assert batch is not None
    batches.on_asked(LINK, stream, batch)
    batches.check()
    return [batch]


def test_contents_of_one_step_move_at_the_pace_of_the_most_patient_of_them() -> None:
    batches: Batches[int] = Batches()
    for number, (idle_ms, turn_ms) in enumerate(((1_000, 50), (1_000, 200), (2_000, 0))):
        batches.on_wanted(LINK, effect(idle_ms=idle_ms, turn_ms=turn_ms), number)
    first, second = asked(batches)
    assert (first.items, first.idle_ms, first.turn_ms) == ((0, 1), 1_000, 200)
    assert (second.items, second.turn_ms) == ((2,), 2_000)
    pace = first.pace(Instant(0))
    assert pace.verdict(Instant(200)) is None
    assert pace.verdict(Instant(201)) is FetchFailure.STALLED
    pace = first.pace(Instant(0))
    pace.on_bytes(1, Instant(100))
    assert pace.verdict(Instant(1_100)) is None


def test_of_a_link_that_ended_nothing_is_remembered() -> None:
    batches: Batches[int] = Batches()
    batches.on_wanted(LINK, effect(), 1)
    asked(batches)
    batches.on_wanted(LINK, replace(effect(), traffic=TrafficClass.BULK), 2)
    batches.on_lost(LINK)
    assert (batches.links(), tuple(batches.waiting()), batches.take(LINK)) == ((), (), None)
    batches.on_over(LINK, 0)
    batches.check()


def test_a_request_names_no_more_than_a_message_may() -> None:
    assert ITEMS_MAX <= CONTENT_ITEMS_MAX
