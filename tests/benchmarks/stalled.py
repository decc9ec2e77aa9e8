"""What one dead source and one stalled one cost: fetches of 20 KB between daemons on loopback.

Four of five storage nodes hold each content, the control node among them, which is spared; one that
does not asks for one after the other. First all are well, then one of the others is killed and one
stopped in the same moment. Prints one JSON line per case, and how many requests it took for each
hundred contents. Until the silent one is shut out three contents wait for it: they are within the
last percent of 1,000, as many as are asked for in each part of 11,000. It gets a probe after 5 to
15 s: where the second part takes longer, one more waits.

    .venv/bin/python -m tests.benchmarks.stalled [--contents 11000]
"""

import argparse
import os
import shutil
import signal
import tempfile
from pathlib import Path

import trio

from fabgossip.cli.fabric import Fabric, Node
from fabgossip.control.enrollment import NodeRow
from fabgossip.core.attempts import CONNECT_FAILED, OPEN, SKIPPED
from fabgossip.core.catalog import HeadState
from fabgossip.core.wants import EndedWant
from fabgossip.daemon.driver import Driver
from fabgossip.model.artifact import VerifiedManifest
from tests.benchmarks.fetch import ask, daemon_inside, report

STORES = ("store-1", "store-2", "store-3")
HELD_BY = len(STORES) + 1
NOT_ASKED = frozenset({SKIPPED, OPEN, CONNECT_FAILED})
WARM = 100
"""Contents that are asked for before anything is measured."""
CONTENT_BYTES = 20 << 10
"""Too large to ride along with its announcement, and hedged."""


def rows() -> tuple[NodeRow, ...]:
    """The control node hands out; the receiver may hold anything as well."""
    control = NodeRow(
        node_id="origin",
        addresses=(),
        peer_class="core",
        roles=("control-endpoint",),
        stores=("cluster",),
    )
    others = (
        NodeRow(node_id=name, addresses=(), peer_class="core", stores=("cluster",))
        for name in (*STORES, "receiver")
    )
    return (control, *others)


def write_source(folder: Path, count: int) -> None:
    """So many random contents, each held by four of the five storage nodes."""
    folder.mkdir(exist_ok=True)
    lines = ["schema = 1"]
    for number in range(count):
        name = f"content-{number}"
        (folder / name).write_bytes(os.urandom(CONTENT_BYTES))
        lines += [
            "[[artifact]]",
            'type = "service_assignment_bundle"',
            f'namespace = "services/bench/{name}"',
            f'file = "{name}"',
        ]
    rule = f'type = "service_assignment_bundle"\nreplicas = {HELD_BY}'
    (folder / "fabric.toml").write_text("\n".join([*lines, "[[replication]]", rule]) + "\n")


def wanted_of(driver: Driver) -> list[VerifiedManifest]:
    """What the receiver knows of and does not hold by duty."""
    heads = driver.node.view.heads_after("", 1_000_000)
    return [
        one.verified
        for one in heads
        if "/services/bench/" in one.manifest.namespace.text and one.state is HeadState.KNOWN
    ]


async def series(driver: Driver, case: str, wanted: list[VerifiedManifest]) -> None:
    """Fetch one after the other, and say what that took."""
    took, tries = [], 0
    for verified in wanted:
        took.append(await ask(driver, verified.manifest.content_hash))
        ended = driver.node.view.want_of(verified)
        assert isinstance(ended, EndedWant)
        tries += sum(one.outcome not in NOT_ASKED for one in ended.attempts)
    took.sort()
    report(f"{case}, p50", took[len(took) // 2] * 1_000, "ms")
    report(f"{case}, p99", took[len(took) * 99 // 100] * 1_000, "ms")
    report(f"{case}, worst", took[-1] * 1_000, "ms")
    report(f"{case}, requests", 100 * tries / len(wanted), "per 100 contents")


async def measure(receiver: Node, stores: list[Node], count: int) -> None:
    """This process is the receiving daemon."""
    async with daemon_inside(receiver) as driver:
        before = -1
        while (known := len(wanted_of(driver))) != before or known < count // 10:
            before = known
            await trio.sleep(2)
        for one in wanted_of(driver)[:WARM]:
            await ask(driver, one.manifest.content_hash)
        wanted = wanted_of(driver)
        well = len(wanted) // 2  # so many that what the disk alone is late with shows in both
        await series(driver, "all well", wanted[:well])
        stores[0].kill()
        stores[1].freeze()
        try:
            await series(driver, "one dead, one stalled", wanted[well:])
        finally:
            stores[1].signal(signal.SIGCONT)


def main() -> None:
    """Run both series."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--contents", type=int, default=11_000, help="to publish; a fifth is asked for"
    )
    count = parser.parse_args().contents
    folder = Path(tempfile.mkdtemp(prefix="fabgossip-bench-"))
    fabric = Fabric(folder)
    try:
        fabric.create("demo-bench", "c1", rows(), ())
        fabric.start(60)
        receiver = fabric.node("receiver")
        write_source(fabric.source, 0)  # a node that knows no rule yet holds whatever it may
        fabric.wait_for(fabric.publish("the rule"), 30)
        receiver.stop()
        write_source(fabric.source, count)
        fabric.publish("benchmark")
        trio.run(measure, receiver, [fabric.node(name) for name in STORES], count)
    finally:
        fabric.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
