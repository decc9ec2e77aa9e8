"""The files for packaging are what systemd takes them for."""

import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from fabgossip.cli.main import run
from fabgossip.daemon.config import ListenTable, StatusTable
from tests.docs.pages import DOCS

DEPLOY = Path(str(files("fabgossip"))) / "deploy"
UNIT = "fabgossip.service"
EXPOSURE_MAX = 16
"""Tenths of a point of ten; four of them let the daemon ask the kernel whether its clock is
synchronized."""
EXECUTABLE = re.compile(r"^ExecStart=(\S+) (.*)$", re.MULTILINE)
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def unit() -> str:
    return (DEPLOY / UNIT).read_text("utf-8")


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("systemd-analyze")
    assert tool is not None
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)


def verify(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Verify a copy whose program exists on every machine; nothing else is changed."""
    copy = folder / UNIT
    copy.write_text(EXECUTABLE.sub(r"ExecStart=/bin/true \2", text), "utf-8")
    return analyze("verify", "--man=no", "--recursive-errors=no", copy)


@needs_systemd
def test_systemd_has_nothing_to_say_about_the_unit(tmp_path: Path) -> None:
    done = verify(tmp_path, unit())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
def test_systemd_would_speak_of_a_directive_it_does_not_know(tmp_path: Path) -> None:
    done = verify(tmp_path, unit().replace("WatchdogSec=", "WatchdogSeconds="))
    assert "WatchdogSeconds" in done.stderr


@needs_systemd
def test_the_unit_exposes_little() -> None:
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", DEPLOY / UNIT)
    assert done.returncode == 0, done.stdout[-300:]


def test_the_unit_lets_the_daemon_ask_of_the_clock_and_not_set_it() -> None:
    """Of the calls whose group is refused, those that ask come back after it; and no capability."""
    lines = unit().splitlines()
    assert lines.index("SystemCallFilter=~@privileged @resources") < lines.index(
        "SystemCallFilter=adjtimex clock_adjtime"
    )
    assert "CapabilityBoundingSet=" in lines
    # It refuses all of them by a filter of its own, which nothing takes back.
    assert "ProtectClock=yes" not in lines


def test_the_unit_has_one_directive_per_line_and_none_twice_but_lists() -> None:
    lines = [one for one in unit().splitlines() if one and not one.startswith(("#", "["))]
    assert all(re.fullmatch(r"[A-Z][A-Za-z]+=.*", one) for one in lines)
    names = [one.partition("=")[0] for one in lines]
    lists = {"LoadCredential", "SystemCallFilter"}
    assert {one for one in names if names.count(one) > 1} == lists


def test_the_unit_starts_a_command_that_exists_with_the_folders_the_daemon_expects() -> None:
    found = EXECUTABLE.search(unit())
    assert found is not None
    assert found[2] == "run --config /etc/fabgossip/fabgossip.toml"
    runtime = re.search(r"^RuntimeDirectory=(.*)$", unit(), re.MULTILINE)
    assert runtime is not None
    assert StatusTable().socket == f"/run/{runtime[1]}/status.sock"
    assert ListenTable().addresses == ("[::]:7420",)


def test_the_groups_of_the_files_are_those_of_the_configuration() -> None:
    users = (DEPLOY / "fabgossip.sysusers.conf").read_text("utf-8")
    assert f"g     {StatusTable().operator_group} " in users
    assert re.search(r"^u +fabgossip ", users, re.MULTILINE)
    folders = (DEPLOY / "fabgossip.tmpfiles.conf").read_text("utf-8")
    assert re.search(r"^d +/var/lib/fabgossip/local +2751 +fabgossip +", folders, re.MULTILINE)


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd is not installed")
def test_sysusers_takes_its_file(tmp_path: Path) -> None:
    program = shutil.which("systemd-sysusers")
    assert program is not None
    command = [program, f"--root={tmp_path}", "--dry-run", str(DEPLOY / "fabgossip.sysusers.conf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", sorted(one.name for one in DEPLOY.iterdir() if one.is_file()))
def test_every_file_is_shown_and_named_in_the_instructions(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["deploy", "show", name]) == 0
    assert capsys.readouterr().out == (DEPLOY / name).read_text("utf-8")
    assert f"fabgossip deploy show {name}" in (DOCS / "how-to" / "install.md").read_text("utf-8")


def test_the_folder_holds_data_only() -> None:
    assert not list(DEPLOY.glob("*.py"))
