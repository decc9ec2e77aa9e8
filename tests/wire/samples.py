"""One well-formed value of everything that has bytes, and the readers and writers of each.

Tests of strictness run over the whole table, so that a new format is held to the same rules.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from fabgossip.errors import WireError
from fabgossip.model import messages as m
from fabgossip.model.artifact import ArtifactType, Base, Manifest, Order, Tombstone
from fabgossip.model.authority import (
    AuditCheckpoint,
    ContentCap,
    FetchGrant,
    Narrowing,
    NodeCa,
    NodeClaims,
    Revocation,
    RevocationList,
    RevokedKind,
    TrustBundle,
)
from fabgossip.model.envelope import Envelope
from fabgossip.model.ids import NOTHING_HASH, BootId, ManifestHash, NodeId
from fabgossip.model.moment import UnixTime
from fabgossip.model.policy import (
    DegradedAction,
    DegradedMode,
    DegradedPolicy,
    DegradedRule,
    ReplicationPolicy,
    ReplicationRule,
    RetentionPolicy,
)
from fabgossip.model.scope import parse_scope_id
from fabgossip.model.topology import (
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
from fabgossip.wire.codec import message_body, parse_message
from fabgossip.wire.contents import (
    bundle_bytes,
    parse_bundle,
    parse_peer_directory,
    parse_revocations,
    parse_snapshot,
    parse_storage_directory,
    peer_directory_bytes,
    revocations_bytes,
    snapshot_bytes,
    storage_directory_bytes,
)
from fabgossip.wire.envelopes import envelope_bytes, parse_envelope
from fabgossip.wire.framing import FrameKind
from fabgossip.wire.packing import (
    CRITICAL_UNKNOWN,
    FRAME_TOO_LARGE,
    ID_SYNTAX,
    MALFORMED,
    NONCANONICAL,
    SCHEMA,
    SIG_TOO_MANY,
    TRUNCATED,
    TYPE_MISMATCH,
    UNSUPPORTED,
)
from fabgossip.wire.statements import (
    checkpoint_bytes,
    claims_bytes,
    grant_bytes,
    manifest_bytes,
    own_claims_bytes,
    parse_checkpoint,
    parse_claims,
    parse_grant,
    parse_manifest,
    parse_own_claims,
)
from tests.trust import factory as f

Readable: TypeAlias = (
    Manifest
    | NodeClaims
    | FetchGrant
    | AuditCheckpoint
    | TrustBundle
    | RevocationList
    | PeerDirectory
    | StorageDirectory
    | Snapshot
    | Envelope
    | m.Message
    | tuple[object, ...]
)

CODES = frozenset(
    {
        FRAME_TOO_LARGE,
        TRUNCATED,
        MALFORMED,
        UNSUPPORTED,
        NONCANONICAL,
        SCHEMA,
        ID_SYNTAX,
        CRITICAL_UNKNOWN,
        SIG_TOO_MANY,
        TYPE_MISMATCH,
    }
)
"""The closed list of reasons for which bytes are refused."""

ROUTES = f.manifest(ArtifactType.ROUTE_POLICY_BUNDLE)
INCREMENT = f.manifest(ArtifactType.SNAPSHOT_INCREMENT)
TOMBSTONE = replace(
    ROUTES,
    content_hash=NOTHING_HASH,
    content_size=0,
    tombstone=Tombstone(reason="withdrawn", purge=True),
)
LARGE = replace(
    ROUTES,
    content_size=(1 << 20) + 1,
    chunk_hashes=tuple(f.hash_of(bytes([n])) for n in range(5)),
    extensions=(("colour", b"\x00\xff"), ("note", b"")),
    min_trust_version=3,
    min_revocation_version=2,
)
assert isinstance(INCREMENT.base, Base)

DOMAIN = FailureDomain("eu", "eu-1", "r7")
PEERS = PeerDirectory(
    scope=parse_scope_id("cluster:prod"),
    audiences=(f.audience("cluster:prod"), f.audience("cluster:prod", "role:edge")),
    peers=tuple(
        PeerRecord(
            node_id=NodeId(name),
            addresses=(f"{name}.example:7400", "[::1]:7400"),
            domain=DOMAIN,
            peer_class=PeerClass.FULL,
            is_storage=name == "n2",
            audiences=(0, 1),
        )
        for name in ("n1", "n2")
    ),
)
STORES = StorageDirectory(
    scope=parse_scope_id("cluster:prod"),
    nodes=(
        StorageNode(
            node_id=NodeId("s1"),
            domain=DOMAIN,
            assignments=(f.ASSIGNMENT, replace(f.ASSIGNMENT, shards=(0, 7, 255))),
        ),
    ),
    replication=ReplicationPolicy(
        rules=(
            ReplicationRule(artifact_type=ArtifactType.CLUSTER_SNAPSHOT, replicas=3),
            ReplicationRule(artifact_type=ArtifactType.UPDATE_MANIFEST, replicas=0, on_demand=True),
        )
    ),
    retention=RetentionPolicy(keep_versions=2),
)
SNAPSHOT = Snapshot(
    endpoints=(Endpoint(address="control.example:7400", node_id=NodeId("c1")),),
    degraded=DegradedPolicy(
        rules=(
            DegradedRule(
                artifact_type=ArtifactType.PEER_DIRECTORY, max_age_s=7 * f.DAY, withhold=True
            ),
        ),
        actions=(
            DegradedAction(action="route", modes=(DegradedMode.PARTITIONED, DegradedMode.STALE)),
        ),
    ),
    settings=b"opaque \x00\xff",
    covers=(f"{f.PREFIX}/qos", f"{f.PREFIX}/routes"),
    listings=(
        Listing(
            namespace=ROUTES.namespace.text,
            order=Order(2, 7),
            manifest_hash=ManifestHash(b"\x07" * 32),
            window=(ManifestHash(b"\x06" * 32),),
        ),
    ),
    claims=f.signed_claims(f.claims()),
)
REVOCATIONS = RevocationList(
    entries=tuple(
        Revocation(
            kind=kind,
            value=bytes([kind.value]) * 32,
            reason="stolen",
            since_epoch=2,
            since=f.NOW,
            until=UnixTime(0),
        )
        for kind in RevokedKind
    )
)
BUNDLE = replace(
    f.BUNDLE,
    keys=f.BUNDLE.keys[:2],
    rights=f.BUNDLE.rights[:2],
    node_cas=(NodeCa(b"certificate"),),
    content_caps=(ContentCap(artifact_type=ArtifactType.UPDATE_MANIFEST, size_max=5),),
)
ENVELOPE = f.signed(ROUTES, f.POLICY, f.COMPILER)
CLAIMS_ENVELOPE = f.signed_claims(f.claims())
HASHES = tuple(sorted(bytes(f.hash_of(bytes([n]))) for n in range(4)))
PREFIXES = tuple(one[:16] for one in HASHES)
AUDIENCE = f.audience("cluster:prod", "role:edge")
SALT = m.SaltId(3, 20_000)
RANGES = (
    m.Range(upper=b"\x00\x01", mode=m.RangeMode.SKIP),
    m.Range(upper=b"\x00\x01\x02", mode=m.RangeMode.FINGERPRINT, fingerprint=b"8 bytes!"),
    m.Range(upper=b"\x07", mode=m.RangeMode.IDS, ids=(HASHES[1][:8], HASHES[0][:8])),
    m.Range(upper=b"\x09", mode=m.RangeMode.IDS),
    m.Range(upper=None, mode=m.RangeMode.FINGERPRINT, fingerprint=b"the rest"),
)


def ping(sequence: int, link_root: bytes = bytes(8)) -> m.Ping:
    """Asks for a sign of life, with sets nobody has."""
    return m.Ping(sequence=sequence, salt=SALT, link_root=link_root)


MESSAGES: tuple[m.Message, ...] = (
    m.Hello(
        protocol_min=1,
        protocol_max=2,
        features=3,
        boot_id=BootId(bytes(16)),
        claims=CLAIMS_ENVELOPE,
        openings=f.OPENINGS,
        bundle_version=3,
        revocation_version=5,
        epoch=2,
    ),
    m.Welcome(protocol=1, features=0),
    m.Claims(openings=f.OPENINGS, claims=CLAIMS_ENVELOPE),
    ping(2**32 - 1),
    m.Pong(sequence=0),
    m.Bye(reason=m.ByeReason.CLOSED, retry_after_s=30),
    m.NeighborAsk(purpose=m.NeighborPurpose.UPWARD, is_needed=True),
    m.NeighborAnswer(is_yes=False, retry_after_s=60),
    m.Announce(entries=(m.Announced(ENVELOPE, 3), m.Announced(f.signed(INCREMENT), 0, f.CONTENT))),
    m.Have(audience=AUDIENCE, prefixes=PREFIXES, is_late=True),
    m.Graft(audience=AUDIENCE, prefixes=PREFIXES[:1]),
    m.Prune(audience=AUDIENCE),
    m.Holdings(
        sequence=9,
        is_whole=True,
        entries=(
            m.HoldingsEntry(AUDIENCE, m.HoldingsMode.ALL_EXCEPT, PREFIXES),
            m.HoldingsEntry(f.audience("cluster:prod"), m.HoldingsMode.NONE, ()),
        ),
    ),
    m.Roots(
        salt=SALT, is_first=True, is_last=False, entries=(m.SetRoot(AUDIENCE, 3, HASHES[0][:16]),)
    ),
    m.Ranges(set_id=AUDIENCE.token[:8], salt=SALT, step=3, more=True, ranges=RANGES),
    m.Ids(set_id=AUDIENCE.token[:8], salt=SALT, ids=(HASHES[1][:8], HASHES[0][:8])),
    m.GetManifests(set_id=AUDIENCE.token[:8], salt=SALT, ids=(HASHES[0][:8],)),
    m.Manifests(set_id=AUDIENCE.token[:8], answered=1, envelopes=(ENVELOPE,)),
    m.GetHeads(
        known=(m.HeadKnown(ROUTES.namespace.text, 2, 7), m.HeadKnown("any text", 0, 0)), question=9
    ),
    m.Heads(envelopes=(ENVELOPE,), question=9),
    m.GetChain(namespace="any text", base=f.hash_of(f.CONTENT), head=f.hash_of(b"")),
    m.Chain(head=f.hash_of(b""), envelopes=(ENVELOPE,)),
    m.GetContent(
        items=(m.ContentAsk(ManifestHash(HASHES[0]), f.hash_of(f.CONTENT), 63, 64),),
        grant=f.signed_grant(f.grant()),
        narrowing=Narrowing(
            scope_ids=AUDIENCE.scope_ids,
            types=(ArtifactType.ROUTE_POLICY_BUNDLE,),
            manifest_hashes=(ManifestHash(HASHES[0]),),
        ),
    ),
    m.NotAvailable(item=1_023),
    m.Busy(item=0, retry_after_ms=250),
    m.BadRequest(code=m.BadRequestCode.LIMIT),
    m.Cancel(),
    m.AuditHead(checkpoint=CLAIMS_ENVELOPE),
)


@dataclass(frozen=True)
class Sample:
    """A name, the value, its bytes, its reader, and the writer that must give the same bytes."""

    name: str
    value: object
    data: bytes
    parse: Callable[[bytes], Readable]
    again: Callable[[bytes], bytes]
    """Reads and writes once more."""


def _message_sample(message: m.Message) -> Sample:
    kind, body = message_body(message)
    return Sample(
        type(message).__name__,
        message,
        body,
        lambda data: parse_message(kind, data),
        lambda data: message_body(parse_message(kind, data))[1],
    )


def envelope_again(data: bytes) -> bytes:
    read = parse_envelope(data)
    return envelope_bytes(read.kind, read.payload, read.signatures)


def _manifest_sample(name: str, value: Manifest) -> Sample:
    return Sample(
        name,
        value,
        manifest_bytes(value),
        parse_manifest,
        lambda data: manifest_bytes(parse_manifest(data)),
    )


SAMPLES: tuple[Sample, ...] = (
    _manifest_sample("manifest", ROUTES),
    _manifest_sample("increment", INCREMENT),
    _manifest_sample("tombstone", TOMBSTONE),
    _manifest_sample("chunked manifest", LARGE),
    Sample(
        "claims",
        f.claims(),
        claims_bytes(f.claims()),
        parse_claims,
        lambda data: claims_bytes(parse_claims(data)),
    ),
    Sample(
        "grant",
        f.grant(),
        grant_bytes(f.grant()),
        parse_grant,
        lambda data: grant_bytes(parse_grant(data)),
    ),
    Sample(
        "checkpoint",
        f.checkpoint(),
        checkpoint_bytes(f.checkpoint()),
        parse_checkpoint,
        lambda data: checkpoint_bytes(parse_checkpoint(data)),
    ),
    Sample(
        "own claims",
        (CLAIMS_ENVELOPE, f.OPENINGS),
        own_claims_bytes(CLAIMS_ENVELOPE, f.OPENINGS),
        parse_own_claims,
        lambda data: own_claims_bytes(*parse_own_claims(data)),
    ),
    Sample(
        "bundle",
        BUNDLE,
        bundle_bytes(BUNDLE),
        parse_bundle,
        lambda data: bundle_bytes(parse_bundle(data)),
    ),
    Sample(
        "revocations",
        REVOCATIONS,
        revocations_bytes(REVOCATIONS),
        parse_revocations,
        lambda data: revocations_bytes(parse_revocations(data)),
    ),
    Sample(
        "peer directory",
        PEERS,
        peer_directory_bytes(PEERS),
        parse_peer_directory,
        lambda data: peer_directory_bytes(parse_peer_directory(data)),
    ),
    Sample(
        "storage directory",
        STORES,
        storage_directory_bytes(STORES),
        parse_storage_directory,
        lambda data: storage_directory_bytes(parse_storage_directory(data)),
    ),
    Sample(
        "snapshot",
        SNAPSHOT,
        snapshot_bytes(SNAPSHOT),
        parse_snapshot,
        lambda data: snapshot_bytes(parse_snapshot(data)),
    ),
    Sample("envelope", parse_envelope(ENVELOPE), ENVELOPE, parse_envelope, envelope_again),
    *(_message_sample(message) for message in MESSAGES),
)
NAMES = [sample.name for sample in SAMPLES]


def code_when_read(parse: Callable[[bytes], object], data: bytes) -> str | None:
    """The code of the refusal, None where the bytes were read; anything else is raised."""
    try:
        parse(data)
    except WireError as error:
        code = error.code
    else:
        return None
    assert code in CODES, code
    return code


def kind_of(message: m.Message) -> FrameKind:
    return message_body(message)[0]
