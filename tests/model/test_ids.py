"""Ids have one grammar, compared as bytes: what is not of it is refused, never mended."""

from collections.abc import Callable

import pytest

from fabgossip.errors import ModelError
from fabgossip.model.ids import (
    NOTHING_HASH,
    key_id_of,
    parse_artifact_id,
    parse_cluster_id,
    parse_content_hash,
    parse_id,
    parse_key_id,
    parse_node_id,
    parse_platform_id,
    short_hash,
    shown,
)

HEX = "0123456789abcdef" * 4
GOOD = ["a", "0", "a" * 63, "a.b", "a..b", "a-_.b", "0-9"]
BAD = {
    "nothing": "",
    "64 characters": "a" * 64,
    "upper case": "Node",
    "dot first": ".a",
    "dash last": "a-",
    "two dots": "..",
    "slash": "a/b",
    "colon": "a:b",
    "NUL": "a\x00b",
    "newline behind": "a\n",
    "space": "a b",
    "percent": "a%2eb",
    "umlaut": "ä",
    "look-alike": "а",  # noqa: RUF001 - a Cyrillic letter, on purpose
    "full width": "\uff41",
    "other digit": "\u0661",
    "lone surrogate": "a\ud800b",
}


@pytest.mark.parametrize("text", GOOD)
def test_an_id_within_the_grammar_stays_as_it_is(text: str) -> None:
    assert parse_id(text, "node id") == text


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_an_id_outside_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="node id"):
        parse_id(text, "node id")


@pytest.mark.parametrize(
    ("parse", "word"),
    [
        (parse_node_id, "node id"),
        (parse_cluster_id, "cluster id"),
        (parse_platform_id, "platform id"),
        (parse_artifact_id, "artifact id"),
    ],
)
def test_every_kind_of_id_names_itself_when_it_refuses(
    parse: Callable[[str], str], word: str
) -> None:
    assert parse("n-1") == "n-1"
    with pytest.raises(ModelError, match=word):
        parse("N-1")


@pytest.mark.parametrize("parse", [parse_content_hash, parse_key_id])
def test_a_hash_is_64_lower_case_digits(parse: Callable[[str], bytes]) -> None:
    assert parse(HEX).hex() == HEX


@pytest.mark.parametrize(
    "text", [HEX[:-1], HEX[:-2], HEX + "00", HEX.upper(), f" {HEX[1:]}", f"{HEX[:-2]}g0", ""]
)
def test_a_hash_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="content hash"):
        parse_content_hash(text)


def test_a_hash_with_blanks_between_its_digits_is_refused() -> None:
    blank = f"{HEX[:2]} {HEX[2:]}"
    with pytest.raises(ModelError):
        parse_content_hash(blank)
    with pytest.raises(ModelError):
        parse_content_hash(blank[:64])


def test_an_error_repeats_at_most_80_characters_and_escapes_them() -> None:
    assert shown("x" * 500) == f"'{'x' * 80}'"
    assert shown("\x1b[31m\n") == r"'\x1b[31m\n'"


def test_a_short_hash_is_12_digits() -> None:
    assert short_hash(bytes.fromhex(HEX)) == HEX[:12]


def test_a_key_id_is_made_from_the_key() -> None:
    public_key = bytes.fromhex("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8")
    expected = "56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c"
    assert key_id_of(public_key).hex() == expected


def test_the_hash_of_nothing_is_what_a_tombstone_names() -> None:
    assert short_hash(NOTHING_HASH) == "e3b0c44298fc"
