"""What the package imports, what it declares and what has a door are one list.

A library enters by three acts: an import, a dependency, a door. One without the others is a
mistake: an import without dependency breaks on a clean machine, one without door spreads, and a
dependency nobody imports is weight and risk for nothing.
"""

import ast
import re
import sys

import pytest

from tests.architecture.checkout import CONTRACTS, PACKAGE, PYPROJECT

PROJECT = PYPROJECT["project"]
ALWAYS_INSTALLED = PROJECT["dependencies"]
INSTALLED_ON_REQUEST = [
    requirement
    for extra, requirements in PROJECT["optional-dependencies"].items()
    if extra != "dev"
    for requirement in requirements
]
DOORS = {
    module.partition(".")[0]
    for contract in CONTRACTS
    if contract["type"] == "protected"
    for module in contract["protected_modules"]
}


def imported_name(requirement: str) -> str:
    """The top-level module of a requirement; holds for every library the project uses."""
    name = re.match(r"[A-Za-z0-9_-]+", requirement)
    assert name is not None, requirement
    return name[0].replace("-", "_")


def imported_names(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names.add(node.module.partition(".")[0])
    return names


@pytest.fixture(scope="module")
def third_party() -> set[str]:
    sources = (path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    own = {"fabgossip", "compression"}  # compression: the standard library's zstd, from 3.14 on
    return set().union(*map(imported_names, sources)) - sys.stdlib_module_names - own


def test_every_third_party_import_has_a_door(third_party: set[str]) -> None:
    assert third_party - DOORS == set()


def test_every_third_party_import_is_declared(third_party: set[str]) -> None:
    declared = {imported_name(each) for each in [*ALWAYS_INSTALLED, *INSTALLED_ON_REQUEST]}
    assert third_party - declared == set()


def test_every_dependency_is_imported(third_party: set[str]) -> None:
    assert {imported_name(each) for each in ALWAYS_INSTALLED} - third_party == set()


def test_an_import_is_seen_wherever_it_stands() -> None:
    source = "def late():\n    import trio.socket\n    from backports import zstd\n"
    assert imported_names(source) == {"trio", "backports"}
