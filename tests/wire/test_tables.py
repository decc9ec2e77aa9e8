"""A table is read whole or refused whole: exact types, known keys, all problems at once."""

from dataclasses import dataclass
from typing import Annotated

import pytest

from fabgossip.model.bounds import Bounds
from fabgossip.wire.tables import (
    PROBLEMS_MAX,
    Problem,
    TableError,
    field_types,
    parse_toml,
    structure_table,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    address: str
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    peers_max: Annotated[int, Bounds(1, 64)] = 8
    peers_min: Annotated[int, Bounds(0, 64)] = 2

    def __post_init__(self) -> None:
        if self.peers_min > self.peers_max:
            raise ValueError("peers_min is above peers_max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    name: str
    is_demo: bool = False
    retries: int = 3
    tags: tuple[str, ...] = ()
    limits: Limits = Limits()
    links: tuple[Link, ...] = ()


def problems(document: object) -> tuple[Problem, ...]:
    with pytest.raises(TableError) as caught:
        structure_table(document, Settings)
    return caught.value.problems


def lines(document: object) -> list[tuple[str, str]]:
    return sorted((one.code, one.key) for one in problems(document))


def test_a_whole_table_becomes_its_dataclass() -> None:
    text = """
        name = "n"
        is_demo = true
        tags = ["a", "b"]
        [limits]
        peers_max = 64
        [[links]]
        address = "a:1"
        [[links]]
        address = "b:1"
        weight = 2
    """
    assert structure_table(parse_toml(text), Settings) == Settings(
        name="n",
        is_demo=True,
        tags=("a", "b"),
        limits=Limits(peers_max=64),
        links=(Link(address="a:1"), Link(address="b:1", weight=2)),
    )


def test_what_is_left_out_takes_its_default() -> None:
    assert structure_table({"name": "n"}, Settings) == Settings(name="n")


def test_a_missing_key_is_named() -> None:
    assert lines({}) == [("missing_key", "name")]
    assert lines({"name": "n", "links": [{}]}) == [("missing_key", "links[0].address")]


@pytest.mark.parametrize("value", ["7", 3.9, True, None, [], {}])
def test_nothing_but_an_integer_is_an_integer(value: object) -> None:
    assert lines({"name": "n", "retries": value}) == [("wrong_type", "retries")]
    assert lines({"name": "n", "limits": {"peers_max": value}}) == [
        ("wrong_type", "limits.peers_max")
    ]


@pytest.mark.parametrize("value", [1, 0, "true", None])
def test_nothing_but_a_boolean_is_a_boolean(value: object) -> None:
    assert lines({"name": "n", "is_demo": value}) == [("wrong_type", "is_demo")]


@pytest.mark.parametrize("value", [1, True, None, ["n"]])
def test_nothing_but_text_is_text(value: object) -> None:
    assert lines({"name": value}) == [("wrong_type", "name")]


@pytest.mark.parametrize("value", ["ab", {"a": 1}, 1, None])
def test_nothing_but_a_list_is_a_list(value: object) -> None:
    assert lines({"name": "n", "tags": value}) == [("wrong_type", "tags")]


@pytest.mark.parametrize("value", [[], "x", 1, None])
def test_nothing_but_a_table_is_a_table(value: object) -> None:
    assert lines({"name": "n", "limits": value}) == [("wrong_type", "limits")]
    assert lines(value) == [("wrong_type", "")]


def test_an_element_of_a_list_is_named_by_its_place() -> None:
    assert lines({"name": "n", "tags": ["a", 1, "b", 2]}) == [
        ("wrong_type", "tags[1]"),
        ("wrong_type", "tags[3]"),
    ]


@pytest.mark.parametrize(("value", "side"), [(0, "minimum 1"), (65, "maximum 64")])
def test_a_value_out_of_bounds_says_which_bound(value: int, side: str) -> None:
    (one,) = problems({"name": "n", "limits": {"peers_max": value}})
    assert (one.code, one.key) == ("out_of_range", "limits.peers_max")
    assert side in one.detail


@pytest.mark.parametrize("value", [1, 64])
def test_both_bounds_are_within(value: int) -> None:
    read = structure_table({"name": "n", "limits": {"peers_max": value, "peers_min": 1}}, Settings)
    assert read.limits.peers_max == value


def test_an_unknown_key_is_refused_with_the_nearest_known_one() -> None:
    (one,) = problems({"name": "n", "retris": 3})
    assert (one.code, one.key) == ("unknown_key", "retris")
    assert '"retries"' in one.suggestion


def test_an_unknown_key_like_no_other_is_refused_with_all_known_ones() -> None:
    (one,) = problems({"name": "n", "limits": {"zzz": 1}})
    assert (one.code, one.key) == ("unknown_key", "limits.zzz")
    assert "peers_max, peers_min" in one.suggestion


def test_three_mistakes_in_one_document_give_three_lines() -> None:
    document = {"name": 1, "limits": {"peers_max": 99}, "links": [{"address": "a"}, {"adress": ""}]}
    assert lines(document) == [
        ("missing_key", "links[1].address"),
        ("out_of_range", "limits.peers_max"),
        ("unknown_key", "links[1].adress"),
        ("wrong_type", "name"),
    ]


def test_a_rule_across_fields_speaks_for_its_table() -> None:
    (one,) = problems({"name": "n", "limits": {"peers_max": 2, "peers_min": 3}})
    assert (one.code, one.key) == ("out_of_range", "limits")
    assert "above peers_max" in one.detail


def test_no_more_than_a_hundred_problems_are_told() -> None:
    assert len(problems({"name": "n", "tags": [0] * 500})) == PROBLEMS_MAX


def test_a_syntax_error_is_one_problem_with_its_line() -> None:
    with pytest.raises(TableError) as caught:
        parse_toml("name = \n")
    (one,) = caught.value.problems
    assert one.code == "syntax"
    assert "line 1" in one.detail


def test_the_error_shows_every_problem_with_its_key() -> None:
    with pytest.raises(TableError, match=r"name: .*retries: "):
        structure_table({"name": 1, "retries": "x"}, Settings)


def test_the_types_of_a_table_keep_their_bounds() -> None:
    assert field_types(Limits)["peers_max"] == Annotated[int, Bounds(1, 64)]
