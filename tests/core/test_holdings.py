"""A neighbour's word about what it holds: advice, about shared audiences, while linked."""

import pytest

from fabgossip.core.config import HoldingsConfig
from fabgossip.core.events import LinkId
from fabgossip.core.holdings import NeighborHoldings
from fabgossip.model.messages import Holdings, HoldingsEntry, HoldingsMode
from tests.core.artifacts import EVERYBODY, IN_ACME

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
