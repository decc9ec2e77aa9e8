"""A manifest that ends the daemon does so a few times, and then never again for an hour: what comes
beside it arrives."""

import sys
from pathlib import Path

import pytest

from fabgossip.control.enrollment import NodeRow
from tests.system.fabrics import HANG_S, Document, daemon_of, enrolled, until, write_source

pytestmark = [pytest.mark.system, pytest.mark.slow]

STORE = NodeRow(
    node_id="n1", addresses=(), peer_class="core", roles=("control-endpoint",), stores=("cluster",)
)
EDGE = NodeRow(node_id="n2", addresses=(), roles=("edge",))
POISON = Document("route_policy_bundle", "routes/poison", ("role:edge",))
GOOD = Document("route_policy_bundle", "routes/good", ("role:edge",))
POISONED = str(Path(__file__).with_name("poisoned_daemon.py"))


@pytest.mark.parametrize(("how", "deaths"), [("raise", 2), ("kill", 3)])
def test_a_manifest_that_ends_the_daemon_is_left_alone(how: str, deaths: int) -> None:
    with enrolled((STORE, EDGE)) as fabric:
        n1, n2 = daemon_of(fabric, "n1"), daemon_of(fabric, "n2")
        n2.command = (sys.executable, POISONED, how, POISON.namespace)
        n1.start()
        n1.wait_ready(HANG_S)
        write_source(fabric.source, (POISON, GOOD))
        for one in (POISON, GOOD):
            (fabric.source / one.file).write_bytes(one.namespace.encode())
        fabric.publish("a poisoned one among them")
        for _ in range(deaths):
            n2.start()
            assert n2.wait() != 0
        n2.start()
        n2.wait_ready(HANG_S)
        good = n2.local(f"{fabric.prefix}/{GOOD.namespace}") / "content"
        until(good.exists, "what came beside it is applied")
        status = n2.get("/v1/status")
        assert isinstance(status["problems"], list)
        assert "envelope_shunned" in [one["code"] for one in status["problems"]]
        assert ("step_failed" in n2.log) is (how == "raise")
        assert n2.is_running
