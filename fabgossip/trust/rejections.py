"""Why bytes were refused: one closed list, shared by the gate, audit, metrics and the simulator's
coverage.

Decides: who is to blame for a refusal and whether asking again can help.
Keeps: a relayer is never blamed for what a signer did, nor for being behind.
Must not know: what the node does about it.
"""

from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Final

from fabgossip.model.artifact import VerifiedManifest
from fabgossip.model.ids import KeyId, ManifestHash


class Blame(Enum):
    """Whose fault it is."""

    NONE = 0
    PEER = 1
    SIGNER = 2


class Retry(Enum):
    """What could make the same bytes acceptable, or other bytes worth asking for."""

    NEVER = 0
    OTHER_SOURCE = 1
    AFTER_TRUST = 2
    AFTER_CLOCK = 3
    LATER = 4


class RejectionCode(StrEnum):
    """Names for ever."""

    FRAME_TOO_LARGE = "FRAME_TOO_LARGE"
    TRUNCATED = "TRUNCATED"
    MALFORMED = "MALFORMED"
    UNSUPPORTED = "UNSUPPORTED"
    NONCANONICAL = "NONCANONICAL"
    SCHEMA = "SCHEMA"
    ID_SYNTAX = "ID_SYNTAX"
    CRITICAL_UNKNOWN = "CRITICAL_UNKNOWN"
    HASH_MISMATCH = "HASH_MISMATCH"
    LENGTH_MISMATCH = "LENGTH_MISMATCH"
    TOO_SLOW = "TOO_SLOW"
    SIG_INVALID = "SIG_INVALID"
    SIG_THRESHOLD = "SIG_THRESHOLD"
    SIG_TOO_MANY = "SIG_TOO_MANY"
    TYPE_MISMATCH = "TYPE_MISMATCH"
    KEY_UNKNOWN = "KEY_UNKNOWN"
    KEY_REVOKED = "KEY_REVOKED"
    KEY_RETIRED = "KEY_RETIRED"
    KEY_NOT_FOR_TYPE = "KEY_NOT_FOR_TYPE"
    KEY_NOT_FOR_NAMESPACE = "KEY_NOT_FOR_NAMESPACE"
    CLUSTER_MISMATCH = "CLUSTER_MISMATCH"
    NAMESPACE_MISMATCH = "NAMESPACE_MISMATCH"
    SIZE_OVER_CAP = "SIZE_OVER_CAP"
    CONTENT_INVALID = "CONTENT_INVALID"
    BUNDLE_INVALID = "BUNDLE_INVALID"
    AUDIENCE_NOT_OURS = "AUDIENCE_NOT_OURS"
    EPOCH_STALE = "EPOCH_STALE"
    EPOCH_UNKNOWN = "EPOCH_UNKNOWN"
    VERSION_ROLLBACK = "VERSION_ROLLBACK"
    VERSION_GAP = "VERSION_GAP"
    BASE_MISMATCH = "BASE_MISMATCH"
    ALREADY_CURRENT = "ALREADY_CURRENT"
    EQUIVOCATION = "EQUIVOCATION"
    FUTURE_ISSUED = "FUTURE_ISSUED"
    EXPIRED = "EXPIRED"
    TRUST_EXPIRED = "TRUST_EXPIRED"
    ARTIFACT_REVOKED = "ARTIFACT_REVOKED"
    TOMBSTONED = "TOMBSTONED"
    TRUST_TOO_OLD = "TRUST_TOO_OLD"
    REVOCATION_TOO_OLD = "REVOCATION_TOO_OLD"
    TRUST_FORK = "TRUST_FORK"
    SILENT_REMOVAL = "SILENT_REMOVAL"
    AHEAD = "AHEAD"
    IDENTITY_INVALID = "IDENTITY_INVALID"
    IDENTITY_CLONED = "IDENTITY_CLONED"
    CLAIMS_INVALID = "CLAIMS_INVALID"
    GRANT_INVALID = "GRANT_INVALID"
    STORE_FULL = "STORE_FULL"
    MODE_DENIED = "MODE_DENIED"
    SHUNNED = "SHUNNED"
    DENY_INTERNAL = "DENY_INTERNAL"


_C = RejectionCode
_BEFORE_SIGNATURE: Final = frozenset(
    {_C.FRAME_TOO_LARGE, _C.TRUNCATED, _C.MALFORMED, _C.UNSUPPORTED}
)
_PEER: Final = _BEFORE_SIGNATURE | {
    _C.HASH_MISMATCH,
    _C.LENGTH_MISMATCH,
    _C.TOO_SLOW,
    _C.SIG_INVALID,
    _C.SIG_TOO_MANY,
    _C.TYPE_MISMATCH,
    _C.AUDIENCE_NOT_OURS,
    _C.IDENTITY_INVALID,
    _C.IDENTITY_CLONED,
    _C.CLAIMS_INVALID,
    _C.GRANT_INVALID,
}
_SIGNER: Final = frozenset(
    {
        _C.NONCANONICAL,
        _C.SCHEMA,
        _C.ID_SYNTAX,
        _C.CRITICAL_UNKNOWN,
        _C.CLUSTER_MISMATCH,
        _C.NAMESPACE_MISMATCH,
        _C.SIZE_OVER_CAP,
        _C.CONTENT_INVALID,
        _C.BUNDLE_INVALID,
        _C.EQUIVOCATION,
        _C.TRUST_FORK,
        _C.SILENT_REMOVAL,
    }
)
_RETRY: Final[dict[RejectionCode, Retry]] = {
    **dict.fromkeys(_BEFORE_SIGNATURE, Retry.OTHER_SOURCE),
    **dict.fromkeys(
        (
            _C.HASH_MISMATCH,
            _C.LENGTH_MISMATCH,
            _C.TOO_SLOW,
            _C.SIG_INVALID,
            _C.BASE_MISMATCH,
        ),
        Retry.OTHER_SOURCE,
    ),
    **dict.fromkeys(
        (
            _C.SIG_THRESHOLD,
            _C.KEY_UNKNOWN,
            _C.KEY_NOT_FOR_TYPE,
            _C.KEY_NOT_FOR_NAMESPACE,
            _C.EPOCH_UNKNOWN,
            _C.VERSION_GAP,
            _C.TRUST_TOO_OLD,
            _C.REVOCATION_TOO_OLD,
            _C.TRUST_EXPIRED,
            _C.SIZE_OVER_CAP,
            _C.AUDIENCE_NOT_OURS,
            _C.AHEAD,
        ),
        Retry.AFTER_TRUST,
    ),
    **dict.fromkeys((_C.STORE_FULL, _C.MODE_DENIED, _C.SHUNNED), Retry.LATER),
    _C.FUTURE_ISSUED: Retry.AFTER_CLOCK,
}


HELD_BACK: Final = frozenset(
    {
        _C.KEY_UNKNOWN,
        _C.EPOCH_UNKNOWN,
        _C.VERSION_GAP,
        _C.TRUST_TOO_OLD,
        _C.REVOCATION_TOO_OLD,
        _C.AHEAD,
        _C.MODE_DENIED,
    }
)
"""What may be good once this node knows more: kept for a while, unserved, and judged again."""


_CURABLE: Final = frozenset(
    {
        _C.KEY_REVOKED,
        _C.KEY_RETIRED,
        _C.ARTIFACT_REVOKED,
        _C.TOMBSTONED,
        _C.EXPIRED,
    }
)
"""What an epoch, a list, a bundle or a clock set right may make good again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A refusal as a value: the code, words for the node's own operator, and what was refused as
    far as known.
    """

    code: RejectionCode
    detail: str
    namespace: str | None = None
    manifest_hash: ManifestHash | None = None
    was_signed: bool = False
    """Whether a trusted signature was found good before the refusal."""
    signed_by: tuple[KeyId, ...] = ()
    """Keys whose signatures counted, where the refusal came after they were counted."""
    in_good_faith: bool = False
    """Of claims and grants: the control plane may have given them to whoever shows them, too early,
    too late, or knowing more than this node."""
    verified: VerifiedManifest | None = field(default=None, repr=False)
    """Of ALREADY_CURRENT: what is held, in this envelope; of EQUIVOCATION and TRUST_FORK: the other
    statement, as well signed as the first; of
    EPOCH_STALE, AUDIENCE_NOT_OURS and EXPIRED: what was good once."""

    @property
    def blame(self) -> Blame:
        """Whose fault it is; malformed bytes are the peer's until somebody trusted signed them."""
        if self.in_good_faith:
            return Blame.NONE
        if self.code in _BEFORE_SIGNATURE:
            return Blame.SIGNER if self.was_signed else Blame.PEER
        if self.code in _PEER:
            return Blame.PEER
        if self.code in _SIGNER:
            return Blame.SIGNER if self.was_signed else Blame.PEER
        return Blame.NONE

    @property
    def retry(self) -> Retry:
        """What could help."""
        if self.was_signed and self.code in _BEFORE_SIGNATURE:
            return Retry.NEVER  # the same signed bytes from anybody
        return _RETRY.get(self.code, Retry.NEVER)

    @property
    def is_final(self) -> bool:
        """Whether exactly these bytes will be refused whatever this node comes to know."""
        return self.retry is Retry.NEVER and self.code not in _CURABLE

    @property
    def is_known_already(self) -> bool:
        """Not a refusal in spirit: exactly this statement is current here."""
        return self.code is RejectionCode.ALREADY_CURRENT
