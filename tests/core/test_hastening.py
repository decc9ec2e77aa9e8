"""The link that would have brought news sooner is found, by one rule for each audience."""

from typing import Final

import pytest

from fabgossip.core.config import DisseminationConfig
from fabgossip.core.events import LinkId
from fabgossip.core.hastening import (
    AGREEING,
    FASTER_BY,
    PREFIXES_MAX,
    TRIED_AGAIN_AFTER,
    Hastening,
)
from fabgossip.model.moment import Duration, Instant, later
from fabgossip.model.scope import Audience
from tests.core.artifacts import EVERYBODY, IN_ACME

CONFIG: Final = DisseminationConfig(have_ms=50)
NOW: Final = Instant(1_000)
A, B = LinkId(1), LinkId(2)
JUST_FASTER: Final = 50 - FASTER_BY


def prefix(number: int) -> bytes:
    return number.to_bytes(16, "big")


class Told:
    """Prefixes that the tree brings and a lazy link tells of so long after, or before."""

    def __init__(self) -> None:
        self.hastening = Hastening(CONFIG)
        self.now = NOW
        self._number = 0
        self.hastening.on_brought(EVERYBODY, prefix(0), NOW)

    def after(self, link: LinkId, milliseconds: int, audience: Audience = EVERYBODY) -> bool:
        """Whether the link is to carry the audience from then on."""
        self._number += 1
        self.now = later(self.now, Duration(1_000))
        name, told_at = prefix(self._number), later(self.now, Duration(max(0, milliseconds)))
        found = []
        if milliseconds < 0:
            found.append(self.hastening.on_told(audience, name, link, self.now))
        brought_at = later(self.now, Duration(max(0, -milliseconds)))
        found.append(self.hastening.on_brought(audience, name, brought_at))
        if milliseconds >= 0:
            found.append(self.hastening.on_told(audience, name, link, told_at))
        self.hastening.check()
        assert set(found) <= {None, link}
        return link in found


@pytest.mark.parametrize(
    ("milliseconds", "is_faster"),
    [(-1_000, True), (-1, True), (0, True), (JUST_FASTER, True), (JUST_FASTER + 1, False)],
)
def test_a_link_that_tells_sooner_than_its_window_lasts_would_have_been_faster(
    milliseconds: int, *, is_faster: bool
) -> None:
    story = Told()
    found = [story.after(A, milliseconds) for _ in range(AGREEING)]
    assert found == [False] * (AGREEING - 1) + [is_faster]


@pytest.mark.parametrize("between", [(B, 0), (A, JUST_FASTER + 1)])
def test_it_must_be_so_several_times_in_a_row(between: tuple[LinkId, int]) -> None:
    story = Told()
    for _ in range(AGREEING - 1):
        story.after(A, 0)
    assert not story.after(*between)
    assert not story.after(A, 0)
    assert story.after(A, 0)


def test_only_who_tells_first_counts() -> None:
    hastening = Hastening(CONFIG)
    for number in range(2 * AGREEING):
        hastening.on_brought(EVERYBODY, prefix(number), NOW)
        hastening.on_told(EVERYBODY, prefix(number), A if number % 2 else B, NOW)
        assert hastening.on_told(EVERYBODY, prefix(number), A, NOW) is None


def test_a_link_that_was_tried_and_was_not_faster_is_left_alone_for_a_while() -> None:
    """A peer whose windows are shorter than ours looks faster than it is."""
    story = Told()
    assert [story.after(A, 0) for _ in range(AGREEING)][-1]
    story.hastening.on_duplicate(EVERYBODY, A, story.now)
    assert not any(story.after(A, 0) for _ in range(3 * AGREEING))
    assert [story.after(B, 0) for _ in range(AGREEING)][-1]
    story.now = later(story.now, TRIED_AGAIN_AFTER)
    assert [story.after(A, 0) for _ in range(AGREEING)][-1]


def test_a_link_proves_itself_once_and_a_duplicate_then_says_nothing_of_its_speed() -> None:
    story = Told()
    assert not story.hastening.has_proved(EVERYBODY, A)
    assert [story.after(A, 0) for _ in range(AGREEING)][-1]
    assert not story.hastening.has_proved(EVERYBODY, B)
    assert story.hastening.has_proved(EVERYBODY, A)
    assert not story.hastening.has_proved(EVERYBODY, A)
    story.hastening.on_duplicate(EVERYBODY, A, story.now)
    assert [story.after(A, 0) for _ in range(AGREEING)][-1]


def test_audiences_have_nothing_in_common() -> None:
    story = Told()
    for _ in range(AGREEING - 1):
        story.after(A, 0)
    for _ in range(AGREEING - 1):
        assert not story.after(A, 0, IN_ACME)
        assert not story.after(B, JUST_FASTER + 1, IN_ACME)
    assert story.after(A, 0)


def test_no_word_of_a_peer_makes_a_row_and_rows_are_few() -> None:
    hastening = Hastening(DisseminationConfig(audiences_max=1))
    for number in range(2 * PREFIXES_MAX):
        hastening.on_told(EVERYBODY, prefix(number), A, NOW)
    for _ in range(AGREEING):
        assert hastening.on_brought(EVERYBODY, prefix(0), NOW) is None
    hastening.on_brought(IN_ACME, prefix(0), NOW)
    for number in range(2 * PREFIXES_MAX):
        hastening.on_brought(IN_ACME, prefix(number), NOW)
        hastening.on_told(IN_ACME, prefix(1_000 + number), A, NOW)
        hastening.check()
    hastening.on_lost(A)
    hastening.check()
