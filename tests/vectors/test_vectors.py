"""Bytes never drift: our code against files that other libraries made, and against those libraries.

Each file says who made it and who agreed. No file is written by the code under test; where one of
these tests fails, an older node would no longer understand us.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import TypedDict, cast

import nacl.exceptions
import nacl.signing
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.dsse import Envelope as DsseEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import Key, SSlibKey  # type: ignore[attr-defined]  # has no __all__
from securesystemslib.signer import Signature as DsseSignature  # type: ignore[attr-defined]  # nor

from fabgossip.model.artifact import ArtifactType
from fabgossip.model.authority import ClaimItem, KeyStatus, Opening, RevokedKind
from fabgossip.model.envelope import KIND_BY_PAYLOAD_TYPE, PayloadKind, Signature
from fabgossip.model.ids import ClusterId, KeyId, NodeId, key_id_of
from fabgossip.model.scope import StorageAssignment, parse_scope_id, shard_of
from fabgossip.model.topology import PeerClass
from fabgossip.trust.revocation import node_token
from fabgossip.trust.signatures import Ed25519Verifier, is_fit_public_key, signed_bytes
from fabgossip.wire.codec import message_body, parse_message
from fabgossip.wire.contents import (
    parse_bundle,
    parse_peer_directory,
    parse_revocations,
    parse_snapshot,
    parse_storage_directory,
)
from fabgossip.wire.envelopes import envelope_bytes, parse_envelope
from fabgossip.wire.framing import FrameKind, FrameReader, frame_bytes
from fabgossip.wire.statements import (
    commitment_of,
    parse_checkpoint,
    parse_claims,
    parse_manifest,
)
from tests.trust import factory as f
from tests.wire.samples import SAMPLES

FOLDER = Path(__file__).parent
FILES = sorted(FOLDER.glob("*.json"))
ENVELOPES = sorted(FOLDER.glob("envelope_*.json"))
VERIFIER = Ed25519Verifier()


class KeyVector(TypedDict):
    seed: str
    public_key: str
    key_id: str
    signature: str


class EnvelopeVector(TypedDict):
    payload_type: str
    payload: str
    keys: list[KeyVector]
    signed_bytes: str
    signed_bytes_sha256: str
    envelope: str
    envelope_sha256: str


class FrameVector(TypedDict):
    message: str
    frame: str
    stream: int


def load(name: str) -> dict[str, object]:
    document: dict[str, object] = json.loads((FOLDER / name).read_text(encoding="ascii"))
    return document


def envelope_vector(path: Path) -> EnvelopeVector:
    return cast("EnvelopeVector", load(path.name))


def names(paths: list[Path]) -> list[str]:
    return [path.stem for path in paths]


PAYLOADS = cast("dict[str, str]", load("payloads.json")["vectors"])
FRAMES = cast("list[FrameVector]", load("frames.json")["vectors"])


@pytest.mark.parametrize("path", FILES, ids=names(FILES))
def test_a_vector_says_who_made_it_and_who_agreed(path: Path) -> None:
    document = load(path.name)
    for header in ("made_by", "agreed", "shows"):
        assert isinstance(document[header], str)
        assert document[header]


def test_the_first_vector_is_the_one_of_the_design() -> None:
    vector = envelope_vector(FOLDER / "envelope_trust_bundle.json")
    seed = bytes(range(32))
    payload = bytes.fromhex("93010203")
    private = Ed25519PrivateKey.from_private_bytes(seed)
    one = f.Signer("vector", private, private.public_key().public_bytes_raw())
    message = signed_bytes(PayloadKind.TRUST_BUNDLE, payload)
    raw = f.sealed(PayloadKind.TRUST_BUNDLE, payload, one)
    assert (vector["keys"][0]["seed"], vector["payload"]) == (seed.hex(), payload.hex())
    assert one.key_id.hex() == "56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c"
    assert (
        sha256(message).hexdigest()
        == "bf0d6136c92880be3eabfb828e6520fb5c354ffc10905c2298ba56a1cb87104b"
    )
    assert len(raw) == 161
    assert (
        sha256(raw).hexdigest()
        == "5a49ab907b71ce741e29431472c61a859dd0c4c23ff576855a07272bd1e744ee"
    )


@pytest.mark.parametrize("path", ENVELOPES, ids=names(ENVELOPES))
def test_an_envelope_of_a_vector_is_read_and_written_bit_for_bit(path: Path) -> None:
    vector = envelope_vector(path)
    raw = bytes.fromhex(vector["envelope"])
    read = parse_envelope(raw)
    assert read.kind is KIND_BY_PAYLOAD_TYPE[vector["payload_type"]]
    assert read.payload.hex() == vector["payload"]
    assert {one.key_id.hex(): one.value.hex() for one in read.signatures} == {
        key["key_id"]: key["signature"] for key in vector["keys"]
    }
    assert envelope_bytes(read.kind, read.payload, read.signatures) == raw
    assert sha256(raw).hexdigest() == vector["envelope_sha256"]


@pytest.mark.parametrize("path", ENVELOPES, ids=names(ENVELOPES))
def test_the_signatures_of_a_vector_are_good_over_its_signed_bytes(path: Path) -> None:
    vector = envelope_vector(path)
    kind = KIND_BY_PAYLOAD_TYPE[vector["payload_type"]]
    message = signed_bytes(kind, bytes.fromhex(vector["payload"]))
    assert message.hex() == vector["signed_bytes"]
    assert sha256(message).hexdigest() == vector["signed_bytes_sha256"]
    for key in vector["keys"]:
        public_key = bytes.fromhex(key["public_key"])
        assert key_id_of(public_key).hex() == key["key_id"]
        assert VERIFIER.is_good(public_key, message, bytes.fromhex(key["signature"]))


# Other libraries, both ways.


def dsse_key(public_key: bytes, keyid: str = "any") -> SSlibKey:
    return SSlibKey(keyid, "ed25519", "ed25519", {"public": public_key.hex()})


@pytest.mark.parametrize("kind", PayloadKind)
def test_what_we_sign_securesystemslib_and_nacl_accept(kind: PayloadKind) -> None:
    payload = b"payload of " + kind.value.encode()
    read = parse_envelope(f.sealed(kind, payload, f.COMPILER, f.POLICY))
    signatures = {
        one.key_id.hex(): DsseSignature(one.key_id.hex(), one.value.hex())
        for one in read.signatures
    }
    envelope = DsseEnvelope(read.payload, kind.payload_type, signatures)
    keys: list[Key] = [dsse_key(one.public_key, one.key_id.hex()) for one in (f.COMPILER, f.POLICY)]
    assert set(envelope.verify(keys, threshold=2)) == {one.key_id.hex() for one in read.signatures}
    assert envelope.pae() == signed_bytes(kind, payload)
    (value,) = (one.value for one in read.signatures if one.key_id == f.POLICY.key_id)
    nacl.signing.VerifyKey(f.POLICY.public_key).verify(envelope.pae(), value)


@pytest.mark.parametrize("kind", PayloadKind)
def test_what_others_sign_over_dsse_our_verifier_accepts(kind: PayloadKind) -> None:
    payload = bytes(range(200))
    private = nacl.signing.SigningKey(b"\x42" * 32)
    public_key = bytes(private.verify_key)
    made = DsseEnvelope(payload, kind.payload_type, {})
    signature = Signature(KeyId(sha256(public_key).digest()), private.sign(made.pae()).signature)
    read = parse_envelope(envelope_bytes(kind, payload, (signature,)))
    message = signed_bytes(read.kind, read.payload)
    assert VERIFIER.is_good(public_key, message, read.signatures[0].value)


def test_other_libraries_refuse_what_we_refuse() -> None:
    message = signed_bytes(PayloadKind.PEER_DIRECTORY, b"payload")
    other = signed_bytes(PayloadKind.STORAGE_DIRECTORY, b"payload")
    value = f.POLICY.private.sign(message)
    public_key = f.POLICY.public_key
    assert VERIFIER.is_good(public_key, message, value)
    assert not VERIFIER.is_good(public_key, other, value)
    with pytest.raises(nacl.exceptions.BadSignatureError):
        nacl.signing.VerifyKey(public_key).verify(other, value)
    with pytest.raises(VerificationError):
        DsseEnvelope(
            b"payload",
            PayloadKind.STORAGE_DIRECTORY.payload_type,
            {"any": DsseSignature("any", value.hex())},
        ).verify([dsse_key(public_key)], threshold=1)


# Weak keys: R = the identity and S = 0 verify every message under them in a careless library.

WEAK = load("weak_keys.json")
SMALL_ORDER = cast("list[str]", WEAK["small_order"])
NOT_CANONICAL = cast("list[str]", WEAK["not_canonical"])
SIGN_OF_ZERO = cast("list[str]", WEAK["small_order_with_sign_of_zero"])


def test_there_are_eight_points_of_small_order() -> None:
    assert len(set(SMALL_ORDER)) == 8
    assert len(set(NOT_CANONICAL)) == 38


@pytest.mark.parametrize("key", [*SMALL_ORDER, *SIGN_OF_ZERO, *NOT_CANONICAL])
def test_a_weak_key_is_not_fit_and_verifies_nothing(key: str) -> None:
    public_key = bytes.fromhex(key)
    forged = b"\x01" + bytes(63)
    assert not is_fit_public_key(public_key)
    assert not any(VERIFIER.is_good(public_key, b"%d" % n, forged) for n in range(8))


@pytest.mark.parametrize("key", SMALL_ORDER)
def test_libsodium_does_not_verify_under_a_small_order_key_either(key: str) -> None:
    with pytest.raises(nacl.exceptions.BadSignatureError):
        nacl.signing.VerifyKey(bytes.fromhex(key)).verify(b"any", b"\x01" + bytes(63))


# Payloads and contents: what each place means.


def payload(name: str) -> bytes:
    return bytes.fromhex(PAYLOADS[name])


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_payload_of_a_vector_is_written_bit_for_bit(name: str) -> None:
    (sample,) = (one for one in SAMPLES if one.name == name)
    assert sample.again(payload(name)) == payload(name)


def test_the_places_of_a_manifest_mean_what_they_meant() -> None:
    read = parse_manifest(payload("manifest"))
    assert (read.artifact_id, read.artifact_type) == ("a-1", ArtifactType.ROUTE_POLICY_BUNDLE)
    assert (read.config_version, read.authority_epoch) == (7, 2)
    assert (read.issued_at, read.refresh_by, read.expires_at) == (
        1_800_000_000,
        1_800_003_600,
        1_800_086_400,
    )
    assert read.signer_key_ids == (b"\x01" * 32, b"\x02" * 32)
    assert (read.content_hash, read.content_size) == (b"\x03" * 32, (1 << 20) + 1)
    assert [one[0] for one in read.chunk_hashes] == [10, 11, 12, 13, 14]
    assert (read.min_trust_version, read.min_revocation_version) == (3, 4)
    assert read.extensions == (("note", b"\x00\xff"),)
    withdrawn = parse_manifest(payload("tombstone")).tombstone
    assert withdrawn is not None
    assert (withdrawn.reason, withdrawn.purge) == ("withdrawn", True)
    base = parse_manifest(payload("increment")).base
    assert base is not None
    assert (base.version, base.content_hash[0], base.result_hash[0], base.result_size) == (
        8,
        5,
        6,
        70_000,
    )


def test_the_places_of_claims_mean_what_they_meant() -> None:
    read = parse_claims(payload("claims"))
    assert (read.platform_id, read.cluster_id, read.node_id) == ("acme-net", "prod", "n1")
    assert (read.claims_version, read.authority_epoch) == (1, 2)
    assert read.roles == ("control-endpoint", "edge")
    assert len(read.commitments) == 16


def test_the_places_of_a_checkpoint_mean_what_they_meant() -> None:
    read = parse_checkpoint(payload("checkpoint"))
    assert (read.cluster_id, read.node_id, read.boot_id) == ("prod", "n1", b"\x0b" * 16)
    assert (read.size, read.head, read.wall) == (18_211, b"\x4e" * 32, 1_800_000_000)


def test_the_places_of_a_bundle_mean_what_they_meant() -> None:
    read = parse_bundle(payload("bundle"))
    assert (read.bundle_version, read.authority_epoch, read.root_threshold) == (3, 2, 2)
    assert [key.status for key in read.keys] == list(KeyStatus)
    assert (read.rights[0].kind, read.rights[0].threshold) == ("peer_directory", 1)
    assert read.rights[0].key_ids == (read.keys[0].key_id,)
    assert (read.cert_life_max_s, read.protocol_min) == (86_400, 1)
    assert read.content_caps[0].size_max == 1 << 20


def test_the_numbers_of_contents_mean_what_they_meant() -> None:
    revoked = parse_revocations(payload("revocations")).entries
    assert [(one.kind, one.value[0]) for one in revoked] == [
        (RevokedKind.SIGNING_KEY, 1),
        (RevokedKind.NODE, 2),
        (RevokedKind.CERTIFICATE, 3),
        (RevokedKind.GRANT, 4),
        (RevokedKind.MANIFEST, 5),
        (RevokedKind.CONTENT, 6),
    ]
    peers = parse_peer_directory(payload("peer directory")).peers
    assert [(one.peer_class, one.is_storage) for one in peers] == [
        (PeerClass.CORE, False),
        (PeerClass.FULL, True),
        (PeerClass.THIN, False),
    ]
    stores = parse_storage_directory(payload("storage directory"))
    assert stores.nodes[0].assignments[0].shards == (0, 127, 128, 255)
    assert [(one.replicas, one.on_demand) for one in stores.replication.rules] == [
        (3, False),
        (0, True),
    ]
    snapshot = parse_snapshot(payload("snapshot"))
    assert (snapshot.endpoints[0].node_id, snapshot.settings) == ("c1", b"\x00opaque")


# Frames: every number of the protocol.


@pytest.mark.parametrize("vector", FRAMES, ids=lambda vector: vector["message"])
def test_a_frame_of_a_vector_is_read_and_written_bit_for_bit(vector: FrameVector) -> None:
    raw = bytes.fromhex(vector["frame"])
    reader = FrameReader()
    reader.feed(raw)
    for frame in reader.frames():
        message = parse_message(frame.kind, bytes(frame.body))
        assert type(message).__name__ == vector["message"]
        kind, body = message_body(message)
        assert frame_bytes(kind, frame.traffic, frame.stream, body) == raw
        assert frame.stream == vector["stream"]


def test_there_is_a_vector_of_every_kind_of_message() -> None:
    kinds = {bytes.fromhex(vector["frame"])[3] for vector in FRAMES}
    assert kinds == {int(kind) for kind in FrameKind} - {FrameKind.CONTENT}


# Hashes.


class CommitmentVector(TypedDict, total=False):
    salt: str
    scope: str
    scope_ids: list[str]
    types: list[str]
    shards: list[int]
    sha256: str


HASHES = load("hashes.json")


@pytest.mark.parametrize("vector", cast("list[CommitmentVector]", HASHES["commitments"]))
def test_a_commitment_is_hashed_as_it_was(vector: CommitmentVector) -> None:
    if "scope" in vector:
        item = ClaimItem(scope=vector["scope"])
    else:
        scopes = tuple(parse_scope_id(one) for one in vector["scope_ids"])
        shards = tuple(vector["shards"])
        item = ClaimItem(assignment=StorageAssignment(scopes, tuple(vector["types"]), shards))
    opening = Opening(bytes.fromhex(vector["salt"]), item)
    assert commitment_of(opening).hex() == vector["sha256"]


def test_tokens_and_shards_are_hashed_as_they_were() -> None:
    (node,) = cast("list[dict[str, str]]", HASHES["node_tokens"])
    token = node_token(ClusterId(node["cluster"]), NodeId(node["node"]))
    assert token.hex() == node["sha256"]
    (shard,) = cast("list[dict[str, object]]", HASHES["shards"])
    assert shard_of(str(shard["namespace"])) == shard["shard"]
    (audience,) = cast("list[dict[str, object]]", HASHES["audience_tokens"])
    scope_ids = cast("list[str]", audience["scope_ids"])
    assert f.audience(*scope_ids).token.hex() == audience["blake2b_128"]
