"""Heads that end, and what they replaced.

Decides: what leaves with a head.
Keeps: what a head replaced stays on the disk until the head's content is here; a clock nobody
believes takes nothing away.
Must not know: why a head ends.
"""

from fabgossip.core.activation import Activation
from fabgossip.core.announcing import Announcing
from fabgossip.core.catalog import Head, HeadState
from fabgossip.core.effects import Fact, Record
from fabgossip.core.learning import Learning
from fabgossip.core.machines import Machines
from fabgossip.core.own_contents import OwnContents
from fabgossip.core.recording import fields_of
from fabgossip.model.moment import Now


class Withdrawing:
    """Ends heads."""

    __slots__ = (
        "_activation",
        "_announcing",
        "_contents",
        "_learning",
        "_m",
    )

    def __init__(
        self,
        machines: Machines,
        contents: OwnContents,
        announcing: Announcing,
        activation: Activation,
        learning: Learning,
    ) -> None:
        self._m = machines
        self._contents = contents
        self._announcing = announcing
        self._activation = activation
        self._learning = learning

    def on_expiry(self, now: Now, count: int) -> None:
        """Withdraw what has expired, at most `count` heads at a time. A clock nobody believes takes
        nothing away: it could not be given back."""
        if self._m.beliefs.facts.freshness.is_clock_suspect:
            return
        for head in self._m.catalog.on_expired(now.unix, count):
            self.withdraw(head, HeadState.EXPIRED)
        self._activation.on_expiry(now)

    def withdraw(self, head: Head, state: HeadState) -> None:
        """Neither applied nor served from now on, and not wanted either."""
        head.state = state
        self._m.catalog.touch(head.manifest.namespace.text)
        manifest = head.manifest
        self.supersede(head)
        for one in (head.verified, *(kept.verified for kept in head.kept)):
            self._contents.void(one.manifest.content_hash)
        tombstone = manifest.tombstone
        is_purge = state is HeadState.WITHDRAWN and tombstone is not None and tombstone.purge
        self._activation.take_away(manifest.namespace.text, purge=is_purge)
        if is_purge:
            fields = fields_of(head.verified, head.source)
            self._m.out.append(Record(fact=Fact.CONTENT_PURGED, fields=fields))
        self._learning.on_gone(manifest)
        record = Record(fact=Fact.ARTIFACT_WITHHELD, fields=fields_of(head.verified, state.value))
        self._m.out.append(record)

    def supersede(self, head: Head) -> None:
        """Its content is here, or it has none: what it replaced leaves the disk where nothing
        names it. Until then the last good content stays, whatever becomes of the new one."""
        before, head.replaces = head.replaces, None
        while before is not None:
            for verified in before.statements:
                self._announcing.on_gone(verified)
                self._contents.release(verified.manifest.content_hash)
            before = before.replaces
