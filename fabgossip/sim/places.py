"""A set of places, as a bit each.

Decides: nothing.
Keeps: what is known of every place and every artifact takes bits, for there may be ten thousand of
both.
Must not know: what it means to be in it.
"""


class Places:
    """Places in it; it grows to the highest that ever was."""

    __slots__ = ("_bits",)

    def __init__(self) -> None:
        self._bits = bytearray()

    def __contains__(self, place: int) -> bool:
        at = place >> 3
        return at < len(self._bits) and bool(self._bits[at] >> (place & 7) & 1)

    def __len__(self) -> int:
        return int.from_bytes(self._bits, "little").bit_count()

    def add(self, place: int) -> None:
        """Put a place in."""
        at = place >> 3
        if at >= len(self._bits):
            self._bits.extend(bytes(at + 1 - len(self._bits)))
        self._bits[at] |= 1 << (place & 7)

    def discard(self, place: int) -> None:
        """Take a place out, if it is in."""
        if place in self:
            self._bits[place >> 3] &= ~(1 << (place & 7))
