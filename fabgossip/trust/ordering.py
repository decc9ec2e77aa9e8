"""Which version may follow which: floors, withdrawals, the succession of bundles, what is listed.

Decides: whether a manifest is above everything accepted of its namespace, or contradicts it.
Keeps: below a floor nothing is accepted; at one place in order two manifests are equivocation.
Must not know: signatures, time.
"""

from fabgossip.model.artifact import ArtifactType
from fabgossip.trust.admission import Admission
from fabgossip.trust.facts import Line
from fabgossip.trust.rejections import Rejection, RejectionCode


def order(admission: Admission) -> Rejection | None:
    """Below the floor nothing is accepted, at the floor only what stands there. Two revocation
    lists of one order both restrict, so the second passes as well."""
    manifest = admission.manifest
    line = admission.known.line_of(manifest.namespace)
    if admission.asked.result_hash is not None:
        return _link_order(admission, line)
    if manifest.artifact_type is ArtifactType.TRUST_BUNDLE:
        return _bundle_order(admission, line)
    if manifest.artifact_type is ArtifactType.SNAPSHOT_INCREMENT:
        return _increment_order(admission, line)
    if manifest.order < line.floor:
        return admission.refuse(
            RejectionCode.VERSION_ROLLBACK, f"{manifest.order} is below the floor {line.floor}"
        )
    if manifest.order == line.floor:
        if line.manifest_hash is None:
            return None  # what stood there lost its trust: it contradicts nobody any more
        if admission.envelope.manifest_hash == line.manifest_hash:
            if line.is_here:
                return admission.refuse(RejectionCode.ALREADY_CURRENT, f"{manifest.order} is held")
            return None
        if manifest.artifact_type is ArtifactType.REVOCATION_LIST:
            return None
        return admission.refuse(
            RejectionCode.EQUIVOCATION, f"another manifest stands at {manifest.order}"
        )
    if manifest.order <= line.withdrawn:
        return admission.refuse(
            RejectionCode.TOMBSTONED, f"everything up to {line.withdrawn} is withdrawn"
        )
    return None


def _bundle_order(admission: Admission, line: Line) -> Rejection | None:
    """Exactly the next, whatever the floor: a bundle that was found bad once read, or a chain that
    was lost, must not shut out the right one (`tests/attacks/test_succession.py`).
    """
    manifest = admission.manifest
    version, ours = manifest.config_version, admission.facts.bundle.bundle_version
    if version < ours:
        return admission.refuse(
            RejectionCode.VERSION_ROLLBACK, f"bundle {version}, bundle {ours} is in force"
        )
    if version > ours + 1:
        return admission.refuse(RejectionCode.VERSION_GAP, f"bundle {version}, expected {ours + 1}")
    if version == ours and line.content_hash is not None:
        # The same bundle may be issued again with fresh times; another one of its number is a fork.
        if manifest.content_hash != line.content_hash:
            return admission.refuse(RejectionCode.TRUST_FORK, f"another bundle {ours} is in force")
        if manifest.order < line.floor:
            # Its successor is on its way, and nobody must push that out by saying this one again.
            return admission.refuse(RejectionCode.ALREADY_CURRENT, f"bundle {ours} is in force")
        if admission.envelope.manifest_hash == line.manifest_hash and not line.is_here:
            return None  # the pinned one, whose manifest comes for the first time
        if manifest.issued_at <= line.issued_at:
            return admission.refuse(RejectionCode.ALREADY_CURRENT, f"bundle {ours} is in force")
    return None


def _increment_order(admission: Admission, line: Line) -> Rejection | None:
    order = admission.manifest.order
    if order < line.floor:
        return admission.refuse(
            RejectionCode.VERSION_ROLLBACK, f"{order} is below the floor {line.floor}"
        )
    if order > line.floor:
        return admission.refuse(RejectionCode.VERSION_GAP, f"its snapshot {order} is not known yet")
    if order <= line.withdrawn:
        return admission.refuse(
            RejectionCode.TOMBSTONED, f"everything up to {line.withdrawn} is withdrawn"
        )
    if line.has_increment:
        return admission.refuse(RejectionCode.ALREADY_CURRENT, f"an increment to {order} is held")
    return None


def _link_order(admission: Admission, line: Line) -> Rejection | None:
    """Of a chain that was asked for: what leads to the snapshot at the floor, one step after the
    other, may be older than it. Nobody else's history comes this way."""
    manifest = admission.manifest
    if manifest.base is None or manifest.base.result_hash != admission.asked.result_hash:
        return admission.refuse(RejectionCode.BASE_MISMATCH, "no step of the chain asked for")
    if manifest.order > line.floor:
        return admission.refuse(
            RejectionCode.VERSION_GAP, f"its snapshot {manifest.order} is not known yet"
        )
    if manifest.order <= line.withdrawn:
        return admission.refuse(
            RejectionCode.TOMBSTONED, f"everything up to {line.withdrawn} is withdrawn"
        )
    return None


def listing(admission: Admission) -> Rejection | None:
    """Under a covering snapshot only what it lists is current: the newer waits for its listing.

    At the listed order another hash is equivocation, whoever came first."""
    manifest = admission.manifest
    listed = None if manifest.tombstone is not None else admission.known.listed(manifest)
    if listed is None or manifest.artifact_type is ArtifactType.SNAPSHOT_INCREMENT:
        return None
    if manifest.order > listed.order:
        return admission.refuse(RejectionCode.AHEAD, f"{manifest.order} is not listed yet")
    if manifest.order < listed.order:
        return admission.refuse(RejectionCode.VERSION_ROLLBACK, f"{listed.order} is listed")
    if listed.manifest_hash != admission.envelope.manifest_hash:
        return admission.refuse(
            RejectionCode.EQUIVOCATION, f"another manifest is listed at {listed.order}"
        )
    return None
