"""What leaves this node, and for whom: the one choke point every outgoing message passes.

Decides: whether a peer may know of an artifact or an audience; what is said to a link when it
opens or when we change.
Keeps: a message that names, counts or carries anything of an audience goes only to who may know
it; `Send` is created in one function.
Must not know: how an artifact was admitted, where content comes from.
"""

from typing import Final, TypeAlias

from fabgossip.core.beliefs import Beliefs
from fabgossip.core.catalog import BINDING_TYPES, GONE_STATES, Catalog, Head, HeadState, prefix_of
from fabgossip.core.effects import Disconnect, Effect, Fact, Record, Send
from fabgossip.core.events import LinkId, LostReason
from fabgossip.core.neighbors import Neighbors
from fabgossip.core.sessions import Session, Sessions
from fabgossip.core.sets import COMPARED_TYPES, Reach, is_over
from fabgossip.model.artifact import (
    NO_ORDER,
    TRUST_TYPES,
    ArtifactType,
    Order,
    VerifiedManifest,
)
from fabgossip.model.authority import Opening, Verb
from fabgossip.model.ids import BootId
from fabgossip.model.messages import (
    ANNOUNCE_ENTRIES_MAX,
    FEATURES,
    HEADS_BYTES_MAX,
    HEADS_ENTRIES_MAX,
    HOLDINGS_ENTRIES_MAX,
    HOLDINGS_PREFIXES_MAX,
    MANIFESTS_BYTES_MAX,
    Announce,
    Announced,
    ByeReason,
    Claims,
    GetHeads,
    HeadKnown,
    Heads,
    Hello,
    Holdings,
    HoldingsEntry,
    HoldingsMode,
    Message,
    Roots,
    SaltId,
    SetRoot,
    TrafficClass,
)
from fabgossip.model.mode import Action
from fabgossip.model.moment import Now, is_past
from fabgossip.model.scope import (
    Audience,
    Entitlements,
    ScopeId,
    ScopeKind,
    may_hold,
    may_share,
    scope_id,
    shards_of_both,
)
from fabgossip.trust.authorization import (
    Decision,
    Object,
    Subject,
    authorize,
    is_authorized,
    may_disclose,
    types_known,
)

Found: TypeAlias = tuple[Head | None, VerifiedManifest] | None
"""An artifact and the head it belongs to; a bundle of the trust chain belongs to none."""
HOPS_MAX = 255
CLOSED_RETRY_S: Final = 600
"""One constant for every reason of trust, authority or scope, so it tells nothing."""
NARROWED_RETRY_S: Final = 1
"""When a link may be made anew over which less may pass than over the one before."""
REACHES_MAX: Final = 4_096
"""Audiences of a link whose reach is remembered (*start*); beyond, all are looked at again."""
_ALL_TYPES: Final = frozenset(COMPARED_TYPES)
_NO_TYPES: Final = frozenset[ArtifactType]()
_SNAPSHOTS = frozenset({ArtifactType.CLUSTER_SNAPSHOT, ArtifactType.SNAPSHOT_INCREMENT})


def traffic_of(verified: VerifiedManifest) -> TrafficClass:
    """The class in which an artifact's manifest and content travel."""
    manifest = verified.manifest
    if manifest.artifact_type in TRUST_TYPES:
        return TrafficClass.TRUST
    if manifest.tombstone is not None:
        return TrafficClass.TOMBSTONE
    return TrafficClass.SNAPSHOT if manifest.artifact_type in _SNAPSHOTS else TrafficClass.POLICY


class Disclosure:
    """Composes what is said, from the catalogue and the sessions, into the node's list of
    effects."""

    __slots__ = ("_beliefs", "_catalog", "_neighbors", "_out", "_sessions")

    def __init__(
        self,
        beliefs: Beliefs,
        catalog: Catalog,
        sessions: Sessions,
        neighbors: Neighbors,
        out: list[Effect],
    ) -> None:
        self._beliefs = beliefs
        self._catalog = catalog
        self._sessions = sessions
        self._neighbors = neighbors
        self._out = out

    def send(
        self,
        link: LinkId,
        message: Message,
        traffic: TrafficClass = TrafficClass.LINK,
        *,
        stream: int = 0,
        audience: Audience | None = None,
    ) -> None:
        """Queue a message; one about an audience passes only to who may know that audience."""
        if audience is not None:
            session = self._sessions.find(link)
            if session is None or not may_disclose(session.claims, audience):
                return
        self._out.append(
            Send(link=link, message=message, traffic=traffic, stream=stream, audience=audience)
        )

    def goodbye(
        self,
        session: Session,
        bye: ByeReason,
        lost: LostReason,
        retry_after_s: int = CLOSED_RETRY_S,
    ) -> None:
        """End a link, saying why, as far as the peer may hear it, and when to come back."""
        session.is_ended = True
        self._out.append(
            Disconnect(link=session.link, bye=bye, retry_after_s=retry_after_s, lost=lost)
        )

    def narrowed(self, session: Session) -> None:
        """End a link over which less may pass than before, so that nothing leaves that waits in its
        queues; the next one, which may follow at once, begins with what may pass now."""
        self.goodbye(session, ByeReason.CLOSED, LostReason.NARROWED, NARROWED_RETRY_S)

    def decide(self, request: Subject, found: Found, verb: Verb, now: Now) -> Decision:
        """Whether a peer may know of, or fetch, an artifact; `found` None for one we know nothing
        of, which takes the same steps and is denied."""
        about = _about(found, now)
        return authorize(request, about, verb, self._beliefs.facts, now.unix)

    def may_know(self, session: Session, verified: VerifiedManifest, now: Now) -> bool:
        """Whether the peer of a session may know of an artifact that is still to be told about."""
        if is_over(verified.manifest, now.unix):
            return False
        head = self._catalog.find(verified.manifest.namespace.text)
        request = Subject(identity=session.identity, claims=session.claims)
        about = _about((head, verified), now)
        return is_authorized(request, about, Verb.KNOW, self._beliefs.facts, now.unix)

    def hello(self, session: Session, boot_id: BootId) -> None:
        """Say hello, showing what the peer may see of our claims."""
        facts = self._beliefs.facts
        openings = self._openings_for(session)
        session.shown = frozenset(opening.salt for opening in openings)
        session.shown_claims = self._beliefs.own_claims.envelope
        hello = Hello(
            protocol_min=self._sessions.spoken.lowest,
            protocol_max=self._sessions.spoken.highest,
            features=FEATURES,
            boot_id=boot_id,
            claims=session.shown_claims,
            openings=openings,
            bundle_version=facts.bundle.bundle_version,
            revocation_version=facts.revoked.version,
            epoch=facts.bundle.authority_epoch,
        )
        self.send(session.link, hello)

    def show_claims(self, session: Session, now: Now) -> bool:
        """Show the peer our claims if it was shown others, or may see more of them by now; whether
        anything was shown. What comes too soon after the last is looked at again with each ping:
        beyond its rate a peer reads none, and would go by claims that have ended."""
        openings, claims = self._openings_for(session), self._beliefs.own_claims.envelope
        fresh = tuple(one for one in openings if one.salt not in session.shown)
        is_newer = claims != session.shown_claims
        if not (fresh or is_newer) or session.claims_pace.next_at(now.instant) != now.instant:
            return False
        session.claims_pace.take(now.instant)
        if is_newer:
            session.shown = frozenset(opening.salt for opening in openings)
            session.shown_claims = claims
            self.send(session.link, Claims(openings=openings, claims=claims))
        else:
            session.shown |= {opening.salt for opening in fresh}
            self.send(session.link, Claims(openings=fresh))
        return True

    def has_narrowed(self, session: Session) -> bool:
        """Whether the peer was shown more than it may see by now."""
        return not session.shown <= {opening.salt for opening in self._openings_for(session)}

    def _openings_for(self, session: Session) -> tuple[Opening, ...]:
        return tuple(
            one for one in self._beliefs.own_claims.openings if self._may_see(session, one)
        )

    def _may_see(self, session: Session, opening: Opening) -> bool:
        """A hidden item is shown to the control plane's endpoint, where a held directory lists the
        peer for it, or where the peer may hold the directory that lists us for it."""
        if session.claims is not None and session.claims.is_control_endpoint:
            return True
        item = opening.item
        if item.assignment is not None:
            hidden = [
                one
                for one in item.assignment.scope_ids
                if one.kind in (ScopeKind.ORG, ScopeKind.SERVICE)
            ]
        else:
            hidden = [] if item.scope is None else [ScopeId(item.scope)]
        return all(
            self._neighbors.is_listed(session.node_id, scope) or self._may_know_us(session, scope)
            for scope in hidden
        )

    def _may_know_us(self, session: Session, scope: ScopeId) -> bool:
        """Whether by its claims a peer may hold the directory of a service that lists us, which we
        may lack: whom the cluster's own directory lists that of the service does too. Else who
        lost its disk would wait for the control plane before any store could bring that directory
        back. An organisation is told to nobody: which stores are its own it keeps to itself."""
        if session.claims is None or scope.kind is not ScopeKind.SERVICE:
            return False
        bundle = self._beliefs.facts.bundle
        cluster = scope_id(ScopeKind.CLUSTER, bundle.cluster_id)
        return self._neighbors.is_public and may_hold(
            Audience((cluster, scope)),
            ArtifactType.PEER_DIRECTORY.value,
            f"{bundle.prefix}/peers/scope/{scope.text}",
            session.claims.entitlements,
        )

    def reach(self, session: Session, audience: Audience, now: Now) -> Reach:
        """What of an audience is compared on a link: what both ends may hold by what each showed
        there, and may know by their roles, as far as the mode lets us tell of it. Cost: that of
        looking once, until anything it rests on changes."""
        self.look_at_reaches(session, now)
        return self.known_reach(session, audience)

    def look_at_reaches(self, session: Session, now: Now) -> tuple[object, ...]:
        """What the reaches of a link rest on now; those that rested on something else are
        forgotten."""
        facts = self._beliefs.facts
        told = self._told_types(now)
        rests_on = (session.claims, facts.own, facts.bundle, session.shown, told)
        if len(session.reaches) > REACHES_MAX or session.reach_rests_on != rests_on:
            session.reaches.clear()
            session.reach_rests_on, session.told_types = rests_on, told
        return session.reach_rests_on

    def known_reach(self, session: Session, audience: Audience) -> Reach:
        """The reach of an audience, by what was looked at last."""
        reach = session.reaches.get(audience)
        if reach is None:
            reach = self._reach(session, audience, session.told_types)
            session.reaches[audience] = reach
        return reach

    def _reach(self, session: Session, audience: Audience, told: frozenset[ArtifactType]) -> Reach:
        if session.claims is None or not may_disclose(session.claims, audience):
            return ()
        own, claims, facts = self._shown_of_own(session), session.claims, self._beliefs.facts
        if not may_share(audience, own):
            return ()
        known = types_known(self._beliefs.own_claims.roles, facts) & types_known(
            claims.claims.roles, facts
        )
        if any(one in audience.ids_of(ScopeKind.NODE) for one in self._own_lanes(session)):
            known |= {ArtifactType.CLUSTER_SNAPSHOT}
        reach = []
        for kind in (one for one in COMPARED_TYPES if one in known & told):
            shards = shards_of_both(audience, kind.value, own, claims.entitlements)
            if shards:
                reach.append((kind, shards))
        return tuple(reach)

    def _told_types(self, now: Now) -> frozenset[ArtifactType]:
        """What this node may tell anybody of, as far as that depends on it alone: trust whatever
        its age, all else only under a list and a bundle in time."""
        facts = self._beliefs.facts
        until = facts.revocations_expires_at
        is_in_time = until is not None and not is_past(until, now.unix)
        is_in_force = not is_past(facts.bundle_expires_at, now.unix)
        if is_in_time and is_in_force and self._beliefs.may(Action.SERVE_STALE, now).allowed:
            return _ALL_TYPES
        return TRUST_TYPES if self._beliefs.may(Action.SERVE_TRUST_LANE, now).allowed else _NO_TYPES

    def _own_lanes(self, session: Session) -> tuple[ScopeId, ScopeId]:
        """The snapshot of its own node everybody may know."""
        names = (session.node_id, self._sessions.own_id)
        first, second = (scope_id(ScopeKind.NODE, one) for one in names)
        return first, second

    def _shown_of_own(self, session: Session) -> Entitlements:
        """Our entitlements as far as the peer was shown them: it cannot compare by others."""
        own = self._beliefs.facts.own
        hidden = [
            one.item for one in self._beliefs.own_claims.openings if one.salt not in session.shown
        ]
        if not hidden:
            return own
        scopes = {one.scope for one in hidden}
        assignments = [one.assignment for one in hidden]
        return Entitlements(
            frozenset(one for one in own.scope_ids if one.text not in scopes),
            tuple(one for one in own.assignments if one not in assignments),
        )

    def roots(
        self,
        session: Session,
        salt: SaltId,
        entries: tuple[SetRoot, ...],
        *,
        is_first: bool = False,
        is_last: bool = False,
    ) -> None:
        """What stands for sets; each names its audience, and passes only if the peer may know
        it."""
        passed = tuple(one for one in entries if may_disclose(session.claims, one.audience))
        message = Roots(salt=salt, is_first=is_first, is_last=is_last, entries=passed)
        self.send(session.link, message, TrafficClass.SNAPSHOT)

    def whole_holdings(self, session: Session, now: Now) -> None:
        """Our own word about our holdings, to a neighbour: everything current in each shared
        audience but what we lack. Of what our own claims cover no more nothing is said, though
        some of it may still be here."""
        if self._neighbors.is_thin or not self._neighbors.is_neighbor(session.link):
            return
        is_whole = True
        run: list[HoldingsEntry] = []
        room = HOLDINGS_PREFIXES_MAX
        own = self._beliefs.facts.own
        for audience in self._catalog.audiences():
            is_ours = not own.scope_ids or may_share(audience, own)
            if not is_ours or not may_disclose(session.claims, audience):
                continue
            entry = self._holdings_entry(session, audience, now)
            if len(entry.prefixes) > room or len(run) == HOLDINGS_ENTRIES_MAX // 4:
                self._send_holdings(session, tuple(run), is_whole=is_whole)
                is_whole, run, room = False, [], HOLDINGS_PREFIXES_MAX
            run.append(entry)
            room -= len(entry.prefixes)
        self._send_holdings(session, tuple(run), is_whole=is_whole)

    def _send_holdings(
        self, session: Session, entries: tuple[HoldingsEntry, ...], *, is_whole: bool
    ) -> None:
        session.holdings_sequence += 1
        message = Holdings(sequence=session.holdings_sequence, is_whole=is_whole, entries=entries)
        first = entries[0].audience if entries else None
        self.send(session.link, message, TrafficClass.POLICY, audience=first)

    def _holdings_entry(self, session: Session, audience: Audience, now: Now) -> HoldingsEntry:
        lacking = tuple(
            prefix
            for prefix in self._catalog.prefixes(audience)
            if self._lacks(session, prefix, now)
        )
        if len(lacking) > HOLDINGS_PREFIXES_MAX:
            return HoldingsEntry(audience, HoldingsMode.NONE, ())
        return HoldingsEntry(audience, HoldingsMode.ALL_EXCEPT, lacking)

    def _lacks(self, session: Session, prefix: bytes, now: Now) -> bool:
        """Whether we know of something the peer may know too, and do not hold its content."""
        found = self._catalog.by_prefix(prefix)
        if found is None or not found[0].is_durable or found[1].manifest.tombstone is not None:
            return False
        head, verified = found
        if verified in head.sides:
            return True
        return not head.holds(verified) and self.may_know(session, verified, now)

    def advertise(self, session: Session, held: list[VerifiedManifest], now: Now) -> None:
        """Tell a neighbour which of these it may know that we hold now."""
        if self._neighbors.is_thin or not self._neighbors.is_neighbor(session.link):
            return
        prefixes: dict[Audience, list[bytes]] = {}
        for verified in held:
            if self.may_know(session, verified, now):
                known = prefixes.setdefault(verified.manifest.audience, [])
                known.append(prefix_of(verified.manifest_hash))
        for audience, known in prefixes.items():
            self._advertise(session, audience, sorted(known))

    def _advertise(self, session: Session, audience: Audience, prefixes: list[bytes]) -> None:
        for start in range(0, len(prefixes), HOLDINGS_PREFIXES_MAX):
            run = tuple(prefixes[start : start + HOLDINGS_PREFIXES_MAX])
            entry = HoldingsEntry(audience, HoldingsMode.ONLY, run)
            session.holdings_sequence += 1
            message = Holdings(sequence=session.holdings_sequence, is_whole=False, entries=(entry,))
            self.send(session.link, message, TrafficClass.POLICY, audience=audience)

    def revocations(self, session: Session) -> None:
        """The list that takes a peer's trust away, to that peer itself: every member reads it."""
        head = self._catalog.find(self._beliefs.facts.bundle.revocations_namespace)
        if head is not None and is_told(head):
            message = Announce(entries=(Announced(head.verified.envelope, 0),))
            self.send(session.link, message, TrafficClass.TRUST)

    def trust_lane(self, session: Session, now: Now) -> None:
        """What every member must hear before it can believe anything else: told anew once this
        node, which could not vouch for it before, can."""
        for namespace in self._beliefs.facts.bundle.lane_of(session.node_id):
            head = self._catalog.find(namespace)
            if head is None or not is_told(head):
                continue
            if self.may_know(session, head.verified, now):
                message = Announce(entries=(Announced(head.verified.envelope, 0),))
                self.send(session.link, message, traffic_of(head.verified))

    def manifests(self, session: Session, prefixes: tuple[bytes, ...], now: Now) -> None:
        """The manifests a peer grafts, as far as it may know them."""
        entries: dict[tuple[TrafficClass, Audience], list[Announced]] = {}
        denied: list[Decision] = []
        for prefix in prefixes:
            found = self._catalog.by_prefix(prefix)
            verified = found[1] if found is not None and is_told(found[0]) else None
            if self._may_learn(session, verified, denied, now):
                assert verified is not None
                key = (traffic_of(verified), verified.manifest.audience)
                entries.setdefault(key, []).append(Announced(verified.envelope, 0))
        self.deny_all(session, denied)
        for (traffic, audience), announced in entries.items():
            for start in range(0, len(announced), ANNOUNCE_ENTRIES_MAX):
                run = tuple(announced[start : start + ANNOUNCE_ENTRIES_MAX])
                self.send(session.link, Announce(entries=run), traffic, audience=audience)

    def heads(self, session: Session, asked: GetHeads, now: Now) -> int:
        """Envelopes above what the peer knows, of namespaces it may know; the others lack. Gives
        how many there were: where there are none, nothing is sent. Trust travels as such: it waits
        behind nothing, and finds room."""
        denied: list[Decision] = []
        found = self._above(session, asked.known, denied, now)
        self.deny_all(session, denied)
        trust = [one for one in found if one.manifest.artifact_type in TRUST_TYPES]
        others = [one for one in found if one.manifest.artifact_type not in TRUST_TYPES]
        if trust:
            self._send_heads(session, trust, TrafficClass.TRUST, asked.question)
        if others:
            self._send_heads(session, others, TrafficClass.SNAPSHOT, asked.question)
        return len(found)

    def _send_heads(
        self,
        session: Session,
        found: list[VerifiedManifest],
        traffic: TrafficClass,
        question: int,
    ) -> None:
        envelopes: list[bytes] = []
        size = 0
        for one in found:
            is_full = size + len(one.envelope) > MANIFESTS_BYTES_MAX
            if is_full or len(envelopes) >= HEADS_ENTRIES_MAX:
                message = Heads(envelopes=tuple(envelopes), question=question)
                self.send(session.link, message, traffic)
                envelopes, size = [], 0
            envelopes.append(one.envelope)
            size += len(one.envelope) + 8
        self.send(session.link, Heads(envelopes=tuple(envelopes), question=question), traffic)

    def _above(
        self, session: Session, known: tuple[HeadKnown, ...], denied: list[Decision], now: Now
    ) -> list[VerifiedManifest]:
        """What fits into one answer, each namespace from where the asker is: asked again from what
        it has by then, the rest follows."""
        found: list[VerifiedManifest] = []
        room = HEADS_BYTES_MAX
        for one in known:
            for verified in self._newer(one) or (None,):
                if not self._may_learn(session, verified, denied, now):
                    continue
                assert verified is not None
                room -= len(verified.envelope)
                if room < 0:
                    return found
                found.append(verified)
        return found

    def may_learn_all(self, session: Session, about: tuple[Found, ...], now: Now) -> bool:
        """Whether the peer may know of all of these, which it asked for as one; the same is asked
        about what there is not."""
        denied = []
        for found in about:
            request = Subject(identity=session.identity, claims=session.claims)
            decision = self.decide(request, found, Verb.KNOW, now)
            if not decision.allow:
                denied.append(decision)
        self.deny_all(session, denied)
        return not denied

    def _newer(self, known: HeadKnown) -> tuple[VerifiedManifest, ...]:
        if known.namespace == self._beliefs.facts.bundle.bundle_namespace:
            # Each bundle is judged by the one before it: who is behind needs every step.
            steps = [step.verified for step in self._beliefs.chain]
            return tuple(one for one in steps if one.manifest.config_version > known.version)
        order = Order(known.epoch, known.version)
        head = self._catalog.find(known.namespace)
        if head is None or not is_told(head) or head.manifest.order <= order:
            return ()
        increment = head.increment
        return (head.verified,) if increment is None else (head.verified, increment.verified)

    def ask_heads(self, session: Session, namespaces: tuple[str, ...], question: int = 0) -> None:
        """Ask a peer for what is newer than our versions of these namespaces. Names only what the
        peer may know."""
        known = []
        bundle = self._beliefs.facts.bundle
        for namespace in namespaces:
            head = self._catalog.find(namespace)
            order = NO_ORDER if head is None else head.manifest.order
            if namespace == bundle.bundle_namespace:
                # What is in force counts, not what was accepted and found bad.
                order = Order(bundle.authority_epoch, bundle.bundle_version)
            known.append(HeadKnown(namespace, order.epoch, order.version))
        for start in range(0, len(known), HEADS_ENTRIES_MAX):
            part = tuple(known[start : start + HEADS_ENTRIES_MAX])
            message = GetHeads(known=part, question=question)
            self.send(session.link, message, TrafficClass.TRUST)

    def _may_learn(
        self,
        session: Session,
        verified: VerifiedManifest | None,
        denied: list[Decision],
        now: Now,
    ) -> bool:
        """`may_know`, of what the peer itself named; a no is kept for the audit. Of what there is
        not (None) the same is asked, of the first head there is: the time an answer takes does not
        tell a peer which names are in use (`tests/attacks/test_disclosure.py`)."""
        request = Subject(identity=session.identity, claims=session.claims)
        if verified is None:
            self.decide(request, self._catalog.first(), Verb.KNOW, now)
            return False
        head = self._catalog.find(verified.manifest.namespace.text)
        decision = self.decide(request, (head, verified), Verb.KNOW, now)
        if not decision.allow:
            denied.append(decision)
        return decision.allow and not is_over(verified.manifest, now.unix)

    def deny_all(self, session: Session, denied: list[Decision]) -> None:
        """Note the denials of one request, once, by the first of them; the peer sees the same
        answer as for what does not exist."""
        if denied:
            check, items = denied[0].denied_by or "", len(denied)
            fields = (("peer", session.node_id), ("check", check), ("items", items))
            self._out.append(Record(fact=Fact.FETCH_DENIED, fields=fields))


def _about(found: Found, now: Now) -> Object:
    if found is None:
        return Object(manifest=None)
    head, verified = found
    return Object(
        manifest=verified.manifest,
        manifest_hash=verified.manifest_hash,
        signed_by=verified.signed_by,
        is_current=head is not None and head.is_current_at(now.unix),
    )


_UNTOLD_STATES: Final = frozenset({HeadState.INVALID, HeadState.OUTDATED})


def is_told(head: Head) -> bool:
    """Whether others may hear of a head at all; of a trust bundle only once it was read."""
    is_unread = head.manifest.artifact_type is ArtifactType.TRUST_BUNDLE and not head.is_held
    return head.is_durable and head.state not in _UNTOLD_STATES and not is_unread


def is_servable(head: Head, verified: VerifiedManifest, now: Now) -> bool:
    """Whether a content is held, undisputed, in order and in time to be served. Both sides of a
    disputed revocation list, or snapshot, are: both restrict."""
    is_binding = verified.manifest.artifact_type in BINDING_TYPES
    if verified in head.sides:
        return is_binding
    usable = head.state not in GONE_STATES and head.state not in _UNTOLD_STATES
    undisputed = not head.is_disputed or is_binding
    return (
        head.holds(verified) and usable and undisputed and not is_over(verified.manifest, now.unix)
    )
