"""What provably happened here: facts become records of a hash-chained log with signed checkpoints.

A thread of its own writes them (`daemon/recorder.py`), in the order of what happened. What a peer
or a local caller can cause at will folds: the first of a kind is written at once, its repeats of
the next ten seconds become one record with their number. What was allowed is a kind per object.

Never recorded: content, keys, envelopes. A record has the fields of its fact and nothing else.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Final, Never

import trio

from fabgossip.core.effects import Fact, Record
from fabgossip.daemon.recorder import LogOwner, Recorder, Written
from fabgossip.model.moment import Duration, Instant, Now, UnixTime, is_due, later
from fabgossip.model.persistence import KeptCheckpoint
from fabgossip.storage.records import ChainHead, Entry

FOLDER: Final = "audit"
CHECKPOINT_EVERY: Final = Duration(60_000)
"""A checkpoint is signed this long after the last one, if there are records it does not cover."""
FOLD: Final = Duration(10_000)
"""Repeats are counted this long (*start*)."""
FOLDS_MAX: Final = 1_024
"""Kinds of refusal counted at once; of one more, the oldest count is written early (*start*)."""
RETRY_EVERY: Final = Duration(5_000)
"""A disk that refused is tried again this often (*start*)."""
TICK_S: Final = 1.0


class Keep(Enum):
    """How much of a fact is recorded."""

    NOTHING = 0
    EACH = 1
    FOLDED = 2
    """Who causes it can cause any number: repeats are counted."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of a fact, and the word for what was decided."""

    keep: Keep
    decision: str = ""


ALLOW: Final = "allow"
_TRAFFIC: Final = Rule(Keep.NOTHING)
RULES: Final[dict[Fact, Rule]] = {
    Fact.STARTED: Rule(Keep.EACH),
    Fact.BUNDLE_ACCEPTED: Rule(Keep.EACH, "accept"),
    Fact.REVOCATION_ACCEPTED: Rule(Keep.EACH, "accept"),
    Fact.ARTIFACT_REJECTED: Rule(Keep.FOLDED, "reject"),
    Fact.ARTIFACT_WITHHELD: Rule(Keep.EACH, "withhold"),
    Fact.SESSION_CUT: Rule(Keep.FOLDED, "cut"),
    Fact.NEIGHBOR_EVICTED: Rule(Keep.FOLDED, "cut"),
    Fact.FETCH_DENIED: Rule(Keep.FOLDED, "deny"),
    Fact.FETCH_FAILED: Rule(Keep.FOLDED),
    Fact.PROBE_SILENCED: Rule(Keep.FOLDED, "deny"),
    Fact.STORAGE_FAILED: Rule(Keep.FOLDED),
    Fact.SUBMITTED: Rule(Keep.EACH),
    Fact.AUDIT_FORKED: Rule(Keep.FOLDED),
    Fact.MODE_CHANGED: Rule(Keep.EACH),
    Fact.CLAIMS_ACCEPTED: Rule(Keep.EACH, "accept"),
    Fact.CLAIMS_REFUSED: Rule(Keep.FOLDED, "reject"),
    Fact.ARTIFACT_DISPUTED: Rule(Keep.EACH, "dispute"),
    Fact.DISPUTE_SETTLED: Rule(Keep.EACH, "accept"),
    Fact.TRUST_FORKED: Rule(Keep.EACH, "dispute"),
    Fact.SILENT_REMOVAL: Rule(Keep.EACH, "alarm"),
    Fact.IDENTITY_REFUSED: Rule(Keep.FOLDED, "reject"),
    Fact.IDENTITY_CLONED: Rule(Keep.FOLDED, "alarm"),
    Fact.GRANT_USED: Rule(Keep.EACH, ALLOW),
    Fact.GRANT_ACCEPTED: Rule(Keep.EACH, "accept"),
    Fact.GRANT_REFUSED: Rule(Keep.FOLDED, "reject"),
    Fact.GRANT_FETCHED: Rule(Keep.EACH, ALLOW),
    Fact.GATE_ANSWERED: Rule(Keep.FOLDED),
    Fact.CONTENT_PURGED: Rule(Keep.EACH, "purge"),
    Fact.ARTIFACT_ACCEPTED: _TRAFFIC,
    Fact.ARTIFACT_CURRENT: _TRAFFIC,
    Fact.ARTIFACT_STAGED: _TRAFFIC,
    Fact.NEIGHBOR_CONNECTED: _TRAFFIC,
    Fact.NEIGHBOR_LOST: _TRAFFIC,
    Fact.RECOVERY_STARTED: _TRAFFIC,
    Fact.RECOVERY_ENDED: _TRAFFIC,
}
"""Every fact. Denials, rejections, trust, cut links, sources that failed and storage trouble are
recorded; traffic is not."""
_CODES: Final = ("code", "check", "reason", "operation", "outcome")
_SUBJECTS: Final = ("peer", "source", "node", "action")
_OBJECTS: Final = ("namespace", "content_hash")


def entry_of(record: Record, decision: str, now: Now) -> Entry:
    """The entry of a fact: the first of its fields that names it becomes code, subject, object; the
    others are inputs."""
    fields = {name: value for name, value in record.fields if value != ""}

    def first_of(names: tuple[str, ...]) -> str:
        name = next((one for one in names if one in fields), None)
        return "" if name is None else str(fields.pop(name))

    return Entry(
        wall=now.unix,
        mono=now.instant,
        event=record.fact.value,
        code=first_of(_CODES),
        subject=first_of(_SUBJECTS),
        object=first_of(_OBJECTS),
        decision=str(fields.pop("decision", decision)),
        inputs=tuple(fields.items()),
    )


@dataclass(slots=True)
class _Fold:
    """An entry written once, and how often it happened since."""

    until: Instant
    entry: Entry
    repeats: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditView:
    """What status shows of the log."""

    sequence: int
    """The last durable record."""
    anchored_at: UnixTime | None
    """When the newest checkpoint was signed."""
    writable: bool
    """Whether what happens is recorded in the log that was signed: the last write reached the disk,
    and the log was found as it was left."""


class Audit:
    """The node's audit log as the loop sees it. All methods are called from the loop."""

    def __init__(
        self, folder: Path, owner: LogOwner, segments_max: int, read_clocks: Callable[[], Now]
    ) -> None:
        self.folder = folder
        self._recorder = Recorder(folder, owner, segments_max)
        self._read_clocks = read_clocks
        self._folds: OrderedDict[tuple[str, str, str, str], _Fold] = OrderedDict()
        self._head = ChainHead()
        self._anchored: KeptCheckpoint | None = None
        self._sign_at = Instant(0)
        """When the next checkpoint is due."""
        self._retry_at = Instant(0)
        self._token: trio.lowlevel.TrioToken | None = None
        self._on_signed: Callable[[bytes], None] | None = None
        self._on_writable_changed: Callable[[bool], None] | None = None
        self._fault: BaseException | None = None
        self._faulted = trio.Event()
        self._is_stopped = False
        self.is_writable = True
        """Whether the last write reached the disk."""
        self.is_intact = True
        """Whether the log was found as it was left; else nothing of high risk until the next start
        finds it so: an operator has to look."""
        self.last_error = ""

    def open(self) -> None:
        """Find the end of the log; raises `StorageError`."""
        self._head, self._anchored = self._recorder.open()
        self.is_intact = not self._recorder.has_found_damage
        if not self.is_intact:
            self.last_error = "records that were signed are gone or changed"

    def start(
        self, on_signed: Callable[[bytes], None], on_writable_changed: Callable[[bool], None]
    ) -> None:
        """Start the writing thread; called once, inside the loop. `on_signed` is given each new
        checkpoint, and at once the newest of an earlier process; `on_writable_changed` is told when
        writing fails and when it works again."""
        self._on_signed, self._on_writable_changed = on_signed, on_writable_changed
        self._token = trio.lowlevel.current_trio_token()
        self._recorder.start(self._report)
        if not self.is_intact:
            on_writable_changed(False)  # noqa: FBT003  # given by position
        if self._anchored is not None:
            on_signed(self._anchored.envelope)

    def stop(self) -> None:
        """Write what is open, the end, and a checkpoint over it all, which the next process will
        show; end the thread. Blocks."""
        self._is_stopped = True
        now = self._read_clocks()
        for fold in self._folds.values():
            self._put_repeats(fold, now)
        self._folds.clear()
        self._recorder.stop(Entry(wall=now.unix, mono=now.instant, event="stopped"))

    def view(self) -> AuditView:
        """For status."""
        return AuditView(
            sequence=self._head.size,
            anchored_at=None if self._anchored is None else self._anchored.wall,
            writable=self.is_writable and self.is_intact,
        )

    def record(self, record: Record) -> None:
        """Something happened; whether it is recorded is a matter of `RULES`."""
        rule = RULES[record.fact]
        if rule.keep is not Keep.NOTHING:
            now = self._read_clocks()
            self._take(entry_of(record, rule.decision, now), rule.keep, now)

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
        """Whether it is counted; if not, its repeats will be."""
        self._put_due_repeats(now)
        # What was allowed is told apart by what it was allowed for; a refusal names what it likes.
        about = entry.object if entry.decision == ALLOW else ""
        key = (entry.event, entry.code, entry.subject, about)
        fold = self._folds.get(key)
        if fold is not None:
            fold.repeats += 1
            return True
        self._folds[key] = _Fold(later(now.instant, FOLD), entry)
        if len(self._folds) > FOLDS_MAX:
            _, oldest = self._folds.popitem(last=False)
            self._put_repeats(oldest, now)
        return False

    def _put_due_repeats(self, now: Now) -> None:
        while self._folds and is_due(next(iter(self._folds.values())).until, now.instant):
            _, oldest = self._folds.popitem(last=False)
            self._put_repeats(oldest, now)

    def _put_repeats(self, fold: _Fold, now: Now) -> None:
        if not fold.repeats:
            return
        inputs = (("repeats", fold.repeats),)
        entry = replace(fold.entry, wall=now.unix, mono=now.instant, object="", inputs=inputs)
        self._recorder.put(entry)

    def tick(self) -> None:
        """See what time has brought: counts to write, a checkpoint to sign, a disk to try again."""
        now = self._read_clocks()
        self._put_due_repeats(now)
        if not self.is_writable:
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
        assert self._on_writable_changed is not None
        self._head = written.head
        for kept in written.signed:
            self._anchored = kept
            self._sign_at = later(self._read_clocks().instant, CHECKPOINT_EVERY)
            self._on_signed(kept.envelope)
        self.last_error = written.error
        if self.is_writable is not (not written.error):
            self.is_writable = not written.error
            self._retry_at = later(self._read_clocks().instant, RETRY_EVERY)
            self._on_writable_changed(self.is_writable)
