"""Whom a cluster believes: checking a bundle by itself, against its pin, and against its
predecessor.

Decides: whether a trust bundle is sound, whether the pinned one meets its own threshold, whether N
signs N+1.
Keeps: thresholds count distinct key bytes; exactly N+1 follows N, signed by the thresholds of both.
Must not know: where bundles are stored or how they arrive.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from fabgossip.errors import TrustError, WireError
from fabgossip.model.artifact import ArtifactType, Manifest
from fabgossip.model.authority import KeyStatus, Right, SigningKey, TrustBundle
from fabgossip.model.envelope import Envelope, PayloadKind
from fabgossip.model.ids import KeyId, ManifestHash, key_id_of
from fabgossip.model.moment import UnixTime
from fabgossip.model.scope import has_prefix
from fabgossip.trust.signatures import Verifier, is_fit_public_key, signed_bytes
from fabgossip.wire.contents import parse_bundle
from fabgossip.wire.envelopes import parse_envelope
from fabgossip.wire.statements import parse_manifest

RIGHT_KINDS: Final = frozenset(kind.value for kind in PayloadKind) - {
    PayloadKind.TRUST_BUNDLE.value
}
"""A right on trust bundles would be a second root. One on audit checkpoints is about the control
plane's own ledger: a node's checkpoints are judged by the key in its claims, and by no right."""
LONE_KINDS: Final = (
    PayloadKind.REVOCATION_LIST.value,
    PayloadKind.FETCH_GRANT.value,
    PayloadKind.AUDIT_CHECKPOINT.value,
)
"""What a key signs that signs nothing else: who is watched must not hold the key of the watcher."""
RETIRED_GRACE_S: Final = 86_400
"""How long after its window what a retired key signed may still turn up (*start*)."""


def bundle_faults(bundle: TrustBundle) -> tuple[str, ...]:
    """Everything that makes a bundle unsound, empty for a sound one."""
    return tuple(fault for check in _LINT for fault in check(bundle))


def _root_faults(bundle: TrustBundle) -> Iterable[str]:
    if bundle.root_threshold > len(set(bundle.root_keys)):
        yield "root threshold above the number of root keys"
    if bundle.root_threshold < 2 and not bundle.is_demo:
        yield "root threshold below 2 on a platform that is not a demo"


def _key_faults(bundle: TrustBundle) -> Iterable[str]:
    raw = [key.public_key for key in bundle.keys]
    if len(set(raw)) != len(raw):
        yield "a key stands twice"
    if any(not is_fit_public_key(one) for one in (*raw, *bundle.root_keys)):
        yield "a public key is not fit"
    if set(raw) & set(bundle.root_keys):
        yield "a root key stands among the signing keys"


def _right_faults(bundle: TrustBundle) -> Iterable[str]:
    known = {key.key_id for key in bundle.keys}
    seen = set()
    for right in bundle.rights:
        if right.kind not in RIGHT_KINDS:
            yield f"right on {right.kind!r}"
        if not has_prefix(right.prefix, bundle.prefix):
            yield f"right on {right.kind} outside the cluster"
        if right.threshold > len(right.key_ids) or not known.issuperset(right.key_ids):
            yield f"right on {right.kind}: threshold above its keys, or a key unknown"
        if (right.kind, right.prefix) in seen:
            yield f"two rights on {right.kind} at one prefix"
        seen.add((right.kind, right.prefix))


def _lone_key_faults(bundle: TrustBundle) -> Iterable[str]:
    for kind in LONE_KINDS:
        lone = {key_id for right in bundle.rights if right.kind == kind for key_id in right.key_ids}
        if any(lone & set(right.key_ids) for right in bundle.rights if right.kind != kind):
            yield f"a key for {kind} has a second right"


def _ca_faults(bundle: TrustBundle) -> Iterable[str]:
    if not any(is_active(ca.status) for ca in bundle.node_cas):
        yield "no active node CA"
    if len({ca.der for ca in bundle.node_cas}) != len(bundle.node_cas):
        yield "a node CA stands twice"


def _role_faults(bundle: TrustBundle) -> Iterable[str]:
    roles = [rule.role for rule in bundle.role_rules]
    if len(set(roles)) != len(roles):
        yield "two rules for one role"


def _cap_faults(bundle: TrustBundle) -> Iterable[str]:
    types = [cap.artifact_type for cap in bundle.content_caps]
    if len(set(types)) != len(types):
        yield "two content caps for one type"


_LINT: Final[tuple[Callable[[TrustBundle], Iterable[str]], ...]] = (
    _root_faults,
    _key_faults,
    _right_faults,
    _lone_key_faults,
    _ca_faults,
    _role_faults,
    _cap_faults,
)


def right_for(bundle: TrustBundle, kind: str, namespace: str) -> Right | None:
    """The right with the longest matching prefix, and no other: no search, no fall-back."""
    matching = [
        right
        for right in bundle.rights
        if right.kind == kind and has_prefix(namespace, right.prefix)
    ]
    return max(matching, key=lambda right: len(right.prefix), default=None)


def good_roots(bundle: TrustBundle, envelope: Envelope, verifier: Verifier) -> tuple[KeyId, ...]:
    """The root keys of `bundle` whose signature on the envelope is good, each once."""
    roots = {key_id_of(root): root for root in bundle.root_keys}
    message = signed_bytes(envelope.kind, envelope.payload)
    return tuple(
        signature.key_id
        for signature in envelope.signatures
        if signature.key_id in roots
        and verifier.is_good(roots[signature.key_id], message, signature.value)
    )


def meets_roots(
    bundle: TrustBundle, envelope: Envelope, manifest: Manifest, verifier: Verifier
) -> bool:
    """Whether enough roots of `bundle`, each named by the manifest, signed it."""
    good = set(good_roots(bundle, envelope, verifier)) & set(manifest.signer_key_ids)
    return len(good) >= bundle.root_threshold


def describes(manifest: Manifest, bundle: TrustBundle) -> bool:
    """Whether a manifest and the bundle it names agree on cluster, namespace, version and epoch."""
    return (
        manifest.artifact_type is ArtifactType.TRUST_BUNDLE
        and manifest.cluster_id == bundle.cluster_id
        and manifest.namespace.text == bundle.bundle_namespace
        and manifest.config_version == bundle.bundle_version
        and manifest.authority_epoch == bundle.authority_epoch
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedTrust:
    """A bundle that met its own threshold, and the manifest that named it."""

    bundle: TrustBundle
    manifest: Manifest
    manifest_hash: ManifestHash


def bundle_from_pinned(raw_envelope: bytes, content: bytes, verifier: Verifier) -> PinnedTrust:
    """The bundle of a pinned file, which must meet its own threshold; its expiry is ignored.

    Raises:
        TrustError: the file does not verify; nothing may be sent on the strength of it.
    """
    try:
        envelope = parse_envelope(raw_envelope)
        manifest = parse_manifest(envelope.payload)
        bundle = parse_bundle(content)
    except WireError as error:
        raise TrustError(f"the pinned trust bundle is not readable: {error}") from error
    if envelope.kind is not PayloadKind.TRUST_BUNDLE or not describes(manifest, bundle):
        raise TrustError(
            "the pinned file is no trust bundle, or its manifest speaks of another one"
        )
    if manifest.content_hash != sha256(content).digest() or manifest.content_size != len(content):
        raise TrustError("the pinned trust bundle does not match the hash its manifest signed")
    faults = bundle_faults(bundle)
    if faults:
        raise TrustError(f"the pinned trust bundle is unsound: {'; '.join(faults)}")
    if not meets_roots(bundle, envelope, manifest, verifier):
        raise TrustError(
            f"the pinned trust bundle lacks {bundle.root_threshold} good root signatures"
        )
    return PinnedTrust(bundle=bundle, manifest=manifest, manifest_hash=envelope.manifest_hash)


def bundle_after(
    before: TrustBundle, raw_envelope: bytes, content: bytes, verifier: Verifier
) -> TrustBundle:
    """The step of the chain that follows `before`, from a file.

    Raises:
        TrustError: it does not verify, or the roots of both did not sign it.
    """
    found = bundle_from_pinned(raw_envelope, content, verifier)
    fault = succession_fault(before, found.bundle)
    if fault is not None:
        raise TrustError(f"trust bundle {found.bundle.bundle_version}: {fault}")
    if not meets_roots(before, parse_envelope(raw_envelope), found.manifest, verifier):
        raise TrustError(
            f"trust bundle {found.bundle.bundle_version} is not signed by enough roots of the one "
            "before"
        )
    return found.bundle


def succession_fault(current: TrustBundle, successor: TrustBundle) -> str | None:
    """Why `successor` may not follow `current` by content, or None."""
    if (successor.platform_id, successor.cluster_id) != (current.platform_id, current.cluster_id):
        return "another platform or cluster"
    if successor.bundle_version != current.bundle_version + 1:
        return "not exactly the next version"
    if successor.authority_epoch not in (current.authority_epoch, current.authority_epoch + 1):
        return "an epoch that is neither the same nor the next"
    faults = bundle_faults(successor)
    return faults[0] if faults else None


def is_active(status: KeyStatus) -> bool:
    """Whether a key or CA of this status may sign anything new."""
    return status is KeyStatus.ACTIVE


def counts(key: SigningKey, issued_at: UnixTime, seen_at: UnixTime | None) -> bool:
    """Whether a signature of this key counts on something issued then and first seen at `seen_at`
    (None: held already, so it was seen in time).

    A retired key still vouches for what it signed in its window, but not for what turns up long
    after: a thief chooses `issued_at`. A revoked key vouches for nothing.
    """
    if key.status is KeyStatus.REVOKED or not key.not_before <= issued_at <= key.not_after:
        return False
    if key.status is KeyStatus.ACTIVE or seen_at is None:
        return True
    return seen_at <= key.not_after + RETIRED_GRACE_S
