"""What a fetch costs between two daemon processes: durable, verified, over mutual TLS on loopback.

Prints one JSON line per case, `{"peer", "case", "value", "unit"}`. Run it beside another system's
in one sitting and quote the ratio: absolute figures on shared machines are noise.

    .venv/bin/python tests/benchmarks/fetch.py [--quick]

The receiving node stores on demand, so nothing arrives before it is asked for. Counted is the time
from the local request to its answer, which is given after the index commit returned; the cases
that say so are asked by a third process over the status socket.
"""

import argparse
import json
import os
import shutil
import tempfile
import threading
import time
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import trio

from fabgossip.cli.client import StatusClient
from fabgossip.cli.fabric import Fabric, Node
from fabgossip.control.enrollment import NodeRow
from fabgossip.core.catalog import HeadState
from fabgossip.core.effects import Outcome
from fabgossip.core.events import FetchRequest
from fabgossip.daemon.config import LogTable, read_config
from fabgossip.daemon.driver import Driver
from fabgossip.daemon.service import Environment, open_daemon
from fabgossip.daemon.systemd import NotifyEnvironment
from fabgossip.daemon.views import package_version
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import ContentCap
from fabgossip.model.ids import ContentHash

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
    folder.mkdir(exist_ok=True)
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
    parser.add_argument("--quick", action="store_true", help="fewer small contents, no large ones")
    quick = parser.parse_args().quick
    small = 100 if quick else 1_000
    cases = dict.fromkeys(("warm", "turn", "many", "batch", "asked", "crowd"), (small, 4_096))
    if not quick:
        cases |= {"piece": (16, 16 * MIB), "whole": (1, 256 * MIB)}
    folder = Path(tempfile.mkdtemp(prefix="fabgossip-bench-"))
    fabric = Fabric(folder)
    try:
        fabric.create("demo-bench", "c1", ROWS, CAPS)
        receiver = fabric.node("receiver")
        fabric.start(30)
        write_source(fabric.source, {})
        fabric.publish("nothing, on demand")  # a node that knows no rule holds all it may
        measure_idle(receiver)
        receiver.stop()
        write_source(fabric.source, cases)
        fabric.publish("benchmark")
        trio.run(measure_inside, receiver, sum(count for count, _ in cases.values()), cases)
        receiver.start()
        receiver.wait_ready(30)
        measure_socket(receiver, small)
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


def daemon_inside(node: Node) -> AbstractAsyncContextManager[Driver]:
    """The daemon of a node in this process; of its log only errors."""
    environment = Environment(
        notify=NotifyEnvironment(),
        log_to_terminal=False,
        entropy=os.urandom,
        wall=time.time,
        clock_is_synchronized=lambda: True,
    )
    config = read_config(node.folder / "fabgossip.toml", None)
    quiet = replace(config, table=replace(config.table, log=LogTable(level="error")))
    return open_daemon(quiet, environment)


async def measure_inside(node: Node, known: int, cases: dict[str, tuple[int, int]]) -> None:
    """This process is the receiving daemon: from the local request to its answer, nothing else."""
    async with daemon_inside(node) as driver:
        while len(hashes_inside(driver, "")) < known:  # noqa: ASYNC110  # before anything is timed
            await trio.sleep(0.1)
        small = cases["warm"][0]
        warm = sorted((await ask_in_turn(driver, hashes_inside(driver, "warm")))[small // 10 :])
        report("4 KB warm, p50", warm[len(warm) // 2] * 1_000, "ms")
        report("4 KB warm, p99", warm[len(warm) * 99 // 100] * 1_000, "ms")
        total = sum(await ask_in_turn(driver, hashes_inside(driver, "turn")))
        report(f"{small:,} x 4 KB in turn", small / total, "1/s")
        total = await ask_at_once(driver, hashes_inside(driver, "many"), 32)
        report(f"{small:,} x 4 KB, 32 at a time", small / total, "1/s")
        total = await ask_at_once(driver, hashes_inside(driver, "batch"), small)
        report(f"{small:,} x 4 KB, all at once", small / total, "1/s")
        if "whole" in cases:
            total = sum(await ask_in_turn(driver, hashes_inside(driver, "whole")))
            report("one 256 MiB", 256 * MIB / total / 1e6, "MB/s")
            total = await ask_at_once(driver, hashes_inside(driver, "piece"), 4)
            report("16 x 16 MiB, 4 at a time", 256 * MIB / total / 1e6, "MB/s")


def hashes_inside(driver: Driver, name: str) -> list[ContentHash]:
    """The content hashes of one case, as this daemon knows them."""
    heads = driver.node.view.heads_after("", 1_000_000)
    return [
        one.manifest.content_hash
        for one in heads
        if f"/services/bench/{name}" in one.manifest.namespace.text and one.state is HeadState.KNOWN
    ]


async def ask(driver: Driver, content_hash: ContentHash) -> float:
    """Fetch one content; gives the seconds from request to answer."""
    start = time.perf_counter()
    body = FetchRequest(content_hash=content_hash, namespace=None, timeout_ms=120_000)
    answer = await driver.ask(driver.next_request(), body)
    assert answer.outcome is Outcome.HELD, answer
    return time.perf_counter() - start


async def ask_in_turn(driver: Driver, hashes: list[ContentHash]) -> list[float]:
    """One after another; seconds of each."""
    return [await ask(driver, one) for one in hashes]


async def ask_at_once(driver: Driver, hashes: list[ContentHash], workers: int) -> float:
    """`workers` tasks draw from one list; seconds for all."""
    pending = iter(hashes)

    async def work() -> None:
        for content_hash in pending:
            await ask(driver, content_hash)

    start = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(workers):
            nursery.start_soon(work)
    return time.perf_counter() - start


def measure_socket(receiver: Node, small: int) -> None:
    """The same asked by another process over the status socket, as `fabgossip fetch` does."""
    total, _ = in_turn(receiver, hashes_of(receiver, "asked"))
    report(f"{small:,} x 4 KB in turn, asked over the status socket", small / total, "1/s")
    total = at_once(receiver, hashes_of(receiver, "crowd"), 32)
    report(f"{small:,} x 4 KB, 32 at a time, asked over the status socket", small / total, "1/s")
    resident, _ = usage(receiver)
    report("after all that, resident", resident, "MiB")


if __name__ == "__main__":
    main()
