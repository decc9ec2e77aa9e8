"""What provably happened here: facts become records of a hash-chained log with signed checkpoints.

A thread of its own writes them (`daemon/recorder.py`), in the order of what happened. What a peer
or a local caller can cause at will folds: the first of a kind is written at once, its repeats of
the next ten seconds become one record with their number. What was allowed is a kind per object.

Never recorded: content, keys, envelopes. A record has the fields of its fact and nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Never

import trio

from fabgossip.core.effects import Record
from fabgossip.core.events import AuditState
from fabgossip.daemon.facts import ALLOW, RULES, Keep, entry_of
from fabgossip.daemon.folding import Folds
from fabgossip.daemon.recorder import LogOwner, Recorder, Written
from fabgossip.model.moment import Duration, Instant, Now, UnixTime, is_due, later
from fabgossip.model.persistence import KeptCheckpoint
from fabgossip.storage.records import ChainHead, Entry

FOLDER: Final = "audit"
CHECKPOINT_EVERY: Final = Duration(60_000)
"""A checkpoint is signed this long after the last one, if there are records it does not cover."""
RETRY_EVERY: Final = Duration(5_000)
"""A disk that refused is tried again this often (*start*)."""
TICK_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditView:
    """What status shows of the log."""

    sequence: int
    """The last durable record."""
    anchored_at: UnixTime | None
    """When the newest checkpoint was signed."""
    state: AuditState


class Audit:
    """The node's audit log as the loop sees it. All methods are called from the loop."""

    def __init__(
        self, folder: Path, owner: LogOwner, segments_max: int, read_clocks: Callable[[], Now]
    ) -> None:
        self.folder = folder
        self._recorder = Recorder(folder, owner, segments_max)
        self._read_clocks = read_clocks
        self._folds: Folds[Entry] = Folds(self._put_repeats)
        self._head = ChainHead()
        self._anchored: KeptCheckpoint | None = None
        self._sign_at = Instant(0)
        """When the next checkpoint is due."""
        self._retry_at = Instant(0)
        self._token: trio.lowlevel.TrioToken | None = None
        self._on_signed: Callable[[bytes], None] | None = None
        self._on_state: Callable[[AuditState], None] | None = None
        self._fault: BaseException | None = None
        self._faulted = trio.Event()
        self._is_stopped = False
        self._found = AuditState.INTACT
        """What the start found: the state whenever the disk takes what is written."""
        self.state = self._found
        self.last_error = ""
        """What the disk said at the last write, empty where it took it."""

    def open(self) -> None:
        """Find the end of the log; raises `StorageError`."""
        self._head, self._anchored = self._recorder.open()
        if self._recorder.has_found_damage:
            self._found = self.state = AuditState.DAMAGED

    def start(
        self, on_signed: Callable[[bytes], None], on_state: Callable[[AuditState], None]
    ) -> None:
        """Start the writing thread; called once, inside the loop. `on_signed` is given each new
        checkpoint, and at once the newest of an earlier process; `on_state` each other state, and
        at once the one it starts in where that is not `INTACT`."""
        self._on_signed, self._on_state = on_signed, on_state
        self._token = trio.lowlevel.current_trio_token()
        self._recorder.start(self._report)
        if self.state is not AuditState.INTACT:
            on_state(self.state)
        if self._anchored is not None:
            on_signed(self._anchored.envelope)

    def stop(self) -> None:
        """Write what is open, the end, and a checkpoint over it all, which the next process will
        show; end the thread. Blocks."""
        self._is_stopped = True
        now = self._read_clocks()
        self._folds.tell_all(now)
        self._recorder.stop(Entry(wall=now.unix, mono=now.instant, event="stopped"))

    def view(self) -> AuditView:
        """For status."""
        return AuditView(
            sequence=self._head.size,
            anchored_at=None if self._anchored is None else self._anchored.wall,
            state=self.state,
        )

    def record(self, record: Record) -> None:
        """Something happened; whether it is recorded is a matter of `RULES`."""
        keep = RULES[record.fact].keep
        if keep is not Keep.NOTHING:
            now = self._read_clocks()
            self._take(entry_of(record, now), keep, now)

    def refused(self, who: str, target: str) -> None:
        """Local software asked for what it may not ask for."""
        now = self._read_clocks()
        entry = Entry(
            wall=now.unix,
            mono=now.instant,
            event="request_refused",
            subject=who,
            object=target,
            decision="deny",
        )
        self._take(entry, Keep.FOLDED, now)

    def _take(self, entry: Entry, keep: Keep, now: Now) -> None:
        if keep is Keep.FOLDED and self._is_repeat(entry, now):
            return
        self._recorder.put(entry)

    def _is_repeat(self, entry: Entry, now: Now) -> bool:
        # What was allowed is told apart by what it was allowed for; a refusal names what it likes.
        about = entry.object if entry.decision == ALLOW else ""
        kind = (entry.event, entry.code, entry.subject, about)
        return self._folds.is_repeat(kind, entry, now)

    def _put_repeats(self, first: Entry, repeats: int, now: Now) -> None:
        inputs = (("repeats", repeats),)
        entry = replace(first, wall=now.unix, mono=now.instant, object="", inputs=inputs)
        self._recorder.put(entry)

    def tick(self) -> None:
        """See what time has brought: counts to write, a checkpoint to sign, a disk to try again."""
        now = self._read_clocks()
        self._folds.tell_due(now)
        if self.state is AuditState.STOPPED:
            if is_due(self._retry_at, now.instant):
                self._retry_at = later(now.instant, RETRY_EVERY)
                self._recorder.try_again()
        elif self._head.size > self._covered and is_due(self._sign_at, now.instant):
            self._sign_at = later(now.instant, CHECKPOINT_EVERY)
            self._recorder.sign(now.unix)

    @property
    def _covered(self) -> int:
        return 0 if self._anchored is None else self._anchored.size

    async def run(self) -> Never:
        """Tick for ever; raises what a callback raised, where the nursery sees it."""
        while not self._faulted.is_set():
            with trio.move_on_after(TICK_S):
                await self._faulted.wait()
            self.tick()
        assert self._fault is not None
        raise self._fault

    def _report(self, written: Written) -> None:
        """Called by the writing thread."""
        assert self._token is not None
        try:
            self._token.run_sync_soon(self._deliver, written)
        except trio.RunFinishedError:
            return

    def _deliver(self, written: Written) -> None:
        """Runs in the loop itself, where an exception would end the loop without a word: `run`
        raises it instead."""
        if self._fault is not None or self._is_stopped:
            return
        try:
            self._on_written(written)
        except BaseException as error:  # noqa: BLE001  # raised again by `run`
            self._fault = error
            self._faulted.set()

    def _on_written(self, written: Written) -> None:
        assert self._on_signed is not None
        assert self._on_state is not None
        self._head = written.head
        for kept in written.signed:
            self._anchored = kept
            self._sign_at = later(self._read_clocks().instant, CHECKPOINT_EVERY)
            self._on_signed(kept.envelope)
        self.last_error = written.error
        state = AuditState.STOPPED if written.error else self._found
        if self.state is not state:
            self.state = state
            self._retry_at = later(self._read_clocks().instant, RETRY_EVERY)
            self._on_state(state)
