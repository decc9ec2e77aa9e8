"""What systemd is told: ready, stopping, status, alive.

One datagram of `KEY=VALUE` lines to the socket named by `NOTIFY_SOCKET`, which `cli/` takes out of
the environment so that no child inherits it. Without one, every call does nothing.
"""

import os
import socket
from dataclasses import dataclass

WATCHDOG_SHARE = 3
"""Pings per watchdog interval."""
JUDGED_S_MIN = 30
JUDGED_MS = 10
"""How long it may take to judge a head: it takes 0.7 ms on a machine that does nothing else
(`tests/benchmarks/start.py`, 2026-11), and a small one may be ten times as slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyEnvironment:
    """What systemd put into the environment."""

    socket: str = ""
    watchdog_usec: int = 0
    watchdog_pid: int = 0


class Notifier:
    """Tells the service manager; a manager that is gone is no reason to stop."""

    __slots__ = ("_environment", "_socket")

    def __init__(self, environment: NotifyEnvironment) -> None:
        self._environment = environment
        self._socket: socket.socket | None = None
        if environment.socket.startswith(("/", "@")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.settimeout(0)

    @property
    def watchdog_interval_s(self) -> float | None:
        """Seconds between signs of life, None where nobody watches this process."""
        environment = self._environment
        if not environment.watchdog_usec or environment.watchdog_pid not in (0, os.getpid()):
            return None
        return environment.watchdog_usec / 1e6 / WATCHDOG_SHARE

    def _tell(self, *lines: str) -> None:
        if self._socket is None:
            return
        name = self._environment.socket
        address = "\0" + name[1:] if name.startswith("@") else name
        try:
            self._socket.sendto("\n".join(lines).encode(), address)
        except OSError:
            return

    def status(self, text: str) -> None:
        """What `systemctl status` shows."""
        self._tell(f"STATUS={text}")

    def judging(self, heads: int) -> None:
        """All that the disk holds is judged by today's trust, during which nothing else is done:
        the manager has patience in proportion."""
        patience_us = (JUDGED_S_MIN * 1_000 + heads * JUDGED_MS) * 1_000
        self._tell(f"EXTEND_TIMEOUT_USEC={patience_us}", f"STATUS=judging {heads:,} artifacts")

    def ready(self, text: str) -> None:
        """Sockets are bound and the last valid configuration is loaded."""
        self._tell("READY=1", f"STATUS={text}", f"MAINPID={os.getpid()}")

    def stopping(self) -> None:
        """The daemon has begun to stop."""
        self._tell("STOPPING=1", "STATUS=stopping")

    def alive(self) -> None:
        """A sign of life for the watchdog."""
        self._tell("WATCHDOG=1")

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()
