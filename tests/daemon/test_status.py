"""The status socket ends in order: conversations first, then what they came in by."""

from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

import trio

from fabgossip.daemon.status import StatusServer
from fabgossip.daemon.status_socket import open_status_socket
from tests.fuzzing.local import ABOUT

if TYPE_CHECKING:
    from fabgossip.daemon.driver import Driver

HANG_S = 60


async def test_once_stopped_nothing_waits_at_its_socket_any_more(tmp_path: Path) -> None:
    """Or closing the socket would fail whoever waits there, and with it the daemon's orderly end;
    nobody asks the node anything before its first whole request."""
    server = StatusServer(cast("Driver", object()), ABOUT, "")
    path = tmp_path / "status.sock"
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            listener = open_status_socket(path)
            with closing(listener):
                await nursery.start(server.serve, listener)
                caller = await trio.open_unix_socket(str(path))
                await caller.send_all(b"GET /v1/status HTTP/1.1\r\n")
                await server.stop()
                assert not nursery.child_tasks
            async with caller:
                with suppress(trio.BrokenResourceError):  # what it had sent was not read
                    assert await caller.receive_some(1) == b""
