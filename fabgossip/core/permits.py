"""What software on this node may do now: `fabgossip gate`.

Decides: whether mode, signed policy and the state of the artifact named allow a consumer's action,
by its risk.
Keeps: each action rests on one internal action and is never wider; a fact that is missing denies;
what is absent, forbidden or revoked gets the same words; a newer version that is announced and not
here takes nothing from who goes on with the one before.
Must not know: who asks.

| action | risk | rests on |
|---|---|---|
| `read-config`, `keep-running` | low | continue the last good one |
| `route`, `start-service` | medium | the same, and the policy must name the action |
| `admit-peer`, `use-grant` | medium | accept authority |
| `activate-update`, `widen-scope`, `change-role`, any other name | high | high risk |
"""

from dataclasses import replace
from typing import Final

from fabgossip.core.beliefs import Beliefs
from fabgossip.core.catalog import Head, HeadState
from fabgossip.model.artifact import Manifest, VerifiedManifest
from fabgossip.model.mode import (
    RISKS,
    Action,
    Cause,
    Mode,
    Permission,
    Permit,
    PermitCode,
    Risk,
    risk_of,
)
from fabgossip.model.moment import Now, UnixTime, is_past, seconds_after
from fabgossip.model.policy import DegradedMode
from fabgossip.model.scope import matches
from fabgossip.trust.modes import Circumstances, conditions_of

VALID_FOR_S: Final = 10
"""An answer is good for at most this long: a revocation may come at any moment (*start*)."""


GONE_FOR_ALL: Final = frozenset({HeadState.WITHDRAWN, HeadState.REFUSED})
"""Withdrawn or revoked: whoever asks hears what of an unknown one."""
_USABLE: Final = frozenset(
    {HeadState.CURRENT, HeadState.APPLYING, HeadState.HELD, HeadState.WITHHELD}
)
"""What was put away for its age is judged by that, like any other."""
_NOT_HERE: Final = frozenset(
    {HeadState.BEHIND, HeadState.UNAPPLIED, HeadState.INVALID, HeadState.HELD_BACK}
)
"""Consumers read the version before, if there is one."""
_POLICY_MODES: Final = {
    Mode.PARTITIONED: DegradedMode.PARTITIONED,
    Mode.STALE: DegradedMode.STALE,
    Mode.CLOCK_SUSPECT: DegradedMode.CLOCK_SUSPECT,
}


class Permits:
    """Answers consumers from what the node believes."""

    __slots__ = ("_beliefs",)

    def __init__(self, beliefs: Beliefs) -> None:
        self._beliefs = beliefs

    def decide(
        self,
        action: str,
        head: Head | None,
        shown: VerifiedManifest | None,
        now: Now,
        *,
        names_artifact: bool,
        is_held_back: bool = False,
    ) -> Permit:
        """Whether `action` may be done now, on the artifact named (`head` None: not known here), of
        which consumers read `shown`, to which an operator put them back, or not."""
        risk = risk_of(action)
        if names_artifact and not self.is_ours(head):
            return self._not_ours(action, now)
        last_good = _last_good(head, shown, risk)
        fault = self._artifact_fault(head, last_good, risk, now, is_held_back=is_held_back)
        if fault is not None:
            return self._no(action, now, *fault)
        permission = self._permission(action, risk, head, now)
        if not permission.allowed:
            return self._no(action, now, _CODES[permission.cause], permission.reason)
        manifest = _judged(head, last_good)
        is_degraded = permission.mode is not Mode.FRESH or last_good is not None
        if is_degraded or (manifest is not None and is_past(manifest.refresh_by, now.unix)):
            reason = permission.reason
            if last_good is not None and head is not None:
                # Not a fault of this node alone: the newer one is announced, and not here yet.
                newest = f"{head.manifest.order} {'held back' if is_held_back else 'not here'}"
                reason = f"{reason}; {last_good.order} is in use, {newest}"
            return self._permit(action, now, PermitCode.ALLOWED_STALE, reason, manifest)
        return self._permit(action, now, PermitCode.ALLOWED, permission.reason, manifest)

    def _not_ours(self, action: str, now: Now) -> Permit:
        """Without claims nothing is known to be for this node: said of every name alike, it tells
        what to renew, and nothing of any artifact."""
        if not self._beliefs.facts.own.scope_ids:
            reason = "this node has no claims that count: they have ended, or do not verify"
            permit = self._no(action, now, PermitCode.NOT_USABLE, reason)
            return replace(permit, help="fabgossip status")
        return self._no(action, now, PermitCode.UNKNOWN, "no artifact here that this node uses")

    def is_ours(self, head: Head | None) -> bool:
        """Whether this node may use the artifact: held, for it, and nothing took it away."""
        return head is not None and self.is_meant(head) and head.state not in GONE_FOR_ALL

    def is_meant(self, head: Head) -> bool:
        """Whether an artifact is for this node, also one that was taken away."""
        facts = self._beliefs.facts
        own = head.manifest.namespace.node_id == facts.own_node_id
        return head.is_durable and (own or matches(head.manifest.audience, facts.own))

    def _artifact_fault(
        self,
        head: Head | None,
        last_good: Manifest | None,
        risk: Risk,
        now: Now,
        *,
        is_held_back: bool,
    ) -> tuple[PermitCode, str] | None:
        """Why the artifact itself forbids the action, whatever the mode."""
        manifest = _judged(head, last_good)
        if head is None or manifest is None:
            return None
        is_low = risk is Risk.LOW
        if is_past(manifest.expires_at, now.unix):
            return PermitCode.TOO_OLD, "it has expired"
        is_usable = last_good is not None or head.state in _USABLE
        if not is_usable and not (is_low and head.state is HeadState.OUTDATED):
            return PermitCode.NOT_USABLE, f"it is {head.state.value}"
        # What an operator put back was listed once, and is meant to be used.
        is_meant = is_held_back and last_good is not None
        if not is_low and not is_meant and not _is_undoubted(head, last_good):
            return PermitCode.NOT_USABLE, "it is disputed, or not listed as current"
        if is_past(manifest.refresh_by, now.unix):
            return self._age_fault(manifest, risk, now)
        return None

    def _age_fault(self, manifest: Manifest, risk: Risk, now: Now) -> tuple[PermitCode, str] | None:
        """Past its refresh time only the signed policy says for how long it may still be used."""
        if risk in (Risk.HIGH, Risk.AUTHORITY):
            return PermitCode.TOO_OLD, "it is past its refresh time"
        rule = self._beliefs.policy.rule_for(manifest.artifact_type)
        if rule is None:
            return PermitCode.POLICY, "past its refresh time, and no policy speaks of its type"
        if is_past(seconds_after(manifest.refresh_by, rule.max_age_s), now.unix):
            return PermitCode.TOO_OLD, "older than the signed policy allows"
        return None

    def _permission(self, action: str, risk: Risk, head: Head | None, now: Now) -> Permission:
        beliefs = self._beliefs
        if risk is Risk.HIGH:
            return beliefs.may(Action.HIGH_RISK, now)
        if risk is Risk.AUTHORITY:
            issued_at = None if head is None else head.manifest.issued_at
            about = Circumstances(issued_at=issued_at)
            return beliefs.may(Action.ACCEPT_AUTHORITY, now, about)
        about = Circumstances(policy=self._policy_for(action, risk, head))
        permission = beliefs.may(Action.CONTINUE_LAST_GOOD, now, about)
        is_suspect = Mode.CLOCK_SUSPECT in conditions_of(beliefs.freshness, now.unix)
        if permission.allowed and risk is Risk.MEDIUM and is_suspect:
            # A new use would rest on a clock nobody believes: keeping on is as far as it goes.
            return Permission(cause=Cause.FORBIDDEN, mode=Mode.CLOCK_SUSPECT)
        return permission

    def _policy_for(self, action: str, risk: Risk, head: Head | None) -> frozenset[Mode]:
        """The conditions under which the signed policy allows an action: it must speak of the
        artifact's type, and of a medium action by name as well."""
        policy = self._beliefs.policy
        if head is not None and policy.rule_for(head.manifest.artifact_type) is None:
            return frozenset()
        if head is None and risk is Risk.LOW and not policy.rules:
            return frozenset()
        if risk is Risk.LOW:
            return frozenset(_POLICY_MODES)
        return frozenset(
            mode for mode, word in _POLICY_MODES.items() if policy.allows(action, word)
        )

    def _no(self, action: str, now: Now, code: PermitCode, reason: str) -> Permit:
        return self._permit(action, now, code, reason, None)

    def _permit(
        self, action: str, now: Now, code: PermitCode, reason: str, manifest: Manifest | None
    ) -> Permit:
        facts = self._beliefs.facts
        if action not in RISKS:
            # A slip of a name would otherwise pass for the action that was meant while all is well.
            reason = f"{reason} ({action} is no known action: judged as high risk)"
        return Permit(
            action=action,
            risk=risk_of(action),
            allowed=code in (PermitCode.ALLOWED, PermitCode.ALLOWED_STALE),
            mode=self._beliefs.mode(now),
            code=code,
            reason=reason,
            help=_HELP[code],
            trust_version=facts.bundle.bundle_version,
            revocation_version=facts.revoked.version,
            valid_until=self._valid_until(manifest, now),
        )

    def _valid_until(self, manifest: Manifest | None, now: Now) -> UnixTime:
        """At most ten seconds, and no longer than the next signed time it rests on."""
        until = [seconds_after(now.unix, VALID_FOR_S)]
        fresh = self._beliefs.freshness
        times = [fresh.bundle_refresh_by, fresh.revocations_refresh_by, fresh.snapshot_refresh_by]
        if manifest is not None:
            times += [manifest.refresh_by, manifest.expires_at]
        until += [one for one in times if one is not None and not is_past(one, now.unix)]
        return min(until)


def _last_good(head: Head | None, shown: VerifiedManifest | None, risk: Risk) -> Manifest | None:
    """What consumers go on reading while a newer version is not here: for actions that continue
    what is in use. For all others the newest counts, as the control plane means it to."""
    if head is None or shown is None or risk not in (Risk.LOW, Risk.MEDIUM):
        return None
    is_other = shown.manifest_hash != head.verified.manifest_hash
    return shown.manifest if is_other and head.state in _NOT_HERE else None


def _is_undoubted(head: Head, last_good: Manifest | None) -> bool:
    """Whether neither the head nor what is in use before it was disputed, or not listed. Of what is
    in use and not remembered as a head, nobody knows."""
    used: Head | None = head
    while last_good is not None and used is not None and used.manifest is not last_good:
        used = used.replaces
    return used is not None and not any(one.is_disputed or one.is_unlisted for one in (head, used))


def _judged(head: Head | None, last_good: Manifest | None) -> Manifest | None:
    return head.manifest if head is not None and last_good is None else last_good


_CODES: Final = {
    Cause.FORBIDDEN: PermitCode.MODE,
    Cause.LANE: PermitCode.MODE,
    Cause.EARLIER: PermitCode.MODE,
    Cause.POLICY: PermitCode.POLICY,
    Cause.AUDIT: PermitCode.AUDIT,
}
_HELP: Final = {
    PermitCode.ALLOWED: "",
    PermitCode.ALLOWED_STALE: "fabgossip status",
    PermitCode.MODE: "fabgossip status says what is missing",
    PermitCode.POLICY: "a signed degraded policy that allows it",
    PermitCode.TOO_OLD: "a newer version: fabgossip why NAMESPACE",
    PermitCode.NOT_USABLE: "fabgossip why NAMESPACE",
    PermitCode.UNKNOWN: "fabgossip artifacts lists what this node uses",
    PermitCode.AUDIT: "room on the disk of the audit log",
}
