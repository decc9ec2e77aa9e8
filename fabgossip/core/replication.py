"""Critical artifacts of which fewer storage nodes say that they hold a copy than once could.

Decides: when one is short of replicas, and when it is not any more.
Keeps: what was said is each node's own word about itself; of a storage node this one never met
nothing is concluded; nobody else is told.
Must not know: how a replica is made.

A holder this node met and lost does not count, whether it died or only the path to it: for who
must be able to fetch from it, that is the same.
"""

from dataclasses import dataclass
from typing import Final

from fabgossip.core.catalog import Head, prefix_of
from fabgossip.core.effects import Fact, Record
from fabgossip.core.machines import Machines
from fabgossip.core.own_contents import OwnContents
from fabgossip.core.placement import CRITICAL_TYPES
from fabgossip.model.artifact import Manifest
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Duration, Instant, Now, elapsed

SHORT_FOR: Final = Duration(60_000)
"""A restart of a holder takes less (*start*)."""


@dataclass(slots=True)
class _Shortage:
    """Since when an artifact is short, and whether that is on record."""

    since: Instant
    is_recorded: bool = False


class Replication:
    """The critical artifacts this storage node holds by duty, and who else does."""

    __slots__ = ("_contents", "_m", "_met", "_short")

    def __init__(self, machines: Machines, contents: OwnContents) -> None:
        self._m = machines
        self._contents = contents
        self._met: dict[NodeId, None] = {}
        self._short: dict[str, _Shortage] = {}

    def on_refresh(self, now: Now) -> None:
        """Look at every critical artifact held by duty. Cost: O(heads), at each turn."""
        self._meet()
        looked_at = set()
        for head in self._m.catalog.heads():
            if self._is_ours(head):
                name = head.manifest.namespace.text
                looked_at.add(name)
                self._look(name, head, now)
        for gone in self._short.keys() - looked_at:
            del self._short[gone]

    def _meet(self) -> None:
        """Bounded by the storage directories held: who is in none any more is forgotten."""
        for session in self._m.sessions.open_sessions():
            self._met.setdefault(session.node_id)
        for node_id in [one for one in self._met if not self._m.placement.is_storage(one)]:
            del self._met[node_id]

    def _is_ours(self, head: Head) -> bool:
        manifest, placement = head.manifest, self._m.placement
        is_critical = manifest.artifact_type in CRITICAL_TYPES and manifest.tombstone is None
        return (
            is_critical
            and placement.is_storage(self._m.sessions.own_id)
            and placement.has_duty(manifest)
            and self._contents.is_held(manifest)
        )

    def _look(self, name: str, head: Head, now: Now) -> None:
        others = [
            one
            for one in self._m.placement.holders(head.manifest)
            if one in self._met and one != self._m.sessions.own_id
        ]
        confirmed = 1 + sum(self._has(one, head) for one in others)
        required = 1 + len(others)
        if confirmed >= required:
            found = self._short.pop(name, None)
            if found is not None and found.is_recorded:
                self._record(Fact.CRITICAL_REPLICATION_RESTORED, head.manifest, confirmed, required)
            return
        shortage = self._short.setdefault(name, _Shortage(now.instant))
        if not shortage.is_recorded and elapsed(shortage.since, now.instant) >= SHORT_FOR:
            shortage.is_recorded = True
            self._record(Fact.CRITICAL_UNDER_REPLICATED, head.manifest, confirmed, required)

    def _has(self, node_id: NodeId, head: Head) -> bool:
        audience, prefix = head.manifest.audience, prefix_of(head.verified.manifest_hash)
        return any(
            self._m.holdings.says(one.link, audience, prefix) is True
            for one in self._m.sessions.open_sessions()
            if one.node_id == node_id
        )

    def _record(self, fact: Fact, manifest: Manifest, confirmed: int, required: int) -> None:
        fields: tuple[tuple[str, str | int], ...] = (
            ("namespace", manifest.namespace.text),
            ("order", str(manifest.order)),
            ("confirmed", confirmed),
            ("required", required),
        )
        self._m.out.append(Record(fact=fact, fields=fields))

    def check(self) -> None:
        """Assert that nothing is short that is not known."""
        assert all(self._m.catalog.find(name) is not None for name in self._short)
