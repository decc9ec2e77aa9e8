"""A node whose certificate and claims have ended: it starts, and says since when."""

import os
from contextlib import closing
from datetime import datetime
from pathlib import Path

import trio
from cryptography import x509

from fabgossip.cli.client import StatusClient
from fabgossip.daemon.config import read_config
from fabgossip.daemon.driver import read_clocks
from fabgossip.daemon.service import UMASK, Environment, open_daemon
from fabgossip.daemon.systemd import NotifyEnvironment
from tests.daemon import enrolled

HANG_S = 15
ENVIRONMENT = Environment(
    notify=NotifyEnvironment(),
    log_to_terminal=False,
    entropy=bytes,
    wall=lambda: 0.0,
    clock_is_synchronized=lambda: True,
)


async def test_status_says_when_the_certificate_ended(tmp_path: Path) -> None:
    """An operator who reads 1970 looks for a broken clock, not for a renewal that was missed."""
    folder = enrolled.make(tmp_path, age_s=8 * 86_400)
    read = x509.load_pem_x509_certificate((folder / "identity" / "node.crt").read_bytes())
    assert read.not_valid_after_utc.timestamp() < read_clocks().unix
    umask = os.umask(UMASK)
    try:
        with trio.fail_after(HANG_S):
            config = read_config(folder / "fabgossip.toml", None)
            async with open_daemon(config, ENVIRONMENT):
                with closing(StatusClient(config.socket)) as client:
                    reply = await trio.to_thread.run_sync(client.get, "/v1/status")
    finally:
        os.umask(umask)
    trust = reply.body["trust"]
    assert isinstance(trust, dict)
    shown = datetime.fromisoformat(str(trust["certificate_expires_at"]))
    assert shown == read.not_valid_after_utc
