"""The node as a reader may see it: one frozen snapshot, made when asked for.

Decides: the verdict, what is a problem, and the words for both.
Keeps: readers never touch a machine; everything is plain integers and text.
Must not know: how a snapshot is shown.
"""

from dataclasses import dataclass
from enum import StrEnum

from fabgossip.core.beliefs import Beliefs
from fabgossip.core.catalog import Catalog, Head, HeadState
from fabgossip.core.fetching import Fetching, FetchingSnapshot, Want, WantState
from fabgossip.core.mode import Mode
from fabgossip.core.neighbors import Neighbors, NeighborsSnapshot
from fabgossip.core.policing import PolicingSnapshot
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Now, UnixTime, elapsed, is_past, seconds_between

PROBLEMS_MAX = 50
BEHIND_GRACE_MS = 5_000
"""A content wanted for less long is under way, not a problem (*start*)."""


class Level(StrEnum):
    """The verdict in one word."""

    OK = "ok"
    DEGRADED = "degraded"


class ProblemCode(StrEnum):
    """A closed list."""

    NO_NEIGHBORS = "no_neighbors"
    TRUST_STALE = "trust_stale"
    NOTHING_NEW = "nothing_new"
    REFRESH_OVERDUE = "refresh_overdue"
    CONTENT_MISSING = "content_missing"
    CONTENT_INVALID = "content_invalid"
    NOT_MATERIALIZED = "not_materialized"
    EXPIRED = "expired"
    NO_CLAIMS = "no_claims"
    IDENTITY_CLONED = "identity_cloned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong, why, and what to type next."""

    code: ProblemCode
    namespace: str
    because: str
    next_step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceCounts:
    """Heads by what they are good for."""

    total: int
    fresh: int
    behind: int
    stale: int
    expired: int
    invalid: int
    withdrawn: int
    known: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSnapshot:
    """All of `status`."""

    node_id: NodeId
    level: Level
    mode: Mode
    summary: str
    bundle_version: int
    epoch: int
    revocation_version: int
    revocations_refresh_by: UnixTime | None
    namespaces: NamespaceCounts
    last_change_at: UnixTime | None
    neighbors: NeighborsSnapshot
    fetching: FetchingSnapshot
    policing: PolicingSnapshot
    problems: tuple[Problem, ...]
    problems_omitted: int


def state_of(head: Head, now: Now) -> str:
    """A head's state as users see it: `current` and `held` turn `stale` past `refresh_by`."""
    usable = head.state in (HeadState.CURRENT, HeadState.HELD)
    if usable and is_past(head.manifest.refresh_by, now.unix):
        return "stale"
    return head.state.value


def node_snapshot(
    node_id: NodeId,
    beliefs: Beliefs,
    catalog: Catalog,
    neighbors: Neighbors,
    fetching: Fetching,
    policing: PolicingSnapshot,
    now: Now,
) -> NodeSnapshot:
    """The node as it is now. Cost: O(heads)."""
    heads = catalog.heads()
    mode = beliefs.mode(now)
    seen = neighbors.snapshot()
    clones = tuple(_clone_problem(node_id) for node_id in policing.clones)
    problems = clones + _problems(heads, beliefs, seen, fetching, now)
    facts = beliefs.facts
    return NodeSnapshot(
        node_id=node_id,
        level=Level.DEGRADED if problems else Level.OK,
        mode=mode,
        summary=_summary(mode, problems, beliefs, now),
        bundle_version=facts.bundle.bundle_version,
        epoch=facts.bundle.authority_epoch,
        revocation_version=facts.revoked.version,
        revocations_refresh_by=beliefs.freshness.revocations_refresh_by,
        namespaces=_counts(heads, now),
        last_change_at=max(
            (one.current_since for one in heads if one.current_since is not None), default=None
        ),
        neighbors=seen,
        fetching=fetching.snapshot(),
        policing=policing,
        problems=problems[:PROBLEMS_MAX],
        problems_omitted=max(0, len(problems) - PROBLEMS_MAX),
    )


def _counts(heads: tuple[Head, ...], now: Now) -> NamespaceCounts:
    states = [state_of(head, now) for head in heads]
    fresh = ("current", "held", "applying")
    return NamespaceCounts(
        total=len(heads),
        fresh=sum(states.count(state) for state in fresh),
        behind=states.count("behind") + states.count("persisting"),
        stale=states.count("stale"),
        expired=states.count("expired"),
        invalid=states.count("invalid"),
        withdrawn=states.count("withdrawn"),
        known=states.count("known"),
    )


def _summary(mode: Mode, problems: tuple[Problem, ...], beliefs: Beliefs, now: Now) -> str:
    age = seconds_between(beliefs.freshness.newest_issued_at, now.unix)
    match mode:
        case Mode.STALE:
            return "trust is past its refresh time; what is here is the last valid configuration"
        case Mode.PARTITIONED:
            return f"nothing newly signed for {age} s; the last valid configuration is in use"
        case Mode.FRESH:
            return (
                _count(problems)
                if problems
                else "everything this node is entitled to is here and fresh"
            )


def _count(problems: tuple[Problem, ...]) -> str:
    return "1 problem" if len(problems) == 1 else f"{len(problems)} problems"


def _problems(
    heads: tuple[Head, ...], beliefs: Beliefs, seen: NeighborsSnapshot, fetching: Fetching, now: Now
) -> tuple[Problem, ...]:
    problems = [*_trust_problems(beliefs, now)]
    if seen.active == 0 and (seen.target > 0 or not heads):
        because = "no link is open; dialling the signed directories' peers and the bootstrap"
        problems.append(_problem(ProblemCode.NO_NEIGHBORS, "", because, "fabgossip peers"))
    for head in heads:
        problem = _head_problem(head, fetching, now)
        if problem is not None:
            problems.append(problem)
    return tuple(problems)


def _problem(code: ProblemCode, namespace: str, because: str, next_step: str) -> Problem:
    return Problem(code=code, namespace=namespace, because=because, next_step=next_step)


def _clone_problem(node_id: NodeId) -> Problem:
    because = f"{node_id} says hello from changing processes: two machines may hold its key"
    return _problem(ProblemCode.IDENTITY_CLONED, "", because, "fabgossip peers")


def _trust_problems(beliefs: Beliefs, now: Now) -> list[Problem]:
    problems = []
    if not beliefs.facts.own.scope_ids:
        because = "the node's own claims do not verify or have expired"
        problems.append(
            _problem(ProblemCode.NO_CLAIMS, "", because, "fabgossip control enroll NODE --renew")
        )
    mode = beliefs.mode(now)
    if mode is Mode.STALE:
        seen = beliefs.freshness.revocations_refresh_by
        because = (
            "no revocation list was ever accepted"
            if seen is None
            else "past the refresh time of trust"
        )
        step = "fabgossip control compile, then fabgossip control publish"
        problems.append(_problem(ProblemCode.TRUST_STALE, "", because, step))
    elif mode is Mode.PARTITIONED:
        because = "nothing newly signed arrives; the control plane is silent or out of reach"
        problems.append(_problem(ProblemCode.NOTHING_NEW, "", because, "fabgossip peers"))
    return problems


def _head_problem(head: Head, fetching: Fetching, now: Now) -> Problem | None:
    namespace = head.manifest.namespace.text
    step = f"fabgossip why {namespace}"
    if head.state is HeadState.INVALID:
        because = "its signed content does not say what its type demands: the signer is at fault"
        return _problem(ProblemCode.CONTENT_INVALID, namespace, because, step)
    if head.state is HeadState.UNAPPLIED:
        because = "its content is held and could not be written to local/: see the daemon's log"
        return _problem(ProblemCode.NOT_MATERIALIZED, namespace, because, step)
    if head.state is HeadState.EXPIRED:
        return _problem(ProblemCode.EXPIRED, namespace, "past its time of expiry: withdrawn", step)
    if head.state is HeadState.BEHIND:
        want = fetching.find(head.manifest.content_hash)
        if want is not None and elapsed(want.since, now.instant) >= BEHIND_GRACE_MS:
            return _problem(ProblemCode.CONTENT_MISSING, namespace, _tries(want), step)
    if state_of(head, now) == "stale":
        overdue = seconds_between(head.manifest.refresh_by, now.unix)
        because = f"{overdue} s past its refresh time, and nothing newer was announced"
        return _problem(ProblemCode.REFRESH_OVERDUE, namespace, because, step)
    return None


def _tries(want: Want) -> str:
    if not want.attempts:
        return (
            "no linked peer may hold it"
            if want.state is WantState.PARKED
            else "waiting for a free transfer"
        )
    last = want.attempts[-1]
    return (
        f"{len(want.attempts)} tries; last {last.step.value} {last.node_id or '-'}: {last.outcome}"
    )
