"""Every import contract holds, and would be noticed if it did not.

The package is copied, one violation of each contract is planted in the copy, and each contract must
name the import that was planted for it: a contract that breaks because of its neighbor's plant only
would pass for one that works.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.architecture.checkout import CHECKOUT, CONTRACTS, PACKAGE


@dataclass(frozen=True, slots=True)
class Plant:
    """Imports that break `contract`, and what its report then says of them."""

    contract: str
    imports: tuple[tuple[str, str], ...]
    reported: str


def plant(contract: str, importer: str, imported: str) -> Plant:
    return Plant(contract, ((importer, imported),), f"{importer} -> {imported} (")


CYCLE = (
    ("fabgossip.storage.contents", "fabgossip.storage.index"),
    ("fabgossip.storage.index", "fabgossip.storage.contents"),
)
PLANTS = [
    plant("one direction", "fabgossip.daemon.driver", "fabgossip.cli.main"),
    plant("machines meet only in node", "fabgossip.core.catalog", "fabgossip.core.neighbors"),
    Plant("no cycles", CYCLE, "No cycles are allowed in fabgossip.storage."),
    plant("the deciding half has no world, not even indirectly", "fabgossip.trust.gate", "logging"),
    plant("core is given words, not bytes", "fabgossip.core.fetching", "fabgossip.wire.framing"),
    plant("only daemon and cli wait and log", "fabgossip.storage.contents", "logging"),
    plant("door: two interpreters", "fabgossip.sim.world", "fabgossip.core.node"),
    plant("door: authority", "fabgossip.cli.main", "fabgossip.control.signing"),
    plant("door: trio", "fabgossip.sim.world", "trio"),
    plant("door: msgpack", "fabgossip.cli.main", "msgpack"),
    plant("door: cryptography", "fabgossip.cli.main", "cryptography"),
    plant("door: sortedcontainers", "fabgossip.cli.main", "sortedcontainers"),
    plant("door: tables", "fabgossip.cli.main", "cattrs"),
    plant("door: tables", "fabgossip.cli.main", "tomllib"),
    plant("door: zstd", "fabgossip.cli.main", "backports"),
    plant("door: sqlite3", "fabgossip.cli.main", "sqlite3"),
    plant("door: h11", "fabgossip.cli.main", "h11"),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(PACKAGE, tmp_path / "fabgossip", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("lint-imports"))
    wide = {**os.environ, "COLUMNS": "300"}  # it folds long lines
    command = [program, "--no-logo", "--no-cache"]
    return subprocess.run(
        command, cwd=folder, env=wide, capture_output=True, text=True, check=False
    )


def reports_by_contract(output: str) -> dict[str, str]:
    """What follows each heading, a line underlined with dashes, of the list of broken contracts."""
    _, _, broken = output.partition("\nBroken contracts\n")
    parts = re.split(r"^(.+)\n-{3,}$", broken, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.slow
def test_the_package_keeps_every_contract(copy: Path) -> None:
    run = lint_imports(copy)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_contract_has_a_planted_violation() -> None:
    assert {contract["name"] for contract in CONTRACTS} == {plant.contract for plant in PLANTS}


@pytest.mark.slow
def test_each_planted_violation_breaks_its_contract(copy: Path) -> None:
    for importer, imported in (pair for plant in PLANTS for pair in plant.imports):
        module = copy / (importer.replace(".", "/") + ".py")
        text = module.read_text(encoding="utf-8")  # a plant in a module that is not there says so
        module.write_text(f"{text}\nimport {imported}\n", encoding="utf-8")
    run = lint_imports(copy)
    assert run.returncode == 1, run.stdout + run.stderr
    reports = reports_by_contract(run.stdout)
    silent = [plant for plant in PLANTS if plant.reported not in reports.get(plant.contract, "")]
    assert silent == []
