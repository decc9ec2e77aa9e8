"""The thread that writes the audit log: records in the order they came, then checkpoints over them.

Whenever it is free it makes durable together what waits. An entry leaves the queue once it is on
the disk, and a checkpoint is reported once it is kept beside the log. A disk that refuses is left
alone until the loop says to try again; meanwhile the queue holds the first 4,096 entries, and the
next record after those says how many are missing.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from fabgossip.errors import StorageError
from fabgossip.model.authority import AuditCheckpoint
from fabgossip.model.ids import BootId, ClusterId, NodeId
from fabgossip.model.moment import UnixTime
from fabgossip.model.persistence import KeptCheckpoint
from fabgossip.storage.checkpoints import CheckpointFile
from fabgossip.storage.records import ChainHead, Entry, RecordChain, gap_entry
from fabgossip.trust.checkpoints import CheckpointSigner, verify_checkpoint
from fabgossip.trust.rejections import Rejection
from fabgossip.trust.signatures import Ed25519Verifier

QUEUE_MAX: Final = 4_096
"""Entries that wait for the disk (*start*)."""
BATCH_MAX: Final = 256
"""Entries made durable together."""
CHECKPOINT_RECORDS: Final = 256
"""Records after which a checkpoint is signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOwner:
    """Whose log it is, and the key that says so."""

    cluster_id: ClusterId
    node_id: NodeId
    boot_id: BootId
    signer: CheckpointSigner


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """How far the log reaches now; `error` where it was meant to reach further."""

    head: ChainHead
    signed: tuple[KeptCheckpoint, ...] = ()
    error: str = ""


class Recorder:
    """The log and its writing thread. All public methods are called from the loop."""

    def __init__(self, folder: Path, owner: LogOwner, segments_max: int) -> None:
        self._owner = owner
        self._chain = RecordChain(folder, owner.boot_id.hex(), segments_max=segments_max)
        self._checkpoints = CheckpointFile(folder)
        self._anchored = 0
        """Size the newest checkpoint covers."""
        self._signed: list[KeptCheckpoint] = []
        """Not reported yet."""
        self._report: Callable[[Written], None] | None = None
        self._wake = threading.Condition()
        self._queue: deque[Entry] = deque()
        self._found: tuple[str, int] | None = None
        """What became of the log while nobody wrote it, and the size that was signed."""
        self._lost = 0
        """Entries that found the queue full."""
        self._wall = UnixTime(0)
        """Of the entry written last."""
        self._sign_at: UnixTime | None = None
        """Wanted: a checkpoint over all there is, with this time."""
        self._is_failing = False
        self._is_retrying = False
        self._is_stopping = False
        self._thread = threading.Thread(target=self._work, name="fabgossip-audit", daemon=True)

    def open(self) -> tuple[ChainHead, KeptCheckpoint | None]:
        """Find the end of the log, and its newest checkpoint if that is ours; raises
        `StorageError`."""
        self._chain.open()
        newest = self._checkpoints.open()
        kept = None if newest is None else self._own(newest)
        head = self._chain.head
        self._anchored = 0 if kept is None else min(kept.size, head.size)
        if kept is not None and kept.size > head.size:
            self._found = "cut", kept.size
        elif kept is not None and kept.size == head.size and kept.head != head.line_hash:
            self._found = "altered", kept.size
        return head, kept

    @property
    def has_found_damage(self) -> bool:
        """Whether what was signed is not what is there; asked before anything is written."""
        return self._found is not None

    def _own(self, envelope: bytes) -> KeptCheckpoint | None:
        """A checkpoint of an earlier key, or one somebody put there, is nobody's concern here."""
        found = verify_checkpoint(envelope, self._owner.signer.public_key, Ed25519Verifier())
        return None if isinstance(found, Rejection) else _kept(found, envelope)

    def start(self, report: Callable[[Written], None]) -> None:
        """Start the thread; it calls `report` after every try to write."""
        self._report = report
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Record this, in its turn."""
        with self._wake:
            if self._found is not None:
                code, size = self._found
                self._queue.append(gap_entry(entry, code, ("signed", size)))
                self._found = None
            if self._lost and len(self._queue) < QUEUE_MAX - 1:
                self._queue.append(gap_entry(entry, "queue_full", ("records", self._lost)))
                self._lost = 0
            if len(self._queue) >= QUEUE_MAX:
                self._lost += 1
                return
            self._queue.append(entry)
            self._wake.notify()

    def sign(self, wall: UnixTime) -> None:
        """Sign a checkpoint over all that was put before, unless the newest covers it."""
        with self._wake:
            self._sign_at = wall
            self._wake.notify()

    def try_again(self) -> None:
        """A disk that refused gets another chance."""
        with self._wake:
            self._is_retrying = True
            self._wake.notify()

    def stop(self, last: Entry) -> None:
        """Write what is queued, this entry, a checkpoint over it all, and end; a disk that refuses
        is tried once. Blocks."""
        with self._wake:
            if self._lost:
                self._queue.append(gap_entry(last, "queue_full", ("records", self._lost)))
            # A queue may be full, but what it lost and that it ended is told all the same.
            self._queue.append(last)
            self._sign_at = UnixTime(last.wall)
            self._is_stopping = True
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join()
        self._chain.close()

    def _has_work(self) -> bool:
        return bool(self._queue) or self._sign_at is not None

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._is_stopping and not (
                    self._has_work() and (self._is_retrying or not self._is_failing)
                ):
                    self._wake.wait()
                if not self._has_work():
                    return
                batch = tuple(islice(self._queue, BATCH_MAX))
                sign_at = None
                if len(batch) == len(self._queue):
                    sign_at, self._sign_at = self._sign_at, None
                self._is_retrying = False
            error = self._carry_out(batch, sign_at)
            self._tell(error)
            if error and self._is_stopping:
                return

    def _carry_out(self, batch: Sequence[Entry], sign_at: UnixTime | None) -> str:
        """Write and sign; gives what the disk said if it refused."""
        try:
            while batch:
                batch = batch[self._append(batch) :]
            if sign_at is not None:
                self._sign(self._chain.head, sign_at)
        except StorageError as error:
            with self._wake:
                # Also what makes the next try one, where nothing else waits for the disk.
                self._sign_at = self._sign_at or sign_at or self._wall
            return str(error)
        return ""

    def _append(self, batch: Sequence[Entry]) -> int:
        """Up to the next checkpoint, or the end of the segment."""
        chain = self._chain
        before, segment = chain.head, chain.segment
        room = CHECKPOINT_RECORDS - (before.size - self._anchored)
        count = chain.append(batch[: max(1, room)])
        self._wall = UnixTime(batch[count - 1].wall)
        self._forget(count)
        if chain.segment != segment:
            self._sign(before, self._wall)
        if chain.head.size - self._anchored >= CHECKPOINT_RECORDS:
            self._sign(chain.head, self._wall)
        return count

    def _forget(self, count: int) -> None:
        with self._wake:
            for _ in range(count):
                self._queue.popleft()

    def _sign(self, head: ChainHead, wall: UnixTime) -> None:
        if head.size <= self._anchored:
            return
        checkpoint = AuditCheckpoint(
            cluster_id=self._owner.cluster_id,
            node_id=self._owner.node_id,
            boot_id=self._owner.boot_id,
            size=head.size,
            head=head.line_hash,
            wall=wall,
        )
        kept = _kept(checkpoint, self._owner.signer.sign(checkpoint))
        self._checkpoints.append(kept)
        self._anchored = head.size
        self._signed.append(kept)

    def _tell(self, error: str) -> None:
        assert self._report is not None
        self._is_failing = bool(error)
        signed, self._signed = tuple(self._signed), []
        self._report(Written(head=self._chain.head, signed=signed, error=error))


def _kept(checkpoint: AuditCheckpoint, envelope: bytes) -> KeptCheckpoint:
    return KeptCheckpoint(
        size=checkpoint.size, head=checkpoint.head, wall=checkpoint.wall, envelope=envelope
    )
