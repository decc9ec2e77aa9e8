"""Whose signatures count: keys that may speak of the kind, are good, and have the one right.

Decides: whether enough keys signed, before the payload is read and, once its namespace is known,
under the right on that.
Keeps: keys that may not speak cost no cryptography; a revocation list takes nothing from roots.
Must not know: what the statement says beyond its type, namespace, named signers and time of issue.
"""

from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import KeyStatus, TrustBundle
from fabgossip.model.envelope import PayloadKind
from fabgossip.model.ids import KeyId, key_id_of
from fabgossip.trust.admission import Admission
from fabgossip.trust.bundle import counts, right_for
from fabgossip.trust.facts import TrustFacts
from fabgossip.trust.rejections import Rejection, RejectionCode
from fabgossip.trust.signatures import signed_bytes


def count_candidates(admission: Admission) -> Rejection | None:
    """Too few keys that may speak about this kind cost no cryptography."""
    kind = admission.envelope.kind
    needed = _threshold_min(admission.facts, kind.value)
    if needed is None:
        return admission.refuse(
            RejectionCode.KEY_NOT_FOR_TYPE, f"nobody has a right on {kind.value}"
        )
    found = len(_candidates(admission))
    return _too_few(admission, found) if found < needed else None


def verify(admission: Admission) -> Rejection | None:
    """Bad signatures beside enough good ones are ignored."""
    kind, candidates = admission.envelope.kind, _candidates(admission)
    needed = _threshold_min(admission.facts, kind.value) or 1
    message = signed_bytes(kind, admission.envelope.payload)
    admission.good = tuple(
        signature.key_id
        for signature in admission.envelope.signatures
        if signature.key_id in candidates
        and admission.verifier.is_good(candidates[signature.key_id], message, signature.value)
    )
    if len(admission.good) < needed:
        good, admission.good = len(admission.good), ()
        if not _signers(admission) <= _known_keys(admission.facts):
            # A key of a newer bundle may have signed it: who passed it on did nothing wrong.
            return admission.refuse(
                RejectionCode.KEY_UNKNOWN, "signed by a key not in the trust bundle"
            )
        return admission.refuse(
            RejectionCode.SIG_INVALID, f"{good} good signatures, {needed} needed"
        )
    return None


def find_right(admission: Admission) -> Rejection | None:
    """Good, named and entitled keys, each within its window, must reach the threshold of the one
    right.
    """
    manifest, bundle = admission.manifest, admission.facts.bundle
    named = set(manifest.signer_key_ids)
    if manifest.artifact_type is ArtifactType.TRUST_BUNDLE:
        return _find_roots(admission, named)
    right = right_for(bundle, manifest.artifact_type.value, manifest.namespace.text)
    if right is None:
        return admission.refuse(
            RejectionCode.KEY_NOT_FOR_NAMESPACE, "nobody has a right on this namespace"
        )
    entitled = tuple(
        key_id for key_id in admission.good if key_id in named and key_id in right.key_ids
    )
    windows = {key.key_id: key for key in bundle.keys}
    admission.right = right
    admission.counted = tuple(
        one
        for one in entitled
        if counts(windows[one], manifest.issued_at, None if admission.is_held else admission.now)
    )
    if len(admission.counted) >= right.threshold:
        return None
    if len(entitled) >= right.threshold:
        return admission.refuse(
            RejectionCode.KEY_RETIRED,
            "issued, or first seen, outside the time its keys may sign in",
        )
    if not entitled:
        return admission.refuse(
            RejectionCode.KEY_NOT_FOR_NAMESPACE, "its keys have no right on this namespace"
        )
    return admission.refuse(
        RejectionCode.SIG_THRESHOLD, f"{len(entitled)} of {right.threshold} entitled keys signed"
    )


def _find_roots(admission: Admission, named: set[KeyId]) -> Rejection | None:
    """The next bundle takes the roots of the one in force; one of the same version may also show
    those of the bundle before, for then it is evidence of a fork."""
    facts = admission.facts
    good = {key_id for key_id in admission.good if key_id in named}
    is_next = admission.manifest.config_version > facts.bundle.bundle_version
    sets = (facts.bundle,) if is_next else _root_sets(facts)
    for one in sets:
        roots = {key_id_of(root) for root in one.root_keys}
        if len(good & roots) >= one.root_threshold:
            admission.counted = tuple(key_id for key_id in admission.good if key_id in good & roots)
            return None
    return admission.refuse(RejectionCode.SIG_THRESHOLD, "not signed by enough roots it names")


def _candidates(admission: Admission) -> dict[KeyId, bytes]:
    """The keys in the envelope that may speak about this kind at all, by id.

    A revocation list takes nothing from roots: a stolen revocation key could otherwise block the
    very bundle that revokes it.
    """
    bundle, revoked = admission.facts.bundle, admission.facts.revoked
    kind = admission.envelope.kind.value
    present = _signers(admission)
    if kind == PayloadKind.TRUST_BUNDLE.value:
        roots = {
            key_id_of(root): root for one in _root_sets(admission.facts) for root in one.root_keys
        }
        return {key_id: raw for key_id, raw in roots.items() if key_id in present}
    entitled = {key_id for right in bundle.rights if right.kind == kind for key_id in right.key_ids}
    known = {
        key.key_id: key.public_key
        for key in bundle.keys
        if key.key_id in entitled and key.status is not KeyStatus.REVOKED
    }
    return {
        key_id: raw
        for key_id, raw in known.items()
        if key_id in present and not revoked.has_key(key_id)
    }


def _root_sets(facts: TrustFacts) -> tuple[TrustBundle, ...]:
    """The bundles whose roots may sign bundles: the one in force, and the one before it, which
    alone can show that it has two successors."""
    return (facts.bundle,) if facts.previous is None else (facts.bundle, facts.previous)


def _threshold_min(facts: TrustFacts, kind: str) -> int | None:
    if kind == PayloadKind.TRUST_BUNDLE.value:
        return min(one.root_threshold for one in _root_sets(facts))
    rights = facts.bundle.rights
    return min((right.threshold for right in rights if right.kind == kind), default=None)


def _signers(admission: Admission) -> set[KeyId]:
    return {signature.key_id for signature in admission.envelope.signatures}


def _known_keys(facts: TrustFacts) -> set[KeyId]:
    bundle = facts.bundle
    return {key.key_id for key in bundle.keys} | {key_id_of(root) for root in bundle.root_keys}


def _too_few(admission: Admission, found: int) -> Rejection:
    present = _signers(admission)
    bundle = admission.facts.bundle
    gone = {key.key_id for key in bundle.keys if key.status is KeyStatus.REVOKED}
    if present & gone or any(admission.facts.revoked.has_key(key_id) for key_id in present):
        return admission.refuse(RejectionCode.KEY_REVOKED, "signed by a revoked key")
    if not present & _known_keys(admission.facts):
        return admission.refuse(RejectionCode.KEY_UNKNOWN, "no key of the trust bundle signed this")
    if found == 0:
        return admission.refuse(
            RejectionCode.KEY_NOT_FOR_TYPE, "its keys have no right on this type"
        )
    return admission.refuse(
        RejectionCode.SIG_THRESHOLD, f"{found} keys with a right on this type, more are needed"
    )
