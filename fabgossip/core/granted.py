"""Contents fetched under a grant: for who asked, and for nobody else.

Decides: whether a grant and the artifact it is to be used for are good on this node now; which
linked peer is asked next; when to give up.
Keeps: nothing is asked before both were verified; what comes is handed to the local request and to
no machine: it is the head of nothing, never held, told, served or applied; a grant ends by its
signed time and by the clock nobody steps, whichever is first; a peer is shown a manifest hash only
of what it may know.
Must not know: how bytes travel, where an operator puts them.

Each peer is asked once, storage nodes first. One that has it not, or says so, ends nothing; once
nobody is left the request is answered: an operator sees who was asked, and may ask again.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from fabgossip.core.attempts import Attempt
from fabgossip.core.beliefs import Beliefs
from fabgossip.core.disclosure import traffic_of
from fabgossip.core.effects import Answer, Effect, Fact, Outcome, ReceiveGranted, Record, SetTimer
from fabgossip.core.events import GrantedReceived, GrantedRequest, RequestDue, RequestId
from fabgossip.core.grants import REMEMBERED_S, ends_at
from fabgossip.core.ladder import IDLE_MS, Step
from fabgossip.core.neighbors import Neighbors
from fabgossip.core.placement import Placement
from fabgossip.core.sessions import Session, Sessions
from fabgossip.core.wants import wanted_from
from fabgossip.model.artifact import Manifest, VerifiedManifest
from fabgossip.model.authority import FetchGrant, Narrowing, VerifiedGrant
from fabgossip.model.ids import ContentHash, NodeId
from fabgossip.model.moment import (
    Duration,
    Instant,
    Now,
    UnixTime,
    elapsed,
    is_due,
    is_past,
    later,
    seconds_after,
)
from fabgossip.model.scope import may_hold
from fabgossip.trust.authorization import may_disclose
from fabgossip.trust.rejections import Rejection, RejectionCode

OPEN_MAX: Final = 8
"""Fetches under grants at once; the next is told to ask again (*start*)."""
ENDED_MAX: Final = 64
"""Ended ones remembered for `why` (*start*)."""
GRANTS_MAX: Final = 1_024
"""Grants whose end is remembered: beyond, new ones are refused; old ones are never forgotten early
(*start*)."""


@dataclass(slots=True, kw_only=True)
class GrantedFetch:
    """One content on its way to who asked for it, and what became of it."""

    request: RequestId
    envelope: bytes = field(repr=False)
    """Of the grant."""
    grant: FetchGrant
    verified: VerifiedManifest
    deadline: Instant
    source: Session | None = None
    asked_at: Instant
    attempts: list[Attempt] = field(default_factory=list)
    outcome: Outcome | None = None
    """None while it is open."""
    detail: str = ""


class GrantedFetches:
    """The fetches under grants of this process; a restart forgets them, and the grants."""

    __slots__ = (
        "_beliefs",
        "_ended",
        "_ends",
        "_neighbors",
        "_open",
        "_out",
        "_placement",
        "_sessions",
    )

    def __init__(
        self,
        beliefs: Beliefs,
        sessions: Sessions,
        neighbors: Neighbors,
        placement: Placement,
        out: list[Effect],
    ) -> None:
        self._beliefs = beliefs
        self._sessions = sessions
        self._neighbors = neighbors
        self._placement = placement
        self._out = out
        self._open: dict[RequestId, GrantedFetch] = {}
        self._ended: deque[GrantedFetch] = deque(maxlen=ENDED_MAX)
        self._ends: OrderedDict[bytes, tuple[Instant, UnixTime]] = OrderedDict()
        """When each grant ends since it was first seen, and when that may be forgotten."""

    def on_request(self, request: RequestId, body: GrantedRequest, now: Now) -> None:
        """An operator has a grant and the envelope of an artifact: judge both, and ask."""
        if len(self._open) >= OPEN_MAX:
            detail = f"{OPEN_MAX} fetches under grants are under way; next: ask again"
            self._out.append(Answer(request=request, outcome=Outcome.FAILED, detail=detail))
            return
        fetch = self._admitted(request, body, now)
        if isinstance(fetch, Rejection):
            self._refuse(request, fetch, _next_step(fetch))
            return
        if self._is_ours(fetch.verified.manifest):
            namespace = fetch.verified.manifest.namespace.text
            refused = _invalid("this node may hold it without a grant")
            self._refuse(request, refused, f"fabgossip fetch {namespace}")
            return
        fields = (
            ("grant", fetch.grant.grant_id.hex()),
            ("namespace", fetch.verified.manifest.namespace.text),
        )
        self._out.append(Record(fact=Fact.GRANT_ACCEPTED, fields=fields))
        self._open[request] = fetch
        due = min(fetch.deadline, later(now.instant, Duration(body.timeout_ms)))
        self._out.append(SetTimer(timer=RequestDue(request=request), at=due))
        self._ask_next(fetch, now)

    def _admitted(
        self, request: RequestId, body: GrantedRequest, now: Now
    ) -> GrantedFetch | Rejection:
        granted = self._good_grant(body.grant, now)
        if isinstance(granted, Rejection):
            return granted
        verified = self._beliefs.admit_granted(body.envelope, granted.grant, now)
        if isinstance(verified, Rejection):
            return verified
        return GrantedFetch(
            request=request,
            envelope=body.grant,
            grant=granted.grant,
            verified=verified,
            deadline=self._ends[granted.grant.grant_id][0],
            asked_at=now.instant,
        )

    def _is_ours(self, manifest: Manifest) -> bool:
        own, kind = self._beliefs.facts.own, manifest.artifact_type.value
        return may_hold(manifest.audience, kind, manifest.namespace.text, own)

    def _good_grant(self, raw: bytes, now: Now) -> VerifiedGrant | Rejection:
        """The grant, if it is good for this node now, also by the clock nobody steps, from the
        moment it was first seen."""
        granted = self._beliefs.own_grant(raw, now)
        if isinstance(granted, Rejection):
            return granted
        grant = granted.grant
        self._forget(now)
        if grant.grant_id not in self._ends:
            if len(self._ends) >= GRANTS_MAX:
                return _invalid("too many grants were given to this node")
            forget_at = seconds_after(grant.expires_at, REMEMBERED_S)
            self._ends[grant.grant_id] = (ends_at(grant, now), forget_at)
        if is_due(self._ends[grant.grant_id][0], now.instant):
            return _invalid("ended by the monotonic clock")
        return granted

    def _forget(self, now: Now) -> None:
        for grant_id in [one for one, ends in self._ends.items() if is_past(ends[1], now.unix)]:
            del self._ends[grant_id]

    def _refuse(self, request: RequestId, refused: Rejection, next_step: str) -> None:
        """Say what is wrong and what to do about it."""
        fields = (
            ("code", refused.code.value),
            ("namespace", refused.namespace or ""),
            ("detail", refused.detail),
        )
        self._out.append(Record(fact=Fact.GRANT_REFUSED, fields=fields))
        answer = Answer(
            request=request,
            outcome=Outcome.REFUSED,
            code=refused.code.value,
            detail=f"{refused.detail}; next: {next_step}",
            namespace=refused.namespace,
        )
        self._out.append(answer)

    def _ask_next(self, fetch: GrantedFetch, now: Now) -> None:
        fetch.source = next(self._sources_for(fetch), None)
        if fetch.source is None:
            self._end(fetch, Outcome.FAILED, _nobody(fetch))
            return
        fetch.asked_at = now.instant
        self._out.append(
            ReceiveGranted(
                request=fetch.request,
                link=fetch.source.link,
                wanted=wanted_from(fetch.verified, is_read=False),
                grant=fetch.envelope,
                narrowing=Narrowing(
                    types=(fetch.verified.manifest.artifact_type,),
                    manifest_hashes=(fetch.verified.manifest_hash,),
                ),
                traffic=traffic_of(fetch.verified),
                idle_ms=IDLE_MS[Step.NORMAL],
            )
        )

    def _sources_for(self, fetch: GrantedFetch) -> Iterator[Session]:
        """Linked peers not asked yet whose claims let them know of the artifact: to others its
        hash, and the grant, would tell that it exists."""
        asked = {one.node_id for one in fetch.attempts}
        audience = fetch.verified.manifest.audience
        eligible = [
            one
            for one in self._sessions.open_sessions()
            if one.node_id not in asked and may_disclose(one.claims, audience)
        ]
        return iter(sorted(eligible, key=self._rank))

    def _rank(self, session: Session) -> tuple[bool, int, NodeId]:
        node_id = session.node_id
        distance = self._neighbors.distance_to(self._neighbors.domain_of(node_id))
        return not self._placement.is_storage(node_id), distance, node_id

    def on_received(self, event: GrantedReceived, now: Now) -> GrantedFetch | None:
        """A peer brought the content, or did not; gives the fetch that was about, None if it is
        over."""
        fetch = self._open.get(event.request)
        if fetch is None or fetch.source is None or fetch.source.link != event.link:
            return None
        outcome = "verified" if event.failure is None else event.failure.value
        attempt = Attempt(
            at=fetch.asked_at,
            climb=0,
            step=Step.NORMAL,
            node_id=fetch.source.node_id,
            outcome=outcome,
            took_ms=elapsed(fetch.asked_at, now.instant),
            received=event.received,
        )
        fetch.attempts.append(attempt)
        fault = self._fault(fetch, now)
        if fault is not None:
            # Also of what is here already: the node could not have asked for it now.
            self._end_refused(fetch, fault)
        elif event.failure is None:
            self._deliver(fetch)
        else:
            self._record_failure(fetch, outcome)
            self._ask_next(fetch, now)
        return fetch

    def _deliver(self, fetch: GrantedFetch) -> None:
        manifest = fetch.verified.manifest
        fields = (
            ("source", fetch.attempts[-1].node_id or ""),
            ("grant", fetch.grant.grant_id.hex()),
            ("namespace", manifest.namespace.text),
            ("content_hash", manifest.content_hash.hex()),
        )
        self._out.append(Record(fact=Fact.GRANT_FETCHED, fields=fields))
        self._end(fetch, Outcome.DELIVERED, "")

    def _record_failure(self, fetch: GrantedFetch, outcome: str) -> None:
        fields = (
            ("content_hash", fetch.verified.manifest.content_hash.hex()),
            ("grant", fetch.grant.grant_id.hex()),
            ("outcome", outcome),
        )
        self._out.append(Record(fact=Fact.FETCH_FAILED, fields=fields))

    def on_facts(self, now: Now) -> None:
        """What this node believes, or may do, changed: whoever is on the way under a grant that
        counts no more is stopped."""
        for fetch in tuple(self._open.values()):
            fault = self._fault(fetch, now)
            if fault is not None:
                self._end_refused(fetch, fault)

    def _fault(self, fetch: GrantedFetch, now: Now) -> Rejection | None:
        granted = self._good_grant(fetch.envelope, now)
        if isinstance(granted, Rejection):
            return granted
        verified = self._beliefs.admit_granted(fetch.verified.envelope, granted.grant, now)
        return verified if isinstance(verified, Rejection) else None

    def on_due(self, request: RequestId) -> None:
        """The time of a request, or of its grant, is over."""
        fetch = self._open.get(request)
        if fetch is not None:
            self._end(fetch, Outcome.TIMED_OUT, "no peer brought it in time; next: ask again")

    def _end_refused(self, fetch: GrantedFetch, refused: Rejection) -> None:
        del self._open[fetch.request]
        fetch.outcome, fetch.detail = Outcome.REFUSED, refused.detail
        self._ended.append(fetch)
        self._refuse(fetch.request, refused, _next_step(refused))

    def _end(self, fetch: GrantedFetch, outcome: Outcome, detail: str) -> None:
        del self._open[fetch.request]
        fetch.outcome, fetch.detail = outcome, detail
        self._ended.append(fetch)
        manifest = fetch.verified.manifest
        self._out.append(
            Answer(
                request=fetch.request,
                outcome=outcome,
                detail=detail,
                content_hash=manifest.content_hash,
                namespace=manifest.namespace.text,
            )
        )

    def about(self, subject: str | ContentHash) -> tuple[GrantedFetch, ...]:
        """The fetches of a namespace or a content, oldest first, to read and not to keep."""
        return tuple(
            one
            for one in (*self._ended, *self._open.values())
            if subject in (one.verified.manifest.namespace.text, one.verified.manifest.content_hash)
        )

    def check(self) -> None:
        """Assert the limits, and that whatever is open waits for a peer."""
        assert len(self._open) <= OPEN_MAX
        assert len(self._ends) <= GRANTS_MAX
        assert all(one.source is not None and one.outcome is None for one in self._open.values())


def _invalid(detail: str) -> Rejection:
    return Rejection(code=RejectionCode.GRANT_INVALID, detail=detail)


def _next_step(refused: Rejection) -> str:
    if refused.code is not RejectionCode.GRANT_INVALID:
        return "hand over the envelope that was published last; fabgossip status, if that is it"
    return (
        "fabgossip status; where that is well, another grant: fabgossip control grant, with this "
        "node's id and the certificate it has now"
    )


def _nobody(fetch: GrantedFetch) -> str:
    if not fetch.attempts:
        return (
            "no linked peer has shown that it may hold it; next: fabgossip peers, and ask again "
            "once a storage node is linked"
        )
    asked = ", ".join(f"{one.node_id} {one.outcome}" for one in fetch.attempts)
    return f"nobody brought it ({asked}); next: ask again, or have it published again"
