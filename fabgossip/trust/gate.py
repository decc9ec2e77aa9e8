"""The one door between bytes and belief: `admit` turns an envelope into a verified manifest or says
why not.

Decides: whether an envelope states, with enough signatures under a right traced to the pinned root,
something this node may hold, in order and in time.
Keeps: signatures before decoding; the first refusal wins; nothing is stored by the gate and bad
input raises nothing.
Must not know: where bytes came from beyond `Asked`, how the node stores or passes on what was
admitted.

The steps run in the order of the tuple `STEPS`; each is a function of the admission so far, and
lives with its idea: `binding`, `signers`, `ordering`, `validity`. A hash heard from a peer carries
no authority anywhere.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeAlias

from fabgossip.errors import WireError
from fabgossip.model.artifact import ArtifactType, Manifest, VerifiedManifest
from fabgossip.model.authority import FetchGrant, RevocationList, TrustBundle
from fabgossip.model.moment import UnixTime
from fabgossip.model.topology import PeerDirectory, Snapshot, StorageDirectory
from fabgossip.trust.admission import Admission, Step
from fabgossip.trust.binding import (
    bind_audience,
    bind_cluster,
    bind_family,
    bind_size,
    bind_tombstone,
    bind_type,
    decode,
    match_hash,
    match_namespace,
    parse,
)
from fabgossip.trust.bundle import describes, meets_roots, succession_fault
from fabgossip.trust.facts import (
    ANYTHING,
    NOTHING_KNOWN,
    Asked,
    Known,
    Line,
    Listed,
    TrustFacts,
)
from fabgossip.trust.grants import not_named, widened
from fabgossip.trust.ordering import listing, order
from fabgossip.trust.rejections import Rejection, RejectionCode
from fabgossip.trust.signatures import Verifier
from fabgossip.trust.signers import count_candidates, find_right, verify
from fabgossip.trust.snapshots import snapshot_fault
from fabgossip.trust.validity import (
    epoch,
    expired,
    future,
    hold,
    minimums,
    not_revoked,
    trust_expired,
)
from fabgossip.wire.contents import (
    parse_bundle,
    parse_peer_directory,
    parse_revocations,
    parse_snapshot,
    parse_storage_directory,
)
from fabgossip.wire.envelopes import envelope_bytes, parse_envelope

__all__ = [
    "ANYTHING",
    "NOTHING_KNOWN",
    "Asked",
    "Known",
    "Line",
    "Listed",
    "ReadContent",
    "TrustFacts",
    "TrustGate",
]
"""The gate, and the words of its questions."""

ReadContent: TypeAlias = TrustBundle | RevocationList | PeerDirectory | StorageDirectory | Snapshot
"""What fabgossip itself reads out of a content."""
_CARRIES_STATEMENT: Final = frozenset(
    {
        RejectionCode.ALREADY_CURRENT,
        RejectionCode.EQUIVOCATION,
        RejectionCode.TRUST_FORK,
        RejectionCode.EPOCH_STALE,
        RejectionCode.AUDIENCE_NOT_OURS,
        RejectionCode.EXPIRED,
    }
)
"""Refusals of what is signed as it should be: the statement itself is of use."""
STEPS: Final[tuple[Step, ...]] = (
    parse,
    match_hash,
    count_candidates,
    verify,
    decode,
    bind_type,
    bind_cluster,
    match_namespace,
    bind_family,
    bind_tombstone,
    bind_audience,
    bind_size,
    find_right,
    hold,
    epoch,
    not_revoked,
    minimums,
    order,
    listing,
    future,
    expired,
    trust_expired,
)
"""The validation order."""
RECALL_STEPS: Final[tuple[Step, ...]] = (
    parse,
    count_candidates,
    verify,
    decode,
    bind_type,
    bind_cluster,
    bind_family,
    bind_tombstone,
    bind_audience,
    bind_size,
    find_right,
    hold,
    epoch,
    not_revoked,
    expired,
)
"""What is judged again for a manifest of our own index. A bundle past its expiry lets nothing new
in, and takes nothing away: what was accepted under it ends by its own time."""
INSPECT_STEPS: Final = (*(step for step in RECALL_STEPS if step is not hold), trust_expired)
"""What is judged of a file by whoever has it."""
GRANTED_STEPS: Final = tuple(
    step for step in STEPS if step not in (match_hash, match_namespace, order, listing)
)
"""What is judged of a manifest whose content a grant lets this node fetch."""
_READERS: Final[dict[ArtifactType, Callable[[bytes], ReadContent]]] = {
    ArtifactType.TRUST_BUNDLE: parse_bundle,
    ArtifactType.REVOCATION_LIST: parse_revocations,
    ArtifactType.CLUSTER_SNAPSHOT: parse_snapshot,
    ArtifactType.PEER_DIRECTORY: parse_peer_directory,
    ArtifactType.STORAGE_DIRECTORY: parse_storage_directory,
}


class TrustGate:
    """Admits envelopes; holds nothing but the verifier."""

    __slots__ = ("_verifier",)

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    def admit(
        self,
        raw: bytes,
        asked: Asked,
        facts: TrustFacts,
        known: Known,
        now: UnixTime,
    ) -> VerifiedManifest | Rejection:
        """The manifest these bytes state, or why it is not believed. Cost: one verification per new
        signature.
        """
        admission = Admission(raw, asked, facts, self._verifier, now, known)
        return _refusal(admission, STEPS) or _verified(admission)

    def admit_granted(
        self, raw: bytes, grant: FetchGrant, facts: TrustFacts, now: UnixTime
    ) -> VerifiedManifest | Rejection:
        """The manifest these bytes state, if it is believed like any other and it is what the grant
        lets this node fetch.

        Order is not judged: it becomes the head of nothing, and moves no floor.
        """
        lent = replace(facts, own=widened(facts.own, grant))
        admission = Admission(raw, ANYTHING, lent, self._verifier, now, NOTHING_KNOWN)
        refused = _refusal(admission, GRANTED_STEPS)
        if refused is not None:
            return refused
        fault = not_named(grant, admission.manifest, admission.envelope.manifest_hash)
        if fault is not None:
            return admission.refuse(RejectionCode.GRANT_INVALID, fault)
        return _verified(admission)

    def recall(self, raw: bytes, facts: TrustFacts, now: UnixTime) -> VerifiedManifest | Rejection:
        """A manifest of our own index, admitted once and stored with its floor: judged again under
        today's facts.

        Order is not judged (it is the floor), and time only by expiry. Signatures are: one poisoned
        row must not outlive a restart.
        """
        return self._judge(raw, facts, now, RECALL_STEPS)

    def inspect(self, raw: bytes, facts: TrustFacts, now: UnixTime) -> VerifiedManifest | Rejection:
        """Whether a statement is signed as it should be and in time, whoever may hold it and
        whatever came before. It counts as held: a retired key vouches for what it signed in its
        window."""
        return self._judge(raw, facts, now, INSPECT_STEPS)

    def inspect_new(
        self, raw: bytes, facts: TrustFacts, now: UnixTime
    ) -> VerifiedManifest | Rejection:
        """The same of what is first seen now: a retired key vouches for a day more."""
        admission = Admission(raw, ANYTHING, facts, self._verifier, now, NOTHING_KNOWN)
        return _refusal(admission, INSPECT_STEPS) or _verified(admission)

    def _judge(
        self, raw: bytes, facts: TrustFacts, now: UnixTime, steps: tuple[Step, ...]
    ) -> VerifiedManifest | Rejection:
        admission = Admission(
            raw, ANYTHING, facts, self._verifier, now, NOTHING_KNOWN, is_held=True
        )
        return _refusal(admission, steps) or _verified(admission)

    def read(
        self, verified: VerifiedManifest, content: bytes, facts: TrustFacts
    ) -> ReadContent | Rejection:
        """What a content says, once its hash matched: CONTENT_INVALID or BUNDLE_INVALID blame the
        signer.
        """
        manifest = verified.manifest
        try:
            value = self._verifier.read(_READERS[manifest.artifact_type], content)
        except WireError as error:
            return self._content_refused(RejectionCode.CONTENT_INVALID, manifest, str(error))
        match value:
            case TrustBundle():
                fault = self._bundle_fault(verified, value, facts)
                if fault is not None:
                    return self._content_refused(RejectionCode.BUNDLE_INVALID, manifest, fault)
            case PeerDirectory() | StorageDirectory():
                if value.scope != manifest.namespace.scope:
                    return self._content_refused(
                        RejectionCode.CONTENT_INVALID, manifest, "it speaks of another scope"
                    )
            case Snapshot():
                fault = snapshot_fault(manifest, value)
                if fault is not None:
                    return self._content_refused(RejectionCode.CONTENT_INVALID, manifest, fault)
            case RevocationList():
                pass
        return value

    def _bundle_fault(
        self, verified: VerifiedManifest, bundle: TrustBundle, facts: TrustFacts
    ) -> str | None:
        if not describes(verified.manifest, bundle):
            return "manifest and content speak of different bundles"
        if bundle == facts.bundle:
            return None
        fault = succession_fault(facts.bundle, bundle)
        if fault is not None:
            return fault
        if not meets_roots(
            bundle, parse_envelope(verified.envelope), verified.manifest, self._verifier
        ):
            return "not signed by the threshold of its own roots"
        return None

    @staticmethod
    def joined(held: VerifiedManifest, other: VerifiedManifest) -> VerifiedManifest:
        """One statement with the signatures that counted on either of its envelopes: whoever passes
        on fewer than there are decides nothing."""
        assert held.manifest_hash == other.manifest_hash
        parts = parse_envelope(held.envelope)
        more = set(other.signed_by) - set(held.signed_by)
        added = [one for one in parse_envelope(other.envelope).signatures if one.key_id in more]
        kept = [one for one in parts.signatures if one.key_id not in more]
        counted = {*held.signed_by, *other.signed_by}
        # What counts on neither makes room first.
        kept.sort(key=lambda one: one.key_id not in counted)
        signatures = sorted(
            [*added, *kept][: parts.kind.signatures_max], key=lambda one: one.key_id
        )
        return replace(
            held,
            envelope=envelope_bytes(parts.kind, parts.payload, tuple(signatures)),
            signed_by=tuple(sorted(counted)),
        )

    @staticmethod
    def _content_refused(code: RejectionCode, manifest: Manifest, detail: str) -> Rejection:
        return Rejection(
            code=code, detail=detail, namespace=manifest.namespace.text, was_signed=True
        )


def _refusal(admission: Admission, steps: tuple[Step, ...]) -> Rejection | None:
    """Of the first step that refuses, with the statement where that is of use."""
    for step in steps:
        refused = step(admission)
        if refused is not None:
            carries = refused.code in _CARRIES_STATEMENT
            return replace(refused, verified=_verified(admission)) if carries else refused
    return None


def _verified(admission: Admission) -> VerifiedManifest:
    right = admission.right
    threshold = admission.facts.bundle.root_threshold if right is None else right.threshold
    return VerifiedManifest(
        manifest=admission.manifest,
        manifest_hash=admission.envelope.manifest_hash,
        envelope=admission.raw,
        signed_by=admission.counted,
        threshold=threshold,
    )
