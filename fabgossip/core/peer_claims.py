"""What each peer showed of its claims, and what that entitles it to.

Decides: when claims shown on a link come into force, and what follows for the link.
Keeps: claims of a version never seen are new authority: they need a mode that allows that, and
count once their version is durable; without claims in force a peer keeps the trust lane and nothing
more.
Must not know: how a link opens or ends.
"""

from typing import Final

from fabgossip.core.comparing import Comparing
from fabgossip.core.durability import Durability
from fabgossip.core.effects import Fact, Persist, Record, SetTimer
from fabgossip.core.events import LifeDue, LinkId, Token
from fabgossip.core.machines import Machines
from fabgossip.core.sessions import Session
from fabgossip.model.authority import COMMITMENTS_MAX, VerifiedClaims
from fabgossip.model.messages import Claims
from fabgossip.model.moment import Now, instant_of, later
from fabgossip.model.persistence import PutClaimsSeen
from fabgossip.trust.rejections import Blame, Rejection, RejectionCode

_OF_AN_EPOCH: Final = (RejectionCode.EPOCH_STALE, RejectionCode.EPOCH_UNKNOWN)


class PeerClaims:
    """Judges claims and openings as peers show them."""

    __slots__ = ("_comparing", "_durability", "_m", "_taking_up")

    def __init__(self, machines: Machines, durability: Durability, comparing: Comparing) -> None:
        self._m = machines
        self._durability = durability
        self._comparing = comparing
        self._taking_up: dict[Token, tuple[LinkId, VerifiedClaims]] = {}
        """Claims that count once their version is durable."""

    def waits_for(self, token: Token) -> bool:
        """Whether claims wait for this to be durable."""
        return token in self._taking_up

    def on_persisted(self, token: Token, now: Now, *, ok: bool) -> None:
        """A version of claims is durable, or could not be made so."""
        link, claims = self._taking_up.pop(token)
        self._on_claims_durable(link, claims, now, ok=ok)

    def on_claims(self, session: Session, message: Claims, now: Now) -> None:
        """Further openings widen what the peer may know; a forged one leaves it as it was."""
        if message.claims:
            self._on_newer_claims(session, message, now)
            return
        shown = {opening.salt for opening in session.openings}
        fresh = tuple(one for one in message.openings if one.salt not in shown)
        if not fresh or len(shown) + len(fresh) > COMMITMENTS_MAX:
            self._m.policing.on_failed(session, now.instant)
            return
        openings = session.openings + fresh
        claims = self._m.beliefs.claims_of(session.claims_envelope, openings, session.node_id, now)
        if isinstance(claims, Rejection):
            if not session.is_refused:
                self._refuse_claims(session, claims)
                self._m.policing.on_failed(session, now.instant)
            return
        session.openings = openings
        self.judge(session, now)
        if session.claims is not None:
            self._show_all(session, now)

    def _on_newer_claims(self, session: Session, message: Claims, now: Now) -> None:
        """The peer's claims were issued anew: what it may know rests on these from now on. Claims
        of an epoch we do not know yet are judged again once we do."""
        session.claims_envelope, session.openings = message.claims, message.openings
        refused = self.judge(session, now)
        if refused is not None and refused.blame is Blame.PEER:
            self._m.policing.on_failed(session, now.instant)
        if session.claims is not None and not session.is_ended:
            self._show_all(session, now)

    def judge(self, session: Session, now: Now) -> Rejection | None:
        """Without good claims a peer keeps the trust lane and nothing more; gives why they are not.
        Claims of a version never seen are new authority: they need a mode that allows that, and
        count once durable."""
        before, was_refused = session.claims, session.is_refused
        claims = self._m.beliefs.claims_of(
            session.claims_envelope, session.openings, session.node_id, now
        )
        session.claims = session.offered = None
        session.is_refused = isinstance(claims, Rejection)
        if isinstance(claims, Rejection):
            if before is not None or not was_refused:
                self._refuse_claims(session, claims)
        elif self._m.beliefs.claims_seen.is_known(claims.claims):
            session.claims = claims
        else:
            session.offered = claims
            if self._m.beliefs.may_accept(claims.claims.issued_at, now).allowed:
                self._take_up(session, claims)
        self._m.recovery.on_claims(session)
        if session.claims is not None and before != session.claims:
            ends = instant_of(session.claims.claims.expires_at, now)
            if ends < later(session.since, session.life):
                self._m.out.append(SetTimer(timer=LifeDue(link=session.link), at=ends))
        if before is not None and _is_narrowed(before, claims):
            self._m.disclosure.narrowed(session)
        if before is not None and session.claims is None:
            # What the peer was told rested on claims that count no more.
            self._m.forget_told(session.link)
        return claims if isinstance(claims, Rejection) else None

    def _refuse_claims(self, session: Session, refused: Rejection) -> None:
        fields = (
            ("peer", session.node_id),
            ("code", refused.code.value),
            ("detail", refused.detail),
        )
        self._m.out.append(Record(fact=Fact.CLAIMS_REFUSED, fields=fields))

    def _take_up(self, session: Session, claims: VerifiedClaims) -> None:
        if any(link == session.link for link, _ in self._taking_up.values()):
            return
        token = self._durability.next_token()
        self._taking_up[token] = (session.link, claims)
        put = PutClaimsSeen(
            node_id=session.node_id,
            epoch=claims.claims.authority_epoch,
            version=claims.claims.claims_version,
        )
        self._m.out.append(Persist(token=token, changes=(put,)))

    def _on_claims_durable(
        self, link: LinkId, claims: VerifiedClaims, now: Now, *, ok: bool
    ) -> None:
        session = self._m.sessions.find(link)
        if ok:
            self._m.beliefs.claims_seen.on_taken_up(claims.claims)
        if not ok or session is None or session.offered is None:
            return
        self.judge(session, now)
        if session.claims is None or session.is_ended:
            return
        fields = (("peer", session.node_id), ("version", claims.claims.claims_version))
        self._m.out.append(Record(fact=Fact.CLAIMS_ACCEPTED, fields=fields))
        if session.is_open:
            self._show_all(session, now)

    def _show_all(self, session: Session, now: Now) -> None:
        """What the peer may know rests on other claims than before."""
        self._m.disclosure.show_claims(session, now)
        self._m.disclosure.whole_holdings(session, now)
        self._comparing.look(session, now)
        self._m.fetching.on_opened(session.node_id, now.instant)

    def judge_again(self, session: Session, now: Now) -> None:
        """What we believe changed; a peer that comes to be known by it is shown what it missed."""
        had = session.claims
        self.judge(session, now)
        if had is None and session.claims is not None and session.is_open:
            self._show_all(session, now)


def _is_narrowed(before: VerifiedClaims, after: VerifiedClaims | Rejection) -> bool:
    """Whether a peer is entitled to less than before. A change of epoch is no such loss: it lasts
    until the peer's claims are issued anew, over this very link."""
    if isinstance(after, Rejection):
        return after.code not in _OF_AN_EPOCH
    had, has = before.entitlements, after.entitlements
    return not (had.scope_ids <= has.scope_ids and set(had.assignments) <= set(has.assignments))
