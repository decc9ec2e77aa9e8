"""The port to the control plane: who the nodes are, and how documents become signed artifacts.

Decides: nothing.
Keeps: `sim` holds no private key; whoever fills the port makes the same bytes from the same seed.
Must not know: keys, signing, the compiler.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from fabgossip.core.setup import OwnIdentity
from fabgossip.model.artifact import ArtifactType, Manifest
from fabgossip.model.authority import NodeIdentity
from fabgossip.model.ids import ManifestHash, NodeId
from fabgossip.model.messages import PREFIX_BYTES
from fabgossip.model.moment import UnixTime
from fabgossip.model.scope import Entitlements, ScopeId
from fabgossip.model.topology import Endpoint
from fabgossip.sim.scenario import Scenario
from fabgossip.sim.streams import Streams


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One document: where it lives, for whom, its bytes."""

    artifact_type: ArtifactType
    namespace: str
    """Below `platform/ID/cluster/ID/`."""
    audience: tuple[ScopeId, ...]
    """Scope ids beside those the namespace implies."""
    content: bytes = field(repr=False)
    has_increments: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A signed artifact: what the ledger holds as truth."""

    manifest: Manifest
    manifest_hash: ManifestHash
    envelope: bytes = field(repr=False)
    content: bytes = field(repr=False)

    @property
    def prefix(self) -> bytes:
        """The 16 bytes that stand for it between peers."""
        return self.manifest_hash[:PREFIX_BYTES]


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """A node as the control plane enrolled it."""

    own: OwnIdentity
    certificate: NodeIdentity
    """What peers see of it: certificates are verified facts here."""
    entitlements: Entitlements
    """All it is entitled to, in truth."""
    bootstrap: tuple[Endpoint, ...]


class Authority(Protocol):
    """The control plane of one run."""

    @property
    def prefix(self) -> str:
        """The namespace every artifact lives under."""
        ...

    def papers(self, node_id: NodeId) -> Papers:
        """The papers of a node."""
        ...

    def publish(self, drafts: tuple[Draft, ...], now: UnixTime) -> tuple[Issued, ...]:
        """What is new, changed or due for renewal once these documents are in force, in the order
        to hand it out."""
        ...

    def revoke_node(self, node_id: NodeId, now: UnixTime) -> tuple[Issued, ...]:
        """What says that a node is none of the cluster's any more."""
        ...

    def revoke(self, namespace: str, now: UnixTime) -> tuple[Issued, ...]:
        """What takes back the version of a namespace that was published last, and what the same
        documents become without it."""
        ...

    def rotate(self, role: str, old_keys: str, now: UnixTime) -> tuple[Issued, ...]:
        """A trust bundle with new keys of a role, its old ones as said (`keep`, `retire`,
        `revoke`), and what is signed anew because of it."""
        ...

    def open_epoch(self, now: UnixTime) -> tuple[Issued, ...]:
        """A trust bundle that opens an epoch, and everything in it."""
        ...

    def change_claims(
        self, node_id: NodeId, orgs: tuple[str, ...], services: tuple[str, ...], now: UnixTime
    ) -> tuple[Issued, ...]:
        """What says that a node is of these organisations and services from now on."""
        ...

    def equivocate(
        self, namespace: str, contents: tuple[bytes, bytes], now: UnixTime
    ) -> tuple[Issued, Issued]:
        """Two statements of the next order of a namespace; the first is what it stands by."""
        ...

    def withdraw(self, namespace: str, now: UnixTime) -> tuple[Issued, ...]:
        """The tombstone of a namespace, and what changes by it."""
        ...


AuthorityMaker = Callable[[Scenario, Streams, UnixTime], Authority]
"""How a run gets its control plane."""
