"""Storage dies, its disk is lost, the control plane goes dark, in turn and at once: who still gets
what, from whom, and what nobody does meanwhile."""

import shutil
from collections.abc import Iterator
from functools import partial

import pytest

from fabgossip.cli.fabric import Fabric
from tests.system.conftest import edge, storage
from tests.system.fabrics import (
    CLUSTER,
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

ROUTES = Document("route_policy_bundle", "routes/edge")
LARGE = Document("service_assignment_bundle", "services/dns")
CONTROL, STORE, READER, OTHER = "storage-1", "storage-2", "edge-1", "edge-2"


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    """Two storage nodes, one of them beside the control plane, and two readers."""
    rows = (storage(CONTROL, "control-endpoint"), storage(STORE), edge(READER), edge(OTHER))
    with started(rows) as made:
        write_source(made.source, (ROUTES, LARGE))
        write(made, 1)
        made.wait_for(made.publish("first"), HANG_S)
        yield made


def write(fabric: Fabric, number: int) -> None:
    """Another version of both, one of them in chunks."""
    (fabric.source / ROUTES.file).write_text(f"routes {number}\n")
    (fabric.source / LARGE.file).write_bytes(b"%d" % number * (3 << 20))


def wipe(node: Daemon) -> None:
    """The machine comes back with an empty disk."""
    node.kill()
    shutil.rmtree(node.state)
    node.start()
    node.wait_ready(HANG_S)


def has_all(fabric: Fabric, node: Daemon) -> bool:
    """Whether a node holds all it is entitled to."""
    return not fabric.expected_at(node) - node.held()


def whole(fabric: Fabric, *names: str) -> None:
    for name in names:
        until(partial(has_all, fabric, daemon_of(fabric, name)), f"{name} has everything", HANG_S)


def gate(node: Daemon, action: str) -> int:
    """What local software is told."""
    return run_command("gate", action, "--socket", node.socket).returncode


def brought(node: Daemon, document: Document) -> list[tuple[str, str]]:
    """Who was asked for a content at which step, and brought it."""
    rows = node.ladder(f"platform/demo-system/cluster/{CLUSTER}/{document.namespace}")
    return [(str(one["step"]), str(one["source"])) for one in rows if one["outcome"] == "verified"]


def test_without_a_store_the_others_bring_it_and_why_says_who(fabric: Fabric) -> None:
    store = daemon_of(fabric, STORE)
    store.kill()
    write(fabric, 2)
    fabric.wait_for(fabric.publish("second"), HANG_S, except_for=(STORE,))
    for name in (READER, OTHER):
        sources = brought(daemon_of(fabric, name), LARGE)
        assert sources
        assert STORE not in {source for _, source in sources}
    store.start()
    store.wait_ready(HANG_S)
    whole(fabric, STORE)


def test_a_content_whose_file_is_gone_is_fetched_anew_when_it_is_asked_for(fabric: Fabric) -> None:
    """Nobody is told that it is here, and the daemon need not be started anew."""
    reader = daemon_of(fabric, READER)
    whole(fabric, READER)
    name = f"{fabric.prefix}/{LARGE.namespace}"
    (content_hash,) = (
        str(one["content_hash"]) for one in reader.items() if one["namespace"] == name
    )
    path = reader.state / "objects" / content_hash[:2] / content_hash
    for command in ("fetch", "artifacts pin --reason drill"):
        path.unlink()
        done = run_command(*command.split(), content_hash, "--socket", reader.socket)
        assert done.returncode == 0
        until(path.exists, "the file is there again", HANG_S)


def test_a_store_that_lost_its_disk_has_everything_again(fabric: Fabric) -> None:
    wipe(daemon_of(fabric, STORE))
    whole(fabric, STORE)


def test_with_the_control_plane_dark_a_reader_that_lost_its_disk_is_whole_by_its_peers(
    fabric: Fabric,
) -> None:
    """Everything it is given is what was signed before; nothing is signed meanwhile."""
    control, reader = daemon_of(fabric, CONTROL), daemon_of(fabric, READER)
    signed = fabric.expected_at(reader)
    control.kill()
    wipe(reader)
    whole(fabric, READER)
    assert fabric.expected_at(reader) == signed
    assert CONTROL not in {source for _, source in brought(reader, LARGE)}
    assert gate(reader, "route") == 0
    control.start()
    control.wait_ready(HANG_S)


def test_with_both_dark_who_forgot_everything_does_nothing_and_who_did_not_goes_on(
    fabric: Fabric,
) -> None:
    """A reader serves no other reader its own snapshot: without that nobody is anybody."""
    control, store = daemon_of(fabric, CONTROL), daemon_of(fabric, STORE)
    reader, other = daemon_of(fabric, READER), daemon_of(fabric, OTHER)
    control.kill()
    store.kill()
    before = other.local(f"{fabric.prefix}/{LARGE.namespace}").joinpath("content").read_bytes()
    wipe(reader)
    assert gate(reader, "activate-update") != 0
    assert gate(reader, "route") != 0
    assert not reader.local(f"{fabric.prefix}/{LARGE.namespace}").exists()
    assert gate(other, "route") == 0
    local = other.local(f"{fabric.prefix}/{LARGE.namespace}")
    assert local.joinpath("content").read_bytes() == before
    store.start()
    store.wait_ready(HANG_S)
    whole(fabric, READER)
    assert gate(reader, "route") == 0
    control.start()
    control.wait_ready(HANG_S)
    write(fabric, 3)
    fabric.wait_for(fabric.publish("third"), HANG_S)
