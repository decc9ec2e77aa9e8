"""How fast a node's own disk takes things: contents, heads, and versions for local software.

Prints one JSON line per case, `{"peer", "case", "value", "unit"}`.

    .venv/bin/python -m tests.benchmarks.store [--quick] [--daemons]

The first cases speak to the disk as a daemon's loop does, without network and signatures: each
content comes with the head that names it. A publication is what follows from an announcement: the
head durable, then the content, then the version in `local/`. The time ends when the last of them
is acknowledged. `--daemons` adds a publication as an operator makes it: signed, handed to one
daemon, and applied by a second. State lies below `TMPDIR`: on a RAM disk fsync costs nothing, so
say which it was; the p50 of one fsync is printed beside.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import trio

from fabgossip.cli.fabric import Fabric
from fabgossip.control.enrollment import NodeRow
from fabgossip.core.effects import Materialize, Persist
from fabgossip.core.events import Token
from fabgossip.daemon.disk import Disk
from fabgossip.daemon.state import StateFolder
from fabgossip.model.artifact import ArtifactType, Manifest, VerifiedManifest
from fabgossip.model.ids import ContentHash, ManifestHash, NodeId
from fabgossip.model.persistence import PutHead
from fabgossip.storage.syncing import SYNC_THREADS, Syncing
from tests.benchmarks.fetch import report
from tests.trust import factory

SMALL, FILED = 4_096, 20_480
"""Bytes of a content that rests in the index, and of one that rests in a file."""
ROWS = (
    NodeRow(node_id="origin", addresses=(), peer_class="core", roles=("control-endpoint",),
            stores=("cluster",)),
    NodeRow(node_id="edge", addresses=()),
)  # fmt: skip
ARRIVAL_S = 300.0


class Waiting:
    """Counts what was acknowledged."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.over = trio.Event()

    def done(self, ok: bool) -> None:  # noqa: FBT001  # as the disk gives it
        assert ok
        self.left -= 1
        if not self.left:
            self.over.set()


def artifacts(count: int, size: int) -> Iterator[tuple[VerifiedManifest, bytes]]:
    """Policies of this size, each in a namespace of its own. Nobody checks their signatures."""
    for number in range(count):
        content = os.urandom(size)
        manifest: Manifest = replace(
            factory.manifest(ArtifactType.QOS_POLICY_BUNDLE, f"qos/bench-{size}-{number}"),
            content_hash=factory.hash_of(content),
            content_size=size,
        )
        verified = VerifiedManifest(
            manifest=manifest,
            manifest_hash=ManifestHash(factory.hash_of(b"%d %d" % (size, number))),
            envelope=os.urandom(600),
            signed_by=(),
            threshold=1,
        )
        yield verified, content


def put(verified: VerifiedManifest) -> Persist:
    """Its head, on the way to the disk."""
    return Persist(token=Token(1), changes=(PutHead(verified=verified),))


def switch(verified: VerifiedManifest) -> Materialize:
    """Its version, for local software."""
    manifest = verified.manifest
    return Materialize(
        token=Token(2),
        namespace=manifest.namespace.text,
        order=manifest.order,
        manifest=manifest,
        envelope=verified.envelope,
        keep_versions=2,
    )


async def store(disk: Disk, rows: list[tuple[VerifiedManifest, bytes]]) -> float:
    """All at once: heads and contents; seconds until the last is acknowledged."""
    waiting = Waiting(2 * len(rows))
    start = time.perf_counter()
    for verified, content in rows:
        disk.persist(put(verified), waiting.done)
        disk.store_small(ContentHash(verified.manifest.content_hash), content, waiting.done)
    await waiting.over.wait()
    return time.perf_counter() - start


async def store_in_turn(disk: Disk, rows: list[tuple[VerifiedManifest, bytes]]) -> list[float]:
    """One after another; seconds of each."""
    return [await store(disk, [row]) for row in rows]


async def publish(disk: Disk, rows: list[tuple[VerifiedManifest, bytes]]) -> float:
    """Each by the steps of the core, all under way at once; seconds until the last is applied."""
    waiting = Waiting(len(rows))

    def begin(verified: VerifiedManifest, content: bytes) -> None:
        def on_head(ok: bool) -> None:  # noqa: FBT001  # as the disk gives it
            assert ok
            disk.store_small(verified.manifest.content_hash, content, on_content)

        def on_content(ok: bool) -> None:  # noqa: FBT001  # as the disk gives it
            assert ok
            disk.materialize(switch(verified), waiting.done)

        disk.persist(put(verified), on_head)

    start = time.perf_counter()
    for row in rows:
        begin(*row)
    await waiting.over.wait()
    return time.perf_counter() - start


def fsync_ms(folder: Path) -> float:
    """The p50 of making 4 KiB durable."""
    times = []
    with (folder / "probe").open("wb", buffering=0) as file:
        for _ in range(100):
            file.write(os.urandom(4_096))
            start = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - start)
    return sorted(times)[50] * 1_000


async def measure_disk(folder: Path, small: int, published: int) -> None:
    """What a writing thread takes, from a process that does nothing else."""
    with closing(StateFolder(folder / "state", NodeId("n1"), Syncing(SYNC_THREADS))) as state:
        disk = state.new_disk()
        disk.start()
        rows = list(artifacts(2 * small, SMALL))
        each = sorted(await store_in_turn(disk, rows[small:]))
        report("4 KB and its head, one at a time, p50", each[len(each) // 2] * 1_000, "ms")
        report(f"{small:,} x 4 KB", small / await store(disk, rows[:small]), "1/s")
        taken = await store(disk, list(artifacts(small, FILED)))
        report(f"{small:,} x 20 KB, as files", small / taken, "1/s")
        taken = await publish(disk, list(artifacts(published, SMALL - 1)))
        report(f"publication of {published:,} artifacts, into local/", published / taken, "1/s")
        await trio.to_thread.run_sync(disk.stop)


def write_source(folder: Path, count: int) -> None:
    """Policies for everybody."""
    folder.mkdir()
    lines = ["schema = 1"]
    for number in range(count):
        (folder / f"qos-{number}").write_bytes(os.urandom(SMALL))
        lines += ["[[artifact]]", 'type = "qos_policy_bundle"']
        lines += [f'namespace = "qos/bench-{number}"', f'file = "qos-{number}"']
    (folder / "fabric.toml").write_text("\n".join(lines) + "\n")


def measure_daemons(folder: Path, published: int) -> None:
    """What an operator waits for."""
    fabric = Fabric(folder / "fabric")
    try:
        fabric.create("demo-bench", "c1", ROWS)
        fabric.start(30)
        write_source(fabric.source, published)
        start = time.monotonic()
        publication = fabric.publish("benchmark")
        report(f"publish {published:,} artifacts: handed over", time.monotonic() - start, "s")
        began = min(publication.began.values())
        fabric.wait_for(publication, ARRIVAL_S)
        report(f"publish {published:,} artifacts: applied by all", time.time() - began, "s")
    finally:
        fabric.stop()


def main() -> None:
    """Run every case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--daemons", action="store_true", help="also with two daemons")
    arguments = parser.parse_args()
    small, published = (100, 500) if arguments.quick else (1_000, 5_000)
    folder = Path(tempfile.mkdtemp(prefix="fabgossip-store-"))
    try:
        report("fsync of 4 KiB, p50", fsync_ms(folder), "ms")
        trio.run(measure_disk, folder, small, published)
        if arguments.daemons:
            measure_daemons(folder, published)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
