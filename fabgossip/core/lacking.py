"""What the peer of a link has and this node lacks, set by set, and what of it was asked for.

Decides: how much is asked of a link at once, when an answer is not waited for any longer.
Keeps: a set has its limits and its time to itself; those of the whole link stand only where memory
needs them; who answers nothing, again and again, is as silent as who does not answer.
Must not know: what a manifest says, how sets are compared.
"""

from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Final

from fabgossip.model.messages import GET_MANIFESTS_IDS_MAX, GetManifests, Manifests, SaltId
from fabgossip.model.moment import Duration, Instant, elapsed, later

ASKED_MAX: Final = 256
"""Manifests of a set asked of a link and not yet answered: 180 KB at 0.7 KB each (*start*)."""
ASKED_OF_LINK_MAX: Final = 1_024
"""Those of all its sets (*start*)."""
LACKING_MAX: Final = 262_144
LACKING_SETS_MAX: Final = 1_024
"""Manifests of one link that wait to be asked for, and the sets they are of: a peer names as many
sets as it likes. Further ones are found again."""
UNANSWERED: Final = Duration(10_000)
"""What nothing was answered of for so long is given up (*start*)."""


@dataclass(slots=True)
class _Asked:
    """What was asked of a set and not answered yet, and when an answer about it last came."""

    ids: dict[bytes, None]
    answered_at: Instant


class Lacking:
    """Of one link."""

    __slots__ = ("_asked", "_asked_count", "_waiting", "_waiting_count")

    def __init__(self) -> None:
        self._waiting: dict[bytes, dict[bytes, SaltId]] = {}
        """Set by set what was not asked for yet."""
        self._waiting_count = 0
        self._asked: dict[bytes, _Asked] = {}
        self._asked_count = 0

    def clear(self) -> None:
        """Nothing of it can be answered any more."""
        self._waiting.clear()
        self._asked.clear()
        self._waiting_count = self._asked_count = 0

    def is_over(self, set_id: bytes) -> bool:
        """Whether nothing of a set is waited for."""
        return set_id not in self._asked and set_id not in self._waiting

    def note(self, set_id: bytes, salt: SaltId, ids: tuple[bytes, ...]) -> None:
        """The peer has these of a set: remembered as far as there is room."""
        if set_id not in self._waiting and len(self._waiting) >= LACKING_SETS_MAX:
            return
        asked = self._asked[set_id].ids if set_id in self._asked else {}
        waiting = self._waiting.get(set_id, {})
        for one in ids:
            if self._waiting_count >= LACKING_MAX:
                break
            if one not in asked and one not in waiting:
                waiting[one] = salt
                self._waiting_count += 1
        if waiting:
            self._waiting[set_id] = waiting

    def settle(self, message: Manifests, now: Instant) -> bool:
        """So many questions about a set are answered, the oldest first; whether any was."""
        asked = self._asked.get(message.set_id)
        if asked is None or not message.answered:
            return False
        settled = tuple(islice(asked.ids, message.answered))
        for one in settled:
            del asked.ids[one]
        self._asked_count -= len(settled)
        asked.answered_at = now
        if not asked.ids:
            del self._asked[message.set_id]
        return True

    def next_asks(self, now: Instant) -> tuple[GetManifests, ...]:
        """Of each set so much as it has room for. Cost: what is asked for, and the sets that are
        asked for as much as they may be."""
        asks: list[GetManifests] = []
        if not self._waiting or self._asked_count >= ASKED_OF_LINK_MAX:
            return ()
        for set_id in tuple(self._waiting):
            waiting = self._waiting[set_id]
            asked = self._asked.get(set_id) or _Asked({}, now)
            while waiting and (free := self._free(asked)) > 0:
                ask = _next_ask(set_id, waiting, min(free, GET_MANIFESTS_IDS_MAX))
                asked.ids.update(dict.fromkeys(ask.ids))
                self._asked[set_id] = asked
                self._asked_count += len(ask.ids)
                self._waiting_count -= len(ask.ids)
                asks.append(ask)
            if not waiting:
                del self._waiting[set_id]
            if self._asked_count >= ASKED_OF_LINK_MAX:
                break
        return tuple(asks)

    def _free(self, asked: _Asked) -> int:
        """How many more of a set may be asked for now."""
        return min(ASKED_OF_LINK_MAX - self._asked_count, ASKED_MAX - len(asked.ids))

    def next_end(self) -> Instant | None:
        """When something is given up, if nothing is answered. Cost: O(sets asked for)."""
        return min(
            (later(one.answered_at, UNANSWERED) for one in self._asked.values()), default=None
        )

    def give_up(self, now: Instant) -> None:
        """What was not answered for so long will not be."""
        for set_id, asked in tuple(self._asked.items()):
            if elapsed(asked.answered_at, now) >= UNANSWERED:
                self._asked_count -= len(self._asked.pop(set_id).ids)
                self._waiting_count -= len(self._waiting.pop(set_id, ()))

    def check(self) -> None:
        """Assert the limits, and that the counts equal a recount."""
        assert all(0 < len(one.ids) <= ASKED_MAX for one in self._asked.values())
        assert sum(len(one.ids) for one in self._asked.values()) == self._asked_count
        assert self._asked_count <= ASKED_OF_LINK_MAX
        assert all(self._waiting.values())
        assert sum(map(len, self._waiting.values())) == self._waiting_count <= LACKING_MAX
        assert len(self._waiting) <= LACKING_SETS_MAX


def _next_ask(set_id: bytes, waiting: dict[bytes, SaltId], count_max: int) -> GetManifests:
    """The oldest of what waits of a set, as far as it was told under one salt."""
    salt = next(iter(waiting.values()))
    ids = tuple(islice(takewhile(lambda one: waiting[one] == salt, waiting), count_max))
    for one in ids:
        del waiting[one]
    return GetManifests(set_id=set_id, salt=salt, ids=ids)
