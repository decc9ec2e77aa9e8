"""The kernel's word about its clock: read as it is, told once when it changes, and asked for only
where the operator does not vouch for the clock himself."""

import ctypes
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from fabgossip.daemon import kernel_clock
from fabgossip.daemon.config import read_config
from fabgossip.daemon.driver import Driver
from fabgossip.daemon.kernel_clock import LOOK_S, is_kernel_synchronized, vouches, watch_clock
from fabgossip.daemon.service import UMASK, Environment, open_daemon
from fabgossip.daemon.systemd import NotifyEnvironment
from tests.daemon import enrolled

HANG_S = 60
REALTIME = 0
UNSYNCHRONIZED = 5
"""What clock_adjtime(2) gives for a clock nobody keeps in step."""


def test_it_is_what_another_system_call_says_of_the_same_clock() -> None:
    """And the same every time: asking sets nothing."""
    kernel, question = ctypes.CDLL(None), ctypes.create_string_buffer(4_096)
    before = kernel.clock_adjtime(REALTIME, question)
    said = [is_kernel_synchronized() for _ in range(3)]
    assert said == [before in range(UNSYNCHRONIZED)] * 3
    assert kernel.clock_adjtime(REALTIME, ctypes.create_string_buffer(4_096)) == before


def test_a_refused_question_is_a_no_and_a_leap_second_is_none() -> None:
    assert [state for state in range(-1, 7) if vouches(state)] == [0, 1, 2, 3, 4]


async def test_every_change_is_told_once(autojump_clock: trio.testing.MockClock) -> None:
    words = [True, False, False, True, True]
    told: list[tuple[bool, int]] = []
    looks = 0

    def ask() -> bool:
        nonlocal looks
        looks += 1
        return words[min(looks, len(words)) - 1]

    def tell(is_synchronized: bool) -> None:  # noqa: FBT001  # as the watch gives it
        told.append((is_synchronized, looks))

    with trio.move_on_after(LOOK_S * (len(words) + 1)):
        await watch_clock(ask, tell, True)  # noqa: FBT003  # as a nursery gives it
    assert told == [(False, 2), (True, 4)]


@pytest.mark.parametrize(
    ("kernel", "is_required", "is_suspect"),
    [(False, True, True), (True, True, False), (False, False, False)],
    ids=["nobody vouches", "the kernel vouches", "the operator vouches"],
)
async def test_the_daemon_believes_a_clock_that_somebody_vouches_for(
    tmp_path: Path,
    kernel: bool,  # noqa: FBT001  # a parameter
    is_required: bool,  # noqa: FBT001  # a parameter
    is_suspect: bool,  # noqa: FBT001  # a parameter
) -> None:
    async with daemon(tmp_path, lambda: kernel, is_required=is_required) as driver:
        assert driver.node.view.trust.freshness.is_clock_suspect is is_suspect


async def test_the_daemon_goes_on_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_clock, "LOOK_S", 0.0)
    words = [True]
    async with daemon(tmp_path, lambda: words[-1], is_required=True) as driver:
        for word in (False, True):
            words.append(word)
            while driver.node.view.trust.freshness.is_clock_suspect is word:
                await trio.lowlevel.checkpoint()


@asynccontextmanager
async def daemon(
    folder: Path, kernel: Callable[[], bool], *, is_required: bool
) -> AsyncIterator[Driver]:
    """A daemon of this process, whose kernel says what a test wants."""
    path = enrolled.make(folder) / "fabgossip.toml"
    text = path.read_text()
    assert "require_synchronized = false" in text  # of a platform with throw-away keys
    required = f"require_synchronized = {str(is_required).lower()}"
    path.write_text(text.replace("require_synchronized = false", required))
    environment = Environment(
        notify=NotifyEnvironment(),
        log_to_terminal=False,
        entropy=bytes,
        wall=lambda: 0.0,
        clock_is_synchronized=kernel,
    )
    umask = os.umask(UMASK)
    try:
        with trio.fail_after(HANG_S):
            config = read_config(path, None)
            async with open_daemon(config, environment) as driver:
                yield driver
    finally:
        os.umask(umask)
