"""What neighbors were not told of yet.

Decides: whether a durable manifest is still news.
Keeps: a manifest is told once, and not before it is durable; of a bundle not before it was read; a
snapshot that was handed over here not before its increment, for a moment: whoever hears of it first
fetches all of it.
Must not know: to whom news goes, and when it leaves.
"""

from dataclasses import replace
from typing import Final

from fabgossip.core.batching import Departure
from fabgossip.core.catalog import Head, prefix_of
from fabgossip.core.effects import SetTimer
from fabgossip.core.events import AdvertiseDue, PairDue
from fabgossip.core.machines import Machines
from fabgossip.core.own_contents import OwnContents
from fabgossip.core.placement import CRITICAL_TYPES
from fabgossip.core.sessions import Session
from fabgossip.core.telling import Untold
from fabgossip.model.artifact import ArtifactType, VerifiedManifest
from fabgossip.model.increments import has_mark
from fabgossip.model.messages import INLINE_BYTES_MAX
from fabgossip.model.moment import Duration, Now, later

PAIRED_WITHIN: Final = Duration(1_000)
"""The increment to a snapshot is handed over right behind it (*start*)."""


class Announcing:
    """Tells of durable manifests and of contents that came to be held."""

    __slots__ = (
        "_contents",
        "_m",
        "_paired",
        "_untold",
    )

    def __init__(self, machines: Machines, contents: OwnContents) -> None:
        self._m = machines
        self._contents = contents
        self._untold: dict[bytes, Untold] = {}
        """Prefixes of durable manifests not announced yet."""
        self._paired: dict[bytes, VerifiedManifest] = {}
        """Those of them that wait for their increment."""

    def on_durable(self, verified: VerifiedManifest, untold: Untold) -> None:
        """A manifest may be told of from now on; older ones of its namespace that wait to leave may
        not, for the floor is above them."""
        self._untold[prefix_of(verified.manifest_hash)] = untold
        head = self._m.catalog.find(verified.manifest.namespace.text)
        if head is not None and head.verified is verified:
            self._m.telling.on_newer(verified)

    def on_gone(self, verified: VerifiedManifest) -> None:
        """A manifest is nothing to tell of any more."""
        self._untold.pop(prefix_of(verified.manifest_hash), None)
        self._paired.pop(prefix_of(verified.manifest_hash), None)

    def tell(self, verified: VerifiedManifest, now: Now) -> None:
        """Announce a durable manifest, once."""
        prefix = prefix_of(verified.manifest_hash)
        untold = self._untold.get(prefix)
        if untold is None or self._waits_for_increment(verified, untold, now):
            return
        del self._untold[prefix]
        self._paired.pop(prefix, None)
        self._m.telling.tell(verified, untold, now)
        self._tell_pair(verified, now)

    def _waits_for_increment(self, verified: VerifiedManifest, untold: Untold, now: Now) -> bool:
        """Whether a snapshot was handed over here just now, and its increment was not."""
        head = self._m.catalog.find(verified.manifest.namespace.text)
        is_own = untold.origin is None and not untold.is_late and not untold.is_overdue
        if not is_own or not has_mark(verified.manifest) or head is None or _has_increment(head):
            return False
        prefix = prefix_of(verified.manifest_hash)
        if prefix not in self._paired:
            self._paired[prefix] = verified
            at = later(now.instant, PAIRED_WITHIN)
            self._m.out.append(SetTimer(timer=PairDue(prefix=prefix), at=at))
        return True

    def _tell_pair(self, increment: VerifiedManifest, now: Now) -> None:
        """An increment was told: what waited for it is next."""
        head = self._m.catalog.find(increment.manifest.namespace.text)
        if head is not None and prefix_of(head.verified.manifest_hash) in self._paired:
            self.tell(head.verified, now)

    def on_pair_due(self, prefix: bytes, now: Now) -> None:
        """A snapshot waited long enough for its increment."""
        verified = self._paired.pop(prefix, None)
        if verified is not None and prefix in self._untold:
            self._untold[prefix] = replace(self._untold[prefix], is_overdue=True)
            self.tell(verified, now)

    def on_stuck(self, verified: VerifiedManifest, now: Now) -> None:
        """Its content cannot be had right now: others may know of it all the same; of a trust
        bundle only once it was read."""
        if verified.manifest.artifact_type is not ArtifactType.TRUST_BUNDLE:
            self.tell(verified, now)

    def tell_held(self, verified: VerifiedManifest, now: Now, content: bytes | None = None) -> None:
        """Its content is held: announce it, or advertise the content where it was told before."""
        prefix = prefix_of(verified.manifest_hash)
        untold = self._untold.get(prefix)
        if untold is not None:
            if content is not None and len(content) <= INLINE_BYTES_MAX:
                self._untold[prefix] = replace(untold, content=content)
            self.tell(verified, now)
            if verified.manifest.artifact_type in CRITICAL_TYPES:
                # An announcement does not say that its content is held, and storage nodes count
                # on each other for this.
                self._advertise_soon(verified, now, self._stores())
        else:
            self._advertise_soon(verified, now, self._m.sessions.open_sessions())

    def _stores(self) -> tuple[Session, ...]:
        """The links to other storage nodes, if this is one."""
        placement, sessions = self._m.placement, self._m.sessions
        if not placement.is_storage(sessions.own_id):
            return ()
        return tuple(one for one in sessions.open_sessions() if placement.is_storage(one.node_id))

    def _advertise_soon(
        self, verified: VerifiedManifest, now: Now, sessions: tuple[Session, ...]
    ) -> None:
        """Windows are opened by what their peer may know: one for all would show when something
        else came to be held."""
        for session in sessions:
            if self._m.disclosure.may_know(session, verified, now):
                lane = (session.link, verified.manifest.audience)
                prefix = prefix_of(verified.manifest_hash)
                leaves = self._m.telling.held.all_wait(lane, prefix, verified, now.instant)
                self._on_held(session, leaves, now)

    def _on_held(self, session: Session, leaves: Departure[VerifiedManifest], now: Now) -> None:
        if leaves.timer_at is not None:
            self._m.out.append(SetTimer(timer=AdvertiseDue(), at=leaves.timer_at))
        held = [one for one in leaves.entries if self._contents.is_held(one.manifest)]
        self._m.disclosure.advertise(session, held, now)

    def on_advertise_due(self, now: Now) -> None:
        """What came to be held was gathered long enough."""
        for link, leaves in self._m.telling.held.on_due(now.instant):
            self._on_held(self._m.sessions.of(link), leaves, now)


def _has_increment(head: Head) -> bool:
    return head.increment is not None and head.increment.is_held
