"""The daemon from start to stop.

Start: configuration, lock of the state folder, pinned trust, index and stored state, sockets
bound, READY. Ready means "bound, and the last valid configuration is loaded": it never waits for a
peer. Stop runs backwards.
"""

import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import trio

from fabgossip.core.setup import NodeSetup, OwnIdentity
from fabgossip.daemon.audit import FOLDER, Audit
from fabgossip.daemon.config import Config
from fabgossip.daemon.crash_marks import CrashMarks
from fabgossip.daemon.disk import Disk
from fabgossip.daemon.driver import Driver, World, node_seed, read_clocks
from fabgossip.daemon.endpoints import serve_listener
from fabgossip.daemon.kernel_clock import watch_clock
from fabgossip.daemon.logs import Log, LogLevel
from fabgossip.daemon.papers import (
    Papers,
    check_tls,
    judge_certificate,
    known_bundles,
    load_papers,
)
from fabgossip.daemon.pinning import settle_pin
from fabgossip.daemon.recorder import LogOwner
from fabgossip.daemon.renewal import Renewal, Shown
from fabgossip.daemon.state import StateFolder
from fabgossip.daemon.state_file import StateFile
from fabgossip.daemon.status import StatusServer
from fabgossip.daemon.status_socket import open_status_socket
from fabgossip.daemon.systemd import Notifier, NotifyEnvironment
from fabgossip.daemon.transfers import WATCH_S
from fabgossip.daemon.views import About
from fabgossip.errors import StorageError
from fabgossip.model.ids import BOOT_ID_BYTES, BootId
from fabgossip.model.messages import Bye, ByeReason
from fabgossip.storage.index import NodeIndex
from fabgossip.storage.syncing import SYNC_THREADS, Syncing

UMASK: Final = 0o026
"""Leaves others the x of the folders on the way to `local/`, and nothing else."""
GOODBYE_S: Final = 3.0
"""Longest time all last words together may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the caller took out of the environment for the daemon."""

    notify: NotifyEnvironment
    log_to_terminal: bool
    entropy: Callable[[int], bytes]
    wall: Callable[[], float]
    clock_is_synchronized: Callable[[], bool]
    """What the kernel says of its clock."""


def make_log(config: Config, environment: Environment) -> Log:
    """The log in the form the configuration asks for."""
    table = config.table.log
    as_json = table.format == "json" or (table.format == "auto" and not environment.log_to_terminal)
    return Log(LogLevel[table.level.upper()], environment.wall, as_json=as_json)


async def run_daemon(config: Config, environment: Environment) -> None:
    """Serve until told to stop.

    Raises:
        ConfigError, LockedError, StorageError, ServiceError: it cannot start; nothing was sent.
    """
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with open_daemon(config, environment):
            await anext(signals)
        # Impatient repetitions came while it stopped: taken here, they are not raised again.
        with trio.move_on_after(0):
            async for _ in signals:
                continue


@asynccontextmanager
async def open_daemon(config: Config, environment: Environment) -> AsyncIterator[Driver]:
    """A daemon that serves until the block ends, then stops in order; gives its driver.

    Raises:
        ConfigError, LockedError, StorageError, ServiceError: it cannot start; nothing was sent.
    """
    os.umask(UMASK)
    log = make_log(config, environment)
    notifier = Notifier(environment.notify)
    notifier.status("checking identity and trust")
    papers = load_papers(config, read_clocks().unix)
    shown = Shown(papers, check_tls(papers))
    notifier.status("opening the state folder")
    state = StateFolder(config.storage, papers.node_id, Syncing(SYNC_THREADS))
    for name in state.foreign:
        log.emit("foreign_file_removed", LogLevel.WARNING, (("file", f"incoming/{name}"),))
    try:
        own = _own_identity(papers, state.index, log)
        if settle_pin(config.table.trust, papers.pinned, state.index):
            log.emit(
                "trust_started_over",
                LogLevel.WARNING,
                (("bootstrap", config.table.trust.bootstrap_sha256),),
            )
        parts = _Parts(shown, own, state, log, notifier)
        async with _serving(config, environment, parts) as driver:
            yield driver
    finally:
        state.close()
        notifier.close()
    log.emit("stopped", LogLevel.INFO)


@dataclass(slots=True)
class _Parts:
    """What was made before the loop serves."""

    shown: Shown
    own: OwnIdentity
    state: StateFolder
    log: Log
    notifier: Notifier


def _own_identity(papers: Papers, index: NodeIndex, log: Log) -> OwnIdentity:
    """Who this node is, its certificate judged by all the trust its own disk holds. Nothing is
    written before: papers of another authority leave the state folder as it was."""
    own = papers.own_identity()
    found = judge_certificate(papers, known_bundles(own, index, read_clocks()))
    if found.warning:
        log.emit("identity_warning", LogLevel.WARNING, (("detail", found.warning),))
    return replace(own, certificate=found.identity)


@asynccontextmanager
async def _serving(
    config: Config, environment: Environment, parts: _Parts
) -> AsyncIterator[Driver]:
    boot_id = BootId(environment.entropy(BOOT_ID_BYTES))
    setup = NodeSetup(
        config=config.node,
        own=parts.own,
        boot_id=boot_id,
        bootstrap=config.bootstrap,
        seed=node_seed(parts.own.node_id, environment.entropy(16)),
    )
    disk, audit = parts.state.new_disk(config.space), _audit(config, parts, boot_id)
    marks = _marks(config)
    audit.open()
    try:
        async with trio.open_nursery() as nursery:
            disk.start()
            nursery.start_soon(disk.report_faults, name="disk faults")
            driver = Driver(setup, _world(config, parts, disk, audit, marks), nursery)
            audit.start(driver.on_checkpoint_signed, driver.on_audit_state)
            nursery.start_soon(audit.run, name="audit")
            vouches = _voucher(config, environment)
            is_vouched = vouches()
            if not is_vouched:
                driver.log_clock(is_synchronized=False)
            started = replace(parts.state.begin(disk), is_synchronized=is_vouched)
            parts.notifier.judging(len(started.heads))
            with _kept_from_collection():
                driver.post(replace(started, shunned=marks.shunned))
            listening = await _listen(config, driver, nursery)
            about = _about(config, setup, listening)
            server = StatusServer(driver, about, config.table.status.operator_group)
            async with _status_socket(config.socket) as listener:
                await nursery.start(server.serve, listener, name="status")
                nursery.start_soon(driver.run_timers, name="timers")
                nursery.start_soon(driver.watch_space, name="space")
                nursery.start_soon(driver.tell_repeats, name="repeats")
                nursery.start_soon(driver.transfers.watch, name="transfer watch")
                nursery.start_soon(driver.sending.watch, name="sending watch")
                nursery.start_soon(
                    watch_clock, vouches, driver.on_clock_changed, is_vouched, name="clock"
                )
                renewal = _renewal(config, parts, driver)
                nursery.start_soon(renewal.watch, name="renewal")
                await nursery.start(_hear_hangups, renewal, name="hangups")
                nursery.start_soon(_ping_watchdog, parts.notifier, name="watchdog")
                state_file = StateFile(driver, config.storage)
                nursery.start_soon(state_file.keep, name="state file")
                server.is_ready = True
                _tell_ready(parts, about)
                yield driver
                server.is_ready = False
                await server.stop()
            await _stop(config, parts, driver)
            nursery.cancel_scope.cancel()
    finally:
        audit.stop()
        disk.stop()
        marks.close()


@contextmanager
def _kept_from_collection() -> Iterator[None]:
    """What is taken up here stays, and is passed over by the garbage collector from now on: a full
    round over a hundred thousand heads would take a second, in which no ping is answered (measured
    2026-11: 11 us a head). The one round it costs is now, before there are links."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.collect()
        gc.freeze()
    finally:
        if was_enabled:
            gc.enable()


def _marks(config: Config) -> CrashMarks:
    try:
        return CrashMarks(config.storage, read_clocks().unix)
    except OSError as error:
        raise StorageError(f"storage.path: {config.storage}: {error.strerror}") from error


def _renewal(config: Config, parts: _Parts, driver: Driver) -> Renewal:
    return Renewal(
        config,
        parts.shown,
        lambda: driver.node.view.trust,
        lambda: read_clocks().unix,
        driver.post,
    )


async def _hear_hangups(renewal: Renewal, *, task_status: trio.TaskStatus[None]) -> None:
    """`systemctl reload`: somebody has put other files there."""
    with trio.open_signal_receiver(signal.SIGHUP) as hangups:
        task_status.started()
        async for _ in hangups:
            renewal.ask()


def _voucher(config: Config, environment: Environment) -> Callable[[], bool]:
    """Who says that the clock is kept in step: the kernel, unless the operator does."""
    if config.table.clock.require_synchronized:
        return environment.clock_is_synchronized
    return lambda: True


def _audit(config: Config, parts: _Parts, boot_id: BootId) -> Audit:
    owner = LogOwner(
        cluster_id=parts.shown.papers.claims.cluster_id,
        node_id=parts.shown.papers.node_id,
        boot_id=boot_id,
        signer=parts.shown.papers.signer,
    )
    folder = config.storage / FOLDER
    return Audit(folder, owner, config.table.audit.segments_max, read_clocks)


async def _listen(config: Config, driver: Driver, nursery: trio.Nursery) -> tuple[str, ...]:
    """Listen on every configured address; gives what was bound."""
    table = config.table.listen
    bound: list[str] = []
    for address in table.addresses:
        bound.append(
            await nursery.start(
                serve_listener,
                address,
                driver.doorway.on_stream,
                name=f"listen {address}",
            )
        )
    return tuple(bound)


def _tell_ready(parts: _Parts, about: About) -> None:
    where = ", ".join(about.listening)
    parts.notifier.ready(f"serving {about.node_id} on {where}")
    parts.log.emit("ready", LogLevel.INFO, (("node", about.node_id), ("listening", where)))


def _world(config: Config, parts: _Parts, disk: Disk, audit: Audit, marks: CrashMarks) -> World:
    return World(
        disk=disk,
        audit=audit,
        log=parts.log,
        marks=marks,
        tls=parts.shown.tls,
        connections_max=config.table.listen.connections_max,
        handshakes_in_flight_max=config.table.listen.handshakes_in_flight_max,
        handshakes_per_second_max=config.table.listen.handshakes_per_second_max,
    )


def _about(config: Config, setup: NodeSetup, listening: tuple[str, ...]) -> About:
    own = setup.own
    return About(
        node_id=own.node_id,
        cluster_id=own.pinned.bundle.cluster_id,
        boot_id=setup.boot_id,
        started_at=read_clocks().unix,
        config_path=str(config.path),
        listening=listening,
        storage_path=str(config.storage),
    )


@asynccontextmanager
async def _status_socket(path: Path) -> AsyncIterator[socket.socket]:
    listener = open_status_socket(path)
    try:
        yield listener
    finally:
        listener.close()
        os.unlink(path)


async def _ping_watchdog(notifier: Notifier) -> None:
    interval = notifier.watchdog_interval_s
    while interval is not None:
        notifier.alive()
        await trio.sleep(interval)


async def _stop(config: Config, parts: _Parts, driver: Driver) -> None:
    parts.notifier.stopping()
    driver.doorway.close()
    parts.log.emit("stopping", LogLevel.INFO)
    with trio.move_on_after(config.table.shutdown.drain_timeout_ms / 1_000):
        while not (driver.transfers.is_idle and driver.sending.is_idle):  # noqa: ASYNC110
            await trio.sleep(WATCH_S)  # once in a process's life
    with trio.move_on_after(GOODBYE_S):
        await driver.drain(Bye(reason=ByeReason.RESTART, retry_after_s=1))
    driver.recent.tell_all(read_clocks())
