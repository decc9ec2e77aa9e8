"""The local state: a reader of `current` sees one whole version, and foreign files stay."""

import contextlib
import errno
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fabgossip.errors import StorageError
from fabgossip.model.artifact import ArtifactType
from fabgossip.storage.materialized import LocalState, LocalVersion
from fabgossip.storage.syncing import Syncing
from tests.core.artifacts import Artifact, artifact, routes

SETTINGS = b"settings"
LARGE = routes(7, content=b"x" * 3_000_000)
PARTS = {"content", "envelope", "manifest.json"}


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalState]:
    before = os.umask(0o026)
    # Packaging makes the folder with a group of its own, which whatever is made below inherits.
    tmp_path.chmod(0o2751)
    state = LocalState(tmp_path, Syncing())
    state.prepare()
    yield state
    os.umask(before)


def version(
    artifact: Artifact,
    source: int | bytes | None = None,
    settings: bytes | None = None,
    *,
    keep: int = 0,
    activate: bool = True,
) -> LocalVersion:
    return LocalVersion(
        manifest=artifact.manifest,
        envelope=artifact.envelope,
        source=artifact.content if source is None else source,
        settings=settings,
        keep_versions=keep,
        activate=activate,
    )


def back(local: LocalState, artifact: Artifact, settings: bytes | None = None) -> LocalVersion:
    """A version whose folder is there, with the file of its content open."""
    name, order = artifact.manifest.namespace.text, artifact.manifest.order
    source = local.open_kept(name, order)
    return replace(version(artifact, source, settings, keep=2), is_kept=True)


def switch_back(local: LocalState, artifact: Artifact, settings: bytes | None = None) -> None:
    one = back(local, artifact, settings)
    assert isinstance(one.source, int)
    try:
        switch_to(local, one)
    finally:
        os.close(one.source)


def switch_to(local: LocalState, one: LocalVersion) -> None:
    """Switch a namespace alone; raises what went wrong."""
    (fault,) = local.switch((one,))
    if fault is not None:
        raise fault


def switch(local: LocalState, number: int, *, keep: int = 0, activate: bool = True) -> Path:
    artifact = routes(number)
    switch_to(local, version(artifact, keep=keep, activate=activate))
    return local.folder_of(artifact.manifest.namespace.text)


def copy_from(local: LocalState, source: Path) -> None:
    """Switch to the large content, which rests in a file."""
    descriptor = os.open(source, os.O_RDONLY)
    try:
        switch_to(local, version(LARGE, descriptor))
    finally:
        os.close(descriptor)


def versions(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir() if not one.is_symlink())


def test_a_version_is_the_content_the_envelope_and_a_page_for_people(local: LocalState) -> None:
    folder = switch(local, 7)
    current = folder / "current"
    assert os.readlink(current) == "v2.7"
    assert sorted(one.name for one in current.iterdir()) == ["content", "envelope", "manifest.json"]
    assert (current / "content").read_bytes() == routes(7).content
    assert (current / "envelope").read_bytes() == routes(7).envelope
    assert '"config_version": 7' in (current / "manifest.json").read_text()


def test_a_snapshot_s_settings_are_a_file_of_their_own(local: LocalState) -> None:
    switch_to(local, version(routes(7), settings=SETTINGS))
    folder = local.folder_of(routes(7).manifest.namespace.text)
    assert (folder / "current" / "settings").read_bytes() == SETTINGS


def test_content_comes_from_a_descriptor_too_and_is_a_copy(
    local: LocalState, tmp_path: Path
) -> None:
    """A consumer that damages its copy does not damage what is served."""
    source = tmp_path / "source"
    source.write_bytes(LARGE.content)
    copy_from(local, source)
    copy = local.folder_of(routes(7).manifest.namespace.text) / "current" / "content"
    assert copy.read_bytes() == source.read_bytes()
    assert copy.stat().st_ino != source.stat().st_ino


@pytest.mark.parametrize("place", [0, 1 << 20, 2_999_999, 3_000_000], ids=str)
def test_a_content_that_rotted_on_the_disk_reaches_no_consumer(
    local: LocalState, tmp_path: Path, place: int
) -> None:
    """A flipped bit anywhere, at the edge of what is copied at once, or a byte too many: the
    version before stays, nothing of the damaged one does, and a sound copy is taken after it."""
    folder = switch(local, 6)
    source, rotten = tmp_path / "source", bytearray(LARGE.content)
    rotten[place : place + 1] = b"y"
    source.write_bytes(rotten)
    with pytest.raises(StorageError, match="damaged"):
        copy_from(local, source)
    assert os.readlink(folder / "current") == "v2.6"
    assert versions(folder) == ["v2.6"]
    source.write_bytes(LARGE.content)
    copy_from(local, source)
    assert (folder / "current" / "content").read_bytes() == LARGE.content


def test_bytes_from_memory_are_hashed_as_well(local: LocalState) -> None:
    with pytest.raises(StorageError, match="damaged"):
        switch_to(local, version(routes(7), b"other bytes"))
    assert local.visible() == ()


def test_modes_let_the_group_read_and_nobody_else_look(local: LocalState, tmp_path: Path) -> None:
    folder = switch(local, 7)
    top = tmp_path / "local"

    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    assert mode(top) == mode(folder.parent) == 0o2751
    assert mode(folder) == mode(folder / "v2.7") == 0o2750
    assert {mode(one) for one in (folder / "v2.7").iterdir()} == {0o440}


def test_the_version_before_stays_reachable_and_older_ones_go(local: LocalState) -> None:
    folder = local.folder_of(routes().manifest.namespace.text)
    for number in (7, 8, 9):
        switch(local, number)
    assert os.readlink(folder / "current") == "v2.9"
    assert os.readlink(folder / "previous") == "v2.8"
    assert versions(folder) == ["v2.8", "v2.9"]


def test_as_many_versions_stay_as_the_policy_says(local: LocalState) -> None:
    folder = local.folder_of(routes().manifest.namespace.text)
    for number in range(1, 8):
        switch(local, number, keep=3)
    assert versions(folder) == ["v2.4", "v2.5", "v2.6", "v2.7"]


def test_a_kept_version_is_switched_back_to_and_only_the_link_moves(local: LocalState) -> None:
    """And the newest after it, whose folder stayed: of no version a byte is written again."""
    folder = [switch(local, number, keep=2) for number in (6, 7, 8)][-1]
    name = routes().manifest.namespace.text
    assert [(str(order), envelope) for order, envelope in local.kept(name)] == [
        (f"2.{number}", routes(number).envelope) for number in (6, 7, 8)
    ]
    written = {one: one.stat().st_ino for one in folder.rglob("content")}
    switch_back(local, routes(6))
    assert (folder / "current" / "content").read_bytes() == routes(6).content
    assert os.readlink(folder / "previous") == "v2.8"
    switch(local, 8, keep=2)
    assert [os.readlink(folder / link) for link in ("current", "previous")] == ["v2.8", "v2.6"]
    assert {one: one.stat().st_ino for one in folder.rglob("content")} == written


def _longer(folder: Path) -> None:
    (folder / "content").chmod(0o600)
    with (folder / "content").open("ab") as file:
        file.write(b"!")


def _changed(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).write_bytes(b"something else")

    return change


def _linked(folder: Path) -> None:
    (folder / "envelope").rename(folder / "moved")
    (folder / "envelope").symlink_to("moved")


SPOILED: dict[str, Callable[[Path], None]] = {
    "a byte more": _longer,
    "another content": _changed("content"),
    "another envelope": _changed("envelope"),
    "other settings": _changed("settings"),
    "no settings": lambda folder: (folder / "settings").unlink(),
    "a link for a file": _linked,
}


@pytest.mark.parametrize("spoil", SPOILED)
def test_what_was_changed_since_it_was_written_is_not_switched_back_to(
    local: LocalState, spoil: str
) -> None:
    switch_to(local, version(routes(7), settings=SETTINGS, keep=2))
    folder = switch(local, 8, keep=2)
    SPOILED[spoil](folder / "v2.7")
    with pytest.raises(StorageError, match="not what was signed"):
        switch_back(local, routes(7), SETTINGS)
    assert [os.readlink(folder / link) for link in ("current", "previous")] == ["v2.8", "v2.7"]


DAMAGED: dict[str, Callable[[Path], None]] = {
    **SPOILED,
    "another page for people": _changed("manifest.json"),
    "one file more": lambda folder: (folder / "note").touch(),
    "a folder for a file": lambda folder: _foldered(folder / "content"),
    "gone": shutil.rmtree,
    "the link points elsewhere": lambda folder: _relink(folder.parent / "current", "v2.8"),
    "no link": lambda folder: (folder.parent / "current").unlink(),
}


def _foldered(file: Path) -> None:
    """It opens, and cannot be read, as on a disk that fails."""
    file.unlink()
    file.mkdir()


def _relink(link: Path, name: str) -> None:
    link.unlink()
    link.symlink_to(name)


@pytest.mark.parametrize("damage", DAMAGED)
def test_what_software_reads_is_found_damaged_and_written_anew(
    local: LocalState, damage: str
) -> None:
    one = version(routes(7), settings=SETTINGS, keep=2)
    switch_to(local, one)
    folder = local.folder_of(one.namespace)
    assert local.is_shown(one.manifest, one.envelope, SETTINGS)
    DAMAGED[damage](folder / "v2.7")
    assert not local.is_shown(one.manifest, one.envelope, SETTINGS)
    switch_to(local, replace(one, is_damaged=True))
    assert local.is_shown(one.manifest, one.envelope, SETTINGS)
    assert (folder / "current" / "content").read_bytes() == routes(7).content


def test_what_software_reads_through_a_link_somebody_laid_is_not_as_signed(
    local: LocalState,
) -> None:
    """What it leads to may be the same bytes today."""
    one = version(routes(7), settings=SETTINGS, keep=2)
    switch_to(local, one)
    folder = local.folder_of(one.namespace)
    (folder / "v2.7").rename(folder / "elsewhere")
    (folder / "v2.7").symlink_to("elsewhere")
    assert not local.is_shown(one.manifest, one.envelope, SETTINGS)


@pytest.mark.parametrize("damage", SPOILED)
def test_a_version_that_lay_there_unread_is_believed_no_more_than_any_bytes_at_rest(
    local: LocalState, damage: str
) -> None:
    """It was taken away, and comes back."""
    one = version(routes(7), settings=SETTINGS, keep=2)
    switch_to(local, one)
    local.withdraw(one.namespace)
    SPOILED[damage](local.folder_of(one.namespace) / "v2.7")
    switch_to(local, one)
    assert local.is_shown(one.manifest, one.envelope, SETTINGS)


def test_a_version_that_is_gone_is_not_switched_back_to(local: LocalState) -> None:
    folder = [switch(local, number) for number in (6, 7, 8)][-1]
    name = routes().manifest.namespace.text
    assert [str(order) for order, _ in local.kept(name)] == ["2.7", "2.8"]
    with pytest.raises(FileNotFoundError):
        back(local, routes(6))
    shutil.rmtree(folder / "v2.7")
    (folder / "v2.7").symlink_to("/etc")
    with pytest.raises(NotADirectoryError):
        back(local, routes(7))
    assert [str(order) for order, _ in local.kept(name)] == ["2.8"]
    assert local.kept("platform/p/cluster/c/routes/never-there") == ()


def test_a_staged_version_stands_beside_the_current_one(local: LocalState) -> None:
    switch(local, 7)
    folder = switch(local, 8, activate=False)
    assert os.readlink(folder / "current") == "v2.7"
    assert os.readlink(folder / "staged") == "v2.8"


def test_withdrawing_takes_the_links_and_leaves_open_files_alone(local: LocalState) -> None:
    folder = switch(local, 7)
    with (folder / "current" / "content").open("rb") as reader:
        local.withdraw(routes(7).manifest.namespace.text)
        assert not (folder / "current").is_symlink()
        assert reader.read() == routes(7).content
    local.withdraw(routes(7).manifest.namespace.text)
    local.withdraw("platform/p/cluster/c/routes/never-there")


def test_switching_again_changes_nothing(local: LocalState) -> None:
    folder = switch(local, 7)
    before = (folder / "v2.7").stat().st_ino
    assert switch(local, 7) == folder
    assert (folder / "v2.7").stat().st_ino == before
    assert not (folder / "previous").is_symlink()


def test_a_half_built_version_of_an_earlier_process_is_built_anew(local: LocalState) -> None:
    folder = switch(local, 7)
    (folder / "tmp-v2.8").mkdir()
    (folder / "tmp-v2.8" / "content").write_bytes(b"half")
    (folder / "current.new").symlink_to("v2.7")
    switch(local, 8)
    assert (folder / "current" / "content").read_bytes() == routes(8).content
    assert versions(folder) == ["v2.7", "v2.8"]


def test_a_link_that_points_at_nothing_is_made_good(local: LocalState) -> None:
    """The link is the truth, and a version folder somebody removed is not there."""
    folder = switch(local, 7)
    for one in (folder / "v2.7").iterdir():
        one.unlink()
    (folder / "v2.7").rmdir()
    switch(local, 7)
    assert (folder / "current" / "content").read_bytes() == routes(7).content


def test_another_statement_of_the_same_order_is_built_anew(local: LocalState) -> None:
    """Of two manifests of one version one lost its trust: the folder that has its name has its
    content too, and must not be taken for the other's."""
    folder = switch(local, 7)
    other = routes(7, content=b"the other side")
    switch_to(local, version(other))
    assert os.readlink(folder / "current") == "v2.7"
    assert (folder / "current" / "content").read_bytes() == other.content
    assert (folder / "current" / "envelope").read_bytes() == other.envelope


@pytest.mark.parametrize("survives", range(4))
def test_a_version_that_is_half_removed_stands_under_no_name_of_a_version(
    local: LocalState, monkeypatch: pytest.MonkeyPatch, survives: int
) -> None:
    """Wherever the disk stops: what has the name of a version has all of its parts, and the same
    version can come back whole."""
    folder, unlink = switch(local, 7, keep=3), os.unlink
    done: list[str] = []

    def unlink_some(path: str, *, dir_fd: int | None = None) -> None:
        if dir_fd is not None:
            if len(done) == survives:
                raise OSError(5, "the disk stops here")
            done.append(path)
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", unlink_some)
    with contextlib.suppress(OSError):
        local.withdraw(routes(7).manifest.namespace.text, purge=True)
    monkeypatch.undo()
    assert len(done) == min(survives, 3)
    for one in folder.glob("v*"):
        assert {part.name for part in one.iterdir()} == PARTS
    switch(local, 7, keep=3)
    assert {part.name for part in (folder / "current").iterdir()} == PARTS
    assert versions(folder) == ["v2.7"]


def test_a_purge_takes_what_a_crash_left_of_any_version(local: LocalState) -> None:
    """Half-built or half-removed, its bytes are the ones that must go."""
    folder = switch(local, 7)
    (folder / "tmp-v2.6").mkdir()
    (folder / "tmp-v2.6" / "content").write_bytes(routes(6).content)
    local.withdraw(routes(7).manifest.namespace.text)
    assert versions(folder) == ["tmp-v2.6", "v2.7"]
    local.withdraw(routes(7).manifest.namespace.text, purge=True)
    assert versions(folder) == []


def test_foreign_files_are_left_alone(local: LocalState) -> None:
    folder = switch(local, 7)
    (folder / "notes.txt").write_text("an operator's")
    (folder / "v2.x").mkdir()
    for number in (8, 9, 10):
        switch(local, number)
    assert (folder / "notes.txt").read_text() == "an operator's"
    assert (folder / "v2.x").is_dir()


def test_a_failed_switch_leaves_the_link_where_it_was(local: LocalState) -> None:
    folder = switch(local, 7)
    bad = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    with pytest.raises(OSError, match=r"\[Errno"):
        switch_to(local, version(routes(8), bad))
    os.close(bad)
    assert os.readlink(folder / "current") == "v2.7"
    assert (folder / "current" / "content").read_bytes() == routes(7).content
    switch(local, 8)
    assert os.readlink(folder / "current") == "v2.8"


@pytest.mark.parametrize("threads", [1, 3])
def test_what_goes_wrong_with_one_of_a_group_is_its_own(tmp_path: Path, threads: int) -> None:
    """A content that rotted, a link on the way, a file where a folder should be: the others are
    switched to."""
    local = LocalState(tmp_path, Syncing(threads))
    local.prepare()
    names = [f"routes/r{number}" for number in range(6)]
    group = [artifact(ArtifactType.ROUTE_POLICY_BUNDLE, name) for name in names]
    folders = [local.folder_of(one.manifest.namespace.text) for one in group]
    folders[2].parent.mkdir(parents=True)
    folders[2].symlink_to(tmp_path)
    folders[4].touch()
    versions = [version(one) for one in group]
    versions[0] = version(group[0], b"rotten")
    faults = local.switch(versions)
    assert [fault is None for fault in faults] == [False, True, False, True, False, True]
    assert [namespace for namespace, _ in local.visible()] == [
        one.manifest.namespace.text for one in (group[1], group[3], group[5])
    ]
    assert {(folders[place] / "current" / "content").read_bytes() for place in (1, 3, 5)} == {
        group[1].content
    }


def test_a_version_has_its_name_only_once_all_of_it_is_durable(
    local: LocalState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever fsync fails: what failed after the rename too is not pointed at."""
    folder = switch(local, 6)
    real, left = os.fsync, [0]

    def failing(descriptor: int) -> None:
        left[0] -= 1
        if not left[0]:
            raise OSError(errno.EIO, "no")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    for number in range(1, 8):
        left[0] = number
        (fault,) = local.switch((version(routes(7)),))
        if fault is None:
            break
        assert isinstance(fault, OSError)
        is_linked = os.readlink(folder / "current") == "v2.7"
        assert is_linked is (number == 6)
        assert (folder / "v2.7").exists() is (number >= 5)
        shutil.rmtree(folder / "v2.7", ignore_errors=True)
        if is_linked:
            switch(local, 6)
    assert number == 7


def test_what_lost_its_links_is_found_by_its_newest_version(local: LocalState) -> None:
    """Where a link is, nothing was put away; where no version is left, nothing can come back."""
    for number in (9, 10):
        switch(local, number)
    name = routes(9).manifest.namespace.text
    assert local.put_away() == ()
    local.withdraw(name)
    assert local.visible() == ()
    assert local.put_away() == ((name, routes(10).envelope),)
    switch(local, 9)
    assert local.put_away() == ()
    local.withdraw(name, purge=True)
    assert local.put_away() == ()


READER = """
import os, sys
folder, wrong, seen = sys.argv[1], [], set()
known = dict(line.split() for line in open(sys.argv[2]))
print("ready", flush=True)
while not os.path.exists(sys.argv[3]):
    try:
        current = os.open(folder + "/current", os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        wrong.append(f"no link: {error}")
        continue
    parts = []
    for name in ("content", "envelope"):
        part = os.open(name, os.O_RDONLY, dir_fd=current)
        parts.append(os.read(part, 1 << 20).hex())
        os.close(part)
    os.close(current)
    seen.add(parts[0])
    if known.get(parts[0]) != parts[1]:
        wrong.append("a torn version")
print(len(seen), *wrong[:3], sep="\\n")
"""


@pytest.mark.slow
@pytest.mark.system
def test_a_reader_that_looks_all_the_time_sees_whole_versions_only(
    local: LocalState, tmp_path: Path
) -> None:
    """Another process, so that it runs between any two steps of a switch: the link is always
    there, and content and envelope opened through one folder belong together."""
    folder = local.folder_of(routes().manifest.namespace.text)
    for number in (8, 7):
        switch(local, number, keep=8)
    pairs, over = tmp_path / "pairs", tmp_path / "over"
    pairs.write_text(
        "".join(f"{one.content.hex()} {one.envelope.hex()}\n" for one in (routes(7), routes(8)))
    )
    command = [sys.executable, "-c", READER, str(folder), str(pairs), str(over)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        try:
            for number in (8, 7) * 200:
                switch(local, number, keep=8)
        finally:
            over.touch()
        seen, *wrong = reader.stdout.read().split("\n")
    assert [line for line in wrong if line] == []
    assert int(seen) == 2
