"""The shell blocks of README and tutorial do what they say, on ports nobody uses."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest

from fabgossip.cli.client import Reply, StatusClient
from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.enrollment import NodeRow
from fabgossip.control.node_folder import NodePlaces, enroll_node
from fabgossip.model.ids import ClusterId, PlatformId
from fabgossip.model.moment import UnixTime
from tests.docs.pages import README, REFERENCE, TUTORIAL, blocks, rows

HANG_S = 80
"""Below the limit after which the whole run is ended."""
PORT = re.compile(r"(?<=127\.0\.0\.1:)\d+")


def with_free_ports(script: str) -> str:
    """The script with each of its ports replaced by one that was free a moment ago."""
    with ExitStack() as stack:
        free: dict[str, str] = {}
        for port in PORT.findall(script):
            if port not in free:
                one = stack.enter_context(socket.socket())
                one.bind(("127.0.0.1", 0))
                free[port] = str(one.getsockname()[1])
        return PORT.sub(lambda found: free[found[0]], script)


def environment(folder: Path) -> dict[str, str]:
    """That of the checkout; whatever is made by the way lies in the folder."""
    inherited = {key: value for key, value in os.environ.items() if key != "FABGOSSIP_SOCKET"}
    return inherited | {"TMPDIR": str(folder), "NO_COLOR": "1"}


@contextmanager
def started(command: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that leads a group of its own; whatever of the group is left at the end is
    killed."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the checkout to a reader: `bin/fabgossip` of this environment."""
    folder = tmp_path_factory.mktemp("c")
    (folder / "bin").mkdir()
    (folder / "bin" / "fabgossip").symlink_to(Path(sys.executable).parent / "fabgossip")
    return folder


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.parametrize("page", [README, TUTORIAL], ids=lambda page: page.stem)
def test_the_shell_blocks_of_a_page_work_and_print_what_it_shows(
    page: Path, checkout: Path
) -> None:
    found = blocks(page)
    script = "set -euo pipefail\n" + "".join(one.text for one in found if one.language == "sh")
    script = with_free_ports(script).replace("sleep 1", "sleep 0.1")  # a reader has more time
    shown = [line for one in found if one.language == "output" for line in one.text.splitlines()]
    with started(["bash", "-c", script], checkout) as process:
        out, err = process.communicate(timeout=HANG_S)
    assert process.returncode == 0, f"{out}\n{err}"
    assert shown
    assert [line for line in shown if line not in out.splitlines()] == []


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Path]:
    """The status socket of a daemon that knows no peer."""
    authority = AuthorityFolder(tmp_path / "authority")
    now = UnixTime(int((tmp_path).stat().st_mtime))
    authority.create(PlatformId("demo-docs"), ClusterId("c1"), now, ())
    places = NodePlaces(listen="127.0.0.1:0", storage="state", socket="s")
    row = NodeRow(node_id="n1", addresses=("127.0.0.1:1",), peer_class="core", stores=("cluster",))
    folder = tmp_path / "n"
    enroll_node(authority, row, folder, places, now)
    program = str(Path(sys.executable).parent / "fabgossip")
    with started([program, "run", "--config", str(folder / "fabgossip.toml")], tmp_path) as process:
        assert process.stderr is not None
        assert any('"ready"' in line for line in process.stderr)
        yield folder / "s"


def ask(daemon: Path, method: str, target: str) -> Reply:
    """One question on a connection of its own."""
    with closing(StatusClient(daemon, timeout_s=HANG_S)) as client:
        return client.get(target) if method == "GET" else client.post(target)


@pytest.mark.system
@pytest.mark.slow
def test_every_route_is_documented_with_its_query_keys_and_no_other(daemon: Path) -> None:
    told = {
        tuple(row[0].strip("`").split()): re.findall(r"`(\w+)`", row[2])
        for row in rows(REFERENCE / "status-api.md")
        if row[0].startswith(("`GET ", "`POST "))
    }
    known = re.findall(r"/v1/\w+", str(ask(daemon, "GET", "/v1/no-such-route").body["detail"]))
    assert sorted({path for _, path in told}) == sorted(set(known) - {"/v1/no"})
    for (method, path), keys in told.items():
        query = "&".join(f"{key}=0" for key in keys)
        answer = ask(daemon, method, f"{path}?{query}&no_such_key=0")
        assert answer.code == 400
        assert answer.body["detail"] == "unknown query keys: no_such_key", (path, keys)


@pytest.mark.system
@pytest.mark.slow
def test_every_field_of_an_answer_is_documented(daemon: Path) -> None:
    page = (REFERENCE / "status-api.md").read_text("utf-8")
    for route in ("status", "ready", "health", "version", "artifacts", "peers", "events"):
        body = ask(daemon, "GET", f"/v1/{route}").body
        inner = [value for value in body.values() if isinstance(value, dict)]
        names = {key for table in (body, *inner) for key in table}
        assert {name for name in names if f"`{name}`" not in page and name not in page} == set()
