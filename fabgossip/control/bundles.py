"""Trust bundles: the first of a cluster, and the next of the one in force.

A rotation says what changes; `next_bundle` makes exactly the next bundle of it or every fault of
it. An old key of a role stays active for a day, so that nothing in flight is refused; is retired,
which takes only what it signs from now on; or is revoked, which takes everything it ever signed.
Which, is for who knows whether the key is safe, destroyed or stolen.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from fabgossip.control.keystore import ArtifactKey
from fabgossip.errors import ControlError, WireError
from fabgossip.model.artifact import TYPE_RULES, ArtifactType
from fabgossip.model.authority import (
    CERT_LIFE_MAX_S,
    MEMBER_ROLE,
    ContentCap,
    KeyStatus,
    NodeCa,
    Right,
    RoleRule,
    SigningKey,
    TrustBundle,
    Verb,
)
from fabgossip.model.envelope import PayloadKind
from fabgossip.model.ids import ClusterId, KeyId, PlatformId
from fabgossip.model.messages import PROTOCOL
from fabgossip.model.moment import UnixTime, is_past, seconds_after
from fabgossip.trust.bundle import bundle_faults, is_active, succession_fault
from fabgossip.wire.contents import bundle_bytes, parse_bundle

KEY_LIFE_S: Final = 10 * 365 * 86_400
KEY_MARGIN_S: Final = 3_600
"""A key's window begins this long before it is made: clocks of a fabric are not equal."""
KEY_OVERLAP_S: Final = 86_400
"""How long a key that was followed by a new one may still sign (*start*)."""
SIGNATURES_LIVE_S: Final = max(
    rule.expiry_s for kind, rule in TYPE_RULES.items() if kind is not ArtifactType.TRUST_BUNDLE
)
"""A key leaves the bundle once its window is over for that long: all it signed has expired."""
ROOTS: Final = 3
ROOT_THRESHOLD: Final = 2
CLAIMS_ROLE: Final = PayloadKind.NODE_CLAIMS.value
LEDGER_KIND: Final = PayloadKind.AUDIT_CHECKPOINT.value
MEMBER_RULE: Final = RoleRule(
    role=MEMBER_ROLE,
    verbs=tuple(sorted(Verb)),
    types=tuple(sorted(ArtifactType)),
)
"""Every member may know and fetch every type, within its scopes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRole:
    """A role of the authority: how many keys, how many must sign, about what."""

    name: str
    count: int
    threshold: int
    kinds: tuple[str, ...]


KEY_ROLES: Final = (
    KeyRole(
        name="compiler", count=1, threshold=1,
        kinds=("cluster_snapshot", "snapshot_increment", "service_assignment_bundle"),
    ),
    KeyRole(name="directory", count=1, threshold=1, kinds=("peer_directory", "storage_directory")),
    KeyRole(
        name="policy", count=1, threshold=1, kinds=("route_policy_bundle", "qos_policy_bundle"),
    ),
    KeyRole(name="release", count=2, threshold=2, kinds=("update_manifest",)),
    KeyRole(name="revocation", count=1, threshold=1, kinds=("revocation_list",)),
    KeyRole(name="claims", count=1, threshold=1, kinds=(CLAIMS_ROLE,)),
    KeyRole(name="grants", count=1, threshold=1, kinds=(PayloadKind.FETCH_GRANT.value,)),
    KeyRole(name="ledger", count=1, threshold=1, kinds=(LEDGER_KIND,)),
)  # fmt: skip
"""A stolen key of one role says nothing about the others' artifacts; releases take two."""


def first_bundle(
    platform_id: PlatformId,
    cluster_id: ClusterId,
    keys: dict[str, tuple[ArtifactKey, ...]],
    node_ca: bytes,
    now: UnixTime,
    caps: tuple[ContentCap, ...] = (),
    epoch: int = 1,
) -> TrustBundle:
    """Trust bundle 1 of a cluster, from the keys of each role (`root` included). Its epoch is
    above 1 where it takes the place of an authority that was lost."""
    prefix = f"platform/{platform_id}/cluster/{cluster_id}"
    signing = [_fresh_key(key, now) for role in KEY_ROLES for key in keys[role.name]]
    rights = [
        Right(
            kind=kind,
            prefix=prefix,
            threshold=role.threshold,
            key_ids=tuple(sorted(key.key_id for key in keys[role.name])),
        )
        for role in KEY_ROLES
        for kind in role.kinds
    ]
    bundle = TrustBundle(
        platform_id=platform_id,
        cluster_id=cluster_id,
        bundle_version=1,
        authority_epoch=epoch,
        root_threshold=ROOT_THRESHOLD,
        root_keys=tuple(sorted(key.public_key for key in keys["root"])),
        keys=tuple(signing),
        rights=tuple(rights),
        node_cas=(NodeCa(node_ca),),
        cert_life_max_s=CERT_LIFE_MAX_S,
        protocol_min=1,
        content_caps=caps,
        role_rules=(MEMBER_RULE,),
    )
    _raise_faults(bundle, list(bundle_faults(bundle)))
    return bundle


def _fresh_key(key: ArtifactKey, now: UnixTime) -> SigningKey:
    return SigningKey(
        key_id=key.key_id,
        public_key=key.public_key,
        status=KeyStatus.ACTIVE,
        not_before=seconds_after(now, -KEY_MARGIN_S),
        not_after=seconds_after(now, KEY_LIFE_S),
    )


def _raise_faults(bundle: TrustBundle, faults: list[str]) -> None:
    if faults:
        raise ControlError(f"trust bundle {bundle.bundle_version}: {'; '.join(faults)}")


class OldKeys(StrEnum):
    """What becomes of the keys of a role that gets new ones."""

    KEEP = "keep"
    RETIRE = "retire"
    REVOKE = "revoke"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What the next bundle changes. New keys are drawn by the caller."""

    keys: tuple[tuple[str, tuple[ArtifactKey, ...]], ...] = ()
    """By role."""
    old_keys: OldKeys = OldKeys.KEEP
    root_keys: tuple[bytes, ...] | None = None
    node_ca: bytes | None = None
    """DER of the CA that issues from now on."""
    old_node_cas: KeyStatus = KeyStatus.ACTIVE
    opens_epoch: bool = False
    protocol_min: int | None = None


def key_role(name: str) -> KeyRole:
    """The role of a name; raises `ControlError`."""
    found = next((role for role in KEY_ROLES if role.name == name), None)
    if found is None:
        raise ControlError(f"role {name!r}: expected {', '.join(one.name for one in KEY_ROLES)}")
    return found


def role_key_ids(bundle: TrustBundle, role: KeyRole) -> frozenset[KeyId]:
    """The keys with a right on what a role signs."""
    return frozenset(
        key_id for right in bundle.rights if right.kind in role.kinds for key_id in right.key_ids
    )


def next_bundle(bundle: TrustBundle, rotation: Rotation, now: UnixTime) -> TrustBundle:
    """Bundle N+1.

    Raises:
        ControlError: it would change nothing, or every fault it would have.
    """
    successor = replace(bundle, bundle_version=bundle.bundle_version + 1)
    for name, fresh in rotation.keys:
        successor = _with_role_keys(successor, key_role(name), fresh, rotation.old_keys, now)
    if rotation.root_keys is not None:
        successor = replace(successor, root_keys=tuple(sorted(rotation.root_keys)))
    successor = replace(
        _without_spent_keys(successor, now),
        node_cas=_node_cas(bundle, rotation),
        authority_epoch=bundle.authority_epoch + rotation.opens_epoch,
        protocol_min=(
            bundle.protocol_min if rotation.protocol_min is None else rotation.protocol_min
        ),
    )
    if replace(successor, bundle_version=bundle.bundle_version) == bundle:
        raise ControlError(f"nothing to change: {_why_nothing(bundle, rotation)}")
    _raise_faults(successor, list(_successor_faults(bundle, successor, now)))
    return successor


def _why_nothing(bundle: TrustBundle, rotation: Rotation) -> str:
    """Of a rotation that changes nothing: what it named is so already, or it named nothing."""
    reasons = []
    if rotation.old_node_cas is not KeyStatus.ACTIVE:
        reasons.append("there is one node CA; --node-ca makes the one that follows it")
    if rotation.protocol_min is not None:
        reasons.append(f"peers speak protocol {bundle.protocol_min} or newer already")
    return "; ".join(reasons) or "name a role, --roots, --node-ca, --new-epoch, ..."


def _with_role_keys(
    bundle: TrustBundle,
    role: KeyRole,
    fresh: tuple[ArtifactKey, ...],
    old_keys: OldKeys,
    now: UnixTime,
) -> TrustBundle:
    """New keys for every right of a role; its old ones as said."""
    before = role_key_ids(bundle, role)
    ended = {
        OldKeys.KEEP: (KeyStatus.ACTIVE, seconds_after(now, KEY_OVERLAP_S)),
        OldKeys.RETIRE: (KeyStatus.RETIRED, now),
        OldKeys.REVOKE: (KeyStatus.REVOKED, now),
    }[old_keys]
    keys = [_ended(key, *ended) if key.key_id in before else key for key in bundle.keys]
    kept = frozenset() if old_keys is OldKeys.REVOKE else before
    ids = {key.key_id for key in fresh}
    rights = [
        replace(right, key_ids=tuple(sorted(ids | (kept & set(right.key_ids)))))
        if right.kind in role.kinds
        else right
        for right in bundle.rights
    ]
    return replace(
        bundle,
        keys=(*keys, *(_fresh_key(key, now) for key in fresh)),
        rights=tuple(rights),
    )


def _ended(key: SigningKey, status: KeyStatus, at: UnixTime) -> SigningKey:
    """A window never grows, and a status never improves."""
    worse = max(key.status, status, key=lambda one: one.value)
    return replace(key, status=worse, not_after=min(key.not_after, at))


def _without_spent_keys(bundle: TrustBundle, now: UnixTime) -> TrustBundle:
    spent = {
        key.key_id
        for key in bundle.keys
        if is_past(seconds_after(key.not_after, SIGNATURES_LIVE_S), now)
    }
    return replace(
        bundle,
        keys=tuple(key for key in bundle.keys if key.key_id not in spent),
        rights=tuple(
            replace(right, key_ids=tuple(one for one in right.key_ids if one not in spent))
            for right in bundle.rights
        ),
    )


def _node_cas(bundle: TrustBundle, rotation: Rotation) -> tuple[NodeCa, ...]:
    """The CA that issues stands last. One that issues no more is named once more, then not at all:
    an unknown issuer is refused just the same."""
    active = [one for one in bundle.node_cas if is_active(one.status)]
    if rotation.node_ca is not None:
        active.append(NodeCa(rotation.node_ca))
    if rotation.old_node_cas is KeyStatus.ACTIVE:
        return bundle.node_cas if rotation.node_ca is None else tuple(active)
    old = tuple(replace(one, status=rotation.old_node_cas) for one in active[:-1])
    return (*old, active[-1])


def _successor_faults(bundle: TrustBundle, successor: TrustBundle, now: UnixTime) -> Iterator[str]:
    yield from bundle_faults(successor)
    fault = succession_fault(bundle, successor)
    if fault is not None and fault not in bundle_faults(successor):
        yield fault
    windows = {key.key_id: key for key in successor.keys}
    for right in successor.rights:
        found = sum(_may_sign(windows[one], now) for one in right.key_ids if one in windows)
        if found < right.threshold:
            yield f"{found} keys may sign {right.kind}, {right.threshold} must"
    if not bundle.protocol_min <= successor.protocol_min <= PROTOCOL:
        yield (
            f"protocol {successor.protocol_min}: the least a peer may speak is "
            f"{bundle.protocol_min} now and never falls, and this release speaks up to {PROTOCOL}"
        )
    try:
        parse_bundle(bundle_bytes(successor))
    except WireError as error:
        yield error.detail


def _may_sign(key: SigningKey, now: UnixTime) -> bool:
    return is_active(key.status) and key.not_before <= now <= key.not_after


def takes_away(before: TrustBundle, after: TrustBundle) -> bool:
    """Whether a bundle revoked a key or a node CA its predecessor did not."""
    return bool(_revoked(after) - _revoked(before))


def _revoked(bundle: TrustBundle) -> frozenset[bytes]:
    keys = {key.public_key for key in bundle.keys if key.status is KeyStatus.REVOKED}
    return frozenset(keys | {ca.der for ca in bundle.node_cas if ca.status is KeyStatus.REVOKED})
