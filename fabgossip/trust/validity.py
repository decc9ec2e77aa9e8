"""Whether what is signed counts for this node now: audience, epoch, revocations, minimums, times.

Decides: whether the node may hold a statement, and whether its trust and its clock let it.
Keeps: trust itself passes to every node, and restriction at any time: it only takes away.
Must not know: signatures, versions accepted before.
"""

from fabgossip.model.artifact import TRUST_TYPES, ArtifactType
from fabgossip.model.moment import is_past
from fabgossip.model.scope import may_hold
from fabgossip.trust.admission import Admission
from fabgossip.trust.identity import CLOCK_TOLERANCE_S
from fabgossip.trust.minimums import lacking
from fabgossip.trust.rejections import Rejection, RejectionCode


def hold(admission: Admission) -> Rejection | None:
    """The trust lane is every node's, whatever became of its claims: it is the way to new ones."""
    manifest = admission.manifest
    held, own_id = admission.facts.own, admission.facts.own_node_id
    if manifest.is_lane_of(own_id):
        return None
    if not may_hold(manifest.audience, manifest.artifact_type.value, manifest.namespace.text, held):
        return admission.refuse(RejectionCode.AUDIENCE_NOT_OURS, "this node may not know of it")
    return None


def epoch(admission: Admission) -> Rejection | None:
    """A trust bundle may open the next epoch: `succession_fault` judges that once its content is
    read.
    """
    manifest, facts = admission.manifest, admission.facts
    epoch, ours = manifest.authority_epoch, facts.bundle.authority_epoch
    is_bundle = manifest.artifact_type is ArtifactType.TRUST_BUNDLE
    if is_bundle and manifest.config_version == facts.bundle.bundle_version:
        return None  # whatever its epoch, it is this bundle again or a fork: the order says which
    if epoch < ours:
        return admission.refuse(RejectionCode.EPOCH_STALE, f"epoch {epoch}, the bundle says {ours}")
    if epoch > (ours + 1 if is_bundle else ours):
        return admission.refuse(
            RejectionCode.EPOCH_UNKNOWN, f"epoch {epoch}, the bundle says {ours}"
        )
    return None


def not_revoked(admission: Admission) -> Rejection | None:
    """A list takes nothing from trust itself: a stolen revocation key could otherwise block the
    next bundle, or take back at a restart the one in force (`tests/trust/test_gate.py`).
    """
    manifest = admission.manifest
    is_trust = manifest.artifact_type in TRUST_TYPES
    revoked = admission.facts.revoked
    if not is_trust and revoked.has_artifact(
        admission.envelope.manifest_hash, manifest.content_hash
    ):
        return admission.refuse(RejectionCode.ARTIFACT_REVOKED, "revoked")
    return None


def minimums(admission: Admission) -> Rejection | None:
    manifest, facts = admission.manifest, admission.facts
    lack = lacking(manifest, facts.bundle, facts.revoked)
    return None if lack is None else admission.refuse(lack.code, f"needs {lack.words}")


def future(admission: Admission) -> Rejection | None:
    """Issued no later than clocks may differ."""
    manifest, now = admission.manifest, admission.now
    if manifest.issued_at > now + CLOCK_TOLERANCE_S and not manifest.is_restriction:
        return admission.refuse(
            RejectionCode.FUTURE_ISSUED, f"issued {manifest.issued_at - now} s ahead of our clock"
        )
    return None


def expired(admission: Admission) -> Rejection | None:
    """Past `refresh_by` is accepted as stale, past `expires_at` not at all."""
    manifest, now = admission.manifest, admission.now
    if is_past(manifest.expires_at, now) and not manifest.is_restriction:
        return admission.refuse(RejectionCode.EXPIRED, f"expired {now - manifest.expires_at} s ago")
    return None


def trust_expired(admission: Admission) -> Rejection | None:
    """A bundle past its expiry lets nothing new in but restriction."""
    expires_at = admission.facts.bundle_expires_at
    if is_past(expires_at, admission.now) and not admission.manifest.is_restriction:
        return admission.refuse(
            RejectionCode.TRUST_EXPIRED, "the trust bundle in force has expired"
        )
    return None
