"""Counts every step towards the disk, and ends or fails the process at a chosen one.

A step is the moment before a call that changes the disk, of `os` or a statement of SQLite: the gap
between it and the one before. After what makes things durable comes a step of its own, where the
disk may have done its work and say that it failed. A point is a step with the place it was taken
from: what was being accepted, which function of the product, which call. What SQLite does within
one COMMIT is one call here; kills at a random time fall into it.
"""

import errno
import os
import re
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from types import FrameType
from typing import Any, Final

import fabgossip

_CALLS: Final = (
    "open", "write", "pwrite", "fsync", "rename", "unlink", "mkdir", "rmdir", "symlink",
    "ftruncate", "posix_fallocate",
)  # fmt: skip
_STATEMENT: Final = re.compile(
    r"\s*(BEGIN|COMMIT|ROLLBACK|PRAGMA \w+|(?:INSERT|DELETE)[A-Z ]* (?:INTO|FROM) \w+)"
)
_PRODUCT: Final = str(Path(fabgossip.__file__).parent)
_NO_SPACE: Final = frozenset({"open", "write", "pwrite", "mkdir", "symlink", "posix_fallocate"})
_FULL: Final = "database or disk is full"
_BROKEN: Final = "disk I/O error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """When the disk or the process ends."""

    point: str | None = None
    """A step taken there; None: wherever it is taken."""
    occurrence: int = 1
    """The how manyth such step."""
    failing: int = 0
    """0: the process is killed. Else so many steps fail from there on, then the disk is well."""


NEVER: Final = Plan(point="")


class Steps:
    """Watches the calls of this process; `doing` is what is being accepted."""

    def __init__(self, plan: Plan, last_words: Callable[[str], None]) -> None:
        self._plan = plan
        self._last_words = last_words
        self._matching = 0
        self._failing = 0
        self.doing = "start"
        self.taken: Counter[str] = Counter()
        self.failed: list[str] = []

    def install(self) -> None:
        """Take the place of the calls, in this process for good."""
        for name in _CALLS:
            setattr(os, name, self._watched(name, getattr(os, name)))
        connect = partial(sqlite3.connect, factory=self._connection_class())
        setattr(sqlite3, "connect", connect)  # noqa: B010  # mypy knows it as a function

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def watched(*args: Any, **names: Any) -> Any:  # noqa: ANN401  # whatever the call takes
            if name == "open" and not args[1] & os.O_CREAT:
                return call(*args, **names)
            place = _place(sys._getframe(1))  # noqa: SLF001  # the one way to see the caller
            if self._is_failing(place, name, "before"):
                number = errno.ENOSPC if name in _NO_SPACE else errno.EIO
                raise OSError(number, os.strerror(number))
            result = call(*args, **names)
            if name == "fsync" and self._is_failing(place, name, "after"):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return result

        return watched

    def _connection_class(self) -> type[sqlite3.Connection]:
        steps = self

        class Watched(sqlite3.Connection):
            """A connection whose statements are steps."""

            def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:  # noqa: ANN401  # as there
                return steps.on_statement(self, sql, partial(super().execute, sql, *args))

            def executemany(self, sql: str, *args: Any) -> sqlite3.Cursor:  # noqa: ANN401  # as there
                return steps.on_statement(self, sql, partial(super().executemany, sql, *args))

        return Watched

    def on_statement(
        self, connection: sqlite3.Connection, sql: str, run: Callable[[], sqlite3.Cursor]
    ) -> sqlite3.Cursor:
        """Run a statement between its two steps."""
        found = _STATEMENT.match(sql)
        if found is None or found[1] == "ROLLBACK":
            return run()
        place = _place(sys._getframe(2))  # noqa: SLF001  # the one way to see the caller
        if self._is_failing(place, found[1], "before"):
            if found[1] == "COMMIT":
                connection.rollback()  # as SQLite itself does where it cannot write
            raise sqlite3.OperationalError(_FULL if found[1].startswith("INSERT") else _BROKEN)
        cursor = run()
        if found[1] == "COMMIT" and self._is_failing(place, found[1], "after"):
            raise sqlite3.OperationalError(_BROKEN)
        return cursor

    def _is_failing(self, place: str, call: str, moment: str) -> bool:
        """Count a step; whether the disk fails at it. Does not return where the process ends."""
        point = f"{self.doing} | {place} | {moment} {call}"
        self.taken[point] += 1
        if self._plan.point in (None, point):
            self._matching += 1
            if self._matching == self._plan.occurrence:
                self._last_words(point)
                if not self._plan.failing:
                    os.kill(os.getpid(), signal.SIGKILL)
                self._failing = self._plan.failing
        if not self._failing:
            return False
        self._failing -= 1
        self.failed.append(point)
        return True


def _place(frame: FrameType | None) -> str:
    """The function of the product that made a call."""
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(_PRODUCT):
            return f"{Path(code.co_filename).stem}.{code.co_qualname}"
        frame = frame.f_back
    return "outside"
