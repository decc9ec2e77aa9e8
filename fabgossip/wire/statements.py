"""Signed payloads to and from bytes: manifests, node claims with the openings that reveal hidden
claim items, grants and audit checkpoints.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Final, TypeVar

from fabgossip.errors import ModelError, WireError
from fabgossip.model.artifact import (
    CHUNKS_MAX,
    CONTENT_BYTES_MAX,
    EXTENSION_BYTES_MAX,
    EXTENSION_NAME_BYTES_MAX,
    EXTENSIONS_MAX,
    MANIFEST_FORMAT,
    SIGNER_KEYS_MAX,
    ArtifactType,
    Base,
    Manifest,
    Tombstone,
    chunk_count_of,
)
from fabgossip.model.authority import (
    COMMITMENTS_MAX,
    COMMITMENTS_STEP,
    GRANT_ID_BYTES,
    GRANT_LIFE_MAX_S,
    GRANT_MANIFESTS_MAX,
    GRANT_USES_MAX,
    ROLES_MAX,
    SALT_BYTES,
    AuditCheckpoint,
    ClaimItem,
    FetchGrant,
    Narrowing,
    NodeClaims,
    Opening,
    Verb,
)
from fabgossip.model.ids import (
    BOOT_ID_BYTES,
    HASH_BYTES,
    ID_BYTES_MAX,
    NOTHING_HASH,
    BootId,
    ContentHash,
    KeyId,
    ManifestHash,
    parse_artifact_id,
    parse_cluster_id,
    parse_id,
    parse_node_id,
    parse_platform_id,
)
from fabgossip.model.moment import UnixTime
from fabgossip.model.scope import (
    NAMESPACE_BYTES_MAX,
    SCOPE_IDS_MAX,
    Audience,
    ScopeId,
    ScopeKind,
    StorageAssignment,
    audience_from_scope_ids,
    parse_namespace,
    parse_scope_id,
    shared,
)
from fabgossip.wire.packing import (
    CRITICAL_UNKNOWN,
    SCHEMA,
    Value,
    as_array,
    as_bool,
    as_bytes,
    as_enum,
    as_int,
    as_text,
    expect_ascending,
    id_error,
    pack,
    unpack,
)

TIME_MAX: Final = 253_402_300_799
"""The last second of the year 9999, the last one RFC 3339 can write."""
CLAIMS_FORMAT: Final = 1
GRANT_FORMAT: Final = 1
CHECKPOINT_FORMAT: Final = 1
OPENINGS_MAX: Final = COMMITMENTS_MAX
SCOPE_ID_BYTES_MAX: Final = ID_BYTES_MAX + 8
SHARDS: Final = 256
_COMMITMENT_DOMAIN: Final = b"fabgossip claim v1\x00"
_KNOWN_EXTENSIONS: Final[frozenset[str]] = frozenset()
"""Signed extensions this build understands; a critical one outside it is refused."""
_T = TypeVar("_T")


def word(
    parse: Callable[[str], _T], value: Value, name: str, *, length_max: int = ID_BYTES_MAX
) -> _T:
    """A word of the model from wire text; raises `WireError` SCHEMA or ID_SYNTAX."""
    text = as_text(value, name, length_max=length_max)
    try:
        return parse(text)
    except ModelError as error:
        raise id_error(error) from error


def scope_ids_from(value: Value, name: str) -> tuple[ScopeId, ...]:
    """At most 32 scope ids; order is the caller's to check."""
    rows = as_array(value, name, length_max=SCOPE_IDS_MAX)
    return tuple(word(parse_scope_id, row, name, length_max=SCOPE_ID_BYTES_MAX) for row in rows)


def audience_from(value: Value) -> Audience:
    """An audience as it stands on the wire: ascending scope ids."""
    try:
        return audience_from_scope_ids(scope_ids_from(value, "scope ids"))
    except ModelError as error:
        raise WireError(SCHEMA, str(error)) from error


def audience_value(audience: Audience) -> Value:
    """The wire form of an audience."""
    return [scope.text for scope in audience.scope_ids]


def manifest_bytes(manifest: Manifest) -> bytes:
    """The payload of a manifest: an array of 21 elements."""
    base, tombstone = manifest.base, manifest.tombstone
    return pack(
        [
            MANIFEST_FORMAT,
            manifest.artifact_id,
            manifest.artifact_type.value,
            manifest.cluster_id,
            audience_value(manifest.audience),
            manifest.namespace.text,
            manifest.config_version,
            manifest.authority_epoch,
            manifest.issued_at,
            manifest.refresh_by,
            manifest.expires_at,
            list(manifest.signer_key_ids),
            manifest.content_hash,
            manifest.content_size,
            list(manifest.chunk_hashes),
            None
            if base is None
            else [base.version, base.content_hash, base.result_hash, base.result_size],
            manifest.min_trust_version,
            manifest.min_revocation_version,
            None if tombstone is None else [tombstone.reason, tombstone.purge],
            list(manifest.critical_extensions),
            [[name, data] for name, data in manifest.extensions],
        ]
    )


def parse_manifest(payload: bytes) -> Manifest:
    """The manifest these bytes state, every field within its bounds.

    Raises:
        WireError: TRUNCATED MALFORMED NONCANONICAL SCHEMA ID_SYNTAX CRITICAL_UNKNOWN.
    """
    fields = as_array(unpack(payload, elements_max=1_024), "manifest", length=21)
    if as_int(fields[0], "manifest format") != MANIFEST_FORMAT:
        raise WireError(SCHEMA, "manifest format")
    manifest = Manifest(
        artifact_id=word(parse_artifact_id, fields[1], "artifact id"),
        artifact_type=as_enum(fields[2], ArtifactType, "artifact type"),
        cluster_id=word(parse_cluster_id, fields[3], "cluster id"),
        audience=shared(audience_from(fields[4])),
        namespace=word(parse_namespace, fields[5], "namespace", length_max=NAMESPACE_BYTES_MAX),
        config_version=as_int(fields[6], "config version", low=1),
        authority_epoch=as_int(fields[7], "authority epoch", low=1),
        issued_at=UnixTime(as_int(fields[8], "issued at", high=TIME_MAX)),
        refresh_by=UnixTime(as_int(fields[9], "refresh by", high=TIME_MAX)),
        expires_at=UnixTime(as_int(fields[10], "expires at", high=TIME_MAX)),
        signer_key_ids=_signer_key_ids(fields[11]),
        content_hash=ContentHash(as_bytes(fields[12], "content hash", length=HASH_BYTES)),
        content_size=as_int(fields[13], "content size", high=CONTENT_BYTES_MAX),
        chunk_hashes=_hashes(fields[14], "chunk hashes", CHUNKS_MAX),
        base=_base(fields[15]),
        min_trust_version=as_int(fields[16], "minimum trust version"),
        min_revocation_version=as_int(fields[17], "minimum revocation version"),
        tombstone=_tombstone(fields[18]),
        critical_extensions=_critical(fields[19]),
        extensions=_extensions(fields[20]),
    )
    _check_shape(manifest)
    return manifest


def _signer_key_ids(value: Value) -> tuple[KeyId, ...]:
    ids = _hashes(value, "signer key ids", SIGNER_KEYS_MAX)
    if not ids:
        raise WireError(SCHEMA, "signer key ids: at least one")
    expect_ascending(ids, "signer key ids")
    return tuple(KeyId(one) for one in ids)


def _hashes(value: Value, name: str, length_max: int) -> tuple[ContentHash, ...]:
    rows = as_array(value, name, length_max=length_max)
    return tuple(ContentHash(as_bytes(row, name, length=HASH_BYTES)) for row in rows)


def _base(value: Value) -> Base | None:
    if value is None:
        return None
    version, content_hash, result_hash, result_size = as_array(value, "base", length=4)
    return Base(
        version=as_int(version, "base version", low=1),
        content_hash=ContentHash(as_bytes(content_hash, "base hash", length=HASH_BYTES)),
        result_hash=ContentHash(as_bytes(result_hash, "result hash", length=HASH_BYTES)),
        result_size=as_int(result_size, "result size", high=CONTENT_BYTES_MAX),
    )


def _tombstone(value: Value) -> Tombstone | None:
    if value is None:
        return None
    reason, purge = as_array(value, "tombstone", length=2)
    return Tombstone(
        reason=word(lambda text: parse_id(text, "tombstone reason"), reason, "tombstone reason"),
        purge=as_bool(purge, "purge"),
    )


def _critical(value: Value) -> tuple[str, ...]:
    rows = as_array(value, "critical extensions", length_max=EXTENSIONS_MAX)
    names = [
        as_text(row, "critical extension", length_max=EXTENSION_NAME_BYTES_MAX) for row in rows
    ]
    expect_ascending(names, "critical extensions")
    for name in names:
        if name not in _KNOWN_EXTENSIONS:
            raise WireError(CRITICAL_UNKNOWN, f"extension {name!a}")
    return tuple(names)


def _extensions(value: Value) -> tuple[tuple[str, bytes], ...]:
    rows = as_array(value, "extensions", length_max=EXTENSIONS_MAX)
    extensions = []
    for row in rows:
        name, data = as_array(row, "extension", length=2)
        extensions.append(
            (
                as_text(name, "extension", length_max=EXTENSION_NAME_BYTES_MAX),
                as_bytes(data, "extension", length_max=EXTENSION_BYTES_MAX),
            )
        )
    expect_ascending([name for name, _ in extensions], "extensions")
    if sum(len(data) for _, data in extensions) > EXTENSION_BYTES_MAX:
        raise WireError(SCHEMA, f"extensions: at most {EXTENSION_BYTES_MAX} bytes in all")
    return tuple(extensions)


def _check_shape(manifest: Manifest) -> None:
    """Rules across fields that need nothing but the manifest itself."""
    if not manifest.issued_at < manifest.refresh_by <= manifest.expires_at:
        raise WireError(SCHEMA, "times: expected issued at < refresh by <= expires at")
    if len(manifest.chunk_hashes) != chunk_count_of(manifest.content_size):
        raise WireError(SCHEMA, "chunk hashes: their number does not fit the content size")
    if (manifest.base is not None) != (manifest.artifact_type is ArtifactType.SNAPSHOT_INCREMENT):
        raise WireError(SCHEMA, "base: exactly a snapshot increment carries one")
    if manifest.tombstone is not None and (
        manifest.content_size != 0 or manifest.content_hash != NOTHING_HASH
    ):
        raise WireError(SCHEMA, "tombstone: its content must be nothing")


def _item_value(item: ClaimItem) -> Value:
    if item.assignment is None:
        assert item.scope is not None
        return ["scope", item.scope]
    one = item.assignment
    shards: Value = None if one.shards is None else list(one.shards)
    return ["assignment", [scope.text for scope in one.scope_ids], list(one.types), shards]


def commitment_of(opening: Opening) -> bytes:
    """The hash that stands for a claim item in signed claims until its opening is shown."""
    return sha256(_COMMITMENT_DOMAIN + opening.salt + pack(_item_value(opening.item))).digest()


def opening_value(opening: Opening) -> Value:
    """The wire form of an opening."""
    return [opening.salt, _item_value(opening.item)]


def openings_from(value: Value) -> tuple[Opening, ...]:
    """At most 128 openings; raises `WireError` SCHEMA or ID_SYNTAX."""
    rows = as_array(value, "openings", length_max=OPENINGS_MAX)
    return tuple(_opening(row) for row in rows)


def _opening(value: Value) -> Opening:
    salt, item = as_array(value, "opening", length=2)
    return Opening(as_bytes(salt, "salt", length=SALT_BYTES), _item(item))


def _item(value: Value) -> ClaimItem:
    parts = as_array(value, "claim item", length_max=4)
    if len(parts) == 2 and parts[0] == "scope":
        scope = word(parse_scope_id, parts[1], "claim item", length_max=SCOPE_ID_BYTES_MAX)
        if scope.kind not in (ScopeKind.ORG, ScopeKind.SERVICE):
            raise WireError(SCHEMA, "claim item: only org: and service: are hidden items")
        return ClaimItem(scope=scope.text)
    if len(parts) == 4 and parts[0] == "assignment":
        return ClaimItem(assignment=assignment_from(parts[1:]))
    raise WireError(SCHEMA, "claim item: expected a scope or an assignment")


def assignment_value(assignment: StorageAssignment) -> Value:
    """The wire form of a storage assignment where it stands alone."""
    shards: Value = None if assignment.shards is None else list(assignment.shards)
    return [[scope.text for scope in assignment.scope_ids], list(assignment.types), shards]


def assignment_from(value: Value) -> StorageAssignment:
    """A storage assignment of three fields; raises `WireError` SCHEMA or ID_SYNTAX."""
    scopes, types, shards = as_array(value, "assignment", length=3)
    scope_ids = scope_ids_from(scopes, "assignment scopes")
    expect_ascending([scope.text for scope in scope_ids], "assignment scopes")
    rows = as_array(types, "assignment types", length_max=len(ArtifactType))
    names = tuple(as_enum(row, ArtifactType, "assignment type").value for row in rows)
    expect_ascending(names, "assignment types")
    if not scope_ids or not names:
        raise WireError(SCHEMA, "assignment: at least one scope and one type")
    return StorageAssignment(scope_ids, names, _shards(shards))


def _shards(value: Value) -> tuple[int, ...] | None:
    if value is None:
        return None
    rows = as_array(value, "shards", length_max=SHARDS)
    shards = tuple(as_int(row, "shard", high=SHARDS - 1) for row in rows)
    if list(shards) != sorted(set(shards)):
        raise WireError(SCHEMA, "shards: must be ascending and unique")
    return shards


def claims_bytes(claims: NodeClaims) -> bytes:
    """The payload of node claims."""
    return pack(
        [
            CLAIMS_FORMAT,
            claims.platform_id,
            claims.cluster_id,
            claims.node_id,
            claims.claims_version,
            claims.authority_epoch,
            claims.issued_at,
            claims.expires_at,
            claims.min_trust_version,
            claims.min_revocation_version,
            claims.state_generation,
            claims.audit_key,
            list(claims.roles),
            list(claims.commitments),
        ]
    )


def parse_claims(payload: bytes) -> NodeClaims:
    """The claims these bytes state.

    Raises:
        WireError: TRUNCATED MALFORMED NONCANONICAL SCHEMA ID_SYNTAX.
    """
    fields = as_array(unpack(payload, elements_max=256), "claims", length=14)
    if as_int(fields[0], "claims format") != CLAIMS_FORMAT:
        raise WireError(SCHEMA, "claims format")
    roles = as_array(fields[12], "roles", length_max=ROLES_MAX)
    commitments = as_array(fields[13], "commitments", length_max=COMMITMENTS_MAX)
    claims = NodeClaims(
        platform_id=word(parse_platform_id, fields[1], "platform id"),
        cluster_id=word(parse_cluster_id, fields[2], "cluster id"),
        node_id=word(parse_node_id, fields[3], "node id"),
        claims_version=as_int(fields[4], "claims version", low=1),
        authority_epoch=as_int(fields[5], "authority epoch", low=1),
        issued_at=UnixTime(as_int(fields[6], "issued at")),
        expires_at=UnixTime(as_int(fields[7], "expires at")),
        min_trust_version=as_int(fields[8], "minimum trust version"),
        min_revocation_version=as_int(fields[9], "minimum revocation version"),
        state_generation=as_int(fields[10], "state generation"),
        audit_key=as_bytes(fields[11], "audit key", length=HASH_BYTES),
        roles=tuple(word(lambda text: parse_id(text, "role"), role, "role") for role in roles),
        commitments=tuple(as_bytes(one, "commitment", length=HASH_BYTES) for one in commitments),
    )
    if claims.issued_at >= claims.expires_at:
        raise WireError(SCHEMA, "times: expected issued at < expires at")
    expect_ascending(claims.roles, "roles")
    expect_ascending(claims.commitments, "commitments")
    if len(claims.commitments) % COMMITMENTS_STEP:
        raise WireError(SCHEMA, f"commitments: expected a multiple of {COMMITMENTS_STEP}")
    return claims


def own_claims_bytes(envelope: bytes, openings: tuple[Opening, ...]) -> bytes:
    """The private claims file of a node: the signed claims and every opening."""
    return pack([CLAIMS_FORMAT, envelope, [opening_value(one) for one in openings]])


def parse_own_claims(data: bytes) -> tuple[bytes, tuple[Opening, ...]]:
    """The claims envelope and all openings of a node's private claims file; raises `WireError`."""
    claims_format, envelope, openings = as_array(
        unpack(data, elements_max=8_192), "claims file", length=3
    )
    if as_int(claims_format, "claims file format") != CLAIMS_FORMAT:
        raise WireError(SCHEMA, "claims file format")
    return as_bytes(envelope, "claims envelope"), openings_from(openings)


def grant_bytes(grant: FetchGrant) -> bytes:
    """The payload of a fetch grant."""
    manifests: Value = None if grant.manifest_hashes is None else list(grant.manifest_hashes)
    return pack(
        [
            GRANT_FORMAT,
            grant.platform_id,
            grant.cluster_id,
            grant.authority_epoch,
            grant.grant_id,
            grant.node_id,
            grant.certificate_hash,
            [verb.value for verb in grant.verbs],
            [one.value for one in grant.types],
            [scope.text for scope in grant.scope_ids],
            manifests,
            grant.not_before,
            grant.expires_at,
            grant.max_uses,
            grant.min_trust_version,
            grant.min_revocation_version,
        ]
    )


def parse_grant(payload: bytes) -> FetchGrant:
    """The grant these bytes state.

    Raises:
        WireError: TRUNCATED MALFORMED NONCANONICAL SCHEMA ID_SYNTAX.
    """
    fields = as_array(unpack(payload, elements_max=256), "grant", length=16)
    if as_int(fields[0], "grant format") != GRANT_FORMAT:
        raise WireError(SCHEMA, "grant format")
    grant = FetchGrant(
        platform_id=word(parse_platform_id, fields[1], "platform id"),
        cluster_id=word(parse_cluster_id, fields[2], "cluster id"),
        authority_epoch=as_int(fields[3], "authority epoch", low=1),
        grant_id=as_bytes(fields[4], "grant id", length=GRANT_ID_BYTES),
        node_id=word(parse_node_id, fields[5], "node id"),
        certificate_hash=as_bytes(fields[6], "certificate hash", length=HASH_BYTES),
        verbs=verbs_from(fields[7]),
        types=types_from(fields[8]),
        scope_ids=_grant_scopes(fields[9]),
        manifest_hashes=_manifests(fields[10]),
        not_before=UnixTime(as_int(fields[11], "not before", high=TIME_MAX)),
        expires_at=UnixTime(as_int(fields[12], "expires at", high=TIME_MAX)),
        max_uses=as_int(fields[13], "uses", low=1, high=GRANT_USES_MAX),
        min_trust_version=as_int(fields[14], "minimum trust version"),
        min_revocation_version=as_int(fields[15], "minimum revocation version"),
    )
    if not 0 < grant.expires_at - grant.not_before <= GRANT_LIFE_MAX_S:
        raise WireError(SCHEMA, f"a grant lives at most {GRANT_LIFE_MAX_S} s")
    return grant


def verbs_from(value: Value) -> tuple[Verb, ...]:
    """Ascending verbs; raises `WireError` SCHEMA."""
    verbs = tuple(
        as_enum(row, Verb, "verb") for row in as_array(value, "verbs", length_max=len(Verb))
    )
    expect_ascending(verbs, "verbs")
    return verbs


def types_from(value: Value) -> tuple[ArtifactType, ...]:
    """Ascending artifact types; raises `WireError` SCHEMA."""
    rows = as_array(value, "types", length_max=len(ArtifactType))
    types = tuple(as_enum(row, ArtifactType, "artifact type") for row in rows)
    expect_ascending([one.value for one in types], "types")
    return types


def _grant_scopes(value: Value) -> tuple[ScopeId, ...]:
    scope_ids = scope_ids_from(value, "grant scopes")
    expect_ascending([scope.text for scope in scope_ids], "grant scopes")
    if any(scope.kind in (ScopeKind.CLUSTER, ScopeKind.ORG) for scope in scope_ids):
        raise WireError(SCHEMA, "grant scopes: never a cluster or an organisation")
    return scope_ids


def _manifests(value: Value) -> tuple[ManifestHash, ...] | None:
    if value is None:
        return None
    rows = _hashes(value, "manifest hashes", GRANT_MANIFESTS_MAX)
    expect_ascending(rows, "manifest hashes")
    return tuple(ManifestHash(row) for row in rows)


def narrowing_value(narrowing: Narrowing | None) -> Value:
    """The wire form of a narrowing."""
    if narrowing is None:
        return None
    scopes, types, manifests = narrowing.scope_ids, narrowing.types, narrowing.manifest_hashes
    return [
        None if scopes is None else [scope.text for scope in scopes],
        None if types is None else [one.value for one in types],
        None if manifests is None else list(manifests),
    ]


def narrowing_from(value: Value) -> Narrowing | None:
    """A narrowing from its wire form; raises `WireError` SCHEMA or ID_SYNTAX."""
    if value is None:
        return None
    scopes, types, manifests = as_array(value, "narrowing", length=3)
    scope_ids = None if scopes is None else scope_ids_from(scopes, "narrowed scopes")
    if scope_ids is not None:
        expect_ascending([scope.text for scope in scope_ids], "narrowed scopes")
    return Narrowing(
        scope_ids=scope_ids,
        types=None if types is None else types_from(types),
        manifest_hashes=_manifests(manifests),
    )


def checkpoint_bytes(checkpoint: AuditCheckpoint) -> bytes:
    """The payload of an audit checkpoint."""
    return pack(
        [
            CHECKPOINT_FORMAT,
            checkpoint.cluster_id,
            checkpoint.node_id,
            checkpoint.boot_id,
            checkpoint.size,
            checkpoint.head,
            checkpoint.wall,
        ]
    )


def parse_checkpoint(payload: bytes) -> AuditCheckpoint:
    """The checkpoint these bytes state.

    Raises:
        WireError: TRUNCATED MALFORMED NONCANONICAL SCHEMA ID_SYNTAX.
    """
    fields = as_array(unpack(payload, elements_max=16), "checkpoint", length=7)
    if as_int(fields[0], "checkpoint format") != CHECKPOINT_FORMAT:
        raise WireError(SCHEMA, "checkpoint format")
    return AuditCheckpoint(
        cluster_id=word(parse_cluster_id, fields[1], "cluster id"),
        node_id=word(parse_node_id, fields[2], "node id"),
        boot_id=BootId(as_bytes(fields[3], "boot id", length=BOOT_ID_BYTES)),
        size=as_int(fields[4], "size", low=1),
        head=as_bytes(fields[5], "head", length=HASH_BYTES),
        wall=UnixTime(as_int(fields[6], "wall", high=TIME_MAX)),
    )
