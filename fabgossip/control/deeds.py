"""What the ledger says of each thing the control plane does: whose it is, and what tells it from
others of its kind. Ids, versions and hashes; never content, keys or salts."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from fabgossip.control.enrollment import NodeRow
from fabgossip.control.ledger import Act, Deed, Inputs
from fabgossip.control.revoking import RevocationRow
from fabgossip.control.signing import SignedArtifact
from fabgossip.model.authority import FetchGrant, KeyStatus, RevokedKind, TrustBundle
from fabgossip.model.ids import KeyId
from fabgossip.model.policy import ReplicationPolicy
from fabgossip.wire.envelopes import parse_envelope

_REVOKED: Final = {
    RevokedKind.SIGNING_KEY: Act.KEY_REVOKED,
    RevokedKind.NODE: Act.IDENTITY_REVOKED,
    RevokedKind.CERTIFICATE: Act.IDENTITY_REVOKED,
    RevokedKind.GRANT: Act.GRANT_REVOKED,
    RevokedKind.MANIFEST: Act.ARTIFACT_REVOKED,
    RevokedKind.CONTENT: Act.ARTIFACT_REVOKED,
}
_ENTITLEMENTS: Final = ("orgs", "services", "roles", "stores")
_PLACES: Final = ("addresses", "region", "zone", "rack", "peer_class")


def authority_deed(bundle: TrustBundle) -> Deed:
    """A new authority."""
    inputs = (
        ("epoch", bundle.authority_epoch),
        ("roots", len(bundle.root_keys)),
        ("root_threshold", bundle.root_threshold),
    )
    return Deed(act=Act.AUTHORITY_CREATED, object=bundle.prefix, inputs=inputs)


def rotation_deed(before: TrustBundle, after: TrustBundle, lifted: Iterable[str]) -> Deed:
    """The next trust bundle: what came, what ended, what a new epoch gives back."""
    known = {key.key_id for key in before.keys}
    was = {key.key_id: key.status for key in before.keys}
    cas = {ca.der for ca in before.node_cas}
    counts = (
        ("new_keys", sum(key.key_id not in known for key in after.keys)),
        ("retired_keys", _turned(after, was, KeyStatus.RETIRED)),
        ("revoked_keys", _turned(after, was, KeyStatus.REVOKED)),
        ("new_roots", len(set(after.root_keys) - set(before.root_keys))),
        ("new_node_cas", sum(ca.der not in cas for ca in after.node_cas)),
    )
    fresh = [key.key_id.hex() for key in after.keys if key.key_id not in known]
    inputs: Inputs = (
        ("bundle_version", after.bundle_version),
        ("epoch", after.authority_epoch),
        *((name, count) for name, count in counts if count),
        *((f"key_{number}", one) for number, one in enumerate(fresh, 1)),
        *((f"lifted_{number}", one) for number, one in enumerate(lifted, 1)),
    )
    return Deed(act=Act.KEY_ROTATED, object=after.bundle_namespace, inputs=inputs)


def _turned(after: TrustBundle, was: Mapping[KeyId, KeyStatus], status: KeyStatus) -> int:
    return sum(key.status is status and was.get(key.key_id) is not status for key in after.keys)


def signed_deeds(artifacts: Iterable[SignedArtifact]) -> tuple[Deed, ...]:
    """What the authority says from now on, or takes back."""
    return tuple(_artifact_deed(_said(one), one) for one in artifacts)


def _said(artifact: SignedArtifact) -> Act:
    is_withdrawal = artifact.manifest.tombstone is not None
    return Act.ARTIFACT_TOMBSTONED if is_withdrawal else Act.ARTIFACT_SIGNED


def published_deeds(artifacts: Iterable[SignedArtifact]) -> tuple[Deed, ...]:
    """What is handed to a running node, and by it to others."""
    return tuple(_artifact_deed(Act.ARTIFACT_PUBLISHED, one) for one in artifacts)


def _artifact_deed(act: Act, artifact: SignedArtifact) -> Deed:
    manifest = artifact.manifest
    withdrawn = manifest.tombstone
    inputs: Inputs = (
        ("type", manifest.artifact_type.value),
        ("order", str(manifest.order)),
        ("manifest_hash", parse_envelope(artifact.envelope).manifest_hash.hex()),
        ("content_hash", manifest.content_hash.hex()),
        *(() if withdrawn is None else (("reason", withdrawn.reason),)),
        *((("purge", 1),) if withdrawn is not None and withdrawn.purge else ()),
    )
    return Deed(act=act, object=manifest.namespace.text, inputs=inputs)


def replication_deeds(
    prefix: str, before: ReplicationPolicy, after: ReplicationPolicy
) -> tuple[Deed, ...]:
    """Another rule on how many nodes hold what; none if it is as it was."""
    if before == after:
        return ()
    inputs = (("before", _rules(before)), ("after", _rules(after)))
    return (Deed(act=Act.REPLICATION_POLICY_CHANGED, object=prefix, inputs=inputs),)


def _rules(policy: ReplicationPolicy) -> str:
    return " ".join(
        f"{one.artifact_type.value}={'on-demand' if one.on_demand else one.replicas}"
        for one in policy.rules
    )


def node_deeds(act: Act, row: NodeRow, before: NodeRow | None) -> tuple[Deed, ...]:
    """A node enrolled, renewed or changed, and the storage roles it gains or loses by that."""
    inputs: Inputs = (
        ("claims_version", row.claims_version),
        ("state_generation", row.state_generation),
        *_named(row, before, _ENTITLEMENTS),
        *_named(row, before, _PLACES),
    )
    return (
        Deed(act=act, object=row.node_id, inputs=inputs),
        *storage_deeds(row.node_id, () if before is None else before.stores, row.stores),
    )


def _named(
    row: NodeRow, before: NodeRow | None, names: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    """The fields that are new, as they are now."""
    for name in names:
        value: tuple[str, ...] | str = getattr(row, name)
        if before is None or getattr(before, name) != value:
            yield name, value if isinstance(value, str) else " ".join(value)


def storage_deeds(
    node_id: str, before: tuple[str, ...], after: tuple[str, ...]
) -> tuple[Deed, ...]:
    """Whom a node stores for from now on, and whom no more."""
    gained = [(Act.STORAGE_ROLE_ASSIGNED, one) for one in after if one not in before]
    lost = [(Act.STORAGE_ROLE_REMOVED, one) for one in before if one not in after]
    return tuple(
        Deed(act=act, object=node_id, inputs=(("stores", one),)) for act, one in (*gained, *lost)
    )


def revocation_deeds(row: RevocationRow, node: NodeRow | None) -> tuple[Deed, ...]:
    """An entry of the revocation list; `node` where that is what it names."""
    inputs = (
        ("kind", row.kind.lower()),
        ("value", row.value),
        ("reason", row.reason),
        ("until", row.until),
    )
    revoked = Deed(act=_REVOKED[row.revoked_kind], object=row.subject, inputs=inputs)
    return (revoked, *(() if node is None else storage_deeds(node.node_id, node.stores, ())))


def grant_deed(grant: FetchGrant) -> Deed:
    """A fetch grant."""
    inputs: Inputs = (
        ("grant", grant.grant_id.hex()),
        ("certificate", grant.certificate_hash.hex()),
        ("expires_at", grant.expires_at),
        ("uses", grant.max_uses),
        ("types", " ".join(one.value for one in grant.types)),
        ("scopes", " ".join(one.text for one in grant.scope_ids)),
        *(
            (f"manifest_{number}", one.hex())
            for number, one in enumerate(grant.manifest_hashes or (), 1)
        ),
    )
    return Deed(act=Act.GRANT_ISSUED, object=grant.node_id, inputs=inputs)
