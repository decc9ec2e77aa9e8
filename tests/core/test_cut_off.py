"""An organisation whose last member in the cluster's directory died still hears of the cluster."""

from fabgossip.core.events import LinkId, LostReason
from fabgossip.core.neighbors import Neighbors
from fabgossip.core.rosters import Roster, roster_from
from fabgossip.model.ids import NodeId
from fabgossip.model.moment import Duration, Instant, later
from fabgossip.model.scope import parse_scope_id
from fabgossip.model.topology import PeerClass, PeerDirectory
from tests.core.artifacts import ACME, CLUSTER_SCOPE, EVERYBODY, IN_ACME, record
from tests.core.circle import machine
from tests.trust import factory

NOW = Instant(0)
CORE = ("c0", "c1", "c2")


def of_cluster() -> Roster:
    """Three core nodes, and a plain one that belongs to no organisation."""
    rows = [record(one, peer_class=PeerClass.CORE) for one in CORE]
    directory = PeerDirectory(
        scope=parse_scope_id(CLUSTER_SCOPE), audiences=(EVERYBODY,), peers=(*rows, record("p0"))
    )
    return roster_from(factory.CLUSTER, directory)


def of_acme() -> Roster:
    """Three plain members and the core node that stores for them."""
    rows = (*(record(f"a{number}") for number in range(3)), record("c0", peer_class=PeerClass.CORE))
    directory = PeerDirectory(scope=parse_scope_id(ACME), audiences=(IN_ACME,), peers=rows)
    return roster_from(factory.CLUSTER, directory)


def member(place: int) -> Neighbors:
    """The member of acme at this place among the plain ones."""
    core, *plain = of_acme().circles[0].members
    assert core == "c0"
    one = machine(plain[place])
    one.on_directory("cluster", of_cluster())
    one.on_directory("acme", of_acme())
    return one


def link(one: Neighbors, number: int, other: str) -> None:
    one.on_connected(LinkId(number), NodeId(other), NOW, is_dialer=True)
    one.on_open(LinkId(number), NOW)


def dialed(one: Neighbors, until_ms: int = 60_000) -> list[tuple[Instant, NodeId]]:
    """Whom it dials in vain, and when."""
    now, dials = NOW, []
    while now < until_ms:
        for found in one.next_dials(now):
            one.on_dialing(found.node_id)
            one.on_lost(None, found.node_id, LostReason.CONNECT_FAILED, now)
            dials.append((now, found.node_id))
        now = max(one.next_dial_at(now), later(now, Duration(1)))
        one.check()
    return dials


def cores(dials: list[tuple[Instant, NodeId]]) -> set[NodeId]:
    """Those of them that only the cluster's directory lists."""
    return {name for _, name in dials} & {"c1", "c2"}


def test_the_first_member_left_visits_the_core_of_the_cluster() -> None:
    """Again and again, whatever failed before, and nobody that is no core node."""
    dials = dialed(member(0), 120_000)
    assert cores(dials) == {"c1", "c2"}
    assert "p0" not in {name for _, name in dials}
    assert cores([one for one in dials if one[0] > 100_000])


def test_who_is_linked_to_one_the_cluster_s_directory_lists_visits_nobody() -> None:
    one = member(0)
    link(one, 1, "c1")
    assert not cores(dialed(one)) - {"c1"}


def test_who_has_an_earlier_member_leaves_it_to_that_one() -> None:
    one, leader = member(1), member(0)
    assert cores(dialed(leader))
    link(one, 1, of_acme().circles[0].members[1])
    assert not cores(dialed(one))


def test_a_node_the_cluster_s_directory_lists_visits_nobody() -> None:
    one = machine("p0")
    one.on_directory("cluster", of_cluster())
    link(one, 1, "c0")
    link(one, 2, "c1")
    link(one, 3, "c2")
    assert not dialed(one)
