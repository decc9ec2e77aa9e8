"""Envelopes made from payloads: who has the right signs, as often as the right demands.

A key signs while the bundle calls it active, within its window, and while no revocation list takes
it away. Among those that may, the one the bundle names last is the newest and comes first.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from fabgossip.control.keystore import ArtifactKey, KeyRing
from fabgossip.errors import ControlError
from fabgossip.model.artifact import SIGNER_KEYS_MAX, ArtifactType, Manifest
from fabgossip.model.authority import TrustBundle
from fabgossip.model.envelope import PayloadKind, Signature
from fabgossip.model.ids import KeyId, key_id_of
from fabgossip.model.moment import UnixTime
from fabgossip.trust.bundle import is_active, right_for
from fabgossip.trust.signatures import signed_bytes
from fabgossip.wire.envelopes import envelope_bytes
from fabgossip.wire.statements import manifest_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedArtifact:
    """An artifact ready to be handed to a node."""

    manifest: Manifest
    envelope: bytes
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Signers:
    """Whose signatures count: the keys of the bundle, less what the revocation list names."""

    bundle: TrustBundle
    revoked: frozenset[KeyId] = frozenset()

    def may_sign(self, key_id: KeyId, at: UnixTime) -> bool:
        """Whether a key signs something issued at that time. Stricter than nodes on purpose: they
        still believe what a retired key signed in its window, and nothing new comes from it."""
        return any(
            key.key_id == key_id
            and is_active(key.status)
            and key.not_before <= at <= key.not_after
            and key_id not in self.revoked
            for key in self.bundle.keys
        )

    def needs_no_renewal(self, key_ids: Iterable[KeyId], issued_at: UnixTime) -> bool:
        """Whether what these keys signed then stands as it is. Stricter than nodes on purpose: what
        a retired key signed is signed anew while they still believe it."""
        return all(self.may_sign(one, issued_at) for one in key_ids)

    def named(self, kind: str, namespace: str, now: UnixTime) -> tuple[KeyId, ...]:
        """The keys that may sign now, newest first.

        Raises:
            ControlError: nobody has a right there, or fewer may sign than must.
        """
        right = right_for(self.bundle, kind, namespace)
        if right is None:
            raise ControlError(f"{namespace}: no key has a right on {kind} there")
        entitled = (one for one in right.key_ids if self.may_sign(one, now))
        keys = _newest_first(self.bundle, entitled)[:SIGNER_KEYS_MAX]
        if len(keys) < right.threshold:
            raise ControlError(
                f"{namespace}: {len(keys)} keys may sign {kind}, {right.threshold} must; "
                "fabgossip control rotate --role makes new ones"
            )
        return keys


def _newest_first(bundle: TrustBundle, key_ids: Iterable[KeyId]) -> tuple[KeyId, ...]:
    place = {key.key_id: number for number, key in enumerate(bundle.keys)}
    return tuple(sorted(key_ids, key=lambda one: (-place.get(one, 0), one)))


def signed_envelope(kind: PayloadKind, payload: bytes, keys: tuple[ArtifactKey, ...]) -> bytes:
    """The envelope of a payload signed by these keys. Ed25519 is deterministic: the same input,
    the same bytes."""
    message = signed_bytes(kind, payload)
    ascending = sorted(keys, key=lambda key: key.key_id)
    return envelope_bytes(
        kind, payload, tuple(Signature(key.key_id, key.private.sign(message)) for key in ascending)
    )


def signing_keys(
    signers: Signers, ring: KeyRing, kind: str, namespace: str, now: UnixTime
) -> tuple[ArtifactKey, ...]:
    """As many private keys as the right's threshold; raises `ControlError` where too few may sign
    or the ring has too few."""
    named = signers.named(kind, namespace, now)
    return _from_ring(signers.bundle, ring, named, kind, namespace)


def _from_ring(
    bundle: TrustBundle, ring: KeyRing, named: Iterable[KeyId], kind: str, namespace: str
) -> tuple[ArtifactKey, ...]:
    right = right_for(bundle, kind, namespace)
    is_root = kind == ArtifactType.TRUST_BUNDLE.value
    threshold = bundle.root_threshold if is_root or right is None else right.threshold
    found = [key for key in map(ring.find, named) if key is not None]
    if len(found) < threshold:
        raise ControlError(
            f"{namespace}: {len(found)} private keys for {kind} are here, {threshold} must sign"
        )
    return tuple(found[:threshold])


def sign_artifact(
    bundle: TrustBundle, ring: KeyRing, manifest: Manifest, content: bytes
) -> SignedArtifact:
    """Sign a manifest with keys it names, newest first, as many as its type and namespace call for;
    raises `ControlError` where the ring has too few."""
    kind = manifest.artifact_type
    named = _newest_first(bundle, manifest.signer_key_ids)
    keys = _from_ring(bundle, ring, named, kind.value, manifest.namespace.text)
    envelope = signed_envelope(kind.payload_kind, manifest_bytes(manifest), keys)
    return SignedArtifact(manifest=manifest, envelope=envelope, content=content)


def sign_successor(
    bundles: tuple[TrustBundle, TrustBundle], ring: KeyRing, manifest: Manifest, content: bytes
) -> SignedArtifact:
    """Sign a trust bundle by the thresholds of its predecessor's roots and of its own; raises
    `ControlError` naming the set that lacks keys."""
    keys: dict[KeyId, ArtifactKey] = {}
    for bundle in bundles:
        roots = map(ring.find, sorted(key_id_of(root) for root in bundle.root_keys))
        found = [key for key in roots if key is not None]
        if len(found) < bundle.root_threshold:
            raise ControlError(
                f"{len(found)} root keys of trust bundle {bundle.bundle_version} are here, "
                f"{bundle.root_threshold} must sign; --root-keys FOLDER names where others lie"
            )
        keys |= {key.key_id: key for key in found[: bundle.root_threshold]}
    envelope = signed_envelope(
        PayloadKind.TRUST_BUNDLE, manifest_bytes(manifest), tuple(keys.values())
    )
    return SignedArtifact(manifest=manifest, envelope=envelope, content=content)
