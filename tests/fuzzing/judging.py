"""Bytes to belief: what is accepted was signed, and by those who may sign it.

Each judge is fuzzed twice. From outside, where nothing but what the factory signed may ever be
believed. And signed anew after the change, as a signer who errs or whose key was stolen would: then
the rules behind the signature are reached, and the oracle is the factory's own table of who signs
what.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from fabgossip.errors import TrustError, WireError
from fabgossip.model.artifact import TYPE_RULES, ArtifactType, VerifiedManifest
from fabgossip.model.authority import KeyStatus, NodeCa, NodeIdentity, TrustBundle, VerifiedClaims
from fabgossip.model.envelope import Envelope, PayloadKind
from fabgossip.model.moment import UnixTime
from fabgossip.model.topology import PeerDirectory
from fabgossip.trust.bundle import RETIRED_GRACE_S, PinnedTrust, bundle_from_pinned
from fabgossip.trust.gate import ReadContent, TrustGate
from fabgossip.trust.identity import verify_claims, verify_leaf
from fabgossip.trust.rejections import Rejection, RejectionCode
from fabgossip.trust.revocation import NOTHING_REVOKED
from fabgossip.trust.signatures import Ed25519Verifier
from fabgossip.wire.contents import bundle_bytes, parse_bundle, parse_pinned, pinned_bytes
from fabgossip.wire.envelopes import envelope_bytes, parse_envelope
from fabgossip.wire.packing import pack
from fabgossip.wire.statements import (
    claims_bytes,
    manifest_bytes,
    own_claims_bytes,
    parse_own_claims,
)
from tests.core import artifacts
from tests.fuzzing import der
from tests.fuzzing.target import Target, read_script
from tests.trust import factory
from tests.wire import samples

SIGNERS: Final = {one.key_id: one for one in (*factory.ROOTS, *factory.SIGNING, factory.STRANGER)}
ACME_BY_ITS_OWN: Final = replace(
    artifacts.acme_routes().manifest,
    signer_key_ids=tuple(sorted((factory.POLICY.key_id, factory.DIRECTORY.key_id))),
)
BY_ALL_RELEASES: Final = replace(
    factory.manifest(ArtifactType.UPDATE_MANIFEST),
    signer_key_ids=tuple(sorted(one.key_id for one in factory.RELEASES)),
)
ENVELOPES: Final = (
    *(factory.signed(factory.manifest(kind)) for kind in ArtifactType),
    *(factory.signed(one) for one in (samples.TOMBSTONE, samples.LARGE)),
    samples.ENVELOPE,
    factory.signed(artifacts.acme_routes().manifest, factory.POLICY, factory.DIRECTORY),
    factory.signed(ACME_BY_ITS_OWN, factory.POLICY, factory.DIRECTORY),
    factory.signed(BY_ALL_RELEASES, *factory.RELEASES),
    artifacts.trust(factory.NEXT_BUNDLE).envelope,
)
ACME: Final = f"{factory.PREFIX}/org/acme"
SEQUENCE: Final = 0x30
BIT_STRING: Final = 0x03
LEAF: Final = factory.leaf_der(factory.Leaf())
PINNED: Final = pinned_bytes(
    factory.signed(factory.bundle_manifest(factory.BUNDLE)), bundle_bytes(factory.BUNDLE)
)
CLAIMS_FILE: Final = own_claims_bytes(samples.CLAIMS_ENVELOPE, factory.OPENINGS)
SIGNED: Final = {
    (one.kind, one.payload)
    for one in map(
        factory.parts, (*ENVELOPES, samples.CLAIMS_ENVELOPE, parse_pinned(PINNED)[0], *ENVELOPES)
    )
}
"""Everything the factory signed that a target may be shown."""


DIVIDED: Final = replace(
    factory.FACTS,
    bundle=replace(
        factory.BUNDLE,
        keys=tuple(
            replace(
                one,
                status=KeyStatus.RETIRED,
                not_after=UnixTime(factory.NOW - RETIRED_GRACE_S - 1),
            )
            if one.key_id == factory.RELEASES[2].key_id
            else one
            for one in factory.BUNDLE.keys
        ),
        rights=(
            *factory.BUNDLE.rights,
            factory.right("route_policy_bundle", factory.DIRECTORY, prefix=ACME),
        ),
    ),
)
"""Routes of one organisation are another key's than the cluster's, and one key is retired
long enough that nothing it signed may still turn up."""


def resigned(envelope: Envelope) -> bytes:
    """The envelope as those it names would have signed it; who is unknown here stays a forger."""
    signatures = tuple(
        SIGNERS[one.key_id].sign(envelope.kind, envelope.payload) if one.key_id in SIGNERS else one
        for one in envelope.signatures
    )
    return envelope_bytes(envelope.kind, envelope.payload, signatures)


def gate(data: bytes) -> None:
    """An envelope of anybody: what is admitted was signed, bit for bit."""
    verdict = factory.admit(data)
    if isinstance(verdict, VerifiedManifest):
        envelope = parse_envelope(data)
        assert (envelope.kind, envelope.payload) in SIGNED
        _stands(verdict, envelope)
    else:
        _refused(verdict)


def gate_signed(data: bytes) -> None:
    """An envelope signed by the very keys it names: what is admitted may be signed by them."""
    try:
        envelope = parse_envelope(data)
    except WireError:
        return
    raw = resigned(envelope)
    verdict = factory.admit(raw, facts=DIVIDED)
    if isinstance(verdict, VerifiedManifest):
        _stands(verdict, envelope)
        is_acme = verdict.manifest.namespace.text.startswith(f"{factory.PREFIX}/org/acme/")
        is_routes = verdict.manifest.artifact_type is ArtifactType.ROUTE_POLICY_BUNDLE
        assert factory.RELEASES[2].key_id not in verdict.signed_by
        assert not is_routes or set(verdict.signed_by) == {
            factory.DIRECTORY.key_id if is_acme else factory.POLICY.key_id
        }
    else:
        _refused(verdict)
    again = TrustGate(Ed25519Verifier()).recall(raw, DIVIDED, factory.NOW)
    assert isinstance(again, VerifiedManifest) or not isinstance(verdict, VerifiedManifest)


def _stands(verdict: VerifiedManifest, envelope: Envelope) -> None:
    """The statement is that of the payload, within its bounds, by enough of those with a right."""
    manifest, kind = verdict.manifest, verdict.manifest.artifact_type
    assert manifest_bytes(manifest) == envelope.payload
    assert kind.payload_kind is envelope.kind
    assert manifest.namespace.text.startswith(f"{factory.PREFIX}/")
    assert manifest.namespace.family in TYPE_RULES[kind].families
    assert manifest.content_size <= TYPE_RULES[kind].size_max
    by_right = factory.ROOTS if kind is ArtifactType.TRUST_BUNDLE else _with_a_right(kind)
    counted = set(verdict.signed_by)
    assert counted <= {one.key_id for one in by_right}
    assert counted <= set(manifest.signer_key_ids)
    assert counted <= {one.key_id for one in envelope.signatures}
    assert len(counted) >= len(factory.SIGNERS_OF[kind])


def _with_a_right(kind: ArtifactType) -> tuple[factory.Signer, ...]:
    match kind:
        case ArtifactType.UPDATE_MANIFEST:
            return factory.RELEASES
        case ArtifactType.ROUTE_POLICY_BUNDLE:
            return (factory.POLICY, factory.DIRECTORY)
        case _:
            return factory.SIGNERS_OF[kind]


def _refused(verdict: object) -> None:
    assert isinstance(verdict, Rejection)
    assert verdict.code in RejectionCode
    assert verdict.blame is not None
    assert verdict.retry is not None


CONTENTS: Final = (
    artifacts.trust(factory.NEXT_BUNDLE),
    artifacts.revocations(7),
    artifacts.node_snapshot(),
    artifacts.peers(artifacts.record("n2")),
    artifacts.stores("s1"),
)
"""One artifact of each type fabgossip reads."""


def contents(data: bytes) -> None:
    """`[type, content]`: a content with the signature of its signer is read, or blames the signer.

    The facts that follow from a strange bundle are used: a signer can be wrong too.
    """
    script = read_script(data, 2)
    if script is None or not isinstance(script[0], int) or not isinstance(script[1], bytes):
        return
    verified = VERIFIED[script[0] % len(VERIFIED)]
    read: ReadContent | Rejection = TrustGate(Ed25519Verifier()).read(
        verified, script[1], factory.FACTS
    )
    if isinstance(read, Rejection):
        assert read.code in (RejectionCode.CONTENT_INVALID, RejectionCode.BUNDLE_INVALID)
        _refused(read)
    if isinstance(read, TrustBundle):
        _judge_by(read)
    if isinstance(read, PeerDirectory):
        _judge_directory(read)


VERIFIED: Final = tuple(one.verified for one in CONTENTS)


def _judge_directory(directory: PeerDirectory) -> None:
    """A peer's audiences are places in the list beside it."""
    for peer in directory.peers:
        assert all(directory.audiences[place] is not None for place in peer.audiences)


def _judge_by(bundle: TrustBundle) -> None:
    """Everything that is judged by a bundle gives a verdict by this one."""
    facts = replace(factory.FACTS, bundle=bundle)
    verify_leaf(LEAF, bundle, NOTHING_REVOKED, factory.NOW)
    for envelope in ENVELOPES[:3]:
        verdict = factory.admit(envelope, facts=facts)
        assert isinstance(verdict, VerifiedManifest | Rejection)
    trust = factory.claims_trust(facts)
    verify_claims(
        samples.CLAIMS_ENVELOPE, factory.OPENINGS, factory.NODE, trust, factory.BOTH_CLOCKS
    )


def bootstrap(data: bytes) -> None:
    """A bootstrap file: what is pinned is what the roots signed."""
    try:
        envelope, content = parse_pinned(data)
        pinned = bundle_from_pinned(envelope, content, Ed25519Verifier())
    except (WireError, TrustError):
        return
    parts = parse_envelope(envelope)
    assert (parts.kind, parts.payload) in SIGNED
    assert bundle_bytes(pinned.bundle) == content
    assert pinned.bundle in (factory.BUNDLE, factory.NEXT_BUNDLE)


def bootstrap_signed(data: bytes) -> None:
    """A bundle's content that the roots signed whatever it says: refused, or sound enough to judge
    by."""
    try:
        bundle = parse_bundle(data)
    except WireError:
        return
    statement = replace(
        factory.manifest(ArtifactType.TRUST_BUNDLE),
        config_version=bundle.bundle_version,
        authority_epoch=bundle.authority_epoch,
        content_hash=factory.hash_of(data),
        content_size=len(data),
    )
    envelope = factory.signed(statement, *factory.ROOTS)
    try:
        pinned: PinnedTrust = bundle_from_pinned(envelope, data, Ed25519Verifier())
    except TrustError:
        return
    roots = {one.public_key for one in factory.ROOTS}
    assert len(roots & set(bundle.root_keys)) >= bundle.root_threshold
    assert bundle_bytes(pinned.bundle) == data
    _judge_by(pinned.bundle)


def claims(data: bytes) -> None:
    """A claims file: what is believed of the node was signed, and committed to in it."""
    try:
        envelope, openings = parse_own_claims(data)
    except WireError:
        return
    verdict = verify_claims(
        envelope, openings, factory.NODE, factory.claims_trust(), factory.BOTH_CLOCKS
    )
    if not isinstance(verdict, VerifiedClaims):
        assert verdict.code is RejectionCode.CLAIMS_INVALID
        return
    assert (PayloadKind.NODE_CLAIMS, parse_envelope(envelope).payload) in SIGNED
    assert set(openings) <= set(factory.OPENINGS)
    assert verdict.entitlements.scope_ids <= factory.OWN.scope_ids
    assert set(verdict.entitlements.assignments) <= set(factory.OWN.assignments)


def claims_signed(data: bytes) -> None:
    """Claims signed by the very keys they name, whatever they say."""
    try:
        raw, openings = parse_own_claims(data)
        envelope = parse_envelope(raw)
    except WireError:
        return
    verdict = verify_claims(
        resigned(envelope), openings, factory.NODE, factory.claims_trust(), factory.BOTH_CLOCKS
    )
    if not isinstance(verdict, VerifiedClaims):
        assert verdict.code is RejectionCode.CLAIMS_INVALID
        return
    assert factory.CLAIMER.key_id in {one.key_id for one in envelope.signatures}
    assert claims_bytes(verdict.claims) == envelope.payload
    assert verdict.claims.node_id == factory.NODE
    assert verdict.claims.cluster_id == factory.CLUSTER


def leaf(data: bytes) -> None:
    """A certificate: whose identity is accepted holds one the node CA signed."""
    verdict = verify_leaf(data, factory.BUNDLE, NOTHING_REVOKED, factory.NOW)
    if isinstance(verdict, NodeIdentity):
        assert verdict.node_id == factory.NODE
        assert _signed_part(data) in SIGNED_LEAVES
    else:
        assert verdict.code is RejectionCode.IDENTITY_INVALID


def leaf_signed(data: bytes) -> None:
    """A certificate the node CA signed whatever it says: a node of this cluster, or refused."""
    whole = der.parts_of(data)
    parts = None if whole is None or len(whole) != 1 else der.parts_of(whole[0][1])
    if parts is None or len(parts) != 3:
        return
    signed = der.der_of(parts[:1])
    signature = factory.NODE_CA.private.sign(
        signed, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
    )
    made = der.der_of(
        [(SEQUENCE, der.der_of([parts[0], parts[1], (BIT_STRING, b"\x00" + signature)]))]
    )
    verdict = verify_leaf(made, factory.BUNDLE, NOTHING_REVOKED, factory.NOW)
    if isinstance(verdict, NodeIdentity):
        uri = f"spiffe://{factory.PLATFORM}/cluster/{factory.CLUSTER}/node/{verdict.node_id}"
        assert uri.encode() in signed
        assert verdict.expires_at >= factory.NOW
        assert verdict.certificate_hash == factory.hash_of(signed)
    else:
        assert verdict.code is RejectionCode.IDENTITY_INVALID


def node_ca(data: bytes) -> None:
    """A node CA of a signed bundle: a strange one beside the good one spoils nothing."""
    bundle = replace(factory.BUNDLE, node_cas=(NodeCa(data), NodeCa(factory.NODE_CA.der)))
    verdict = verify_leaf(LEAF, bundle, NOTHING_REVOKED, factory.NOW)
    assert isinstance(verdict, NodeIdentity)


def _signed_part(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).tbs_certificate_bytes


def _leaves() -> tuple[bytes, ...]:
    kinds = (
        factory.Leaf(),
        factory.Leaf(subject=factory.common_name("n1")),
        factory.Leaf(is_ca=True),
        factory.Leaf(usage=None),
        factory.Leaf(names=()),
        factory.Leaf(not_after=factory.NOW - 1),
    )
    return tuple(factory.leaf_der(one) for one in kinds)


SIGNED_LEAVES: Final = frozenset(map(_signed_part, _leaves()))
_Seeds = Callable[[], tuple[bytes, ...]]


def _content_seeds() -> tuple[bytes, ...]:
    return tuple(pack([place, one.content]) for place, one in enumerate(CONTENTS))


JUDGES: Final = (
    Target(name="gate", run=gate, seeds=lambda: ENVELOPES, share=60),
    Target(name="gate-signed", run=gate_signed, seeds=lambda: ENVELOPES, share=60),
    Target(name="contents", run=contents, seeds=_content_seeds, share=40),
    Target(name="bootstrap", run=bootstrap, seeds=lambda: (PINNED,)),
    Target(
        name="bootstrap-signed",
        run=bootstrap_signed,
        seeds=lambda: (bundle_bytes(factory.BUNDLE), bundle_bytes(factory.NEXT_BUNDLE)),
    ),
    Target(name="claims-file", run=claims, seeds=lambda: (CLAIMS_FILE,)),
    Target(name="claims-signed", run=claims_signed, seeds=lambda: (CLAIMS_FILE,)),
    Target(name="leaf", run=leaf, seeds=_leaves),
    Target(name="leaf-signed", run=leaf_signed, seeds=_leaves),
    Target(name="node-ca", run=node_ca, seeds=lambda: (factory.NODE_CA.der, LEAF)),
)
