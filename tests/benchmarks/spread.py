"""How long one publication takes to the last of many daemon processes: durable, verified, applied.

Prints one JSON line per case, `{"peer", "case", "value", "unit"}`; wanted: at most 150 ms.

    .venv/bin/python -m tests.benchmarks.spread [--nodes 32] [--publications 20]

All daemons are entitled to every publication, a policy of 4 KB. Counted is the time from handing it
to the first daemon until the log of the last one says that it is the local state. Nothing asks the
daemons anything meanwhile: on few cores that would be part of the figure. The second round stops
another daemon (SIGSTOP) just before each publication, when the others still count on it, and looks
at the others. State lies below `TMPDIR`: on a RAM disk fsync costs nothing, so say which it was.
"""

import argparse
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

from fabgossip.cli.fabric import Fabric, Node, percentile
from fabgossip.control.enrollment import NodeRow
from tests.benchmarks.fetch import report, usage

CONTENT_BYTES = 4_096
STORING = 4
"""Daemons that also store for others, the first of them is published to."""
START_S = 120.0
ARRIVAL_S = 60.0
SETTLED_S = 1.0
"""After this long a publication is everywhere, or is waited for by asking."""
IDLE_S = 10.0


def rows_of(count: int) -> tuple[NodeRow, ...]:
    """Storage nodes, the first of them the control endpoint, then nodes that only apply."""
    storing = [
        NodeRow(
            node_id=f"storage-{number}",
            addresses=(),
            peer_class="core",
            roles=() if number else ("control-endpoint",),
            stores=("cluster",),
        )
        for number in range(STORING)
    ]
    applying = [
        NodeRow(node_id=f"edge-{number}", addresses=(), zone=f"z{number % 3}")
        for number in range(count - STORING)
    ]
    return (*storing, *applying)


def write_source(folder: Path) -> None:
    """One policy, for everybody."""
    folder.mkdir()
    lines = ["schema = 1", "[[artifact]]", 'type = "qos_policy_bundle"']
    lines += ['namespace = "qos/default"', 'file = "qos"']
    (folder / "fabric.toml").write_text("\n".join(lines) + "\n")


def processor(fabric: Fabric) -> float:
    """Processor seconds of all daemons so far."""
    return sum(usage(node)[1] for node in fabric.nodes)


def spread(fabric: Fabric, hung: Node | None) -> float:
    """Publish a new version; gives the milliseconds to the last daemon that is not hung."""
    (fabric.source / "qos").write_bytes(os.urandom(CONTENT_BYTES))
    if hung is not None:
        hung.freeze()
    try:
        publication = fabric.publish("benchmark")
        time.sleep(SETTLED_S)
        fabric.wait_for(publication, ARRIVAL_S, () if hung is None else (hung.row.node_id,))
        delay = max(fabric.delays_ms(publication))
    finally:
        if hung is not None:
            hung.signal(signal.SIGCONT)
    fabric.wait_for(publication, ARRIVAL_S)
    return delay


def measure_idle(fabric: Fabric) -> None:
    """What all daemons together cost while nothing is published."""
    before = processor(fabric)
    time.sleep(IDLE_S)
    report("idle, all daemons, of one core", (processor(fabric) - before) / IDLE_S * 100, "%")
    resident = max(usage(node)[0] for node in fabric.nodes)
    report("idle, resident, largest daemon", resident, "MiB")


def measure_round(fabric: Fabric, case: str, hung: tuple[Node | None, ...]) -> None:
    """One publication for each of `hung`; what the processors do tells figures of a busy machine
    from those of one that is free."""
    before = processor(fabric)
    delays = [spread(fabric, one) for one in hung]
    report(f"{case}, p50", percentile(delays, 50), "ms")
    report(f"{case}, worst", max(delays), "ms")
    cost = (processor(fabric) - before) / len(delays)
    report(f"{case}, processor, all daemons, until it is settled", cost * 1_000, "ms")


def main() -> None:
    """Run every case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=32)
    parser.add_argument("--publications", type=int, default=20, help="of each round")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fg-"))
    fabric = Fabric(folder)
    try:
        fabric.create("demo-bench", "c1", rows_of(arguments.nodes))
        write_source(fabric.source)
        start = time.monotonic()
        fabric.start(START_S)
        ready = time.monotonic() - start
        report(f"{arguments.nodes} daemons started together, all ready", ready, "s")
        spread(fabric, None)
        measure_idle(fabric)
        case = f"4 KB to the last of {arguments.nodes} daemons"
        count, others = arguments.publications, fabric.nodes[1:]
        measure_round(fabric, case, (None,) * count)
        hung = tuple(others[number % len(others)] for number in range(count))
        measure_round(fabric, f"{case}, another hung", hung)
    finally:
        fabric.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
