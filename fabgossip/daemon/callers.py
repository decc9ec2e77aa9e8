"""Who is at the other end of the status socket, what it may ask for, and how many there may be.

The socket is open to every local user its mode lets in, so no user may take all its places, and all
those that may only read together leave some to whoever runs the node.
"""

import grp
import socket
import struct
from dataclasses import dataclass
from typing import Final, Protocol

CALLERS_MAX: Final = 64
PER_USER_MAX: Final = 24
"""Places of one user, root and the daemon's own apart (*start*)."""
RESERVED: Final = 8
"""Places only who may operate gets (*start*)."""
SO_PEERGROUPS: Final = 59
"""`SO_PEERGROUPS` of Linux, which Python does not name."""
PEER_GROUPS_BYTES: Final = 4 * 256
NOBODY: Final = 65_534
ROOT: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who is at the other end of the socket, as the kernel says, at connect."""

    uid: int
    groups: frozenset[int]


class _Socket(Protocol):
    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes:
        """See `socket.socket.getsockopt`."""
        ...


def caller_at(peer: _Socket) -> Caller:
    """Who connected."""
    _, uid, gid = struct.unpack(
        "iII", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
    )
    try:
        raw = peer.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, PEER_GROUPS_BYTES)
        groups = struct.unpack(f"{len(raw) // 4}I", raw)
    except OSError:
        groups = ()
    return Caller(uid=uid, groups=frozenset((gid, *groups)))


class Callers:
    """The connections there are."""

    def __init__(self, own_uid: int, operator_group: str) -> None:
        self._masters = frozenset((ROOT, own_uid)) - {NOBODY}
        self._operator_gid = _group_id(operator_group)
        self.operators = (
            "root or the daemon's user"
            if self._operator_gid is None
            else f"root, the daemon's user or group {operator_group}"
        )
        """Who may operate, in words."""
        self._by_user: dict[int, int] = {}
        self._count = 0

    def may_operate(self, caller: Caller) -> bool:
        """Whether a caller may ask for things beside reading."""
        if caller.uid == NOBODY:
            return False
        return caller.uid in self._masters or self._operator_gid in caller.groups

    def enter(self, caller: Caller) -> bool:
        """Take a place, to be left once; False if there is none for this caller."""
        of_user = self._by_user.get(caller.uid, 0)
        free = CALLERS_MAX - self._count - (0 if self.may_operate(caller) else RESERVED)
        if free <= 0 or (of_user >= PER_USER_MAX and caller.uid not in self._masters):
            return False
        self._by_user[caller.uid] = of_user + 1
        self._count += 1
        return True

    def leave(self, caller: Caller) -> None:
        """Give a place back."""
        self._count -= 1
        left = self._by_user[caller.uid] - 1
        if left:
            self._by_user[caller.uid] = left
        else:
            del self._by_user[caller.uid]


def _group_id(name: str) -> int | None:
    if not name:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None
