"""What of a statement lasts under today's trust.

Decides: nothing the trust gate does not decide.
Keeps: only a revocation takes away; the end of an epoch, or of our own claims, leaves what was good
in place.
Must not know: heads, contents.
"""

from fabgossip.core.beliefs import Beliefs
from fabgossip.model.artifact import Manifest, VerifiedManifest
from fabgossip.model.moment import Now
from fabgossip.model.scope import matches
from fabgossip.trust.rejections import Rejection, RejectionCode


def is_good(beliefs: Beliefs, verified: VerifiedManifest, now: Now) -> bool:
    """Whether today's trust admits it."""
    return not isinstance(beliefs.recall(verified.envelope, now), Rejection)


def has_lost_trust(beliefs: Beliefs, verified: VerifiedManifest, now: Now) -> bool:
    """Whether it contradicts nobody any more."""
    return standing(beliefs, verified.envelope, now) is None


def standing(beliefs: Beliefs, envelope: bytes, now: Now) -> VerifiedManifest | None:
    """A statement that still contradicts others of its order: it may have expired, or be of an
    older epoch; what was revoked contradicts nobody."""
    verdict = beliefs.recall(envelope, now)
    if not isinstance(verdict, Rejection):
        return verdict
    is_late = verdict.code is RejectionCode.EXPIRED
    return verdict.verified if is_late or is_last_good(beliefs, verdict) else None


def is_last_good(beliefs: Beliefs, verdict: Rejection) -> bool:
    """A change of epoch, or of our claims, that has not reached us whole takes nothing away: it
    is no revocation. Consumers keep the last good one; nobody is served it."""
    if verdict.verified is None:
        return False
    if verdict.code is RejectionCode.EPOCH_STALE:
        return True
    return is_for_lack_of_claims(beliefs, verdict)


def is_for(manifest: Manifest, beliefs: Beliefs) -> bool:
    """Whether it is for this node to apply."""
    facts = beliefs.facts
    return manifest.namespace.node_id == facts.own_node_id or matches(manifest.audience, facts.own)


def is_for_lack_of_claims(beliefs: Beliefs, verdict: Rejection) -> bool:
    """Whether it may be for us: without claims of our own nobody can know what is."""
    has_claims = bool(beliefs.facts.own.scope_ids)
    return verdict.code is RejectionCode.AUDIENCE_NOT_OURS and not has_claims
