"""The node as readers may see it.

Decides: nothing.
Keeps: what it hands out is read at once and not kept; nothing is changed by looking.
Must not know: who looks.
"""

from dataclasses import dataclass

from fabgossip.core.activation import Activation
from fabgossip.core.attempts import LastGood
from fabgossip.core.catalog import Head, prefix_of
from fabgossip.core.chains import ChainTold
from fabgossip.core.events import LinkId
from fabgossip.core.granted import GrantedFetch
from fabgossip.core.health import NodeSnapshot, node_snapshot
from fabgossip.core.ladder import Step
from fabgossip.core.losses import DownNode
from fabgossip.core.machines import Machines
from fabgossip.core.renewing import Renewing
from fabgossip.core.sessions import Session
from fabgossip.core.sources import upcoming
from fabgossip.core.wants import EndedWant, Want
from fabgossip.model.artifact import Order, VerifiedManifest
from fabgossip.model.ids import ContentHash, NodeId
from fabgossip.model.moment import Instant, Now
from fabgossip.model.persistence import HeldBack, KeptCheckpoint, Pin
from fabgossip.trust.authorization import may_disclose
from fabgossip.trust.facts import TrustFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Advertisers:
    """Linked peers by what their word on a content is worth."""

    by_name: tuple[NodeId, ...]
    """Named exactly this."""
    by_all: tuple[NodeId, ...]
    """Said to hold all but others: that may be older than what is asked about."""
    missing: tuple[NodeId, ...]
    """Said so, and had it not when they were asked since."""


class View:
    """Looks into the machines."""

    __slots__ = ("_activation", "_m", "_renewing")

    def __init__(self, machines: Machines, activation: Activation, renewing: Renewing) -> None:
        self._m = machines
        self._activation = activation
        self._renewing = renewing

    def snapshot(self, now: Now) -> NodeSnapshot:
        """The node as a reader may see it. Cost: O(heads)."""
        policing = self._m.policing.snapshot(now.instant)
        return node_snapshot(
            self._m.sessions.own_id,
            self._m.beliefs,
            self._m.catalog,
            self._m.neighbors,
            self._m.fetching,
            self._renewing.snapshot(now),
            lambda head: self.renewal_of(head, now),
            self._m.chains,
            policing,
            self._m.audits.own_state,
            self._m.retention.snapshot(),
            self._m.scrubbing.snapshot(),
            self._m.shunned.digests(now.instant),
            self._m.holdbacks.all(),
            self._activation.unclaimed(),
            now,
        )

    @property
    def trust(self) -> TrustFacts:
        """What the node believes at this moment."""
        return self._m.beliefs.facts

    @property
    def judging(self) -> bytes | None:
        """The envelope over which a step raised, where it was one envelope."""
        return self._m.shunned.judging

    def find(self, namespace: str) -> Head | None:
        """The head of a namespace, to read and not to keep."""
        return self._m.catalog.find(namespace)

    def heads_after(self, namespace: str, count: int) -> tuple[Head, ...]:
        """At most `count` heads above a namespace, in order, to read and not to keep."""
        return self._m.catalog.heads_after(namespace, count)

    def floors(self) -> dict[str, Order]:
        """The highest order accepted or listed in each namespace. Cost: O(floors)."""
        return self._m.catalog.floors()

    def heads_of(self, content_hash: ContentHash) -> tuple[Head, ...]:
        """The heads that name a content, to read and not to keep."""
        return tuple(head for head, _ in self._m.catalog.by_content(content_hash))

    def want_of(self, verified: VerifiedManifest) -> Want | EndedWant | None:
        """What was tried for the content of a manifest, open or ended, to read and not to keep."""
        return self._m.fetching.find(verified) or self._m.fetching.ended(verified)

    def renewal_of(self, head: Head, now: Now) -> Want | None:
        """The climb for something newer than a head that is near its refresh time, to read and not
        to keep."""
        return self._renewing.of(head, now)

    def chain_of(self, namespace: str) -> ChainTold | None:
        """The newest try to assemble the snapshot of a namespace from increments."""
        return self._m.chains.told(namespace)

    def wants_of(self, content_hash: ContentHash) -> tuple[Want, ...]:
        """The open wants of a content, to read and not to keep."""
        return self._m.fetching.wants_of(content_hash)

    def upcoming(self, want: Want, now: Now) -> list[tuple[Step, NodeId, str]]:
        """Whom an open want would ask next, in order, and why."""
        supply = self._m.fetching.heard(self._m.recovery.supply_of(want), now.instant)
        return upcoming(want, supply, now.instant)

    def pins(self) -> tuple[Pin, ...]:
        """All explicit pins."""
        return self._m.retention.pins()

    def pins_of(self, content_hash: ContentHash) -> tuple[Pin, ...]:
        """The explicit pins of a content."""
        return self._m.retention.pins_of(content_hash)

    def held_back(self, namespace: str) -> HeldBack | None:
        """What an operator put a namespace back to."""
        return self._m.holdbacks.find(namespace)

    def shown(self, namespace: str) -> VerifiedManifest | None:
        """What consumers read, or may start, in a namespace, whatever its head is."""
        return self._activation.shown(namespace)

    def last_good(self, head: Head) -> LastGood | None:
        """What became of the version before a head whose content nobody brought."""
        want = self._m.fetching.find(head.verified)
        return None if want is None else want.last_good

    def granted(self, subject: str | ContentHash) -> tuple[GrantedFetch, ...]:
        """The fetches under grants of a namespace or a content, to read and not to keep."""
        return self._m.granted.about(subject)

    def advertisers(self, head: Head) -> Advertisers:
        """The linked peers whose own word is that they hold a head's content."""
        audience, prefix = head.manifest.audience, prefix_of(head.verified.manifest_hash)
        holdings = self._m.holdings
        said = [
            (session.node_id, session.link)
            for session in self._m.sessions.open_sessions()
            if holdings.says(session.link, audience, prefix)
        ]
        held = [one for one in said if not holdings.was_missing(one[1], prefix)]
        by_name = [node_id for node_id, link in held if holdings.names(link, audience, prefix)]
        return Advertisers(
            by_name=tuple(by_name),
            by_all=tuple(node_id for node_id, _ in held if node_id not in by_name),
            missing=tuple(one[0] for one in said if one not in held),
        )

    def checkpoints_of(self, node_id: NodeId) -> tuple[KeptCheckpoint, ...]:
        """What is kept of a node's audit log, oldest first."""
        return self._m.audits.kept_of(node_id)

    def is_open(self, link: LinkId) -> bool:
        """Whether both ends of a link have said who they are."""
        session = self._m.sessions.find(link)
        return session is not None and session.is_open

    def sessions(self) -> tuple[Session, ...]:
        """All links, to read and not to keep."""
        return self._m.sessions.all_sessions()

    def peer(self, session: Session) -> tuple[str, int | None, Instant | None]:
        """Failure domain, round trip and last sign of life of a link's peer."""
        record = self._m.neighbors.record_of(session.node_id)
        domain = "" if record is None else str(record.domain)
        return (
            domain,
            self._m.neighbors.liveness.rtt_ms(session.link),
            self._m.neighbors.liveness.heard_at(session.link),
        )

    def down(self, now: Instant) -> tuple[DownNode, ...]:
        """Who is wanted as a neighbour and could not be reached."""
        return self._m.neighbors.snapshot(now).down

    def shared_audiences(self, session: Session) -> int:
        """How many audiences of our heads the peer may know."""
        return sum(
            may_disclose(session.claims, audience) for audience in self._m.catalog.audiences()
        )
