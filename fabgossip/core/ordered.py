"""Ordered map, ordered set and fingerprint set, typed, with the operations this project uses.

Decides: nothing.
Keeps: keys in ascending order whatever the order of insertion; equal fingerprints for equal keys,
however they came and went.
Must not know: what is kept in it.

The only module that imports sortedcontainers, so the library can be replaced here.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from hashlib import blake2b
from itertools import islice
from typing import Final, Generic, TypeVar

from sortedcontainers import SortedList

K = TypeVar("K")
V = TypeVar("V")
BLOCK_KEYS_MAX: Final = 256
"""Keys of a block: half of them are added up for a bound inside it (*start*)."""
BLOCK_KEYS_SPARSE: Final = 64
"""Below this a block joins a neighbour that has room, so that blocks stay few."""
HASH_BYTES: Final = 32
HASH_MODULUS: Final = 1 << 8 * HASH_BYTES
ID_BYTES: Final = 8
"""Bytes of a key's salted hash that stand for it, and of a range's fingerprint."""
ROOT_BYTES: Final = 16
_RANGE: Final = b"fabgossip range"
_ROOT: Final = b"fabgossip root"


class OrderedMap(Generic[K, V]):
    """A mapping in key order: look-up O(1), change O(log n), from any key O(log n + k).

    A dict beside a sorted list of its keys: a sorted dict takes three times the memory before it
    holds anything, and a node has a dozen.
    """

    __slots__ = ("_keys", "_rows")

    def __init__(self) -> None:
        self._rows: dict[K, V] = {}
        self._keys: SortedList = SortedList()

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: K) -> bool:
        return key in self._rows

    def __setitem__(self, key: K, value: V) -> None:
        if key not in self._rows:
            self._keys.add(key)
        self._rows[key] = value

    def find(self, key: K) -> V | None:
        """The value at `key`, or None."""
        return self._rows.get(key)

    def discard(self, key: K) -> None:
        """Drop `key` if it is there."""
        if key in self._rows:
            del self._rows[key]
            self._keys.remove(key)

    def items(self) -> Iterator[tuple[K, V]]:
        """All rows in key order; the map must not change meanwhile."""
        for key in self._keys:
            yield key, self._rows[key]

    def values(self) -> Iterator[V]:
        """All values in key order; the map must not change meanwhile."""
        for key in self._keys:
            yield self._rows[key]

    def items_after(self, key: K, count: int) -> tuple[tuple[K, V], ...]:
        """At most `count` rows with keys above `key`."""
        keys = islice(self._keys.irange(minimum=key, inclusive=(False, False)), count)
        return tuple((one, self._rows[one]) for one in keys)

    def items_up_to(self, key: K, count: int) -> tuple[tuple[K, V], ...]:
        """At most `count` rows with keys up to and including `key`, lowest first."""
        keys = islice(self._keys.irange(maximum=key), count)
        return tuple((one, self._rows[one]) for one in keys)


class OrderedSet(Generic[K]):
    """A set in key order: change and look-up O(log n)."""

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: SortedList = SortedList()

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: K) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[K]:
        yield from self._keys

    def add(self, key: K) -> None:
        """Add `key`."""
        if key not in self._keys:
            self._keys.add(key)

    def discard(self, key: K) -> None:
        """Drop `key` if it is there."""
        self._keys.discard(key)


class _Block:
    """A run of keys, their salted hashes, and the sum of these."""

    __slots__ = ("hashes", "keys", "total")

    def __init__(self, keys: list[bytes], hashes: list[int]) -> None:
        self.keys = keys
        self.hashes = hashes
        self.total = sum(hashes)


class FingerprintSet:
    """A set of byte strings in order, of which any range has a fingerprint: the sum of the salted
    hashes of its keys, and their number.

    Blocks of at most `BLOCK_KEYS_MAX` keys lie in a list beside another of where they start, the
    first at the empty string: a node has many small sets, and a large one has few blocks. Each
    knows its sum; the sums of all blocks before each are made again from the first that changed,
    once a question needs them. With n keys and b blocks, b about n / 200.
    """

    __slots__ = ("_blocks", "_by_id", "_clean", "_counts", "_root", "_salt", "_starts", "_sums")

    def __init__(self, salt: bytes) -> None:
        self._salt = salt
        self._starts = [b""]
        self._blocks = [_Block([], [])]
        self._by_id: dict[bytes, bytes] = {}
        self._counts: list[int] = [0]
        """Keys in the blocks before each, right up to `_clean` of them."""
        self._sums: list[int] = [0]
        self._clean = 1
        self._root: bytes | None = None
        """As it was made last, until a key comes or goes."""

    def __len__(self) -> int:
        """Cost: as one question."""
        return self._before(None)[0]

    def __contains__(self, key: bytes) -> bool:
        """Cost: O(log n)."""
        block = self._blocks[self._index_of(key)]
        at = bisect_left(block.keys, key)
        return at < len(block.keys) and block.keys[at] == key

    def add(self, key: bytes) -> None:
        """Add `key` if it is not there. Cost: O(1) above all others, else O(log n + block)."""
        index = self._index_of(key)
        block = self._blocks[index]
        at = bisect_left(block.keys, key)
        if at < len(block.keys) and block.keys[at] == key:
            return
        value = self._hash(key)
        self._root = None
        self._by_id[_id_of(value)] = key
        is_last = at == len(block.keys) and index == len(self._blocks) - 1
        if is_last and at == BLOCK_KEYS_MAX:
            # What is newest comes last: full blocks stay full instead of being cut in half.
            self._starts.append(key)
            self._blocks.append(_Block([key], [value]))
            self._clean = min(self._clean, index + 1)
            return
        block.keys.insert(at, key)
        block.hashes.insert(at, value)
        block.total += value
        self._clean = min(self._clean, index + 1)
        if len(block.keys) > BLOCK_KEYS_MAX:
            self._split(index)

    def _split(self, index: int) -> None:
        block = self._blocks[index]
        half = len(block.keys) // 2
        right = _Block(block.keys[half:], block.hashes[half:])
        del block.keys[half:], block.hashes[half:]
        block.total -= right.total
        self._starts.insert(index + 1, right.keys[0])
        self._blocks.insert(index + 1, right)

    def discard(self, key: bytes) -> None:
        """Drop `key` if it is there. Cost: O(log n + block)."""
        index = self._index_of(key)
        block = self._blocks[index]
        at = bisect_left(block.keys, key)
        if at == len(block.keys) or block.keys[at] != key:
            return
        value = block.hashes.pop(at)
        self._root = None
        del block.keys[at]
        block.total -= value
        self._clean = min(self._clean, index + 1)
        if self._by_id.get(_id_of(value)) == key:
            del self._by_id[_id_of(value)]
        if len(block.keys) < BLOCK_KEYS_SPARSE:
            self._join(index)

    def _join(self, index: int) -> None:
        """Put a sparse block together with a neighbour, if both are one block's worth at most."""
        for left in (index - 1, index):
            if left < 0 or left + 1 >= len(self._blocks):
                continue
            into, block = self._blocks[left], self._blocks[left + 1]
            if len(into.keys) + len(block.keys) <= BLOCK_KEYS_MAX:
                into.keys += block.keys
                into.hashes += block.hashes
                into.total += block.total
                del self._starts[left + 1], self._blocks[left + 1]
                self._clean = min(self._clean, left + 1)
                return

    def find(self, key_id: bytes) -> bytes | None:
        """The key that these 8 bytes stand for. Cost: O(1)."""
        return self._by_id.get(key_id)

    def id_of(self, key: bytes) -> bytes:
        """The 8 bytes that stand for a key, here or not."""
        return _id_of(self._hash(key))

    def count(self, low: bytes, high: bytes | None) -> int:
        """How many keys are in `low` (in it) to `high` (not in it; None: to the end). Cost: as
        one question."""
        return self._before(high)[0] - self._before(low)[0]

    def fingerprint(self, low: bytes, high: bytes | None) -> bytes:
        """8 bytes that stand for the keys of a range. Cost: O(log n + block), and O(b) once after
        changes."""
        return self._digest(low, high, ID_BYTES, _RANGE)

    def root(self) -> bytes:
        """16 bytes that stand for all keys. Cost: O(1), and O(b) once after changes."""
        if self._root is None:
            self._root = self._digest(b"", None, ROOT_BYTES, _ROOT)
        return self._root

    def rows(self, low: bytes, high: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """Id and key of everything in a range, ascending. Cost: O(log n + k)."""
        index = self._index_of(low)
        for block in islice(self._blocks, index, None):
            for at in range(bisect_left(block.keys, low), len(block.keys)):
                key = block.keys[at]
                if high is not None and key >= high:
                    return
                yield _id_of(block.hashes[at]), key

    def rows_down(self, low: bytes, high: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """Id and key of everything in a range, descending. Cost: O(log n + what is taken)."""
        last = len(self._blocks) - 1 if high is None else self._index_of(high)
        for index in range(last, self._index_of(low) - 1, -1):
            block = self._blocks[index]
            end = len(block.keys) if high is None else bisect_left(block.keys, high)
            for at in range(end - 1, bisect_left(block.keys, low) - 1, -1):
                yield _id_of(block.hashes[at]), block.keys[at]

    def keys(self) -> set[bytes]:
        """All keys. Cost: O(n)."""
        return {key for block in self._blocks for key in block.keys}

    def boundary(self, rank: int) -> bytes:
        """The shortest bytes that part the first `rank` keys from the rest, for 0 < rank < n. Cost:
        as one question."""
        before, after = self._key_at(rank - 1), self._key_at(rank)
        shared = next(at for at, one in enumerate(after) if before[at : at + 1] != bytes((one,)))
        return after[: shared + 1]

    def rank(self, bound: bytes) -> int:
        """How many keys are below `bound`. Cost: as one question."""
        return self._before(bound)[0]

    def _key_at(self, rank: int) -> bytes:
        self._settle()
        index = bisect_right(self._counts, rank, hi=self._clean) - 1
        block = self._blocks[index]
        return block.keys[rank - self._counts[index]]

    def _hash(self, key: bytes) -> int:
        digest = blake2b(key, digest_size=HASH_BYTES, key=self._salt).digest()
        return int.from_bytes(digest, "big")

    def _index_of(self, key: bytes) -> int:
        return bisect_right(self._starts, key) - 1

    def _digest(self, low: bytes, high: bytes | None, size: int, person: bytes) -> bytes:
        (count, total), (count_below, below) = self._before(high), self._before(low)
        rest = ((total - below) % HASH_MODULUS).to_bytes(HASH_BYTES, "big")
        data = rest + (count - count_below).to_bytes(8, "big")
        return blake2b(data, digest_size=size, person=person).digest()

    def _before(self, bound: bytes | None) -> tuple[int, int]:
        """Number and sum of the keys below `bound`."""
        self._settle()
        index = len(self._blocks) - 1 if bound is None else self._index_of(bound)
        block = self._blocks[index]
        at = len(block.keys) if bound is None else bisect_left(block.keys, bound)
        if 2 * at <= len(block.keys):
            part = sum(block.hashes[:at])
        else:
            part = block.total - sum(block.hashes[at:])
        return self._counts[index] + at, self._sums[index] + part

    def _settle(self) -> None:
        """Make the sums before each block again from the first that changed."""
        if self._clean == len(self._blocks):
            return
        start = self._clean - 1
        count, total = self._counts[start], self._sums[start]
        del self._counts[start:], self._sums[start:]
        for block in islice(self._blocks, start, None):
            self._counts.append(count)
            self._sums.append(total)
            count += len(block.keys)
            total += block.total
        self._clean = len(self._blocks)

    def check(self) -> None:
        """Assert that blocks lie in order, are within their limit, and add up. Cost: O(n)."""
        self._settle()
        count = total = 0
        starts = self._starts
        assert starts[0] == b""
        for index, (start, block) in enumerate(zip(starts, self._blocks, strict=True)):
            assert (self._counts[index], self._sums[index]) == (count, total)
            assert len(block.keys) == len(block.hashes) <= BLOCK_KEYS_MAX
            assert block.keys == sorted(set(block.keys))
            assert not block.keys or start <= block.keys[0]
            is_last = index + 1 == len(starts) or not block.keys
            assert is_last or block.keys[-1] < starts[index + 1]
            assert block.total == sum(block.hashes)
            count += len(block.keys)
            total += block.total
        assert len(self._by_id) <= count == len(self)


def _id_of(value: int) -> bytes:
    return (value >> 8 * (HASH_BYTES - ID_BYTES)).to_bytes(ID_BYTES, "big")
