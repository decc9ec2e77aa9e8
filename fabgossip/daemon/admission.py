"""Who may begin a TLS handshake, and when: bounds on all that are under way and on how many begin
in a second, and on those of one address.

A handshake costs what no stranger has paid for yet: memory, a task and a signature. So both are
bounded, and no address can take all of either. Who is over its number is turned away at once and
pays nothing; who has a place waits in it for its turn, among its own address first, so a flood of
one address makes nobody else wait. Asked before any byte is read.
"""

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

import trio

ADDRESS_SHARE: Final = 4
"""One address may have this part of all handshakes, under way and in a second: a quarter
(*start*)."""
BURST_S: Final = 1.0
"""What a rate gives in so long may begin at once."""
_V6_SUBNET_BITS: Final = 64


def origin_of(host: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 of an IPv6 one, which is what one
    machine is given whole. Text that is no address counts as itself."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{int(address) >> _V6_SUBNET_BITS:x}/64"


class _Turns:
    """Turns at a rate, given out one after the other."""

    __slots__ = ("_interval", "_next_at", "_slack")

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second
        self._slack = max(0.0, BURST_S - self._interval)
        self._next_at = 0.0

    def wait_s(self, now: float) -> float:
        """How long the next one waits; the turn is taken."""
        wait = max(0.0, self._next_at - self._slack - now)
        self._next_at = max(self._next_at, now) + self._interval
        return wait

    def is_rested(self, now: float) -> bool:
        """Whether all that was taken is past: then a new one would do."""
        return self._next_at <= now


class Handshakes:
    """The handshakes under way that others began."""

    def __init__(self, in_flight_max: int, per_second_max: int) -> None:
        self._in_flight_max = in_flight_max
        self._per_origin_max = max(1, in_flight_max // ADDRESS_SHARE)
        self._by_origin: dict[str, int] = {}
        self._per_origin_per_second = per_second_max / ADDRESS_SHARE
        self._turns = _Turns(per_second_max)
        self._turns_of: dict[str, _Turns] = {}
        self.in_flight = 0

    def enter(self, host: str) -> "Slot | None":
        """A place for a handshake with this host, to be left once; None if there is none."""
        origin = origin_of(host)
        count = self._by_origin.get(origin, 0)
        if self.in_flight >= self._in_flight_max or count >= self._per_origin_max:
            return None
        self._by_origin[origin] = count + 1
        self.in_flight += 1
        return Slot(self, origin)

    def wait_of(self, origin: str, now: float) -> float:
        """Seconds until an address has its next turn, which is taken. Cost: O(addresses that had
        one of late), of which there are no more than had a place."""
        rested = [one for one, turns in self._turns_of.items() if turns.is_rested(now)]
        for one in rested:
            del self._turns_of[one]
        turns = self._turns_of.setdefault(origin, _Turns(self._per_origin_per_second))
        return turns.wait_s(now)

    def wait_of_all(self, now: float) -> float:
        """Seconds until anybody has the next turn, which is taken."""
        return self._turns.wait_s(now)

    def on_left(self, origin: str) -> None:
        """A handshake ended, however it did."""
        self.in_flight -= 1
        left = self._by_origin[origin] - 1
        if left:
            self._by_origin[origin] = left
        else:
            del self._by_origin[origin]


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """The place of one handshake."""

    handshakes: Handshakes
    origin: str

    async def turn(self) -> None:
        """Wait for the turn of its address, and only then for one among all: what one address is
        too early for takes no turn from another."""
        await trio.sleep(self.handshakes.wait_of(self.origin, trio.current_time()))
        await trio.sleep(self.handshakes.wait_of_all(trio.current_time()))

    def leave(self) -> None:
        """Give the place back."""
        self.handshakes.on_left(self.origin)
