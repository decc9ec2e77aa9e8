"""What peers ask content for: the grant of a request, the eight checks, and one answer for no.

Decides: what is served to whom, item by item.
Keeps: busy is decided before any look-up, but for trust, which every member may know of; absent,
forbidden, withdrawn and revoked get one answer after the same work; the use of a grant is durable
before anything rests on it.
Must not know: how bytes are sent.
"""

from typing import Final

from fabgossip.core.catalog import Head, prefix_of
from fabgossip.core.disclosure import Found, is_servable, traffic_of
from fabgossip.core.durability import Durability
from fabgossip.core.effects import Fact, Persist, Record, ServeContent, ServeItem
from fabgossip.core.events import ContentServed, LostReason, Token
from fabgossip.core.grants import Granted
from fabgossip.core.history import chain_between
from fabgossip.core.machines import Machines
from fabgossip.core.sessions import Session
from fabgossip.core.slots import SERVED_PER_LINK_MAX, SERVED_SLOW_MAX
from fabgossip.model.artifact import TRUST_TYPES, ArtifactType, VerifiedManifest
from fabgossip.model.authority import Verb, VerifiedGrant
from fabgossip.model.ids import ManifestHash
from fabgossip.model.messages import (
    MANIFESTS_BYTES_MAX,
    ByeReason,
    Chain,
    ContentAsk,
    GetChain,
    GetContent,
    TrafficClass,
)
from fabgossip.model.moment import Now
from fabgossip.trust.authorization import Decision, Subject
from fabgossip.trust.rejections import Blame, Rejection

BULK_ABOVE_BYTES: Final = 64 << 10
"""Contents of more than this are bulk on their link (*start*): more than a frame or two of what a
slow one takes in a second."""
TWICE_RETRY_S: Final = 60
"""When to come back, for a peer that asks for the same bytes twice at once: no honest one does."""


class Serving:
    """Answers requests for content."""

    __slots__ = ("_durability", "_m")

    def __init__(self, machines: Machines, durability: Durability) -> None:
        self._m = machines
        self._durability = durability

    def waits_for(self, token: Token) -> bool:
        """Whether a request waits for this to be durable."""
        return self._m.uses.waits_for(token)

    def on_persisted(self, token: Token, now: Now, *, ok: bool) -> None:
        """The use of a grant is durable, or could not be made so."""
        self._on_use_durable(self._m.uses.on_persisted(token), now, ok=ok)

    def on_served(self, event: ContentServed, now: Now) -> None:
        """A request was served, or its link could not take it."""
        self._m.slots.on_free(event.link, event.stream)
        session = self._m.sessions.find(event.link)
        if session is not None and event.is_too_slow:
            self._m.policing.on_slow(session, now.instant)

    def on_get_content(self, session: Session, message: GetContent, stream: int, now: Now) -> None:
        """Busy is decided before any look-up; absent, forbidden, withdrawn and revoked get one
        answer. Only whether all that is asked for is trust is looked up where nothing else would
        be served: that tells a member what it may know."""
        if _asks_twice(message):
            self._m.disclosure.goodbye(
                session, ByeReason.PROTOCOL, LostReason.PROTOCOL, TWICE_RETRY_S
            )
            return
        is_slow = self._m.policing.is_slow(session, now.instant)
        share = SERVED_SLOW_MAX if is_slow else SERVED_PER_LINK_MAX
        is_trust = not self._m.slots.has_room(session.link, share, is_trust=False)
        if not self._m.policing.has_room(session, message) or (
            is_trust
            and not (
                self._m.slots.has_room(session.link, share, is_trust=True)
                and all(self._is_trust(ask, now) for ask in message.items)
            )
        ):
            self._m.policing.busy(session, message, stream)
        elif message.grant and not is_trust:
            self._use_grant(session, message, stream, now)
        else:
            self._serve(session, message, stream, None, now, is_trust=is_trust)

    def on_get_chain(self, session: Session, message: GetChain, now: Now) -> None:
        """Increments whose contents are all here, each of which the peer may know of; all of them
        or none, and none looks the same whatever the reason."""
        steps = self._chain(message, now)
        about: tuple[Found, ...] = steps or (self._m.catalog.first(),)
        is_allowed = self._m.disclosure.may_learn_all(session, about, now)
        if not steps or not is_allowed:
            self._m.policing.no_chain(session, message, now.instant)
            return
        envelopes = tuple(verified.envelope for _, verified in steps)
        chain = Chain(head=message.head, envelopes=envelopes)
        audience = steps[-1][1].manifest.audience
        self._m.disclosure.send(session.link, chain, TrafficClass.SNAPSHOT, audience=audience)

    def _chain(self, message: GetChain, now: Now) -> tuple[tuple[Head, VerifiedManifest], ...]:
        head = self._m.catalog.find(message.namespace)
        kept = None if head is None else chain_between(head.kept, message.base, message.head)
        if head is None or kept is None or not head.is_durable:
            return ()
        steps = tuple(one.verified for one in kept)
        if not all(is_servable(head, one, now) for one in steps):
            return ()
        if sum(len(one.envelope) for one in steps) > MANIFESTS_BYTES_MAX:
            return ()
        return tuple((head, one) for one in steps)

    def _is_trust(self, ask: ContentAsk, now: Now) -> bool:
        found = self._find_asked(ask, now)
        return found is not None and found[1].manifest.artifact_type in TRUST_TYPES

    def _use_grant(self, session: Session, message: GetContent, stream: int, now: Now) -> None:
        """Count the use of a request's grant durably before anything rests on it; a request whose
        grant is not good is served as if it had none."""
        grant = self._m.beliefs.grant_of(message.grant, session.identity, now)
        use = grant if isinstance(grant, Rejection) else self._m.uses.next_use(grant.grant, now)
        if isinstance(use, Rejection):
            self._refuse_grant(session, use, now)
            if not session.is_ended:
                self._serve(session, message, stream, None, now, is_trust=False)
            return
        token = self._durability.next_token()
        self._m.uses.on_persisting(token, Granted(session.link, stream, message))
        self._m.out.append(Persist(token=token, changes=(use,)))
        # So that a link has no more requests at the disk than it is served.
        self._m.slots.on_taken(session.link, stream, is_trust=False)

    def _refuse_grant(self, session: Session, refused: Rejection, now: Now) -> None:
        fields = (
            ("peer", session.node_id),
            ("check", "grant"),
            ("code", refused.code.value),
            ("detail", refused.detail),
        )
        self._m.out.append(Record(fact=Fact.FETCH_DENIED, fields=fields))
        if refused.blame is Blame.PEER:
            self._m.policing.on_failed(session, now.instant)

    def _on_use_durable(self, request: Granted, now: Now, *, ok: bool) -> None:
        session = self._m.sessions.find(request.link)
        if session is None:
            return
        self._m.slots.on_free(request.link, request.stream)
        grant = None
        if ok:
            # The disk may have taken its time: what was good then may have ended meanwhile.
            judged = self._m.beliefs.grant_of(request.message.grant, session.identity, now)
            if isinstance(judged, Rejection):
                self._refuse_grant(session, judged, now)
            else:
                grant = judged
                fields = (("peer", session.node_id), ("grant", grant.grant.grant_id.hex()))
                self._m.out.append(Record(fact=Fact.GRANT_USED, fields=fields))
        self._serve(session, request.message, request.stream, grant, now, is_trust=False)

    def _serve(
        self,
        session: Session,
        message: GetContent,
        stream: int,
        grant: VerifiedGrant | None,
        now: Now,
        *,
        is_trust: bool,
    ) -> None:
        request = Subject(
            identity=session.identity,
            claims=session.claims,
            grant=grant,
            narrowing=message.narrowing,
        )
        items = []
        denied: list[Decision] = []
        traffic = TrafficClass.BULK
        for number, ask in enumerate(message.items):
            served = self._served(session, request, ask, denied, now)
            if served is None:
                self._m.policing.not_available(session, stream, number, now.instant)
                continue
            self._m.retention.on_touched(ask.content_hash)
            traffic = min(traffic, _content_traffic(served))
            items.append(
                ServeItem(
                    item=number,
                    content_hash=ask.content_hash,
                    size=served.manifest.content_size,
                    chunk_hashes=served.manifest.chunk_hashes,
                    first_chunk=ask.first_chunk,
                    chunk_count=ask.chunk_count,
                )
            )
        self._m.disclosure.deny_all(session, denied)
        if items:
            self._m.slots.on_taken(session.link, stream, is_trust=is_trust)
            self._m.out.append(
                ServeContent(link=session.link, stream=stream, items=tuple(items), traffic=traffic)
            )

    def _served(
        self,
        session: Session,
        request: Subject,
        ask: ContentAsk,
        denied: list[Decision],
        now: Now,
    ) -> VerifiedManifest | None:
        """The statement under which an item is served. Whether there is such a thing or not, the
        same is asked about it: for what is absent, of the first head there is."""
        found = self._find_asked(ask, now)
        if session.is_parting:
            return self._served_at_parting(found)
        decision = self._m.disclosure.decide(
            request, self._m.catalog.first() if found is None else found, Verb.FETCH, now
        )
        if found is None:
            return None
        if not decision.allow:
            denied.append(decision)
            return None
        return found[1]

    def _served_at_parting(self, found: Found) -> VerifiedManifest | None:
        is_list = found is not None and (
            found[1].manifest.artifact_type is ArtifactType.REVOCATION_LIST
        )
        return found[1] if found is not None and is_list else None

    def _find_asked(self, ask: ContentAsk, now: Now) -> Found:
        prefix = prefix_of(ask.manifest_hash)
        found: Found = self._m.catalog.by_prefix(prefix)
        if found is not None and found[0] is not None and not is_servable(found[0], found[1], now):
            found = None
        if found is None:
            steps = (step.verified for step in self._m.beliefs.chain)
            step = next((one for one in steps if prefix_of(one.manifest_hash) == prefix), None)
            found = None if step is None else (None, step)
        if found is None:
            return None
        same = (found[1].manifest_hash, found[1].manifest.content_hash) == (
            ask.manifest_hash,
            ask.content_hash,
        )
        return found if same else None


def _content_traffic(verified: VerifiedManifest) -> TrafficClass:
    """A large content holds up nothing that is small, but for trust."""
    traffic = traffic_of(verified)
    is_large = verified.manifest.content_size > BULK_ABOVE_BYTES
    return TrafficClass.BULK if is_large and traffic is not TrafficClass.TRUST else traffic


def _asks_twice(message: GetContent) -> bool:
    """Whether a request names a chunk of a content more than once: one small message would have a
    node send the same bytes a thousand times."""
    asked: dict[ManifestHash, int] = {}
    for ask in sorted(message.items, key=lambda one: (one.manifest_hash, one.first_chunk)):
        if ask.first_chunk < asked.get(ask.manifest_hash, 0):
            return True
        asked[ask.manifest_hash] = ask.first_chunk + ask.chunk_count
    return False
