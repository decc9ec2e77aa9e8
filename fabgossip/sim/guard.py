"""What no node may look at while a run goes on: clocks, entropy, shared generators, files, sockets,
addresses in memory. The second layer against leaks of the world; import contracts are the first.

Decides: whether a call comes from the deciding half.
Keeps: whoever else calls notices nothing; after the run everything is as it was. The first leak is
kept, so that no handler of exceptions hides it.
Must not know: what a run is made of.

Only the nearest caller counts. `datetime.now` and a `Random` without a seed are made in C, where no
call can be watched: the first layer alone keeps them out.
"""

import inspect
import os
import random
import secrets
import sys
import time
import uuid
from collections.abc import Callable
from functools import partial
from types import FrameType, ModuleType, TracebackType
from typing import Final, Self

from fabgossip.errors import FabgossipError

DECIDING: Final = (
    "fabgossip.core", "fabgossip.trust", "fabgossip.wire", "fabgossip.model", "fabgossip.errors",
)  # fmt: skip
WATCHED: Final = ("open", "socket.", "subprocess.", "os.", "builtins.id")
"""Audit events, or how their names begin."""


class LeakedWorldError(FabgossipError):
    """A node looked at the world itself: `what` it called, and from which module."""

    def __init__(self, what: str, caller: str) -> None:
        super().__init__(f"{caller} calls {what}")
        self.what = what


class Guard:
    """Watches from `with` to its end; one at a time."""

    def __init__(self) -> None:
        self.leak: LeakedWorldError | None = None
        self._real: list[tuple[ModuleType, str, Callable[..., object]]] = []

    def __enter__(self) -> Self:
        assert not _ACTIVE, "one run at a time"
        _ACTIVE.append(self)
        if not _HOOKED:
            _HOOKED.append(None)
            sys.addaudithook(_on_audit)  # for good: Python takes none back
        for module, name, real in _functions():
            self._real.append((module, name, real))
            setattr(module, name, partial(self._called, f"{module.__name__}.{name}", real))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for module, name, real in self._real:
            setattr(module, name, real)
        _ACTIVE.remove(self)

    def _called(
        self, what: str, real: Callable[..., object], *given: object, **named: object
    ) -> object:
        self.look(what, _caller(inspect.currentframe()))
        return real(*given, **named)

    def look(self, what: str, caller: str) -> None:
        """Raise `LeakedWorldError` if the deciding half called it."""
        if caller.startswith(DECIDING):
            leak = LeakedWorldError(what, caller)
            self.leak = self.leak or leak
            raise leak


_ACTIVE: Final[list[Guard]] = []
_HOOKED: Final[list[None]] = []


def _functions() -> list[tuple[ModuleType, str, Callable[..., object]]]:
    """All that tells of the world: of `random` only what shares one generator."""
    found: list[tuple[ModuleType, str, Callable[..., object]]] = [
        (os, "urandom", vars(os)["urandom"])
    ]
    for module in (time, uuid, secrets, random):
        for name, value in vars(module).items():
            is_shared = isinstance(getattr(value, "__self__", None), random.Random)
            is_meant = is_shared if module is random else inspect.isroutine(value)
            if is_meant and not name.startswith("_"):
                found.append((module, name, value))
    return found


def _caller(frame: FrameType | None) -> str:
    """The module of whoever called the function of a frame."""
    before = None if frame is None else frame.f_back
    return "" if before is None else str(before.f_globals.get("__name__", ""))


def _on_audit(event: str, _given: tuple[object, ...]) -> None:
    if _ACTIVE and event.startswith(WATCHED):
        _ACTIVE[0].look(event, _caller(inspect.currentframe()))
