"""What a node writes to its own index and reads back: the words between core and storage."""

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from fabgossip.model.artifact import Order, VerifiedManifest
from fabgossip.model.ids import ContentHash, ManifestHash, NodeId
from fabgossip.model.moment import NEVER, UnixTime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHead:
    """A head row of the node's own index."""

    namespace: str
    envelope: bytes
    order: Order
    held_bytes: int | None
    """How many bytes of the content it names are held, None where none are: they are its content
    if it names that size too."""
    is_increment: bool
    is_trust: bool
    """Whether it is a trust bundle or a revocation list."""
    content: bytes | None
    """The content of a type fabgossip reads, where held."""
    verified_at: UnixTime = NEVER
    """When its content was hashed at rest last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTrust:
    """A step of the node's own trust chain."""

    version: int
    envelope: bytes
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PutHead:
    """Make a manifest the head of its namespace and raise the floor to its order, in one
    transaction.
    """

    verified: VerifiedManifest = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DropHead:
    """Forget the head of a namespace: it was a trust bundle, and once read no bundle at all."""

    namespace: str
    manifest_hash: ManifestHash


@dataclass(frozen=True, slots=True, kw_only=True)
class PutIncrement:
    """Keep an increment of a namespace; it raises no floor."""

    verified: VerifiedManifest = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DropIncrement:
    """Forget an increment: no chain needs it any more."""

    namespace: str
    manifest_hash: ManifestHash


@dataclass(frozen=True, slots=True, kw_only=True)
class PutTrust:
    """Append a step to the trust chain."""

    version: int
    envelope: bytes = field(repr=False)
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PutRevoked:
    """All that is revoked in an epoch: (number of the kind, 32 bytes), never taken back by a list
    of the same epoch. Rows of earlier epochs go.
    """

    epoch: int
    entries: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCheckpoint:
    """A verified checkpoint of an audit log, a peer's or our own, and what it says."""

    size: int
    head: bytes
    wall: UnixTime
    envelope: bytes = field(repr=False)
    is_evidence: bool = False
    """Whether another one of the same size names another head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PutCheckpoints:
    """These are all checkpoints kept of a node, oldest first; none: it is forgotten."""

    node_id: NodeId
    kept: tuple[KeptCheckpoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PutFloor:
    """Raise the floor of a namespace to what a snapshot lists, before that itself is here."""

    namespace: str
    order: Order
    manifest_hash: ManifestHash


@dataclass(frozen=True, slots=True, kw_only=True)
class PutEvidence:
    """Keep a statement that contradicts the head of its namespace, until a higher order ends it."""

    verified: VerifiedManifest = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PutClaimsSeen:
    """The highest (epoch, claims version) seen of a node: older claims of it count no more."""

    node_id: NodeId
    epoch: int
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PutGrantUse:
    """How often a fetch grant was used, to be remembered until `forget_at`."""

    grant_id: bytes
    uses: int
    forget_at: UnixTime


@dataclass(frozen=True, slots=True, kw_only=True)
class PutTimeFloor:
    """A time that was reached: the clock may never be believed to be earlier."""

    unix: UnixTime


@dataclass(frozen=True, slots=True, kw_only=True)
class PutClockDoubt:
    """The wall clock stepped, or contradicts what is signed; or (False) something newly signed
    agrees with it.
    """

    is_doubted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PutMemory:
    """The node knows again all a fresh one must know: it has no amnesia any more, or (False) it
    noticed that it has.
    """

    is_whole: bool
    generation: int = 0
    """Starts to count from now on, where fewer were counted: the claims demand them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredGrantUse:
    """A row of the grants used."""

    grant_id: bytes
    uses: int
    forget_at: UnixTime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFloor:
    """A row of the floors."""

    namespace: str
    order: Order
    manifest_hash: ManifestHash


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMemory:
    """What a node must not forget beside heads and floors."""

    generation: int = 1
    """Starts of this state folder, this one included."""
    is_whole: bool = True
    """False: the folder is new, or amnesia was noticed and not yet left."""
    time_floor: UnixTime = NEVER
    is_clock_doubted: bool = False
    """Whether a process before this one came to doubt the clock, and none believed it since."""
    revoked_epoch: int = 0
    claims_seen: tuple[tuple[NodeId, int, int], ...] = ()
    grant_uses: tuple[StoredGrantUse, ...] = ()
    evidence: tuple[bytes, ...] = ()
    """Envelopes of statements that contradict heads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Somebody wants a content to stay on this disk until a time."""

    pin_id: int
    content_hash: ContentHash
    namespace: str
    """Of the artifact when it was pinned."""
    owner: str
    reason: str
    until: UnixTime


@dataclass(frozen=True, slots=True, kw_only=True)
class PutPin:
    """Keep a pin."""

    pin: Pin


@dataclass(frozen=True, slots=True, kw_only=True)
class DropPin:
    """Forget a pin."""

    pin_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPin:
    """A row of the pins."""

    pin: Pin
    held_bytes: int | None
    """How many bytes of its content are held, None where none are."""
    verified_at: UnixTime = NEVER


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack:
    """An operator put back what local software reads in a namespace, until a time."""

    namespace: str
    order: Order
    """Of the version that is read instead of a newer one."""
    envelope: bytes = field(repr=False)
    """Of that version, to be judged again at every start."""
    before: ManifestHash | None
    """What was read until then, and may be read again once this ends."""
    owner: str
    reason: str
    until: UnixTime


@dataclass(frozen=True, slots=True, kw_only=True)
class PutHeldBack:
    """Keep what a namespace was put back to, instead of what it was put back to before."""

    held_back: HeldBack


@dataclass(frozen=True, slots=True, kw_only=True)
class DropHeldBack:
    """Forget that a namespace was put back."""

    namespace: str


WHOLE_MEMORY: Final = StoredMemory()
"""Of a node that starts anew and has forgotten nothing."""

Change: TypeAlias = (
    PutHead
    | DropHead
    | PutIncrement
    | DropIncrement
    | PutTrust
    | PutRevoked
    | PutFloor
    | PutEvidence
    | PutClaimsSeen
    | PutGrantUse
    | PutTimeFloor
    | PutClockDoubt
    | PutMemory
    | PutCheckpoints
    | PutPin
    | DropPin
    | PutHeldBack
    | DropHeldBack
)
