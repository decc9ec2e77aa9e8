"""Contents that fabgossip reads are as strict as a peer's bytes: a signer can be wrong too."""

from collections.abc import Sequence

import msgpack
import pytest

from fabgossip.errors import WireError
from fabgossip.wire.contents import (
    parse_bundle,
    parse_peer_directory,
    parse_pinned,
    parse_revocations,
    parse_snapshot,
    parse_storage_directory,
    pinned_bytes,
)
from tests.wire.samples import SAMPLES, code_when_read

KEY = bytes(range(32))
KEY_2 = bytes(range(1, 33))
DOMAIN = ["eu", "eu-1", "r7"]
PEER = ["n1", ["a:1"], DOMAIN, 1, False, [0]]
NODE = ["s1", DOMAIN, [[["cluster:prod"], ["peer_directory"], None]]]
ROW = [1, KEY, "stolen", 1, 0, 0]
START = {sample.name: msgpack.unpackb(sample.data, raw=False) for sample in SAMPLES}
PARSERS = {
    "bundle": parse_bundle,
    "revocations": parse_revocations,
    "peer directory": parse_peer_directory,
    "storage directory": parse_storage_directory,
    "snapshot": parse_snapshot,
}


def changed(row: Sequence[object], place: int, value: object) -> list[object]:
    return [*row[:place], value, *row[place + 1 :]]


REFUSED: list[tuple[str, int, object, str]] = [
    # content, place, value, code
    ("bundle", 0, 2, "SCHEMA"),
    ("bundle", 0, True, "SCHEMA"),
    ("bundle", 1, "Acme", "ID_SYNTAX"),
    ("bundle", 2, "a/b", "ID_SYNTAX"),
    ("bundle", 3, 0, "SCHEMA"),
    ("bundle", 4, 0, "SCHEMA"),
    ("bundle", 5, 0, "SCHEMA"),
    ("bundle", 5, 9, "SCHEMA"),
    ("bundle", 6, [KEY, KEY], "SCHEMA"),
    ("bundle", 6, [KEY_2, KEY], "SCHEMA"),
    ("bundle", 6, [KEY[:31]], "SCHEMA"),
    ("bundle", 6, [bytes([n]) * 32 for n in range(9)], "SCHEMA"),
    ("bundle", 7, [[KEY, 0, 0, 0]], "SCHEMA"),
    ("bundle", 7, [[KEY, 4, 0, 0]], "SCHEMA"),
    ("bundle", 7, [[KEY, 1, 0]], "SCHEMA"),
    ("bundle", 7, [[KEY, 1, 0, 0]] * 257, "SCHEMA"),
    ("bundle", 8, [["peer_directory", "p", 0, [KEY]]], "SCHEMA"),
    ("bundle", 8, [["peer_directory", "p", 1, [KEY, KEY]]], "SCHEMA"),
    ("bundle", 8, [["peer_directory", "p", 1, [KEY_2, KEY]]], "SCHEMA"),
    ("bundle", 8, [["x" * 33, "p", 1, [KEY]]], "SCHEMA"),
    ("bundle", 8, [["peer_directory", "p" * 513, 1, [KEY]]], "SCHEMA"),
    ("bundle", 8, [["peer_directory", "p", 1, []]] * 513, "SCHEMA"),
    ("bundle", 9, [b"x" * 4_097], "SCHEMA"),
    ("bundle", 9, [b"x"] * 9, "SCHEMA"),
    ("bundle", 10, 0, "SCHEMA"),
    ("bundle", 10, 7 * 86_400 + 1, "SCHEMA"),
    ("bundle", 11, 0, "SCHEMA"),
    ("bundle", 11, 256, "SCHEMA"),
    ("bundle", 12, [["custom", 1]], "SCHEMA"),
    ("bundle", 12, [["peer_directory", 0]], "SCHEMA"),
    ("bundle", 12, [["peer_directory", (256 << 20) + 1]], "SCHEMA"),
    ("bundle", 12, [["peer_directory", 1]] * 11, "SCHEMA"),
    ("revocations", 0, 0, "SCHEMA"),
    ("revocations", 1, [changed(ROW, 0, 0)], "SCHEMA"),
    ("revocations", 1, [changed(ROW, 0, 7)], "SCHEMA"),
    ("revocations", 1, [changed(ROW, 1, KEY[:31])], "SCHEMA"),
    ("revocations", 1, [changed(ROW, 2, "x" * 64)], "SCHEMA"),
    ("revocations", 1, [changed(ROW, 4, -1)], "SCHEMA"),
    ("revocations", 1, [changed(ROW, 3, 0)], "SCHEMA"),
    ("revocations", 1, [ROW[:5]], "SCHEMA"),
    ("peer directory", 0, 0, "SCHEMA"),
    ("peer directory", 1, "edge", "ID_SYNTAX"),
    ("peer directory", 2, [["org:a"]], "SCHEMA"),
    ("peer directory", 2, [["cluster:prod"]] * 1_025, "SCHEMA"),
    ("peer directory", 3, [PEER, PEER], "SCHEMA"),
    ("peer directory", 3, [changed(PEER, 0, "n2"), PEER], "SCHEMA"),
    ("peer directory", 3, [changed(PEER, 0, "N1")], "ID_SYNTAX"),
    ("peer directory", 3, [changed(PEER, 1, ["a:1"] * 9)], "SCHEMA"),
    ("peer directory", 3, [changed(PEER, 1, ["a" * 261])], "SCHEMA"),
    ("peer directory", 3, [changed(PEER, 2, DOMAIN[:2])], "SCHEMA"),
    ("peer directory", 3, [changed(PEER, 2, ["eu", "EU", "r"])], "ID_SYNTAX"),
    ("peer directory", 3, [changed(PEER, 3, 0)], "SCHEMA"),
    ("peer directory", 3, [changed(PEER, 3, 4)], "SCHEMA"),
    ("peer directory", 3, [changed(PEER, 4, 1)], "SCHEMA"),
    ("peer directory", 3, [changed(PEER, 5, [2])], "SCHEMA"),
    ("peer directory", 3, [changed(PEER, 5, [0, 1, 1])], "SCHEMA"),
    ("storage directory", 0, 0, "SCHEMA"),
    ("storage directory", 1, "org:", "ID_SYNTAX"),
    ("storage directory", 2, [NODE, NODE], "SCHEMA"),
    ("storage directory", 2, [changed(NODE, 2, [[["org:a"], [], None]])], "SCHEMA"),
    ("storage directory", 2, [changed(NODE, 2, [NODE[2]] * 129)], "SCHEMA"),
    ("storage directory", 3, [["peer_directory", 10, False]], "SCHEMA"),
    ("storage directory", 3, [["peer_directory", 1, 0]], "SCHEMA"),
    ("storage directory", 3, [["peers", 1, False]], "SCHEMA"),
    ("storage directory", 4, 17, "SCHEMA"),
    ("snapshot", 0, 0, "SCHEMA"),
    ("snapshot", 1, [["a:1", "N1"]], "ID_SYNTAX"),
    ("snapshot", 1, [["a" * 261, "n1"]], "SCHEMA"),
    ("snapshot", 1, [["a:1", "n1"]] * 65, "SCHEMA"),
    ("snapshot", 2, [["peer_directory", -1]], "SCHEMA"),
    ("snapshot", 2, [["peer_directory", 1]] * 11, "SCHEMA"),
    ("snapshot", 3, "text", "SCHEMA"),
]


@pytest.mark.parametrize(("name", "place", "value", "code"), REFUSED)
def test_a_field_out_of_bounds_is_refused(name: str, place: int, value: object, code: str) -> None:
    data = msgpack.packb(changed(START[name], place, value), use_bin_type=True)
    assert code_when_read(PARSERS[name], data) == code


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("bundle", 10, 7 * 86_400),
        ("bundle", 11, 255),
        ("bundle", 7, [[bytes([n]) * 32, 1, 0, 0] for n in range(256)]),
        ("revocations", 1, []),
        ("revocations", 1, [changed(ROW, 2, "x" * 63)]),
        ("peer directory", 3, []),
        ("storage directory", 4, 16),
        ("snapshot", 3, b""),
    ],
)
def test_a_field_at_its_bound_is_read(name: str, place: int, value: object) -> None:
    data = msgpack.packb(changed(START[name], place, value), use_bin_type=True)
    assert code_when_read(PARSERS[name], data) is None


@pytest.mark.parametrize(
    ("name", "place"), [("revocations", 1), ("peer directory", 3), ("snapshot", 5)]
)
@pytest.mark.parametrize(("count", "over"), [(50_000, False), (50_001, True)])
def test_a_list_has_at_most_fifty_thousand_entries(
    name: str, place: int, *, count: int, over: bool
) -> None:
    """Beyond, none of them is looked at; at the limit they are, and these are none."""
    data = msgpack.packb(changed(START[name], place, [None] * count), use_bin_type=True)
    with pytest.raises(WireError) as caught:
        PARSERS[name](data)
    assert ("at most 50000 elements" in str(caught.value)) is over


@pytest.mark.parametrize("name", PARSERS)
def test_a_content_nested_too_deep_is_refused_before_it_is_read(name: str) -> None:
    deep: object = 0
    for _ in range(17):
        deep = [deep]
    data = msgpack.packb(changed(START[name], 0, deep), use_bin_type=True)
    assert code_when_read(PARSERS[name], data) == "MALFORMED"


def test_a_key_of_a_bundle_is_named_by_its_bytes_not_by_its_signer() -> None:
    bundle = parse_bundle(msgpack.packb(START["bundle"], use_bin_type=True))
    assert all(len(key.key_id) == 32 for key in bundle.keys)
    assert len({key.key_id for key in bundle.keys}) == len({key.public_key for key in bundle.keys})


def test_a_bootstrap_file_gives_back_envelope_and_content() -> None:
    assert parse_pinned(pinned_bytes(b"envelope", b"content")) == (b"envelope", b"content")


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ([2, b"e", b"c"], "SCHEMA"),
        ([1, b"e"], "SCHEMA"),
        ([1, "e", b"c"], "SCHEMA"),
        ([1, b"e", None], "SCHEMA"),
        ([1, b"e", [0] * 20], "MALFORMED"),
    ],
)
def test_a_bootstrap_file_out_of_form_is_refused(value: object, code: str) -> None:
    assert code_when_read(parse_pinned, msgpack.packb(value, use_bin_type=True)) == code
