"""Who may begin a TLS handshake: a bound on all that are under way, and on those of one address.

A handshake costs what no stranger has paid for yet: memory, a task and a signature. So the number
under way is bounded, and no address can take all of it. Pure counting, asked before any byte is
read.
"""

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

ADDRESS_SHARE: Final = 4
"""One address may have this part of all handshakes under way: a quarter (*start*)."""
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


class Handshakes:
    """The handshakes under way that others began."""

    def __init__(self, in_flight_max: int) -> None:
        self._in_flight_max = in_flight_max
        self._per_origin_max = max(1, in_flight_max // ADDRESS_SHARE)
        self._by_origin: dict[str, int] = {}
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

    def leave(self) -> None:
        """Give the place back."""
        self.handshakes.on_left(self.origin)
