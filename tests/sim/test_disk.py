"""What a crash leaves on a disk: all that was reported, and of the rest each file by itself."""

import pytest

from fabgossip.core.effects import Persist
from fabgossip.core.events import Started, Token
from fabgossip.model.artifact import ArtifactType, Order, VerifiedManifest
from fabgossip.model.ids import ContentHash
from fabgossip.model.persistence import Change, PutHead
from fabgossip.sim.ailments import Ailment
from fabgossip.sim.disk import COSTS, SimDisk
from fabgossip.sim.kept import Kept, Local
from fabgossip.sim.quantities import PPM
from fabgossip.sim.streams import Stream
from fabgossip.sim.trace import Happened, Kind, world_event
from fabgossip.sim.world import World
from tests.core.artifacts import artifact, routes


class Nobody:
    """Hears nothing."""

    def durable_manifest(self, index: int, verified: VerifiedManifest, floor: Order) -> None:
        """See `DiskTap`."""

    def durable_content(self, index: int, content_hash: ContentHash) -> None:
        """See `DiskTap`."""

    def committed(self, index: int, changes: tuple[Change, ...]) -> None:
        """See `DiskTap`."""

    def removed(self, index: int, content_hash: ContentHash, *, is_damaged: bool) -> None:
        """See `DiskTap`."""

    def fell_back(self, index: int, kept: Kept) -> None:
        """See `DiskTap`."""

    def materialized(self, index: int, namespace: str, local: Local) -> None:
        """See `DiskTap`."""


NAMES = [ContentHash(bytes([number]) * 32) for number in range(4)]


def done(_ok: bool) -> Happened:  # noqa: FBT001  # as the disk calls it
    return world_event(Kind.DISK)


LONG = bytes(range(256)) * 100
"""Six sectors and a bit."""


def left_by_a_crash(seed: int) -> tuple[set[int | None], int]:
    """What lies under the names of two files that were under way, and how many rows of them the
    index has; the two before them were reported."""
    world = World()
    disk = SimDisk(world, 1, COSTS["ssd"], Nobody(), Stream(seed), {})
    first, *rest = NAMES
    disk.store(first, b"first", done)
    world.run(10**8, lambda *_: None)
    disk.store(rest[0], b"alone", done)
    for name in rest[1:]:
        disk.store(name, LONG, done)
    world.run(world.now_ns + 2_500_000, lambda *_: None)
    disk.crash()
    assert {first, rest[0]} <= set(disk.sizes)
    left = [disk.contents.get(name) for name in rest[1:]]
    assert all(one is None or LONG.startswith(one) for one in left)
    return {None if one is None else len(one) for one in left}, len(disk.sizes) - 2


def test_of_what_is_under_way_the_index_has_all_or_nothing_and_files_are_torn_at_sectors() -> None:
    found = [left_by_a_crash(seed) for seed in range(200)]
    assert {rows for _, rows in found} == {0, 2}
    assert all(lengths == {len(LONG)} for lengths, rows in found if rows), "files come first"
    torn = {size for lengths, rows in found if not rows for size in lengths}
    assert torn == {None, *range(0, len(LONG), 4_096), len(LONG)}


def keeper(*, seed: int = 1, costs: str = "instant") -> tuple[World, SimDisk]:
    """A disk with one small and one long content that some head names."""
    world = World()
    return world, SimDisk(world, 1, COSTS[costs], Nobody(), Stream(seed), {})


def settle(world: World) -> None:
    world.run(world.now_ns + 10**8, lambda *_: None)


FILES = [
    artifact(ArtifactType.ROUTE_POLICY_BUNDLE, f"routes/r{number}", content=bytes([number]) + LONG)
    for number in range(24)
]


def test_a_file_cut_short_is_dropped_by_its_size_when_a_process_starts() -> None:
    world, disk = keeper()
    one = FILES[0]
    disk.persist(Persist(token=Token(1), changes=(PutHead(verified=one.verified),)), done)
    disk.store(one.content_hash, one.content, done)
    settle(world)
    assert [row.held_bytes for row in disk.started().heads] == [len(one.content)]
    disk.contents[one.content_hash] = one.content[:8_192]
    assert [row.held_bytes for row in disk.started().heads] == [None]
    assert disk.read(one.content_hash) is None


def fallen(*, is_of_files: bool) -> SimDisk:
    """After it lied of two dozen files and their heads, one before, and a crash."""
    world, disk = keeper(seed=5)
    for number, one in enumerate(FILES):
        if number == 1:
            settle(world)
            disk.lie(is_of_files=is_of_files)
        disk.persist(Persist(token=Token(1), changes=(PutHead(verified=one.verified),)), done)
        disk.store(one.content_hash, one.content, done)
    settle(world)
    assert len(disk.heads) == len(disk.contents) == len(FILES)
    disk.crash()
    return disk


def test_a_disk_that_lied_of_everything_has_what_it_had_before() -> None:
    disk = fallen(is_of_files=False)
    assert list(disk.heads) == [FILES[0].manifest.namespace.text]
    assert list(disk.contents) == [FILES[0].content_hash]


def test_a_disk_that_lied_of_files_has_every_row_and_of_the_files_what_chance_left() -> None:
    disk = fallen(is_of_files=True)
    assert len(disk.heads) == len(FILES)
    kinds = {
        "gone" if data is None else
        "whole" if data == one.content else
        "short" if len(data) < len(one.content) else "zeros"
        for one in FILES for data in [disk.contents.get(one.content_hash)]
    }  # fmt: skip
    assert kinds == {"gone", "whole", "short", "zeros"}
    assert disk.contents[FILES[0].content_hash] == FILES[0].content
    held = {row.namespace: row.held_bytes for row in disk.started().heads}
    for one in FILES:
        data = disk.contents.get(one.content_hash)
        assert held[one.manifest.namespace.text] == (None if data is None else len(one.content))


def test_a_flipped_bit_is_found_by_whoever_reads() -> None:
    world, disk = keeper()
    for one in FILES:
        disk.store(one.content_hash, one.content, done)
    settle(world)
    struck = disk.flip_bits(500_000, Stream(3))
    spoiled = [one for one in FILES if disk.contents[one.content_hash] != one.content]
    assert len(spoiled) == struck
    assert 4 < struck < 20
    assert [one for one in FILES if not disk.is_sound(one.content_hash)] == spoiled


def test_an_ailing_disk_fails_the_operation_it_ails_in_and_is_slow_or_stands() -> None:
    told: list[bool] = []

    def tell(ok: bool) -> Happened:  # noqa: FBT001  # as the disk calls it
        told.append(ok)
        return world_event(Kind.DISK)

    world, disk = keeper(costs="ssd")
    for number, operation in enumerate(("write", "sync")):
        disk.ailments.begin(number, Ailment(chance=Stream(1), operation=operation, fails_ppm=PPM))
        disk.store(NAMES[0], b"first", tell)
        settle(world)
        disk.ailments.end(number)
    disk.ailments.begin(2, Ailment(chance=Stream(1), is_stalled=True))
    disk.store(NAMES[0], b"first", tell)
    settle(world)
    settle(world)
    assert told == [False, False]
    disk.ailments.end(2)
    settle(world)
    settle(world)
    assert told == [False, False, True]
    disk.ailments.begin(3, Ailment(chance=Stream(1), operation="read", fails_ppm=PPM, slower=7))
    assert (disk.read(NAMES[0]), disk.is_sound(NAMES[0])) == (None, None)
    assert disk.read_ns == 7 * COSTS["ssd"].read_ns


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


def test_what_would_not_fit_is_known_without_a_trace() -> None:
    """L2 excuses a full disk; asking must neither count as a refusal nor be one."""
    world, disk = keeper()
    disk.limit(2 * len(LONG))
    disk.store(NAMES[0], LONG, done)
    settle(world)
    assert disk.has_room(len(LONG))
    assert not disk.has_room(len(LONG) + 1)
    assert disk.hindrances == 0
    assert disk.takes(len(LONG), is_trust=False)


@pytest.mark.parametrize("has_row", [False, True])
def test_a_file_without_a_row_is_nothing_a_start_finds(has_row: bool) -> None:  # noqa: FBT001  # by its name
    """A crash may leave it whole: a daemon drops it, for it was never acknowledged."""
    one = routes()
    kept = Kept(
        heads={one.manifest.namespace.text: one.verified},
        contents={one.content_hash: one.content},
        sizes={one.content_hash: len(one.content)} if has_row else {},
    )
    (row,) = kept.started().heads
    assert row.held_bytes == (len(one.content) if has_row else None)
    assert (one.content_hash in kept.contents) is has_row
