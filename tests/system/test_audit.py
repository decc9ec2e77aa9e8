"""Two daemons and their audit logs: written, shown, witnessed by the other, caught when edited."""

import json
import signal
from collections.abc import Iterator

import pytest

from fabgossip.cli.fabric import Fabric
from fabgossip.control.enrollment import NodeRow
from tests.system.fabrics import (
    HANG_S,
    Daemon,
    daemon_of,
    run_command,
    started,
    until,
    write_source,
)

pytestmark = [pytest.mark.system, pytest.mark.slow]


def row(node_id: str, *roles: str) -> NodeRow:
    return NodeRow(
        node_id=node_id, addresses=(), peer_class="core", stores=("cluster",), roles=roles
    )


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    with started((row("c1", "control-endpoint"), row("n1"))) as made:
        write_source(made.source, ())
        yield made


def heads(daemon: Daemon, of: str) -> list[str]:
    """The lines another node keeps of a log."""
    done = run_command("audit", "heads", of, "--socket", daemon.socket)
    return done.stdout.splitlines() if done.returncode == 0 else []


def test_a_log_is_witnessed_by_the_other_node_and_an_edit_is_found(fabric: Fabric) -> None:
    """Who has not learned whom to believe vouches for nobody: first something is published."""
    control, node = daemon_of(fabric, "c1"), daemon_of(fabric, "n1")
    fabric.publish("first")
    until(lambda: bool(heads(control, "n1")), "n1's checkpoint at c1", HANG_S)

    shown = run_command("audit", "show", "--socket", node.socket)
    records = [json.loads(line) for line in shown.stdout.splitlines()]
    assert (records[0]["seq"], records[0]["event"], records[0]["subject"]) == (1, "started", "n1")
    audit = node.get("/v1/status")["audit"]
    assert isinstance(audit, dict)
    assert audit["writable"] is True
    assert audit["anchored_at"] is not None

    kept = node.folder / "heads"
    kept.write_text("\n".join(heads(control, "n1")) + "\n")
    claims = node.folder / "identity" / "claims"
    pinned = node.folder / "trust" / "bootstrap"
    judged = ("--claims", claims, "--bootstrap", pinned)
    verify = ("audit", "verify", *judged, "--checkpoint", kept)
    assert run_command(*verify, "--socket", node.socket).returncode == 0

    assert node.terminate(signal.SIGTERM) == 0
    folder = node.state / "audit"
    path = folder / "0000000000000001.jsonl"
    last = json.loads(path.read_text().splitlines()[-1])
    assert last["event"] == "stopped"
    assert run_command(*verify, folder).returncode == 0
    path.write_text(path.read_text().replace('"started"', '"stalled"', 1))
    done = run_command(*verify, folder)
    assert (done.returncode, "record 1" in done.stderr) == (5, True)
    node.start()
    node.wait_ready(HANG_S)


def test_a_node_without_its_audit_key_does_not_start(fabric: Fabric) -> None:
    node = daemon_of(fabric, "n1")
    config, key = node.folder / "fabgossip.toml", node.folder / "identity" / "audit.key"
    other = daemon_of(fabric, "c1").folder / "identity" / "audit.key"
    mine = key.read_bytes()
    try:
        key.write_bytes(other.read_bytes())
        done = run_command("run", "--config", config)
        assert (done.returncode, "not the key named in identity.claims" in done.stderr) == (
            78,
            True,
        )
        key.unlink()
        done = run_command("run", "--config", config)
        assert (done.returncode, "audit.key" in done.stderr) == (78, True)
    finally:
        key.write_bytes(mine)
        key.chmod(0o600)
