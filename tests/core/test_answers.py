"""The grid: when an answer leaves depends on when its question came, and on nothing else."""

import pytest

from fabgossip.core.answers import ANSWERS_MAX, GRID_MS, Answers
from fabgossip.core.effects import Send
from fabgossip.core.events import AnswersDue, LinkId, LostReason, PeerLost, TimerFired
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import Busy, ContentAsk, GetContent, NotAvailable
from fabgossip.model.moment import Instant
from tests.core.artifacts import routes
from tests.core.story import Story

A = LinkId(1)


def absent(count: int) -> GetContent:
    """A request for so many pieces of a content that is not here."""
    one = routes()
    asks = (ContentAsk(one.verified.manifest_hash, one.content_hash, n, 1) for n in range(count))
    return GetContent(items=tuple(asks))


@pytest.mark.parametrize(
    ("asked_at", "due"), [(0, 10), (1, 10), (9, 10), (10, 20), (12_345, 12_350)]
)
def test_an_answer_is_due_at_the_next_multiple_and_never_at_once(asked_at: int, due: int) -> None:
    assert GRID_MS == 10
    assert Answers().add(A, 2, NotAvailable(item=0), Instant(asked_at)) == Instant(due)


def test_answers_of_a_link_leave_together_in_the_order_of_their_questions() -> None:
    story = Story()
    link = story.link("n2")
    for stream in (2, 4):
        story.wait(3).hear(link, absent(2), stream)
        assert story.find(Send) == []
    assert story.due(AnswersDue).now.instant == GRID_MS
    sent = [(one.stream, one.message) for one in story.find(Send)]
    assert sent == [(stream, NotAvailable(item=item)) for stream in (2, 4) for item in (0, 1)]
    assert story.when(TimerFired(timer=AnswersDue(link=link))).find(Send) == []


def test_a_request_whose_answers_might_not_fit_is_busy_whatever_it_asks_for() -> None:
    story = Story()
    link = story.link("n2")
    for stream in (2, 4):
        story.hear(link, absent(ANSWERS_MAX // 2), stream)
        assert story.find(Send) == []
    story.hear(link, absent(1), 6)
    assert [type(one) for one in story.sent(link)] == [Busy]
    story.due(AnswersDue)
    assert len(story.find(Send)) == ANSWERS_MAX


def test_answers_end_with_their_link() -> None:
    story = Story()
    link = story.link("n2")
    story.hear(link, absent(1), 2)
    story.when(PeerLost(link=link, node_id=NodeId("n2"), reason=LostReason.EOF))
    assert story.due(AnswersDue).find(Send) == []
