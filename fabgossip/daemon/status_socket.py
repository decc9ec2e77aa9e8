"""The status socket itself: who may reach it, and whose it is."""

import os
import socket
import stat
from pathlib import Path

from fabgossip.daemon.callers import CALLERS_MAX
from fabgossip.errors import ServiceError


def open_status_socket(path: Path) -> socket.socket:
    """Bind the socket with mode 0660; a dead one is replaced, a live one never.

    Raises:
        ServiceError: another process serves it, or it cannot be bound.
    """
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        _remove_dead(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        before = os.umask(0o117)
        try:
            listener.bind(os.fspath(path))
        finally:
            os.umask(before)
        listener.listen(CALLERS_MAX)
    except OSError as error:
        raise ServiceError(f"status.socket: {path}: {error.strerror}") from error
    return listener


def fault_at(path: Path) -> str | None:
    """What keeps a socket from being bound there for good; a dead or a live one does not."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None if is_socket else f"{path} exists and is no socket"


def _remove_dead(path: Path) -> None:
    fault = fault_at(path)
    if fault is not None:
        raise ServiceError(f"status.socket: {fault}")
    if not path.exists():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            path.unlink()
            return
    raise ServiceError(f"status.socket: {path} is served by another process")
