"""What this node believes: the trust facts, and how they change.

Decides: nothing the trust gate does not decide; applies its verdicts to the facts, which are
replaced whole.
Keeps: the stored trust chain is verified again from the pinned bundle before anything else is
judged by it.
Must not know: links, contents, disks.
"""

from collections.abc import Callable
from dataclasses import replace

from fabgossip.core.mode import Freshness, Mode, mode_of
from fabgossip.core.setup import OwnIdentity
from fabgossip.model.artifact import NO_ORDER, VerifiedManifest
from fabgossip.model.authority import (
    Opening,
    RevocationList,
    RevokedKind,
    TrustBundle,
    VerifiedClaims,
)
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Now, UnixTime
from fabgossip.model.persistence import StoredTrust
from fabgossip.model.scope import Entitlements, Namespace
from fabgossip.trust.gate import ANYTHING, Asked, Line, ReadContent, TrustFacts, TrustGate
from fabgossip.trust.identity import ClaimsTrust, verify_claims
from fabgossip.trust.rejections import Rejection
from fabgossip.trust.revocation import NOTHING_REVOKED, Revoked, revoked_after
from fabgossip.trust.signatures import Verifier


class Beliefs:
    """The trust facts of a node."""

    __slots__ = (
        "_bundle_refresh_by",
        "_gate",
        "_newest_issued_at",
        "_own",
        "_revocations_refresh_by",
        "_verifier",
        "facts",
    )

    def __init__(self, own: OwnIdentity, verifier: Verifier) -> None:
        self._own = own
        self._verifier = verifier
        self._gate = TrustGate(verifier)
        pinned = own.pinned
        self._bundle_refresh_by = pinned.manifest.refresh_by
        self._newest_issued_at = pinned.manifest.issued_at
        self._revocations_refresh_by: UnixTime | None = None
        self.facts = TrustFacts(
            bundle=pinned.bundle,
            revoked=NOTHING_REVOKED,
            own=Entitlements(frozenset()),
            own_node_id=own.node_id,
            bundle_expires_at=pinned.manifest.expires_at,
        )

    def on_started(
        self, chain: tuple[StoredTrust, ...], revoked: tuple[tuple[int, bytes], ...], now: Now
    ) -> Rejection | None:
        """Verify the stored chain again, step by step; the first step that fails ends it."""
        values = frozenset((RevokedKind(kind), value) for kind, value in revoked)
        self.facts = replace(self.facts, revoked=Revoked(0, values))
        broken = self._recall_chain(chain, now)
        refused = self.on_own_claims(now)
        return broken or refused

    def _recall_chain(self, chain: tuple[StoredTrust, ...], now: Now) -> Rejection | None:
        for step in chain:
            if step.version <= self.facts.bundle.bundle_version:
                continue
            verified = self._gate.admit(step.envelope, ANYTHING, self.facts, _no_line, now.unix)
            if isinstance(verified, Rejection):
                return verified
            value = self._gate.read(verified, step.content, self.facts)
            if isinstance(value, Rejection):
                return value
            assert isinstance(value, TrustBundle)
            self.on_bundle(verified, value, now)
        return None

    def on_own_claims(self, now: Now) -> Rejection | None:
        """Judge our own claims under today's bundle; without good ones we are entitled to nothing
        but the trust lane."""
        claims = self.claims_of(self._own.claims, self._own.openings, self._own.node_id, now)
        refused = claims if isinstance(claims, Rejection) else None
        held = Entitlements(frozenset()) if isinstance(claims, Rejection) else claims.entitlements
        self.facts = replace(self.facts, own=held)
        return refused

    def on_bundle(self, verified: VerifiedManifest, bundle: TrustBundle, now: Now) -> bool:
        """A bundle whose content was found good is in force; whether it is another than before."""
        self._bundle_refresh_by = max(self._bundle_refresh_by, verified.manifest.refresh_by)
        expires_at = max(self.facts.bundle_expires_at, verified.manifest.expires_at)
        if bundle == self.facts.bundle:
            self.facts = replace(self.facts, bundle_expires_at=expires_at)
            return False
        self.facts = replace(
            self.facts, bundle=bundle, bundle_expires_at=verified.manifest.expires_at
        )
        self._bundle_refresh_by = verified.manifest.refresh_by
        self.on_own_claims(now)
        return True

    def on_revocations(self, verified: VerifiedManifest, listed: RevocationList) -> bool:
        """A revocation list is in force; whether it took anything away."""
        before = self.facts.revoked
        after = revoked_after(before, verified.manifest.config_version, listed)
        self.facts = replace(self.facts, revoked=after)
        self._revocations_refresh_by = verified.manifest.refresh_by
        return after.values != before.values

    def on_accepted(self, verified: VerifiedManifest) -> None:
        """Something newly signed arrived."""
        self._newest_issued_at = max(self._newest_issued_at, verified.manifest.issued_at)

    def admit(
        self, raw: bytes, asked: Asked, line_of: Callable[[Namespace], Line], now: Now
    ) -> VerifiedManifest | Rejection:
        """See `TrustGate.admit`."""
        return self._gate.admit(raw, asked, self.facts, line_of, now.unix)

    def recall(self, raw: bytes, now: Now) -> VerifiedManifest | Rejection:
        """See `TrustGate.recall`."""
        return self._gate.recall(raw, self.facts, now.unix)

    def read(self, verified: VerifiedManifest, content: bytes) -> ReadContent | Rejection:
        """See `TrustGate.read`."""
        return self._gate.read(verified, content, self.facts)

    def claims_of(
        self, raw: bytes, openings: tuple[Opening, ...], node_id: NodeId, now: Now
    ) -> VerifiedClaims | Rejection:
        """What a node is entitled to by claims and openings, under today's facts."""
        trust = ClaimsTrust(self.facts.bundle, self.facts.revoked, self._verifier)
        return verify_claims(raw, openings, node_id, trust, now)

    @property
    def own_openings(self) -> tuple[Opening, ...]:
        """All openings of our own claims."""
        return self._own.openings

    @property
    def own_claims(self) -> bytes:
        """The envelope of our own claims."""
        return self._own.claims

    def mode(self, now: Now) -> Mode:
        """How fresh all this is."""
        return mode_of(self.freshness, now.unix)

    @property
    def freshness(self) -> Freshness:
        """The signed times the mode rests on."""
        return Freshness(
            newest_issued_at=self._newest_issued_at,
            bundle_refresh_by=self._bundle_refresh_by,
            revocations_refresh_by=self._revocations_refresh_by,
        )


def _no_line(_: Namespace) -> Line:
    return Line(floor=NO_ORDER, manifest_hash=None, withdrawn=NO_ORDER)
