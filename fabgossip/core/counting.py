"""Which manifests count in the sets that are held against those of peers, and which of the sets
changed a moment ago.

Decides: what of a namespace counts.
Keeps: what every member that is up to date can admit, and this node may tell, counts, and nothing
else; what is remembered of changes is bounded.
Must not know: salts, links, what is done about a difference.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from fabgossip.core.catalog import Head, HeadState
from fabgossip.core.disclosure import is_told
from fabgossip.core.machines import Machines
from fabgossip.core.sessions import Session
from fabgossip.model.artifact import ArtifactType, VerifiedManifest
from fabgossip.model.moment import Duration, Instant, Now, elapsed
from fabgossip.model.scope import Audience, shard_of

SETTLED: Final = Duration(1_000)
"""News of a set is everywhere after so long (*start*): a tree brings it within a few hundred
milliseconds."""
CHANGED_MAX: Final = 1_024
"""Changes remembered within that time (*start*); of more the oldest are taken for over."""
_UNCOUNTED_STATES: Final = frozenset({HeadState.REFUSED, HeadState.EXPIRED})


class Counting:
    """Keeps the sets up with the catalogue."""

    __slots__ = ("_changed", "_m")

    def __init__(self, machines: Machines) -> None:
        self._m = machines
        self._changed: OrderedDict[tuple[Audience, ArtifactType, int], Instant] = OrderedDict()
        """What of which sets changed within the last moment, by type and shard."""

    def settle(self, now: Now, *, is_news: bool) -> None:
        """What changed in the catalogue counts, or counts no more; of what was read from the own
        disk no news is under way."""
        sets = self._m.sets
        if sets.on_time(now.unix):
            for head in self._m.catalog.heads():
                self._m.catalog.touch(head.manifest.namespace.text)
        for namespace in self._m.catalog.take_touched():
            before = sets.revision
            sets.on_counted(namespace, self._counted(namespace), now.unix)
            if is_news and sets.revision != before:
                self._on_changed(namespace, now)

    def _on_changed(self, namespace: str, now: Now) -> None:
        head = self._m.catalog.find(namespace)
        if head is None:
            return
        changed, manifest = self._changed, head.manifest
        key = (manifest.audience, manifest.artifact_type, shard_of(namespace))
        changed[key] = now.instant
        changed.move_to_end(key)
        while len(changed) > CHANGED_MAX or elapsed(next(iter(changed.values())), now.instant) >= (
            SETTLED
        ):
            changed.popitem(last=False)

    def settling(self, session: Session, now: Now) -> Iterator[Audience]:
        """The audiences whose set, as it is compared on this link, changed so lately that the news
        of it may be on its way to the peer, or from it. To bring it by a comparison would be early,
        and would show who else had something to compare."""
        for (audience, kind, shard), at in self._changed.items():
            if elapsed(at, now.instant) < SETTLED:
                reach = self._m.disclosure.reach(session, audience, now)
                if any(kind is one and shard in shards for one, shards in reach):
                    yield audience

    def _counted(self, namespace: str) -> tuple[VerifiedManifest, ...]:
        head = self._m.catalog.find(namespace)
        return () if head is None else self._counted_of(head)

    def _counted_of(self, head: Head) -> tuple[VerifiedManifest, ...]:
        """What every member that is up to date can admit of a namespace, and this node may tell:
        the head at the floor and the other sides of a dispute about it."""
        if not self._is_counted(head):
            return ()
        return tuple(
            one
            for one in (head.verified, *head.sides)
            if one is head.verified or not self._m.catalog.is_on_its_way(one.manifest_hash)
        )

    def _is_counted(self, head: Head) -> bool:
        manifest, facts = head.manifest, self._m.beliefs.facts
        if not is_told(head) or head.state in _UNCOUNTED_STATES or head.is_unlisted:
            return False
        if manifest.order < self._m.catalog.floor(manifest.namespace.text).order:
            return False
        is_bundle = manifest.artifact_type is ArtifactType.TRUST_BUNDLE
        return is_bundle or manifest.authority_epoch == facts.bundle.authority_epoch

    def check(self) -> None:
        """Assert the limit, and that what counts is what the catalogue says."""
        assert len(self._changed) <= CHANGED_MAX
        counted = self._m.sets.counted()
        for head in self._m.catalog.heads():
            expected = self._counted_of(head)
            found = counted.get(head.manifest.namespace.text, ())
            if found == expected:
                continue
            assert all(one in expected for one in found)
            assert all(one in found or self._m.sets.has_expired(one) for one in expected)
        self._m.sets.check()
