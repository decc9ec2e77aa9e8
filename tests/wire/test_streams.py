"""A request number belongs to one end and is used once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabgossip.model.messages import BadRequestCode
from fabgossip.wire.framing import STREAM_MAX, FrameError, FrameKind
from fabgossip.wire.streams import AHEAD_MAX, PeerStreams

ANSWERS = (FrameKind.CONTENT, FrameKind.NOT_AVAILABLE, FrameKind.BUSY)
ON_THE_LINK = tuple(
    one for one in FrameKind if one not in (*ANSWERS, FrameKind.GET_CONTENT, FrameKind.CANCEL)
)


def is_refused(streams: PeerStreams, kind: FrameKind, stream: int) -> bool:
    try:
        streams.check(kind, stream)
    except FrameError as error:
        return error.rule is BadRequestCode.STREAM
    return False


@pytest.mark.parametrize("is_dialer", [True, False])
def test_each_kind_has_numbers_of_its_own(*, is_dialer: bool) -> None:
    theirs, ours = (1, 2) if is_dialer else (2, 1)
    for kind, good in (
        (FrameKind.GET_CONTENT, {theirs}),
        (FrameKind.CANCEL, {theirs}),
        *((kind, {ours}) for kind in ANSWERS),
        *((kind, {0}) for kind in ON_THE_LINK),
    ):
        for stream in (0, 1, 2):
            streams = PeerStreams(is_dialer=is_dialer)
            assert is_refused(streams, kind, stream) is (stream not in good), (kind, stream)


@given(st.lists(st.integers(0, 40), max_size=60))
def test_no_number_is_served_twice_in_whatever_order_they_come(numbers: list[int]) -> None:
    streams, used = PeerStreams(is_dialer=True), set[int]()
    for number in numbers:
        stream = 2 * number + 1
        assert is_refused(streams, FrameKind.GET_CONTENT, stream) is (stream in used)
        used.add(stream)
        assert not is_refused(streams, FrameKind.CANCEL, stream)


def test_what_is_remembered_is_bounded_and_forgets_gaps_alone() -> None:
    """A number that never came is not waited for for ever; none that came is taken again."""
    streams = PeerStreams(is_dialer=False)
    taken = [4 * one for one in range(1, 3 * AHEAD_MAX)]
    for stream in taken:
        assert not is_refused(streams, FrameKind.GET_CONTENT, stream)
    assert all(is_refused(streams, FrameKind.GET_CONTENT, one) for one in taken)
    assert is_refused(streams, FrameKind.GET_CONTENT, 2)
    assert not is_refused(streams, FrameKind.GET_CONTENT, taken[-1] - 2)
    assert not is_refused(streams, FrameKind.GET_CONTENT, STREAM_MAX - 1)
