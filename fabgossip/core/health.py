"""The node as a reader may see it: one frozen snapshot, made when asked for.

Decides: the verdict, what is a problem, and the words for both.
Keeps: readers never touch a machine; everything is plain integers and text.
Must not know: how a snapshot is shown.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeAlias

from fabgossip.core.attempts import NOTHING_NEWER, OPEN
from fabgossip.core.beliefs import Beliefs
from fabgossip.core.catalog import Catalog, Head, HeadState
from fabgossip.core.chains import Chains, ChainsSnapshot
from fabgossip.core.events import AuditState
from fabgossip.core.fetching import Fetching, FetchingSnapshot
from fabgossip.core.neighbors import Neighbors, NeighborsSnapshot
from fabgossip.core.own_trust import OwnPart
from fabgossip.core.policing import PolicingSnapshot
from fabgossip.core.problems import (
    Problem,
    ProblemCode,
    age,
    audit_problem,
    certificate_problem,
    clone_problem,
    hold_problem,
    problem,
    renewal_problem,
    shunned_problem,
    space_problem,
    stuck_problem,
    unclaimed_problem,
)
from fabgossip.core.renewals import RenewingSnapshot
from fabgossip.core.retention import RetentionSnapshot
from fabgossip.core.scrubbing import ScrubbingSnapshot
from fabgossip.core.standing import BOOT_CHANGES_MAX, Clone
from fabgossip.core.wants import (
    Want,
    WantState,
)
from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.ids import (
    NodeId,
    short_hash,
)
from fabgossip.model.mode import Mode
from fabgossip.model.moment import Now, UnixTime, elapsed, is_past, seconds_between
from fabgossip.model.persistence import HeldBack
from fabgossip.trust.modes import conditions_of

PROBLEMS_MAX = 50
NEIGHBORS_MIN: Final = 2
"""Neighbours, and zones they stand in, so that the loss of one leaves another."""
ASKED_NAMED_MAX: Final = 3
"""Of those that were asked for something newer; `fabgossip why` names all."""
_ASKED: Final = {OPEN: "not asked: it keeps failing", NOTHING_NEWER: "has nothing newer"}
DOWN_NAMED_MAX: Final = 3
"""Of those that are missing, so many are named; `fabgossip peers` names all."""
BEHIND_GRACE_MS = 5_000
"""A content wanted for less long is under way, not a problem (*start*)."""


ClimbOf: TypeAlias = Callable[[Head], Want | None]
"""The climb for something newer than a head, while there is one."""


class Level(StrEnum):
    """The verdict in one word."""

    OK = "ok"
    DEGRADED = "degraded"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceCounts:
    """Heads by what they are good for."""

    total: int
    fresh: int
    behind: int
    stale: int
    disputed: int
    expired: int
    invalid: int
    withdrawn: int
    known: int
    held_back: int


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
    renewing: RenewingSnapshot
    chains: ChainsSnapshot
    policing: PolicingSnapshot
    retention: RetentionSnapshot
    scrubbing: ScrubbingSnapshot
    problems: tuple[Problem, ...]
    problems_omitted: int
    certificate_expires_at: UnixTime | None
    """As it says itself; None where none is shown."""


def state_of(head: Head, now: Now) -> str:
    """A head's state as users see it: `current` and `held` turn `stale` past `refresh_by`."""
    usable = head.state in (HeadState.CURRENT, HeadState.HELD)
    if head.is_disputed:
        return "disputed"
    if usable and head.is_unlisted:
        return "stale"
    if usable and is_past(head.manifest.refresh_by, now.unix):
        return "stale"
    return head.state.value


def node_snapshot(
    node_id: NodeId,
    beliefs: Beliefs,
    catalog: Catalog,
    neighbors: Neighbors,
    fetching: Fetching,
    renewing: RenewingSnapshot,
    climb_of: ClimbOf,
    chains: Chains,
    policing: PolicingSnapshot,
    audit: AuditState,
    retention: RetentionSnapshot,
    scrubbing: ScrubbingSnapshot,
    shunned: tuple[bytes, ...],
    held_back: tuple[HeldBack, ...],
    unclaimed: tuple[VerifiedManifest, ...],
    now: Now,
) -> NodeSnapshot:
    """The node as it is now. Cost: O(heads)."""
    heads = catalog.heads()
    mode = beliefs.mode(now)
    seen = neighbors.snapshot(now.instant)
    if beliefs.freshness.is_revoked:
        seen = replace(seen, target=0)
    clones = tuple(_clone_problem(one) for one in policing.clones)
    stuck = stuck_problem(retention.space) if retention.is_stuck else None
    avoided = tuple(shunned_problem(digest) for digest in shunned)
    damage = (
        certificate_problem(beliefs.certificate_times, now.unix),
        renewal_problem(beliefs.renewal_fault),
        audit_problem(audit),
        space_problem(retention.space),
        stuck,
    )
    alarms = (*clones, *avoided, *(one for one in damage if one is not None))
    holds = _hold_problems(held_back, catalog, now)
    # Who has forgotten hears first what there is: amnesia is the problem until then.
    left = () if beliefs.freshness.has_amnesia else unclaimed
    unnamed = tuple(unclaimed_problem(one.manifest) for one in left)
    problems = alarms + _problems(heads, beliefs, seen, fetching, climb_of, now) + holds + unnamed
    facts, counts = beliefs.facts, _counts(heads, now)
    return NodeSnapshot(
        node_id=node_id,
        level=Level.DEGRADED if problems else Level.OK,
        mode=mode,
        summary=_summary(mode, problems, counts, beliefs, now),
        bundle_version=facts.bundle.bundle_version,
        epoch=facts.bundle.authority_epoch,
        revocation_version=facts.revoked.version,
        revocations_refresh_by=beliefs.freshness.revocations_refresh_by,
        namespaces=counts,
        last_change_at=max(
            (one.current_since for one in heads if one.current_since is not None), default=None
        ),
        neighbors=seen,
        fetching=fetching.snapshot(now.instant),
        renewing=renewing,
        chains=chains.snapshot(),
        policing=policing,
        retention=retention,
        scrubbing=scrubbing,
        problems=problems[:PROBLEMS_MAX],
        problems_omitted=max(0, len(problems) - PROBLEMS_MAX),
        certificate_expires_at=times[1] if (times := beliefs.certificate_times) else None,
    )


def _counts(heads: tuple[Head, ...], now: Now) -> NamespaceCounts:
    states = [state_of(head, now) for head in heads]
    fresh = ("current", "held", "applying")
    return NamespaceCounts(
        total=len(heads),
        fresh=sum(states.count(state) for state in fresh),
        behind=states.count("behind") + states.count("persisting"),
        stale=sum(states.count(state) for state in ("stale", "outdated", "withheld")),
        disputed=states.count("disputed"),
        expired=states.count("expired"),
        invalid=states.count("invalid"),
        withdrawn=states.count("withdrawn"),
        known=states.count("known"),
        held_back=states.count("held_back"),
    )


def _clone_problem(clone: Clone) -> Problem:
    within_s, ends_in_s = clone.within // 1_000, clone.ends_in // 1_000
    return clone_problem(clone.node_id, BOOT_CHANGES_MAX, within_s, ends_in_s)


def _hold_problems(
    held_back: tuple[HeldBack, ...], catalog: Catalog, now: Now
) -> tuple[Problem, ...]:
    heads = [(one, catalog.find(one.namespace)) for one in held_back]
    return tuple(
        hold_problem(one, None if head is None else head.manifest.order, now.unix)
        for one, head in heads
    )


def _summary(
    mode: Mode, problems: tuple[Problem, ...], counts: NamespaceCounts, beliefs: Beliefs, now: Now
) -> str:
    silent = seconds_between(beliefs.freshness.newest_issued_at, now.unix)
    match mode:
        case Mode.REVOKED:
            return "this node is revoked: it has left the fabric and serves nobody"
        case Mode.AMNESIA:
            return "this node does not know what it once knew; it serves nothing until it does"
        case Mode.CLOCK_SUSPECT:
            return (
                "the clock cannot be believed; nothing new is applied until something signed agrees"
            )
        case Mode.STALE:
            return "trust is past its refresh time; what is here is the last valid configuration"
        case Mode.PARTITIONED:
            return f"nothing newly signed for {age(silent)}; the last valid configuration is in use"
        case Mode.FRESH:
            if problems:
                return _count(problems)
            if counts.behind:
                return f"{counts.behind} on the way, all else here and fresh"
            return "everything this node is entitled to is here and fresh"


def _count(problems: tuple[Problem, ...]) -> str:
    return "1 problem" if len(problems) == 1 else f"{len(problems)} problems"


def _problems(
    heads: tuple[Head, ...],
    beliefs: Beliefs,
    seen: NeighborsSnapshot,
    fetching: Fetching,
    climb_of: ClimbOf,
    now: Now,
) -> tuple[Problem, ...]:
    problems = [*_trust_problems(beliefs, now)]
    is_revoked = beliefs.freshness.is_revoked  # then it keeps no link, on purpose
    if not is_revoked and seen.active == 0 and (seen.target > 0 or not heads):
        because = "no link is open; dialling the signed directories' peers and the bootstrap"
        because = f"no link is open: {told}" if (told := _told_down(seen)) else because
        problems.append(problem(ProblemCode.NO_NEIGHBORS, "", because, "fabgossip peers"))
    elif not is_revoked and (few := _thin_company(seen)) is not None:
        because = f"{few}; {told}" if (told := _told_down(seen)) else few
        problems.append(problem(ProblemCode.FEW_NEIGHBORS, "", because, "fabgossip peers"))
    for head in heads:
        found = _head_problem(head, fetching, climb_of, now)
        if found is not None:
            problems.append(found)
    return tuple(problems)


def _told_down(seen: NeighborsSnapshot) -> str:
    """Who is missing, and why; empty where nobody was tried yet."""
    words = [
        f"{one.node_id}{f' ({one.address})' if one.address else ''}: {one.reason} "
        f"{age(one.ago_ms // 1_000)} ago"
        for one in seen.down[:DOWN_NAMED_MAX]
    ]
    rest = len(seen.down) - len(words)
    return "; ".join((*words, f"and {rest} more") if rest else words)


def _thin_company(seen: NeighborsSnapshot) -> str | None:
    """Why one failure more would leave this node alone, where the directory has more to offer."""
    if seen.active < min(NEIGHBORS_MIN, seen.target):
        return f"{seen.active} neighbour, {seen.target} wanted: one more lost, and none is left"
    if seen.active and seen.zones < min(NEIGHBORS_MIN, seen.zones_there):
        return f"all neighbours stand in one zone, of {seen.zones_there} there are"
    return None


def _trust_problems(beliefs: Beliefs, now: Now) -> list[Problem]:
    problems = []
    if not beliefs.facts.own.scope_ids:
        because = "the node's own claims do not verify or have expired"
        problems.append(
            problem(ProblemCode.NO_CLAIMS, "", because, "fabgossip control enroll NODE --renew")
        )
    held = conditions_of(beliefs.freshness, now.unix)
    problems += [
        problem(*row) for mode, row in _mode_problems(beliefs, now.unix).items() if mode in held
    ]
    if Mode.PARTITIONED in held and Mode.STALE not in held:
        because = "nothing newly signed arrives; the control plane is silent or out of reach"
        step = (
            "fabgossip peers; where the control plane is: fabgossip control compile, then publish"
        )
        problems.append(problem(ProblemCode.NOTHING_NEW, "", because, step))
    return problems


def _mode_problems(
    beliefs: Beliefs, now: UnixTime
) -> dict[Mode, tuple[ProblemCode, str, str, str]]:
    """What each grave condition is shown as."""
    fresh = beliefs.freshness
    publish = "fabgossip control compile, then fabgossip control publish"
    stale = (ProblemCode.TRUST_STALE, "", _why_stale(beliefs), publish)
    if fresh.is_disputed:
        because = (
            "two signed trust bundles or revocation lists of one version contradict each other"
        )
        stale = (ProblemCode.TRUST_FORKED, "", because, "fabgossip events")
    return {
        Mode.STALE: stale,
        Mode.CLOCK_SUSPECT: (
            ProblemCode.CLOCK_SUSPECT,
            "",
            "the wall clock was stepped, is not synchronized, or contradicts what is signed",
            "timedatectl",
        ),
        Mode.AMNESIA: (
            ProblemCode.AMNESIA,
            "",
            "the state folder is new, old or damaged; waiting for trust, revocations and this "
            "node's own snapshot",
            publish,
        ),
        Mode.REVOKED: (ProblemCode.REVOKED, "", *_why_revoked(beliefs, now)),
    }


def _why_revoked(beliefs: Beliefs, now: UnixTime) -> tuple[str, str]:
    """What of this node, since when and why, and the way back."""
    node_id, found = beliefs.facts.own_node_id, beliefs.own_revocation()
    renew = f"fabgossip control enroll {node_id} --renew --out FOLDER"
    what, step = {
        OwnPart.NODE: (f"the node {node_id}", "fabgossip control enroll NODE under another id"),
        OwnPart.CERTIFICATE: (f"the certificate of {node_id}", renew),
        OwnPart.NODE_CA: (f"the CA that issued the certificate of {node_id}", renew),
    }[OwnPart.NODE if found is None else found.part]
    entry = None if found is None else found.entry
    if entry is None:
        return f"{what} is revoked", step
    since, name = seconds_between(entry.since, now), short_hash(entry.value)
    return f'{what} was revoked {age(since)} ago: "{entry.reason}" (entry {name})', step


def _why_stale(beliefs: Beliefs) -> str:
    fresh = beliefs.freshness
    if fresh.revocations_refresh_by is None:
        return "no revocation list of this epoch was ever accepted"
    if fresh.snapshot_refresh_by is None:
        return "this node's own snapshot was never accepted"
    return "past the refresh time of trust"


def _head_problem(head: Head, fetching: Fetching, climb_of: ClimbOf, now: Now) -> Problem | None:
    namespace = head.manifest.namespace.text
    step = f"fabgossip why {namespace}"
    if head.is_disputed:
        because = "two manifests of one version are signed: neither is applied or served"
        return problem(ProblemCode.DISPUTED, namespace, because, step)
    if head.is_unlisted and head.state is not HeadState.WITHDRAWN:
        because = "the snapshot that covers it does not list this version"
        return problem(ProblemCode.UNLISTED, namespace, because, step)
    if head.state is HeadState.REFUSED:
        code = "" if head.refusal is None else f" ({head.refusal.code.value})"
        because = f"what was accepted before is refused by today's trust{code}: taken out of local/"
        return problem(ProblemCode.REFUSED, namespace, because, step)
    if head.state is HeadState.OUTDATED:
        because = (
            "of an epoch that is over, or for claims this node has no more: the last good one "
            "stays where it is, is served to nobody, and nothing newer has come"
        )
        return problem(ProblemCode.OUTDATED, namespace, because, step)
    if head.state is HeadState.INVALID:
        because = "its signed content does not say what its type demands: the signer is at fault"
        return problem(ProblemCode.CONTENT_INVALID, namespace, because, step)
    if head.state is HeadState.UNAPPLIED:
        because = "its content is held and could not be written to local/: see the daemon's log"
        return problem(ProblemCode.NOT_MATERIALIZED, namespace, because, step)
    if head.state is HeadState.EXPIRED:
        return problem(ProblemCode.EXPIRED, namespace, "past its time of expiry: withdrawn", step)
    if head.state is HeadState.WITHHELD:
        overdue = seconds_between(head.manifest.refresh_by, now.unix)
        because = (
            f"{age(overdue)} past its refresh time, more than the signed policy lets it be used"
        )
        return problem(ProblemCode.WITHHELD, namespace, because, step)
    if head.state is HeadState.BEHIND:
        want = fetching.find(head.verified)
        if want is None and fetching.is_full:
            because = "as many contents are wanted as may be at once; it is wanted in its turn"
            return problem(ProblemCode.CONTENT_MISSING, namespace, because, step)
        if want is not None and elapsed(want.since, now.instant) >= BEHIND_GRACE_MS:
            return problem(ProblemCode.CONTENT_MISSING, namespace, _tries(want), step)
    if state_of(head, now) == "stale":
        overdue = seconds_between(head.manifest.refresh_by, now.unix)
        because = f"{age(overdue)} past its refresh time, and nothing newer was announced"
        asked = _asked(climb_of(head))
        return problem(ProblemCode.REFRESH_OVERDUE, namespace, f"{because}{asked}", step)
    return None


def _asked(climb: Want | None) -> str:
    """Whom a climb for something newer asked, or tried to."""
    tries = [] if climb is None else [one for one in climb.attempts if one.node_id is not None]
    newest = [one for one in tries if one.climb == tries[-1].climb]
    # Who has nothing newer says the least of why nothing newer is here.
    newest.sort(key=lambda one: one.outcome == NOTHING_NEWER)
    words = [f"{one.node_id} {_ASKED.get(one.outcome, one.outcome)}" for one in newest]
    left = len(words) - ASKED_NAMED_MAX
    rest = [f"{left} more"] if left > 0 else []
    return f"; asked for it: {', '.join([*words[:ASKED_NAMED_MAX], *rest])}" if words else ""


def _last_try(want: Want) -> str:
    """What the newest try of a climb came to; empty where there was none."""
    tries = [one for one in want.attempts if one.node_id is not None]
    if not tries:
        return ""
    last = tries[-1]
    return f"{last.step.value} {last.node_id}: {_ASKED.get(last.outcome, last.outcome)}"


def _tries(want: Want) -> str:
    last = _last_try(want)
    if not last:
        return (
            "no node in reach may hold it"
            if want.state is WantState.PARKED
            else "waiting for a free transfer"
        )
    count = sum(one.node_id is not None for one in want.attempts)
    return f"{count} tries; last {last}{_last_good(want)}"


def _last_good(want: Want) -> str:
    """What rung 5 made of the version before."""
    if want.last_good is None:
        return ""
    order = want.last_good.verified.manifest.order
    if want.last_good.is_allowed:
        return f"; {order} stays in use, the last valid version"
    return f"; {order} is not to be relied on: {want.last_good.reason}"
