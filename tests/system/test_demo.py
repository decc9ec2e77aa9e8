"""What a newcomer runs first: seven daemons, the whole way, and nothing left behind."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.system.fabrics import COMMAND, HANG_S, die_with, short_folder, until

pytestmark = [pytest.mark.system, pytest.mark.slow]

NODES = 7
MARK = "FABGOSSIP_TEST_DEMO"
LOOK_S = 0.1
# Python runs this first in every process of the demonstration: each tells what it had loaded.
TELL_MODULES = """
import atexit, os, sys
def tell():
    with open(f"{os.environ['FABGOSSIP_TEST_DEMO']}/{os.getpid()}", "w") as file:
        file.write(" ".join([sys.argv[1], *sys.modules]))
atexit.register(tell)
"""


@dataclass(slots=True)
class Demo:
    """The command as it runs, and what was seen of its processes by looking now and then."""

    process: subprocess.Popen[bytes]
    folder: Path
    together: dict[str, int] = field(default_factory=dict)
    """Most daemons seen at one look: process by configuration."""
    opened: set[str] = field(default_factory=set)
    """Every file a daemon was seen to have open."""
    over: threading.Event = field(default_factory=threading.Event)

    def processes(self) -> dict[int, list[str]]:
        """Process and arguments of whatever the command started, itself included: all inherit the
        mark."""
        mark = f"{MARK}={self.modules}\0".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes() + b"\0":
                    found[int(entry.name)] = (entry / "cmdline").read_text().split("\0")
        return found

    @property
    def modules(self) -> Path:
        """Where each process tells what it had loaded."""
        return self.folder / "modules"

    @property
    def temporary(self) -> Path:
        """What it takes for the system's folder of temporary files."""
        return self.folder / "tmp"

    def watch(self) -> None:
        """Look until told to stop."""
        while not self.over.wait(LOOK_S):
            daemons = {}
            for pid, arguments in self.processes().items():
                if "run" in arguments:
                    daemons[arguments[-2]] = pid
                    self.opened |= open_files(pid)
            if len(daemons) > len(self.together):
                self.together = daemons


def open_files(pid: int) -> set[str]:
    files = set()
    with suppress(OSError):
        for one in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                files.add(os.readlink(one))
    return files


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """The command, just started."""
    with short_folder() as folder:
        for name in ("hook", "modules", "tmp"):
            (folder / name).mkdir()
        (folder / "hook" / "sitecustomize.py").write_text(TELL_MODULES)
        environment = os.environ | {
            "PYTHONPATH": str(folder / "hook"),
            "TMPDIR": str(folder / "tmp"),
            MARK: str(folder / "modules"),
        }
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            process = subprocess.Popen(
                [*COMMAND, "demo", "--json"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
                start_new_session=True,
                # It stops its daemons itself when it is interrupted.
                preexec_fn=die_with(signal.SIGINT),
            )
        made = Demo(process, folder)
        watcher = threading.Thread(target=made.watch)
        watcher.start()
        try:
            yield made
        finally:
            made.over.set()
            watcher.join()
            end(made)


def end(demo: Demo) -> None:
    """Interrupt it, then end by number whatever carries its mark."""
    if demo.process.poll() is None:
        demo.process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            demo.process.wait(5)
    for pid in demo.processes():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    demo.process.wait()


@pytest.fixture
def ended(demo: Demo) -> Demo:
    """The command, ended by itself, with no look under way."""
    demo.process.wait(HANG_S)
    demo.over.set()
    return demo


def test_seven_daemons_run_at_once_each_in_a_process_of_its_own(demo: Demo) -> None:
    until(lambda: len(demo.together) == NODES, "seven daemons")
    assert len(set(demo.together.values())) == NODES
    assert demo.process.pid not in demo.together.values()


def test_it_ends_well_and_says_what_happened(ended: Demo) -> None:
    # What it found, not only what it did: which of its judgements failed stands there.
    said = (ended.folder / "err").read_text() + (ended.folder / "out").read_text()
    assert ended.process.returncode == 0, said
    summary = json.loads((ended.folder / "out").read_text())
    assert summary["schema_version"] == 1
    assert summary["nodes"] == NODES
    assert summary["artifacts_published"] > NODES
    assert summary["deliveries"] == summary["entitled_deliveries"] > summary["artifacts_published"]
    assert summary["unentitled_deliveries"] == 0
    delays = summary["publish_to_last_node_ms"]
    assert 0 < delays["p50"] <= delays["p99"]
    assert summary["recovered_after_cut"] is True
    steps = [(one["step"], one["outcome"]) for one in summary["ladder"]]
    assert steps[-1] == ("rung 4", "verified")


def test_nothing_is_left_behind(ended: Demo) -> None:
    assert ended.processes() == {}
    assert list(ended.temporary.iterdir()) == []


def test_no_daemon_has_the_authority_at_hand(ended: Demo) -> None:
    loaded = [one.read_text().split() for one in ended.modules.iterdir()]
    of_daemons = [modules for command, *modules in loaded if command == "run"]
    (of_demo,) = [modules for command, *modules in loaded if command == "demo"]
    assert len(of_daemons) == NODES
    for modules in of_daemons:
        assert "fabgossip.daemon.service" in modules
        assert [one for one in modules if one.startswith("fabgossip.control")] == []
    assert "fabgossip.control.authority" in of_demo
    assert any(one.endswith("/index.sqlite") for one in ended.opened)
    assert [one for one in ended.opened if "/authority" in one] == []
