"""What this node may hold no more leaves its disk.

Decides: whether, and when, bytes that its own claims cover no more leave.
Keeps: no outage takes anything away: only claims in force, in a node that is fresh and whose audit
log takes the record; what any statement that may still be held names stays, and every step of the
trust chain; nobody's pin outranks a claim.
Must not know: how claims change, how a refused head leaves what is served and read.

A head that is refused, withdrawn or expired is already neither served nor applied, and its link is
gone. Where only claims are why, its bytes wait a little: whoever narrows a node by mistake mends
that within seconds. Its manifest and its floor stay, so that nothing older is ever taken up.
"""

from typing import Final

from fabgossip.core.activation import Activation
from fabgossip.core.catalog import GONE_STATES, Head, Refusal
from fabgossip.core.effects import Fact, Record
from fabgossip.core.keeping import Keeping
from fabgossip.core.machines import Machines
from fabgossip.core.own_contents import OwnContents
from fabgossip.core.recording import fields_of
from fabgossip.model.artifact import Manifest, VerifiedManifest
from fabgossip.model.ids import ContentHash
from fabgossip.model.mode import Action
from fabgossip.model.moment import Now, UnixTime
from fabgossip.model.scope import may_hold
from fabgossip.trust.rejections import RejectionCode

STAYS_S: Final = 15
"""From the refusal of a head until its bytes leave (*start*): with the turns of a refresh they are
gone within a minute."""


class Departing:
    """Purges what claims cover no more."""

    __slots__ = ("_activation", "_contents", "_keeping", "_m", "_purged", "_recalled")

    def __init__(
        self, machines: Machines, contents: OwnContents, activation: Activation, keeping: Keeping
    ) -> None:
        self._m = machines
        self._contents = contents
        self._activation = activation
        self._keeping = keeping
        self._recalled: dict[str, tuple[VerifiedManifest, UnixTime]] = {}
        """What a process before this one left and claims did not cover at the start, by namespace,
        and when that was."""
        self._purged: dict[str, Refusal | VerifiedManifest] = {}
        """For what the local state of a namespace was purged: a refusal, or else a head."""

    def on_recalled(self, verified: VerifiedManifest, now: Now) -> None:
        """The disk names what was refused for its audience; no head stands for it."""
        self._recalled[verified.manifest.namespace.text] = verified, now.unix

    def on_refresh(self, now: Now) -> None:
        """Let leave what has to. Cost: O(heads + pins), at each turn."""
        if not self._m.beliefs.may(Action.HIGH_RISK, now).allowed:
            return
        pinned = self._pinned()
        self._purge_recalled(pinned, now)
        before, self._purged = self._purged, {}
        for head in self._m.catalog.heads():
            if not self._has_left(head, now):
                continue
            name, reason = head.manifest.namespace.text, head.refusal or head.verified
            self._purged[name] = reason
            if before.get(name) is not reason:
                self._activation.take_away(name, purge=True)
            # Again and again: bytes may come late, or have been of use to somebody else till now.
            self._purge(head.verified, head.statements, pinned.get(name, []))

    def _pinned(self) -> dict[str, list[ContentHash]]:
        """What is pinned, of whatever version, by namespace."""
        found: dict[str, list[ContentHash]] = {}
        for pin in self._m.retention.pins():
            found.setdefault(pin.namespace, []).append(pin.content_hash)
        return found

    def _purge_recalled(self, pinned: dict[str, list[ContentHash]], now: Now) -> None:
        for name, (verified, since) in tuple(self._recalled.items()):
            if self._m.catalog.find(name) is not None:
                del self._recalled[name]  # a head stands for it again, and is judged as one
            elif self._is_foreign(verified.manifest) and now.unix - since >= STAYS_S:
                del self._recalled[name]
                self._activation.take_away(name, purge=True)
                self._purge(verified, (verified,), pinned.get(name, []))

    def _has_left(self, head: Head, now: Now) -> bool:
        """Whether a head's bytes are to be gone. Where its audience alone is why it was refused,
        they wait a little."""
        if head.state not in GONE_STATES or not self._is_foreign(head.manifest):
            return False
        refusal = head.refusal
        if refusal is None or refusal.code is not RejectionCode.AUDIENCE_NOT_OURS:
            return True
        return now.unix - refusal.at >= STAYS_S

    def _is_foreign(self, manifest: Manifest) -> bool:
        kind, name = manifest.artifact_type.value, manifest.namespace.text
        return not may_hold(manifest.audience, kind, name, self._m.beliefs.facts.own)

    def _purge(
        self,
        verified: VerifiedManifest,
        statements: tuple[VerifiedManifest, ...],
        pinned: list[ContentHash],
    ) -> None:
        hashes = dict.fromkeys([*(one.manifest.content_hash for one in statements), *pinned])
        leaving = [one for one in hashes if self._may_leave(one)]
        for content_hash in leaving:
            self._keeping.end_pins(content_hash)
            self._contents.evict(content_hash)
        if leaving:
            fields = fields_of(verified, "outside the claims")
            self._m.out.append(Record(fact=Fact.CONTENT_PURGED, fields=fields))

    def _may_leave(self, content_hash: ContentHash) -> bool:
        if any(step.content_hash == content_hash for step in self._m.beliefs.chain):
            return False  # whoever is still at an older bundle needs every step
        named = self._m.catalog.by_content(content_hash)
        is_needed = any(not self._is_foreign(one.manifest) for _, one in named)
        return self._contents.size_of(content_hash) > 0 and not is_needed
