"""The answers of the status socket as plain objects: one function per shape, fields are only ever
added."""

import importlib.metadata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from fabgossip.core.attempts import Attempt, LastGood
from fabgossip.core.catalog import Head, Refusal
from fabgossip.core.chains import ChainsSnapshot, ChainTold
from fabgossip.core.events import AuditState
from fabgossip.core.fetching import FetchingSnapshot
from fabgossip.core.granted import GrantedFetch
from fabgossip.core.health import NodeSnapshot, state_of
from fabgossip.core.losses import DownNode
from fabgossip.core.neighbors import NeighborsSnapshot
from fabgossip.core.problems import Problem
from fabgossip.core.renewals import RenewingSnapshot
from fabgossip.core.retention import RetentionSnapshot
from fabgossip.core.scrubbing import ScrubbingSnapshot
from fabgossip.core.sessions import Session
from fabgossip.core.wants import EndedWant, Want, WantState
from fabgossip.daemon.audit import AuditView
from fabgossip.daemon.driver import Driver
from fabgossip.daemon.recent import Told
from fabgossip.model.artifact import Order, VerifiedManifest
from fabgossip.model.ids import BootId
from fabgossip.model.messages import PROTOCOL
from fabgossip.model.mode import Permit
from fabgossip.model.moment import Now, UnixTime, elapsed
from fabgossip.model.persistence import HeldBack, KeptCheckpoint, Pin
from fabgossip.storage.records import parse_line


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What does not change while a daemon runs."""

    node_id: str
    cluster_id: str
    boot_id: BootId
    started_at: UnixTime
    config_path: str
    listening: tuple[str, ...]
    storage_path: str


def rfc3339(moment: UnixTime | None) -> str | None:
    """A signed or wall time as people and JSON readers expect it."""
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, tz=UTC).isoformat().replace("+00:00", "Z")


def package_version() -> str:
    """The version of this package."""
    return importlib.metadata.version("fabgossip")


def version(about: About) -> dict[str, object]:
    """`GET /v1/version`."""
    return {"version": package_version(), "protocol": PROTOCOL, "node_id": about.node_id}


def status(snapshot: NodeSnapshot, about: About, audit: AuditView) -> dict[str, object]:
    """`GET /v1/status`: the verdict, what it rests on, then problems."""
    policing = snapshot.policing
    return {
        "node": _node(about),
        "verdict": {
            "level": snapshot.level.value,
            "mode": snapshot.mode.value,
            "summary": snapshot.summary,
        },
        "trust": _trust(snapshot),
        "namespaces": _namespaces(snapshot),
        "neighbors": _neighbors(snapshot.neighbors),
        "recovery": _recovery(snapshot.fetching, snapshot.renewing),
        "storage": _storage(snapshot.retention, snapshot.scrubbing),
        "chains": _chains(snapshot.chains),
        "limits": {"reduced": dict(policing.reduced), "cut": policing.cut},
        "config": {"path": about.config_path, "storage": about.storage_path},
        "audit": _audit(audit),
        "problems": [_problem(one) for one in snapshot.problems],
        "problems_omitted": snapshot.problems_omitted,
    }


def _node(about: About) -> dict[str, object]:
    return {
        "node_id": about.node_id,
        "cluster_id": about.cluster_id,
        "version": package_version(),
        "boot_id": about.boot_id.hex(),
        "started_at": rfc3339(about.started_at),
        "listening": list(about.listening),
    }


def _trust(snapshot: NodeSnapshot) -> dict[str, object]:
    return {
        "bundle_version": snapshot.bundle_version,
        "epoch": snapshot.epoch,
        "revocation_version": snapshot.revocation_version,
        "refresh_due_at": rfc3339(snapshot.revocations_refresh_by),
        "certificate_expires_at": rfc3339(snapshot.certificate_expires_at),
    }


def _namespaces(snapshot: NodeSnapshot) -> dict[str, object]:
    counts = snapshot.namespaces
    return {
        "total": counts.total,
        "fresh": counts.fresh,
        "behind": counts.behind,
        "stale": counts.stale,
        "disputed": counts.disputed,
        "expired": counts.expired,
        "invalid": counts.invalid,
        "withdrawn": counts.withdrawn,
        "known": counts.known,
        "held_back": counts.held_back,
        "last_change_at": rfc3339(snapshot.last_change_at),
    }


def _neighbors(neighbors: NeighborsSnapshot) -> dict[str, object]:
    return {
        "active": neighbors.active,
        "target": neighbors.target,
        "failure_domains": neighbors.failure_domains,
        "guests": neighbors.guests,
        "suspects": neighbors.suspects,
        "last_ended": None
        if neighbors.last_ended is None
        else {
            "node_id": neighbors.last_ended.node_id,
            "reason": neighbors.last_ended.reason,
            "ago_ms": neighbors.last_ended.ago_ms,
        },
    }


def _recovery(fetching: FetchingSnapshot, renewing: RenewingSnapshot) -> dict[str, object]:
    return {
        "wanted": fetching.wanted,
        "in_flight": fetching.in_flight,
        "dialing": fetching.dialing,
        "parked": fetching.parked,
        "out_of_space": fetching.out_of_space,
        "last_good": fetching.last_good,
        "step": fetching.highest_step,
        "renewing": renewing.climbs,
        "renewing_step": renewing.highest_step,
        "shut_out": fetching.shut_out,
        "fetched": fetching.fetched,
        "failed": fetching.failed,
    }


def _storage(retention: RetentionSnapshot, scrubbing: ScrubbingSnapshot) -> dict[str, object]:
    space = retention.space
    return {
        "verified": scrubbing.verified,
        "damaged": scrubbing.damaged,
        "oldest_verified_at": rfc3339(scrubbing.oldest_at),
        "pins": retention.pins,
        "evicted": retention.evicted,
        "evicted_bytes": retention.evicted_bytes,
        "trouble": None if space.trouble is None else space.trouble.value,
        "used_bytes": space.used_bytes,
        "quota_bytes": space.quota_bytes,
        "free_bytes": space.free_bytes,
    }


def _chains(chains: ChainsSnapshot) -> dict[str, object]:
    return {
        "under_way": chains.under_way,
        "assembled": chains.assembled,
        "saved_bytes": chains.saved_bytes,
        "gaps": dict(chains.gaps),
    }


def _audit(audit: AuditView) -> dict[str, object]:
    return {
        "sequence": audit.sequence,
        "anchored_at": rfc3339(audit.anchored_at),
        "writable": audit.state is AuditState.INTACT,
        "state": audit.state.value,
    }


def _problem(problem: Problem) -> dict[str, object]:
    return {
        "code": problem.code.value,
        "namespace": problem.namespace,
        "because": problem.because,
        "next": problem.next_step,
    }


def permit(answer: Permit) -> dict[str, object]:
    """`GET /v1/gate`."""
    return {
        "action": answer.action,
        "risk": answer.risk.value,
        "allowed": answer.allowed,
        "mode": answer.mode.value,
        "code": answer.code.value,
        "reason": answer.reason,
        "help": answer.help,
        "trust_version": answer.trust_version,
        "revocation_version": answer.revocation_version,
        "valid_until": rfc3339(answer.valid_until),
    }


def artifact(driver: Driver, head: Head, now: Now) -> dict[str, object]:
    """One item of `GET /v1/artifacts`."""
    manifest = head.manifest
    last_good = driver.node.view.last_good(head)
    hold = driver.node.view.held_back(manifest.namespace.text)
    return {
        "namespace": manifest.namespace.text,
        "family": manifest.artifact_type.value,
        "state": state_of(head, now),
        "epoch": manifest.authority_epoch,
        "version": manifest.config_version,
        "content_hash": manifest.content_hash.hex(),
        "size": manifest.content_size,
        "audience": [scope.text for scope in manifest.audience.scope_ids],
        "held": head.is_held,
        "pins": [one.pin_id for one in driver.node.view.pins_of(manifest.content_hash)],
        "increment_held": head.increment is not None and head.increment.is_held,
        "issued_at": rfc3339(manifest.issued_at),
        "refresh_by": rfc3339(manifest.refresh_by),
        "expires_at": rfc3339(manifest.expires_at),
        "current_at": rfc3339(head.current_since),
        "source": head.source,
        "last_good": None if last_good is None else _last_good(last_good),
        "held_back": None if hold is None else held_back(hold),
    }


def held_back(one: HeldBack) -> dict[str, object]:
    """To which older version an operator put what local software reads, and until when."""
    return {
        "order": str(one.order),
        "owner": one.owner,
        "reason": one.reason,
        "until": rfc3339(one.until),
    }


def _last_good(last_good: LastGood) -> dict[str, object]:
    manifest = last_good.verified.manifest
    return {
        "order": str(manifest.order),
        "allowed": last_good.is_allowed,
        "reason": last_good.reason,
        "refresh_by": rfc3339(manifest.refresh_by),
        "expires_at": rfc3339(manifest.expires_at),
    }


def pin(one: Pin) -> dict[str, object]:
    """One item of `GET /v1/pins`."""
    return {
        "pin": one.pin_id,
        "content_hash": one.content_hash.hex(),
        "namespace": one.namespace,
        "owner": one.owner,
        "reason": one.reason,
        "until": rfc3339(one.until),
    }


def audit_record(seq: int, line: bytes) -> dict[str, object]:
    """One item of `GET /v1/audit`: a record as it stands in the log, or only that it is damaged."""
    return parse_line(line) or {"seq": seq, "damaged": True}


def checkpoint(kept: KeptCheckpoint) -> dict[str, object]:
    """One item of `GET /v1/checkpoints`."""
    return {
        "size": kept.size,
        "head": kept.head.hex(),
        "wall": kept.wall,
        "evidence": kept.is_evidence,
        "checkpoint": kept.envelope.hex(),
    }


_TIMES: Final = ("until", "expires_at")
"""Fields of facts that are wall times."""


def event(one: Told) -> dict[str, object]:
    """One item of `GET /v1/events`."""
    fields: dict[str, object] = dict(one.fact.fields)
    for name in _TIMES:
        if isinstance(moment := fields.get(name), int):
            fields[name] = rfc3339(UnixTime(moment))
    return {"number": one.number, "at": rfc3339(one.at), "event": one.fact.fact.value, **fields}


def peer(driver: Driver, session: Session, now: Now) -> dict[str, object]:
    """One item of `GET /v1/peers`."""
    domain, rtt_ms, heard_at = driver.node.view.peer(session)
    connection = driver.connection_to(session.link)
    return {
        "node_id": session.node_id,
        "failure_domain": domain,
        "direction": "out" if session.is_dialer else "in",
        "open": session.is_open,
        "since_s": elapsed(session.since, now.instant) // 1_000,
        "last_heard_s": None if heard_at is None else elapsed(heard_at, now.instant) // 1_000,
        "rtt_ms": rtt_ms,
        "shared_audiences": driver.node.view.shared_audiences(session),
        "queue_bytes": 0 if connection is None else connection.queued_bytes,
        "received_bytes": 0 if connection is None else connection.bytes_received,
    }


def down(one: DownNode) -> dict[str, object]:
    """One item of `down` in `GET /v1/peers`."""
    return {
        "node_id": one.node_id,
        "address": one.address or None,
        "reason": one.reason,
        "ago_ms": one.ago_ms,
        "dials_in_ms": one.dials_in_ms,
    }


def why(driver: Driver, head: Head, now: Now) -> dict[str, object]:
    """`GET /v1/why`: what is applied, who signed it, from whom it came, every try, what comes
    next."""
    manifest = head.manifest
    want = driver.node.view.want_of(head.verified)
    holders = driver.node.view.advertisers(head)
    return {
        "artifact": artifact(driver, head, now),
        "signed": {
            "key_ids": [key_id.hex() for key_id in head.verified.signed_by],
            "threshold": head.verified.threshold,
            "artifact_id": manifest.artifact_id,
            "manifest_hash": head.verified.manifest_hash.hex(),
        },
        "newest": {
            "order": str(Order(manifest.authority_epoch, manifest.config_version)),
            "from": head.source,
            "came_along": head.came_along,
        },
        "refused": _refusal(head.refusal),
        "advertised_by": [*holders.by_name, *holders.by_all],
        "advertised_by_name": list(holders.by_name),
        "answered_missing": list(holders.missing),
        "ladder": [] if want is None else [_attempt(one, now) for one in want.attempts],
        "want": None if want is None else _want(driver, want, now),
        "chain": _chain(driver.node.view.chain_of(manifest.namespace.text), head, now),
        "renewal": _renewal(driver, head, now),
    }


def _renewal(driver: Driver, head: Head, now: Now) -> dict[str, object] | None:
    """Whom was asked for a newer version as this one neared its refresh time; None where that was
    not needed."""
    want = driver.node.view.renewal_of(head, now)
    if want is None:
        return None
    ladder = [_attempt(one, now) for one in want.attempts]
    return {"want": _want(driver, want, now), "ladder": ladder}


def _chain(told: ChainTold | None, head: Head, now: Now) -> dict[str, object] | None:
    """How the content was, or is to be, made of increments; None where that was not tried."""
    if told is None or told.manifest_hash != head.verified.manifest_hash:
        return None
    return {
        "base": told.base.hex(),
        "outcome": told.outcome,
        "detail": told.detail,
        "asked": told.peer,
        "steps": told.steps,
        "bytes": told.step_bytes,
        "ago_ms": elapsed(told.began_at, now.instant),
    }


def _refusal(refusal: Refusal | None) -> dict[str, object] | None:
    if refusal is None:
        return None
    at = rfc3339(refusal.at)
    return {"code": refusal.code.value, "detail": refusal.detail, "at": at}


NO_HEAD: Final[dict[str, object]] = {
    "artifact": None,
    "signed": None,
    "newest": None,
    "refused": None,
    "advertised_by": [],
    "advertised_by_name": [],
    "answered_missing": [],
    "ladder": [],
    "want": None,
    "chain": None,
    "renewal": None,
}
"""`GET /v1/why` of what this node may not hold, and fetched, or tried to, under a grant."""


def unclaimed(shown: VerifiedManifest) -> dict[str, object]:
    """`GET /v1/why` of what local software reads although no manifest names its namespace here."""
    manifest = shown.manifest
    return {
        "namespace": manifest.namespace.text,
        "order": str(manifest.order),
        "content_hash": manifest.content_hash.hex(),
    }


def granted(fetches: tuple[GrantedFetch, ...], now: Now) -> list[dict[str, object]]:
    """`GET /v1/why`: every fetch under a grant, which left nothing on this node."""
    return [
        {
            "namespace": one.verified.manifest.namespace.text,
            "order": str(one.verified.manifest.order),
            "content_hash": one.verified.manifest.content_hash.hex(),
            "manifest_hash": one.verified.manifest_hash.hex(),
            "grant": one.grant.grant_id.hex(),
            "grant_ends_at": rfc3339(one.grant.expires_at),
            "outcome": "fetching" if one.outcome is None else one.outcome.value,
            "detail": one.detail,
            "ladder": [_attempt(tried, now) for tried in one.attempts],
        }
        for one in fetches
    ]


def _attempt(attempt: Attempt, now: Now) -> dict[str, object]:
    return {
        "ago_ms": elapsed(attempt.at, now.instant),
        "climb": attempt.climb,
        "step": attempt.step.value,
        "source": attempt.node_id,
        "outcome": attempt.outcome,
        "ms": attempt.took_ms,
        "bytes": attempt.received,
        "reason": attempt.reason,
    }


def _want(driver: Driver, want: Want | EndedWant, now: Now) -> dict[str, object]:
    if isinstance(want, EndedWant):
        return {
            "state": want.state.value,
            "step": None,
            "since_ms": None,
            "source": None,
            "reason": "",
            "retry_in_ms": None,
            "next": [],
        }
    is_parked = want.state is WantState.PARKED
    return {
        "state": want.state.value,
        "step": want.step.value,
        "since_ms": elapsed(want.since, now.instant),
        "source": None if want.source is None else want.source.node_id,
        "reason": "" if want.source is None else want.reason,
        "retry_in_ms": elapsed(now.instant, want.retry_at) if is_parked else None,
        "next": [
            {"step": step.value, "source": node_id, "reason": reason}
            for step, node_id, reason in driver.node.view.upcoming(want, now)
        ],
    }
