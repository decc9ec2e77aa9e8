"""Heads that end, and what they replaced.

Decides: what leaves with a head.
Keeps: what a head replaced stays on the disk until the head's content is here, or is not wanted; of
what was never here nothing is remembered but of one on its way; a clock nobody believes takes
nothing away.
Must not know: why a head ends.
"""

from collections.abc import Callable

from fabgossip.core.activation import Activation
from fabgossip.core.announcing import Announcing
from fabgossip.core.catalog import Head, HeadState
from fabgossip.core.effects import Fact, Record
from fabgossip.core.learning import Learning
from fabgossip.core.machines import Machines
from fabgossip.core.own_contents import OwnContents
from fabgossip.core.recording import fields_of
from fabgossip.model.artifact import TYPE_RULES, ArtifactType, VerifiedManifest
from fabgossip.model.moment import Now
from fabgossip.model.scope import matches


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
        if state is HeadState.EXPIRED:
            self._learning.on_expired(manifest)
        else:
            self._learning.on_gone(manifest)
        record = Record(fact=Fact.ARTIFACT_WITHHELD, fields=fields_of(head.verified, state.value))
        self._m.out.append(record)

    def supersede(self, head: Head) -> None:
        """Its content is here, or it has none: what it replaced leaves the disk where nothing
        names it. Until then the last good content stays, whatever becomes of the new one."""
        before, head.replaces = head.replaces, None
        self._leave(head, before)

    def supersede_unheld(self, head: Head) -> None:
        """Its content is to come: of all before it only the newest stays that is here, or versions
        that follow each other faster than their contents come would never end; and of those on
        their way the first, or none of these would ever be used."""
        if head.manifest.artifact_type is ArtifactType.TRUST_BUNDLE:
            return  # if it proves to be none, the one before it stands again, and is told once
        # Its increments are no reason: those the new one needs it has taken over, and they lead
        # there from the version that stays.
        self._thin(head, self._comes_first, self._is_here)

    def _comes_first(self, before: Head) -> bool:
        """Whether it is on its way, and nothing that it replaced is."""
        older = before.replaces
        while older is not None and not self._is_coming(older):
            older = older.replaces
        return older is None and self._is_coming(before)

    def _is_coming(self, before: Head) -> bool:
        """Whether a content is under way that consumers on this node are to read."""
        if before.is_disputed or before.is_unlisted:
            return False
        is_read_here = TYPE_RULES[before.manifest.artifact_type].is_read
        is_for_us = matches(before.manifest.audience, self._m.beliefs.facts.own)
        return is_for_us and not is_read_here and self._m.fetching.is_under_way(before.verified)

    def _is_here(self, before: Head) -> bool:
        return any(self._contents.is_held(row.manifest) for row in before.rivals)

    def superseded(self, verified: VerifiedManifest) -> Head | None:
        """The head in whose place a newer one stands already, if its content was awaited all the
        same."""
        head = self._m.catalog.find(verified.manifest.namespace.text)
        before = None if head is None else head.replaces
        while before is not None and before.verified is not verified:
            before = before.replaces
        return before

    def supersede_late(self, head: Head, before: Head) -> None:
        """The content of what a head replaced came late: what that one replaced leaves."""
        rest, before.replaces = before.replaces, None
        self._leave(head, rest)

    def supersede_unread(self, head: Head) -> None:
        """Its content is not wanted here: of all before it only what consumers read, or may again,
        stays."""
        namespace = head.manifest.namespace.text
        read = (self._activation.shown(namespace), self._m.withholding.away(namespace))
        hashes = {one.manifest_hash for one in read if one is not None}
        self._thin(head, lambda one: one.verified.manifest_hash in hashes)

    def _thin(self, head: Head, *needs: Callable[[Head], bool]) -> None:
        """Of all before it the newest stays that meets the first need, of all before that the
        newest that meets the second, and so on."""
        at = head
        for is_needed in needs:
            first = found = at.replaces
            while found is not None and not is_needed(found):
                found = found.replaces
            if found is not None:
                at.replaces = found
                self._leave(head, first, until=found)
                at = found
        rest, at.replaces = at.replaces, None
        self._leave(head, rest)

    def _leave(self, head: Head, before: Head | None, *, until: Head | None = None) -> None:
        """What a head replaced, back to one that stays, leaves."""
        while before is not until:
            assert before is not None
            for verified in before.statements:
                if verified not in head.statements:
                    self._announcing.on_gone(verified)
                if head.manifest.tombstone is None:
                    self._contents.release(verified.manifest.content_hash)
                else:
                    self._contents.drop(verified.manifest.content_hash)
            before = before.replaces
