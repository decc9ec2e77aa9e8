"""The machines of one node, as the rooms that route between them share them.

Decides: nothing.
Keeps: one of each; effects go to one list, in order; nothing of a link outlasts it, and nothing
it was told outlasts the claims of its peer.
Must not know: what anybody does with them.
"""

from dataclasses import dataclass

from fabgossip.core.audits import Audits
from fabgossip.core.beliefs import Beliefs
from fabgossip.core.catalog import Catalog
from fabgossip.core.chains import Chains
from fabgossip.core.config import NodeConfig
from fabgossip.core.disclosure import Disclosure
from fabgossip.core.dissemination import Dissemination
from fabgossip.core.effects import Effect
from fabgossip.core.events import LinkId
from fabgossip.core.fetching import Fetching
from fabgossip.core.granted import GrantedFetches
from fabgossip.core.grants import GrantUses
from fabgossip.core.holdbacks import Holdbacks
from fabgossip.core.holdings import NeighborHoldings
from fabgossip.core.listings import Listings
from fabgossip.core.neighbors import Neighbors
from fabgossip.core.news import News
from fabgossip.core.placement import Placement
from fabgossip.core.policing import Policing
from fabgossip.core.reconciliation import Reconciliation
from fabgossip.core.recovery import Recovery
from fabgossip.core.refresh import Refresh
from fabgossip.core.retention import Retention
from fabgossip.core.rosters import Rosters
from fabgossip.core.scrubbing import Scrubbing
from fabgossip.core.sessions import Sessions
from fabgossip.core.sets import Sets
from fabgossip.core.setup import NodeSetup
from fabgossip.core.shunned import Shunned
from fabgossip.core.slots import Slots
from fabgossip.core.telling import Telling
from fabgossip.core.unsettled import Unsettled
from fabgossip.core.variants import Variants
from fabgossip.core.waiting import WaitingRoom
from fabgossip.core.withholding import Withholding
from fabgossip.model.ids import NodeId
from fabgossip.trust.signatures import Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """What a room may ask, and where it says what is to be done."""

    config: NodeConfig
    audits: Audits
    beliefs: Beliefs
    catalog: Catalog
    chains: Chains
    disclosure: Disclosure
    dissemination: Dissemination
    fetching: Fetching
    granted: GrantedFetches
    holdbacks: Holdbacks
    holdings: NeighborHoldings
    listings: Listings
    neighbors: Neighbors
    news: News
    placement: Placement
    policing: Policing
    reconciliation: Reconciliation
    recovery: Recovery
    refresh: Refresh
    retention: Retention
    rosters: Rosters
    scrubbing: Scrubbing
    sessions: Sessions
    sets: Sets
    shunned: Shunned
    slots: Slots
    telling: Telling
    unsettled: Unsettled
    uses: GrantUses
    variants: Variants
    waiting: WaitingRoom
    withholding: Withholding
    out: list[Effect]

    def forget_told(self, link: LinkId) -> None:
        """What was told over a link, and was to be, rested on the claims of its peer, which count
        no more: should others count one day, both ends begin anew. What the peer was asked for
        goes by what it may know when it is, its rates and slots by what it takes."""
        self.dissemination.on_lost(link)
        self.telling.on_lost(link)
        self.news.on_lost(link)
        self.reconciliation.on_lost(link)
        self.holdings.on_lost(link)

    def forget_link(self, link: LinkId, node_id: NodeId) -> None:
        """A link is gone: beside what was told over it, what its peer failed to bring, for over
        another link it is asked anew; what it took of its rates, for the next link is metered
        from the start; and the slots it was served in, for others wait for them."""
        self.forget_told(link)
        self.fetching.on_lost(node_id)
        self.policing.on_lost(link)
        self.slots.on_lost(link)


def machines_of(setup: NodeSetup, verifier: Verifier) -> Machines:
    """Fresh machines of a node."""
    config, own, out = setup.config, setup.own, list[Effect]()
    cluster_id = own.pinned.bundle.cluster_id
    beliefs, catalog = Beliefs(own, verifier), Catalog()
    sessions = Sessions(own.node_id, setup.protocols)
    neighbors = Neighbors(
        own.node_id,
        (config.neighbors, config.connections),
        setup.bootstrap,
        setup.chance("neighbors"),
    )
    disclosure = Disclosure(beliefs, catalog, sessions, neighbors, out)
    placement = Placement(own.node_id)
    holdings = NeighborHoldings(config.holdings)
    return Machines(
        config=config,
        audits=Audits(cluster_id, verifier),
        beliefs=beliefs,
        catalog=catalog,
        chains=Chains(),
        disclosure=disclosure,
        dissemination=Dissemination(config.dissemination),
        fetching=Fetching(config.fetching, config.recovery, setup.chance("fetching")),
        granted=GrantedFetches(beliefs, sessions, neighbors, placement, out),
        holdbacks=Holdbacks(),
        holdings=holdings,
        listings=Listings(),
        neighbors=neighbors,
        news=News(),
        placement=placement,
        policing=Policing(disclosure, holdings, out),
        reconciliation=Reconciliation(),
        recovery=Recovery(
            setup.bootstrap,
            beliefs,
            catalog,
            sessions,
            neighbors,
            placement,
            holdings,
        ),
        refresh=Refresh(config.refresh, setup.chance("refresh")),
        retention=Retention(),
        rosters=setup.rosters,
        scrubbing=Scrubbing(config.scrubbing),
        sessions=sessions,
        sets=Sets(),
        shunned=Shunned(),
        slots=Slots(config.fetching.serve_streams_max),
        telling=Telling(
            config.dissemination, config.holdings, disclosure, sessions, neighbors, out
        ),
        unsettled=Unsettled(),
        uses=GrantUses(),
        variants=Variants(),
        waiting=WaitingRoom(),
        withholding=Withholding(beliefs),
        out=out,
    )
