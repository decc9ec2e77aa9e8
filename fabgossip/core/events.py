"""What can happen to a node: the closed union of everything that enters the core.

Decides: nothing.
Keeps: every member is frozen and carries values, never references to live state; results come back
only as events.
Must not know: how anything was read, received or measured.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType, TypeAlias

from fabgossip.core.space import SpaceState
from fabgossip.model.artifact import Order
from fabgossip.model.authority import NodeIdentity, Opening
from fabgossip.model.ids import ContentHash, ManifestHash, NodeId
from fabgossip.model.increments import AssemblyFault
from fabgossip.model.messages import Message
from fabgossip.model.moment import Duration, UnixTime
from fabgossip.model.persistence import (
    WHOLE_MEMORY,
    HeldBack,
    PutCheckpoints,
    StoredFloor,
    StoredHead,
    StoredMemory,
    StoredPin,
    StoredTrust,
)
from fabgossip.model.scope import Audience

LinkId = NewType("LinkId", int)
"""One authenticated connection; numbers are never reused within a process."""
RequestId = NewType("RequestId", int)
"""One local request; numbers are never reused within a process."""
Token = NewType("Token", int)
"""What a `Persisted` answers."""


class LostReason(StrEnum):
    """Why a connection, or the try to make one, ended."""

    CONNECT_FAILED = "connect_failed"
    HANDSHAKE_FAILED = "handshake_failed"
    """TLS was refused, or broken off."""
    HANDSHAKE_TIMED_OUT = "handshake_timed_out"
    """The kernel there took the connection, and the process did not answer."""
    IDENTITY = "identity"
    EOF = "eof"
    RESET = "reset"
    TIMEOUT = "timeout"
    WRITE_TIMEOUT = "write_timeout"
    BACKPRESSURE = "backpressure"
    PROTOCOL = "protocol"
    VERSION = "version"
    DUPLICATE = "duplicate"
    REVOKED = "revoked"
    NARROWED = "narrowed"
    LIFE = "life"
    VISIT_OVER = "visit_over"
    EVICTED = "evicted"
    FULL = "full"
    LOCAL = "local"
    BYE = "bye"


class FetchFailure(StrEnum):
    """How a try to receive a content ended without it."""

    MISSING = "missing"
    BUSY = "busy"
    BAD_HASH = "bad_hash"
    BAD_LENGTH = "bad_length"
    STALLED = "stalled"
    TOO_SLOW = "too_slow"
    LOST = "lost"
    CONTRADICTED = "contradicted"
    """Every chunk was as signed and the whole is not: no source can bring what fits both."""
    DISK = "disk"
    """The own disk failed."""
    STORAGE = "storage"
    """The own disk takes no more: quota, free space, or it failed too often."""
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The process began: what the disk says."""

    trust: tuple[StoredTrust, ...]
    heads: tuple[StoredHead, ...]
    floors: tuple[StoredFloor, ...]
    revoked: tuple[tuple[int, bytes], ...] = ()
    """Number of the kind and 32 bytes of everything revoked in `memory.revoked_epoch`."""
    memory: StoredMemory = WHOLE_MEMORY
    evidence_contents: tuple[bytes, ...] = ()
    """What is held of the contents that `memory.evidence` names and fabgossip reads."""
    checkpoints: tuple[PutCheckpoints, ...] = ()
    """What is kept of other nodes' audit logs."""
    visible: tuple[tuple[str, bytes], ...] = ()
    """Namespace and envelope of what consumers read, or may start, in the local state."""
    is_synchronized: bool = True
    """The kernel's word about its clock, as in `ClockChanged`."""
    pins: tuple[StoredPin, ...] = ()
    held_back: tuple[HeldBack, ...] = ()
    """What operators put back."""
    loose: tuple[tuple[ContentHash, int], ...] = ()
    """Contents that are held and their sizes, of which the disk does not say what they are."""
    put_away: tuple[tuple[str, bytes], ...] = ()
    """The same of the newest version where the local state has versions and no link to any."""
    shunned: tuple[tuple[bytes, Duration], ...] = ()
    """SHA-256 of envelopes over which processes before this one ended, and for how long they are
    not to be looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerConnected:
    """A link passed TLS and the leaf rules."""

    link: LinkId
    identity: NodeIdentity
    is_dialer: bool
    """Whether this end dialled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLost:
    """A link ended, or (link None) a dial failed."""

    link: LinkId | None
    node_id: NodeId
    reason: LostReason


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageReceived:
    """A well-formed message came; `stream` 0 is the link itself."""

    link: LinkId
    stream: int
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsent:
    """A full queue dropped a frame about `audience`."""

    link: LinkId
    audience: Audience


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSlow:
    """Something has waited for a second to leave on a link, after nothing had for so long."""

    link: LinkId


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshDue:
    """Time to ask somebody for newer heads and to look for expired ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubDue:
    """Time to look whether a holding is to be hashed again; it may be stale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialDue:
    """Time to look for missing neighbours; another generation is stale."""

    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PingDue:
    """Time to ask a link for a sign of life."""

    link: LinkId


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceDue:
    """Time to look whether a link still lives; it may be stale."""

    link: LinkId


@dataclass(frozen=True, slots=True, kw_only=True)
class HelloDue:
    """A link must be open by now."""

    link: LinkId


@dataclass(frozen=True, slots=True, kw_only=True)
class WantDue:
    """Time to try a parked want again; another generation is stale."""

    content_hash: ContentHash
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderDue:
    """Time to look whether a source that is being dialled lost its turn, or a token came; it may be
    stale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvertiseDue:
    """What came to be held is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairDue:
    """A snapshot has waited for its increment; it may be told by now."""

    prefix: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnounceDue:
    """Announcements that waited for each other on their links leave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HaveDue:
    """News gathered for links leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraftDue:
    """Time to ask for what only lazy links told of, if the tree did not bring it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalDue:
    """A climb for newer versions may go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonDue:
    """Time to look at what is under way on a link to compare sets; it may be stale."""

    link: LinkId


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswersDue:
    """Time to send what is not available on a link."""

    link: LinkId


@dataclass(frozen=True, slots=True, kw_only=True)
class PartingDue:
    """The link to a peer that lost its trust has to end now."""

    link: LinkId


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeDue:
    """What a link rests on may be over: its own time, the peer's certificate, or its claims."""

    link: LinkId


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDue:
    """A local request has waited as long as it wanted to."""

    request: RequestId


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainDue:
    """A chain of increments took as long as it may; another generation is stale."""

    namespace: str
    generation: int


Timer: TypeAlias = (
    RefreshDue
    | ScrubDue
    | DialDue
    | PingDue
    | SilenceDue
    | HelloDue
    | WantDue
    | ChainDue
    | LadderDue
    | AdvertiseDue
    | ComparisonDue
    | AnswersDue
    | RequestDue
    | PartingDue
    | LifeDue
    | AnnounceDue
    | PairDue
    | HaveDue
    | GraftDue
    | RenewalDue
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired:
    """A timer asked for by `SetTimer` came due; it may be stale."""

    timer: Timer


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentWanted:
    """All that is signed about a content, so that every byte can be judged as it comes."""

    manifest_hash: ManifestHash
    content_hash: ContentHash
    size: int
    chunk_hashes: tuple[ContentHash, ...]
    is_read: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentStored:
    """A content is durable here and is what was signed: hash and size matched. Also the answer to
    `Assemble`."""

    wanted: ContentWanted
    link: LinkId | None
    """Where it came from; None for a local request, an assembly or the own disk."""
    content: bytes | None
    """The bytes, for a type fabgossip reads, and of any small one."""
    brought: tuple[tuple[LinkId, int], ...] = ()
    """Of a content that came in chunks: verified bytes by link, which are fewer than all where an
    earlier process, or who was asked before, had left some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentFailed:
    """A content could not be had from a link, a request or the own disk; `received` counts its
    verified bytes."""

    wanted: ContentWanted
    link: LinkId | None
    request: RequestId | None
    reason: FetchFailure
    received: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AssemblyFailed:
    """`Assemble` came to nothing, at the increment of this place; nothing of it is stored."""

    wanted: ContentWanted
    fault: AssemblyFault
    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantedReceived:
    """A content asked for under a grant is verified and waits for who asked for it (`failure`
    None), or could not be had from the link; `received` counts its verified bytes."""

    request: RequestId
    link: LinkId
    failure: FetchFailure | None
    received: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentServed:
    """A serving slot of a link is free again."""

    link: LinkId
    stream: int
    is_too_slow: bool = False
    """Whether the peer did not take what it asked for at the least pace: the rest was not sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentLost:
    """A content that was held is gone from the own disk, or damaged there: found by a scrub, or
    when it was to be served, and answered like one that is absent."""

    content_hash: ContentHash


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwanted:
    """Frames came that lead to nothing: of a kind nobody knows here, answers to nothing that is
    asked; before a link is open, anything but hello, welcome and goodbye."""

    link: LinkId
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDamaged:
    """What local software reads in a namespace is not what was signed, or is gone."""

    namespace: str
    manifest_hash: ManifestHash


@dataclass(frozen=True, slots=True, kw_only=True)
class Persisted:
    """What `Persist` or `Materialize` with this token asked for is durable, or has failed; what
    `Scrub` asked about is sound, or could not be read just now."""

    token: Token
    ok: bool


class AuditState(StrEnum):
    """Of the audit log, for ever. Nothing of high risk is allowed in another than the first."""

    INTACT = "intact"
    """What happens is recorded in the log that was signed."""
    STOPPED = "stopped"
    """The disk refuses; records wait in memory, and it is tried again."""
    DAMAGED = "damaged"
    """Found cut or changed at the start. What happens is recorded behind the damage; it stays so
    until the next start, for somebody has to look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditChanged:
    """The audit log is in another state than before."""

    state: AuditState


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceChanged:
    """The own disk takes other things than before, or has too much on it."""

    space: SpaceState


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockChanged:
    """The kernel says that its clock is kept in step with others, or that it is not; without a word
    of it, it is."""

    is_synchronized: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPapers:
    """What a node shows of itself: its certificate, and the claims it was enrolled with."""

    certificate: NodeIdentity
    certificate_times: tuple[UnixTime, UnixTime]
    """From when until when it is good, as it says itself."""
    claims: bytes
    openings: tuple[Opening, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PapersRead:
    """The files of the own identity are others than before: what is in them is shown from now on,
    or (`papers` None) is not fit to be, and what was shown stays. Without a fault either, they are
    again what is shown."""

    papers: OwnPapers | None
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSigned:
    """The own audit log has a new checkpoint, durable and ready to be shown to others."""

    envelope: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitRequest:
    """Take this envelope and its content, which the interpreter holds ready under the request's
    number."""

    envelope: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest:
    """Get a content by hash, or the head of a namespace."""

    content_hash: ContentHash | None
    namespace: str | None
    timeout_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantedRequest:
    """Get one content under a fetch grant, for who asks alone: both are envelopes."""

    grant: bytes
    envelope: bytes
    """Of the artifact: nobody announces it to a node that may not hold it."""
    timeout_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRequest:
    """Whether local software may do something now, with an artifact or in general."""

    action: str
    content_hash: ContentHash | None = None
    namespace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PinRequest:
    """Keep the content of a hash, or of the head of a namespace, for so long."""

    owner: str
    reason: str
    seconds: int
    content_hash: ContentHash | None = None
    namespace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpinRequest:
    """A pin is not needed any more."""

    pin_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UseRequest:
    """Put what local software reads in a namespace back to an older version, for so long."""

    owner: str
    reason: str
    seconds: int
    namespace: str
    order: Order
    envelope: bytes = field(repr=False)
    """As it stands beside that version in the local state: evidence, to be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRequest:
    """A namespace is put back no longer."""

    owner: str
    namespace: str


Request: TypeAlias = (
    SubmitRequest
    | FetchRequest
    | GrantedRequest
    | GateRequest
    | PinRequest
    | UnpinRequest
    | UseRequest
    | ReleaseRequest
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestMade:
    """Local software asked for something; exactly one `Answer` follows."""

    request: RequestId
    body: Request


Event: TypeAlias = (
    Started
    | PeerConnected
    | PeerLost
    | MessageReceived
    | Unsent
    | LinkSlow
    | TimerFired
    | ContentStored
    | ContentFailed
    | AssemblyFailed
    | GrantedReceived
    | ContentServed
    | ContentLost
    | LocalDamaged
    | Unwanted
    | Persisted
    | AuditChanged
    | SpaceChanged
    | ClockChanged
    | RequestMade
    | CheckpointSigned
    | PapersRead
)
