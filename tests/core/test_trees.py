"""Announcements travel along trees: duplicates prune, grafts heal, and the first way stays."""

from typing import Final

from fabgossip.core.config import DisseminationConfig
from fabgossip.core.events import LinkId
from fabgossip.core.trees import PRUNE_EVERY, WARM_AFTER, Trees
from fabgossip.model.moment import Duration, Instant, later
from tests.core.artifacts import EVERYBODY, IN_ACME

CONFIG: Final = DisseminationConfig(eager_links=2)
NOW: Final = Instant(1_000)
A, B, C = LinkId(1), LinkId(2), LinkId(3)
LINKS: Final = (A, B, C)


def drawn(link: LinkId) -> bytes:
    """Lots in the order of the links."""
    return bytes([link])


def test_the_first_links_are_eager_and_the_others_hear_only_the_news() -> None:
    trees = Trees(CONFIG)
    assert trees.split(EVERYBODY, LINKS, drawn) == ((A, B), (C,))
    assert trees.split(EVERYBODY, (C, A), drawn) == ((A,), (C,))


def test_of_new_links_the_lot_decides_and_of_those_it_has_the_tree_does() -> None:
    """By age, who came last would hear only the news from all its neighbours."""
    trees = Trees(CONFIG)
    last_first = {A: b"3", B: b"2", C: b"1"}
    assert trees.split(EVERYBODY, LINKS, last_first.__getitem__) == ((B, C), (A,))
    assert trees.split(EVERYBODY, LINKS, drawn) == ((B, C), (A,))


def test_a_duplicate_prunes_a_link_at_both_ends_but_not_twice_in_a_second() -> None:
    trees = Trees(CONFIG)
    trees.split(EVERYBODY, LINKS, drawn)
    assert trees.on_duplicate(EVERYBODY, B, NOW)
    assert trees.split(EVERYBODY, LINKS, drawn) == ((A,), (B, C))
    trees.on_grafted(EVERYBODY, B)
    assert not trees.on_duplicate(EVERYBODY, B, later(NOW, Duration(PRUNE_EVERY - 1)))
    assert trees.is_eager(EVERYBODY, B)
    assert trees.on_duplicate(EVERYBODY, B, later(NOW, PRUNE_EVERY))
    trees.on_grafted(EVERYBODY, C)
    trees.on_pruned(EVERYBODY, C)
    assert not trees.is_eager(EVERYBODY, C)


def test_an_audience_with_a_link_always_has_an_eager_one() -> None:
    """All pruned, or the eager ones lost: the oldest link takes over."""
    trees = Trees(CONFIG)
    trees.split(EVERYBODY, LINKS, drawn)
    for link in LINKS:
        trees.on_pruned(EVERYBODY, link)
    assert trees.split(EVERYBODY, LINKS, drawn) == ((A,), (B, C))
    trees.on_lost(A)
    assert trees.split(EVERYBODY, (B, C), drawn) == ((B,), (C,))
    assert trees.split(EVERYBODY, (), drawn) == ((), ())


def test_trees_of_two_audiences_have_nothing_in_common() -> None:
    trees = Trees(CONFIG)
    trees.split(EVERYBODY, LINKS, drawn)
    trees.split(IN_ACME, LINKS, drawn)
    trees.on_pruned(EVERYBODY, A)
    assert trees.split(IN_ACME, LINKS, drawn) == ((A, B), (C,))


def test_larger_contents_ride_along_once_a_link_has_not_been_pruned_for_a_while() -> None:
    trees = Trees(CONFIG)
    trees.split(EVERYBODY, LINKS, drawn)
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
    trees.split(EVERYBODY, LINKS, drawn)
    trees.on_pruned(EVERYBODY, A)
    trees.split(IN_ACME, LINKS, drawn)
    trees.check()
    assert trees.split(EVERYBODY, LINKS, drawn) == ((A, B), (C,))


def test_a_graft_makes_no_tree() -> None:
    """Who may name audiences as it likes would push out the trees of all others."""
    trees = Trees(DisseminationConfig(eager_links=2, audiences_max=1))
    trees.split(EVERYBODY, LINKS, drawn)
    trees.on_pruned(EVERYBODY, A)
    trees.on_grafted(IN_ACME, B)
    assert trees.split(EVERYBODY, LINKS, drawn) == ((B,), (A, C))
    assert not trees.is_eager(IN_ACME, B)
