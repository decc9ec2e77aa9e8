"""What is wrong with a scenario, gathered so that all of it is told at once.

Decides: nothing.
Keeps: every problem by its dotted path, in the order they were found.
Must not know: what a field means.
"""

from collections.abc import Callable
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

    def read(self, path: str, parse: Callable[[str], T], text: str, instead: T) -> T:
        """`parse(text)`; where that fails, note it and go on with `instead`."""
        try:
            return parse(text)
        except (ValueError, ModelError) as error:
            self.add(path, error)
            return instead
