"""Checkpoints of audit logs: our own for others to keep, theirs for us.

Decides: who is shown our newest checkpoint; which checkpoints of others are kept; when two of them
prove that a node keeps two logs.
Keeps: a checkpoint is kept only if it was signed with the audit key of the claims its sender showed
on that link; the two halves of a proof leave last.
Must not know: what is in a log, how a message is sent.

- Witnesses are every linked control endpoint and the two other linked nodes with the smallest ids:
  both ends of a link can tell who they are. A checkpoint is shown to a node once.
- Kept are the last 8 of a node, of 1,024 nodes; the node heard of longest ago leaves first, one
  that was caught last.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from fabgossip.core.effects import Effect, Fact, Persist, Record
from fabgossip.core.events import AuditState, Token
from fabgossip.model.authority import AuditCheckpoint, VerifiedClaims
from fabgossip.model.ids import ClusterId, NodeId
from fabgossip.model.moment import Duration, Instant, elapsed, later
from fabgossip.model.persistence import KeptCheckpoint, PutCheckpoints
from fabgossip.trust.checkpoints import verify_checkpoint
from fabgossip.trust.rejections import Rejection, RejectionCode
from fabgossip.trust.signatures import Verifier

WITNESSES: Final = 2
"""Beside control endpoints."""
SHOWN_MAX: Final = 64
"""Nodes shown one checkpoint; links that come and go do not spread it further (*start*)."""
KEPT_PER_NODE: Final = 8
"""*start*; two more where they prove a fork."""
NODES_MAX: Final = 1_024
HEAD_EVERY: Final = Duration(10_000)
"""A node's checkpoints are looked at this often (*start*)."""
HEADS_BURST: Final = 8
"""Looked at in a row before that; of more, the next one covers what was passed over (*start*)."""
UNHEARD: Final = Token(0)
"""Of changes nothing waits for: a checkpoint that could not be kept is followed by the next."""


@dataclass(slots=True)
class _Watched:
    """What is kept of one node."""

    kept: tuple[KeptCheckpoint, ...] = ()
    looks: int = HEADS_BURST
    looked_at: Instant | None = None

    @property
    def is_caught(self) -> bool:
        return any(one.is_evidence for one in self.kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadVerdict:
    """What follows from a checkpoint; `is_bad` where its sender is to blame."""

    effects: tuple[Effect, ...] = ()
    is_bad: bool = False


class Audits:
    """Our newest checkpoint, and those of others."""

    __slots__ = ("_cluster_id", "_nodes", "_shown", "_verifier", "own", "own_state")

    def __init__(self, cluster_id: ClusterId, verifier: Verifier) -> None:
        self._cluster_id = cluster_id
        self._verifier = verifier
        self._nodes: OrderedDict[NodeId, _Watched] = OrderedDict()
        """Heard of last comes last."""
        self._shown: dict[NodeId, None] = {}
        """Who has seen our newest checkpoint."""
        self.own = b""
        """Envelope of our newest checkpoint, empty before the first."""
        self.own_state = AuditState.INTACT

    def on_started(self, stored: tuple[PutCheckpoints, ...]) -> None:
        """Recall what the disk holds; it was verified before it was kept."""
        for one in stored[:NODES_MAX]:
            if one.kept:
                self._nodes[one.node_id] = _Watched(one.kept)

    def on_signed(self, envelope: bytes) -> None:
        """Our log has a new checkpoint."""
        self.own = envelope
        self._shown.clear()

    def next_witnesses(self, linked: Mapping[NodeId, VerifiedClaims | None]) -> tuple[NodeId, ...]:
        """Of these linked nodes, whom to show our newest checkpoint now; they count as shown."""
        if not self.own:
            return ()
        ordered = sorted(linked)
        endpoints = [one for one in ordered if _is_endpoint(linked[one])]
        others = [one for one in ordered if not _is_endpoint(linked[one])]
        chosen = (*endpoints, *others[:WITNESSES])
        fresh = [one for one in chosen if one not in self._shown]
        fresh = fresh[: SHOWN_MAX - len(self._shown)]
        self._shown.update(dict.fromkeys(fresh))
        return tuple(fresh)

    def on_head(
        self, sender: NodeId, claims: VerifiedClaims | None, raw: bytes, now: Instant
    ) -> HeadVerdict:
        """A peer showed a checkpoint of its log. Without good claims there is no key to judge it
        by, and it is passed over."""
        watched = self._nodes.get(sender)
        if claims is None or (watched is not None and not _may_look(watched, now)):
            return HeadVerdict()
        checkpoint = verify_checkpoint(raw, claims.claims.audit_key, self._verifier)
        if isinstance(checkpoint, AuditCheckpoint):
            checkpoint = self._of_sender(checkpoint, sender)
        if isinstance(checkpoint, Rejection):
            fields = (
                ("code", checkpoint.code.value),
                ("detail", checkpoint.detail),
                ("source", sender),
            )
            record = Record(fact=Fact.ARTIFACT_REJECTED, fields=fields)
            return HeadVerdict(effects=(record,), is_bad=True)
        fresh = KeptCheckpoint(
            size=checkpoint.size, head=checkpoint.head, wall=checkpoint.wall, envelope=raw
        )
        return self._keep(sender, fresh)

    def _of_sender(
        self, checkpoint: AuditCheckpoint, sender: NodeId
    ) -> AuditCheckpoint | Rejection:
        if (checkpoint.cluster_id, checkpoint.node_id) == (self._cluster_id, sender):
            return checkpoint
        detail = "a checkpoint of another node's log"
        return Rejection(code=RejectionCode.IDENTITY_INVALID, detail=detail)

    def _keep(self, node_id: NodeId, fresh: KeptCheckpoint) -> HeadVerdict:
        changes = [] if node_id in self._nodes else self._make_room()
        if changes is None:
            return HeadVerdict()
        watched = self._nodes.setdefault(node_id, _Watched())
        self._nodes.move_to_end(node_id)
        same = [one for one in watched.kept if one.size == fresh.size]
        if any(one.head == fresh.head for one in same):
            return HeadVerdict()
        if same and not watched.is_caught:
            proof = tuple(replace(one, is_evidence=True) for one in (same[0], fresh))
            watched.kept = (*(one for one in watched.kept if one is not same[0]), *proof)
        else:
            watched.kept = _bounded((*watched.kept, fresh))
        changes.append(PutCheckpoints(node_id=node_id, kept=watched.kept))
        effects: list[Effect] = [Persist(token=UNHEARD, changes=tuple(changes))]
        if same:
            fields = (
                ("peer", node_id),
                ("size", fresh.size),
                ("head", fresh.head.hex()),
                ("other", same[0].head.hex()),
            )
            effects.append(Record(fact=Fact.AUDIT_FORKED, fields=fields))
        return HeadVerdict(effects=tuple(effects))

    def _make_room(self) -> list[PutCheckpoints] | None:
        """Forget whom it takes to keep one node more; None if nobody may leave."""
        if len(self._nodes) < NODES_MAX:
            return []
        leaving = next((one for one, row in self._nodes.items() if not row.is_caught), None)
        if leaving is None:
            return None
        del self._nodes[leaving]
        return [PutCheckpoints(node_id=leaving, kept=())]

    def kept_of(self, node_id: NodeId) -> tuple[KeptCheckpoint, ...]:
        """The checkpoints kept of a node, oldest first."""
        watched = self._nodes.get(node_id)
        return () if watched is None else watched.kept

    def check(self) -> None:
        """Assert the limits, and that a proof has two halves."""
        assert len(self._nodes) <= NODES_MAX
        assert len(self._shown) <= SHOWN_MAX
        for watched in self._nodes.values():
            evidence = [one for one in watched.kept if one.is_evidence]
            assert len(watched.kept) - len(evidence) <= KEPT_PER_NODE
            assert len(evidence) in (0, 2)
            assert len({one.size for one in evidence}) <= 1


def _is_endpoint(claims: VerifiedClaims | None) -> bool:
    return claims is not None and claims.is_control_endpoint


def _may_look(watched: _Watched, now: Instant) -> bool:
    """Whether a node's next checkpoint is worth a verification and a write yet."""
    if watched.looked_at is None:
        watched.looked_at = now
    gained = elapsed(watched.looked_at, now) // HEAD_EVERY
    if gained:
        watched.looks = min(HEADS_BURST, watched.looks + gained)
        watched.looked_at = later(watched.looked_at, Duration(gained * HEAD_EVERY))
    if not watched.looks:
        return False
    watched.looks -= 1
    return True


def _bounded(kept: tuple[KeptCheckpoint, ...]) -> tuple[KeptCheckpoint, ...]:
    """Without the oldest, where there is one too many; what proves a fork stays."""
    spare = [one for one in kept if not one.is_evidence]
    if len(spare) <= KEPT_PER_NODE:
        return kept
    return tuple(one for one in kept if one is not spare[0])
