"""Which heads are what the snapshots in force list.

Decides: which heads are unlisted, which floors a listing raises.
Keeps: a floor outlives the snapshot that raised it; nothing is deleted for not being listed.
Must not know: what a snapshot says to this node.
"""

from fabgossip.core.catalog import Floor, Head
from fabgossip.core.durability import Durability
from fabgossip.core.effects import Fact, Record
from fabgossip.core.machines import Machines
from fabgossip.core.recording import fields_of
from fabgossip.model.artifact import TRUST_TYPES, VerifiedManifest
from fabgossip.model.persistence import PutFloor
from fabgossip.model.topology import Listing, Snapshot


class Covering:
    """Holds heads against listings."""

    __slots__ = (
        "_durability",
        "_m",
    )

    def __init__(self, machines: Machines, durability: Durability) -> None:
        self._m = machines
        self._durability = durability

    def on_snapshot(self, verified: VerifiedManifest, snapshot: Snapshot) -> None:
        """A snapshot, or one side of a disputed one, lists these from now on."""
        head = self._m.catalog.find(verified.manifest.namespace.text)
        assert head is not None
        if self._m.listings.on_snapshot(verified, snapshot, head.rival_hashes):
            self._raise_floors(snapshot.listings)
            self._judge_all(is_quiet=head.is_disputed)
            self._m.unsettled.facts_changed = True

    def on_gone(self, namespace: str) -> None:
        """No snapshot of this namespace lists anything any more."""
        if self._m.listings.on_gone(namespace):
            self._on_fewer()

    def on_contradicted(self, head: Head) -> None:
        """Nothing that either side lists counts from now on."""
        if self._m.listings.on_contradicted(head.manifest.namespace.text, head.rival_hashes):
            self._on_fewer()

    def _on_fewer(self) -> None:
        self._judge_all(is_quiet=True)
        self._m.unsettled.facts_changed = True

    def _raise_floors(self, listings: tuple[Listing, ...]) -> None:
        """What a snapshot lists binds at once, even before it is here."""
        raised = tuple(
            PutFloor(namespace=one.namespace, order=one.order, manifest_hash=one.manifest_hash)
            for one in listings
            if self._m.catalog.has_room(one.namespace, one.order.epoch)
            and self._m.catalog.on_floor(one.namespace, Floor(one.order, None))
        )
        if raised:
            self._durability.keep(*raised)

    def _judge_all(self, *, is_quiet: bool) -> None:
        """Mark what its covering snapshot does not list, or no more; nothing is deleted by that."""
        for head in self._m.catalog.heads():
            before = head.is_unlisted
            is_lower = self.judge(head)
            if is_lower and not before and not is_quiet:
                fields = fields_of(head.verified, head.source)
                self._m.out.append(Record(fact=Fact.SILENT_REMOVAL, fields=fields))

    def judge(self, head: Head) -> bool:
        """Mark a head that is not what is listed, or older than what ever was: a floor outlives the
        snapshot that raised it. Whether less is listed than is held."""
        manifest = head.manifest
        if manifest.artifact_type in TRUST_TYPES:
            return False
        listed = None if manifest.tombstone is not None else self._m.listings.listed(manifest)
        is_other = listed is not None and listed.manifest_hash not in head.rival_hashes
        floor = self._m.catalog.floor(manifest.namespace.text)
        is_unlisted = is_other or manifest.order < floor.order
        if is_unlisted != head.is_unlisted:
            head.is_unlisted = is_unlisted
            self._m.catalog.touch(manifest.namespace.text)
        return is_other and listed is not None and listed.order < manifest.order
