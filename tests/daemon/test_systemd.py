"""What systemd is told, over a real datagram socket."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from fabgossip.daemon.systemd import Notifier, NotifyEnvironment


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    """The other end: a service manager that listens."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.bind(address)
        listener.settimeout(5)
        yield listener


def notifier(name: str, **facts: int) -> Notifier:
    return Notifier(NotifyEnvironment(socket=name, **facts))


def test_ready_stopping_status_and_watchdog_are_one_datagram_each(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with manager(path) as listener, closing(notifier(path)) as one:
        one.ready("serving")
        one.status("fresh")
        one.alive()
        one.stopping()
        said = [listener.recv(4_096).decode().splitlines() for _ in range(4)]
    assert said == [
        ["READY=1", "STATUS=serving", f"MAINPID={os.getpid()}"],
        ["STATUS=fresh"],
        ["WATCHDOG=1"],
        ["STOPPING=1", "STATUS=stopping"],
    ]


def test_the_manager_has_patience_while_many_artifacts_are_judged(tmp_path: Path) -> None:
    """A start that takes longer than the unit allows would be ended and begun anew, for ever."""
    path = str(tmp_path / "notify")
    with manager(path) as listener, closing(notifier(path)) as one:
        for heads in (0, 100_000):
            one.judging(heads)
        few, many = (listener.recv(4_096).decode().splitlines() for _ in range(2))
    assert few == ["EXTEND_TIMEOUT_USEC=30000000", "STATUS=judging 0 artifacts"]
    assert many == ["EXTEND_TIMEOUT_USEC=1030000000", "STATUS=judging 100,000 artifacts"]


def test_an_abstract_name_begins_with_an_at_sign() -> None:
    name = f"fabgossip-test-{os.getpid()}"
    with manager(f"\0{name}") as listener, closing(notifier(f"@{name}")) as one:
        one.alive()
        assert listener.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize("name", ["", "vsock:2:1", "relative"])
def test_without_a_socket_of_ours_nothing_happens(name: str) -> None:
    one = notifier(name)
    one.ready("serving")
    one.close()


def test_a_manager_that_is_gone_or_does_not_read_is_no_reason_to_stop(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    one = notifier(path)
    one.ready("nobody is there")
    with manager(path):
        for _ in range(10_000):
            one.alive()
    one.alive()
    one.close()


def test_signs_of_life_are_given_three_times_an_interval_and_only_for_this_process() -> None:
    with closing(notifier("")) as one:
        assert one.watchdog_interval_s is None
    with closing(notifier("", watchdog_usec=3_000_000)) as one:
        assert one.watchdog_interval_s == 1.0
    with closing(notifier("", watchdog_usec=3_000_000, watchdog_pid=os.getpid())) as one:
        assert one.watchdog_interval_s == 1.0
    with closing(notifier("", watchdog_usec=3_000_000, watchdog_pid=1)) as one:
        assert one.watchdog_interval_s is None
