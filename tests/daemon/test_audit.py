"""The audit log of a daemon: what is recorded, what is counted, in which order, and signed when."""

import errno
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from fabgossip.core.effects import Fact, Record
from fabgossip.core.events import AuditState
from fabgossip.daemon.audit import Audit
from fabgossip.daemon.folding import FOLDS_MAX
from fabgossip.daemon.recorder import CHECKPOINT_RECORDS, QUEUE_MAX
from fabgossip.model.authority import AuditCheckpoint
from fabgossip.model.moment import Duration, Instant, Now, UnixTime, later
from fabgossip.storage.checkpoints import FILE_NAME, read_envelopes
from fabgossip.storage.records import SEGMENT_BYTES_MAX, segments_of
from fabgossip.storage.verifying import verify_folder
from fabgossip.trust.checkpoints import verify_checkpoint
from fabgossip.trust.signatures import Ed25519Verifier
from tests.daemon.audits import audit_in
from tests.daemon.fabric import HANG_S
from tests.storage.chains import lines_in
from tests.trust import factory


class Clock:
    """Both clocks, which go on when told."""

    def __init__(self) -> None:
        self._now = factory.BOTH_CLOCKS

    def __call__(self) -> Now:
        return self._now

    def wait(self, milliseconds: int) -> None:
        instant = later(self._now.instant, Duration(milliseconds))
        self._now = Now(instant=instant, unix=UnixTime(self._now.unix + milliseconds // 1_000))


class Kept:
    """A log that runs, and what it told the loop."""

    def __init__(self, folder: Path, boot: str = "first") -> None:
        self.clock = Clock()
        self.audit = audit_in(folder, self.clock, boot)
        self.signed: list[bytes] = []
        self.told: list[AuditState] = []
        self._news = trio.Event()

    def start(self) -> None:
        self.audit.start(self._on_signed, self._on_state)

    def _on_signed(self, envelope: bytes) -> None:
        self.signed.append(envelope)
        self._news.set()

    def _on_state(self, state: AuditState) -> None:
        self.told.append(state)
        self._news.set()

    async def until_signed(self, count: int) -> list[AuditCheckpoint]:
        """The checkpoints, once there are so many."""
        while len(self.signed) < count:
            await self._next()
        return [checkpoint_in(one) for one in self.signed]

    async def until_told(self, *told: AuditState) -> None:
        """Until the loop was told all this of the disk."""
        while self.told != list(told):
            await self._next()

    async def _next(self) -> None:
        self._news = trio.Event()
        await self._news.wait()

    async def settled(self) -> list[dict[str, object]]:
        """What the log holds once all that was asked for is on the disk."""
        self.audit.stop()
        return rows_in(self.audit)


def checkpoint_in(envelope: bytes) -> AuditCheckpoint:
    found = verify_checkpoint(envelope, factory.AUDITOR.public_key, Ed25519Verifier())
    assert isinstance(found, AuditCheckpoint)
    return found


def rows_in(audit: Audit) -> list[dict[str, object]]:
    return [json.loads(line) for line in lines_in(audit.folder)]


@asynccontextmanager
async def kept(folder: Path, boot: str = "first") -> AsyncIterator[Kept]:
    log = Kept(folder, boot)
    log.start()
    with trio.fail_after(HANG_S):
        yield log
    log.audit.stop()


def denied(peer: str, check: str = "scope") -> Record:
    return Record(fact=Fact.FETCH_DENIED, fields=(("peer", peer), ("check", check)))


def bundle(version: int) -> Record:
    namespace = f"{factory.PREFIX}/trust/bundle"
    fields = (("namespace", namespace), ("order", f"1.{version}"), ("source", ""))
    return Record(fact=Fact.BUNDLE_ACCEPTED, fields=fields)


def short(rows: list[dict[str, object]]) -> list[tuple[object, ...]]:
    return [(one["event"], one["code"], one["subject"], one["inputs"]) for one in rows]


STOPPED: tuple[object, ...] = ("stopped", "", "", {})


async def test_facts_become_records_in_order_and_traffic_does_not(tmp_path: Path) -> None:
    log = Kept(tmp_path / "audit")
    log.start()
    log.audit.record(Record(fact=Fact.STARTED, fields=(("node", "n1"),)))
    log.audit.record(Record(fact=Fact.NEIGHBOR_CONNECTED, fields=(("peer", "n2"),)))
    log.audit.record(bundle(2))
    log.audit.record(denied("n2"))
    rows = await log.settled()
    assert short(rows) == [
        ("started", "", "n1", {}),
        ("bundle_accepted", "", "", {"order": "1.2"}),
        ("fetch_denied", "scope", "n2", {}),
        STOPPED,
    ]
    assert [one["decision"] for one in rows] == ["", "accept", "deny", ""]
    assert rows[1]["object"] == f"{factory.PREFIX}/trust/bundle"
    assert (rows[1]["wall"], rows[1]["mono"]) == (factory.NOW, 5_000)
    assert verify_folder(log.audit.folder).faults == ()


async def test_repeats_of_a_refusal_are_counted_for_ten_seconds(tmp_path: Path) -> None:
    log = Kept(tmp_path / "audit")
    log.start()
    for _ in range(3):
        log.audit.record(denied("n2"))
    log.audit.record(denied("n3"))
    log.clock.wait(9_999)
    log.audit.record(denied("n2"))
    log.audit.tick()
    log.clock.wait(1)
    log.audit.tick()
    log.audit.record(denied("n2"))
    rows = await log.settled()
    assert short(rows) == [
        ("fetch_denied", "scope", "n2", {}),
        ("fetch_denied", "scope", "n3", {}),
        ("fetch_denied", "scope", "n2", {"repeats": 3}),
        ("fetch_denied", "scope", "n2", {}),
        STOPPED,
    ]


def gate_answer(decision: str, namespace: str, action: str = "activate-update") -> Record:
    fields = (
        ("action", action),
        ("decision", decision),
        ("code", "allowed" if decision == "allow" else "mode"),
        ("namespace", namespace),
    )
    return Record(fact=Fact.GATE_ANSWERED, fields=fields)


async def test_what_was_allowed_is_told_apart_by_what_for_and_a_refusal_is_not(
    tmp_path: Path,
) -> None:
    """Else nobody could say for which update activation was allowed; and a refused caller may name
    as many as it likes."""
    log = Kept(tmp_path / "audit")
    log.start()
    for decision in ("allow", "deny"):
        for namespace in ("updates/a", "updates/b", "updates/b"):
            log.audit.record(gate_answer(decision, namespace))
    rows = await log.settled()
    assert [(one["decision"], one["object"], one["inputs"]) for one in rows[:-1]] == [
        ("allow", "updates/a", {}),
        ("allow", "updates/b", {}),
        ("deny", "updates/a", {}),
        ("allow", "", {"repeats": 1}),
        ("deny", "", {"repeats": 2}),
    ]


async def test_what_changes_trust_is_never_counted_away(tmp_path: Path) -> None:
    log = Kept(tmp_path / "audit")
    log.start()
    for version in (2, 3, 4):
        log.audit.record(bundle(version))
    rows = await log.settled()
    assert [one["inputs"] for one in rows[:-1]] == [{"order": f"1.{one}"} for one in (2, 3, 4)]


async def test_counts_that_are_open_at_the_end_are_written(tmp_path: Path) -> None:
    log = Kept(tmp_path / "audit")
    log.start()
    log.audit.refused("uid:1000", "/v1/fetch")
    log.audit.refused("uid:1000", "/v1/submit")
    rows = await log.settled()
    assert short(rows) == [
        ("request_refused", "", "uid:1000", {}),
        ("request_refused", "", "uid:1000", {"repeats": 1}),
        STOPPED,
    ]
    assert [one["object"] for one in rows[:2]] == ["/v1/fetch", ""]


async def test_more_kinds_of_refusal_than_are_counted_lose_nothing(tmp_path: Path) -> None:
    log = Kept(tmp_path / "audit")
    log.start()
    for _ in range(2):
        log.audit.record(denied("n0"))
    for number in range(1, FOLDS_MAX + 1):
        log.audit.record(denied(f"n{number}"))
    rows = await log.settled()
    repeats = [one["subject"] for one in rows if one["inputs"] == {"repeats": 1}]
    assert (len(rows), repeats) == (FOLDS_MAX + 3, ["n0"])


async def test_a_checkpoint_is_signed_every_so_many_records(tmp_path: Path) -> None:
    async with kept(tmp_path / "audit") as log:
        for number in range(2 * CHECKPOINT_RECORDS + 9):
            log.audit.record(bundle(number))
        checkpoints = await log.until_signed(2)
        assert [one.size for one in checkpoints] == [256, 512]
        assert {(one.cluster_id, one.node_id) for one in checkpoints} == {("prod", "n1")}
        assert log.audit.view().anchored_at == factory.NOW
    verdict = verify_folder(log.audit.folder, checkpoints)
    assert (verdict.faults, verdict.agreeing) == ((), 2)


@pytest.mark.slow
async def test_a_checkpoint_is_signed_when_a_segment_is_full(tmp_path: Path) -> None:
    async with kept(tmp_path / "audit") as log:
        long = (("namespace", "n" * 600), ("one", "1" * 600), ("two", "2" * 600))
        for number in range(SEGMENT_BYTES_MAX // 2_000):
            log.audit.record(Record(fact=Fact.BUNDLE_ACCEPTED, fields=long))
            while log.audit.view().sequence < number - QUEUE_MAX // 2:
                await trio.lowlevel.checkpoint()
    first, second = segments_of(log.audit.folder)
    sizes = [checkpoint_in(one).size for one in read_envelopes(log.audit.folder / FILE_NAME)]
    assert first.path.stat().st_size > SEGMENT_BYTES_MAX - 4_096
    assert second.first - 1 in sizes
    assert (second.first - 1) % CHECKPOINT_RECORDS


async def test_a_checkpoint_is_signed_a_minute_after_the_last_if_there_is_more(
    tmp_path: Path,
) -> None:
    async with kept(tmp_path / "audit") as log:
        log.audit.tick()
        log.audit.record(bundle(1))
        while not log.signed:
            await trio.lowlevel.checkpoint()
            log.audit.tick()
        log.audit.record(bundle(2))
        while log.audit.view().sequence < 2:
            await trio.lowlevel.checkpoint()
        log.clock.wait(59_999)
        log.audit.tick()
        log.clock.wait(1)
        log.audit.tick()
        assert [(one.size, one.wall) for one in await log.until_signed(2)] == [
            (1, factory.NOW),
            (2, factory.NOW + 59),
        ]
        log.clock.wait(600_000)
        log.audit.tick()
    assert len(read_envelopes(log.audit.folder / FILE_NAME)) == 3, "two, and one of the end"


async def test_the_end_is_signed_and_shown_by_the_next_process(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    first = Kept(folder)
    first.start()
    first.audit.record(bundle(1))
    await first.settled()
    assert first.signed == []
    async with kept(folder, "second") as second:
        (last,) = await second.until_signed(1)
        assert (last.size, last.head) == (2, verify_folder(folder).head.line_hash)
    rows = rows_in(second.audit)
    assert len({one["boot"] for one in rows}) == 2
    assert (
        verify_folder(folder, map(checkpoint_in, read_envelopes(folder / FILE_NAME))).agreeing == 2
    )


class FullDisk:
    """Every write of this process fails while it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        real = os.pwrite

        def pwrite(descriptor: int, data: memoryview, offset: int) -> int:
            if self.is_full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(descriptor, data, offset)

        monkeypatch.setattr(os, "pwrite", pwrite)


async def test_a_full_disk_is_told_tried_again_and_loses_nothing_that_fits_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch)
    async with kept(tmp_path / "audit") as log:
        log.audit.record(bundle(1))
        disk.is_full = True
        log.audit.record(bundle(2))
        await log.until_told(AuditState.STOPPED)
        assert log.audit.view().state is AuditState.STOPPED
        assert "No space" in log.audit.last_error
        log.audit.record(bundle(3))
        log.clock.wait(4_999)
        log.audit.tick()
        log.clock.wait(1)
        disk.is_full = False
        log.audit.tick()
        await log.until_told(AuditState.STOPPED, AuditState.INTACT)
        assert log.audit.view().state is AuditState.INTACT
        # What could not be signed meanwhile is.
        assert (await log.until_signed(1))[-1].size == 3
    orders = [one["inputs"] for one in rows_in(log.audit)][:3]
    assert orders == [{"order": f"1.{number}"} for number in (1, 2, 3)]
    assert verify_folder(log.audit.folder).faults == ()


async def test_what_the_queue_could_not_hold_is_counted_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch)
    async with kept(tmp_path / "audit") as log:
        disk.is_full = True
        for number in range(QUEUE_MAX + 5):
            log.audit.record(bundle(number))
        await log.until_told(AuditState.STOPPED)
        disk.is_full = False
        log.clock.wait(5_000)
        log.audit.tick()
        await log.until_told(AuditState.STOPPED, AuditState.INTACT)
        while log.audit.view().sequence < QUEUE_MAX:
            await trio.lowlevel.checkpoint()
        log.audit.record(bundle(9_999))
    rows = rows_in(log.audit)
    assert short(rows)[QUEUE_MAX:] == [
        ("audit_gap", "queue_full", "", {"records": 5}),
        ("bundle_accepted", "", "", {"order": "1.9999"}),
        STOPPED,
    ]
    assert verify_folder(log.audit.folder).faults == ()


async def test_what_the_queue_could_not_hold_is_counted_at_the_end_too(tmp_path: Path) -> None:
    log = Kept(tmp_path / "audit")
    for number in range(QUEUE_MAX + 5):
        log.audit.record(bundle(number))
    log.start()
    rows = await log.settled()
    assert short(rows)[QUEUE_MAX:] == [("audit_gap", "queue_full", "", {"records": 5}), STOPPED]


async def test_a_disk_that_refuses_to_the_end_does_not_hold_up_the_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch)
    async with kept(tmp_path / "audit") as log:
        disk.is_full = True
        log.audit.record(bundle(1))
        await log.until_told(AuditState.STOPPED)
    assert rows_in(log.audit) == []


@pytest.mark.parametrize(("cut", "code"), [(1, "cut"), (0, "altered")])
async def test_a_log_that_was_changed_while_nobody_wrote_it_says_so(
    cut: int, code: str, tmp_path: Path
) -> None:
    folder = tmp_path / "audit"
    log = Kept(folder)
    log.start()
    log.audit.record(bundle(1))
    await log.settled()
    path = folder / "0000000000000001.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    changed = lines[:-1] if cut else [lines[0], lines[1].replace(b"stopped", b"started")]
    path.write_bytes(b"".join(changed))
    async with kept(folder, "second") as again:
        assert again.told == [again.audit.view().state] == [AuditState.DAMAGED]
        again.audit.record(bundle(2))
    gap = rows_in(again.audit)[len(changed)]
    assert (gap["event"], gap["code"], gap["inputs"]) == ("audit_gap", code, {"signed": 2})


async def test_a_damaged_log_is_damaged_again_once_the_disk_takes_what_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of high risk is allowed because writing works again: somebody has to look first."""
    folder = tmp_path / "audit"
    log = Kept(folder)
    log.start()
    await log.settled()
    (folder / "0000000000000001.jsonl").write_bytes(b"")
    disk = FullDisk(monkeypatch)
    async with kept(folder, "second") as again:
        disk.is_full = True
        again.audit.record(bundle(2))
        await again.until_told(AuditState.DAMAGED, AuditState.STOPPED)
        disk.is_full = False
        again.clock.wait(5_000)
        again.audit.tick()
        await again.until_told(AuditState.DAMAGED, AuditState.STOPPED, AuditState.DAMAGED)
    async with kept(folder, "third") as third:
        assert third.audit.view().state is AuditState.INTACT


async def test_what_a_callback_raises_ends_the_daemon(tmp_path: Path) -> None:
    def broken(_: bytes) -> None:
        raise ValueError("broken")

    audit = audit_in(tmp_path / "audit", Clock())
    audit.start(broken, lambda _: None)
    audit.record(bundle(1))
    with trio.fail_after(HANG_S):
        while not audit.view().sequence:
            await trio.lowlevel.checkpoint()
        audit.tick()
        with pytest.raises(ValueError, match="broken"):
            await audit.run()
    audit.stop()


def test_a_log_that_was_never_started_stops(tmp_path: Path) -> None:
    audit_in(tmp_path / "audit", lambda: Now(instant=Instant(0), unix=UnixTime(0))).stop()
