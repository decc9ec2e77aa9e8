"""The deciding half counts in integers: a float is rounded as a machine likes, and time is none."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.checkout import PACKAGE

DECIDING = ("core", "trust", "wire", "model")
MODULES = [path for room in DECIDING for path in sorted((PACKAGE / room).rglob("*.py"))]
MATHS = {"math", "statistics", "decimal", "fractions"}
OF_INTEGERS = {"isqrt", "gcd", "comb"}
"""What `math` has that takes and gives integers."""


MEASURING = "DrainRate"
"""The daemon measures real time with it; no simulation has one."""


def floats(source: str) -> list[int]:
    """The lines where a float comes to be."""
    return sorted(_lines(ast.parse(source)))


def _lines(node: ast.AST) -> Iterator[int]:
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.ClassDef) and inner.name == MEASURING:
            continue
        if isinstance(inner, ast.expr | ast.stmt) and _makes_one(inner):
            yield inner.lineno
        yield from _lines(inner)


def _makes_one(node: ast.AST) -> bool:
    match node:
        case ast.Constant(value=float() | complex()):
            return True
        case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
            return True
        case ast.Call(func=ast.Name(id="float" | "complex")):
            return True
        case ast.Import(names=names):
            return any(one.name in MATHS for one in names)
        case ast.ImportFrom(module=module, names=names):
            return module in MATHS and any(one.name not in OF_INTEGERS for one in names)
        case _:
            return False


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_float_comes_to_be(path: Path) -> None:
    assert floats(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "planted", ["a = 0.5", "a = b / 2", "a /= 2", "a = float(b)", "import math", "a = 1e3"]
)
def test_a_planted_float_is_found(planted: str) -> None:
    assert floats(f"b = 3 // 2\n{planted}") == [2]
