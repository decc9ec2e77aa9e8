"""Places at the status socket: no user takes all, and who runs the node always finds one."""

import grp
import os
import socket
from typing import Final

from fabgossip.daemon.callers import (
    CALLERS_MAX,
    NOBODY,
    PER_USER_MAX,
    RESERVED,
    ROOT,
    Caller,
    Callers,
    caller_at,
)

DAEMON: Final = 990
GROUP: Final = grp.getgrall()[-1]
"""Some group of this machine, for operators."""


def user(uid: int, *groups: int) -> Caller:
    return Caller(uid=uid, groups=frozenset(groups))


def callers() -> Callers:
    return Callers(DAEMON, GROUP.gr_name)


def places(made: Callers, caller: Caller, tries: int = 2 * CALLERS_MAX) -> int:
    """How many places a caller gets."""
    return sum(made.enter(caller) for _ in range(tries))


def test_one_user_has_its_places_and_no_more() -> None:
    made = callers()
    assert places(made, user(1_000)) == PER_USER_MAX
    assert places(made, user(1_001), 1) == 1
    made.leave(user(1_000))
    assert places(made, user(1_000)) == 1


def test_all_who_may_only_read_leave_some_to_who_may_operate() -> None:
    made = callers()
    assert sum(places(made, user(uid)) for uid in range(1_000, 1_010)) == CALLERS_MAX - RESERVED
    assert places(made, user(1_010, GROUP.gr_gid), 1) == 1
    assert places(made, user(DAEMON), 1) == 1
    assert places(made, user(ROOT)) == RESERVED - 2
    assert places(made, user(ROOT), 1) == 0


def test_an_operator_does_not_keep_root_out() -> None:
    made = callers()
    assert places(made, user(1_000, GROUP.gr_gid)) == PER_USER_MAX
    assert places(made, user(ROOT)) == CALLERS_MAX - PER_USER_MAX


def test_who_stands_for_any_user_of_another_namespace_never_operates() -> None:
    assert not Callers(NOBODY, GROUP.gr_name).may_operate(user(NOBODY, GROUP.gr_gid))
    assert not Callers(DAEMON, "").may_operate(user(1_000))
    assert not Callers(DAEMON, "no such group here").may_operate(user(1_000))


def test_who_may_operate_is_said_with_the_group_that_may() -> None:
    assert callers().operators == f"root, the daemon's user or group {GROUP.gr_name}"
    for group in ("", "no such group here"):
        assert Callers(DAEMON, group).operators == "root or the daemon's user"


def test_the_kernel_says_who_connected() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        caller = caller_at(one)
    assert caller.uid == os.geteuid()
    assert os.getegid() in caller.groups
