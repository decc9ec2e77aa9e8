"""What a node shows of itself and whom it pins: read from files, judged before the first packet.

What is wrong for good ends the start. A certificate is judged by every bundle the node can verify,
the newest first, because the CA that issued it may be younger than the pinned bundle. One that no
bundle known here vouches for is left to the peers, who may know more, if one at least knows who
signed the claims beside it: a node that was down while the CA was followed by another must come up
to hear of it, and papers that are all of strangers belong to another authority.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fabgossip.core.beliefs import Beliefs
from fabgossip.core.setup import OwnIdentity
from fabgossip.daemon.config import Config
from fabgossip.daemon.endpoints import KeyPair, TlsContexts
from fabgossip.errors import ConfigError, TrustError, WireError
from fabgossip.model.authority import NodeClaims, NodeIdentity, Opening, TrustBundle
from fabgossip.model.envelope import PayloadKind
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Now, UnixTime
from fabgossip.model.persistence import WHOLE_MEMORY
from fabgossip.storage.index import NodeIndex
from fabgossip.trust.bundle import PinnedTrust, bundle_from_pinned
from fabgossip.trust.checkpoints import CheckpointSigner
from fabgossip.trust.identity import (
    ClaimsTrust,
    LeafFault,
    certificate_times,
    good_signers,
    verify_leaf,
)
from fabgossip.trust.revocation import NOTHING_REVOKED
from fabgossip.trust.signatures import Ed25519Verifier
from fabgossip.wire.contents import parse_bundle, parse_pinned
from fabgossip.wire.envelopes import parse_envelope
from fabgossip.wire.statements import parse_claims, parse_own_claims

PRIVATE_BYTES_MAX: Final = 1 << 20
_MAY_PASS: Final = frozenset({LeafFault.EXPIRED, LeafFault.NOT_OF_BUNDLE})
"""A node starts with such a certificate, and says so."""
EXPIRED: Final = "the certificate has expired: no peer will speak to this node; enroll it again"
ENDED: Final = (
    "the node CA that issued the certificate has ended: no peer will speak to this node; renew it"
)
UNKNOWN: Final = (
    "no trust bundle known here vouches for the certificate: peers that know a later one may; if "
    "none links, hand the bundle over with fabgossip submit"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """Everything read from files before the first packet."""

    pinned: PinnedTrust
    claims_envelope: bytes
    claims: NodeClaims
    openings: tuple[Opening, ...]
    certificate: bytes
    """In DER; of the node the claims are of."""
    certificate_path: Path
    pair: KeyPair
    read_at: UnixTime
    signer: CheckpointSigner

    @property
    def node_id(self) -> NodeId:
        """Who this node is."""
        return self.claims.node_id

    def own_identity(self) -> OwnIdentity:
        """What the node starts with, its certificate not judged yet."""
        return OwnIdentity(
            node_id=self.node_id,
            claims=self.claims_envelope,
            openings=self.openings,
            pinned=self.pinned,
            certificate_times=certificate_times(self.certificate),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCertificate:
    """What became of the node's own certificate."""

    identity: NodeIdentity | None
    """None where no bundle vouches for it, or its time is over."""
    warning: str
    """For the operator, empty where peers will take it."""


def load_papers(config: Config, now: UnixTime) -> Papers:
    """Read and judge what the configuration names.

    Raises:
        ConfigError: a file is not what it should be, or they do not belong together; a line for
            each that is not.
    """
    faults: list[str] = []
    with _noted(faults):
        pinned = _pinned(config)
    with _noted(faults):
        pair = KeyPair(_bytes(config.certificate), _bytes(config.private_key))
        certificate = _der(config, pair)
    with _noted(faults):
        envelope, openings, claims = _own_claims(config)
        signer = _signer(config, claims)
    if faults:
        raise ConfigError("\n".join(faults))
    papers = Papers(
        pinned=pinned,
        claims_envelope=envelope,
        claims=claims,
        openings=openings,
        certificate=certificate,
        certificate_path=config.certificate,
        pair=pair,
        read_at=now,
        signer=signer,
    )
    _check_fit(config, papers)
    return papers


@contextmanager
def _noted(faults: list[str]) -> Iterator[None]:
    """What is wrong in here is one of several things that may be."""
    try:
        yield
    except ConfigError as error:
        faults.append(str(error))


def _pinned(config: Config) -> PinnedTrust:
    try:
        pinned = bundle_from_pinned(
            *parse_pinned(_bytes(config.trust_bootstrap)), Ed25519Verifier()
        )
    except (WireError, TrustError) as error:
        raise ConfigError(f"trust.bootstrap: {config.trust_bootstrap}: {error}") from error
    if pinned.bundle.is_demo and not config.table.trust.allow_demo:
        raise ConfigError(
            f"trust.bootstrap: platform {pinned.bundle.platform_id} has throw-away keys; "
            "set trust.allow_demo = true to run it on this machine"
        )
    return pinned


def _own_claims(config: Config) -> tuple[bytes, tuple[Opening, ...], NodeClaims]:
    try:
        envelope, openings = parse_own_claims(_bytes(config.claims))
        return envelope, openings, parse_claims(parse_envelope(envelope).payload)
    except WireError as error:
        raise ConfigError(
            f"identity.claims: {config.claims}: {error}; enroll the node again"
        ) from error


def _check_fit(config: Config, papers: Papers) -> None:
    """Whether the files are of one node of one cluster, and the certificate can be one at all."""
    claims, bundle = papers.claims, papers.pinned.bundle
    if claims.cluster_id != bundle.cluster_id:
        raise ConfigError(
            f"identity.claims: of cluster {claims.cluster_id}, "
            f"the pinned trust is of {bundle.cluster_id}"
        )
    found = verify_leaf(papers.certificate, bundle, NOTHING_REVOKED, papers.read_at)
    if not isinstance(found, NodeIdentity) and found.fault not in _MAY_PASS:
        raise ConfigError(f"identity.certificate: {config.certificate}: {found.detail}")
    if found.node_id != claims.node_id:
        raise ConfigError(f"identity: certificate of {found.node_id}, claims of {claims.node_id}")


def known_bundles(own: OwnIdentity, index: NodeIndex, now: Now) -> tuple[TrustBundle, ...]:
    """Every bundle a node can verify from its pinned one and its own disk, the newest first."""
    pinned, chain = own.pinned.bundle, index.trust_chain()
    beliefs = Beliefs(own, Ed25519Verifier())
    beliefs.on_started(chain, index.revoked(), WHOLE_MEMORY, now)
    newest = beliefs.facts.bundle.bundle_version
    later = (
        parse_bundle(step.content)
        for step in reversed(chain)
        if pinned.bundle_version < step.version <= newest
    )
    return (*later, pinned)


def judge_certificate(papers: Papers, bundles: tuple[TrustBundle, ...]) -> OwnCertificate:
    """The node's own certificate by the bundles known, the newest first. What an older one alone
    vouches for peers will refuse, but it says which CA the node depends on.

    Raises:
        ConfigError: neither certificate nor claims are of an authority known here.
    """
    for bundle in bundles:
        found = verify_leaf(papers.certificate, bundle, NOTHING_REVOKED, papers.read_at)
        if isinstance(found, NodeIdentity):
            return OwnCertificate(identity=found, warning="" if bundle is bundles[0] else ENDED)
        if found.fault is LeafFault.EXPIRED:
            return OwnCertificate(identity=None, warning=EXPIRED)
    if not any(_has_signed(bundle, papers.claims_envelope) for bundle in bundles):
        raise ConfigError(
            f"identity.certificate: {papers.certificate_path}: not issued by a node CA of any "
            "trust bundle known, and identity.claims not signed under one; is trust.bootstrap of "
            "another authority?"
        )
    return OwnCertificate(identity=None, warning=UNKNOWN)


def _has_signed(bundle: TrustBundle, claims: bytes) -> bool:
    trust = ClaimsTrust(bundle, NOTHING_REVOKED, Ed25519Verifier())
    found = good_signers(claims, PayloadKind.NODE_CLAIMS, trust)
    return found is not None and len(found[1]) >= found[0].threshold


def _signer(config: Config, claims: NodeClaims) -> CheckpointSigner:
    """A key other nodes would not know signs nothing anybody believes."""
    try:
        signer = CheckpointSigner(_bytes(config.audit_key))
    except TrustError as error:
        raise ConfigError(f"audit.key: {config.audit_key}: {error}") from error
    if signer.public_key != claims.audit_key:
        raise ConfigError(
            f"audit.key: {config.audit_key}: is not the key named in identity.claims; "
            "take both from one enrollment"
        )
    return signer


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(PRIVATE_BYTES_MAX)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def _der(config: Config, pair: KeyPair) -> bytes:
    try:
        return ssl.PEM_cert_to_DER_cert(pair.certificate.decode("ascii"))
    except ValueError as error:
        raise ConfigError(
            f"identity.certificate: {config.certificate}: not a certificate in PEM"
        ) from error


def check_tls(papers: Papers) -> TlsContexts:
    """The contexts of the pinned bundle; raises `ConfigError` if key and certificate do not fit."""
    try:
        return TlsContexts(papers.pinned.bundle, papers.pair)
    except ssl.SSLError as error:
        is_locked = b"ENCRYPTED" in papers.pair.private_key
        fault = "needs a password" if is_locked else "does not fit the certificate"
        raise ConfigError(f"identity.private_key: {fault}") from error
    except OSError as error:
        raise ConfigError(f"identity.private_key: {error.strerror}") from error
