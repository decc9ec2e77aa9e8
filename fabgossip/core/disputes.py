"""Several statements of one order: the evidence, what it forbids, and how it ends.

Decides: what stands beside what; when a dispute is over.
Keeps: whoever came first, neither side is applied or served, and others learn of both; another
envelope of what is known proves nothing more.
Must not know: contents, and what follows from them.
"""

from typing import Final

from fabgossip.core.catalog import Head, HeadState
from fabgossip.core.covering import Covering
from fabgossip.core.durability import Durability, Provenance, changes_for
from fabgossip.core.effects import Fact, Record
from fabgossip.core.events import LinkId
from fabgossip.core.machines import Machines
from fabgossip.core.recording import fields_of
from fabgossip.model.artifact import ArtifactType, VerifiedManifest
from fabgossip.model.ids import ManifestHash
from fabgossip.model.persistence import PutEvidence
from fabgossip.trust.rejections import Rejection, RejectionCode

FORKS_MAX: Final = 64
"""Contradicting bundles told apart; only who holds the roots can make one (*start*)."""


class Disputes:
    """Sets statements against each other, and settles."""

    __slots__ = (
        "_covering",
        "_durability",
        "_forks",
        "_m",
    )

    def __init__(self, machines: Machines, durability: Durability, covering: Covering) -> None:
        self._m = machines
        self._durability = durability
        self._covering = covering
        self._forks: dict[ManifestHash, None] = {}
        """Bundles that contradict the one in force."""

    def is_unopposed(self, verdict: Rejection) -> bool:
        """Whether a statement contradicts only what a snapshot lists: the other one is not here, so
        there is no evidence yet, and another listing may be of this one."""
        if verdict.code is not RejectionCode.EQUIVOCATION or verdict.verified is None:
            return False
        manifest = verdict.verified.manifest
        head = self._m.catalog.find(manifest.namespace.text)
        is_there = head is not None and head.manifest.order == manifest.order
        return head is None or not is_there or head.state is HeadState.REFUSED

    def on_equivocation(
        self, verified: VerifiedManifest, source: str, origin: LinkId | None
    ) -> None:
        """Two statements of one order: whoever came first, neither is applied or served from now
        on, and others learn of both."""
        if self.contradict(verified, origin):
            record = Record(fact=Fact.ARTIFACT_DISPUTED, fields=fields_of(verified, source))
            self._m.out.append(record)

    def contradict(self, verified: VerifiedManifest, origin: LinkId | None) -> bool:
        """A statement stands beside the head of its order; whether it was not known to."""
        head = self._m.catalog.on_side(verified)
        if head is None:
            return False
        self._covering.judge(head)
        self._durability.persist(verified, changes_for(head, verified), Provenance(origin))
        if verified.manifest.artifact_type is ArtifactType.REVOCATION_LIST:
            self._m.beliefs.on_list_dispute(verified.manifest.order)
            self._m.unsettled.facts_changed = True
        if verified.manifest.artifact_type is ArtifactType.CLUSTER_SNAPSHOT:
            self._contradict_snapshot(head)
        return True

    def _contradict_snapshot(self, head: Head) -> None:
        """Nothing that either lists counts from now on, and neither speaks to this node."""
        beliefs = self._m.beliefs
        if head.manifest.namespace.node_id == beliefs.facts.own_node_id:
            beliefs.on_own_snapshot_gone()
            self._m.unsettled.facts_changed = True
        self._covering.on_contradicted(head)

    def on_fork(self, verified: VerifiedManifest, source: str, origin: LinkId | None) -> None:
        """Another bundle of the version in force: the roots, or a thief of them, contradict
        themselves. Another envelope of what is known proves nothing more."""
        if verified.manifest_hash in self._forks:
            return
        if len(self._forks) < FORKS_MAX:
            self._forks[verified.manifest_hash] = None
        self._m.catalog.on_side(verified)
        self._m.beliefs.on_fork()
        self._m.unsettled.facts_changed = True
        evidence = PutEvidence(verified=verified)
        self._durability.persist(verified, (evidence,), Provenance(origin))
        self._m.out.append(Record(fact=Fact.TRUST_FORKED, fields=fields_of(verified, source)))

    def on_bundle(self) -> None:
        """Another bundle is in force: nothing contradicts it yet."""
        self._forks.clear()

    def settle(self, head: Head, left: tuple[VerifiedManifest, ...]) -> None:
        """A side of a dispute lost its trust: what is left stands, alone or disputed as before."""
        fresh = self._m.catalog.on_rivals(head, left)
        self._covering.judge(fresh)
        changes = changes_for(fresh, fresh.verified)
        self._durability.persist(fresh.verified, changes, Provenance())
        if not fresh.is_disputed:
            fields = fields_of(fresh.verified, fresh.source)
            self._m.out.append(Record(fact=Fact.DISPUTE_SETTLED, fields=fields))
