"""A source that fails whatever it is asked for of an audience is left alone, and gets another
chance."""

from random import Random

import pytest

from fabgossip.core.circuits import (
    CONDUCTS_MAX,
    FAILED,
    HALF_FAILED,
    TRIES,
    Circuit,
    Circuits,
)
from fabgossip.core.config import RecoveryConfig
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Instant
from fabgossip.model.scope import Audience
from tests.trust import factory

SOURCE = NodeId("s1")
AUDIENCE = factory.audience("cluster:prod")
HIDDEN = factory.audience("cluster:prod", "org:acme")
CONFIG = RecoveryConfig()


class Told:
    """Circuits, and one thing after another that happens to a source."""

    def __init__(self, seed: int = 1) -> None:
        self.circuits = Circuits(CONFIG, Random(seed))
        self.now = 0

    def fails(self, times: int, weight: int = FAILED) -> "Told":
        for _ in range(times):
            self.now += 1
            self.circuits.on_failed(
                SOURCE, AUDIENCE, weight, Instant(self.now - 1), Instant(self.now)
            )
            self.circuits.check()
        return self

    def fail(
        self, asked_at: int, now: int, audience: Audience | None = AUDIENCE, weight: int = FAILED
    ) -> None:
        """What was asked then fails now."""
        self.circuits.on_failed(SOURCE, audience, weight, Instant(asked_at), Instant(now))

    def state(self, after_ms: int = 0) -> Circuit:
        return self.circuits.state_of(SOURCE, AUDIENCE, Instant(self.now + after_ms))

    def open_ms(self) -> int:
        return self.circuits.probe_at(SOURCE, AUDIENCE) - self.now


@pytest.mark.parametrize(("weight", "times"), [(FAILED, 3), (HALF_FAILED, 6)])
def test_it_opens_after_three_failures_in_a_row_and_two_halves_are_one(
    weight: int, times: int
) -> None:
    assert Told().fails(times - 1, weight).state() is Circuit.CLOSED
    assert Told().fails(times, weight).state() is Circuit.OPEN


def test_an_answer_in_between_begins_the_count_anew() -> None:
    told = Told().fails(2)
    told.circuits.on_answered(SOURCE, AUDIENCE)
    assert told.fails(2).state() is Circuit.CLOSED


def test_it_opens_when_more_than_half_of_the_last_twenty_tries_failed() -> None:
    told = Told()
    for number in range(TRIES):
        assert told.state() is Circuit.CLOSED
        if number % 3 == 2:
            told.circuits.on_answered(SOURCE, AUDIENCE)
        else:
            told.fails(1)
    assert told.state() is Circuit.OPEN


def test_what_fails_at_one_moment_counts_once() -> None:
    told = Told()
    for _ in range(10):
        told.fail(4, 5)
    assert told.state() is Circuit.CLOSED


def test_what_was_asked_before_a_failure_fails_with_it() -> None:
    """One pause of a disk is no reason to shut a source out, whatever waits for it meanwhile."""
    told = Told()
    for asked_at in range(10):
        told.circuits.on_failed(
            SOURCE, AUDIENCE, FAILED, Instant(asked_at), Instant(300 + asked_at)
        )
    assert told.state() is Circuit.CLOSED
    for asked_at in (300, 600):
        told.circuits.on_failed(
            SOURCE, AUDIENCE, FAILED, Instant(asked_at), Instant(300 + asked_at)
        )
    told.now = 900
    assert told.state() is Circuit.OPEN


def test_who_fails_most_of_what_it_is_asked_at_once_is_shut_out_although_it_answers_some() -> None:
    """Else one cheap answer in each burst would let it withhold all the rest for ever."""
    told = Told()
    for is_out in (False, True):
        began = told.now + 1
        told.circuits.on_answered(SOURCE, AUDIENCE)
        for number in range(15):
            told.now = began + 300 + number
            told.circuits.on_failed(
                SOURCE, AUDIENCE, FAILED, Instant(began + number), Instant(told.now)
            )
        assert (told.state() is Circuit.OPEN) is is_out


def test_what_fails_late_opens_it_no_longer() -> None:
    """It was asked before the circuit opened: one reason is not counted twice."""
    told = Told().fails(3)
    until = told.circuits.probe_at(SOURCE, AUDIENCE)
    told.fail(1, told.now + 50)
    assert told.circuits.probe_at(SOURCE, AUDIENCE) == until


def test_it_stays_open_for_ten_seconds_doubling_to_five_minutes_give_or_take_half() -> None:
    told = Told().fails(3)
    for base in (10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000):
        assert base // 2 <= told.open_ms() <= base + base // 2
        assert told.state(told.open_ms() - 1) is Circuit.OPEN
        assert told.state(told.open_ms()) is Circuit.HALF_OPEN
        told.now += told.open_ms()
        told.fails(1)


def test_one_probe_is_under_way_at_a_time() -> None:
    told = Told().fails(3)
    told.now += told.open_ms()
    told.circuits.on_asked(SOURCE, AUDIENCE)
    assert told.state(1_000) is Circuit.OPEN
    told.circuits.on_settled(SOURCE, AUDIENCE)
    assert told.state(1_000) is Circuit.HALF_OPEN


def test_an_answer_to_the_probe_closes_it() -> None:
    told = Told().fails(3)
    told.now += told.open_ms()
    told.circuits.on_asked(SOURCE, AUDIENCE)
    told.circuits.on_answered(SOURCE, AUDIENCE)
    assert told.state() is Circuit.CLOSED
    assert told.fails(2).state() is Circuit.CLOSED


def test_a_link_that_opens_lets_the_probe_through_at_once() -> None:
    told = Told().fails(3)
    told.circuits.on_linked(SOURCE, Instant(told.now))
    assert told.state() is Circuit.HALF_OPEN


def test_no_two_nodes_probe_at_one_time() -> None:
    assert len({Told(seed).fails(3).open_ms() for seed in range(8)}) > 1


def test_the_conduct_of_so_many_sources_is_remembered_and_no_more() -> None:
    circuits = Circuits(CONFIG, Random(1))
    for number in range(CONDUCTS_MAX + 1):
        for moment in range(3):
            circuits.on_failed(
                NodeId(f"n{number}"), AUDIENCE, FAILED, Instant(moment), Instant(moment)
            )
    circuits.check()
    assert circuits.count_open(Instant(0)) == CONDUCTS_MAX


def test_what_fails_of_one_audience_says_nothing_of_another() -> None:
    """Who may not know of the one would see it in whom the node asks for the other."""
    told = Told()
    for moment in (1, 2, 3):
        told.fail(moment - 1, moment, HIDDEN)
    told.now = 3
    assert told.circuits.state_of(SOURCE, HIDDEN, Instant(3)) is Circuit.OPEN
    assert told.state() is Circuit.CLOSED
    assert told.circuits.count_open(Instant(3)) == 1
    told.circuits.on_answered(SOURCE, AUDIENCE)
    assert told.circuits.state_of(SOURCE, HIDDEN, Instant(3)) is Circuit.OPEN


def test_a_link_to_one_source_says_nothing_of_another() -> None:
    told = Told().fails(3)
    told.circuits.on_linked(NodeId("s2"), Instant(told.now))
    assert told.state() is Circuit.OPEN
    told.circuits.on_linked(SOURCE, Instant(told.now))
    assert told.state() is Circuit.HALF_OPEN


def test_who_failed_longest_ago_is_forgotten_first() -> None:
    told = Told().fails(3)
    for number in range(CONDUCTS_MAX - 1):
        told.circuits.on_failed(NodeId(f"n{number}"), AUDIENCE, FAILED, Instant(9), Instant(9))
    told.fails(1)
    told.circuits.on_failed(NodeId("one more"), AUDIENCE, FAILED, Instant(9), Instant(9))
    assert told.state() is Circuit.OPEN, "n0 is forgotten in its place"


def test_dials_for_company_that_fail_count_for_all() -> None:
    told = Told()
    for moment in (1, 2, 3):
        told.fail(moment, moment, None)
    told.now = 3
    assert told.state() is Circuit.OPEN
    assert told.circuits.probe_at(SOURCE, HIDDEN) == told.circuits.probe_at(SOURCE, AUDIENCE)
    told.circuits.on_asked(SOURCE, HIDDEN)
    told.circuits.on_answered(SOURCE, HIDDEN)
    assert told.state() is Circuit.OPEN, "what is asked of one audience says nothing"
    assert told.state(told.open_ms()) is Circuit.HALF_OPEN
    told.circuits.on_linked(SOURCE, Instant(3))
    assert told.state() is Circuit.CLOSED
