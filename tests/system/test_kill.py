"""A daemon that is killed at any moment has, when it is started again, all it said it had.

Each round publishes through the daemon or past it, kills it after a random time and starts it
again. What the authority signed is the truth; what was acknowledged is noted outside the daemon.
"""

import json
import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from fabgossip.cli.client import StatusClient, UnreachableError
from fabgossip.cli.fabric import Fabric
from fabgossip.control.enrollment import NodeRow
from fabgossip.control.signing import SignedArtifact
from fabgossip.model.artifact import ArtifactType, Order
from tests.system.fabrics import (
    HANG_S,
    Daemon,
    Document,
    compile_source,
    daemon_of,
    started,
    until,
    write_source,
)

pytestmark = [pytest.mark.system, pytest.mark.slow]

SEEDS = range(1, 1 + int(os.environ.get("FABGOSSIP_KILL_SEEDS", "5")))
"""A soak is more of them: `FABGOSSIP_KILL_SEEDS=200`."""
SEEDS_OF_A_FABRIC = 5
"""A node that links 30 times a minute is kept out for one; so often none is restarted but here."""
ROUNDS = 3
GENERATIONS = 2
"""Versions of each document that are signed for a round."""
KILL_AFTER_MAX_S = 0.2
VICTIM = "storage-2"
OTHER = "storage-1"
SIZES = {
    "qos/default": 200,
    "services/dns": 40_000,
    "routes/edge": 900_000,
    "services/dns/large": 1_500_000,
    "snapshots/role/edge": 60_000,
}
"""One below and some above each limit: in the index, a file, a file received in chunks."""
DOCUMENTS = (
    Document("qos_policy_bundle", "qos/default"),
    Document("service_assignment_bundle", "services/dns"),
    Document("route_policy_bundle", "routes/edge", ("role:edge",)),
    Document("service_assignment_bundle", "services/dns/large"),
    Document("cluster_snapshot", "snapshots/role/edge", increments=True),
)


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    """The one that is killed, which stores and applies all, one beside it, and a consumer; the next
    one for the next seeds."""
    nodes = tuple(
        NodeRow(
            node_id=node_id,
            addresses=(),
            peer_class="core" if stores else "full",
            services=("dns",),
            roles=roles,
            stores=stores,
        )
        for node_id, roles, stores in (
            (OTHER, ("control-endpoint",), ("cluster",)),
            (VICTIM, ("control-endpoint", "edge"), ("cluster",)),
            ("edge-1", ("edge",), ()),
        )
    )
    with started(nodes) as made:
        write_source(made.source, DOCUMENTS)
        write_contents(made, random.Random(0))
        made.wait_for(made.publish("before the first round"), 10)
        yield made


def write_contents(fabric: Fabric, rng: random.Random) -> None:
    """Bytes that have not been seen before, hard to compress but for one half."""
    for one in DOCUMENTS:
        size = SIZES[one.namespace]
        (fabric.source / one.file).write_bytes(rng.randbytes(size // 2) + bytes(size - size // 2))


@dataclass(slots=True)
class Publisher:
    """Hands over what was signed, one after another, until it is through or nobody answers."""

    daemon: Daemon
    artifacts: list[SignedArtifact]
    acknowledged: list[SignedArtifact] = field(default_factory=list)
    refused: list[dict[str, object]] = field(default_factory=list)

    def run(self) -> None:
        with closing(StatusClient(self.daemon.socket)) as client:
            for one in self.artifacts:
                try:
                    reply = client.submit(one.envelope, one.content)
                except UnreachableError:
                    return
                if reply.code == 200:
                    self.acknowledged.append(one)
                else:
                    self.refused.append(reply.body)


def is_increment(artifact: SignedArtifact) -> bool:
    return artifact.manifest.artifact_type is ArtifactType.SNAPSHOT_INCREMENT


def contents_of(state: Path) -> dict[str, bytes]:
    """Every content the index of a running daemon names, by hash, as it rests on disk."""
    with closing(sqlite3.connect(f"file:{state}/index.sqlite?mode=ro", uri=True)) as index:
        rows = index.execute("SELECT content_hash, inline FROM content").fetchall()
    found = {}
    for content_hash, inline in rows:
        name = content_hash.hex()
        path = state / "objects" / name[:2] / name
        with suppress(FileNotFoundError):  # replaced meanwhile
            found[name] = path.read_bytes() if inline is None else inline
    return found


def floors_of(state: Path) -> dict[str, Order]:
    with closing(sqlite3.connect(f"file:{state}/index.sqlite?mode=ro", uri=True)) as index:
        rows = index.execute("SELECT namespace, epoch, version FROM floor").fetchall()
    return {namespace: Order(epoch, version) for namespace, epoch, version in rows}


def assert_files_are_whole(state: Path) -> None:
    """What a crash leaves under a final name is complete: contents, and what consumers read."""
    for path in (state / "objects").rglob("*"):
        if path.is_file():
            assert sha256(path.read_bytes()).hexdigest() == path.name
    links = list((state / "local").rglob("current"))
    for link in links:
        assert link.is_symlink()
        manifest = json.loads((link / "manifest.json").read_bytes())
        assert sha256((link / "content").read_bytes()).hexdigest() == manifest["content_hash"]
        assert (link / "envelope").stat().st_size > 0


def assert_is_kept(daemon: Daemon, acknowledged: list[SignedArtifact]) -> None:
    """Of each namespace the last acknowledged version with its exact bytes, or one after it."""
    # In this order: what a newer version from a neighbor replaces meanwhile is older than its head.
    contents = contents_of(daemon.state)
    heads = {str(one["namespace"]): one for one in daemon.items()}
    for name, data in contents.items():
        assert sha256(data).hexdigest() == name
    for one in acknowledged:
        manifest = one.manifest
        if is_increment(one):
            continue
        head = heads[manifest.namespace.text]
        order = Order(int(str(head["epoch"])), int(str(head["version"])))
        assert order >= manifest.order, manifest.namespace.text
        # A newer manifest, which the kill may have parted from its content, takes the older one's
        # place at once; that its content comes is seen when all have caught up.
        if order == manifest.order:
            assert head["held"] is True, (manifest.namespace.text, head)
            assert contents[manifest.content_hash.hex()] == one.content


def assert_no_floor_sank(before: dict[str, Order], after: dict[str, Order]) -> None:
    assert [name for name, order in before.items() if after.get(name, Order(0, 0)) < order] == []


def play_round(fabric: Fabric, target: str, kept: list[SignedArtifact], rng: random.Random) -> None:
    """Publish through `target`, kill the victim meanwhile, start it again, compare."""
    victim = daemon_of(fabric, VICTIM)
    signed: list[SignedArtifact] = []
    for _ in range(GENERATIONS):
        write_contents(fabric, rng)
        signed += compile_source(fabric)
    before = floors_of(victim.state)
    publisher = Publisher(daemon_of(fabric, target), signed)
    thread = threading.Thread(target=publisher.run)
    thread.start()
    time.sleep(rng.uniform(0, KILL_AFTER_MAX_S))
    victim.kill()
    thread.join()
    assert publisher.refused == []
    assert_files_are_whole(victim.state)
    victim.start()
    victim.wait_ready(HANG_S)
    assert_no_floor_sank(before, floors_of(victim.state))
    if target == VICTIM:
        kept += publisher.acknowledged
        for one in publisher.acknowledged:
            floor = floors_of(victim.state)[one.manifest.namespace.text]
            assert is_increment(one) or floor >= one.manifest.order
    assert_is_kept(victim, kept)
    # What was not acknowledged is handed over again by whoever publishes; then all have it.
    publication = fabric.publish("once more")
    fabric.wait_for(publication, HANG_S)
    newest = {one.manifest.namespace.text: one for one in signed if not is_increment(one)}
    until(lambda: is_applied(victim, newest), "everything applied")
    assert_files_are_whole(victim.state)


def is_applied(daemon: Daemon, newest: dict[str, SignedArtifact]) -> bool:
    applied = {
        namespace: (daemon.local(namespace) / "content").read_bytes() for namespace in newest
    }
    return all(applied[namespace] == one.content for namespace, one in newest.items())


@pytest.mark.parametrize(
    ("fabric", "seed"),
    [pytest.param(seed // SEEDS_OF_A_FABRIC, seed, id=str(seed)) for seed in SEEDS],
    indirect=["fabric"],
    scope="module",
)
def test_a_killed_daemon_keeps_what_it_acknowledged_and_catches_up(
    fabric: Fabric, seed: int
) -> None:
    rng = random.Random(seed)
    kept: list[SignedArtifact] = []
    for number in range(ROUNDS):
        # Two of three rounds hand over to the daemon that is killed; in the others it fetches.
        play_round(fabric, OTHER if number == 1 else VICTIM, kept, rng)
