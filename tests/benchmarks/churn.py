"""Whether memory stays flat: daemons that are published to, killed, wiped and linked anew for long.

Prints one JSON line per case, `{"peer", "case", "value", "unit"}`: the resident memory of each
daemon that is never restarted, when the warm-up is over and at the end, and the slope between the
two by least squares.

    .venv/bin/python -m tests.benchmarks.churn [--minutes 60] [--every 5]

Two storage nodes and a reader run throughout. Every few seconds a new version of five documents is
published, one of them in chunks, one as an increment; in turn one of two other readers is killed,
every other time with its disk, and started again. The first sixth is warm-up.
"""

import argparse
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from fabgossip.cli.fabric import Fabric
from fabgossip.control.enrollment import NodeRow
from tests.benchmarks.fetch import report, usage

STEADY = ("store-1", "store-2", "reader-1")
CHURNED = ("reader-2", "reader-3")
START_S = 60.0
ARRIVAL_S = 60.0
WARM_UP = 6
"""One part in so many is not counted."""
CHURN_EVERY = 4
"""Publications between two deaths."""
DOCUMENTS = (
    ("route_policy_bundle", "routes/core", 4_096, False),
    ("service_assignment_bundle", "services/dns", 40_000, False),
    ("qos_policy_bundle", "qos/default", 600, False),
    ("route_policy_bundle", "routes/large", 3 << 20, False),
    ("cluster_snapshot", "snapshots/role/edge", 200_000, True),
)


def rows() -> tuple[NodeRow, ...]:
    """Who there is."""
    stores = (
        NodeRow(node_id=name, addresses=(), peer_class="core", roles=roles, stores=("cluster",))
        for name, roles in (("store-1", ("control-endpoint",)), ("store-2", ()))
    )
    readers = (
        NodeRow(node_id=name, addresses=(), services=("dns",), roles=("edge",))
        for name in ("reader-1", *CHURNED)
    )
    return (*stores, *readers)


def write(folder: Path, chance: random.Random) -> None:
    """A new version of every document; of what has increments a few bytes differ."""
    lines = ["schema = 1"]
    for kind, namespace, size, has_increments in DOCUMENTS:
        file = folder / namespace.replace("/", "-")
        if has_increments and file.exists():
            content = bytearray(file.read_bytes())
            start = chance.randrange(size - 100)
            content[start : start + 100] = chance.randbytes(100)
        else:
            content = bytearray(chance.randbytes(size))
        file.write_bytes(content)
        lines += [
            "[[artifact]]",
            f'type = "{kind}"',
            f'namespace = "{namespace}"',
            f'file = "{file.name}"',
            f"increments = {str(has_increments).lower()}",
        ]
    (folder / "fabric.toml").write_text("\n".join(lines) + "\n")


def churn(fabric: Fabric, number: int) -> None:
    """One reader dies, and is back, with or without what it had."""
    node = fabric.node(CHURNED[number % len(CHURNED)])
    node.kill()
    if number // len(CHURNED) % 2:
        shutil.rmtree(node.folder / "state")
    node.start()
    node.wait_ready(START_S)


def told(samples: list[tuple[float, dict[str, float]]]) -> None:
    """What became of the memory of each."""
    for name in STEADY:
        hours = [at / 3_600 for at, _ in samples]
        resident = [found[name] for _, found in samples]
        slope = statistics.linear_regression(hours, resident).slope
        report(f"{name}, resident after the warm-up", resident[0], "MiB")
        report(f"{name}, resident at the end", resident[-1], "MiB")
        report(f"{name}, slope", slope, "MiB/h")


def main() -> None:
    """Publish, kill, and look."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between publications")
    given = parser.parse_args()
    if given.minutes * 60 < WARM_UP * given.every:
        parser.error(f"--minutes: too few for a slope; at least {WARM_UP} times --every")
    folder = Path(tempfile.mkdtemp(prefix="fabgossip-bench-"))
    fabric, chance = Fabric(folder), random.Random(1)
    samples: list[tuple[float, dict[str, float]]] = []
    try:
        fabric.create("demo-bench", "c1", rows())
        fabric.source.mkdir(exist_ok=True)
        fabric.start(START_S)
        began, number = time.monotonic(), 0
        while (passed := time.monotonic() - began) < given.minutes * 60:
            write(fabric.source, chance)
            publication = fabric.publish(f"version {number}")
            fabric.wait_for(publication, ARRIVAL_S)
            if number % CHURN_EVERY == 0:
                churn(fabric, number // CHURN_EVERY)
            if passed > given.minutes * 60 / WARM_UP:
                samples.append((passed, {name: usage(fabric.node(name))[0] for name in STEADY}))
            number += 1
            time.sleep(max(0.0, began + number * given.every - time.monotonic()))
        report("publications of five documents", number, "times")
        told(samples)
    finally:
        fabric.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
