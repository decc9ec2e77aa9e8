"""What open links tell each other of artifacts: announcements, grafts, holdings.

Decides: nothing its machines do not decide.
Keeps: of an audience that is not shared nothing is heard and nothing answered, as if it did not
exist.
Must not know: how a link opens, how content moves.
"""

from typing import Final

from fabgossip.core.effects import SetTimer
from fabgossip.core.events import GraftDue, LinkId
from fabgossip.core.intake import Intake
from fabgossip.core.lasting import is_for_lack_of_claims
from fabgossip.core.machines import Machines
from fabgossip.core.news import GRAFT_MIN
from fabgossip.core.sessions import Session
from fabgossip.model.messages import (
    Announce,
    Announced,
    Graft,
    Have,
    Heads,
    Holdings,
    Manifests,
    Prune,
    TrafficClass,
)
from fabgossip.model.moment import Duration, Now, is_due, later
from fabgossip.model.scope import Audience, may_share
from fabgossip.trust.authorization import may_disclose
from fabgossip.trust.lane import claims_trust
from fabgossip.trust.rejections import Blame, Rejection, RejectionCode, Retry

ASK_TRUST_EVERY: Final = Duration(1_000)
"""What newer trust could cure asks a link for it no more often (*start*)."""


class Exchange:
    """Hears what peers have, says what we lack."""

    __slots__ = ("_intake", "_m")

    def __init__(self, machines: Machines, intake: Intake) -> None:
        self._m = machines
        self._intake = intake

    def on_announce(self, session: Session, message: Announce, now: Now) -> None:
        """Artifacts a peer heard of or made."""
        for entry in message.entries:
            self._on_announced(session, entry, now)
        self._graft(session, now)

    def on_heads(self, session: Session, message: Heads, now: Now) -> None:
        """The newest of what was asked for by namespace."""
        for envelope in message.envelopes:
            self._on_envelope(session, envelope, 0, now)

    def on_manifests(self, session: Session, message: Manifests, now: Now) -> None:
        """What a comparison of sets showed that we lack."""
        for envelope in message.envelopes:
            self._on_envelope(session, envelope, 0, now, is_late=True)
            self._on_told(session, envelope)

    def on_graft(self, session: Session, message: Graft, now: Now) -> None:
        """A peer lacks what our list names. While we know nothing of our own scopes, trust may be
        handed out all the same."""
        own = self._m.beliefs.facts.own
        is_known = may_disclose(session.claims, message.audience)
        if is_known and (may_share(message.audience, own) or not own.scope_ids):
            self._m.telling.trees.on_grafted(message.audience, session.link)
            self._m.disclosure.manifests(session, message.prefixes, now)
        elif session.claims is not None:
            # Without claims it may just be early.
            self._m.policing.on_probe(session, now.instant)

    def on_prune(self, session: Session, message: Prune) -> None:
        """What we announce in an audience reaches the peer from elsewhere."""
        self._m.telling.trees.on_pruned(message.audience, session.link)

    def on_have(self, session: Session, message: Have, now: Now) -> None:
        """A list of an audience we may not know gets no answer, as if it did not exist; what who
        is not known well enough yet told is found once it is."""
        if not self._is_known_well(session):
            return
        if not may_share(message.audience, self._m.beliefs.facts.own) or not may_disclose(
            session.claims, message.audience
        ):
            self._m.policing.on_probe(session, now.instant)
            return
        for prefix in message.prefixes:
            self._m.telling.on_peer_has(session.link, prefix)
        if message.is_late:
            lacking = self._lacking(message.audience, message.prefixes)
            self._m.dissemination.on_listed(session.link, message.audience, lacking, now.instant)
            self._graft(session, now)
        else:
            self._on_news(session, message, now)

    def _on_news(self, session: Session, message: Have, now: Now) -> None:
        """The tree is given a moment to bring it; who would have brought it sooner joins it."""
        for prefix in message.prefixes:
            link = self._m.telling.hastening.on_told(
                message.audience, prefix, session.link, now.instant
            )
            self._hasten(message.audience, link)
        unseen = self._m.dissemination.unseen(
            message.audience, self._lacking(message.audience, message.prefixes)
        )
        if not unseen:
            return
        wait = self._graft_wait(session)
        self._m.news.on_told(session.link, message.audience, unseen, wait, now.instant)
        self._look_again(now)

    def _lacking(self, audience: Audience, prefixes: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Those that stand for nothing known here in an audience. What was seen is remembered for
        all audiences together, and how much others hear of must not show in what is asked of this
        peer."""
        found = {one: self._m.catalog.by_prefix(one) for one in prefixes}
        return tuple(
            one for one, row in found.items() if row is None or row[1].manifest.audience != audience
        )

    def _hasten(self, audience: Audience, link: LinkId | None) -> None:
        session = None if link is None else self._m.sessions.find(link)
        if session is not None:
            # This end joins once the link has proved to be faster: what is on its way out now
            # would come back to who told of it, and have the link pruned.
            self._send_graft(session, audience, ())

    def _graft_wait(self, session: Session) -> Duration:
        rtt = self._m.neighbors.liveness.slow_rtt_ms(session.link) or 0
        return Duration(max(GRAFT_MIN, 2 * rtt))

    def _look_again(self, now: Now) -> None:
        due = self._m.news.next_due(now.instant)
        if due is not None:
            self._m.out.append(SetTimer(timer=GraftDue(), at=due))

    def on_graft_due(self, now: Now) -> None:
        """What the tree did not bring is asked of who told of it, which joins the tree."""
        for link, audience, prefixes in self._m.news.next_grafts(now.instant):
            session = self._m.sessions.find(link)
            missing = self._m.dissemination.unseen(audience, self._lacking(audience, prefixes))
            if session is None or not missing:
                continue
            self._m.telling.trees.on_grafted(audience, link)
            self._m.dissemination.on_news(link, audience, missing, now.instant)
            self._graft(session, now)
        self._look_again(now)

    def _send_graft(
        self, session: Session, audience: Audience, prefixes: tuple[bytes, ...]
    ) -> None:
        graft = Graft(audience=audience, prefixes=prefixes)
        self._m.policing.on_asked(session.link, len(prefixes))
        self._m.disclosure.send(session.link, graft, TrafficClass.SNAPSHOT, audience=audience)

    def _graft(self, session: Session, now: Now) -> None:
        """Ask for what the peer has and we lack, as much at once as it can answer."""
        dissemination = self._m.dissemination
        while (found := dissemination.next_graft(session.link, now.instant)) is not None:
            self._send_graft(session, *found)

    def on_holdings(self, session: Session, message: Holdings, now: Now) -> None:
        """What a peer says it holds, of audiences both may know. It says all of it only once, so
        what came too early to be judged waits."""
        if not self._is_known_well(session):
            session.on_early_holdings(message)
            return
        self._take_early_holdings(session, now)
        self._take_holdings(session, message, now)

    def _take_early_holdings(self, session: Session, now: Now) -> None:
        early, session.early_holdings = session.early_holdings, []
        for message in early:
            self._take_holdings(session, message, now)

    def _take_holdings(self, session: Session, message: Holdings, now: Now) -> None:
        own = self._m.beliefs.facts.own
        allowed = tuple(
            entry.audience
            for entry in message.entries
            if may_share(entry.audience, own) and may_disclose(session.claims, entry.audience)
        )
        for prefix in self._m.holdings.on_holdings(session.link, message, allowed):
            found = self._m.catalog.by_prefix(prefix)
            if found is not None:
                self._m.fetching.on_advertised(session.node_id, found[1], now.instant)

    def _is_known_well(self, session: Session) -> bool:
        """Whether claims stand on both sides; what is said before is lost, and found later."""
        if session.claims is not None and self._m.beliefs.facts.own.scope_ids:
            return True
        session.is_behind = True
        return False

    def on_refresh(self, now: Now) -> None:
        """Trust at every turn, and of the rest what is near its refresh time and the peer may
        know."""
        m = self._m
        for one in m.sessions.open_sessions():
            self._graft(one, now)
            if one.early_holdings and self._is_known_well(one):
                self._take_early_holdings(one, now)
        link = m.refresh.next_link(tuple(one.link for one in m.sessions.open_sessions()))
        session = None if link is None else m.sessions.find(link)
        if session is None:
            return
        lane = m.beliefs.lane_namespaces()
        due = [
            head.manifest.namespace.text
            for head in m.catalog.heads()
            if m.refresh.is_due(head.manifest, now.unix)
            and head.manifest.namespace.text not in lane
            and m.disclosure.may_know(session, head.verified, now)
        ]
        asked = m.refresh.next_names(due, session.asked_after)
        session.asked_after = asked[-1] if asked else ""
        m.disclosure.ask_heads(session, (*lane, *asked))

    def _on_announced(self, session: Session, entry: Announced, now: Now) -> None:
        prefix = self._m.dissemination.seen_prefix(entry.envelope)
        self._on_envelope(session, entry.envelope, entry.hops, now, entry.content)
        self._on_told(session, entry.envelope)
        if not entry.hops:
            return  # what was asked for, or told to this link alone, came along no tree
        if prefix is not None:
            self._on_duplicate(session, prefix, now)
        else:
            self._on_brought(session, entry, now)

    def _on_brought(self, session: Session, entry: Announced, now: Now) -> None:
        prefix = self._m.dissemination.seen_prefix(entry.envelope)
        found = None if prefix is None else self._m.catalog.by_prefix(prefix)
        if prefix is not None and found is not None:
            audience = found[1].manifest.audience
            hastening = self._m.telling.hastening
            if hastening.has_proved(audience, session.link):
                self._m.telling.trees.on_grafted(audience, session.link)
            self._hasten(audience, hastening.on_brought(audience, prefix, now.instant))

    def _on_duplicate(self, session: Session, prefix: bytes, now: Now) -> None:
        found = self._m.catalog.by_prefix(prefix)
        if found is None:
            return
        audience = found[1].manifest.audience
        if self._m.dissemination.first_from(audience, prefix) != session.link:
            self._m.telling.on_duplicate(session, audience, now)

    def _on_envelope(
        self,
        session: Session,
        envelope: bytes,
        hops: int,
        now: Now,
        content: bytes | None = None,
        *,
        is_late: bool = False,
    ) -> None:
        verdict = self._intake.on_envelope(
            envelope,
            session.link,
            hops,
            now,
            source=session.node_id,
            content=content,
            is_late=is_late,
        )
        if isinstance(verdict, Rejection):
            is_mine = is_for_lack_of_claims(self._m.beliefs, verdict)
            if verdict.blame is Blame.PEER and not is_mine:
                self._m.policing.on_failed(session, now.instant)
            elif _is_for_lack_of_trust(verdict, envelope) and is_due(
                session.ask_trust_at, now.instant
            ):
                session.ask_trust_at = later(now.instant, ASK_TRUST_EVERY)
                self._m.disclosure.ask_heads(session, self._m.beliefs.lane_namespaces())

    def _on_told(self, session: Session, envelope: bytes) -> None:
        prefix = self._m.dissemination.seen_prefix(envelope)
        found = None if prefix is None else self._m.catalog.by_prefix(prefix)
        if prefix is not None:
            self._m.telling.on_peer_has(session.link, prefix)
        if found is not None and prefix is not None:
            self._m.news.on_seen(prefix, found[1].manifest.audience)
            self._m.holdings.on_announced(session.link, found[1].manifest.audience, prefix)


def _is_for_lack_of_trust(verdict: Rejection, envelope: bytes) -> bool:
    """Whether newer trust could cure it. An increment that is told ahead of its snapshot, as each
    is, lacks that alone."""
    is_gap = verdict.code is RejectionCode.VERSION_GAP and not claims_trust(envelope)
    return verdict.retry is Retry.AFTER_TRUST and not is_gap
