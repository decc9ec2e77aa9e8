"""Every check that trust rests on, and the product as it would be without it.

A mutant is an edit of one module's syntax tree. Nothing in the product knows of it: the child
process edits the tree while the module is imported (`tests/mutation/child.py`).

| kind | what is edited |
|---|---|
| entry | a check in one of the tuples of checks finds nothing wrong |
| cell | a cell of the table of modes says yes where it did not, or no where it said yes |
| condition | one condition of a refusal is never met, one part of a rule is always met |
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PRODUCT: Final = Path(__file__).parents[2] / "fabgossip"


@dataclass(frozen=True, slots=True)
class Mutant:
    """A check that is missing, by name; `edit` changes the tree of `module`."""

    name: str
    module: str
    edit: Callable[[ast.Module], None]
    is_entry: bool = False
    """Whether it is of a tuple or the table: each of these must have a test that notices."""


@dataclass(frozen=True, slots=True)
class Tuple:
    """A tuple of checks, and what one of them says when it finds nothing wrong."""

    module: str
    name: str
    nothing: str = "None"
    is_made: bool = False
    """Whether a check is made all the same, for the next ones need what it finds out; only what it
    says is ignored."""


TUPLES: Final = (
    Tuple("trust.gate", "STEPS", is_made=True),
    Tuple("trust.gate", "RECALL_STEPS", is_made=True),
    Tuple("trust.authorization", "CHECKS", "Check.PASS"),
    Tuple("trust.identity", "_LEAF_RULES"),
    Tuple("trust.identity", "CLAIMS_RULES"),
    Tuple("trust.grants", "GRANT_RULES"),
    Tuple("trust.bundle", "_LINT", "()"),
)
TABLE_MODULE: Final = "trust.modes"
CONDITIONS_OF: Final = (
    "trust.gate",
    "trust.binding",
    "trust.signers",
    "trust.ordering",
    "trust.validity",
    "trust.identity",
    "trust.grants",
    "trust.minimums",
    "trust.bundle",
    "trust.authorization",
)
"""Modules whose refusals are taken apart into their conditions."""


def every_mutant() -> tuple[Mutant, ...]:
    """All of them, in the order of the product."""
    found = [one for table in TUPLES for one in _entries(table)]
    found += _cells()
    found += [one for module in CONDITIONS_OF for one in _conditions(module)]
    return tuple(found)


def _believe(tree: ast.Module) -> None:
    """Every signature is good."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == "is_good":
            node.body = [ast.Return(ast.Constant(value=True))]


CANARY: Final = Mutant("canary: every signature is good", "trust.signatures", _believe)
"""What must be caught, or the command catches nothing."""
HARMLESS: Final = Mutant("harmless: nothing is changed", "trust.gate", lambda _: None)
"""What must survive, or the command takes anything for caught."""


def tree_of(module: str) -> ast.Module:
    """The syntax tree of a module of the product."""
    return ast.parse((PRODUCT / f"{module.replace('.', '/')}.py").read_text())


def _short(module: str) -> str:
    return module.rpartition(".")[2]


# Entries of the tuples.


def _entries(table: Tuple) -> Iterator[Mutant]:
    for place, entry in enumerate(_tuple_in(tree_of(table.module), table.name)):
        yield Mutant(
            name=f"{_short(table.module)}.{table.name.strip('_')}: {_label(entry)}",
            module=table.module,
            edit=_silence(table, place),
            is_entry=True,
        )


def _label(entry: ast.expr) -> str:
    if isinstance(entry, ast.Tuple):
        entry = entry.elts[0]
    return str(entry.value) if isinstance(entry, ast.Constant) else ast.unparse(entry).strip("_")


def _silence(table: Tuple, place: int) -> Callable[[ast.Module], None]:
    def edit(tree: ast.Module) -> None:
        entries = _tuple_in(tree, table.name)
        entry = entries[place]
        check = entry.elts[-1] if isinstance(entry, ast.Tuple) else entry
        before = f"{ast.unparse(check)}(*_), " if table.is_made else ""
        silent = _expression(f"lambda *_: ({before}{table.nothing},)[-1]")
        if isinstance(entry, ast.Tuple):
            entry.elts[-1] = silent
        else:
            entries[place] = silent

    return edit


def _tuple_in(tree: ast.Module, name: str) -> list[ast.expr]:
    value = _value_of(tree, name)
    assert isinstance(value, ast.Tuple), name
    return value.elts


def _value_of(tree: ast.Module, name: str) -> ast.expr:
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
            assert node.value is not None
            return node.value
    raise AssertionError(f"no {name}")


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


# Cells of the table of modes.


def _cells() -> Iterator[Mutant]:
    for row, (action, cells) in enumerate(_rows(tree_of(TABLE_MODULE))):
        for column, cell in enumerate(cells):
            other = "_N" if ast.unparse(cell) == "_Y" else "_Y"
            says = "no" if other == "_N" else "yes"
            yield Mutant(
                name=f"modes.TABLE: {action} while {_MODES[column]} -> {says}",
                module=TABLE_MODULE,
                edit=_turn(row, column, other),
                is_entry=True,
            )


_MODES: Final = ("fresh", "partitioned", "stale", "clock_suspect", "amnesia", "revoked")


def _rows(tree: ast.Module) -> list[tuple[str, list[ast.expr]]]:
    table = _value_of(tree, "_ROWS")
    assert isinstance(table, ast.Dict)
    rows = []
    for key, value in zip(table.keys, table.values, strict=True):
        assert isinstance(key, ast.Attribute)
        assert isinstance(value, ast.Tuple)
        rows.append((key.attr.lower(), value.elts))
    return rows


def _turn(row: int, column: int, other: str) -> Callable[[ast.Module], None]:
    def edit(tree: ast.Module) -> None:
        _rows(tree)[row][1][column] = _expression(other)

    return edit


# Conditions of refusals.


def _conditions(module: str) -> Iterator[Mutant]:
    """One for each place; two that read the same in one function are told apart by number."""
    seen: dict[str, int] = {}
    for place, (function, part, _, value) in enumerate(_places(tree_of(module))):
        if _is_guard(part):
            continue
        name = f"{_short(module)}.{function}: {ast.unparse(part)} -> {value}"
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            name = f"{name} ({seen[name]})"
        yield Mutant(name=name, module=module, edit=_decide(place))


def _is_guard(part: ast.expr) -> bool:
    """Whether it asks only if there is something to judge: without it the next line fails."""
    return (
        isinstance(part, ast.Compare)
        and isinstance(part.ops[0], ast.Is | ast.IsNot)
        and ast.unparse(part.comparators[0]) == "None"
    )


def _decide(place: int) -> Callable[[ast.Module], None]:
    def edit(tree: ast.Module) -> None:
        _, _, put, value = list(_places(tree))[place]
        put(ast.Constant(value))

    return edit


_Put = Callable[[ast.expr], None]
_Place = tuple[str, ast.expr, _Put, bool]


def _places(tree: ast.Module) -> Iterator[_Place]:
    """Function, expression, how to put another in its place, and what it is turned to."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.If) and _refuses(node.body):
                yield from _parts(function.name, node, "test", ast.Or, value=False)
            elif isinstance(node, ast.Return | ast.Assign) and isinstance(node.value, ast.BoolOp):
                yield from _parts(function.name, node, "value", ast.And, value=True)
            elif isinstance(node, ast.comprehension):
                for number, one in enumerate(node.ifs):
                    if isinstance(one, ast.BoolOp):
                        yield from _operands(function.name, one, ast.And, value=True)
                    else:
                        yield function.name, one, _putter(node.ifs, number), True


def _parts(
    function: str, node: ast.AST, field: str, operator: type[ast.boolop], *, value: bool
) -> Iterator[_Place]:
    """The whole, or where it is joined by the operator, each part."""
    whole = getattr(node, field)
    if isinstance(whole, ast.BoolOp) and isinstance(whole.op, operator):
        yield from _operands(function, whole, operator, value=value)
    elif not isinstance(node, ast.Return | ast.Assign):
        yield function, whole, lambda other: setattr(node, field, other), value


def _operands(
    function: str, whole: ast.BoolOp, operator: type[ast.boolop], *, value: bool
) -> Iterator[_Place]:
    if isinstance(whole.op, operator):
        for number, one in enumerate(whole.values):
            yield function, one, _putter(whole.values, number), value


def _putter(items: list[ast.expr], number: int) -> _Put:
    def put(other: ast.expr) -> None:
        items[number] = other

    return put


_ALLOWS: Final = ("None", "Check.PASS", "True")
"""What a branch returns that refuses nothing."""


def _refuses(body: list[ast.stmt]) -> bool:
    """Whether all a branch does is to say no."""
    last = body[-1]
    if isinstance(last, ast.Raise):
        return True
    if isinstance(last, ast.Expr) and isinstance(last.value, ast.Yield):
        return True
    if not isinstance(last, ast.Return) or last.value is None:
        return False
    text = ast.unparse(last.value)
    return text not in _ALLOWS and any(text.startswith(one) for one in _REFUSALS)


_REFUSALS: Final = (
    "admission.refuse",
    "Lack(",
    "_too_few",
    "_identity_invalid",
    "_invalid",
    "_refusal",
    "Rejection",
    "False",
    "Check.FAIL",
    "Check.UNKNOWN",
    "'",
    "f'",
)
