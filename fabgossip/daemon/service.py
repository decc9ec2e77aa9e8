"""The daemon from start to stop.

Start: configuration, lock of the state folder, pinned trust, index and stored state, sockets
bound, READY. Ready means "bound, and the last valid configuration is loaded": it never waits for a
peer. Stop runs backwards.
"""

import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import trio

from fabgossip.core.setup import NodeSetup, OwnIdentity
from fabgossip.daemon.audit import FOLDER, Audit
from fabgossip.daemon.config import Config
from fabgossip.daemon.disk import Disk
from fabgossip.daemon.driver import Driver, World, node_seed, read_clocks
from fabgossip.daemon.endpoints import TlsContexts, serve_listener
from fabgossip.daemon.kernel_clock import watch_clock
from fabgossip.daemon.logs import Log, LogLevel
from fabgossip.daemon.pinning import settle_pin
from fabgossip.daemon.recorder import LogOwner
from fabgossip.daemon.state import StateFolder
from fabgossip.daemon.status import StatusServer, open_status_socket
from fabgossip.daemon.systemd import Notifier, NotifyEnvironment
from fabgossip.daemon.views import About
from fabgossip.errors import ConfigError, TrustError, WireError
from fabgossip.model.authority import NodeClaims, NodeIdentity, Opening, TrustBundle
from fabgossip.model.ids import BOOT_ID_BYTES, BootId, NodeId
from fabgossip.model.messages import Bye, ByeReason
from fabgossip.model.moment import UnixTime
from fabgossip.trust.bundle import PinnedTrust, bundle_from_pinned
from fabgossip.trust.checkpoints import CheckpointSigner
from fabgossip.trust.identity import verify_leaf
from fabgossip.trust.rejections import Rejection
from fabgossip.trust.revocation import NOTHING_REVOKED
from fabgossip.trust.signatures import Ed25519Verifier
from fabgossip.wire.contents import parse_pinned
from fabgossip.wire.envelopes import parse_envelope
from fabgossip.wire.statements import parse_claims, parse_own_claims

UMASK: Final = 0o026
"""Leaves others the x of the folders on the way to `local/`, and nothing else."""
GOODBYE_S: Final = 3.0
"""Longest time all last words together may take."""
PRIVATE_BYTES_MAX: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the caller took out of the environment for the daemon."""

    notify: NotifyEnvironment
    log_to_terminal: bool
    entropy: Callable[[int], bytes]
    wall: Callable[[], float]
    clock_is_synchronized: Callable[[], bool]
    """What the kernel says of its clock."""


@dataclass(slots=True)
class _Loaded:
    """Everything read from files before the first packet."""

    pinned: PinnedTrust
    claims_envelope: bytes
    claims: NodeClaims
    openings: tuple[Opening, ...]
    certificate: NodeIdentity | Rejection
    signer: CheckpointSigner
    warnings: list[str] = field(default_factory=list)

    @property
    def node_id(self) -> NodeId:
        """Who this node is: by its certificate; by its claims while the certificate is out of its
        time."""
        return (
            self.claims.node_id
            if isinstance(self.certificate, Rejection)
            else self.certificate.node_id
        )


def load_identity(config: Config, now: UnixTime) -> _Loaded:
    """Read and judge what the configuration names.

    Raises:
        ConfigError: a file is not what it should be, or they do not belong together.
    """
    verifier = Ed25519Verifier()
    try:
        pinned = bundle_from_pinned(*parse_pinned(_bytes(config.trust_bootstrap)), verifier)
    except (WireError, TrustError) as error:
        raise ConfigError(f"trust.bootstrap: {config.trust_bootstrap}: {error}") from error
    if pinned.bundle.is_demo and not config.table.trust.allow_demo:
        raise ConfigError(
            f"trust.bootstrap: platform {pinned.bundle.platform_id} has throw-away keys; "
            "set trust.allow_demo = true to run it on this machine"
        )
    try:
        envelope, openings = parse_own_claims(_bytes(config.claims))
        claims = parse_claims(parse_envelope(envelope).payload)
    except WireError as error:
        raise ConfigError(
            f"identity.claims: {config.claims}: {error}; enroll the node again"
        ) from error
    certificate = verify_leaf(_der(config), pinned.bundle, NOTHING_REVOKED, now)
    signer = _signer(config, claims)
    loaded = _Loaded(pinned, envelope, claims, openings, certificate, signer)
    if claims.cluster_id != pinned.bundle.cluster_id:
        raise ConfigError(
            f"identity.claims: of cluster {claims.cluster_id}, "
            f"the pinned trust is of {pinned.bundle.cluster_id}"
        )
    if isinstance(certificate, Rejection):
        if certificate.detail != "expired":
            raise ConfigError(f"identity.certificate: {config.certificate}: {certificate.detail}")
        loaded.warnings.append(
            "the certificate has expired: no peer will speak to this node; enroll it again"
        )
    elif certificate.node_id != claims.node_id:
        raise ConfigError(
            f"identity: certificate of {certificate.node_id}, claims of {claims.node_id}"
        )
    return loaded


def _signer(config: Config, claims: NodeClaims) -> CheckpointSigner:
    """A key other nodes would not know signs nothing anybody believes."""
    try:
        signer = CheckpointSigner(_bytes(config.audit_key))
    except TrustError as error:
        raise ConfigError(f"audit.key: {config.audit_key}: {error}") from error
    if signer.public_key != claims.audit_key:
        raise ConfigError(
            f"audit.key: {config.audit_key}: is not the key named in identity.claims; "
            "take both from one enrollment"
        )
    return signer


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(PRIVATE_BYTES_MAX)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def _der(config: Config) -> bytes:
    try:
        return ssl.PEM_cert_to_DER_cert(_bytes(config.certificate).decode("ascii"))
    except ValueError as error:
        raise ConfigError(
            f"identity.certificate: {config.certificate}: not a certificate in PEM"
        ) from error


def check_tls(config: Config, loaded: _Loaded) -> TlsContexts:
    """The contexts of the pinned bundle; raises `ConfigError` if key and certificate do not fit."""
    try:
        return TlsContexts(loaded.pinned.bundle, config.certificate, config.private_key)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"identity.private_key: does not fit the certificate: {error}") from error


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
    loaded = load_identity(config, read_clocks().unix)
    first_contexts = check_tls(config, loaded)
    for warning in loaded.warnings:
        log.emit("identity_warning", LogLevel.WARNING, (("detail", warning),))
    notifier.status("opening the state folder")
    state = StateFolder(config.storage, loaded.node_id)
    try:
        if settle_pin(config.table.trust, loaded.pinned, state.index):
            log.emit(
                "trust_started_over",
                LogLevel.WARNING,
                (("bootstrap", config.table.trust.bootstrap_sha256),),
            )
        parts = _Parts(loaded, first_contexts, state, log, notifier)
        async with _serving(config, environment, parts) as driver:
            yield driver
    finally:
        state.close()
        notifier.close()
    log.emit("stopped", LogLevel.INFO)


@dataclass(slots=True)
class _Parts:
    """What was made before the loop serves."""

    loaded: _Loaded
    contexts: TlsContexts
    state: StateFolder
    log: Log
    notifier: Notifier


def _setup(config: Config, parts: _Parts, environment: Environment, boot_id: BootId) -> NodeSetup:
    loaded = parts.loaded
    own = OwnIdentity(
        node_id=loaded.node_id,
        claims=loaded.claims_envelope,
        openings=loaded.openings,
        pinned=loaded.pinned,
        certificate=(None if isinstance(loaded.certificate, Rejection) else loaded.certificate),
    )
    return NodeSetup(
        config=config.node,
        own=own,
        boot_id=boot_id,
        bootstrap=config.bootstrap,
        seed=node_seed(loaded.node_id, environment.entropy(16)),
    )


@asynccontextmanager
async def _serving(
    config: Config, environment: Environment, parts: _Parts
) -> AsyncIterator[Driver]:
    boot_id = BootId(environment.entropy(BOOT_ID_BYTES))
    setup = _setup(config, parts, environment, boot_id)
    disk, audit = parts.state.disk, _audit(config, parts, boot_id)
    audit.open()
    try:
        async with trio.open_nursery() as nursery:
            disk.start()
            nursery.start_soon(disk.report_faults, name="disk faults")
            driver = Driver(setup, _world(config, parts, disk, audit), nursery)
            audit.start(driver.on_checkpoint_signed, driver.on_audit_writable_changed)
            nursery.start_soon(audit.run, name="audit")
            vouches = _voucher(config, environment)
            is_vouched = vouches()
            if not is_vouched:
                driver.log_clock(is_synchronized=False)
            driver.post(replace(parts.state.started(disk), is_synchronized=is_vouched))
            listening = await _listen(config, driver, nursery)
            about = _about(config, parts, boot_id, listening)
            server = StatusServer(driver, about, config.table.status.operator_group)
            async with _status_socket(config.socket) as listener:
                await nursery.start(server.serve, listener, name="status")
                nursery.start_soon(driver.run_timers, name="timers")
                nursery.start_soon(driver.transfers.watch, name="transfer watch")
                nursery.start_soon(
                    watch_clock, vouches, driver.on_clock_changed, is_vouched, name="clock"
                )
                nursery.start_soon(_ping_watchdog, parts.notifier, name="watchdog")
                server.is_ready = True
                _tell_ready(parts, about)
                yield driver
                server.is_ready = False
            await _stop(config, parts, driver)
            nursery.cancel_scope.cancel()
    finally:
        audit.stop()
        disk.stop()


def _voucher(config: Config, environment: Environment) -> Callable[[], bool]:
    """Who says that the clock is kept in step: the kernel, unless the operator does."""
    if config.table.clock.require_synchronized:
        return environment.clock_is_synchronized
    return lambda: True


def _audit(config: Config, parts: _Parts, boot_id: BootId) -> Audit:
    owner = LogOwner(
        cluster_id=parts.loaded.claims.cluster_id,
        node_id=parts.loaded.node_id,
        boot_id=boot_id,
        signer=parts.loaded.signer,
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
                driver.on_stream,
                name=f"listen {address}",
            )
        )
    return tuple(bound)


def _tell_ready(parts: _Parts, about: About) -> None:
    where = ", ".join(about.listening)
    parts.notifier.ready(f"serving {about.node_id} on {where}")
    parts.log.emit("ready", LogLevel.INFO, (("node", about.node_id), ("listening", where)))


def _world(config: Config, parts: _Parts, disk: Disk, audit: Audit) -> World:
    contexts = {parts.loaded.pinned.bundle: parts.contexts}

    def tls(bundle: TrustBundle) -> TlsContexts:
        if bundle not in contexts:
            contexts.clear()
            contexts[bundle] = TlsContexts(bundle, config.certificate, config.private_key)
        return contexts[bundle]

    return World(
        disk=disk,
        audit=audit,
        log=parts.log,
        tls=tls,
        connections_max=config.table.listen.connections_max,
        handshakes_in_flight_max=config.table.listen.handshakes_in_flight_max,
        handshakes_per_second_max=config.table.listen.handshakes_per_second_max,
    )


def _about(config: Config, parts: _Parts, boot_id: BootId, listening: tuple[str, ...]) -> About:
    certificate = parts.loaded.certificate
    expires_at = UnixTime(0) if isinstance(certificate, Rejection) else certificate.expires_at
    return About(
        node_id=parts.loaded.node_id,
        cluster_id=parts.loaded.pinned.bundle.cluster_id,
        boot_id=boot_id,
        started_at=read_clocks().unix,
        certificate_expires_at=expires_at,
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
    driver.stop_accepting()
    parts.log.emit("stopping", LogLevel.INFO)
    with trio.move_on_after(config.table.shutdown.drain_timeout_ms / 1_000):
        await driver.transfers.finish()
    with trio.move_on_after(GOODBYE_S):
        await driver.drain(Bye(reason=ByeReason.RESTART, retry_after_s=1))
