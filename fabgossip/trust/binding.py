"""Reading a statement and holding its parts together: envelope, payload, namespace, audience and
type must say one thing, and be what was asked for.

Decides: whether the bytes are an artifact of this cluster that contradicts itself nowhere.
Keeps: the payload is decoded by a step of its own, which the order of steps puts behind signatures.
Must not know: keys, versions accepted before, time.
"""

from typing import Final

from fabgossip.errors import WireError
from fabgossip.model.artifact import TRUST_TYPES, TYPE_RULES, ArtifactType
from fabgossip.model.authority import TrustBundle
from fabgossip.model.scope import implies_audience
from fabgossip.trust.admission import Admission
from fabgossip.trust.rejections import Rejection, RejectionCode
from fabgossip.wire.envelopes import parse_envelope
from fabgossip.wire.statements import parse_manifest

_ARTIFACT_KINDS: Final = frozenset(one.value for one in ArtifactType)


def parse(admission: Admission) -> Rejection | None:
    """The bytes are an envelope of an artifact."""
    try:
        admission.parts = admission.verifier.read(parse_envelope, admission.raw)
    except WireError as error:
        return admission.refuse(RejectionCode(error.code), error.detail)
    if admission.parts.kind.value not in _ARTIFACT_KINDS:
        return admission.refuse(
            RejectionCode.TYPE_MISMATCH, f"{admission.parts.kind.value} is no artifact"
        )
    return None


def match_hash(admission: Admission) -> Rejection | None:
    """It is the manifest that was asked for."""
    wanted = admission.asked.manifest_hash
    if wanted is not None and admission.envelope.manifest_hash != wanted:
        return admission.refuse(
            RejectionCode.HASH_MISMATCH, "another manifest than the one asked for"
        )
    return None


def decode(admission: Admission) -> Rejection | None:
    """The payload is a statement; by then enough good signatures stand on it."""
    try:
        admission.statement = admission.verifier.read(parse_manifest, admission.envelope.payload)
    except WireError as error:
        return admission.refuse(RejectionCode(error.code), error.detail)
    return None


def bind_type(admission: Admission) -> Rejection | None:
    """Envelope and statement name one type."""
    if admission.manifest.artifact_type.payload_kind is not admission.envelope.kind:
        return admission.refuse(
            RejectionCode.TYPE_MISMATCH, "the payload type names another artifact type"
        )
    return None


def bind_cluster(admission: Admission) -> Rejection | None:
    """Statement and namespace are of this cluster."""
    manifest, bundle = admission.manifest, admission.facts.bundle
    namespace = manifest.namespace
    if (manifest.cluster_id, namespace.cluster_id, namespace.platform_id) != (
        bundle.cluster_id,
        bundle.cluster_id,
        bundle.platform_id,
    ):
        return admission.refuse(
            RejectionCode.CLUSTER_MISMATCH, "an artifact of another cluster or platform"
        )
    return None


def match_namespace(admission: Admission) -> Rejection | None:
    """It is the namespace that was asked for."""
    asked = admission.asked.namespace
    if asked is not None and admission.manifest.namespace.text != asked:
        return admission.refuse(
            RejectionCode.NAMESPACE_MISMATCH, "another namespace than the one asked for"
        )
    return None


def bind_family(admission: Admission) -> Rejection | None:
    """The type lives under this namespace."""
    manifest = admission.manifest
    if manifest.namespace.family not in TYPE_RULES[manifest.artifact_type].families:
        return admission.refuse(
            RejectionCode.NAMESPACE_MISMATCH, "this type does not live under this namespace"
        )
    return None


def bind_tombstone(admission: Admission) -> Rejection | None:
    """What is withdrawn may be."""
    manifest = admission.manifest
    if manifest.tombstone is not None and manifest.artifact_type in TRUST_TYPES:
        return admission.refuse(
            RejectionCode.NAMESPACE_MISMATCH, "trust is replaced, never withdrawn"
        )
    return None


def bind_audience(admission: Admission) -> Rejection | None:
    """The audience names every scope that the namespace names."""
    manifest = admission.manifest
    if not implies_audience(manifest.namespace, manifest.audience):
        return admission.refuse(
            RejectionCode.NAMESPACE_MISMATCH, "namespace and scope ids disagree"
        )
    return None


def bind_size(admission: Admission) -> Rejection | None:
    """The content, and what an increment makes, is no larger than the cluster lets it be."""
    manifest = admission.manifest
    size_max = size_max_of(admission.facts.bundle, manifest.artifact_type)
    if manifest.content_size > size_max or (
        manifest.base is not None and manifest.base.result_size > size_max
    ):
        return admission.refuse(
            RejectionCode.SIZE_OVER_CAP, f"{manifest.content_size} bytes, at most {size_max}"
        )
    return None


def size_max_of(bundle: TrustBundle, artifact_type: ArtifactType) -> int:
    """Most bytes a content of this type may have in this cluster."""
    own = (cap.size_max for cap in bundle.content_caps if cap.artifact_type is artifact_type)
    return next(own, TYPE_RULES[artifact_type].size_max)
