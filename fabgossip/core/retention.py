"""Which contents stay: explicit pins, and the order in which the rest may leave.

Decides: whether a content is pinned, and which one is looked at next when there is too much.
Keeps: a pin counts from the moment it is asked for; a content that was touched since it was last
looked at is passed over once; nothing is looked at for ever.
Must not know: what a content is for, which rules keep one, how space is measured.

The order is SIEVE: a hand walks from the oldest to the newest and begins again; who was touched is
passed over and counts as untouched, who was not leaves if it may. A touch is a mark in memory, and
no write. After a start the order is that in which the disk gave the contents.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fabgossip.core.ordered import OrderedMap
from fabgossip.core.space import AMPLE, SpaceState
from fabgossip.model.ids import ContentHash
from fabgossip.model.moment import UnixTime, is_past
from fabgossip.model.persistence import Pin

PINS_MAX: Final = 10_000
"""Explicit pins (*start*)."""
LOOKS_MAX: Final = 4_096
"""Contents looked at in one step (*start*)."""
TOUCHED_MAX: Final = 65_536
"""Touches remembered; further ones cost hit rate only (*start*)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSnapshot:
    """What readers may know."""

    space: SpaceState
    pins: int
    evicted: int
    evicted_bytes: int
    is_stuck: bool
    """There is too much, and nothing of it may leave."""


class Retention:
    """Pins, and every content that is held, oldest first."""

    __slots__ = (
        "_barren", "_hand", "_last_pin", "_last_place", "_pinned", "_pins", "_places", "_queue",
        "_touched", "evicted", "evicted_bytes", "space",
    )  # fmt: skip

    def __init__(self) -> None:
        self._pins: dict[int, Pin] = {}
        self._pinned: dict[ContentHash, dict[int, None]] = {}
        self._last_pin = 0
        self._queue: OrderedMap[int, ContentHash] = OrderedMap()
        self._places: dict[ContentHash, int] = {}
        self._last_place = 0
        self._hand = 0
        self._touched: dict[ContentHash, None] = {}
        self._barren = 0
        """Looks since one let something leave."""
        self.evicted = 0
        self.evicted_bytes = 0
        self.space: SpaceState = AMPLE
        """As the disk said it last."""

    def on_space(self, space: SpaceState) -> None:
        """The disk fares differently."""
        self.space = space
        if not space.excess_bytes:
            self._barren = 0

    def has_room_for_pin(self) -> bool:
        """Whether another pin may be made."""
        return len(self._pins) < PINS_MAX

    def next_pin_id(self) -> int:
        """A number no pin ever had since the start, and none has."""
        return self._last_pin + 1

    def on_pin(self, pin: Pin) -> None:
        """A pin counts from now on, durable or not yet."""
        self._pins[pin.pin_id] = pin
        self._pinned.setdefault(pin.content_hash, {})[pin.pin_id] = None
        self._last_pin = max(self._last_pin, pin.pin_id)

    def on_unpin(self, pin_id: int) -> Pin | None:
        """A pin ends; None if there is none."""
        pin = self._pins.pop(pin_id, None)
        if pin is not None:
            rest = self._pinned[pin.content_hash]
            del rest[pin_id]
            if not rest:
                del self._pinned[pin.content_hash]
        return pin

    def pins(self) -> tuple[Pin, ...]:
        """All pins, in order of their numbers."""
        return tuple(self._pins[one] for one in sorted(self._pins))

    def pins_of(self, content_hash: ContentHash) -> tuple[Pin, ...]:
        """The pins of one content."""
        return tuple(self._pins[one] for one in self._pinned.get(content_hash, ()))

    def is_pinned(self, content_hash: ContentHash) -> bool:
        """Whether somebody pinned a content."""
        return content_hash in self._pinned

    def ended(self, now: UnixTime) -> tuple[Pin, ...]:
        """The pins whose time is over."""
        return tuple(one for one in self.pins() if is_past(one.until, now))

    def on_held(self, content_hash: ContentHash) -> None:
        """A content is on the disk: the newest, if it was not there."""
        if content_hash not in self._places:
            self._last_place += 1
            self._places[content_hash] = self._last_place
            self._queue[self._last_place] = content_hash

    def on_gone(self, content_hash: ContentHash) -> None:
        """A content is not on the disk any more."""
        place = self._places.pop(content_hash, None)
        self._touched.pop(content_hash, None)
        if place is not None:
            self._queue.discard(place)

    def on_touched(self, content_hash: ContentHash) -> None:
        """Somebody needed a content."""
        if content_hash in self._places and len(self._touched) < TOUCHED_MAX:
            self._touched[content_hash] = None

    def leaving(
        self, size_of: Callable[[ContentHash], int], may_leave: Callable[[ContentHash], bool]
    ) -> tuple[ContentHash, ...]:
        """The contents that are to leave now for the disk to be below its target. Cost: at most
        `LOOKS_MAX` looks; what is left is for the next time."""
        excess, found = self.space.excess_bytes, dict[ContentHash, None]()
        for _ in range(min(LOOKS_MAX, 2 * len(self._queue))):
            if excess <= 0:
                break
            content_hash = self._next_look()
            self._barren += 1
            if content_hash in self._touched:
                del self._touched[content_hash]
            elif content_hash not in found and may_leave(content_hash):
                self._barren = 0
                found[content_hash] = None
                excess -= size_of(content_hash)
        self.evicted += len(found)
        self.evicted_bytes += sum(map(size_of, found))
        return tuple(found)

    def _next_look(self) -> ContentHash:
        rows = self._queue.items_after(self._hand, 1) or self._queue.items_after(0, 1)
        ((self._hand, content_hash),) = rows
        return content_hash

    def snapshot(self) -> RetentionSnapshot:
        """Counts for status."""
        is_stuck = self.space.excess_bytes > 0 and self._barren >= 2 * len(self._queue)
        return RetentionSnapshot(
            space=self.space,
            pins=len(self._pins),
            evicted=self.evicted,
            evicted_bytes=self.evicted_bytes,
            is_stuck=is_stuck,
        )

    def check(self) -> None:
        """Assert that the indexes agree."""
        assert len(self._pins) <= PINS_MAX
        assert sum(map(len, self._pinned.values())) == len(self._pins)
        assert len(self._queue) == len(self._places)
        assert all(one in self._places for one in self._touched)
