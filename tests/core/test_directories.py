"""What a node makes of the directories it holds, its own place among them."""

from fabgossip.core.directories import NOWHERE, Directories
from fabgossip.core.rosters import Roster, roster_from
from fabgossip.model.ids import NodeId
from fabgossip.model.scope import parse_scope_id
from fabgossip.model.topology import PeerClass, PeerDirectory, PeerRecord
from tests.core.artifacts import ACME, CLUSTER_SCOPE, EVERYBODY, IN_ACME, record
from tests.trust import factory

OWN, NEAR, FAR, THIN = (NodeId(name) for name in ("own", "near", "far", "thin"))


def roster(*records: PeerRecord, scope: str = CLUSTER_SCOPE) -> Roster:
    directory = PeerDirectory(
        scope=parse_scope_id(scope), audiences=(EVERYBODY, IN_ACME), peers=records
    )
    return roster_from(factory.CLUSTER, directory)


CLUSTER = roster(
    record(OWN, place="r1/z1/k1"),
    record(NEAR, place="r1/z2/k1", audiences=(0, 1)),
    record(FAR, place="r2/z1/k1"),
    record(THIN, place="r2/z1/k1", peer_class=PeerClass.THIN),
)


def held(**rosters: Roster) -> Directories:
    directories = Directories(OWN)
    for namespace, one in rosters.items():
        directories.on_directory(namespace, one)
    return directories


def test_a_directory_that_is_gone_says_nothing_any_more() -> None:
    directories = held(cluster=CLUSTER)
    assert directories.zone_of(NEAR) == ("r1", "z2")
    assert [seat.circle.audience for seat in directories.seats] == [EVERYBODY]
    directories.on_directory("cluster", None)
    assert directories.zone_of(NEAR) is None
    assert directories.own_zone is None
    assert directories.seats == ()


def test_only_the_cluster_s_own_directory_settles_who_is_a_neighbor() -> None:
    of_acme = roster(record(OWN), record(NEAR), scope=ACME)
    assert not held(acme=of_acme).is_settled
    assert not held(cluster=roster(record(NEAR))).is_settled
    assert held(cluster=CLUSTER).is_settled


def test_thin_nodes_share_an_audience_and_have_no_seat_in_its_order() -> None:
    directories = held(cluster=CLUSTER)
    assert (directories.shared(THIN), directories.shared(NodeId("stranger"))) == (1, 0)
    (seat,) = directories.seats
    assert (seat.has(THIN), seat.has(NEAR)) == (False, True)
    assert (directories.is_thin(THIN), directories.is_thin(OWN)) == (True, False)


def test_what_is_cut_off_as_a_whole_is_another_region_or_a_zone_of_our_own() -> None:
    directories = held(cluster=CLUSTER)
    assert directories.reach_of(NEAR) == ("r1", "z2")
    assert directories.reach_of(FAR) == ("r2", "")
    assert directories.reach_of(NodeId("stranger")) is None


def test_how_many_stand_before_is_what_the_order_says() -> None:
    order = CLUSTER.circles[0].members
    for rank, name in enumerate(order):
        directories = Directories(name)
        directories.on_directory("cluster", CLUSTER)
        seat = directories.seats[0]
        assert seat.earlier == rank
        assert [one for one in order if seat.is_earlier(one)] == list(order[:rank])
        assert seat.others == len(order) - 1
    thin = Directories(THIN)
    thin.on_directory("cluster", CLUSTER)
    assert thin.seats[0].earlier == thin.seats[0].others == len(order)


def test_distance_is_unknown_until_our_own_place_is() -> None:
    far = CLUSTER.records[FAR].domain
    assert Directories(OWN).distance_to(far) == NOWHERE
    near = CLUSTER.records[NEAR].domain
    assert held(cluster=CLUSTER).distance_to(near) == 2
