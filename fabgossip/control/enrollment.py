"""New nodes: what is registered of them, their claims, their certificate.

Time and randomness are arguments, so a simulated control plane enrolls the same nodes every time.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fabgossip.control.keystore import ArtifactKey
from fabgossip.control.signing import signed_envelope
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import (
    COMMITMENTS_STEP,
    MEMBER_ROLE,
    SALT_BYTES,
    ClaimItem,
    KeyStatus,
    NodeClaims,
    Opening,
    TrustBundle,
)
from fabgossip.model.bounds import Bounds
from fabgossip.model.envelope import PayloadKind
from fabgossip.model.ids import HASH_BYTES, NodeId, parse_id, parse_node_id
from fabgossip.model.moment import UnixTime, seconds_after
from fabgossip.model.scope import Entitlements, ScopeId, ScopeKind, StorageAssignment, scope_id
from fabgossip.model.topology import FailureDomain, PeerClass, parse_peer_address
from fabgossip.trust.identity import spiffe_id
from fabgossip.wire.statements import claims_bytes, commitment_of

CLOCK_MARGIN_S = 60
"""A certificate begins this long before it is issued: clocks of a fabric are not equal."""
CA_LIFE_S = 10 * 365 * 86_400
NO_AUDIT_KEY = "00" * HASH_BYTES
PADDING = "padding"
DROPPED_SALTS_MAX = 128
"""As many salts of what a node once had are kept (*start*)."""
_PADDING_DOMAIN = b"fabgossip padding v1\x00"
ALL_TYPES = tuple(sorted(one.value for one in ArtifactType))

_HOST = re.compile(r"\[[0-9a-f:.]{2,45}\]|[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")

Entropy = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """One enrolled node, as the control plane knows it."""

    node_id: str
    addresses: tuple[str, ...]
    region: str = "r1"
    zone: str = "z1"
    rack: str = "k1"
    peer_class: str = "full"
    orgs: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()
    """What it stores for others: `cluster` for what names no organisation, and organisations by
    name."""
    claims_version: Annotated[int, Bounds(1, 2**53 - 1)] = 1
    salts: dict[str, str] = field(default_factory=dict)
    """Hexadecimal salt per claim item, dropped ones too: a renewal keeps them, so openings stay
    good."""
    audit_key: str = NO_AUDIT_KEY
    """Hexadecimal public key of the node's audit checkpoints."""
    state_generation: Annotated[int, Bounds(0, 2**53 - 1)] = 0
    """Starts the node is known to have behind it: a disk that counts fewer is an old one."""

    def __post_init__(self) -> None:
        """Every word is of its grammar."""
        parse_node_id(self.node_id)
        for word in (
            *self.orgs,
            *self.services,
            *self.roles,
            *self.stores,
            self.region,
            self.zone,
            self.rack,
        ):
            parse_id(word, "name")
        for address in self.addresses:
            _check_address(address)
        if self.peer_class not in {one.name.lower() for one in PeerClass}:
            raise ValueError("peer_class is core, full or thin")
        if self.peer_class == "thin" and self.stores:
            raise ValueError("a thin node is no storage replica")

    @property
    def domain(self) -> FailureDomain:
        """Where it stands."""
        return FailureDomain(self.region, self.zone, self.rack)

    @property
    def kind(self) -> PeerClass:
        """Its class."""
        return PeerClass[self.peer_class.upper()]


def _check_address(address: str) -> None:
    try:
        parse_peer_address(address)
    except ValueError as error:
        raise ValueError(f"address {error}") from error
    if _HOST.fullmatch(address.rpartition(":")[0]) is None:
        raise ValueError(
            f"address {address!r}: expected a host name in lower case, or [v6], before the port"
        )


def assignments_of(row: NodeRow, cluster_id: str) -> tuple[StorageAssignment, ...]:
    """One assignment per organisation stored for, so that showing one tells nothing of another."""
    cluster = scope_id(ScopeKind.CLUSTER, cluster_id)
    assignments = []
    for name in row.stores:
        scopes = (cluster,) if name == "cluster" else (cluster, scope_id(ScopeKind.ORG, name))
        assignments.append(StorageAssignment(scopes, ALL_TYPES))
    return tuple(assignments)


def all_roles(row: NodeRow) -> tuple[str, ...]:
    """The roles of a node, ascending; every node is a member."""
    return tuple(sorted({*row.roles, MEMBER_ROLE}))


def entitlements_of(row: NodeRow, cluster_id: str) -> Entitlements:
    """All a node is entitled to."""
    scopes = {scope_id(ScopeKind.CLUSTER, cluster_id), scope_id(ScopeKind.NODE, row.node_id)}
    scopes |= {scope_id(ScopeKind.ORG, org) for org in row.orgs}
    scopes |= {scope_id(ScopeKind.SERVICE, service) for service in row.services}
    scopes |= {scope_id(ScopeKind.ROLE, role) for role in all_roles(row)}
    return Entitlements(frozenset(scopes), assignments_of(row, cluster_id))


def _items(row: NodeRow, cluster_id: str) -> list[tuple[str, ClaimItem]]:
    items = [(f"org:{org}", ClaimItem(scope=f"org:{org}")) for org in row.orgs]
    items += [(f"service:{one}", ClaimItem(scope=f"service:{one}")) for one in row.services]
    stores = zip(row.stores, assignments_of(row, cluster_id), strict=True)
    return items + [
        (f"stores:{name}", ClaimItem(assignment=assignment)) for name, assignment in stores
    ]


def salts_for(row: NodeRow, cluster_id: str, entropy: Entropy) -> dict[str, str]:
    """The salts of a row, with fresh ones for items that had none; those of the items dropped last
    stay in front. What is given back fits the openings a running node still has: under another salt
    new claims would reach it without what they open, and take more away than they give."""
    names = [*(name for name, _ in _items(row, cluster_id)), PADDING]
    dropped = [name for name in row.salts if name not in names][-DROPPED_SALTS_MAX:]
    kept = {name: row.salts[name] for name in dropped}
    return kept | {name: row.salts.get(name) or entropy(SALT_BYTES).hex() for name in names}


def openings_of(row: NodeRow, cluster_id: str) -> tuple[Opening, ...]:
    """Every opening of a node, by the salts of its row."""
    return tuple(
        Opening(bytes.fromhex(row.salts[name]), item) for name, item in _items(row, cluster_id)
    )


def node_claims(
    row: NodeRow,
    bundle: TrustBundle,
    times: tuple[UnixTime, UnixTime],
    min_versions: tuple[int, int] = (0, 0),
) -> NodeClaims:
    """What there is to sign about a node: roles in the open, the rest as commitments padded to a
    multiple of 16 with hashes of a secret salt, so that the same row always gives the same
    commitments. `min_versions` are the trust and revocation versions a node needs to act on
    them."""
    commitments = [commitment_of(opening) for opening in openings_of(row, bundle.cluster_id)]
    salt = bytes.fromhex(row.salts[PADDING])
    while len(commitments) % COMMITMENTS_STEP or not commitments:
        number = len(commitments).to_bytes(2, "big")
        commitments.append(sha256(_PADDING_DOMAIN + salt + number).digest())
    return NodeClaims(
        platform_id=bundle.platform_id,
        cluster_id=bundle.cluster_id,
        node_id=NodeId(row.node_id),
        claims_version=row.claims_version,
        authority_epoch=bundle.authority_epoch,
        issued_at=times[0],
        expires_at=times[1],
        min_trust_version=min_versions[0],
        min_revocation_version=min_versions[1],
        state_generation=row.state_generation,
        audit_key=bytes.fromhex(row.audit_key),
        roles=all_roles(row),
        commitments=tuple(sorted(commitments)),
    )


def claims_envelope(
    row: NodeRow,
    bundle: TrustBundle,
    keys: tuple[ArtifactKey, ...],
    times: tuple[UnixTime, UnixTime],
    min_versions: tuple[int, int] = (0, 0),
) -> bytes:
    """The signed claims of a node."""
    claims = node_claims(row, bundle, times, min_versions)
    return signed_envelope(PayloadKind.NODE_CLAIMS, claims_bytes(claims), keys)


def org_scopes(row: NodeRow) -> frozenset[ScopeId]:
    """The organisations a node has to do with, as a member or because it stores for them."""
    return frozenset(
        scope_id(ScopeKind.ORG, name) for name in (*row.orgs, *row.stores) if name != "cluster"
    )


def _at(moment: UnixTime) -> datetime:
    return datetime.fromtimestamp(moment, tz=UTC)


def node_ca_certificate(
    key: ec.EllipticCurvePrivateKey, cluster_id: str, now: UnixTime
) -> x509.Certificate:
    """The self-signed certificate that issues node identities."""
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"fabgossip nodes of {cluster_id}"[:64])]
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_at(seconds_after(now, -CLOCK_MARGIN_S)))
        .not_valid_after(_at(seconds_after(now, CA_LIFE_S)))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )


def active_node_ca(bundle: TrustBundle) -> bytes:
    """The DER of the CA that issues now: the last active one of the bundle."""
    return [one.der for one in bundle.node_cas if one.status is KeyStatus.ACTIVE][-1]


def node_certificate(
    node_id: NodeId,
    public_key: ec.EllipticCurvePublicKey,
    bundle: TrustBundle,
    ca_key: ec.EllipticCurvePrivateKey,
    times: tuple[UnixTime, UnixTime],
) -> x509.Certificate:
    """A node's identity: one SPIFFE URI, client and server, signed directly by the node CA."""
    ca = x509.load_der_x509_certificate(active_node_ca(bundle))
    uri = x509.UniformResourceIdentifier(spiffe_id(bundle.platform_id, bundle.cluster_id, node_id))
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ca.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_at(seconds_after(times[0], -CLOCK_MARGIN_S)))
        .not_valid_after(_at(seconds_after(times[1], -CLOCK_MARGIN_S)))
        .add_extension(x509.SubjectAlternativeName([uri]), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(authority, critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """PEM of a certificate."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def certificate_der(certificate: x509.Certificate) -> bytes:
    """DER of a certificate."""
    return certificate.public_bytes(serialization.Encoding.DER)
