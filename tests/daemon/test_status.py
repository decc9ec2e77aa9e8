"""The status socket ends in order: conversations first, then what they came in by."""

import os
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
import trio

from fabgossip.daemon.status import StatusServer
from fabgossip.daemon.status_socket import open_status_socket
from fabgossip.model.ids import ContentHash
from fabgossip.storage.contents import ContentFiles, IncomingContent
from fabgossip.storage.syncing import Syncing
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


SUBMIT = b"POST /v1/submit HTTP/1.1\r\nHost: x\r\n" + (
    b"Content-Length: %d\r\nFabgossip-Envelope-Bytes: 9\r\n\r\n" % (16 << 20)
)


class Incoming:
    """All of a driver that a submit asks before its body is whole."""

    def __init__(self, folder: Path) -> None:
        self._files = ContentFiles(folder, Syncing())
        self._files.prepare()
        self.transfers = self
        self.opened = trio.Event()

    def open_incoming(self, content_hash: ContentHash, size: int) -> IncomingContent:
        self.opened.set()
        return self._files.open_incoming(content_hash, size)


@pytest.mark.parametrize("is_gone", [True, False], ids=["client gone", "server stopped"])
async def test_a_submit_that_breaks_off_leaves_no_file_and_no_descriptor(
    tmp_path: Path, *, is_gone: bool
) -> None:
    """Its content has its place on the disk before the first byte of it came."""
    driver = Incoming(tmp_path)
    server = StatusServer(cast("Driver", driver), ABOUT, "")
    path = tmp_path / "status.sock"
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            listener = open_status_socket(path)
            with closing(listener):
                await nursery.start(server.serve, listener)
                before = len(os.listdir("/proc/self/fd"))
                async with await trio.open_unix_socket(str(path)) as caller:
                    await caller.send_all(SUBMIT + bytes(100_000))
                    await driver.opened.wait()
                    if is_gone:
                        await caller.send_eof()
                        assert b" 400 " in await caller.receive_some(4_096)
                    await server.stop()
                assert len(os.listdir("/proc/self/fd")) == before
    assert list((tmp_path / "incoming").iterdir()) == []
