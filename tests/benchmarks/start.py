"""How long a node needs to take up what its disk holds, and how much memory that takes.

Prints one JSON line per case, `{"peer", "case", "value", "unit"}`; wanted: 2 s and 200 MB with a
million artifacts.

    .venv/bin/python -m tests.benchmarks.start [--heads 10000]

Each head is a signed policy in a namespace of its own, its content of 600 bytes beside it. A first
process writes the state folder, a second one starts on it: imports, opening the folder, reading it,
and judging all of it by today's trust, which is everything before a daemon listens. State lies
below `TMPDIR`.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

BEGUN = time.perf_counter()

from fabgossip.core.config import NodeConfig  # noqa: E402  # imports are a part of a start
from fabgossip.core.node import Node  # noqa: E402
from fabgossip.core.setup import NodeSetup, OwnIdentity  # noqa: E402
from fabgossip.daemon.state import StateFolder  # noqa: E402
from fabgossip.model.artifact import ArtifactType  # noqa: E402
from fabgossip.model.ids import ArtifactId, NodeId  # noqa: E402
from fabgossip.model.persistence import PutHead  # noqa: E402
from fabgossip.storage.rows import PutContent, Row  # noqa: E402
from fabgossip.storage.syncing import Syncing  # noqa: E402
from fabgossip.trust.signatures import Ed25519Verifier  # noqa: E402
from tests.benchmarks.fetch import report  # noqa: E402
from tests.core.artifacts import sealed  # noqa: E402
from tests.core.story import boot_id, claims_of, pinned  # noqa: E402
from tests.trust import factory  # noqa: E402

OWN = NodeId("n1")
CONTENT_BYTES = 600
ROWS_AT_ONCE = 512


def rows(heads: int) -> Iterator[Row]:
    """Heads and contents."""
    for number in range(heads):
        manifest = factory.manifest(ArtifactType.QOS_POLICY_BUNDLE, f"qos/bench-{number}")
        manifest = replace(manifest, artifact_id=ArtifactId(f"a-{number}"))
        one = sealed(manifest, os.urandom(CONTENT_BYTES))
        yield PutHead(verified=one.verified)
        size = len(one.content)
        yield PutContent(content_hash=one.content_hash, size=size, inline=one.content)


def write(folder: Path, heads: int) -> None:
    """The state folder of a node that holds so many."""
    with closing(StateFolder(folder, OWN, Syncing())) as state:
        group: list[Row] = []
        for row in rows(heads):
            group.append(row)
            if len(group) == ROWS_AT_ONCE:
                state.index.commit(group)
                group.clear()
        state.index.commit(group)


def start(folder: Path) -> None:
    """Start on it."""
    imported = time.perf_counter()
    with closing(StateFolder(folder, OWN, Syncing())) as state:
        opened = time.perf_counter()
        started = state.begin(state.new_disk())
        read = time.perf_counter()
        own = OwnIdentity(
            node_id=OWN,
            claims=claims_of("n1", factory.OPENINGS, ("edge",)),
            openings=factory.OPENINGS,
            pinned=pinned(),
        )
        setup = NodeSetup(config=NodeConfig(), own=own, boot_id=boot_id("n1"), bootstrap=(), seed=1)
        node = Node(setup, Ed25519Verifier())
        node.handle(started, factory.BOTH_CLOCKS)
        judged = time.perf_counter()
        heads = len(started.heads)
        assert len(node.view.heads_after("", heads + 1)) == heads
    for case, begun, ended in (
        ("imports", BEGUN, imported),
        ("folder opened", imported, opened),
        ("index read", opened, read),
        ("judged", read, judged),
        ("in all", BEGUN, judged),
    ):
        report(f"start with {heads:,} heads: {case}", ended - begun, "s")
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    report(f"start with {heads:,} heads: most resident", resident, "MiB")


def main() -> None:
    """Write in one process, start in another."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--heads", type=int, default=10_000)
    parser.add_argument("--start", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.start is not None:
        start(arguments.start)
        return
    folder = Path(tempfile.mkdtemp(prefix="fabgossip-start-"))
    try:
        write(folder, arguments.heads)
        command = [sys.executable, "-m", "tests.benchmarks.start", "--start", str(folder)]
        subprocess.run(command, check=True)  # this very module
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
