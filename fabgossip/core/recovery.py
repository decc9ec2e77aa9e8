"""Who may be asked for a content that is wanted, and what is left when nobody brings it.

Decides: which nodes are sources for a content, linked or to be dialled; whether the signed policy
lets the last valid version stay in use.
Keeps: sources come from signed directories, the last valid snapshot of this node, its
configuration, and what neighbours say of themselves; nothing here relaxes a check: whoever is asked
is asked with a manifest it may know, and what it brings passes the same gate and hash.
Must not know: in which order sources are asked, how many contents are under way.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

from fabgossip.core.attempts import LastGood
from fabgossip.core.beliefs import Beliefs
from fabgossip.core.catalog import GONE_STATES, Catalog, prefix_of
from fabgossip.core.holdings import NeighborHoldings
from fabgossip.core.neighbors import Neighbors
from fabgossip.core.placement import Placement
from fabgossip.core.sessions import Session, Sessions
from fabgossip.core.sources import Supply
from fabgossip.core.wants import Origin, Source, Want, goal_of
from fabgossip.model.artifact import TRUST_TYPES, VerifiedManifest
from fabgossip.model.ids import NodeId
from fabgossip.model.mode import Action, Mode
from fabgossip.model.moment import Now, is_past, seconds_after
from fabgossip.model.topology import Endpoint, FailureDomain
from fabgossip.trust.authorization import may_disclose
from fabgossip.trust.modes import Circumstances

_BY_POLICY = Circumstances(policy=frozenset({Mode.PARTITIONED, Mode.STALE}))
"""A rule for the type is the policy's leave to go on with what is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stores:
    """The storage endpoints of one content, and who of them is to be spared."""

    domains: dict[NodeId, FailureDomain]
    are_others: bool
    """Whether anybody stores it who does not stand beside the control plane."""


class Recovery:
    """What the ladder is climbed with."""

    __slots__ = (
        "_beliefs", "_bootstrap", "_catalog", "_controls", "_endpoints", "_holdings",
        "_neighbors", "_placement", "_sessions",
    )  # fmt: skip

    def __init__(
        self,
        bootstrap: tuple[Endpoint, ...],
        beliefs: Beliefs,
        catalog: Catalog,
        sessions: Sessions,
        neighbors: Neighbors,
        placement: Placement,
        holdings: NeighborHoldings,
    ) -> None:
        self._bootstrap = _addresses(bootstrap)
        self._beliefs = beliefs
        self._catalog = catalog
        self._sessions = sessions
        self._neighbors = neighbors
        self._placement = placement
        self._holdings = holdings
        self._endpoints: dict[NodeId, tuple[str, ...]] = {}
        """Of the last valid snapshot of this node, kept when it is gone: addresses grant nothing,
        for who answers there must prove its id."""
        self._controls: set[NodeId] = set()
        """Endpoints whose signed claims say that they stand beside the control plane."""

    def on_snapshot(self, endpoints: tuple[Endpoint, ...]) -> None:
        """The node's own snapshot is valid: it names these endpoints to start from again."""
        self._endpoints = _addresses(endpoints)
        self._controls &= self._endpoints.keys() | self._bootstrap.keys()

    def on_claims(self, session: Session) -> None:
        """What a peer's signed claims say of its place beside the control plane, once they are in
        force. Of others than endpoints nothing is kept: nobody would dial them."""
        node_id, claims = session.node_id, session.claims
        if claims is None:
            return
        self._controls.discard(node_id)
        if claims.is_control_endpoint and (
            node_id in self._endpoints or node_id in self._bootstrap
        ):
            self._controls.add(node_id)

    def supply_of(self, want: Want) -> Supply:
        """Everybody who may be asked for a content, or for what is newer. Cost: O(open links), and
        O(storage nodes) once somebody without a link is needed."""
        stores = self._stores_of(want)
        absent = cache(lambda: self._absent(stores))
        return Supply(self._sessions.own_id, self._linked(want, stores), absent)

    def _stores_of(self, want: Want) -> _Stores:
        domains = self._placement.stores_of(want.verified.manifest)
        return _Stores(
            domains=domains, are_others=any(one not in self._controls for one in domains)
        )

    def _linked(self, want: Want, stores: _Stores) -> tuple[Source, ...]:
        """Open links whose peer may know a manifest that stands behind the want."""
        named = [want.verified] if want.is_for_head else self._named(want)
        # Before it has its own snapshot a node shares no audience, so nobody says to it that he
        # holds trust, which everybody may know of. Of its own snapshot not everybody may.
        is_new = self._beliefs.freshness.snapshot_refresh_by is None
        sources = []
        for session in self._sessions.open_sessions():
            known = self._known_to(session, named)
            if known is not None:
                audience, prefix = known.manifest.audience, prefix_of(known.manifest_hash)
                source = replace(
                    self._source(session.node_id, stores),
                    link=session.link,
                    verified=known,
                    says=self._holdings.says(session.link, audience, prefix),
                    is_named=self._holdings.names(session.link, audience, prefix),
                    rtt_ms=self._neighbors.liveness.least_rtt_ms(session.link),
                    is_doubted=self._neighbors.liveness.is_suspect(session.link),
                    is_mute=is_new and known.manifest.artifact_type in TRUST_TYPES,
                )
                sources.append(source)
        return tuple(sources)

    def _named(self, want: Want) -> list[VerifiedManifest]:
        """The manifests a content may be asked for with."""
        return [
            one
            for head, one in self._catalog.by_content(want.goal.content_hash)
            if head.state not in GONE_STATES and goal_of(one) == want.goal
        ]

    def _source(self, node_id: NodeId, stores: _Stores) -> Source:
        """A node without a link, as signed directories, snapshot and configuration show it."""
        domain = self._neighbors.domain_of(node_id) or stores.domains.get(node_id)
        origin = Origin.CONFIGURED if node_id in self._bootstrap else None
        is_control = node_id in self._controls
        return Source(
            link=None,
            node_id=node_id,
            is_storage=node_id in stores.domains,
            distance=self._neighbors.distance_to(domain),
            verified=None,
            says=None,
            addresses=self._endpoints.get(node_id) or self._neighbors.addresses_of(node_id),
            origin=Origin.SNAPSHOT if node_id in self._endpoints else origin,
            is_control=is_control,
            is_spared=is_control and stores.are_others,
        )

    def _known_to(self, session: Session, named: list[VerifiedManifest]) -> VerifiedManifest | None:
        """The manifest to ask a peer with: one it may know, or the hash of another would tell it
        that the same bytes are in use elsewhere."""
        # Of its own trust lane a node asks anybody: else it could not learn whom to believe before
        # it believes somebody.
        trusted = (one for one in named if self._beliefs.is_own_lane(one.manifest))
        shared = (one for one in named if may_disclose(session.claims, one.manifest.audience))
        return next(shared, None) or next(trusted, None)

    def _absent(self, stores: _Stores) -> tuple[Source, ...]:
        """Who has no open link and can be dialled; nobody where this node keeps no link anyway, or
        has as many as it may."""
        if self._beliefs.freshness.is_revoked or not self._neighbors.may_visit():
            return ()
        names = dict.fromkeys((*stores.domains, *self._endpoints, *self._bootstrap))
        absent = [
            self._source(one, stores)
            for one in names
            if one != self._sessions.own_id and not self._is_open(one)
        ]
        return tuple(one for one in absent if one.addresses)

    def _session_of(self, node_id: NodeId) -> Session | None:
        link = self._neighbors.link_of(node_id)
        return None if link is None else self._sessions.find(link)

    def _is_open(self, node_id: NodeId) -> bool:
        session = self._session_of(node_id)
        return session is not None and session.is_open

    def is_reached(self, node_id: NodeId, now: Now) -> bool:
        """Whether a node that was dialled may be asked now, or will not be more trusted soon: its
        claims count, or are none to wait for."""
        session = self._session_of(node_id)
        if session is None or not session.is_open:
            return False
        offered = session.offered
        if session.claims is not None or offered is None:
            return True
        return not self._beliefs.may_accept(offered.claims.issued_at, now).allowed

    def last_good(self, want: Want, shown: VerifiedManifest | None, now: Now) -> LastGood | None:
        """Rung 5: whether `shown`, the version consumers read, may stay in use although the wanted
        one cannot be had; None where there is none. It stays what it is: nothing is accepted,
        widened or prolonged by this."""
        is_wanted = shown is not None and shown.manifest_hash == want.verified.manifest_hash
        if shown is None or (is_wanted and not want.is_for_head):
            return None
        reason = self._fault(shown, now)
        words = "the signed policy allows it" if reason is None else reason
        return LastGood(is_allowed=reason is None, verified=shown, reason=words)

    def _fault(self, shown: VerifiedManifest, now: Now) -> str | None:
        manifest = shown.manifest
        rule = self._beliefs.policy.rule_for(manifest.artifact_type)
        if rule is None:
            return "no signed policy speaks of its type"
        if is_past(manifest.expires_at, now.unix):
            return "it has expired"
        if is_past(seconds_after(manifest.refresh_by, rule.max_age_s), now.unix):
            return "it is older than the signed policy allows"
        permission = self._beliefs.may(Action.CONTINUE_LAST_GOOD, now, _BY_POLICY)
        return None if permission.allowed else permission.reason

    def check(self) -> None:
        """Assert that only endpoints are remembered as the control plane's."""
        assert self._controls <= self._endpoints.keys() | self._bootstrap.keys()


def _addresses(endpoints: Iterable[Endpoint]) -> dict[NodeId, tuple[str, ...]]:
    found: dict[NodeId, tuple[str, ...]] = {}
    for one in endpoints:
        found[one.node_id] = (*found.get(one.node_id, ()), one.address)
    return found
