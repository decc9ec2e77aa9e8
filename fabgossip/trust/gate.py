"""The one door between bytes and belief: `admit` turns an envelope into a verified manifest or says
why not.

Decides: whether an envelope states, with enough signatures under a right traced to the pinned root,
something this node may hold, in order and in time.
Keeps: signatures before decoding; the first refusal wins; nothing is stored by the gate and bad
input raises nothing.
Must not know: where bytes came from beyond `Asked`, how the node stores or passes on what was
admitted.

The steps run in the order of the tuple `STEPS`; each is a function of the admission so far. A hash
heard from a peer carries no authority anywhere.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, TypeAlias

from fabgossip.errors import WireError
from fabgossip.model.artifact import (
    NO_ORDER,
    TRUST_TYPES,
    TYPE_RULES,
    ArtifactType,
    Manifest,
    Order,
    VerifiedManifest,
)
from fabgossip.model.authority import FetchGrant, KeyStatus, RevocationList, Right, TrustBundle
from fabgossip.model.envelope import Envelope, PayloadKind
from fabgossip.model.ids import ContentHash, KeyId, ManifestHash, NodeId, key_id_of
from fabgossip.model.mode import Freshness
from fabgossip.model.moment import NEVER, UnixTime, is_past
from fabgossip.model.scope import Entitlements, Namespace, implies_audience, may_hold
from fabgossip.model.topology import PeerDirectory, Snapshot, StorageDirectory
from fabgossip.trust.bundle import counts, describes, meets_roots, right_for, succession_fault
from fabgossip.trust.grants import not_named, widened
from fabgossip.trust.identity import CLOCK_TOLERANCE_S
from fabgossip.trust.rejections import Rejection, RejectionCode
from fabgossip.trust.revocation import Revoked
from fabgossip.trust.signatures import Verifier, signed_bytes
from fabgossip.trust.snapshots import snapshot_fault
from fabgossip.wire.contents import (
    parse_bundle,
    parse_peer_directory,
    parse_revocations,
    parse_snapshot,
    parse_storage_directory,
)
from fabgossip.wire.envelopes import envelope_bytes, parse_envelope
from fabgossip.wire.statements import parse_manifest

ReadContent: TypeAlias = TrustBundle | RevocationList | PeerDirectory | StorageDirectory | Snapshot
"""What fabgossip itself reads out of a content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustFacts:
    """What a node believes at one moment; replaced whole when anything of it changes."""

    bundle: TrustBundle
    revoked: Revoked
    own: Entitlements
    own_node_id: NodeId
    bundle_expires_at: UnixTime
    freshness: Freshness
    revocations_expires_at: UnixTime | None = None
    """None: no list of this epoch was ever accepted."""
    previous: TrustBundle | None = None
    """The bundle before the one in force: its roots can have signed another successor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What a node knows of one namespace's line of versions."""

    floor: Order
    manifest_hash: ManifestHash | None
    """The manifest accepted, or listed, at the floor."""
    withdrawn: Order
    """Every order up to here is withdrawn by a tombstone."""
    is_here: bool = True
    """Whether the manifest at the floor is held; else it may come again, or for the first time."""
    has_increment: bool = False
    """Whether an increment at the floor is held already."""
    content_hash: ContentHash | None = None
    """Of the manifest accepted at the floor, and when that was issued."""
    issued_at: UnixTime = NEVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What a covering snapshot says of a namespace; `NO_ORDER` where it lists nothing."""

    order: Order
    manifest_hash: ManifestHash | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What we asked for, so that an answer to another question is refused; None where anything may
    come.
    """

    manifest_hash: ManifestHash | None = None
    namespace: str | None = None


ANYTHING: Final = Asked()


class Known(Protocol):
    """What the gate asks about what was accepted before."""

    def line_of(self, namespace: Namespace) -> Line:
        """The line of versions of a namespace."""
        ...

    def listed(self, manifest: Manifest) -> Listed | None:
        """What the covering snapshot says of the manifest's namespace, None if none covers it."""
        ...


@dataclass(slots=True)
class _Admission:
    """What is known so far about one envelope; steps fill it from top to bottom."""

    raw: bytes
    asked: Asked
    facts: TrustFacts
    verifier: Verifier
    now: UnixTime
    known: "Known"
    is_held: bool = False
    """Whether this is of our own index: it was first seen in time."""
    parts: Envelope | None = None
    good: tuple[KeyId, ...] = ()
    statement: Manifest | None = None
    right: Right | None = None
    counted: tuple[KeyId, ...] = field(default=())

    @property
    def envelope(self) -> Envelope:
        """Set by step `_parse`."""
        assert self.parts is not None
        return self.parts

    @property
    def manifest(self) -> Manifest:
        """Set by step `_decode`."""
        assert self.statement is not None
        return self.statement

    def refuse(self, code: RejectionCode, detail: str) -> Rejection:
        """The refusal, with what is known of its subject."""
        namespace = None if self.statement is None else self.statement.namespace.text
        manifest_hash = None if self.parts is None else self.parts.manifest_hash
        return Rejection(
            code=code,
            detail=detail,
            namespace=namespace,
            manifest_hash=manifest_hash,
            was_signed=bool(self.good),
            signed_by=self.counted,
            verified=_verified(self) if code in _CARRIES_STATEMENT else None,
        )


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
_Step: TypeAlias = Callable[[_Admission], Rejection | None]
_Code = RejectionCode


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
        admission = _Admission(raw, asked, facts, self._verifier, now, known)
        for step in STEPS:
            refused = step(admission)
            if refused is not None:
                return refused
        return _verified(admission)

    def admit_granted(
        self, raw: bytes, grant: FetchGrant, facts: TrustFacts, now: UnixTime
    ) -> VerifiedManifest | Rejection:
        """The manifest these bytes state, if it is believed like any other and it is what the grant
        lets this node fetch.

        Order is not judged: it becomes the head of nothing, and moves no floor.
        """
        lent = replace(facts, own=widened(facts.own, grant))
        admission = _Admission(raw, ANYTHING, lent, self._verifier, now, NOTHING_KNOWN)
        for step in GRANTED_STEPS:
            refused = step(admission)
            if refused is not None:
                return refused
        fault = not_named(grant, admission.manifest, admission.envelope.manifest_hash)
        if fault is not None:
            return admission.refuse(_Code.GRANT_INVALID, fault)
        return _verified(admission)

    def recall(self, raw: bytes, facts: TrustFacts, now: UnixTime) -> VerifiedManifest | Rejection:
        """A manifest of our own index, admitted once and stored with its floor: judged again under
        today's facts.

        Order is not judged (it is the floor), and time only by expiry. Signatures are: one poisoned
        row must not outlive a restart.
        """
        return self._judge(raw, facts, now, RECALL_STEPS)

    def _judge(
        self, raw: bytes, facts: TrustFacts, now: UnixTime, steps: tuple[_Step, ...]
    ) -> VerifiedManifest | Rejection:
        admission = _Admission(
            raw, ANYTHING, facts, self._verifier, now, NOTHING_KNOWN, is_held=True
        )
        for step in steps:
            refused = step(admission)
            if refused is not None:
                return refused
        return _verified(admission)

    def inspect(self, raw: bytes, facts: TrustFacts, now: UnixTime) -> VerifiedManifest | Rejection:
        """Whether a statement is signed as it should be and in time, whoever may hold it and
        whatever came before."""
        return self._judge(raw, facts, now, INSPECT_STEPS)

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
            return self._content_refused(_Code.CONTENT_INVALID, manifest, str(error))
        match value:
            case TrustBundle():
                fault = self._bundle_fault(verified, value, facts)
                if fault is not None:
                    return self._content_refused(_Code.BUNDLE_INVALID, manifest, fault)
            case PeerDirectory() | StorageDirectory():
                if value.scope != manifest.namespace.scope:
                    return self._content_refused(
                        _Code.CONTENT_INVALID, manifest, "it speaks of another scope"
                    )
            case Snapshot():
                fault = snapshot_fault(manifest, value)
                if fault is not None:
                    return self._content_refused(_Code.CONTENT_INVALID, manifest, fault)
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


class _Nothing:
    """Nothing was accepted before."""

    def line_of(self, _: Namespace, /) -> Line:
        return Line(floor=NO_ORDER, manifest_hash=None, withdrawn=NO_ORDER)

    def listed(self, _: Manifest, /) -> Listed | None:
        return None


NOTHING_KNOWN: Final[Known] = _Nothing()


def _verified(admission: _Admission) -> VerifiedManifest:
    right = admission.right
    threshold = admission.facts.bundle.root_threshold if right is None else right.threshold
    return VerifiedManifest(
        manifest=admission.manifest,
        manifest_hash=admission.envelope.manifest_hash,
        envelope=admission.raw,
        signed_by=admission.counted,
        threshold=threshold,
    )


def _parse(admission: _Admission) -> Rejection | None:
    try:
        admission.parts = admission.verifier.read(parse_envelope, admission.raw)
    except WireError as error:
        return admission.refuse(_Code(error.code), error.detail)
    if admission.parts.kind.value not in _ARTIFACT_KINDS:
        return admission.refuse(_Code.TYPE_MISMATCH, f"{admission.parts.kind.value} is no artifact")
    return None


def _match_hash(admission: _Admission) -> Rejection | None:
    wanted = admission.asked.manifest_hash
    if wanted is not None and admission.envelope.manifest_hash != wanted:
        return admission.refuse(_Code.HASH_MISMATCH, "another manifest than the one asked for")
    return None


def _candidates(admission: _Admission) -> dict[KeyId, bytes]:
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


def _count_candidates(admission: _Admission) -> Rejection | None:
    """Too few keys that may speak about this kind cost no cryptography."""
    kind = admission.envelope.kind
    needed = _threshold_min(admission.facts, kind.value)
    if needed is None:
        return admission.refuse(_Code.KEY_NOT_FOR_TYPE, f"nobody has a right on {kind.value}")
    found = len(_candidates(admission))
    return _too_few(admission, found) if found < needed else None


def _verify(admission: _Admission) -> Rejection | None:
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
            return admission.refuse(_Code.KEY_UNKNOWN, "signed by a key not in the trust bundle")
        return admission.refuse(_Code.SIG_INVALID, f"{good} good signatures, {needed} needed")
    return None


def _signers(admission: _Admission) -> set[KeyId]:
    return {signature.key_id for signature in admission.envelope.signatures}


def _known_keys(facts: TrustFacts) -> set[KeyId]:
    bundle = facts.bundle
    return {key.key_id for key in bundle.keys} | {key_id_of(root) for root in bundle.root_keys}


def _too_few(admission: _Admission, found: int) -> Rejection:
    present = _signers(admission)
    bundle = admission.facts.bundle
    gone = {key.key_id for key in bundle.keys if key.status is KeyStatus.REVOKED}
    if present & gone or any(admission.facts.revoked.has_key(key_id) for key_id in present):
        return admission.refuse(_Code.KEY_REVOKED, "signed by a revoked key")
    if not present & _known_keys(admission.facts):
        return admission.refuse(_Code.KEY_UNKNOWN, "no key of the trust bundle signed this")
    if found == 0:
        return admission.refuse(_Code.KEY_NOT_FOR_TYPE, "its keys have no right on this type")
    return admission.refuse(
        _Code.SIG_THRESHOLD, f"{found} keys with a right on this type, more are needed"
    )


def _decode(admission: _Admission) -> Rejection | None:
    try:
        admission.statement = admission.verifier.read(parse_manifest, admission.envelope.payload)
    except WireError as error:
        return admission.refuse(_Code(error.code), error.detail)
    return None


def _bind_type(admission: _Admission) -> Rejection | None:
    if admission.manifest.artifact_type.payload_kind is not admission.envelope.kind:
        return admission.refuse(_Code.TYPE_MISMATCH, "the payload type names another artifact type")
    return None


def _bind_cluster(admission: _Admission) -> Rejection | None:
    manifest, bundle = admission.manifest, admission.facts.bundle
    namespace = manifest.namespace
    if (manifest.cluster_id, namespace.cluster_id, namespace.platform_id) != (
        bundle.cluster_id,
        bundle.cluster_id,
        bundle.platform_id,
    ):
        return admission.refuse(
            _Code.CLUSTER_MISMATCH, "an artifact of another cluster or platform"
        )
    return None


def _match_namespace(admission: _Admission) -> Rejection | None:
    asked = admission.asked.namespace
    if asked is not None and admission.manifest.namespace.text != asked:
        return admission.refuse(
            _Code.NAMESPACE_MISMATCH, "another namespace than the one asked for"
        )
    return None


def _bind_family(admission: _Admission) -> Rejection | None:
    manifest = admission.manifest
    if manifest.namespace.family not in TYPE_RULES[manifest.artifact_type].families:
        return admission.refuse(
            _Code.NAMESPACE_MISMATCH, "this type does not live under this namespace"
        )
    return None


def _bind_tombstone(admission: _Admission) -> Rejection | None:
    manifest = admission.manifest
    if manifest.tombstone is not None and manifest.artifact_type in TRUST_TYPES:
        return admission.refuse(_Code.NAMESPACE_MISMATCH, "trust is replaced, never withdrawn")
    return None


def _bind_audience(admission: _Admission) -> Rejection | None:
    manifest = admission.manifest
    if not implies_audience(manifest.namespace, manifest.audience):
        return admission.refuse(_Code.NAMESPACE_MISMATCH, "namespace and scope ids disagree")
    return None


def size_max_of(bundle: TrustBundle, artifact_type: ArtifactType) -> int:
    """Most bytes a content of this type may have in this cluster."""
    own = (cap.size_max for cap in bundle.content_caps if cap.artifact_type is artifact_type)
    return next(own, TYPE_RULES[artifact_type].size_max)


def _bind_size(admission: _Admission) -> Rejection | None:
    manifest = admission.manifest
    size_max = size_max_of(admission.facts.bundle, manifest.artifact_type)
    if manifest.content_size > size_max or (
        manifest.base is not None and manifest.base.result_size > size_max
    ):
        return admission.refuse(
            _Code.SIZE_OVER_CAP, f"{manifest.content_size} bytes, at most {size_max}"
        )
    return None


def _find_right(admission: _Admission) -> Rejection | None:
    """Good, named and entitled keys, each within its window, must reach the threshold of the one
    right.
    """
    manifest, bundle = admission.manifest, admission.facts.bundle
    named = set(manifest.signer_key_ids)
    if manifest.artifact_type is ArtifactType.TRUST_BUNDLE:
        return _find_roots(admission, named)
    right = right_for(bundle, manifest.artifact_type.value, manifest.namespace.text)
    if right is None:
        return admission.refuse(_Code.KEY_NOT_FOR_NAMESPACE, "nobody has a right on this namespace")
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
            _Code.KEY_RETIRED, "issued, or first seen, outside the time its keys may sign in"
        )
    if not entitled:
        return admission.refuse(
            _Code.KEY_NOT_FOR_NAMESPACE, "its keys have no right on this namespace"
        )
    return admission.refuse(
        _Code.SIG_THRESHOLD, f"{len(entitled)} of {right.threshold} entitled keys signed"
    )


def _find_roots(admission: _Admission, named: set[KeyId]) -> Rejection | None:
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
    return admission.refuse(_Code.SIG_THRESHOLD, "not signed by enough roots it names")


def _hold(admission: _Admission) -> Rejection | None:
    """The trust lane is every node's, whatever became of its claims: it is the way to new ones."""
    manifest = admission.manifest
    held, own_id = admission.facts.own, admission.facts.own_node_id
    if manifest.artifact_type in TRUST_TYPES or manifest.namespace.node_id == own_id:
        return None
    if not may_hold(manifest.audience, manifest.artifact_type.value, manifest.namespace.text, held):
        return admission.refuse(_Code.AUDIENCE_NOT_OURS, "this node may not know of it")
    return None


def _epoch(admission: _Admission) -> Rejection | None:
    """A trust bundle may open the next epoch: `succession_fault` judges that once its content is
    read.
    """
    manifest, facts = admission.manifest, admission.facts
    epoch, ours = manifest.authority_epoch, facts.bundle.authority_epoch
    is_bundle = manifest.artifact_type is ArtifactType.TRUST_BUNDLE
    if is_bundle and manifest.config_version == facts.bundle.bundle_version:
        return None  # whatever its epoch, it is this bundle again or a fork: the order says which
    if epoch < ours:
        return admission.refuse(_Code.EPOCH_STALE, f"epoch {epoch}, the bundle says {ours}")
    if epoch > (ours + 1 if is_bundle else ours):
        return admission.refuse(_Code.EPOCH_UNKNOWN, f"epoch {epoch}, the bundle says {ours}")
    return None


def _not_revoked(admission: _Admission) -> Rejection | None:
    """A list takes nothing from trust itself: a stolen revocation key could otherwise block the
    next bundle, or take back at a restart the one in force (`tests/trust/test_gate.py`).
    """
    manifest = admission.manifest
    is_trust = manifest.artifact_type in TRUST_TYPES
    revoked = admission.facts.revoked
    if not is_trust and revoked.has_artifact(
        admission.envelope.manifest_hash, manifest.content_hash
    ):
        return admission.refuse(_Code.ARTIFACT_REVOKED, "revoked")
    return None


def _minimums(admission: _Admission) -> Rejection | None:
    manifest, facts = admission.manifest, admission.facts
    if manifest.min_trust_version > facts.bundle.bundle_version:
        return admission.refuse(
            _Code.TRUST_TOO_OLD, f"needs trust bundle {manifest.min_trust_version}"
        )
    if manifest.min_revocation_version > facts.revoked.version:
        return admission.refuse(
            _Code.REVOCATION_TOO_OLD, f"needs revocation list {manifest.min_revocation_version}"
        )
    return None


def _order(admission: _Admission) -> Rejection | None:
    """Below the floor nothing is accepted, at the floor only what stands there. Two revocation
    lists of one order both restrict, so the second passes as well."""
    manifest = admission.manifest
    line = admission.known.line_of(manifest.namespace)
    if manifest.artifact_type is ArtifactType.TRUST_BUNDLE:
        return _bundle_order(admission, line)
    if manifest.artifact_type is ArtifactType.SNAPSHOT_INCREMENT:
        return _increment_order(admission, line)
    if manifest.order < line.floor:
        return admission.refuse(
            _Code.VERSION_ROLLBACK, f"{manifest.order} is below the floor {line.floor}"
        )
    if manifest.order == line.floor:
        if line.manifest_hash is None:
            return None  # what stood there lost its trust: it contradicts nobody any more
        if admission.envelope.manifest_hash == line.manifest_hash:
            if line.is_here:
                return admission.refuse(_Code.ALREADY_CURRENT, f"{manifest.order} is held")
            return None
        if manifest.artifact_type is ArtifactType.REVOCATION_LIST:
            return None
        return admission.refuse(_Code.EQUIVOCATION, f"another manifest stands at {manifest.order}")
    if manifest.order <= line.withdrawn:
        return admission.refuse(_Code.TOMBSTONED, f"everything up to {line.withdrawn} is withdrawn")
    return None


def _bundle_order(admission: _Admission, line: Line) -> Rejection | None:
    """Exactly the next, whatever the floor: a bundle that was found bad once read, or a chain that
    was lost, must not shut out the right one (`tests/attacks/test_succession.py`).
    """
    manifest = admission.manifest
    version, ours = manifest.config_version, admission.facts.bundle.bundle_version
    if version < ours:
        return admission.refuse(
            _Code.VERSION_ROLLBACK, f"bundle {version}, bundle {ours} is in force"
        )
    if version > ours + 1:
        return admission.refuse(_Code.VERSION_GAP, f"bundle {version}, expected {ours + 1}")
    if version == ours and line.content_hash is not None:
        # The same bundle may be issued again with fresh times; another one of its number is a fork.
        if manifest.content_hash != line.content_hash:
            return admission.refuse(_Code.TRUST_FORK, f"another bundle {ours} is in force")
        if manifest.order < line.floor:
            # Its successor is on its way, and nobody must push that out by saying this one again.
            return admission.refuse(_Code.ALREADY_CURRENT, f"bundle {ours} is in force")
        if admission.envelope.manifest_hash == line.manifest_hash and not line.is_here:
            return None  # the pinned one, whose manifest comes for the first time
        if manifest.issued_at <= line.issued_at:
            return admission.refuse(_Code.ALREADY_CURRENT, f"bundle {ours} is in force")
    return None


def _listing(admission: _Admission) -> Rejection | None:
    """Under a covering snapshot only what it lists is current: the newer waits for its listing.

    At the listed order another hash is equivocation, whoever came first."""
    manifest = admission.manifest
    listed = None if manifest.tombstone is not None else admission.known.listed(manifest)
    if listed is None or manifest.artifact_type is ArtifactType.SNAPSHOT_INCREMENT:
        return None
    if manifest.order > listed.order:
        return admission.refuse(_Code.AHEAD, f"{manifest.order} is not listed yet")
    if manifest.order < listed.order:
        return admission.refuse(_Code.VERSION_ROLLBACK, f"{listed.order} is listed")
    if listed.manifest_hash != admission.envelope.manifest_hash:
        return admission.refuse(_Code.EQUIVOCATION, f"another manifest is listed at {listed.order}")
    return None


def _increment_order(admission: _Admission, line: Line) -> Rejection | None:
    order = admission.manifest.order
    if order < line.floor:
        return admission.refuse(_Code.VERSION_ROLLBACK, f"{order} is below the floor {line.floor}")
    if order > line.floor:
        return admission.refuse(_Code.VERSION_GAP, f"its snapshot {order} is not known yet")
    if order <= line.withdrawn:
        return admission.refuse(_Code.TOMBSTONED, f"everything up to {line.withdrawn} is withdrawn")
    if line.has_increment:
        return admission.refuse(_Code.ALREADY_CURRENT, f"an increment to {order} is held")
    return None


def _restricts(manifest: Manifest) -> bool:
    """Restriction passes at any time: it only takes away."""
    return manifest.artifact_type in TRUST_TYPES or manifest.tombstone is not None


def _future(admission: _Admission) -> Rejection | None:
    manifest, now = admission.manifest, admission.now
    if manifest.issued_at > now + CLOCK_TOLERANCE_S and not _restricts(manifest):
        return admission.refuse(
            _Code.FUTURE_ISSUED, f"issued {manifest.issued_at - now} s ahead of our clock"
        )
    return None


def _expired(admission: _Admission) -> Rejection | None:
    """Past `refresh_by` is accepted as stale, past `expires_at` not at all."""
    manifest, now = admission.manifest, admission.now
    if is_past(manifest.expires_at, now) and not _restricts(manifest):
        return admission.refuse(_Code.EXPIRED, f"expired {now - manifest.expires_at} s ago")
    return None


def _trust_expired(admission: _Admission) -> Rejection | None:
    expires_at = admission.facts.bundle_expires_at
    if is_past(expires_at, admission.now) and not _restricts(admission.manifest):
        return admission.refuse(_Code.TRUST_EXPIRED, "the trust bundle in force has expired")
    return None


_ARTIFACT_KINDS: Final = frozenset(one.value for one in ArtifactType)

STEPS: Final[tuple[_Step, ...]] = (
    _parse,
    _match_hash,
    _count_candidates,
    _verify,
    _decode,
    _bind_type,
    _bind_cluster,
    _match_namespace,
    _bind_family,
    _bind_tombstone,
    _bind_audience,
    _bind_size,
    _find_right,
    _hold,
    _epoch,
    _not_revoked,
    _minimums,
    _order,
    _listing,
    _future,
    _expired,
    _trust_expired,
)
"""The validation order."""

RECALL_STEPS: Final[tuple[_Step, ...]] = (
    _parse,
    _count_candidates,
    _verify,
    _decode,
    _bind_type,
    _bind_cluster,
    _bind_family,
    _bind_tombstone,
    _bind_audience,
    _bind_size,
    _find_right,
    _hold,
    _epoch,
    _not_revoked,
    _expired,
)
"""What is judged again for a manifest of our own index. A bundle past its expiry lets nothing new
in, and takes nothing away: what was accepted under it ends by its own time."""

INSPECT_STEPS: Final = (*(step for step in RECALL_STEPS if step is not _hold), _trust_expired)
"""What is judged of a file by whoever has it."""

GRANTED_STEPS: Final = tuple(
    step for step in STEPS if step not in (_match_hash, _match_namespace, _order, _listing)
)
"""What is judged of a manifest whose content a grant lets this node fetch."""

_READERS: Final[dict[ArtifactType, Callable[[bytes], ReadContent]]] = {
    ArtifactType.TRUST_BUNDLE: parse_bundle,
    ArtifactType.REVOCATION_LIST: parse_revocations,
    ArtifactType.CLUSTER_SNAPSHOT: parse_snapshot,
    ArtifactType.PEER_DIRECTORY: parse_peer_directory,
    ArtifactType.STORAGE_DIRECTORY: parse_storage_directory,
}
