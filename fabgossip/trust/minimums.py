"""How new a node's trust must be before it may go by a statement.

Decides: whether the bundle and the list this node goes by are as new as a statement demands.
Keeps: one rule for manifests, claims and grants.
Must not know: what is refused for it.
"""

from dataclasses import dataclass
from typing import TypeAlias

from fabgossip.model.artifact import Manifest
from fabgossip.model.authority import FetchGrant, NodeClaims, TrustBundle
from fabgossip.trust.rejections import RejectionCode
from fabgossip.trust.revocation import Revoked

Demanding: TypeAlias = Manifest | NodeClaims | FetchGrant


@dataclass(frozen=True, slots=True)
class Lack:
    """What this node lacks to go by a statement."""

    code: RejectionCode
    words: str


def lacking(demanding: Demanding, bundle: TrustBundle, revoked: Revoked) -> Lack | None:
    """What this node lacks to go by a statement, None if nothing."""
    if demanding.min_trust_version > bundle.bundle_version:
        return Lack(RejectionCode.TRUST_TOO_OLD, f"trust bundle {demanding.min_trust_version}")
    if demanding.min_revocation_version > revoked.version:
        return Lack(
            RejectionCode.REVOCATION_TOO_OLD,
            f"revocation list {demanding.min_revocation_version}",
        )
    return None
