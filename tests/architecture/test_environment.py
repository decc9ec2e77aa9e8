"""The scripts of a checkout make its environment, and leave alone what is not theirs."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
ANOTHER = 65_534


def test_the_environment_of_another_user_is_neither_removed_nor_made_again(tmp_path: Path) -> None:
    """Made by root, and of a Python nobody else may run: to rebuild it would take away the one that
    root's commands rest on."""
    (tmp_path / "bin").mkdir()
    for name in ("environment.sh", "fabgossip"):
        shutil.copy(ROOT / "bin" / name, tmp_path / "bin" / name)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    if os.getuid():
        theirs = Path("/proc")  # root's, seen through a link
        (tmp_path / ".venv").symlink_to(theirs)
    else:
        (tmp_path / ".venv").mkdir()
        (tmp_path / ".venv" / "kept").touch()
        os.chown(tmp_path / ".venv", ANOTHER, ANOTHER)
    before = (tmp_path / ".venv").lstat()
    done = subprocess.run(
        [str(tmp_path / "bin" / "fabgossip"), "version"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PATH": "/usr/bin:/bin", "PIP_NO_INDEX": "1"},
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "another user's" in done.stderr
    assert (tmp_path / ".venv").lstat().st_ino == before.st_ino
