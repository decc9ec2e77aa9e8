"""A node whose certificate and claims have ended: it starts, and says since when."""

from contextlib import closing
from datetime import datetime
from pathlib import Path

import trio
from cryptography import x509

from fabgossip.cli.client import StatusClient
from fabgossip.daemon.driver import read_clocks
from tests.daemon import enrolled


async def test_status_says_when_the_certificate_ended(tmp_path: Path) -> None:
    """An operator who reads 1970 looks for a broken clock, not for a renewal that was missed."""
    folder = enrolled.make(tmp_path, age_s=8 * 86_400)
    read = x509.load_pem_x509_certificate((folder / "identity" / "node.crt").read_bytes())
    assert read.not_valid_after_utc.timestamp() < read_clocks().unix
    async with enrolled.served(folder) as config:
        with closing(StatusClient(config.socket)) as client:
            reply = await trio.to_thread.run_sync(client.get, "/v1/status")
    trust = reply.body["trust"]
    assert isinstance(trust, dict)
    shown = datetime.fromisoformat(str(trust["certificate_expires_at"]))
    assert shown == read.not_valid_after_utc
