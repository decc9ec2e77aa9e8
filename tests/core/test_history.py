"""Increments kept beside a head: which of them make a chain, and which are worth their room."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fabgossip.core.history import KEPT_MAX, Kept, chain_between, worth_keeping
from fabgossip.model.artifact import Base, VerifiedManifest
from fabgossip.model.ids import ContentHash
from tests.core.artifacts import increment
from tests.trust import factory

PLAIN = increment(7).verified


def content(number: int) -> ContentHash:
    return factory.hash_of(b"content %d" % number)


def kept(version: int, base: int, result: int, size: int = 10) -> Kept:
    """An increment from one content to another."""
    made = Base(
        version=max(1, version - 1),
        content_hash=content(base),
        result_hash=content(result),
        result_size=1,
    )
    manifest = replace(PLAIN.manifest, config_version=version, base=made, content_size=size)
    return Kept(replace(PLAIN, manifest=manifest))


def links(steps: tuple[Kept, ...]) -> list[int]:
    return [one.verified.manifest.config_version for one in steps]


def test_a_chain_is_found_in_the_order_it_is_applied() -> None:
    rows = [kept(version, version - 1, version) for version in (9, 8, 7, 6)]
    found = chain_between(rows, content(6), content(9))
    assert found is not None
    assert links(found) == [7, 8, 9]


def test_what_does_not_link_is_no_chain() -> None:
    rows = [kept(9, 8, 9), kept(7, 6, 7)]
    assert chain_between(rows, content(6), content(9)) is None
    assert chain_between([], content(6), content(9)) is None


def test_a_version_issued_again_with_the_same_content_needs_no_step() -> None:
    """Version 8 is the content of version 7 once more, and no increment leads to it."""
    rows = [kept(9, 7, 9), kept(7, 6, 7)]
    found = chain_between(rows, content(6), content(9))
    assert found is not None
    assert links(found) == [7, 9]


def test_a_step_from_a_content_to_itself_ends_nowhere() -> None:
    rows = [kept(9, 7, 7), kept(8, 7, 7)]
    assert chain_between(rows, content(6), content(7)) is None


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_whatever_is_kept_a_chain_leads_from_base_to_result(rows: list[tuple[int, int]]) -> None:
    all_kept = [kept(len(rows) - place, *row) for place, row in enumerate(rows)]
    found = chain_between(all_kept, content(0), content(1))
    if found is None:
        return
    assert found[0].base.content_hash == content(0)
    assert found[-1].base.result_hash == content(1)
    for before, after in pairwise(found):
        assert before.base.result_hash == after.base.content_hash
        assert before.verified.manifest.order < after.verified.manifest.order


def test_as_much_is_kept_as_a_chain_of_it_may_cost() -> None:
    rows = [kept(version, version - 1, version, size=30) for version in (9, 8, 7, 6)]
    assert links(worth_keeping(rows, content(9), 180)) == [9, 8, 7]
    assert links(worth_keeping(rows, content(9), 179)) == [9, 8]
    assert links(worth_keeping(rows, content(8), 180)) == [8, 7, 6]
    assert worth_keeping(rows, content(5), 180) == ()


def test_no_more_steps_are_kept_than_a_chain_may_have() -> None:
    rows = [kept(version, version - 1, version) for version in range(100, 20, -1)]
    assert len(worth_keeping(rows, content(100), 10_000)) == KEPT_MAX


def test_two_values_of_one_increment_are_one() -> None:
    one: VerifiedManifest = increment(7).verified
    assert Kept(one) == Kept(one)
