"""What `status` calls wrong, and the words for what is wrong with the machine under a node.

Decides: the words, and what to type next.
Keeps: the list of codes is closed; each has a page of its own.
Must not know: heads, sources, trust.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fabgossip.core.events import AuditState
from fabgossip.core.space import SpaceState, SpaceTrouble
from fabgossip.model.artifact import Manifest, Order
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import UnixTime, seconds_between
from fabgossip.model.persistence import HeldBack

CERTIFICATE_SHARE_LEFT: Final = 3
"""A certificate with this share of its life left is to be renewed (*start*): it is told of a third
of its life before nobody speaks to the node any more."""


class ProblemCode(StrEnum):
    """A closed list."""

    NO_NEIGHBORS = "no_neighbors"
    FEW_NEIGHBORS = "few_neighbors"
    TRUST_STALE = "trust_stale"
    NOTHING_NEW = "nothing_new"
    REFRESH_OVERDUE = "refresh_overdue"
    CONTENT_MISSING = "content_missing"
    CONTENT_INVALID = "content_invalid"
    NOT_MATERIALIZED = "not_materialized"
    EXPIRED = "expired"
    NO_CLAIMS = "no_claims"
    CERTIFICATE_ENDING = "certificate_ending"
    RENEWAL_REFUSED = "renewal_refused"
    CLOCK_SUSPECT = "clock_suspect"
    AMNESIA = "amnesia"
    REVOKED = "revoked"
    TRUST_FORKED = "trust_forked"
    DISPUTED = "disputed"
    UNLISTED = "unlisted"
    REFUSED = "refused"
    OUTDATED = "outdated"
    WITHHELD = "withheld"
    HELD_BACK = "held_back"
    UNCLAIMED_LOCAL = "unclaimed_local"
    AUDIT_STOPPED = "audit_stopped"
    AUDIT_DAMAGED = "audit_damaged"
    IDENTITY_CLONED = "identity_cloned"
    STORAGE_FULL = "storage_full"
    DISK_FULL = "disk_full"
    STORAGE_READ_ONLY = "storage_read_only"
    EVICTION_STUCK = "eviction_stuck"
    ENVELOPE_SHUNNED = "envelope_shunned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong, why, and what to type next."""

    code: ProblemCode
    namespace: str
    because: str
    next_step: str


def problem(code: ProblemCode, namespace: str, because: str, next_step: str) -> Problem:
    """What is wrong with a namespace, or (empty) with the node."""
    return Problem(code=code, namespace=namespace, because=because, next_step=next_step)


def clone_problem(node_id: NodeId, changes: int, within_s: int, ends_in_s: int) -> Problem:
    """Somebody else has a peer's key."""
    because = (
        f"{node_id} said hello from {changes} other processes within {age(within_s)}: two machines "
        f"may hold its key, or it starts again and again; over in {age(ends_in_s)}, unless that "
        "happens once more"
    )
    return problem(ProblemCode.IDENTITY_CLONED, "", because, f"on {node_id}: fabgossip status")


def shunned_problem(digest: bytes) -> Problem:
    """The daemon ended over an envelope, again and again."""
    because = (
        f"the daemon ended while it handled envelope {digest.hex()}, again and again: it is "
        "not looked at for an hour"
    )
    next_step = "what step_failed says in the log of the daemon, and a newer fabgossip"
    return problem(ProblemCode.ENVELOPE_SHUNNED, "", because, next_step)


def certificate_problem(times: tuple[UnixTime, UnixTime] | None, now: UnixTime) -> Problem | None:
    """The last third of the own certificate has begun, or it has ended."""
    if times is None:
        return None
    begins_at, ends_at = times
    left, life = seconds_between(now, ends_at), seconds_between(begins_at, ends_at)
    if CERTIFICATE_SHARE_LEFT * left > life:
        return None
    because = f"the certificate ends in {age(left)}, and no peer speaks to this node after that"
    if left <= 0:
        because = f"the certificate ended {age(-left)} ago: no peer speaks to this node"
    step = "fabgossip control enroll NODE --renew"
    return problem(ProblemCode.CERTIFICATE_ENDING, "", because, step)


def renewal_problem(fault: str) -> Problem | None:
    """The files of the own identity were changed, and not for the better."""
    if not fault:
        return None
    because = f"{fault}; the certificate and claims of before stay in use"
    return problem(ProblemCode.RENEWAL_REFUSED, "", because, "fabgossip check-config")


def age(seconds: int) -> str:
    """In the unit that leaves a number a person can compare."""
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def audit_problem(state: AuditState) -> Problem | None:
    """The audit log is not what it should be."""
    match state:
        case AuditState.INTACT:
            return None
        case AuditState.STOPPED:
            return problem(
                ProblemCode.AUDIT_STOPPED,
                "",
                "the disk refuses the audit log: records wait in memory, and nothing of high risk "
                "is allowed until it takes them; it is tried again by itself",
                "df, and what audit_stopped says in the log of the daemon",
            )
        case AuditState.DAMAGED:
            return problem(
                ProblemCode.AUDIT_DAMAGED,
                "",
                "the audit log was cut or changed while the daemon was down: records go on behind "
                "the damage, and nothing of high risk is allowed until the next start",
                "copy the folder audit/ away as evidence; fabgossip audit verify says what is "
                "missing; then restart",
            )


def space_problem(space: SpaceState) -> Problem | None:
    """The disk takes nothing but trust."""
    next_step = "df, and storage.quota_bytes of the configuration"
    match space.trouble:
        case None:
            return None
        case SpaceTrouble.QUOTA:
            because = (
                f"{space.used_bytes} of {space.quota_bytes} bytes of the quota are used: nothing "
                "but trust is stored until there is space again"
            )
            return problem(ProblemCode.STORAGE_FULL, "", because, next_step)
        case SpaceTrouble.DISK:
            because = (
                f"{space.free_bytes} bytes are free on the file system of the state folder, or too "
                "few inodes: nothing but trust is stored until more are"
            )
            return problem(ProblemCode.DISK_FULL, "", because, next_step)
        case SpaceTrouble.READ_ONLY:
            because = (
                "the disk failed three times within ten minutes: what is here is served, nothing "
                "but trust is stored until it has not failed for a while"
            )
            step = "dmesg, and what storage_failed says in the log of the daemon"
            return problem(ProblemCode.STORAGE_READ_ONLY, "", because, step)


def hold_problem(held_back: HeldBack, newest: Order | None, now: UnixTime) -> Problem:
    """Local software reads an older version, because somebody wants it to."""
    waits = "" if newest is None else f", and {newest} waits"
    left = age(max(0, seconds_between(now, held_back.until)))
    because = (
        f'{held_back.owner} put it back to {held_back.order}: "{held_back.reason}"; for {left} '
        f"more at most{waits}"
    )
    step = f"fabgossip artifacts use {held_back.namespace} --release"
    return problem(ProblemCode.HELD_BACK, held_back.namespace, because, step)


def unclaimed_problem(manifest: Manifest) -> Problem:
    """Local software reads what this node knows no manifest of."""
    because = (
        f"local/ still shows {manifest.order}, and no verified manifest names the namespace here: "
        "it stays as it is, and nobody vouches for it now"
    )
    namespace = manifest.namespace.text
    return problem(ProblemCode.UNCLAIMED_LOCAL, namespace, because, f"fabgossip why {namespace}")


def stuck_problem(space: SpaceState) -> Problem:
    """There is too much, and all of it is needed."""
    because = (
        f"{space.used_bytes} of {space.quota_bytes} bytes of the quota are used, and what is here "
        "is applied, held by duty, pinned, or held by nobody else"
    )
    next_step = "fabgossip artifacts pins, and storage.quota_bytes of the configuration"
    return problem(ProblemCode.EVICTION_STUCK, "", because, next_step)
