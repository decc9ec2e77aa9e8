"""Snapshots on their way as chains of increments, and what became of each.

Decides: whether a chain may be used; which assembly is next.
Keeps: one attempt of a namespace; one assembly at a time; an increment that did not make what it
names is never used again.
Must not know: who is asked, how increments are judged, how a result is made.

| stage | ends when |
|---|---|
| asked | the chain comes, or nobody brought it of `QUESTIONS_MAX` who had `ANSWER_WITHIN` each |
| fetching | the content of every increment is here, or `FETCHED_WITHIN` is over |
| waiting | no other assembly is under way |
| assembling | the result is here, or it is known why not |
"""

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from fabgossip.core.events import LinkId
from fabgossip.core.history import CHAIN_SHARE
from fabgossip.model.artifact import Manifest, VerifiedManifest
from fabgossip.model.ids import ContentHash, ManifestHash, NodeId
from fabgossip.model.messages import CHAIN_STEPS_MAX
from fabgossip.model.moment import Duration, Instant

ATTEMPTS_MAX: Final = 256
"""At once; beyond, full snapshots are fetched (*start*)."""
ENDED_MAX: Final = 1_000
"""Ended attempts remembered for `why`, one of a namespace; the oldest leaves."""
SET_ASIDE_MAX: Final = 1_024
"""Increments remembered because they did not make what they name; the oldest leaves."""
ANSWER_WITHIN: Final = Duration(2_000)
"""A chain is answered from memory: three round trips of the longest paths (*start*)."""
QUESTIONS_MAX: Final = 2
"""Peers asked for one chain: whoever told first and does not answer is not enough to have the whole
fetched, and what many would cost the whole costs no more (*start*)."""
ANNOUNCERS_MAX: Final = 64
"""Remembered of an attempt, as many as a want remembers; the oldest leaves (*start*)."""
FETCHED_WITHIN: Final = Duration(10_000)
"""The increments of a chain are at most half of the snapshot that is fetched instead (*start*)."""


class Gap(StrEnum):
    """Why the full snapshot is fetched although an older one is here."""

    BASE_UNKNOWN = "base_unknown"
    """Who was asked knows no chain from it."""
    BASE_DAMAGED = "base_damaged"
    """It is not what it was, or is gone from the disk."""
    LINK_MISSING = "link_missing"
    """What came does not link, or the content of an increment cannot be had."""
    TOO_LONG = "too_long"
    TOO_LARGE = "too_large"
    EPOCH_CHANGED = "epoch_changed"
    WITHDRAWN = "withdrawn"
    """Today's trust refuses an increment: withdrawn, revoked, or its key is."""
    MISMATCH = "mismatch"
    """An increment makes something else than was signed: the signer is at fault."""
    TIMEOUT = "timeout"


class Stage(StrEnum):
    """Where an attempt stands."""

    ASKED = "asked"
    FETCHING = "fetching"
    WAITING = "waiting"
    ASSEMBLING = "assembling"


ASSEMBLED: Final = "assembled"
OVERTAKEN: Final = "overtaken"
"""Outcome of an attempt whose snapshot came otherwise, or is wanted no more."""


@dataclass(slots=True, eq=False)
class Attempt:
    """One snapshot that is to be assembled."""

    head: VerifiedManifest
    base: Manifest
    """Of the version that is here."""
    origin: LinkId | None
    """Who told of the snapshot."""
    began_at: Instant
    generation: int = 0
    stage: Stage = Stage.ASKED
    link: LinkId | None = None
    """Who was asked for the chain, while that is waited for."""
    asked: list[NodeId] = field(default_factory=list)
    """Everybody who was."""
    announcers: OrderedDict[NodeId, None] = field(default_factory=OrderedDict)
    """Who told of the snapshot as well: where the chain breaks, the whole may be had there."""
    steps: tuple[VerifiedManifest, ...] = ()
    """In the order they are applied."""

    @property
    def namespace(self) -> str:
        """Of the snapshot."""
        return self.head.manifest.namespace.text

    @property
    def peer(self) -> NodeId | None:
        """Who was asked last."""
        return self.asked[-1] if self.asked else None

    def on_announced(self, node_id: NodeId) -> None:
        """One more tells of the snapshot: newest last; the oldest leaves at the limit."""
        self.announcers.setdefault(node_id)
        if len(self.announcers) > ANNOUNCERS_MAX:
            self.announcers.popitem(last=False)

    @property
    def step_bytes(self) -> int:
        """What the increments cost."""
        return sum(one.manifest.content_size for one in self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainTold:
    """An attempt as `why` shows it."""

    manifest_hash: ManifestHash
    base: ContentHash
    peer: NodeId | None
    steps: int
    step_bytes: int
    began_at: Instant
    outcome: str
    """Its stage, or how it ended: `assembled`, `overtaken`, or the cause of the gap."""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainsSnapshot:
    """Counts for status."""

    under_way: int
    assembled: int
    saved_bytes: int
    """What the snapshots assembled so far have more than their increments."""
    gaps: tuple[tuple[str, int], ...]
    """By cause."""


class Chains:
    """All attempts of a node."""

    __slots__ = (
        "_assembled", "_attempts", "_building", "_ended", "_gaps", "_generation", "_saved_bytes",
        "_set_aside",
    )  # fmt: skip

    def __init__(self) -> None:
        self._attempts: OrderedDict[str, Attempt] = OrderedDict()
        self._building: Attempt | None = None
        self._ended: OrderedDict[str, ChainTold] = OrderedDict()
        self._gaps: dict[Gap, int] = dict.fromkeys(Gap, 0)
        self._set_aside: OrderedDict[ManifestHash, None] = OrderedDict()
        self._generation = 0
        self._assembled = 0
        self._saved_bytes = 0

    def begin(
        self, head: VerifiedManifest, base: Manifest, origin: LinkId | None, now: Instant
    ) -> Attempt | None:
        """A snapshot is to be assembled from what an older one has; None if too many are."""
        namespace = head.manifest.namespace.text
        if namespace not in self._attempts and len(self._attempts) >= ATTEMPTS_MAX:
            return None
        attempt = Attempt(head, base, origin, now)
        self._attempts[namespace] = attempt
        self.enter(attempt, Stage.ASKED)
        return attempt

    def enter(self, attempt: Attempt, stage: Stage) -> None:
        """An attempt goes on; timers of the stage before are stale."""
        self._generation += 1
        attempt.stage, attempt.generation = stage, self._generation

    def find(self, namespace: str) -> Attempt | None:
        """The attempt of a namespace."""
        return self._attempts.get(namespace)

    def asked(self, link: LinkId, head: ContentHash) -> Attempt | None:
        """The attempt for which a link was asked how to come to a content. Cost: O(attempts)."""
        found = (one for one in self._attempts.values() if one.link == link)
        return next((one for one in found if one.head.manifest.content_hash == head), None)

    def attempts(self) -> tuple[Attempt, ...]:
        """All attempts, oldest first."""
        return tuple(self._attempts.values())

    def next_assembly(self) -> Attempt | None:
        """The oldest attempt that waits for its assembly, if none is under way; it is from now
        on."""
        if self._building is not None:
            return None
        waiting = (one for one in self._attempts.values() if one.stage is Stage.WAITING)
        self._building = next(waiting, None)
        if self._building is not None:
            self.enter(self._building, Stage.ASSEMBLING)
        return self._building

    def on_built(self, content_hash: ContentHash) -> Attempt | None:
        """An assembly ended, well or not: gives its attempt, unless that is over."""
        built = self._building
        if built is None or built.head.manifest.content_hash != content_hash:
            return None
        self._building = None
        return built if self._attempts.get(built.namespace) is built else None

    def on_gap(self, attempt: Attempt, gap: Gap, detail: str) -> None:
        """An attempt is over, and the full snapshot is fetched."""
        self._gaps[gap] += 1
        self._end(attempt, gap.value, detail)

    def on_assembled(self, attempt: Attempt) -> None:
        """An attempt is over, and its snapshot is here."""
        self._assembled += 1
        self._saved_bytes += attempt.head.manifest.content_size - attempt.step_bytes
        self._end(attempt, ASSEMBLED, "")

    def on_overtaken(self, attempt: Attempt) -> None:
        """An attempt is over, and nobody waits for it."""
        self._end(attempt, OVERTAKEN, "")

    def _end(self, attempt: Attempt, outcome: str, detail: str) -> None:
        namespace = attempt.namespace
        if self._attempts.get(namespace) is attempt:
            del self._attempts[namespace]
        self._ended.pop(namespace, None)
        self._ended[namespace] = replace(_told(attempt), outcome=outcome, detail=detail)
        if len(self._ended) > ENDED_MAX:
            self._ended.popitem(last=False)

    def set_aside(self, increment: VerifiedManifest) -> None:
        """An increment did not make what it names."""
        self._set_aside[increment.manifest_hash] = None
        if len(self._set_aside) > SET_ASIDE_MAX:
            self._set_aside.popitem(last=False)

    def is_set_aside(self, manifest_hash: ManifestHash) -> bool:
        """Whether an increment is never used again."""
        return manifest_hash in self._set_aside

    def told(self, namespace: str) -> ChainTold | None:
        """The newest attempt of a namespace, under way or ended."""
        attempt = self._attempts.get(namespace)
        return self._ended.get(namespace) if attempt is None else _told(attempt)

    def snapshot(self) -> ChainsSnapshot:
        """Counts for status."""
        return ChainsSnapshot(
            under_way=len(self._attempts),
            assembled=self._assembled,
            saved_bytes=self._saved_bytes,
            gaps=tuple((gap.value, count) for gap, count in self._gaps.items() if count),
        )

    def check(self) -> None:
        """Assert the limits, and that one assembly is under way at most."""
        assert len(self._attempts) <= ATTEMPTS_MAX
        building = [one for one in self._attempts.values() if one.stage is Stage.ASSEMBLING]
        assert all(one is self._building for one in building)
        for namespace, attempt in self._attempts.items():
            assert attempt.namespace == namespace
            assert attempt.link is None or attempt.stage is Stage.ASKED
            assert len(attempt.steps) <= CHAIN_STEPS_MAX
            assert len(attempt.asked) <= QUESTIONS_MAX
            assert len(attempt.announcers) <= ANNOUNCERS_MAX


def fault_of(head: VerifiedManifest, steps: tuple[VerifiedManifest, ...]) -> Gap | None:
    """Why a chain is not used although it links; None if it is."""
    size = sum(one.manifest.content_size for one in steps)
    if len(steps) > CHAIN_STEPS_MAX:
        return Gap.TOO_LONG
    return Gap.TOO_LARGE if size * CHAIN_SHARE > head.manifest.content_size else None


def _told(attempt: Attempt) -> ChainTold:
    return ChainTold(
        manifest_hash=attempt.head.manifest_hash,
        base=attempt.base.content_hash,
        peer=attempt.peer,
        steps=len(attempt.steps),
        step_bytes=attempt.step_bytes,
        began_at=attempt.began_at,
        outcome=attempt.stage.value,
    )
