"""Announcements travel along trees: duplicates prune, grafts heal, and the first way stays."""

from collections.abc import Callable
from typing import Final

import pytest

from fabgossip.core.config import DisseminationConfig
from fabgossip.core.events import LinkId
from fabgossip.core.trees import PRUNE_EVERY, WARM_AFTER, Trees
from fabgossip.model.moment import Duration, Instant, later
from fabgossip.model.scope import Audience
from tests.core.artifacts import EVERYBODY, IN_ACME

CONFIG: Final = DisseminationConfig(eager_links=2)
NOW: Final = Instant(1_000)
A, B, C = LinkId(1), LinkId(2), LinkId(3)
LINKS: Final = (A, B, C)


def drawn(link: LinkId) -> bytes:
    """Lots in the order of the links."""
    return bytes([link])


def eager(
    trees: Trees,
    links: tuple[LinkId, ...] = LINKS,
    audience: Audience = EVERYBODY,
    lot: Callable[[LinkId], bytes] = drawn,
) -> tuple[LinkId, ...]:
    """Who carries what is announced to all links of an audience."""
    trees.on_links(audience, links, lot)
    return trees.eager(audience, links)


def test_the_first_links_are_eager_and_the_others_hear_only_the_news() -> None:
    trees = Trees(CONFIG)
    assert eager(trees) == (A, B)
    assert eager(trees, (C, A)) == (A,)


def test_of_new_links_the_lot_decides_and_of_those_it_has_the_tree_does() -> None:
    """By age, who came last would hear only the news from all its neighbours."""
    trees = Trees(CONFIG)
    last_first = {A: b"3", B: b"2", C: b"1"}
    assert eager(trees, lot=last_first.__getitem__) == (B, C)
    assert eager(trees) == (B, C)


def test_a_duplicate_prunes_a_link_at_both_ends_but_not_twice_in_a_second() -> None:
    trees = Trees(CONFIG)
    trees.on_links(EVERYBODY, LINKS, drawn)
    assert trees.on_duplicate(EVERYBODY, B, NOW)
    assert eager(trees) == (A,)
    trees.on_grafted(EVERYBODY, B)
    assert not trees.on_duplicate(EVERYBODY, B, later(NOW, Duration(PRUNE_EVERY - 1)))
    assert trees.is_eager(EVERYBODY, B)
    assert trees.on_duplicate(EVERYBODY, B, later(NOW, PRUNE_EVERY))
    trees.on_grafted(EVERYBODY, C)
    pruned(trees, C)
    assert not trees.is_eager(EVERYBODY, C)


def pruned(trees: Trees, *links: LinkId) -> None:
    """Links carried an announcement their peers had from elsewhere."""
    for link in links:
        trees.on_announced(EVERYBODY, link)
        trees.on_pruned(EVERYBODY, link)


def test_an_audience_with_a_link_has_an_eager_one_when_something_is_announced() -> None:
    """All pruned, or the eager ones lost: the oldest of those that are not in doubt takes over."""
    trees = Trees(CONFIG)
    trees.on_links(EVERYBODY, LINKS, drawn)
    pruned(trees, *LINKS)
    assert eager(trees) == (A,)
    trees.on_lost(A)
    assert eager(trees, (B, C)) == (B,)
    assert eager(trees, ()) == ()


def test_a_link_in_doubt_carries_nothing_whole_while_another_can() -> None:
    """However old it is, and in what is announced for the first time, too."""
    trees = Trees(CONFIG)
    trees.on_links(EVERYBODY, LINKS, drawn)
    pruned(trees, B, C)
    trees.on_doubtful(A)
    assert eager(trees) == (B,)
    assert trees.eager(EVERYBODY, LINKS, origin=B) == (C,)
    assert eager(trees, audience=IN_ACME) == (B, C)
    assert eager(trees, (A,)) == (A,), "there is no other"


@pytest.mark.parametrize("ends", [Trees.on_alive, Trees.on_lost])
def test_doubt_ends_with_a_sign_of_life_or_with_the_link(
    ends: Callable[[Trees, LinkId], None],
) -> None:
    trees = Trees(CONFIG)
    trees.on_links(EVERYBODY, LINKS, drawn)
    pruned(trees, B, C)
    trees.on_doubtful(A)
    ends(trees, A)
    assert A in eager(trees)


def test_what_a_link_in_doubt_is_asked_for_it_carries() -> None:
    trees = Trees(CONFIG)
    trees.on_links(EVERYBODY, LINKS, drawn)
    pruned(trees, B, C)
    trees.on_doubtful(A)
    trees.on_grafted(EVERYBODY, A)
    pruned(trees, A)
    assert eager(trees) == (A,)


def test_what_only_some_may_know_changes_nothing_for_the_others() -> None:
    """It has an eager link among its own, and the tree stays as it is."""
    trees = Trees(CONFIG)
    trees.on_links(EVERYBODY, LINKS, drawn)
    pruned(trees, B)
    assert trees.eager(EVERYBODY, (B, C)) == (B,)
    assert [trees.is_eager(EVERYBODY, link) for link in LINKS] == [True, False, False]
    assert eager(trees) == (A,)


def test_who_prunes_what_carried_nothing_prunes_nothing() -> None:
    """It would see later whether there was a tree, by something it may not know of."""
    trees = Trees(CONFIG)
    trees.on_links(EVERYBODY, LINKS, drawn)
    trees.on_pruned(EVERYBODY, A)
    assert trees.is_eager(EVERYBODY, A)


def test_trees_of_two_audiences_have_nothing_in_common() -> None:
    trees = Trees(CONFIG)
    trees.on_links(EVERYBODY, LINKS, drawn)
    trees.on_links(IN_ACME, LINKS, drawn)
    pruned(trees, A)
    assert eager(trees, audience=IN_ACME) == (A, B)


def test_larger_contents_ride_along_once_a_link_has_not_been_pruned_for_a_while() -> None:
    trees = Trees(CONFIG)
    trees.on_links(EVERYBODY, LINKS, drawn)
    for _ in range(WARM_AFTER - 1):
        trees.on_announced(EVERYBODY, A)
    assert trees.inline_max(EVERYBODY, A) == CONFIG.inline_cold_max
    trees.on_announced(EVERYBODY, A)
    assert trees.inline_max(EVERYBODY, A) == CONFIG.inline_warm_max
    trees.on_pruned(EVERYBODY, A)
    trees.on_grafted(EVERYBODY, A)
    assert trees.inline_max(EVERYBODY, A) == CONFIG.inline_cold_max


def test_beyond_the_limit_the_tree_used_least_recently_starts_anew() -> None:
    trees = Trees(DisseminationConfig(eager_links=2, audiences_max=1))
    trees.on_links(EVERYBODY, LINKS, drawn)
    pruned(trees, A)
    trees.on_links(IN_ACME, LINKS, drawn)
    trees.check()
    assert eager(trees) == (A, B)


def test_a_graft_makes_no_tree() -> None:
    """Who may name audiences as it likes would push out the trees of all others."""
    trees = Trees(DisseminationConfig(eager_links=2, audiences_max=1))
    trees.on_links(EVERYBODY, LINKS, drawn)
    pruned(trees, A)
    trees.on_grafted(IN_ACME, B)
    assert eager(trees) == (B,)
    assert not trees.is_eager(IN_ACME, B)
