"""Ordered map and ordered set, typed, with the operations this project uses.

Decides: nothing.
Keeps: keys in ascending order whatever the order of insertion.
Must not know: what is kept in it.

The only module that imports sortedcontainers, so the library can be replaced here.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Generic, TypeVar

from sortedcontainers import SortedDict, SortedSet

K = TypeVar("K")
V = TypeVar("V")


class OrderedMap(Generic[K, V]):
    """A mapping in key order: look-up O(1), change O(log n), from any key O(log n + k)."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: SortedDict = SortedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: K) -> bool:
        return key in self._rows

    def __setitem__(self, key: K, value: V) -> None:
        self._rows[key] = value

    def find(self, key: K) -> V | None:
        """The value at `key`, or None."""
        value: V | None = self._rows.get(key)
        return value

    def discard(self, key: K) -> None:
        """Drop `key` if it is there."""
        self._rows.pop(key, None)

    def items(self) -> Iterator[tuple[K, V]]:
        """All rows in key order; the map must not change meanwhile."""
        yield from self._rows.items()

    def values(self) -> Iterator[V]:
        """All values in key order; the map must not change meanwhile."""
        yield from self._rows.values()

    def items_after(self, key: K, count: int) -> tuple[tuple[K, V], ...]:
        """At most `count` rows with keys above `key`."""
        keys = islice(self._rows.irange(minimum=key, inclusive=(False, False)), count)
        return tuple((one, self._rows[one]) for one in keys)

    def items_up_to(self, key: K, count: int) -> tuple[tuple[K, V], ...]:
        """At most `count` rows with keys up to and including `key`, lowest first."""
        keys = islice(self._rows.irange(maximum=key), count)
        return tuple((one, self._rows[one]) for one in keys)


class OrderedSet(Generic[K]):
    """A set in key order: change and look-up O(log n)."""

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: SortedSet = SortedSet()

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: K) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[K]:
        yield from self._keys

    def add(self, key: K) -> None:
        """Add `key`."""
        self._keys.add(key)

    def discard(self, key: K) -> None:
        """Drop `key` if it is there."""
        self._keys.discard(key)
