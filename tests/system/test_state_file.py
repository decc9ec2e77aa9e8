"""What software reads that asks no socket: whole, in time, and of this node alone."""

import json
import stat
from datetime import datetime
from pathlib import Path

import pytest

from fabgossip.cli.fabric import Fabric, Node
from fabgossip.daemon.state_file import VALID_S
from tests.system.fabrics import HANG_S, until

pytestmark = [pytest.mark.system, pytest.mark.slow]


def path_of(node: Node) -> Path:
    return node.folder / "state" / "local" / "state.json"


def state(node: Node) -> dict[str, object]:
    found = json.loads(path_of(node).read_bytes())
    assert isinstance(found, dict)
    return found


def version(node: Node, namespace: str) -> str | None:
    rows = state(node)["namespaces"]
    assert isinstance(rows, dict)
    return str(rows[namespace]["version"]) if namespace in rows else None


def is_usable(node: Node, namespace: str) -> bool:
    rows = state(node)["namespaces"]
    assert isinstance(rows, dict)
    return state(node)["mode"] == "fresh" and rows[namespace]["usable"] is True


def test_it_says_what_is_applied_whether_it_may_be_used_and_until_when(four: Fabric) -> None:
    node, namespace = four.node("edge-1"), f"{four.prefix}/routes/edge"
    in_use = node.local(namespace).readlink().name.removeprefix("v")
    until(lambda: version(node, namespace) == in_use, "it is there")
    until(lambda: is_usable(node, namespace), "it may be used")
    found = state(node)
    assert (found["schema_version"], found["mode"], found["namespaces_omitted"]) == (1, "fresh", 0)
    rows = found["namespaces"]
    assert isinstance(rows, dict)
    assert rows[namespace] == {
        "version": in_use,
        "usable": True,
        "stale_seconds": 0,
        "why": f"{in_use} is in use",
    }
    assert f"{four.prefix}/snapshots/node/edge-2" not in rows
    written, valid = (
        datetime.fromisoformat(str(found[one])) for one in ("written_at", "valid_until")
    )
    assert (valid - written).seconds == VALID_S
    assert stat.S_IMODE(path_of(node).stat().st_mode) == 0o440


def test_a_new_version_is_in_it_without_anybody_asking(four: Fabric) -> None:
    node, namespace = four.node("edge-1"), f"{four.prefix}/routes/edge"
    before = node.local(namespace).readlink().name
    (four.source / "routes-edge").write_text("for the state file\n")
    four.wait_for(four.publish("state file"), HANG_S)
    current = node.local(namespace).readlink().name
    assert current != before
    until(lambda: f"v{version(node, namespace)}" == current, "the new version is named")
