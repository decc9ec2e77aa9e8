"""What is wrong with a source folder: every problem with file, place, and what to do."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeVar

from fabgossip.errors import ControlError, ModelError
from fabgossip.model.artifact import ArtifactType
from fabgossip.wire.places import key_places, placed
from fabgossip.wire.tables import Problem

T = TypeVar("T")
SOURCE_NAME: Final = "fabric.toml"
COMPILED_TYPES: Final = frozenset(
    {
        ArtifactType.TRUST_BUNDLE, ArtifactType.REVOCATION_LIST, ArtifactType.PEER_DIRECTORY,
        ArtifactType.STORAGE_DIRECTORY, ArtifactType.SNAPSHOT_INCREMENT,
    }
)  # fmt: skip
"""Made by the compiler itself, never named in a source."""
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


def noted(read: Callable[[], T], key: str, problems: list[Problem]) -> T | None:
    """What is read, or None and a problem at that key."""
    try:
        return read()
    except (ControlError, ModelError, ValueError) as error:
        detail, _, suggestion = str(error).partition("; ")
        problems.append(Problem(code="conflict", key=key, detail=detail, suggestion=suggestion))
        return None


def type_named(name: str) -> ArtifactType:
    """The type of a name in a source; raises `ControlError`."""
    try:
        return ArtifactType(name)
    except ValueError as error:
        known = ", ".join(one.value for one in ArtifactType if one not in COMPILED_TYPES)
        raise ControlError(f"type {name!r} is unknown; expected one of {known}") from error
