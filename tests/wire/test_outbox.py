"""What leaves a link next: trust at once, the rest by shares, nothing beyond its limit."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabgossip.model.messages import TrafficClass
from fabgossip.wire.framing import (
    BODY_BYTES_MAX,
    CONTENT_FRAME_BYTES_MAX,
    CONTENT_HEADER_BYTES,
    HEADER_BYTES,
    FrameKind,
)
from fabgossip.wire.outbox import (
    CONTENT_FRAME_BYTES_MIN,
    JUDGED,
    NEVER_DROPPED,
    QUEUE_BYTES_MAX,
    SEND_BYTES_MAX,
    Budget,
    DrainRate,
    Outbox,
    content_bytes_max,
    content_frame_bytes,
)

KIB = 1024
SHARED = (TrafficClass.SNAPSHOT, TrafficClass.POLICY, TrafficClass.BULK)
FRAMES = st.lists(
    st.tuples(st.sampled_from(TrafficClass), st.integers(1, 262_160)), min_size=1, max_size=60
)


def leaving(outbox: Outbox[int]) -> list[int]:
    """Everything that waits, in the order it leaves."""
    return [outbox.take().frame for _ in range(len(outbox))]


@given(FRAMES)
def test_all_leaves_and_each_class_in_its_order(frames: list[tuple[TrafficClass, int]]) -> None:
    outbox: Outbox[int] = Outbox()
    for number, (traffic, size) in enumerate(frames):
        outbox.put(traffic, number, size, 0)
    assert outbox.bytes == sum(size for _, size in frames)
    order = leaving(outbox)
    assert sorted(order) == list(range(len(frames)))
    for traffic in TrafficClass:
        own = [number for number in order if frames[number][0] is traffic]
        assert own == sorted(own)
    strict = [frames[number][0] for number in order if frames[number][0] not in SHARED]
    assert strict == sorted(strict)
    assert all(frames[number][0] not in SHARED for number in order[: len(strict)])
    assert (outbox.bytes, outbox.next_size()) == (0, None)


@given(FRAMES, st.integers(1, 262_160))
def test_trust_waits_for_nothing_that_has_not_begun(
    frames: list[tuple[TrafficClass, int]], size: int
) -> None:
    outbox: Outbox[int] = Outbox()
    for traffic, of_frame in frames:
        outbox.put(traffic, 0, of_frame, 0)
    while outbox.next_size() is not None and len(outbox) > len(frames) // 2:
        outbox.take()
    links = outbox.waiting(TrafficClass.LINK)
    outbox.put(TrafficClass.TRUST, 1, size, 0)
    before = outbox.waiting(TrafficClass.TRUST)
    passed = 0
    while (following := outbox.next_size()) is not None and not outbox.take().frame:
        passed += following
    assert passed == links + before - size


@pytest.mark.parametrize("sizes", [(500, 500, 500), (262_160, 100, 262_160), (100, 9_000, 70_000)])
def test_classes_that_all_have_work_share_six_to_three_to_one(sizes: tuple[int, int, int]) -> None:
    """In bytes, whatever their frames measure."""
    outbox: Outbox[TrafficClass] = Outbox()
    size_of = dict(zip(SHARED, sizes, strict=True))
    left: Counter[TrafficClass] = Counter()
    for traffic in SHARED:
        outbox.put(traffic, traffic, size_of[traffic], 0)
    while sum(left.values()) < 40 << 20:
        traffic = outbox.take().frame
        outbox.put(traffic, traffic, size_of[traffic], 0)
        left[traffic] += size_of[traffic]
    whole = sum(left.values())
    assert [round(10 * left[traffic] / whole) for traffic in SHARED] == [6, 3, 1]


def test_what_nobody_else_uses_goes_to_who_has_work_and_is_not_saved_up() -> None:
    """Bulk alone leaves at once; it owes nothing later, and the idle are owed nothing."""
    outbox: Outbox[TrafficClass] = Outbox()
    for _ in range(20):
        outbox.put(TrafficClass.BULK, TrafficClass.BULK, 262_160, 0)
    assert [outbox.take().frame for _ in range(15)] == [TrafficClass.BULK] * 15
    for _ in range(200):
        outbox.put(TrafficClass.POLICY, TrafficClass.POLICY, 4_096, 0)
    assert [outbox.take().frame for _ in range(12)] == [TrafficClass.POLICY] * 12


@pytest.mark.parametrize("traffic", TrafficClass)
def test_a_class_takes_exactly_its_limit(traffic: TrafficClass) -> None:
    outbox: Outbox[int] = Outbox()
    assert outbox.offer(traffic, 0, QUEUE_BYTES_MAX[traffic], 0)
    assert not outbox.offer(traffic, 1, 1, 0)
    assert outbox.waiting(traffic) == QUEUE_BYTES_MAX[traffic]
    assert leaving(outbox) == [0]


@pytest.mark.parametrize(
    ("traffic", "kinds"),
    [
        (TrafficClass.LINK, (FrameKind.HELLO, FrameKind.CLAIMS)),
        (TrafficClass.TRUST, (FrameKind.GET_HEADS, FrameKind.HEADS, FrameKind.ANNOUNCE)),
        (TrafficClass.TOMBSTONE, (FrameKind.MANIFESTS,)),
        (TrafficClass.SNAPSHOT, (FrameKind.ROOTS, FrameKind.ANNOUNCE, FrameKind.GET_CONTENT)),
        (TrafficClass.POLICY, (FrameKind.HOLDINGS, FrameKind.ANNOUNCE, FrameKind.GET_CONTENT)),
    ],
)
def test_the_longest_frame_of_a_class_fits_its_queue(
    traffic: TrafficClass, kinds: tuple[FrameKind, ...]
) -> None:
    """Else a node with many claims could never link, and a long answer would never leave."""
    for kind in kinds:
        outbox: Outbox[FrameKind] = Outbox()
        assert outbox.offer(traffic, kind, HEADER_BYTES + BODY_BYTES_MAX[kind], 0)
    assert sum(QUEUE_BYTES_MAX.values()) <= 1_104 * KIB


def test_content_of_any_size_finds_room_in_an_empty_queue_and_leaves_half_of_it_otherwise() -> None:
    outbox: Outbox[int] = Outbox()
    for traffic in TrafficClass:
        assert outbox.has_room(traffic, 262_160)
        outbox.put(traffic, 0, 1, 0)
        assert outbox.has_room(traffic, QUEUE_BYTES_MAX[traffic] // 2 - 1)
        assert not outbox.has_room(traffic, QUEUE_BYTES_MAX[traffic] // 2)


def test_a_message_of_trust_finds_room_beside_the_longest_content_frame_of_trust() -> None:
    """A list is content, what is said of it while it is served is of its class, and a message of
    that class that finds no room ends the link."""
    outbox: Outbox[int] = Outbox()
    part = content_bytes_max(TrafficClass.TRUST, CONTENT_FRAME_BYTES_MAX)
    outbox.put(TrafficClass.TRUST, 0, HEADER_BYTES + CONTENT_HEADER_BYTES + part, 0)
    longest = max(BODY_BYTES_MAX[one] for one in (FrameKind.GET_HEADS, FrameKind.ANNOUNCE))
    assert outbox.offer(TrafficClass.TRUST, 1, HEADER_BYTES + longest, 0)


def test_a_content_frame_is_shortened_for_trust_alone_and_no_more_than_needed() -> None:
    for traffic in set(TrafficClass) - NEVER_DROPPED:
        assert content_bytes_max(traffic, CONTENT_FRAME_BYTES_MAX) == CONTENT_FRAME_BYTES_MAX
    small = content_bytes_max(TrafficClass.TRUST, CONTENT_FRAME_BYTES_MIN)
    assert small == CONTENT_FRAME_BYTES_MIN


def test_nothing_waits_after_clear_and_taking_nothing_is_an_error() -> None:
    outbox: Outbox[int] = Outbox()
    outbox.put(TrafficClass.POLICY, 0, 1, 0)
    outbox.clear()
    assert (len(outbox), outbox.bytes) == (0, 0)
    with pytest.raises(LookupError, match="nothing waits"):
        outbox.take()


@pytest.mark.parametrize(
    ("bytes_per_s", "expected"),
    [
        (None, CONTENT_FRAME_BYTES_MAX),
        (0, CONTENT_FRAME_BYTES_MIN),
        (6_500_000 // 8, CONTENT_FRAME_BYTES_MIN),
        (1_638_400, 32 * KIB),
        (1_638_399, 16 * KIB),
        (10**9, CONTENT_FRAME_BYTES_MAX),
    ],
)
def test_a_content_frame_takes_twenty_milliseconds_at_most(
    bytes_per_s: int | None, expected: int
) -> None:
    assert content_frame_bytes(bytes_per_s) == expected


def test_the_rate_of_a_link_is_that_of_late() -> None:
    """What its buffer took at once in the beginning is forgotten."""
    assert DrainRate().bytes_per_s is None
    drain = DrainRate()
    drain.on_written(262_144, 0.000_1)
    for _ in range(200):
        drain.on_written(65_536, 0.065_536)
    rate = drain.bytes_per_s
    assert rate is not None
    assert abs(rate - 1_000_000) <= 1


def test_what_is_taken_at_once_says_nothing_of_a_link_until_it_goes_on_for_a_mebibyte() -> None:
    """Else a buffer that had room once would make a slow link a fast one; a link of which nothing
    is known is taken for a slow one."""
    drain = DrainRate()
    assert drain.content_frame_bytes == CONTENT_FRAME_BYTES_MIN
    for _ in range(4):
        drain.on_written(16 * KIB, 0.125)
    for _ in range(15):
        drain.on_written(64 * KIB, 0.000_1)
    assert drain.bytes_per_s == 128 * KIB
    drain.on_written(16 * KIB, 0.125)
    for _ in range(16):
        drain.on_written(64 * KIB, 0.000_1)
    assert drain.content_frame_bytes == CONTENT_FRAME_BYTES_MIN
    drain.on_written(1, 0.000_1)
    assert drain.content_frame_bytes == CONTENT_FRAME_BYTES_MAX
    drain.on_written(100, 1)
    assert drain.content_frame_bytes == CONTENT_FRAME_BYTES_MAX
    drain.on_written(16 * KIB, 0.125)
    assert drain.content_frame_bytes == CONTENT_FRAME_BYTES_MIN


@given(st.lists(st.tuples(st.sampled_from(TrafficClass), st.integers(1, 9_999)), max_size=30))
def test_the_oldest_that_waits_is_that_of_the_classes_a_peer_is_judged_by(
    frames: list[tuple[TrafficClass, int]],
) -> None:
    outbox: Outbox[int] = Outbox()
    waiting = dict[int, TrafficClass]()
    for now, (traffic, size) in enumerate(frames):
        outbox.put(traffic, now, size, now)
        waiting[now] = traffic
    while True:
        judged = [now for now, traffic in waiting.items() if traffic in JUDGED]
        assert outbox.oldest == min(judged, default=None)
        if outbox.is_empty:
            return
        del waiting[outbox.take().frame]


def test_all_links_together_hold_no_more_than_the_budget_but_for_trust_and_a_frame_of_content() -> (
    None
):
    """What waits on others closes no link, and starves none."""
    budget = Budget()
    full, empty = Outbox[int](budget), Outbox[int](budget)
    full.put(TrafficClass.BULK, 0, SEND_BYTES_MAX, 0)
    for traffic in TrafficClass:
        assert empty.offer(traffic, 0, 1, 0) is (traffic in NEVER_DROPPED)
        assert empty.has_room(traffic, 1) is (traffic not in NEVER_DROPPED)
    empty.put(TrafficClass.BULK, 0, 1, 0)
    assert not empty.has_room(TrafficClass.BULK, 1)
    full.take()
    assert empty.has_room(TrafficClass.BULK, 1)
    assert empty.offer(TrafficClass.POLICY, 0, 1, 0)
    assert budget.bytes == empty.bytes == 4
    empty.clear()
    assert budget.bytes == 0
