"""Which envelopes were handled already, and what is asked of a link that told of something we lack.

Decides: whether an envelope is worth the gate; which prefixes of a `Have` to ask for now.
Keeps: a copy of what was judged for good costs a look-up; a link is never asked for more at once
than its queue can answer, whatever it is asked for.
Must not know: what the gate thinks, who may know of what.
"""

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Final, TypeVar

from fabgossip.core.config import DisseminationConfig
from fabgossip.core.events import LinkId
from fabgossip.model.messages import GRAFT_PREFIXES_MAX
from fabgossip.model.moment import Duration, Instant, elapsed
from fabgossip.model.scope import Audience

UNANSWERED: Final = Duration(10_000)
"""What was asked for so long ago and never came is not waited for any longer (*start*)."""
LACKING_MAX: Final = 262_144
"""Prefixes listed and not yet asked for, of all links together: about 50 MB. Beyond, the link with
the most loses its oldest, so that no link's lists push out another's shorter ones (*start*)."""
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class _Told:
    """How a link told of what it has."""

    audience: Audience
    is_late: bool
    """Whether it listed it, so that everybody else may have it by now; else it is news."""


class Dissemination:
    """Memory of what came by."""

    __slots__ = ("_asked", "_config", "_known", "_lacking", "_seen", "_unwanted")

    def __init__(self, config: DisseminationConfig) -> None:
        self._config = config
        self._seen: OrderedDict[bytes, bytes] = OrderedDict()
        self._known: OrderedDict[tuple[Audience, bytes], LinkId | None] = OrderedDict()
        """Statements judged for good, by audience and prefix, and which link brought each first. By
        prefix alone a list would show whether something of an audience its sender may not know was
        ever seen here."""
        self._unwanted: OrderedDict[bytes, bytes] = OrderedDict()
        """Those of `_seen` that were not for this node, as far as its claims said then."""
        self._lacking: dict[LinkId, OrderedDict[bytes, _Told]] = {}
        """What a link told of and we never saw, in the order in which to ask for it."""
        self._asked: dict[LinkId, OrderedDict[bytes, tuple[_Told, Instant]]] = {}
        """What a link was asked for and did not send yet, and since when, oldest first."""

    def seen_prefix(self, envelope: bytes) -> bytes | None:
        """The manifest prefix of exactly these bytes, if they were judged for good."""
        return self._seen.get(sha256(envelope).digest())

    def first_from(self, audience: Audience, prefix: bytes) -> LinkId | None:
        """The link that brought a statement first, if it was one."""
        return self._known.get((audience, prefix))

    def unseen(self, audience: Audience, prefixes: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Those of prefixes of an audience that were never judged."""
        return tuple(one for one in prefixes if (audience, one) not in self._known)

    def was_asked(self, link: LinkId, prefix: bytes) -> bool:
        """Whether a link was asked for something because its list names it."""
        asked = self._asked.get(link)
        return asked is not None and prefix in asked and asked[prefix][0].is_late

    def on_accepted(
        self, envelope: bytes, audience: Audience, prefix: bytes, origin: LinkId | None
    ) -> None:
        """A statement was taken, or was here already."""
        _remember(self._seen, sha256(envelope).digest(), prefix, self._config.seen_max)
        self._know(audience, prefix, origin)
        for asked in self._asked.values():
            # Asked for by the name of another audience, it did not come.
            if prefix in asked and asked[prefix][0].audience == audience:
                del asked[prefix]

    def on_refused(self, envelope: bytes, prefix: bytes, *, was_signed: bool) -> None:
        """These bytes were refused for good. Only what a trusted key signed says so of its
        statement: anybody can wrap another's payload in an envelope that is refused."""
        _remember(self._seen, sha256(envelope).digest(), prefix, self._config.seen_max)
        for asked in self._asked.values():
            if was_signed and prefix in asked:
                told, _ = asked.pop(prefix)
                self._know(told.audience, prefix, None)

    def on_unwanted(self, envelope: bytes, prefix: bytes) -> None:
        """These bytes were judged, and are not for this node."""
        self.on_refused(envelope, prefix, was_signed=False)
        _remember(self._unwanted, sha256(envelope).digest(), prefix, self._config.seen_max)

    def _know(self, audience: Audience, prefix: bytes, origin: LinkId | None) -> None:
        key = (audience, prefix)
        _remember(self._known, key, self._known.get(key, origin), self._config.seen_max)

    def on_other_claims(self) -> None:
        """What this node may hold changed: what was not for it is worth another look."""
        for digest in self._unwanted:
            self._seen.pop(digest, None)
        self._unwanted.clear()

    def forget(self) -> None:
        """Trust changed: what was refused under the old one is worth another look."""
        self._seen.clear()
        self._known.clear()
        self._unwanted.clear()

    def on_lost(self, link: LinkId) -> None:
        """A link ended: what was asked of it may be asked elsewhere."""
        self._lacking.pop(link, None)
        self._asked.pop(link, None)

    def on_listed(
        self, link: LinkId, audience: Audience, prefixes: tuple[bytes, ...], now: Instant
    ) -> None:
        """A link listed what it has: what was never seen is lacking."""
        self._on_told(link, _Told(audience, is_late=True), prefixes, now)
        self._trim()

    def on_news(
        self, link: LinkId, audience: Audience, prefixes: tuple[bytes, ...], now: Instant
    ) -> None:
        """The tree did not bring what a link told of as news: it is asked for before all that the
        link listed."""
        lacking = self._on_told(link, _Told(audience, is_late=False), prefixes, now)
        for prefix in reversed(prefixes):
            if prefix in lacking:
                lacking.move_to_end(prefix, last=False)
        self._trim()

    def _on_told(
        self, link: LinkId, told: _Told, prefixes: tuple[bytes, ...], now: Instant
    ) -> OrderedDict[bytes, _Told]:
        lacking = self._lacking.setdefault(link, OrderedDict())
        asked = self._unanswered(link, now)
        for prefix in prefixes:
            if (told.audience, prefix) not in self._known and prefix not in asked:
                _remember(lacking, prefix, told, self._config.seen_max)
        return lacking

    def _trim(self) -> None:
        for _ in range(self._lacking_count - LACKING_MAX):
            max(self._lacking.values(), key=len).popitem(last=False)

    @property
    def _lacking_count(self) -> int:
        return sum(len(lacking) for lacking in self._lacking.values())

    def next_graft(self, link: LinkId, now: Instant) -> tuple[Audience, tuple[bytes, ...]] | None:
        """What to ask a link for now: at most 64 prefixes of one audience, and never more than
        `asked_max` unanswered, so that no answer overfills the peer's queue."""
        lacking = self._lacking.get(link)
        if not lacking:
            return None
        asked = self._unanswered(link, now)
        room = min(GRAFT_PREFIXES_MAX, self._config.asked_max - len(asked))
        while lacking:
            audience = next(iter(lacking.values())).audience
            run: list[bytes] = []
            before = len(lacking)
            for prefix, told in list(islice(lacking.items(), 4 * GRAFT_PREFIXES_MAX)):
                if (told.audience, prefix) in self._known:
                    del lacking[prefix]
                elif told.audience == audience and len(run) < room:
                    del lacking[prefix]
                    asked[prefix] = (told, now)
                    run.append(prefix)
            if run:
                return audience, tuple(sorted(run))
            if len(lacking) == before:
                return None
            # All that was looked at had come over other links meanwhile: look further.
        return None

    def _unanswered(self, link: LinkId, now: Instant) -> OrderedDict[bytes, tuple[_Told, Instant]]:
        """What a link was asked for and may still answer. The rest lost its frame, or something
        newer took its place: comparing sets finds what of it there is."""
        asked = self._asked.setdefault(link, OrderedDict())
        while asked and elapsed(next(iter(asked.values()))[1], now) >= UNANSWERED:
            asked.popitem(last=False)
        return asked

    def check(self) -> None:
        """Assert the limits."""
        assert len(self._seen) <= self._config.seen_max
        assert len(self._known) <= self._config.seen_max
        assert len(self._unwanted) <= self._config.seen_max
        assert all(len(asked) <= self._config.asked_max for asked in self._asked.values())
        assert all(len(lacking) <= self._config.seen_max for lacking in self._lacking.values())
        assert self._lacking_count <= LACKING_MAX


def _remember(rows: OrderedDict[K, V], key: K, value: V, rows_max: int) -> None:
    rows[key] = value
    rows.move_to_end(key)
    if len(rows) > rows_max:
        rows.popitem(last=False)
