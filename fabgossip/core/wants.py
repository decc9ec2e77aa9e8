"""What a node lacks and has a reason to get, and all that was tried for it.

Decides: nothing.
Keeps: what different keys sign is wanted apart, so that no signer can stand in the way of another's
content; what is remembered of one want is bounded.
Must not know: which source is asked next, how many contents are under way.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeVar

from fabgossip.core.events import ContentWanted, FetchFailure, LinkId, RequestId
from fabgossip.model.artifact import ArtifactType, VerifiedManifest
from fabgossip.model.ids import ContentHash, KeyId, NodeId
from fabgossip.model.messages import TrafficClass
from fabgossip.model.moment import Duration, Instant

K = TypeVar("K")
ATTEMPTS_MAX: Final = 32
"""Steps kept per want: the first 8 and the last 24 (*start*)."""
ATTEMPTS_FIRST: Final = 8
BUSY_WAIT: Final = Duration(200)
"""A source that was only busy is asked again after this: its slots turn over in less (*start*)."""
REQUESTS_PER_WANT_MAX: Final = 16
SOURCES_PER_WANT_MAX: Final = 64
"""Announcers remembered per want, and as many sources passed over and barred: further announcers
are not noted, the oldest of the others leaves (*start*)."""
BARRED: Final = Duration(86_400_000)
"""A source that sent a wrong byte is not asked for that content again for a day."""


class Step(StrEnum):
    """Where in the order of sources a try stood."""

    NORMAL = "normal"
    RUNG_1 = "rung 1"
    RUNG_2 = "rung 2"


STEPS: Final = (Step.NORMAL, Step.RUNG_1, Step.RUNG_2)


IDLE_MS: Final = {Step.NORMAL: 1_000, Step.RUNG_1: 1_000, Step.RUNG_2: 2_000}
"""How long a source of a step may be silent before it loses its turn (*start*)."""


FAILURE_CODES: Final = {
    FetchFailure.BAD_LENGTH: "LENGTH_MISMATCH",
    FetchFailure.BAD_HASH: "HASH_MISMATCH",
    FetchFailure.DISK: "STORE_FULL",
    FetchFailure.CANCELLED: "CANCELLED",
    FetchFailure.MISSING: "LENGTH_MISMATCH",
    FetchFailure.BUSY: "CANCELLED",
    FetchFailure.STALLED: "CANCELLED",
    FetchFailure.TOO_SLOW: "TOO_SLOW",
    FetchFailure.LOST: "CANCELLED",
    FetchFailure.CONTRADICTED: "CONTENT_INVALID",
}
"""What local software is told of a content that did not come."""


class WantState(StrEnum):
    """Where a want stands."""

    QUEUED = "queued"
    FETCHING = "fetching"
    PARKED = "parked"
    SATISFIED = "satisfied"
    VOID = "void"
    REFUSED = "refused"
    """What is signed about it is not true: there is no such content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A content as some keys state it. Of one hash at most one size and one row of chunks is true,
    and whoever signs another can have it fetched in vain for no want but its own. For the same
    reason, who is asked for what a revocation key signed is never asked with the manifest of
    another: nobody may know that one."""

    content_hash: ContentHash
    size: int
    chunk_hashes: tuple[ContentHash, ...]
    artifact_type: ArtifactType
    signed_by: tuple[KeyId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A link that may be asked, as known right now."""

    link: LinkId
    node_id: NodeId
    is_storage: bool
    distance: int
    verified: VerifiedManifest
    """The manifest to ask it with: one it may know."""
    says: bool | None
    """Its own word: holds it, does not, or said nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try, as `why` shows it."""

    at: Instant
    step: Step
    node_id: NodeId | None
    outcome: str
    took_ms: int
    received: int


@dataclass(slots=True)
class Want:
    """One content this node lacks and has a reason to get."""

    goal: Goal
    wanted: ContentWanted
    verified: VerifiedManifest
    traffic: TrafficClass
    since: Instant
    sequence: int
    asked_at: Instant
    announcers: OrderedDict[LinkId, None] = field(default_factory=OrderedDict)
    requests: list[RequestId] = field(default_factory=list)
    state: WantState = WantState.QUEUED
    step: Step = Step.NORMAL
    has_climbed: bool = False
    source: Source | None = None
    passed_over: dict[LinkId, Instant] = field(default_factory=dict)
    barred: dict[NodeId, Instant] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    climbs: int = 0
    generation: int = 0

    @property
    def key(self) -> tuple[int, int]:
        """Order of service: class, then age."""
        return self.traffic, self.sequence

    def note(self, attempt: Attempt) -> None:
        """Remember a step, or that there was none."""
        self.attempts.append(attempt)
        if len(self.attempts) > ATTEMPTS_MAX:
            del self.attempts[ATTEMPTS_FIRST]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedWant:
    """What is remembered of a want that ended."""

    goal: Goal
    namespace: str
    state: WantState
    attempts: tuple[Attempt, ...]


def note_until(until: dict[K, Instant], key: K, at: Instant) -> None:
    """Note a source, newest last; the oldest leaves at the limit."""
    until.pop(key, None)
    until[key] = at
    if len(until) > SOURCES_PER_WANT_MAX:
        del until[next(iter(until))]


def goal_of(verified: VerifiedManifest) -> Goal:
    """What a manifest has a node want."""
    manifest = verified.manifest
    return Goal(
        content_hash=manifest.content_hash,
        size=manifest.content_size,
        chunk_hashes=manifest.chunk_hashes,
        artifact_type=manifest.artifact_type,
        signed_by=verified.signed_by,
    )


def wanted_from(verified: VerifiedManifest, *, is_read: bool) -> ContentWanted:
    """What a manifest signs about its content."""
    manifest = verified.manifest
    return ContentWanted(
        manifest_hash=verified.manifest_hash,
        content_hash=manifest.content_hash,
        size=manifest.content_size,
        chunk_hashes=manifest.chunk_hashes,
        is_read=is_read,
    )
