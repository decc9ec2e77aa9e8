"""Fabrics of real daemons for tests: short folders, waiting without a clock, no process left over.

A daemon dies with the test run even if that is killed: the kernel is told so when it starts.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fabgossip.cli.fabric import Fabric, Node
from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.enrollment import NodeRow
from fabgossip.control.signing import SignedArtifact
from fabgossip.control.sources.folder import read_source
from fabgossip.model.moment import UnixTime

CLUSTER = "c1"
HANG_S = 60.0
"""Below the limit after which the whole run is ended."""
LOOK_S = 10.0
"""Well below it: who looks for something in vain may still say what for."""
POLL_S = 0.02
COMMAND = (sys.executable, "-m", "fabgossip.cli.main")
RECORDING = Path(__file__).with_name("recording_daemon.py")
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_LIBC = ctypes.CDLL(None)


class HangError(Exception):
    """What was waited for did not come."""


def until(is_so: Callable[[], bool], what: str, hang_s: float = LOOK_S) -> None:
    """Look again and again; raises `HangError` once that took too many looks."""
    for _ in range(int(hang_s / POLL_S)):
        if is_so():
            return
        time.sleep(POLL_S)
    raise HangError(f"never: {what}")


def die_with(number: signal.Signals) -> Callable[[], None]:
    """What a child does first: it asks for a signal when its parent ends, however that ends."""

    def ask() -> None:
        _LIBC.prctl(_DEATH_SIGNAL, int(number))

    return ask


class Daemon(Node):
    """A node of a fabric whose process can be given an environment, and looked at."""

    command: tuple[str, ...] = COMMAND

    def start(self, environment: dict[str, str] | None = None) -> None:
        """As `Node.start`, and the process ends with this one."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.command, "run", "--config", str(self.folder / "fabgossip.toml")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | (environment or {}),
                start_new_session=True,
                preexec_fn=die_with(signal.SIGKILL),
            )

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process is not None and self._process.poll() is None

    def terminate(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask to stop; gives the exit code."""
        self.signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end; gives the exit code."""
        assert self._process is not None
        return self._process.wait(HANG_S)

    @property
    def log(self) -> str:
        """Everything it said so far."""
        return self._log.read_text("utf-8")

    @property
    def state(self) -> Path:
        """Its data folder."""
        return self.folder / "state"


class RecordedDaemon(Daemon):
    """A daemon that keeps what it received, in `record/` beside its configuration."""

    def start(self, environment: dict[str, str] | None = None) -> None:
        self.record.mkdir(exist_ok=True)
        self.command = (sys.executable, str(RECORDING), str(self.record))
        super().start(environment)

    @property
    def record(self) -> Path:
        """Where its recordings lie."""
        return self.folder / "record"

    def received(self) -> bytes:
        """Every decrypted byte of every link, link after link."""
        return b"\n".join(path.read_bytes() for path in sorted(self.record.glob("*.frames")))

    def modules(self) -> list[set[str]]:
        """What was loaded in each process that ended by itself."""
        return [set(one.read_text().split()) for one in self.record.glob("*.modules")]


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose name leaves room: the path of a Unix socket has at most 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="fg-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def enrolled(rows: tuple[NodeRow, ...], kind: type[Daemon] = Daemon) -> Iterator[Fabric]:
    """An authority and its enrolled nodes, none started; whatever is started is stopped."""
    with short_folder() as folder:
        fabric = Fabric(folder)
        fabric.create("demo-system", CLUSTER, rows)
        fabric.nodes[:] = [kind(one.row, one.folder, CLUSTER) for one in fabric.nodes]
        fabric.source.mkdir()
        try:
            yield fabric
        finally:
            fabric.stop()


@contextmanager
def started(rows: tuple[NodeRow, ...], kind: type[Daemon] = Daemon) -> Iterator[Fabric]:
    """As `enrolled`, and every daemon answers."""
    with enrolled(rows, kind) as fabric:
        fabric.start(HANG_S)
        yield fabric


def daemon_of(fabric: Fabric, node_id: str) -> Daemon:
    """A node by id."""
    node = fabric.node(node_id)
    assert isinstance(node, Daemon)
    return node


@dataclass(frozen=True, slots=True)
class Document:
    """A line of a source: type, namespace below the cluster, audience beside what that implies."""

    type: str
    namespace: str
    audience: tuple[str, ...] = ()
    increments: bool = False

    @property
    def file(self) -> str:
        """The name of its file."""
        return self.namespace.replace("/", "-")


def write_source(folder: Path, documents: tuple[Document, ...]) -> None:
    """`fabric.toml` for these documents; their files are the test's."""
    lines = ["schema = 1"]
    for one in documents:
        lines += [
            "[[artifact]]",
            f'type = "{one.type}"',
            f'namespace = "{one.namespace}"',
            f'file = "{one.file}"',
            f"audience = {list(one.audience)}",
            f"increments = {str(one.increments).lower()}",
        ]
    (folder / "fabric.toml").write_text("\n".join(lines) + "\n")


def signed_heads(fabric: Fabric) -> tuple[SignedArtifact, ...]:
    """What the authority last signed of each namespace."""
    return AuthorityFolder(fabric.authority_folder).heads()


def compile_source(fabric: Fabric) -> tuple[SignedArtifact, ...]:
    """Sign what is new in the source, and hand it to nobody."""
    source = read_source(fabric.source)
    # Its files' own times are the clock: what was written last is what there is to sign.
    newest = max(one.stat().st_mtime for one in fabric.source.iterdir())
    return AuthorityFolder(fabric.authority_folder).compile(source, UnixTime(int(newest)))


def run_command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command line, to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
        preexec_fn=die_with(signal.SIGKILL),
    )
