"""Which holding is hashed next: the one that waited longest, one at a time, at its pace."""

from random import Random

import pytest

from fabgossip.core.config import ScrubbingConfig
from fabgossip.core.events import Token
from fabgossip.core.scrubbing import PAUSE, Scrubbing
from fabgossip.model.ids import ContentHash
from fabgossip.model.moment import Duration, Instant, Now, UnixTime, later

DAY = 86_400
CONFIG = ScrubbingConfig(interval_ms=7 * DAY * 1_000, bytes_per_second=1 << 20)
BEGIN = UnixTime(100 * DAY)


def content(number: int) -> ContentHash:
    return ContentHash(number.to_bytes(32, "big"))


def at(second: int) -> Now:
    return Now(instant=Instant(second * 1_000), unix=UnixTime(BEGIN + second))


def test_the_one_that_waited_longest_is_next_and_nobody_before_its_time() -> None:
    scrubbing = Scrubbing(CONFIG)
    for number, age in enumerate((6, 9, 7, 8)):
        scrubbing.on_held(content(number), 1, UnixTime(BEGIN - age * DAY))
    found = []
    for second in range(0, 40, 10):
        one = scrubbing.next_scrub(at(second))
        if one is not None:
            scrubbing.on_begun(Token(second), one)
            assert scrubbing.next_scrub(at(second)) is None
            scrubbing.on_over(at(second), ok=True)
            found.append(one)
        scrubbing.check()
    assert found == [content(1), content(3), content(2)]


def test_what_was_never_hashed_at_rest_is_due_at_once_and_a_new_one_in_a_week() -> None:
    scrubbing = Scrubbing(CONFIG)
    scrubbing.on_held(content(1), 1, at(0).unix)
    assert scrubbing.next_scrub(at(7 * DAY - 1)) is None
    assert scrubbing.next_scrub(at(7 * DAY)) == content(1)
    scrubbing.on_held(content(2), 1, UnixTime(0))
    assert scrubbing.next_scrub(at(0)) == content(2)


@pytest.mark.parametrize("copies", [1, 5])
def test_reading_goes_no_faster_than_its_pace_however_many_copies_there_are(copies: int) -> None:
    scrubbing = Scrubbing(CONFIG)
    for number in range(3):
        scrubbing.on_held(content(number), (5 << 20) // copies, UnixTime(0))
    scrubbing.on_begun(Token(1), content(0), copies)
    scrubbing.on_over(at(10), ok=True)
    just_before = Now(instant=later(at(15).instant, Duration(-1)), unix=BEGIN)
    assert scrubbing.next_scrub(just_before) is None
    assert scrubbing.look_at(at(10)) == at(15).instant
    assert scrubbing.next_scrub(at(15)) == content(1)


def test_every_holding_has_its_turn_whatever_comes_and_goes() -> None:
    """None waits longer than its week and what was before it in line."""
    for seed in range(5):
        rng, scrubbing = Random(seed), Scrubbing(CONFIG)
        last: dict[ContentHash, int] = {}
        for hour in range(24 * 60):
            now = at(hour * 3_600)
            if rng.random() < 0.2:
                one = content(rng.randrange(30))
                scrubbing.on_held(one, rng.randrange(1 << 20), now.unix)
                last[one] = hour
            if rng.random() < 0.1 and last:
                one = rng.choice(list(last))
                scrubbing.on_gone(one)
                del last[one]
            found = scrubbing.next_scrub(now)
            if found is not None:
                scrubbing.on_begun(Token(hour), found)
                scrubbing.on_over(now, ok=True)
                last[found] = hour
            assert all(hour - one <= 7 * 24 + len(last) for one in last.values())
            scrubbing.check()
            assert scrubbing.look_at(now) >= later(now.instant, PAUSE)
