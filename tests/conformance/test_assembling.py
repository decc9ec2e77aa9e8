"""Assemblies of the daemon and of the simulator: the same result, the same faults, and nothing else
on the disk."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from fabgossip.core.effects import Assemble
from fabgossip.core.events import AssemblyFailed, ContentStored, Event
from fabgossip.core.wants import wanted_from
from fabgossip.daemon.assembling import Assemblies as DaemonAssemblies
from fabgossip.model.ids import ContentHash
from fabgossip.model.increments import AssemblyFault
from fabgossip.sim.assembling import Assemblies as SimAssemblies
from fabgossip.sim.disk import COSTS, SimDisk
from fabgossip.sim.network import Network
from fabgossip.sim.paths import Paths
from fabgossip.sim.streams import Streams
from fabgossip.sim.world import NS_PER_MS, World
from tests.conformance.test_transfers import Taker, serving
from tests.core.artifacts import Artifact
from tests.core.chained import other_step, snapshot_of, step
from tests.daemon.fabric import HANG_S, End

RESULT = snapshot_of(10)
CHAIN = (step(8), step(9), step(10))
WRONG = other_step(9, 8, step(8).content)
"""Signed, and it makes something else."""


@dataclass(frozen=True)
class Case:
    """What is on the disk, under which hash; what is to be applied; what comes of it."""

    held: tuple[tuple[ContentHash, bytes], ...]
    chain: tuple[Artifact, ...]
    fault: AssemblyFault | None
    place: int = 0

    @property
    def effect(self) -> Assemble:
        return Assemble(
            wanted=wanted_from(RESULT.verified, is_read=True),
            increments=tuple(one.manifest for one in self.chain),
        )

    @property
    def answer(self) -> Event:
        wanted = self.effect.wanted
        if self.fault is None:
            return ContentStored(wanted=wanted, link=None, content=RESULT.content)
        return AssemblyFailed(wanted=wanted, fault=self.fault, place=self.place)


def rows(*held: Artifact) -> tuple[tuple[ContentHash, bytes], ...]:
    return tuple((one.content_hash, one.content) for one in held)


BASE = snapshot_of(7)
CASES = {
    "a chain of three": Case(rows(BASE, *CHAIN), CHAIN, None),
    "no base": Case(rows(*CHAIN), CHAIN, AssemblyFault.BASE),
    "a damaged base": Case(
        ((BASE.content_hash, BASE.content[:-1] + b"?"), *rows(*CHAIN)), CHAIN, AssemblyFault.BASE
    ),
    "an increment that is gone": Case(
        rows(BASE, CHAIN[0], CHAIN[2]), CHAIN, AssemblyFault.INCREMENT, 1
    ),
    "a damaged increment": Case(
        (*rows(BASE, *CHAIN[:2]), (CHAIN[2].content_hash, b"?" + CHAIN[2].content[1:])),
        CHAIN,
        AssemblyFault.INCREMENT,
        2,
    ),
    "an increment that makes something else": Case(
        rows(BASE, CHAIN[0], WRONG, CHAIN[2]),
        (CHAIN[0], WRONG, CHAIN[2]),
        AssemblyFault.RESULT,
        1,
    ),
}


def simulated(case: Case) -> tuple[list[Event], set[ContentHash]]:
    streams, told = Streams(1), list[Event]()
    world = World()
    disk = SimDisk(world, 1, COSTS["nvme"], Taker(), streams.of("disk"), {})
    disk.contents = dict(case.held)
    bench = serving(world, Network(world, Paths({}, (), streams)), disk, told)
    SimAssemblies(bench).begin(case.effect)
    world.run(600_000 * NS_PER_MS, lambda *_: None)
    return told, set(disk.contents)


async def daemons(case: Case, folder: Path) -> tuple[list[Event], set[ContentHash]]:
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            with closing(End(folder, nursery)) as end:
                for content_hash, data in case.held:
                    stored = trio.Event()

                    def done(_: bool, stored: trio.Event = stored) -> None:  # noqa: FBT001
                        stored.set()

                    end.disk.store_small(content_hash, data, done)
                    await stored.wait()
                DaemonAssemblies(end.disk, nursery, end.on_event).begin(case.effect)
                told = [await end.event()]
                nursery.cancel_scope.cancel()
                known = (BASE, snapshot_of(8), snapshot_of(9), RESULT, *CHAIN, WRONG)
                hashes = [one.content_hash for one in known]
                return told, {one for one in hashes if end.index.content(one) is not None}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_both_make_the_same_and_leave_nothing_else(case: Case, tmp_path: Path) -> None:
    held = {content_hash for content_hash, _ in case.held}
    after = held | ({RESULT.content_hash} if case.fault is None else set())
    expected = ([case.answer], after)
    assert simulated(case) == expected
    assert await daemons(case, tmp_path / "disk") == expected
