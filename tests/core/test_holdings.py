"""A neighbour's word about what it holds: advice, about shared audiences, while linked."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from fabgossip.core.config import HoldingsConfig
from fabgossip.core.events import LinkId
from fabgossip.core.holdings import AUDIENCES_PER_LINK_MAX, NeighborHoldings
from fabgossip.model.messages import Holdings, HoldingsEntry, HoldingsMode
from fabgossip.model.scope import Audience
from tests.core.artifacts import EVERYBODY, IN_ACME
from tests.trust import factory

A = LinkId(1)
BOTH = (EVERYBODY, IN_ACME)
P, Q = b"p" * 16, b"q" * 16


def whole(mode: HoldingsMode, *prefixes: bytes) -> Holdings:
    entry = HoldingsEntry(EVERYBODY, mode, prefixes)
    return Holdings(sequence=1, is_whole=True, entries=(entry,))


def also(*prefixes: bytes) -> Holdings:
    entry = HoldingsEntry(EVERYBODY, HoldingsMode.ONLY, prefixes)
    return Holdings(sequence=2, is_whole=False, entries=(entry,))


def test_nothing_said_decides_nothing() -> None:
    holdings = NeighborHoldings(HoldingsConfig())
    assert holdings.says(A, EVERYBODY, P) is None


@pytest.mark.parametrize(
    ("mode", "listed", "unlisted"),
    [
        (HoldingsMode.ALL_EXCEPT, False, True),
        (HoldingsMode.ONLY, True, False),
        (HoldingsMode.NONE, None, None),
    ],
)
def test_each_mode_says_yes_and_no_as_it_means(
    mode: HoldingsMode,
    listed: bool | None,  # noqa: FBT001
    unlisted: bool | None,  # noqa: FBT001
) -> None:
    holdings = NeighborHoldings(HoldingsConfig())
    holdings.on_holdings(A, whole(mode, P), BOTH)
    assert holdings.says(A, EVERYBODY, P) is listed
    assert holdings.says(A, EVERYBODY, Q) is unlisted


def test_what_is_added_later_counts_until_the_next_whole_word() -> None:
    holdings = NeighborHoldings(HoldingsConfig())
    holdings.on_holdings(A, whole(HoldingsMode.ALL_EXCEPT, P), BOTH)
    assert holdings.on_holdings(A, also(P), BOTH) == (P,)
    assert holdings.says(A, EVERYBODY, P) is True
    holdings.on_holdings(A, whole(HoldingsMode.ALL_EXCEPT, P), BOTH)
    assert holdings.says(A, EVERYBODY, P) is False


def test_a_word_about_an_audience_we_do_not_share_is_dropped() -> None:
    holdings = NeighborHoldings(HoldingsConfig())
    assert holdings.on_holdings(A, also(P), (IN_ACME,)) == ()
    assert holdings.says(A, EVERYBODY, P) is None


def test_a_word_ends_with_its_link() -> None:
    holdings = NeighborHoldings(HoldingsConfig())
    holdings.on_holdings(A, also(P), BOTH)
    holdings.on_lost(A)
    assert holdings.says(A, EVERYBODY, P) is None


def test_beyond_the_limit_the_oldest_word_is_forgotten() -> None:
    holdings = NeighborHoldings(HoldingsConfig(per_peer_max=16))
    for number in range(17):
        holdings.on_holdings(A, also(b"%016d" % number), BOTH)
        holdings.check()
    assert holdings.says(A, EVERYBODY, b"%016d" % 0) is None
    assert holdings.says(A, EVERYBODY, b"%016d" % 1) is True


def test_the_limit_holds_for_all_audiences_of_a_link_together() -> None:
    holdings = NeighborHoldings(HoldingsConfig(per_peer_max=16))
    for number in range(17):
        audience = BOTH[number % 2]
        entry = HoldingsEntry(audience, HoldingsMode.ONLY, (b"%016d" % number,))
        holdings.on_holdings(A, Holdings(sequence=1, is_whole=False, entries=(entry,)), BOTH)
        holdings.check()
    assert holdings.says(A, BOTH[0], b"%016d" % 0) is None
    assert holdings.says(A, BOTH[1], b"%016d" % 1) is True


def listing(audience: Audience, count: int, *, is_whole: bool) -> Holdings:
    prefixes = tuple(b"%016d" % number for number in range(count))
    entry = HoldingsEntry(audience, HoldingsMode.ALL_EXCEPT, prefixes)
    return Holdings(sequence=1, is_whole=is_whole, entries=(entry,))


@pytest.mark.parametrize(("count", "says"), [(8, False), (9, None)])
def test_a_list_there_is_no_room_for_leaves_its_audience_unknown(
    count: int,
    says: bool | None,  # noqa: FBT001
) -> None:
    holdings = NeighborHoldings(HoldingsConfig(per_peer_max=16))
    holdings.on_holdings(A, listing(IN_ACME, 8, is_whole=True), BOTH)
    holdings.on_holdings(A, listing(EVERYBODY, count, is_whole=False), BOTH)
    holdings.check()
    assert holdings.says(A, EVERYBODY, b"%016d" % 0) is says
    assert holdings.says(A, IN_ACME, b"%016d" % 0) is False
    # A shorter list makes room again.
    holdings.on_holdings(A, listing(EVERYBODY, 1, is_whole=False), BOTH)
    assert holdings.says(A, EVERYBODY, b"%016d" % 0) is False


def test_a_link_may_speak_of_so_many_audiences_and_of_no_further_one() -> None:
    holdings = NeighborHoldings(HoldingsConfig())
    audiences = tuple(
        factory.audience("cluster:c1", f"service:s{number}")
        for number in range(AUDIENCES_PER_LINK_MAX + 1)
    )
    for audience in audiences:
        entry = HoldingsEntry(audience, HoldingsMode.ONLY, (P,))
        holdings.on_holdings(A, Holdings(sequence=1, is_whole=False, entries=(entry,)), audiences)
    holdings.check()
    assert holdings.says(A, audiences[-1], P) is None


def test_where_a_part_was_lost_nothing_said_before_decides_anything() -> None:
    """What was lost may have taken something back, and an honest neighbour would seem to lie."""
    holdings = NeighborHoldings(HoldingsConfig())
    holdings.on_holdings(A, whole(HoldingsMode.ALL_EXCEPT), BOTH)
    holdings.on_holdings(A, also(Q), BOTH)
    assert (holdings.says(A, EVERYBODY, P), holdings.says(A, EVERYBODY, Q)) == (True, True)
    holdings.on_holdings(A, replace(also(), sequence=4), BOTH)
    assert (holdings.says(A, EVERYBODY, P), holdings.says(A, EVERYBODY, Q)) == (None, None)
    holdings.on_holdings(A, replace(whole(HoldingsMode.ALL_EXCEPT), sequence=5), BOTH)
    assert holdings.says(A, EVERYBODY, P) is True


def test_who_had_it_not_when_asked_is_so_until_it_says_otherwise() -> None:
    """A word about all is no answer about one that came since; only a newer word is."""
    holdings = NeighborHoldings(HoldingsConfig(per_peer_max=2))
    of_all = whole(HoldingsMode.ALL_EXCEPT)
    holdings.on_missing(A, P)
    assert not holdings.was_missing(A, P)  # it never said otherwise
    holdings.on_holdings(A, of_all, BOTH)

    def is_missing_after(newer: Callable[[], object]) -> bool:
        holdings.on_missing(A, P)
        assert holdings.was_missing(A, P)
        newer()
        return holdings.was_missing(A, P)

    assert is_missing_after(lambda: holdings.on_holdings(A, also(Q), BOTH))
    assert not is_missing_after(lambda: holdings.on_holdings(A, also(P), BOTH))
    assert not is_missing_after(lambda: holdings.on_announced(A, EVERYBODY, P))
    assert not is_missing_after(lambda: holdings.on_holdings(A, of_all, BOTH))
    for number in range(4):
        holdings.on_missing(A, bytes([number]) * 16)
        holdings.check()
