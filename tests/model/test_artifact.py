"""The table of types is complete, orders compare left to right, chunks follow from the size."""

import pytest

from fabgossip.model.artifact import (
    CONTENT_BYTES_MAX,
    KIB,
    MIB,
    NO_ORDER,
    TYPE_RULES,
    ArtifactType,
    Order,
    chunk_count_of,
    chunk_size_of,
)
from fabgossip.model.scope import Family

CHUNKS = [
    # content size, chunk hashes, bytes per chunk
    (0, 0, 256 * KIB),
    (1, 0, 256 * KIB),
    (MIB, 0, 256 * KIB),
    (MIB + 1, 5, 256 * KIB),
    (16 * MIB, 64, 256 * KIB),
    (16 * MIB + 1, 33, 512 * KIB),
    (32 * MIB, 64, 512 * KIB),
    (32 * MIB + 1, 33, MIB),
    (64 * MIB + 1, 33, 2 * MIB),
    (128 * MIB + 1, 33, 4 * MIB),
    (256 * MIB, 64, 4 * MIB),
]


@pytest.mark.parametrize(("size", "count", "chunk"), CHUNKS)
def test_chunks_follow_from_the_content_size(size: int, count: int, chunk: int) -> None:
    assert chunk_count_of(size) == count
    assert chunk_size_of(size) == chunk


def test_the_largest_content_has_64_chunks() -> None:
    assert chunk_count_of(CONTENT_BYTES_MAX) == 64


def test_the_epoch_outranks_the_version() -> None:
    assert Order(2, 1) > Order(1, 2**53 - 1)
    assert Order(1, 3) > Order(1, 2)
    assert Order(1, 1) > NO_ORDER
    assert str(Order(2, 7)) == "2.7"


def test_there_are_ten_types_and_each_has_its_rule() -> None:
    assert len(ArtifactType) == 10
    assert set(TYPE_RULES) == set(ArtifactType)


@pytest.mark.parametrize("kind", ArtifactType)
def test_a_type_goes_stale_before_it_expires(kind: ArtifactType) -> None:
    rule = TYPE_RULES[kind]
    assert 0 < rule.refresh_s < rule.expiry_s
    assert 0 < rule.size_max <= CONTENT_BYTES_MAX


def test_every_family_of_namespaces_has_a_type() -> None:
    assert {family for rule in TYPE_RULES.values() for family in rule.families} == set(Family)


def test_every_type_has_a_payload_kind_of_its_own() -> None:
    assert len({kind.payload_kind for kind in ArtifactType}) == 10
