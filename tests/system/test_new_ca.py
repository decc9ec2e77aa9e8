"""The CA of node certificates is followed by another: whoever was renewed starts and is linked.

With real processes and the real command line: the pinned file of a node that runs is as old as the
node, and never changes.
"""

from pathlib import Path

import pytest

from fabgossip.cli.fabric import Fabric
from fabgossip.control.enrollment import NodeRow
from tests.system.fabrics import (
    HANG_S,
    Daemon,
    Document,
    daemon_of,
    run_command,
    started,
    until,
    write_source,
)

pytestmark = [pytest.mark.system, pytest.mark.slow]

STORE = NodeRow(
    node_id="n1", addresses=(), peer_class="core", roles=("control-endpoint",), stores=("cluster",)
)
EDGE = NodeRow(node_id="n2", addresses=(), roles=("edge",))
WARNING = "no trust bundle known here vouches for the certificate"
ROUTES = Document("route_policy_bundle", "routes/edge", ("role:edge",))


def control(fabric: Fabric, *arguments: str | Path) -> None:
    """A command of the control plane, which must succeed."""
    command, *rest = arguments
    ended = run_command("control", command, "--authority", fabric.authority_folder, *rest)
    assert ended.returncode == 0, ended.stderr


def hand_over(fabric: Fabric, node: Daemon) -> None:
    """The second bundle, at a node's own socket."""
    step = fabric.authority_folder / "trust" / "2"
    files = (step.with_suffix(".envelope"), step.with_suffix(".content"))
    ended = run_command("submit", "--socket", node.socket, *files)
    assert ended.returncode == 0, ended.stderr


def restart_renewed(fabric: Fabric, *nodes: Daemon) -> None:
    """Start again, with the certificate and claims of now."""
    for node in nodes:
        control(fabric, "enroll", node.row.node_id, "--renew", "--out", node.folder)
        node.ask_to_stop()
    for node in nodes:
        node.wait_stopped()
        node.start()
    for node in nodes:
        node.wait_ready(HANG_S)


def bundle_at(node: Daemon) -> object:
    trust = node.get("/v1/status")["trust"]
    assert isinstance(trust, dict)
    return trust["bundle_version"]


def is_linked(node: Daemon) -> bool:
    neighbors = node.get("/v1/status")["neighbors"]
    assert isinstance(neighbors, dict)
    return bool(neighbors["active"])


def two(fabric: Fabric) -> tuple[Daemon, Daemon]:
    """Both nodes, linked, with the first routes."""
    write_source(fabric.source, (ROUTES,))
    (fabric.source / ROUTES.file).write_bytes(b"one")
    fabric.wait_for(fabric.publish("first"), HANG_S)
    return daemon_of(fabric, "n1"), daemon_of(fabric, "n2")


def until_linked(n1: Daemon, n2: Daemon) -> None:
    until(lambda: is_linked(n1) and is_linked(n2), "a link under the new CA")


def test_renewed_nodes_start_and_link_under_the_new_ca() -> None:
    with started((STORE, EDGE)) as fabric:
        n1, n2 = two(fabric)
        control(fabric, "rotate", "--node-ca")
        fabric.publish("the new CA")
        until(lambda: bundle_at(n2) == 2, "the bundle with the new CA at n2")
        restart_renewed(fabric, n1, n2)
        assert "identity_warning" not in n1.log + n2.log
        until_linked(n1, n2)


def test_renewed_nodes_start_where_the_old_ca_was_revoked() -> None:
    """Who hears of it has lost its trust, and tells nobody: each is handed the bundle."""
    with started((STORE, EDGE)) as fabric:
        n1, n2 = two(fabric)
        control(fabric, "rotate", "--node-ca", "--revoke-old")
        fabric.publish("the new CA")
        hand_over(fabric, n2)
        assert (bundle_at(n1), bundle_at(n2)) == (2, 2)
        restart_renewed(fabric, n1, n2)
        assert "identity_warning" not in n1.log + n2.log
        until_linked(n1, n2)


def test_a_node_that_missed_the_change_starts_and_catches_up() -> None:
    """Its disk knows the old CA alone: it says so, and learns of the new one from a peer the old
    one still vouches for."""
    with started((STORE, EDGE)) as fabric:
        n1, n2 = two(fabric)
        n2.stop()
        control(fabric, "rotate", "--node-ca")
        fabric.publish("the new CA")
        restart_renewed(fabric, n2)
        assert WARNING in n2.log
        until(lambda: bundle_at(n2) == 2, "the bundle with the new CA at n2")
        until_linked(n1, n2)


def test_a_node_that_missed_it_for_long_is_handed_the_bundle() -> None:
    """No peer is left whose certificate it could judge."""
    with started((STORE, EDGE)) as fabric:
        n1, n2 = two(fabric)
        n2.stop()
        control(fabric, "rotate", "--node-ca")
        fabric.publish("the new CA")
        restart_renewed(fabric, n1, n2)
        assert bundle_at(n2) == 1
        assert WARNING in n2.log
        hand_over(fabric, n2)
        assert bundle_at(n2) == 2
        until_linked(n1, n2)
