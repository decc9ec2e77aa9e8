"""Who stands at the other end: leaf certificates and signed claims.

Decides: whether a certificate is a node identity of this cluster; what a node is entitled to by its
signed claims and the openings it showed.
Keeps: one SPIFFE URI in one exact form; a claim item counts only when its opening fits a signed
commitment.
Must not know: how a connection is made, what was decided about earlier ones.

Our own leaf rules stand beside the TLS library's, which accepts two URIs, missing usages and
percent-encoded paths.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from fabgossip.errors import ModelError, WireError
from fabgossip.model.authority import (
    NODE_CAS_MAX,
    KeyStatus,
    NodeClaims,
    NodeIdentity,
    Opening,
    Right,
    SigningKey,
    TrustBundle,
    VerifiedClaims,
)
from fabgossip.model.envelope import Envelope, PayloadKind
from fabgossip.model.ids import ClusterId, KeyId, NodeId, PlatformId, parse_node_id
from fabgossip.model.moment import Now, UnixTime, is_past
from fabgossip.model.scope import Entitlements, ScopeId, ScopeKind, StorageAssignment, scope_id
from fabgossip.trust.bundle import counts, is_active, right_for
from fabgossip.trust.minimums import lacking
from fabgossip.trust.rejections import Rejection, RejectionCode
from fabgossip.trust.revocation import Revoked
from fabgossip.trust.signatures import Verifier, signed_bytes
from fabgossip.wire.envelopes import parse_envelope
from fabgossip.wire.statements import commitment_of, parse_claims

CLOCK_TOLERANCE_S: Final = 120
"""How far ahead of our clock something may have been issued, and so how far our clock may be behind
what is signed."""


def spiffe_id(platform_id: PlatformId, cluster_id: ClusterId, node_id: NodeId) -> str:
    """The one URI a node certificate carries."""
    return f"spiffe://{platform_id}/cluster/{cluster_id}/node/{node_id}"


_UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises for a certificate it cannot read; only some of it is a `ValueError`. A
name that is a bit string, read only when asked for, is a `TypeError`.
"""


def certificate_hash_of(certificate: x509.Certificate) -> bytes:
    """How a certificate is named in revocations and grants: SHA-256 of the part its CA signed.

    Not of the DER: whoever has one good ECDSA signature can make a second of it, so the same
    certificate would come back under a hash nobody revoked (`test_identity.py`).
    """
    return sha256(certificate.tbs_certificate_bytes).digest()


@lru_cache(maxsize=2 * NODE_CAS_MAX)
def node_ca_hash(der: bytes) -> bytes | None:
    """The hash of a node CA of the bundle; None if its bytes are no certificate. Remembered: every
    link is judged by it at every change of facts."""
    try:
        return certificate_hash_of(x509.load_der_x509_certificate(der))
    except (TypeError, *_UNREADABLE):
        return None


class LeafFault(Enum):
    """What is wrong with a certificate, as far as somebody acts on it."""

    UNFIT = 1
    """In itself: no bundle and no time makes a node identity of it."""
    NOT_YET_VALID = 2
    EXPIRED = 3
    NOT_OF_BUNDLE = 4
    """No active node CA of this bundle issued it, or it lives longer than this one allows: another
    bundle of the chain may judge otherwise."""
    REVOKED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafRefusal(Rejection):
    """Why a certificate is no node identity now."""

    fault: LeafFault
    node_id: NodeId | None = None
    """Whom it names, where its form is one of this cluster."""


def verify_leaf(
    der: bytes, bundle: TrustBundle, revoked: Revoked, now: UnixTime
) -> NodeIdentity | LeafRefusal:
    """Who this certificate says its holder is, if every leaf rule holds."""
    node_id: NodeId | None = None
    try:
        certificate = x509.load_der_x509_certificate(der)
        for rule in _LEAF_RULES:
            refused = rule(certificate)
            if refused is not None:
                return refused
        named = _node_id(certificate, bundle)
        if isinstance(named, LeafRefusal):
            return named
        node_id = named
        found = _identity(certificate, node_id, bundle, now)
    except _UNREADABLE as error:
        return _refusal(f"certificate not readable: {error}", node_id=node_id)
    if isinstance(found, LeafRefusal):
        return replace(found, node_id=node_id)
    if revoked.has_identity(bundle.cluster_id, found):
        detail = "the node, its certificate or the node CA that signed it is revoked"
        return _refusal(detail, LeafFault.REVOKED, node_id)
    return found


def _refusal(
    detail: str, fault: LeafFault = LeafFault.UNFIT, node_id: NodeId | None = None
) -> LeafRefusal:
    code = RejectionCode.IDENTITY_INVALID
    return LeafRefusal(code=code, detail=detail, fault=fault, node_id=node_id)


def _identity(
    certificate: x509.Certificate, node_id: NodeId, bundle: TrustBundle, now: UnixTime
) -> NodeIdentity | LeafRefusal:
    """What this bundle and this time make of a certificate of good form."""
    refused = _check_times(certificate, bundle, now)
    if refused is not None:
        return refused
    issuer = _issuer(certificate, bundle, now)
    if issuer is None:
        detail = "not issued by an active node CA of the trust bundle"
        return _refusal(detail, LeafFault.NOT_OF_BUNDLE)
    return NodeIdentity(
        node_id=node_id,
        certificate_hash=certificate_hash_of(certificate),
        expires_at=_window(certificate)[1],
        issuer_hash=certificate_hash_of(issuer),
    )


def _check_key(certificate: x509.Certificate) -> LeafRefusal | None:
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        return _refusal("the key is not on P-256")
    return None


def _check_constraints(certificate: x509.Certificate) -> LeafRefusal | None:
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    if constraints.ca:
        return _refusal("a CA certificate is no node")
    return None


def _check_usage(certificate: x509.Certificate) -> LeafRefusal | None:
    extension = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    usage = extension.value
    others = (
        usage.content_commitment,
        usage.key_encipherment,
        usage.data_encipherment,
        usage.key_agreement,
        usage.key_cert_sign,
        usage.crl_sign,
    )
    if not extension.critical or not usage.digital_signature or any(others):
        return _refusal("key usage must be critical and digitalSignature only")
    return None


def _check_extended_usage(certificate: x509.Certificate) -> LeafRefusal | None:
    usages = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    if usages != {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}:
        return _refusal("extended key usage must be client and server authentication")
    return None


def _check_critical_name(certificate: x509.Certificate) -> LeafRefusal | None:
    extension = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    if not certificate.subject.rdns and not extension.critical:
        return _refusal("the alternative name must be critical where the subject is empty")
    return None


_LEAF_RULES: Final[tuple[Callable[[x509.Certificate], LeafRefusal | None], ...]] = (
    _check_key,
    _check_constraints,
    _check_usage,
    _check_extended_usage,
    _check_critical_name,
)


def _node_id(certificate: x509.Certificate, bundle: TrustBundle) -> NodeId | LeafRefusal:
    names = list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    if len(names) != 1 or not isinstance(names[0], x509.UniformResourceIdentifier):
        return _refusal("exactly one alternative name, a URI, is expected")
    uri = names[0].value
    try:
        node_id = parse_node_id(uri.rpartition("/")[2])
    except ModelError as error:
        return _refusal(str(error))
    if uri != spiffe_id(bundle.platform_id, bundle.cluster_id, node_id):
        return _refusal("the URI does not name a node of this cluster")
    return node_id


def _check_times(
    certificate: x509.Certificate, bundle: TrustBundle, now: UnixTime
) -> LeafRefusal | None:
    begins, ends = _window(certificate)
    if begins > now + CLOCK_TOLERANCE_S:
        return _refusal("not valid yet", LeafFault.NOT_YET_VALID)
    if is_past(ends, now):
        return _refusal("expired", LeafFault.EXPIRED)
    if ends - begins > bundle.cert_life_max_s:
        detail = f"valid for more than {bundle.cert_life_max_s} s"
        return _refusal(detail, LeafFault.NOT_OF_BUNDLE)
    return None


def certificate_times(der: bytes) -> tuple[UnixTime, UnixTime]:
    """From when until when a certificate says it is good, whatever else is wrong with it; raises
    `ValueError` where it cannot be read."""
    return _window(x509.load_der_x509_certificate(der))


def _window(certificate: x509.Certificate) -> tuple[UnixTime, UnixTime]:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return UnixTime(int(begins.timestamp())), UnixTime(int(ends.timestamp()))


def _issuer(
    certificate: x509.Certificate, bundle: TrustBundle, now: UnixTime
) -> x509.Certificate | None:
    """The active node CA that signed a certificate, None if none did."""
    for ca in bundle.node_cas:
        if is_active(ca.status) and _has_issued(ca.der, certificate, now):
            return x509.load_der_x509_certificate(ca.der)
    return None


def _has_issued(ca_der: bytes, certificate: x509.Certificate, now: UnixTime) -> bool:
    """A place in the bundle makes no CA of a certificate: it must be one, and in time
    (`tests/oracles/test_chains.py`).
    """
    try:
        ca = x509.load_der_x509_certificate(ca_der)
        certificate.verify_directly_issued_by(ca)
        constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = ca.extensions.get_extension_for_class(x509.KeyUsage).value
    except (InvalidSignature, TypeError, *_UNREADABLE):
        return False
    begins, ends = _window(ca)
    is_in_time = begins <= now + CLOCK_TOLERANCE_S and not is_past(ends, now)
    return constraints.ca and usage.key_cert_sign and is_in_time


_INVALID: Final = RejectionCode.CLAIMS_INVALID


class ClaimsRefusedError(Exception):
    """A claims rule said no; turned into a `Rejection` at the end of `verify_claims`."""

    def __init__(
        self,
        detail: str,
        code: RejectionCode = RejectionCode.CLAIMS_INVALID,
        *,
        in_good_faith: bool = False,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.in_good_faith = in_good_faith


def verify_claims(
    raw: bytes, openings: tuple[Opening, ...], node_id: NodeId, trust: "ClaimsTrust", now: Now
) -> VerifiedClaims | Rejection:
    """What `node_id` is entitled to by these claims, as far as the openings reveal it."""
    is_signed = False
    try:
        envelope = trust.verifier.read(parse_envelope, raw)
        if envelope.kind is not PayloadKind.NODE_CLAIMS:
            raise ClaimsRefusedError("another kind of envelope")
        right, signers = _check_signed(raw, trust)
        is_signed = True
        claims = trust.verifier.read(parse_claims, envelope.payload)
        signed_by = _check_windows(right, signers, claims, now.unix)
        for rule in CLAIMS_RULES:
            fault = rule(claims, node_id, trust, now.unix)
            if fault is not None:
                in_good_faith = rule is not _of_node
                code = _epoch_code(claims, trust) if rule is _of_epoch else _INVALID
                raise ClaimsRefusedError(f"claims {fault}", code, in_good_faith=in_good_faith)
        entitlements = _entitlements(claims, openings)
    except WireError as error:
        return Rejection(code=_INVALID, detail=str(error), in_good_faith=is_signed)
    except ClaimsRefusedError as error:
        return Rejection(code=error.code, detail=str(error), in_good_faith=error.in_good_faith)
    return VerifiedClaims(
        claims=claims,
        claims_hash=sha256(envelope.payload).digest(),
        entitlements=entitlements,
        signed_by=signed_by,
    )


def _epoch_code(claims: NodeClaims, trust: "ClaimsTrust") -> RejectionCode:
    """Of claims of another epoch: one that is over, or one that is not known yet."""
    is_over = claims.authority_epoch < trust.bundle.authority_epoch
    return RejectionCode.EPOCH_STALE if is_over else RejectionCode.EPOCH_UNKNOWN


def signed_claims(raw: bytes, trust: "ClaimsTrust") -> NodeClaims | Rejection:
    """What the control plane signed about a node, at whatever time: for who looks back, so that age
    and epoch play no part. Never for who asks what a node may do."""
    try:
        envelope = parse_envelope(raw)
        if envelope.kind is not PayloadKind.NODE_CLAIMS:
            raise ClaimsRefusedError("another kind of envelope")
        right, signers = _check_signed(raw, trust)
        claims = parse_claims(envelope.payload)
        _check_windows(right, signers, claims, None)
        fault = _of_cluster(claims, claims.node_id, trust, claims.issued_at)
        if fault is not None:
            raise ClaimsRefusedError(f"claims {fault}")
    except (ClaimsRefusedError, WireError) as error:
        return Rejection(code=RejectionCode.CLAIMS_INVALID, detail=str(error))
    return claims


@dataclass(frozen=True, slots=True)
class ClaimsTrust:
    """What judging claims needs of the node's trust: the bundle, what is revoked, the verifier."""

    bundle: TrustBundle
    revoked: Revoked
    verifier: Verifier


def good_signers(
    raw: bytes, kind: PayloadKind, trust: "ClaimsTrust"
) -> tuple[Right, tuple[SigningKey, ...]] | None:
    """The right on statements of this kind about the cluster, and the keys of it whose signature on
    the envelope is good; None if nobody has the right. Revoked keys count for nothing."""
    envelope = trust.verifier.read(parse_envelope, raw)
    right = right_for(trust.bundle, kind.value, trust.bundle.prefix)
    if right is None:
        return None
    verdicts = _verdicts(envelope, right, trust)
    return right, tuple(key for key, is_good in verdicts if is_good)


def is_forged(raw: bytes, kind: PayloadKind, trust: "ClaimsTrust") -> bool:
    """Whether nobody signed an envelope, or a signature by a key with the right on this kind is not
    good. Keys without it may have it by a newer bundle than ours."""
    envelope = trust.verifier.read(parse_envelope, raw)
    right = right_for(trust.bundle, kind.value, trust.bundle.prefix)
    verdicts = () if right is None else _verdicts(envelope, right, trust)
    return not envelope.signatures or not all(is_good for _, is_good in verdicts)


def _verdicts(
    envelope: Envelope, right: Right, trust: "ClaimsTrust"
) -> tuple[tuple[SigningKey, bool], ...]:
    """The keys of a right that stand on an envelope, and whether their signatures are good."""
    keys = {
        key.key_id: key
        for key in trust.bundle.keys
        if key.key_id in right.key_ids
        and key.status is not KeyStatus.REVOKED
        and not trust.revoked.has_key(key.key_id)
    }
    message = signed_bytes(envelope.kind, envelope.payload)
    return tuple(
        (keys[one.key_id], trust.verifier.is_good(keys[one.key_id].public_key, message, one.value))
        for one in envelope.signatures
        if one.key_id in keys
    )


def _check_signed(raw: bytes, trust: "ClaimsTrust") -> tuple[Right, tuple[SigningKey, ...]]:
    found = good_signers(raw, PayloadKind.NODE_CLAIMS, trust)
    if found is None:
        raise _unsigned("no key has a right on claims", raw, trust)
    if len(found[1]) < found[0].threshold:
        raise _unsigned("not signed by enough keys with a right on claims", raw, trust)
    return found


def _unsigned(detail: str, raw: bytes, trust: "ClaimsTrust") -> ClaimsRefusedError:
    in_good_faith = not is_forged(raw, PayloadKind.NODE_CLAIMS, trust)
    return ClaimsRefusedError(detail, in_good_faith=in_good_faith)


def _check_windows(
    right: Right, signers: tuple[SigningKey, ...], claims: NodeClaims, seen_at: UnixTime | None
) -> tuple[KeyId, ...]:
    within = tuple(key.key_id for key in signers if counts(key, claims.issued_at, seen_at))
    if len(within) < right.threshold:
        detail = "issued, or first seen, outside the time its keys may sign in"
        raise ClaimsRefusedError(detail, in_good_faith=True)
    return within


_Claimed: TypeAlias = Callable[[NodeClaims, NodeId, ClaimsTrust, UnixTime], str | None]


def _of_cluster(claims: NodeClaims, _: NodeId, trust: ClaimsTrust, __: UnixTime) -> str | None:
    ours = (trust.bundle.platform_id, trust.bundle.cluster_id)
    return None if (claims.platform_id, claims.cluster_id) == ours else "of another cluster"


def _of_node(claims: NodeClaims, node_id: NodeId, _: ClaimsTrust, __: UnixTime) -> str | None:
    return None if claims.node_id == node_id else "of another node"


def _of_epoch(claims: NodeClaims, _: NodeId, trust: ClaimsTrust, __: UnixTime) -> str | None:
    same = claims.authority_epoch == trust.bundle.authority_epoch
    return None if same else "of another epoch"


def _not_of_future(claims: NodeClaims, _: NodeId, __: ClaimsTrust, now: UnixTime) -> str | None:
    return "issued in the future" if claims.issued_at > now + CLOCK_TOLERANCE_S else None


def _not_expired(claims: NodeClaims, _: NodeId, __: ClaimsTrust, now: UnixTime) -> str | None:
    return "expired" if is_past(claims.expires_at, now) else None


def _minimums(claims: NodeClaims, _: NodeId, trust: ClaimsTrust, __: UnixTime) -> str | None:
    lack = lacking(claims, trust.bundle, trust.revoked)
    return None if lack is None else f"which need {lack.words}"


CLAIMS_RULES: Final[tuple[_Claimed, ...]] = (
    _of_cluster,
    _of_node,
    _of_epoch,
    _not_of_future,
    _not_expired,
    _minimums,
)
"""All must find nothing wrong."""


def committed(claims: NodeClaims, openings: tuple[Opening, ...]) -> tuple[Opening, ...]:
    """Those of a node's openings that these claims commit to: newer ones may have dropped some."""
    known = frozenset(claims.commitments)
    return tuple(one for one in openings if commitment_of(one) in known)


def _entitlements(claims: NodeClaims, openings: tuple[Opening, ...]) -> Entitlements:
    scopes = {
        scope_id(ScopeKind.CLUSTER, claims.cluster_id),
        scope_id(ScopeKind.NODE, claims.node_id),
    }
    scopes |= {scope_id(ScopeKind.ROLE, role) for role in claims.roles}
    assignments: list[StorageAssignment] = []
    committed = frozenset(claims.commitments)
    for opening in openings:
        if commitment_of(opening) not in committed:
            raise ClaimsRefusedError("an opening without a commitment")
        if opening.item.assignment is not None:
            assignments.append(opening.item.assignment)
        elif opening.item.scope is not None:
            scopes.add(ScopeId(opening.item.scope))
    return Entitlements(frozenset(scopes), tuple(assignments))
