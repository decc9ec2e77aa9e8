"""A manifest or claims field out of bounds is refused by name, as are fields that do not agree."""

from dataclasses import replace

import msgpack
import pytest

from fabgossip.model.artifact import ArtifactType, chunk_count_of
from fabgossip.model.authority import ClaimItem
from fabgossip.model.envelope import PAYLOAD_BYTES_MAX
from fabgossip.model.ids import NOTHING_HASH, ArtifactId, ClusterId, KeyId
from fabgossip.model.scope import Namespace, audience_from_scope_ids, parse_scope_id
from fabgossip.wire.packing import Value
from fabgossip.wire.statements import (
    checkpoint_bytes,
    claims_bytes,
    commitment_of,
    manifest_bytes,
    opening_value,
    openings_from,
    parse_checkpoint,
    parse_claims,
    parse_manifest,
    parse_own_claims,
)
from tests.trust import factory as f
from tests.wire.samples import INCREMENT, LARGE, ROUTES, TOMBSTONE, code_when_read

HASH = bytes(range(32))
LATER = bytes(range(1, 33))
MIB = 1 << 20
# Places of the 21 elements, by their numbers in the design.
FORMAT, ARTIFACT_ID, TYPE, CLUSTER, SCOPES, NAMESPACE, VERSION, EPOCH = range(8)
ISSUED, REFRESH, EXPIRES, KEYS, CONTENT, SIZE, CHUNKS, BASE = range(8, 16)
MIN_TRUST, MIN_REVOCATION, WITHDRAWN, CRITICAL, EXTENSIONS = range(16, 21)


def with_field(place: int, value: object, start: bytes | None = None) -> bytes:
    fields = msgpack.unpackb(manifest_bytes(ROUTES) if start is None else start, raw=False)
    fields[place] = value
    data: bytes = msgpack.packb(fields, use_bin_type=True)
    return data


REFUSED: dict[str, tuple[str, int, object]] = {
    "format 0": ("SCHEMA", FORMAT, 0),
    "format 2": ("SCHEMA", FORMAT, 2),
    "format true": ("SCHEMA", FORMAT, True),
    "artifact id in upper case": ("ID_SYNTAX", ARTIFACT_ID, "A-1"),
    "artifact id of 64": ("SCHEMA", ARTIFACT_ID, "a" * 64),
    "artifact id empty": ("ID_SYNTAX", ARTIFACT_ID, ""),
    "artifact id not ascii": ("SCHEMA", ARTIFACT_ID, "ä"),
    "artifact id as bytes": ("SCHEMA", ARTIFACT_ID, b"a-1"),
    "unknown type": ("SCHEMA", TYPE, "custom_bundle"),
    "type of claims": ("SCHEMA", TYPE, "node_claims"),
    "cluster with a slash": ("ID_SYNTAX", CLUSTER, "a/b"),
    "no scope": ("SCHEMA", SCOPES, []),
    "scope twice": ("SCHEMA", SCOPES, ["cluster:prod", "cluster:prod"]),
    "scopes descending": ("SCHEMA", SCOPES, ["role:a", "cluster:prod"]),
    "two organisations": ("SCHEMA", SCOPES, ["cluster:prod", "org:a", "org:b"]),
    "no cluster": ("SCHEMA", SCOPES, ["org:a"]),
    "unknown scope": ("ID_SYNTAX", SCOPES, ["cluster:prod", "tenant:a"]),
    "33 scopes": ("SCHEMA", SCOPES, ["cluster:prod", *(f"node:n{n:02}" for n in range(32))]),
    "namespace with two dots": ("ID_SYNTAX", NAMESPACE, f"{f.PREFIX}/routes/.."),
    "namespace of 513": ("SCHEMA", NAMESPACE, f"{f.PREFIX}/routes/".ljust(513, "a")),
    "namespace with NUL": ("ID_SYNTAX", NAMESPACE, f"{f.PREFIX}/routes/a\x00"),
    "version 0": ("SCHEMA", VERSION, 0),
    "version above 2**53 - 1": ("SCHEMA", VERSION, 2**53),
    "version true": ("SCHEMA", VERSION, True),
    "version negative": ("SCHEMA", VERSION, -1),
    "epoch 0": ("SCHEMA", EPOCH, 0),
    "issued at refresh": ("SCHEMA", ISSUED, ROUTES.refresh_by),
    "refresh after expiry": ("SCHEMA", REFRESH, ROUTES.expires_at + 1),
    "expiry before refresh": ("SCHEMA", EXPIRES, ROUTES.refresh_by - 1),
    "no signer": ("SCHEMA", KEYS, []),
    "signer twice": ("SCHEMA", KEYS, [HASH, HASH]),
    "signers descending": ("SCHEMA", KEYS, [LATER, HASH]),
    "17 signers": ("SCHEMA", KEYS, [bytes([n]) * 32 for n in range(17)]),
    "short key id": ("SCHEMA", KEYS, [HASH[:31]]),
    "short content hash": ("SCHEMA", CONTENT, HASH[:31]),
    "size over 256 MiB": ("SCHEMA", SIZE, 256 * MIB + 1),
    "size that needs chunks": ("SCHEMA", SIZE, MIB + 1),
    "chunks of a small content": ("SCHEMA", CHUNKS, [HASH]),
    "65 chunks": ("SCHEMA", CHUNKS, [HASH] * 65),
    "base of no increment": ("SCHEMA", BASE, [1, HASH, HASH, 1]),
    "minimum trust negative": ("SCHEMA", MIN_TRUST, -1),
    "minimum revocation as text": ("SCHEMA", MIN_REVOCATION, "0"),
    "tombstone with content": ("SCHEMA", WITHDRAWN, ["gone", False]),
    "tombstone reason": ("ID_SYNTAX", WITHDRAWN, ["Gone!", False]),
    "tombstone purge as number": ("SCHEMA", WITHDRAWN, ["gone", 0]),
    "critical extension": ("CRITICAL_UNKNOWN", CRITICAL, ["limits"]),
    "critical extension twice": ("SCHEMA", CRITICAL, ["limits", "limits"]),
    "nine extensions": ("SCHEMA", EXTENSIONS, [[f"x{n}", b""] for n in range(9)]),
    "extension twice": ("SCHEMA", EXTENSIONS, [["x", b""], ["x", b""]]),
    "extensions descending": ("SCHEMA", EXTENSIONS, [["y", b""], ["x", b""]]),
    "extension of 1,025 bytes": ("SCHEMA", EXTENSIONS, [["x", bytes(1_025)]]),
    "extensions of 1,025 bytes": ("SCHEMA", EXTENSIONS, [["x", bytes(1_000)], ["y", bytes(25)]]),
    "extension name of 33": ("SCHEMA", EXTENSIONS, [["x" * 33, b""]]),
}


@pytest.mark.parametrize(("code", "place", "value"), REFUSED.values(), ids=REFUSED.keys())
def test_a_manifest_field_out_of_bounds_is_refused(code: str, place: int, value: object) -> None:
    assert code_when_read(parse_manifest, with_field(place, value)) == code


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (VERSION, 2**53 - 1),
        (EPOCH, 2**53 - 1),
        (SIZE, MIB),
        (SIZE, 0),
        (KEYS, [bytes([n]) * 32 for n in range(16)]),
        (REFRESH, ROUTES.expires_at),
        (EXTENSIONS, [["x", bytes(1_000)], ["y", bytes(24)]]),
        (EXTENSIONS, [["unknown", b"kept"]]),
    ],
)
def test_a_manifest_field_at_its_bound_is_read_and_kept_bit_for_bit(
    place: int, value: object
) -> None:
    data = with_field(place, value)
    assert manifest_bytes(parse_manifest(data)) == data


def test_a_tombstone_names_nothing_as_its_content() -> None:
    start = manifest_bytes(TOMBSTONE)
    assert code_when_read(parse_manifest, with_field(SIZE, 1, start)) == "SCHEMA"
    assert code_when_read(parse_manifest, with_field(CONTENT, HASH, start)) == "SCHEMA"
    assert parse_manifest(start).content_hash == NOTHING_HASH


@pytest.mark.parametrize("base", [None, [0, HASH, HASH, 1], [1, HASH, HASH], [1, HASH, b"", 1]])
def test_an_increment_carries_a_whole_base(base: Value) -> None:
    start = manifest_bytes(INCREMENT)
    assert code_when_read(parse_manifest, start) is None
    assert code_when_read(parse_manifest, with_field(BASE, base, start)) == "SCHEMA"


@pytest.mark.parametrize("count", [0, 4, 6])
def test_the_number_of_chunk_hashes_is_the_one_the_size_gives(count: int) -> None:
    start = manifest_bytes(LARGE)
    assert chunk_count_of(LARGE.content_size) == 5
    assert code_when_read(parse_manifest, with_field(CHUNKS, [HASH] * count, start)) == "SCHEMA"


def test_a_manifest_with_every_field_at_its_bound_fits_a_payload() -> None:
    name = "a" * 63
    prefix = f"platform/{name}/cluster/{name}"
    path = f"{prefix}/org/{name}/services/{name}/{name}"
    scopes = [f"cluster:{name}", f"org:{name}", f"service:{name}"]
    scopes += [f"service:{n:02}{name[2:]}" for n in range(29)]
    largest = replace(
        LARGE,
        artifact_type=ArtifactType.SNAPSHOT_INCREMENT,
        artifact_id=ArtifactId(name),
        cluster_id=ClusterId(name),
        audience=audience_from_scope_ids(tuple(sorted(parse_scope_id(one) for one in scopes))),
        namespace=replace(LARGE.namespace, text=path),
        config_version=2**53 - 1,
        authority_epoch=2**53 - 1,
        signer_key_ids=tuple(KeyId(bytes([n]) * 32) for n in range(16)),
        content_size=256 * MIB,
        chunk_hashes=(f.hash_of(b""),) * 64,
        base=INCREMENT.base,
        extensions=tuple((f"{n}".ljust(32, "x"), bytes(128)) for n in range(8)),
    )
    data = manifest_bytes(largest)
    assert len(data) <= PAYLOAD_BYTES_MAX
    read = parse_manifest(data)
    assert isinstance(read.namespace, Namespace)
    assert manifest_bytes(read) == data


def claims_with(place: int, value: object) -> bytes:
    fields = msgpack.unpackb(claims_bytes(f.claims()), raw=False)
    fields[place] = value
    data: bytes = msgpack.packb(fields, use_bin_type=True)
    return data


COMMITMENTS = [bytes([n]) * 32 for n in range(16)]
CLAIMS_REFUSED: dict[str, tuple[str, int, object]] = {
    "format": ("SCHEMA", 0, 2),
    "platform": ("ID_SYNTAX", 1, "Acme"),
    "cluster": ("ID_SYNTAX", 2, "a b"),
    "node": ("ID_SYNTAX", 3, "n1."),
    "version 0": ("SCHEMA", 4, 0),
    "epoch 0": ("SCHEMA", 5, 0),
    "issued at expiry": ("SCHEMA", 6, f.claims().expires_at),
    "role twice": ("SCHEMA", 12, ["edge", "edge"]),
    "roles descending": ("SCHEMA", 12, ["edge", "core"]),
    "33 roles": ("SCHEMA", 12, [f"r{n:02}" for n in range(33)]),
    "role out of grammar": ("ID_SYNTAX", 12, ["role:edge"]),
    "commitments not padded": ("SCHEMA", 13, COMMITMENTS[:15]),
    "one commitment more": ("SCHEMA", 13, [*COMMITMENTS, b"\xff" * 32]),
    "commitment twice": ("SCHEMA", 13, [*COMMITMENTS[:15], COMMITMENTS[14]]),
    "commitments descending": ("SCHEMA", 13, COMMITMENTS[::-1]),
    "short commitment": ("SCHEMA", 13, [*COMMITMENTS[:15], b"\xff" * 31]),
    "144 commitments": ("SCHEMA", 13, [bytes([n]) * 32 for n in range(144)]),
}


@pytest.mark.parametrize(
    ("code", "place", "value"), CLAIMS_REFUSED.values(), ids=CLAIMS_REFUSED.keys()
)
def test_a_claims_field_out_of_bounds_is_refused(code: str, place: int, value: object) -> None:
    assert code_when_read(parse_claims, claims_with(place, value)) == code


@pytest.mark.parametrize("count", [0, 16, 128])
def test_commitments_come_in_steps_of_16(count: int) -> None:
    data = claims_with(13, [bytes([n]) * 32 for n in range(count)])
    assert len(parse_claims(data).commitments) == count


SALT = bytes(16)
OPENINGS_REFUSED: dict[str, tuple[str, Value]] = {
    "short salt": ("SCHEMA", [[SALT[:15], ["scope", "org:a"]]]),
    "no item": ("SCHEMA", [[SALT]]),
    "empty item": ("SCHEMA", [[SALT, []]]),
    "unknown item": ("SCHEMA", [[SALT, ["secret", "org:a"]]]),
    "a role is no hidden item": ("SCHEMA", [[SALT, ["scope", "role:a"]]]),
    "nor is a cluster": ("SCHEMA", [[SALT, ["scope", "cluster:a"]]]),
    "nor is a node": ("SCHEMA", [[SALT, ["scope", "node:a"]]]),
    "scope out of grammar": ("ID_SYNTAX", [[SALT, ["scope", "org:A"]]]),
    "assignment of nothing": ("SCHEMA", [[SALT, ["assignment", [], ["peer_directory"], None]]]),
    "assignment of no type": ("SCHEMA", [[SALT, ["assignment", ["org:a"], [], None]]]),
    "unknown type": ("SCHEMA", [[SALT, ["assignment", ["org:a"], ["peers"], None]]]),
    "scope twice": (
        "SCHEMA",
        [[SALT, ["assignment", ["org:a", "org:a"], ["peer_directory"], None]]],
    ),
    "types descending": (
        "SCHEMA",
        [[SALT, ["assignment", ["org:a"], ["update_manifest", "peer_directory"], None]]],
    ),
    "shard 256": ("SCHEMA", [[SALT, ["assignment", ["org:a"], ["peer_directory"], [256]]]]),
    "shard twice": ("SCHEMA", [[SALT, ["assignment", ["org:a"], ["peer_directory"], [1, 1]]]]),
    "129 openings": ("SCHEMA", [[SALT, ["scope", "org:a"]]] * 129),
}


@pytest.mark.parametrize(("code", "value"), OPENINGS_REFUSED.values(), ids=OPENINGS_REFUSED.keys())
def test_an_opening_out_of_form_is_refused(code: str, value: Value) -> None:
    data = msgpack.packb([1, b"claims", value], use_bin_type=True)
    assert code_when_read(parse_own_claims, data) == code


def test_openings_are_read_back() -> None:
    assert openings_from([opening_value(one) for one in f.OPENINGS]) == f.OPENINGS


def test_a_commitment_changes_with_its_salt_and_its_item() -> None:
    items = (ClaimItem(scope="org:a"), ClaimItem(scope="org:b"), ClaimItem(assignment=f.ASSIGNMENT))
    openings = [f.opening(item, salt) for item in items for salt in (0, 1)]
    assert len({commitment_of(one) for one in openings}) == len(openings)


CHECKPOINT_FIELDS = {
    "format": ("SCHEMA", 0, 2),
    "cluster id": ("ID_SYNTAX", 1, "Prod"),
    "node id": ("ID_SYNTAX", 2, "../n1"),
    "boot id one short": ("SCHEMA", 3, b"b" * 15),
    "size of nothing": ("SCHEMA", 4, 0),
    "size above all integers": ("SCHEMA", 4, 2**53),
    "head one longer": ("SCHEMA", 5, b"h" * 33),
    "time after the last": ("SCHEMA", 6, 253_402_300_800),
}


@pytest.mark.parametrize(
    ("code", "place", "value"), CHECKPOINT_FIELDS.values(), ids=CHECKPOINT_FIELDS
)
def test_a_checkpoint_field_out_of_bounds_is_refused(code: str, place: int, value: object) -> None:
    fields = msgpack.unpackb(checkpoint_bytes(f.checkpoint()), raw=False)
    fields[place] = value
    data = msgpack.packb(fields, use_bin_type=True)
    assert code_when_read(parse_checkpoint, data) == code
