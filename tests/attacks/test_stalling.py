"""Colluding peers that promise a content and between them keep a node from whoever would bring it.

Powers: the attackers are members, as many as they like to be, each with good links. They announce
what exists, say that they hold it, say so again whenever they like, and when they are asked they
hold the try for as long as they get away with: silent, dripping, busy, absent, cut off. They come
back over new links. One neighbor is honest, and may be the last in the order of sources.
"""

from collections.abc import Callable
from typing import Final

import pytest

from fabgossip.core.effects import Fact, ReceiveContent, SetTimer
from fabgossip.core.events import ContentFailed, FetchFailure, LinkId, LostReason, PeerLost, WantDue
from fabgossip.model.authority import RevokedKind
from fabgossip.model.ids import NodeId
from fabgossip.model.messages import Announce, Announced, Holdings, HoldingsEntry, HoldingsMode
from tests.attacks.powers import revokes
from tests.attacks.scene import Scene
from tests.core.artifacts import EVERYBODY, revocations
from tests.core.story import announcement

LIST: Final = revocations(9, revokes(RevokedKind.MANIFEST, b"m" * 32))
WAYS: Final = {
    "silent": (FetchFailure.STALLED, 38_000),
    "dripping": (FetchFailure.TOO_SLOW, 5_001),
    "absent": (FetchFailure.MISSING, 11_000),
    "busy": (FetchFailure.BUSY, 1_000),
    "cut off": (FetchFailure.LOST, 38_000),
}


class Siege(Scene):
    """A node that wants a list, promised by attackers; an honest neighbor says nothing yet."""

    def __init__(self, names: tuple[str, ...] = ("m1", "m2", "m3")) -> None:
        super().__init__()
        self.names = {self.link(name): name for name in names}
        self.honest = self.bystander
        self.caused.clear()
        first, *others = self.names
        self.announce(LIST, first).persisted()
        self.under_way = self.only(ReceiveContent)
        for link in others:
            self.announce(LIST, link)

    @property
    def asked(self) -> str:
        """Who holds the try under way."""
        assert self.under_way.link is not None
        return self.names.get(self.under_way.link, "honest")

    def says_it_again(self, link: LinkId) -> None:
        """An attacker announces the list and says that it holds it."""
        self.announces_again(link)
        self.advertises(link)

    def announces_again(self, link: LinkId) -> None:
        """An attacker announces the list."""
        self.announce(LIST, link)

    def advertises(self, link: LinkId) -> None:
        """An attacker says that it holds the list."""
        entry = HoldingsEntry(EVERYBODY, HoldingsMode.ONLY, (LIST.prefix,))
        self.hear(link, Holdings(sequence=9, is_whole=False, entries=(entry,)))

    def comes_back(self, link: LinkId) -> None:
        """An attacker starts its link anew."""
        name = self.names[link]
        self.when(PeerLost(link=link, node_id=NodeId(name), reason=LostReason.EOF))
        again = self.link(name)
        self.names[again] = name
        self.says_it_again(again)

    def fails(self, reason: FetchFailure, after_ms: int) -> bool:
        """The try under way comes to nothing after a while; whether another begins at once."""
        link = self.under_way.link
        assert link is not None
        self.wait(after_ms)
        lost = ContentFailed(
            wanted=LIST.wanted, link=link, request=None, reason=reason, received=100
        )
        self.when(lost)
        return self.goes_on()

    def goes_on(self) -> bool:
        """Whether another try began."""
        begun = self.find(ReceiveContent)
        if begun:
            (self.under_way,) = begun
        return bool(begun)

    def next_climb(self) -> None:
        """The parked want is tried again, as often as it takes to find somebody to ask."""
        begun = False
        while not begun:
            self.due(WantDue)
            begun = self.goes_on()


@pytest.mark.parametrize(("reason", "hold_ms"), WAYS.values(), ids=WAYS)
def test_three_that_hold_each_try_delay_the_honest_one_by_one_try_each(
    reason: FetchFailure, hold_ms: int
) -> None:
    siege = Siege()
    siege.announce(LIST, siege.honest)
    tried = []
    while siege.asked != "honest":
        tried.append(siege.asked)
        assert siege.fails(reason, hold_ms)
    assert sorted(tried) == sorted(set(tried))


@pytest.mark.parametrize("trick", [Siege.says_it_again, Siege.comes_back])
@pytest.mark.parametrize(("reason", "hold_ms"), WAYS.values(), ids=WAYS)
def test_no_word_and_no_new_link_gives_them_a_second_try_before_the_last_source(
    reason: FetchFailure,
    hold_ms: int,
    trick: Callable[[Siege, LinkId], None],
) -> None:
    """The honest one only advertises: it is of the last step, after all who announced."""
    siege = Siege()
    entry = HoldingsEntry(EVERYBODY, HoldingsMode.ONLY, (LIST.prefix,))
    siege.hear(siege.honest, Holdings(sequence=9, is_whole=False, entries=(entry,)))
    tried = []
    while siege.asked != "honest":
        tried.append(siege.asked)
        link = siege.under_way.link
        assert link is not None
        assert siege.fails(reason, hold_ms)
        under_way = siege.under_way
        trick(siege, link)
        siege.under_way = under_way
    assert len(tried) == len(set(tried)) <= 3


def test_who_failed_for_a_content_is_asked_for_it_after_who_did_not() -> None:
    """The honest one could not at first; in the next climb it is before those who stalled."""
    siege = Siege()
    siege.announce(LIST, siege.honest)
    begun = True
    while begun:
        is_honest = siege.asked == "honest"
        begun = siege.fails(FetchFailure.BUSY if is_honest else FetchFailure.STALLED, 1_000)
    siege.wait(60_000)
    siege.next_climb()
    assert siege.asked == "honest"


@pytest.mark.parametrize(("reason", "hold_ms"), WAYS.values(), ids=WAYS)
def test_more_than_a_climb_asks_keep_the_honest_one_from_its_try_for_a_few_climbs(
    reason: FetchFailure, hold_ms: int
) -> None:
    """Twenty announce it, a climb asks ten of them: who had its try, were it only to say that it is
    busy, comes after who had none."""
    siege = Siege(tuple(f"m{number}" for number in range(20)))
    siege.announce(LIST, siege.honest)
    climbs = 1
    while siege.asked != "honest":
        if not siege.fails(reason, hold_ms):
            siege.next_climb()
            climbs += 1
            assert climbs <= 3


def test_busy_is_no_reason_to_pass_over_a_source_for_longer() -> None:
    """It is asked in the next climb, however often it was busy and whatever it was before."""
    siege = Siege(("m1",))
    for _ in range(6):
        siege.fails(FetchFailure.BUSY, 0)
        siege.wait(201)
        siege.due(WantDue)
        assert siege.goes_on()


def test_a_content_that_rides_along_with_an_announcement_is_taken_while_it_is_wanted() -> None:
    """Others announced it first and are asked first: who brings it needs no try."""
    siege = Siege()
    siege.hear(siege.honest, announcement(LIST))
    brought = siege.only(ReceiveContent)
    assert brought.content == LIST.content
    siege.stored(LIST, None)
    assert siege.trusted[LIST.tail] == (LIST.manifest.order, "applying")
    siege.hear(siege.honest, announcement(LIST))
    assert siege.find(ReceiveContent) == []


def test_a_wrong_content_beside_a_known_announcement_is_blamed_on_who_sent_it() -> None:
    siege = Siege()
    wrong = Announced(LIST.envelope, 1, b"x" * LIST.manifest.content_size)
    siege.hear(siege.honest, Announce(entries=(wrong,)))
    assert siege.find(ReceiveContent) == []
    assert siege.facts() == [Fact.ARTIFACT_REJECTED]


def test_who_withholds_is_passed_over_for_longer_each_time_whatever_it_says() -> None:
    siege = Siege(("m1",))
    waits = []
    for _ in range(6):
        since = siege.now.instant
        siege.fails(FetchFailure.STALLED, 0)
        siege.says_it_again(next(iter(siege.names)))
        assert siege.find(ReceiveContent) == []
        siege.next_climb()
        waits.append((siege.now.instant - since) // 1_000)
    for waited, least in zip(waits, (10, 20, 40, 60, 60, 60), strict=True):
        assert least * 4 // 5 <= waited <= least * 6 // 5 + 30


def test_the_same_word_again_has_no_parked_want_climb_nor_wait_for_longer() -> None:
    """A climb costs this node a look at all it is linked to, and a longer wait before the next."""
    siege = Siege(("m1",))
    (link,) = siege.names
    while siege.fails(FetchFailure.STALLED, 38_000):
        pass
    (want,) = siege.node.view.wants_of(LIST.content_hash)
    climbs, retry_at = want.climbs, want.retry_at
    siege.caused.clear()
    for _ in range(50):
        siege.wait(5)
        siege.says_it_again(link)
    assert (want.climbs, want.retry_at) == (climbs, retry_at)
    assert not [one for one in siege.caused if isinstance(one, SetTimer)]


@pytest.mark.parametrize("reason", [FetchFailure.MISSING, FetchFailure.STALLED])
def test_what_is_news_of_a_parked_want_leaves_its_own_wait_as_it_is(reason: FetchFailure) -> None:
    """A climb that began on news, and found nobody, is no reason to come back later."""
    siege = Siege(("m1",))
    while siege.fails(FetchFailure.STALLED, 38_000):
        pass
    (want,) = siege.node.view.wants_of(LIST.content_hash)
    retry_at = want.retry_at
    siege.wait(5)
    siege.announce(LIST, siege.honest)
    siege.under_way = siege.only(ReceiveContent)
    assert not siege.fails(reason, 5)
    assert want.retry_at == retry_at
    assert not [one for one in siege.find(SetTimer) if isinstance(one.timer, WantDue)]
    siege.due(WantDue)
    assert siege.now.instant == retry_at
    assert want.climbs > 1


@pytest.mark.parametrize("says", [Siege.advertises, Siege.announces_again])
def test_a_word_that_proved_untrue_three_times_counts_for_nothing_for_ten_minutes(
    says: Callable[[Siege, LinkId], None],
) -> None:
    """A word ends the wait for who lacked a content: a liar would be asked as often as it speaks.
    Then it is heard again: it may have it now."""
    siege = Siege(("m1",))
    (liar,) = siege.names
    asked = []
    for second in range(605):
        while siege.goes_on():
            asked.append(second)
            siege.fails(FetchFailure.MISSING, 0)
        siege.wait(1_000)
        says(siege, liar)
    assert asked == [0, 1, 2, 3, 603, 604]
