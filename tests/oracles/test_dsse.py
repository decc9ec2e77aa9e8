"""Envelopes against `dsse` of securesystemslib, in both directions.

Differences, each shown below: the oracle counts one key under two key ids as two, believes any key
id a caller gives a key, and ignores a signature of another length; we are the stricter each time.
"""

import base64
import json
from dataclasses import replace
from itertools import chain, combinations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from securesystemslib.dsse import Envelope as DsseEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, Key, SSlibKey  # type: ignore[attr-defined]
from securesystemslib.signer import Signature as DsseSignature  # type: ignore[attr-defined]

from fabgossip.model.artifact import ArtifactType, VerifiedManifest
from fabgossip.model.authority import TrustBundle
from fabgossip.model.envelope import PAYLOAD_BYTES_MAX, PayloadKind, Signature
from fabgossip.model.ids import KeyId
from fabgossip.trust.bundle import bundle_faults
from fabgossip.trust.rejections import RejectionCode as Code
from fabgossip.trust.signatures import signed_bytes
from fabgossip.wire.contents import bundle_bytes, parse_bundle
from fabgossip.wire.envelopes import envelope_bytes, parse_envelope
from fabgossip.wire.packing import pack
from fabgossip.wire.statements import manifest_bytes
from tests.trust import factory as f

UPDATE = replace(
    f.manifest(ArtifactType.UPDATE_MANIFEST),
    signer_key_ids=tuple(sorted(one.key_id for one in f.RELEASES)),
)
KIND = PayloadKind.UPDATE_MANIFEST
SUBSETS = tuple(chain.from_iterable(combinations(f.RELEASES, size) for size in range(4)))


def oracle_key(one: f.Signer, key_id: str | None = None) -> Key:
    name = one.key_id.hex() if key_id is None else key_id
    return SSlibKey(name, "ed25519", "ed25519", {"public": one.public_key.hex()})


def as_dsse(raw: bytes) -> DsseEnvelope:
    """One of our envelopes, through the JSON form of DSSE, as the oracle reads it."""
    read = parse_envelope(raw)
    rows = [
        {"keyid": one.key_id.hex(), "sig": base64.b64encode(one.value).decode()}
        for one in read.signatures
    ]
    payload = base64.b64encode(read.payload).decode()
    document = {"payload": payload, "payloadType": read.kind.payload_type, "signatures": rows}
    return DsseEnvelope.from_dict(json.loads(json.dumps(document)))


def as_ours(made: DsseEnvelope, kind: PayloadKind) -> bytes:
    """An envelope of the oracle in our framing; its key ids are ours, in hexadecimal."""
    signatures = tuple(
        Signature(KeyId(bytes.fromhex(one.keyid)), bytes.fromhex(one.signature))
        for one in made.signatures.values()
    )
    return envelope_bytes(kind, made.payload, signatures)


def oracle_signed(kind: PayloadKind, payload: bytes, *signers: f.Signer) -> DsseEnvelope:
    made = DsseEnvelope(payload, kind.payload_type, {})
    for one in signers:
        key = oracle_key(one)
        assert isinstance(key, SSlibKey)
        made.sign(CryptoSigner(one.private, key))
    return made


def oracle_accepts(made: DsseEnvelope, keys: list[Key], threshold: int) -> bool:
    try:
        made.verify(keys, threshold)
    except VerificationError:
        return False
    return True


def asking(threshold: int) -> TrustBundle:
    """The bundle with this threshold on updates."""
    others = tuple(one for one in f.BUNDLE.rights if one.kind != KIND.value)
    return replace(
        f.BUNDLE, rights=(*others, f.right(KIND.value, *f.RELEASES, threshold=threshold))
    )


def we_accept(raw: bytes, bundle: TrustBundle) -> bool:
    verdict = f.admit(raw, facts=replace(f.FACTS, bundle=bundle))
    return isinstance(verdict, VerifiedManifest)


# The oracle itself, by the vector published with DSSE (protocol.md, "Test Vectors").


def test_the_oracle_keeps_the_published_vector() -> None:
    x = 46950820868899156662930047687818585632848591499744589407958293238635476079160
    y = 5640078356564379163099075877009565129882514886557779369047442380624545832820
    signature = base64.b64decode(
        "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="
    )
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    key = SSlibKey("any", "ecdsa", "ecdsa-sha2-nistp256", {"public": pem.decode()})
    r, s = (int.from_bytes(half) for half in (signature[:32], signature[32:]))
    signatures = {"any": DsseSignature("any", encode_dss_signature(r, s).hex())}
    made = DsseEnvelope(b"hello world", "http://example.com/HelloWorld", signatures)
    assert made.pae() == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert oracle_accepts(made, [key], 1)


def test_the_published_vector_is_no_envelope_of_ours() -> None:
    """Its payload type is none of ours, and nothing is negotiated."""
    raw = pack([1, "http://example.com/HelloWorld", b"hello world", []])
    assert f.code_of(f.admit(raw)) is Code.UNSUPPORTED


# Agreement.


@pytest.mark.parametrize("kind", PayloadKind)
def test_the_signed_bytes_are_the_oracle_s_at_every_length_of_a_length(kind: PayloadKind) -> None:
    for length in (0, 1, 9, 10, 99, 100, 999, 1_000, PAYLOAD_BYTES_MAX):
        payload = b" " * length
        assert signed_bytes(kind, payload) == DsseEnvelope(payload, kind.payload_type, {}).pae()


@pytest.mark.parametrize("kind", ArtifactType)
def test_what_the_oracle_signs_our_gate_admits(kind: ArtifactType) -> None:
    """And for a manifest it is, bit for bit, what we would have signed."""
    statement = f.manifest(kind)
    signers = f.SIGNERS_OF[kind]
    made = oracle_signed(kind.payload_kind, manifest_bytes(statement), *signers)
    raw = as_ours(made, kind.payload_kind)
    assert f.admitted(raw).manifest == statement
    assert raw == f.signed(statement, *signers)


@pytest.mark.parametrize("threshold", [1, 2, 3])
@pytest.mark.parametrize(
    "signers", SUBSETS, ids=lambda subset: "+".join(one.name for one in subset) or "nobody"
)
def test_thresholds_are_met_by_the_same_signers_in_both_directions(
    signers: tuple[f.Signer, ...], threshold: int
) -> None:
    """With a stranger's signature beside, which neither counts."""
    ours = f.sealed(KIND, manifest_bytes(UPDATE), *signers, f.STRANGER)
    theirs = as_ours(oracle_signed(KIND, manifest_bytes(UPDATE), *signers, f.STRANGER), KIND)
    keys = [oracle_key(one) for one in f.RELEASES]
    enough = len(signers) >= threshold
    assert oracle_accepts(as_dsse(ours), keys, threshold) is enough
    assert we_accept(ours, asking(threshold)) is enough
    assert we_accept(theirs, asking(threshold)) is enough


@pytest.mark.parametrize("bad_count", [1, 2])
def test_a_bad_signature_beside_good_ones_is_ignored_by_both(bad_count: int) -> None:
    payload = manifest_bytes(UPDATE)
    signatures = [one.sign(KIND, payload) for one in f.RELEASES]
    for place in range(bad_count):
        signatures[place] = replace(signatures[place], value=signatures[2].value)
    raw = envelope_bytes(KIND, payload, tuple(signatures))
    keys = [oracle_key(one) for one in f.RELEASES]
    enough = bad_count == 1
    assert oracle_accepts(as_dsse(raw), keys, 2) is enough
    assert we_accept(raw, asking(2)) is enough


@pytest.mark.parametrize("other", [one for one in PayloadKind if one is not KIND])
def test_another_payload_type_is_refused_by_both(other: PayloadKind) -> None:
    read = parse_envelope(f.signed(UPDATE, *f.RELEASES))
    raw = envelope_bytes(other, read.payload, read.signatures)
    assert not oracle_accepts(as_dsse(raw), [oracle_key(one) for one in f.RELEASES], 1)
    assert not we_accept(raw, f.BUNDLE)


# Differences.


def test_one_key_under_two_ids_counts_twice_there_and_once_here() -> None:
    """CVE-2020-15093, CVE-2026-6966: the threshold must count keys, not their names."""
    payload = manifest_bytes(UPDATE)
    one = f.RELEASES[0]
    good = one.sign(KIND, payload)
    other_id = KeyId(b"\x01" * 32)
    raw = envelope_bytes(KIND, payload, (good, replace(good, key_id=other_id)))
    twice = [oracle_key(one), oracle_key(one, other_id.hex())]
    assert oracle_accepts(as_dsse(raw), twice, 2)
    assert f.code_of(f.admit(raw)) is Code.SIG_THRESHOLD


def test_one_key_under_two_ids_cannot_stand_in_a_bundle() -> None:
    """The id of a key is the hash of its bytes on the wire, so its second name is lost there, and a
    key that stands twice is a fault of the bundle."""
    first = f.signing_key(f.RELEASES[0])
    renamed = replace(first, key_id=KeyId(b"\x01" * 32))
    twice = replace(f.BUNDLE, keys=(*f.BUNDLE.keys, renamed))
    assert "a key stands twice" in bundle_faults(twice)
    read = parse_bundle(bundle_bytes(twice))
    assert renamed.key_id not in {one.key_id for one in read.keys}
    assert "a key stands twice" in bundle_faults(read)


def test_one_signature_twice_is_refused_by_both() -> None:
    good = f.RELEASES[0].sign(KIND, manifest_bytes(UPDATE))
    row = [bytes(good.key_id), good.value]
    raw = pack([1, KIND.payload_type, manifest_bytes(UPDATE), [row, row]])
    assert f.code_of(f.admit(raw)) is Code.SCHEMA
    rows = [{"keyid": "k", "sig": base64.b64encode(good.value).decode()} for _ in range(2)]
    with pytest.raises(ValueError, match="Multiple signatures"):
        DsseEnvelope.from_dict({"payload": "", "payloadType": "any", "signatures": rows})


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_of_another_length_is_ignored_there_and_refused_here(length: int) -> None:
    payload = manifest_bytes(UPDATE)
    rows = [
        [bytes(one.key_id), one.sign(KIND, payload).value]
        for one in sorted(f.RELEASES, key=lambda one: one.key_id)
    ]
    rows[0][1] = bytes(length)
    signatures = {key_id.hex(): DsseSignature(key_id.hex(), value.hex()) for key_id, value in rows}
    made = DsseEnvelope(payload, KIND.payload_type, signatures)
    assert oracle_accepts(made, [oracle_key(one) for one in f.RELEASES], 2)
    raw = pack([1, KIND.payload_type, payload, rows])
    assert f.code_of(f.admit(raw)) is Code.SCHEMA
