"""The status socket and the service manager's socket, as programs outside use them."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from fabgossip.cli.fabric import Fabric
from fabgossip.control.enrollment import NodeRow
from tests.system.fabrics import COMMAND, HANG_S, Daemon, daemon_of, die_with, enrolled, until

pytestmark = [pytest.mark.system, pytest.mark.slow]

CURL = shutil.which("curl")
HEAD_BYTES_MAX = 16 << 10
GET = b"GET /v1/ready HTTP/1.1\r\nHost: n\r\n\r\n"
WATCHDOG_USEC = 300_000
ASK = """
import os, socket, sys
os.setgroups([])
os.setgid(int(sys.argv[1]))
os.setuid(int(sys.argv[1]))
for method in ("GET /v1/ready", "POST /v1/fetch?namespace=x", "POST /v1/submit"):
    client = socket.socket(socket.AF_UNIX)
    client.connect(sys.argv[2])
    client.sendall(f"{method} HTTP/1.1\\r\\nHost: n\\r\\nContent-Length: 0\\r\\n\\r\\n".encode())
    print(method.partition(" ")[0], client.recv(64).split()[1].decode())
"""
"""Asks as another user. The rights of a caller are those it had when it connected."""


def row(node_id: str) -> NodeRow:
    return NodeRow(node_id=node_id, addresses=(), peer_class="core", stores=("cluster",))


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    """`n1` runs, `n2` is only enrolled."""
    with enrolled((row("n1"), row("n2"))) as made:
        made.node("n1").start()
        made.node("n1").wait_ready(HANG_S)
        yield made


@pytest.fixture
def daemon(fabric: Fabric) -> Iterator[Daemon]:
    """`n1`, which goes on answering after every test."""
    one = daemon_of(fabric, "n1")
    yield one
    assert one.get("/v1/health")["ok"] is True


class Client:
    """One connection, byte by byte as a test wants it."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(HANG_S)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def next_reply(self) -> tuple[int, dict[str, object]]:
        """Status code and body of the next answer."""
        code = int(self._file.readline().split()[1])
        fields = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(": ")
            fields[name.lower()] = value
        body = json.loads(self._file.read(int(fields["content-length"])))
        assert isinstance(body, dict)
        return code, body

    def is_at_end(self) -> bool:
        """Whether the daemon has closed the connection."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def connected(daemon: Daemon) -> closing[Client]:
    return closing(Client(daemon.socket))


@pytest.mark.skipif(CURL is None, reason="curl is not on PATH")
def test_curl_reads_the_status(daemon: Daemon) -> None:
    assert CURL is not None
    command = [CURL, "--silent", "--show-error", "--fail", "--unix-socket", str(daemon.socket)]
    shown = subprocess.run(
        [*command, "http://localhost/v1/status"], capture_output=True, check=True, timeout=HANG_S
    )
    body = json.loads(shown.stdout)
    assert body["schema_version"] == 1
    assert body["node"]["node_id"] == "n1"


def test_requests_of_one_connection_are_answered_in_turn(daemon: Daemon) -> None:
    with connected(daemon) as client:
        client.send(GET)
        assert client.next_reply() == (200, {"schema_version": 1, "ok": True})
        client.send(GET.replace(b"ready", b"version"))
        assert client.next_reply()[1]["node_id"] == "n1"


def test_requests_sent_together_are_answered_in_turn(daemon: Daemon) -> None:
    with connected(daemon) as client:
        client.send(GET.replace(b"ready", b"version") + GET + GET.replace(b"ready", b"health"))
        bodies = [client.next_reply()[1] for _ in range(3)]
        assert "node_id" in bodies[0]
        assert bodies[1] == {"schema_version": 1, "ok": True}
        assert bodies[2] == {"schema_version": 1, "ok": True, "failing": []}


def test_an_unknown_query_key_is_refused_by_name_and_the_connection_kept(daemon: Daemon) -> None:
    with connected(daemon) as client:
        client.send(GET.replace(b"ready", b"artifacts?limit=1&colour=red"))
        code, body = client.next_reply()
        assert (code, body["detail"]) == (400, "unknown query keys: colour")
        client.send(GET)
        assert client.next_reply()[0] == 200


@pytest.mark.parametrize(
    ("request_line", "code"),
    [(b"POST /v1/status", 405), (b"GET /v1/submit", 405), (b"GET /v1/nothing", 404)],
    ids=["method", "submit by GET", "path"],
)
def test_what_no_route_answers_is_refused(daemon: Daemon, request_line: bytes, code: int) -> None:
    with connected(daemon) as client:
        client.send(request_line + b" HTTP/1.1\r\nHost: n\r\n\r\n")
        assert client.next_reply()[0] == code


def test_a_head_that_is_too_large_is_refused(daemon: Daemon) -> None:
    with connected(daemon) as client:
        head = GET[:-2] + b"X: " + b"x" * (HEAD_BYTES_MAX + 1) + b"\r\n\r\n"
        client.send(head[: HEAD_BYTES_MAX + 1])
        assert client.next_reply()[0] == 431
        assert client.is_at_end()


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\x02\x00\x01\x00", b"what is this\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"],
    ids=["a TLS hello", "no request line", "no host"],
)
def test_bytes_that_are_no_request_get_one_answer_and_the_end(daemon: Daemon, data: bytes) -> None:
    with connected(daemon) as client:
        client.send(data)
        assert client.next_reply()[0] == 400
        assert client.is_at_end()


def test_slow_clients_delay_nobody(daemon: Daemon) -> None:
    """Half a head each, and one that does not read what it asked for."""
    slow = [Client(daemon.socket) for _ in range(20)]
    try:
        for one in slow[1:]:
            one.send(GET[:-2])
        slow[0].send(GET.replace(b"ready", b"status") * 200)
        assert daemon.get("/v1/ready")["ok"] is True
        slow[1].send(GET[-2:])
        assert slow[1].next_reply()[0] == 200
    finally:
        for one in slow:
            one.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("uid", [65_534, 54_321], ids=["nobody", "a stranger"])
def test_whoever_is_no_operator_may_read_and_nothing_else(
    fabric: Fabric, daemon: Daemon, uid: int
) -> None:
    """Even where the socket's mode lets everybody in."""
    ways = [fabric.folder, daemon.folder]
    try:
        for one in ways:
            one.chmod(0o711)
        daemon.socket.chmod(0o666)
        asked = subprocess.run(
            [sys.executable, "-c", ASK, str(uid), str(daemon.socket)],
            capture_output=True,
            text=True,
            timeout=HANG_S,
            check=True,
            preexec_fn=die_with(signal.SIGKILL),
        )
    finally:
        for one in ways:
            one.chmod(0o700)
        daemon.socket.chmod(0o660)
    assert asked.stdout.split() == ["GET", "200", "POST", "403", "POST", "403"]
    until(lambda: bool(refused(daemon, uid)), "an audit record of it")
    assert refused(daemon, uid)[0] == ("/v1/fetch", "deny")


def refused(daemon: Daemon, uid: int) -> list[tuple[object, object]]:
    """What its audit log tells of a user's requests: what for, and the decision."""
    items = daemon.get("/v1/audit")["items"]
    assert isinstance(items, list)
    return [
        (one["object"], one["decision"])
        for one in items
        if (one["event"], one["subject"]) == ("request_refused", f"uid:{uid}")
    ]


def test_the_socket_is_for_owner_and_group_only(daemon: Daemon) -> None:
    assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o660


def lines_until(manager: socket.socket, wanted: str) -> list[str]:
    """What the service manager is told, up to a line; a silent daemon ends in `TimeoutError`."""
    lines: list[str] = []
    while wanted not in lines:
        lines += manager.recv(4_096).decode().splitlines()
    return lines


def test_the_service_manager_is_told_of_ready_life_and_stop(fabric: Fabric) -> None:
    daemon = daemon_of(fabric, "n2")
    path = fabric.folder / "notify"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.settimeout(HANG_S)
        manager.bind(str(path))
        daemon.start({"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": str(WATCHDOG_USEC)})
        before = lines_until(manager, "READY=1")
        # Both sockets answer from here on; nothing is polled.
        assert daemon.get("/v1/ready")["ok"] is True
        host, _, port = daemon.row.addresses[0].partition(":")
        socket.create_connection((host, int(port)), HANG_S).close()
        assert "WATCHDOG=1" not in before[: before.index("READY=1")]
        assert f"MAINPID={daemon.pid}" in before
        for _ in range(3):
            lines_until(manager, "WATCHDOG=1")
        daemon.signal(signal.SIGTERM)
        lines_until(manager, "STOPPING=1")
        assert daemon.wait() == 0
    assert "READY=1" not in daemon.log


def test_no_watchdog_is_fed_that_belongs_to_another_process(fabric: Fabric) -> None:
    daemon = daemon_of(fabric, "n2")
    path = fabric.folder / "notify-2"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.settimeout(HANG_S)
        manager.bind(str(path))
        watched = {"WATCHDOG_USEC": "3000", "WATCHDOG_PID": str(os.getpid())}
        daemon.start({"NOTIFY_SOCKET": str(path)} | watched)
        lines_until(manager, "READY=1")
        assert daemon.get("/v1/ready")["ok"] is True
        assert daemon.terminate() == 0
        assert "WATCHDOG=1" not in lines_until(manager, "STOPPING=1")


def test_events_are_followed_one_after_the_other_and_across_a_restart(daemon: Daemon) -> None:
    first = daemon.get("/v1/events")
    after = first["next"]
    assert first["missed"] == 0
    assert isinstance(after, int)
    numbers = [one["number"] for one in first["items"]]  # type: ignore[attr-defined]
    assert numbers == list(range(1, after + 1))
    assert daemon.get(f"/v1/events?after={after}&wait_ms=1")["items"] == []
    with (
        subprocess.Popen(
            [*COMMAND, "events", "--follow", "--json", "--socket", daemon.socket],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=die_with(signal.SIGKILL),
        ) as follower,
        ExitStack() as ending,
    ):
        ending.callback(follower.kill)
        assert follower.stdout is not None
        seen = [json.loads(follower.stdout.readline())["number"] for _ in numbers]
        assert seen == numbers
        daemon.terminate()
        daemon.start()
        daemon.wait_ready(HANG_S)
        told_after = [json.loads(follower.stdout.readline())]
        while told_after[-1]["event"] != "started":
            told_after.append(json.loads(follower.stdout.readline()))
        assert 1 in [one["number"] for one in told_after]
        follower.send_signal(signal.SIGINT)
        _, told = follower.communicate(timeout=HANG_S)
        assert "the daemon started anew" in told
        assert follower.returncode == 0
