"""How fresh a node's trust is, and what may be asked of it because of that: words only."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fabgossip.model.moment import UnixTime
from fabgossip.model.words import Word


class Mode(Word):
    """Conditions a node can be in, in order of gravity; several may hold at once."""

    FRESH = "fresh"
    PARTITIONED = "partitioned"
    STALE = "stale"
    CLOCK_SUSPECT = "clock_suspect"
    AMNESIA = "amnesia"
    REVOKED = "revoked"


class Action(Word):
    """What a node asks itself before it acts."""

    RESTRICT = "restrict"
    SERVE_TRUST_LANE = "serve_trust_lane"
    SERVE_CURRENT = "serve_current"
    SERVE_STALE = "serve_stale"
    ACCEPT_CONTENT = "accept_content"
    APPLY = "apply"
    CONTINUE_LAST_GOOD = "continue_last_good"
    ACCEPT_AUTHORITY = "accept_authority"
    HIGH_RISK = "high_risk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """What the conditions rest on: signed times, our own clock and disk; never what peers say."""

    newest_issued_at: UnixTime
    bundle_refresh_by: UnixTime
    revocations_refresh_by: UnixTime | None
    """None: no list of this epoch was ever accepted."""
    snapshot_refresh_by: UnixTime | None
    """Of the node's own snapshot; None: there is none."""
    is_disputed: bool = False
    """Whether two signed bundles or lists of one version contradict each other."""
    has_full_revocations: bool = False
    """Whether entries of lists found no room: what lost its trust is not known whole."""
    is_clock_suspect: bool = False
    has_amnesia: bool = False
    is_revoked: bool = False
    """Whether the node itself, its certificate or the CA of that lost its trust."""


class Cause(Word):
    """Why something may be done, or not, in words that follow a condition."""

    ALLOWED = "allows it"
    FORBIDDEN = "forbids it"
    POLICY = "the signed degraded policy does not allow it"
    LANE = "trust lane only"
    EARLIER = "only what was issued before the condition began"
    AUDIT = "the audit log is not intact"
    """The condition has nothing against it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """Whether something may be done, under which condition, and why."""

    cause: Cause
    mode: Mode
    """The gravest condition that forbids it; the gravest that holds where it is allowed."""

    @property
    def allowed(self) -> bool:
        """Whether it may be done."""
        return self.cause is Cause.ALLOWED

    @property
    def reason(self) -> str:
        """For people."""
        match self.cause:
            case Cause.ALLOWED | Cause.FORBIDDEN:
                return f"{self.mode.value} {self.cause.value}"
            case Cause.POLICY | Cause.LANE | Cause.EARLIER:
                return f"{self.mode.value}: {self.cause.value}"
            case Cause.AUDIT:
                return self.cause.value


class Risk(StrEnum):
    """How much harm a consumer's action does if trust is not what it seems."""

    LOW = "low"
    MEDIUM = "medium"
    AUTHORITY = "authority"
    HIGH = "high"


RISKS: Final[dict[str, Risk]] = {
    "read-config": Risk.LOW,
    "keep-running": Risk.LOW,
    "route": Risk.MEDIUM,
    "start-service": Risk.MEDIUM,
    "admit-peer": Risk.AUTHORITY,
    "use-grant": Risk.AUTHORITY,
    "activate-update": Risk.HIGH,
    "widen-scope": Risk.HIGH,
    "change-role": Risk.HIGH,
}
"""The actions consumers are told of; for ever, as scripts name them."""


def risk_of(action: str) -> Risk:
    """Of a consumer's action: what nobody knows may do any harm."""
    return RISKS.get(action, Risk.HIGH)


class PermitCode(StrEnum):
    """Why a consumer's action is allowed or not; names for ever."""

    ALLOWED = "allowed"
    ALLOWED_STALE = "allowed_stale"
    """Allowed by the signed degraded policy, on configuration past its refresh time or in a
    degraded mode: flagged."""
    MODE = "mode"
    POLICY = "policy"
    TOO_OLD = "too_old"
    NOT_USABLE = "not_usable"
    UNKNOWN = "unknown"
    """Absent, forbidden and revoked alike."""
    AUDIT = "audit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """The answer to `fabgossip gate`: everything but `allowed` is for people."""

    action: str
    risk: Risk
    allowed: bool
    mode: Mode
    code: PermitCode
    reason: str
    help: str
    trust_version: int
    revocation_version: int
    valid_until: UnixTime
