"""What only lazy links tell of is asked for, if the tree does not bring it, one link at a time."""

from typing import Final

from fabgossip.core.events import LinkId
from fabgossip.core.news import GRAFTS_MAX, NEWS_PER_LINK_MAX, News
from fabgossip.model.moment import Duration, Instant, later
from tests.core.artifacts import EVERYBODY, IN_ACME

NOW: Final = Instant(1_000)
WAIT: Final = Duration(100)
DUE: Final = later(NOW, WAIT)
A, B = LinkId(1), LinkId(2)
ONE, TWO = b"1" * 16, b"2" * 16


def told(*links: LinkId) -> News:
    """One prefix, told by these links in turn."""
    news = News()
    for link in links:
        news.on_told(link, EVERYBODY, (ONE,), WAIT, NOW)
    return news


def test_the_tree_is_given_time_and_then_who_told_first_is_asked() -> None:
    news = told(A, B)
    assert news.next_due(NOW) == DUE
    assert news.next_due(NOW) is None
    assert news.next_grafts(later(NOW, Duration(WAIT - 1))) == []
    assert news.next_grafts(DUE) == [(A, EVERYBODY, (ONE,))]
    assert news.next_due(DUE) == later(DUE, WAIT)


def test_the_next_one_is_asked_only_after_another_while() -> None:
    news = told(A, B)
    news.next_grafts(DUE)
    assert news.next_grafts(DUE) == []
    assert news.next_grafts(later(DUE, WAIT)) == [(B, EVERYBODY, (ONE,))]


def test_what_came_is_asked_of_nobody() -> None:
    news = told(A)
    news.on_seen(ONE, EVERYBODY)
    assert news.next_grafts(DUE) == []
    assert news.next_due(DUE) is None


def test_a_lost_link_is_asked_for_nothing() -> None:
    news = told(A, B)
    news.on_lost(A)
    assert news.next_grafts(DUE) == [(B, EVERYBODY, (ONE,))]


def test_after_so_many_tries_comparing_sets_must_find_it() -> None:
    news = told(*(LinkId(number) for number in range(GRAFTS_MAX + 1)))
    at = DUE
    for number in range(GRAFTS_MAX):
        assert news.next_grafts(at) == [(LinkId(number), EVERYBODY, (ONE,))]
        at = later(at, WAIT)
    assert news.next_grafts(at) == []
    assert news.next_due(at) is None


def test_an_earlier_prefix_is_not_kept_waiting_by_a_timer_set_for_a_later_one() -> None:
    news = News()
    news.on_told(A, EVERYBODY, (ONE,), Duration(5_000), NOW)
    assert news.next_due(NOW) == later(NOW, Duration(5_000))
    news.on_told(A, EVERYBODY, (TWO,), WAIT, NOW)
    assert news.next_due(NOW) == DUE


def test_a_faster_link_that_tells_as_well_is_asked_first_and_when_its_time_comes() -> None:
    news = News()
    news.on_told(A, EVERYBODY, (ONE,), Duration(3_000), NOW)
    assert news.next_due(NOW) == later(NOW, Duration(3_000))
    news.on_told(B, EVERYBODY, (ONE,), WAIT, NOW)
    news.check()
    assert news.next_due(NOW) == DUE
    assert news.next_grafts(DUE) == [(B, EVERYBODY, (ONE,))]
    assert news.next_grafts(later(DUE, WAIT)) == [(A, EVERYBODY, (ONE,))]


def test_at_its_limit_a_link_takes_nobody_elses_room() -> None:
    news = told(B)
    for number in range(2 * NEWS_PER_LINK_MAX):
        news.on_told(A, EVERYBODY, (b"%016d" % number,), WAIT, NOW)
    news.on_told(B, EVERYBODY, (TWO,), WAIT, NOW)
    news.check()
    asked = {link: prefixes for link, _, prefixes in news.next_grafts(DUE)}
    assert len(asked[A]) == NEWS_PER_LINK_MAX
    assert asked[A][0] == b"%016d" % 0
    assert asked[B] == (ONE, TWO)


def test_who_names_it_in_another_audience_keeps_nobody_from_being_asked() -> None:
    """A peer that knows of a prefix, and of no more, tells it as news of an audience it shares with
    us; who tells it in its own is asked all the same."""
    news = News()
    news.on_told(A, IN_ACME, (ONE,), WAIT, NOW)
    news.on_told(B, EVERYBODY, (ONE,), WAIT, NOW)
    assert news.next_grafts(DUE) == [(A, IN_ACME, (ONE,)), (B, EVERYBODY, (ONE,))]
    news.on_seen(ONE, EVERYBODY)
    news.check()
    assert news.next_due(DUE) == later(DUE, WAIT), "what it is in the other audience did not come"
    news.on_seen(ONE, IN_ACME)
    assert news.next_due(DUE) is None


def test_what_ended_leaves_room_again() -> None:
    news = News()
    many = tuple(b"%016d" % number for number in range(NEWS_PER_LINK_MAX))
    for ended in ("seen", "asked", "lost"):
        news.on_told(A, EVERYBODY, many, WAIT, NOW)
        if ended == "asked":
            news.next_grafts(DUE)
            news.next_grafts(later(DUE, WAIT))
        elif ended == "lost":
            news.on_lost(A)
        else:
            for one in many:
                news.on_seen(one, EVERYBODY)
        news.check()
        news.on_told(A, EVERYBODY, (ONE,), WAIT, NOW)
        assert [prefixes for _, _, prefixes in news.next_grafts(DUE)] == [(ONE,)]
        news.on_seen(ONE, EVERYBODY)


def test_who_is_asked_has_its_own_time_to_answer_before_the_next_one_is() -> None:
    """A slow teller is not taken for a silent one, or all would be asked before it can answer."""
    news, slow = News(), Duration(600)
    news.on_told(A, EVERYBODY, (ONE,), slow, NOW)
    news.on_told(B, EVERYBODY, (ONE,), slow, NOW)
    due = later(NOW, slow)
    assert news.next_grafts(due) == [(A, EVERYBODY, (ONE,))]
    assert news.next_grafts(later(due, Duration(slow - 1))) == []
    assert news.next_grafts(later(due, slow)) == [(B, EVERYBODY, (ONE,))]
