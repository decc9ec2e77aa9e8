"""The checkout is the same everywhere: a fixed top level, small scripts, no trace of a machine."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.checkout import CHECKOUT

TOP_LEVEL = {
    "pyproject.toml",
    "requirements.lock",
    "README.md",
    "CHANGELOG.md",
    "fabgossip",
    "simulations",
    "tests",
    "docs",
    "bin",
}
SHARED_DOT_FILES = {".ci", ".gitignore"}
LEFT_BEHIND = {"dist", "replays", "worlds"}
"""What commands of ours make there, and `.gitignore` names."""
SCRIPTS = sorted((CHECKOUT / "bin").iterdir())
SCRIPT_LINES_MAX = 30

# Registry hosts belong in no lock file, folders of one machine in no text. Written in pieces, so
# that this file is no finding. A path counts where it starts at the root: docs/work/ is none.
HOSTS = r"pypi\.o" + r"rg|files\.pythonhosted\.o" + "rg"
FOLDERS = r"(?<![\w.~})*-])/(?:work|root)" + "/"
TRACE = re.compile(f"{HOSTS}|{FOLDERS}".encode())


def shared_files(checkout: Path) -> Iterator[Path]:
    for entry in sorted(checkout.iterdir()):
        if entry.name in TOP_LEVEL | SHARED_DOT_FILES:
            inside = entry.rglob("*") if entry.is_dir() else [entry]
            yield from (path for path in inside if path.is_file() and path.suffix != ".pyc")


def traces(checkout: Path) -> list[str]:
    return [
        f"{path.relative_to(checkout)}:{number}"
        for path in shared_files(checkout)
        for number, line in enumerate(path.read_bytes().splitlines(), 1)
        if TRACE.search(line)
    ]


def test_the_top_level_holds_nothing_else() -> None:
    visible = {entry.name for entry in CHECKOUT.iterdir() if not entry.name.startswith(".")}
    assert visible - TOP_LEVEL - LEFT_BEHIND == set()
    ignored = (CHECKOUT / ".gitignore").read_text().splitlines()
    assert {f"/{name}/" for name in LEFT_BEHIND} <= set(ignored)


def test_no_file_names_a_registry_or_a_folder_of_one_machine() -> None:
    assert traces(CHECKOUT) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("https://" + "pypi.o" + "rg/simple", True),
        ("--find-links " + "/work" + "/wheels", True),
        ("file://" + "/root" + "/x", True),
        ("never below /home or /root", False),
        ("docs/work/plan.md", False),
    ],
)
def test_a_trace_is_found_where_it_stands(tmp_path: Path, line: str, *, found: bool) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text(f"first\n{line}\n", encoding="utf-8")
    assert traces(tmp_path) == (["docs/page.md:2"] if found else [])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_is_small(script: Path) -> None:
    assert len(script.read_text(encoding="utf-8").splitlines()) <= SCRIPT_LINES_MAX


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_can_be_started(script: Path) -> None:
    sourced = script.name == "environment.sh"
    assert sourced or os.access(script, os.X_OK)
