"""Which claims of its own a node goes by, and shows.

Decides: of those it was enrolled with and those of its own snapshot, which are in force.
Keeps: more authority needs a mode that allows it, also after a restart; a renewal needs nobody's
leave. Without good claims a node is entitled to nothing but the trust lane.
Must not know: whom they are shown to.
"""

from dataclasses import dataclass

from fabgossip.core.claims_seen import order_of
from fabgossip.core.setup import OwnIdentity
from fabgossip.model.artifact import NO_ORDER, Order
from fabgossip.model.authority import Opening, VerifiedClaims
from fabgossip.model.mode import Action
from fabgossip.model.moment import Now
from fabgossip.model.scope import Entitlements
from fabgossip.trust.facts import TrustFacts
from fabgossip.trust.identity import ClaimsTrust, committed, verify_claims
from fabgossip.trust.modes import Circumstances, may
from fabgossip.trust.rejections import Rejection
from fabgossip.trust.signatures import Verifier

_NOTHING = Entitlements(frozenset())


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Claims that verify, and the openings that fit them."""

    envelope: bytes
    verified: VerifiedClaims
    openings: tuple[Opening, ...]


class OwnClaims:
    """The claims of this node."""

    __slots__ = (
        "_kept",
        "_own",
        "_snapshot_claims",
        "_verifier",
        "_version",
        "envelope",
        "generation",
        "openings",
        "roles",
    )

    def __init__(self, own: OwnIdentity, verifier: Verifier) -> None:
        self._own = own
        self._verifier = verifier
        self._kept = NO_ORDER
        """The newest order the disk was told of."""
        self._version = NO_ORDER
        self._snapshot_claims = b""
        self.envelope = own.claims
        """Of the claims in force."""
        self.openings: tuple[Opening, ...] = ()
        """Those that fit them."""
        self.roles: tuple[str, ...] = ()
        self.generation = 0
        """Starts they demand of our disk."""

    def on_started(self, kept: Order) -> None:
        """The newest claims of its own snapshot that a process before this one took up."""
        self._kept = self._version = kept

    def on_papers(self, own: OwnIdentity) -> None:
        """The node was enrolled anew: other claims may be there."""
        self._own = own

    def next_kept(self) -> Order | None:
        """What the disk must know of claims taken up since, if anything; once. Those it was
        enrolled with a node finds again without."""
        is_enrolled = self.envelope == self._own.claims
        if is_enrolled or self._version <= self._kept:
            return None
        self._kept = self._version
        return self._kept

    def on_snapshot(self, envelope: bytes) -> None:
        """The node's own snapshot came with these."""
        self._snapshot_claims = envelope

    def judge(self, facts: TrustFacts, now: Now) -> tuple[Entitlements, Rejection | None]:
        """What we are entitled to by the newest that verify and that the mode lets us take up;
        where that is nothing, why one of them is refused."""
        best, refused = self._best(facts, now)
        if best is None:
            return _NOTHING, refused
        claims = best.verified.claims
        self._version = order_of(claims)
        self.envelope, self.openings, self.roles = best.envelope, best.openings, claims.roles
        self.generation = claims.state_generation
        return best.verified.entitlements, None

    def has_some(self, facts: TrustFacts, now: Now) -> bool:
        """Whether any would be in force under these facts."""
        best, _ = self._best(facts, now)
        return best is not None and bool(best.verified.entitlements.scope_ids)

    def _best(self, facts: TrustFacts, now: Now) -> tuple[_Candidate | None, Rejection | None]:
        refused: Rejection | None = None
        best: _Candidate | None = None
        for raw in filter(None, (self._own.claims, self._snapshot_claims)):
            found = self._candidate(raw, facts, now)
            if isinstance(found, Rejection):
                refused = found
            elif self._may_take_up(found, facts, now) and (
                best is None or _age(found) > _age(best)
            ):
                best = found
        return best, refused

    def _candidate(self, raw: bytes, facts: TrustFacts, now: Now) -> _Candidate | Rejection:
        trust = ClaimsTrust(facts.bundle, facts.revoked, self._verifier)
        bare = verify_claims(raw, (), self._own.node_id, trust, now)
        if isinstance(bare, Rejection):
            return bare
        openings = committed(bare.claims, self._own.openings)
        full = verify_claims(raw, openings, self._own.node_id, trust, now)
        return full if isinstance(full, Rejection) else _Candidate(raw, full, openings)

    def _may_take_up(self, found: _Candidate, facts: TrustFacts, now: Now) -> bool:
        """A renewal needs nobody's leave, nor does what the node was enrolled with as long as it
        knew nothing newer; more authority does."""
        claims = found.verified.claims
        order = order_of(claims)
        is_enrolled = self._version == NO_ORDER and found.envelope == self._own.claims
        if is_enrolled or order == self._version:
            return True
        if order < self._version:
            return False
        about = Circumstances(issued_at=claims.issued_at)
        return may(Action.ACCEPT_AUTHORITY, facts.freshness, now.unix, about).allowed


def _age(found: _Candidate) -> tuple[object, ...]:
    claims = found.verified.claims
    return order_of(claims), claims.issued_at
