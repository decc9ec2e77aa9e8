"""The page on fetch grants, typed by a shell as it stands, against daemons on loopback."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fabgossip.cli.fabric import Fabric
from fabgossip.control.enrollment import NodeRow
from tests.docs.pages import DOCS, blocks
from tests.system.fabrics import (
    HANG_S,
    Document,
    daemon_of,
    die_with,
    run_command,
    started,
    until,
    write_source,
)

pytestmark = [pytest.mark.system, pytest.mark.slow]

DNS = Document("service_assignment_bundle", "services/dns")
STORE = NodeRow(
    node_id="storage-1",
    addresses=(),
    peer_class="core",
    roles=("control-endpoint",),
    stores=("cluster",),
)
LARGE = b"zone data " * 200_000
"""Above 1 MiB: many chunks, which a grant of one use has to be enough for."""


@pytest.fixture
def fabric() -> Iterator[Fabric]:
    """A storage node, a node of the service and one outside it; the bundle is published."""
    rows = (
        STORE,
        NodeRow(node_id="edge-1", addresses=(), services=("dns",)),
        NodeRow(node_id="edge-2", addresses=()),
    )
    with started(rows) as made:
        write_source(made.source, (DNS,))
        (made.source / DNS.file).write_bytes(LARGE)
        made.wait_for(made.publish("zones"), HANG_S)
        edge = daemon_of(made, "edge-2")
        until(lambda: edge.get("/v1/status")["verdict"]["mode"] == "fresh", "a fresh edge-2")  # type: ignore[index]
        yield made


def typed(fabric: Fabric, script: str) -> str:
    """Run a block as the page's reader would; gives what was said."""
    places = {
        "AUTHORITY": str(fabric.authority_folder),
        "EDGE_2": str(fabric.node("edge-2").folder),
        "PREFIX": fabric.prefix,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["/bin/bash", "-c", f"set -euo pipefail\n{script}"],
        cwd=fabric.folder,
        env={**os.environ, **places},
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
        preexec_fn=die_with(signal.SIGKILL),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_on_grants_does_what_it_says(fabric: Fabric) -> None:
    grant, fetch, see = (
        one.text
        for one in blocks(DOCS / "how-to" / "fetch-under-a-grant.md")
        if one.language == "sh"
    )
    edge = daemon_of(fabric, "edge-2")
    assert "grant " in typed(fabric, grant)
    assert "delivered " in typed(fabric, fetch)
    out = fabric.folder / "dns.content"
    assert out.read_bytes() == LARGE
    assert out.stat().st_mode & 0o777 == 0o600
    said = typed(fabric, see)
    assert "outcome  delivered" in said
    assert "storage-1" in said
    assert "grant_fetched" in said

    assert not any("services/dns" in str(one) for one in edge.get("/v1/artifacts")["items"])  # type: ignore[attr-defined]
    assert not edge.local(f"{fabric.prefix}/services/dns").exists()
    files = [one for one in edge.state.rglob("*") if one.is_file()]
    assert not any(b"zone data" in one.read_bytes() for one in files)

    again = ("fetch", "--socket", edge.socket, "--grant", fabric.folder / "dns.grant")
    envelope = ("--envelope", fabric.folder / "dns.envelope")
    second = run_command(*again, *envelope, "--out", fabric.folder / "second")
    assert (second.returncode, "storage-1 missing" in second.stderr) == (75, True), second.stderr
    assert not (fabric.folder / "second").exists()
    assert run_command(*again, *envelope, "--out", out).returncode == 1
    assert out.read_bytes() == LARGE
    other = ("fetch", "--socket", fabric.node("edge-1").socket, *again[3:])
    refused = run_command(*other, *envelope, "--out", fabric.folder / "third")
    assert refused.returncode == 5
    assert "of another node; next: " in refused.stderr
