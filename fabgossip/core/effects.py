"""What a node wants done: the closed union of everything that leaves the core.

Decides: nothing.
Keeps: effects are carried out in list order; what depends on a `Persist` is asked for only after
its `Persisted`.
Must not know: who carries them out.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from fabgossip.core.events import ContentWanted, LinkId, LostReason, RequestId, Timer, Token
from fabgossip.model.artifact import Manifest, Order, VerifiedManifest
from fabgossip.model.authority import Narrowing
from fabgossip.model.ids import ContentHash, NodeId
from fabgossip.model.messages import ByeReason, Message, TrafficClass
from fabgossip.model.mode import Permit
from fabgossip.model.moment import Instant, UnixTime
from fabgossip.model.persistence import Change, HeldBack, Pin
from fabgossip.model.scope import Audience


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Queue a message on a link; a full queue drops it and says `Unsent` where it names an
    audience."""

    link: LinkId
    message: Message
    traffic: TrafficClass
    stream: int = 0
    audience: Audience | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """Connect to a node, which must prove its id; `PeerConnected` or `PeerLost` follows."""

    node_id: NodeId
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnect:
    """Say goodbye on a link and end it; `PeerLost` with `lost` follows."""

    link: LinkId
    bye: ByeReason
    retry_after_s: int
    lost: LostReason


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTimer:
    """Give `timer` back at `at`; timers are never cancelled."""

    timer: Timer
    at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveContent:
    """Get a content, verify and store it; `ContentStored` or `ContentFailed` follows.

    At most one of `link`, `request` and `content` is set; none: then it is held and read again from
    the own disk.
    """

    wanted: ContentWanted
    link: LinkId | None = None
    request: RequestId | None = None
    content: bytes | None = field(default=None, repr=False)
    """It came with its announcement, and its hash matched."""
    traffic: TrafficClass = TrafficClass.POLICY
    idle_ms: int = 0
    """How long the link may bring no further byte."""
    turn_ms: int = 0
    """How long it may bring no first one; 0: as long."""
    audience: Audience | None = None
    """Of what is asked of a link: nothing of another audience may show in when it comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelContent:
    """What is asked of this link for a content is not needed any more: nothing follows, or at most
    what had arrived already."""

    link: LinkId
    content_hash: ContentHash


@dataclass(frozen=True, slots=True, kw_only=True)
class Assemble:
    """Make a content of contents that are held: apply the increments in this order, the first to
    what its manifest names as base, in memory and on a copy. Each result is hashed; the last is
    stored like a content that was received, no other is ever visible. `ContentStored` or
    `AssemblyFailed` follows."""

    wanted: ContentWanted
    increments: tuple[Manifest, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveGranted:
    """Get a content from a link with a fetch grant, in one request, verify it, and keep it for who
    made the local request and for nobody else: it is not stored; `GrantedReceived` follows."""

    request: RequestId
    link: LinkId
    wanted: ContentWanted
    grant: bytes
    """Its envelope, which rides in the request."""
    narrowing: Narrowing
    traffic: TrafficClass
    idle_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeItem:
    """One authorised item of a content request, by its place in it."""

    item: int
    content_hash: ContentHash
    size: int
    chunk_hashes: tuple[ContentHash, ...]
    first_chunk: int
    chunk_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeContent:
    """Send contents over a link's stream, each hashed before it leaves; `ContentServed` follows."""

    link: LinkId
    stream: int
    items: tuple[ServeItem, ...]
    traffic: TrafficClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Persist:
    """Make these changes durable together; `Persisted` follows."""

    token: Token
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Materialize:
    """Switch a namespace's local state to this version, or (`order` None) withdraw it;
    `Persisted` follows."""

    token: Token
    namespace: str
    order: Order | None
    manifest: Manifest | None = field(default=None, repr=False)
    envelope: bytes = field(default=b"", repr=False)
    keep_versions: int = 0
    activate: bool = True
    """False stages the version beside `current`: what it does is for its consumer to start."""
    is_kept: bool = False
    """Back to a version whose folder is still there: its bytes are hashed again, where they lie,
    before the link moves. The store need not hold its content."""
    is_damaged: bool = False
    """What lies there under its name is not what was signed: it leaves, and is written anew."""
    purge: bool = False
    """With `order` None: the versions go too, not only the links to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Drop a content: its row, then its bytes; those of a damaged one are set aside."""

    content_hash: ContentHash
    is_damaged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrub:
    """Hash a content as it rests on the disk, and note durably that it was sound at this time:
    `Persisted` follows, or `ContentLost`; and `LocalDamaged` for each of `shown` that does not lie
    in the local state as it was signed."""

    token: Token
    content_hash: ContentHash
    at: UnixTime
    shown: tuple[VerifiedManifest, ...] = field(default=(), repr=False)
    """What local software reads, or may start, of this content."""


class Outcome(StrEnum):
    """How a local request ended."""

    ADMITTED = "admitted"
    ALREADY_CURRENT = "already_current"
    REFUSED = "refused"
    HELD = "held"
    DELIVERED = "delivered"
    """Of a fetch under a grant: the content waits for who asked, and is not held."""
    DECIDED = "decided"
    PINNED = "pinned"
    UNPINNED = "unpinned"
    HELD_BACK = "held_back"
    RELEASED = "released"
    UNKNOWN = "unknown"
    TIMED_OUT = "timed_out"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The one answer to a local request."""

    request: RequestId
    outcome: Outcome
    code: str = ""
    detail: str = ""
    content_hash: ContentHash | None = None
    namespace: str | None = None
    permit: Permit | None = None
    """Of a `GateRequest`, whose outcome is `DECIDED`."""
    pin: Pin | None = None
    """Of a `PinRequest` or an `UnpinRequest`."""
    held_back: HeldBack | None = None
    """Of a `UseRequest` or a `ReleaseRequest`."""


class Fact(StrEnum):
    """Names of what happened, shared by log, trace and audit."""

    STARTED = "started"
    ENVELOPE_SHUNNED = "envelope_shunned"
    BUNDLE_ACCEPTED = "bundle_accepted"
    REVOCATION_ACCEPTED = "revocation_accepted"
    ARTIFACT_ACCEPTED = "artifact_accepted"
    ARTIFACT_REJECTED = "artifact_rejected"
    ARTIFACT_CURRENT = "artifact_current"
    ARTIFACT_STAGED = "artifact_staged"
    ARTIFACT_WITHHELD = "artifact_withheld"
    NEIGHBOR_CONNECTED = "neighbor_connected"
    NEIGHBOR_LOST = "neighbor_lost"
    NEIGHBOR_EVICTED = "neighbor_evicted"
    SESSION_CUT = "session_cut"
    FETCH_DENIED = "fetch_denied"
    FETCH_FAILED = "fetch_failed"
    RECOVERY_STARTED = "recovery_started"
    RECOVERY_ENDED = "recovery_ended"
    WANT_STUCK = "want_stuck"
    CHAIN_ASSEMBLED = "chain_assembled"
    CHAIN_BROKEN = "chain_broken"
    STORAGE_FAILED = "storage_failed"
    STORAGE_REFUSES = "storage_refuses"
    STORAGE_TAKES = "storage_takes"
    PINNED = "pinned"
    UNPINNED = "unpinned"
    HELD_BACK = "held_back"
    RELEASED = "released"
    CONTENT_EVICTED = "content_evicted"
    CONTENT_DAMAGED = "content_damaged"
    LOCAL_DAMAGED = "local_damaged"
    SUBMITTED = "submitted"
    PROBE_SILENCED = "probe_silenced"
    MODE_CHANGED = "mode_changed"
    CLAIMS_ACCEPTED = "claims_accepted"
    CLAIMS_REFUSED = "claims_refused"
    ARTIFACT_DISPUTED = "artifact_disputed"
    DISPUTE_SETTLED = "dispute_settled"
    TRUST_FORKED = "trust_forked"
    SILENT_REMOVAL = "silent_removal"
    GRANT_USED = "grant_used"
    GRANT_ACCEPTED = "grant_accepted"
    GRANT_REFUSED = "grant_refused"
    GRANT_FETCHED = "grant_fetched"
    GATE_ANSWERED = "gate_answered"
    CONTENT_PURGED = "content_purged"
    IDENTITY_REFUSED = "identity_refused"
    IDENTITY_CLONED = "identity_cloned"
    IDENTITY_RENEWED = "identity_renewed"
    RENEWAL_REFUSED = "renewal_refused"
    AUDIT_FORKED = "audit_forked"
    CRITICAL_UNDER_REPLICATED = "critical_under_replicated"
    CRITICAL_REPLICATION_RESTORED = "critical_replication_restored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Something happened that an operator, or an auditor, wants to know."""

    fact: Fact
    fields: tuple[tuple[str, str | int], ...] = ()


Effect: TypeAlias = (
    Send
    | Dial
    | Disconnect
    | SetTimer
    | ReceiveContent
    | Assemble
    | ReceiveGranted
    | ServeContent
    | Persist
    | Materialize
    | CancelContent
    | Remove
    | Scrub
    | Answer
    | Record
)
