"""Where in a TOML text each key stands: neither TOML reader nor table reader keeps that."""

import re
from dataclasses import dataclass
from typing import Final

from fabgossip.wire.tables import Problem

_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]\]?")
_KEY: Final = re.compile(r"(\s*)([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\s*=")
_INLINE_KEY: Final = re.compile(r"[{,]\s*([A-Za-z0-9_-]+)\s*=")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedProblem:
    """A problem with its place; line and column count from 1, 0 where there is none."""

    code: str
    file: str
    line: int
    column: int
    key: str
    detail: str
    suggestion: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        tail = f"; {self.suggestion}" if self.suggestion else ""
        return (
            f"{place}: {self.key}: {self.detail}{tail}"
            if self.key
            else f"{place}: {self.detail}{tail}"
        )


def placed(problem: Problem, name: str, places: dict[str, tuple[int, int]]) -> PlacedProblem:
    """A problem at its key, or at the nearest table above that is written down."""
    key = problem.key
    while key and key not in places:
        key = key[: max(key.rfind("."), key.rfind("["), 0)]
    line, column = places.get(key, (0, 0))
    if problem.code == "syntax":
        found = re.search(r"line (\d+), column (\d+)", problem.detail)
        line, column = (int(found[1]), int(found[2])) if found else (0, 0)
    return PlacedProblem(
        code=problem.code,
        file=name,
        line=line,
        column=column,
        key=problem.key,
        detail=problem.detail,
        suggestion=problem.suggestion,
    )


def key_places(text: str) -> dict[str, tuple[int, int]]:
    """Line and column of each key by dotted path: neither TOML reader nor table reader keeps
    them."""
    places: dict[str, tuple[int, int]] = {}
    table = ""
    counts: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.match(line)
        if header is not None and "=" not in line.split("#")[0]:
            table = header[2]
            if header[1] == "[[":
                index = counts[table] = counts.get(table, -1) + 1
                table = f"{table}[{index}]"
            places.setdefault(table, (number, 1))
            continue
        key = _KEY.match(line)
        if key is not None:
            path = f"{table}.{key[2]}" if table else key[2]
            places.setdefault(path, (number, len(key[1]) + 1))
            for inline in _INLINE_KEY.finditer(line):
                places.setdefault(f"{path}.{inline[1]}", (number, inline.start(1) + 1))
    return places
