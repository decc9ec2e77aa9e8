"""What a process holds once its command has run: contracts see imports, this sees what is loaded.

- A node never loads what speaks with authority, nor the simulator, nor what only reports need.
- A command that reads from a running node is light: it answers when the machine is in trouble.
- The list of commands loads none of them.
"""

import subprocess
import sys
from pathlib import Path

import pytest

NEVER_IN_A_NODE = {"fabgossip.control", "fabgossip.sim", "psycopg", "matplotlib"}
NEVER_TO_READ = {"trio", "cryptography", "msgpack", "cattrs", "prometheus_client"}

RUN = "import fabgossip.daemon.service"
OK, DAEMON_UNREACHABLE = 0, 3  # exit codes of the command line


def command(code: int, *arguments: str) -> str:
    """A program that runs a command, which is to end with a code."""
    return f"""
import runpy
sys.argv = ["fabgossip", *{arguments}]
try:
    runpy.run_module("fabgossip.cli.main", run_name="__main__")
except SystemExit as end:
    assert end.code == {code}, end.code
else:
    raise AssertionError("the command did not end")
"""


STATUS = command(DAEMON_UNREACHABLE, "status", "--socket", "/nonexistent")
HELP = command(OK, "--help")


def loaded_by(program: str, folder: Path) -> set[str]:
    record = folder / "loaded"
    script = f"import sys\n{program}\nopen({str(record)!r}, 'w').write(' '.join(sys.modules))"
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True)
    return set(record.read_text(encoding="utf-8").split())


@pytest.mark.slow
def test_a_node_loads_neither_authority_nor_simulator(tmp_path: Path) -> None:
    loaded = loaded_by(RUN, tmp_path)
    assert "fabgossip.daemon.service" in loaded
    assert loaded & NEVER_IN_A_NODE == set()


@pytest.mark.slow
def test_asking_for_the_status_loads_no_library_of_the_node(tmp_path: Path) -> None:
    loaded = loaded_by(STATUS, tmp_path)
    assert "fabgossip.cli" in loaded
    assert loaded & NEVER_TO_READ == set()


@pytest.mark.slow
def test_the_list_of_commands_loads_none_of_them(tmp_path: Path) -> None:
    loaded = {one for one in loaded_by(HELP, tmp_path) if one.startswith("fabgossip.")}
    # Which print a failure as an object: no command, and nothing but the standard library.
    assert loaded == {"fabgossip.cli", "fabgossip.cli.output", "fabgossip.errors"}
