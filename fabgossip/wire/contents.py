"""Contents that fabgossip itself reads, to and from bytes: bundles, revocation lists, directories,
snapshots.

They are decoded only after their hash matched a verified manifest, with the same strictness as a
peer's bytes: a signer can be wrong too.
"""

from typing import Final

from fabgossip.errors import WireError
from fabgossip.model.artifact import CONTENT_BYTES_MAX, ArtifactType, Order
from fabgossip.model.authority import (
    CERT_LIFE_MAX_S,
    KEYS_MAX,
    NODE_CAS_MAX,
    REVOCATIONS_MAX,
    RIGHTS_MAX,
    ROLE_RULES_MAX,
    ROOT_KEYS_MAX,
    ContentCap,
    KeyStatus,
    NodeCa,
    Revocation,
    RevocationList,
    RevokedKind,
    Right,
    RoleRule,
    SigningKey,
    TrustBundle,
)
from fabgossip.model.envelope import ENVELOPE_BYTES_MAX
from fabgossip.model.ids import (
    HASH_BYTES,
    KeyId,
    ManifestHash,
    key_id_of,
    parse_cluster_id,
    parse_id,
    parse_node_id,
    parse_platform_id,
)
from fabgossip.model.moment import UnixTime
from fabgossip.model.policy import (
    DEGRADED_ACTIONS_MAX,
    REPLICAS_MAX,
    REPLICATION_RULES_MAX,
    DegradedAction,
    DegradedMode,
    DegradedPolicy,
    DegradedRule,
    ReplicationPolicy,
    ReplicationRule,
    RetentionPolicy,
)
from fabgossip.model.scope import NAMESPACE_BYTES_MAX, parse_scope_id
from fabgossip.model.topology import (
    ADDRESS_BYTES_MAX,
    ADDRESSES_MAX,
    AUDIENCES_MAX,
    COVERS_MAX,
    DIRECTORY_PEERS_MAX,
    ENDPOINTS_MAX,
    LISTINGS_MAX,
    WINDOW_MAX,
    Endpoint,
    FailureDomain,
    Listing,
    PeerClass,
    PeerDirectory,
    PeerRecord,
    Snapshot,
    StorageDirectory,
    StorageNode,
)
from fabgossip.wire.packing import (
    SCHEMA,
    Value,
    as_array,
    as_bool,
    as_bytes,
    as_enum,
    as_int,
    as_text,
    expect_ascending,
    pack,
    unpack,
)
from fabgossip.wire.statements import (
    SCOPE_ID_BYTES_MAX,
    assignment_from,
    assignment_value,
    audience_from,
    audience_value,
    types_from,
    verbs_from,
    word,
)

CONTENT_FORMAT: Final = 1
CERTIFICATE_BYTES_MAX: Final = 4_096
REASON_BYTES_MAX: Final = 63
STORAGE_NODES_MAX: Final = 4_096
ASSIGNMENTS_MAX: Final = 128
KEEP_VERSIONS_MAX: Final = 16


def _format(value: Value, name: str) -> None:
    if as_int(value, f"{name} format") != CONTENT_FORMAT:
        raise WireError(SCHEMA, f"{name} format")


def bundle_bytes(bundle: TrustBundle) -> bytes:
    """The content of a trust bundle."""
    return pack(
        [
            CONTENT_FORMAT,
            bundle.platform_id,
            bundle.cluster_id,
            bundle.bundle_version,
            bundle.authority_epoch,
            bundle.root_threshold,
            list(bundle.root_keys),
            [
                [key.public_key, key.status.value, key.not_before, key.not_after]
                for key in bundle.keys
            ],
            [
                [right.kind, right.prefix, right.threshold, list(right.key_ids)]
                for right in bundle.rights
            ],
            [[ca.der, ca.status.value] for ca in bundle.node_cas],
            bundle.cert_life_max_s,
            bundle.protocol_min,
            [[cap.artifact_type.value, cap.size_max] for cap in bundle.content_caps],
            [
                [rule.role, [one.value for one in rule.verbs], [one.value for one in rule.types]]
                for rule in bundle.role_rules
            ],
        ]
    )


def parse_bundle(content: bytes) -> TrustBundle:
    """The bundle these bytes state.

    Raises:
        WireError: TRUNCATED MALFORMED NONCANONICAL SCHEMA ID_SYNTAX.
    """
    fields = as_array(unpack(content), "trust bundle", length=14)
    _format(fields[0], "trust bundle")
    roots = as_array(fields[6], "root keys", length_max=ROOT_KEYS_MAX)
    root_keys = tuple(as_bytes(root, "root key", length=HASH_BYTES) for root in roots)
    expect_ascending(root_keys, "root keys")
    cas = as_array(fields[9], "node CAs", length_max=NODE_CAS_MAX)
    return TrustBundle(
        platform_id=word(parse_platform_id, fields[1], "platform id"),
        cluster_id=word(parse_cluster_id, fields[2], "cluster id"),
        bundle_version=as_int(fields[3], "bundle version", low=1),
        authority_epoch=as_int(fields[4], "authority epoch", low=1),
        root_threshold=as_int(fields[5], "root threshold", low=1, high=ROOT_KEYS_MAX),
        root_keys=root_keys,
        keys=tuple(_key(row) for row in as_array(fields[7], "keys", length_max=KEYS_MAX)),
        rights=tuple(_right(row) for row in as_array(fields[8], "rights", length_max=RIGHTS_MAX)),
        node_cas=tuple(_node_ca(row) for row in cas),
        cert_life_max_s=as_int(fields[10], "certificate life", low=1, high=CERT_LIFE_MAX_S),
        protocol_min=as_int(fields[11], "minimum protocol", low=1, high=255),
        content_caps=tuple(
            _cap(row) for row in as_array(fields[12], "content caps", length_max=len(ArtifactType))
        ),
        role_rules=tuple(
            _role_rule(row) for row in as_array(fields[13], "role rules", length_max=ROLE_RULES_MAX)
        ),
    )


def _node_ca(value: Value) -> NodeCa:
    der, status = as_array(value, "node CA", length=2)
    return NodeCa(
        as_bytes(der, "node CA", length_max=CERTIFICATE_BYTES_MAX),
        as_enum(status, KeyStatus, "node CA status"),
    )


def _role_rule(value: Value) -> RoleRule:
    role, verbs, types = as_array(value, "role rule", length=3)
    return RoleRule(
        role=word(lambda text: parse_id(text, "role"), role, "role"),
        verbs=verbs_from(verbs),
        types=types_from(types),
    )


def _key(value: Value) -> SigningKey:
    public_key, status, not_before, not_after = as_array(value, "key", length=4)
    raw = as_bytes(public_key, "public key", length=HASH_BYTES)
    return SigningKey(
        key_id=key_id_of(raw),
        public_key=raw,
        status=as_enum(status, KeyStatus, "key status"),
        not_before=UnixTime(as_int(not_before, "not before")),
        not_after=UnixTime(as_int(not_after, "not after")),
    )


def _right(value: Value) -> Right:
    kind, prefix, threshold, key_ids = as_array(value, "right", length=4)
    ids = [
        as_bytes(one, "key id", length=HASH_BYTES)
        for one in as_array(key_ids, "key ids", length_max=KEYS_MAX)
    ]
    expect_ascending(ids, "key ids")
    return Right(
        kind=as_text(kind, "kind", length_max=32),
        prefix=as_text(prefix, "prefix", length_max=NAMESPACE_BYTES_MAX),
        threshold=as_int(threshold, "threshold", low=1, high=KEYS_MAX),
        key_ids=tuple(KeyId(one) for one in ids),
    )


def _cap(value: Value) -> ContentCap:
    artifact_type, size_max = as_array(value, "content cap", length=2)
    return ContentCap(
        artifact_type=as_enum(artifact_type, ArtifactType, "artifact type"),
        size_max=as_int(size_max, "size", low=1, high=CONTENT_BYTES_MAX),
    )


def revocations_bytes(revocations: RevocationList) -> bytes:
    """The content of a revocation list."""
    rows = [
        [one.kind.value, one.value, one.reason, one.since_epoch, one.since, one.until]
        for one in revocations.entries
    ]
    return pack([CONTENT_FORMAT, rows])


def parse_revocations(content: bytes) -> RevocationList:
    """The revocation list these bytes state; raises `WireError`."""
    list_format, rows = as_array(unpack(content), "revocation list", length=2)
    _format(list_format, "revocation list")
    return RevocationList(
        entries=tuple(
            _revocation(row) for row in as_array(rows, "revocations", length_max=REVOCATIONS_MAX)
        )
    )


def _revocation(value: Value) -> Revocation:
    kind, data, reason, epoch, since, until = as_array(value, "revocation", length=6)
    return Revocation(
        kind=as_enum(kind, RevokedKind, "revoked kind"),
        value=as_bytes(data, "revoked", length=HASH_BYTES),
        reason=as_text(reason, "reason", length_max=REASON_BYTES_MAX),
        since_epoch=as_int(epoch, "since epoch", low=1),
        since=UnixTime(as_int(since, "since")),
        until=UnixTime(as_int(until, "until")),
    )


def _domain_value(domain: FailureDomain) -> Value:
    return [domain.region, domain.zone, domain.rack]


def _domain_from(value: Value) -> FailureDomain:
    region, zone, rack = as_array(value, "failure domain", length=3)
    return FailureDomain(
        *(
            word(lambda text: parse_id(text, "place"), part, "place")
            for part in (region, zone, rack)
        )
    )


def peer_directory_bytes(directory: PeerDirectory) -> bytes:
    """The content of a peer directory."""
    return pack(
        [
            CONTENT_FORMAT,
            directory.scope.text,
            [audience_value(audience) for audience in directory.audiences],
            [_peer_value(peer) for peer in directory.peers],
        ]
    )


def _peer_value(peer: PeerRecord) -> Value:
    return [
        peer.node_id,
        list(peer.addresses),
        _domain_value(peer.domain),
        peer.peer_class.value,
        peer.is_storage,
        list(peer.audiences),
    ]


def parse_peer_directory(content: bytes) -> PeerDirectory:
    """The peer directory these bytes state; raises `WireError`."""
    fields = as_array(unpack(content), "peer directory", length=4)
    _format(fields[0], "peer directory")
    audiences = tuple(
        audience_from(row) for row in as_array(fields[2], "audiences", length_max=AUDIENCES_MAX)
    )
    rows = as_array(fields[3], "peers", length_max=DIRECTORY_PEERS_MAX)
    peers = tuple(_peer(row, len(audiences)) for row in rows)
    expect_ascending([peer.node_id for peer in peers], "peers")
    scope = word(parse_scope_id, fields[1], "scope", length_max=SCOPE_ID_BYTES_MAX)
    return PeerDirectory(scope=scope, audiences=audiences, peers=peers)


def _peer(value: Value, audience_count: int) -> PeerRecord:
    fields = as_array(value, "peer", length=6)
    addresses = as_array(fields[1], "addresses", length_max=ADDRESSES_MAX)
    indices = as_array(fields[5], "audiences of a peer", length_max=audience_count)
    return PeerRecord(
        node_id=word(parse_node_id, fields[0], "node id"),
        addresses=tuple(as_text(one, "address", length_max=ADDRESS_BYTES_MAX) for one in addresses),
        domain=_domain_from(fields[2]),
        peer_class=as_enum(fields[3], PeerClass, "peer class"),
        is_storage=as_bool(fields[4], "is storage"),
        audiences=tuple(
            as_int(one, "audience of a peer", high=audience_count - 1) for one in indices
        ),
    )


def storage_directory_bytes(directory: StorageDirectory) -> bytes:
    """The content of a storage directory."""
    nodes = [
        [
            node.node_id,
            _domain_value(node.domain),
            [assignment_value(one) for one in node.assignments],
        ]
        for node in directory.nodes
    ]
    rules = [
        [rule.artifact_type.value, rule.replicas, rule.on_demand]
        for rule in directory.replication.rules
    ]
    return pack(
        [CONTENT_FORMAT, directory.scope.text, nodes, rules, directory.retention.keep_versions]
    )


def parse_storage_directory(content: bytes) -> StorageDirectory:
    """The storage directory these bytes state; raises `WireError`."""
    fields = as_array(unpack(content), "storage directory", length=5)
    _format(fields[0], "storage directory")
    rules = as_array(fields[3], "replication rules", length_max=REPLICATION_RULES_MAX)
    nodes = tuple(
        _storage_node(row) for row in as_array(fields[2], "nodes", length_max=STORAGE_NODES_MAX)
    )
    expect_ascending([node.node_id for node in nodes], "nodes")
    return StorageDirectory(
        scope=word(parse_scope_id, fields[1], "scope", length_max=SCOPE_ID_BYTES_MAX),
        nodes=nodes,
        replication=ReplicationPolicy(rules=tuple(_replication_rule(row) for row in rules)),
        retention=RetentionPolicy(
            keep_versions=as_int(fields[4], "keep versions", high=KEEP_VERSIONS_MAX)
        ),
    )


def _storage_node(value: Value) -> StorageNode:
    node_id, domain, assignments = as_array(value, "storage node", length=3)
    rows = as_array(assignments, "assignments", length_max=ASSIGNMENTS_MAX)
    return StorageNode(
        node_id=word(parse_node_id, node_id, "node id"),
        domain=_domain_from(domain),
        assignments=tuple(assignment_from(row) for row in rows),
    )


def _replication_rule(value: Value) -> ReplicationRule:
    artifact_type, replicas, on_demand = as_array(value, "replication rule", length=3)
    return ReplicationRule(
        artifact_type=as_enum(artifact_type, ArtifactType, "artifact type"),
        replicas=as_int(replicas, "replicas", high=REPLICAS_MAX),
        on_demand=as_bool(on_demand, "on demand"),
    )


def snapshot_bytes(snapshot: Snapshot) -> bytes:
    """The content of a cluster snapshot."""
    endpoints = [[endpoint.address, endpoint.node_id] for endpoint in snapshot.endpoints]
    rules: list[Value] = [
        [rule.artifact_type.value, rule.max_age_s, rule.withhold]
        for rule in snapshot.degraded.rules
    ]
    actions: list[Value] = [
        [one.action, [mode.value for mode in one.modes]] for one in snapshot.degraded.actions
    ]
    listings: list[Value] = [
        [one.namespace, one.order.epoch, one.order.version, one.manifest_hash, list(one.window)]
        for one in snapshot.listings
    ]
    return pack(
        [
            CONTENT_FORMAT,
            endpoints,
            [rules, actions],
            snapshot.settings,
            list(snapshot.covers),
            listings,
            snapshot.claims,
        ]
    )


def parse_snapshot(content: bytes) -> Snapshot:
    """The snapshot these bytes state; raises `WireError`."""
    fields = as_array(unpack(content), "snapshot", length=7)
    _format(fields[0], "snapshot")
    endpoints = as_array(fields[1], "endpoints", length_max=ENDPOINTS_MAX)
    rules, actions = as_array(fields[2], "degraded policy", length=2)
    covers = tuple(
        as_text(one, "covered prefix", length_max=NAMESPACE_BYTES_MAX)
        for one in as_array(fields[4], "covers", length_max=COVERS_MAX)
    )
    expect_ascending(covers, "covers")
    listings = tuple(
        _listing(row) for row in as_array(fields[5], "listings", length_max=LISTINGS_MAX)
    )
    expect_ascending([one.namespace for one in listings], "listings")
    return Snapshot(
        endpoints=tuple(_endpoint(row) for row in endpoints),
        degraded=DegradedPolicy(
            rules=tuple(
                _degraded_rule(row)
                for row in as_array(rules, "degraded rules", length_max=len(ArtifactType))
            ),
            actions=tuple(
                _degraded_action(row)
                for row in as_array(actions, "degraded actions", length_max=DEGRADED_ACTIONS_MAX)
            ),
        ),
        settings=as_bytes(fields[3], "settings"),
        covers=covers,
        listings=listings,
        claims=as_bytes(fields[6], "claims", length_max=ENVELOPE_BYTES_MAX),
    )


def _listing(value: Value) -> Listing:
    namespace, epoch, version, manifest_hash, window = as_array(value, "listing", length=5)
    return Listing(
        namespace=as_text(namespace, "namespace", length_max=NAMESPACE_BYTES_MAX),
        order=Order(
            as_int(epoch, "authority epoch", low=1), as_int(version, "config version", low=1)
        ),
        manifest_hash=ManifestHash(as_bytes(manifest_hash, "manifest hash", length=HASH_BYTES)),
        window=tuple(
            ManifestHash(as_bytes(one, "manifest hash", length=HASH_BYTES))
            for one in as_array(window, "retention window", length_max=WINDOW_MAX)
        ),
    )


def _endpoint(value: Value) -> Endpoint:
    address, node_id = as_array(value, "endpoint", length=2)
    return Endpoint(
        address=as_text(address, "address", length_max=ADDRESS_BYTES_MAX),
        node_id=word(parse_node_id, node_id, "node id"),
    )


def _degraded_rule(value: Value) -> DegradedRule:
    artifact_type, max_age_s, withhold = as_array(value, "degraded rule", length=3)
    return DegradedRule(
        artifact_type=as_enum(artifact_type, ArtifactType, "artifact type"),
        max_age_s=as_int(max_age_s, "maximum age"),
        withhold=as_bool(withhold, "withhold"),
    )


def _degraded_action(value: Value) -> DegradedAction:
    action, rows = as_array(value, "degraded action", length=2)
    modes = as_array(rows, "modes", length_max=len(DegradedMode))
    return DegradedAction(
        action=word(lambda text: parse_id(text, "action"), action, "action"),
        modes=tuple(as_enum(one, DegradedMode, "mode") for one in modes),
    )


def pinned_bytes(envelope: bytes, content: bytes) -> bytes:
    """The bootstrap file a node pins: a trust bundle's envelope and content."""
    return pack([CONTENT_FORMAT, envelope, content])


def parse_pinned(data: bytes) -> tuple[bytes, bytes]:
    """Envelope and content of a bootstrap file, neither believed; raises `WireError`."""
    pinned_format, envelope, content = as_array(
        unpack(data, elements_max=8), "bootstrap file", length=3
    )
    _format(pinned_format, "bootstrap file")
    return as_bytes(envelope, "envelope"), as_bytes(content, "content")
