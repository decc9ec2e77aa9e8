"""The disk of a daemon and that of a simulated node answer the same things in the same order.

What is asked for is the same; each writes until nothing waits.
"""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import TypeAlias

import pytest

from fabgossip.core.effects import Materialize, Persist
from fabgossip.core.events import Token
from fabgossip.daemon.disk import Disk
from fabgossip.daemon.state import StateFolder
from fabgossip.model.artifact import Order
from fabgossip.model.ids import ContentHash, NodeId
from fabgossip.model.persistence import PutHead
from fabgossip.sim.disk import COSTS, SimDisk
from fabgossip.sim.streams import Stream
from fabgossip.sim.trace import Happened, Kind, world_event
from fabgossip.sim.world import World
from fabgossip.storage.syncing import Syncing
from tests.core.artifacts import Artifact, artifact, routes
from tests.sim.test_disk import Nobody

OWN = NodeId("n1")
SOME = [
    routes(number, content=b"routes %d " % number * (1 if number % 2 else 4_000))
    for number in range(1, 6)
]
"""Inline and as files, of one namespace."""
OTHERS = [
    artifact(SOME[0].manifest.artifact_type, f"routes/other{number}", content=b"%d" % number)
    for number in range(3)
]
Step: TypeAlias = tuple[str, Artifact]
Answer: TypeAlias = tuple[int, bool]
"""The how manyth thing asked, and whether it is done."""


def switch(one: Artifact) -> Materialize:
    return Materialize(
        token=Token(1),
        namespace=one.manifest.namespace.text,
        order=one.manifest.order,
        manifest=one.manifest,
        envelope=one.envelope,
        keep_versions=9,
    )


def withdrawal(one: Artifact) -> Materialize:
    return Materialize(token=Token(1), namespace=one.manifest.namespace.text, order=None)


def head(one: Artifact) -> Persist:
    return Persist(token=Token(1), changes=(PutHead(verified=one.verified),))


class Asked:
    """What a script asks of a disk, and what it is told."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    def run(
        self,
        script: list[Step],
        disk: Disk | SimDisk,
        store: Callable[[ContentHash, bytes, int], None],
        wrap: Callable[[int], Callable[[bool], object]],
        begun: Callable[[], None],
    ) -> None:
        """`begun`: a disk that is free takes the first at once."""
        for number, (what, one) in enumerate(script):
            if number == 1:
                begun()
            done = wrap(number)
            if what == "store":
                store(one.content_hash, one.content, number)
            elif what == "remove":
                disk.remove(one.content_hash)
            elif what == "head":
                disk.persist(head(one), done)  # type: ignore[arg-type]  # each wraps its own way
            else:
                change = switch(one) if what == "switch" else withdrawal(one)
                disk.materialize(change, done)  # type: ignore[arg-type]  # each wraps its own way


def real(script: list[Step], folder: Path) -> tuple[list[Answer], list[bytes], list[str]]:
    asked = Asked()
    with closing(StateFolder(folder, OWN, Syncing(2))) as state:
        disk = state.new_disk()

        def wrap(number: int) -> Callable[[bool], None]:
            return lambda ok: asked.answers.append((number, ok))

        def store(content_hash: ContentHash, data: bytes, number: int) -> None:
            disk.store_small(content_hash, data, wrap(number))

        def write() -> None:
            for done, ok in disk.write_next():
                done(ok)

        asked.run(script, disk, store, wrap, write)
        while not disk.is_idle:
            write()
        held = [one.content for one in (*SOME, *OTHERS) if disk.read(one.content_hash)]
        return asked.answers, held, [name for name, _ in state.local.visible()]


def simulated(script: list[Step]) -> tuple[list[Answer], list[bytes], list[str]]:
    world, asked = World(), Asked()
    disk = SimDisk(world, 1, COSTS["ssd"], Nobody(), Stream(1), {})

    def wrap(number: int) -> Callable[[bool], Happened]:
        def done(ok: bool) -> Happened:  # noqa: FBT001  # as the disk calls it
            asked.answers.append((number, ok))
            return world_event(Kind.DISK, "done")

        return done

    def store(content_hash: ContentHash, data: bytes, number: int) -> None:
        disk.store(content_hash, data, wrap(number))

    asked.run(script, disk, store, wrap, lambda: None)
    world.run(10**12, lambda *_: None)
    held = [one.content for one in (*SOME, *OTHERS) if disk.read(one.content_hash) is not None]
    shown = sorted(name for name, one in disk.local.items() if one.current is not None)
    return asked.answers, held, shown


def script_of(seed: int) -> list[Step]:
    rng = Random(seed)
    kinds = ["head", "store", "store", "switch", "withdraw", "remove"]
    return [(rng.choice(kinds), rng.choice([*SOME, *OTHERS])) for _ in range(24)]


@pytest.mark.parametrize("seed", range(12))
def test_both_disks_say_the_same_in_the_same_order(tmp_path: Path, seed: int) -> None:
    script = script_of(seed)
    found = real(script, tmp_path)
    assert found == simulated(script)
    assert {number for number, _ in found[0]} == {
        number for number, (what, _) in enumerate(script) if what != "remove"
    }


def test_commits_do_not_wait_for_local_state_asked_for_before_them(tmp_path: Path) -> None:
    """And a content that leaves was shown before."""
    one, other = SOME[0], OTHERS[0]
    script = [
        ("head", one), ("store", one), ("switch", one), ("head", other), ("remove", one),
        ("store", other),
    ]  # fmt: skip
    answers, held, shown = real(script, tmp_path)
    assert answers == [(0, True), (1, True), (3, True), (2, True), (5, True)]
    assert simulated(script)[0] == answers
    assert held == [other.content]
    assert shown == [one.manifest.namespace.text]
    assert one.manifest.order > Order(0, 0)
