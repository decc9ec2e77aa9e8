"""What a crash leaves on a disk: all that was reported, and of the rest each file by itself."""

from fabgossip.core.events import Started
from fabgossip.model.artifact import Order, VerifiedManifest
from fabgossip.model.ids import ContentHash
from fabgossip.sim.disk import COSTS, Local, SimDisk
from fabgossip.sim.streams import Stream
from fabgossip.sim.trace import Happened, Kind, world_event
from fabgossip.sim.world import World


class Nobody:
    """Hears nothing."""

    def durable_manifest(self, index: int, verified: VerifiedManifest, floor: Order) -> None:
        """See `DiskTap`."""

    def durable_content(self, index: int, content_hash: ContentHash) -> None:
        """See `DiskTap`."""

    def materialized(self, index: int, namespace: str, local: Local) -> None:
        """See `DiskTap`."""


NAMES = [ContentHash(bytes([number]) * 32) for number in range(4)]


def done(_ok: bool) -> Happened:  # noqa: FBT001  # as the disk calls it
    return world_event(Kind.DISK)


def left_by_a_crash(seed: int) -> int:
    """How many of two files under way landed; the two before them were reported."""
    world = World()
    disk = SimDisk(world, 1, COSTS["ssd"], Nobody(), Stream(seed), {})
    disk.store(NAMES[0], b"first", done)
    world.run(10**8, lambda *_: None)
    first, *rest = NAMES
    disk.store(rest[0], b"alone", done)
    for name in rest[1:]:
        disk.store(name, b"together", done)
    world.run(world.now_ns + 3_000_000, lambda *_: None)
    disk.crash()
    assert {first, rest[0]} <= set(disk.contents)
    return len(disk.contents) - 2


def test_files_under_way_land_each_by_its_own_chance() -> None:
    assert {left_by_a_crash(seed) for seed in range(64)} == {0, 1, 2}


def test_a_wiped_disk_knows_nothing() -> None:
    world = World()
    disk = SimDisk(world, 1, COSTS["instant"], Nobody(), Stream(1), {})
    disk.store(NAMES[0], b"first", done)
    world.run(10**8, lambda *_: None)
    disk.started()
    disk.wipe()
    assert disk.contents == {}
    found = disk.started()
    assert isinstance(found, Started)
    assert (found.heads, found.floors, found.memory.generation) == ((), (), 1)
