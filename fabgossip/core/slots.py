"""How many requests are served at once, and of whom.

Decides: whether one more request of a link has a slot.
Keeps: a link always has one slot of its own and one for trust, however many others ask; what lies
beyond is shared, and bounded for all and for each.
Must not know: what is asked for, but whether it is trust.
"""

from dataclasses import dataclass
from typing import Final

from fabgossip.core.events import LinkId

SERVED_PER_LINK_MAX: Final = 16
"""Requests of one link served at once: a slow reader does not use up the slots of all (*start*)."""
SERVED_SLOW_MAX: Final = 1
"""The same of a node that read too slowly of late: it holds no more than that, and one for trust,
and is not shut out."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """A slot of a link in use."""

    stream: int
    is_trust: bool
    """Whether it is one for trust."""


class Slots:
    """The requests under way, by link."""

    __slots__ = ("_by_link", "_shared_max")

    def __init__(self, shared_max: int) -> None:
        self._shared_max = shared_max
        self._by_link: dict[LinkId, list[_Taken]] = {}

    def has_room(self, link: LinkId, share: int, *, is_trust: bool) -> bool:
        """Whether a link has a slot left: its own one of that kind, or a shared one
        within its share."""
        taken = self._by_link.get(link, [])
        if all(one.is_trust is not is_trust for one in taken):
            return True
        return (
            len(taken) < share
            and sum(_beyond_own(one) for one in self._by_link.values()) < self._shared_max
        )

    def is_in_use(self, link: LinkId) -> bool:
        """Whether a request of a link is being served."""
        return link in self._by_link

    def on_taken(self, link: LinkId, stream: int, *, is_trust: bool) -> None:
        """A request is being served, or waits for the disk before it is."""
        self._by_link.setdefault(link, []).append(_Taken(stream, is_trust))

    def on_free(self, link: LinkId, stream: int) -> None:
        """A request was served, refused, or its link could not take it."""
        taken = self._by_link.get(link, [])
        found = next((one for one in taken if one.stream == stream), None)
        if found is not None:
            taken.remove(found)
            if not taken:
                del self._by_link[link]

    def on_lost(self, link: LinkId) -> None:
        """A link ended: nothing of it is served any more."""
        self._by_link.pop(link, None)

    def check(self) -> None:
        """Assert the limits, and that no link is kept that uses no slot."""
        assert sum(_beyond_own(one) for one in self._by_link.values()) <= self._shared_max
        for taken in self._by_link.values():
            assert taken
            assert len(taken) <= SERVED_PER_LINK_MAX + 1


def _beyond_own(taken: list[_Taken]) -> int:
    """How many shared slots a link uses."""
    return len(taken) - len({one.is_trust for one in taken})
