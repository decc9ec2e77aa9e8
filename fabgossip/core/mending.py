"""Holdings hashed again at rest, and what becomes of damage.

Decides: nothing its machines do not decide.
Keeps: a damaged content is neither served nor applied from the moment it is known; its bytes are
set aside, peers hear that it is not held, and it is wanted again where it was wanted; it is on
record once. What local software reads of a content is looked at with it.
Must not know: how bytes are read.

Nothing is hashed while trust or a snapshot is on its way.
"""

from fabgossip.core.activation import Activation
from fabgossip.core.durability import Durability
from fabgossip.core.effects import Fact, Record, Remove, Scrub, SetTimer
from fabgossip.core.events import ScrubDue, Token
from fabgossip.core.machines import Machines
from fabgossip.core.own_contents import OwnContents
from fabgossip.core.scrubbing import PAUSE
from fabgossip.model.ids import ContentHash
from fabgossip.model.messages import TrafficClass
from fabgossip.model.moment import Instant, Now, is_due, later

_URGENT = frozenset({TrafficClass.TRUST, TrafficClass.SNAPSHOT})


class Mending:
    """Scrubs, and repairs."""

    __slots__ = (
        "_activation", "_contents", "_durability", "_is_word_stale", "_look_at", "_m",
    )  # fmt: skip

    def __init__(
        self,
        machines: Machines,
        durability: Durability,
        contents: OwnContents,
        activation: Activation,
    ) -> None:
        self._activation = activation
        self._m = machines
        self._durability = durability
        self._contents = contents
        self._look_at: Instant | None = None
        """When the timer that is out comes due."""
        self._is_word_stale = False
        """Whether peers were told of a holding that is none any more."""

    def on_due(self, now: Now) -> None:
        """Time to look whether a holding is due."""
        if self._look_at is not None and not is_due(self._look_at, now.instant):
            return  # a later one than is needed by now
        self._look_at = None
        self._retract(now)
        scrubbing = self._m.scrubbing
        if not self._m.fetching.is_any_under_way(_URGENT):
            content_hash = scrubbing.next_scrub(now)
            if content_hash is not None:
                token = self._durability.next_token()
                shown = self._activation.shown_of(content_hash)
                scrubbing.on_begun(token, content_hash, 1 + len(shown))
                scrub = Scrub(token=token, content_hash=content_hash, at=now.unix, shown=shown)
                self._m.out.append(scrub)
        self.look(scrubbing.look_at(now))

    def look(self, at: Instant) -> None:
        """Look at this time, if not before."""
        if self._look_at is None or at < self._look_at:
            self._look_at = at
            self._m.out.append(SetTimer(timer=ScrubDue(), at=at))

    def _retract(self, now: Now) -> None:
        """Peers hear what is held now: in one word, however much was found damaged."""
        if self._is_word_stale:
            self._is_word_stale = False
            for session in self._m.sessions.open_sessions():
                self._m.disclosure.whole_holdings(session, now)

    def waits_for(self, token: Token) -> bool:
        """Whether a scrub runs under this token."""
        return self._m.scrubbing.waits_for(token)

    def on_persisted(self, now: Now, *, ok: bool) -> None:
        """The holding is sound, or could not be read just now."""
        self._m.scrubbing.on_over(now, ok=ok)

    def on_lost(self, content_hash: ContentHash, now: Now) -> None:
        """A holding is damaged or gone: found by a scrub, or when it was to be served."""
        self._m.scrubbing.on_lost(content_hash, now)
        if not self._contents.size_of(content_hash):
            return  # it left meanwhile, or is known to be damaged
        self._m.scrubbing.damaged += 1
        named = self._m.catalog.by_content(content_hash)
        names = sorted(verified.manifest.namespace.text for _, verified in named)
        fields = (
            ("content_hash", content_hash.hex()),
            ("namespace", names[0] if names else ""),
        )
        self._m.out.append(Record(fact=Fact.CONTENT_DAMAGED, fields=fields))
        self._m.out.append(Remove(content_hash=content_hash, is_damaged=True))
        self._contents.on_vanished(content_hash, now)
        self._is_word_stale = True
        self.look(later(now.instant, PAUSE))
