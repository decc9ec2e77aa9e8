"""The writing thread: what is moved is marked before, and no error of the disk ends it."""

import errno
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
import trio

from fabgossip.core.effects import Materialize, Persist, Remove
from fabgossip.core.events import Token
from fabgossip.core.space import SpaceLimits, SpaceTrouble
from fabgossip.daemon.disk import Disk
from fabgossip.daemon.state import StateFolder
from fabgossip.model.ids import ContentHash, NodeId
from fabgossip.model.moment import Instant
from fabgossip.model.persistence import PutHead
from fabgossip.storage.contents import ContentFiles, IncomingContent
from fabgossip.storage.syncing import Syncing
from tests.core.artifacts import Artifact, routes

OWN = NodeId("n1")
LARGE = routes(7, content=b"large routes " * 2_000)
"""Above what rests inline."""
HANG_S = 60


def put(artifact: Artifact) -> Persist:
    return Persist(token=Token(1), changes=(PutHead(verified=artifact.verified),))


def switch(artifact: Artifact) -> Materialize:
    manifest = artifact.manifest
    return Materialize(
        token=Token(2),
        namespace=manifest.namespace.text,
        order=manifest.order,
        manifest=manifest,
        envelope=artifact.envelope,
    )


def unheard(_: bool) -> None:  # noqa: FBT001  # as the disk gives it
    """Nobody waits."""


def written(disk: Disk) -> list[bool]:
    """Everything in line is written; what became of each."""
    outcomes = []
    while not disk.is_idle:
        outcomes += [ok for _, ok in disk.write_next()]
    return outcomes


def store(disk: Disk, artifact: Artifact) -> list[bool]:
    disk.persist(put(artifact), unheard)
    disk.store_small(artifact.content_hash, artifact.content, unheard)
    return written(disk)


def contents_in(folder: Path) -> list[str]:
    """Everything that lies where contents lie, or come from."""
    places = (folder / "objects", folder / "incoming")
    return sorted(one.name for place in places for one in place.rglob("*") if one.is_file())


@contextmanager
def no_room_for_contents(folder: Path) -> Iterator[None]:
    """The index refuses every row of a content meanwhile."""
    with closing(sqlite3.connect(folder / "index.sqlite")) as database:
        database.execute(
            "CREATE TRIGGER no_room BEFORE INSERT ON content "
            "BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
        yield
        database.execute("DROP TRIGGER no_room")


class PowerCutError(BaseException):
    """Nothing runs after it."""


class CutOnAdoption(ContentFiles):
    """The power goes once the files lie under their names, before any row of them."""

    def adopt(
        self, finished: Iterable[tuple[IncomingContent, ContentHash]]
    ) -> tuple[OSError | None, ...]:
        super().adopt(finished)
        raise PowerCutError


class CutOnRemoval(ContentFiles):
    """The power goes once the rows are gone, before any file."""

    def remove(self, content_hash: ContentHash) -> None:
        raise PowerCutError


def shorten(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(b"short")


def cut(state: StateFolder, files: ContentFiles) -> Disk:
    """The disk of a node whose power is about to go."""
    return Disk(state.index, state.reader, files, state.local, SpaceLimits())


def test_a_content_whose_row_was_refused_leaves_no_file(tmp_path: Path) -> None:
    """Bytes nobody knows of would lie there for ever: revoked, withdrawn and purged in vain."""
    with closing(StateFolder(tmp_path, OWN, Syncing())) as state, no_room_for_contents(tmp_path):
        assert store(state.new_disk(), LARGE) == [False, False]
        assert contents_in(tmp_path) == []


def test_a_content_that_came_as_the_power_went_is_gone_after_the_start(tmp_path: Path) -> None:
    with closing(StateFolder(tmp_path, OWN, Syncing())) as state, pytest.raises(PowerCutError):
        store(cut(state, CutOnAdoption(tmp_path, Syncing())), LARGE)
    assert LARGE.content_hash.hex() in contents_in(tmp_path)
    with closing(StateFolder(tmp_path, OWN, Syncing())):
        assert contents_in(tmp_path) == []


def test_a_content_that_was_to_go_as_the_power_went_is_gone_after_the_start(
    tmp_path: Path,
) -> None:
    """Its row goes first: without the mark nothing would ever name the bytes again."""
    with closing(StateFolder(tmp_path, OWN, Syncing())) as state:
        assert store(state.new_disk(), LARGE) == [True, True]
        disk = cut(state, CutOnRemoval(tmp_path, Syncing()))
        disk.remove(Remove(content_hash=LARGE.content_hash))
        with pytest.raises(PowerCutError):
            written(disk)
    assert LARGE.content_hash.hex() in contents_in(tmp_path)
    with closing(StateFolder(tmp_path, OWN, Syncing())):
        assert contents_in(tmp_path) == []


@pytest.mark.parametrize("artifact", [LARGE, routes(7)], ids=["a file", "inline"])
def test_a_content_no_head_names_goes_at_the_start(tmp_path: Path, artifact: Artifact) -> None:
    """A newer head was durable, and the power went before the old content did."""
    with closing(StateFolder(tmp_path, OWN, Syncing())) as state:
        newer = routes(8, content=b"newer routes " * 2_000)
        assert store(state.new_disk(), artifact) == [True, True]
        assert store(state.new_disk(), newer) == [True, True]
    with closing(StateFolder(tmp_path, OWN, Syncing())) as state:
        assert state.index.content(artifact.content_hash) is None
        assert contents_in(tmp_path) == [newer.content_hash.hex()]
        assert state.new_disk().read(newer.content_hash) == newer.content


@pytest.mark.parametrize("spoil", [Path.unlink, shorten], ids=["gone", "cut short"])
def test_a_row_without_its_file_is_not_held_after_the_start(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    """Row and file agree or the content is not held: the core hears nothing of it, and wants it
    again."""
    with closing(StateFolder(tmp_path, OWN, Syncing())) as state:
        assert store(state.new_disk(), LARGE) == [True, True]
        spoil(state.files.path_of(LARGE.content_hash))
    with closing(StateFolder(tmp_path, OWN, Syncing())) as state:
        assert [one.held_bytes for one in state.begin(state.new_disk()).heads] == [None]
        assert contents_in(tmp_path) == []


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [(errno.ENOENT, True), (errno.EIO, True), (errno.EMFILE, False), (errno.EACCES, False)],
)
def test_only_bytes_that_are_gone_are_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, *, is_lost: bool
) -> None:
    """A process out of descriptors still holds what it holds."""

    def fail(_: ContentHash) -> int:
        raise OSError(error, os.strerror(error))

    with closing(StateFolder(tmp_path, OWN, Syncing())) as state:
        disk = state.new_disk()
        assert store(disk, LARGE) == [True, True]
        assert not disk.has_lost(LARGE.content_hash)
        monkeypatch.setattr(state.files, "open_content", fail)
        assert disk.has_lost(LARGE.content_hash) is is_lost


def test_a_content_that_is_marked_and_has_its_row_stays(tmp_path: Path) -> None:
    """The power went between the commit and the end of the mark."""
    with closing(StateFolder(tmp_path, OWN, Syncing())) as state:
        assert store(state.new_disk(), LARGE) == [True, True]
        state.files.mark((LARGE.content_hash,))
    with closing(StateFolder(tmp_path, OWN, Syncing())) as state:
        assert contents_in(tmp_path) == [LARGE.content_hash.hex()]
        assert state.new_disk().read(LARGE.content_hash) == LARGE.content


def test_a_content_that_rotted_is_not_switched_to(tmp_path: Path) -> None:
    with closing(StateFolder(tmp_path, OWN, Syncing())) as state:
        disk = state.new_disk()
        assert store(disk, LARGE) == [True, True]
        path = state.files.path_of(LARGE.content_hash)
        path.chmod(0o600)
        path.write_bytes(LARGE.content[:-1] + b"x")
        disk.materialize(switch(LARGE), unheard)
        assert written(disk) == [False]
        assert "damaged" in disk.last_error
        assert state.local.visible() == ()


def test_a_file_that_fails_takes_nobody_with_it(tmp_path: Path) -> None:
    """Of one group: what waited beside it is durable all the same."""
    with closing(StateFolder(tmp_path, OWN, Syncing())) as state:
        disk, said = state.new_disk(), list[bool]()
        disk.persist(put(LARGE), said.append)
        disk.store_small(LARGE.content_hash, LARGE.content, said.append)
        other = routes(9, content=b"other routes " * 2_000)
        disk.store_small(other.content_hash, other.content, said.append)
        (left,) = tmp_path.glob(f"incoming/{other.content_hash.hex()}.*")
        left.unlink()
        for done, ok in disk.write_next():
            done(ok)
        assert disk.is_idle
        assert said == [True, True, False]
        assert disk.read(LARGE.content_hash) == LARGE.content
        assert contents_in(tmp_path) == [LARGE.content_hash.hex()]


async def test_no_error_of_the_disk_ends_the_writing_thread(tmp_path: Path) -> None:
    """Refused by the index, by a content file, by the local state: whoever asked hears no, and what
    comes after is written."""
    with closing(StateFolder(tmp_path, OWN, Syncing())) as state, trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            disk = state.new_disk()
            disk.start()
            nursery.start_soon(disk.report_faults)
            with no_room_for_contents(tmp_path):
                assert not await stored(disk, routes(7))
            assert not await stored_but_stolen(disk, LARGE)
            assert not await outcome_of(lambda done: disk.materialize(switch(LARGE), done))
            assert await outcome_of(lambda done: disk.persist(put(LARGE), done))
            assert await stored(disk, LARGE)
            assert await outcome_of(lambda done: disk.materialize(switch(LARGE), done))
            nursery.cancel_scope.cancel()
        await trio.to_thread.run_sync(disk.stop)
        assert disk.read(LARGE.content_hash) == LARGE.content


async def stored(disk: Disk, artifact: Artifact) -> bool:
    """Whether a content came to be durable."""
    return await outcome_of(
        lambda done: disk.store_small(artifact.content_hash, artifact.content, done)
    )


async def stored_but_stolen(disk: Disk, artifact: Artifact) -> bool:
    """The same, of a file that is taken away before it has its name."""
    size, content_hash = len(artifact.content), artifact.content_hash
    incoming = disk.files.open_incoming(content_hash, size)
    (left,) = disk.files.path_of(content_hash).parents[2].glob("incoming/*")
    left.unlink()
    return await outcome_of(lambda done: disk.store_file(content_hash, incoming, size, done))


async def outcome_of(ask: Callable[[Callable[[bool], None]], None]) -> bool:
    """What the disk says of one thing that was asked of it."""
    said: list[bool] = []
    heard = trio.Event()

    def done(ok: bool) -> None:  # noqa: FBT001  # as the disk gives it
        said.append(ok)
        heard.set()

    ask(done)
    await heard.wait()
    return said == [True]


def test_an_index_that_finds_no_space_is_no_failing_disk(tmp_path: Path) -> None:
    """Space that is there again would not end what a failing disk is kept read-only for."""
    with closing(StateFolder(tmp_path, OWN, Syncing())) as state:
        disk = state.new_disk()
        assert store(disk, LARGE) == [True, True]
        limit_pages(state)
        refused = [store_small(disk, bytes([one]) * 16_000) for one in range(4)]
        assert refused == [False] * 4
        assert "full" in disk.last_error
        assert disk.look(Instant(0)).trouble is not SpaceTrouble.READ_ONLY


def limit_pages(state: StateFolder) -> None:
    """SQLite takes no more pages, as on a full file system."""
    database = state.index._db  # noqa: SLF001  # the limit is one of the connection
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")


def store_small(disk: Disk, content: bytes) -> bool:
    """Whether it became durable."""
    said: list[bool] = []
    disk.store_small(ContentHash(sha256(content).digest()), content, said.append)
    while not disk.is_idle:
        for done, ok in disk.write_next():
            done(ok)
    return said[0]
