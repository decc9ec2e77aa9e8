"""What is wrong with a state folder nobody serves, and an index made anew from its files.

Decides: what a fault is, and how grave.
Keeps: looking changes nothing but a file of its own, which goes again; an index that is replaced is
kept beside the new one; a file is taken up only if it is what its name says.
Must not know: who asks, what a content means.
"""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Final

from fabgossip.errors import StorageError
from fabgossip.model.artifact import Order
from fabgossip.model.ids import ContentHash, NodeId
from fabgossip.model.persistence import HeldBack, Pin
from fabgossip.storage.contents import INCOMING, OBJECTS, QUARANTINE, ContentFiles
from fabgossip.storage.index import INDEX_NAME, NodeIndex, OtherSchemaError
from fabgossip.storage.materialized import LOCAL, LocalState
from fabgossip.storage.rows import PutContent
from fabgossip.storage.syncing import Syncing

NAMED_MAX: Final = 10
"""Names of one fault that are listed; of the others their number is told."""
SLOW_SYNC_MS: Final = 100
"""A disk that needs longer for 4 KiB holds up every publication (*start*)."""
_READ_BYTES: Final = 1 << 20
_ROWS_AT_ONCE: Final = 256

REBUILD: Final = "fabgossip doctor --rebuild-index"
"""What makes a lost or damaged index anew."""


class Grade(StrEnum):
    """How grave a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was looked at, what was found, and what to do."""

    subject: str
    grade: Grade
    detail: str
    next_step: str = ""


def inspect(folder: Path, *, hashes: bool) -> tuple[Finding, ...]:
    """Look at a state folder; with `hashes`, at every byte of its contents. Blocks."""
    try:
        if folder.is_dir():
            return (
                _folder(folder),
                *_contents(folder, hashes=hashes),
                *_leavings(folder),
                _local(folder),
                _sync(folder),
            )
        detail = f"{folder} is no folder"
        step = "storage.path of the configuration; the daemon makes the folder"
    except OSError as error:
        detail = f"{error.filename} cannot be read: {error.strerror}"
        step = "as root, or as the daemon's user"
    return (Finding(subject="state folder", grade=Grade.FAIL, detail=detail, next_step=step),)


def _ok(subject: str, detail: str) -> Finding:
    return Finding(subject=subject, grade=Grade.OK, detail=detail)


def _folder(folder: Path) -> Finding:
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o022:
        detail = f"{folder} has mode {mode:04o}: others can change what the daemon believes"
        step = f"chmod go-w {folder}"
        return Finding(subject="state folder", grade=Grade.FAIL, detail=detail, next_step=step)
    return _ok("state folder", f"{folder}, mode {mode:04o}")


def _contents(folder: Path, *, hashes: bool) -> list[Finding]:
    index = NodeIndex(folder / INDEX_NAME)
    if not (folder / INDEX_NAME).exists():
        detail = f"{INDEX_NAME} is missing: a node that starts without it remembers nothing"
        return [Finding(subject="index", grade=Grade.FAIL, detail=detail, next_step=REBUILD)]
    try:
        with index.reading():
            fault = index.fault()
            if fault is not None:
                raise StorageError(fault)
            filed, inline = index.filed(), index.count_inline()
            held_back = [(one, index.head_order(one.namespace)) for one in index.held_back()]
            unclaimed = _unclaimed(folder, index)
    except OtherSchemaError as error:
        step = "start its daemon once, which carries it over"
        return [Finding(subject="index", grade=Grade.WARN, detail=str(error), next_step=step)]
    except StorageError as error:
        return [Finding(subject="index", grade=Grade.FAIL, detail=str(error), next_step=REBUILD)]
    found = [_ok("index", f"sound; {len(filed)} contents in files, {inline} inside")]
    found += [_hold(one, newest) for one, newest in held_back]
    step = "fabgossip why NAMESPACE, once its daemon runs"
    found.append(_some("current in local/ that nothing names", Grade.WARN, unclaimed, step))
    return found + _files(folder, filed, hashes=hashes)


def _unclaimed(folder: Path, index: NodeIndex) -> list[str]:
    """What local software reads although the index knows no head of it."""
    shown = LocalState(folder, Syncing()).visible()
    return [namespace for namespace, _ in shown if index.head_order(namespace) is None]


def _hold(held_back: HeldBack, newest: Order | None) -> Finding:
    """Local software reads an older version, because somebody wants it to."""
    until = datetime.fromtimestamp(held_back.until, tz=UTC).isoformat().replace("+00:00", "Z")
    waits = "" if newest is None else f"; {newest} waits"
    detail = (
        f"{held_back.namespace}: {held_back.owner} put it back to {held_back.order} until {until}: "
        f'"{held_back.reason}"{waits}'
    )
    step = f"fabgossip artifacts use {held_back.namespace} --release, once its daemon runs"
    return Finding(subject="held_back", grade=Grade.WARN, detail=detail, next_step=step)


def _files(folder: Path, filed: dict[ContentHash, int], *, hashes: bool) -> list[Finding]:
    files = ContentFiles(folder, Syncing())
    lacking = [one.hex() for one, size in filed.items() if files.lacks(one, size)]
    loose, foreign, damaged, owned = [], [], [], []
    owner = folder.stat().st_uid
    for path in objects_in(folder):
        if path.lstat().st_uid != owner:
            owned.append(path.name)
        content_hash = _name_of(path)
        if content_hash is None:
            foreign.append(str(path.relative_to(folder / OBJECTS)))
        elif content_hash not in filed:
            loose.append(path.name)
        elif hashes and path.name not in lacking and not is_sound(path):
            damaged.append(path.name)
    told = "fetched again at a start of the daemon, or when it is asked for or scrubbed"
    return [
        _some("files that are gone or cut short", Grade.WARN, lacking, told),
        _some("damaged files", Grade.WARN, damaged, told)
        if hashes
        else _ok("damaged files", "not looked for; --hash reads all"),
        _some("files nothing names", Grade.WARN, loose, REBUILD),
        _some("foreign files in objects/", Grade.FAIL, foreign, "find out who put them there"),
        _some(
            "files of another user in objects/",
            Grade.FAIL,
            owned,
            f"chown -R --reference={folder} {folder / OBJECTS}: the daemon may not be able to read "
            "them",
        ),
    ]


def _some(subject: str, grade: Grade, names: list[str], step: str) -> Finding:
    if not names:
        return _ok(subject, "none")
    rest = len(names) - NAMED_MAX
    more = f" and {rest} more" if rest > 0 else ""
    detail = f"{len(names)}: {', '.join(sorted(names)[:NAMED_MAX])}{more}"
    return Finding(subject=subject, grade=grade, detail=detail, next_step=step)


def _leavings(folder: Path) -> Iterator[Finding]:
    incoming, aside = _count(folder / INCOMING), _count(folder / QUARANTINE)
    yield _ok(
        INCOMING,
        f"{incoming} files on their way, or left by a crash: the next start keeps parts alone",
    )
    if aside:
        detail = f"{aside} damaged files were set aside"
        step = "look after the disk: dmesg, its SMART values"
        yield Finding(subject=QUARANTINE, grade=Grade.WARN, detail=detail, next_step=step)
    else:
        yield _ok(QUARANTINE, "none set aside")


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0


def _local(folder: Path) -> Finding:
    broken = []
    for place, folders, names in os.walk(folder / LOCAL):
        for name in (*folders, *names):
            link = Path(place, name)
            if link.is_symlink() and not link.exists():
                broken.append(str(link.relative_to(folder)))
    step = "the daemon lays its own again at its next start; remove one that stays"
    return _some("links to nothing in local/", Grade.WARN, broken, step)


def _sync(folder: Path) -> Finding:
    """One fsync, timed."""
    path = folder / f".doctor-{os.getpid()}"
    try:
        with path.open("xb", buffering=0) as file:
            file.write(bytes(4_096))
            begun = time.perf_counter()
            os.fsync(file.fileno())
            took_ms = (time.perf_counter() - begun) * 1_000
    except OSError as error:
        detail = f"cannot be written: {error.strerror}"
        step = "df and the mount options; as root, or as the daemon's user"
        return Finding(subject="disk", grade=Grade.FAIL, detail=detail, next_step=step)
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    detail = f"4 KiB were durable after {took_ms:.1f} ms"
    if took_ms > SLOW_SYNC_MS:
        step = "another disk, or fewer who write to this one"
        return Finding(subject="disk", grade=Grade.WARN, detail=detail, next_step=step)
    return _ok("disk", detail)


def objects_in(folder: Path) -> Iterator[Path]:
    """Everything that lies where contents lie, in order."""
    for shard in sorted((folder / OBJECTS).glob("*")):
        yield from sorted(shard.iterdir()) if shard.is_dir() else (shard,)


def _name_of(path: Path) -> ContentHash | None:
    """The content a file is named by, None of a foreign one."""
    try:
        found = bytes.fromhex(path.name)
    except ValueError:
        return None
    is_ours = len(found) == sha256().digest_size and path.name == found.hex()
    is_there = path.parent.name == path.name[:2] and stat.S_ISREG(path.lstat().st_mode)
    return ContentHash(found) if is_ours and is_there else None


def is_sound(path: Path) -> bool:
    """Whether a file is what its name says. Blocks."""
    digest = sha256()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            while part := file.read(_READ_BYTES):
                digest.update(part)
    except OSError:
        return False
    return digest.hexdigest() == path.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What became of a state folder whose index was made anew."""

    aside: str
    """The name of the old index."""
    adopted: int
    damaged: int
    foreign: int
    orders: tuple[tuple[Pin, ...], tuple[HeldBack, ...]] | None
    """The pins and holds that are gone with the old index; None where it could not be read."""


def rebuild_index(folder: Path, node_id: NodeId) -> Rebuilt:
    """Set the index aside and make one that knows the files that are sound, and nothing else; the
    caller holds the lock. Manifests, floors and trust are in no file: the node starts in amnesia,
    hears of them from its peers, and finds their contents here. Blocks.

    Raises:
        StorageError: it could not be made.
    """
    path = folder / INDEX_NAME
    orders = _orders_in(path)
    number = next(one for one in range(1, 1 << 20) if not _aside(path, one).exists())
    try:
        for suffix in ("", "-wal", "-shm"):
            old = path.with_name(path.name + suffix)
            if old.exists():
                old.rename(_aside(path, number).with_name(f"{_aside(path, number).name}{suffix}"))
        files = ContentFiles(folder, Syncing())
        files.prepare()
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
    index = NodeIndex(path)
    index.open(node_id)
    index.mark_rebuilt()
    adopted = damaged = foreign = 0
    rows: list[PutContent] = []
    try:
        for file in objects_in(folder):
            content_hash = _name_of(file)
            if content_hash is None:
                foreign += 1
            elif not is_sound(file):
                files.set_aside(content_hash)
                damaged += 1
            else:
                size = file.stat().st_size
                rows.append(PutContent(content_hash=content_hash, size=size, inline=None))
                adopted += 1
            if len(rows) == _ROWS_AT_ONCE:
                index.commit(rows)
                rows.clear()
        index.commit(rows)
    except OSError as error:
        raise StorageError(f"{folder / OBJECTS}: {error.strerror}") from error
    finally:
        index.close()
    name = _aside(path, number).name
    return Rebuilt(aside=name, adopted=adopted, damaged=damaged, foreign=foreign, orders=orders)


def _orders_in(path: Path) -> tuple[tuple[Pin, ...], tuple[HeldBack, ...]] | None:
    """What operators asked for is in no file either, and nobody tells it again."""
    try:
        with NodeIndex(path).reading() as index:
            return tuple(one.pin for one in index.pins()), index.held_back()
    except StorageError:
        return None


def _aside(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.aside-{number}")
