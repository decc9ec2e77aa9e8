"""What is wrong with a source folder: every problem with file, place, and what to do."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from fabgossip.errors import ControlError
from fabgossip.wire.places import key_places, placed
from fabgossip.wire.tables import Problem

SOURCE_NAME: Final = "fabric.toml"
WHOLE: Final = ""
"""The key of what is wrong with the file and with no key of it."""


class SourceProblemsError(ControlError):
    """All that is wrong with a source, a line each: `file:line:column: key: what; what next`."""

    def __init__(
        self, problems: Iterable[Problem], file: str = SOURCE_NAME, text: str = ""
    ) -> None:
        self.problems = tuple(problems)
        places = key_places(text)
        rows = [placed(one, file, places) for one in self.problems]
        rows.sort(key=lambda one: (one.line, one.column, one.key, one.detail))
        super().__init__("\n".join(map(str, rows)))


def problems_in(folder: Path, problems: Iterable[Problem]) -> SourceProblemsError:
    """The same, each at its line of the file as it is now."""
    path = folder / SOURCE_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""  # which is then one of the problems
    return SourceProblemsError(problems, str(path), text)
