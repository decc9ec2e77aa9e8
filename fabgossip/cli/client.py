"""Asks a daemon's status socket. Standard library only: `status` must answer fast and load
little."""

import grp
import http.client
import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fabgossip.errors import ServiceError, UsageError

TIMEOUT_S = 60.0
ASK_TIMEOUT_S = 10.0
"""For questions about what there is: a daemon that hangs is to be noticed, at any hour."""
PIECE_BYTES = 256 << 10
READERS = "fabgossip"
"""The group the packaged unit runs the daemon in, and so of its socket."""


class UnreachableError(ServiceError):
    """No daemon answers on the socket."""

    exit_code = 3


class ForbiddenError(ServiceError):
    """The socket, or its folder, does not let this user in: no use to wait, or to start one."""

    exit_code = 5


@dataclass(frozen=True, slots=True)
class Reply:
    """A status code and the JSON object of an answer."""

    code: int
    body: dict[str, object]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        if self._path.is_dir():
            raise UsageError(
                f"--socket {self._path}: is a folder; name the socket itself, which "
                "status.socket of the configuration says"
            )
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class StatusClient:
    """One kept-alive connection to a daemon."""

    def __init__(self, path: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._path = path
        self._connection = _UnixConnection(path, timeout_s)

    def get(self, target: str) -> Reply:
        """`GET`; raises `UnreachableError`."""
        return self._ask("GET", target, b"", {})

    def post(self, target: str) -> Reply:
        """`POST` without a body; raises `UnreachableError`."""
        return self._ask("POST", target, b"", {})

    def delete(self, target: str) -> Reply:
        """End something; raises `UnreachableError`."""
        return self._ask("DELETE", target, b"", {})

    def submit(self, envelope: bytes, content: bytes) -> Reply:
        """Hand over an artifact; raises `UnreachableError`."""
        headers = {"Fabgossip-Envelope-Bytes": str(len(envelope))}
        return self._ask("POST", "/v1/submit", envelope + content, headers)

    def granted(self, grant: bytes, envelope: bytes, timeout_ms: int, out: BinaryIO) -> Reply:
        """Fetch under a grant and write the content to `out`; raises `UnreachableError`, also where
        less came than was announced, and `OSError` for the file."""
        target = f"/v1/granted?timeout_ms={timeout_ms}"
        headers = {"Fabgossip-Grant-Bytes": str(len(grant))}
        response = self._open("POST", target, grant + envelope, headers)
        if response.getheader("Content-Type") == "application/json":
            return self._read(response)
        while piece := self._next(response):
            out.write(piece)
        body = {
            "outcome": "delivered",
            "namespace": response.getheader("Fabgossip-Namespace"),
            "content_hash": response.getheader("Fabgossip-Content-Hash"),
        }
        return Reply(response.status, dict(body))

    def _ask(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> Reply:
        return self._read(self._open(method, target, body, headers))

    def _open(
        self, method: str, target: str, body: bytes, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        with self._reachable():
            self._connection.request(method, target, body=body or None, headers=headers)
            return self._connection.getresponse()

    def _read(self, response: http.client.HTTPResponse) -> Reply:
        with self._reachable():
            return Reply(response.status, json.loads(response.read()))

    def _next(self, response: http.client.HTTPResponse) -> bytes:
        with self._reachable():
            piece = response.read(PIECE_BYTES)
            if not piece and response.length:
                raise http.client.IncompleteRead(b"", response.length)
            return piece

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise ForbiddenError(_forbidden(self._path)) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()
            raise UnreachableError(self._unreachable(error)) from error

    def _unreachable(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            limit = f"{self._connection.timeout:.3g} s"
            return (
                f"the daemon on {self._path} gave no answer within {limit}; "
                "its log says what it does: journalctl -u fabgossip"
            )
        return (
            f"no daemon answers on {self._path}: {error}; "
            "look: systemctl status fabgossip, journalctl -u fabgossip; "
            "start it with: fabgossip run --config FILE, or name its socket with --socket"
        )

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _forbidden(path: Path) -> str:
    return (
        f"you (uid {os.geteuid()}) may not open {path}: be in group {_group_of(path)}, or use sudo"
    )


def _group_of(path: Path) -> str:
    """Whose the socket is, or the folder that hides it."""
    for one in (path, path.parent):
        with suppress(OSError, KeyError):
            return grp.getgrgid(one.stat().st_gid).gr_name
    return READERS


def ask(path: Path, target: str, timeout_s: float = ASK_TIMEOUT_S) -> Reply:
    """One `GET` on a connection of its own; raises `UnreachableError`, `ForbiddenError`."""
    with closing(StatusClient(path, timeout_s)) as client:
        return client.get(target)
