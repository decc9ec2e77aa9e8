"""What peers say to each other: one closed union.

Kinds are numbers for ever. Large bytes are no message: content frames pass from connection to disk
and never enter the core. `stream` 0 is the link itself, else a request number.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from fabgossip.model.authority import Narrowing, Opening
from fabgossip.model.ids import BootId, ContentHash, ManifestHash
from fabgossip.model.scope import Audience
from fabgossip.model.words import Number


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocols:
    """The versions one end speaks, from the lowest to the highest."""

    lowest: int
    highest: int


SPOKEN: Final = Protocols(lowest=1, highest=1)
"""What this build speaks: its own version and, once there is one, the one before, so that a fabric
is updated node by node (`docs/decisions/0036-two-protocol-versions.md`)."""
PROTOCOL: Final = SPOKEN.highest
"""The version of this build."""
PREFIX_BYTES: Final = 16
"""Bytes of a manifest hash that stand for it between peers."""
ANNOUNCE_ENTRIES_MAX: Final = 16
INLINE_BYTES_MAX: Final = 16_384
"""Content of at most this size may ride along with its announcement."""
HAVE_PREFIXES_MAX: Final = 512
GRAFT_PREFIXES_MAX: Final = 64
HOLDINGS_ENTRIES_MAX: Final = 64
HOLDINGS_PREFIXES_MAX: Final = 1_024
HEADS_ENTRIES_MAX: Final = 256
HEADS_BYTES_MAX: Final = 128 * 1024
"""What one question for heads is answered with (*start*), over as many frames as it takes."""
MANIFESTS_BYTES_MAX: Final = 60 * 1024
MANIFESTS_ENTRIES_MAX: Final = 256
ROOTS_ENTRIES_MAX: Final = 64
RANGES_MAX: Final = 4_096
RANGES_BYTES_MAX: Final = 32 * 1024
RANGES_STEPS_MAX: Final = 15
BOUND_BYTES_MAX: Final = 40
"""A key of a set: 8 bytes of `issued_at`, and the manifest hash."""
SET_ID_BYTES: Final = 8
"""Bytes of an audience token that stand for its set."""
ROOT_BYTES: Final = 16
LINK_ROOT_BYTES: Final = 8
FINGERPRINT_BYTES: Final = 8
SALTED_ID_BYTES: Final = 8
OFFERED_IDS_MAX: Final = 4_096
GET_MANIFESTS_IDS_MAX: Final = 64
CHAIN_STEPS_MAX: Final = 64
"""Increments that are applied one after the other."""
CONTENT_ITEMS_MAX: Final = 1_024
FEATURE_CHAINS: Final = 1
"""Bit of a hello: whoever says it answers `GetChain`; to others it is of no kind they know."""
FEATURES: Final = FEATURE_CHAINS
"""What this build has beside its protocol version."""


class TrafficClass(Number):
    """Sending priority of a frame, 0 first. A hint of the sender, never a right."""

    LINK = 0
    TRUST = 1
    TOMBSTONE = 2
    SNAPSHOT = 3
    POLICY = 4
    BULK = 5


class ByeReason(Enum):
    """Why a connection ends. `CLOSED` covers every reason of trust, authority or scope, so it tells
    nothing.
    """

    DRAIN = 1
    RESTART = 2
    FULL = 3
    EVICTED = 4
    DUPLICATE = 5
    VISIT_OVER = 6
    LIFE_OVER = 7
    SLOW = 8
    OVER_RATE = 9
    PROTOCOL = 10
    VERSION = 11
    CLOSED = 12


class BadRequestCode(Enum):
    """Which rule of the connection a frame broke."""

    LENGTH = 1
    KIND = 2
    CLASS = 3
    STREAM = 4
    BODY = 5
    LIMIT = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """First word of both ends: versions spoken, this process, the claims and what of them is shown
    here.
    """

    protocol_min: int
    protocol_max: int
    features: int
    boot_id: BootId
    claims: bytes
    openings: tuple[Opening, ...]
    bundle_version: int
    revocation_version: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The hello was accepted: the version and features in force."""

    protocol: int
    features: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Further openings, once the peer is known to be entitled to see them; with newer claims, all
    openings shown to this peer.
    """

    openings: tuple[Opening, ...]
    claims: bytes = b""
    """Envelope of newer claims, empty where those of the hello stand."""


@dataclass(frozen=True, slots=True)
class SaltId:
    """Which salt fingerprints rest on: the trust bundle in force and the day since 1970, UTC."""

    bundle_version: int
    day: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Asks for a sign of life; sent by the dialling side, with what stands for all sets the sender
    compares on this link."""

    sequence: int
    salt: SaltId
    link_root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """The sign of life asked for."""

    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """Last word; `retry_after_s` is a hint."""

    reason: ByeReason
    retry_after_s: int


class NeighborPurpose(Enum):
    """What a link is to be used for."""

    QUOTA = 1
    UPWARD = 2
    """The asked node stands before the asker, which has nobody else that does."""
    FAR = 3
    THIN = 4
    """The asker is a thin node: it passes nothing on and is in nobody's quota."""
    KEEP = 5
    """The asker took the link for one between neighbours before it could know better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighborAsk:
    """Asks to make neighbours of the ends of this link."""

    purpose: NeighborPurpose
    is_needed: bool
    """Whether the asker has no other neighbour in an audience both are in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighborAnswer:
    """Whether they are from now on; else, after how long another ask makes sense."""

    is_yes: bool
    retry_after_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Announce:
    """These exist: at most 16 envelopes, with the hops each has come, and small contents."""

    entries: tuple["Announced", ...]


@dataclass(frozen=True, slots=True)
class Announced:
    """One envelope as received, the hops behind it (advisory), its content if that rides along."""

    envelope: bytes
    hops: int
    content: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Have:
    """Prefixes of manifest hashes the sender has in one audience: news that others carry whole, or
    (`is_late`) what is not news any more and nobody carries.
    """

    audience: Audience
    prefixes: tuple[bytes, ...]
    is_late: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Graft:
    """Asks for the manifests behind prefixes of a `Have`; answered by `Announce`."""

    audience: Audience
    prefixes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """What the peer announces in this audience comes from elsewhere: only its news is wanted."""

    audience: Audience


class HoldingsMode(Enum):
    """How the prefixes of an entry are meant."""

    NONE = 0
    ALL_EXCEPT = 1
    ONLY = 2


@dataclass(frozen=True, slots=True)
class HoldingsEntry:
    """What the sender itself holds of one shared audience."""

    audience: Audience
    mode: HoldingsMode
    prefixes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """A neighbour's own word about its holdings; never relayed. `is_whole` replaces all said
    before.
    """

    sequence: int
    is_whole: bool
    entries: tuple[HoldingsEntry, ...]


@dataclass(frozen=True, slots=True)
class HeadKnown:
    """A namespace and the order the asker has of it; (0, 0) for nothing."""

    namespace: str
    epoch: int
    version: int


@dataclass(frozen=True, slots=True)
class SetRoot:
    """What stands for one whole set."""

    audience: Audience
    count: int
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Roots:
    """The sets of the sender, by audience; what differs is compared by whoever receives it."""

    salt: SaltId
    is_first: bool
    is_last: bool
    """From the first of such messages to the last all non-empty sets are named; one that is
    neither names some."""
    entries: tuple[SetRoot, ...]


class RangeMode(Enum):
    """What is said of a range."""

    SKIP = 0
    FINGERPRINT = 1
    IDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What the sender has from where the range before ended (in it) to `upper` (not in it; None:
    to the end)."""

    upper: bytes | None
    mode: RangeMode
    fingerprint: bytes = b""
    ids: tuple[bytes, ...] = ()
    """All of the range, in the order of the set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """One step of comparing a set, 0 the first. Each is answered by one or several of the next
    step, of which the last has `more` false; odd ones answer. Behind the last range nothing is
    said."""

    set_id: bytes
    salt: SaltId
    step: int
    more: bool
    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ids:
    """What the sender has and the receiver, by what it listed, lacks: newest first."""

    set_id: bytes
    salt: SaltId
    ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GetManifests:
    """Asks for the manifests behind ids of one set."""

    set_id: bytes
    salt: SaltId
    ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """Envelopes that were asked for by id, or that the receiver was seen to lack."""

    set_id: bytes
    answered: int
    """So many of the ids asked for are settled by this message, found or not; 0: unasked."""
    envelopes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GetHeads:
    """Asks for what is newer than the asker's versions."""

    known: tuple[HeadKnown, ...]
    """Each namespace once, in the order in which it is to be answered."""
    question: int = 0
    """Comes back with each answer; 0 where nobody waits for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """Envelopes above what was asked; unshared namespaces simply lack."""

    envelopes: tuple[bytes, ...]
    question: int = 0
    """As it was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GetChain:
    """Asks for the increments that lead from one content of a namespace to another."""

    namespace: str
    base: ContentHash
    head: ContentHash


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The increments asked for, in the order they are applied; none for absent, forbidden,
    withdrawn and revoked. Names nothing but what was asked for."""

    head: ContentHash
    envelopes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ContentAsk:
    """One item of a request: the manifest that entitles, the content, and a run of its chunks."""

    manifest_hash: ManifestHash
    content_hash: ContentHash
    first_chunk: int
    chunk_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GetContent:
    """Asks for content by hash; each item is answered by content, `NotAvailable` or `Busy`."""

    items: tuple[ContentAsk, ...]
    grant: bytes = b""
    """Envelope of a fetch grant that widens this one request, empty for none."""
    narrowing: Narrowing | None = None
    """How much less than the asker's right this request uses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAvailable:
    """The one answer for absent, forbidden, withdrawn and revoked."""

    item: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Decided before the item was looked up, so it tells nothing about it."""

    item: int
    retry_after_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRequest:
    """The peer broke a rule of the connection, which then closes."""

    code: BadRequestCode


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditHead:
    """A signed checkpoint of the sender's audit log, kept by its neighbours."""

    checkpoint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """The request of this stream is not needed any more."""


Message: TypeAlias = (
    Hello
    | Welcome
    | Claims
    | Ping
    | Pong
    | Bye
    | NeighborAsk
    | NeighborAnswer
    | Announce
    | Have
    | Graft
    | Prune
    | Holdings
    | Roots
    | Ranges
    | Ids
    | GetManifests
    | Manifests
    | GetHeads
    | Heads
    | GetChain
    | Chain
    | GetContent
    | NotAvailable
    | Busy
    | BadRequest
    | Cancel
    | AuditHead
)
