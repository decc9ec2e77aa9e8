"""A fabric of four for tests that publish and look where it arrives."""

from collections.abc import Iterator

import pytest

from fabgossip.cli.fabric import Fabric
from fabgossip.control.enrollment import NodeRow
from tests.system.fabrics import Document, started, write_source

SNAPSHOT = Document("cluster_snapshot", "snapshots/role/edge", increments=True)
DOCUMENTS = (
    Document("qos_policy_bundle", "qos/default"),
    Document("route_policy_bundle", "routes/edge", ("role:edge",)),
    Document("service_assignment_bundle", "services/dns"),
    SNAPSHOT,
)


def storage(node_id: str, *roles: str) -> NodeRow:
    return NodeRow(
        node_id=node_id, addresses=(), peer_class="core", roles=roles, stores=("cluster",)
    )


def edge(node_id: str) -> NodeRow:
    return NodeRow(node_id=node_id, addresses=(), services=("dns",), roles=("edge",))


@pytest.fixture(scope="session")
def four() -> Iterator[Fabric]:
    """`storage-1` (publications go there), `storage-2`, `edge-1`, `edge-2`; a first publication is
    everywhere."""
    nodes = (
        storage("storage-1", "control-endpoint"),
        storage("storage-2"),
        edge("edge-1"),
        edge("edge-2"),
    )
    with started(nodes) as fabric:
        write_source(fabric.source, DOCUMENTS)
        for one in DOCUMENTS:
            (fabric.source / one.file).write_text("first\n")
        fabric.wait_for(fabric.publish("first"), 10)
        yield fabric
