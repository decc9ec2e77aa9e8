"""How long local software waits for an answer of the status socket.

Prints one JSON line per case, `{"peer", "case", "value", "unit"}`; wanted: 99 in 100 questions for
the state of one artifact within 1 ms.

    .venv/bin/python -m tests.benchmarks.asking [--questions 20000]

One daemon, one client, one kept-alive connection; `health`, which looks at nothing, is what socket,
HTTP and JSON cost by themselves. State lies below `TMPDIR`.
"""

import argparse
import shutil
import tempfile
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from fabgossip.cli.client import StatusClient
from fabgossip.cli.fabric import Fabric, percentile
from tests.benchmarks.fetch import report
from tests.benchmarks.spread import ARRIVAL_S, START_S, rows_of, write_source


def ask(client: StatusClient, target: str, count: int) -> list[float]:
    """Milliseconds of each question."""
    took = []
    for _ in range(count):
        begun = time.perf_counter()
        reply = client.get(target)
        took.append((time.perf_counter() - begun) * 1_000)
        assert reply.code == 200
    return took


def main() -> None:
    """Ask for the state of one artifact, and for nothing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--questions", type=int, default=20_000)
    count = parser.parse_args().questions
    folder = Path(tempfile.mkdtemp(prefix="fg-"))
    fabric = Fabric(folder)
    try:
        fabric.create("demo-bench", "c1", rows_of(5)[:2])
        write_source(fabric.source)
        (fabric.source / "qos").write_text("some policy\n", "utf-8")
        fabric.start(START_S)
        fabric.wait_for(fabric.publish("benchmark"), ARRIVAL_S)
        name = quote(f"{fabric.prefix}/qos/default")
        with closing(StatusClient(fabric.nodes[0].socket)) as client:
            for case, target in (
                ("health", "/v1/health"),
                ("state of one artifact", f"/v1/artifacts?namespace={name}"),
            ):
                ask(client, target, count // 10)
                took = ask(client, target, count)
                report(f"{case}, p50", percentile(took, 50), "ms")
                report(f"{case}, p99", percentile(took, 99), "ms")
    finally:
        fabric.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
