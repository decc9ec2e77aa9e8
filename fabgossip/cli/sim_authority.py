"""The control plane of a simulation: its own compiler and signer, with keys from the seed."""

from dataclasses import replace
from typing import Final

from fabgossip.control.bundles import (
    KEY_ROLES,
    ROOTS,
    OldKeys,
    Rotation,
    first_bundle,
    key_role,
    next_bundle,
)
from fabgossip.control.compiler import (
    bundle_step,
    compile_artifacts,
    head_after,
    tombstone_of,
)
from fabgossip.control.drafts import CompileInput, PublishedHead, manifest_hash_of
from fabgossip.control.enrollment import (
    NodeRow,
    claims_envelope,
    entitlements_of,
    openings_of,
    salts_for,
)
from fabgossip.control.keystore import ArtifactKey, KeyRing, artifact_key_from_seed
from fabgossip.control.signing import SignedArtifact, sign_artifact, sign_successor
from fabgossip.control.sources.folder import Document, Source
from fabgossip.core.setup import OwnIdentity
from fabgossip.model.artifact import ArtifactType, Tombstone
from fabgossip.model.authority import (
    CERT_LIFE_MAX_S,
    CONTROL_ENDPOINT_ROLE,
    NodeIdentity,
    Revocation,
    RevocationList,
    RevokedKind,
)
from fabgossip.model.ids import ClusterId, NodeId, PlatformId
from fabgossip.model.moment import UnixTime, seconds_after
from fabgossip.model.topology import Endpoint
from fabgossip.sim.authority import Draft, Issued, Papers
from fabgossip.sim.scenario import CLUSTER, PLATFORM, Scenario
from fabgossip.sim.streams import Streams
from fabgossip.sim.topology import SimNode
from fabgossip.trust.bundle import PinnedTrust, bundle_from_pinned
from fabgossip.trust.revocation import node_token
from fabgossip.trust.signatures import Ed25519Verifier
from fabgossip.wire.envelopes import parse_envelope

NODE_CA: Final = b"node certificate authority of a simulated cluster"
"""Nobody parses it here: in a simulation certificates are verified facts."""
PORT: Final = 7946
BOOTSTRAP_ENTRIES: Final = 8


class SeededAuthority:
    """The control plane's own compiler and signer, with keys and salts from the run's streams."""

    def __init__(self, scenario: Scenario, streams: Streams, now: UnixTime) -> None:
        roles = [(role.name, role.count) for role in KEY_ROLES] + [("root", ROOTS)]
        self._keys = {
            name: tuple(_key(streams, f"{name}/{number}") for number in range(count))
            for name, count in roles
        }
        self._ring = KeyRing((role, key) for role, ring in self._keys.items() for key in ring)
        self._bundle = first_bundle(
            PlatformId(PLATFORM), ClusterId(CLUSTER), self._keys, NODE_CA, now
        )
        self._streams = streams
        self._rows = {node.node_id: _row(node, streams) for node in scenario.nodes}
        self._now = now
        self._documents: dict[str, Document] = {}
        self._published: dict[str, PublishedHead] = {}
        self._pinned = self._pin()
        self._certificates = {
            node_id: streams.of(f"authority/certificate/{node_id}").bytes(32)
            for node_id in self._rows
        }
        self._papers = {
            one.node_id: one.hostility.papers for one in scenario.nodes if one.hostility
        }
        self._revocations = RevocationList(
            entries=tuple(
                self._entry(RevokedKind.CERTIFICATE, self._certificates[node_id], now)
                for node_id, kind in self._papers.items()
                if kind == "revoked"
            )
        )
        self._doors = self._doors_in()

    @property
    def prefix(self) -> str:
        """See `Authority`."""
        return self._bundle.prefix

    def _doors_in(self) -> tuple[Endpoint, ...]:
        """Where a node may come in, one more than it is told of."""
        rows = [row for row in self._rows.values() if row.stores]
        rows.sort(key=lambda row: (CONTROL_ENDPOINT_ROLE not in row.roles, row.node_id))
        return tuple(
            Endpoint(address=row.addresses[0], node_id=NodeId(row.node_id))
            for row in rows[: BOOTSTRAP_ENTRIES + 1]
        )

    def _given(self, now: UnixTime) -> CompileInput:
        return CompileInput(
            bundle=self._bundle,
            nodes=tuple(self._rows.values()),
            source=Source(documents=tuple(self._documents.values())),
            revocations=self._revocations,
            published=self._published,
            now=now,
            claims_keys=self._keys["claims"],
        )

    def _compile(self, now: UnixTime) -> tuple[SignedArtifact, ...]:
        return tuple(
            sign_artifact(self._bundle, self._ring, one.manifest, one.content)
            for one in compile_artifacts(self._given(now))
        )

    def _pin(self) -> PinnedTrust:
        unsigned = bundle_step(None, self._bundle, self._now)
        signed = sign_artifact(self._bundle, self._ring, unsigned.manifest, unsigned.content)
        return bundle_from_pinned(signed.envelope, signed.content, Ed25519Verifier())

    def publish(self, drafts: tuple[Draft, ...], now: UnixTime) -> tuple[Issued, ...]:
        """See `Authority`."""
        for draft in drafts:
            self._documents[draft.namespace] = Document(
                artifact_type=draft.artifact_type,
                namespace=draft.namespace,
                audience=draft.audience,
                content=draft.content,
                increments=draft.has_increments,
            )
        return self._issued(self._compile(now))

    def revoke_node(self, node_id: NodeId, now: UnixTime) -> tuple[Issued, ...]:
        """See `Authority`."""
        token = node_token(ClusterId(CLUSTER), node_id)
        return self._revoke(RevokedKind.NODE, token, now)

    def revoke(self, namespace: str, now: UnixTime) -> tuple[Issued, ...]:
        """See `Authority`."""
        head = self._published[f"{self.prefix}/{namespace}"]
        return self._revoke(RevokedKind.MANIFEST, manifest_hash_of(head.manifest), now)

    def _revoke(self, kind: RevokedKind, value: bytes, now: UnixTime) -> tuple[Issued, ...]:
        entry = self._entry(kind, value, now)
        entries = sorted((*self._revocations.entries, entry), key=lambda one: one.value)
        self._revocations = RevocationList(entries=tuple(entries))
        return self.publish((), now)

    def rotate(self, role: str, old_keys: str, now: UnixTime) -> tuple[Issued, ...]:
        """See `Authority`."""
        number = self._bundle.bundle_version
        fresh = tuple(
            _key(self._streams, f"{role}/{number}/{one}") for one in range(key_role(role).count)
        )
        self._ring = self._ring.with_keys(((role, fresh),))
        self._keys[role] = fresh
        return self._step(Rotation(keys=((role, fresh),), old_keys=OldKeys(old_keys)), now)

    def open_epoch(self, now: UnixTime) -> tuple[Issued, ...]:
        """See `Authority`."""
        return self._step(Rotation(opens_epoch=True), now)

    def _step(self, rotation: Rotation, now: UnixTime) -> tuple[Issued, ...]:
        before, self._bundle = self._bundle, next_bundle(self._bundle, rotation, now)
        unsigned = bundle_step(before, self._bundle, now)
        signed = sign_successor(
            (before, self._bundle), self._ring, unsigned.manifest, unsigned.content
        )
        return (*self._issued((signed,)), *self.publish((), now))

    def change_claims(
        self, node_id: NodeId, orgs: tuple[str, ...], services: tuple[str, ...], now: UnixTime
    ) -> tuple[Issued, ...]:
        """See `Authority`."""
        before = self._rows[node_id]
        row = replace(
            before, orgs=orgs, services=services, claims_version=before.claims_version + 1
        )
        entropy = self._streams.of(f"authority/salts/{node_id}/{row.claims_version}").bytes
        self._rows[node_id] = replace(row, salts=salts_for(row, CLUSTER, entropy))
        return self.publish((), now)

    def equivocate(
        self, namespace: str, contents: tuple[bytes, bytes], now: UnixTime
    ) -> tuple[Issued, Issued]:
        """See `Authority`."""
        document, name = self._documents[namespace], f"{self.prefix}/{namespace}"
        stated = []
        for content in reversed(contents):
            self._documents[namespace] = replace(document, content=content)
            found = self._compile(now)
            stated.append(next(one for one in found if one.manifest.namespace.text == name))
        (other,), (first,) = map(_told, stated[:1]), self._issued(tuple(stated[1:]))
        return first, other

    def withdraw(self, namespace: str, now: UnixTime) -> tuple[Issued, ...]:
        """See `Authority`."""
        del self._documents[namespace]
        why = Tombstone(reason="withdrawn", purge=False)
        stone = tombstone_of(self._given(now), namespace, why)
        signed = sign_artifact(self._bundle, self._ring, stone.manifest, stone.content)
        return (*self._issued((signed,)), *self.publish((), now))

    def _issued(self, signed: tuple[SignedArtifact, ...]) -> tuple[Issued, ...]:
        for one in signed:
            if one.manifest.base is None:
                name = one.manifest.namespace.text
                keeps = one.manifest.artifact_type is ArtifactType.CLUSTER_SNAPSHOT
                self._published[name] = head_after(
                    self._published.get(name), one.manifest, one.content if keeps else None
                )
        return tuple(map(_told, signed))

    def papers(self, node_id: NodeId) -> Papers:
        """See `Authority`."""
        row = self._rows[node_id]
        times = (self._now, seconds_after(self._now, CERT_LIFE_MAX_S))
        own = OwnIdentity(
            node_id=node_id,
            claims=claims_envelope(row, self._bundle, self._keys["claims"], times),
            openings=openings_of(row, CLUSTER),
            pinned=self._pinned,
        )
        is_expired = self._papers.get(node_id) == "expired"
        certificate = NodeIdentity(
            node_id=node_id,
            certificate_hash=self._certificates[node_id],
            expires_at=seconds_after(self._now, -1) if is_expired else times[1],
        )
        return Papers(
            own=own,
            certificate=certificate,
            entitlements=entitlements_of(row, CLUSTER),
            bootstrap=self._bootstrap(node_id),
        )

    def _entry(self, kind: RevokedKind, value: bytes, now: UnixTime) -> Revocation:
        return Revocation(
            kind=kind,
            value=value,
            reason="stolen",
            since_epoch=self._bundle.authority_epoch,
            since=now,
            until=UnixTime(0),
        )

    def _bootstrap(self, node_id: NodeId) -> tuple[Endpoint, ...]:
        """As enrolment writes it: storage nodes, the control plane's endpoint first. One value for
        all nodes that are not among them."""
        if node_id not in {one.node_id for one in self._doors}:
            return self._doors[:BOOTSTRAP_ENTRIES]
        others = tuple(one for one in self._doors if one.node_id != node_id)
        return others[:BOOTSTRAP_ENTRIES]


def _told(one: SignedArtifact) -> Issued:
    return Issued(
        manifest=one.manifest,
        manifest_hash=parse_envelope(one.envelope).manifest_hash,
        envelope=one.envelope,
        content=one.content,
    )


def _key(streams: Streams, name: str) -> ArtifactKey:
    return artifact_key_from_seed(streams.of(f"authority/key/{name}").bytes(32))


def _row(node: SimNode, streams: Streams) -> NodeRow:
    row = NodeRow(
        node_id=node.node_id,
        addresses=(f"{node.node_id}.sim:{PORT}",),
        region=node.place.region,
        zone=node.place.zone,
        rack=node.place.rack,
        peer_class=node.peer_class,
        orgs=node.orgs,
        services=node.services,
        roles=(node.role,),
        stores=node.assigned,
    )
    entropy = streams.of(f"authority/salts/{node.node_id}").bytes
    return replace(row, salts=salts_for(row, CLUSTER, entropy))
