"""What is wrong with a scenario, gathered so that all of it is told at once.

Decides: nothing.
Keeps: every problem by its dotted path, in the order they were found.
Must not know: what a field means.
"""

import difflib
from collections.abc import Callable, Iterable
from typing import TypeVar

from fabgossip.errors import ModelError

T = TypeVar("T")


class Problems:
    """What is wrong, by dotted path, in the order of the file."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, path: str, detail: object) -> None:
        """Note a problem."""
        self.lines.append(f"{path}: {detail}")

    def add_unknown(self, path: str, word: str, known: Iterable[str]) -> None:
        """Note a word that is none of those there are, with the nearest of them."""
        words = tuple(known)
        near = difflib.get_close_matches(word, words, n=1)
        meant = f'; did you mean "{near[0]}"?' if near else ""
        self.add(path, f"{word!r} is none of {', '.join(words)}{meant}")

    def read(self, path: str, parse: Callable[[str], T], text: str, instead: T) -> T:
        """`parse(text)`; where that fails, note it and go on with `instead`."""
        try:
            return parse(text)
        except (ValueError, ModelError) as error:
            self.add(path, error)
            return instead
