"""TOML tables to frozen dataclasses: unknown keys refused, all problems at once, each with its
dotted path.

A field's type is exact: `"7"` and `3.9` are no integers, `1` is no boolean. Bounds of one value
stand in its type as `Annotated[int, Bounds(low, high)]`; rules across fields stand in
`__post_init__`, which may raise `ValueError`.
"""

import difflib
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Final, TypeAlias, TypeVar, cast, get_args, get_origin, get_type_hints

import cattrs
from cattrs.cols import list_structure_factory
from cattrs.errors import ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn

from fabgossip.model.bounds import Bounds

T = TypeVar("T")
_Hook: TypeAlias = Callable[[object, object], object]
"""How cattrs calls what makes a value: the value, and the type wanted."""
PROBLEMS_MAX: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong with a table: a code of the closed list, the dotted path, and words."""

    code: str
    key: str
    detail: str
    suggestion: str = ""

    @property
    def told(self) -> str:
        """What is wrong and what would be right, in one line."""
        return "; ".join(one for one in (self.detail, self.suggestion) if one)


class TableError(Exception):
    """Every problem of one table; the caller turns them into the error of its own family."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(f"{one.key}: {one.detail}" for one in problems))
        self.problems = problems


def parse_toml(text: str) -> dict[str, object]:
    """The document of a TOML text; raises `TableError` with the one syntax problem."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TableError((Problem(code="syntax", key="", detail=str(error)),)) from error


def structure_table(document: object, into: type[T]) -> T:
    """`document` as a `into`, every key known and every value of its type.

    Raises:
        TableError: all problems at once, at most 100.
    """
    converter = _converter()
    try:
        return converter.structure(document, into)
    except cattrs.BaseValidationError as error:
        problems = tuple(_problems(error, "", into))
    except (TypeError, ValueError) as error:
        problems = (Problem(code="wrong_type", key="", detail=str(error)),)
    raise TableError(problems[:PROBLEMS_MAX])


@cache
def _converter() -> cattrs.Converter:
    # One for all: it writes code for each kind of table, which takes far longer than to read one.
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    for exact, name in ((int, "an integer"), (str, "text"), (bool, "true or false")):
        converter.register_structure_hook(exact, _exact(exact, name))
    converter.register_structure_hook_factory(_is_bounded, _bounded)
    converter.register_structure_hook_factory(is_dataclass, lambda into: _table(converter, into))
    converter.register_structure_hook_factory(_is_list, lambda into: _list(converter, into))
    return converter


def _exact(exact: type, name: str) -> _Hook:
    def structure(value: object, _: object) -> object:
        if type(value) is not exact:
            raise TypeError(f"expected {name}")
        return value

    return structure


def _is_bounded(into: object) -> bool:
    return get_origin(into) is Annotated and isinstance(get_args(into)[1], Bounds)


def _bounded(into: object) -> _Hook:
    bounds: Bounds = get_args(into)[1]

    def structure(value: object, _: object) -> int:
        if type(value) is not int:
            raise TypeError("expected an integer")
        if not bounds.low <= value <= bounds.high:
            side = (
                f"below the minimum {bounds.low}"
                if value < bounds.low
                else f"above the maximum {bounds.high}"
            )
            raise ValueError(f"{value} is {side}")
        return value

    return structure


def _is_list(into: object) -> bool:
    return get_origin(into) is tuple and get_args(into)[1:] == (Ellipsis,)


def _list(converter: cattrs.Converter, into: object) -> _Hook:
    a_list = cast("type", list[get_args(into)[0]])  # type: ignore[misc]  # a type made at run time
    structure = list_structure_factory(a_list, converter)

    def check_and_structure(value: object, target: object) -> object:
        if not isinstance(value, list):
            raise TypeError("expected a list")
        return tuple(structure(value, target))

    return check_and_structure


def _table(converter: cattrs.Converter, into: type[object]) -> _Hook:
    structure = make_dict_structure_fn(
        into, converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True
    )

    def check_and_structure(value: object, _: object) -> object:
        if not isinstance(value, dict):
            raise TypeError("expected a table")
        return structure(value, into)

    return check_and_structure


def _problems(error: Exception, path: str, into: object) -> list[Problem]:
    found: list[Problem] = []
    if isinstance(error, cattrs.IterableValidationError):
        for inner, place in error.group_exceptions()[0]:
            found += _problems(inner, f"{path}[{place.index}]", place.type)
        return found + [
            p for rest in error.group_exceptions()[1] for p in _problems(rest, path, into)
        ]
    if isinstance(error, cattrs.ClassValidationError):
        with_notes, without = error.group_exceptions()
        for inner, note in with_notes:
            found += _problems(inner, f"{path}.{note.name}" if path else note.name, note.type)
        return found + [p for rest in without for p in _problems(rest, path, into)]
    return [*_leaf(error, path, into)]


def _leaf(error: Exception, path: str, into: object) -> list[Problem]:
    if isinstance(error, ForbiddenExtraKeysError):
        known = [field.name for field in fields(error.cl)]
        return [_unknown(path, name, known) for name in sorted(error.extra_fields)]
    if isinstance(error, KeyError):
        return [Problem(code="missing_key", key=path, detail="is required")]
    code = "wrong_type" if isinstance(error, TypeError) else "out_of_range"
    return [Problem(code=code, key=path, detail=str(error))]


def _unknown(path: str, name: str, known: list[str]) -> Problem:
    near = difflib.get_close_matches(name, known, n=1)
    suggestion = f'did you mean "{near[0]}"?' if near else f"known keys: {', '.join(known)}"
    key = f"{path}.{name}" if path else name
    return Problem(code="unknown_key", key=key, detail="unknown key", suggestion=suggestion)


def field_types(into: type) -> dict[str, object]:
    """Name and type of each field of a table, annotations resolved."""
    return get_type_hints(into, include_extras=True)
