"""Envelopes made from payloads: who has the right signs, as often as the right demands."""

from dataclasses import dataclass

from fabgossip.control.keystore import ArtifactKey, KeyRing
from fabgossip.errors import ControlError
from fabgossip.model.artifact import ArtifactType, Manifest
from fabgossip.model.authority import TrustBundle
from fabgossip.model.envelope import PayloadKind, Signature
from fabgossip.model.ids import KeyId, key_id_of
from fabgossip.trust.bundle import right_for
from fabgossip.trust.signatures import signed_bytes
from fabgossip.wire.envelopes import envelope_bytes
from fabgossip.wire.statements import manifest_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedArtifact:
    """An artifact ready to be handed to a node."""

    manifest: Manifest
    envelope: bytes
    content: bytes


def signed_envelope(kind: PayloadKind, payload: bytes, keys: tuple[ArtifactKey, ...]) -> bytes:
    """The envelope of a payload signed by these keys. Ed25519 is deterministic: the same input,
    the same bytes."""
    message = signed_bytes(kind, payload)
    return envelope_bytes(
        kind, payload, tuple(Signature(key.key_id, key.private.sign(message)) for key in keys)
    )


def signers_of(bundle: TrustBundle, kind: str, namespace: str) -> tuple[KeyId, ...]:
    """The key ids a manifest has to name: those of the one right, or the roots for a trust
    bundle."""
    if kind == ArtifactType.TRUST_BUNDLE.value:
        return tuple(sorted(key_id_of(root) for root in bundle.root_keys))
    right = right_for(bundle, kind, namespace)
    if right is None:
        raise ControlError(f"{namespace}: no key has a right on {kind} there")
    return right.key_ids


def signing_keys(
    bundle: TrustBundle, ring: KeyRing, kind: str, namespace: str
) -> tuple[ArtifactKey, ...]:
    """As many private keys as the right's threshold; raises `ControlError` where the ring has too
    few."""
    right = right_for(bundle, kind, namespace)
    is_root = kind == ArtifactType.TRUST_BUNDLE.value
    threshold = bundle.root_threshold if is_root or right is None else right.threshold
    found = [key for key in map(ring.find, signers_of(bundle, kind, namespace)) if key is not None]
    if len(found) < threshold:
        raise ControlError(
            f"{namespace}: {len(found)} private keys for {kind} are here, {threshold} must sign"
        )
    return tuple(found[:threshold])


def sign_artifact(
    bundle: TrustBundle, ring: KeyRing, manifest: Manifest, content: bytes
) -> SignedArtifact:
    """Sign a manifest with the keys its type and namespace call for; raises `ControlError`."""
    kind = manifest.artifact_type
    keys = signing_keys(bundle, ring, kind.value, manifest.namespace.text)
    envelope = signed_envelope(kind.payload_kind, manifest_bytes(manifest), keys)
    return SignedArtifact(manifest=manifest, envelope=envelope, content=content)
