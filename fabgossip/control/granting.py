"""Fetch grants: short-lived permission for one node with one certificate."""

from dataclasses import dataclass, replace
from pathlib import Path

from cryptography import x509

from fabgossip.control.authority import AuthorityFolder
from fabgossip.control.deeds import grant_deed
from fabgossip.control.files import said
from fabgossip.control.keystore import random_bytes
from fabgossip.control.signing import SignedArtifact, signed_envelope
from fabgossip.errors import ControlError, WireError
from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import GRANT_ID_BYTES, FetchGrant, Verb
from fabgossip.model.envelope import PayloadKind
from fabgossip.model.ids import ManifestHash, NodeId
from fabgossip.model.moment import UnixTime, seconds_after
from fabgossip.model.scope import ScopeId, ScopeKind
from fabgossip.trust.identity import certificate_hash_of, spiffe_id
from fabgossip.wire.envelopes import parse_envelope
from fabgossip.wire.statements import grant_bytes, parse_grant


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantWish:
    """What a node is to be allowed to fetch."""

    node_id: NodeId
    types: tuple[ArtifactType, ...]
    scope_ids: tuple[ScopeId, ...]
    manifest_hashes: tuple[ManifestHash, ...]
    """None given: any manifest within types and scope ids."""
    uses: int
    life_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedGrant:
    """A grant and its envelope."""

    grant: FetchGrant
    envelope: bytes


def read_certificate(path: Path) -> x509.Certificate:
    """The first certificate of a PEM file; raises `ControlError`."""
    with said(path):
        pem = path.read_bytes()
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise ControlError(f"{path}: no certificate in PEM") from error


def published_at(authority: AuthorityFolder, path: str) -> SignedArtifact:
    """The newest of a namespace, named as in the source; raises `ControlError`."""
    prefix = authority.bundle().prefix
    name = f"{prefix}/{path.removeprefix(f'{prefix}/')}"
    heads = [
        one
        for one in authority.heads()
        if one.manifest.namespace.text == name and one.manifest.base is None
    ]
    if not heads:
        raise ControlError(f"{path}: nothing is published there")
    return max(heads, key=lambda one: one.manifest.order)


def wish_for(artifact: SignedArtifact, wish: GrantWish) -> GrantWish:
    """The wish for exactly this artifact.

    Raises:
        ControlError: a grant opens neither a cluster nor an organisation, so none is of use.
    """
    scope_ids = tuple(
        one
        for one in artifact.manifest.audience.scope_ids
        if one.kind not in (ScopeKind.CLUSTER, ScopeKind.ORG)
    )
    if not scope_ids:
        raise ControlError(
            f"{artifact.manifest.namespace.text}: for all of its cluster or organisation, which a "
            "grant does not open"
        )
    return replace(
        wish,
        types=(artifact.manifest.artifact_type,),
        scope_ids=scope_ids,
        manifest_hashes=(parse_envelope(artifact.envelope).manifest_hash,),
    )


def make_grant(
    authority: AuthorityFolder, wish: GrantWish, certificate: x509.Certificate, now: UnixTime
) -> SignedGrant:
    """A signed grant, valid from now on.

    Raises:
        ControlError: not this node's certificate, the node is no member, or out of bounds.
    """
    authority.member(wish.node_id, now)
    bundle, minimums = authority.bundle(), authority.minimums(now)
    _check_holder(certificate, spiffe_id(bundle.platform_id, bundle.cluster_id, wish.node_id))
    hashes = tuple(sorted(set(wish.manifest_hashes))) or None
    grant = FetchGrant(
        platform_id=bundle.platform_id,
        cluster_id=bundle.cluster_id,
        authority_epoch=bundle.authority_epoch,
        grant_id=random_bytes(GRANT_ID_BYTES),
        node_id=wish.node_id,
        certificate_hash=certificate_hash_of(certificate),
        verbs=(Verb.FETCH,),
        types=tuple(sorted(set(wish.types))),
        scope_ids=tuple(sorted(set(wish.scope_ids))),
        manifest_hashes=hashes,
        not_before=now,
        expires_at=seconds_after(now, wish.life_s),
        max_uses=wish.uses,
        min_trust_version=minimums.trust,
        min_revocation_version=minimums.revocation,
    )
    payload = grant_bytes(grant)
    try:
        parse_grant(payload)
    except WireError as error:
        raise ControlError(f"grant: {error.detail}") from error
    kind = PayloadKind.FETCH_GRANT
    keys = authority.signing_keys(kind.value, now)
    with authority.noted((grant_deed(grant),), now):
        return SignedGrant(grant=grant, envelope=signed_envelope(kind, payload, keys))


def _check_holder(certificate: x509.Certificate, expected: str) -> None:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        uris = []
    if uris != [expected]:
        raise ControlError(f"certificate: expected that of {expected}")
