"""One run of the tests with one check missing: `python -m tests.mutation.child NAME PATH...`.

The last line it prints is `first red: ` and the test that failed first, nothing where none did.
"""

import ast
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from importlib.util import spec_from_file_location
from types import CodeType, ModuleType

import pytest

from tests.mutation.mutants import CANARY, HARMLESS, PRODUCT, Mutant, every_mutant

RED = "first red: "
BROKEN = "broken: "


class _Loader(importlib.machinery.SourceFileLoader):
    """Reads the source as it is and compiles it as the mutant would have it."""

    def __init__(self, mutant: Mutant, name: str, path: str) -> None:
        super().__init__(name, path)
        self._mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        tree = ast.parse(self.get_data(self.path), self.path)
        self._mutant.edit(tree)
        return compile(ast.fix_missing_locations(tree), self.path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    """Stands before the others for the one module that is edited."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, fullname: str, _: Sequence[str] | None, __: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != f"fabgossip.{self._mutant.module}":
            return None
        path = str(PRODUCT / f"{self._mutant.module.replace('.', '/')}.py")
        return spec_from_file_location(fullname, path, loader=_Loader(self._mutant, fullname, path))


class _FirstRed:
    """Remembers which test was the first to fail, and whether tests could be had at all."""

    def __init__(self) -> None:
        self.test = ""
        self.is_broken = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.test:
            self.test = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """What a file asserts while it is read counts like a test; other errors do not."""
        if report.failed and "AssertionError" in str(report.longrepr):
            self.test = self.test or report.nodeid
        elif report.failed:
            self.is_broken = True


def main(arguments: list[str]) -> int:
    """Run the tests; gives the exit code of pytest."""
    name, *paths = arguments
    mutant = next(one for one in (CANARY, HARMLESS, *every_mutant()) if one.name == name)
    sys.meta_path.insert(0, _Finder(mutant))
    first = _FirstRed()
    flags = ["-x", "-q", "--no-header", "--tb=line"]
    code = pytest.main([*flags, *paths], plugins=[first])
    sys.stdout.write(f"\n{BROKEN if first.is_broken else RED}{first.test}\n")
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
