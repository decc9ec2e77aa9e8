"""The state folder of a node, locked, and what it says when the daemon starts."""

import fcntl
import os
from pathlib import Path
from typing import Final

from fabgossip.core.events import Started
from fabgossip.core.space import USUAL_LIMITS, SpaceLimits
from fabgossip.daemon.disk import Disk, drop_loose
from fabgossip.errors import ServiceError, StorageError
from fabgossip.model.ids import NodeId
from fabgossip.storage.contents import ContentFiles
from fabgossip.storage.index import INDEX_NAME, NodeIndex
from fabgossip.storage.materialized import LocalState
from fabgossip.storage.rows import DropContent
from fabgossip.storage.syncing import Syncing

STATE_MODE: Final = 0o751


class LockedError(ServiceError):
    """Another process serves the state folder."""

    exit_code = 75


class StateFolder:
    """The state folder, locked, with its parts open."""

    def __init__(self, folder: Path, node_id: NodeId, syncing: Syncing) -> None:
        self._lock = lock(folder)
        self.index = NodeIndex(folder / INDEX_NAME)
        self.reader = NodeIndex(folder / INDEX_NAME)
        self.files = ContentFiles(folder, syncing)
        self.local = LocalState(folder, syncing)
        try:
            self.index.open(node_id)
            self.foreign = self.files.prepare()
            """Names of files in `incoming/` that no daemon had made; they are gone."""
            self.local.prepare()
            self.reader.open(node_id)
            self._drop_loose_ends()
        except OSError as error:
            raise StorageError(f"storage.path: {folder}: {error.strerror}") from error

    def _drop_loose_ends(self) -> None:
        """Contents whose head a crash replaced before they were removed, rows whose files are gone,
        which the core then wants again, and bytes a crash left without a row: rows first, then
        bytes."""
        # An index made anew knows contents by their files alone: what names them is yet to come.
        orphans = () if self.index.is_rebuilt() else self.index.orphans()
        filed = self.index.filed()
        lost = (one for one, size in filed.items() if self.files.lacks(one, size))
        dropped = tuple(dict.fromkeys((*orphans, *lost)))
        self.files.mark(dropped)
        self.index.commit(DropContent(content_hash=one) for one in dropped)
        drop_loose(self.index, self.files, self.files.marked())

    def new_disk(self, limits: SpaceLimits = USUAL_LIMITS) -> Disk:
        """A writing thread over these parts, not started; a daemon has one."""
        return Disk(self.index, self.reader, self.files, self.local, limits)

    def begin(self, disk: Disk) -> Started:
        """Count this start, durably, and give what the disk says, for the core; once a start.
        Raises `StorageError`."""
        loose = self.index.loose() if self.index.is_rebuilt() else ()
        return Started(
            loose=loose,
            trust=self.index.trust_chain(),
            heads=self.index.heads(disk.read),
            floors=self.index.floors(),
            revoked=self.index.revoked(),
            memory=self.index.begin(),
            evidence_contents=self.index.evidence_contents(disk.read),
            checkpoints=self.index.checkpoints(),
            visible=self.local.visible(),
            put_away=self.local.put_away(),
            pins=self.index.pins(),
            held_back=self.index.held_back(),
        )

    def close(self) -> None:
        """Checkpoint, close, unlock."""
        self.reader.close()
        self.index.close()
        os.close(self._lock)


def lock(folder: Path) -> int:
    """Hold the folder for this process; raises `LockedError` naming the holder."""
    try:
        folder.mkdir(mode=STATE_MODE, parents=True, exist_ok=True)
        descriptor = os.open(
            folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
    except OSError as error:
        raise StorageError(f"storage.path: {folder}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise LockedError(
            f"storage.path: {folder} is in use by process {holder or 'unknown'}"
        ) from error
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        os.close(descriptor)
        raise StorageError(f"storage.path: {folder}: {error.strerror}") from error
    return descriptor
