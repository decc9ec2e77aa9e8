"""A control plane and a thief of its keys, and the ledger of all they ever signed.

The control plane signs in good faith, in order and in time. The thief has the keys of policy, of
the compiler and of revocations, and uses them as it likes: versions of its own, versions that exist
already, any time of issue. What neither of them signed is not in the ledger, and no node may ever
believe it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from fabgossip.model.artifact import ArtifactType, Base, Manifest, Tombstone
from fabgossip.model.authority import (
    KeyStatus,
    NodeCa,
    Opening,
    Revocation,
    RevocationList,
    RevokedKind,
    TrustBundle,
)
from fabgossip.model.ids import NOTHING_HASH, KeyId, ManifestHash, NodeId
from fabgossip.model.moment import UnixTime
from fabgossip.model.policy import DegradedPolicy
from fabgossip.model.scope import ScopeId, ScopeKind, scope_id
from fabgossip.model.topology import Listing, Snapshot
from fabgossip.trust.revocation import node_token
from fabgossip.wire.contents import bundle_bytes, revocations_bytes, snapshot_bytes
from tests.core.artifacts import Artifact
from tests.trust import factory

HOUR: Final = factory.HOUR
NODE: Final = NodeId("n1")
LIFE: Final = {
    ArtifactType.TRUST_BUNDLE: (30 * 24 * HOUR, 60 * 24 * HOUR),
    ArtifactType.REVOCATION_LIST: (HOUR, 48 * HOUR),
}
"""Seconds until refresh and expiry; of all other types two and six hours."""
OTHERWISE: Final = (2 * HOUR, 6 * HOUR)
SECOND_CA: Final = factory.authority("second node CA")
STOLEN: Final = (factory.POLICY, factory.COMPILER, factory.REVOKER)
TYPE_OF: Final = {
    "routes/r1": ArtifactType.ROUTE_POLICY_BUNDLE,
    "routes/r2": ArtifactType.ROUTE_POLICY_BUNDLE,
    "org/acme/routes/r1": ArtifactType.ROUTE_POLICY_BUNDLE,
    "org/globex/routes/r1": ArtifactType.ROUTE_POLICY_BUNDLE,
    "org/globex/services/web": ArtifactType.SERVICE_ASSIGNMENT_BUNDLE,
    "qos/q1": ArtifactType.QOS_POLICY_BUNDLE,
    "updates/u1": ArtifactType.UPDATE_MANIFEST,
}
"""What is published beside trust and snapshots. Routes of globex are not for n1, its services are
stored there."""
TAILS: Final = tuple(TYPE_OF)
LISTS: Final = "trust/revocations"
OWN_SNAPSHOT: Final = f"snapshots/node/{NODE}"


@dataclass(frozen=True, slots=True)
class Signed:
    """A statement somebody with a key signed."""

    artifact: Artifact
    manifest_hash: ManifestHash
    signers: frozenset[KeyId]

    @property
    def manifest(self) -> Manifest:
        return self.artifact.manifest


class ControlPlane:
    """Everything that is signed, by whomever."""

    def __init__(self) -> None:
        self.now = factory.NOW
        self.bundles = [factory.BUNDLE]
        self.ledger: dict[ManifestHash, Signed] = {}
        self.entries: tuple[Revocation, ...] = ()
        self.claimed: list[frozenset[ScopeId]] = []
        """What n1 is entitled to, by each of its claims."""
        self.only_adds = False
        """Whether lists, bundles and snapshots take nothing away that anybody here has."""
        self._claims_version = 0
        self._policy = [factory.POLICY]

    @property
    def bundle(self) -> TrustBundle:
        """The newest."""
        return self.bundles[-1]

    # Signing.

    def newest(self, tail: str) -> Signed | None:
        """Of a namespace, whoever signed it."""
        lines = [one for one in self.ledger.values() if one.artifact.tail == tail]
        snapshots = ArtifactType.SNAPSHOT_INCREMENT
        full = [one for one in lines if one.manifest.artifact_type is not snapshots]
        return max(full, key=lambda one: one.manifest.order, default=None)

    def _next(self, tail: str) -> int:
        newest = self.newest(tail)
        return 1 if newest is None else newest.manifest.config_version + 1

    def sign(self, statement: Manifest, content: bytes, *signers: factory.Signer) -> Signed:
        """Put it under the ledger's name."""
        if statement.tombstone is None:
            hash_and_size = {"content_hash": factory.hash_of(content), "content_size": len(content)}
            statement = replace(statement, **hash_and_size)  # type: ignore[arg-type]  # its fields
        ids = frozenset(one.key_id for one in signers)
        statement = replace(statement, signer_key_ids=tuple(sorted(ids)))
        raw = factory.signed(statement, *signers)
        made = Signed(Artifact(statement, raw, content), factory.parts(raw).manifest_hash, ids)
        return self.ledger.setdefault(made.manifest_hash, made)

    def statement(self, kind: ArtifactType, tail: str, version: int | None = None) -> Manifest:
        """What the control plane would say of a namespace now."""
        refresh, expiry = LIFE.get(kind, OTHERWISE)
        return replace(
            factory.manifest(kind, tail),
            config_version=self._next(tail) if version is None else version,
            authority_epoch=self.bundle.authority_epoch,
            issued_at=self.now,
            refresh_by=UnixTime(self.now + refresh),
            expires_at=UnixTime(self.now + expiry),
        )

    def signers_of(self, kind: ArtifactType) -> tuple[factory.Signer, ...]:
        """Who signs what in good faith."""
        is_policy = factory.SIGNERS_OF[kind] == (factory.POLICY,)
        return (self._policy[-1],) if is_policy else factory.SIGNERS_OF[kind]

    # What it publishes.

    def publish(self, tail: str, *, is_last: bool = False) -> Signed:
        """The next version of something, or (`is_last`) its withdrawal."""
        kind = TYPE_OF[tail]
        said = self.statement(kind, tail)
        content = f"{tail} {said.order}".encode()
        if is_last:
            gone = Tombstone(reason="withdrawn", purge=False)
            said = replace(said, content_hash=NOTHING_HASH, content_size=0, tombstone=gone)
            content = b""
        return self.sign(said, content, *self.signers_of(kind))

    def publish_list(self, *fresh: Revocation) -> Signed:
        """All that is revoked, and something more."""
        self.entries += tuple(one for one in fresh if one not in self.entries)
        content = revocations_bytes(RevocationList(entries=_in_order(self.entries)))
        said = self.statement(ArtifactType.REVOCATION_LIST, LISTS)
        return self.sign(said, content, factory.REVOKER)

    def publish_snapshot(
        self, openings: tuple[Opening, ...] | None, *, covers: bool = False
    ) -> Signed:
        """The snapshot of n1, with claims that commit to these openings, and complete for routes
        (`covers`)."""
        said = self.statement(ArtifactType.CLUSTER_SNAPSHOT, OWN_SNAPSHOT)
        if self.only_adds:
            covers, openings = False, openings or factory.OPENINGS
        listed = [self.newest(tail) for tail in ("routes/r1", "routes/r2")] if covers else []
        snapshot = Snapshot(
            endpoints=(),
            degraded=DegradedPolicy(),
            settings=said.config_version.to_bytes(4, "big"),
            covers=(f"{factory.PREFIX}/routes",) if covers else (),
            listings=tuple(_listing(one) for one in listed if one is not None),
            claims=b"" if openings is None else self.claims(NODE, openings, is_new=True),
        )
        return self.sign(said, snapshot_bytes(snapshot), factory.COMPILER)

    def publish_increment(self) -> Signed | None:
        """What changed in the newest snapshot of n1."""
        newest = self.newest(OWN_SNAPSHOT)
        if newest is None:
            return None
        base = Base(
            version=max(1, newest.manifest.config_version - 1),
            content_hash=factory.hash_of(b"before"),
            result_hash=newest.manifest.content_hash,
            result_size=newest.manifest.content_size,
        )
        version = newest.manifest.config_version
        said = self.statement(ArtifactType.SNAPSHOT_INCREMENT, OWN_SNAPSHOT, version)
        return self.sign(replace(said, base=base), b"change %d" % version, factory.COMPILER)

    def claims(self, name: str, openings: tuple[Opening, ...], *, is_new: bool = False) -> bytes:
        """Signed claims of a node."""
        self._claims_version += is_new
        statement = replace(
            factory.claims(openings),
            node_id=NodeId(name),
            claims_version=max(1, self._claims_version) if name == NODE else 1,
            authority_epoch=self.bundle.authority_epoch,
            issued_at=self.now,
            expires_at=UnixTime(self.now + 48 * HOUR),
        )
        if name == NODE:
            shown = {ScopeId(one.item.scope) for one in openings if one.item.scope is not None}
            always = {
                scope_id(ScopeKind.CLUSTER, factory.CLUSTER),
                scope_id(ScopeKind.NODE, NODE),
                scope_id(ScopeKind.ROLE, "edge"),
            }
            self.claimed.append(frozenset(shown | always))
        return factory.signed_claims(statement)

    # Bundles: each the successor of the one before.

    def publish_bundle(self, change: int) -> Signed:
        """The next bundle, with one change of seven."""
        fresh = replace(self.bundle, bundle_version=self.bundle.bundle_version + 1)
        match change % 7:
            case _ if self.only_adds and change % 7 not in (3, 4):
                pass
            case 0:
                pass
            case 1:
                fresh = self._rotated(fresh, KeyStatus.RETIRED)
            case 2:
                fresh = self._rotated(fresh, KeyStatus.REVOKED)
            case 3:
                fresh = replace(fresh, authority_epoch=fresh.authority_epoch + 1)
                self.entries = ()
            case 4:
                fresh = _with_ca(fresh, KeyStatus.ACTIVE)
            case 5:
                fresh = _with_ca(fresh, KeyStatus.REVOKED)
            case _:
                other = factory.signer(f"root of bundle {fresh.bundle_version}")
                roots = (*factory.ROOTS[:2], other)
                fresh = replace(fresh, root_keys=tuple(sorted(one.public_key for one in roots)))
        self.bundles.append(fresh)
        said = self.statement(ArtifactType.TRUST_BUNDLE, "trust/bundle", fresh.bundle_version)
        return self.sign(said, bundle_bytes(fresh), *factory.ROOTS[:2])

    def _rotated(self, fresh: TrustBundle, status: KeyStatus) -> TrustBundle:
        """Another policy key; what becomes of the one before."""
        before, after = self._policy[-1], factory.signer(f"policy {len(self._policy) + 1}")
        self._policy.append(after)
        keys = tuple(
            replace(one, status=status, not_after=self.now) if one.key_id == before.key_id else one
            for one in fresh.keys
        )
        rights = tuple(
            replace(one, key_ids=tuple(sorted({*one.key_ids, after.key_id})))
            if before.key_id in one.key_ids
            else one
            for one in fresh.rights
        )
        return replace(fresh, keys=(*keys, factory.signing_key(after)), rights=rights)

    # What the thief signs.

    def steal(self, tail: str, which: int, when: int) -> Signed:
        """Something of the thief's own: a next version, one that exists, or one far ahead; issued
        now, long ago, or in the future."""
        snapshot = tail == OWN_SNAPSHOT
        kind = ArtifactType.CLUSTER_SNAPSHOT if snapshot else TYPE_OF[tail]
        newest = self._next(tail) - 1
        version = max(1, (newest + 1, newest, newest + 5)[which % 3])
        ages = (0, -HOUR, -20 * HOUR) if self.only_adds else (0, -HOUR, -20 * HOUR, HOUR)
        issued_at = self.now + ages[when % len(ages)]
        said = replace(self.statement(kind, tail, version), issued_at=UnixTime(issued_at))
        said = replace(said, expires_at=UnixTime(issued_at + 30 * HOUR))
        content = b"of the thief %d %d" % (which, when)
        if snapshot:
            settings = Snapshot(endpoints=(), degraded=DegradedPolicy(), settings=content)
            content = snapshot_bytes(settings)
        return self.sign(said, content, factory.COMPILER if snapshot else factory.POLICY)

    def steal_list(self, which: int, *entries: Revocation) -> Signed:
        """A list of the thief's own: it can only deny."""
        version = max(1, self._next(LISTS) - 1 + which % 2)
        said = self.statement(ArtifactType.REVOCATION_LIST, LISTS, version)
        content = revocations_bytes(RevocationList(entries=_in_order(entries)))
        return self.sign(said, content, factory.REVOKER)

    def revocation(self, what: int, which: int) -> Revocation:
        """Something to revoke: a node, a key, a statement, a content, a certificate, a grant."""
        some = list(self.ledger.values())
        one = some[which % len(some)] if some else None
        other = factory.hash_of(b"grant %d" % which)
        choices = (
            (RevokedKind.NODE, node_token(factory.CLUSTER, NodeId(f"n{2 + which % 3}"))),
            (RevokedKind.SIGNING_KEY, STOLEN[which % 2].key_id),
            (RevokedKind.MANIFEST, other if one is None else one.manifest_hash),
            (RevokedKind.CONTENT, other if one is None else one.manifest.content_hash),
            (RevokedKind.CERTIFICATE, factory.hash_of(f"certificate of n{2 + which % 3}".encode())),
            (RevokedKind.GRANT, other),
        )
        kind, value = choices[-1 if self.only_adds else what % len(choices)]
        return Revocation(
            kind=kind,
            value=bytes(value),
            reason="stolen",
            since_epoch=1,
            since=factory.NOW,
            until=UnixTime(0),
        )


def _listing(one: Signed) -> Listing:
    return Listing(
        namespace=one.manifest.namespace.text,
        order=one.manifest.order,
        manifest_hash=one.manifest_hash,
    )


def _in_order(entries: Iterable[Revocation]) -> tuple[Revocation, ...]:
    found = {(one.kind.value, one.value): one for one in entries}
    return tuple(found[key] for key in sorted(found))


def _with_ca(bundle: TrustBundle, status: KeyStatus) -> TrustBundle:
    """The second node CA is there, or no longer believed."""
    others = tuple(one for one in bundle.node_cas if one.der != SECOND_CA.der)
    return replace(bundle, node_cas=(*others, NodeCa(SECOND_CA.der, status)))
