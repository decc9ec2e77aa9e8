"""How a content travels: its chunks make up the whole, and no frame brings more than was signed."""

import pytest

from fabgossip.core.chunks import (
    OUTSTANDING_BYTES,
    OUTSTANDING_CHUNKS,
    Arriving,
    Chunks,
    chunks_asked,
)
from fabgossip.core.effects import ServeItem
from fabgossip.core.events import ContentWanted
from fabgossip.model.artifact import WHOLE_BYTES_MAX, chunk_count_of
from fabgossip.model.ids import ContentHash, ManifestHash

KIB = 1 << 10
SIZES = (0, 1, WHOLE_BYTES_MAX, WHOLE_BYTES_MAX + 1, 5 * WHOLE_BYTES_MAX, 200 << 20)


def wanted(size: int) -> ContentWanted:
    hashes = tuple(ContentHash(bytes([one]) * 32) for one in range(chunk_count_of(size)))
    return ContentWanted(
        manifest_hash=ManifestHash(b"m" * 32),
        content_hash=ContentHash(b"c" * 32),
        size=size,
        chunk_hashes=hashes,
        is_read=False,
    )


@pytest.mark.parametrize("size", SIZES)
def test_the_chunks_of_a_content_make_up_the_whole(size: int) -> None:
    chunks, said = Chunks(wanted(size)), wanted(size)
    numbers = range(chunks.count)
    assert sum(chunks.size_of(one) for one in numbers) == size == chunks.start_of(chunks.count)
    assert all(chunks.size_of(one) for one in numbers) == bool(size)
    assert tuple(chunks.hash_of(one) for one in numbers) == (
        said.chunk_hashes or (said.content_hash,)
    )


@pytest.mark.parametrize("size", SIZES)
def test_what_may_be_outstanding_is_bounded_and_never_nothing(size: int) -> None:
    chunks = Chunks(wanted(size))
    assert 1 <= chunks.at_once <= OUTSTANDING_CHUNKS
    assert chunks.at_once == 1 or chunks.at_once * chunks.size_of(0) <= OUTSTANDING_BYTES


@pytest.mark.parametrize(
    ("item", "offset", "data"),
    [(1, 2, b"c"), (0, 1, b"c"), (0, 3, b"c"), (0, 2, b"cdef")],
    ids=["of another item", "again", "with a gap", "too much"],
)
def test_a_frame_that_does_not_go_on_adds_nothing(item: int, offset: int, data: bytes) -> None:
    chunk = Arriving(0, 5)
    assert chunk.takes(0, 0, b"ab")
    assert not chunk.takes(item, offset, data)
    assert (bytes(chunk.data), chunk.is_whole) == (b"ab", False)
    assert chunk.takes(0, 2, b"cde")
    assert chunk.is_whole


@pytest.mark.parametrize(
    ("chunks", "first", "count", "asked"),
    [(0, 0, 1, [0]), (0, 0, 9, [0]), (4, 1, 2, [1, 2]), (4, 3, 9, [3]), (4, 4, 1, [])],
)
def test_chunks_a_content_has_not_are_not_asked_of_it(
    chunks: int, first: int, count: int, asked: list[int]
) -> None:
    item = ServeItem(
        item=0,
        content_hash=ContentHash(b"c" * 32),
        size=chunks * KIB,
        chunk_hashes=(ContentHash(b"h" * 32),) * chunks,
        first_chunk=first,
        chunk_count=count,
    )
    assert list(chunks_asked(item)) == asked
