"""A certificate is renewed under a running daemon: the next link shows it, and those that are open
go on."""

import signal
import socket
import ssl
from pathlib import Path

import pytest

from fabgossip.control.enrollment import NodeRow
from tests.system.fabrics import HANG_S, Daemon, daemon_of, run_command, started, until

pytestmark = [pytest.mark.system, pytest.mark.slow]

STORE = NodeRow(
    node_id="n1", addresses=(), peer_class="core", roles=("control-endpoint",), stores=("cluster",)
)
EDGE = NodeRow(node_id="n2", addresses=(), roles=("edge",))


def der_of(path: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(path.read_text())


def shown_by(node: Daemon) -> bytes:
    """The certificate a stranger is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    host, port = node.row.addresses[0].rsplit(":", 1)
    with (
        socket.create_connection((host, int(port)), HANG_S) as plain,
        context.wrap_socket(plain) as tls,
    ):
        der = tls.getpeercert(binary_form=True)
    assert der is not None
    return der


@pytest.mark.parametrize("told_by", ["nobody", "a signal"])
def test_a_renewed_certificate_is_shown_without_a_restart(told_by: str) -> None:
    with started((STORE, EDGE)) as fabric:
        n1 = daemon_of(fabric, "n1")
        path = n1.folder / "identity" / "node.crt"
        before = der_of(path)
        until(lambda: "neighbor_connected" in n1.log, "a link")
        pid = n1.pid
        assert shown_by(n1) == before
        ended = run_command(
            "control", "enroll", "n1", "--authority", fabric.authority_folder, "--renew", "--out",
            n1.folder,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        after = der_of(path)
        assert after != before
        if told_by == "a signal":
            n1.signal(signal.SIGHUP)
        until(lambda: shown_by(n1) == after, "the new certificate", 20.0)
        assert n1.pid == pid
        assert n1.is_running
        assert "identity_renewed" in n1.log
        assert "neighbor_lost" not in n1.log
