"""A small cluster for tests: keys from names, a sound bundle, manifests, claims, certificates.

Everything is made from its name, so two runs see the same keys; nothing here is the code under test
but the encoders, which `tests/vectors` holds against independent libraries.
"""

import datetime
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fabgossip.errors import WireError
from fabgossip.model.artifact import (
    NO_ORDER,
    TYPE_RULES,
    ArtifactType,
    Base,
    Manifest,
    VerifiedManifest,
)
from fabgossip.model.authority import (
    CERT_LIFE_MAX_S,
    COMMITMENTS_STEP,
    MEMBER_ROLE,
    AuditCheckpoint,
    ClaimItem,
    FetchGrant,
    KeyStatus,
    NodeCa,
    NodeClaims,
    Opening,
    Right,
    RoleRule,
    SigningKey,
    TrustBundle,
    Verb,
)
from fabgossip.model.envelope import Envelope, PayloadKind, Signature
from fabgossip.model.ids import (
    ArtifactId,
    BootId,
    ClusterId,
    ContentHash,
    KeyId,
    NodeId,
    PlatformId,
    key_id_of,
)
from fabgossip.model.mode import Freshness
from fabgossip.model.moment import Duration, Instant, Now, UnixTime, later
from fabgossip.model.scope import (
    Audience,
    Entitlements,
    Family,
    Namespace,
    StorageAssignment,
    audience_from_scope_ids,
    parse_namespace,
    parse_scope_id,
)
from fabgossip.trust.facts import ANYTHING, Asked, Line, Listed, TrustFacts
from fabgossip.trust.gate import TrustGate
from fabgossip.trust.identity import ClaimsTrust
from fabgossip.trust.rejections import Rejection, RejectionCode
from fabgossip.trust.revocation import Revoked
from fabgossip.trust.signatures import Ed25519Verifier, signed_bytes
from fabgossip.wire.contents import bundle_bytes
from fabgossip.wire.envelopes import envelope_bytes, parse_envelope
from fabgossip.wire.statements import (
    checkpoint_bytes,
    claims_bytes,
    commitment_of,
    grant_bytes,
    manifest_bytes,
    parse_manifest,
)

NOW = UnixTime(1_800_000_000)
BOTH_CLOCKS = Now(instant=later(Instant(0), Duration(5_000)), unix=NOW)
HOUR = 3_600
DAY = 86_400
PLATFORM = PlatformId("acme-net")
CLUSTER = ClusterId("prod")
NODE = NodeId("n1")
PREFIX = f"platform/{PLATFORM}/cluster/{CLUSTER}"
CONTENT = b"some content"


@dataclass(frozen=True)
class Signer:
    """An Ed25519 key made from its name."""

    name: str
    private: Ed25519PrivateKey
    public_key: bytes

    @property
    def key_id(self) -> KeyId:
        return key_id_of(self.public_key)

    def sign(self, kind: PayloadKind, payload: bytes) -> Signature:
        return Signature(self.key_id, self.private.sign(signed_bytes(kind, payload)))


def signer(name: str) -> Signer:
    private = Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest())
    return Signer(name, private, private.public_key().public_bytes_raw())


ROOTS = (signer("root 1"), signer("root 2"), signer("root 3"))
COMPILER = signer("compiler")
DIRECTORY = signer("directory")
POLICY = signer("policy")
RELEASES = (signer("release 1"), signer("release 2"), signer("release 3"))
REVOKER = signer("revoker")
CLAIMER = signer("claims")
GRANTER = signer("grants")
STRANGER = signer("stranger")
AUDITOR = signer("audit key of n1")
SIGNING = (COMPILER, DIRECTORY, POLICY, *RELEASES, REVOKER, CLAIMER, GRANTER)

SIGNERS_OF: dict[ArtifactType, tuple[Signer, ...]] = {
    ArtifactType.TRUST_BUNDLE: ROOTS[:2],
    ArtifactType.REVOCATION_LIST: (REVOKER,),
    ArtifactType.CLUSTER_SNAPSHOT: (COMPILER,),
    ArtifactType.SNAPSHOT_INCREMENT: (COMPILER,),
    ArtifactType.PEER_DIRECTORY: (DIRECTORY,),
    ArtifactType.STORAGE_DIRECTORY: (DIRECTORY,),
    ArtifactType.SERVICE_ASSIGNMENT_BUNDLE: (COMPILER,),
    ArtifactType.ROUTE_POLICY_BUNDLE: (POLICY,),
    ArtifactType.QOS_POLICY_BUNDLE: (POLICY,),
    ArtifactType.UPDATE_MANIFEST: RELEASES[:2],
}
"""Just enough signers for each type."""
_TAIL: dict[Family, str] = {
    Family.TRUST_BUNDLE: "trust/bundle",
    Family.TRUST_REVOCATIONS: "trust/revocations",
    Family.SNAPSHOT_NODE: f"snapshots/node/{NODE}",
    Family.SNAPSHOT_ROLE: "snapshots/role/edge",
    Family.PEERS: f"peers/scope/cluster:{CLUSTER}",
    Family.STORAGE: f"storage/scope/cluster:{CLUSTER}",
    Family.SERVICES: "services/dns",
    Family.ROUTES: "routes/r1",
    Family.QOS: "qos/q1",
    Family.UPDATES: "updates/u1",
}


def right(kind: str, *signers: Signer, threshold: int = 1, prefix: str = PREFIX) -> Right:
    ids = tuple(sorted(one.key_id for one in signers))
    return Right(kind=kind, prefix=prefix, threshold=threshold, key_ids=ids)


def signing_key(one: Signer, status: KeyStatus = KeyStatus.ACTIVE) -> SigningKey:
    return SigningKey(
        key_id=one.key_id,
        public_key=one.public_key,
        status=status,
        not_before=UnixTime(NOW - 30 * DAY),
        not_after=UnixTime(NOW + 30 * DAY),
    )


@dataclass(frozen=True)
class Authority:
    """A node CA made from its name."""

    name: str
    private: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)


def p256_key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(
        int.from_bytes(sha256(name.encode()).digest()) >> 1, ec.SECP256R1()
    )


def common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def date(moment: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC)


SIGNATURE_ONLY = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
ISSUING_ONLY = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def authority(
    name: str,
    *,
    is_ca: bool | None = True,
    usage: x509.KeyUsage | None = ISSUING_ONLY,
    has_identifier: bool = True,
    not_before: int = NOW - DAY,
    not_after: int = NOW + 30 * DAY,
) -> Authority:
    """A node CA as enrollment makes it; None or False leaves a part out."""
    private = p256_key(name)
    identifier = x509.SubjectKeyIdentifier.from_public_key(private.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(common_name(name))
        .issuer_name(common_name(name))
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(date(not_before))
        .not_valid_after(date(not_after))
    )
    if is_ca is not None:
        constraints = x509.BasicConstraints(is_ca, path_length=0 if is_ca else None)
        builder = builder.add_extension(constraints, critical=True)
    if usage is not None:
        builder = builder.add_extension(usage, critical=True)
    if has_identifier:
        builder = builder.add_extension(identifier, critical=False)
    certificate = builder.sign(private, hashes.SHA256(), ecdsa_deterministic=True)
    return Authority(name, private, certificate)


NODE_CA = authority("node CA")
NAMELESS = x509.Name([])
BOTH_ENDS = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
NODE_URI = f"spiffe://{PLATFORM}/cluster/{CLUSTER}/node/{NODE}"


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """What to ask of a certificate; the defaults keep every leaf rule, None or False leaves a part
    out."""

    issuer: Authority = NODE_CA
    public_key: Callable[[], CertificatePublicKeyTypes] = p256_key("leaf").public_key
    subject: x509.Name = NAMELESS
    names: tuple[x509.GeneralName, ...] = (x509.UniformResourceIdentifier(NODE_URI),)
    names_critical: bool = True
    is_ca: bool | None = False
    usage: x509.KeyUsage | None = SIGNATURE_ONLY
    usage_critical: bool = True
    ends: tuple[x509.ObjectIdentifier, ...] | None = BOTH_ENDS
    names_issuer_key: bool = True
    not_before: int = NOW - HOUR
    not_after: int = NOW + DAY


def leaf_der(leaf: Leaf) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(leaf.subject)
        .issuer_name(leaf.issuer.certificate.subject)
        .public_key(leaf.public_key())
        .serial_number(7)
        .not_valid_before(date(leaf.not_before))
        .not_valid_after(date(leaf.not_after))
    )
    if leaf.is_ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(leaf.is_ca, None), critical=True)
    if leaf.usage is not None:
        builder = builder.add_extension(leaf.usage, critical=leaf.usage_critical)
    if leaf.ends is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(leaf.ends), critical=False)
    if leaf.names:
        names = x509.SubjectAlternativeName(leaf.names)
        builder = builder.add_extension(names, critical=leaf.names_critical)
    if leaf.names_issuer_key:
        issuer_key = leaf.issuer.certificate.public_key()
        assert isinstance(issuer_key, ec.EllipticCurvePublicKey)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key)
        builder = builder.add_extension(identifier, critical=False)
    certificate = builder.sign(leaf.issuer.private, hashes.SHA256(), ecdsa_deterministic=True)
    return certificate.public_bytes(serialization.Encoding.DER)


def role_rule(role: str, *types: ArtifactType) -> RoleRule:
    """A rule that allows everything, or everything with these types."""
    return RoleRule(
        role=role, verbs=tuple(sorted(Verb)), types=tuple(sorted(types or ArtifactType))
    )


def bundle(roots: tuple[Signer, ...] = ROOTS) -> TrustBundle:
    """A sound bundle: two of three roots, and a right for everything that can be signed."""
    rights = [
        right(kind.value, *SIGNERS_OF[kind])
        for kind in ArtifactType
        if kind not in (ArtifactType.TRUST_BUNDLE, ArtifactType.UPDATE_MANIFEST)
    ]
    return TrustBundle(
        platform_id=PLATFORM,
        cluster_id=CLUSTER,
        bundle_version=3,
        authority_epoch=2,
        root_threshold=2,
        root_keys=tuple(sorted(one.public_key for one in roots)),
        keys=tuple(signing_key(one) for one in SIGNING),
        rights=(
            *rights,
            right(ArtifactType.UPDATE_MANIFEST.value, *RELEASES, threshold=2),
            right(PayloadKind.NODE_CLAIMS.value, CLAIMER),
            right(PayloadKind.FETCH_GRANT.value, GRANTER),
        ),
        node_cas=(NodeCa(NODE_CA.der),),
        cert_life_max_s=CERT_LIFE_MAX_S,
        protocol_min=1,
        role_rules=(role_rule(MEMBER_ROLE), role_rule("edge")),
    )


BUNDLE = bundle()
NEXT_BUNDLE = replace(BUNDLE, bundle_version=4)


def namespace(tail: str) -> Namespace:
    return parse_namespace(f"{PREFIX}/{tail}")


def audience(*scopes: str) -> Audience:
    return audience_from_scope_ids(tuple(sorted(parse_scope_id(scope) for scope in scopes)))


def manifest(artifact_type: ArtifactType, tail: str | None = None) -> Manifest:
    """A manifest of this type that the gate admits once signed; change fields with `replace`."""
    path = namespace(_TAIL[TYPE_RULES[artifact_type].families[0]] if tail is None else tail)
    is_increment = artifact_type is ArtifactType.SNAPSHOT_INCREMENT
    base = Base(
        version=6, content_hash=hash_of(b"before"), result_hash=hash_of(b"after"), result_size=9
    )
    is_bundle = artifact_type is ArtifactType.TRUST_BUNDLE
    signers = ROOTS if is_bundle else SIGNERS_OF[artifact_type]
    return Manifest(
        artifact_id=ArtifactId("a-1"),
        artifact_type=artifact_type,
        cluster_id=CLUSTER,
        audience=audience_from_scope_ids(path.implied),
        namespace=path,
        config_version=NEXT_BUNDLE.bundle_version if is_bundle else 7,
        authority_epoch=BUNDLE.authority_epoch,
        issued_at=UnixTime(NOW - HOUR),
        refresh_by=UnixTime(NOW + HOUR),
        expires_at=UnixTime(NOW + DAY),
        signer_key_ids=tuple(sorted(one.key_id for one in signers)),
        content_hash=hash_of(CONTENT),
        content_size=len(CONTENT),
        base=base if is_increment else None,
    )


def bundle_manifest(content: TrustBundle) -> Manifest:
    """A manifest of a trust bundle that describes `content`."""
    data = bundle_bytes(content)
    return replace(
        manifest(ArtifactType.TRUST_BUNDLE),
        config_version=content.bundle_version,
        authority_epoch=content.authority_epoch,
        content_hash=hash_of(data),
        content_size=len(data),
    )


def hash_of(content: bytes) -> ContentHash:
    return ContentHash(sha256(content).digest())


def sealed(kind: PayloadKind, payload: bytes, *signers: Signer) -> bytes:
    """An envelope over any payload."""
    return envelope_bytes(kind, payload, tuple(one.sign(kind, payload) for one in signers))


def signed(statement: Manifest, *signers: Signer) -> bytes:
    """The envelope of a manifest; without signers, by just enough with a right on its type."""
    chosen = signers or SIGNERS_OF[statement.artifact_type]
    return sealed(statement.artifact_type.payload_kind, manifest_bytes(statement), *chosen)


def parts(raw: bytes) -> Envelope:
    return parse_envelope(raw)


ASSIGNMENT = StorageAssignment(
    (parse_scope_id("cluster:prod"), parse_scope_id("org:globex")), ("service_assignment_bundle",)
)
OWN = Entitlements(
    frozenset(
        parse_scope_id(text)
        for text in ("cluster:prod", "node:n1", "role:edge", "org:acme", "service:dns")
    ),
    (ASSIGNMENT,),
)
FACTS = TrustFacts(
    bundle=BUNDLE,
    revoked=Revoked(5, frozenset()),
    own=OWN,
    own_node_id=NODE,
    bundle_expires_at=UnixTime(NOW + 100 * DAY),
    freshness=Freshness(
        newest_issued_at=UnixTime(NOW - 60),
        bundle_refresh_by=UnixTime(NOW + DAY),
        revocations_refresh_by=UnixTime(NOW + HOUR),
        snapshot_refresh_by=UnixTime(NOW + HOUR),
    ),
    revocations_expires_at=UnixTime(NOW + DAY),
)


class Accepted:
    """What a gate is told was accepted before: one line, and what a snapshot lists."""

    def __init__(self, line: Line, listed: Listed | None = None) -> None:
        self._line = line
        self._listed = listed

    def line_of(self, _: Namespace, /) -> Line:
        return self._line

    def listed(self, _: Manifest, /) -> Listed | None:
        return self._listed


NO_LINE = Line(floor=NO_ORDER, manifest_hash=None, withdrawn=NO_ORDER)


def admit(
    raw: bytes,
    *,
    facts: TrustFacts = FACTS,
    asked: Asked = ANYTHING,
    line: Line | None = None,
    listed: Listed | None = None,
    now: UnixTime = NOW,
) -> VerifiedManifest | Rejection:
    """The gate's verdict, with a real verifier that remembers nothing."""
    held = _line_for(raw) if line is None else line
    known = Accepted(held, listed)
    return TrustGate(Ed25519Verifier()).admit(raw, asked, facts, known, now)


def _line_for(raw: bytes) -> Line:
    """No line, but for increments, which are admitted at the floor only: there it is their own."""
    if PayloadKind.SNAPSHOT_INCREMENT.payload_type.encode() in raw:
        floor = manifest(ArtifactType.SNAPSHOT_INCREMENT).order
        with suppress(WireError):
            floor = parse_manifest(parts(raw).payload).order
        return replace(NO_LINE, floor=floor, manifest_hash=None)
    return NO_LINE


def admitted(raw: bytes, facts: TrustFacts = FACTS) -> VerifiedManifest:
    verdict = admit(raw, facts=facts)
    assert isinstance(verdict, VerifiedManifest), verdict
    return verdict


def code_of(verdict: object) -> RejectionCode | None:
    """The code of a refusal, None for anything else."""
    return verdict.code if isinstance(verdict, Rejection) else None


def opening(item: ClaimItem, salt: int = 0) -> Opening:
    return Opening(bytes([salt]) * 16, item)


ORG_OPENING = opening(ClaimItem(scope="org:acme"), 1)
SERVICE_OPENING = opening(ClaimItem(scope="service:dns"), 2)
ASSIGNMENT_OPENING = opening(ClaimItem(assignment=ASSIGNMENT), 3)
OPENINGS = (ORG_OPENING, SERVICE_OPENING, ASSIGNMENT_OPENING)


def claims(openings: tuple[Opening, ...] = OPENINGS) -> NodeClaims:
    """Claims that commit to these openings, padded as they must be."""
    real = [commitment_of(one) for one in openings]
    padding = [sha256(b"padding %d" % n).digest() for n in range(-len(real) % COMMITMENTS_STEP)]
    return NodeClaims(
        platform_id=PLATFORM,
        cluster_id=CLUSTER,
        node_id=NODE,
        claims_version=1,
        authority_epoch=BUNDLE.authority_epoch,
        issued_at=UnixTime(NOW - HOUR),
        expires_at=UnixTime(NOW + DAY),
        min_trust_version=0,
        min_revocation_version=0,
        state_generation=0,
        audit_key=AUDITOR.public_key,
        roles=("edge",),
        commitments=tuple(sorted(real + padding)),
    )


def signed_claims(statement: NodeClaims, *signers: Signer) -> bytes:
    return sealed(PayloadKind.NODE_CLAIMS, claims_bytes(statement), *(signers or (CLAIMER,)))


def grant() -> FetchGrant:
    """A grant of everything a gateway may fetch, for node n1."""
    return FetchGrant(
        platform_id=PLATFORM,
        cluster_id=CLUSTER,
        authority_epoch=BUNDLE.authority_epoch,
        grant_id=b"g" * 16,
        node_id=NODE,
        certificate_hash=sha256(b"certificate of n1").digest(),
        verbs=(Verb.FETCH,),
        types=(ArtifactType.ROUTE_POLICY_BUNDLE,),
        scope_ids=(parse_scope_id("role:gateway"),),
        manifest_hashes=None,
        not_before=UnixTime(NOW - 60),
        expires_at=UnixTime(NOW + 300),
        max_uses=3,
        min_trust_version=0,
        min_revocation_version=0,
    )


def signed_grant(statement: FetchGrant, *signers: Signer) -> bytes:
    return sealed(PayloadKind.FETCH_GRANT, grant_bytes(statement), *(signers or (GRANTER,)))


def checkpoint(size: int = 256, head: bytes = b"h" * 32) -> AuditCheckpoint:
    """What node n1 says of its audit log."""
    return AuditCheckpoint(
        cluster_id=CLUSTER,
        node_id=NODE,
        boot_id=BootId(b"b" * 16),
        size=size,
        head=head,
        wall=NOW,
    )


def signed_checkpoint(statement: AuditCheckpoint, *signers: Signer) -> bytes:
    payload = checkpoint_bytes(statement)
    return sealed(PayloadKind.AUDIT_CHECKPOINT, payload, *(signers or (AUDITOR,)))


def claims_trust(facts: TrustFacts = FACTS) -> ClaimsTrust:
    return ClaimsTrust(facts.bundle, facts.revoked, Ed25519Verifier())
