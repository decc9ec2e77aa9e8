"""The disk of a daemon and that of a simulated node answer the same things in the same order.

What is asked for is the same; each writes until nothing waits.
"""

import errno
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TypeAlias

import pytest
import trio

from fabgossip.core.effects import Materialize, Persist, ReceiveContent, Remove, Scrub
from fabgossip.core.events import (
    ContentFailed,
    Event,
    FetchFailure,
    LinkId,
    RequestId,
    Token,
)
from fabgossip.core.space import FAILURES_WITHIN, SpaceLimits, SpaceTrouble
from fabgossip.daemon.disk import Disk
from fabgossip.daemon.state import StateFolder
from fabgossip.daemon.transfers import Transfers as DaemonTransfers
from fabgossip.model.artifact import Order
from fabgossip.model.ids import ContentHash, NodeId
from fabgossip.model.messages import TrafficClass
from fabgossip.model.moment import Instant, UnixTime
from fabgossip.model.persistence import (
    DropHeldBack,
    DropPin,
    PutHead,
    PutHeldBack,
    PutPin,
    StoredPin,
)
from fabgossip.sim.disk import COSTS, FULL_BYTES, LOOK_NS, ROOMY_BYTES, SimDisk
from fabgossip.sim.network import Network
from fabgossip.sim.paths import Paths
from fabgossip.sim.streams import Stream, Streams
from fabgossip.sim.trace import Happened, Kind, world_event
from fabgossip.sim.transfers import Bench, Transfers
from fabgossip.sim.world import World
from fabgossip.storage.contents import ContentFiles
from fabgossip.storage.syncing import Syncing
from tests.core.artifacts import Artifact, artifact, routes
from tests.core.test_holdbacks import held_back
from tests.core.test_retention import pin as pin_of
from tests.sim.test_disk import Nobody

OWN = NodeId("n1")
SOME = [
    routes(number, content=b"routes %d " % number * (1 if number % 2 else 4_000))
    for number in range(1, 6)
]
"""Inline and as files, of one namespace."""
LARGE = routes(8, content=b"large " * 9_000)
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
                disk.remove(Remove(content_hash=one.content_hash))
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


LIMITS = SpaceLimits(quota_bytes=64 << 20, free_bytes_min=1 << 20, free_inodes_min=0)


async def test_both_transfers_refuse_alike_what_finds_no_space(tmp_path: Path) -> None:
    """Before a byte is asked of anybody; trust is let through; what is here already is read."""
    plain = ReceiveContent(wanted=SOME[0].wanted, link=LinkId(9), traffic=TrafficClass.POLICY)
    trust = replace(plain, traffic=TrafficClass.TRUST)
    came = replace(plain, link=None, content=SOME[0].content)
    handed = replace(plain, link=None, request=RequestId(5))
    here = replace(plain, link=None)
    effects = (plain, trust, came, handed, here)
    expected = [
        (FetchFailure.STORAGE, LinkId(9), None),
        (FetchFailure.LOST, LinkId(9), None),
        (FetchFailure.STORAGE, None, None),
        (FetchFailure.STORAGE, None, RequestId(5)),
        (FetchFailure.DISK, None, None),
    ]
    assert refusals(simulated_full(effects)) == expected
    assert refusals(await driven_full(effects, tmp_path)) == expected


def refusals(events: list[Event]) -> list[tuple[FetchFailure, LinkId | None, RequestId | None]]:
    failed = [one for one in events if isinstance(one, ContentFailed)]
    return [(one.reason, one.link, one.request) for one in failed]


def simulated_full(effects: tuple[ReceiveContent, ...]) -> list[Event]:
    world, told = World(), list[Event]()
    disk = SimDisk(world, 1, COSTS["instant"], Nobody(), Stream(1), {})
    disk.free_bytes = FULL_BYTES

    def step(event: Event) -> Happened:
        told.append(event)
        return world_event(Kind.DISK, "told")

    bench = Bench(
        disk=disk,
        network=Network(world, Paths({}, (), Streams(1))),
        now_ns=lambda: world.now_ns,
        wait=lambda at_ns, action: world.schedule(max(at_ns, world.now_ns), 1, 1, action),
        step=step,
        post=told.append,
        send=lambda *_: True,
        on_unpacked=lambda _: None,
        on_piece_sent=lambda *_: None,
        on_damaged=lambda _: None,
        on_content_received=lambda _hash, _size: None,
        on_hashed=lambda _size: None,
    )
    transfers = Transfers(bench)
    for one in effects:
        transfers.receive(one, None)
    world.run(10**9, lambda *_: None)
    return told


class NothingFree(ContentFiles):
    """Others have filled the file system."""

    def free(self) -> tuple[int, int]:
        return 0, 1


async def driven_full(effects: tuple[ReceiveContent, ...], folder: Path) -> list[Event]:
    told = list[Event]()
    with closing(StateFolder(folder, OWN, Syncing())) as state:
        files = NothingFree(folder, Syncing())
        disk = Disk(state.index, state.reader, files, state.local, LIMITS)
        async with trio.open_nursery() as nursery:
            transfers = DaemonTransfers(disk, nursery, told.append, trio.current_time)
            for one in effects:
                transfers.receive(one, None)
    return told


def test_both_disks_have_space_again_by_themselves(tmp_path: Path) -> None:
    """Whoever filled the file system took his files away; nobody restarted anything."""
    with closing(StateFolder(tmp_path, OWN, Syncing())) as state:
        files = NothingFree(tmp_path, Syncing())
        disk = Disk(state.index, state.reader, files, state.local, LIMITS)
        assert not disk.takes(1, is_trust=False)
        assert disk.look(Instant(0)).trouble is SpaceTrouble.DISK
        disk.files = state.files
        assert disk.look(Instant(1)).trouble is None
        assert disk.takes(1, is_trust=False)
    world, told = World(), list[SpaceTrouble | None]()
    simulated_disk = SimDisk(world, 1, COSTS["instant"], Nobody(), Stream(1), {})
    simulated_disk.on_space = lambda space: told.append(space.trouble)
    simulated_disk.free_bytes = FULL_BYTES
    assert not simulated_disk.takes(1, is_trust=False)
    world.run(2 * LOOK_NS, lambda *_: None)
    simulated_disk.free_bytes = ROOMY_BYTES
    world.run(9 * LOOK_NS, lambda *_: None)
    assert told == [SpaceTrouble.DISK, None]


def test_both_disks_are_given_only_trust_after_three_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "no")

    with closing(StateFolder(tmp_path, OWN, Syncing())) as state:
        disk, said = state.new_disk(), list[bool]()
        monkeypatch.setattr(os, "fsync", fail)
        for one in [*SOME[1:4:2], LARGE]:
            disk.store_small(one.content_hash, one.content, said.append)
            for done, ok in disk.write_next():
                done(ok)
        monkeypatch.undo()
        assert said == [False, False, False]
        assert disk.look(Instant(0)).trouble is SpaceTrouble.READ_ONLY
        assert [disk.takes(1, is_trust=is_trust) for is_trust in (False, True)] == [False, True]
        assert disk.look(Instant(FAILURES_WITHIN)).trouble is None
    world, told = World(), list[SpaceTrouble | None]()
    simulated_disk = SimDisk(world, 1, COSTS["instant"], Nobody(), Stream(1), {})
    simulated_disk.on_space = lambda space: told.append(space.trouble)
    simulated_disk.is_failing = True
    for one in SOME[:3]:
        simulated_disk.store(one.content_hash, one.content, nothing)
    world.run(2 * LOOK_NS, lambda *_: None)
    assert not simulated_disk.takes(1, is_trust=False)
    assert simulated_disk.takes(1, is_trust=True)
    world.run(700 * LOOK_NS, lambda *_: None)
    assert told == [SpaceTrouble.READ_ONLY, None]


def nothing(_: bool) -> Happened:  # noqa: FBT001  # as the disk calls it
    return world_event(Kind.DISK, "done")


def test_both_disks_remember_pins_and_keep_what_they_are_for(tmp_path: Path) -> None:
    """No head names it any more; and a pin that ended is gone, and its content with the start."""
    one, other = SOME[0], LARGE
    pins = [pin_of(number, each.content_hash) for number, each in enumerate((one, other), 1)]
    changes = [Persist(token=Token(1), changes=(PutPin(pin=each),)) for each in pins]
    ended = Persist(token=Token(1), changes=(DropPin(pin_id=2),))
    expected = (StoredPin(pin=pins[0], held_bytes=len(one.content)),)
    with closing(StateFolder(tmp_path, OWN, Syncing())) as state:
        disk = state.new_disk()
        for each in (one, other):
            disk.store_small(each.content_hash, each.content, lambda _: None)
        for change in (*changes, ended):
            disk.persist(change, lambda _: None)
        while not disk.is_idle:
            disk.write_next()
    with closing(StateFolder(tmp_path, OWN, Syncing())) as state:
        disk = state.new_disk()
        assert state.begin(disk).pins == expected
        assert disk.read(one.content_hash) == one.content
        assert disk.read(other.content_hash) is None
    world = World()
    simulated_disk = SimDisk(world, 1, COSTS["instant"], Nobody(), Stream(1), {})
    for each in (one, other):
        simulated_disk.store(each.content_hash, each.content, nothing)
    for change in (*changes, ended):
        simulated_disk.persist(change, nothing)
    world.run(LOOK_NS, lambda *_: None)
    assert simulated_disk.started().pins == expected
    assert list(simulated_disk.contents) == [one.content_hash]


class _Both:
    """A daemon's disk and a simulated one, told the same in turn."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state
        self._real = state.new_disk()
        self._world = World()
        self._simulated = SimDisk(self._world, 1, COSTS["instant"], Nobody(), Stream(1), {})

    def store(self, one: Artifact) -> None:
        self._real.store_small(one.content_hash, one.content, lambda _: None)
        self._simulated.store(one.content_hash, one.content, nothing)
        self._write()

    def drop(self, one: Artifact) -> None:
        self._real.remove(Remove(content_hash=one.content_hash))
        self._simulated.remove(Remove(content_hash=one.content_hash))
        self._write()

    def spoil(self, one: Artifact) -> None:
        """The content in the folder of a version is another."""
        name, order = one.manifest.namespace.text, one.manifest.order
        path = self._state.local.folder_of(name) / f"v{order}" / "content"
        path.unlink()
        path.write_bytes(b"other")
        self._simulated.local[name].versions[order] = b"other"

    def switched(self, effect: Materialize) -> bool:
        """Whether both switched, and then show and keep the same."""
        answers: list[bool] = []

        def hear(ok: bool) -> Happened:  # noqa: FBT001  # as the disk calls it
            answers.append(ok)
            return nothing(ok)

        self._real.materialize(effect, answers.append)
        self._simulated.materialize(effect, hear)
        self._write()
        real, simulated = answers
        assert real == simulated
        local = self._simulated.local[effect.namespace]
        folder = self._state.local.folder_of(effect.namespace)
        links = [
            os.readlink(folder / link) if (folder / link).is_symlink() else None
            for link in ("current", "previous")
        ]
        assert links == [
            None if one is None else f"v{one}" for one in (local.current, local.previous)
        ]
        kept = self._real.kept_versions(effect.namespace)
        assert kept == tuple(sorted(local.envelopes.items()))
        return real

    def _write(self) -> None:
        while not self._real.is_idle:
            for done, ok in self._real.write_next():
                done(ok)
        self._world.run(self._world.now_ns + LOOK_NS, lambda *_: None)


def test_both_disks_go_back_to_a_kept_version_without_the_store_and_to_no_other(
    tmp_path: Path,
) -> None:
    """Its content left the store when it was replaced; what is not there any more, or is not what
    was signed, is not shown; and both keep the same versions whatever way the links went."""

    def back(one: Artifact) -> Materialize:
        return replace(switch(one), keep_versions=2, is_kept=True)

    with closing(StateFolder(tmp_path, OWN, Syncing())) as state:
        both = _Both(state)
        for one in SOME:
            both.store(one)
            assert both.switched(replace(switch(one), keep_versions=2))
            both.drop(one)
        assert not both.switched(back(SOME[1])), "it is not kept"
        assert not both.switched(replace(switch(SOME[3]), keep_versions=2)), "not in the store"
        assert both.switched(back(SOME[2]))
        other = replace(back(SOME[3]), envelope=SOME[2].envelope)
        assert not both.switched(other), "another envelope stands there"
        both.spoil(SOME[3])
        assert not both.switched(back(SOME[3]))
        newest = routes(9)
        both.store(newest)
        assert both.switched(replace(switch(newest), keep_versions=2))
        assert both.switched(back(SOME[2]))
        assert both.switched(withdrawal(newest))
        assert both.switched(back(newest))


def test_both_disks_remember_what_was_put_back(tmp_path: Path) -> None:
    rows = (held_back("a"), held_back("b"), held_back("b", 6))
    changes = [Persist(token=Token(1), changes=(PutHeldBack(held_back=one),)) for one in rows]
    ended = Persist(token=Token(1), changes=(DropHeldBack(namespace="a"),))
    expected = (held_back("b", 6),)
    with closing(StateFolder(tmp_path, OWN, Syncing())) as state:
        disk = state.new_disk()
        for change in (*changes, ended):
            disk.persist(change, lambda _: None)
        while not disk.is_idle:
            disk.write_next()
    with closing(StateFolder(tmp_path, OWN, Syncing())) as state:
        assert state.begin(state.new_disk()).held_back == expected
    world = World()
    simulated_disk = SimDisk(world, 1, COSTS["instant"], Nobody(), Stream(1), {})
    for change in (*changes, ended):
        simulated_disk.persist(change, nothing)
    world.run(LOOK_NS, lambda *_: None)
    assert simulated_disk.started().held_back == expected


@pytest.mark.parametrize("spoil", ["gone", "changed", "cut short"])
def test_both_disks_find_damage_set_it_aside_and_take_a_sound_copy(
    tmp_path: Path, spoil: str
) -> None:
    """And what was found sound is noted for the next process."""
    scrub = Scrub(token=Token(1), content_hash=LARGE.content_hash, at=UnixTime(77))
    damaged = Remove(content_hash=LARGE.content_hash, is_damaged=True)
    with closing(StateFolder(tmp_path, OWN, Syncing())) as state:
        disk = state.new_disk()

        def write() -> None:
            while not disk.is_idle:
                disk.write_next()

        disk.persist(head(LARGE), lambda _: None)
        disk.store_small(LARGE.content_hash, LARGE.content, lambda _: None)
        write()
        assert disk.is_sound(LARGE.content_hash) is True
        path = state.files.path_of(LARGE.content_hash)
        path.chmod(0o600)
        if spoil == "gone":
            path.unlink()
        else:
            rest = LARGE.content[1:]
            path.write_bytes(b"x" + rest if spoil == "changed" else rest)
        assert disk.is_sound(LARGE.content_hash) is False
        disk.remove(damaged)
        disk.store_small(LARGE.content_hash, LARGE.content, lambda _: None)
        write()
        assert disk.is_sound(LARGE.content_hash) is True
        aside = [one.name for one in (tmp_path / "quarantine").iterdir()]
        assert aside == ([] if spoil == "gone" else [LARGE.content_hash.hex()])
        disk.note_verified(scrub, lambda _: None)
        write()
    with closing(StateFolder(tmp_path, OWN, Syncing())) as state:
        assert [one.verified_at for one in state.begin(state.new_disk()).heads] == [77]
    world = World()
    simulated_disk = SimDisk(world, 1, COSTS["instant"], Nobody(), Stream(1), {})
    simulated_disk.persist(head(LARGE), nothing)
    simulated_disk.store(LARGE.content_hash, LARGE.content, nothing)
    world.run(LOOK_NS, lambda *_: None)
    assert simulated_disk.is_sound(LARGE.content_hash)
    assert simulated_disk.rot()
    assert not simulated_disk.is_sound(LARGE.content_hash)
    simulated_disk.remove(damaged)
    simulated_disk.store(LARGE.content_hash, LARGE.content, nothing)
    simulated_disk.note_verified(scrub, nothing)
    world.run(2 * LOOK_NS, lambda *_: None)
    assert simulated_disk.is_sound(LARGE.content_hash)
    assert [one.verified_at for one in simulated_disk.started().heads] == [77]


def test_both_disks_start_without_a_file_cut_short_and_say_what_is_shown(tmp_path: Path) -> None:
    """And what is there though nothing shows it any more."""
    one = LARGE
    shown, away = OTHERS[1], OTHERS[0]
    changes = [head(one), head(shown), head(away)]
    local = [switch(shown), switch(away), withdrawal(away)]
    with closing(StateFolder(tmp_path, OWN, Syncing())) as state:
        disk = state.new_disk()
        for change in changes:
            disk.persist(change, lambda _: None)
        for each in (one, shown, away):
            disk.store_small(each.content_hash, each.content, lambda _: None)
        for effect in local:
            disk.materialize(effect, lambda _: None)
        while not disk.is_idle:
            disk.write_next()
        path = state.files.path_of(one.content_hash)
        path.chmod(0o600)
        path.write_bytes(one.content[:4_096])
    with closing(StateFolder(tmp_path, OWN, Syncing())) as state:
        found = state.begin(state.new_disk())
    world = World()
    simulated_disk = SimDisk(world, 1, COSTS["instant"], Nobody(), Stream(1), {})
    for change in changes:
        simulated_disk.persist(change, nothing)
    for each in (one, shown, away):
        simulated_disk.store(each.content_hash, each.content, nothing)
    for effect in local:
        simulated_disk.materialize(effect, nothing)
    world.run(LOOK_NS, lambda *_: None)
    simulated_disk.contents[one.content_hash] = one.content[:4_096]
    started = simulated_disk.started()
    held = {row.namespace: row.held_bytes for row in found.heads}
    assert held == {row.namespace: row.held_bytes for row in started.heads}
    assert held[one.manifest.namespace.text] is None
    assert (found.visible, found.put_away) == (started.visible, started.put_away)
    assert [len(found.visible), len(found.put_away)] == [1, 1]
