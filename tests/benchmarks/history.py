"""A real document's history through a live fabric of seven daemons: what its increments cost, and
how those catch up that slept, or whose copy was damaged.

Prints one JSON line per case, `{"peer", "case", "value", "unit"}`. Ends with 1 where a file differs
from the original in the end, or where a node did not catch up the way it should have.

    .venv/bin/python -m tests.benchmarks.history ARCHIVE

ARCHIVE is a tar archive of the versions, oldest first by name. All but the first come as
increments, one as soon as all have the one before; two storage nodes and five readers follow.
`sleeper` misses nearly as many as a chain may span, `long-sleeper` more than that, and a byte of
what `damaged` holds is changed.
"""

import argparse
import shutil
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

from fabgossip.cli.fabric import Fabric, Node
from fabgossip.control.enrollment import NodeRow
from fabgossip.model.messages import CHAIN_STEPS_MAX
from fabgossip.storage.contents import OBJECTS
from tests.benchmarks.fetch import report

NAMESPACE: Final = "snapshots/role/edge"
FILE: Final = "document"
STORES: Final = ("store-1", "store-2")
READERS: Final = ("reader-1", "reader-2", "sleeper", "long-sleeper", "damaged")
WITHIN_S: Final = 60.0
SLEPT: Final = 60
ASLEEP: Final = {
    "sleeper": range(20, 20 + SLEPT),
    "long-sleeper": range(15, 15 + CHAIN_STEPS_MAX + 10),
}
"""Who sleeps, from after which version until after which."""
DAMAGED_AT: Final = 50
HOW: Final = {
    "sleeper": ("assembled", SLEPT),
    "long-sleeper": ("too_long", None),
    "damaged": ("base_damaged", None),
}
"""How a node has to catch up: outcome of its chain, and steps where it is made of them."""


def rows() -> tuple[NodeRow, ...]:
    """Who there is."""
    stores = (
        NodeRow(node_id=name, addresses=(), peer_class="core", roles=roles, stores=("cluster",))
        for name, roles in zip(STORES, (("control-endpoint",), ()), strict=True)
    )
    readers = (NodeRow(node_id=name, addresses=(), roles=("edge",)) for name in READERS)
    return (*stores, *readers)


def versions_in(archive: Path) -> list[bytes]:
    """Every file of the archive, by name."""
    with tarfile.open(archive) as opened:
        members = sorted((one for one in opened if one.isfile()), key=lambda one: one.name)
        files = [opened.extractfile(one) for one in members]
        return [file.read() for file in files if file is not None]


class History:
    """One document, published version by version."""

    def __init__(self, fabric: Fabric, versions: list[bytes]) -> None:
        self._fabric = fabric
        self._versions = versions
        self._asleep: set[str] = set()
        self._ways: dict[str, tuple[object, object]] = {}
        self._increment_bytes = 0

    @property
    def _namespace(self) -> str:
        return f"{self._fabric.prefix}/{NAMESPACE}"

    def run(self) -> bool:
        """Publish all of it; whether all went as it has to."""
        self._publish(1)
        awake = self._fabric.node("reader-1")
        before, began = sum(awake.received_bytes().values()), time.monotonic()
        for number in range(2, len(self._versions) + 1):
            self._publish(number)
        took_s = time.monotonic() - began
        whole = sum(map(len, self._versions[1:]))
        received = sum(awake.received_bytes().values()) - before
        count = len(self._versions) - 1
        report("increments with their manifests", self._increment_bytes / count, "bytes each")
        report("beside whole snapshots", 100 * self._increment_bytes / whole, "%")
        report("all that one who follows received, beside", 100 * received / whole, "%")
        report("from a publication until all have it", 1_000 * took_s / count, "ms")
        return self._is_as_it_has_to_be()

    def _publish(self, number: int) -> None:
        (self._fabric.source / FILE).write_bytes(self._versions[number - 1])
        publication = self._fabric.publish(f"version {number}")
        self._increment_bytes += publication.increment_bytes
        self._fabric.wait_for(publication, WITHIN_S, tuple(self._asleep))
        if number == DAMAGED_AT + 1:
            self._note("damaged")
        for name, span in ASLEEP.items():
            node = self._fabric.node(name)
            if number == span.start:
                node.stop()
                self._asleep.add(name)
            elif number == span.stop:
                self._asleep.discard(name)
                node.start()
                node.wait_ready(WITHIN_S)
                self._fabric.wait_for(publication, WITHIN_S, tuple(self._asleep))
                self._note(name)
        if number == DAMAGED_AT:
            self._damage(self._fabric.node("damaged"))

    def _damage(self, node: Node) -> None:
        name = self._fabric.content_hash_of(self._namespace)
        path = node.folder / "state" / OBJECTS / name[:2] / name
        path.chmod(0o600)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    def _note(self, name: str) -> None:
        chain = self._fabric.node(name).get(f"/v1/why?namespace={quote(self._namespace)}")["chain"]
        assert isinstance(chain, dict), f"{name} never thought of increments"
        steps = chain["steps"] if chain["outcome"] == "assembled" else None
        self._ways[name] = (chain["outcome"], steps)

    def _is_as_it_has_to_be(self) -> bool:
        for name, (outcome, steps) in self._ways.items():
            said = f"{name} ({outcome})"
            report(f"{said}, increments it was made of", float(str(steps or 0)), "increments")
        same = [
            self._fabric.node(name).local(self._namespace).joinpath("settings").read_bytes()
            == self._versions[-1]
            for name in READERS
        ]
        report("readers whose file equals the original", sum(same), f"of {len(same)}")
        return all(same) and self._ways == HOW


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive", metavar="ARCHIVE", type=Path)
    versions = versions_in(parser.parse_args().archive)
    folder = Path(tempfile.mkdtemp(prefix="fabgossip-bench-"))
    fabric = Fabric(folder)
    try:
        fabric.create("demo-bench", "c1", rows())
        fabric.source.mkdir(exist_ok=True)
        (fabric.source / "fabric.toml").write_text(
            'schema = 1\n[[artifact]]\ntype = "cluster_snapshot"\n'
            f'namespace = "{NAMESPACE}"\nfile = "{FILE}"\nincrements = true\n'
        )
        fabric.start(WITHIN_S)
        return 0 if History(fabric, versions).run() else 1
    finally:
        fabric.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
