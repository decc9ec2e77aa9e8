"""Who is silent is doubted, asked once more, and given up: in that order and in time."""

from collections.abc import Callable
from random import Random

import pytest

from fabgossip.core.config import ConnectionsConfig
from fabgossip.core.events import LinkId
from fabgossip.core.lag import LATE_MIN
from fabgossip.core.liveness import DOUBTED_MAX, DOWN_AFTER, LAG_MAX, Life, Liveness
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Instant, elapsed

CONFIG = ConnectionsConfig()
A = LinkId(1)
ASKED = Instant(1_000)
OVERDUE = Instant(ASKED + CONFIG.pong_deadline_ms)


def dialed() -> Liveness:
    """A link of ours, asked at `ASKED`."""
    liveness = Liveness(CONFIG, Random(1))
    liveness.on_connected(A, NodeId("n2"), Instant(0), is_dialer=True)
    assert liveness.next_ping(A, ASKED) == 1
    assert liveness.next_look_at(A, ASKED) == OVERDUE
    return liveness


def accepted() -> Liveness:
    """A link of somebody else's."""
    liveness = Liveness(CONFIG, Random(1))
    liveness.on_connected(A, NodeId("n2"), Instant(0), is_dialer=False)
    return liveness


def test_only_the_answer_to_the_newest_ping_measures_the_round_trip() -> None:
    liveness = dialed()
    assert liveness.next_ping(A, Instant(1_100)) == 2
    liveness.on_pong(A, 1, Instant(1_105))
    assert liveness.rtt_ms(A) is None
    liveness.on_pong(A, 2, Instant(1_107))
    assert liveness.rtt_ms(A) == 7
    liveness.on_pong(A, 2, Instant(1_900))
    assert liveness.rtt_ms(A) == 7


def test_both_ends_know_a_round_trip_before_the_first_ping() -> None:
    for liveness in (dialed(), accepted()):
        liveness.on_welcome(A, Instant(300))
        assert (liveness.rtt_ms(A), liveness.slow_rtt_ms(A)) == (300, 300)


def test_a_slow_round_trip_is_one_that_few_exceed() -> None:
    """Of the last twenty: one in twenty counts for nothing, and what was long ago."""
    liveness = dialed()
    assert liveness.slow_rtt_ms(A) is None
    for took in (9_000, *range(100, 119), 5_000):
        now = Instant(2_000)
        sequence = liveness.next_ping(A, now)
        assert sequence is not None
        liveness.on_pong(A, sequence, Instant(now + took))
    assert liveness.slow_rtt_ms(A) == 118
    assert liveness.rtt_ms(A) == 5_000


def test_the_length_of_a_path_is_the_least_of_the_newest_round_trips() -> None:
    """While either end was busy it says nothing of the path; what is long ago neither."""
    liveness = dialed()
    assert liveness.least_rtt_ms(A) is None
    for took, least in ((3, 3), (500, 3), (400, 3), (600, 3), (700, 400)):
        sequence = liveness.next_ping(A, Instant(2_000))
        assert sequence is not None
        liveness.on_pong(A, sequence, Instant(2_000 + took))
        assert liveness.least_rtt_ms(A) == least
    assert liveness.least_rtt_ms(LinkId(2)) is None


def test_the_side_that_was_dialed_does_not_ask() -> None:
    liveness = accepted()
    assert liveness.next_ping(A, Instant(0)) is None
    assert liveness.next_ping_at(A, Instant(0)) is None


def test_pings_come_at_their_interval_give_or_take_a_twentieth() -> None:
    liveness, interval = dialed(), CONFIG.ping_interval_ms
    waits, now = set(), Instant(0)
    for _ in range(200):
        at = liveness.next_ping_at(A, now)
        assert at is not None
        waits.add(elapsed(now, at))
        now = at
    assert len(waits) > 20
    assert all(abs(one - interval) <= interval // 20 for one in waits)


def test_when_one_link_is_pinged_says_nothing_of_whether_there_are_others() -> None:
    """Or a peer could hear in the rhythm of its pings that we met somebody it may not know of."""
    alone, busy = dialed(), dialed()
    for number in range(10):
        link = LinkId(100 + number)
        busy.on_connected(link, NodeId(f"hidden-{number}"), ASKED, is_dialer=True)
        busy.next_ping_at(link, ASKED)
    assert alone.next_ping_at(A, ASKED) == busy.next_ping_at(A, ASKED)


def test_a_ping_without_an_answer_makes_suspect_and_five_seconds_more_end_it() -> None:
    liveness = dialed()
    assert liveness.look(A, Instant(OVERDUE - 1)) is Life.ALIVE
    assert liveness.look(A, OVERDUE) is Life.SUSPECT
    assert liveness.is_suspect(A)
    assert liveness.next_ping(A, OVERDUE) == 2
    end = Instant(OVERDUE + DOWN_AFTER)
    assert liveness.next_look_at(A, OVERDUE) == end
    assert liveness.look(A, Instant(end - 1)) is Life.DOUBTED
    assert liveness.look(A, end) is Life.DOWN


def test_who_waits_for_a_ping_doubts_after_the_longest_silence_and_asks_itself() -> None:
    liveness = accepted()
    end = Instant(CONFIG.silence_max_ms)
    assert liveness.next_look_at(A, Instant(0)) == end
    assert liveness.look(A, Instant(end - 1)) is Life.ALIVE
    assert liveness.look(A, end) is Life.SUSPECT
    assert liveness.next_ping(A, end) == 1
    assert liveness.look(A, Instant(end + DOWN_AFTER)) is Life.DOWN


@pytest.mark.parametrize("make", [dialed, accepted])
def test_a_ping_or_an_answer_ends_a_doubt(make: Callable[[], Liveness]) -> None:
    liveness = make()
    silent = Instant(CONFIG.silence_max_ms)
    liveness.on_sign(A, Instant(silent - 1))
    assert liveness.look(A, silent) is Life.ALIVE
    assert liveness.look(A, Instant(4 * silent)) in (Life.SUSPECT, Life.ALIVE)
    liveness.on_sign(A, Instant(4 * silent + 1))
    assert not liveness.is_suspect(A)


@pytest.mark.parametrize("make", [dialed, accepted])
def test_any_other_frame_keeps_a_link_and_ends_no_doubt(make: Callable[[], Liveness]) -> None:
    """When a link is doubted shows to others; of what it carries they may not know."""
    courses = []
    for is_busy in (False, True):
        liveness, now, course = make(), Instant(0), list[tuple[Instant, Life]]()
        for _ in range(4):
            now = liveness.next_look_at(A, now) or OVERDUE
            if is_busy:
                liveness.on_heard(A, now)
            course.append((now, liveness.look(A, now)))
        courses.append(course)
    idle, busy = courses
    assert [life for _, life in idle[:2]] == [Life.SUSPECT, Life.DOWN]
    assert [life for _, life in busy] == [Life.SUSPECT, *[Life.DOUBTED] * 3]
    assert idle[0] == busy[0]


@pytest.mark.parametrize("make", [dialed, accepted])
def test_who_neither_asks_nor_answers_for_a_minute_is_down_whatever_it_sends(
    make: Callable[[], Liveness],
) -> None:
    liveness = make()
    doubted = liveness.next_look_at(A, ASKED) or OVERDUE
    assert liveness.look(A, doubted) is Life.SUSPECT
    now = doubted
    while liveness.look(A, now) is not Life.DOWN:
        now = liveness.next_look_at(A, now) or now
        liveness.on_heard(A, now)
    assert now - doubted == DOUBTED_MAX


def test_each_end_notices_a_silent_peer_within_its_longest_silence() -> None:
    """Interval, its jitter, the answer's time: what the configuration promises to the other end."""
    interval = CONFIG.ping_interval_ms
    assert interval + interval // 20 + CONFIG.pong_deadline_ms <= CONFIG.silence_max_ms


def test_links_of_thin_nodes_are_pinged_once_a_minute_and_doubted_after_75_seconds() -> None:
    liveness = accepted()
    liveness.on_thin(A, is_thin=True)
    assert liveness.look(A, Instant(74_999)) is Life.ALIVE
    assert liveness.look(A, Instant(75_000)) is Life.SUSPECT
    other = dialed()
    other.on_thin(A, is_thin=True)
    at = other.next_ping_at(A, Instant(0))
    assert at is not None
    assert 57_000 <= at <= 63_000


def late(liveness: Liveness, times: int) -> None:
    """As many looks at other links come five seconds late."""
    silent = Instant(CONFIG.silence_max_ms)
    links = [LinkId(100 + number) for number in range(times)]
    for link in links:
        liveness.on_connected(link, NodeId(f"other-{link}"), Instant(0), is_dialer=False)
        assert liveness.next_look_at(link, Instant(0)) == silent
    for link in links:
        liveness.look(link, Instant(silent + DOWN_AFTER))


def test_a_node_that_is_late_itself_gives_others_time_and_from_three_on_ends_nobody() -> None:
    for score, life in ((LAG_MAX - 1, Life.DOWN), (LAG_MAX, Life.DOUBTED)):
        liveness, silent = accepted(), Instant(CONFIG.silence_max_ms)
        assert liveness.look(A, silent) is Life.SUSPECT
        end = Instant(silent + DOWN_AFTER)
        assert liveness.next_look_at(A, silent) == end
        late(liveness, score * LATE_MIN)
        assert liveness.look(A, end) is life
        liveness.on_sign(A, end)
        assert liveness.next_look_at(A, end) == end + (1 + score) * CONFIG.silence_max_ms


def test_further_questions_give_no_more_time_to_answer_the_first_one() -> None:
    """Or a node that is late itself, whose patience is longer than from ping to ping, would keep a
    dead link for ever."""
    liveness, first = dialed(), Instant(ASKED + CONFIG.ping_interval_ms)
    late(liveness, LAG_MAX * LATE_MIN)
    liveness.on_sign(A, Instant(first - 1))
    last = Instant(first + (1 + LAG_MAX) * CONFIG.pong_deadline_ms)
    for now in range(first, last, 1_000):
        liveness.next_ping(A, Instant(now))
        assert liveness.look(A, Instant(now)) is Life.ALIVE
    assert liveness.look(A, last) is Life.SUSPECT


@pytest.mark.parametrize("make", [dialed, accepted])
def test_one_look_is_out_for_a_link_however_often_it_is_pinged(
    make: Callable[[], Liveness],
) -> None:
    """For ten minutes: each would ask for the next one, and be taken for late when it is not."""
    liveness = make()
    liveness.on_sign(A, ASKED)
    out = [OVERDUE] if make is dialed else []

    def look_later(now: Instant) -> None:
        at = liveness.next_look_at(A, now)
        out.extend([] if at is None else [at])

    for now in map(Instant, range(ASKED + 100, 600_000, 100)):
        if now in out:
            out.remove(now)
            assert liveness.look(A, now) is Life.ALIVE
            look_later(now)
        if now % 7_000 < 300:
            liveness.next_ping(A, now)
            look_later(now)
            liveness.on_sign(A, now)
        assert len(out) <= 1
    assert out or make is dialed, "who waits for a ping always looks again"


def test_nothing_is_kept_of_a_link_that_ended() -> None:
    liveness = dialed()
    liveness.on_lost(A)
    assert liveness.links() == frozenset()
    assert liveness.look(A, OVERDUE) is Life.ALIVE
    assert liveness.next_look_at(A, OVERDUE) is None
    assert liveness.next_ping(A, OVERDUE) is None
