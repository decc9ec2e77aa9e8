"""Who holds an artifact for others: the signed policy over the signed list of storage nodes.

Decides: whether this node holds an artifact by duty.
Keeps: the same directory gives the same holders on every node; integers only, so all machines
agree.
Must not know: who is alive, what is held where.
"""

from hashlib import blake2b
from typing import Final, TypeAlias

from fabgossip.model.artifact import TRUST_TYPES, ArtifactType, Manifest
from fabgossip.model.ids import NodeId
from fabgossip.model.scope import Audience, covers, shard_of
from fabgossip.model.topology import FailureDomain, StorageDirectory

CRITICAL_TYPES: Final = TRUST_TYPES | {ArtifactType.CLUSTER_SNAPSHOT}
"""Without these a node trusts nobody, or does not know what it is."""
STORES_MAX: Final = 1_024
"""Audiences, types and shards whose storage nodes are remembered (*start*)."""
_StoresKey: TypeAlias = tuple[Audience, ArtifactType, int]


class Placement:
    """The storage directories held, by namespace."""

    __slots__ = ("_directories", "_own_id", "_stores", "revision")

    def __init__(self, own_id: NodeId) -> None:
        self._own_id = own_id
        self._directories: dict[str, StorageDirectory] = {}
        self.revision = 0
        """Grows whenever duties may be others than before."""
        self._stores: dict[_StoresKey, dict[NodeId, FailureDomain]] = {}

    def on_directory(self, namespace: str, directory: StorageDirectory | None) -> None:
        """The storage directory of a namespace is now this one (None: gone)."""
        self._stores.clear()
        self.revision += 1
        if directory is None:
            self._directories.pop(namespace, None)
        else:
            self._directories[namespace] = directory

    @property
    def keep_versions(self) -> int:
        """Versions before the current one to keep: the most any held policy asks for."""
        return max((one.retention.keep_versions for one in self._directories.values()), default=0)

    def has_duty(self, manifest: Manifest) -> bool:
        """Whether this node is among the holders. Without a directory that covers it, whoever may
        hold does."""
        holders = self._limited(manifest)
        return holders is None or self._own_id in holders

    def holders(self, manifest: Manifest) -> frozenset[NodeId]:
        """The storage nodes that hold an artifact by duty."""
        limited = self._limited(manifest)
        return frozenset(self._covering(manifest)) if limited is None else limited

    def _limited(self, manifest: Manifest) -> frozenset[NodeId] | None:
        """The nodes with the highest tickets, or None where no directory or rule limits them."""
        rules = (
            one.replication.rule_for(manifest.artifact_type) for one in self._directories.values()
        )
        rule = next((one for one in rules if one is not None), None)
        if rule is None:
            return None
        if rule.on_demand:
            return frozenset()
        ranked = sorted(
            self._covering(manifest),
            key=lambda node_id: (_ticket(manifest.namespace.text, node_id), node_id),
            reverse=True,
        )
        return frozenset(ranked[: rule.replicas])

    def stores_of(self, manifest: Manifest) -> dict[NodeId, FailureDomain]:
        """The other storage nodes that hold what this manifest signs, by the signed directories,
        and where they stand; trust is held by all of them. Not to be changed. Cost: O(nodes), and
        of a look-up from the second time on."""
        manifest_type = manifest.artifact_type
        key = (manifest.audience, manifest_type, shard_of(manifest.namespace.text))
        found = self._stores.get(key)
        if found is None:
            if len(self._stores) >= STORES_MAX:
                self._stores.clear()
            is_trust = manifest_type in TRUST_TYPES
            found = self._everybody() if is_trust else self._covering(manifest)
            found.pop(self._own_id, None)
            self._stores[key] = found
        return found

    def _everybody(self) -> dict[NodeId, FailureDomain]:
        return {
            node.node_id: node.domain for one in self._directories.values() for node in one.nodes
        }

    def _covering(self, manifest: Manifest) -> dict[NodeId, FailureDomain]:
        kind, namespace = manifest.artifact_type.value, manifest.namespace.text
        return {
            node.node_id: node.domain
            for directory in self._directories.values()
            for node in directory.nodes
            for one in node.assignments
            if covers(one, manifest.audience, kind, namespace)
        }

    def is_storage(self, node_id: NodeId) -> bool:
        """Whether a held storage directory lists a node."""
        return any(
            node.node_id == node_id for one in self._directories.values() for node in one.nodes
        )


def _ticket(namespace: str, node_id: NodeId) -> bytes:
    return blake2b(f"{namespace}\x00{node_id}".encode("ascii"), digest_size=8).digest()
