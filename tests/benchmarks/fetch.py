"""What a fetch costs between two daemon processes: durable, verified, over mutual TLS on loopback.

Prints one JSON line per case, `{"peer", "case", "value", "unit"}`. Run it beside another system's
in one sitting and quote the ratio: absolute figures on shared machines are noise.

    .venv/bin/python tests/benchmarks/fetch.py [--quick]

The receiving node stores on demand, so nothing arrives before it is asked for; every fetch is
asked over its status socket and answered after its index commit returned.
"""

import argparse
import json
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

from fabgossip.cli.client import StatusClient
from fabgossip.cli.fabric import Fabric, Node
from fabgossip.control.enrollment import NodeRow
from fabgossip.daemon.views import package_version
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import ContentCap

MIB = 1 << 20
CAPS = (ContentCap(artifact_type=ArtifactType.SERVICE_ASSIGNMENT_BUNDLE, size_max=256 * MIB),)
ROWS = (
    NodeRow(
        node_id="origin",
        addresses=(),
        peer_class="core",
        roles=("control-endpoint",),
        stores=("cluster",),
    ),
    NodeRow(node_id="receiver", addresses=(), peer_class="core", stores=("cluster",)),
)
IDLE_S = 10.0


def report(case: str, value: float, unit: str) -> None:
    """One line in the common format."""
    line = {
        "peer": f"fabgossip {package_version()}",
        "case": case,
        "value": round(value, 2),
        "unit": unit,
    }
    print(json.dumps(line), flush=True)


def write_source(folder: Path, cases: dict[str, tuple[int, int]]) -> None:
    """`cases`: name to count and bytes of random contents."""
    folder.mkdir()
    lines = ["schema = 1"]
    for name, (count, size) in cases.items():
        for number in range(count):
            file = f"{name}-{number}"
            (folder / file).write_bytes(os.urandom(size))
            lines += [
                "[[artifact]]",
                'type = "service_assignment_bundle"',
                f'namespace = "services/bench/{file}"',
                f'file = "{file}"',
            ]
    lines += ["[[replication]]", 'type = "service_assignment_bundle"', "on_demand = true"]
    (folder / "fabric.toml").write_text("\n".join(lines) + "\n")


def hashes_of(node: Node, name: str) -> list[str]:
    """The content hashes of one case, as the receiver knows them."""
    return [
        str(one["content_hash"])
        for one in node.items()
        if f"/services/bench/{name}-" in str(one["namespace"])
    ]


def wait_until_known(node: Node, count: int) -> None:
    """Manifests travel by themselves; contents only when asked for."""
    while sum("/services/bench/" in str(one["namespace"]) for one in node.items()) < count:
        time.sleep(0.2)


def fetch(client: StatusClient, content_hash: str) -> float:
    """Fetch one content; gives the seconds it took."""
    start = time.perf_counter()
    reply = client.post(f"/v1/fetch?content_hash={content_hash}&timeout_ms=120000")
    assert reply.code == 200, reply
    return time.perf_counter() - start


def in_turn(node: Node, hashes: list[str]) -> tuple[float, list[float]]:
    """One after another over one connection: all seconds, and each."""
    client = StatusClient(node.socket, timeout_s=120)
    start = time.perf_counter()
    each = [fetch(client, one) for one in hashes]
    return time.perf_counter() - start, each


def at_once(node: Node, hashes: list[str], workers: int) -> float:
    """`workers` connections draw from one list; seconds for all."""
    pending = iter(hashes)
    lock = threading.Lock()

    def work() -> None:
        client = StatusClient(node.socket, timeout_s=120)
        while True:
            with lock:
                content_hash = next(pending, None)
            if content_hash is None:
                return
            fetch(client, content_hash)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    start = time.perf_counter()
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return time.perf_counter() - start


def usage(node: Node) -> tuple[float, float]:
    """Resident MiB and processor seconds of a daemon, as the kernel counts them."""
    status = Path(f"/proc/{node.pid}/status").read_text()
    resident = next(
        int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")
    )
    fields = Path(f"/proc/{node.pid}/stat").read_text().rsplit(")", 1)[1].split()
    ticks = int(fields[11]) + int(fields[12])
    return resident / 1024, ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Run every case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the small contents, no large ones"
    )
    quick = parser.parse_args().quick
    small = 100 if quick else 1_000
    cases = {"warm": (small, 4_096), "turn": (small, 4_096), "many": (small, 4_096)}
    if not quick:
        cases |= {"piece": (16, 16 * MIB), "whole": (1, 256 * MIB)}
    folder = Path(tempfile.mkdtemp(prefix="fabgossip-bench-"))
    fabric = Fabric(folder)
    try:
        fabric.create("demo-bench", "c1", ROWS, CAPS)
        fabric.start(30)
        receiver = fabric.node("receiver")
        measure_idle(receiver)
        write_source(fabric.source, cases)
        fabric.publish("benchmark")
        wait_until_known(receiver, sum(count for count, _ in cases.values()))
        measure(receiver, small, quick=quick)
    finally:
        fabric.stop()
        shutil.rmtree(folder, ignore_errors=True)


def measure_idle(node: Node) -> None:
    """A daemon with its links open and nothing to do."""
    time.sleep(2)
    _, before = usage(node)
    time.sleep(IDLE_S)
    resident, after = usage(node)
    report("idle, resident", resident, "MiB")
    report("idle, processor", (after - before) / IDLE_S * 100, "%")


def measure(receiver: Node, small: int, *, quick: bool) -> None:
    """The transfers."""
    _, each = in_turn(receiver, hashes_of(receiver, "warm"))
    warm = sorted(each[len(each) // 10 :])
    report("4 KB warm, p50", warm[len(warm) // 2] * 1_000, "ms")
    report("4 KB warm, p99", warm[len(warm) * 99 // 100] * 1_000, "ms")
    total, _ = in_turn(receiver, hashes_of(receiver, "turn"))
    report(f"{small:,} x 4 KB in turn", small / total, "1/s")
    report(
        f"{small:,} x 4 KB, 32 at a time",
        small / at_once(receiver, hashes_of(receiver, "many"), 32),
        "1/s",
    )
    if quick:
        return
    total, _ = in_turn(receiver, hashes_of(receiver, "whole"))
    report("one 256 MiB", 256 * MIB / total / 1e6, "MB/s")
    total = at_once(receiver, hashes_of(receiver, "piece"), 4)
    report("16 x 16 MiB, 4 at a time", 256 * MIB / total / 1e6, "MB/s")
    resident, _ = usage(receiver)
    report("after all that, resident", resident, "MiB")


if __name__ == "__main__":
    main()
