"""What somebody else can cause at will: the first of a kind is told at once, its repeats of the
next ten seconds are told as one, with their number.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from fabgossip.model.moment import Duration, Instant, Now, is_due, later

FOLD: Final = Duration(10_000)
"""Repeats are counted this long (*start*)."""
FOLDS_MAX: Final = 1_024
"""Kinds counted at once; of one more, the oldest count is told early (*start*)."""
T = TypeVar("T")


@dataclass(slots=True)
class _Fold(Generic[T]):
    """The first of a kind, and how often it happened since."""

    until: Instant
    first: T
    repeats: int = 0


class Folds(Generic[T]):
    """The kinds that are counted."""

    def __init__(self, tell: Callable[[T, int, Now], None]) -> None:
        """`tell` is given the first of a kind and the number of its repeats, if there are any."""
        self._tell = tell
        self._folds: OrderedDict[Hashable, _Fold[T]] = OrderedDict()

    def is_repeat(self, kind: Hashable, one: T, now: Now) -> bool:
        """Whether it is counted; if not, its repeats will be. Whose time is over is told before."""
        self.tell_due(now)
        fold = self._folds.get(kind)
        if fold is not None:
            fold.repeats += 1
            return True
        self._folds[kind] = _Fold(later(now.instant, FOLD), one)
        if len(self._folds) > FOLDS_MAX:
            self._tell_oldest(now)
        return False

    def tell_due(self, now: Now) -> None:
        """Tell the repeats whose time is over."""
        while self._folds and is_due(next(iter(self._folds.values())).until, now.instant):
            self._tell_oldest(now)

    def tell_all(self, now: Now) -> None:
        """Tell all repeats: nothing more is counted."""
        while self._folds:
            self._tell_oldest(now)

    def _tell_oldest(self, now: Now) -> None:
        _, fold = self._folds.popitem(last=False)
        if fold.repeats:
            self._tell(fold.first, fold.repeats, now)
